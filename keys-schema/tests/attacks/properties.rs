//! Promises of the rules, tried on values drawn at random.

use std::collections::BTreeSet;

use bulla_keys_schema::dialect::Document;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{Root, Snapshot, Targets, Timestamp};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::{Authority, CurrentState};
use bulla_keys_schema::verify::{RawMetadata, VerifyError};
use bytes::Bytes;
use proptest::prelude::*;

use crate::attack::client;
use crate::support::{Client, DIALECT, Repo, TestKey, now, repository};
use crate::uploads::{changed, held, signed};

const SIGNER: TestKey = TestKey::new("signer");

/// Keys 0 to 4, each declared under up to three ids.
fn declared() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::btree_set((0..5usize, 0..3usize), 1..10).prop_map(|ids| ids.into_iter().collect())
}

fn id((key, alias): (usize, usize)) -> String {
    format!("key-{key}-{alias}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A role is met by k distinct secrets, however many ids and signatures there are.
    #[test]
    fn thresholds_count_secrets(
        listed in declared(),
        signatures in prop::collection::btree_set((0..5usize, 0..3usize, 0..5usize), 0..10),
        threshold in 1..6i64,
    ) {
        let mut repo = Repo::flat();
        repo.root().trust("roles/targets", &[], threshold);
        for entry in &listed {
            repo.root().trust_as("roles/targets", &id(*entry), SIGNER.nth(entry.0).object());
        }
        // The third number is the key that really signs under the id of the first two.
        let mut used = BTreeSet::new();
        let mut expected: BTreeSet<Fingerprint> = BTreeSet::new();
        repo.targets.signed_by(&[]);
        for (key, alias, signer) in signatures {
            if !used.insert((key, alias)) {
                continue;
            }
            repo.targets.signed_as(&id((key, alias)), SIGNER.nth(signer));
            if key == signer && listed.contains(&(key, alias)) {
                expected.insert(SIGNER.nth(key).fingerprint());
            }
        }
        let met = i64::try_from(expected.len()).unwrap() >= threshold;
        let root = RawMetadata::<Root>::new(DIALECT, repo.root().bytes()).verify_first().unwrap();
        let root = root.payload();
        let result = RawMetadata::<Targets>::new(DIALECT, repo.targets.bytes()).verify(&root.targets, &root.keys);
        match result {
            Ok(verified) => {
                prop_assert!(met);
                prop_assert_eq!(verified.signed_by(), &expected);
            }
            Err(VerifyError::Threshold { signed_by, missing, .. }) => {
                prop_assert!(!met);
                prop_assert_eq!(&signed_by, &expected);
                prop_assert!(missing.is_disjoint(&signed_by));
            }
            Err(error) => prop_assert!(false, "{}", error),
        }
    }

    /// What goes in as a version comes out as that version.
    #[test]
    fn versions_in_are_versions_out(version in 1..(1i64 << 53)) {
        let mut repo = Repo::flat();
        repo.targets.set_number("version", version);
        let root = RawMetadata::<Root>::new(DIALECT, repo.root().bytes()).verify_first().unwrap();
        let root = root.payload();
        let targets = RawMetadata::<Targets>::new(DIALECT, repo.targets.bytes()).verify(&root.targets, &root.keys);
        let targets = targets.unwrap();
        prop_assert_eq!(i64::try_from(targets.version().get()).unwrap(), version);
        let again = targets.payload().encode(DIALECT);
        prop_assert_eq!(again.get("version"), repo.targets.get("version"));
        prop_assert!(client(&repo).run().result.is_ok());
    }

    /// A server takes the very next version and no other.
    #[test]
    fn uploads_take_the_next_version_only(current in 1..1_000i64, uploaded in 1..1_003i64) {
        let mut before = signed();
        before.alice().set_number("version", current);
        let mut after = before.clone();
        after.alice().set_number("version", uploaded).set("x_note", "new");
        let state = CurrentState::load(DIALECT, &before.documents()).unwrap();
        let result = changed(Some(&before), &after)
            .check(DIALECT, Some(&state), &Authority { repository: &repository(), held_keys: &held(), now: now() });
        prop_assert_eq!(result.is_ok(), uploaded == current + 1);
    }

    /// A flipped byte anywhere in what is served is refused, or leaves the answer as it is;
    /// nothing panics.
    #[test]
    fn changed_bytes_never_change_the_answer(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let mut spoiled = client(&Repo::new());
        let answer = spoiled.run().result;
        let names: Vec<String> = spoiled.served.keys().cloned().collect();
        let name = which.get(&names);
        let mut bytes = spoiled.served[name].to_vec();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] = with }
        spoiled.served.insert(name.clone(), bytes.into());
        if let Ok(role) = spoiled.run().result {
            prop_assert_eq!(Ok(role), answer);
        }
    }

    /// The same where the changed document is signed by the right key: any value in place of
    /// any member, for each kind of document.
    #[test]
    fn signed_nonsense_never_panics(
        kind in 0..5usize,
        member in any::<prop::sample::Index>(),
        text in prop_oneof![
            Just("null"), Just("-1"), Just("0"), Just("\"\""), Just("[]"), Just("{}"), Just("[[]]"),
            Just("{\"\":{}}"), Just("[null]"), Just("9007199254740991"), Just("\"\\u0000\""),
        ],
    ) {
        let mut repo = signed();
        let paths = ["_type", "version", "expires", "spec_version", "keys", "roles", "roles/root",
            "roles/root/keyids", "roles/timestamp/threshold", "meta", "meta/snapshot.json", "targets",
            "targets/v1", "targets/v1/hashes", "delegations", "delegations/keys", "delegations/roles",
            "delegations/roles/0", "delegations/roles/0/paths", "consistent_snapshot", "x_bulla_role",
            "x_bulla_revoked"];
        let doc = match kind {
            0 => repo.root(),
            1 => &mut repo.targets,
            2 => repo.alice(),
            3 => &mut repo.snapshot,
            _ => &mut repo.timestamp,
        };
        let path = member.get(&paths);
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        if parent.is_empty() || doc.get(parent).is_some() {
            doc.set(path, bulla_keys_schema::json::Json::parse(text.as_bytes()).unwrap());
            let bytes = doc.bytes();
            no_panic(&bytes);
            let _ = client(&repo).run();
            let submission = changed(None, &repo);
            let _ = submission.check(DIALECT, None, &Authority { repository: &repository(), held_keys: &held(), now: now() });
        }
    }

    /// Bytes that nobody made on purpose.
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let bytes = Bytes::from(bytes);
        no_panic(&bytes);
        let mut spoiled: Client = client(&Repo::new());
        spoiled.served.insert("timestamp.json".to_owned(), bytes.clone());
        prop_assert!(spoiled.run().result.is_err());
        let state = CurrentState::load(DIALECT, &signed().documents()).unwrap();
        let mut submission = changed(None, &signed());
        submission.roots.clear();
        submission.targets = Some(bytes.into());
        let result = submission.check(DIALECT, Some(&state), &Authority { repository: &repository(), held_keys: &held(), now: now() });
        prop_assert!(result.is_err());
    }
}

/// Reads `bytes` as every kind of document.
fn no_panic(bytes: &Bytes) {
    fn read<R: Document>(bytes: &Bytes, root: &Root) {
        for role in [&root.root, &root.targets, &root.snapshot, &root.timestamp] {
            let _ = RawMetadata::<R>::new(DIALECT, bytes.clone()).verify(role, &root.keys);
        }
    }
    let _ = RawMetadata::<Root>::new(DIALECT, bytes.clone()).verify_first();
    let mut repo = signed();
    let root = RawMetadata::<Root>::new(DIALECT, repo.root().bytes()).verify_first().unwrap();
    read::<Root>(bytes, root.payload());
    read::<Targets>(bytes, root.payload());
    read::<Snapshot>(bytes, root.payload());
    read::<Timestamp>(bytes, root.payload());
    let documents = [(RoleName::Root, bytes.clone())].into();
    let _ = CurrentState::load(DIALECT, &documents);
}
