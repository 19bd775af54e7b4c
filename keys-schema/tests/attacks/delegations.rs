//! Attacks on the search through delegations: C21, C22, C24 to C26.

use bulla_keys_schema::author::Delegation;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::metadata::{RoleKeys, SuccinctRoles, Threshold};
use bulla_keys_schema::names::TargetPath;

use crate::attack::{Attack, client, client_of};
use crate::support::{Client, Repo, TestKey, delegation};

const BOB: TestKey = TestKey::new("bob");
const CAROL: TestKey = TestKey::p256("carol");

pub const ATTACKS: &[Attack] = &[
    Attack {
        name: "diamond-with-a-signature-for-the-other-edge",
        rules: "C21, python-tuf 2977, TOB-SIGSTORE-14",
        error: "shared: signed by 0 of 1 required keys",
        build: |spoil| {
            // alice and bob both delegate to `shared`, each with other keys; only bob's edge
            // is on the way to v1.
            let mut repo = Repo::bare();
            repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &["dev-*"]));
            repo.delegate("targets", &delegation("bob", &[BOB], &["v*"]));
            repo.add("alice", &[], &[Repo::ALICE]).add("bob", &[], &[BOB]);
            repo.delegate("alice", &delegation("shared", &[Repo::ALICE], &["*"]));
            repo.delegate("bob", &delegation("shared", &[BOB], &["*"]));
            let signers = [Repo::ALICE, BOB];
            repo.add("shared", &["v1"], if spoil { &signers[..1] } else { &signers });
            client(&repo)
        },
    },
    Attack {
        name: "key-id-of-one-delegator-used-at-another",
        rules: "C21, key id confusion between two tables",
        error: "alice: signed by 0 of 1 required keys",
        build: |spoil| {
            // Both tables declare the id `key`: alice for her own key, targets for bob's.
            let mut repo = Repo::bare();
            repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &["v*"]));
            repo.targets.trust("delegations/roles/0", &[], 1).trust_as(
                "delegations/roles/0",
                "key",
                BOB.object(),
            );
            repo.add("alice", &["v1"], &[]);
            repo.delegate("alice", &delegation("nested", &[Repo::ALICE], &["v*"]));
            repo.alice().trust("delegations/roles/0", &[], 1);
            repo.alice().trust_as("delegations/roles/0", "key", Repo::ALICE.object());
            repo.add("nested", &[], &[]);
            repo.targets_doc("nested").signed_as("key", Repo::ALICE);
            repo.alice().signed_as("key", if spoil { Repo::ALICE } else { BOB });
            client(&repo)
        },
    },
    Attack {
        name: "name-outside-the-scope-of-its-role",
        rules: "C22, rust-tuf D2",
        error: "no role lists v1",
        build: |spoil| one_role(if spoil { "dev-*" } else { "v*" }, "v1"),
    },
    Attack {
        name: "name-outside-the-scope-one-level-up",
        rules: "C22",
        error: "no role lists v1",
        build: |spoil| nested(if spoil { "dev-*" } else { "v*" }, "*"),
    },
    Attack {
        name: "name-outside-the-scope-one-level-down",
        rules: "C22",
        error: "no role lists v1",
        build: |spoil| nested("*", if spoil { "dev-*" } else { "v*" }),
    },
    Attack {
        name: "star-taken-for-more-than-one-path-part",
        rules: "C22",
        error: "no role lists team/v1",
        build: |spoil| one_role(if spoil { "*" } else { "*/*" }, "team/v1"),
    },
    Attack {
        name: "question-mark-taken-for-a-slash",
        rules: "C22",
        error: "no role lists team/v1",
        build: |spoil| one_role(if spoil { "team?v1" } else { "team/v?" }, "team/v1"),
    },
    Attack {
        name: "pattern-matched-without-regard-to-case",
        rules: "C22",
        error: "no role lists v1",
        build: |spoil| one_role(if spoil { "V*" } else { "v*" }, "v1"),
    },
    Attack {
        name: "folder-pattern-taken-for-a-prefix",
        rules: "C22",
        error: "no role lists team/v1",
        build: |spoil| one_role(if spoil { "team/" } else { "team/*" }, "team/v1"),
    },
    Attack {
        name: "hash-prefix-of-another-name",
        rules: "C22",
        error: "no role lists v1",
        build: |spoil| {
            let mut repo = Repo::new();
            let digest = Sha256Digest::of(if spoil { b"v2" } else { b"v1" }).to_string();
            repo.targets.remove("delegations/roles/0/paths");
            repo.targets.set("delegations/roles/0/path_hash_prefixes", Json::Array(vec![digest[..4].into()]));
            client(&repo)
        },
    },
    Attack {
        name: "hash-prefix-in-upper-case",
        rules: "C22, one spelling per prefix",
        error: "targets: targets.delegations.roles.path_hash_prefixes must be an array of hex prefixes",
        build: |spoil| {
            let mut repo = Repo::new();
            let digest = Sha256Digest::of(b"v1").to_string();
            let prefixes = vec![digest[..2].into(), if spoil { "AB" } else { "ab" }.into()];
            repo.targets.remove("delegations/roles/0/paths");
            repo.targets.set("delegations/roles/0/path_hash_prefixes", Json::Array(prefixes));
            client(&repo)
        },
    },
    Attack {
        name: "patterns-and-hash-prefixes-at-once",
        rules: "C22, two readers see two scopes",
        error: "targets: targets.delegations.roles.paths must be there, or path_hash_prefixes, and not both",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.targets.set("delegations/roles/0/path_hash_prefixes", Json::Array(vec!["ab".into()]));
            }
            client(&repo)
        },
    },
    Attack {
        name: "name-listed-in-the-wrong-bin",
        rules: "C22, TAP 15",
        error: "no role lists v1",
        build: |spoil| {
            let right = bins().bin(&path("v1")).unwrap();
            let wrong = if right.as_str() == "bin-0" { "bin-1" } else { "bin-0" };
            in_bins(if spoil { wrong } else { right.as_str() })
        },
    },
    Attack {
        name: "bin-withheld",
        rules: "C26, TAP 15",
        error: "1.bin-0.json is not there",
        build: |spoil| {
            let mut client = in_bins(bins().bin(&path("v1")).unwrap().as_str());
            if spoil {
                client.served.remove(&format!("1.{}.json", bins().bin(&path("v1")).unwrap()));
            }
            client
        },
    },
    Attack {
        name: "bins-and-named-roles-at-once",
        rules: "TAP 15, two readers see two sets of roles",
        error: "targets: targets.delegations.roles must be there, or succinct_roles, and not both",
        build: |spoil| {
            let mut repo = Repo::new();
            if spoil {
                repo.targets.set("delegations/succinct_roles", succinct());
            }
            client(&repo)
        },
    },
    Attack {
        name: "bin-prefix-with-a-line-feed",
        rules: "TAP 15, CVE-2021-41131",
        error: "targets: targets.delegations.succinct_roles.name_prefix must be the start of a role name",
        build: |spoil| {
            let mut repo = repo_of_bins(bins().bin(&path("v1")).unwrap().as_str());
            if spoil {
                repo.targets.set("delegations/succinct_roles/name_prefix", "bin\n");
            }
            client(&repo)
        },
    },
    Attack {
        name: "search-goes-on-behind-a-terminating-role",
        rules: "C24, CVE-2025-2886",
        error: "no role lists v1",
        build: |spoil| first_of_two(&Delegation { terminating: spoil, ..delegation("bob", &[BOB], &["v*"]) }),
    },
    Attack {
        name: "search-goes-on-above-a-terminating-role",
        rules: "C24, CVE-2024-47534",
        error: "no role lists v1",
        build: |spoil| {
            // bob's own child ends the search for everybody behind bob.
            let child = Delegation { terminating: spoil, ..delegation("child", &[BOB], &["v*"]) };
            let mut repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            repo.delegate("bob", &child).add("child", &[], &[BOB]);
            client(&repo)
        },
    },
    Attack {
        name: "terminating-role-of-another-scope-must-not-end-the-search",
        rules: "C24, rust-tuf D6",
        error: "no role lists v1",
        build: |spoil| {
            let pattern = if spoil { "v*" } else { "dev-*" };
            first_of_two(&Delegation { terminating: true, ..delegation("bob", &[BOB], &[pattern]) })
        },
    },
    Attack {
        name: "lower-priority-role-wins",
        rules: "C24, CVE-2025-2886",
        error: "v1 has other bytes than listed",
        build: |spoil| {
            // bob comes first and lists other bytes: alice must not be asked.
            let mut repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            if spoil {
                let doc = repo.targets_doc("bob");
                let other = Sha256Digest::of(b"older manifest").to_string();
                let hashes = Object::from([("sha256".to_owned(), Json::from(other))]);
                let info =
                    [("length".to_owned(), Json::Integer(14)), ("hashes".to_owned(), Json::Object(hashes))];
                doc.set("targets/v1", Json::Object(info.into()));
            }
            client(&repo)
        },
    },
    Attack {
        name: "delegations-in-a-circle",
        rules: "C25, GHSA-j8x2-777p-23fc",
        error: "no role lists v1",
        build: |spoil| {
            let mut repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            repo.delegate("bob", &delegation("alice", &[Repo::ALICE], &["v*"]));
            repo.delegate("alice", &delegation("bob", &[BOB], &["v*"]));
            if spoil {
                repo.alice().remove("targets/v1");
            }
            client(&repo)
        },
    },
    Attack {
        name: "role-delegates-to-itself",
        rules: "C25",
        error: "no role lists v1",
        build: |spoil| {
            let mut repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            repo.delegate("bob", &delegation("bob", &[BOB], &["v*"]));
            if spoil {
                repo.alice().remove("targets/v1");
            }
            client(&repo)
        },
    },
    Attack {
        name: "thirty-three-roles-for-one-name",
        rules: "C25, resource abuse",
        error: "more than 32 roles to search for v1",
        build: |spoil| {
            let mut repo = Repo::bare();
            let roles = if spoil { 33 } else { 32 };
            for number in 1..=roles {
                let name = format!("role-{number}");
                repo.delegate("targets", &delegation(&name, &[Repo::ALICE], &["v*"]));
                repo.add(&name, if number == roles { &["v1"] } else { &[] }, &[Repo::ALICE]);
            }
            client(&repo)
        },
    },
    Attack {
        name: "delegated-role-withheld",
        rules: "C26, targeted withholding",
        error: "1.bob.json is not there",
        build: |spoil| {
            let repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            let mut files = repo.files();
            if spoil {
                files.remove("1.bob.json");
            }
            client_of(&repo, files)
        },
    },
    Attack {
        name: "delegated-role-not-in-the-snapshot",
        rules: "C26",
        error: "bob is missing",
        build: |spoil| {
            let mut repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            if spoil {
                repo.unlisted.insert("bob".to_owned());
            }
            client(&repo)
        },
    },
    Attack {
        name: "invalid-role-passed-over-for-the-next",
        rules: "C26",
        error: "bob: signed by 0 of 1 required keys",
        build: |spoil| {
            let mut repo = two_roles(&delegation("bob", &[BOB], &["v*"]));
            repo.targets_doc("bob").signed_by(&[if spoil { CAROL } else { BOB }]);
            client(&repo)
        },
    },
    Attack {
        name: "role-delegated-twice-by-one-delegator",
        rules: "C21, two readers take other keys",
        error: "targets: targets.delegations.roles must be an array that names each role once",
        build: |spoil| {
            let mut repo = Repo::new();
            let name = if spoil { "alice" } else { "Alice" };
            repo.delegate("targets", &delegation(name, &[CAROL], &["v*"]));
            client(&repo)
        },
    },
    Attack {
        name: "delegated-role-called-root",
        rules: "CVE-2021-41131",
        error: "targets: targets.delegations.roles.name must be the name of a delegated role",
        build: |spoil| {
            let mut repo = Repo::new();
            repo.delegate("targets", &delegation("bob", &[CAROL], &["v*"]));
            repo.targets.set("delegations/roles/1/name", if spoil { "ROOT" } else { "bob" });
            client(&repo)
        },
    },
];

fn path(text: &str) -> TargetPath {
    text.parse().unwrap()
}

/// alice alone, who may speak for `pattern` and lists `name`.
fn one_role(pattern: &str, name: &str) -> Client {
    let mut repo = Repo::bare();
    repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &[pattern]));
    repo.add("alice", &[name], &[Repo::ALICE]);
    Client { target: name.to_owned(), ..client(&repo) }
}

/// alice delegates to bob, who lists v1.
fn nested(outer: &str, inner: &str) -> Client {
    let mut repo = Repo::bare();
    repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &[outer]));
    repo.add("alice", &[], &[Repo::ALICE]);
    repo.delegate("alice", &delegation("bob", &[BOB], &[inner]));
    repo.add("bob", &["v1"], &[BOB]);
    client(&repo)
}

/// bob first, who lists nothing; then alice, who lists v1.
fn two_roles(first: &Delegation) -> Repo {
    let mut repo = Repo::bare();
    repo.delegate("targets", first).add("bob", &[], &[BOB]);
    repo.delegate("targets", &delegation("alice", &[Repo::ALICE], &["v*"]));
    repo.add("alice", &["v1"], &[Repo::ALICE]);
    repo
}

fn first_of_two(first: &Delegation) -> Client {
    client(&two_roles(first))
}

fn bins() -> SuccinctRoles {
    let keys = RoleKeys { key_ids: vec![Repo::ALICE.id()], threshold: Threshold::ONE };
    SuccinctRoles { keys, bit_length: 1, name_prefix: "bin".to_owned() }
}

fn succinct() -> Json {
    let text =
        format!(r#"{{"keyids":["{}"],"threshold":1,"bit_length":1,"name_prefix":"bin"}}"#, Repo::ALICE.id());
    Json::parse(text.as_bytes()).unwrap()
}

/// Two hash bins, of which `holder` lists v1.
fn repo_of_bins(holder: &str) -> Repo {
    let mut repo = Repo::new();
    repo.targets.remove("delegations/roles").set("delegations/succinct_roles", succinct());
    repo.delegated.clear();
    for bin in ["bin-0", "bin-1"] {
        repo.add(bin, if bin == holder { &["v1"] } else { &[] }, &[Repo::ALICE]);
    }
    repo
}

fn in_bins(holder: &str) -> Client {
    client(&repo_of_bins(holder))
}
