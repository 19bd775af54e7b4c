//! A publisher and a reader of repositories in legacy mode: what `notary` sends and asks for,
//! made by hand so that a test can send anything else as well.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::author::{Delegation, Draft, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::{Dialect, notary1};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Object;
use bulla_keys_schema::key::{Certificate, KeyAlgorithm, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{
    Children, KeyEntry, KeyTable, MetaInfo, RoleKeys, Root, Scope, Snapshot, Targets, Threshold,
    TopLevelRole, Version,
};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{Floor, Pin, RawMetadata, RootChain, TrustedTargets, Verified};
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response};

use crate::server::{BEGIN, TestServer};

const DIALECT: Dialect = Dialect::Notary1;
/// How long offline documents are valid: longer than any test.
const LIFETIME: i64 = 10 * 365 * 24 * 3600;

/// A file of an upload: its name, which says the role, and its bytes.
pub type File = (String, Vec<u8>);

/// Owns one repository with two delegations, `targets/releases` and `targets/alice`, both signed
/// by alice.
pub struct Owner {
    /// The repository.
    pub repository: RepositoryName,
    root_key: SecretKey,
    targets_key: SecretKey,
    snapshot_key: SecretKey,
    alice_key: SecretKey,
    /// The root as it is to be published next, or was published last.
    pub root: Root,
    root_bytes: Bytes,
    /// The top-level targets.
    pub targets: Targets,
    /// The documents of the delegated roles, by wire name.
    pub delegated: BTreeMap<String, Targets>,
}

impl Owner {
    /// Asks the server for its keys and makes the first documents, as `docker trust` does. With
    /// `holds_snapshot` the owner keeps the snapshot key, as `notary init` does.
    pub async fn init(server: &TestServer, repository: &str, holds_snapshot: bool) -> Self {
        let timestamp = online_key(server, repository, "timestamp", Method::GET).await;
        let snapshot = match holds_snapshot {
            true => key(3).public_key().clone(),
            false => online_key(server, repository, "snapshot", Method::GET).await,
        };
        Self::new(repository, &snapshot, &timestamp)
    }

    /// The owner of a repository whose online roles have these keys.
    pub fn new(repository: &str, snapshot: &PublicKey, timestamp: &PublicKey) -> Self {
        let root_key = key(1);
        let spec = |entry| RoleSpec { keys: vec![entry], threshold: Threshold::ONE };
        let bare = |key: &PublicKey| spec(KeyEntry::new(key.clone()));
        let root = RootEdit::first(
            DIALECT,
            &spec(KeyEntry::certified(certificate(&root_key, repository))),
            &bare(key(2).public_key()),
            &bare(snapshot),
            &bare(timestamp),
            expires(),
        );
        let root = root.expect("one key each").finish();
        let root_bytes = Draft::new(DIALECT, root.clone()).sign_root(&[&root_key], None).expect("signed");
        let targets = TargetsEdit::new(DIALECT, RoleName::Targets, version(2), expires()).finish();
        Self {
            repository: repository.parse().expect("a name"),
            root_key,
            targets_key: key(2),
            snapshot_key: key(3),
            alice_key: key(4),
            root,
            root_bytes: root_bytes.bytes().clone(),
            targets,
            delegated: BTreeMap::new(),
        }
    }

    /// Root and targets, and the snapshot if the owner holds its key.
    pub fn first(&self) -> Vec<File> {
        let mut files = vec![self.root_file(), self.file("targets")];
        if self
            .root
            .snapshot
            .fingerprints(&self.root.keys)
            .contains(&self.snapshot_key.public_key().fingerprint())
        {
            files.push(self.snapshot(2));
        }
        files
    }

    /// The current root.
    pub fn root_file(&self) -> File {
        ("root".into(), self.root_bytes.to_vec())
    }

    /// Delegates to `roles` (wire names), all with alice's key and for every tag.
    pub fn delegate(&mut self, roles: &[&str]) {
        let mut edit = TargetsEdit::next(DIALECT, &self.targets, expires()).expect("a next version");
        for role in roles {
            let RoleName::Delegated(name) = wire_role(role) else { panic!("{role} is a delegation") };
            let delegation = Delegation {
                name,
                keys: vec![KeyEntry::new(self.alice_key.public_key().clone())],
                threshold: Threshold::ONE,
                scope: Scope::Prefixes(vec![String::new()]),
                terminating: false,
            };
            edit.set_delegation(&delegation).expect("one key");
            let first = TargetsEdit::new(DIALECT, wire_role(role), Version::FIRST, expires()).finish();
            self.delegated.insert((*role).to_owned(), first);
        }
        self.targets = edit.finish();
    }

    /// Ends a delegation.
    pub fn undelegate(&mut self, role: &str) {
        let RoleName::Delegated(name) = wire_role(role) else { panic!("{role} is a delegation") };
        let mut edit = TargetsEdit::next(DIALECT, &self.targets, expires()).expect("a next version");
        assert!(edit.remove_delegation(&name));
        self.targets = edit.finish();
    }

    /// The next version of a targets role, with `tag` in it.
    pub fn tag(&mut self, role: &str, tag: &str) -> File {
        let before = self.document(role);
        let mut edit = TargetsEdit::next(DIALECT, before, expires()).expect("a next version");
        let digest = Sha256Digest::of(tag.as_bytes());
        edit.set_target(&tag.parse().expect("a target"), digest, tag.len() as u64);
        *self.document_mut(role) = edit.finish();
        self.file(role)
    }

    /// The signed document of a targets role as it is now.
    pub fn file(&self, role: &str) -> File {
        let document = Draft::new(DIALECT, self.document(role).clone());
        let bytes = if role == "targets" {
            self.sign(document, &self.targets_key, &self.root.targets, &self.root.keys)
        } else {
            let (keys, table) = alices(&self.alice_key);
            self.sign(document, &self.alice_key, &keys, &table)
        };
        (role.to_owned(), bytes)
    }

    /// A snapshot of the owner's documents, signed by the owner.
    pub fn snapshot(&self, number: u64) -> File {
        let mut roles: Vec<&str> = vec!["root", "targets"];
        roles.extend(self.delegated.keys().map(String::as_str));
        let describe = |role: &str| {
            let (_, bytes) = if role == "root" { self.root_file() } else { self.file(role) };
            DIALECT.describe(Version::FIRST, &Bytes::from(bytes).into())
        };
        let meta = roles.into_iter().map(|role| (wire_role(role), describe(role))).collect();
        self.snapshot_of(number, meta, expires())
    }

    /// A snapshot that lists `meta`, signed by the owner.
    pub fn snapshot_of(&self, number: u64, meta: BTreeMap<RoleName, MetaInfo>, expires: UtcTime) -> File {
        let snapshot = Snapshot { version: version(number), expires, meta, extra: Object::new() };
        let draft = Draft::new(DIALECT, snapshot);
        let (keys, table) = alices(&self.snapshot_key);
        ("snapshot".into(), self.sign(draft, &self.snapshot_key, &keys, &table))
    }

    /// The next root, with another key for an online role.
    pub fn rotate(&mut self, role: TopLevelRole, key: &PublicKey) -> File {
        let before = RawMetadata::new(DIALECT, self.root_bytes.clone()).verify_first().expect("our own root");
        let mut edit = RootEdit::next(DIALECT, &self.root, expires()).expect("a next version");
        let spec = RoleSpec { keys: vec![KeyEntry::new(key.clone())], threshold: Threshold::ONE };
        edit.set_role(role, &spec).expect("one key");
        self.root = edit.finish();
        let signed = Draft::new(DIALECT, self.root.clone()).sign_root(&[&self.root_key], Some(&before));
        self.root_bytes = signed.expect("signed").bytes().clone();
        self.root_file()
    }

    /// The key that the owner has for snapshots.
    pub fn snapshot_key(&self) -> &PublicKey {
        self.snapshot_key.public_key()
    }

    /// Signs a document of a targets role that is not the owner's own.
    pub fn sign_targets(&self, document: Targets) -> Vec<u8> {
        self.sign(Draft::new(DIALECT, document), &self.targets_key, &self.root.targets, &self.root.keys)
    }

    fn sign<R: bulla_keys_schema::dialect::Document>(
        &self,
        draft: Draft<R>,
        key: &SecretKey,
        keys: &RoleKeys,
        table: &KeyTable,
    ) -> Vec<u8> {
        let signers: [&dyn Signer; 1] = [key];
        // Not judged: a test may want what nobody should accept.
        draft.sign_to_seal(&signers, keys, table).expect("signed").into_bytes().to_vec()
    }

    fn document(&self, role: &str) -> &Targets {
        if role == "targets" { &self.targets } else { &self.delegated[role] }
    }

    fn document_mut(&mut self, role: &str) -> &mut Targets {
        if role == "targets" { &mut self.targets } else { self.delegated.get_mut(role).expect("delegated") }
    }
}

/// What `notary` believes of a repository after it has read all of it.
pub struct Seen {
    /// The whole chain.
    pub top: TrustedTargets,
    /// The delegated documents that verify, by wire name.
    pub delegated: BTreeMap<String, Verified<Targets>>,
}

/// Reads a repository as `notary` does on its first contact, everything below the timestamp by
/// its digest.
///
/// # Panics
/// Something is missing or does not verify.
pub async fn follow(server: &TestServer, repository: &str) -> Seen {
    let name: RepositoryName = repository.parse().expect("a name");
    let read = async |file: String| {
        let response = server.get(&format!("/v2/{repository}/_trust/tuf/{file}.json")).await;
        assert_eq!(response.status(), 200, "{file}");
        response.bytes().await.expect("a body")
    };
    let root = read("root".into()).await;
    let pin = Pin::Digest(Sha256Digest::of(&root));
    let chain = RootChain::start(DIALECT, root, &pin).expect("a root");
    let chain = chain.require_repository(&name, true).expect("the root is for this repository");
    let trusted = chain.finish(bulla_server::clock::Clock::now(&*server.clock), None).expect("a valid root");
    let timestamp = trusted.timestamp(Floor::none(), read("timestamp".into()).await).expect("a timestamp");
    let snapshot = read(named("snapshot", timestamp.wanted())).await;
    let snapshot = timestamp.snapshot(snapshot).expect("a snapshot");
    let targets = read(named("targets", snapshot.wanted().expect("targets are listed"))).await;
    let top = snapshot.targets(targets).expect("targets");
    let mut delegated = BTreeMap::new();
    let children = top.targets().payload().delegations.as_ref().map(|delegations| &delegations.children);
    if let Some(Children::Roles(roles)) = children {
        for role in roles {
            let wire = notary1::role_to_wire(&RoleName::Delegated(role.name.clone()));
            let Ok(wanted) = top.wanted(&role.name) else { continue };
            let bytes = read(named(&wire, wanted)).await;
            // Old clients warn about what does not verify any more, and go on.
            if let Ok(document) = top.delegated(&role.name, bytes) {
                delegated.insert(wire, document);
            }
        }
    }
    Seen { top, delegated }
}

/// An upload of `files` as the Go client sends it.
pub fn post(server: &TestServer, repository: &str, files: &[File]) -> RequestBuilder {
    if files.is_empty() {
        let request = server.request(Method::POST, &format!("/v2/{repository}/_trust/tuf/"));
        let request = request.header("content-type", "multipart/form-data; boundary=b");
        return request.body("\r\n--b--\r\n");
    }
    let mut form = Form::new();
    for (name, bytes) in files {
        let part = Part::bytes(bytes.clone()).file_name(name.clone());
        form = form.part("files", part.mime_str("application/octet-stream").expect("a media type"));
    }
    server.request(Method::POST, &format!("/v2/{repository}/_trust/tuf/")).multipart(form)
}

/// Publishes what must be accepted.
///
/// # Panics
/// It is not.
pub async fn publish(server: &TestServer, repository: &str, files: &[File]) {
    let response = server.send(post(server, repository, files)).await;
    let status = response.status();
    let text = response.text().await.expect("a body");
    assert_eq!((status.as_u16(), text.as_str()), (200, ""));
}

/// The one error of a refusal that a Go client can read: status, code, detail.
///
/// # Panics
/// It is none.
pub async fn refusal(response: Response) -> (u16, String, serde_json::Value) {
    let status = response.status().as_u16();
    let media_type = response.headers().get("content-type").and_then(|value| value.to_str().ok());
    assert_eq!(media_type, Some("application/json; charset=utf-8"));
    let bytes = response.bytes().await.expect("a body");
    assert!(bytes.len() <= 1024 && bytes.ends_with(b"\n"), "{bytes:?}");
    let body: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let errors = body["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), 1, "{body}");
    let code = errors[0]["code"].as_str().expect("a code").to_owned();
    assert!(errors[0]["message"].is_string(), "{body}");
    (status, code, errors[0]["detail"].clone())
}

/// The name and the text of a refused upload, as old clients show them.
///
/// # Panics
/// It was refused in a way that they do not show.
pub async fn shown(response: Response) -> (String, String) {
    let (status, code, detail) = refusal(response).await;
    assert_eq!((status, code.as_str()), (400, "INVALID_UPDATE"), "{detail}");
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    (text(&detail["Name"]), text(&detail["Error"]["Msg"]))
}

/// Asks for a key of the server.
///
/// # Panics
/// It does not answer with one.
pub async fn online_key(server: &TestServer, repository: &str, role: &str, method: Method) -> PublicKey {
    let path = format!("/v2/{repository}/_trust/tuf/{role}.key");
    let response = server.send(server.request(method, &path)).await;
    assert_eq!(response.status(), 200);
    read_key(&response.json().await.expect("JSON"))
}

/// Reads a key as the server writes it.
///
/// # Panics
/// It is none.
pub fn read_key(body: &serde_json::Value) -> PublicKey {
    assert_eq!(body["keytype"], "ed25519");
    assert!(body["keyval"]["private"].is_null() && body["keyval"].get("private").is_some(), "{body}");
    let raw = STANDARD.decode(body["keyval"]["public"].as_str().expect("a text")).expect("base64");
    PublicKey::from_ed25519_bytes(raw.as_slice().try_into().expect("32 bytes")).expect("a key")
}

/// A role by its wire name.
pub fn wire_role(name: &str) -> RoleName {
    notary1::role_from_wire(name).expect("a role")
}

/// A version.
pub fn version(number: u64) -> Version {
    Version::new(number).expect("a version")
}

/// When the owner's documents expire.
pub fn expires() -> UtcTime {
    UtcTime::from_unix_seconds(BEGIN + LIFETIME).expect("in the calendar")
}

fn named(role: &str, info: &MetaInfo) -> String {
    let digest = info.hashes.as_ref().and_then(|hashes| hashes.as_sha256()).expect("a digest");
    format!("{role}.{digest}")
}

fn certificate(key: &SecretKey, repository: &str) -> Certificate {
    let begins = UtcTime::from_unix_seconds(BEGIN - 3600).expect("in the calendar");
    Certificate::self_signed(key, repository, [7; 16], begins, expires()).expect("a certificate")
}

/// The key table of a role that `key` signs alone.
fn alices(key: &SecretKey) -> (RoleKeys, KeyTable) {
    let id = DIALECT.key_id(key.public_key(), None);
    let table = KeyTable::from([(id.clone(), KeyEntry::new(key.public_key().clone()))]);
    (RoleKeys { key_ids: vec![id], threshold: Threshold::ONE }, table)
}

/// A key that nobody needs to keep secret.
fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[number; 32].into()).expect("a scalar")
}
