//! A publisher of test repositories: keys, and uploads signed with them.

use bulla_keys_schema::author::{Delegation, Draft, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{
    Children, KeyEntry, RoleKeys, Root, Scope, Targets, Threshold, TopLevelRole, Version,
};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{RawMetadata, Verified};
use bulla_keys_schema::wire::{OnlineKey, OnlineKeySet, OnlineKeys, Receipt};
use bytes::Bytes;
use reqwest::Method;

use crate::server::{BEGIN, TestServer, Upload};

const DIALECT: Dialect = Dialect::Tuf1;
/// How long offline documents are valid: longer than any test.
const LIFETIME: i64 = 365 * 24 * 3600;

/// Signs for one repository with one signer, `alice`.
pub struct Publisher {
    root_key: SecretKey,
    targets_key: SecretKey,
    alice_key: SecretKey,
    root: Root,
    root_bytes: Bytes,
    targets: Targets,
    alice: Targets,
    releases: Targets,
}

impl Publisher {
    /// Makes keys and the first documents for a server's online keys.
    pub fn new(online: &OnlineKeys) -> Self {
        let (root_key, targets_key, alice_key) = (key(1), key(2), key(3));
        let spec = |key: PublicKey| RoleSpec { keys: vec![KeyEntry::new(key)], threshold: Threshold::ONE };
        let root = RootEdit::first(
            Dialect::Tuf1,
            &spec(root_key.public_key().clone()),
            &spec(targets_key.public_key().clone()),
            &spec(public(&online.snapshot)),
            &spec(public(&online.timestamp)),
            expires(),
        )
        .expect("one key each")
        .finish();
        let root_bytes = Draft::new(DIALECT, root.clone()).sign_root(&[&root_key], None).expect("signed");
        let mut targets = TargetsEdit::new(Dialect::Tuf1, RoleName::Targets, Version::FIRST, expires());
        for name in ["releases", "alice"] {
            let delegation = Delegation {
                name: name.parse().expect("a name"),
                keys: vec![KeyEntry::new(alice_key.public_key().clone())],
                threshold: Threshold::ONE,
                scope: Scope::Paths(vec!["*".parse().expect("a pattern")]),
                terminating: false,
            };
            targets.set_delegation(&delegation).expect("one key");
        }
        let empty = |role: &str| {
            TargetsEdit::new(Dialect::Tuf1, role.parse().expect("a role"), Version::FIRST, expires()).finish()
        };
        Self {
            root_key,
            targets_key,
            alice: empty("alice"),
            releases: empty("releases"),
            alice_key,
            root,
            root_bytes: root_bytes.bytes().clone(),
            targets: targets.finish(),
        }
    }

    /// Everything that a new repository needs.
    pub fn first(&self) -> Vec<Upload> {
        vec![
            Upload::Metadata("1.root.json".into(), self.root_bytes.to_vec()),
            Upload::Metadata("1.targets.json".into(), self.sign_targets()),
            Upload::Metadata("1.releases.json".into(), self.sign_delegated(&self.releases, "releases")),
            Upload::Metadata("1.alice.json".into(), self.sign_delegated(&self.alice, "alice")),
        ]
    }

    /// Lists `tag` with the digest of `manifest`, in alice's role and in `releases`.
    pub fn tag(&mut self, tag: &str, manifest: &[u8]) -> Vec<Upload> {
        let (digest, length) = (Sha256Digest::of(manifest), manifest.len() as u64);
        for role in [&mut self.alice, &mut self.releases] {
            let mut edit = TargetsEdit::next(Dialect::Tuf1, role, expires()).expect("a next version");
            edit.set_target(&tag.parse().expect("a target"), digest, length);
            *role = edit.finish();
        }
        let name = |role: &Targets, what: &str| format!("{}.{what}.json", role.version);
        vec![
            Upload::Metadata(name(&self.alice, "alice"), self.sign_delegated(&self.alice, "alice")),
            Upload::Metadata(
                name(&self.releases, "releases"),
                self.sign_delegated(&self.releases, "releases"),
            ),
            Upload::Target(manifest.to_vec()),
        ]
    }

    /// A root that lists another set of online keys.
    pub fn rotate(&mut self, online: &OnlineKeySet) -> Vec<Upload> {
        let before = RawMetadata::new(DIALECT, self.root_bytes.clone()).verify_first().expect("our own root");
        let mut edit = RootEdit::next(Dialect::Tuf1, before.payload(), expires()).expect("a next version");
        for (role, key) in
            [(TopLevelRole::Snapshot, &online.snapshot), (TopLevelRole::Timestamp, &online.timestamp)]
        {
            let spec = RoleSpec { keys: vec![KeyEntry::new(public(key))], threshold: Threshold::ONE };
            edit.set_role(role, &spec).expect("one key");
        }
        self.sign_next_root(edit.finish(), &before)
    }

    /// Version of the current root.
    pub fn root_version(&self) -> u64 {
        self.root.version.get()
    }

    fn sign_next_root(&mut self, root: Root, before: &Verified<Root>) -> Vec<Upload> {
        let signed =
            Draft::new(DIALECT, root.clone()).sign_root(&[&self.root_key], Some(before)).expect("signed");
        self.root_bytes = signed.bytes().clone();
        self.root = root;
        vec![Upload::Metadata(format!("{}.root.json", self.root.version), self.root_bytes.to_vec())]
    }

    fn sign_targets(&self) -> Vec<u8> {
        let signers: [&dyn Signer; 1] = [&self.targets_key];
        let draft = Draft::new(DIALECT, self.targets.clone());
        draft.sign(&signers, &self.root.targets, &self.root.keys).expect("signed").bytes().to_vec()
    }

    fn sign_delegated(&self, document: &Targets, role: &str) -> Vec<u8> {
        let delegations = self.targets.delegations.as_ref().expect("there are delegations");
        let Children::Roles(roles) = &delegations.children else { panic!("roles by name") };
        let keys: &RoleKeys =
            &roles.iter().find(|child| child.name.as_str() == role).expect("delegated").keys;
        let signers: [&dyn Signer; 1] = [&self.alice_key];
        let draft = Draft::new(DIALECT, document.clone());
        draft.sign(&signers, keys, &delegations.keys).expect("signed").bytes().to_vec()
    }
}

/// Has the server make online keys.
pub async fn online_keys(server: &TestServer, repository: &str) -> OnlineKeys {
    let path = format!("/api/v1/repositories/{repository}/online-keys");
    let response = server.send(server.request(Method::POST, &path)).await;
    assert_eq!(response.status(), 200);
    response.json().await.expect("online keys")
}

/// Creates `repository` on a server without authentication.
pub async fn create(server: &TestServer, repository: &str) -> (Publisher, Receipt) {
    let publisher = Publisher::new(&online_keys(server, repository).await);
    let id = operation(repository, 0);
    let response = server.send(server.publish(repository, None, id, &publisher.first())).await;
    let receipt = receipt(response).await;
    (publisher, receipt)
}

/// An operation id that no other publish of a test has.
pub fn operation(repository: &str, number: u32) -> u128 {
    let digest = Sha256Digest::of(format!("{repository} {number}").as_bytes());
    u128::from_be_bytes(*digest.as_bytes().first_chunk().expect("a digest has 32 bytes"))
}

/// The receipt that an answer holds.
pub async fn receipt(response: reqwest::Response) -> Receipt {
    let status = response.status();
    let text = response.text().await.expect("a body");
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("a receipt")
}

fn expires() -> UtcTime {
    UtcTime::from_unix_seconds(BEGIN + LIFETIME).expect("in the calendar")
}

fn public(key: &OnlineKey) -> PublicKey {
    PublicKey::from_pem(&key.public_key).expect("a public key")
}

/// A key that nobody needs to keep secret.
fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::Ed25519, &[number; 32].into()).expect("any seed is an Ed25519 key")
}
