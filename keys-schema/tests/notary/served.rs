//! Hostile servers: what a client that was there before refuses, and what nobody can notice.

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Object;
use bulla_keys_schema::metadata::{MetaInfo, Snapshot, Timestamp, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::{Authority, CurrentState};
use bulla_keys_schema::verify::{Pin, RootChain, RootError, VerifyError};
use bytes::Bytes;

use crate::client::Client;
use crate::papers::{
    ALICE, Holder, Papers, ROOT, SNAPSHOT, TIMESTAMP, bare, certificate, certificate_from, delegate, list,
    name, root_signed_by, trust, wrapped,
};
use crate::server::{Served, Server, held};
use crate::{DIALECT, Doc, later, now, repository, time};

/// What a server with stolen online keys shows after `server`: a newer snapshot and timestamp
/// over whatever it likes.
fn forged(server: &Server, edit: impl FnOnce(&mut BTreeMap<RoleName, MetaInfo>)) -> Served {
    let state = server.state();
    let mut served = server.served.clone();
    let mut meta = state.snapshot().payload().meta.clone();
    edit(&mut meta);
    let version = state.snapshot().version().next().unwrap();
    let snapshot = Snapshot { version, expires: later(), meta, extra: Object::new() };
    let bytes = Doc::of(DIALECT, &snapshot, [(bare(SNAPSHOT).0, SNAPSHOT)]).bytes();
    served.put(&bytes);
    served.timestamp = timestamp(&bytes, state.timestamp().version().next().unwrap());
    served
}

fn timestamp(snapshot: &Bytes, version: Version) -> Bytes {
    let snapshot = described(snapshot);
    let timestamp = Timestamp { version, expires: later(), snapshot, signed_at: None, extra: Object::new() };
    Doc::of(DIALECT, &timestamp, [(bare(TIMESTAMP).0, TIMESTAMP)]).bytes()
}

fn described(bytes: &Bytes) -> MetaInfo {
    DIALECT.describe(Version::FIRST, &bytes.clone().into())
}

/// A server, a client that has seen it, and the documents it had before.
fn world() -> (Server, Client, Papers) {
    let old = Papers::new(Holder::Server);
    let mut server = Server::with(&old);
    let mut new = old.clone();
    list(new.next("targets/releases"), "v2");
    list(new.next("targets/alice"), "v2");
    new.next("targets");
    server.publish(new.since(Some(&old))).unwrap();
    let mut client = Client::new(&server.served);
    client.follow(&server.served).unwrap();
    (server, client, old)
}

#[test]
fn an_older_role_under_a_newer_snapshot_is_a_rollback() {
    let (server, mut client, old) = world();
    // What was never seen cannot be missed: a client that was not there before is not warned.
    let served = forged(&server, |meta| {
        for (role, doc) in &old.delegated {
            meta.insert(RoleName::Delegated(name(role)), described(&doc.bytes()));
        }
    });
    assert!(Client::new(&served).follow(&served).unwrap().refused.is_empty());
    let view = client.clone().follow(&served).unwrap();
    let refused: Vec<&str> = view.refused.values().map(String::as_str).collect();
    assert_eq!(refused, ["alice went back from version 2 to 1", "releases went back from version 2 to 1"]);

    let served = forged(&server, |meta| {
        meta.insert(RoleName::Targets, described(&old.targets.bytes()));
    });
    assert_eq!(client.clone().follow(&served).err().unwrap(), "targets went back from version 3 to 2");
    // The healthy twin.
    let served = forged(&server, |_| {});
    assert!(client.follow(&served).unwrap().refused.is_empty());
}

#[test]
fn a_floor_of_keys_that_no_longer_count_binds_nobody() {
    // Who lost a key must be able to go on, whatever its thief made of the version.
    let old = Papers::new(Holder::Server);
    let mut server = Server::with(&old);
    let mut client = Client::new(&server.served);
    client.follow(&server.served).unwrap();
    let stolen = {
        let mut stolen = old.clone();
        list(stolen.next("targets/alice"), "evil").set_number("version", 2_147_483_647);
        stolen.delegated["targets/alice"].bytes()
    };
    let mut served = forged(&server, |meta| {
        meta.insert(RoleName::Delegated(name("targets/alice")), described(&stolen));
    });
    served.put(&stolen);
    assert_eq!(client.follow(&served).unwrap().listing("evil"), ["alice"].into());
    let mut new = old.clone();
    trust(new.next("targets"), "delegations/roles/1", &[bare(crate::papers::BOB)], 1);
    crate::papers::signed_by(list(new.next("targets/alice"), "v3"), &[crate::papers::BOB]);
    server.publish(new.since(Some(&old))).unwrap();
    server.renew();
    let mut later = forged(&server, |_| {});
    later.files.extend(served.files);
    assert_eq!(client.follow(&later).unwrap().listing("v3"), ["alice"].into());
}

#[test]
fn an_older_snapshot_or_timestamp_is_a_rollback() {
    let (server, mut client, old) = world();
    let stale = Server::with(&old);
    let refused = client.follow(&stale.served).err().unwrap();
    assert_eq!(refused, "timestamp went back from version 2 to 1");
    // A fresh timestamp over the old snapshot.
    let mut served = server.served;
    served.files.extend(stale.served.files.clone());
    let snapshot = stale.state().snapshot().bytes();
    served.timestamp = timestamp(snapshot, Version::new(9).unwrap());
    assert_eq!(client.follow(&served).err().unwrap(), "snapshot went back from version 2 to 1");
}

#[test]
fn a_root_that_the_snapshot_does_not_list_is_none() {
    let old = Papers::new(Holder::Server);
    let mut server = Server::with(&old);
    let mut client = Client::new(&server.served);
    client.follow(&server.served).unwrap();
    let mut new = old.clone();
    new.next_root();
    server.publish(new.since(Some(&old))).unwrap();

    // The new root withheld: the snapshot says that there is one.
    let mut served = server.served.clone();
    served.roots.remove(&2);
    let refused = client.clone().follow(&served).err().unwrap();
    assert_eq!(refused, "root has other bytes than listed: length or digest differ");
    // The old root listed under the new one.
    let served = forged(&server, |meta| {
        meta.insert(RoleName::Root, described(&old.root.bytes()));
    });
    let refused = client.clone().follow(&served).err().unwrap();
    assert_eq!(refused, "root has other bytes than listed: length or digest differ");
    assert!(client.follow(&server.served).is_ok());
}

#[test]
fn later_roots_need_certificates_for_this_repository() {
    let papers = Papers::new(Holder::Server);
    let server = Server::with(&papers);
    let mut client = Client::new(&server.served);
    let old = certificate(ROOT, repository().as_str());
    let serve = |certificate: &bulla_keys_schema::key::Certificate| {
        let mut root = papers.root.clone();
        trust(crate::papers::bump(&mut root, 1), "roles/root", &[wrapped(certificate)], 1);
        root_signed_by(&mut root, &[(&old, ROOT), (certificate, ALICE)]);
        let bytes = root.bytes();
        let mut served = forged(&server, |meta| {
            meta.insert(RoleName::Root, described(&bytes));
        });
        served.roots.insert(2, bytes);
        served
    };
    // Not kept either: the right one can still be followed.
    let refused = client.follow(&serve(&certificate(ALICE, "registry.example.com/other"))).err();
    let none = "root: 0 of 1 required root keys have a valid certificate for this repository";
    assert_eq!(refused.as_deref(), Some(none));
    let over =
        certificate_from(ALICE, repository().as_str(), time("2020-01-01T00:00:00Z"), now().plus_seconds(-1));
    assert_eq!(client.clone().follow(&serve(&over)).err().as_deref(), Some(none));
    assert!(client.follow(&serve(&certificate(ALICE, repository().as_str()))).is_ok());
}

#[test]
fn an_old_key_for_another_repository_leads_nowhere() {
    let (own, other) =
        (certificate(ROOT, repository().as_str()), certificate(ALICE, "registry.example.com/other"));
    let mut papers = Papers::new(Holder::Server);
    trust(&mut papers.root, "roles/root", &[wrapped(&own), wrapped(&other)], 1);
    let server = Server::with(&papers);
    let client = Client::new(&server.served);
    let serve = |signers: &[(&bulla_keys_schema::key::Certificate, crate::TestKey)]| {
        let mut root = papers.root.clone();
        crate::papers::bump(&mut root, 1);
        root_signed_by(&mut root, signers);
        let bytes = root.bytes();
        let mut served = forged(&server, |meta| {
            meta.insert(RoleName::Root, described(&bytes));
        });
        served.roots.insert(2, bytes);
        served
    };
    let refused = client.clone().follow(&serve(&[(&other, ALICE)])).err();
    let none = "root: 0 of 1 required root keys have a valid certificate for this repository";
    assert_eq!(refused.as_deref(), Some(none));
    // Nor does it lead on from a root that its own key signed.
    let mut next = papers.root.clone();
    let new = certificate(crate::papers::MALLORY, repository().as_str());
    trust(crate::papers::bump(&mut next, 1), "roles/root", &[wrapped(&new)], 1);
    root_signed_by(&mut next, &[(&other, ALICE), (&new, crate::papers::MALLORY)]);
    let mut served = server.served.clone();
    served.roots.insert(2, next.bytes());
    assert_eq!(client.clone().follow(&served).err().as_deref(), Some(none));
    assert!({ client }.follow(&serve(&[(&own, ROOT)])).is_ok());
}

#[test]
fn nobody_trusts_a_root_without_saying_of_which_repository() {
    let papers = Papers::new(Holder::Server);
    let root = papers.root.bytes();
    let pin = Pin::Digest(Sha256Digest::of(&root));
    let chain = || RootChain::start(DIALECT, root.clone(), &pin).unwrap();
    let forgotten = chain().finish(now(), None);
    assert_eq!(forgotten.err(), Some(RootError::Verify(VerifyError::OtherRepository { found: None })));
    let asked = chain().require_repository(&repository(), false).unwrap();
    assert!(asked.finish(now(), None).is_ok());
}

/// A pin for many repositories says nothing about which is which, so a certificate for many of
/// them does not either.
#[test]
fn a_pin_for_many_repositories_needs_a_certificate_for_the_very_one() {
    for (name, exactly) in [(repository().as_str(), true), ("registry.example.com/team/*", false)] {
        let mut papers = Papers::new(Holder::Server);
        let own = certificate(ROOT, name);
        trust(&mut papers.root, "roles/root", &[wrapped(&own)], 1);
        root_signed_by(&mut papers.root, &[(&own, ROOT)]);
        let root = papers.root.bytes();
        let pin = Pin::Digest(Sha256Digest::of(&root));
        let chain = || RootChain::start(DIALECT, root.clone(), &pin).unwrap();
        assert!(chain().require_repository(&repository(), false).is_ok(), "{name}");
        assert_eq!(chain().require_repository(&repository(), true).is_ok(), exactly, "{name}");
    }
}

/// What nobody can notice in this dialect, and what limits it: documents do not say of which role
/// they are. Where two roles have the same keys, whoever holds the snapshot key can show the
/// document of one as that of the other, so long as its version is not older, and it does not
/// delegate. Without the snapshot key, nobody can.
#[test]
fn documents_of_two_roles_with_the_same_keys_can_be_swapped_by_the_snapshot_key_alone() {
    let mut papers = Papers::new(Holder::Server);
    list(papers.role("targets/alice"), "unreleased");
    let server = Server::with(&papers);
    let [alice, releases] = ["targets/alice", "targets/releases"].map(|role| papers.delegated[role].bytes());
    let [alice_role, releases_role] =
        ["targets/alice", "targets/releases"].map(|role| RoleName::Delegated(name(role)));

    // With the key: not noticed.
    let swapped = |meta: &mut BTreeMap<RoleName, MetaInfo>| {
        meta.insert(releases_role.clone(), described(&alice));
        meta.insert(alice_role.clone(), described(&releases));
    };
    let served = forged(&server, swapped);
    let view = Client::new(&served).follow(&served).unwrap();
    assert_eq!(view.listing("unreleased"), ["releases"].into());

    // Without: the digest in the snapshot tells.
    let mut served = server.served;
    served.files.insert(Sha256Digest::of(&releases), alice.clone());
    let view = Client::new(&served).follow(&served).unwrap();
    assert_eq!(view.refused[&releases_role], "releases has other bytes than listed: length or digest differ");

    // A document that delegates fits one name only.
    let mut papers = papers.clone();
    delegate(papers.role("targets/alice"), "targets/alice/phone", &[crate::papers::BOB]);
    let server = Server::with(&papers);
    let bytes = papers.delegated["targets/alice"].bytes();
    let served = forged(&server, |meta| {
        meta.insert(releases_role.clone(), described(&bytes));
    });
    let view = Client::new(&served).follow(&served).unwrap();
    assert_eq!(
        view.refused[&releases_role],
        "releases: targets.delegations.roles must be roles right below this one"
    );
    // Nor can it stand for targets, even if the same key signs those.
    let mut papers = Papers::new(Holder::Server);
    trust(&mut papers.root, "roles/targets", &[bare(crate::papers::TARGETS), bare(ALICE)], 1);
    delegate(papers.role("targets/alice"), "targets/alice/phone", &[crate::papers::BOB]);
    let server = Server::with(&papers);
    let bytes = papers.delegated["targets/alice"].bytes();
    let served = forged(&server, |meta| {
        meta.insert(RoleName::Targets, described(&bytes));
    });
    let refused = Client::new(&served).follow(&served).err().unwrap();
    assert_eq!(refused, "targets: targets.delegations.roles must be roles right below this one");
}

/// A role that is left out of a new snapshot is not there. Notary's snapshots forget roles when
/// their owners do, so this cannot be refused here; whoever looks for a tag must not go on
/// without a role that is delegated to.
#[test]
fn a_role_that_is_left_out_is_missing_and_not_empty() {
    let (server, mut client, _) = world();
    let releases = RoleName::Delegated(name("targets/releases"));
    let served = forged(&server, |meta| assert!(meta.remove(&releases).is_some()));
    let view = client.follow(&served).unwrap();
    assert_eq!(view.refused[&releases], "releases is missing");
}

#[test]
fn expired_documents_are_refused() {
    let expiring = |role: &str| {
        let mut papers = Papers::new(Holder::Client);
        let until = "2030-01-02T00:00:00Z";
        match role {
            "root" => papers.root.set("expires", until),
            "snapshot" => papers.snapshot.as_mut().unwrap().set("expires", until),
            other => papers.role(other).set("expires", until),
        };
        let mut server = Server::with(&papers);
        let mut client = Client::new(&server.served);
        client.follow(&server.served).unwrap();
        server.now = time("2030-01-02T00:00:00Z");
        client.now = server.now;
        server.renew();
        match client.follow(&server.served) {
            Err(error) => error,
            Ok(view) => view.refused.into_values().collect::<Vec<_>>().join("; "),
        }
    };
    for (role, version) in [("root", 1), ("snapshot", 2), ("targets", 2)] {
        assert_eq!(expiring(role), format!("{role} version {version} expired at 2030-01-02T00:00:00Z"));
    }
    assert_eq!(expiring("targets/alice"), "alice version 1 expired at 2030-01-02T00:00:00Z");
    let mut stale = Server::with(&Papers::new(Holder::Client));
    let mut client = Client::new(&stale.served);
    client.now = now().plus_seconds(1000);
    assert_eq!(
        client.follow(&stale.served).err().unwrap(),
        "timestamp version 1 expired at 2030-01-01T00:16:40Z"
    );
    stale.now = client.now;
    stale.renew();
    assert!(client.follow(&stale.served).is_ok());
}

#[test]
fn a_repository_keeps_its_dialect() {
    let before = Papers::new(Holder::Server);
    let server = Server::with(&before);
    let mut after = before.clone();
    list(after.next("targets/alice"), "v2");
    after.next("targets");
    let authority = Authority { held_keys: &held(), repository: &repository(), now: now() };
    let check = |said: Dialect| after.since(Some(&before)).check(said, Some(server.state()), &authority);
    // Whoever handed the upload over may be wrong about it, the state is not.
    for said in [Dialect::Notary1, Dialect::Tuf1] {
        assert_eq!(check(said).unwrap().root().dialect(), Dialect::Notary1);
    }
    // The documents of one dialect are none of the other.
    assert!(CurrentState::load(Dialect::Tuf1, &server.documents).is_err());
    let authority = Authority { held_keys: &held(), repository: &repository(), now: now() };
    let refused = before.first().check(Dialect::Tuf1, None, &authority).unwrap_err();
    assert_eq!(refused.to_string(), "root: _type is \"Root\", expected root");
}
