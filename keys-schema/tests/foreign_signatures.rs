//! Signatures that other implementations made, over documents that they wrote: all of them
//! verify here, or there is a reason.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, reads files, and says what it skips"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bulla_keys_schema::dialect::{Dialect, Document, Envelope};
use bulla_keys_schema::json::Json;
use bulla_keys_schema::key::{KeyAlgorithm, KeyId, PublicKey};
use bulla_keys_schema::metadata::{KeyTable, Root, Targets};

/// Documents whose signatures do not verify, and rightly so.
const BAD: [&str; 1] = ["tough/invalid-root-json-signature/root.json"];
/// These are signed in their indented form, which no specification knows.
const INDENTED: &str = "rust-tuf-interop/metadata";

/// Keys by the ids they were declared with. Fixtures of one project share some.
type Keys = BTreeMap<KeyId, PublicKey>;

fn json_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(json_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "json") {
            files.push(path);
        }
    }
    files.sort();
    files
}

fn keys_declared_in(bytes: &[u8]) -> Keys {
    let document = Json::parse(bytes).ok();
    let Some(signed) = document.as_ref().and_then(|whole| whole.as_object()?.get("signed")?.as_object())
    else {
        return Keys::new();
    };
    let root = Root::decode(Dialect::Tuf1, &mut signed.clone()).map(|root| root.keys);
    let targets =
        Targets::decode(Dialect::Tuf1, &mut signed.clone()).ok().and_then(|targets| targets.delegations);
    let tables = root.into_iter().chain(targets.map(|delegations| delegations.keys));
    let known = |table: KeyTable| table.into_iter().filter_map(|(id, entry)| Some((id, entry.key?)));
    tables.flat_map(known).collect()
}

#[test]
fn verify_but_for_the_bad_ones() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/tuf");
    if !data.is_dir() {
        assert!(std::env::var_os("CI").is_none_or(|ci| ci != "true"), "no {}", data.display());
        eprintln!("SKIPPED: no {}", data.display());
        return;
    }
    let mut good: BTreeMap<KeyAlgorithm, usize> = BTreeMap::new();
    let mut bad = Vec::new();
    let paths = json_files(&data).into_iter().filter(|path| !path.starts_with(data.join(INDENTED)));
    let files: Vec<(PathBuf, Vec<u8>)> = paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let keys: Keys = files.iter().flat_map(|(_, bytes)| keys_declared_in(bytes)).collect();
    for (path, bytes) in &files {
        let Ok(envelope) = Envelope::parse(Dialect::Tuf1, bytes) else { continue };
        // An empty signature holds a place for one to come.
        for signature in envelope.signatures().iter().filter(|signature| !signature.bytes.is_empty()) {
            let Some(key) = keys.get(&signature.key_id) else { continue };
            match key.verify(envelope.signed_bytes(), &signature.bytes) {
                Ok(()) => *good.entry(key.algorithm()).or_default() += 1,
                Err(_) => bad.push(path.strip_prefix(&data).unwrap().display().to_string()),
            }
        }
    }
    bad.dedup();
    assert_eq!(bad, BAD);
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519, KeyAlgorithm::RsaPss] {
        assert!(good.get(&algorithm).is_some_and(|count| *count > 0), "{algorithm} in {good:?}");
    }
}
