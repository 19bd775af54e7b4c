//! What an image is, read from its manifest and configuration: user, labels, size, layers.
//!
//! The digest that is signed covers all of it: each byte string is held against the digest that the
//! one above it names. An image that two programs could read differently has no facts.

mod document;

use std::collections::BTreeMap;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{BaseImage, ChildFacts, Facts, ImageFacts, Labels, Platform};
use bulla_keys_schema::names::RepositoryName;

use crate::port::{Registry, RegistryError, Wanted};
use document::{Document, InvalidDocument};

/// Largest configuration that is read, in bytes.
const CONFIG_BYTES: usize = 4 * 1024 * 1024;
/// Images of one index that are looked at: each takes two requests.
const CHILDREN: usize = 64;
/// Configurations of images. Others belong to charts, signatures and the like.
const CONFIG_TYPES: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];
const BASE_NAME: &str = "org.opencontainers.image.base.name";
const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";

/// What the image behind `manifest` is, whose digest the caller has checked.
///
/// # Errors
/// See [`FactsError`].
pub async fn read(
    registry: &dyn Registry,
    repository: &RepositoryName,
    manifest: &[u8],
) -> Result<ImageFacts, FactsError> {
    let manifest = Document::parse(manifest)?;
    match manifest.list("manifests")? {
        None => Ok(ImageFacts::Single(single(registry, repository, &manifest).await?)),
        Some(_) if manifest.has("layers") || manifest.has("config") => Err(FactsError::Ambiguous),
        Some(children) if children.len() > CHILDREN => Err(FactsError::TooMany),
        Some(entries) => {
            let mut children = Vec::with_capacity(entries.len());
            for entry in entries {
                children.push(child(registry, repository, &entry).await?);
            }
            Ok(ImageFacts::Index(children))
        }
    }
}

/// Whether the index `manifest`, whose digest the caller has checked, lists just these images, each
/// for the platform that is said. One that it lists without a platform cannot be compared.
#[must_use]
pub fn lists(manifest: &[u8], children: &[ChildFacts]) -> bool {
    let entries = || -> Result<Vec<(Sha256Digest, Option<Platform>)>, FactsError> {
        let manifest = Document::parse(manifest)?;
        if manifest.has("layers") || manifest.has("config") {
            return Err(FactsError::Ambiguous);
        }
        let entries = manifest.list("manifests")?.unwrap_or_default();
        entries.iter().map(|entry| Ok((entry.digest("digest")?, offered(entry)?))).collect()
    };
    let said = children.iter().map(|child| (child.digest, Some(child.platform.clone())));
    entries().is_ok_and(|listed| listed.into_iter().eq(said))
}

/// The platform that an index offers an image for.
fn offered(entry: &Document) -> Result<Option<Platform>, FactsError> {
    Ok(entry.object("platform")?.map(|platform| platform_of(&platform)).transpose()?.flatten())
}

/// One entry of an index. What builders attach under a platform that no machine has is listed, and
/// not looked at.
async fn child(
    registry: &dyn Registry,
    repository: &RepositoryName,
    entry: &Document,
) -> Result<ChildFacts, FactsError> {
    let digest = entry.digest("digest")?;
    let offered = offered(entry)?;
    if let Some(platform) = offered.clone().filter(Platform::is_none) {
        return Ok(ChildFacts { platform, digest, facts: None });
    }
    let manifest = registry.manifest(repository, &Wanted::Digest(digest)).await?;
    if manifest.digest() != digest {
        return Err(FactsError::OtherBytes { wanted: digest });
    }
    let manifest = Document::parse(manifest.bytes())?;
    let facts = match single(registry, repository, &manifest).await {
        Ok(facts) => Some(facts),
        Err(FactsError::NotAnImage) => None,
        Err(error) => return Err(error),
    };
    let own = facts.as_ref().and_then(|facts| facts.platform.clone());
    // A runtime that finds no platform in the index takes that of the configuration.
    let platform = offered.or(own).ok_or(FactsError::NoPlatform { digest })?;
    Ok(ChildFacts { platform, digest, facts })
}

async fn single(
    registry: &dyn Registry,
    repository: &RepositoryName,
    manifest: &Document,
) -> Result<Facts, FactsError> {
    if manifest.has("manifests") {
        return Err(FactsError::NotAnImage);
    }
    let config = manifest.object("config")?.ok_or(FactsError::NotAnImage)?;
    let is_image = config.text("mediaType")?.is_some_and(|found| CONFIG_TYPES.contains(&found.as_str()));
    let layers = manifest.list("layers")?.filter(|_| is_image).ok_or(FactsError::NotAnImage)?;
    let mut size = config.number("size")?;
    for layer in &layers {
        size = size.checked_add(layer.number("size")?).ok_or(FactsError::TooLarge)?;
    }
    let digest = config.digest("digest")?;
    let bytes = registry.blob(repository, digest, CONFIG_BYTES).await?;
    if Sha256Digest::of(&bytes) != digest {
        return Err(FactsError::OtherBytes { wanted: digest });
    }
    let document = Document::parse(&bytes)?;
    let settings = document.object("config")?;
    let settings = settings.as_ref();
    let annotations = manifest.texts("annotations")?;
    Ok(Facts {
        config: digest,
        platform: platform_of(&document)?,
        user: settings.map(|settings| settings.text("User")).transpose()?.flatten().unwrap_or_default(),
        labels: Labels::Full(
            settings.map(|settings| settings.texts("Labels")).transpose()?.unwrap_or_default(),
        ),
        size,
        layers: layers.len() as u64,
        base: base(&annotations),
    })
}

fn platform_of(document: &Document) -> Result<Option<Platform>, FactsError> {
    let (os, architecture) = (document.text("os")?, document.text("architecture")?);
    let (Some(os), Some(architecture)) = (os, architecture) else { return Ok(None) };
    let variant = document.text("variant")?.filter(|variant| !variant.is_empty());
    let variant = variant.map(|variant| format!("/{variant}")).unwrap_or_default();
    Ok(format!("{os}/{architecture}{variant}").parse().ok())
}

fn base(annotations: &BTreeMap<String, String>) -> Option<BaseImage> {
    let name = annotations.get(BASE_NAME)?.clone();
    let digest = annotations.get(BASE_DIGEST).and_then(|digest| Sha256Digest::parse_oci(digest).ok());
    Some(BaseImage { name, digest })
}

/// Why an image has no facts.
#[derive(Debug, thiserror::Error)]
pub enum FactsError {
    /// Some programs would take it for an image, and others for a list of images.
    #[error("the manifest is an image and an index at once")]
    Ambiguous,
    /// A manifest or configuration cannot be read in one way only.
    #[error("{0}")]
    Document(#[from] InvalidDocument),
    /// An image of an index says nowhere what it is for.
    #[error("the image {} of the index names no platform", digest.to_oci())]
    NoPlatform {
        /// The image.
        digest: Sha256Digest,
    },
    /// Something else that registries keep.
    #[error("it is no image: its configuration is none")]
    NotAnImage,
    /// The registry sent something else.
    #[error("the registry sent other bytes for {}", wanted.to_oci())]
    OtherBytes {
        /// What was asked for.
        wanted: Sha256Digest,
    },
    /// The registry gave nothing.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The sizes of its layers make no sum.
    #[error("its layers are larger than anything")]
    TooLarge,
    /// An index of too many images.
    #[error("the index lists more than {CHILDREN} images")]
    TooMany,
}

const _: () = assert!(CONFIG_BYTES <= limits::MANIFEST_BYTES);
