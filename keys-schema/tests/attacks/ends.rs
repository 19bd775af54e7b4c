//! Attacks by signers whose right to sign was given for a time only.

use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::time::UtcTime;

use crate::attack::{Attack, client};
use crate::support::{Client, Repo, TestKey, delegation, later, now};
use crate::uploads::{Row, Upload, between, bump, signed};

const BOB: TestKey = TestKey::new("bob");
const DAY: i64 = 24 * 3600;

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "signer-whose-right-to-sign-is-over",
        rules: "the end of a right to sign",
        error: "alice may sign no more: its right to sign ended at 2030-01-01T00:00:00Z",
        // The document of this client has not expired, so that only the end is in its way.
        build: |spoil| until(if spoil { now() } else { later() }, later()),
    },
    Attack {
        name: "document-that-outlives-the-right-to-sign",
        rules: "the end of a right to sign, for clients that do not know it",
        error: "alice expires at 2031-01-01T00:00:00Z, after its right to sign ends at 2030-01-02T00:00:00Z",
        build: |spoil| until(tomorrow(), if spoil { later() } else { tomorrow() }),
    },
    Attack {
        name: "end-of-a-role-that-is-not-delegated",
        rules: "a limit that seems to hold and holds nobody",
        error: "targets: targets.x_bulla_expires must be an object of delegated roles",
        build: |spoil| {
            let mut repo = Repo::new();
            end(&mut repo, if spoil { "Alice" } else { "alice" }, later());
            client(&repo)
        },
    },
    Attack {
        name: "end-that-is-no-date",
        rules: "a limit that cannot be read",
        error: "targets: targets.x_bulla_expires.alice must be a UTC date",
        build: |spoil| {
            let mut repo = Repo::new();
            end(&mut repo, "alice", later());
            if spoil {
                repo.targets.set("x_bulla_expires/alice", "never");
            }
            client(&repo)
        },
    },
];

pub const ROWS: &[Row] = &[
    Row {
        name: "signer who signs after the end",
        error: "alice: the right to sign ended at 2030-01-01T00:00:00Z",
        build: |spoil| {
            ending(if spoil { now() } else { later() }, |repo| {
                bump(repo.alice(), 1);
            })
        },
    },
    Row {
        name: "document that lasts longer than the right to sign",
        error: "alice expires at 2031-01-01T00:00:00Z, after its right to sign ends at 2030-01-02T00:00:00Z",
        build: |spoil| {
            ending(tomorrow(), |repo| {
                let expires = if spoil { later() } else { tomorrow() };
                bump(repo.alice(), 1).set("expires", expires.to_string());
            })
        },
    },
    Row {
        name: "end that comes before that of the document which is there",
        error: "alice expires at 2031-01-01T00:00:00Z, after its right to sign ends at 2030-01-02T00:00:00Z",
        build: |spoil| {
            let before = signed();
            let mut after = before.clone();
            end(&mut after, "alice", if spoil { tomorrow() } else { later() });
            bump(&mut after.targets, 1);
            between(&before, &after)
        },
    },
    Row {
        name: "role below a signer whose time is over",
        error: "alice.bob: the right to sign ended at 2030-01-01T00:00:00Z",
        build: |spoil| {
            let mut before = signed();
            before.delegate("alice", &delegation("alice.bob", &[BOB], &["v*"]));
            before.add("alice.bob", &[], &[BOB]);
            end(&mut before, "alice", if spoil { now() } else { later() });
            let mut after = before.clone();
            bump(after.targets_doc("alice.bob"), 1);
            between(&before, &after)
        },
    },
    Row {
        name: "releases signed by one whose time is over",
        error: "releases: the right to sign ended at 2030-01-01T00:00:00Z",
        build: |spoil| {
            let before = two_signers(now());
            let mut after = before.clone();
            let key = if spoil { Repo::ALICE } else { BOB };
            bump(after.targets_doc("releases"), 1).signed_by(&[key]);
            between(&before, &after)
        },
    },
    Row {
        name: "releases that lists what only one whose time is over vouches for",
        error: "releases lists v1, but no signer who may speak for it lists the same digest",
        build: |spoil| {
            ending(if spoil { now() } else { later() }, |repo| {
                bump(repo.targets_doc("releases"), 1).signed_by(&[Repo::TARGETS]);
            })
        },
    },
    Row {
        name: "end for releases",
        error: "releases: only the right of a signer can end by itself",
        build: |spoil| {
            let before = signed();
            let mut after = before.clone();
            end(&mut after, if spoil { "releases" } else { "alice" }, later());
            bump(&mut after.targets, 1);
            between(&before, &after)
        },
    },
];

fn tomorrow() -> UtcTime {
    now().plus_seconds(DAY)
}

/// A client of a repository whose alice may sign until `ends`, and whose document expires.
fn until(ends: UtcTime, expires: UtcTime) -> Client {
    let mut repo = Repo::new();
    end(&mut repo, "alice", ends);
    repo.alice().set("expires", expires.to_string());
    client(&repo)
}

/// What `edit` changes in a repository whose alice may sign until `ends`.
fn ending(ends: UtcTime, edit: impl FnOnce(&mut Repo)) -> Upload {
    let mut before = signed();
    end(&mut before, "alice", ends);
    let mut after = before.clone();
    edit(&mut after);
    between(&before, &after)
}

/// Alice, until `ends`, and bob vouch for `v1`.
fn two_signers(ends: UtcTime) -> Repo {
    let mut repo = Repo::bare();
    repo.delegate("targets", &delegation("releases", &[Repo::ALICE, BOB, Repo::TARGETS], &["*"]));
    repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &["v*"]));
    repo.delegate("targets", &delegation("bob", &[BOB], &["v*"]));
    repo.add("releases", &["v1"], &[Repo::ALICE]).add("alice", &["v1"], &[Repo::ALICE]);
    repo.add("bob", &["v1"], &[BOB]);
    end(&mut repo, "alice", ends);
    repo
}

fn end(repo: &mut Repo, role: &str, ends: UtcTime) {
    let ends = Object::from([(role.to_owned(), Json::from(ends.to_string()))]);
    repo.targets.set("x_bulla_expires", Json::Object(ends));
}
