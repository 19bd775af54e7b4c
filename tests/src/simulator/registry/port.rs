//! The registry as the flows see it.

use async_trait::async_trait;
use bulla::port::registry::TAGS;
use bulla::port::{Descriptor, Manifest, ManifestPush, Over, Pushed, RegistryError, Wanted};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{RepositoryName, Tag};
use bulla_keys_schema::sigstore::FallbackIndex;
use bytes::Bytes;

use super::{ANY, Kept, NotTaken, Registry, RegistryFault};

#[async_trait]
impl bulla::port::Registry for Registry {
    async fn manifest(
        &self,
        repository: &RepositoryName,
        wanted: &Wanted,
    ) -> Result<Manifest, RegistryError> {
        let asked = match wanted {
            Wanted::Digest(digest) => digest.to_oci(),
            Wanted::Tag(tag) => tag.to_string(),
        };
        let (bytes, fault) = self.ask(&asked);
        let host = repository.host().unwrap_or_default().to_owned();
        let reference = format!("{repository}{wanted}");
        match (fault, bytes) {
            (Some(RegistryFault::Instead(other)), _) => Ok(Manifest::new(other, None)),
            (Some(RegistryFault::Endless), _) => {
                Err(RegistryError::TooLarge { host, reference, limit: limits::MANIFEST_BYTES })
            }
            (Some(RegistryFault::Status(401 | 403) | RegistryFault::Token(_)), _) => {
                Err(RegistryError::Unauthorised { host, reference })
            }
            (Some(RegistryFault::Status(404)), _) => Err(RegistryError::Unknown { host, reference }),
            (Some(RegistryFault::Status(status)), _) => {
                Err(RegistryError::Unexpected { host, reference, status })
            }
            (
                Some(
                    RegistryFault::Hangup
                    | RegistryFault::Redirect(_)
                    | RegistryFault::Slow(_)
                    | RegistryFault::Truncated,
                ),
                _,
            ) => Err(RegistryError::Unreachable { host, reason: "gone".to_owned() }),
            (Some(RegistryFault::Claims(digest)), Some(bytes)) => Err(RegistryError::Mismatch {
                host,
                reference,
                computed: Sha256Digest::of(&bytes).to_oci(),
                expected: digest.to_oci(),
            }),
            (_, Some(bytes)) => Ok(Manifest::new(bytes, None)),
            (_, None) => Err(RegistryError::Unknown { host, reference }),
        }
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        self.state().kept.read_blob((ANY, repository), digest, limit)
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        let state = self.state();
        if let Some(RegistryFault::Referrers(status) | RegistryFault::Status(status)) = state.fault {
            let host = repository.host().unwrap_or_default().to_owned();
            return Err(RegistryError::Unexpected { host, reference: repository.to_string(), status });
        }
        Ok(state.kept.read_referrers(ANY, digest, state.habits.referrers_at_once.is_some()))
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, RegistryError> {
        self.state().kept.read_tags((ANY, repository))
    }

    async fn push_blob(&self, repository: &RepositoryName, bytes: Bytes) -> Result<(), RegistryError> {
        let mut state = self.state();
        if let Some(RegistryFault::Writes(_) | RegistryFault::Hangup) = state.meet() {
            return Err(may_not_write(repository));
        }
        state.kept.put_blob(ANY, bytes);
        Ok(())
    }

    async fn push_manifest(
        &self,
        repository: &RepositoryName,
        push: &ManifestPush,
    ) -> Result<Pushed, RegistryError> {
        let mut state = self.state();
        if let Some(RegistryFault::Writes(_) | RegistryFault::Hangup) = state.meet() {
            return Err(may_not_write(repository));
        }
        if let Some(tag) = &push.tag {
            state.admit_rivals(tag.as_str());
            state.written.push(tag.to_string());
        }
        let lists_subject = state.habits.referrers_at_once.is_some();
        state.kept.take((ANY, repository), push).map(|_| Pushed { lists_subject })
    }
}

fn may_not_write(repository: &RepositoryName) -> RegistryError {
    let host = repository.host().unwrap_or_default().to_owned();
    RegistryError::MayNotWrite { host, reference: repository.to_string() }
}

/// Where something is kept, and how the client calls it.
type Place<'a> = (&'a str, &'a RepositoryName);

impl Kept {
    /// The answer to [`bulla::port::Registry::blob`].
    ///
    /// # Errors
    /// It is unknown or too large.
    pub fn read_blob(
        &self,
        (place, repository): Place<'_>,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        let host = repository.host().unwrap_or_default().to_owned();
        let reference = format!("{repository}@{}", digest.to_oci());
        match self.blob(place, digest) {
            Some(bytes) if bytes.len() <= limit => Ok(bytes),
            Some(_) => Err(RegistryError::TooLarge { host, reference, limit }),
            None => Err(RegistryError::Unknown { host, reference }),
        }
    }

    /// The answer to [`bulla::port::Registry::referrers`] of a registry that lists them, or does
    /// not.
    ///
    /// # Panics
    /// A test put something unreadable there.
    #[must_use]
    pub fn read_referrers(&self, place: &str, digest: Sha256Digest, lists: bool) -> Vec<Descriptor> {
        let index = if lists {
            let list = serde_json::json!({"schemaVersion": 2, "manifests": self.referrers(place, digest)});
            Some(list.to_string().into())
        } else {
            self.manifest(place, FallbackIndex::tag(digest).as_str()).map(|(bytes, _)| bytes)
        };
        let index = index.map(|index: Bytes| FallbackIndex::parse(&index).expect("an index"));
        index.map(|index| index.entries().to_vec()).unwrap_or_default()
    }

    /// The answer to [`bulla::port::Registry::tags`].
    ///
    /// # Errors
    /// There are too many.
    pub fn read_tags(&self, (place, repository): Place<'_>) -> Result<Vec<Tag>, RegistryError> {
        let host = repository.host().unwrap_or_default().to_owned();
        let tags = self.tags(place);
        if tags.len() > TAGS {
            return Err(RegistryError::TooMany { host, reference: repository.to_string(), limit: TAGS });
        }
        Ok(tags.iter().filter_map(|tag| tag.parse().ok()).collect())
    }

    /// Takes what a client pushes, where it may replace what is there.
    ///
    /// # Errors
    /// Something else is there, or it names what is not there.
    pub fn take(
        &mut self,
        (place, repository): Place<'_>,
        push: &ManifestPush,
    ) -> Result<Sha256Digest, RegistryError> {
        let (host, reference) = (repository.host().unwrap_or_default().to_owned(), repository.to_string());
        let tag = push.tag.as_ref().map(Tag::as_str);
        let there = tag.and_then(|tag| self.manifest(place, tag));
        if push.over == Over::Nothing && there.is_some() {
            return Err(RegistryError::Changed { host, reference });
        }
        self.push(place, tag, push.bytes.clone(), &push.media_type).map_err(|error| {
            let reason = Some(match error {
                NotTaken::BlobUnknown => "MANIFEST_BLOB_UNKNOWN".to_owned(),
                NotTaken::Invalid => "MANIFEST_INVALID".to_owned(),
            });
            RegistryError::Refused { host, reference, status: 400, reason }
        })
    }
}
