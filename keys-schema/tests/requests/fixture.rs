//! A repository whose root needs two of three people, and requests to change it.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::{Draft, RoleSpec, RootEdit};
use bulla_keys_schema::key::{SecretKey, Signer};
use bulla_keys_schema::metadata::{KeyEntry, Root, Threshold, TopLevelRole};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::{OpenRequest, RequestId, SignatureFile, SigningRequest};
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;

use crate::support::{DIALECT, Doc, Repo, TestKey, later, now, repository, time};

pub const ALICE: TestKey = TestKey::new("alice of root");
pub const BOB: TestKey = TestKey::p256("bob of root");
pub const CAROL: TestKey = TestKey::new("carol of root");
pub const DAVE: TestKey = TestKey::p256("dave of root");
pub const MALLORY: TestKey = TestKey::new("mallory");

/// Who shall sign a role.
pub fn spec(keys: &[TestKey], threshold: u64) -> RoleSpec {
    let keys = keys.iter().map(|key| KeyEntry::new(key.public())).collect();
    RoleSpec { keys, threshold: Threshold::new(threshold).unwrap() }
}

/// The repository of [`Repo`], with a root that two of Alice, Bob and Carol sign.
pub fn repo() -> Repo {
    let mut repo = Repo::new();
    let root = RootEdit::first(
        DIALECT,
        &spec(&[ALICE, BOB, CAROL], 2),
        &spec(&[Repo::TARGETS], 1),
        &spec(&[Repo::SNAPSHOT], 1),
        &spec(&[Repo::TIMESTAMP], 1),
        later(),
    );
    let root = root.unwrap().for_repository(repository()).finish();
    repo.roots = vec![Doc::new(&root, &[ALICE, BOB])];
    repo
}

/// Its current state.
pub fn state() -> CurrentState {
    CurrentState::load(DIALECT, &repo().documents()).unwrap()
}

/// The next root with these root keys.
pub fn next_root(keys: &[TestKey], threshold: u64) -> Root {
    let state = state();
    let mut edit = RootEdit::next(DIALECT, state.root().payload(), later()).unwrap();
    edit.set_role(TopLevelRole::Root, &spec(keys, threshold)).unwrap();
    edit.finish()
}

/// That root, with signatures of `signers` where it or its predecessor names them.
pub fn proposed(root: &Root, signers: &[TestKey]) -> Bytes {
    let secrets: Vec<SecretKey> = signers.iter().map(|key| key.secret()).collect();
    let signers: Vec<&dyn Signer> = secrets.iter().map(|key| key as &dyn Signer).collect();
    let state = state();
    let draft = Draft::new(DIALECT, root.clone());
    draft.propose_root(&signers, Some(state.root().payload())).unwrap().bytes().clone()
}

/// A request for `documents`, without a base.
pub fn bare(documents: impl IntoIterator<Item = (RoleName, Bytes)>) -> SigningRequest {
    SigningRequest {
        id: RequestId::from_bytes([7; 16]),
        repository: repository(),
        dialect: DIALECT,
        base: BTreeMap::new(),
        reason: "routine renewal".parse().unwrap(),
        created_by: "alice".parse().unwrap(),
        created_at: now(),
        not_after: time("2030-01-08T00:00:00Z"),
        documents: documents.into_iter().collect(),
        files: Vec::new(),
        holders: BTreeMap::from([(ALICE.fingerprint(), "alice".parse().unwrap())]),
    }
}

/// A request to replace Carol by Dave, signed by Alice.
pub fn replace_carol() -> SigningRequest {
    let root = proposed(&next_root(&[ALICE, BOB, DAVE], 2), &[ALICE]);
    bare([(RoleName::Root, root)]).with_base(Some(&state())).unwrap()
}

/// The request, opened now against the state.
pub fn open(request: SigningRequest) -> OpenRequest {
    request.open(&repository(), Some(&state()), now()).unwrap()
}

/// What `key` signs of it.
pub fn signatures(request: &OpenRequest, key: TestKey) -> SignatureFile {
    request.sign(&[&key.secret()]).unwrap()
}

/// The keys that the server holds.
pub fn held() -> BTreeSet<bulla_keys_schema::key::Fingerprint> {
    BTreeSet::from([Repo::SNAPSHOT.fingerprint(), Repo::TIMESTAMP.fingerprint()])
}
