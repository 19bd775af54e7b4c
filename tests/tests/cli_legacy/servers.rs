//! Several publishers, lost answers, and servers that lie.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bulla::adapter::notary_http::NotaryHttp;
use bulla::flow::inspect::inspect;
use bulla::flow::refresh::RefreshError;
use bulla::flow::sign::{self, SignError};
use bulla::flow::verify::VerifyError;
use bulla::port::trust_server::{
    Basis, Edition, OnlineKeys, OnlineRole, TrustServer, TrustServerError, Upload,
};
use bulla_keys_schema::author::Draft;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Object;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{RoleKeys, Timestamp, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::ChainError;
use bulla_tests::cli::Desk;
use bulla_tests::legacy::{self, Owner};
use bulla_tests::server::TestServer;
use bytes::Bytes;

use crate::setting::{
    NAME, add, begin, check, desk, import, key, not_signed, notary, pin, repository, sign, sign_as, version,
    vouchers,
};

#[tokio::test(flavor = "multi_thread")]
async fn signers_who_publish_at_once_all_succeed() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    begin(&admin).await;
    add(&admin, "alice", vec![key(&admin, "alice")], "*", None).await.unwrap();
    add(&admin, "bob", vec![key(&admin, "bob")], "*", None).await.unwrap();
    let jobs = (0..8).map(|n| {
        let (tag, signer) = (format!("v{n}"), if n % 2 == 0 { "alice" } else { "bob" });
        let admin = &admin;
        async move { sign_as(admin, &tag, Some(signer)).await.unwrap() }
    });
    futures_util::future::join_all(jobs).await;
    for n in 0..8 {
        let by = if n % 2 == 0 { "alice" } else { "bob" };
        assert_eq!(vouchers(&admin, &format!("v{n}")).await, ["releases", by]);
    }
}

/// A server whose answer to an upload gets lost on the way, before or after it was done.
struct Deaf {
    inner: NotaryHttp,
    takes: AtomicBool,
    publishes: AtomicUsize,
}

#[async_trait]
impl TrustServer for Deaf {
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
        self.publishes.fetch_add(1, Ordering::Relaxed);
        // Every second time nothing arrives.
        if self.takes.fetch_xor(true, Ordering::Relaxed) {
            self.inner.publish(repository, upload).await?;
        }
        Err(TrustServerError::Unreachable { server: "deaf".to_owned(), reason: "gone".to_owned() })
    }
}

#[tokio::test]
async fn an_upload_whose_answer_got_lost_is_done_once() {
    let server = TestServer::start().await;
    let deaf = Deaf { inner: notary(&server), takes: AtomicBool::new(false), publishes: AtomicUsize::new(0) };
    let deaf = std::sync::Arc::new(deaf);
    let admin = Desk::with(Box::new(Shared(deaf.clone())), server.clock.as_ref());
    begin(&admin).await;
    sign(&admin, "1").await;
    sign(&admin, "2").await;
    assert_eq!(version(&admin, "targets").await, 3, "once each");
    assert_eq!(deaf.publishes.load(Ordering::Relaxed), 6, "and once in vain");
    assert_eq!(vouchers(&admin, "1").await, ["targets"]);
}

struct Shared(std::sync::Arc<Deaf>);

#[async_trait]
impl TrustServer for Shared {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        self.0.metadata(repository, role, edition).await
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        self.0.basis(repository).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        self.0.online_keys(repository).await
    }

    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        self.0.next_online_key(repository, role).await
    }

    async fn publish(&self, repository: &RepositoryName, upload: &Upload) -> Result<(), TrustServerError> {
        self.0.publish(repository, upload).await
    }
}

/// A server that holds the online keys and shows what it likes.
struct Hostile {
    shown: Mutex<BTreeMap<String, Bytes>>,
    timestamp_key: SecretKey,
    expires: UtcTime,
}

impl Hostile {
    fn new() -> Self {
        let timestamp_key = SecretKey::from_seed(KeyAlgorithm::Ed25519, &[9; 32].into()).unwrap();
        Self { shown: Mutex::default(), timestamp_key, expires: legacy::expires() }
    }

    fn owner(&self) -> Owner {
        let snapshot = SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[3; 32].into()).unwrap();
        Owner::new(NAME, snapshot.public_key(), self.timestamp_key.public_key())
    }

    /// Shows these documents in snapshot and timestamp `number`.
    fn show(&self, owner: &Owner, number: u64, documents: &[&legacy::File]) {
        let version = Version::new(number).unwrap();
        let describe =
            |bytes: &[u8]| Dialect::Notary1.describe(version, &Bytes::copy_from_slice(bytes).into());
        let meta = documents.iter().map(|(role, bytes)| (legacy::wire_role(role), describe(bytes)));
        let (_, snapshot) = owner.snapshot_of(number, meta.collect(), self.expires);
        let timestamp = Timestamp {
            version,
            expires: self.expires,
            snapshot: describe(&snapshot),
            signed_at: None,
            extra: Object::new(),
        };
        let signers: [&dyn Signer; 1] = [&self.timestamp_key];
        let keys: &RoleKeys = &owner.root.timestamp;
        let timestamp =
            Draft::new(Dialect::Notary1, timestamp).sign(&signers, keys, &owner.root.keys).unwrap();
        let mut shown = self.shown.lock().unwrap();
        shown.insert("timestamp".to_owned(), timestamp.bytes().clone());
        shown.insert("snapshot".to_owned(), snapshot.clone().into());
        shown.insert("1.root".to_owned(), owner.root_file().1.into());
        shown.insert(Sha256Digest::of(&snapshot).to_string(), snapshot.into());
        for (_, bytes) in documents {
            shown.insert(Sha256Digest::of(bytes).to_string(), bytes.clone().into());
        }
    }
}

struct Showing(std::sync::Arc<Hostile>);

#[async_trait]
impl TrustServer for Showing {
    async fn metadata(
        &self,
        _: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let name = match edition {
            Edition::Current => role.to_string(),
            Edition::Listed(info) => info.hashes.as_ref().unwrap().as_sha256().unwrap().to_string(),
            Edition::Version(version) => format!("{version}.{role}"),
        };
        Ok(self.0.shown.lock().unwrap().get(&name).cloned())
    }

    async fn basis(&self, _: &RepositoryName) -> Result<Basis, TrustServerError> {
        Ok(Basis::Snapshot(Sha256Digest::of(&self.0.shown.lock().unwrap()["snapshot"])))
    }

    async fn online_keys(&self, _: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn next_online_key(
        &self,
        _: &RepositoryName,
        _: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }

    async fn publish(&self, _: &RepositoryName, _: &Upload) -> Result<(), TrustServerError> {
        Err(TrustServerError::NotConfigured)
    }
}

/// Notary's snapshots list no versions: whoever holds their key could show a revoked tag again.
#[tokio::test]
async fn documents_that_were_accepted_are_the_lower_bound() {
    let server = TestServer::start().await;
    let hostile = std::sync::Arc::new(Hostile::new());
    let mut owner = hostile.owner();
    owner.delegate(&["targets/releases", "targets/alice"]);
    let (root, targets) = (owner.root_file(), owner.file("targets"));
    let alice = owner.tag("targets/alice", "1");
    let old = owner.tag("targets/releases", "1");
    let consumer = Desk::with(Box::new(Showing(hostile.clone())), server.clock.as_ref());
    pin(&consumer, Sha256Digest::of(&root.1));
    hostile.show(&owner, 1, &[&root, &targets, &alice, &old]);
    assert_eq!(vouchers(&consumer, "1").await, ["releases", "alice"]);

    // Revoked, and seen to be.
    owner.delegated.get_mut("targets/releases").unwrap().targets.clear();
    let new = owner.tag("targets/releases", "2");
    hostile.show(&owner, 2, &[&root, &targets, &alice, &new]);
    assert!(not_signed(&consumer, "1").await);

    hostile.show(&owner, 3, &[&root, &targets, &alice, &old]);
    let is_rollback = |error: &RefreshError| match error {
        RefreshError::Chain(ChainError::Rollback { role, .. }) => role.as_str() == "releases",
        _ => false,
    };
    for _ in 0..2 {
        match check(&consumer, "1").await {
            Err(VerifyError::Refresh(error)) if is_rollback(&error) => {}
            other => panic!("{other:?}"),
        }
        // Nor would anybody build on it.
        let error = inspect(consumer.ports(), &repository(), None).await.unwrap_err();
        assert!(is_rollback(&error), "{error:?}");
    }
    hostile.show(&owner, 4, &[&root, &targets, &alice, &new]);
    assert!(not_signed(&consumer, "1").await);
}

/// A signer who begins again goes on from the version that an old document claims to have.
#[tokio::test]
async fn nobody_is_led_to_the_end_of_the_versions() {
    let server = TestServer::start().await;
    let hostile = std::sync::Arc::new(Hostile::new());
    let mut owner = hostile.owner();
    owner.delegate(&["targets/releases", "targets/alice"]);
    let (root, targets) = (owner.root_file(), owner.file("targets"));
    let alice = Desk::with(Box::new(Showing(hostile.clone())), server.clock.as_ref());
    pin(&alice, Sha256Digest::of(&root.1));
    import(&alice, "alice", &SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[4; 32].into()).unwrap());
    for (claimed, next) in [(5, Some(6)), ((1 << 31) - 3, None)] {
        let mut document = owner.delegated["targets/alice"].clone();
        document.version = Version::new(claimed).unwrap();
        // Signed, but by nobody who may.
        let forged = ("targets/alice".to_owned(), owner.sign_targets(document));
        hostile.show(&owner, claimed, &[&root, &targets, &forged, &owner.file("targets/releases")]);
        let request = sign::Request {
            image: format!("{NAME}:1@{}", Sha256Digest::of(b"1").to_oci()).parse().unwrap(),
            size: Some(1),
            signer: None,
            platforms: false,
            how: true.into(),
            in_registry: Some(BTreeMap::new()),
            policy: None,
        };
        match (sign::sign(alice.ports(), &request).await, next) {
            (Ok(signed), Some(next)) => assert_eq!(signed.published.roles[0].1.get(), next),
            (Err(SignError::LastVersion { role }), None) => assert_eq!(role.as_str(), "alice"),
            other => panic!("{other:?}"),
        }
    }
}
