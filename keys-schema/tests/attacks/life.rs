//! A server and its clients over many updates: what the server accepts, a client follows; what
//! a client refuses, changes nothing that it has.

use std::collections::BTreeMap;

use bulla_keys_schema::author::{SignedMetadata, next_snapshot, next_timestamp};
use bulla_keys_schema::dialect::tuf1::file_name;
use bulla_keys_schema::key::Signer;
use bulla_keys_schema::metadata::{Snapshot, Threshold};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::{
    AcceptedUpdate, Authority, BrokenState, CurrentState, SealError, SealedUpdate, Submission,
};
use bulla_keys_schema::verify::{ChainError, Pin};
use bytes::Bytes;

use crate::attack::client;
use crate::support::{Client, DIALECT, Files, Repo, TestKey, delegation, later, now, repository};
use crate::uploads::{bump, changed, list, signed};

const BOB: TestKey = TestKey::new("bob");
const NEW_TIMESTAMP: TestKey = TestKey::new("new timestamp");

/// A server with one repository, and a client that follows it.
struct World {
    uploaded: Repo,
    online: [TestKey; 2],
    state: CurrentState,
    served: Files,
    stored: Files,
}

impl World {
    fn new() -> Self {
        let (uploaded, online) = (signed(), [Repo::SNAPSHOT, Repo::TIMESTAMP]);
        let update = check(None, changed(None, &uploaded), &online);
        let sealed = seal(update, &online).unwrap();
        let state = sealed.state().clone();
        let mut world = Self { uploaded, online, state, served: Files::new(), stored: Files::new() };
        world.publish(&sealed);
        world
    }

    /// Uploads what `edit` changes.
    fn upload(&mut self, edit: impl FnOnce(&mut Repo)) {
        let before = self.uploaded.clone();
        edit(&mut self.uploaded);
        let update = check(Some(&self.state), changed(Some(&before), &self.uploaded), &self.online);
        let sealed = seal(update, &self.online).unwrap();
        self.publish(&sealed);
    }

    fn publish(&mut self, sealed: &SealedUpdate) {
        for (role, version, bytes) in sealed.documents() {
            let known = self.served.insert(file_name(role, *version, true), bytes.bytes().clone());
            assert!(known.is_none() || *role == RoleName::Timestamp, "{role} {version} changed its content");
        }
        self.state = sealed.state().clone();
        let loaded = CurrentState::load(DIALECT, &documents(&self.state)).unwrap();
        assert_eq!(loaded.delegated().len(), self.state.delegated().len());
    }

    /// A client that was here before, and one that is new, both look `target` up.
    fn look_up(&mut self, target: &str) -> Result<RoleName, String> {
        let fresh =
            Client { served: self.served.clone(), target: target.to_owned(), ..client(&self.uploaded) };
        let returning = Client { stored: self.stored.clone(), ..fresh.clone() };
        let (fresh, returning) = (fresh.run(), returning.run());
        assert_eq!(fresh.result, returning.result);
        self.stored = returning.stored;
        fresh.result
    }
}

fn check(state: Option<&CurrentState>, submission: Submission, online: &[TestKey]) -> AcceptedUpdate {
    let held_keys = online.iter().map(|key| key.fingerprint()).collect();
    let authority = Authority { repository: &repository(), held_keys: &held_keys, now: now() };
    submission.check(DIALECT, state, &authority).unwrap()
}

/// What a server does with an accepted update.
fn seal(update: AcceptedUpdate, [snapshot, timestamp]: &[TestKey; 2]) -> Result<SealedUpdate, SealError> {
    let new = update.needs_snapshot().then(|| sign_snapshot(&update, *snapshot));
    let newest = sign_timestamp(&update, new.as_ref(), *timestamp);
    update.seal(new.map(|new| new.bytes().clone()), newest)
}

fn sign_snapshot(update: &AcceptedUpdate, key: TestKey) -> SignedMetadata<Snapshot> {
    let root = update.root().payload();
    let secret = key.secret();
    let signers: [&dyn Signer; 1] = [&secret];
    next_snapshot(DIALECT, update, later()).unwrap().sign(&signers, &root.snapshot, &root.keys).unwrap()
}

fn sign_timestamp(
    update: &AcceptedUpdate,
    snapshot: Option<&SignedMetadata<Snapshot>>,
    key: TestKey,
) -> Bytes {
    let root = update.root().payload();
    let secret = key.secret();
    let signers: [&dyn Signer; 1] = [&secret];
    let draft = next_timestamp(DIALECT, update, snapshot.map(SignedMetadata::describe), later()).unwrap();
    draft.sign(&signers, &root.timestamp, &root.keys).unwrap().bytes().clone()
}

fn documents(state: &CurrentState) -> BTreeMap<RoleName, Bytes> {
    let mut documents = BTreeMap::from([
        (RoleName::Root, state.root().bytes().clone()),
        (RoleName::Targets, state.targets().bytes().clone()),
        (RoleName::Snapshot, state.snapshot().bytes().clone()),
        (RoleName::Timestamp, state.timestamp().bytes().clone()),
    ]);
    let delegated = state.delegated().iter();
    documents.extend(delegated.map(|(name, doc)| (RoleName::Delegated(name.clone()), doc.bytes().clone())));
    documents
}

#[test]
fn clients_follow_whatever_the_server_accepts() {
    let releases = Ok(RoleName::Delegated("releases".parse().unwrap()));
    let mut world = World::new();
    assert_eq!(world.look_up("v1"), releases);
    assert_eq!(world.look_up("v2"), Err("no role lists v2".to_owned()));

    world.upload(|repo| {
        list(bump(repo.alice(), 1), "v2");
        list(bump(repo.targets_doc("releases"), 1), "v2");
    });
    assert_eq!(world.look_up("v2"), releases);

    // A second signer comes, with a role of his own below him.
    world.upload(|repo| {
        bump(&mut repo.targets, 1);
        repo.delegate("targets", &delegation("bob", &[BOB], &["b*"])).add("bob", &["b1"], &[BOB]);
        repo.delegate("bob", &delegation("bob.ci", &[BOB], &["*"])).add("bob.ci", &["b2"], &[BOB]);
    });
    assert_eq!(world.look_up("b2"), Ok(RoleName::Delegated("bob.ci".parse().unwrap())));

    // He goes, and his name comes again with other keys and the next version of his counter.
    let gone = world.uploaded.delegated["bob"].clone();
    world.upload(|repo| {
        bump(&mut repo.targets, 1).remove("delegations/roles/2");
        repo.delegated.remove("bob");
        repo.delegated.remove("bob.ci");
    });
    assert_eq!(world.look_up("b1"), Err("no role lists b1".to_owned()));
    assert!(world.state.snapshot().payload().meta.contains_key(&"bob".parse().unwrap()));
    world.upload(|repo| {
        let other = TestKey::p256("another bob");
        bump(&mut repo.targets, 1);
        repo.delegate("targets", &delegation("bob", &[other], &["b*"]));
        repo.delegated.insert("bob".to_owned(), gone);
        bump(repo.targets_doc("bob"), 1).signed_by(&[other]).remove("delegations");
    });
    assert_eq!(world.look_up("b1"), Ok(RoleName::Delegated("bob".parse().unwrap())));

    // Online keys are rotated, then the root keys.
    world.online = [Repo::SNAPSHOT, NEW_TIMESTAMP];
    world.upload(|repo| {
        repo.next_root().trust("roles/timestamp", &[NEW_TIMESTAMP], 1);
    });
    assert_eq!(world.look_up("v1"), releases);
    world.upload(|repo| {
        repo.next_root().trust("roles/root", &[BOB], 1).signed_by(&[Repo::ROOT, BOB]);
    });
    assert_eq!(world.look_up("v1"), releases);
}

#[test]
fn the_server_refuses_its_own_bad_output() {
    let mut world = World::new();
    let renewal = AcceptedUpdate::renewal(&world.state, now());
    assert!(!renewal.needs_snapshot(), "nothing changed");
    let same = world.state.timestamp().bytes().clone();
    assert_eq!(renewal.seal(None, same).unwrap_err(), SealError::SameTimestamp);

    // A targets role changed, and the snapshot did not.
    let before = world.uploaded.clone();
    list(bump(world.uploaded.alice(), 1), "v2");
    let submission = || changed(Some(&before), &world.uploaded);
    let update = check(Some(&world.state), submission(), &world.online);
    assert!(update.needs_snapshot());
    let timestamp = sign_timestamp(&update, None, Repo::TIMESTAMP);
    assert_eq!(update.clone().seal(None, timestamp).unwrap_err(), SealError::OtherContent);

    // A timestamp that another key signed.
    let snapshot = sign_snapshot(&update, Repo::SNAPSHOT);
    let unsigned = world.state.snapshot().bytes().clone();
    let error = update.clone().seal(Some(snapshot.bytes().clone()), unsigned).unwrap_err();
    assert!(
        matches!(error, SealError::Chain(ChainError::Verify { role: RoleName::Timestamp, .. })),
        "{error}"
    );

    // A snapshot for a timestamp that lists another one.
    let stale = sign_timestamp(&update, None, Repo::TIMESTAMP);
    let error = update.seal(Some(snapshot.bytes().clone()), stale).unwrap_err();
    assert_eq!(error, SealError::Chain(ChainError::Mismatch { role: RoleName::Snapshot }));
}

#[test]
fn a_rotation_lets_no_version_be_used_again() {
    // The floor of clients is gone, yet files must not change their content.
    let mut world = World::new();
    let before = world.uploaded.clone();
    world.uploaded.next_root().trust("roles/timestamp", &[NEW_TIMESTAMP], 1);
    let update =
        check(Some(&world.state), changed(Some(&before), &world.uploaded), &[Repo::SNAPSHOT, NEW_TIMESTAMP]);
    let mut repo = world.uploaded.clone();
    repo.timestamp.signed_by(&[NEW_TIMESTAMP]);
    let error = update.clone().seal(None, repo.files()["timestamp.json"].clone()).unwrap_err();
    assert_eq!(error, SealError::SameTimestamp);

    repo.timestamp.set_number("version", 2);
    repo.snapshot.set("expires", "2030-06-01T00:00:00Z");
    let files = repo.files();
    let other = files["1.snapshot.json"].clone();
    assert_eq!(
        update.seal(Some(other), files["timestamp.json"].clone()).unwrap_err(),
        SealError::SameSnapshot
    );
}

#[test]
fn a_state_is_loaded_only_if_every_edge_holds() {
    for (signers, holds) in [(&[Repo::ALICE, BOB][..], true), (&[BOB], false), (&[Repo::ALICE], false)] {
        let mut repo = Repo::bare();
        for (name, key) in [("alice", Repo::ALICE), ("bob", BOB)] {
            repo.delegate("targets", &delegation(name, &[key], &["v*"])).add(name, &[], &[key]);
            repo.delegate(name, &delegation("shared", &[key], &["*"]));
        }
        repo.add("shared", &["v1"], signers);
        let loaded = CurrentState::load(DIALECT, &repo.documents());
        assert_eq!(loaded.is_ok(), holds, "{loaded:?}");
    }
    let mut documents = signed().documents();
    documents.remove(&RoleName::Snapshot);
    let error = CurrentState::load(DIALECT, &documents).unwrap_err();
    assert_eq!(error, BrokenState::Missing { role: RoleName::Snapshot });
}

#[test]
fn a_chain_of_roots_is_followed_in_steps() {
    // 256 new roots in one run; the next run goes on from there (C3, C8).
    let mut repo = Repo::flat();
    for _ in 0..300 {
        repo.next_root();
    }
    let files = repo.files();
    let client = Client { served: files, ..client(&repo) };
    let run = client.run();
    assert_eq!(run.result, Ok(RoleName::Targets));
    assert!(
        run.asked.contains(&"257.root.json".to_owned()) && !run.asked.contains(&"258.root.json".to_owned())
    );
    let run = Client { stored: run.stored, ..client }.run();
    assert_eq!(run.result, Ok(RoleName::Targets));
    assert!(run.asked.contains(&"302.root.json".to_owned()), "{:?}", run.asked);
}

#[test]
fn a_refused_run_keeps_what_it_had_and_is_refused_again() {
    // CVE-2020-15163, CVE-2025-2888, C8, C29: every attack, twice.
    for attack in crate::attacks() {
        let client = (attack.build)(true);
        let run = client.run();
        let kept = client.stored.keys().all(|name| run.stored.contains_key(name));
        assert!(kept, "{}", attack.name);
        let again = Client { stored: run.stored.clone(), ..client }.run();
        assert_eq!(again.result, run.result, "{}", attack.name);
        assert_eq!(again.stored, run.stored, "{}", attack.name);
    }
}

#[test]
fn a_refused_timestamp_does_not_stand_in_the_way_of_a_good_one() {
    let good = client(&Repo::new());
    let mut refused = 0;
    for attack in crate::attacks() {
        let Client { served, now, last_accepted, .. } = (attack.build)(true);
        let spoiled = Client { served, now, last_accepted, ..good.clone() };
        let stored = spoiled.run().stored;
        if stored.is_empty() {
            refused += 1;
            let recovered = Client { stored, ..good.clone() }.run();
            assert_eq!(recovered.result, good.run().result, "{}", attack.name);
        }
    }
    assert!(refused > 10, "{refused}");
}

#[test]
fn a_pin_of_keys_is_met_by_any_root_of_theirs() {
    let repo = Repo::new();
    let fingerprints = [Repo::ROOT.fingerprint()].into();
    let pin = Pin::Keys { fingerprints, threshold: Threshold::ONE };
    assert!(Client { pin, ..client(&repo) }.run().result.is_ok());
}
