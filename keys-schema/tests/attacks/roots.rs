//! Attacks on the pin and the chain of roots: C2 to C10, C30.

use std::collections::BTreeSet;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::verify::Pin;

use crate::attack::{Attack, client, client_of, returning};
use crate::support::{Repo, TestKey, file, later, now};

const BOB: TestKey = TestKey::p256("bob");
const CAROL: TestKey = TestKey::new("carol");
const MALLORY: TestKey = TestKey::new("mallory");

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "pinned-root-has-another-digest",
        rules: "C2",
        error: "root: the root has digest ba472da865e96998096c1417b9cd5618052abac4c9971c102ab070ad5ab8a6d0, which is not the pinned one",
        build: |spoil| {
            let mut client = client(&Repo::new());
            if spoil {
                client.pin = Pin::Digest(Sha256Digest::of(b"another root"));
            }
            client
        },
    },
    Attack {
        name: "pinned-root-below-its-own-threshold",
        rules: "C2",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.root().trust("roles/root", &[Repo::ROOT, BOB, CAROL], 2).signed_by(&[Repo::ROOT, CAROL]);
            if spoil {
                repo.root().signed_by(&[CAROL]);
            }
            client(&repo)
        },
    },
    Attack {
        name: "pinned-root-is-cut-off",
        rules: "C2",
        error: "root: invalid JSON: EOF while parsing an object at line 1 column 809",
        build: |spoil| {
            let repo = Repo::new();
            let mut client = client(&repo);
            if spoil {
                let half = client.first_root.len() / 2;
                client.first_root.truncate(half);
                client.pin = Pin::Digest(Sha256Digest::of(&client.first_root));
            }
            client
        },
    },
    Attack {
        name: "pinned-key-signed-but-is-no-root-key",
        rules: "C2",
        error: "root: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            let keys: &[TestKey] = if spoil { &[MALLORY] } else { &[MALLORY, BOB] };
            repo.root().trust("roles/root", keys, 1).signed_by(&[MALLORY, BOB]);
            repo.root().trust("roles/targets", &[Repo::TARGETS, BOB], 1);
            let mut client = client(&repo);
            client.pin = pin(&[BOB], 1);
            client
        },
    },
    Attack {
        name: "pinned-keys-below-the-threshold-of-the-pin",
        rules: "C2",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            let both = [BOB, CAROL];
            repo.root().trust("roles/root", &both, 1).signed_by(if spoil { &[BOB] } else { &both });
            let mut client = client(&repo);
            client.pin = pin(&both, 2);
            client
        },
    },
    Attack {
        name: "root-made-for-another-repository",
        rules: "replay of one repository as another under shared keys",
        error: "root: the document is made for registry.example.com/team/app",
        build: |spoil| {
            let mut client = client(&Repo::new());
            client.pin = pin(&[Repo::ROOT], 1);
            if spoil {
                client.repository = "registry.example.com/team/other".parse().unwrap();
            }
            client
        },
    },
    Attack {
        name: "root-for-no-repository-under-a-pin-for-many",
        rules: "replay of one repository as another under shared keys",
        error: "root: the document is made for no repository in particular",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.root().remove("x_bulla_repository");
            }
            let mut client = client(&repo);
            client.pin = pin(&[Repo::ROOT], 1);
            client.named = true;
            client
        },
    },
    Attack {
        name: "root-that-moves-to-another-repository",
        rules: "replay of one repository as another under shared keys",
        error: "root: the document is made for registry.example.com/team/other",
        build: |spoil| {
            let mut repo = Repo::new();
            let next = repo.next_root();
            if spoil {
                next.set("x_bulla_repository", "registry.example.com/team/other");
            }
            client(&repo)
        },
    },
    Attack {
        name: "root-with-more-bytes-than-any-reader-takes",
        rules: "C3, endless data",
        error: "root has 512001 bytes, more than 512000 allowed",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.next_root();
            let short = repo.root().bytes().len();
            repo.root().pad(limits::ROOT_BYTES - short + usize::from(spoil));
            client(&repo)
        },
    },
    Attack {
        name: "root-not-signed-by-the-old-keys",
        rules: "C4",
        error: "root: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            let next = repo.next_root().trust("roles/root", &[MALLORY], 1);
            next.signed_by(if spoil { &[MALLORY] } else { &[MALLORY, Repo::ROOT] });
            client(&repo)
        },
    },
    Attack {
        name: "root-below-the-old-threshold",
        rules: "C4",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.root().trust("roles/root", &[Repo::ROOT, BOB, CAROL], 2).signed_by(&[Repo::ROOT, BOB]);
            let next = repo.next_root().set_number("roles/root/threshold", 1);
            next.signed_by(if spoil { &[BOB] } else { &[BOB, CAROL] });
            client(&repo)
        },
    },
    Attack {
        name: "root-signed-under-the-old-id-of-a-new-key",
        rules: "C4, key id confusion between two tables",
        error: "root: signed by 0 of 1 required keys",
        build: |spoil| {
            // The new root declares another key under the id of the old one.
            let mut repo = Repo::new();
            let old = Repo::ROOT.id();
            let next = repo.next_root().trust("roles/root", &[], 1);
            next.trust_as("roles/root", old.as_str(), MALLORY.object()).signed_by(&[]);
            next.trust_as("roles/root", CAROL.id().as_str(), CAROL.object());
            next.signed_as(CAROL.id().as_str(), CAROL);
            next.signed_as(old.as_str(), if spoil { MALLORY } else { Repo::ROOT });
            client(&repo)
        },
    },
    Attack {
        name: "root-below-its-own-threshold",
        rules: "C5, CVE-2020-15163",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            let next = repo.next_root().trust("roles/root", &[BOB, CAROL], 2);
            next.signed_by(if spoil { &[Repo::ROOT, BOB] } else { &[Repo::ROOT, BOB, CAROL] });
            client(&repo)
        },
    },
    Attack {
        name: "one-secret-under-two-key-ids",
        rules: "C6, GHSA-3633-5h82-39pq",
        error: "targets: signed by 1 of 2 required keys",
        build: |spoil| {
            two_signatures(|repo| {
                let second = if spoil { Repo::TARGETS } else { CAROL };
                repo.root().trust_as("roles/targets", "another-id", second.object());
                repo.targets.signed_as("another-id", second);
            })
        },
    },
    Attack {
        name: "one-secret-as-hex-and-as-pem",
        rules: "C6",
        error: "targets: signed by 1 of 2 required keys",
        build: |spoil| {
            two_signatures(|repo| {
                let second = if spoil { Repo::TARGETS } else { CAROL };
                repo.root().trust_as("roles/targets", "pem", with_public(second, &second.public().to_pem()));
                repo.targets.signed_as("pem", second);
            })
        },
    },
    Attack {
        name: "one-secret-as-compressed-and-as-full-point",
        rules: "C6",
        error: "targets: signed by 1 of 2 required keys",
        build: |spoil| {
            two_signatures(|repo| {
                let second = if spoil { BOB } else { TestKey::p256("carol") };
                repo.root().trust("roles/targets", &[BOB], 2);
                repo.root().trust_as("roles/targets", "point", with_public(second, &compressed(second)));
                repo.targets.signed_by(&[BOB]).signed_as("point", second);
            })
        },
    },
    Attack {
        name: "one-secret-with-two-key-types",
        rules: "C6",
        error: "targets: signed by 1 of 2 required keys",
        build: |spoil| {
            two_signatures(|repo| {
                let second = if spoil { BOB } else { TestKey::p256("carol") };
                repo.root().trust("roles/targets", &[BOB], 2);
                repo.root().trust_as("roles/targets", "old-name", second.object());
                repo.root().set("keys/old-name/keytype", "ecdsa-sha2-nistp256");
                repo.targets.signed_by(&[BOB]).signed_as("old-name", second);
            })
        },
    },
    Attack {
        name: "key-id-twice-in-a-role",
        rules: "C6",
        error: "root: root.roles.targets.keyids must be an array of key ids, each once",
        build: |spoil| {
            let mut repo = Repo::new();
            let id = if spoil { Repo::TARGETS.id() } else { Repo::SNAPSHOT.id() };
            repo.root().push("roles/targets/keyids", id.as_str());
            client(&repo)
        },
    },
    Attack {
        name: "signature-of-one-key-repeated",
        rules: "C6, CVE-2020-6174, CVE-2020-15093",
        error: "targets: signatures: ffe8a1a1aa5d2ef965d7849025fe9022c8dfff7390ca5cfccc78616ab12185be must be listed once",
        build: |spoil| {
            let mut repo = Repo::new();
            let signers = [Repo::TARGETS; 2];
            repo.targets.signed_by(if spoil { &signers } else { &signers[1..] });
            client(&repo)
        },
    },
    Attack {
        name: "root-skips-a-version",
        rules: "C7, CVE-2025-2885",
        error: "root has version 3, expected 2",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.next_root();
            let mut files = repo.files();
            if spoil {
                let third = repo.root().set_number("version", 3).bytes();
                files.insert("2.root.json".to_owned(), third);
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "root-of-the-same-version-again",
        rules: "C7",
        error: "root has version 1, expected 2",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.next_root();
            let mut files = repo.files();
            if spoil {
                files.insert("2.root.json".to_owned(), files["1.root.json"].clone());
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "newest-root-expired",
        rules: "C9",
        error: "root version 2 expired at 2029-01-01T00:00:00Z",
        build: |spoil| {
            // The first root is expired either way, which alone means nothing (C2, C8).
            let mut repo = Repo::new();
            repo.root().set("expires", "2029-01-01T00:00:00Z");
            repo.next_root();
            if !spoil {
                repo.root().set("expires", later().to_string());
            }
            client(&repo)
        },
    },
    Attack {
        name: "root-expires-at-this-very-moment",
        rules: "C1, C9",
        error: "root version 1 expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            let mut repo = Repo::new();
            let expires = if spoil { now() } else { now().plus_seconds(1) };
            repo.root().set("expires", expires.to_string());
            client(&repo)
        },
    },
    Attack {
        name: "fast-forwarded-timestamp-without-rotation",
        rules: "C10, C13",
        error: "timestamp went back from version 2000000000 to 1",
        build: |spoil| {
            let mut before = Repo::new();
            before.timestamp.set_number("version", 2_000_000_000);
            let mut after = Repo::new();
            let next = after.next_root();
            // The timestamp key stays: the stored timestamp still verifies, and must be
            // forgotten all the same.
            if !spoil {
                let key = TestKey::new("new snapshot");
                next.trust("roles/snapshot", &[key], 1);
                after.snapshot.signed_by(&[key]);
            }
            returning(&before, &after)
        },
    },
    Attack {
        name: "clock-set-back",
        rules: "C30",
        error: "the clock says 2030-01-01T00:00:00Z, but metadata was accepted at 2030-01-01T00:00:01Z",
        build: |spoil| {
            let last = if spoil { now().plus_seconds(1) } else { now() };
            crate::support::Client { last_accepted: Some(last), ..client(&Repo::new()) }
        },
    },
    Attack {
        name: "stored-root-is-no-successor-of-the-pinned-one",
        rules: "C4, CVE-2020-15163",
        error: "root: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.next_root();
            if spoil {
                repo.root().trust("roles/root", &[MALLORY], 1).signed_by(&[MALLORY]);
            }
            let mut client = client(&repo);
            let root = file(&bulla_keys_schema::names::RoleName::Root, repo.root().version(), true);
            client.stored.insert(root, repo.root().bytes());
            client
        },
    },
];

/// A repository whose targets need two keys.
fn two_signatures(edit: impl FnOnce(&mut Repo)) -> crate::support::Client {
    let mut repo = Repo::new();
    repo.root().trust("roles/targets", &[Repo::TARGETS], 2);
    edit(&mut repo);
    client(&repo)
}

fn pin(keys: &[TestKey], threshold: u64) -> Pin {
    let fingerprints: BTreeSet<_> = keys.iter().map(|key| key.fingerprint()).collect();
    Pin::Keys { fingerprints, threshold: Threshold::new(threshold).unwrap() }
}

/// The object of a key with its public part spelled in another way.
fn with_public(key: TestKey, public: &str) -> Json {
    let Json::Object(mut object) = key.object() else { panic!("a key is an object") };
    let public = [("public".to_owned(), Json::from(public))];
    object.insert("keyval".to_owned(), Json::Object(public.into()));
    Json::Object(object)
}

/// The point of a P-256 key in its compressed form, in hex.
fn compressed(key: TestKey) -> String {
    let public = key.public();
    let der = public.to_spki_der();
    let point = &der[der.len() - 65..];
    let sign = if point[64].is_multiple_of(2) { "02" } else { "03" };
    let x: String = point[1..33].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{sign}{x}")
}
