//! Attacks on timestamp and snapshot: C11 to C19.

use bulla_keys_schema::limits;

use crate::attack::{Attack, client, client_of, returning};
use crate::support::{Doc, Repo, TestKey, later, now, version_only};

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "names-with-versions-where-root-wants-none",
        rules: "C11",
        error: "snapshot.json is not there",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.root().set("consistent_snapshot", bulla_keys_schema::json::Json::Bool(false));
            repo.consistent = spoil;
            client(&repo)
        },
    },
    Attack {
        name: "timestamp-without-signature",
        rules: "C12",
        error: "timestamp: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.signed_by(if spoil { &[] } else { &[Repo::TIMESTAMP] });
            client(&repo)
        },
    },
    Attack {
        name: "timestamp-signed-by-the-snapshot-key",
        rules: "C12",
        error: "timestamp: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.signed_by(&[if spoil { Repo::SNAPSHOT } else { Repo::TIMESTAMP }]);
            client(&repo)
        },
    },
    Attack {
        name: "timestamp-with-more-bytes-than-any-reader-takes",
        rules: "C12, endless data",
        error: "timestamp has more than 16384 bytes",
        build: |spoil| {
            let mut repo = Repo::new();
            let short = repo.files()["timestamp.json"].len();
            repo.timestamp.pad(limits::TIMESTAMP_BYTES - short + usize::from(spoil));
            client(&repo)
        },
    },
    Attack {
        name: "timestamp-rolled-back",
        rules: "C13, CVE-2022-29173",
        error: "timestamp went back from version 3 to 2",
        build: |spoil| {
            let mut before = Repo::new();
            before.timestamp.set_number("version", 3);
            let mut after = Repo::new();
            after.timestamp.set_number("version", if spoil { 2 } else { 4 });
            returning(&before, &after)
        },
    },
    Attack {
        name: "timestamp-of-the-same-version-for-an-older-snapshot",
        rules: "C13",
        error: "2.snapshot.json is not there",
        build: |spoil| {
            let mut before = Repo::new();
            before.snapshot.set_number("version", 2);
            let mut after = before.clone();
            if spoil {
                after.snapshot.set_number("version", 1);
            }
            returning(&before, &after)
        },
    },
    Attack {
        name: "timestamp-lists-an-older-snapshot",
        rules: "C14",
        error: "snapshot went back from version 2 to 1",
        build: |spoil| {
            let mut before = Repo::new();
            before.snapshot.set_number("version", 2);
            let mut after = before.clone();
            after.timestamp.set_number("version", 2);
            if spoil {
                after.snapshot.set_number("version", 1);
            }
            returning(&before, &after)
        },
    },
    Attack {
        name: "timestamp-expired",
        rules: "C15, freeze",
        error: "timestamp version 1 expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set("expires", expiry(spoil));
            client(&repo)
        },
    },
    Attack {
        name: "stored-timestamp-expired-and-served-again",
        rules: "C13, C15, freeze",
        error: "timestamp version 1 expired at 2030-01-01T00:01:00Z",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set("expires", now().plus_seconds(60).to_string());
            let mut client = returning(&repo, &repo);
            client.now = now().plus_seconds(if spoil { 60 } else { 59 });
            client
        },
    },
    Attack {
        name: "timestamp-lists-two-snapshots",
        rules: "C28",
        error: "timestamp: timestamp.meta must be an object with snapshot.json alone",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.timestamp.describe("1.snapshot.json", repo.snapshot.version(), &repo.snapshot.bytes());
            }
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-longer-than-listed",
        rules: "C16, endless data",
        error: "snapshot has other bytes than listed: length or digest differ",
        build: |spoil| {
            // No digest is listed, so that the length alone speaks.
            let mut repo = Repo::new();
            let length = complete(&repo).bytes().len();
            repo.timestamp.set("meta/snapshot.json", version_only(1));
            let listed = length - usize::from(spoil);
            repo.timestamp.set_number("meta/snapshot.json/length", i64::try_from(listed).unwrap());
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-with-another-digest",
        rules: "C16, mix and match",
        error: "snapshot has other bytes than listed: length or digest differ",
        build: |spoil| {
            let repo = Repo::new();
            let mut files = repo.files();
            if spoil {
                let mut other = complete(&repo);
                other.set("expires", later().plus_seconds(1).to_string());
                files.insert("1.snapshot.json".to_owned(), other.bytes());
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "snapshot-without-limit-larger-than-any-reader-takes",
        rules: "C16, endless data",
        error: "snapshot has more than 2000000 bytes",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set("meta/snapshot.json", version_only(1));
            let short = complete(&repo).bytes().len();
            repo.snapshot.pad(limits::SNAPSHOT_BYTES - short + usize::from(spoil));
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-signed-by-the-timestamp-key",
        rules: "C17",
        error: "snapshot: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.snapshot.signed_by(&[if spoil { Repo::TIMESTAMP } else { Repo::SNAPSHOT }]);
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-of-another-version-than-listed",
        rules: "C17, mix and match",
        error: "snapshot has version 2, but 1 is listed",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set("meta/snapshot.json", version_only(1));
            let mut files = repo.files();
            if spoil {
                let second = complete(&repo).set_number("version", 2).bytes();
                files.insert("1.snapshot.json".to_owned(), second);
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "targets-rolled-back-in-the-snapshot",
        rules: "C18",
        error: "targets went back from version 2 to 1",
        build: |spoil| {
            let mut before = Repo::new();
            before.targets.set_number("version", 2);
            let mut after = next(&before);
            if spoil {
                after.targets.set_number("version", 1);
            }
            returning(&before, &after)
        },
    },
    Attack {
        name: "delegated-role-rolled-back-in-the-snapshot",
        rules: "C18, CVE-2025-2887",
        error: "alice went back from version 2 to 1",
        build: |spoil| {
            let mut before = Repo::new();
            before.alice().set_number("version", 2);
            let mut after = next(&before);
            if spoil {
                after.alice().set_number("version", 1);
            }
            returning(&before, &after)
        },
    },
    Attack {
        name: "delegated-role-dropped-from-the-snapshot",
        rules: "C18, CVE-2025-2887",
        error: "the snapshot no longer lists alice",
        build: |spoil| {
            // The role is not delegated any more, and its entry must stay all the same.
            let before = Repo::new();
            let mut after = next(&before);
            after.targets = Repo::flat().targets;
            after.targets.set_number("version", 2);
            if spoil {
                after.unlisted.insert("alice".to_owned());
            }
            returning(&before, &after)
        },
    },
    Attack {
        name: "snapshot-without-targets",
        rules: "C18",
        error: "snapshot: snapshot.meta must be an object that lists targets.json",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.unlisted.insert("targets".to_owned());
            }
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-lists-a-file-of-no-role",
        rules: "C28",
        error: "snapshot: snapshot.meta.Targets.json must be the file name of a targets role",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.snapshot.describe(
                if spoil { "Targets.json" } else { "carol.json" },
                repo.targets.version(),
                &"".into(),
            );
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-expired",
        rules: "C19, freeze",
        error: "snapshot version 1 expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.snapshot.set("expires", expiry(spoil));
            client(&repo)
        },
    },
    Attack {
        name: "stored-snapshot-of-another-signer-is-no-floor-and-no-way-in",
        rules: "C18, C29",
        error: "snapshot went back from version 2 to 1",
        build: |spoil| {
            // A forged file in the store neither locks its owner out nor lets a rollback in:
            // the stored timestamp still counts.
            let mut before = Repo::new();
            before.snapshot.set_number("version", 2);
            let mut after = next(&before);
            if spoil {
                after.snapshot.set_number("version", 1);
            }
            let mut client = returning(&before, &after);
            let mut forged = complete(&before);
            forged.set_number("version", 9).signed_by(&[TestKey::new("mallory")]);
            client.stored.insert("snapshot.json".to_owned(), forged.bytes());
            client
        },
    },
];

/// The snapshot as it is served.
fn complete(repo: &Repo) -> Doc {
    let mut snapshot = repo.snapshot.clone();
    let delegated = repo.delegated.iter().map(|(name, doc)| (name.as_str(), doc));
    for (name, doc) in [("targets", &repo.targets)].into_iter().chain(delegated) {
        snapshot.describe(&format!("{name}.json"), doc.version(), &doc.bytes());
    }
    snapshot
}

/// The same repository with the next snapshot and timestamp.
fn next(before: &Repo) -> Repo {
    let mut after = before.clone();
    for doc in [&mut after.snapshot, &mut after.timestamp] {
        let version = i64::try_from(doc.version().get() + 1).unwrap();
        doc.set_number("version", version);
    }
    after
}

fn expiry(spoil: bool) -> String {
    if spoil { now() } else { later() }.to_string()
}
