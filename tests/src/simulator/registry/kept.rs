//! What a registry keeps, and its own list of referrers.

use std::collections::BTreeMap;

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;
use serde_json::{Value, json};

/// Media type of an OCI manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an OCI index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Blobs, manifests and tags of repositories.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    blobs: BTreeMap<(String, Sha256Digest), Bytes>,
    manifests: BTreeMap<(String, Sha256Digest), (Bytes, String)>,
    tags: BTreeMap<(String, String), Sha256Digest>,
}

/// Why a manifest is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotTaken {
    /// It names a blob that is not there.
    BlobUnknown,
    /// It is no JSON object.
    Invalid,
}

impl Kept {
    /// Keeps a blob.
    pub fn put_blob(&mut self, repository: &str, bytes: Bytes) -> Sha256Digest {
        let digest = Sha256Digest::of(&bytes);
        self.blobs.insert((repository.to_owned(), digest), bytes);
        digest
    }

    /// A blob.
    #[must_use]
    pub fn blob(&self, repository: &str, digest: Sha256Digest) -> Option<Bytes> {
        self.blobs.get(&(repository.to_owned(), digest)).cloned()
    }

    /// Keeps a manifest as it is.
    pub fn put(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        bytes: Bytes,
        media_type: &str,
    ) -> Sha256Digest {
        let digest = Sha256Digest::of(&bytes);
        self.manifests.insert((repository.to_owned(), digest), (bytes, media_type.to_owned()));
        if let Some(tag) = tag {
            self.tags.insert((repository.to_owned(), tag.to_owned()), digest);
        }
        digest
    }

    /// Keeps a manifest that somebody pushes: everything that it names must be there.
    ///
    /// # Errors
    /// See [`NotTaken`].
    pub fn push(
        &mut self,
        repository: &str,
        tag: Option<&str>,
        bytes: Bytes,
        media_type: &str,
    ) -> Result<Sha256Digest, NotTaken> {
        let manifest: Value = serde_json::from_slice(&bytes).map_err(|_| NotTaken::Invalid)?;
        let layers = manifest["layers"].as_array().into_iter().flatten();
        for named in layers.chain(manifest.get("config")) {
            let digest = named["digest"].as_str().and_then(|text| Sha256Digest::parse_oci(text).ok());
            let size = |bytes: Bytes| Some(bytes.len() as u64) == named["size"].as_u64();
            if !digest.and_then(|digest| self.blob(repository, digest)).is_some_and(size) {
                return Err(NotTaken::BlobUnknown);
            }
        }
        Ok(self.put(repository, tag, bytes, media_type))
    }

    /// What a tag, or a digest as registries write it, means, and its media type.
    #[must_use]
    pub fn manifest(&self, repository: &str, reference: &str) -> Option<(Bytes, String)> {
        let digest = match Sha256Digest::parse_oci(reference) {
            Ok(digest) => digest,
            Err(_) => *self.tags.get(&(repository.to_owned(), reference.to_owned()))?,
        };
        self.manifests.get(&(repository.to_owned(), digest)).cloned()
    }

    /// The tags.
    #[must_use]
    pub fn tags(&self, repository: &str) -> Vec<String> {
        self.tags.keys().filter(|(name, _)| name == repository).map(|(_, tag)| tag.clone()).collect()
    }

    /// Forgets a tag.
    pub fn remove_tag(&mut self, repository: &str, tag: &str) {
        self.tags.remove(&(repository.to_owned(), tag.to_owned()));
    }

    /// Everything that names `digest` as its subject, as entries of an index.
    #[must_use]
    pub fn referrers(&self, repository: &str, digest: Sha256Digest) -> Vec<Value> {
        let of_repository = self.manifests.iter().filter(|((name, _), _)| name == repository);
        let entries = of_repository.filter_map(|((_, own), (bytes, media_type))| {
            let manifest: Value = serde_json::from_slice(bytes).ok()?;
            let names_it = manifest["subject"]["digest"] == digest.to_oci();
            names_it.then(|| {
                let mut entry = json!({"mediaType": media_type, "digest": own.to_oci(), "size": bytes.len()});
                for name in ["artifactType", "annotations"] {
                    if let Some(value) = manifest.get(name) {
                        entry[name] = value.clone();
                    }
                }
                entry
            })
        });
        entries.collect()
    }
}
