//! The foreign clients follow foreign repositories: proof that a yes or a no of theirs means something
//! before it is asked about a repository of ours.

use std::path::Path;

use bulla_tests::peers::second_opinion::second_opinion;
use bulla_tests::peers::static_files::StaticFiles;
use bulla_tests::peers::{ForeignClient, Observed, Refused, Repository, fixtures};

use ForeignClient::{PythonTuf, SigstoreTuf, Tough, TufJs};

/// Three clients that read every well-formed repository here; `tough` recomputes key ids and refuses some.
const ALL_BUT_TOUGH: &[ForeignClient] = &[PythonTuf, TufJs, SigstoreTuf];

/// One repository under `../shared/data/tuf` and what becomes of it.
struct Case {
    /// Folder of the metadata; `targets` lies beside or below it.
    metadata: &'static str,
    targets: &'static str,
    root: &'static str,
    /// A target to download.
    target: Option<&'static str>,
    /// Versions of root, timestamp, snapshot and targets, for whoever follows it.
    versions: [u64; 4],
    followers: &'static [ForeignClient],
}

const FOLLOWED: &[Case] = &[
    Case {
        metadata: "static/tuf-on-ci-0.11/metadata",
        targets: "static/tuf-on-ci-0.11/targets",
        root: "static/tuf-on-ci-0.11/initial_root.json",
        target: Some("delegatedrole/artifact"),
        versions: [1, 2, 2, 1],
        // tough asks for HASH.delegatedrole/artifact, which no repository has.
        followers: ALL_BUT_TOUGH,
    },
    Case {
        metadata: "python-tuf/repository_data/repository/metadata",
        targets: "python-tuf/repository_data/repository/targets",
        root: "python-tuf/repository_data/repository/metadata/1.root.json",
        target: Some("file3.txt"),
        versions: [1, 1, 1, 1],
        followers: &ForeignClient::ALL,
    },
    Case {
        metadata: "tough/consistent-snapshots/metadata",
        targets: "tough/consistent-snapshots/targets",
        root: "tough/consistent-snapshots/metadata/1.root.json",
        target: Some("data1.txt"),
        versions: [1, 1, 1, 1],
        followers: &ForeignClient::ALL,
    },
    Case {
        metadata: "tough/dubious-role-names/metadata",
        targets: "tough/dubious-role-names/targets",
        root: "tough/dubious-role-names/metadata/1.root.json",
        target: Some("1.txt"),
        versions: [1, 2, 2, 2],
        // python-tuf reads no fractions of a second in a date.
        followers: &[TufJs, SigstoreTuf, Tough],
    },
    Case {
        metadata: "tough/rotated-root",
        targets: "tough/targets",
        root: "tough/rotated-root/1.root.json",
        target: None,
        versions: [2, 1, 1, 1],
        followers: &ForeignClient::ALL,
    },
    Case {
        metadata: "rust-tuf-interop/fuchsia-go-tuf-transition-M4/consistent-snapshot-true/5/repository",
        targets: "rust-tuf-interop/fuchsia-go-tuf-transition-M4/consistent-snapshot-true/5/repository/targets",
        root: "rust-tuf-interop/fuchsia-go-tuf-transition-M4/consistent-snapshot-true/5/repository/1.root.json",
        target: Some("5"),
        versions: [5, 6, 6, 6],
        // tough wants a sha256, this repository lists sha512 alone.
        followers: ALL_BUT_TOUGH,
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_read_a_repository_follows_it_to_the_same_versions_and_bytes() {
    let Some(data) = fixtures::folder("tuf") else { return };
    let files = StaticFiles::serve(&data);
    let present = ForeignClient::present();
    for case in FOLLOWED {
        let source = repository(&files, &data, case.metadata, case.targets, case.root);
        for client in case.followers.iter().filter(|client| present.contains(client)) {
            let state = tempfile::tempdir().unwrap();
            let seen = client.follow(&source, state.path(), case.target).await;
            let seen =
                seen.unwrap_or_else(|refused| panic!("{} and {}: {refused:?}", client.name(), case.metadata));
            assert_eq!(versions(&seen), case.versions, "{} and {}", client.name(), case.metadata);
            let downloaded = seen.target.map(|bytes| hex::encode(sha256(&bytes)));
            let expected = case.target.map(|name| hex::encode(sha256(&on_disk(&data, case.targets, name))));
            assert_eq!(downloaded, expected, "{} and {}", client.name(), case.metadata);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_follows_an_expired_repository_or_signatures_over_another_encoding() {
    let Some(data) = fixtures::folder("tuf") else { return };
    let files = StaticFiles::serve(&data);
    let expired = ("tough/expired-repository/metadata", "expired");
    // rust-tuf signed these over indented JSON, which is not the canonical form.
    let indented = ("rust-tuf-interop/metadata/consistent-snapshot-true/5/repository", "0");
    for client in ForeignClient::present() {
        for (metadata, word) in [expired, indented] {
            let source = repository(&files, &data, metadata, metadata, &format!("{metadata}/1.root.json"));
            let state = tempfile::tempdir().unwrap();
            let refused = client.follow(&source, state.path(), None).await.unwrap_err();
            assert!(refused.text.contains(word), "{} and {metadata}: {refused:?}", client.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn state_is_kept_from_run_to_run_so_that_an_older_repository_is_refused() {
    let Some(data) = fixtures::folder("tuf/rust-tuf-interop/fuchsia-go-tuf-5527fe/consistent-snapshot-true")
    else {
        return;
    };
    let files = StaticFiles::serve(&data);
    let at_step = |step: u64| {
        let folder = format!("{step}/repository");
        repository(&files, &data, &folder, &format!("{folder}/targets"), "0/repository/1.root.json")
    };
    for client in ForeignClient::present().into_iter().filter(|client| ALL_BUT_TOUGH.contains(client)) {
        let state = tempfile::tempdir().unwrap();
        for step in 0..=5 {
            let seen = client.follow(&at_step(step), state.path(), Some(&step.to_string())).await;
            let seen = seen.unwrap_or_else(|refused| panic!("{} at step {step}: {refused:?}", client.name()));
            assert_eq!((seen.timestamp, seen.targets), (step + 1, step + 1), "{}", client.name());
            assert_eq!(seen.target, Some(step.to_string().into_bytes()), "{}", client.name());
        }
        let refused: Result<_, Refused> = client.follow(&at_step(4), state.path(), None).await;
        assert!(refused.is_err(), "{} went back from step 5 to step 4", client.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_clock_of_its_own_sees_the_future() {
    let Some(data) = fixtures::folder("tuf") else { return };
    let files = StaticFiles::serve(&data);
    let metadata = "static/tuf-on-ci-0.11/metadata";
    let mut source = repository(&files, &data, metadata, metadata, "static/tuf-on-ci-0.11/initial_root.json");
    for client in ForeignClient::present().into_iter().filter(|client| *client != Tough) {
        for (now, expired) in [("2026-01-01T00:00:00Z", false), ("2045-01-01T00:00:00Z", true)] {
            source.now = Some(now.parse().unwrap());
            let state = tempfile::tempdir().unwrap();
            let seen = client.follow(&source, state.path(), None).await;
            assert_eq!(seen.is_err(), expired, "{} at {now}: {seen:?}", client.name());
        }
    }
}

#[test]
fn the_second_opinion_agrees_to_what_verifies_and_to_nothing_else() {
    for family in ["fuchsia-go-tuf-5527fe", "fuchsia-go-tuf-transition-M4"] {
        let Some(folder) =
            fixtures::folder(&format!("tuf/rust-tuf-interop/{family}/consistent-snapshot-true/5/repository"))
        else {
            return;
        };
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let roots: Vec<_> = (1..=5).map(|version| read(&format!("{version}.root.json"))).collect();
        let chain: Vec<&[u8]> = roots.iter().map(Vec::as_slice).collect();
        let (timestamp, snapshot, targets) =
            (read("timestamp.json"), read("6.snapshot.json"), read("6.targets.json"));
        second_opinion(&chain, &timestamp, &snapshot, &targets).unwrap();

        assert!(
            second_opinion(&chain[..1], &timestamp, &snapshot, &targets).is_err(),
            "keys of root 5, not of 1"
        );
        assert!(second_opinion(&chain, &timestamp, &read("5.snapshot.json"), &targets).is_err());
        assert!(second_opinion(&chain, &timestamp, &snapshot, &read("5.targets.json")).is_err());
        let forged = String::from_utf8(targets).unwrap().replacen("\"version\": 6", "\"version\": 7", 1);
        assert!(second_opinion(&chain, &timestamp, &snapshot, forged.as_bytes()).is_err());
    }
}

fn repository(files: &StaticFiles, data: &Path, metadata: &str, targets: &str, root: &str) -> Repository {
    Repository {
        metadata_url: files.url(metadata),
        targets_url: files.url(targets),
        root: std::fs::read(data.join(root)).unwrap(),
        ca_cert: None,
        now: None,
    }
}

fn versions(seen: &Observed) -> [u64; 4] {
    [seen.root, seen.timestamp, seen.snapshot, seen.targets]
}

/// The target as the repository stores it: under its own name, or with its hash in front.
fn on_disk(data: &Path, targets: &str, name: &str) -> Vec<u8> {
    let path = data.join(targets).join(name);
    let suffix = format!(".{}", path.file_name().unwrap().to_str().unwrap());
    let files = std::fs::read_dir(path.parent().unwrap()).unwrap().map(|entry| entry.unwrap().path());
    let prefixed = files.into_iter().find(|file| file.to_str().unwrap().ends_with(&suffix));
    std::fs::read(if path.is_file() { path } else { prefixed.unwrap() }).unwrap()
}

fn sha256(bytes: &[u8]) -> impl AsRef<[u8]> {
    use sha2::Digest as _;
    sha2::Sha256::digest(bytes)
}
