//! A store in memory that stops at a place of a test's choice, and counts what is read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_server::store::memory::MemoryStore;
use bulla_server::store::{
    Change, CheckReport, Closing, Head, LastVersions, NewRequest, OpenRequest, Position, Publication,
    PublishError, Published, Removal, SealedOnlineKeys, StoreError, StoredRequest, TrustStore,
};
use bytes::Bytes;
use tokio::sync::Semaphore;

/// Does a removal and keeps whoever asked for it waiting.
pub(crate) struct Gated {
    inner: MemoryStore,
    /// One permit for each removal that was done.
    pub(crate) removed: Semaphore,
    /// One permit for each answer that may go out.
    pub(crate) open: Semaphore,
    /// How many documents were read.
    pub(crate) reads: AtomicUsize,
}

impl Gated {
    pub(crate) fn new() -> Arc<Self> {
        let (removed, open) = (Semaphore::new(0), Semaphore::new(0));
        Arc::new(Self { inner: MemoryStore::new(), removed, open, reads: AtomicUsize::new(0) })
    }
}

#[async_trait]
impl TrustStore for Gated {
    async fn remove(&self, removal: Removal) -> Result<Published, PublishError> {
        let done = self.inner.remove(removal).await;
        self.removed.add_permits(1);
        self.open.acquire().await.expect("never closed").forget();
        done
    }

    async fn head(&self, repository: &RepositoryName) -> Result<Option<Arc<Head>>, StoreError> {
        self.inner.head(repository).await
    }

    async fn by_version(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Bytes>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.inner.by_version(repository, role, version).await
    }

    async fn by_digest(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Bytes>, StoreError> {
        self.inner.by_digest(repository, digest).await
    }

    async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        self.inner.publish(publication).await
    }

    async fn last_versions(&self, repository: &RepositoryName) -> Result<Option<LastVersions>, StoreError> {
        self.inner.last_versions(repository).await
    }

    async fn list(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.inner.list(after, max).await
    }

    async fn changes(&self, after: Position, max: usize) -> Result<Vec<Change>, StoreError> {
        self.inner.changes(after, max).await
    }

    async fn due(&self, before: UtcTime, max: usize) -> Result<Vec<RepositoryName>, StoreError> {
        self.inner.due(before, max).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<Option<SealedOnlineKeys>, StoreError> {
        self.inner.online_keys(repository).await
    }

    async fn set_online_keys(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sealed: Bytes,
    ) -> Result<u64, PublishError> {
        self.inner.set_online_keys(repository, expected, sealed).await
    }

    async fn with_online_keys(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.inner.with_online_keys(after, max).await
    }

    async fn open_requests(&self, repository: &RepositoryName) -> Result<Vec<OpenRequest>, StoreError> {
        self.inner.open_requests(repository).await
    }

    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<StoredRequest>, StoreError> {
        self.inner.request(repository, id).await
    }

    async fn put_request(&self, request: NewRequest) -> Result<u64, PublishError> {
        self.inner.put_request(request).await
    }

    async fn close_request(&self, closing: Closing) -> Result<(), PublishError> {
        self.inner.close_request(closing).await
    }

    async fn with_requests(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.inner.with_requests(after, max).await
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.inner.check().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}
