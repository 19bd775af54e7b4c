//! Which image a report is of: what was typed, or one of those that an index consists of.

use bulla_keys_schema::attest::{Binding, ImageIdentity, Predicate};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::{ChildFacts, ImageFacts};
use bulla_keys_schema::names::{ImageRef, RepositoryName};
use bulla_keys_schema::sigstore::Descriptor;
use serde::Deserialize;

use super::AttestError;
use crate::flow::Ports;
use crate::flow::cosign::write;
use crate::flow::facts::{self, FactsError};
use crate::port::{Manifest, Wanted};

/// Largest configuration of an image that is read, in bytes.
const CONFIG_BYTES: usize = 4 * 1024 * 1024;

/// What a report is said to be of.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    /// The image that was typed.
    pub(super) image: &'a ImageRef,
    /// Size of the manifest in bytes. With it and a digest, no registry is asked.
    pub(super) size: Option<u64>,
    /// The report.
    pub(super) predicate: &'a Predicate,
    /// Take one that names no image.
    pub(super) unbound: bool,
}

/// The image that is attested.
pub(super) struct Subject {
    pub(super) digest: Sha256Digest,
    /// How the registry lists it, if a registry was asked.
    pub(super) descriptor: Option<Descriptor>,
}

/// Finds out, and refuses the report of another image.
pub(super) async fn find(ports: Ports<'_>, question: Question<'_>) -> Result<Subject, AttestError> {
    let image = question.image;
    if let (Some(digest), Some(_)) = (image.digest(), question.size) {
        return choose(question, &[identity(digest)], digest, None);
    }
    let manifest = fetch(ports, image).await?;
    let mut known = identities(ports, image.repository(), &manifest).await?;
    if known.iter().all(|identity| question.predicate.binding(identity) == Binding::OtherImage) {
        // Reports of archives and local builds know nothing but the layers.
        for identity in &mut known {
            identity.diff_ids = diff_ids(ports, image.repository(), identity.config).await?;
        }
    }
    choose(question, &known, manifest.digest(), Some(&manifest))
}

/// The one image that the report is of: the whole index only if nothing in it says which of the images.
fn choose(
    question: Question<'_>,
    known: &[ImageIdentity],
    typed: Sha256Digest,
    manifest: Option<&Manifest>,
) -> Result<Subject, AttestError> {
    let is_bound = |identity: &&ImageIdentity| question.predicate.binding(identity) == Binding::Bound;
    let bound: Vec<Sha256Digest> = known.iter().filter(is_bound).map(|identity| identity.manifest).collect();
    let children: Vec<Sha256Digest> = bound.iter().copied().filter(|digest| *digest != typed).collect();
    let is_unbound = known.iter().all(|identity| question.predicate.binding(identity) == Binding::Unbound);
    let digest = match children.as_slice() {
        _ if is_unbound && question.unbound => typed,
        _ if is_unbound => return Err(AttestError::Unbound),
        // The index says all there is to say, or what is attested is of no image in particular.
        _ if bound.len() == known.len() => typed,
        [only] => *only,
        // It names the index, and an image that is none of its images.
        [] => return Err(AttestError::OtherImage { image: question.image.to_string() }),
        several => return Err(AttestError::SeveralImages { digests: several.to_vec() }),
    };
    let listed = manifest.map(write::subjects).transpose().map_err(|_| AttestError::Images)?;
    let descriptor = listed.and_then(|listed| listed.into_iter().find(|entry| entry.digest == digest));
    Ok(Subject { digest, descriptor })
}

/// The manifest, with the digest that was typed, if one was.
async fn fetch(ports: Ports<'_>, image: &ImageRef) -> Result<Manifest, AttestError> {
    let wanted = match (image.digest(), image.tag()) {
        (Some(digest), _) => Wanted::Digest(digest),
        (None, Some(tag)) => Wanted::Tag(tag.clone()),
        (None, None) => return Err(AttestError::NothingNamed),
    };
    let manifest = ports.registry.manifest(image.repository(), &wanted).await?;
    match image.digest().filter(|asked| *asked != manifest.digest()) {
        Some(asked) => Err(AttestError::OtherDigest { asked, found: manifest.digest() }),
        None => Ok(manifest),
    }
}

/// Everything that a report could be of. What is no image at all is known by its manifest alone.
async fn identities(
    ports: Ports<'_>,
    repository: &RepositoryName,
    manifest: &Manifest,
) -> Result<Vec<ImageIdentity>, AttestError> {
    let own = identity(manifest.digest());
    Ok(match facts::read(ports.registry, repository, manifest.bytes()).await {
        Ok(ImageFacts::Single(facts)) => vec![ImageIdentity { config: Some(facts.config), ..own }],
        Ok(ImageFacts::Index(children)) => {
            let children = children.into_iter().filter(|child| !child.platform.is_none());
            let child = |child: ChildFacts| ImageIdentity {
                manifest: child.digest,
                index: Some(manifest.digest()),
                config: child.facts.map(|facts| facts.config),
                diff_ids: vec![],
            };
            children.map(child).chain([own]).collect()
        }
        Err(FactsError::Registry(error)) => return Err(error.into()),
        Err(_) => vec![own],
    })
}

const fn identity(manifest: Sha256Digest) -> ImageIdentity {
    ImageIdentity { manifest, index: None, config: None, diff_ids: Vec::new() }
}

/// The layers as the configuration lists them; none where it does not.
async fn diff_ids(
    ports: Ports<'_>,
    repository: &RepositoryName,
    config: Option<Sha256Digest>,
) -> Result<Vec<Sha256Digest>, AttestError> {
    let Some(config) = config else { return Ok(vec![]) };
    let bytes = ports.registry.blob(repository, config, CONFIG_BYTES).await?;
    let listed =
        serde_json::from_slice(&bytes).map(|config: Config| config.rootfs.diff_ids).unwrap_or_default();
    let digests = listed.iter().map(|digest| Sha256Digest::parse_oci(digest));
    Ok(digests.collect::<Result<_, _>>().unwrap_or_default())
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}
