//! The stories of the client against a real server in this process: sign, verify, revoke,
//! signers, and every refusal.

use std::collections::BTreeMap;

use bulla::flow::init::{self, InitError};
use bulla::flow::publish::PublishError;
use bulla::flow::refresh::RefreshError;
use bulla::flow::revoke::{self, RevokeError};
use bulla::flow::sign::{self, SignError, Signed};
use bulla::flow::signer::{self, AddRequest, Added, Removed, SignerError};
use bulla::flow::verify::{Refusal, Trusted, VerifyError, resolve, verify};
use bulla::flow::{enrol, inspect};
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::verify::ChainError;
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;
use bytes::Bytes;

const NAME: &str = "reg.example.com/team/app";

fn repository() -> RepositoryName {
    NAME.parse().unwrap()
}

async fn begin(desk: &Desk<'_>) -> init::Begun {
    desk.key("root");
    desk.key("targets");
    init(desk, &["root"], 1).await.unwrap()
}

async fn init(desk: &Desk<'_>, root_keys: &[&str], root_threshold: u64) -> Result<init::Begun, InitError> {
    let request = init::Request {
        repository: repository(),
        mode: Mode::Spec,
        root_keys: root_keys.iter().map(|name| name.parse().unwrap()).collect(),
        root_threshold,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    init::init(desk.ports(), &request).await
}

async fn sign_as(desk: &Desk<'_>, tag: &str, signer: Option<&str>) -> Result<Signed, SignError> {
    let request = sign::Request {
        image: format!("{NAME}:{tag}").parse().unwrap(),
        size: None,
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

async fn check(desk: &Desk<'_>, image: &str) -> Result<Trusted, VerifyError> {
    verify(desk.ports(), &format!("{NAME}{image}").parse().unwrap()).await
}

async fn refusal(desk: &Desk<'_>, image: &str) -> Refusal {
    match check(desk, image).await {
        Err(VerifyError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    }
}

async fn revoke(desk: &Desk<'_>, tag: &str) -> Result<revoke::Revoked, RevokeError> {
    let request = revoke::Request {
        repository: repository(),
        tag: tag.parse().unwrap(),
        reason: Some("leaked".to_owned()),
        how: false.into(),
    };
    revoke::revoke(desk.ports(), &request).await
}

async fn add(
    desk: &Desk<'_>,
    name: &str,
    keys: Vec<PublicKey>,
    tags: &str,
    enrolment: Option<Bytes>,
) -> Result<Added, SignerError> {
    let threshold = keys.len() as u64;
    let request = AddRequest {
        repository: repository(),
        name: name.parse().unwrap(),
        keys,
        threshold,
        patterns: vec![tags.parse().unwrap()],
        ends: None,
        enrolment,
        how: false.into(),
    };
    signer::add(desk.ports(), &request).await
}

async fn remove(desk: &Desk<'_>, name: &str) -> Removed {
    signer::remove(desk.ports(), &repository(), &name.parse().unwrap(), &false.into()).await.unwrap()
}

fn pin(desk: &Desk<'_>, begun: &init::Begun) {
    let root = PinnedRoot::Document(begun.root_digest.unwrap());
    let pin = Pin { scope: NAME.parse().unwrap(), mode: Mode::Spec, root, server: None };
    Pins::update(desk.home(), |pins| pins.add(pin)).unwrap();
}

fn roles(trusted: &Trusted) -> Vec<&str> {
    trusted.signed_by.iter().map(|voucher| voucher.role.as_str()).collect()
}

#[tokio::test]
async fn without_signers_the_repository_key_signs() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let begun = begin(&desk).await;
    assert!(matches!(refusal(&desk, ":1").await, Refusal::NotSigned { .. }));
    let digest = desk.registry.push(&format!("{NAME}:1"), "one");
    assert_eq!(sign(&desk, "1").await.digest, digest);
    let trusted = check(&desk, ":1").await.unwrap();
    assert_eq!((trusted.digest, trusted.size, roles(&trusted)), (digest, 3, vec!["targets"]));
    assert_eq!(check(&desk, &format!(":1@{}", digest.to_oci())).await.unwrap().digest, digest);
    assert_eq!(check(&desk, &format!("@{}", digest.to_oci())).await.unwrap().tag.as_str(), "1");

    let other = Desk::of(&server);
    assert!(matches!(check(&other, ":1").await, Err(VerifyError::Refresh(RefreshError::NotPinned { .. }))));
    pin(&other, &begun);
    other.registry.push(&format!("{NAME}:1"), "one");
    assert_eq!(check(&other, ":1").await.unwrap().digest, digest);
    assert!(matches!(sign_as(&other, "1", None).await, Err(SignError::Publish(PublishError::TooFewKeys(_)))));
}

#[tokio::test]
async fn a_moved_tag_is_refused_with_both_digests() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    let tag = format!("{NAME}:1");
    let one = desk.registry.push(&tag, "one");
    sign(&desk, "1").await;
    let two = desk.registry.push(&tag, "two");
    let expected = (one, two);
    let Refusal::Moved { signed, served, .. } = refusal(&desk, ":1").await else { panic!("moved") };
    assert_eq!((signed, served), expected);
    sign(&desk, "1").await;
    assert_eq!(check(&desk, ":1").await.unwrap().digest, two);
    // Back to the older image, which was signed once.
    desk.registry.push(&tag, "one");
    let Refusal::Moved { signed, served, .. } = refusal(&desk, ":1").await else { panic!("moved back") };
    assert_eq!((signed, served), (two, one));
    assert!(matches!(refusal(&desk, &format!("@{}", one.to_oci())).await, Refusal::DigestNotSigned { .. }));
}

#[tokio::test]
async fn revoked_is_told_from_never_signed_and_undone_by_signing() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    let digest = desk.registry.push(&format!("{NAME}:1"), "one");
    assert!(matches!(revoke(&desk, "1").await, Err(RevokeError::NotSigned { .. })));
    sign(&desk, "1").await;
    assert_eq!(revoke(&desk, "1").await.unwrap().digest, digest);
    let Refusal::Revoked { tombstone, .. } = refusal(&desk, ":1").await else { panic!("revoked") };
    assert_eq!((tombstone.digest, tombstone.reason.as_deref()), (digest, Some("leaked")));
    assert!(matches!(refusal(&desk, &format!("@{}", digest.to_oci())).await, Refusal::Revoked { .. }));
    assert!(matches!(revoke(&desk, "1").await, Err(RevokeError::Already { .. })));
    sign(&desk, "1").await;
    check(&desk, ":1").await.unwrap();
}

#[tokio::test]
async fn signers_vouch_within_their_patterns() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    desk.registry.push(&format!("{NAME}:v1"), "one");
    sign(&desk, "v1").await;
    let (alice, bob) = (desk.key("alice"), desk.key("bob"));
    let narrow = add(&desk, "alice", vec![alice.clone()], "w*", None).await.unwrap_err();
    assert!(matches!(narrow, SignerError::TagsLeft { tags } if tags == ["v1"]));
    let added = add(&desk, "alice", vec![alice], "v*", None).await.unwrap();
    assert_eq!(added.taken_over, ["v1"]);
    assert_eq!(roles(&check(&desk, ":v1").await.unwrap()), ["releases", "alice"]);
    add(&desk, "bob", vec![bob], "*", None).await.unwrap();

    desk.registry.push(&format!("{NAME}:v1"), "two");
    assert!(matches!(sign_as(&desk, "v1", None).await, Err(SignError::SeveralSigners { .. })));
    assert!(matches!(sign_as(&desk, "x", Some("alice")).await, Err(SignError::Registry(_))));
    desk.registry.push(&format!("{NAME}:x"), "x");
    assert!(matches!(sign_as(&desk, "x", Some("alice")).await, Err(SignError::OutOfScope { .. })));
    assert!(matches!(sign_as(&desk, "x", Some("carol")).await, Err(SignError::UnknownSigner { .. })));
    sign_as(&desk, "x", None).await.unwrap();
    sign_as(&desk, "v1", Some("bob")).await.unwrap();
    assert_eq!(roles(&check(&desk, ":v1").await.unwrap()), ["releases", "bob"]);
    sign_as(&desk, "v1", Some("alice")).await.unwrap();
    assert_eq!(roles(&check(&desk, ":v1").await.unwrap()), ["releases", "alice", "bob"]);

    assert!(remove(&desk, "alice").await.dropped.is_empty());
    assert_eq!(roles(&check(&desk, ":v1").await.unwrap()), ["releases", "bob"]);
    assert_eq!(remove(&desk, "bob").await.dropped, ["v1", "x"]);
    assert!(matches!(refusal(&desk, ":v1").await, Refusal::NotSigned { .. }));
    sign(&desk, "v1").await;
    assert_eq!(roles(&check(&desk, ":v1").await.unwrap()), ["targets"]);
}

#[tokio::test]
async fn a_signer_elsewhere_enrols_and_signs_alone() {
    let server = TestServer::start().await;
    let (admin, alice) = (Desk::of(&server), Desk::of(&server));
    let begun = begin(&admin).await;
    pin(&alice, &begun);
    let key = alice.key("work");
    // A tag to take over has to be signed by whoever takes it over.
    admin.registry.push(&format!("{NAME}:0"), "zero");
    sign(&admin, "0").await;
    assert!(matches!(
        add(&admin, "alice", vec![key.clone()], "*", None).await,
        Err(SignerError::NotEnrolled(_))
    ));
    let request = enrol::Request {
        repository: repository(),
        name: "alice".parse().unwrap(),
        keys: vec!["work".parse().unwrap()],
        threshold: 1,
        patterns: vec!["*".parse().unwrap()],
        ends: None,
    };
    let enrolment = enrol::enrol(alice.ports(), &request).await.unwrap();
    let stranger = admin.key("stranger");
    let wrong = add(&admin, "alice", vec![stranger], "*", Some(enrolment.clone())).await;
    assert!(matches!(wrong, Err(SignerError::Enrolment(_))));
    add(&admin, "alice", vec![key.clone()], "*", Some(enrolment)).await.unwrap();
    assert!(matches!(add(&admin, "alice", vec![key], "*", None).await, Err(SignerError::Exists { .. })));

    alice.registry.push(&format!("{NAME}:1"), "one");
    let signed = sign(&alice, "1").await;
    assert_eq!(signed.published.keys.len(), 1);
    check(&alice, ":1").await.unwrap();
    admin.registry.push(&format!("{NAME}:1"), "one");
    assert!(matches!(sign_as(&admin, "1", None).await, Err(SignError::NoSigner { .. })));

    // The admin has no key of alice, and revokes all the same.
    let revoked = revoke(&admin, "1").await.unwrap();
    assert_eq!(revoked.still_listed_by.len(), 1);
    assert!(matches!(refusal(&alice, ":1").await, Refusal::Revoked { .. }));
    let inspection = inspect::inspect(admin.ports(), &repository(), None).await.unwrap();
    assert_eq!(inspection.signers.len(), 1);
    assert!(inspection.tags.iter().all(|tag| tag.revoked.is_some() == (tag.tag == "1")));
}

#[tokio::test]
async fn a_signer_is_added_by_public_key_alone_and_vouches_from_the_first_signature() {
    let server = TestServer::start().await;
    let (admin, alice) = (Desk::of(&server), Desk::of(&server));
    let begun = begin(&admin).await;
    pin(&alice, &begun);
    add(&admin, "alice", vec![alice.key("work")], "*", None).await.unwrap();
    let before = inspect::inspect(alice.ports(), &repository(), None).await.unwrap();
    assert!(before.signers.iter().all(|signer| signer.document.is_none()));
    assert!(matches!(refusal(&alice, ":1").await, Refusal::NotSigned { .. }));

    alice.registry.push(&format!("{NAME}:1"), "one");
    sign(&alice, "1").await;
    assert_eq!(roles(&check(&alice, ":1").await.unwrap()), ["releases", "alice"]);
    let after = inspect::inspect(admin.ports(), &repository(), None).await.unwrap();
    assert!(
        after.signers.iter().all(|signer| signer.document.is_some_and(|(version, _)| version.get() == 1))
    );

    // Another signer who never signs is in nobody's way, and leaves again.
    add(&admin, "bob", vec![admin.key("bob")], "b*", None).await.unwrap();
    assert_eq!(roles(&check(&alice, ":1").await.unwrap()), ["releases", "alice"]);
    remove(&admin, "bob").await;
    assert_eq!(roles(&check(&alice, ":1").await.unwrap()), ["releases", "alice"]);
}

#[tokio::test]
async fn several_root_keys_make_a_threshold() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    for name in ["a", "b", "c", "targets"] {
        desk.key(name);
    }
    for (keys, threshold) in [(&["a", "b"][..], 3), (&["a"], 0), (&["a", "a"], 2)] {
        assert!(matches!(
            init(&desk, keys, threshold).await,
            Err(InitError::Threshold { .. } | InitError::Root(_))
        ));
    }
    assert!(matches!(init(&desk, &["nobody"], 1).await, Err(InitError::NoKey { .. })));
    let begun = init(&desk, &["a", "b", "c"], 2).await.unwrap();
    assert_eq!((begun.root_keys.len(), begun.threshold.get()), (3, 2));
    assert!(matches!(init(&desk, &["a"], 1).await, Err(InitError::Pinned { .. })));
    let inspection = inspect::inspect(desk.ports(), &repository(), None).await.unwrap();
    assert_eq!((inspection.roles[0].threshold.get(), inspection.roles[0].keys.len()), (2, 3));

    let other = Desk::of(&server);
    other.key("root");
    other.key("targets");
    assert!(matches!(init(&other, &["root"], 1).await, Err(InitError::Exists { .. })));
    assert!(Pins::load(other.home()).unwrap().all().is_empty());
}

#[tokio::test]
async fn a_scope_is_pinned_by_root_keys() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let begun = begin(&desk).await;
    let other = Desk::of(&server);
    let scope = |root| {
        let scope = "reg.example.com/**".parse().unwrap();
        Pin { scope, mode: Mode::Spec, root, server: None }
    };
    let stranger = other.key("stranger").fingerprint();
    let right = scope(PinnedRoot::keys(begun.root_keys.clone(), 1).unwrap());
    let wrong = scope(PinnedRoot::keys([stranger], 1).unwrap());
    Pins::update(other.home(), |pins| pins.add(wrong.clone())).unwrap();
    assert!(matches!(check(&other, ":1").await, Err(VerifyError::Refresh(RefreshError::PinNotMet { .. }))));
    Pins::update(other.home(), |pins| pins.remove(&wrong.scope)).unwrap();
    Pins::update(other.home(), |pins| pins.add(right)).unwrap();
    assert!(matches!(refusal(&other, ":1").await, Refusal::NotSigned { .. }));
    let unknown = "reg.example.com/team/other:1".parse().unwrap();
    assert!(matches!(
        resolve(other.ports(), &unknown).await,
        Err(VerifyError::Refresh(RefreshError::UnknownRepository { .. }))
    ));
}

#[tokio::test]
async fn cached_metadata_serves_until_it_expires() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    desk.registry.push(&format!("{NAME}:1"), "one");
    sign(&desk, "1").await;
    check(&desk, ":1").await.unwrap();
    let clock = server.clock.clone();
    let mut down = desk;
    down.server = Box::new(bulla::adapter::no_server::NoServer);
    let trusted = check(&down, ":1").await.unwrap();
    assert!(trusted.offline.is_some());
    assert!(matches!(refusal(&down, ":2").await, Refusal::NotSigned { .. }));
    clock.advance(25 * 60 * 60);
    assert!(matches!(check(&down, ":1").await, Err(VerifyError::Refresh(RefreshError::Offline { .. }))));
    clock.advance(-25 * 60 * 60 - 1);
    assert!(matches!(check(&down, ":1").await, Err(VerifyError::Refresh(RefreshError::Offline { .. }))));
}

#[tokio::test]
async fn a_server_that_stands_still_is_a_freeze() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    server.clock.advance(25 * 60 * 60);
    assert!(matches!(
        check(&desk, ":1").await,
        Err(VerifyError::Refresh(RefreshError::Chain(ChainError::Expired { .. })))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_jobs_sign_twenty_tags_at_once() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    let key = desk.key("ci");
    add(&desk, "ci", vec![key], "*", None).await.unwrap();
    let tags: Vec<String> = (0..20).map(|n| format!("v{n}")).collect();
    for tag in &tags {
        desk.registry.push(&format!("{NAME}:{tag}"), tag);
    }
    let jobs = tags.iter().map(|tag| sign(&desk, tag));
    futures_util::future::join_all(jobs).await;
    for tag in &tags {
        assert_eq!(roles(&check(&desk, &format!(":{tag}")).await.unwrap()), ["releases", "ci"]);
    }
}
