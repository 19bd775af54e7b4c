//! What a publisher has before it is signed: any member can still be changed.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::author::{Delegation, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::Envelope;
use bulla_keys_schema::dialect::notary1::{certificate_key_id, key_id, key_object, role_from_wire};
use bulla_keys_schema::digest::{Hashed, Sha256Digest};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{Certificate, KeyId};
use bulla_keys_schema::metadata::{KeyEntry, Root, Scope, Snapshot, Targets, Threshold, Version};
use bulla_keys_schema::names::{DelegatedRoleName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::Submission;
use bytes::Bytes;

use crate::{DIALECT, Doc, TestKey, later, repository, time};

pub const ROOT: TestKey = TestKey::p256("root");
pub const TARGETS: TestKey = TestKey::p256("targets");
/// The snapshot key while its owner holds it.
pub const OWNER: TestKey = TestKey::p256("snapshot");
/// The online keys of the server.
pub const SNAPSHOT: TestKey = TestKey::new("online snapshot");
pub const TIMESTAMP: TestKey = TestKey::new("online timestamp");
pub const ALICE: TestKey = TestKey::p256("alice");
pub const BOB: TestKey = TestKey::new("bob");
pub const MALLORY: TestKey = TestKey::p256("mallory");

/// What the tag `v1` stands for.
pub const MANIFEST: &[u8] = b"the manifest of v1";

/// Who shall hold the snapshot key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    Client,
    Server,
}

/// The documents of one repository, as its publishers last wrote them.
#[derive(Clone)]
pub struct Papers {
    pub root: Doc,
    pub targets: Doc,
    /// By name on the wire.
    pub delegated: BTreeMap<String, Doc>,
    /// `None` while the server signs it. It lists what is here, but for what follows.
    pub snapshot: Option<Doc>,
    /// Roles that the snapshot leaves out.
    pub unlisted: BTreeSet<String>,
    /// What it says of some roles instead, or besides.
    pub listed: BTreeMap<String, Json>,
}

impl Papers {
    /// What `docker trust sign` leaves after the first signer: root 1, targets 2, and
    /// `targets/releases` and `targets/alice` with version 1.
    pub fn new(holder: Holder) -> Self {
        let mut targets = targets(&[]);
        delegate(&mut targets, "targets/releases", &[ALICE, TARGETS]);
        delegate(&mut targets, "targets/alice", &[ALICE]);
        targets.set_number("version", 2);
        let mut papers = Self::flat(holder);
        papers.targets = targets;
        papers.add("targets/releases", &["v1"], &[ALICE]);
        papers.add("targets/alice", &["v1"], &[ALICE]);
        papers
    }

    /// Without delegations: what `notary init` and `publish` leave.
    pub fn flat(holder: Holder) -> Self {
        let snapshot_key = if holder == Holder::Client { OWNER } else { SNAPSHOT };
        let mut targets = targets(&["v1"]);
        targets.set_number("version", 2);
        Self {
            root: root(snapshot_key),
            targets,
            delegated: BTreeMap::new(),
            snapshot: (holder == Holder::Client).then(|| snapshot(2)),
            unlisted: BTreeSet::new(),
            listed: BTreeMap::new(),
        }
    }

    /// Adds the document of a delegated role, with version 1.
    pub fn add(&mut self, role: &str, tags: &[&str], signers: &[TestKey]) -> &mut Doc {
        let doc = sign(&lists(tags), signers);
        self.delegated.entry(role.to_owned()).insert_entry(doc).into_mut()
    }

    /// A document of targets kind, by its name on the wire.
    pub fn role(&mut self, role: &str) -> &mut Doc {
        match role {
            "targets" => &mut self.targets,
            delegated => self.delegated.get_mut(delegated).unwrap(),
        }
    }

    /// The same with a version more.
    pub fn next(&mut self, role: &str) -> &mut Doc {
        bump(self.role(role), 1)
    }

    /// The next version of the snapshot, if the client signs it.
    pub fn next_snapshot(&mut self) {
        if let Some(snapshot) = &mut self.snapshot {
            bump(snapshot, 1);
        }
    }

    pub fn next_root(&mut self) -> &mut Doc {
        bump(&mut self.root, 1)
    }

    /// The snapshot's bytes, if the client signs it.
    pub fn snapshot_bytes(&self) -> Option<Bytes> {
        let mut doc = self.snapshot.clone()?;
        let mut meta = Object::from([("root".to_owned(), info(&self.root.bytes()))]);
        meta.insert("targets".to_owned(), info(&self.targets.bytes()));
        meta.extend(self.delegated.iter().map(|(role, doc)| (role.clone(), info(&doc.bytes()))));
        meta.retain(|role, _| !self.unlisted.contains(role));
        meta.extend(self.listed.clone());
        doc.edit(|signed| drop(signed.insert("meta".to_owned(), Json::Object(meta))));
        Some(doc.bytes())
    }

    /// All of it, as for a repository that does not exist yet.
    pub fn first(&self) -> Submission {
        self.since(None)
    }

    /// What `before` does not have.
    pub fn since(&self, before: Option<&Self>) -> Submission {
        let known = before.map_or_else(BTreeSet::new, Self::all_bytes);
        let new = |bytes: Bytes| Some(bytes).filter(|bytes| !known.contains(bytes)).map(Hashed::from);
        let delegated = self.delegated.iter().filter_map(|(role, doc)| Some((name(role), new(doc.bytes())?)));
        Submission {
            roots: new(self.root.bytes()).into_iter().collect(),
            targets: new(self.targets.bytes()),
            delegated: delegated.collect(),
            snapshot: self.snapshot_bytes().and_then(new),
            target_files: Vec::new(),
        }
    }

    fn all_bytes(&self) -> BTreeSet<Bytes> {
        let top = [self.root.bytes(), self.targets.bytes()].into_iter().chain(self.snapshot_bytes());
        top.chain(self.delegated.values().map(Doc::bytes)).collect()
    }
}

/// The name in the model of a delegated role.
pub fn name(wire: &str) -> DelegatedRoleName {
    match role_from_wire(wire) {
        Some(RoleName::Delegated(name)) => name,
        other => panic!("{wire}: {other:?}"),
    }
}

pub fn bump(doc: &mut Doc, by: i64) -> &mut Doc {
    let version = i64::try_from(doc.version().get()).unwrap() + by;
    doc.set_number("version", version)
}

/// The bytes that signatures of a document cover.
pub fn payload(doc: &Doc) -> Vec<u8> {
    Envelope::parse(DIALECT, &doc.bytes()).unwrap().signed_bytes().to_vec()
}

/// The self-signed certificate that `notary init` makes, for ten years around now.
pub fn certificate(key: TestKey, common_name: &str) -> Certificate {
    certificate_from(key, common_name, time("2026-01-01T00:00:00Z"), time("2036-01-01T00:00:00Z"))
}

pub fn certificate_from(
    key: TestKey,
    common_name: &str,
    not_before: UtcTime,
    not_after: UtcTime,
) -> Certificate {
    Certificate::self_signed(&key.secret(), common_name, [1; 16], not_before, not_after).unwrap()
}

/// A root key as documents list it.
pub fn certified(key: TestKey) -> KeyEntry {
    KeyEntry::certified(certificate(key, repository().as_str()))
}

/// The id and the object of a key in a certificate.
pub fn wrapped(certificate: &Certificate) -> (KeyId, Json) {
    let (id, object) = declared("ecdsa-x509", certificate.pem().as_bytes());
    assert_eq!(id, certificate_key_id(certificate));
    (id, object)
}

/// The id and the object of a bare key.
pub fn bare(key: TestKey) -> (KeyId, Json) {
    (key_id(&key.public()), key_object(&key.public()))
}

/// The id and the object of whatever is called a key.
pub fn declared(keytype: &str, public: &[u8]) -> (KeyId, Json) {
    declared_as(keytype, &STANDARD.encode(public))
}

/// The same with any text for base64.
pub fn declared_as(keytype: &str, public: &str) -> (KeyId, Json) {
    let keyval = [("private", Json::Null), ("public", Json::from(public))];
    let object = members([("keytype", Json::from(keytype)), ("keyval", members(keyval))]);
    (Sha256Digest::of(&canonical(&object)).to_string().parse().unwrap(), object)
}

pub fn members<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Lets exactly these keys sign the role at `path`: `roles/root`, or `delegations/roles/0`.
pub fn trust<'a>(doc: &'a mut Doc, path: &str, keys: &[(KeyId, Json)], threshold: i64) -> &'a mut Doc {
    doc.set(&format!("{path}/keyids"), Json::Array(Vec::new()));
    for (id, object) in keys {
        doc.trust_as(path, id.as_str(), object.clone());
    }
    doc.set_number(&format!("{path}/threshold"), threshold)
}

/// Signs under the ids of the bare keys, or of the certificate for this repository.
pub fn sign(targets: &Targets, signers: &[TestKey]) -> Doc {
    Doc::of(DIALECT, targets, signers.iter().map(|key| (bare(*key).0, *key)))
}

/// Replaces the signers of a document.
pub fn signed_by<'a>(doc: &'a mut Doc, signers: &[TestKey]) -> &'a mut Doc {
    doc.signed_by(&[]);
    for signer in signers {
        doc.signed_as(bare(*signer).0.as_str(), *signer);
    }
    doc
}

/// Replaces the signers of a root.
pub fn root_signed_by<'a>(doc: &'a mut Doc, signers: &[(&Certificate, TestKey)]) -> &'a mut Doc {
    doc.signed_by(&[]);
    for (certificate, key) in signers {
        doc.signed_as(wrapped(certificate).0.as_str(), *key);
    }
    doc
}

/// A document of targets kind with these tags, version 1.
pub fn lists(tags: &[&str]) -> Targets {
    let mut edit = TargetsEdit::new(DIALECT, RoleName::Targets, Version::FIRST, later());
    for tag in tags {
        let length = u64::try_from(MANIFEST.len()).unwrap();
        edit.set_target(&tag.parse().unwrap(), Sha256Digest::of(MANIFEST), length);
    }
    edit.finish()
}

/// Lists the manifest under one more tag.
pub fn list<'a>(doc: &'a mut Doc, tag: &str) -> &'a mut Doc {
    let hashes = members([("sha256", base64(Sha256Digest::of(MANIFEST).as_bytes()))]);
    let length = Json::Integer(i64::try_from(MANIFEST.len()).unwrap());
    doc.set(&format!("targets/{tag}"), members([("hashes", hashes), ("length", length)]))
}

/// A delegation with one prefix for everything, and threshold 1.
pub fn delegation(wire: &str, keys: &[TestKey]) -> Delegation {
    Delegation {
        name: name(wire),
        keys: keys.iter().map(|key| KeyEntry::new(key.public())).collect(),
        threshold: Threshold::ONE,
        scope: Scope::Prefixes(vec![String::new()]),
        terminating: false,
    }
}

/// Delegates to one more role.
pub fn delegate<'a>(doc: &'a mut Doc, wire: &str, keys: &[TestKey]) -> &'a mut Doc {
    let mut edit = TargetsEdit::new(DIALECT, RoleName::Targets, Version::FIRST, later());
    edit.set_delegation(&delegation(wire, keys)).unwrap();
    let written = Doc::of(DIALECT, &edit.finish(), []);
    for (id, object) in written.get("delegations/keys").unwrap().as_object().unwrap() {
        doc.set(&format!("delegations/keys/{id}"), object.clone());
    }
    doc.push("delegations/roles", written.get("delegations/roles/0").unwrap().clone())
}

/// What a snapshot says of a document.
pub fn info(bytes: &[u8]) -> Json {
    let sha512 = bulla_keys_schema::digest::Sha512Digest::of(bytes);
    let hashes =
        [("sha256", base64(Sha256Digest::of(bytes).as_bytes())), ("sha512", base64(sha512.as_bytes()))];
    let length = Json::Integer(i64::try_from(bytes.len()).unwrap());
    members([("hashes", members(hashes)), ("length", length)])
}

pub fn base64(bytes: &[u8]) -> Json {
    Json::from(STANDARD.encode(bytes))
}

/// The root that the author room writes for these keys.
pub fn root_of(root: &[KeyEntry], targets: &[TestKey], snapshot: TestKey) -> Root {
    let bare = |keys: &[TestKey]| spec(keys.iter().map(|key| KeyEntry::new(key.public())).collect());
    let edit = RootEdit::first(
        DIALECT,
        &spec(root.to_vec()),
        &bare(targets),
        &bare(&[snapshot]),
        &bare(&[TIMESTAMP]),
        later(),
    );
    edit.unwrap().finish()
}

fn root(snapshot: TestKey) -> Doc {
    let root = root_of(&[certified(ROOT)], &[TARGETS], snapshot);
    let id = certificate_key_id(&certificate(ROOT, repository().as_str()));
    Doc::of(DIALECT, &root, [(id, ROOT)])
}

fn targets(tags: &[&str]) -> Doc {
    sign(&lists(tags), &[TARGETS])
}

fn snapshot(version: u64) -> Doc {
    let version = Version::new(version).unwrap();
    let snapshot = Snapshot { version, expires: later(), meta: BTreeMap::new(), extra: Object::new() };
    Doc::of(DIALECT, &snapshot, [(bare(OWNER).0, OWNER)])
}

fn spec(keys: Vec<KeyEntry>) -> RoleSpec {
    RoleSpec { keys, threshold: Threshold::ONE }
}
