//! Reads: current documents, documents by version, bytes by digest.
//!
//! What is current is asked for again and again, by every host that pulls: it is in memory, with the form
//! that most clients take. An entry is found by the digest that a head names, so it is never out of date.

use std::sync::Arc;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::OnceCell;

use crate::store::{self, DocumentRef, Head, StoreError, TrustStore};

/// Reads of a current document: between head and bytes, a removal may come.
const ATTEMPTS: usize = 3;
/// Shorter documents are not worth compressing.
const WORTH_PACKING: usize = 1024;
/// The cache has a lock for each thirty-two of so many documents, and a share of the room for each lock,
/// which has to hold the largest document.
const EXPECTED: usize = 128;

/// Reads documents of a store.
pub(crate) struct Documents {
    store: Arc<dyn TrustStore>,
    kept: Cache<Sha256Digest, Arc<Document>, Weight>,
}

/// Bytes and what they are.
#[derive(Debug)]
pub(crate) struct Document {
    /// The bytes, exactly as they were published.
    pub(crate) bytes: Bytes,
    /// Their digest.
    pub(crate) digest: Sha256Digest,
    gzip: OnceCell<Option<Bytes>>,
}

/// What a document takes in memory: its bytes, and at most as much again for the compressed form.
#[derive(Clone)]
struct Weight;

impl Documents {
    /// Reads what `store` holds, and keeps about `room` bytes of it in memory.
    pub(crate) fn new(store: Arc<dyn TrustStore>, room: usize) -> Self {
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        Self { store, kept: Cache::with_weighter(EXPECTED, room, Weight) }
    }

    /// The current document of `role`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn current(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
    ) -> Result<Option<Arc<Document>>, StoreError> {
        for _ in 0..ATTEMPTS {
            let Some(head) = self.store.head(repository).await? else { return Ok(None) };
            if *role == RoleName::Timestamp {
                return Ok(timestamp(&head).map(Arc::new));
            }
            let Some(document) = head.current.get(role) else { return Ok(None) };
            if let Some(found) = self.keep(repository, role, document).await? {
                return Ok(Some(found));
            }
        }
        Err(StoreError::Corrupt { what: format!("the current {role} of {repository} cannot be found") })
    }

    /// The document of `role` with `version`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn by_version(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Arc<Document>>, StoreError> {
        let Some(head) = self.store.head(repository).await? else { return Ok(None) };
        if let Some(current) = head.current.get(role).filter(|current| current.version == version)
            && let Some(found) = self.keep(repository, role, current).await?
        {
            return Ok(Some(found));
        }
        let bytes = self.store.by_version(repository, role, version).await?;
        Ok(bytes.map(|bytes| Arc::new(Document::of(bytes))))
    }

    /// Bytes of `repository` by their digest.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(crate) async fn by_digest(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Arc<Document>>, StoreError> {
        let Some(head) = self.store.head(repository).await? else { return Ok(None) };
        let current = head.current.iter().find(|(_, current)| current.digest == digest);
        if let Some((role, current)) = current
            && let Some(found) = self.keep(repository, role, current).await?
        {
            return Ok(Some(found));
        }
        let bytes = self.store.by_digest(repository, digest).await?;
        Ok(bytes.map(|bytes| Arc::new(Document::new(bytes, digest))))
    }

    /// A document that a head names, from memory if it is there; those who ask for it at the same time wait
    /// for one read. `None`: it was removed, and something else may be there by now.
    async fn keep(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        named: &DocumentRef,
    ) -> Result<Option<Arc<Document>>, StoreError> {
        let place = match self.kept.get_value_or_guard_async(&named.digest).await {
            Ok(found) => return Ok(Some(found)),
            Err(place) => place,
        };
        let bytes = self.store.by_version(repository, role, named.version).await?;
        let Some(found) = bytes.map(Document::of).filter(|found| found.digest == named.digest) else {
            return Ok(None);
        };
        let found = Arc::new(found);
        // Kept or, as one that is too large, not: it is what was asked for.
        drop(place.insert(Arc::clone(&found)));
        Ok(Some(found))
    }
}

impl Document {
    fn new(bytes: Bytes, digest: Sha256Digest) -> Self {
        Self { bytes, digest, gzip: OnceCell::new() }
    }

    fn of(bytes: Bytes) -> Self {
        let digest = Sha256Digest::of(&bytes);
        Self::new(bytes, digest)
    }

    /// The bytes as gzip, which is made once, where it keeps nobody waiting; `None` where it is not worth it.
    pub(crate) async fn gzip(&self) -> Option<Bytes> {
        if self.bytes.len() < WORTH_PACKING {
            return None;
        }
        let bytes = self.bytes.clone();
        let packed = self.gzip.get_or_try_init(|| async {
            let packed = tokio::task::spawn_blocking(move || store::pack(&bytes).map(Bytes::from));
            packed.await
        });
        // Only a server that stops has no thread for it.
        packed.await.ok()?.clone()
    }
}

impl Weighter<Sha256Digest, Arc<Document>> for Weight {
    fn weight(&self, _: &Sha256Digest, document: &Arc<Document>) -> u64 {
        u64::try_from(document.bytes.len().saturating_mul(2)).unwrap_or(u64::MAX).max(1)
    }
}

/// The current timestamp, which is in memory.
pub(crate) fn timestamp(head: &Head) -> Option<Document> {
    let document = head.current.get(&RoleName::Timestamp)?;
    Some(Document::new(head.timestamp.clone(), document.digest))
}

/// The bytes of all current documents that `head` names, the timestamp included.
///
/// # Errors
/// The store cannot be read, or lacks one of them.
pub(crate) async fn all_current(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    head: &Arc<Head>,
) -> Result<Vec<(RoleName, Bytes)>, StoreError> {
    let mut documents = Vec::with_capacity(head.current.len());
    for (role, document) in &head.current {
        let bytes = if *role == RoleName::Timestamp {
            head.timestamp.clone()
        } else {
            store.by_version(repository, role, document.version).await?.ok_or_else(|| {
                StoreError::Corrupt {
                    what: format!("version {} of {role} of {repository} cannot be found", document.version),
                }
            })?
        };
        documents.push((role.clone(), bytes));
    }
    Ok(documents)
}
