//! What is repaired on the way: what expired, and what nobody vouches for any more.

use std::collections::BTreeMap;

use bulla::flow::publish::PublishError;
use bulla::flow::refresh::RefreshError;
use bulla::flow::sign::SignError;
use bulla::flow::verify::{Refusal, VerifyError};
use bulla::port::trust_server::TrustServerError;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, SecretKey};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::ChainError;
use bulla_tests::cli::Desk;
use bulla_tests::legacy::{self, Owner, follow};
use bulla_tests::server::TestServer;

use crate::setting::{
    DAY, NAME, YEAR, add, begin, check, desk, import, key, not_signed, pin, refusal, remove, repository,
    seen, sign, sign_as, version, vouchers,
};

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
