//! Attacks of a trust server, and of whoever stands between it and a consumer: each ends with
//! its own exit code and words, leaves nothing on disk that was not accepted, and does not keep
//! the next honest run from succeeding.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::tuf_http::TufHttp;
use bulla::command::explain;
use bulla::flow::{init, sign};
use bulla::pins::Mode;
use bulla::port::trust_server::{
    Basis, Edition, OnlineKeys, OnlineRole, TrustServer, TrustServerError, Upload,
};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::verify::Pin;
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;
use bulla_tests::simulator::support::{Files, Repo, TestKey, delegation, now};
use bulla_tests::simulator::{Answer, BOB, Consumer, Fault, Registry, Server};
use bytes::Bytes;

const NAME: &str = "registry.example.com/team/app";
const V1: &str = "registry.example.com/team/app:v1";
const MALLORY: TestKey = TestKey::new("mallory");
const DAY: i64 = 24 * 3600;

/// A consumer who trusts version 2 of a repository, and a server about to show version 3.
struct World {
    server: Server,
    registry: Registry,
    consumer: Consumer,
    /// What the consumer saw first.
    first: Repo,
    /// What the consumer trusts.
    trusted: Repo,
    /// What an honest server would show now.
    next: Repo,
}

impl World {
    async fn new() -> Self {
        Self::of(&Repo::released()).await
    }

    async fn of(first: &Repo) -> Self {
        let (server, registry) = (Server::default(), Registry::default());
        registry.push("v1", Repo::MANIFEST);
        let mut trusted = first.clone();
        trusted.sign("v2", b"the manifest of v2");
        let mut next = trusted.clone();
        next.sign("v3", b"the manifest of v3");
        let consumer = Consumer::new(&server, &registry).pinned(NAME, first.digest_pin());
        for repo in [first, &trusted] {
            server.serve(NAME, repo.files());
            assert_eq!(consumer.verify(V1).await.exit, 0);
        }
        let _asked = server.asked();
        Self { server, registry, consumer, first: first.clone(), trusted, next }
    }

    /// Shows a repository, and every older file beside it.
    fn show(&self, repo: &Repo) {
        self.server.serve(NAME, repo.files());
    }

    /// Shows the next version with this done to it.
    fn show_spoilt(&self, spoil: impl FnOnce(&mut Repo)) {
        let mut repo = self.next.clone();
        spoil(&mut repo);
        self.show(&repo);
    }

    /// Shows the next version with one file that misbehaves.
    fn show_faulty(&self, file: &str, fault: Fault) {
        self.show(&self.next);
        self.server.spoil(file, fault);
    }

    /// An honest server again, one version further than any attacker was.
    async fn recover(&self) -> Answer {
        let mut honest = self.next.clone();
        honest.targets.bump();
        honest.sign("v4", b"the manifest of v4");
        let mut files = Files::new();
        for repo in [&self.first, &self.trusted, &self.next, &honest] {
            files.extend(repo.files());
        }
        self.server.heal();
        self.server.serve_only(NAME, files);
        self.consumer.verify(V1).await
    }
}

/// What a server does to a consumer who has been here before.
struct Attack {
    name: &'static str,
    launch: fn(&World),
    /// The exit code.
    exit: u8,
    /// What the error names.
    says: &'static [&'static str],
    /// Files of the cache that were replaced: whatever came before the defect and was genuine.
    moved: &'static [&'static str],
}

/// A new timestamp, and when it was seen.
const TIMESTAMP: &[&str] = &["timestamp.json", "timestamp.seen"];
const ONLINE: &[&str] = &["timestamp.json", "timestamp.seen", "snapshot.json"];
const UP_TO_RELEASES: &[&str] = &["timestamp.json", "timestamp.seen", "snapshot.json", "releases.role"];

const ATTACKS: &[Attack] = &[
    Attack {
        name: "an old timestamp",
        launch: |world| world.show(&world.first),
        exit: 15,
        says: &["timestamp went back from version 2 to 1"],
        moved: &[],
    },
    Attack {
        name: "the whole metadata of an earlier day, and nothing else",
        launch: |world| world.server.serve_only(NAME, world.first.files()),
        exit: 15,
        says: &["timestamp went back from version 2 to 1"],
        moved: &[],
    },
    Attack {
        name: "a new timestamp over an old snapshot",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.snapshot = world.first.snapshot.clone();
                repo.delegated.clone_from(&world.first.delegated);
            });
        },
        exit: 15,
        says: &["snapshot went back from version 2 to 1"],
        moved: &[],
    },
    Attack {
        name: "a timestamp signed by nobody",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.timestamp.signed_by(&[]);
            })
        },
        exit: 12,
        says: &["timestamp: signed by 0 of 1 required keys", "signatures of these keys are missing: "],
        moved: &[],
    },
    Attack {
        name: "a timestamp signed by a stranger under the right id",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.timestamp.signed_by(&[]).signed_as(Repo::TIMESTAMP.id().as_str(), MALLORY);
            });
        },
        exit: 12,
        says: &["timestamp: signed by 0 of 1 required keys"],
        moved: &[],
    },
    Attack {
        name: "a timestamp with one signature twice",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.timestamp.signed_as(Repo::TIMESTAMP.id().as_str(), Repo::TIMESTAMP);
            });
        },
        exit: 15,
        says: &["timestamp: "],
        moved: &[],
    },
    Attack {
        name: "a timestamp that is expired",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.timestamp.set("expires", now().to_string());
            });
        },
        exit: 13,
        says: &["timestamp version 3 expired at 2030-01-01T00:00:00Z"],
        moved: &[],
    },
    Attack {
        name: "a page for people with status 200",
        launch: |world| world.show_faulty("timestamp.json", Fault::Instead("<html>log in</html>".into())),
        exit: 15,
        says: &["timestamp: invalid JSON"],
        moved: &[],
    },
    Attack {
        name: "a snapshot in the place of the timestamp",
        launch: |world| {
            let snapshot = world.next.files().remove("3.snapshot.json").unwrap();
            world.show_faulty("timestamp.json", Fault::Instead(snapshot));
        },
        exit: 12,
        says: &["timestamp: signed by 0 of 1"],
        moved: &[],
    },
    Attack {
        name: "a timestamp with a member beside its signed part",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.timestamp.rewrite("\"signatures\"", "\"comment\":1,\"signatures\"");
            });
        },
        exit: 15,
        says: &["timestamp: "],
        moved: &[],
    },
    Attack {
        name: "a timestamp that says its version twice",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.timestamp.rewrite("\"version\":3", "\"version\":3,\"version\":9");
            });
        },
        exit: 15,
        says: &["timestamp: "],
        moved: &[],
    },
    Attack {
        name: "a timestamp that never ends",
        launch: |world| world.show_faulty("timestamp.json", Fault::Endless),
        exit: 15,
        says: &["more than 16384 bytes for timestamp.json"],
        moved: &[],
    },
    Attack {
        name: "no timestamp any more",
        launch: |world| world.show_faulty("timestamp.json", Fault::Status(404)),
        exit: 10,
        says: &["no metadata for registry.example.com/team/app"],
        moved: &[],
    },
    Attack {
        name: "a timestamp for members only",
        launch: |world| world.show_faulty("timestamp.json", Fault::Status(403)),
        exit: 30,
        says: &["does not accept our token"],
        moved: &[],
    },
    Attack {
        name: "an old snapshot under the new name",
        launch: |world| {
            let old = world.trusted.files().remove("2.snapshot.json").unwrap();
            world.show_faulty("3.snapshot.json", Fault::Instead(old));
        },
        exit: 15,
        says: &["snapshot has other bytes than listed"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "a snapshot signed by a stranger",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.snapshot.signed_by(&[MALLORY]);
            })
        },
        exit: 12,
        says: &["snapshot: signed by 0 of 1 required keys", "signatures of these keys are missing"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "a snapshot of another version than listed",
        launch: |world| {
            world.show_spoilt(|repo| {
                let listed = bulla_tests::simulator::support::version_only(4);
                let mut said = repo.clone();
                said.timestamp.set("meta/snapshot.json", listed);
                world.server.serve(
                    NAME,
                    [("4.snapshot.json".to_owned(), repo.files()["3.snapshot.json"].clone())].into(),
                );
                *repo = said;
            });
        },
        exit: 15,
        says: &["snapshot has version 3, but 4 is listed"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "a snapshot that lists an older targets role",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.delegated.insert("releases".into(), world.first.delegated["releases"].clone());
            });
        },
        exit: 15,
        says: &["releases went back from version 2 to 1"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "a snapshot that leaves a role out",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.unlisted.insert("bob".into());
            })
        },
        exit: 15,
        says: &["the snapshot no longer lists bob"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "a snapshot that is expired",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.snapshot.set("expires", now().to_string());
            })
        },
        exit: 13,
        says: &["snapshot version 3 expired"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "no snapshot",
        launch: |world| world.show_faulty("3.snapshot.json", Fault::Status(404)),
        exit: 15,
        says: &["snapshot is missing"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "a snapshot that the server is too busy for",
        launch: |world| world.show_faulty("3.snapshot.json", Fault::Status(503)),
        exit: 31,
        says: &["cannot do this now", "snapshot is missing"],
        moved: TIMESTAMP,
    },
    Attack {
        name: "targets that are expired",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.targets.bump().set("expires", now().to_string());
            });
        },
        exit: 13,
        says: &["targets version 2 expired"],
        moved: ONLINE,
    },
    Attack {
        name: "targets signed by the server itself",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.targets.bump().signed_by(&[Repo::SNAPSHOT]);
            })
        },
        exit: 12,
        says: &["targets: signed by 0 of 1"],
        moved: ONLINE,
    },
    Attack {
        name: "releases signed by a stranger",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.targets_doc("releases").signed_by(&[MALLORY]);
            });
        },
        exit: 12,
        says: &["releases: signed by 0 of 1 required keys", "signatures of these keys are missing"],
        moved: ONLINE,
    },
    Attack {
        name: "releases with other bytes",
        launch: |world| {
            let other = world.trusted.bytes_of("releases");
            world.show_faulty("3.releases.json", Fault::Instead(other));
        },
        exit: 15,
        says: &["releases has other bytes than listed"],
        moved: ONLINE,
    },
    Attack {
        name: "a signer's document as releases",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.delegated.insert("releases".into(), repo.delegated["alice"].clone());
            });
        },
        exit: 15,
        says: &["releases: the document says that it is of role alice"],
        moved: ONLINE,
    },
    Attack {
        name: "no document of a signer",
        launch: |world| world.show_faulty("3.alice.json", Fault::Status(404)),
        exit: 15,
        says: &["alice is missing"],
        moved: UP_TO_RELEASES,
    },
    Attack {
        name: "a signer's document that is expired",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.alice().set("expires", now().to_string());
            });
        },
        exit: 13,
        says: &["alice version 3 expired"],
        moved: UP_TO_RELEASES,
    },
    Attack {
        name: "a signer's document signed by another signer",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.alice().signed_by(&[BOB]);
            })
        },
        exit: 12,
        says: &["alice: signed by 0 of 1"],
        moved: UP_TO_RELEASES,
    },
    Attack {
        name: "a root signed by strangers",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.next_root().signed_by(&[MALLORY]);
            })
        },
        exit: 12,
        says: &["root: signed by 0 of 1 required keys", "signatures of these keys are missing"],
        moved: &[],
    },
    Attack {
        name: "a root signed by its own keys only",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.next_root().trust("roles/root", &[MALLORY], 1).signed_by(&[MALLORY]);
            });
        },
        exit: 12,
        says: &["root: signed by 0 of 1"],
        moved: &[],
    },
    Attack {
        name: "a root signed by the keys before it only",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.next_root().trust("roles/root", &[MALLORY], 1);
            });
        },
        exit: 12,
        says: &["root: signed by 0 of 1"],
        moved: &[],
    },
    Attack {
        name: "a root that skips a version",
        launch: |world| {
            world.show_spoilt(|repo| {
                let skipped = repo.next_root().set_number("version", 3).bytes();
                repo.roots.pop();
                world.server.serve(NAME, [("2.root.json".to_owned(), skipped)].into());
            });
        },
        exit: 15,
        says: &["root has version 3, expected 2"],
        moved: &[],
    },
    Attack {
        name: "the first root again",
        launch: |world| {
            let first = world.first.roots[0].bytes();
            world.show_faulty("2.root.json", Fault::Instead(first));
        },
        exit: 15,
        says: &["root has version 1, expected 2"],
        moved: &[],
    },
    Attack {
        name: "a page for people in the place of the next root",
        launch: |world| world.show_faulty("2.root.json", Fault::Instead("<html></html>".into())),
        exit: 15,
        says: &["root: invalid JSON"],
        moved: &[],
    },
    Attack {
        name: "a root that is expired",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.next_root().set("expires", now().to_string());
            })
        },
        exit: 13,
        says: &["root version 2 expired at 2030-01-01T00:00:00Z"],
        moved: &[],
    },
    Attack {
        name: "a root without a threshold",
        launch: |world| {
            world.show_spoilt(|repo| {
                repo.next_root().set_number("roles/timestamp/threshold", 0);
            });
        },
        exit: 15,
        says: &["root: "],
        moved: &[],
    },
];

#[tokio::test]
async fn every_attack_is_refused_leaves_no_trace_and_is_survived() {
    for attack in ATTACKS {
        let world = World::new().await;
        let before = world.consumer.disk(NAME);
        (attack.launch)(&world);
        for again in [false, true] {
            let answer = world.consumer.verify(V1).await;
            assert_eq!(answer.exit, attack.exit, "{} (again: {again}): {}", attack.name, answer.text);
            for words in attack.says {
                assert!(answer.text.contains(words), "{} (again: {again}): {}", attack.name, answer.text);
            }
        }
        let after = world.consumer.disk(NAME);
        let changed = |name: &&String| before.get(*name) != after.get(*name);
        let moved: Vec<&String> = after.keys().chain(before.keys()).filter(changed).collect();
        let unexpected: Vec<_> = moved.iter().filter(|name| !attack.moved.contains(&name.as_str())).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?} moved", attack.name);
        let answer = world.recover().await;
        assert_eq!(answer.exit, 0, "{}: {}", attack.name, answer.text);
        assert_eq!(answer.text, Sha256Digest::of(Repo::MANIFEST).to_oci(), "{}", attack.name);
        assert_eq!(answer.offline, None, "{}", attack.name);
    }
}

/// The same attacks on somebody who was never here: nothing is trusted either.
#[tokio::test]
async fn no_attack_fares_better_with_a_newcomer() {
    for attack in ATTACKS {
        let world = World::new().await;
        let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, world.first.digest_pin());
        (attack.launch)(&world);
        let answer = newcomer.verify(V1).await;
        // Who knows no version cannot see one go back: the signed past is all the newcomer gets.
        let only_old =
            attack.says.iter().any(|words| words.contains("went back") || words.contains("no longer"));
        assert!(answer.exit != 0 || only_old, "{}: {}", attack.name, answer.text);
        assert!(only_old || answer.exit == attack.exit, "{}: {} {}", attack.name, answer.exit, answer.text);
        let answer = world.recover().await;
        assert_eq!(answer.exit, 0, "{}: {}", attack.name, answer.text);
        assert_eq!(newcomer.verify(V1).await.exit, 0, "{}", attack.name);
    }
}

#[tokio::test]
async fn only_what_is_needed_is_asked_for() {
    let (server, registry) = (Server::default(), Registry::default());
    let mut repo = Repo::released();
    registry.push("v1", Repo::MANIFEST);
    let consumer = Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin());
    server.serve(NAME, repo.files());
    assert_eq!(consumer.verify(V1).await.exit, 0);
    let cold = [
        "1.root.json",
        "2.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
        "1.releases.json",
        "1.alice.json",
    ];
    assert_eq!(server.asked(), cold);
    assert_eq!(registry.asked(), ["v1"]);
    assert_eq!(consumer.verify(V1).await.exit, 0);
    assert_eq!(server.asked(), ["2.root.json", "timestamp.json"], "nothing is new");
    repo.sign("v2", b"2");
    server.serve(NAME, repo.files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
    let after = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.releases.json", "2.alice.json"];
    assert_eq!(server.asked(), after);
    assert_eq!(registry.asked(), ["v1"], "resolve asks no registry");
    repo.list("bob", "nightly-1", b"n").list("releases", "nightly-1", b"n").renew();
    server.serve(NAME, repo.files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
    let after = ["2.root.json", "timestamp.json", "3.snapshot.json", "3.releases.json"];
    assert_eq!(server.asked(), after, "bob does not speak for v1");
    let image = format!("{NAME}@{}", Sha256Digest::of(b"n").to_oci());
    assert_eq!(consumer.verify(&image).await.signed_by, ["releases", "bob"]);
    assert_eq!(server.asked(), ["2.root.json", "timestamp.json", "2.bob.json"]);
    repo.next_root();
    repo.renew();
    server.serve(NAME, repo.files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
    let after = ["2.root.json", "3.root.json", "timestamp.json", "4.snapshot.json"];
    assert_eq!(server.asked(), after);
}

#[tokio::test]
async fn a_frozen_server_is_noticed_when_its_timestamp_runs_out() {
    let mut repo = Repo::released();
    repo.timestamp.set("expires", now().plus_seconds(DAY).to_string());
    let world = World::of(&repo).await;
    world.consumer.wait(DAY - 1);
    let answer = world.consumer.verify(V1).await;
    assert_eq!((answer.exit, answer.valid_until), (0, Some(now().plus_seconds(DAY))));
    world.consumer.wait(1);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 13, "{}", answer.text);
    assert!(answer.text.contains("timestamp version 2 expired at 2030-01-02T00:00:00Z"), "{}", answer.text);
    let mut renewed = world.next.clone();
    renewed.timestamp.set("expires", now().plus_seconds(2 * DAY).to_string());
    world.show(&renewed);
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
}

/// A thief of the online keys drives the versions up as far as they go.
#[tokio::test]
async fn rotating_the_online_keys_ends_a_fast_forward() {
    const TOP: i64 = (1 << 53) - 1;
    let world = World::new().await;
    world.show_spoilt(|repo| {
        repo.timestamp.set_number("version", TOP);
        repo.snapshot.set_number("version", TOP);
    });
    assert_eq!(world.consumer.verify(V1).await.exit, 0, "the keys are the right ones");
    world.show(&world.next);
    let stuck = world.consumer.verify(V1).await;
    assert_eq!(stuck.exit, 15, "{}", stuck.text);
    let mut rescued = world.next.clone();
    rescued.rotate_online_keys(TestKey::new("new snapshot"), TestKey::new("new timestamp")).renew();
    world.show(&rescued);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
    world.show(&world.next);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 12, "the stolen keys are worth nothing now: {}", answer.text);
}

/// A run that sees the rotation and then fails must not forget that there was one.
#[tokio::test]
async fn a_rotation_seen_in_a_failed_run_still_counts_in_the_next() {
    let world = World::new().await;
    world.show_spoilt(|repo| {
        repo.timestamp.set_number("version", 1000);
    });
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    let mut rescued = world.next.clone();
    rescued.rotate_online_keys(TestKey::new("new snapshot"), TestKey::new("new timestamp")).renew();
    for fault in [Fault::Status(404), Fault::Instead("{}".into()), Fault::Hangup] {
        world.server.serve(NAME, rescued.files());
        world.server.spoil("timestamp.json", fault);
        assert_ne!(world.consumer.verify(V1).await.exit, 0);
        world.server.heal();
    }
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
}

#[tokio::test]
async fn root_rotations_are_followed_without_pinning_anew() {
    let world = World::new().await;
    let mut repo = world.next.clone();
    let keys = ["root 2", "root 3", "root 4"].map(TestKey::new);
    let mut before = Repo::ROOT;
    for key in keys {
        repo.next_root().trust("roles/root", &[key], 1).signed_by(&[before, key]);
        before = key;
    }
    let targets = TestKey::new("targets 2");
    repo.next_root().trust("roles/targets", &[targets], 1).signed_by(&[before]);
    repo.targets.bump().signed_by(&[targets]);
    world.show(&repo);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
    let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, world.first.digest_pin());
    assert_eq!(newcomer.verify(V1).await.exit, 0);
    // The retired key signs a sixth root.
    let mut forged = repo.clone();
    forged.next_root().trust("roles/root", &[MALLORY], 1).signed_by(&[Repo::ROOT, MALLORY]);
    forged.renew();
    world.show(&forged);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
}

#[tokio::test]
async fn a_chain_of_roots_beyond_one_run_is_followed_in_the_next() {
    let world = World::new().await;
    let mut repo = world.next.clone();
    for _ in 0..300 {
        repo.next_root();
    }
    world.show(&repo);
    let roots = |asked: Vec<String>| asked.iter().filter(|file| file.ends_with(".root.json")).count();
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    assert_eq!(roots(world.server.asked()), 256, "bounded in one run");
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    assert_eq!(roots(world.server.asked()), 300 - 256 + 1);
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    assert_eq!(roots(world.server.asked()), 1);
}

#[tokio::test]
async fn a_server_that_is_down_is_stood_in_for_as_long_as_its_word_counts() {
    let mut repo = Repo::released();
    repo.timestamp.set("expires", now().plus_seconds(DAY).to_string());
    for fault in [Fault::Hangup, Fault::Status(500), Fault::Status(503), Fault::Redirect("http://x".into())] {
        let world = World::of(&repo).await;
        world.server.spoil("*", fault.clone());
        let answer = world.consumer.verify(V1).await;
        assert_eq!(answer.exit, 0, "{fault:?}: {}", answer.text);
        assert!(answer.offline.is_some(), "{fault:?} is not kept quiet");
        let never_seen = world.consumer.verify(&format!("{NAME}:v9")).await;
        assert_eq!(never_seen.exit, 12, "{fault:?}: {}", never_seen.text);
        let uncached = world.consumer.verify(&format!("{NAME}:nightly-1")).await;
        assert_eq!(uncached.exit, 12, "{fault:?}: {}", uncached.text);
        world.consumer.wait(DAY);
        let answer = world.consumer.verify(V1).await;
        assert_eq!(answer.exit, 31, "{fault:?}: {}", answer.text);
        assert!(answer.text.contains("timestamp version 2 expired"), "{}", answer.text);
        let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, repo.digest_pin());
        assert_eq!(newcomer.verify(V1).await.exit, 31, "{fault:?}");
    }
}

#[tokio::test]
async fn a_role_that_was_never_fetched_is_missed_when_the_server_is_down() {
    let (server, registry) = (Server::default(), Registry::default());
    let mut repo = Repo::released();
    repo.list("bob", "nightly-1", b"n").list("releases", "nightly-1", b"n").renew();
    server.serve(NAME, repo.files());
    registry.push("v1", Repo::MANIFEST);
    let consumer = Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin());
    assert_eq!(consumer.verify(V1).await.exit, 0);
    server.spoil("*", Fault::Hangup);
    let answer = consumer.resolve(&format!("{NAME}:nightly-1")).await;
    assert_eq!(answer.exit, 31, "{}", answer.text);
    assert!(answer.text.contains("bob"), "{}", answer.text);
}

#[tokio::test]
async fn a_clock_that_goes_back_revives_nothing() {
    let mut repo = Repo::released();
    repo.timestamp.set("expires", now().plus_seconds(DAY).to_string());
    let world = World::of(&repo).await;
    world.consumer.wait(DAY);
    assert_eq!(world.consumer.verify(V1).await.exit, 13);
    world.consumer.wait(-DAY - 1);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 13, "{}", answer.text);
    assert!(answer.text.contains("the clock says 2029-12-31T23:59:59Z"), "{}", answer.text);
    assert!(answer.text.contains("set the clock"), "{}", answer.text);
    world.consumer.wait(1);
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
}

#[tokio::test]
async fn damaged_caches_are_repaired_from_the_server() {
    let names = [
        "1.root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "releases.role",
        "alice.role",
        "accepted.time",
    ];
    for name in names {
        for damage in ["truncated", "tampered", "empty", "gone", "huge", "other"] {
            if (name, damage) == ("accepted.time", "tampered") {
                // Another time is a time: see the test of the clock.
                continue;
            }
            let world = World::new().await;
            let file = world.consumer.cache(NAME).join(name);
            let bytes = std::fs::read(&file).unwrap();
            match damage {
                "truncated" => std::fs::write(&file, &bytes[..bytes.len() / 2]),
                "tampered" => {
                    let mut bytes = bytes.clone();
                    bytes[5] ^= 1;
                    std::fs::write(&file, bytes)
                }
                "empty" => std::fs::write(&file, ""),
                "gone" => std::fs::remove_file(&file),
                "huge" => std::fs::write(&file, vec![b' '; 6 << 20]),
                _ => std::fs::write(&file, r#"{"signatures":[],"signed":{}}"#),
            }
            .unwrap();
            let answer = world.consumer.verify(V1).await;
            assert_eq!(answer.exit, 0, "{name} {damage}: {}", answer.text);
            assert_eq!(answer.text, Sha256Digest::of(Repo::MANIFEST).to_oci());
            world.show(&world.next);
            let answer = world.consumer.verify(V1).await;
            assert_eq!(answer.exit, 0, "{name} {damage}, next: {}", answer.text);
        }
    }
}

/// What somebody else planted in the cache is worth nothing: it is verified again.
#[tokio::test]
async fn a_forged_cache_is_not_believed_even_offline() {
    let forged_manifest = b"malware";
    let mut forged = Repo::released();
    for role in ["roles/root", "roles/snapshot", "roles/timestamp"] {
        forged.roots[0].trust(role, &[MALLORY], 1);
    }
    for document in [&mut forged.roots[0], &mut forged.snapshot, &mut forged.timestamp] {
        document.signed_by(&[MALLORY]);
    }
    forged.sign("v1", forged_manifest);
    for online in [true, false] {
        let world = World::new().await;
        let victim = world.consumer.cache(NAME);
        let attacker = Consumer::new(&world.server, &world.registry).pinned(NAME, forged.digest_pin());
        world.server.serve_only(NAME, forged.files());
        world.registry.push("v1", forged_manifest);
        assert_eq!(attacker.verify(V1).await.exit, 0);
        for (name, bytes) in attacker.disk(NAME) {
            std::fs::write(victim.join(name), bytes).unwrap();
        }
        world.server.serve_only(NAME, world.trusted.files());
        if !online {
            world.server.spoil("*", Fault::Hangup);
        }
        let answer = world.consumer.resolve(V1).await;
        let honest = Sha256Digest::of(Repo::MANIFEST).to_oci();
        assert!(if online { answer.text == honest } else { answer.exit == 31 }, "{}", answer.text);
    }
}

#[tokio::test]
async fn the_files_of_another_repository_do_not_fit() {
    const OTHER: &str = "registry.example.com/team/other";
    let world = World::new().await;
    let mut other = Repo::released();
    // Every repository of a server has online keys of its own.
    other.roots[0].trust("roles/snapshot", &[MALLORY], 1).trust("roles/timestamp", &[MALLORY], 1);
    other.snapshot.signed_by(&[MALLORY]);
    other.timestamp.signed_by(&[MALLORY]);
    other.made_for(OTHER).sign("v1", b"another image");
    world.server.serve(OTHER, other.files());
    world.registry.push("v1", Repo::MANIFEST);
    let both = Consumer::new(&world.server, &world.registry);
    let both = both.pinned(NAME, world.first.digest_pin()).pinned(OTHER, other.digest_pin());
    assert_eq!(both.resolve(V1).await.exit, 0);
    assert_eq!(both.resolve(&format!("{OTHER}:v1")).await.text, Sha256Digest::of(b"another image").to_oci());
    for (name, bytes) in both.disk(OTHER) {
        std::fs::write(both.cache(NAME).join(name), bytes).unwrap();
    }
    let answer = both.resolve(V1).await;
    assert_eq!(answer.text, Sha256Digest::of(Repo::MANIFEST).to_oci());
    world.server.serve_only(NAME, other.files());
    let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, world.first.digest_pin());
    let answer = newcomer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    let found = Sha256Digest::of(&other.roots[0].bytes()).to_string();
    assert!(answer.text.contains(&found), "the digest that was found is named: {}", answer.text);
}

/// Who stole the server holds the online keys of every repository, and has what alice signed
/// for another one.
#[tokio::test]
async fn a_stolen_server_cannot_swap_what_one_signer_signed_for_two_repositories() {
    let world = World::new().await;
    let mut other = world.next.clone();
    other.made_for("registry.example.com/team/other").list("alice", "v1", b"x").list("releases", "v1", b"x");
    for swapped in [&["releases", "alice"][..], &["alice"]] {
        world.show_spoilt(|repo| {
            for role in swapped {
                repo.delegated.insert((*role).to_owned(), other.delegated[*role].clone());
            }
        });
        let answer = world.consumer.resolve(V1).await;
        assert_eq!(answer.exit, 15, "{}", answer.text);
        assert!(answer.text.contains("made for registry.example.com/team/other"), "{}", answer.text);
    }
    world.show_spoilt(|repo| {
        repo.targets = other.targets.clone();
        repo.targets.bump();
    });
    let answer = world.consumer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    // A document that names no repository does not pass where the root names one.
    world.show_spoilt(|repo| {
        repo.targets_doc("releases").remove("x_bulla_repository");
    });
    assert_eq!(world.consumer.resolve(V1).await.exit, 15);
}

/// One pin for all repositories of a team does not make them one.
#[tokio::test]
async fn a_pin_for_many_repositories_does_not_let_the_server_swap_them() {
    let keys = Pin::Keys { fingerprints: [Repo::ROOT.fingerprint()].into(), threshold: Threshold::ONE };
    let (server, registry) = (Server::default(), Registry::default());
    let mut other = Repo::released();
    other.made_for("registry.example.com/team/other");
    server.serve(NAME, other.files());
    let consumer = Consumer::new(&server, &registry).pinned("registry.example.com/team/**", keys);
    let answer = consumer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    let mut nameless = Repo::released();
    nameless.roots[0].remove("x_bulla_repository");
    server.serve_only(NAME, nameless.files());
    let answer = consumer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    server.serve_only(NAME, Repo::released().files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
}

#[tokio::test]
async fn nothing_leaves_the_cache_through_a_link() {
    let world = World::new().await;
    let cache = world.consumer.cache(NAME);
    let victim = world.consumer.folder().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    for name in ["timestamp.json", "snapshot.json", "releases.role", "2.root.json", "accepted.time"] {
        let file = cache.join(name);
        let _absent = std::fs::remove_file(&file);
        std::os::unix::fs::symlink(&victim, &file).unwrap();
    }
    let mut repo = world.next.clone();
    repo.next_root();
    world.show(&repo);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    let elsewhere = world.consumer.folder().join("elsewhere");
    std::fs::rename(&cache, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &cache).unwrap();
    assert_eq!(world.consumer.verify(V1).await.exit, 0, "a cache on another disk is the user's choice");
}

#[tokio::test]
async fn who_is_not_pinned_is_not_asked() {
    let world = World::new().await;
    for (image, says) in [
        ("registry.example.com/team/app2:v1", "registry.example.com/team/app2 is not pinned"),
        ("registry.example.com/team:v1", "registry.example.com/team is not pinned"),
    ] {
        let answer = world.consumer.verify(image).await;
        assert_eq!(answer.exit, 10, "{}", answer.text);
        assert!(answer.text.contains(says) && answer.text.contains("bulla trust add"), "{}", answer.text);
    }
    assert!(world.server.asked().is_empty());
}

#[tokio::test]
async fn the_most_specific_pin_counts_and_is_not_fallen_back_from() {
    let (server, registry) = (Server::default(), Registry::default());
    let repo = Repo::released();
    let keys = Pin::Keys { fingerprints: [MALLORY.fingerprint()].into(), threshold: Threshold::ONE };
    registry.push("v1", Repo::MANIFEST);
    server.serve(NAME, repo.files());
    let wide = Consumer::new(&server, &registry).pinned("registry.example.com/**", repo.digest_pin());
    assert_eq!(wide.verify(V1).await.exit, 0);
    let narrow = wide.pinned("registry.example.com/team/**", keys.clone());
    let answer = narrow.verify(V1).await;
    assert_eq!(answer.exit, 12, "the wider pin would have been met: {}", answer.text);
    assert!(answer.text.contains(&MALLORY.fingerprint().to_string()), "the key is named: {}", answer.text);
    let exact = narrow.pinned(NAME, repo.digest_pin());
    assert_eq!(exact.verify(V1).await.exit, 0);
}

#[tokio::test]
async fn pins_by_keys_want_their_threshold_of_root_keys() {
    let keys = ["root a", "root b", "root c"].map(TestKey::new);
    let pin = |keys: &[TestKey], threshold| Pin::Keys {
        fingerprints: keys.iter().map(|key| key.fingerprint()).collect(),
        threshold: Threshold::new(threshold).unwrap(),
    };
    let mut repo = Repo::released();
    repo.roots[0].trust("roles/root", &keys, 1).signed_by(&keys[..2]);
    for (pin, exit) in [
        (pin(&keys, 2), 0),
        (pin(&keys[..1], 1), 0),
        (pin(&keys, 3), 12),
        (pin(&keys[2..], 1), 12),
        (pin(&[keys[0], MALLORY], 2), 12),
        // Its key is in the root and has signed nothing, but is no root key.
        (pin(&[Repo::TARGETS], 1), 12),
    ] {
        let (server, registry) = (Server::default(), Registry::default());
        server.serve(NAME, repo.files());
        let consumer = Consumer::new(&server, &registry).pinned(NAME, pin.clone());
        let answer = consumer.resolve(V1).await;
        assert_eq!(answer.exit, exit, "{pin:?}: {}", answer.text);
    }
    // A root signed by a key that it does not name as a root key.
    repo.roots[0].trust("roles/root", &keys[1..], 1).trust("roles/targets", &[Repo::TARGETS, keys[0]], 1);
    repo.roots[0].signed_by(&keys);
    let (server, registry) = (Server::default(), Registry::default());
    server.serve(NAME, repo.files());
    let consumer = Consumer::new(&server, &registry).pinned(NAME, pin(&keys[..1], 1));
    let answer = consumer.resolve(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
}

#[tokio::test]
async fn one_secret_is_one_signature_whatever_its_ids() {
    let second_id = "b".repeat(64);
    let mut repo = Repo::released();
    let alice = "delegations/roles/1";
    repo.targets.trust(alice, &[Repo::ALICE], 2).trust_as(alice, &second_id, Repo::ALICE.object());
    repo.alice().signed_as(&second_id, Repo::ALICE);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
    assert!(answer.text.contains("alice: signed by 1 of 2 required keys"), "{}", answer.text);
    let mut repo = Repo::released();
    repo.targets.trust(alice, &[Repo::ALICE, BOB], 2);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
    assert!(
        answer.text.contains(&BOB.fingerprint().to_string()),
        "the missing key is named: {}",
        answer.text
    );
    assert!(!answer.text.contains(&Repo::ALICE.fingerprint().to_string()), "{}", answer.text);
    repo.alice().signed_by(&[Repo::ALICE, BOB]);
    assert_eq!(newcomer(&repo).resolve(V1).await.exit, 0);
}

#[tokio::test]
async fn revoked_never_signed_and_signed_again_are_told_apart() {
    let world = World::new().await;
    let answer = world.consumer.verify(&format!("{NAME}:v9")).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
    assert!(answer.text.contains("v9 is not signed"), "{}", answer.text);
    let mut repo = world.next.clone();
    repo.revoke("releases", "v1", Repo::MANIFEST).renew();
    world.show(&repo);
    let by_digest = format!("{NAME}@{}", Sha256Digest::of(Repo::MANIFEST).to_oci());
    for image in [V1, &by_digest] {
        let answer = world.consumer.verify(image).await;
        assert_eq!(answer.exit, 14, "{image}: {}", answer.text);
        for words in ["was revoked by releases at 2029-12-31T00:00:00Z", "leaked a password"] {
            assert!(answer.text.contains(words), "{image}: {}", answer.text);
        }
    }
    // Who replays what was before the revocation is found out.
    world.server.serve_only(NAME, world.trusted.files());
    assert_eq!(world.consumer.verify(V1).await.exit, 15);
    repo.targets_doc("releases").remove("x_bulla_revoked");
    repo.list("releases", "v1", b"repaired").list("alice", "v1", b"repaired").renew();
    world.show(&repo);
    world.registry.push("v1", b"repaired");
    assert_eq!(world.consumer.verify(V1).await.text, Sha256Digest::of(b"repaired").to_oci());
}

#[tokio::test]
async fn a_signer_takes_back_its_word() {
    let world = World::new().await;
    let mut repo = world.next.clone();
    repo.revoke("alice", "v1", Repo::MANIFEST).renew();
    world.show(&repo);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 14, "{}", answer.text);
    assert!(answer.text.contains("was revoked by alice"), "{}", answer.text);
}

/// Who steals the server's keys, or is one signer of several, cannot make an image trusted.
#[tokio::test]
async fn released_is_what_a_signer_in_scope_vouches_for() {
    let image = format!("{NAME}:v9");
    for (what, edit, exit, says) in [
        (
            "nobody vouches",
            (|repo| {
                repo.list("releases", "v9", b"x");
            }) as fn(&mut Repo),
            12,
            "no signer vouches for it",
        ),
        (
            "another digest",
            |repo| {
                repo.list("releases", "v9", b"x").list("alice", "v9", b"y");
            },
            12,
            "no signer vouches for it",
        ),
        (
            "a signer outside its patterns",
            |repo| {
                repo.list("releases", "v9", b"x").list("bob", "v9", b"x");
            },
            12,
            "no signer vouches for it",
        ),
        (
            "not released",
            |repo| {
                repo.list("alice", "v9", b"x");
            },
            12,
            "v9 is not signed",
        ),
        (
            "in targets too, with another digest",
            |repo| {
                repo.list("releases", "v9", b"x").list("alice", "v9", b"x").list("targets", "v9", b"y");
            },
            15,
            "clients disagree",
        ),
        (
            "in targets only",
            |repo| {
                repo.list("targets", "v9", b"x");
            },
            15,
            "clients disagree",
        ),
        (
            "no releases at all",
            |repo| {
                repo.targets.remove("delegations/roles/0");
                repo.targets.bump();
            },
            15,
            "clients disagree",
        ),
        (
            "an expired signer",
            |repo| {
                repo.list("releases", "v9", b"x").list("alice", "v9", b"x");
                repo.alice().set("expires", now().to_string());
            },
            13,
            "alice version",
        ),
        (
            "a role below a signer",
            |repo| {
                repo.delegate("alice", &delegation("alice.ci", &[BOB], &["*"]));
                repo.alice().bump();
                repo.add("alice.ci", &["v9"], &[BOB])
                    .list("alice.ci", "v9", b"x")
                    .list("releases", "v9", b"x");
            },
            12,
            "no signer vouches for it",
        ),
    ] {
        let world = World::new().await;
        world.show_spoilt(edit);
        let answer = world.consumer.resolve(&image).await;
        assert_eq!(answer.exit, exit, "{what}: {}", answer.text);
        assert!(answer.text.contains(says), "{what}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_second_signer_is_enough_when_one_is_expired() {
    let mut repo = Repo::released();
    repo.delegate("targets", &delegation("carol", &[MALLORY], &["*"]));
    repo.add("carol", &["v1"], &[MALLORY]);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.signed_by, ["releases", "alice", "carol"]);
    repo.alice().set("expires", now().to_string());
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!((answer.exit, answer.signed_by), (0, vec!["releases".to_owned(), "carol".to_owned()]));
    repo.alice().signed_by(&[BOB]);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.exit, 12, "a signer whose document is forged is no expired one: {}", answer.text);
}

/// The pinned root is older than its keys: what is signed by a key retired since is no root.
#[tokio::test]
async fn a_repository_without_signers_stands_on_targets_alone() {
    let repo = Repo::flat();
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!((answer.exit, answer.signed_by), (0, vec!["targets".to_owned()]));
    let mut bins = Repo::flat();
    bins.targets.set("delegations", Json::Object(bulla_keys_schema::json::Object::new()));
    assert_eq!(newcomer(&bins).resolve(V1).await.exit, 15);
}

/// A byte changed anywhere is noticed, or changes nothing that counts.
#[tokio::test]
async fn no_changed_byte_leads_to_another_digest() {
    let repo = Repo::released();
    let honest = Sha256Digest::of(Repo::MANIFEST).to_oci();
    for (name, bytes) in repo.files() {
        for position in (0..bytes.len()).step_by(41) {
            for change in [1, 0x20, 0x80] {
                let mut changed = bytes.to_vec();
                changed[position] ^= change;
                let consumer = newcomer_of(&repo, &name, Fault::Instead(changed.into()));
                let answer = consumer.resolve(V1).await;
                let refused = [12, 15].contains(&answer.exit);
                // Capitals in the hex of a signature are the same signature.
                let same = name == "timestamp.json" && change == 0x20 || name == "1.bob.json";
                assert!(
                    refused || same && answer.exit == 0,
                    "{name} at {position} ^ {change}: {} {}",
                    answer.exit,
                    answer.text
                );
                assert!(refused || answer.text == honest, "{name} at {position}: {}", answer.text);
            }
        }
    }
}

/// A server that says yes to an upload and then shows everybody something else.
struct Swallowing {
    inner: TufHttp,
    swallows: Arc<AtomicBool>,
}

#[async_trait]
impl TrustServer for Swallowing {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        self.inner.metadata(repository, role, edition).await
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        self.inner.basis(repository).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        self.inner.online_keys(repository).await
    }

    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        self.inner.next_online_key(repository, role).await
    }

    async fn publish(&self, repository: &RepositoryName, upload: &Upload) -> Result<(), TrustServerError> {
        if self.swallows.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.inner.publish(repository, upload).await
    }
}

#[tokio::test]
async fn a_signature_that_nobody_will_see_is_noticed() {
    let server = TestServer::start().await;
    let swallows = Arc::new(AtomicBool::new(false));
    let url = server.url("").parse().unwrap();
    let inner = TufHttp::new(Connection::new(url, None, None, Patience::default()).unwrap());
    let swallowing = Swallowing { inner, swallows: Arc::clone(&swallows) };
    let desk = Desk::with(Box::new(swallowing), server.clock.as_ref());
    desk.key("root");
    desk.key("targets");
    let request = init::Request {
        repository: NAME.parse().unwrap(),
        mode: Mode::Spec,
        root_keys: vec!["root".parse().unwrap()],
        root_threshold: 1,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    init::init(desk.ports(), &request).await.unwrap();
    let sign = async |tag: &str| {
        let image = format!("{NAME}:{tag}@{}", Sha256Digest::of(b"x").to_oci()).parse().unwrap();
        let request = sign::Request {
            image,
            size: Some(1),
            signer: None,
            platforms: false,
            how: false.into(),
            in_registry: Some(BTreeMap::new()),
            policy: None,
        };
        sign::sign(desk.ports(), &request).await
    };
    sign("v1").await.unwrap();
    swallows.store(true, Ordering::Relaxed);
    let report = explain(&sign("v2").await.unwrap_err().into()).report();
    assert_eq!(report.exit_code, 15, "{}", report.message);
    assert!(report.message.contains("targets version 3"), "{}", report.message);
    swallows.store(false, Ordering::Relaxed);
    sign("v2").await.unwrap();
}

fn newcomer_of(repo: &Repo, file: &str, fault: Fault) -> Consumer {
    let (server, registry) = (Server::default(), Registry::default());
    server.serve(NAME, repo.files());
    server.spoil(file, fault);
    Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin())
}

fn newcomer(repo: &Repo) -> Consumer {
    let (server, registry) = (Server::default(), Registry::default());
    server.serve(NAME, repo.files());
    Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin())
}
