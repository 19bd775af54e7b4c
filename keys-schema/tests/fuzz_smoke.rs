//! The fuzz targets on a few hundred changed inputs each: a parser that panics, or breaks a
//! promise, on what is close to a good input shows up here, without libFuzzer.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test may panic, reads files, says what it skips, and shares a room with another crate"
)]

use std::path::{Path, PathBuf};
use std::{fmt, fs};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[path = "../fuzz/src/targets.rs"]
mod targets;

/// Changed inputs per target.
const CASES: u32 = 400;
/// Largest seed, in bytes; larger ones only take longer.
const SEED_BYTES: u64 = 12_000;

/// Pieces on which parsers part ways.
const PIECES: &[&str] = &[
    "null",
    "true",
    "-0",
    "1e3",
    "1.5",
    "9007199254740992",
    "18446744073709551616",
    "\"\"",
    "{}",
    "[]",
    ",",
    "\"a\":1,",
    "\"A\":1,",
    "\\ud800",
    "\\u0000",
    "\u{0}",
    "\u{feff}",
    "\u{212a}",
    "\u{17f}",
    "\r\n",
    "../",
    "//",
    "%2f",
    "%00",
    "*",
    "**",
    "?",
    ":",
    "@",
    "@sha256:",
    "-----BEGIN ",
    "-----END ",
    "=",
    "Z",
    "+00:00",
    "+02:00",
    "targets/",
    "-x509",
    "==",
    ".5",
];

/// Small inputs that every machine has. The first of each target is one it accepts.
const SEEDS: &[(&str, &str)] = &[
    ("json", r#"{"b":[1,-2,null,true,{}],"a":"x\n\u0001\"\\\ud83d\ude00"}"#),
    ("utc_time", "2030-01-02T03:04:05.5Z"),
    (
        "image_ref",
        "localhost:5000/team/app:v1.2@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ),
    ("repository_name", "registry.example.com:5000/team/app__x/b--c"),
    ("path_pattern", "v?.*/a*b*\nv1.2/aabab"),
    ("key_ids", "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"),
    ("key_ids", "ecdsa-p256"),
    ("file_name", "12.a%2Fb.json"),
    ("file_name", "timestamp.json"),
    (
        "key_sidecar",
        r#"{"schema_version":1,"name":"a","fingerprint":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","algorithm":"ed25519","created":"2030-01-02T03:04:05Z","roles":[{"repository":"a/b","role":"root"}]}"#,
    ),
    ("envelope", r#"{"signed":{"_type":"x","a":1},"signatures":[{"keyid":"k","sig":"00ff"}]}"#),
    (
        "timestamp",
        r#"{"signed":{"_type":"timestamp","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","meta":{"snapshot.json":{"version":1,"length":2,"hashes":{"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"}}}},"signatures":[]}"#,
    ),
    (
        "snapshot",
        r#"{"signed":{"_type":"snapshot","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","meta":{"targets.json":{"version":1},"a.json":{"version":7}}},"signatures":[]}"#,
    ),
    (
        "targets",
        r#"{"signed":{"_type":"targets","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","targets":{"v1":{"length":3,"hashes":{"sha256":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},"custom":{"x":1}}},"delegations":{"keys":{"k":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}},"roles":[{"name":"a","keyids":["k"],"threshold":1,"paths":["v*"],"terminating":true}]}},"signatures":[]}"#,
    ),
    (
        "root",
        r#"{"signed":{"_type":"root","spec_version":"1.0.0","version":1,"expires":"2030-01-02T03:04:05Z","consistent_snapshot":true,"keys":{"k":{"keytype":"ed25519","scheme":"ed25519","keyval":{"public":"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"}}},"roles":{"root":{"keyids":["k"],"threshold":1},"targets":{"keyids":["k"],"threshold":1},"snapshot":{"keyids":["k"],"threshold":1},"timestamp":{"keyids":["k"],"threshold":1}}},"signatures":[]}"#,
    ),
    (
        "notary_envelope",
        r#"{"signed":{"_type":"x","a":"<&>"},"signatures":[{"keyid":"k","method":"ecdsa","sig":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=="},{"keyid":"l","method":"EdDSA","sig":"AQID"},{"keyid":"m","method":"rsapss","sig":"AQ=="},{"keyid":"n","method":"?","sig":"?"}]}"#,
    ),
    (
        "notary_root",
        r#"{"signed":{"_type":"Root","consistent_snapshot":false,"expires":"2030-01-02T03:04:05.123456789+02:00","keys":{"89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224":{"keytype":"ed25519","keyval":{"public":"mlygEy6A9yVw0+YfJ/gAMTuUjhNRQi7QUmNpOIYWJz4=","private":null}}},"roles":{"root":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"snapshot":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"targets":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"timestamp":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1},"mirrors":{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"threshold":1}},"version":1},"signatures":[]}"#,
    ),
    (
        "notary_targets",
        r#"{"signed":{"_type":"Targets","delegations":{"keys":{"89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224":{"keytype":"ed25519","keyval":{"public":"mlygEy6A9yVw0+YfJ/gAMTuUjhNRQi7QUmNpOIYWJz4=","private":null}}},"roles":[{"keyids":["89e3bf410a8810d2de90590bebae99e9c9ac86083120bc7a7c1d1735adc25224"],"name":"targets/releases","paths":[""],"threshold":1},{"keyids":null,"name":"targets/root","threshold":1}]},"expires":"2030-01-02T03:04:05Z","targets":{"v1":{"custom":{"x":1},"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0}},"version":2},"signatures":[]}"#,
    ),
    (
        "notary_snapshot",
        r#"{"signed":{"_type":"Snapshot","expires":"2030-01-02T03:04:05Z","meta":{"root":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0},"targets":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0},"targets/releases":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0}},"version":2},"signatures":[]}"#,
    ),
    (
        "notary_timestamp",
        r#"{"signed":{"_type":"Timestamp","expires":"2030-01-02T03:04:05Z","meta":{"snapshot":{"hashes":{"sha256":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},"length":0}},"version":2},"signatures":[]}"#,
    ),
    ("notary_role", "targets/alice/x\ntargets/targets/root"),
    ("notary_role", "targets/root\nroot"),
    ("notary_time", "2030-01-02T03:04:05.123456789+02:00"),
];

/// One change of an input.
#[derive(Clone, Debug)]
enum Change {
    Cut(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Repeat(Index, usize),
}

impl Change {
    fn any() -> impl Strategy<Value = Self> {
        let piece =
            prop_oneof![select(PIECES).prop_map(|piece| piece.as_bytes().to_vec()), vec(any::<u8>(), 1..4)];
        prop_oneof![
            1 => any::<Index>().prop_map(Self::Cut),
            4 => (any::<Index>(), 1..=255u8).prop_map(|(at, mask)| Self::Flip(at, mask)),
            4 => (any::<Index>(), piece).prop_map(|(at, piece)| Self::Insert(at, piece)),
            2 => (any::<Index>(), 1..20usize).prop_map(|(at, count)| Self::Remove(at, count)),
            2 => (any::<Index>(), 1..60usize).prop_map(|(at, count)| Self::Repeat(at, count)),
        ]
    }

    fn apply(&self, data: &mut Vec<u8>) {
        let end = |at: usize, count: usize, data: &[u8]| (at + count).min(data.len());
        match self {
            Self::Cut(at) => data.truncate(at.index(data.len() + 1)),
            Self::Flip(at, mask) => {
                if !data.is_empty() {
                    let at = at.index(data.len());
                    data[at] ^= mask;
                }
            }
            Self::Insert(at, piece) => {
                let at = at.index(data.len() + 1);
                data.splice(at..at, piece.iter().copied());
            }
            Self::Remove(at, count) => {
                let at = at.index(data.len() + 1);
                data.drain(at..end(at, *count, data));
            }
            Self::Repeat(at, count) => {
                let at = at.index(data.len() + 1);
                let again = data[at..end(at, *count, data)].to_vec();
                data.splice(at..at, again);
            }
        }
    }
}

/// An input that is shown as text.
#[derive(Clone)]
struct Input(Vec<u8>);

impl fmt::Debug for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn changed(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Input> {
    (select(seeds), vec(Change::any(), 0..5)).prop_map(|(mut data, changes)| {
        changes.iter().for_each(|change| change.apply(&mut data));
        Input(data)
    })
}

fn read_folder(folder: &Path, extension: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            files.extend(read_folder(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension)
            && fs::metadata(&path).unwrap().len() <= SEED_BYTES
        {
            files.push((path.clone(), fs::read(path).unwrap()));
        }
    }
    files
}

/// Good inputs for one target: those above, the key files beside, and metadata of others.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut seeds: Vec<Vec<u8>> = SEEDS
        .iter()
        .filter(|(target, _)| *target == name)
        .map(|(_, seed)| seed.as_bytes().to_vec())
        .collect();
    let keys = read_folder(&here.join("tests/data/keys"), "pem").into_iter().map(|(_, text)| text);
    let texts = |folder: &str, extension: &str| {
        read_folder(&here.join(folder), extension).into_iter().map(|(_, text)| text)
    };
    let der = |text: Vec<u8>| pem_rfc7468::decode_vec(&text).unwrap().1;
    match name {
        "public_key_pem" | "sealed_key" => seeds.extend(keys),
        "public_key_spki" | "secret_key_pkcs8" => seeds.extend(keys.map(der)),
        // The point lies at the end of the structure.
        "public_key_raw" => seeds.extend(
            keys.map(der)
                .flat_map(|der| [32, 33, 65].map(|length| der[der.len().saturating_sub(length)..].to_vec())),
        ),
        "certificate" => seeds.extend(texts("tests/data/certificates", "pem")),
        "key_file" => {
            seeds.extend(keys);
            seeds.extend(texts("tests/data/notary-keys", "pem"));
            seeds.extend(texts("../../shared/data/notary-v1", "key"));
        }
        "notary_envelope" | "notary_root" | "notary_targets" | "notary_snapshot" | "notary_timestamp" => {
            let files = read_folder(&here.join("../../shared/data/notary-v1"), "json");
            if files.is_empty() {
                eprintln!("SKIPPED: no ../shared/data; hint: {name} starts from built-in documents alone");
            }
            let role = name.strip_prefix("notary_").unwrap();
            let fits = |path: &Path| {
                // Roles below targets lie in a folder of that name.
                role == "envelope" || path.to_string_lossy().contains(&format!("/{role}"))
            };
            seeds.extend(files.into_iter().filter(|(path, _)| fits(path)).map(|(_, text)| text));
        }
        "json" | "envelope" | "root" | "targets" | "snapshot" | "timestamp" => {
            let files = read_folder(&here.join("../../shared/data/tuf"), "json");
            if files.is_empty() {
                eprintln!("SKIPPED: no ../shared/data; hint: {name} starts from built-in documents alone");
            }
            let fits = |path: &Path| {
                matches!(name, "json" | "envelope")
                    || path.file_name().is_some_and(|file| file.to_string_lossy().contains(name))
            };
            seeds.extend(files.into_iter().filter(|(path, _)| fits(path)).map(|(_, text)| text));
        }
        _ => {}
    }
    seeds
}

#[test]
fn no_parser_panics_or_breaks_a_promise() {
    for (name, target) in targets::ALL {
        let seeds = seeds(name);
        let accepted = seeds.iter().filter(|seed| target(seed)).count();
        assert!(accepted > 0, "{name} accepts none of its {} seeds: it is tested on nothing", seeds.len());

        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        // The same inputs in every run: whoever broke a parser sees it, and nobody else. To look
        // for what nobody saw is libFuzzer's part.
        let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
        let result = TestRunner::new_with_rng(config, random).run(&changed(seeds), |input| {
            target(&input.0);
            Ok(())
        });
        if let Err(error) = result {
            panic!("{name}: {error}");
        }
    }
}

#[test]
fn every_target_is_a_program_for_libfuzzer() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
    for (name, _) in targets::ALL {
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name} is in no manifest");
        let program = fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).unwrap();
        assert!(program.contains(&format!("targets::{name}(data)")), "{name}.rs runs something else");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), targets::ALL.len());
}
