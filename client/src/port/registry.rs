//! The container registry: untrusted, asked for the bytes behind a tag or a digest.

use std::fmt;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, Tag};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// A registry that serves manifests.
#[async_trait]
pub trait Registry: Send + Sync {
    /// The manifest or index behind `wanted`.
    ///
    /// # Errors
    /// See [`RegistryError`]; a manifest that is not the one asked for is an error.
    async fn manifest(&self, repository: &RepositoryName, wanted: &Wanted)
    -> Result<Manifest, RegistryError>;
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
}

impl Manifest {
    /// Hashes what was received.
    #[must_use]
    pub fn new(bytes: Bytes, media_type: Option<String>) -> Self {
        let digest = Sha256Digest::of(&bytes);
        Self { bytes, digest, media_type }
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

/// Why a registry gave no manifest.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The stored login cannot be used.
    #[error("cannot use the stored login for {host}: {reason}")]
    Credentials {
        /// The registry.
        host: String,
        /// What is wrong.
        reason: String,
    },
    /// The bytes have another digest than asked for, or than the registry claims.
    #[error("{host} sent a manifest for {reference} with digest {computed}, expected {expected}")]
    Mismatch {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// Digest of the received bytes.
        computed: String,
        /// The digest asked for or claimed.
        expected: String,
    },
    /// The name has no registry host, so there is nobody to ask.
    #[error("{repository} names no registry")]
    NoHost {
        /// The repository.
        repository: RepositoryName,
    },
    /// More bytes than any manifest has.
    #[error("{host} sent more than {limit} bytes as manifest for {reference}")]
    TooLarge {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// Not allowed to see it, or it does not exist: registries do not tell the two apart.
    #[error("{host} does not let us read {reference}")]
    Unauthorised {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
    },
    /// The registry answered something that is no manifest and no known error.
    #[error("{host} answered {status} for {reference}")]
    Unexpected {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
        /// The HTTP status.
        status: u16,
    },
    /// No such tag or digest.
    #[error("{host} has no {reference}")]
    Unknown {
        /// The registry.
        host: String,
        /// What was asked for.
        reference: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach the registry {host}: {reason}")]
    Unreachable {
        /// The registry.
        host: String,
        /// What the system said.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Index {
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: String,
    size: u64,
    platform: Option<DescriptorPlatform>,
}

#[derive(Deserialize)]
struct DescriptorPlatform {
    architecture: String,
    os: String,
    variant: Option<String>,
}

impl TryFrom<Descriptor> for Platform {
    type Error = NotAnIndex;

    fn try_from(entry: Descriptor) -> Result<Self, NotAnIndex> {
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
