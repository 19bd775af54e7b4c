//! Requests and files of signatures that cost a server or a signer more than their size: neither
//! needs a single good key of the repository.

use std::time::{Duration, Instant};

use bulla_keys_schema::json::Json;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::{MergeError, SigningRequest};
use bytes::Bytes;

use crate::fixture::{ALICE, MALLORY, bare, repo, state};
use crate::support::{Doc, TestKey, delegation, lists, now, repository};

/// What each may cost, without optimisation and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request for targets that say `member`.
fn targets_with(member: &str, text: &str) -> SigningRequest {
    let mut targets = repo().targets;
    targets.set_number("version", 2).signed_by(&[]).set(member, Json::parse(text.as_bytes()).unwrap());
    bare([(RoleName::Targets, targets.bytes())])
}

fn open_in_time(request: SigningRequest) {
    let start = Instant::now();
    let request = request.with_base(Some(&state())).unwrap();
    let _ = request.open(&repository(), Some(&state()), now());
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
}

#[test]
fn many_children_share_one_table_of_keys() {
    let key = String::from_utf8(ALICE.object().to_wire()).unwrap();
    let keys: Vec<String> = (0..limits::KEYS).map(|n| format!("\"k{n}\":{key}")).collect();
    let role = |n| {
        format!(
            "{{\"name\":\"r{n}\",\"keyids\":[\"k0\"],\"threshold\":1,\"terminating\":false,\"paths\":[\"*\"]}}"
        )
    };
    let roles: Vec<String> = (0..limits::DELEGATIONS).map(role).collect();
    let text = format!("{{\"keys\":{{{}}},\"roles\":[{}]}}", keys.join(","), roles.join(","));
    open_in_time(targets_with("delegations", &text));
}

#[test]
fn files_are_looked_up_and_not_searched_for() {
    const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let entry = |n: usize, digest: &str| {
        format!("\"t{n:06}\":{{\"length\":0,\"hashes\":{{\"sha256\":\"{digest}\"}}}}")
    };
    let mut entries: Vec<String> = (0..20_000).map(|n| entry(n, &"00".repeat(32))).collect();
    entries.push(entry(999_999, EMPTY));
    let request = targets_with("targets", &format!("{{{}}}", entries.join(",")));
    open_in_time(SigningRequest { files: vec![Bytes::new(); 1_000_000], ..request });
}

/// A request whose new role has many keys of a stranger, all but one of which signed, and a
/// document as large as documents get.
#[test]
fn signatures_that_are_known_cost_little() {
    let keys: Vec<TestKey> = (0..200).map(|n| MALLORY.nth(n)).collect();
    let mut repo = repo();
    let stranger = bulla_keys_schema::author::Delegation {
        threshold: bulla_keys_schema::metadata::Threshold::new(200).unwrap(),
        ..delegation("stranger", &keys, &["x"])
    };
    repo.targets.set_number("version", 2).signed_by(&[]);
    repo.delegate("targets", &stranger);
    let mut large = Doc::new(&lists("stranger", &[]), &[]);
    large.set("x_note", "a".repeat(1_000_000));
    let request =
        bare([(RoleName::Targets, repo.targets.bytes()), ("stranger".parse().unwrap(), large.bytes())]);
    let request = request.with_base(Some(&state())).unwrap();
    let mut request = request.open(&repository(), Some(&state()), now()).unwrap();
    let secrets: Vec<_> = keys.iter().take(199).map(|key| key.secret()).collect();
    let signers: Vec<&dyn bulla_keys_schema::key::Signer> =
        secrets.iter().map(|key| key as &dyn bulla_keys_schema::key::Signer).collect();
    let file = request.sign(&signers).unwrap();
    let start = Instant::now();
    assert_eq!(request.merge(&file).unwrap().added.len(), 199);
    let mut again = file.clone();
    while again.signatures.len() < limits::KEYS {
        again.signatures.extend(file.signatures.iter().take(limits::KEYS - again.signatures.len()).cloned());
    }
    assert_eq!(request.merge(&again).unwrap().added.len(), 0);
    assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
    // What looks like one of them and is none is still found.
    let mut bad = request.sign(&[&keys[199].secret()]).unwrap();
    bad.signatures[0].signature.iter_mut().for_each(|byte| *byte ^= 1);
    assert!(matches!(request.merge(&bad), Err(MergeError::BadSignature { .. })));
}
