//! What the clock and a thief of the server's keys do to a repository, in both modes, and how it is
//! repaired: with a server in this process, whose time a test can move.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::notary_http::NotaryHttp;
use bulla::adapter::tuf_http::TufHttp;
use bulla::flow::key::{KeyPorts, generate};
use bulla::flow::publish::PublishError;
use bulla::flow::refresh::{Purpose, RefreshError};
use bulla::flow::renew::{self, RenewError, Renewed};
use bulla::flow::rotate::{self, KeyChange, RotateError, Rotated, Subject};
use bulla::flow::sign::{self, SignError};
use bulla::flow::status::{Life, Status, status};
use bulla::flow::verify::{VerifyError, resolve};
use bulla::flow::{init, publish};
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
use bulla::port::trust_server::{
    Basis, Edition, OnlineKeys, OnlineRole, TrustServer, TrustServerError, Upload,
};
use bulla_keys_schema::author::Draft;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey, Signer};
use bulla_keys_schema::metadata::{TopLevelRole, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::verify::{ChainError, RootError};
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;
use bytes::Bytes;

const NAME: &str = "reg.example.com/team/app";
const DAY: i64 = 24 * 60 * 60;
const MODES: [Mode; 2] = [Mode::Spec, Mode::Legacy];

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_root_is_succeeded_by_a_fresh_one() {
    for mode in MODES {
        let server = TestServer::start().await;
        let (admin, reader) = (desk(&server, mode, None), desk(&server, mode, None));
        begin(&admin, &reader, mode).await;
        check(&reader).await.unwrap();
        let lifetime = if mode == Mode::Spec { 365 * DAY } else { 3650 * DAY };
        let soon = state_of(&admin, lifetime).await;
        assert_eq!(life(&soon, &RoleName::Root), Life::Ending);
        assert_eq!(life(&state_of(&admin, lifetime - 1).await, &RoleName::Root), Life::Fine);

        server.clock.advance(lifetime + DAY);
        keep_fresh(&server).await;
        let expired = |error: &RefreshError| matches!(error, RefreshError::Root(RootError::Expired { .. }));
        let refused = check(&reader).await;
        assert!(matches!(&refused, Err(VerifyError::Refresh(error)) if expired(error)), "{refused:?}");
        assert_eq!(life(&state_of(&admin, 0).await, &RoleName::Root), Life::Over);
        // In legacy mode, any change renews what is expired; in spec mode one has to say so.
        if mode == Mode::Spec {
            let refused = sign(&admin, "2").await;
            assert!(
                matches!(&refused, Err(SignError::Publish(PublishError::Refresh(error))) if expired(error)),
                "{refused:?}"
            );
        }
        let renewed = renew(&admin, 30 * DAY).await.unwrap();
        assert!(renewed.left.is_empty(), "{renewed:?}");
        let roles: Vec<RoleName> =
            renewed.published.unwrap().roles.into_iter().map(|(role, _)| role).collect();
        assert_eq!(roles, [RoleName::Root, RoleName::Targets], "{mode:?}");
        check(&reader).await.unwrap();
        assert!(state_of(&admin, 30 * DAY).await.urgent().next().is_none());
        sign(&admin, "2").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_renewed_here_is_named() {
    let server = TestServer::start().await;
    let (admin, reader) = (desk(&server, Mode::Spec, None), desk(&server, Mode::Spec, None));
    begin(&admin, &reader, Mode::Spec).await;
    server.clock.advance(400 * DAY);
    keep_fresh(&server).await;
    let renewed = renew(&reader, 0).await.unwrap();
    assert!(renewed.published.is_none());
    let left: Vec<RoleName> = renewed.left.iter().map(|left| left.role.clone()).collect();
    assert_eq!(left, [RoleName::Root, RoleName::Targets]);
    assert!(renewed.left.iter().all(|left| left.missing.here.is_empty() && left.missing.missing.len() == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn versions_that_a_thief_of_the_online_keys_raised_are_forgotten_after_a_rotation() {
    for mode in MODES {
        let server = TestServer::start().await;
        let theft = Arc::new(Theft::default());
        let [admin, reader] = [(); 2].map(|()| desk(&server, mode, Some(theft.clone())));
        begin(&admin, &reader, mode).await;
        let honest = publish::current_state(Purpose::Use, admin.ports(), &repository()).await.unwrap();
        theft.show(&server, &honest, 1_000_000).await;
        for user in [&admin, &reader] {
            check(user).await.unwrap();
        }
        theft.end();
        for user in [&admin, &reader] {
            let refused = check(user).await;
            let went_back = |error: &RefreshError| {
                matches!(error, RefreshError::Chain(ChainError::Rollback { role: RoleName::Timestamp, .. }))
            };
            assert!(matches!(&refused, Err(VerifyError::Refresh(error)) if went_back(error)), "{refused:?}");
        }
        assert!(rotate(&admin, &[TopLevelRole::Timestamp]).await.is_err(), "a snapshot would stay stolen");
        assert!(
            rotate(&admin, &[TopLevelRole::Snapshot, TopLevelRole::Timestamp, TopLevelRole::Root])
                .await
                .is_err()
        );
        let rotated = rotate(&admin, &[TopLevelRole::Snapshot, TopLevelRole::Timestamp]).await.unwrap();
        assert!(rotated.recovered);
        for user in [&admin, &reader] {
            check(user).await.unwrap();
        }
        sign(&admin, "2").await.unwrap();
        // With the keys that were rotated away the thief gets nowhere.
        theft.show(&server, &honest, 2_000_000).await;
        for user in [&admin, &reader] {
            assert!(check(user).await.is_err());
        }
        theft.end();
        for user in [&admin, &reader] {
            check(user).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_hands_out_each_online_key_until_a_root_lists_it_and_never_again() {
    for mode in MODES {
        let server = TestServer::start().await;
        let (admin, reader) = (desk(&server, mode, None), desk(&server, mode, None));
        begin(&admin, &reader, mode).await;
        let next = async |role| admin.server.next_online_key(&repository(), role).await.unwrap();
        let mut seen = vec![admin.server.online_keys(&repository()).await.unwrap().timestamp];
        for _ in 0..5 {
            let (snapshot, timestamp) = (next(OnlineRole::Snapshot).await, next(OnlineRole::Timestamp).await);
            assert!(timestamp == next(OnlineRole::Timestamp).await && !seen.contains(&timestamp));
            // Each role goes its own way.
            rotate(&admin, &[TopLevelRole::Timestamp]).await.unwrap();
            let used = admin.server.online_keys(&repository()).await.unwrap();
            assert!(used.timestamp == timestamp && used.snapshot != snapshot);
            assert!(snapshot == next(OnlineRole::Snapshot).await, "it waits still");
            seen.push(timestamp);
            check(&reader).await.unwrap();
        }
    }
}

fn repository() -> RepositoryName {
    NAME.parse().unwrap()
}

fn desk(server: &TestServer, mode: Mode, theft: Option<Arc<Theft>>) -> Desk<'_> {
    let connection =
        Connection::new(server.url("").parse().unwrap(), None, None, Patience::default()).unwrap();
    let honest: Box<dyn TrustServer> = match mode {
        Mode::Spec => Box::new(TufHttp::new(connection)),
        Mode::Legacy => Box::new(NotaryHttp::new(connection)),
    };
    let server_port: Box<dyn TrustServer> = match theft {
        Some(theft) => Box::new(Stolen { honest, theft }),
        None => honest,
    };
    Desk::with(server_port, server.clock.as_ref())
}

/// A repository with one signed tag, and a reader who pins its root.
async fn begin(admin: &Desk<'_>, reader: &Desk<'_>, mode: Mode) {
    let ports = admin.ports();
    let (keys, passphrases, entropy, clock) = (ports.keys, ports.passphrases, ports.entropy, ports.clock);
    for name in ["root", "targets"] {
        let ports = KeyPorts { keys, passphrases, entropy, clock };
        generate(ports, &name.parse().unwrap(), KeyAlgorithm::EcdsaP256).unwrap();
    }
    let request = init::Request {
        repository: repository(),
        mode,
        root_keys: vec!["root".parse().unwrap()],
        root_threshold: 1,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    let begun = init::init(admin.ports(), &request).await.unwrap();
    let root = PinnedRoot::Document(begun.root_digest.unwrap());
    let pin = Pin { scope: NAME.parse().unwrap(), mode, root, server: None };
    Pins::update(reader.home(), |pins| pins.add(pin)).unwrap();
    sign(admin, "1").await.unwrap();
}

async fn sign(desk: &Desk<'_>, tag: &str) -> Result<(), SignError> {
    let digest = Sha256Digest::of(tag.as_bytes()).to_oci();
    let request = sign::Request {
        image: format!("{NAME}:{tag}@{digest}").parse().unwrap(),
        size: Some(tag.len() as u64),
        signer: None,
        platforms: false,
        how: false.into(),
        in_registry: Some(BTreeMap::new()),
        policy: None,
    };
    sign::sign(desk.ports(), &request).await.map(drop)
}

async fn check(desk: &Desk<'_>) -> Result<(), VerifyError> {
    let digest = Sha256Digest::of(b"1").to_oci();
    resolve(desk.ports(), &format!("{NAME}:1@{digest}").parse().unwrap()).await.map(drop)
}

async fn renew(desk: &Desk<'_>, within: i64) -> Result<Renewed, RenewError> {
    let request = renew::Request { repository: repository(), within, roles: vec![], how: false.into() };
    renew::renew(desk.ports(), &request).await
}

async fn rotate(desk: &Desk<'_>, roles: &[TopLevelRole]) -> Result<Rotated, RotateError> {
    let request = rotate::Request {
        repository: repository(),
        subjects: roles.iter().copied().map(Subject::Top).collect(),
        keys: KeyChange::default(),
        how: false.into(),
    };
    rotate::rotate(desk.ports(), &request).await
}

async fn state_of(desk: &Desk<'_>, within: i64) -> Status {
    status(desk.ports(), &repository(), within).await.unwrap()
}

fn life(status: &Status, role: &RoleName) -> Life {
    status.roles.iter().find(|found| found.role == *role).unwrap().life
}

/// The server's own renewal, which runs in the background of a whole one.
async fn keep_fresh(server: &TestServer) {
    assert!(server.app.publisher.renew(&repository()).await.unwrap(), "it was due");
}

/// What a thief shows who has the online keys.
#[derive(Default)]
struct Theft(Mutex<BTreeMap<RoleName, Bytes>>);

impl Theft {
    /// The same repository with online roles of version `number`, signed with the keys of the
    /// server that the root of `honest` lists.
    async fn show(
        &self,
        server: &TestServer,
        honest: &bulla_keys_schema::verify::submission::CurrentState,
        number: u64,
    ) {
        let keys = server.app.vault.get(&repository()).await.unwrap().unwrap();
        let version = Version::new(number).unwrap();
        let (root, dialect) = (honest.root().payload(), honest.root().dialect());
        let mut snapshot = honest.snapshot().payload().clone();
        snapshot.version = version;
        let signers: Vec<&dyn Signer> = keys.sets.iter().map(|set| &set.snapshot as &dyn Signer).collect();
        let snapshot =
            Draft::new(dialect, snapshot).sign_to_seal(&signers, &root.snapshot, &root.keys).unwrap();
        let mut timestamp = honest.timestamp().payload().clone();
        timestamp.version = version;
        timestamp.snapshot = snapshot.describe();
        let signers: Vec<&dyn Signer> = keys.sets.iter().map(|set| &set.timestamp as &dyn Signer).collect();
        let timestamp =
            Draft::new(dialect, timestamp).sign_to_seal(&signers, &root.timestamp, &root.keys).unwrap();
        *self.0.lock().unwrap() = BTreeMap::from([
            (RoleName::Snapshot, snapshot.into_bytes()),
            (RoleName::Timestamp, timestamp.into_bytes()),
        ]);
    }

    fn end(&self) {
        self.0.lock().unwrap().clear();
    }
}

/// A server that the thief speaks for.
struct Stolen {
    honest: Box<dyn TrustServer>,
    theft: Arc<Theft>,
}

#[async_trait]
impl TrustServer for Stolen {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let stolen = self.theft.0.lock().unwrap().get(role).cloned();
        match stolen {
            Some(bytes) => Ok(Some(bytes)),
            None => self.honest.metadata(repository, role, edition).await,
        }
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        self.honest.basis(repository).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        self.honest.online_keys(repository).await
    }

    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        self.honest.next_online_key(repository, role).await
    }

    async fn publish(&self, repository: &RepositoryName, upload: &Upload) -> Result<(), TrustServerError> {
        self.honest.publish(repository, upload).await
    }
}
