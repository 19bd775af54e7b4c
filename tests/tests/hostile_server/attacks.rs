//! What a server, or whoever stands before it, does to a consumer who has been there before.

use bulla_tests::simulator::support::{Repo, now};
use bulla_tests::simulator::{BOB, Fault};

use crate::world::{MALLORY, NAME, World};

/// What a server does to a consumer who has been here before.
pub struct Attack {
    pub name: &'static str,
    pub launch: fn(&World),
    /// The exit code.
    pub exit: u8,
    /// What the error names.
    pub says: &'static [&'static str],
    /// Files of the cache that were replaced: whatever came before the defect and was genuine.
    pub moved: &'static [&'static str],
}

/// A new timestamp, and when it was seen.
const TIMESTAMP: &[&str] = &["timestamp.json", "timestamp.seen"];
const ONLINE: &[&str] = &["timestamp.json", "timestamp.seen", "snapshot.json"];
const UP_TO_RELEASES: &[&str] = &["timestamp.json", "timestamp.seen", "snapshot.json", "releases.role"];

pub const ATTACKS: &[Attack] = &[
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
