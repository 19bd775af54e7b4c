//! Hostile uploads: what a server refuses, each beside the same upload without the defect.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::digest::{Hashed, Sha256Digest, Sha512Digest};
use bulla_keys_schema::json::Json;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::verify::submission::{AcceptedUpdate, Authority, CurrentState, Rejection, Submission};
use bytes::Bytes;

use crate::ends;
use crate::revocations;
use crate::support::{DIALECT, Doc, Repo, TestKey, delegation, now, repository};

const BOB: TestKey = TestKey::new("bob");
const CAROL: TestKey = TestKey::p256("carol");
const OTHER: &str = "registry.example.com/team/other";
const MALLORY: TestKey = TestKey::new("mallory");

/// A state, and what is uploaded to it.
pub struct Upload {
    pub before: Option<Repo>,
    pub submission: Submission,
}

/// One defect of an upload.
pub struct Row {
    pub name: &'static str,
    pub error: &'static str,
    pub build: fn(spoil: bool) -> Upload,
}

const ROWS: &[Row] = &[
    Row {
        name: "nothing",
        error: "the upload holds no metadata",
        build: |spoil| {
            let mut upload = next(|_| {});
            if spoil {
                upload.submission = Submission::default();
            }
            upload
        },
    },
    Row {
        name: "new repository without root",
        error: "root is missing",
        build: |spoil| {
            let mut upload = first(&signed());
            if spoil {
                upload.submission.roots.clear();
            }
            upload
        },
    },
    Row {
        name: "new repository without targets",
        error: "targets is missing",
        build: |spoil| {
            let mut upload = first(&signed());
            if spoil {
                upload.submission.targets = None;
            }
            upload
        },
    },
    Row {
        name: "new repository that starts at root version 2",
        error: "root has version 2, expected 1",
        build: |spoil| {
            let mut repo = signed();
            repo.root().set_number("version", if spoil { 2 } else { 1 });
            first(&repo)
        },
    },
    Row {
        name: "new repository whose root nobody can follow",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| {
            let mut repo = signed();
            repo.root().trust("roles/root", &[Repo::ROOT, BOB], 2);
            repo.root().signed_by(if spoil { &[Repo::ROOT] } else { &[Repo::ROOT, BOB] });
            first(&repo)
        },
    },
    Row {
        name: "releases without document",
        error: "releases is missing",
        build: |spoil| {
            let mut upload = first(&signed());
            if spoil {
                upload.submission.delegated.remove(&"releases".parse().unwrap());
            }
            upload
        },
    },
    Row {
        name: "role that comes again without document",
        error: "bob is missing",
        build: |spoil| {
            // Clients would ask for the document that the snapshot still lists.
            let mut before = signed();
            before.snapshot.describe("bob.json", Version::FIRST, &Bytes::new());
            let mut after = before.clone();
            let name = if spoil { "bob" } else { "carol" };
            after.delegate("targets", &delegation(name, &[BOB], &["b*"]));
            bump(&mut after.targets, 1);
            between(&before, &after)
        },
    },
    Row {
        name: "document of a role that nobody delegates to",
        error: "bob is not delegated",
        build: |spoil| {
            let mut upload = next(|_| {});
            if spoil {
                let bytes = upload.submission.delegated[&"alice".parse().unwrap()].clone();
                upload.submission.delegated.insert("bob".parse().unwrap(), bytes);
            }
            upload
        },
    },
    Row {
        name: "targets two versions ahead (Cure53 TUF-01-002)",
        error: "targets has version 3, expected 2",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, if spoil { 2 } else { 1 });
            })
        },
    },
    Row {
        name: "targets of the version before, with other content",
        error: "targets has version 1, expected 2",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, i64::from(!spoil)).set("x_note", "other");
            })
        },
    },
    Row {
        name: "delegated role that jumps to the end of the counter (NCC 3)",
        error: "alice has version 2147483647, expected 2",
        build: |spoil| {
            next(|repo| {
                repo.alice().set_number("version", if spoil { i64::from(i32::MAX) } else { 2 });
            })
        },
    },
    Row {
        name: "version beyond what common clients read",
        error: "targets has version 2147483648, expected no further one",
        build: |spoil| {
            let mut before = signed();
            before.targets.set_number("version", i64::from(i32::MAX) - i64::from(!spoil));
            let mut after = before.clone();
            bump(&mut after.targets, 1);
            between(&before, &after)
        },
    },
    Row {
        name: "root that skips a version",
        error: "root has version 3, expected 2",
        build: |spoil| {
            next(|repo| {
                repo.next_root().set_number("version", if spoil { 3 } else { 2 });
            })
        },
    },
    Row {
        name: "root not signed by the old keys",
        error: "root: signed by 0 of 1 required keys",
        build: |spoil| {
            next(|repo| {
                let root = repo.next_root().trust("roles/root", &[BOB], 1);
                root.signed_by(if spoil { &[BOB] } else { &[BOB, Repo::ROOT] });
            })
        },
    },
    Row {
        name: "root below its own threshold",
        error: "root: signed by 1 of 2 required keys",
        build: |spoil| {
            next(|repo| {
                let root = repo.next_root().trust("roles/root", &[BOB, CAROL], 2);
                root.signed_by(if spoil { &[BOB, Repo::ROOT] } else { &[BOB, CAROL, Repo::ROOT] });
            })
        },
    },
    Row {
        name: "root of an unrelated repository",
        error: "root: signed by 0 of 1 required keys",
        build: |spoil| {
            next(|repo| {
                repo.next_root().signed_by(&[if spoil { MALLORY } else { Repo::ROOT }]);
            })
        },
    },
    Row {
        name: "new targets keys without targets signed by them",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            next(|repo| {
                repo.next_root().trust("roles/targets", &[BOB], 1);
                if !spoil {
                    bump(&mut repo.targets, 1).signed_by(&[BOB]);
                }
            })
        },
    },
    Row {
        name: "new delegation keys without a document signed by them",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, 1).trust("delegations/roles/1", &[BOB], 1);
                if spoil {
                    // Nothing is uploaded for alice: the stored document stands.
                    bump(repo.alice(), -1);
                } else {
                    repo.alice().signed_by(&[BOB]);
                }
            })
        },
    },
    Row {
        name: "targets signed by a stranger",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, 1).signed_by(&[if spoil { MALLORY } else { Repo::TARGETS }]);
            })
        },
    },
    Row {
        name: "signer's document signed by another signer",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            next(|repo| {
                repo.alice().signed_by(&[if spoil { BOB } else { Repo::ALICE }]);
            })
        },
    },
    Row {
        name: "releases served as the role of a signer who signed it",
        error: "alice: the document says that it is of role releases",
        build: |spoil| {
            next(|repo| {
                let releases = bump(repo.targets_doc("releases"), 1).clone();
                if spoil {
                    repo.delegated.insert("alice".to_owned(), releases);
                }
            })
        },
    },
    Row {
        name: "releases served as targets under the repository key",
        error: "targets: the document says that it is of role releases",
        build: |spoil| {
            next(|repo| {
                let releases = bump(repo.targets_doc("releases"), 1).signed_by(&[Repo::TARGETS]).clone();
                if spoil {
                    repo.targets = releases;
                    repo.delegated.clear();
                }
            })
        },
    },
    Row {
        name: "root made for another repository",
        error: "root: the document is made for registry.example.com/team/other",
        build: |spoil| {
            let mut repo = unnamed(signed());
            if spoil {
                repo = named(repo, OTHER);
            }
            first(&repo)
        },
    },
    Row {
        name: "signer's document made for another repository",
        error: "alice: the document is made for registry.example.com/team/other",
        build: |spoil| {
            next(|repo| {
                if spoil {
                    repo.alice().set("x_bulla_repository", OTHER);
                }
            })
        },
    },
    Row {
        name: "root that takes a name which its targets do not have",
        error: "targets: the document is made for no repository in particular",
        build: |spoil| {
            takes_name(if spoil { &["alice", "releases"] } else { &["targets", "alice", "releases"] })
        },
    },
    Row {
        name: "root that takes a name which a signer's document does not have",
        error: "alice: the document is made for no repository in particular",
        build: |spoil| {
            takes_name(if spoil { &["targets", "releases"] } else { &["targets", "alice", "releases"] })
        },
    },
    Row {
        name: "root that gives its name up",
        error: "root: the document is made for no repository in particular",
        build: |spoil| {
            next(|repo| {
                let root = repo.next_root();
                if spoil {
                    root.remove("x_bulla_repository");
                }
            })
        },
    },
    Row {
        name: "root expired already",
        error: "root expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            next(|repo| {
                repo.next_root().set("expires", expiry(spoil));
            })
        },
    },
    Row {
        name: "targets expired already",
        error: "targets expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, 1).set("expires", expiry(spoil));
            })
        },
    },
    Row {
        name: "delegated role expired already",
        error: "alice expired at 2030-01-01T00:00:00Z",
        build: |spoil| {
            next(|repo| {
                repo.alice().set("expires", expiry(spoil));
            })
        },
    },
    Row {
        name: "targets larger than common clients read",
        error: "targets exceeds 5000000, the most that common clients read",
        build: |spoil| {
            next(|repo| {
                let short = bump(&mut repo.targets, 1).bytes().len();
                repo.targets.pad(limits::TARGETS_BYTES - short + usize::from(spoil));
            })
        },
    },
    Row {
        name: "root larger than common clients read",
        error: "root exceeds 512000, the most that common clients read",
        build: |spoil| {
            next(|repo| {
                let short = repo.next_root().bytes().len();
                repo.root().pad(limits::ROOT_BYTES - short + usize::from(spoil));
            })
        },
    },
    Row {
        name: "more roots than common clients follow",
        error: "root exceeds 256, the most that common clients read",
        build: |spoil| {
            let mut upload = next(|repo| {
                repo.next_root();
            });
            if spoil {
                upload.submission.roots.resize(limits::ROOT_STEPS + 1, Bytes::new().into());
            }
            upload
        },
    },
    Row {
        name: "more delegated roles than common clients visit",
        error: "targets exceeds 32, the most that common clients read",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, 1);
                for number in 3..=limits::VISITED_ROLES + usize::from(spoil) {
                    let name = format!("signer-{number}");
                    repo.delegate("targets", &delegation(&name, &[BOB], &["x*"]));
                    repo.add(&name, &[], &[BOB]);
                }
            })
        },
    },
    Row {
        name: "more keys in a role than a document has signatures",
        error: "root exceeds 256, the most that common clients read",
        build: |spoil| {
            next(|repo| {
                let keys: Vec<TestKey> =
                    (0..limits::SIGNATURES + usize::from(spoil)).map(|n| BOB.nth(n)).collect();
                repo.next_root().trust("roles/root", &keys, 1).signed_by(&[BOB.nth(0), Repo::ROOT]);
            })
        },
    },
    Row {
        name: "target file that nothing lists",
        error: "target file 100ef6a71bac925f709fe9c114c60460bf6e472cfdb9d44bd8adf1698135260f is not listed by any uploaded document",
        build: |spoil| {
            let mut upload = next(|_| {});
            let file: &[u8] = if spoil { b"another file" } else { Repo::MANIFEST };
            upload.submission.target_files.push(Bytes::from(file).into());
            upload
        },
    },
    Row {
        name: "target file of another length than listed",
        error: "target file 0cef75dd290083d04f87bd6defa13d16fc93bc4669dce0ced1cd23dab4774496 is not listed by any uploaded document",
        build: |spoil| {
            let mut upload = next(|repo| {
                for role in ["alice", "releases"] {
                    let length = i64::try_from(Repo::MANIFEST.len()).unwrap() + i64::from(spoil);
                    repo.targets_doc(role).set_number("targets/v1/length", length);
                    bump(repo.targets_doc("releases"), i64::from(role == "releases"));
                }
            });
            upload.submission.target_files.push(Bytes::from(Repo::MANIFEST).into());
            upload
        },
    },
    Row {
        name: "target file larger than an attestation may be",
        error: "targets exceeds 16777216, the most that common clients read",
        build: |spoil| {
            let file = vec![b' '; limits::TARGET_FILE_BYTES + usize::from(spoil)];
            let mut upload = next(|repo| {
                for role in ["alice", "releases"] {
                    let info = crate::support::info(1, &file);
                    repo.targets_doc(role).set("targets/v1", info).remove("targets/v1/version");
                }
                bump(repo.targets_doc("releases"), 1);
            });
            upload.submission.target_files.push(Bytes::from(file).into());
            upload
        },
    },
    Row {
        name: "root with one secret under two ids",
        error: "root: key aa002da2262219078e4f2d12a1971c7b4d7d7da86955b46914a7f0e6233fe2b4 is listed twice",
        build: |spoil| {
            next(|repo| {
                let second = if spoil { Repo::ROOT } else { BOB };
                repo.next_root().trust_as("roles/root", "another-id", second.object());
            })
        },
    },
    Row {
        name: "delegation with one secret under two ids",
        error: "alice: key d16ddc460f7518ed3dac974ff4e8fccb9430da522470528ed85df600fc8af5b9 is listed twice",
        build: |spoil| {
            next(|repo| {
                let second = if spoil { Repo::ALICE } else { BOB };
                bump(&mut repo.targets, 1).trust_as("delegations/roles/1", "another-id", second.object());
            })
        },
    },
    Row {
        name: "root that takes the timestamp from this server",
        error: "root lists too few timestamp keys held by this server",
        build: |spoil| {
            next(|repo| {
                let keys = [if spoil { MALLORY } else { Repo::TIMESTAMP }];
                repo.next_root().trust("roles/timestamp", &keys, 1);
            })
        },
    },
    Row {
        name: "root that wants two snapshot keys where this server has one",
        error: "root lists too few snapshot keys held by this server",
        build: |spoil| {
            next(|repo| {
                let threshold = if spoil { 2 } else { 1 };
                repo.next_root().trust("roles/snapshot", &[Repo::SNAPSHOT, BOB], threshold);
            })
        },
    },
    Row {
        name: "root that trusts an online key as root key",
        error: "root trusts key dd5a5c1ce72ed4a4c5e22b25048c980848499255a8f0bc79e7c3aad4d813fa34, which this server holds",
        build: |spoil| {
            next(|repo| {
                let second = if spoil { Repo::TIMESTAMP } else { BOB };
                repo.next_root().trust("roles/root", &[Repo::ROOT, second], 1);
            })
        },
    },
    Row {
        name: "root that trusts an online key for targets",
        error: "targets trusts key 1bf6ae2eb77c2c492f040db1d660a0d29fa5eefd2064c17836ab58ba03ac2e4b, which this server holds",
        build: |spoil| {
            next(|repo| {
                let second = if spoil { Repo::SNAPSHOT } else { BOB };
                repo.next_root().trust("roles/targets", &[Repo::TARGETS, second], 1);
            })
        },
    },
    Row {
        name: "root in the middle that trusts an online key as root key",
        error: "root trusts key dd5a5c1ce72ed4a4c5e22b25048c980848499255a8f0bc79e7c3aad4d813fa34, which this server holds",
        build: |spoil| {
            next(|repo| {
                let second = if spoil { Repo::TIMESTAMP } else { BOB };
                repo.next_root().trust("roles/root", &[Repo::ROOT, second], 1);
                repo.next_root().trust("roles/root", &[Repo::ROOT], 1);
            })
        },
    },
    Row {
        name: "delegation that trusts an online key",
        error: "alice trusts key 1bf6ae2eb77c2c492f040db1d660a0d29fa5eefd2064c17836ab58ba03ac2e4b, which this server holds",
        build: |spoil| {
            next(|repo| {
                let second = if spoil { Repo::SNAPSHOT } else { BOB };
                bump(&mut repo.targets, 1).trust("delegations/roles/1", &[Repo::ALICE, second], 1);
            })
        },
    },
    Row {
        name: "root without consistent snapshots",
        error: "root: consistent_snapshot must be true",
        build: |spoil| {
            next(|repo| {
                repo.next_root().set("consistent_snapshot", Json::Bool(!spoil));
            })
        },
    },
    Row {
        name: "root with a key of an unknown kind",
        error: "root: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            next(|repo| {
                repo.next_root().trust("roles/root", &[Repo::ROOT, BOB], 1);
                if spoil {
                    let id = BOB.id();
                    repo.root().set(&format!("keys/{id}/scheme"), "ml-dsa-65");
                }
            })
        },
    },
    Row {
        name: "root with a key id that names no key",
        error: "root: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            next(|repo| {
                repo.next_root();
                if spoil {
                    repo.root().push("roles/root/keyids", "nothing");
                }
            })
        },
    },
    Row {
        name: "threshold that can never be met",
        error: "releases: the threshold is higher than the number of keys",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, 1)
                    .set_number("delegations/roles/0/threshold", if spoil { 3 } else { 2 });
                repo.targets_doc("releases").signed_by(&[Repo::ALICE, Repo::TARGETS]);
                bump(repo.targets_doc("releases"), 1);
            })
        },
    },
    Row {
        name: "target name that climbs out of its folder",
        error: "alice: target names must be relative paths without `..`",
        build: |spoil| next(|repo| list(repo.alice(), if spoil { "../v2" } else { "v2" })),
    },
    Row {
        name: "target without sha256",
        error: "alice: every target must be listed with sha256",
        build: |spoil| {
            next(|repo| {
                list(repo.alice(), "v2");
                repo.alice().set("targets/v2/hashes/sha512", Sha512Digest::of(Repo::MANIFEST).to_string());
                if spoil {
                    repo.alice().remove("targets/v2/hashes/sha256");
                }
            })
        },
    },
    Row {
        name: "target listed and revoked",
        error: "alice lists v1 as a target and as revoked",
        build: |spoil| {
            next(|repo| {
                let name = if spoil { "v1" } else { "v2" };
                let digest = repo.alice().get("targets/v1/hashes/sha256").unwrap().clone();
                let at = Json::from("2029-12-31T00:00:00Z");
                let stone = [("sha256".to_owned(), digest), ("revoked_at".to_owned(), at)];
                let revoked = [(name.to_owned(), Json::Object(stone.into()))];
                repo.alice().set("x_bulla_revoked", Json::Object(revoked.into()));
            })
        },
    },
    Row {
        name: "hash bins",
        error: "targets: hash bins are not readable by all clients",
        build: |spoil| {
            next(|repo| {
                repo.targets = Repo::bare().targets;
                bump(&mut repo.targets, 1);
                repo.delegated.clear();
                if spoil {
                    let bins = format!(
                        r#"{{"keys":{{}},"succinct_roles":{{"keyids":["{}"],"threshold":1,"bit_length":1,"name_prefix":"bin"}}}}"#,
                        BOB.id()
                    );
                    repo.targets.set("delegations", Json::parse(bins.as_bytes()).unwrap());
                }
            })
        },
    },
    Row {
        name: "role name that not every file system takes",
        error: "Bob: names of roles are up to 64 of a-z, 0-9, `.`, `_`, `-`, not starting like `1.`",
        build: |spoil| {
            next(|repo| {
                let name = if spoil { "Bob" } else { "bob" };
                repo.delegate("targets", &delegation(name, &[BOB], &["b*"])).add(name, &[], &[BOB]);
                bump(&mut repo.targets, 1);
            })
        },
    },
    Row {
        name: "role name that looks like a version",
        error: "1.root: names of roles are up to 64 of a-z, 0-9, `.`, `_`, `-`, not starting like `1.`",
        build: |spoil| {
            next(|repo| {
                let name = if spoil { "1.root" } else { "1-root" };
                repo.delegate("targets", &delegation(name, &[BOB], &["b*"])).add(name, &[], &[BOB]);
                bump(&mut repo.targets, 1);
            })
        },
    },
    Row {
        name: "path hash prefixes",
        error: "bob: clients read path_hash_prefixes in different ways",
        build: |spoil| {
            next(|repo| {
                repo.delegate("targets", &delegation("bob", &[BOB], &["b*"])).add("bob", &[], &[BOB]);
                if spoil {
                    let prefixes = Json::Array(vec!["ab".into()]);
                    let role = bump(&mut repo.targets, 1).remove("delegations/roles/2/paths");
                    role.set("delegations/roles/2/path_hash_prefixes", prefixes);
                } else {
                    bump(&mut repo.targets, 1);
                }
            })
        },
    },
    Row {
        name: "releases behind a signer",
        error: "targets: releases must be the first delegation",
        build: |spoil| {
            next(|repo| {
                let targets = bump(&mut repo.targets, 1);
                if spoil {
                    let releases = targets.get("delegations/roles/0").unwrap().clone();
                    targets.remove("delegations/roles/0").push("delegations/roles", releases);
                }
            })
        },
    },
    Row {
        name: "releases that delegates, past every signer",
        error: "releases: releases must not delegate: every tag in it needs a signer",
        build: |spoil| {
            next(|repo| {
                bump(repo.targets_doc("releases"), 1);
                if spoil {
                    repo.delegate("releases", &delegation("releases.x", &[MALLORY], &["*"]));
                    repo.add("releases.x", &["v9"], &[MALLORY]);
                }
            })
        },
    },
    Row {
        name: "signer who takes the name of one to come",
        error: "bob: the name of a role below a delegated role must start with that role's name and a dot",
        build: |spoil| below_alice(if spoil { "bob" } else { "alice.bob" }),
    },
    Row {
        name: "signer who takes releases over",
        error: "releases: two roles delegate to it",
        build: |spoil| {
            next(|repo| {
                let name = if spoil { "releases" } else { "alice.releases" };
                repo.delegate("alice", &delegation(name, &[Repo::ALICE], &["*"]));
                if !spoil {
                    repo.add(name, &[], &[Repo::ALICE]);
                }
            })
        },
    },
    Row {
        name: "signer who fills the snapshot with names below his own",
        error: "alice.new: the snapshot has no room for more names below delegated roles",
        build: |spoil| {
            let mut before = signed();
            let others = limits::DELEGATIONS / 2 - 4 + usize::from(spoil);
            for number in 0..others {
                let name = format!("alice.{number}.json");
                before.snapshot.describe(&name, Version::FIRST, &Bytes::new());
            }
            let mut after = before.clone();
            after.delegate("alice", &delegation("alice.new", &[BOB], &["v*"]));
            after.add("alice.new", &[], &[BOB]);
            bump(after.alice(), 1);
            between(&before, &after)
        },
    },
    Row {
        name: "tag with one digest at the top and another below",
        error: "v1 has one digest or length in targets and another in alice",
        build: |spoil| {
            next(|repo| {
                let digest = Json::from(Sha256Digest::of(b"other").to_string());
                list(&mut repo.targets, "v1");
                if spoil {
                    repo.targets.set("targets/v1/hashes/sha256", digest);
                }
                bump(&mut repo.targets, 1);
            })
        },
    },
    Row {
        name: "tag with one length at the top and another below",
        error: "v1 has one digest or length in targets and another in alice",
        build: |spoil| {
            next(|repo| {
                list(&mut repo.targets, "v1");
                if spoil {
                    repo.targets.set_number("targets/v1/length", 1);
                }
                bump(&mut repo.targets, 1);
            })
        },
    },
    Row {
        name: "release that no signer vouches for",
        error: "releases lists v2, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            next(|repo| {
                list(bump(repo.targets_doc("releases"), 1), "v2");
                if !spoil {
                    list(repo.alice(), "v2");
                }
            })
        },
    },
    Row {
        name: "release outside the patterns of its signer",
        error: "releases lists latest, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            next(|repo| {
                let name = if spoil { "latest" } else { "v-latest" };
                list(bump(repo.targets_doc("releases"), 1), name);
                list(repo.alice(), name);
            })
        },
    },
    Row {
        name: "release with another length than the signer's",
        error: "releases lists v1, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            next(|repo| {
                bump(repo.targets_doc("releases"), 1)
                    .set_number("targets/v1/length", if spoil { 1 } else { 18 });
            })
        },
    },
    Row {
        name: "release that only a role below a signer vouches for",
        error: "releases lists v2, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            next(|repo| {
                repo.delegate("alice", &delegation("alice.bob", &[BOB], &["v*"]));
                repo.add("alice.bob", &["v2"], &[BOB]);
                if !spoil {
                    list(repo.alice(), "v2");
                }
                list(bump(repo.targets_doc("releases"), 1), "v2");
            })
        },
    },
    Row {
        name: "signer who takes a tag back and leaves it in releases",
        error: "releases lists v1, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            next(|repo| {
                repo.alice().remove("targets/v1");
                if !spoil {
                    bump(repo.targets_doc("releases"), 1).remove("targets/v1");
                }
            })
        },
    },
    Row {
        name: "signer removed while releases still lists his tag",
        error: "releases lists v1, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            next(|repo| {
                bump(&mut repo.targets, 1).remove("delegations/roles/1");
                repo.delegated.remove("alice");
                let releases = bump(repo.targets_doc("releases"), 1).signed_by(&[Repo::TARGETS]);
                if !spoil {
                    releases.remove("targets/v1");
                }
            })
        },
    },
];

#[test]
fn hostile_uploads_are_refused_for_their_defect() {
    let mut wrong = Vec::new();
    for row in [ROWS, revocations::ROWS, ends::ROWS].into_iter().flatten() {
        match check((row.build)(true)) {
            Err(rejection) if rejection.to_string() == row.error => {}
            result => {
                wrong.push(format!(
                    "{}: {:?}",
                    row.name,
                    result.map(drop).map_err(|error| error.to_string())
                ));
            }
        }
        if let Err(rejection) = check((row.build)(false)) {
            wrong.push(format!("{} without the defect: {rejection}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// `releases`, which alice and the repository key may sign, and alice, who vouches for v1.
pub fn signed() -> Repo {
    let mut repo = Repo::bare();
    repo.delegate("targets", &delegation("releases", &[Repo::ALICE, Repo::TARGETS], &["*"]));
    repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &["v*"]));
    repo.add("releases", &["v1"], &[Repo::ALICE]).add("alice", &["v1"], &[Repo::ALICE]);
    repo
}

pub fn held() -> BTreeSet<bulla_keys_schema::key::Fingerprint> {
    [Repo::SNAPSHOT, Repo::TIMESTAMP].map(TestKey::fingerprint).into()
}

fn check(upload: Upload) -> Result<AcceptedUpdate, Rejection> {
    let state = upload.before.map(|repo| CurrentState::load(DIALECT, &repo.documents()).unwrap());
    let authority = Authority { repository: &repository(), held_keys: &held(), now: now() };
    upload.submission.check(DIALECT, state.as_ref(), &authority)
}

/// Everything of a new repository.
pub fn first(repo: &Repo) -> Upload {
    Upload { before: None, submission: changed(None, repo) }
}

/// What `edit` changes in a repository whose alice publishes, too.
fn next(edit: impl FnOnce(&mut Repo)) -> Upload {
    let before = signed();
    let mut after = before.clone();
    bump(after.alice(), 1);
    edit(&mut after);
    between(&before, &after)
}

/// What `after` has and `before` has not.
pub fn between(before: &Repo, after: &Repo) -> Upload {
    Upload { before: Some(before.clone()), submission: changed(Some(before), after) }
}

/// The documents that `before` does not have.
pub fn changed(before: Option<&Repo>, after: &Repo) -> Submission {
    let known = before.map_or_else(BTreeMap::new, Repo::documents);
    let known: BTreeSet<&Bytes> = known.values().collect();
    let new = |doc: &Doc| Some(doc.bytes()).filter(|bytes| !known.contains(bytes)).map(Hashed::from);
    Submission {
        snapshot: None,
        roots: after
            .roots
            .iter()
            .skip(before.map_or(0, |before| before.roots.len()))
            .map(|root| root.bytes().into())
            .collect(),
        targets: new(&after.targets),
        delegated: after
            .delegated
            .iter()
            .filter_map(|(name, doc)| Some((name.parse().unwrap(), new(doc)?)))
            .collect(),
        target_files: Vec::new(),
    }
}

pub fn bump(doc: &mut Doc, by: i64) -> &mut Doc {
    let version = i64::try_from(doc.version().get()).unwrap() + by;
    doc.set_number("version", version)
}

/// Lists the manifest under one more name.
pub fn list(doc: &mut Doc, name: &str) {
    let mut targets = doc.get("targets").unwrap().as_object().unwrap().clone();
    let listed = Repo::flat().targets.get("targets/v1").unwrap().clone();
    targets.insert(name.to_owned(), listed);
    doc.set("targets", Json::Object(targets));
}

/// The same for no repository in particular.
fn unnamed(mut repo: Repo) -> Repo {
    repo.root().remove("x_bulla_repository");
    for role in ["targets", "alice", "releases"] {
        repo.targets_doc(role).remove("x_bulla_repository");
    }
    repo
}

/// The same for the repository `name`.
fn named(mut repo: Repo, name: &str) -> Repo {
    repo.root().set("x_bulla_repository", name);
    for role in ["targets", "alice", "releases"] {
        repo.targets_doc(role).set("x_bulla_repository", name);
    }
    repo
}

/// A root without name takes one, and so do the documents of `roles`.
fn takes_name(roles: &[&str]) -> Upload {
    let before = unnamed(signed());
    let mut after = before.clone();
    after.next_root().set("x_bulla_repository", repository().as_str());
    for role in roles {
        bump(after.targets_doc(role), 1).set("x_bulla_repository", repository().as_str());
    }
    between(&before, &after)
}

fn below_alice(name: &str) -> Upload {
    next(|repo| {
        repo.delegate("alice", &delegation(name, &[BOB], &["v*"])).add(name, &[], &[BOB]);
    })
}

fn expiry(spoil: bool) -> String {
    now().plus_seconds(i64::from(!spoil)).to_string()
}
