//! Repositories and documents of other implementations, judged by our engine: each is followed or
//! refused as its name says, with the very error. None is left out without a line in a table here.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::tuf1::file_name;
use bulla_keys_schema::dialect::{Dialect, Document, Envelope};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::metadata::{Root, Snapshot, TargetInfo, Targets, Timestamp, Version};
use bulla_keys_schema::names::{DelegatedRoleName, RoleName, TargetPath};
use bulla_keys_schema::verify::{Pin, RawMetadata, RootChain, Step, TrustedTargets, Verified, Walk};
use bulla_tests::peers::fixtures;
use bytes::Bytes;

/// A moment at which no fixture is expired that is not meant to be.
const NOW: &str = "2026-06-01T00:00:00Z";

/// A whole repository, followed from version 1 of its root.
struct Case {
    /// Folder of the metadata.
    metadata: &'static str,
    /// Folder of the target files.
    targets: &'static str,
    /// What becomes of it: versions of root, timestamp, snapshot and targets, or the error.
    outcome: Result<[u64; 4], &'static str>,
    /// Names to look up, and the role that lists each, if any does.
    lookups: &'static [(&'static str, Option<&'static str>)],
}

const REPOSITORIES: &[Case] = &[
    Case {
        metadata: "static/tuf-on-ci-0.11/metadata",
        targets: "static/tuf-on-ci-0.11/targets",
        outcome: Ok([1, 2, 2, 1]),
        lookups: &[("delegatedrole/artifact", Some("delegatedrole")), ("artifact", None)],
    },
    Case {
        metadata: "python-tuf/repository_data/repository/metadata",
        targets: "python-tuf/repository_data/repository/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("file1.txt", Some("targets")), ("file3.txt", Some("role1")), ("file4.txt", None)],
    },
    Case {
        metadata: "python-tuf/repository_data/client/test_repository1/metadata/current",
        targets: "python-tuf/repository_data/repository/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("file3.txt", Some("role1"))],
    },
    Case {
        metadata: "python-tuf/repository_data/client/test_repository1/metadata/previous",
        targets: "python-tuf/repository_data/repository/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("file3.txt", Some("role1"))],
    },
    Case {
        metadata: "python-tuf/repository_data/client/test_repository2/metadata/current",
        targets: "python-tuf/repository_data/repository/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("file3.txt", Some("role1"))],
    },
    Case {
        metadata: "python-tuf/repository_data/client/test_repository2/metadata/previous",
        targets: "python-tuf/repository_data/repository/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("file3.txt", Some("role1"))],
    },
    Case {
        metadata: "python-tuf/repository_data/fishy_rolenames/metadata",
        targets: "python-tuf/repository_data/repository/targets",
        outcome: Ok([1, 2, 2, 1]),
        // All three roles with fishy names are in scope, verify, and list nothing.
        lookups: &[("anything", None)],
    },
    Case {
        metadata: "tough/consistent-snapshots/metadata",
        targets: "tough/consistent-snapshots/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("data1.txt", Some("targets")), ("data2.txt", Some("targets"))],
    },
    Case {
        metadata: "tough/dubious-role-names/metadata",
        targets: "tough/dubious-role-names/targets",
        outcome: Ok([1, 2, 2, 2]),
        lookups: &[("1.txt", Some("targets")), ("foo", None)],
    },
    Case {
        metadata: "tough/rotated-root",
        targets: "tough/targets",
        outcome: Ok([2, 1, 1, 1]),
        lookups: &[("file4.txt", None)],
    },
    Case {
        metadata: "tough/tuf-reference-impl/metadata",
        targets: "tough/tuf-reference-impl/targets",
        outcome: Ok([1, 1, 1, 1]),
        lookups: &[("file2.txt", Some("targets")), ("file3.txt", Some("role1"))],
    },
    Case {
        metadata: "tough/safe-target-paths/metadata",
        targets: "tough/safe-target-paths/targets",
        outcome: Ok([1, 1, 1, 1]),
        // What it lists has `..` in its name and cannot even be asked for; see below.
        lookups: &[("data1.txt", None), ("delegated/data3.txt", None)],
    },
    Case {
        metadata: "tough/expired-repository/metadata",
        targets: "tough/targets",
        outcome: Err("timestamp version 1589485578 expired at 1999-01-01T00:00:00Z"),
        lookups: &[],
    },
];

/// Root documents alone, and what becomes of each when it is pinned.
const ROOTS: &[(&str, &str, Result<u64, &str>)] = &[
    ("tough/simple-rsa/root.json", NOW, Ok(1)),
    ("tough/hex-encoded-ecdsa-sig-keys/root.json", "2022-05-01T00:00:00Z", Ok(2)),
    ("tough/pem-encoded-ecdsa-sig-keys/root.json", "2023-04-01T00:00:00Z", Ok(5)),
    ("tough/ecdsa-new-type-sig-keys/root.json", "2024-09-01T00:00:00Z", Ok(9)),
    ("tough/ecdsa-new-type-sig-keys/root.json", NOW, Err("root version 9 expired at 2024-09-12T06:53:10Z")),
    (
        "tough/cross-sign-root/1.root.json",
        "2020-09-01T00:00:00Z",
        Err("root: signed by 0 of 1 required keys"),
    ),
    ("tough/no-root-json-signatures/root.json", NOW, Err("root: signed by 0 of 1 required keys")),
    ("tough/invalid-root-json-signature/root.json", NOW, Err("root: signed by 0 of 1 required keys")),
    (
        "tough/expired-root-json-signature/root.json",
        NOW,
        Err("root version 1 expired at 1970-03-30T03:30:30Z"),
    ),
    ("tough/mismatched-root-json-keyids/root.json", NOW, Err("root: signed by 0 of 1 required keys")),
    (
        "tough/duplicate-keyid/root.json",
        NOW,
        Err(
            r#"root: invalid JSON: duplicate member "8ec3a843a0f9328c863cac4046ab1cacbbc67888476ac7acf73d9bcd9a223ada" at line 19 column 9"#,
        ),
    ),
    (
        "tough/duplicate-sigs/root.json",
        NOW,
        Err(
            "root: signatures: 8ec3a843a0f9328c863cac4046ab1cacbbc67888476ac7acf73d9bcd9a223ada must be listed once",
        ),
    ),
    (
        "tough/duplicate-sig-keys/root.json",
        NOW,
        Err(
            "root: signatures: 8ec3a843a0f9328c863cac4046ab1cacbbc67888476ac7acf73d9bcd9a223ada must be listed once",
        ),
    ),
    (
        "static/sigstore-root-signing/metadata/1.root.json",
        "2021-12-01T00:00:00Z",
        // It expires at 2021-12-18T13:28:12.99008-06:00. The specification wants UTC.
        Err("root: root.expires must be a UTC date"),
    ),
];

/// Folders that other tests of this file read.
const SERIES: [&str; 3] =
    ["rust-tuf-interop", "static/sigstore-root-signing/metadata", "python-tuf/ed25519_metadata"];

/// Files that are no documents of a folder of their own, each with the reason.
const STRAYS: [(&str, &str); 5] = [
    ("python-tuf/repository_data/client/map.json", "TAP 4, which is no metadata"),
    ("python-tuf/repository_data/fishy_rolenames/1.a.json", "the role ../a of the folder beside it"),
    ("rust-tuf-interop/metadata/keys.json", "the private keys of the fixtures"),
    ("static/tuf-on-ci-0.11/initial_root.json", "a copy of root 1"),
    ("static/sigstore-root-signing/initial_root.json", "a copy of root 12"),
];

#[test]
fn each_repository_is_followed_or_refused_as_its_name_says() {
    let Some(data) = fixtures::folder("tuf") else { return };
    for case in REPOSITORIES {
        let folder = Folder(data.join(case.metadata));
        let followed = folder.follow(Earlier::default());
        let versions = followed.as_ref().map(versions).map_err(String::as_str);
        assert_eq!(versions, case.outcome, "{}", case.metadata);
        for (name, role) in case.lookups {
            let trusted = followed.as_ref().unwrap();
            let found = folder.look_up(trusted, name).unwrap();
            let by = found.as_ref().map(|(role, _)| role.as_str());
            assert_eq!(by, *role, "{name} in {}", case.metadata);
            if let Some((_, info)) = found {
                assert_is_file(&data.join(case.targets), name, &info);
            }
        }
    }
}

#[test]
fn each_root_alone_is_taken_or_refused_as_its_name_says() {
    let Some(data) = fixtures::folder("tuf") else { return };
    for (file, now, outcome) in ROOTS {
        let bytes = Bytes::from(std::fs::read(data.join(file)).unwrap());
        let pin = Pin::Digest(Sha256Digest::of(&bytes));
        let taken = RootChain::start(Dialect::Tuf1, bytes, &pin)
            .and_then(|chain| chain.finish(now.parse().unwrap(), None))
            .map(|trusted| trusted.root().version().get())
            .map_err(|error| error.to_string());
        assert_eq!(taken.as_ref().map_err(String::as_str), outcome.as_ref().map_err(|text| *text), "{file}");
    }
}

#[test]
fn a_name_with_dots_in_it_cannot_be_asked_for() {
    let Some(data) = fixtures::folder("tuf") else { return };
    let folder = Folder(data.join("tough/safe-target-paths/metadata"));
    let trusted = folder.follow(Earlier::default()).unwrap();
    let listed: Vec<&String> = trusted.targets().payload().targets.keys().collect();
    assert_eq!(listed, ["foo/../bar/../baz/../data1.txt", "foo/bar/baz/../data2.txt"]);
    assert!(listed.iter().all(|name| name.parse::<TargetPath>().is_err()));
}

/// Fuchsia's families list each key under two ids. Every step rotates keys and adds a target.
#[test]
fn after_each_rotation_a_new_and_an_old_follower_find_every_target_so_far() {
    let Some(data) = fixtures::folder("tuf/rust-tuf-interop") else { return };
    for family in ["fuchsia-go-tuf-5527fe", "fuchsia-go-tuf-transition-M4"] {
        for consistent in [true, false] {
            let mut earlier = Earlier::default();
            for step in 0..=5 {
                let path = data.join(format!("{family}/consistent-snapshot-{consistent}/{step}/repository"));
                let at = path.display();
                let folder = Folder(path.clone());
                let new = folder.follow(Earlier::default()).unwrap_or_else(|error| panic!("{at}: {error}"));
                let old = folder.follow(earlier).unwrap_or_else(|error| panic!("{at}, old: {error}"));
                assert_eq!(versions(&new), versions(&old), "{at}");
                assert_eq!(versions(&new)[1..], [step + 1; 3], "{at}");
                for name in (0..=step).map(|number| number.to_string()) {
                    let (role, info) = folder.look_up(&new, &name).unwrap().expect("every target so far");
                    assert_eq!(role, "targets");
                    assert_is_file(&path.join("targets"), &name, &info);
                }
                assert_eq!(folder.look_up(&new, &(step + 1).to_string()), Ok(None), "{at}");
                earlier = Earlier::of(&old);
            }
        }
    }
}

#[test]
fn a_follower_of_a_rotated_repository_does_not_go_back() {
    let Some(data) = fixtures::folder("tuf/rust-tuf-interop") else { return };
    let family = data.join("fuchsia-go-tuf-transition-M4/consistent-snapshot-true");
    let newest = Folder(family.join("5/repository")).follow(Earlier::default()).unwrap();
    let refused = Folder(family.join("4/repository")).follow(Earlier::of(&newest)).unwrap_err();
    assert_eq!(refused, "timestamp went back from version 6 to 5");
}

/// rust-tuf signed its own family over indented JSON, which is not the canonical form.
#[test]
fn signatures_over_another_encoding_count_for_nothing() {
    let Some(data) = fixtures::folder("tuf/rust-tuf-interop/metadata") else { return };
    for consistent in [true, false] {
        for step in 0..=5 {
            let folder = Folder(data.join(format!("consistent-snapshot-{consistent}/{step}/repository")));
            let refused = folder.follow(Earlier::default()).unwrap_err();
            assert_eq!(refused, "root: signed by 0 of 1 required keys", "{}", folder.0.display());
        }
    }
}

/// Real ceremonies of 3 of 5 people, with keys in hex and in PEM. Root 1 has a date that is not UTC.
#[test]
fn the_roots_of_sigstore_are_a_chain_from_the_second_to_the_twelfth() {
    let Some(data) = fixtures::folder("tuf/static/sigstore-root-signing") else { return };
    let folder = Folder(data.join("metadata"));
    for first in 2..=12 {
        let mut chain = folder.pinned(first).unwrap();
        folder.extend(&mut chain).unwrap();
        assert_eq!(chain.latest().version().get(), 12);
        let finish = |now: &str| chain.clone().finish(now.parse().unwrap(), None).map(|_| ());
        assert_eq!(finish("2025-08-19T14:33:08Z"), Ok(()));
        let over = finish("2025-08-19T14:33:09Z").unwrap_err().to_string();
        assert_eq!(over, "root version 12 expired at 2025-08-19T14:33:09Z");
    }
    let initial = std::fs::read(data.join("initial_root.json")).unwrap();
    assert_eq!(initial, folder.read("12.root.json").unwrap(), "the start that the fixture names");
}

#[test]
fn a_link_of_the_chain_cannot_be_left_out() {
    let Some(data) = fixtures::folder("tuf/static/sigstore-root-signing/metadata") else { return };
    let folder = Folder(data);
    let mut chain = folder.pinned(2).unwrap();
    let skipping = chain.step(folder.read("4.root.json").unwrap()).unwrap_err().to_string();
    assert_eq!(skipping, "root has version 4, expected 3");
    let mut chain = folder.pinned(4).unwrap();
    let strangers = chain.step(folder.read("12.root.json").unwrap()).unwrap_err().to_string();
    assert_eq!(strangers, "root: signed by 0 of 3 required keys");
    assert_eq!(chain.latest().version().get(), 4);
}

/// What we understand of a document is all that it says: written again, it is what was signed.
#[test]
fn decoding_and_encoding_keeps_the_very_bytes_that_python_tuf_signed() {
    let Some(data) = fixtures::folder("tuf/python-tuf/ed25519_metadata") else { return };
    let read =
        |role: &str| Bytes::from(std::fs::read(data.join(format!("{role}_with_ed25519.json"))).unwrap());
    let root = RawMetadata::<Root>::new(Dialect::Tuf1, read("root")).verify_first().unwrap();
    let Root { keys, timestamp, snapshot, targets, .. } = root.payload();
    let timestamp =
        RawMetadata::<Timestamp>::new(Dialect::Tuf1, read("timestamp")).verify(timestamp, keys).unwrap();
    let snapshot =
        RawMetadata::<Snapshot>::new(Dialect::Tuf1, read("snapshot")).verify(snapshot, keys).unwrap();
    let targets = RawMetadata::<Targets>::new(Dialect::Tuf1, read("targets")).verify(targets, keys).unwrap();
    let mut ours = root.payload().clone();
    assert_signed_as(&root, &ours);
    // Key objects as we declare them, not as they were read.
    ours.keys.values_mut().for_each(|entry| entry.declared = None);
    assert_signed_as(&root, &ours);
    assert_signed_as(&timestamp, timestamp.payload());
    assert_signed_as(&snapshot, snapshot.payload());
    assert_signed_as(&targets, targets.payload());
}

#[test]
fn no_folder_of_fixtures_is_left_out() {
    let Some(data) = fixtures::folder("tuf") else { return };
    let mut known: BTreeSet<PathBuf> = STRAYS.iter().map(|(file, _)| data.join(file)).collect();
    known.extend(ROOTS.iter().map(|(file, ..)| data.join(file)));
    let folders = REPOSITORIES.iter().map(|case| case.metadata).chain(SERIES);
    let folders: Vec<PathBuf> = folders.map(|folder| data.join(folder)).collect();
    let documents = json_files(&data);
    assert!(documents.len() > 300, "the data is not complete: {} documents", documents.len());
    let unknown: Vec<_> = documents
        .iter()
        .filter(|file| !known.contains(*file) && !folders.iter().any(|folder| file.starts_with(folder)))
        .collect();
    assert!(unknown.is_empty(), "add a line to a table of this file for {unknown:#?}");
}

/// `written` is what `document` signs, but for one member: the version of the specification.
fn assert_signed_as<R: Document>(document: &Verified<R>, written: &R) {
    let mut written = written.encode(Dialect::Tuf1);
    written.insert("spec_version".to_owned(), Json::from("1.0.31"));
    let written = String::from_utf8(canonical(&Json::Object(written))).unwrap();
    let envelope = Envelope::parse(Dialect::Tuf1, document.bytes()).unwrap();
    assert_eq!(written, str::from_utf8(envelope.signed_bytes()).unwrap());
}

/// A repository as it lies in a folder. Errors are given as their text.
struct Folder(PathBuf);

/// What an earlier run trusted.
#[derive(Default)]
struct Earlier {
    root: Option<Verified<Root>>,
    timestamp: Option<Bytes>,
    snapshot: Option<Bytes>,
}

impl Earlier {
    fn of(trusted: &TrustedTargets) -> Self {
        Self {
            root: Some(trusted.root().clone()),
            timestamp: Some(trusted.timestamp().bytes().clone()),
            snapshot: Some(trusted.snapshot().bytes().clone()),
        }
    }
}

impl Folder {
    /// The client workflow, from root 1 or from what an earlier run trusted.
    fn follow(&self, earlier: Earlier) -> Result<TrustedTargets, String> {
        let Earlier { root, timestamp, snapshot } = earlier;
        let mut chain = match root {
            Some(root) => RootChain::resume(root),
            None => self.pinned(1)?,
        };
        self.extend(&mut chain)?;
        let root = chain.finish(NOW.parse().unwrap(), None).map_err(text)?;
        let consistent = root.root().payload().consistent_snapshot;
        let floor = root.floor(timestamp, snapshot);
        let document = |role, version: Option<Version>| {
            let file = file_name(&role, version, consistent);
            self.read(&file).ok_or(format!("{file} is missing"))
        };
        let timestamp = root.timestamp(floor, document(RoleName::Timestamp, None)?).map_err(text)?;
        let bytes = document(RoleName::Snapshot, timestamp.wanted().version)?;
        let snapshot = timestamp.snapshot(bytes).map_err(text)?;
        let bytes = document(RoleName::Targets, snapshot.wanted().map_err(text)?.version)?;
        snapshot.targets(bytes).map_err(text)
    }

    /// A chain that starts at this version.
    fn pinned(&self, version: u64) -> Result<RootChain, String> {
        let bytes = self.read(&format!("{version}.root.json")).ok_or("no root")?;
        let pin = Pin::Digest(Sha256Digest::of(&bytes));
        RootChain::start(Dialect::Tuf1, bytes, &pin).map_err(text)
    }

    /// Every root that follows.
    fn extend(&self, chain: &mut RootChain) -> Result<(), String> {
        while let Some(bytes) = chain.wanted().and_then(|version| self.read(&format!("{version}.root.json")))
        {
            chain.step(bytes).map_err(text)?;
        }
        Ok(())
    }

    /// The role that lists `name`, and what it lists.
    fn look_up(&self, trusted: &TrustedTargets, name: &str) -> Result<Option<(String, TargetInfo)>, String> {
        let consistent = trusted.root().payload().consistent_snapshot;
        let mut walk = Walk::new(trusted, name.parse().map_err(text)?);
        loop {
            let need = match walk.step().map_err(text)? {
                Step::Found(found) => return Ok(Some((found.role.to_string(), found.info))),
                Step::NotFound => return Ok(None),
                Step::Fetch(need) => need,
            };
            let file = file_name(&RoleName::Delegated(need.role.clone()), need.info.version, consistent);
            let bytes = self.read(&file).or_else(|| self.read_careless(&need.role, need.info.version?));
            walk.supply(bytes.ok_or(format!("{file} is missing"))?).map_err(text)?;
        }
    }

    /// Nothing outside of the folder: a role's name is encoded, so it is one part of a path.
    fn read(&self, file: &str) -> Option<Bytes> {
        assert!(!file.contains('/'), "{file} is no plain name");
        std::fs::read(self.0.join(file)).ok().map(Bytes::from)
    }

    /// python-tuf keeps its fishy names where a client would look that does not encode them.
    fn read_careless(&self, role: &DelegatedRoleName, version: Version) -> Option<Bytes> {
        let (above, name) = match role.as_str().strip_prefix("../") {
            Some(name) => ("..", name),
            None => (".", role.as_str()),
        };
        std::fs::read(self.0.join(above).join(format!("{version}.{name}.json"))).ok().map(Bytes::from)
    }
}

fn versions(trusted: &TrustedTargets) -> [u64; 4] {
    let (root, timestamp) = (trusted.root().version(), trusted.timestamp().version());
    [root, timestamp, trusted.snapshot().version(), trusted.targets().version()].map(Version::get)
}

/// The target as the repository stores it, under its own name or with its hash in front, is what is listed.
fn assert_is_file(targets: &Path, name: &str, info: &TargetInfo) {
    let path: TargetPath = name.parse().unwrap();
    let sha256 = info.hashes.as_sha256().map(|digest| digest.to_string());
    let sha512 = info.hashes.as_sha512().map(|digest| digest.to_string());
    let prefixed = sha256.into_iter().chain(sha512).map(|hash| path.with_hash_prefix(&hash));
    let mut files = prefixed.chain([name.to_owned()]).map(|file| targets.join(file));
    let file = files.find(|file| file.is_file()).unwrap_or_else(|| panic!("{name} in {}", targets.display()));
    let bytes = std::fs::read(file).unwrap();
    assert!(u64::try_from(bytes.len()) == Ok(info.length) && info.hashes.match_bytes(&bytes), "{name}");
}

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { json_files(&path) } else { vec![path] })
        .filter(|file| file.extension().is_some_and(|extension| extension == "json"))
        .collect()
}

fn text(error: impl std::error::Error) -> String {
    error.to_string()
}
