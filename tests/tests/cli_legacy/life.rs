//! From the first root to the last signer.

use bulla::flow::init::InitError;
use bulla::flow::revoke::RevokeError;
use bulla::flow::sign::SignError;
use bulla::flow::signer::{self, SignerError};
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::legacy::{self, Owner, follow};
use bulla_tests::server::TestServer;

use crate::setting::{
    NAME, add, begin, desk, init, key, not_signed, pin, remove, repository, revoke, seen, sign, sign_as,
    version, vouchers,
};

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
