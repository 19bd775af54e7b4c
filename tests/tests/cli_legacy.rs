//! The stories of the client on repositories in legacy mode, against a real server in this
//! process, and against servers that misbehave.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::notary_http::NotaryHttp;
use bulla::flow::init::{self, InitError};
use bulla::flow::inspect::{Inspection, inspect};
use bulla::flow::key::{KeyPorts, generate};
use bulla::flow::publish::PublishError;
use bulla::flow::refresh::RefreshError;
use bulla::flow::revoke::{self, RevokeError, Revoked};
use bulla::flow::sign::{self, SignError, Signed};
use bulla::flow::signer::{self, AddRequest, Added, SignerError};
use bulla::flow::verify::{Refusal, Trusted, VerifyError, resolve};
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
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
use bulla_tests::legacy::{self, Owner, follow};
use bulla_tests::server::TestServer;
use bytes::Bytes;

const NAME: &str = "reg.example.com/team/app";
const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

fn repository() -> RepositoryName {
    NAME.parse().unwrap()
}

fn notary(server: &TestServer) -> NotaryHttp {
    let url = server.url("").parse().unwrap();
    NotaryHttp::new(Connection::new(url, None, None, Patience::default()).unwrap())
}

fn desk(server: &TestServer) -> Desk<'_> {
    Desk::with(Box::new(notary(server)), server.clock.as_ref())
}

/// Root keys have to be of this kind, and docker's are.
fn key(desk: &Desk<'_>, name: &str) -> PublicKey {
    let ports = desk.ports();
    let ports = KeyPorts {
        keys: ports.keys,
        passphrases: ports.passphrases,
        entropy: ports.entropy,
        clock: ports.clock,
    };
    generate(ports, &name.parse().unwrap(), KeyAlgorithm::EcdsaP256).unwrap().public
}

async fn init(desk: &Desk<'_>, root_keys: &[&str], root_threshold: u64) -> Result<init::Begun, InitError> {
    let request = init::Request {
        repository: repository(),
        mode: Mode::Legacy,
        root_keys: root_keys.iter().map(|name| name.parse().unwrap()).collect(),
        root_threshold,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    init::init(desk.ports(), &request).await
}

async fn begin(desk: &Desk<'_>) -> init::Begun {
    key(desk, "root");
    key(desk, "targets");
    init(desk, &["root"], 1).await.unwrap()
}

fn pin(desk: &Desk<'_>, digest: Sha256Digest) {
    let root = PinnedRoot::Document(digest);
    let pin = Pin { scope: NAME.parse().unwrap(), mode: Mode::Legacy, root, server: None };
    Pins::update(desk.home(), |pins| pins.add(pin)).unwrap();
}

async fn sign_as(desk: &Desk<'_>, tag: &str, signer: Option<&str>) -> Result<Signed, SignError> {
    let digest = Sha256Digest::of(tag.as_bytes());
    let request = sign::Request {
        image: format!("{NAME}:{tag}@{}", digest.to_oci()).parse().unwrap(),
        size: Some(tag.len() as u64),
        signer: signer.map(|name| name.parse().unwrap()),
        platforms: false,
        how: false.into(),
        in_registry: Some(BTreeMap::new()),
        policy: None,
    };
    sign::sign(desk.ports(), &request).await
}

async fn sign(desk: &Desk<'_>, tag: &str) -> Signed {
    sign_as(desk, tag, None).await.unwrap()
}

async fn add(
    desk: &Desk<'_>,
    name: &str,
    keys: Vec<PublicKey>,
    tags: &str,
    enrolment: Option<Bytes>,
) -> Result<Added, SignerError> {
    let request = AddRequest {
        repository: repository(),
        name: name.parse().unwrap(),
        threshold: keys.len() as u64,
        keys,
        patterns: vec![tags.parse().unwrap()],
        ends: None,
        enrolment,
        how: false.into(),
    };
    signer::add(desk.ports(), &request).await
}

async fn remove(desk: &Desk<'_>, name: &str) -> signer::Removed {
    signer::remove(desk.ports(), &repository(), &name.parse().unwrap(), &false.into()).await.unwrap()
}

async fn revoke(desk: &Desk<'_>, tag: &str) -> Result<Revoked, RevokeError> {
    let request = revoke::Request {
        repository: repository(),
        tag: tag.parse().unwrap(),
        reason: Some("leaked".to_owned()),
        how: false.into(),
    };
    revoke::revoke(desk.ports(), &request).await
}

async fn check(desk: &Desk<'_>, tag: &str) -> Result<Trusted, VerifyError> {
    resolve(desk.ports(), &format!("{NAME}:{tag}").parse().unwrap()).await
}

/// The roles that vouch for a tag that is trusted.
async fn vouchers(desk: &Desk<'_>, tag: &str) -> Vec<String> {
    let trusted = check(desk, tag).await.unwrap();
    assert_eq!(trusted.digest, Sha256Digest::of(tag.as_bytes()));
    trusted.signed_by.iter().map(|voucher| voucher.role.to_string()).collect()
}

async fn refusal(desk: &Desk<'_>, tag: &str) -> Refusal {
    match check(desk, tag).await {
        Err(VerifyError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn not_signed(desk: &Desk<'_>, tag: &str) -> bool {
    matches!(refusal(desk, tag).await, Refusal::NotSigned { is_certain: false, .. })
}

async fn seen(desk: &Desk<'_>) -> Inspection {
    inspect(desk.ports(), &repository(), None).await.unwrap()
}

async fn version(desk: &Desk<'_>, role: &str) -> u64 {
    let roles = seen(desk).await.roles;
    roles.iter().find(|state| state.role.as_str() == role).unwrap().version.get()
}

#[tokio::test]
async fn the_whole_life_of_a_repository() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    let begun = begin(&admin).await;
    assert_eq!(Pins::load(admin.home()).unwrap().find(&repository()).unwrap().mode, Mode::Legacy);
    assert!(matches!(init(&admin, &["root"], 1).await, Err(InitError::Pinned { .. })));
    assert!(not_signed(&admin, "1").await);

    sign(&admin, "1").await;
    assert_eq!(vouchers(&admin, "1").await, ["targets"]);
    let added = add(&admin, "alice", vec![key(&admin, "alice")], "*", None).await.unwrap();
    assert_eq!(added.taken_over, ["1"]);
    assert_eq!(vouchers(&admin, "1").await, ["releases", "alice"]);
    sign(&admin, "2").await;
    let consumer = desk(&server);
    pin(&consumer, begun.root_digest.unwrap());
    assert_eq!(vouchers(&consumer, "2").await, ["releases", "alice"]);

    // What a client of Notary sees, byte for byte what Go would write.
    let top = follow(&server, NAME).await;
    assert!(top.top.targets().payload().targets.is_empty());
    assert_eq!(top.delegated["targets/releases"].payload().targets.len(), 2);

    let bob = desk(&server);
    pin(&bob, begun.root_digest.unwrap());
    add(&admin, "bob", vec![key(&bob, "bob")], "rc-*", None).await.unwrap();
    assert!(matches!(sign_as(&bob, "3", Some("bob")).await, Err(SignError::OutOfScope { .. })));
    sign(&bob, "rc-3").await;
    assert_eq!(vouchers(&consumer, "rc-3").await, ["releases", "bob"]);

    let revoked = revoke(&bob, "2").await.unwrap();
    assert!(!revoked.is_recorded && revoked.still_listed_by == ["alice".parse().unwrap()]);
    assert!(not_signed(&consumer, "2").await);
    assert!(matches!(revoke(&bob, "2").await, Err(RevokeError::NotSigned { .. })));
    sign(&admin, "2").await;
    assert_eq!(vouchers(&consumer, "2").await, ["releases", "alice"]);

    assert_eq!(remove(&admin, "alice").await.dropped, ["1", "2"]);
    assert!(not_signed(&consumer, "1").await && not_signed(&consumer, "2").await);
    assert_eq!(vouchers(&consumer, "rc-3").await, ["releases", "bob"]);
    remove(&admin, "bob").await;
    assert!(not_signed(&consumer, "rc-3").await);
    sign(&admin, "4").await;
    assert_eq!(vouchers(&consumer, "4").await, ["targets"]);
}

#[tokio::test]
async fn a_signer_who_comes_back_begins_above_the_last_version() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    begin(&admin).await;
    let alice = key(&admin, "alice");
    add(&admin, "alice", vec![alice.clone()], "*", None).await.unwrap();
    sign(&admin, "1").await;
    sign(&admin, "2").await;
    let (alices, releases) = (version(&admin, "alice").await, version(&admin, "releases").await);
    remove(&admin, "alice").await;
    add(&admin, "alice", vec![alice], "*", None).await.unwrap();
    assert!(not_signed(&admin, "1").await, "nothing comes back by itself");
    sign(&admin, "3").await;
    assert_eq!(vouchers(&admin, "3").await, ["releases", "alice"]);
    assert!(version(&admin, "alice").await > alices && version(&admin, "releases").await > releases);
}

#[tokio::test]
async fn several_root_keys_make_a_threshold() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    for name in ["one", "two", "three", "targets"] {
        key(&admin, name);
    }
    admin.key("other");
    let other = init(&admin, &["one", "other"], 1).await;
    assert!(matches!(other, Err(InitError::LegacyRootKey { name }) if name == "other"));
    assert!(matches!(init(&admin, &["one", "one"], 2).await, Err(InitError::Root(_))));
    init(&admin, &["one", "two", "three"], 2).await.unwrap();
    sign(&admin, "1").await;
    assert_eq!(vouchers(&admin, "1").await, ["targets"]);
    let second = desk(&server);
    key(&second, "root");
    key(&second, "targets");
    assert!(matches!(init(&second, &["root"], 1).await, Err(InitError::Exists { .. })));
}

#[tokio::test]
async fn a_wider_pin_has_to_say_the_same() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    let root = key(&admin, "root");
    key(&admin, "targets");
    let root = PinnedRoot::keys([root.fingerprint()], 1).unwrap();
    let scope: bulla::pins::Scope = "reg.example.com/**".parse().unwrap();
    let pin = |mode| Pin { scope: scope.clone(), mode, root: root.clone(), server: None };
    Pins::update(admin.home(), |pins| pins.add(pin(Mode::Spec))).unwrap();
    let other = init(&admin, &["root"], 1).await;
    assert!(matches!(other, Err(InitError::OtherMode { mode: Mode::Spec, .. })));
    Pins::update(admin.home(), |pins| pins.remove(&scope)).unwrap();
    Pins::update(admin.home(), |pins| pins.add(pin(Mode::Legacy))).unwrap();
    init(&admin, &["root"], 1).await.unwrap();
    sign(&admin, "1").await;
    assert_eq!(vouchers(&admin, "1").await, ["targets"]);
}

#[tokio::test]
async fn what_notary_cannot_say_is_refused() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    begin(&admin).await;
    let alice = key(&admin, "alice");
    for pattern in ["v1", "v?", "*v", "v*-*", "?*"] {
        let refused = add(&admin, "alice", vec![alice.clone()], pattern, None).await;
        assert!(matches!(refused, Err(SignerError::LegacyPattern { .. })), "{pattern}: {refused:?}");
    }
    let refused = add(&admin, "a.b", vec![alice.clone()], "*", None).await;
    assert!(matches!(refused, Err(SignerError::LegacyName { .. })));
    add(&admin, "alice", vec![alice], "v*", None).await.unwrap();
    let signers = seen(&admin).await.signers;
    assert_eq!(signers[0].patterns, ["v*"]);
}

#[tokio::test]
async fn tags_of_the_repository_key_go_to_a_signer_who_enrols() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    let begun = begin(&admin).await;
    sign(&admin, "1").await;
    let alice = desk(&server);
    pin(&alice, begun.root_digest.unwrap());
    let public = key(&alice, "alice");
    let refused = add(&admin, "alice", vec![public.clone()], "*", None).await;
    assert!(matches!(refused, Err(SignerError::NotEnrolled(_))));
    let request = bulla::flow::enrol::Request {
        repository: repository(),
        name: "alice".parse().unwrap(),
        keys: vec!["alice".parse().unwrap()],
        threshold: 1,
        patterns: signer::every_tag(),
        ends: None,
    };
    let enrolment = bulla::flow::enrol::enrol(alice.ports(), &request).await.unwrap();
    add(&admin, "alice", vec![public], "*", Some(enrolment)).await.unwrap();
    assert_eq!(vouchers(&admin, "1").await, ["releases", "alice"]);
    sign(&alice, "2").await;
}

#[tokio::test]
async fn expired_targets_and_delegations_are_signed_anew() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    let begun = begin(&admin).await;
    let bob = desk(&server);
    pin(&bob, begun.root_digest.unwrap());
    add(&admin, "alice", vec![key(&admin, "alice")], "*", None).await.unwrap();
    add(&admin, "bob", vec![key(&bob, "bob")], "*", None).await.unwrap();
    sign(&admin, "1").await;
    sign(&bob, "2").await;
    server.clock.advance(3 * YEAR + DAY);
    server.app.publisher.renew(&repository()).await.unwrap();
    for desk in [&admin, &bob] {
        let error = check(desk, "1").await.unwrap_err();
        assert!(
            matches!(&error, VerifyError::Refresh(RefreshError::Chain(ChainError::Expired { .. }))),
            "{error:?}"
        );
    }

    // A signer can repair no more than his keys can sign, and is told.
    let signed = sign(&bob, "3").await.published;
    assert_eq!(signed.still_expired, [RoleName::Targets, "alice".parse().unwrap()]);
    // The admin's keys are all here but bob's.
    let versions = [version(&admin, "targets").await, version(&admin, "alice").await];
    let signed = sign(&admin, "4").await.published;
    assert_eq!(signed.still_expired, []);
    let roles: Vec<&str> = signed.roles.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["alice", "releases", "targets"]);
    assert_eq!(
        [version(&admin, "targets").await, version(&admin, "alice").await],
        [versions[0] + 1, versions[1] + 1]
    );
    for (tag, by) in [("1", "alice"), ("2", "bob"), ("3", "bob"), ("4", "alice")] {
        assert_eq!(vouchers(&bob, tag).await, ["releases", by], "{tag}");
    }
}

#[tokio::test]
async fn a_root_near_its_end_is_renewed_with_its_certificates() {
    let server = TestServer::start().await;
    let admin = desk(&server);
    let begun = begin(&admin).await;
    let signer = desk(&server);
    pin(&signer, begun.root_digest.unwrap());
    add(&admin, "alice", vec![key(&signer, "alice")], "*", None).await.unwrap();
    sign(&signer, "1").await;
    for years in [3, 6, 9] {
        server.clock.advance(3 * YEAR - DAY);
        server.app.publisher.renew(&repository()).await.unwrap();
        let signed = remove_and_add(&admin, &signer).await;
        assert!(signed.iter().all(|role| *role != RoleName::Root), "{years}");
    }
    server.clock.advance(YEAR / 2 + 5 * DAY);
    server.app.publisher.renew(&repository()).await.unwrap();
    // Whoever lacks the root key does not have to wait for it.
    let signed = sign(&signer, "2").await.published;
    assert_eq!(signed.roles.len(), 2);
    let signed = remove_and_add(&admin, &signer).await;
    assert!(signed.contains(&RoleName::Root));
    // Past the end of the first root and of its certificate.
    server.clock.advance(YEAR);
    server.app.publisher.renew(&repository()).await.unwrap();
    let consumer = desk(&server);
    pin(&consumer, begun.root_digest.unwrap());
    sign(&signer, "3").await;
    assert_eq!(vouchers(&consumer, "3").await, ["releases", "alice"]);
    assert_eq!(version(&consumer, "root").await, 2);
    let root = follow(&server, NAME).await.top.root().payload().clone();
    assert_eq!(root.keys.len(), 4, "the old certificate is gone");
}

/// Any change that the admin makes: somebody comes and goes. The roles that were written.
async fn remove_and_add(admin: &Desk<'_>, guest: &Desk<'_>) -> Vec<RoleName> {
    let ports = guest.ports();
    let known = ports.keys.list().unwrap().iter().any(|key| key.name.as_str() == "guest");
    let public = match known {
        true => ports.keys.find(&"guest".parse().unwrap()).unwrap().public,
        false => key(guest, "guest"),
    };
    let added = add(admin, "guest", vec![public], "*", None).await.unwrap().published;
    let removed = remove(admin, "guest").await.published;
    added.roles.into_iter().chain(removed.roles).map(|(role, _)| role).collect()
}

/// Docker takes a signer's keys from `releases` and leaves what they signed.
#[tokio::test]
async fn what_the_keys_of_a_role_do_not_vouch_for_any_more_is_written_anew() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, NAME, false).await;
    legacy::publish(&server, NAME, &owner.first()).await;
    owner.delegate(&["targets/releases", "targets/alice"]);
    let files = [owner.file("targets"), owner.tag("targets/releases", "1"), owner.tag("targets/alice", "1")];
    legacy::publish(&server, NAME, &files).await;
    let bob = desk(&server);
    pin(&bob, Sha256Digest::of(&owner.root_file().1));
    assert_eq!(vouchers(&bob, "1").await, ["releases", "alice"]);

    // The keys of both roles are bob's from now on.
    let public = key(&bob, "bob");
    let (mut targets, id) = (owner.targets.clone(), Dialect::Notary1.key_id(&public, None));
    let delegations = targets.delegations.as_mut().unwrap();
    let entry = bulla_keys_schema::metadata::KeyEntry::new(public);
    delegations.keys = BTreeMap::from([(id.clone(), entry)]);
    let bulla_keys_schema::metadata::Children::Roles(roles) = &mut delegations.children else { panic!() };
    roles.iter_mut().for_each(|role| role.keys.key_ids = vec![id.clone()]);
    targets.version = targets.version.next().unwrap();
    legacy::publish(&server, NAME, &[("targets".to_owned(), owner.sign_targets(targets))]).await;

    let error = check(&bob, "1").await.unwrap_err();
    assert!(
        matches!(&error, VerifyError::Refresh(RefreshError::Chain(ChainError::Verify { .. }))),
        "{error:?}"
    );
    let signed = sign(&bob, "2").await.published;
    let versions: Vec<u64> = signed.roles.iter().map(|(_, version)| version.get()).collect();
    assert_eq!(versions, [3, 3], "above what alice signed");
    assert_eq!(vouchers(&bob, "2").await, ["releases", "alice"]);
    assert!(not_signed(&bob, "1").await, "nobody vouches for it any more");
}

#[tokio::test]
async fn old_tags_in_targets_are_shadowed_and_go_with_the_signer() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, NAME, false).await;
    owner.tag("targets", "1");
    owner.tag("targets", "2");
    legacy::publish(&server, NAME, &owner.first()).await;
    let consumer = desk(&server);
    pin(&consumer, Sha256Digest::of(&owner.root_file().1));
    assert_eq!(vouchers(&consumer, "1").await, ["targets"]);
    // As docker delegates: what stands in `targets` stays there.
    owner.delegate(&["targets/releases", "targets/alice"]);
    legacy::publish(&server, NAME, &[owner.file("targets")]).await;
    assert!(not_signed(&consumer, "3").await);
    let refused = refusal(&consumer, "1").await;
    assert!(
        matches!(&refused, Refusal::NotVouched { asked, .. } if asked.len() == 1),
        "no signer vouches for it: {refused:?}"
    );
    let files = [owner.tag("targets/releases", "1"), owner.tag("targets/alice", "1")];
    legacy::publish(&server, NAME, &files).await;
    assert_eq!(vouchers(&consumer, "1").await, ["releases", "alice"]);
    let tags: Vec<_> =
        seen(&consumer).await.tags.into_iter().map(|tag| (tag.tag, tag.signed_by.len())).collect();
    assert_eq!(tags, [("1".to_owned(), 1), ("2".to_owned(), 0)]);
}

#[tokio::test]
async fn a_snapshot_that_is_signed_elsewhere_can_be_read_but_not_written() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, NAME, true).await;
    let tagged = owner.tag("targets", "1");
    let files: Vec<_> = owner.first().into_iter().filter(|(role, _)| role != "targets").collect();
    legacy::publish(&server, NAME, &[files, vec![tagged]].concat()).await;
    let consumer = desk(&server);
    pin(&consumer, Sha256Digest::of(&owner.root_file().1));
    assert_eq!(vouchers(&consumer, "1").await, ["targets"]);

    // The owner's repository key, as somebody would import it.
    let secret = SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[2; 32].into()).unwrap();
    import(&consumer, "targets", &secret);
    let refused = sign_as(&consumer, "2", None).await.unwrap_err();
    assert!(
        matches!(&refused, SignError::Publish(PublishError::Server(TrustServerError::ClientSnapshot { .. }))),
        "{refused:?}"
    );
    assert!(not_signed(&consumer, "2").await);
}

fn import(desk: &Desk<'_>, name: &str, secret: &SecretKey) {
    use bulla_keys_schema::key::{KeySidecar, Passphrase, SealedKey};
    let public = secret.public_key().clone();
    let sidecar = KeySidecar {
        loaded: None,
        name: name.parse().unwrap(),
        fingerprint: public.fingerprint(),
        algorithm: public.algorithm(),
        created: desk.ports().clock.now(),
        roles: vec![],
    };
    let sealed =
        SealedKey::seal(secret, &Passphrase::new(bulla_tests::cli::PASSPHRASE.to_owned()), [1; 32], [2; 24]);
    let key = bulla::port::StoredKey { name: name.parse().unwrap(), public, sidecar };
    desk.ports().keys.create(&key, &sealed).unwrap();
}

#[tokio::test]
async fn the_first_root_may_have_version_2() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, NAME, false).await;
    let key = legacy::online_key(&server, NAME, "snapshot", reqwest::Method::GET).await;
    owner.rotate(bulla_keys_schema::metadata::TopLevelRole::Snapshot, &key);
    owner.tag("targets", "1");
    legacy::publish(&server, NAME, &owner.first()).await;
    let consumer = desk(&server);
    pin(&consumer, Sha256Digest::of(&owner.root_file().1));
    assert_eq!(vouchers(&consumer, "1").await, ["targets"]);
    assert_eq!(version(&consumer, "root").await, 2);
}

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
        let describe = |bytes: &[u8]| Dialect::Notary1.describe(version, bytes, Sha256Digest::of(bytes));
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
