//! Attacks on targets and delegated targets as documents: C20, C23, C27.

use bulla_keys_schema::digest::Sha512Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::limits;

use crate::attack::{Attack, client, client_of};
use crate::support::{Client, Repo, TestKey, delegation, later, now, version_only};

const BOB: TestKey = TestKey::new("bob");
const MALLORY: TestKey = TestKey::new("mallory");

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "targets-with-another-digest",
        rules: "C20, mix and match",
        error: "targets has other bytes than listed: length or digest differ",
        build: |spoil| other_bytes(spoil, "targets"),
    },
    Attack {
        name: "delegated-role-with-another-digest",
        rules: "C23, CVE-2026-6967, mix and match",
        error: "alice has other bytes than listed: length or digest differ",
        build: |spoil| other_bytes(spoil, "alice"),
    },
    Attack {
        name: "targets-of-another-length",
        rules: "C20",
        error: "targets has other bytes than listed: length or digest differ",
        build: |spoil| other_length(spoil, "targets"),
    },
    Attack {
        name: "delegated-role-of-another-length",
        rules: "C23, CVE-2026-6967",
        error: "alice has other bytes than listed: length or digest differ",
        build: |spoil| other_length(spoil, "alice"),
    },
    Attack {
        name: "targets-signed-by-a-stranger",
        rules: "C20",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.signed_by(&[if spoil { MALLORY } else { Repo::TARGETS }]);
            client(&repo)
        },
    },
    Attack {
        name: "targets-signed-by-a-delegated-key",
        rules: "C20",
        error: "targets: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.targets.signed_by(&[if spoil { Repo::ALICE } else { Repo::TARGETS }]);
            client(&repo)
        },
    },
    Attack {
        name: "delegated-role-without-signature",
        rules: "C23",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.alice().signed_by(if spoil { &[] } else { &[Repo::ALICE] });
            client(&repo)
        },
    },
    Attack {
        name: "delegated-role-signed-by-the-delegator-only",
        rules: "C23",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.alice().signed_by(&[if spoil { Repo::TARGETS } else { Repo::ALICE }]);
            client(&repo)
        },
    },
    Attack {
        name: "delegated-threshold-met-by-one-secret-under-two-ids",
        rules: "C6, C23, CVE-2026-6966",
        error: "alice: signed by 1 of 2 required keys",
        build: |spoil| {
            let mut repo = Repo::new();
            let second = if spoil { Repo::ALICE } else { BOB };
            repo.targets.trust("delegations/roles/0", &[Repo::ALICE], 2);
            repo.targets.trust_as("delegations/roles/0", "another-id", second.object());
            repo.alice().signed_as("another-id", second);
            client(&repo)
        },
    },
    Attack {
        name: "targets-of-another-version-than-listed",
        rules: "C20, mix and match",
        error: "targets has version 2, but 1 is listed",
        build: |spoil| other_version(spoil, "targets"),
    },
    Attack {
        name: "delegated-role-of-another-version-than-listed",
        rules: "C23, CVE-2026-6967, mix and match",
        error: "alice has version 2, but 1 is listed",
        build: |spoil| other_version(spoil, "alice"),
    },
    Attack {
        name: "targets-expired",
        rules: "C20, freeze",
        error: "targets version 1 expired at 2030-01-01T00:00:00Z",
        build: |spoil| expired(spoil, "targets"),
    },
    Attack {
        name: "delegated-role-expired",
        rules: "C23, CVE-2026-6967, freeze",
        error: "alice version 1 expired at 2030-01-01T00:00:00Z",
        build: |spoil| expired(spoil, "alice"),
    },
    Attack {
        name: "targets-larger-than-any-reader-takes",
        rules: "C20, endless data",
        error: "targets has more than 5000000 bytes",
        build: |spoil| too_large(spoil, "targets"),
    },
    Attack {
        name: "delegated-role-larger-than-any-reader-takes",
        rules: "C23, endless data",
        error: "alice has more than 5000000 bytes",
        build: |spoil| too_large(spoil, "alice"),
    },
    Attack {
        name: "delegated-role-served-as-another-one",
        rules: "C23, replay under another role",
        error: "prod has other bytes than listed: length or digest differ",
        build: |spoil| {
            // Two roles with the same key and version: only the digest tells them apart.
            let mut repo = Repo::bare();
            repo.delegate("targets", &delegation("prod", &[Repo::ALICE], &["v*"]));
            repo.delegate("targets", &delegation("dev", &[Repo::ALICE], &["dev-*"]));
            repo.add("prod", &["v1"], &[Repo::ALICE]);
            repo.add("dev", &["v1", "dev-1"], &[Repo::ALICE]);
            let mut files = repo.files();
            if spoil {
                files.insert("1.prod.json".to_owned(), files["1.dev.json"].clone());
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "delegated-role-made-for-another-one",
        rules: "C23, replay under another role, where the snapshot lists versions only",
        error: "prod: the document says that it is of role dev",
        build: |spoil| made_for(if spoil { "dev" } else { "prod" }, "prod"),
    },
    Attack {
        name: "targets-made-for-a-delegated-role",
        rules: "C20, replay under another role, where the snapshot lists versions only",
        error: "targets: the document says that it is of role dev",
        build: |spoil| made_for(if spoil { "dev" } else { "targets" }, "targets"),
    },
    Attack {
        name: "targets-made-for-another-repository",
        rules: "C20, replay from another repository under shared keys",
        error: "targets: the document is made for registry.example.com/team/other",
        build: |spoil| made_elsewhere(spoil, "targets"),
    },
    Attack {
        name: "delegated-role-made-for-another-repository",
        rules: "C23, replay from another repository under shared keys",
        error: "alice: the document is made for registry.example.com/team/other",
        build: |spoil| made_elsewhere(spoil, "alice"),
    },
    Attack {
        name: "delegated-role-for-no-repository-in-particular",
        rules: "C23, replay from another repository under shared keys",
        error: "alice: the document is made for no repository in particular",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.alice().remove("x_bulla_repository");
            }
            client(&repo)
        },
    },
    Attack {
        name: "target-with-unknown-digests-only",
        rules: "C27",
        error: "targets: targets.targets.v1.hashes must be an object with sha256 or sha512",
        build: |spoil| {
            let mut repo = Repo::flat();
            if spoil {
                repo.targets.remove("targets/v1/hashes/sha256");
            }
            repo.targets.set("targets/v1/hashes/md5", "d41d8cd98f00b204e9800998ecf8427e");
            client(&repo)
        },
    },
    Attack {
        name: "target-fits-one-of-two-digests",
        rules: "C27",
        error: "v1 has other bytes than listed",
        build: |spoil| {
            let mut repo = Repo::flat();
            let bytes: &[u8] = if spoil { b"another manifest" } else { Repo::MANIFEST };
            repo.targets.set("targets/v1/hashes/sha512", Sha512Digest::of(bytes).to_string());
            client(&repo)
        },
    },
    Attack {
        name: "target-of-another-length",
        rules: "C27, endless data",
        error: "v1 has other bytes than listed",
        build: |spoil| {
            let mut repo = Repo::flat();
            let length = Repo::MANIFEST.len() - usize::from(spoil);
            repo.targets.set_number("targets/v1/length", i64::try_from(length).unwrap());
            client(&repo)
        },
    },
    Attack {
        name: "target-digest-in-upper-case",
        rules: "C27, one spelling per digest",
        error: "targets: targets.targets.v1.hashes.sha256 must be 64 lower case hex digits",
        build: |spoil| {
            let mut repo = Repo::flat();
            let digest = repo.targets.get("targets/v1/hashes/sha256").unwrap().as_str().unwrap().to_owned();
            let digest = if spoil { digest.to_uppercase() } else { digest };
            repo.targets.set("targets/v1/hashes/sha256", digest);
            client(&repo)
        },
    },
    Attack {
        name: "target-name-climbs-out-of-its-folder",
        rules: "CVE-2021-41149, CVE-2026-6968",
        error: "not a target path: it must be relative, without empty, `.` or `..` parts, backslashes or control characters",
        build: |spoil| named(if spoil { "../../etc/passwd" } else { "etc/passwd" }, "*/*"),
    },
    Attack {
        name: "target-name-is-absolute",
        rules: "CVE-2026-6968",
        error: "not a target path: it must be relative, without empty, `.` or `..` parts, backslashes or control characters",
        build: |spoil| named(if spoil { "/etc/passwd" } else { "etc/passwd" }, "*/*"),
    },
    Attack {
        name: "target-name-holds-a-nul",
        rules: "CVE-2021-41149",
        error: "not a target path: it must be relative, without empty, `.` or `..` parts, backslashes or control characters",
        build: |spoil| named(if spoil { "v1\0.txt" } else { "v1.txt" }, "*"),
    },
    Attack {
        name: "target-name-in-another-normal-form",
        rules: "strings are compared as they are, never normalised",
        error: "no role lists cafe\u{301}",
        build: |spoil| {
            let mut client = named("caf\u{e9}", "*");
            if spoil {
                client.target = "cafe\u{301}".to_owned();
            }
            client
        },
    },
];

fn other_bytes(spoil: bool, role: &str) -> Client {
    let mut repo = Repo::new();
    let mut files = repo.files();
    if spoil {
        let other = repo.targets_doc(role).set("expires", later().plus_seconds(1).to_string());
        files.insert(format!("1.{role}.json"), other.bytes());
    }
    client_of(&repo, files)
}

/// No digest is listed, so that the length alone speaks.
fn other_length(spoil: bool, role: &str) -> Client {
    let mut repo = Repo::new();
    let listed = repo.targets_doc(role).bytes().len() - usize::from(spoil);
    repo.snapshot.set(&format!("meta/{role}.json"), version_only(1));
    repo.snapshot.set_number(&format!("meta/{role}.json/length"), i64::try_from(listed).unwrap());
    client(&repo)
}

/// Neither digest nor length is listed, so that the version alone speaks.
fn other_version(spoil: bool, role: &str) -> Client {
    let mut repo = Repo::new();
    repo.snapshot.set(&format!("meta/{role}.json"), version_only(1));
    let mut files = repo.files();
    if spoil {
        files.insert(format!("1.{role}.json"), repo.targets_doc(role).set_number("version", 2).bytes());
    }
    client_of(&repo, files)
}

fn expired(spoil: bool, role: &str) -> Client {
    let mut repo = Repo::new();
    repo.targets_doc(role).set("expires", if spoil { now() } else { later() }.to_string());
    client(&repo)
}

fn too_large(spoil: bool, role: &str) -> Client {
    let mut repo = Repo::new();
    let doc = repo.targets_doc(role);
    let short = doc.bytes().len();
    doc.pad(limits::TARGETS_BYTES - short + usize::from(spoil));
    client(&repo)
}

fn made_elsewhere(spoil: bool, role: &str) -> Client {
    let mut repo = Repo::new();
    if spoil {
        repo.targets_doc(role).set("x_bulla_repository", "registry.example.com/team/other");
    }
    client(&repo)
}

/// One key signs for all roles; the document that is served as `role` says what it is for.
fn made_for(purpose: &str, role: &str) -> Client {
    let mut repo = Repo::bare();
    repo.root().trust("roles/targets", &[Repo::ALICE], 1);
    repo.targets.signed_by(&[Repo::ALICE]);
    repo.delegate("targets", &delegation("prod", &[Repo::ALICE], &["v*"]));
    repo.add("prod", &["v1"], &[Repo::ALICE]);
    repo.snapshot.set(&format!("meta/{role}.json"), version_only(1));
    repo.targets_doc(role).set("x_bulla_role", purpose);
    client(&repo)
}

/// A repository whose delegated role lists `name`, which is then looked up.
fn named(name: &str, pattern: &str) -> Client {
    let mut repo = Repo::bare();
    repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &[pattern]));
    repo.add("alice", &["v1"], &[Repo::ALICE]);
    let listed = repo.alice().get("targets/v1").unwrap().clone();
    repo.alice().set("targets", Json::Object(Object::from([(name.to_owned(), listed)])));
    Client { target: name.to_owned(), ..client(&repo) }
}
