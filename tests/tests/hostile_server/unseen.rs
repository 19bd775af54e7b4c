//! A server that takes what is published, and shows it to nobody.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::tuf_http::TufHttp;
use bulla::command::explain;
use bulla::flow::{init, sign};
use bulla::pins::Mode;
use bulla::port::trust_server::{
    Basis, Edition, OnlineKeys, OnlineRole, TrustServer, TrustServerError, Upload,
};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;
use bytes::Bytes;

use crate::world::NAME;

/// A server that says yes to an upload and then shows everybody something else.
struct Swallowing {
    inner: TufHttp,
    swallows: Arc<AtomicBool>,
}

#[async_trait]
impl TrustServer for Swallowing {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        self.inner.metadata(repository, role, edition).await
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        self.inner.basis(repository).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        self.inner.online_keys(repository).await
    }

    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        self.inner.next_online_key(repository, role).await
    }

    async fn publish(&self, repository: &RepositoryName, upload: &Upload) -> Result<(), TrustServerError> {
        if self.swallows.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.publish(repository, upload).await
    }
}

#[tokio::test]
async fn a_signature_that_nobody_will_see_is_noticed() {
    let server = TestServer::start().await;
    let swallows = Arc::new(AtomicBool::new(false));
    let url = server.url("").parse().unwrap();
    let inner = TufHttp::new(Connection::new(url, None, None, Patience::default()).unwrap());
    let swallowing = Swallowing { inner, swallows: Arc::clone(&swallows) };
    let desk = Desk::with(Box::new(swallowing), server.clock.as_ref());
    desk.key("root");
    desk.key("targets");
    let request = init::Request {
        repository: NAME.parse().unwrap(),
        mode: Mode::Spec,
        root_keys: vec!["root".parse().unwrap()],
        root_threshold: 1,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    init::init(desk.ports(), &request).await.unwrap();
    let sign = async |tag: &str| {
        let image = format!("{NAME}:{tag}@{}", Sha256Digest::of(b"x").to_oci()).parse().unwrap();
        let request = sign::Request {
            image,
            size: Some(1),
            signer: None,
            platforms: false,
            how: false.into(),
            in_registry: Some(BTreeMap::new()),
            policy: None,
        };
        sign::sign(desk.ports(), &request).await
    };
    sign("v1").await.unwrap();
    swallows.store(true, Ordering::Relaxed);
    let report = explain(&sign("v2").await.unwrap_err().into()).report();
    assert_eq!(report.exit_code, 15, "{}", report.message);
    assert!(report.message.contains("targets version 3"), "{}", report.message);
    swallows.store(false, Ordering::Relaxed);
    sign("v2").await.unwrap();
}
