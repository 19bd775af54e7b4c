//! The directions in which the rooms of ARCHITECTURE.md may use each other, checked on the source.
//!
//! A new module fails here until it has a line in the tables below. Give it the shortest one that
//! compiles, and change ARCHITECTURE.md with it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A top-level module and the modules of its own crate that it may use.
type Room = (&'static str, &'static [&'static str]);

const LEAVES: [&str; 5] = ["canonical", "digest", "json", "limits", "time"];

const KEYS_SCHEMA: &[Room] = &[
    ("canonical", &["json"]),
    ("digest", &[]),
    ("json", &["limits"]),
    ("limits", &[]),
    ("time", &[]),
    ("names", &["LEAVES"]),
    ("key", &["names", "LEAVES"]),
    ("attest", &["key", "names", "LEAVES"]),
    ("sigstore", &["attest", "key", "names", "LEAVES"]),
    ("metadata", &["key", "names", "LEAVES"]),
    ("dialect", &["metadata", "key", "names", "LEAVES"]),
    ("verify", &["dialect", "metadata", "key", "names", "LEAVES"]),
    ("author", &["verify", "dialect", "metadata", "key", "names", "LEAVES"]),
    ("request", &["verify", "dialect", "metadata", "key", "names", "LEAVES"]),
    ("backup", &["dialect", "metadata", "key", "names", "LEAVES"]),
    ("wire", &["metadata", "names", "LEAVES"]),
    ("policy", &["attest", "metadata", "key", "names", "LEAVES"]),
];

const SERVER: &[Room] = &[
    ("clock", &[]),
    ("metrics", &[]),
    ("phase", &[]),
    ("private_file", &[]),
    ("store", &[]),
    ("tls", &["private_file"]),
    ("vault", &["store", "private_file"]),
    ("lookup", &["store"]),
    ("auth", &["private_file", "clock"]),
    ("publish", &["vault", "lookup", "store", "metrics", "clock", "phase"]),
    ("config", &["publish", "vault", "auth"]),
    ("telemetry", &["config"]),
    ("app", &["publish", "lookup", "auth", "vault", "store", "config", "metrics", "clock"]),
    ("http", &["app", "publish", "lookup", "auth", "vault", "store", "metrics", "phase"]),
    ("router", &["http", "app", "phase"]),
    ("lifecycle", &["router", "http", "app", "store", "phase"]),
    (
        "command",
        &["lifecycle", "app", "publish", "config", "telemetry", "auth", "tls", "store", "vault", "clock"],
    ),
];

const CLIENT: &[Room] = &[
    ("home", &[]),
    ("config", &[]),
    ("port", &[]),
    ("cache", &["home"]),
    ("pins", &["config", "home"]),
    ("adapter", &["port", "config", "home"]),
    ("flow", &["port", "cache", "pins", "home"]),
    ("output", &["config"]),
    ("report", &["flow", "output", "pins", "port"]),
    ("wiring", &["adapter", "flow", "port", "pins", "config", "home"]),
    ("command", &["wiring", "flow", "output", "report", "pins", "port", "config"]),
];

#[test]
fn each_room_uses_only_the_rooms_it_may() {
    let mut faults = Vec::new();
    for (krate, rooms) in [("keys-schema", KEYS_SCHEMA), ("server", SERVER), ("client", CLIENT)] {
        let source = top().join(krate).join("src");
        for (room, used) in uses_by_room(&source) {
            let Some((_, allowed)) = rooms.iter().find(|(name, _)| *name == room) else {
                faults.push(format!("{krate}: the room {room} has no line in this test"));
                continue;
            };
            for idle in allowed.iter().filter(|name| **name != "LEAVES" && !used.contains_key(**name)) {
                faults.push(format!("{krate}: {room} may use {idle} and does not; take it out of the table"));
            }
            let allowed = expand(allowed);
            for (target, file) in used {
                if target != room && !allowed.contains(target.as_str()) {
                    faults.push(format!("{krate}: {room} uses {target} in {}", file.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_table_has_no_circle_and_no_room_that_is_gone() {
    for (krate, rooms) in [("keys-schema", KEYS_SCHEMA), ("server", SERVER), ("client", CLIENT)] {
        let mut below: BTreeSet<&str> = BTreeSet::new();
        for (room, allowed) in rooms {
            for used in expand(allowed).into_iter().filter(|used| used != room) {
                let leaf = LEAVES.contains(&used) && LEAVES.contains(room);
                assert!(
                    leaf || below.contains(used),
                    "{krate}: {room} may use {used}, which stands no lower"
                );
            }
            below.insert(room);
            let file = top().join(krate).join("src").join(room);
            assert!(file.is_dir() || file.with_extension("rs").is_file(), "{krate}: {room} is gone");
        }
    }
}

#[test]
fn the_pure_core_can_reach_no_network_file_clock_or_randomness_through_a_crate() {
    let tree = core_tree(&[]);
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("p256"), "this is no tree of the core: {tree}");
    // `rand` itself comes with rsa's big numbers; without getrandom it has nothing to draw from.
    let impure =
        ["axum", "getrandom", "hyper", "mio", "reqwest", "rustix", "rustls", "sled", "socket2", "tokio"];
    let found: Vec<_> = impure.into_iter().filter(|name| crates.contains(name)).collect();
    assert!(found.is_empty(), "the core depends on {found:?}");
}

/// aws-lc could draw random numbers. The core takes nothing else of it than the verification of one kind of
/// signature, and no other crate below the core takes anything.
#[test]
fn the_core_only_verifies_with_aws_lc() {
    let allowed = "use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};";
    let mut used = Vec::new();
    for file in rust_files(&top().join("keys-schema").join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        used.extend(text.lines().filter(|line| line.contains("aws_lc")).map(|line| line.trim().to_owned()));
    }
    assert_eq!(used, [allowed]);
    let users = core_tree(&["--invert", "aws-lc-rs"]);
    let users: BTreeSet<&str> = users.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(users, BTreeSet::from(["aws-lc-rs", "bulla-keys-schema"]));
}

#[test]
fn the_top_of_the_house_is_as_it_was_asked_for() {
    let wanted = ["Cargo.toml", "SECURITY.md", "client", "examples", "keys-schema", "server", "tests"];
    let papers =
        ["ARCHITECTURE.md", "BENCHMARKS.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "README.md"];
    let tools = ["Cargo.lock", "clippy.toml", "deny.toml", "rust-toolchain.toml", "rustfmt.toml", "target"];
    let known: BTreeSet<&str> = wanted.into_iter().chain(papers).chain(tools).collect();
    let entries =
        std::fs::read_dir(top()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let present: BTreeSet<String> = entries.filter(|name| !name.starts_with('.')).collect();
    for name in wanted.into_iter().chain(papers) {
        assert!(present.contains(name), "{name} is missing at the top");
    }
    let strange: Vec<_> = present.iter().filter(|name| !known.contains(name.as_str())).collect();
    assert!(strange.is_empty(), "nothing else belongs at the top: {strange:?}");
}

#[test]
fn there_is_no_room_for_things_without_a_home() {
    let homeless = ["common", "error", "errors", "helper", "helpers", "misc", "prelude", "util", "utils"];
    for krate in ["keys-schema", "server", "client"] {
        for file in rust_files(&top().join(krate).join("src")) {
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(!homeless.contains(&name.as_str()), "{} has no subject", file.display());
        }
    }
}

#[test]
fn the_parser_of_this_test_sees_every_way_to_name_a_module() {
    let text = "//! crate::doc\nuse crate::alpha::X;\nuse crate::{beta::{self, Y}, gamma};\npub(crate) fn f() {\n    \
                crate::delta::call(); // crate::remark\n    super::epsilon::g();\n    super::super::zeta::h();\n}\n\
                #[cfg(test)]\nmod tests { use crate::only_in_tests; }\n";
    let at_depth = |depth| named_modules(text, depth).into_iter().collect::<Vec<_>>().join(" ");
    assert_eq!(at_depth(1), "alpha beta delta epsilon gamma");
    assert_eq!(at_depth(2), "alpha beta delta gamma zeta");
}

/// What `cargo tree` says of the core, a crate a line.
fn core_tree(more: &[&str]) -> String {
    let output = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()))
        .args(["tree", "--package", "bulla-keys-schema", "--edges", "normal", "--prefix", "none", "--locked"])
        .arg("--offline")
        .args(more)
        .current_dir(top())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// For each top-level module: which other modules of the crate its files name, and where.
fn uses_by_room(source: &Path) -> BTreeMap<String, BTreeMap<String, PathBuf>> {
    let mut rooms: BTreeMap<String, BTreeMap<String, PathBuf>> = BTreeMap::new();
    for file in rust_files(source) {
        let below = file.strip_prefix(source).unwrap().with_extension("");
        let mut path: Vec<&str> = below.iter().map(|part| part.to_str().unwrap()).collect();
        if path.last() == Some(&"mod") {
            path.pop();
        }
        if ["lib", "main"].contains(&path[0]) {
            continue;
        }
        let text = std::fs::read_to_string(&file).unwrap();
        let room = rooms.entry(path[0].to_owned()).or_default();
        for name in named_modules(&text, path.len()) {
            room.entry(name).or_insert_with(|| file.clone());
        }
    }
    rooms
}

/// The crate's own top-level modules that a file names whose own module lies `depth` below the crate.
fn named_modules(text: &str, depth: usize) -> BTreeSet<String> {
    let code: String = text
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .map(|line| format!("{}\n", line.split("//").next().unwrap_or_default()))
        .collect();
    let from_crate = code.match_indices("crate::").map(|(at, word)| (at, at + word.len()));
    let climb = "super::".repeat(depth);
    let from_super = code.match_indices(climb.as_str()).map(|(at, word)| (at, at + word.len()));
    let mut names = BTreeSet::new();
    for (start, end) in from_crate.chain(from_super) {
        let before = code[..start].chars().next_back();
        let is_path = !before.is_some_and(|c| c.is_alphanumeric() || "_:$".contains(c));
        let after = &code[end..];
        if is_path && !after.starts_with("super::") {
            names.extend(first_names(after));
        }
    }
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_lowercase()));
    names
}

/// `alpha::X` is `alpha`; `{beta::{self, Y}, gamma}` is `beta` and `gamma`.
fn first_names(path: &str) -> Vec<String> {
    let identifier = |text: &str| {
        text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![identifier(path)] };
    let mut names = vec![identifier(group)];
    let mut open = 1;
    for (at, character) in group.char_indices() {
        match character {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => names.push(identifier(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names
}

fn expand(allowed: &[&'static str]) -> BTreeSet<&'static str> {
    let leaves = allowed.contains(&"LEAVES").then_some(LEAVES).into_iter().flatten();
    allowed.iter().copied().filter(|name| *name != "LEAVES").chain(leaves).collect()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files.extend(rust_files(&entry));
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            files.push(entry);
        }
    }
    files
}

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
