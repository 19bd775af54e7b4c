//! A store that fails, hangs or panics.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::ProblemCode;
use bulla_server::config::LimitsConfig;
use bulla_server::store::memory::MemoryStore;
use bulla_server::store::{
    Change, CheckReport, Closing, Head, LastVersions, NewRequest, OpenRequest, Position, Publication,
    PublishError, Published, Removal, SealedOnlineKeys, StoreError, StoredRequest, TrustStore,
};
use bulla_tests::server::{Setup, TestServer, problem};
use bytes::Bytes;
use reqwest::Method;

use crate::setting::header;

#[tokio::test]
async fn problems_say_what_and_carry_the_request_id() {
    let server = TestServer::start().await;
    let request = server.request(Method::GET, "/api/v1/repositories/a/head").header("x-request-id", "ci-17");
    let response = server.send(request).await;
    assert_eq!(header(&response, "x-request-id"), "ci-17");
    assert_eq!(header(&response, "cache-control"), "no-store");
    let found = problem(response).await;
    assert_eq!((found.code, found.request_id.as_str()), (ProblemCode::NotFound, "ci-17"));
    assert!(found.detail.contains("repository a"));
    let request = server.request(Method::GET, "/api/v1/repositories").header("x-request-id", "a b{}");
    assert_ne!(header(&server.send(request).await, "x-request-id"), "a b{}");
    for (method, path, code) in [
        (Method::GET, "/api/v1/nonsense", ProblemCode::NotFound),
        (Method::GET, "/api/v1/repositories/a", ProblemCode::NotFound),
        (Method::GET, "/api/v1/repositories/../head", ProblemCode::NotFound),
        (Method::POST, "/api/v1/repositories", ProblemCode::MethodNotAllowed),
        (Method::PUT, "/api/v1/repositories/a/head", ProblemCode::MethodNotAllowed),
        (Method::GET, "/api/v1/repositories?limit=3", ProblemCode::BadRequest),
        (Method::GET, "/api/v1/repositories?after=../x", ProblemCode::BadRequest),
        (Method::GET, "/api/v1/changes?after=x", ProblemCode::BadRequest),
    ] {
        assert_eq!(
            problem(server.send(server.request(method.clone(), path)).await).await.code,
            code,
            "{method} {path}"
        );
    }
}

/// A store whose reads of the repository `panic` panic, and of `slow` never end.
#[derive(Default)]
pub struct Troubled {
    pub store: MemoryStore,
    /// Whether it panics when it is asked what is to be renewed.
    pub cannot_renew: bool,
}

#[async_trait]
impl TrustStore for Troubled {
    async fn head(&self, repository: &RepositoryName) -> Result<Option<Arc<Head>>, StoreError> {
        match repository.as_str() {
            "panic" => panic!("trouble with a secret"),
            "slow" => std::future::pending().await,
            _ => self.store.head(repository).await,
        }
    }

    async fn by_version(
        &self,
        name: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Bytes>, StoreError> {
        self.store.by_version(name, role, version).await
    }

    async fn by_digest(
        &self,
        name: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Bytes>, StoreError> {
        self.store.by_digest(name, digest).await
    }

    async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        self.store.publish(publication).await
    }

    async fn remove(&self, removal: Removal) -> Result<Published, PublishError> {
        self.store.remove(removal).await
    }

    async fn last_versions(&self, repository: &RepositoryName) -> Result<Option<LastVersions>, StoreError> {
        self.store.last_versions(repository).await
    }

    async fn list(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.store.list(after, max).await
    }

    async fn changes(&self, after: Position, max: usize) -> Result<Vec<Change>, StoreError> {
        self.store.changes(after, max).await
    }

    async fn due(&self, before: UtcTime, max: usize) -> Result<Vec<RepositoryName>, StoreError> {
        assert!(!self.cannot_renew, "trouble with what is due");
        self.store.due(before, max).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<Option<SealedOnlineKeys>, StoreError> {
        self.store.online_keys(repository).await
    }

    async fn set_online_keys(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sealed: Bytes,
    ) -> Result<u64, PublishError> {
        self.store.set_online_keys(repository, expected, sealed).await
    }

    async fn with_online_keys(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.store.with_online_keys(after, max).await
    }

    async fn open_requests(&self, repository: &RepositoryName) -> Result<Vec<OpenRequest>, StoreError> {
        self.store.open_requests(repository).await
    }

    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<StoredRequest>, StoreError> {
        self.store.request(repository, id).await
    }

    async fn put_request(&self, request: NewRequest) -> Result<u64, PublishError> {
        self.store.put_request(request).await
    }

    async fn close_request(&self, closing: Closing) -> Result<(), PublishError> {
        self.store.close_request(closing).await
    }

    async fn with_requests(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.store.with_requests(after, max).await
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.store.check().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.store.close().await
    }
}

#[tokio::test]
async fn panics_are_contained_and_tell_callers_nothing() {
    let store = Arc::new(Troubled::default());
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let response = server.get("/api/v1/repositories/panic/head").await;
    let found = problem(response).await;
    assert_eq!(found.code, ProblemCode::Internal);
    assert!(!found.detail.contains("secret"));
    let read = server.get("/tuf/panic/metadata/timestamp.json").await;
    assert_eq!(read.status(), 500);
    assert!(!read.text().await.expect("a body").contains("secret"));
    assert_eq!(server.get("/api/v1/repositories").await.status(), 200);
    assert!(
        server.operate("/metrics").await.text().await.expect("numbers").contains("bullad_panics_total 2")
    );
}

#[tokio::test]
async fn requests_end_after_their_time_and_in_their_number() {
    let store = Arc::new(Troubled::default());
    let limits =
        LimitsConfig { request_time: Duration::from_millis(300), requests: 1, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { store, limits, ..Setup::default() }).await;
    let (slow, refused) = tokio::join!(server.get("/api/v1/repositories/slow/head"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.get("/api/v1/repositories").await
    });
    assert_eq!(problem(slow).await.code, ProblemCode::RequestTimeout);
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(problem(refused).await.code, ProblemCode::Busy);
}
