//! Hostile targets: who may sign them, whom they let speak, and what counts on.

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::{Authority, CurrentState, Submission};
use bytes::Bytes;

use crate::papers::{
    ALICE, BOB, Holder, MALLORY, Papers, SNAPSHOT, TARGETS, bare, bump, certificate, declared, delegate,
    list, lists, name, sign, signed_by, trust, wrapped,
};
use crate::server::{Server, held};
use crate::uploads::{LAST_VERSION, Row, Upload, first, next, try_all, version};
use crate::{now, repository};

const SIGNERS: &[Row] = &[
    Row {
        name: "targets signed by the key of a delegation",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            next(Holder::Server, |papers| {
                signed_by(papers.next("targets"), &[if spoil { ALICE } else { TARGETS }]);
            })
        },
    },
    Row {
        name: "delegation signed by the key of another one",
        error: "bob: signed by 0 of 1 required keys",
        build: |spoil| {
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), "targets/bob", &[BOB]);
                papers.add("targets/bob", &["v2"], &[if spoil { ALICE } else { BOB }]);
            })
        },
    },
    Row {
        name: "delegation signed by the targets key",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            next(Holder::Server, |papers| {
                signed_by(papers.next("targets/alice"), &[if spoil { TARGETS } else { ALICE }]);
            })
        },
    },
    Row {
        name: "delegation signed under the id of another key",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let id = bare(if spoil { MALLORY } else { ALICE }).0;
                papers.next("targets/alice").signed_by(&[]).signed_as(id.as_str(), ALICE);
            })
        },
    },
    Row {
        name: "delegation that nobody made",
        error: "bob is not delegated",
        build: |spoil| {
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), if spoil { "targets/bert" } else { "targets/bob" }, &[BOB]);
                papers.add("targets/bob", &["v2"], &[BOB]);
            })
        },
    },
    Row {
        name: "child of a role that is not there",
        error: "bob/phone is not delegated",
        build: |spoil| {
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), "targets/bob", &[BOB]);
                delegate(papers.add("targets/bob", &[], &[BOB]), "targets/bob/phone", &[BOB]);
                papers.add("targets/bob/phone", &["v2"], &[BOB]);
                if spoil {
                    papers.delegated.remove("targets/bob");
                }
            })
        },
    },
    Row {
        name: "key listed without its digest, and a threshold of 2 of it",
        error: "bob: key 5a00e87de60aacb8156a6615d9806947f0ecbcc16c2e7a41f4bf678d9d1f9ad0 is listed twice",
        build: |spoil| {
            // A bare key and a certificate for it: two ids, one key.
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), "targets/bob", &[BOB]);
                let both =
                    [bare(crate::papers::ROOT), wrapped(&certificate(crate::papers::ROOT, "bob")), bare(BOB)];
                trust(&mut papers.targets, "delegations/roles/2", &both, if spoil { 2 } else { 1 });
            })
        },
    },
    Row {
        name: "certificate for a delegation with SHA-1",
        error: "bob: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            let name = if spoil { "p256-sha1" } else { "p256-authority" };
            bob_with(&declared("ecdsa-x509", crate::samples::certificate(name).as_bytes()))
        },
    },
    Row {
        name: "RSA key of 1024 bits",
        error: "bob: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            let name = if spoil { "rsa-1024" } else { "rsa-2048" };
            bob_with(&declared("rsa-x509", crate::samples::certificate(name).as_bytes()))
        },
    },
    Row {
        name: "key of a kind that nobody knows",
        error: "bob: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            let keytype = if spoil { "gpg" } else { "ecdsa" };
            bob_with(&declared(keytype, BOB_P256.public().to_spki_der()))
        },
    },
    Row {
        name: "Ed25519 key declared as one of ECDSA",
        error: "bob: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            let (keytype, key) = if spoil { ("ecdsa", BOB) } else { ("ecdsa", BOB_P256) };
            bob_with(&declared(keytype, key.public().to_spki_der()))
        },
    },
    Row {
        name: "ECDSA key declared as one of RSA",
        error: "bob: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            let keytype = if spoil { "rsa" } else { "ecdsa" };
            bob_with(&declared(keytype, BOB_P256.public().to_spki_der()))
        },
    },
    Row {
        name: "key id that is not the digest of the key",
        error: "targets: targets.delegations.keys.0000000000000000000000000000000000000000000000000000000000000000 must be listed by its own digest",
        build: |spoil| {
            let (id, object) = bare(BOB);
            let zeros = "0".repeat(64).parse().unwrap();
            bob_with(&(if spoil { zeros } else { id }, object))
        },
    },
    Row {
        name: "key id without key",
        error: "bob: every key id must name a P-256, Ed25519 or RSA-PSS key",
        build: |spoil| {
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), "targets/bob", &[BOB, MALLORY]);
                if spoil {
                    papers.targets.remove(&format!("delegations/keys/{}", bare(MALLORY).0));
                }
            })
        },
    },
    Row {
        name: "private half of a key",
        error: PRIVATE,
        build: |spoil| {
            let (id, mut object) = bare(BOB);
            if let (true, Json::Object(members)) = (spoil, &mut object)
                && let Some(Json::Object(keyval)) = members.get_mut("keyval")
            {
                keyval.insert("private".to_owned(), Json::from("AAAA"));
            }
            bob_with(&(id, object))
        },
    },
    Row {
        name: "online key in a delegation",
        error: "bob trusts key 2c047dea2afe2a221afc9198e4916c78bbdb653d1436e1efff78d8fa3cd4b27c, which this server holds",
        build: |spoil| bob_with(&bare(if spoil { SNAPSHOT } else { BOB })),
    },
    Row {
        name: "key id twice in one role",
        error: "targets: targets.delegations.roles.keyids must be an array of key ids, each once",
        build: |spoil| {
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), "targets/bob", &[BOB]);
                let id = bare(if spoil { BOB } else { ALICE }).0;
                papers.targets.push("delegations/roles/2/keyids", id.as_str());
            })
        },
    },
    Row {
        name: "threshold of none",
        error: "targets: targets.delegations.roles.threshold must be a number from 1 to 1024",
        build: |spoil| bob_needs(if spoil { 0 } else { 1 }),
    },
    Row {
        name: "threshold that can never be met",
        error: "bob: the threshold is higher than the number of keys",
        build: |spoil| bob_needs(if spoil { 2 } else { 1 }),
    },
];

const PRIVATE: &str = "targets: targets.delegations.keys.2d7e44756cf9ba9f16e6bd8d68cc0762d7311232575badf87fd4dff199018714.keyval.private must be null";
const BOB_P256: crate::TestKey = crate::TestKey::p256("bob");

const NAMES: &[Row] = &[
    Row {
        name: "role that is no direct child of targets",
        error: "targets: targets.delegations.roles must be roles right below this one",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let role = if spoil { "targets/alice/phone" } else { "targets/phone" };
                delegate(papers.next("targets"), role, &[BOB]);
            })
        },
    },
    Row {
        name: "signer who delegates to the role of another one",
        error: "alice: targets.delegations.roles must be roles right below this one",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let role = if spoil { "targets/releases" } else { "targets/alice/releases" };
                delegate(papers.next("targets/alice"), role, &[BOB]);
            })
        },
    },
    Row {
        name: "role that delegates to itself",
        error: "alice: targets.delegations.roles must be roles right below this one",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let role = if spoil { "targets/alice" } else { "targets/alice/alice" };
                delegate(papers.next("targets/alice"), role, &[BOB]);
            })
        },
    },
    Row {
        name: "grandchild",
        error: "alice: targets.delegations.roles must be roles right below this one",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let role = if spoil { "targets/alice/phone/old" } else { "targets/alice/phone" };
                delegate(papers.next("targets/alice"), role, &[BOB]);
            })
        },
    },
    Row { name: "role in capitals", error: BAD_NAME, build: |spoil| named(spoil, "targets/Bob") },
    Row { name: "role with a dot", error: BAD_NAME, build: |spoil| named(spoil, "targets/bob.phone") },
    Row { name: "role without parent", error: BAD_NAME, build: |spoil| named(spoil, "bob") },
    Row { name: "role with an empty name", error: BAD_NAME, build: |spoil| named(spoil, "targets/") },
    Row { name: "role with an empty part", error: BAD_NAME, build: |spoil| named(spoil, "targets//bob") },
    Row { name: "role that ends with a slash", error: BAD_NAME, build: |spoil| named(spoil, "targets/bob/") },
    Row { name: "role that leads up", error: BAD_NAME, build: |spoil| named(spoil, "targets/../root") },
    Row { name: "delegation to targets", error: BAD_NAME, build: |spoil| named(spoil, "targets") },
    Row { name: "delegation to root", error: BAD_NAME, build: |spoil| named(spoil, "root") },
    Row {
        name: "role listed twice",
        error: "targets: targets.delegations.roles must be an array of roles, each once",
        build: |spoil| {
            next(Holder::Server, |papers| {
                delegate(papers.next("targets"), if spoil { "targets/alice" } else { "targets/bob" }, &[BOB]);
            })
        },
    },
    Row {
        name: "more roles than one document may list",
        error: "targets: targets.delegations.roles has too many entries",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let one = papers.targets.get("delegations/roles/1").unwrap().clone();
                papers.next("targets");
                let count = limits::DELEGATIONS - 2 + usize::from(spoil);
                for number in 0..count {
                    let mut role = one.clone();
                    if let Json::Object(members) = &mut role {
                        members.insert("name".to_owned(), Json::from(format!("targets/n{number}")));
                    }
                    papers.targets.push("delegations/roles", role);
                }
            })
        },
    },
];

const BAD_NAME: &str = "targets: targets.delegations.roles.name must be the name of a role below targets";

const VERSIONS: &[Row] = &[
    Row {
        name: "targets that jump",
        error: "targets has version 4, expected 3",
        build: |spoil| of_version("targets", spoil, 4, 3),
    },
    Row {
        name: "targets of the version before, with other content",
        error: "targets has version 2, expected 3",
        build: |spoil| of_version("targets", spoil, 2, 3),
    },
    Row {
        name: "targets that go back",
        error: "targets has version 1, expected 3",
        build: |spoil| of_version("targets", spoil, 1, 3),
    },
    Row {
        name: "targets that jump to the end of the counter",
        error: "targets has version 2147483647, expected 3",
        build: |spoil| of_version("targets", spoil, LAST_VERSION, 3),
    },
    Row {
        name: "role that jumps",
        error: "alice has version 3, expected 2",
        build: |spoil| of_version("targets/alice", spoil, 3, 2),
    },
    Row {
        name: "role of the version before, with other content",
        error: "alice has version 1, expected 2",
        build: |spoil| of_version("targets/alice", spoil, 1, 2),
    },
    Row {
        name: "targets that start near the end of the counter",
        error: "targets has version 2147483647, expected 1",
        build: |spoil| starts("targets", spoil, LAST_VERSION),
    },
    Row {
        name: "role that starts near the end of the counter",
        error: "alice has version 1073741824, expected 1",
        build: |spoil| starts("targets/alice", spoil, limits::FIRST_VERSION + 1),
    },
    Row {
        name: "version of nothing",
        error: "targets: targets.version must be a number from 1",
        build: |spoil| of_version("targets", spoil, 0, 3),
    },
    Row {
        name: "expired targets",
        error: "targets expired at 2030-01-01T00:00:00Z",
        build: |spoil| expires("targets", spoil),
    },
    Row {
        name: "expired role",
        error: "alice expired at 2030-01-01T00:00:00Z",
        build: |spoil| expires("targets/alice", spoil),
    },
    Row {
        name: "new repository without targets",
        error: "targets is missing",
        build: |spoil| {
            let mut upload = first(&Papers::new(Holder::Server));
            if spoil {
                upload.submission.targets = None;
            }
            upload
        },
    },
    Row {
        name: "nothing at all for a repository that is not there",
        error: "the upload holds no metadata",
        build: |spoil| {
            let mut upload = first(&Papers::new(Holder::Server));
            if spoil {
                upload.submission = Submission::default();
            }
            upload
        },
    },
];

#[test]
fn hostile_targets_are_refused_for_their_defect() {
    try_all(&[SIGNERS, NAMES, VERSIONS]);
}

#[test]
fn what_notary_accepts_is_accepted() {
    // Tags outside of a role's prefixes, roles without paths or keys, a role without document,
    // and no role called releases.
    let mut papers = Papers::flat(Holder::Server);
    for (at, role) in ["targets/a", "targets/b", "targets/c"].iter().enumerate() {
        delegate(&mut papers.targets, role, &[BOB]);
        papers.targets.set(&format!("delegations/roles/{at}/paths"), Json::Array(vec![Json::from("x")]));
    }
    papers.targets.remove("delegations/roles/1/paths").set("delegations/roles/2/keyids", Json::Null);
    papers.add("targets/a", &["v1"], &[BOB]);
    let mut server = Server::with(&papers);
    assert_eq!(server.state().delegated().len(), 1);
    // Over expired targets: that is how they are repaired.
    server.now = crate::time("2030-12-31T00:00:00Z");
    let before = papers.clone();
    papers.targets.set("expires", "2030-06-01T00:00:00Z");
    bump(&mut papers.targets, 1);
    let refused = server.check(papers.since(Some(&before))).unwrap_err();
    assert_eq!(refused.to_string(), "targets expired at 2030-06-01T00:00:00Z");
    let mut server = Server::with(&before);
    server.publish(papers.since(Some(&before))).unwrap();
    server.now = crate::time("2030-12-31T00:00:00Z");
    let expired = papers.clone();
    list(papers.next("targets/a"), "v2");
    server.publish(papers.since(Some(&expired))).unwrap();
    let expired = papers.clone();
    papers.next("targets").set("expires", "2031-01-01T00:00:00Z");
    server.publish(papers.since(Some(&expired))).unwrap();
}

#[test]
fn roles_with_documents_are_limited() {
    let before = Papers::new(Holder::Server);
    let server = Server::with(&before);
    let with_children = |count: usize| {
        let mut after = before.clone();
        after.next("targets/alice");
        let role = |number: usize| format!("targets/alice/n{number}");
        let doc = lists(&[]);
        let bytes = sign(&doc, &[BOB]).bytes();
        let mut delegated = BTreeMap::new();
        delegate(after.role("targets/alice"), &role(0), &[BOB]);
        let one = after.role("targets/alice").get("delegations/roles/0").unwrap().clone();
        for number in 0..count {
            if number > 0 {
                let mut one = one.clone();
                if let Json::Object(members) = &mut one {
                    members.insert("name".to_owned(), Json::from(role(number)));
                }
                after.role("targets/alice").push("delegations/roles", one);
            }
            delegated.insert(name(&role(number)), bytes.clone().into());
        }
        let mut submission = after.since(Some(&before));
        submission.delegated.extend(delegated);
        submission
    };
    // Two are there already.
    let fits = server.check(with_children(limits::NOTARY_ROLES - 2));
    assert!(fits.is_ok(), "{:?}", fits.err());
    let refused = server.check(with_children(limits::NOTARY_ROLES - 1)).unwrap_err();
    assert_eq!(refused.to_string(), "targets exceeds 512, the most that common clients read");
}

#[test]
fn names_that_were_used_once_are_limited() {
    let papers = Papers::new(Holder::Server);
    let server = Server::with(&papers);
    let state = |retired: usize| {
        let mut documents: BTreeMap<RoleName, Bytes> = server.documents.clone();
        let bytes = papers.delegated["targets/alice"].bytes();
        let names = (0..retired).map(|number| RoleName::Delegated(name(&format!("targets/n{number}"))));
        documents.extend(names.map(|name| (name, bytes.clone())));
        CurrentState::load(Dialect::Notary1, &documents).unwrap()
    };
    let mut after = papers.clone();
    after.next("targets").remove("delegations/roles/1");
    let authority = Authority { held_keys: &held(), repository: &repository(), now: now() };
    let removed =
        |state: &CurrentState| after.since(Some(&papers)).check(Dialect::Notary1, Some(state), &authority);
    assert!(removed(&state(limits::DELEGATIONS - 1)).is_ok());
    let refused = removed(&state(limits::DELEGATIONS)).unwrap_err();
    assert_eq!(refused.to_string(), "targets exceeds 4096, the most that common clients read");
}

/// A new role, whose key is declared like this.
fn bob_with(key: &(bulla_keys_schema::key::KeyId, Json)) -> Upload {
    next(Holder::Server, |papers| {
        delegate(papers.next("targets"), "targets/bob", &[BOB]);
        papers.targets.remove(&format!("delegations/keys/{}", bare(BOB).0));
        trust(&mut papers.targets, "delegations/roles/2", std::slice::from_ref(key), 1);
    })
}

fn bob_needs(threshold: i64) -> Upload {
    next(Holder::Server, |papers| {
        delegate(papers.next("targets"), "targets/bob", &[BOB])
            .set_number("delegations/roles/2/threshold", threshold);
    })
}

/// A new role of this name.
fn named(spoil: bool, role: &str) -> Upload {
    next(Holder::Server, |papers| {
        let role = if spoil { role } else { "targets/bob" };
        delegate(papers.next("targets"), "targets/bob", &[BOB]).set("delegations/roles/2/name", role);
    })
}

fn of_version(role: &str, spoil: bool, spoiled: u64, good: u64) -> Upload {
    next(Holder::Server, |papers| {
        list(papers.role(role), "v2").set("version", version(spoil, spoiled, good));
    })
}

fn starts(role: &str, spoil: bool, spoiled: u64) -> Upload {
    let mut papers = Papers::new(Holder::Server);
    papers.role(role).set("version", version(spoil, spoiled, limits::FIRST_VERSION));
    first(&papers)
}

fn expires(role: &str, spoil: bool) -> Upload {
    next(Holder::Server, |papers| {
        let expires = now().plus_seconds(i64::from(!spoil)).to_string();
        papers.next(role).set("expires", expires);
    })
}
