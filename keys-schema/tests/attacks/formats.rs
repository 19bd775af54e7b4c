//! Attacks on what bytes mean: C6 (thresholds), C28, C31, C32, and JSON that two readers read
//! in two ways.

use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::limits;

use crate::attack::{Attack, client, client_of};
use crate::support::{Client, Repo, TestKey};

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "type-in-another-letter-case",
        rules: "C28, C32: what Notary v1 writes",
        error: "targets: _type is \"Targets\", expected targets",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.set("_type", if spoil { "Targets" } else { "targets" });
            client(&repo)
        },
    },
    Attack {
        name: "snapshot-served-as-timestamp",
        rules: "C28, type confusion under one key",
        error: "timestamp: _type is \"snapshot\", expected timestamp",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.root().trust("roles/snapshot", &[Repo::TIMESTAMP], 1);
            repo.snapshot.signed_by(&[Repo::TIMESTAMP]);
            let mut files = repo.files();
            if spoil {
                files.insert("timestamp.json".to_owned(), files["1.snapshot.json"].clone());
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "root-served-as-targets",
        rules: "C28, type confusion under one key",
        error: "targets: _type is \"root\", expected targets",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.root().trust("roles/targets", &[Repo::ROOT], 1);
            repo.targets.signed_by(&[Repo::ROOT]);
            if spoil {
                repo.targets = repo.root().clone();
            }
            client(&repo)
        },
    },
    Attack {
        name: "document-of-another-major-version",
        rules: "C28",
        error: "targets: spec_version is \"2.0.0\", expected version 1 of the specification",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.set("spec_version", if spoil { "2.0.0" } else { "1.99.0" });
            client(&repo)
        },
    },
    Attack {
        name: "document-of-notary-without-spec-version",
        rules: "C32, downgrade to the other dialect",
        error: "timestamp: timestamp.spec_version must be a string",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.timestamp.remove("spec_version");
            }
            client(&repo)
        },
    },
    Attack {
        name: "unsigned-member-beside-signed",
        rules: "C31, Cure53 TUF-01-001",
        error: "targets: unsigned member \"note\" beside `signed` and `signatures`",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.targets.rewrite("{\"signatures\"", "{\"note\":1,\"signatures\"");
            }
            client(&repo)
        },
    },
    Attack {
        name: "member-that-nobody-knows-changed-after-signing",
        rules: "C28, C31, tough 950: the received text is what was signed",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.set("x_unknown", "1.50");
            if spoil {
                repo.targets.rewrite("\"1.50\"", "\"1.5\"");
            }
            client(&repo)
        },
    },
    Attack {
        name: "member-twice",
        rules: "two readers see two versions",
        error: "targets: invalid JSON: duplicate member \"version\" at line 1 column 724",
        build: |spoil| rewritten(spoil, "\"version\":1", "\"version\":1,\"version\":1"),
    },
    Attack {
        name: "member-twice-in-two-letter-cases",
        rules: "two readers see two versions (Go)",
        error: "targets: targets has two members that differ only in letter case: \"version\"",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.set_number(if spoil { "Version" } else { "x_version" }, 9);
            client(&repo)
        },
    },
    Attack {
        name: "member-twice-with-a-kelvin-sign",
        rules: "two readers see two key ids (Go folds U+212A to k)",
        error: "targets: targets.delegations.roles has two members that differ only in letter case: \"Keyids\"",
        build: |spoil| {
            let mut repo = Repo::new();
            let name = if spoil { "\u{212a}eyids" } else { "x-eyids" };
            repo.targets.set(&format!("delegations/roles/0/{name}"), Json::Array(Vec::new()));
            client(&repo)
        },
    },
    Attack {
        name: "uninterpreted-members-that-differ-in-letter-case",
        rules: "two readers see two values (Go)",
        error: "targets: targets.targets.v1.custom.inner has two members that differ only in letter case: \"build\"",
        build: |spoil| {
            let mut repo = Repo::flat();
            let second = if spoil { "BUILD" } else { "build2" };
            let members = [("build", 1), (second, 2)].map(|(name, n)| (name.to_owned(), Json::Integer(n)));
            let inner = Object::from([("inner".to_owned(), Json::Array(vec![Json::Object(members.into())]))]);
            repo.targets.set("targets/v1/custom", Json::Object(inner));
            client(&repo)
        },
    },
    Attack {
        name: "version-as-a-float",
        rules: "two readers see two texts",
        error: "targets: invalid JSON: number that is not a plain integer at line 1 column 714",
        build: |spoil| rewritten(spoil, "\"version\":1", "\"version\":1.0"),
    },
    Attack {
        name: "version-beyond-what-javascript-counts",
        rules: "two readers see two numbers",
        error: "timestamp: invalid JSON: integer beyond 2^53 - 1 at line 1 column 481",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set_number("version", limits::JSON_INTEGER + i64::from(spoil));
            client(&repo)
        },
    },
    Attack {
        name: "version-zero",
        rules: "CVE-2026-23991",
        error: "timestamp: timestamp.version must be a number from 1",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set_number("version", i64::from(!spoil));
            client(&repo)
        },
    },
    Attack {
        name: "nested-sixty-five-levels-deep",
        rules: "stack exhaustion",
        error: "targets: invalid JSON: nested too deeply at line 1 column 863",
        build: |spoil| {
            // document, signed, and what stands in `x_deep`.
            let mut repo = Repo::new();
            let deep = (0..limits::JSON_DEPTH - 2 + usize::from(spoil))
                .fold(Json::Null, |inner, _| Json::Array(vec![inner]));
            repo.targets.set("x_deep", deep);
            client(&repo)
        },
    },
    Attack {
        name: "text-behind-the-document",
        rules: "C31",
        error: "targets: invalid JSON: trailing characters at line 1 column 793",
        build: |spoil| {
            let mut repo = Repo::new();
            let end = "\"x_bulla_role\":\"targets\"}}";
            repo.targets.rewrite(end, &format!("{end}{}", if spoil { "{}" } else { "\n" }));
            client(&repo)
        },
    },
    Attack {
        name: "bytes-that-are-no-text",
        rules: "CVE-2026-23991",
        error: "timestamp: invalid JSON: invalid utf-8 sequence of 1 bytes from index 20",
        build: |spoil| {
            let repo = Repo::new();
            let mut files = repo.files();
            if spoil {
                files.insert(
                    "timestamp.json".to_owned(),
                    b"{\"signed\":{\"_type\":\"\xff\"}}".as_slice().into(),
                );
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "threshold-zero",
        rules: "CVE-2026-23992",
        error: "root: root.roles.targets.threshold must be a number from 1 to 1024",
        build: |spoil| threshold(if spoil { 0 } else { 1 }),
    },
    Attack {
        name: "threshold-negative",
        rules: "CVE-2026-23992",
        error: "root: root.roles.targets.threshold must be a number from 1 to 1024",
        build: |spoil| threshold(if spoil { -1 } else { 1 }),
    },
    Attack {
        name: "threshold-that-wraps-to-one",
        rules: "CVE-2026-23992",
        error: "root: root.roles.targets.threshold must be a number from 1 to 1024",
        build: |spoil| threshold(if spoil { (1 << 32) + 1 } else { 1 }),
    },
    Attack {
        name: "threshold-above-the-number-of-keys",
        rules: "C20",
        error: "targets: signed by 1 of 2 required keys",
        build: |spoil| threshold(if spoil { 2 } else { 1 }),
    },
    Attack {
        name: "delegated-threshold-zero",
        rules: "CVE-2026-23992",
        error: "targets: targets.delegations.roles.threshold must be a number from 1 to 1024",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.set_number("delegations/roles/0/threshold", i64::from(!spoil));
            client(&repo)
        },
    },
    Attack {
        name: "too-many-signatures",
        rules: "CVE-2020-6173",
        error: "targets: signatures has too many entries",
        build: |spoil| {
            let mut repo = Repo::new();
            for number in 0..limits::SIGNATURES - 1 + usize::from(spoil) {
                repo.targets.bad_signature(&format!("id-{number}"), b"\x00");
            }
            client(&repo)
        },
    },
    Attack {
        name: "bad-and-empty-signatures-only",
        rules: "C20: they neither count nor spoil the good one beside them",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.signed_by(if spoil { &[] } else { &[Repo::TARGETS] });
            let target = Repo::TARGETS.id();
            if spoil {
                repo.targets.bad_signature(target.as_str(), &[7; 64]);
            }
            repo.targets.bad_signature("other", &[7; 64]).bad_signature("empty", b"");
            client(&repo)
        },
    },
    Attack {
        name: "scheme-of-the-key-is-another-than-its-type",
        rules: "CVE-2015-9258: the algorithm comes from the key",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            let id = Repo::TARGETS.id();
            if spoil {
                repo.root().set(&format!("keys/{id}/scheme"), "ecdsa-sha2-nistp256");
            }
            client(&repo)
        },
    },
    Attack {
        name: "key-of-one-type-declared-as-another",
        rules: "CVE-2015-9258: the algorithm comes from the key",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let key = TestKey::p256("p256");
            let mut repo = Repo::new();
            repo.root().trust("roles/targets", &[key], 1);
            if spoil {
                let id = key.id();
                repo.root().set(&format!("keys/{id}/keytype"), "rsa");
                repo.root().set(&format!("keys/{id}/scheme"), "rsassa-pss-sha256");
            }
            repo.targets.signed_by(&[key]);
            client(&repo)
        },
    },
    Attack {
        name: "weak-ed25519-key-that-signs-everything",
        rules: "C20: a point of small order",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            // With the identity as key, one signature fits every message for a sloppy reader.
            let mut repo = Repo::new();
            let mut identity = [0; 32];
            identity[0] = 1;
            let id = Repo::TARGETS.id();
            if spoil {
                repo.root().set(&format!("keys/{id}/keyval/public"), format!("01{}", "00".repeat(31)));
                repo.targets.signed_by(&[]).bad_signature(id.as_str(), &[identity, [0; 32]].concat());
            }
            client(&repo)
        },
    },
    Attack {
        name: "p256-signature-of-zeros",
        rules: "C20: r and s must not be 0 (CVE-2022-21449)",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let key = TestKey::p256("p256");
            let mut repo = Repo::new();
            repo.root().trust("roles/targets", &[key], 1);
            repo.targets.signed_by(&[key]);
            if spoil {
                repo.targets.signed_by(&[]).bad_signature(key.id().as_str(), &[0x30, 6, 2, 1, 0, 2, 1, 0]);
            }
            client(&repo)
        },
    },
    Attack {
        name: "expiry-without-a-zone",
        rules: "C15, two readers see two moments",
        error: "timestamp: timestamp.expires must be a UTC date",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.timestamp.set("expires", if spoil { "2031-01-01T00:00:00" } else { "2031-01-01T00:00:00Z" });
            client(&repo)
        },
    },
    Attack {
        name: "fifth-top-level-role",
        rules: "C28",
        error: "root: root.roles.mirror must be absent",
        build: |spoil| {
            let mut repo = Repo::new();
            let name = if spoil { "mirror" } else { "mirrors" };
            let role = repo.root().get("roles/timestamp").unwrap().clone();
            repo.root().set(&format!("roles/{name}"), role);
            client(&repo)
        },
    },
];

/// The targets with a text changed after signing, to one that a sloppy reader takes for the
/// signed one.
fn rewritten(spoil: bool, from: &str, to: &str) -> Client {
    let mut repo = Repo::new();
    if spoil {
        repo.targets.rewrite(from, to);
    }
    client(&repo)
}

fn threshold(number: i64) -> Client {
    let mut repo = Repo::new();
    repo.root().set_number("roles/targets/threshold", number);
    client(&repo)
}
