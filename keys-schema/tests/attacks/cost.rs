//! Documents as large as readers take, made to cost more than their size: time must grow with
//! the size and not with its square.

use std::time::{Duration, Instant};

use bulla_keys_schema::json::Json;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::Targets;
use bulla_keys_schema::names::{PathPattern, TargetPath};
use bulla_keys_schema::verify::{RawMetadata, VerifyError};
use bytes::Bytes;

use crate::support::{DIALECT, Doc, Repo, lists};

/// What a document may cost, without optimisation and on a busy machine. The square of five
/// million needs hours.
const PATIENCE: Duration = Duration::from_secs(30);

/// Half of what a document may have.
const HALF: usize = limits::TARGETS_BYTES / 2 - 1_000;

fn verify(bytes: Bytes) -> Result<(), VerifyError> {
    let mut repo = Repo::new();
    let root = RawMetadata::new(DIALECT, repo.root().bytes()).verify_first().unwrap();
    let root = root.payload();
    let start = Instant::now();
    let result = RawMetadata::<Targets>::new(DIALECT, bytes).verify(&root.targets, &root.keys);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    result.map(drop)
}

fn doc() -> Doc {
    Doc::new(&lists("targets", &["v1"]), &[Repo::TARGETS])
}

/// `{"":0},{"":0}` and so on: most values, and most containers, for a number of bytes.
fn many_objects(bytes: usize) -> String {
    ["{\"\":0}"].repeat(bytes / 7).join(",")
}

/// `"0":0,"1":0` and so on.
fn many_members(bytes: usize) -> String {
    (0..bytes / 12).map(|n| format!("\"{n:x}\":0")).collect::<Vec<_>>().join(",")
}

#[test]
fn long_path_to_many_unsigned_members() {
    let (long, many) = ("a".repeat(HALF), many_members(HALF / 2));
    let text = format!("{{\"signed\":{{}},\"signatures\":[],\"{long}\":{{{many}}}}}");
    assert!(verify(text.into()).is_err());
}

#[test]
fn long_path_to_many_signed_members() {
    let inner =
        Json::parse(format!("{{\"{}\":{{{}}}}}", "a".repeat(HALF), many_members(HALF / 2)).as_bytes());
    let inner = inner.unwrap();
    for path in ["targets/v1/custom", "delegations"] {
        let result = verify(doc().set(path, inner.clone()).bytes());
        assert_eq!(result.is_ok(), path != "delegations", "{result:?}");
    }
}

#[test]
fn long_target_name_with_many_unknown_digests() {
    let many = format!("{{{}}}", many_members(HALF / 2).replace(":0", ":\"0\""));
    let target = format!("{{\"{}\":{{\"length\":1,\"hashes\":{many}}}}}", "a".repeat(HALF));
    let target = Json::parse(target.as_bytes()).unwrap();
    assert!(verify(doc().set("targets", target).bytes()).is_err());
}

#[test]
fn five_megabytes_of_small_objects() {
    // They would need half a gigabyte, before any signature is looked at.
    let text = format!("{{\"signed\":{{\"a\":[{}]}},\"signatures\":[]}}", many_objects(2 * HALF));
    let error = verify(text.into()).unwrap_err().to_string();
    assert!(error.contains("too many objects and arrays"), "{error}");
}

#[test]
fn patterns_with_many_stars() {
    let path: TargetPath = "a".repeat(limits::TARGET_PATH_BYTES).parse().unwrap();
    let pattern: PathPattern = format!("{}b", "*a".repeat(limits::PATTERN_BYTES / 2 - 1)).parse().unwrap();
    let start = Instant::now();
    for _ in 0..limits::TARGETS_BYTES / limits::PATTERN_BYTES / 100 {
        assert!(!pattern.matches(&path));
    }
    assert!(start.elapsed() * 100 < PATIENCE * 4, "{:?}", start.elapsed());
}
