//! Reads: current documents, documents by version, bytes by digest.
//!
//! What is current is asked for again and again, by every host that pulls: it is in memory, with the form
//! that most clients take. An entry is found by the digest that a head names, so it is never out of date.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use tokio::sync::{OnceCell, Semaphore};

use crate::store::{self, DocumentRef, Head, StoreError, TrustStore};

/// Reads of a current document: between head and bytes, a removal may come.
const ATTEMPTS: usize = 3;
/// Shorter documents are not worth compressing.
const WORTH_PACKING: usize = 1024;
/// The cache has a lock for each thirty-two of so many documents, and a share of the room for each lock,
/// which has to hold the largest document.
const EXPECTED: usize = 128;
/// What an entry takes besides the document, roughly, in bytes.
const ENTRY: usize = 256;
/// How long one reader waits for the read of another: that may hang.
const PATIENCE: Duration = Duration::from_secs(1);

/// Reads documents of a store.
pub(crate) struct Documents {
    store: Arc<dyn TrustStore>,
    kept: Cache<Sha256Digest, Arc<Document>, Weight>,
    /// Documents that may still be compressed at the same time.
    packers: Arc<Semaphore>,
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

/// Nobody is there to compress it.
struct Busy;

/// What a document takes in memory: its bytes, and at most as much again for the compressed form.
#[derive(Clone)]
struct Weight;

impl Documents {
    /// Reads what `store` holds, and keeps about `room` bytes of it in memory.
    pub(crate) fn new(store: Arc<dyn TrustStore>, room: usize) -> Self {
        let room = u64::try_from(room).unwrap_or(u64::MAX);
        let packers = Arc::new(Semaphore::new(available_parallelism().map_or(1, NonZero::get)));
        Self { store, kept: Cache::with_weighter(EXPECTED, room, Weight), packers }
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
        let place = self.kept.get_value_or_guard_async(&named.digest);
        let place = match tokio::time::timeout(PATIENCE, place).await {
            Ok(Ok(found)) => return Ok(Some(found)),
            Ok(Err(place)) => Some(place),
            Err(_) => None,
        };
        let bytes = self.store.by_version(repository, role, named.version).await?;
        let Some(found) = bytes.map(Document::of).filter(|found| found.digest == named.digest) else {
            return Ok(None);
        };
        let found = Arc::new(found);
        // Kept or, as one that is too large, not: it is what was asked for.
        drop(place.map(|place| place.insert(Arc::clone(&found))));
        Ok(Some(found))
    }

    /// The bytes of a document that is kept as gzip, made once. `None` for one that is not kept, where it is not
    /// worth it, and while as many others are being made as there are processors: plain bytes are always right.
    pub(crate) async fn gzip(&self, document: &Arc<Document>) -> Option<Bytes> {
        let is_kept = || self.kept.peek(&document.digest).is_some_and(|kept| Arc::ptr_eq(&kept, document));
        if document.bytes.len() < WORTH_PACKING || !is_kept() {
            return None;
        }
        if let Some(made) = document.gzip.get() {
            return made.clone();
        }
        let (document, packers) = (Arc::clone(document), Arc::clone(&self.packers));
        // On a task of its own: what a client asked for who hangs up is there for the next one.
        let made =
            tokio::spawn(
                async move { document.gzip.get_or_try_init(|| document.pack(packers)).await.cloned() },
            );
        made.await.ok()?.ok()?
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

    /// Compresses the bytes where it keeps nobody waiting. The place among `packers` is held to the end of it.
    async fn pack(&self, packers: Arc<Semaphore>) -> Result<Option<Bytes>, Busy> {
        let place = packers.try_acquire_owned().map_err(|_| Busy)?;
        let bytes = self.bytes.clone();
        let work = move || (store::pack(&bytes).map(Bytes::from), drop(place)).0;
        tokio::task::spawn_blocking(work).await.map_err(|_| Busy)
    }
}

impl Weighter<Sha256Digest, Arc<Document>> for Weight {
    fn weight(&self, _: &Sha256Digest, document: &Arc<Document>) -> u64 {
        u64::try_from(document.bytes.len().saturating_mul(2).saturating_add(ENTRY)).unwrap_or(u64::MAX)
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::store::memory::MemoryStore;

    /// With one document of many equal bytes in memory.
    fn documents(room: usize) -> (Documents, Arc<Document>) {
        let documents = Documents::new(Arc::new(MemoryStore::default()), room);
        let document = Arc::new(Document::of(Bytes::from(vec![b'x'; 100_000])));
        documents.kept.insert(document.digest, Arc::clone(&document));
        (documents, document)
    }

    #[tokio::test]
    async fn what_was_asked_for_by_one_who_hangs_up_is_there_for_the_next() {
        let (documents, document) = documents(1_000_000);
        assert_eq!(documents.gzip(&document).now_or_never(), None, "he hangs up before it is made");
        while document.gzip.get().is_none() {
            tokio::task::yield_now().await;
        }
        let _all =
            documents.packers.acquire_many(documents.packers.available_permits() as u32).await.unwrap();
        let packed = documents.gzip(&document).await.unwrap();
        assert!(packed.len() < 10_000);
        assert_eq!(documents.gzip(&document).await.unwrap().as_ptr(), packed.as_ptr(), "made once");
    }

    #[tokio::test]
    async fn only_so_many_are_compressed_at_once() {
        let (documents, document) = documents(1_000_000);
        let all = documents.packers.acquire_many(documents.packers.available_permits() as u32).await.unwrap();
        assert_eq!(documents.gzip(&document).await, None);
        drop(all);
        assert!(documents.gzip(&document).await.is_some());
    }

    #[tokio::test]
    async fn what_is_not_kept_is_not_compressed() {
        let (documents, document) = documents(1_000_000);
        assert_eq!(documents.gzip(&Arc::new(Document::of(document.bytes.clone()))).await, None);
        assert_eq!(documents.gzip(&Arc::new(Document::of(Bytes::from(vec![b'y'; 100_000])))).await, None);
        documents.kept.remove(&document.digest);
        assert_eq!(documents.gzip(&document).await, None);
        // There is no room for it.
        let (documents, document) = self::documents(500_000);
        assert_eq!(documents.gzip(&document).await, None);
    }
}
