//! A repository that Debian's notary 0.7.0 wrote and its server kept: what it uploaded is accepted
//! here, what its server made of it is what we would have made, and every byte is as we write it.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::dialect::{Document, Envelope};
use bulla_keys_schema::digest::{Hashed, Sha256Digest};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::metadata::{MetaInfo, Root, Snapshot, Targets, Timestamp};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::Submission;
use bytes::Bytes;

use crate::client::Client;
use crate::papers::name;
use crate::server::Server;
use crate::{DIALECT, samples, time};

/// A document in one version.
struct Kept {
    role: String,
    version: u64,
    bytes: Bytes,
}

/// From `targets+alice-2.json` on.
fn kept() -> Vec<Kept> {
    let read = |(name, bytes): (String, Vec<u8>)| {
        let (role, version) = name.strip_suffix(".json")?.rsplit_once('-')?;
        Some(Kept { role: role.replace('+', "/"), version: version.parse().ok()?, bytes: bytes.into() })
    };
    let mut kept: Vec<Kept> = samples::folder("notary-repository").into_iter().filter_map(read).collect();
    kept.sort_by_key(|kept| kept.version);
    kept
}

fn signed(bytes: &Bytes) -> Object {
    let whole = Json::parse(bytes).unwrap();
    whole.as_object().unwrap().get("signed").unwrap().as_object().unwrap().clone()
}

fn decoded<D: Document>(bytes: &Bytes) -> D {
    D::decode(DIALECT, &mut signed(bytes)).unwrap()
}

#[test]
fn every_document_is_written_byte_for_byte() {
    let kept = kept();
    assert!(kept.len() > 40, "{}", kept.len());
    for Kept { role, version, bytes } in kept {
        let again = match role.as_str() {
            "root" => decoded::<Root>(&bytes).encode(DIALECT),
            "snapshot" => decoded::<Snapshot>(&bytes).encode(DIALECT),
            "timestamp" => decoded::<Timestamp>(&bytes).encode(DIALECT),
            _ => decoded::<Targets>(&bytes).encode(DIALECT),
        };
        // Dates are written with whole seconds.
        let expires = signed(&bytes).get("expires").unwrap().clone();
        let again = Object::from_iter(again.into_iter().chain([("expires".to_owned(), expires)]));
        let envelope = Envelope::parse(DIALECT, &bytes).unwrap();
        let written = Envelope::write(DIALECT, again, envelope.signatures());
        assert_eq!(String::from_utf8(written).unwrap(), bytes, "{role} {version}");
    }
}

#[test]
fn a_life_with_notary_is_lived_again() {
    let kept = kept();
    let found = |info: &MetaInfo| {
        let digest = info.hashes.as_ref().unwrap().as_sha256().unwrap();
        kept.iter().find(|kept| Sha256Digest::of(&kept.bytes) == digest).unwrap()
    };
    let mut server = Server::empty();
    server.now = time("2026-11-21T12:00:00Z");
    let mut client = None;
    let mut lived = Vec::new();
    let mut before: BTreeSet<Bytes> = BTreeSet::new();
    for timestamp in kept.iter().filter(|kept| kept.role == "timestamp") {
        let snapshot = found(&decoded::<Timestamp>(&timestamp.bytes).snapshot);
        let listed: BTreeMap<RoleName, &Kept> = decoded::<Snapshot>(&snapshot.bytes)
            .meta
            .iter()
            .map(|(role, info)| (role.clone(), found(info)))
            .collect();
        let root = listed[&RoleName::Root];
        // Notary's server holds the timestamp key always, the snapshot key from root 2 to 4.
        let payload: Root = decoded(&root.bytes);
        let is_held = (2..=4).contains(&root.version);
        server.held = payload.timestamp.fingerprints(&payload.keys);
        if is_held {
            server.held.extend(payload.snapshot.fingerprints(&payload.keys));
        }
        let new =
            |kept: &Kept| Some(kept.bytes.clone()).filter(|bytes| !before.contains(bytes)).map(Hashed::from);
        let delegated = listed.values().filter(|kept| kept.role.starts_with("targets/"));
        let submission = Submission {
            roots: new(root).into_iter().collect(),
            targets: new(listed[&RoleName::Targets]),
            delegated: delegated.filter_map(|kept| Some((name(&kept.role), new(kept)?))).collect(),
            snapshot: new(snapshot).filter(|_| !is_held),
            target_files: Vec::new(),
        };
        before.extend(listed.values().map(|kept| kept.bytes.clone()).chain([snapshot.bytes.clone()]));

        let update = server.check(submission).unwrap();
        let theirs = Some(snapshot.bytes.clone()).filter(|_| is_held && update.needs_snapshot());
        server.commit(update.seal(theirs, timestamp.bytes.clone()).unwrap());
        let client = client.get_or_insert_with(|| Client::new(&server.served));
        client.now = server.now;
        let view = client.follow(&server.served).unwrap();
        let roles: Vec<&str> = view.roles.keys().map(RoleName::as_str).collect();
        lived.push(format!("{} {}", timestamp.version, roles.join(" ")));
    }
    assert_eq!(
        lived,
        [
            "1 targets",
            "2 targets",
            "3 targets alice releases",
            "4 targets alice releases",
            "5 targets alice releases",
            "6 targets alice alice/phone releases",
            "7 targets alice alice/phone releases",
            "8 targets alice alice/phone releases",
            "9 targets alice alice/phone releases",
            // Removed; and added again, where the snapshot lists the child and not the parent.
            "10 targets releases",
            "11 targets releases",
            "12 targets releases",
            "13 targets releases",
        ]
    );
    assert_eq!(server.state().retired().len(), 2);
}
