//! The container registry: untrusted, asked for the bytes behind a tag or a digest, and for what
//! others pushed about an image. It takes signatures for those who look for them there.

mod failure;

use std::fmt;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, Tag};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

pub use bulla_keys_schema::sigstore::Descriptor;
pub use failure::RegistryError;

/// Tags of one repository that are read at most.
pub const TAGS: usize = 100_000;

/// A registry.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The manifest or index behind `wanted`.
    ///
    /// # Errors
    /// See [`RegistryError`]; a manifest that is not the one asked for is an error.
    async fn manifest(&self, repository: &RepositoryName, wanted: &Wanted)
    -> Result<Manifest, RegistryError>;

    /// The blob with that digest, of at most `limit` bytes.
    ///
    /// # Errors
    /// See [`RegistryError`]; other bytes than those asked for are an error.
    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Bytes, RegistryError>;

    /// All manifests that name the one with that digest as their subject: from the registry's
    /// list, or from the index that clients keep where it has none. Empty only if the registry
    /// says that there are none. Nothing of the answer is signed, and nothing vouches for its
    /// being whole.
    ///
    /// # Errors
    /// It could not be looked up; see [`RegistryError`]. There are more than
    /// [`limits::REFERRERS`](bulla_keys_schema::limits::REFERRERS).
    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Vec<Descriptor>, RegistryError>;

    /// The tags of a repository, each once, in the order of their names.
    ///
    /// # Errors
    /// See [`RegistryError`]. There are more than [`TAGS`].
    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, RegistryError>;

    /// Sees to it that the registry has this blob.
    ///
    /// # Errors
    /// See [`RegistryError`].
    async fn push_blob(&self, repository: &RepositoryName, bytes: Bytes) -> Result<(), RegistryError>;

    /// Pushes a manifest. Every blob that it names must be there already.
    ///
    /// # Errors
    /// See [`RegistryError`]. [`RegistryError::Changed`] where the registry knows conditions and
    /// `push.over` does not hold.
    async fn push_manifest(
        &self,
        repository: &RepositoryName,
        push: &ManifestPush,
    ) -> Result<Pushed, RegistryError>;
}

/// A manifest on its way to a registry.
#[derive(Clone, Debug)]
pub struct ManifestPush {
    /// Its bytes.
    pub bytes: Bytes,
    /// What they are.
    pub media_type: String,
    /// The tag that means it from then on; without one, only its digest names it.
    pub tag: Option<Tag>,
    /// What the tag must mean until then.
    pub over: Over,
}

/// What a manifest may replace. Many registries take no conditions and replace anything: read
/// back what was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Over {
    /// Whatever is there.
    Anything,
    /// There must be nothing.
    Nothing,
    /// The version with this entity tag.
    Version(String),
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// The registry lists the manifest among the referrers of its subject. Otherwise whoever
    /// pushed it has to.
    pub lists_subject: bool,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Whatever has this digest.
    Digest(Sha256Digest),
    /// Whatever the registry says this tag means now.
    Tag(Tag),
}

impl fmt::Display for Wanted {
    /// As it stands behind the name: `:tag` or `@sha256:...`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Digest(digest) => write!(f, "@{}", digest.to_oci()),
            Self::Tag(tag) => write!(f, ":{tag}"),
        }
    }
}

/// An image manifest or index, as received. Its digest is computed here and nowhere else.
#[derive(Clone, Debug)]
pub struct Manifest {
    bytes: Bytes,
    digest: Sha256Digest,
    media_type: Option<String>,
    entity_tag: Option<String>,
}

impl Manifest {
    /// Hashes what was received.
    #[must_use]
    pub fn new(bytes: Bytes, media_type: Option<String>) -> Self {
        let digest = Sha256Digest::of(&bytes);
        Self { bytes, digest, media_type, entity_tag: None }
    }

    /// The same, as the version that the registry calls `entity_tag`.
    #[must_use]
    pub fn with_entity_tag(self, entity_tag: Option<String>) -> Self {
        Self { entity_tag, ..self }
    }

    /// The bytes, as received.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of the bytes.
    #[must_use]
    pub const fn digest(&self) -> Sha256Digest {
        self.digest
    }

    /// Number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The media type the registry named, if any. A hint for people only: it is not signed.
    #[must_use]
    pub fn media_type(&self) -> Option<&str> {
        self.media_type.as_deref()
    }

    /// What the registry calls this version of what the tag means, for [`Over::Version`].
    #[must_use]
    pub fn entity_tag(&self) -> Option<&str> {
        self.entity_tag.as_deref()
    }

    /// The images that an index lists; none for a plain image.
    ///
    /// # Errors
    /// The bytes are no manifest, or an entry has no SHA-256 digest.
    pub fn platforms(&self) -> Result<Vec<Platform>, NotAnIndex> {
        // Through a map, because serde would also read a struct from an array.
        let object: serde_json::Map<String, Value> =
            serde_json::from_slice(&self.bytes).map_err(|_| NotAnIndex)?;
        let index: Index = serde_json::from_value(object.into()).map_err(|_| NotAnIndex)?;
        index.manifests.into_iter().map(Platform::try_from).collect()
    }
}

/// One image of an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Platform {
    /// `os/architecture[/variant]`, or `unknown` (build tools list their attestations so).
    pub name: String,
    /// SHA-256 of its manifest.
    pub digest: Sha256Digest,
    /// Size of its manifest, in bytes.
    pub size: u64,
}

/// The bytes are no index whose entries carry SHA-256 digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the manifest is no readable image index")]
pub struct NotAnIndex;

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<IndexEntry>,
}

#[derive(Deserialize)]
struct IndexEntry {
    digest: String,
    size: u64,
    platform: Option<IndexPlatform>,
}

#[derive(Deserialize)]
struct IndexPlatform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

impl TryFrom<IndexEntry> for Platform {
    type Error = NotAnIndex;

    fn try_from(entry: IndexEntry) -> Result<Self, NotAnIndex> {
        let digest = Sha256Digest::parse_oci(&entry.digest).map_err(|_| NotAnIndex)?;
        let name = entry.platform.map_or_else(
            || "unknown".to_owned(),
            |p| match p.variant {
                Some(variant) => format!("{}/{}/{variant}", p.os, p.architecture),
                None => format!("{}/{}", p.os, p.architecture),
            },
        );
        Ok(Self { name, digest, size: entry.size })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_the_images_of_an_index() {
        let digest = Sha256Digest::of(b"x").to_oci();
        let index = format!(
            r#"{{"schemaVersion":2,"manifests":[
                {{"digest":"{digest}","size":5,"platform":{{"os":"linux","architecture":"arm","variant":"v7"}}}},
                {{"digest":"{digest}","size":6}}]}}"#
        );
        let manifest = Manifest::new(index.into(), None);
        let platforms = manifest.platforms().unwrap();
        assert_eq!(platforms[0].name, "linux/arm/v7");
        assert_eq!(platforms[1].name, "unknown");
        assert_eq!(platforms[1].size, 6);
        assert_eq!(Manifest::new(r#"{"layers":[]}"#.into(), None).platforms(), Ok(vec![]));
        for bad in ["", "[]", r#"{"manifests":[{"digest":"sha512:00","size":1}]}"#] {
            assert_eq!(Manifest::new(bad.into(), None).platforms(), Err(NotAnIndex), "{bad}");
        }
    }
}
