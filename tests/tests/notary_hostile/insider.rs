//! Somebody who holds every key of one repository and signs whatever he likes.
//!
//! Documents are put together here as JSON, by hand: what no honest program writes can be
//! written, and what the product writes is not used to judge it.

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::notary1;
use bulla_keys_schema::digest::{Sha256Digest, Sha512Digest};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{Certificate, KeyAlgorithm, PublicKey, SecretKey, p256_signature_to_raw};
use bulla_keys_schema::time::UtcTime;
use bulla_tests::legacy::File;

const YEAR: i64 = 365 * 24 * 3600;

/// A key that nobody needs to keep secret, as documents declare it.
#[derive(Clone)]
pub(crate) struct Key {
    pub(crate) id: String,
    pub(crate) declared: Json,
    seed: Option<(KeyAlgorithm, u8)>,
}

impl Key {
    pub(crate) fn p256(number: u8) -> Self {
        Self::of(KeyAlgorithm::EcdsaP256, number)
    }

    pub(crate) fn ed25519(number: u8) -> Self {
        Self::of(KeyAlgorithm::Ed25519, number)
    }

    fn of(algorithm: KeyAlgorithm, number: u8) -> Self {
        let public = secret(algorithm, number).public_key().clone();
        Self { seed: Some((algorithm, number)), ..Self::public(&public) }
    }

    /// Somebody else's.
    pub(crate) fn public(key: &PublicKey) -> Self {
        Self::declared(notary1::key_object(key))
    }

    /// A root key: in a certificate for `name`, valid from `begins` to `ends`.
    pub(crate) fn certified(number: u8, serial: u8, name: &str, begins: UtcTime, ends: UtcTime) -> Self {
        let key = secret(KeyAlgorithm::EcdsaP256, number);
        let made = Certificate::self_signed(&key, name, [serial; 16], begins, ends);
        let pem = base64(made.expect("a certificate").pem().as_bytes());
        Self { seed: Some((KeyAlgorithm::EcdsaP256, number)), ..Self::declared(declare("ecdsa-x509", pem)) }
    }

    /// Nobody's, declared like this.
    pub(crate) fn declared(declared: Json) -> Self {
        Self { id: Sha256Digest::of(&canonical(&declared)).to_string(), declared, seed: None }
    }

    /// Its signature of `signed`, as documents carry it.
    pub(crate) fn sign(&self, signed: &Json) -> Json {
        let (algorithm, number) = self.seed.expect("a key of our own");
        let bytes = secret(algorithm, number).sign(&canonical(signed));
        let (method, bytes) = match algorithm {
            KeyAlgorithm::Ed25519 => ("eddsa", bytes),
            _ => ("ecdsa", p256_signature_to_raw(&bytes).expect("a signature").to_vec()),
        };
        object([
            ("keyid", self.id.as_str().into()),
            ("method", method.into()),
            ("sig", base64(&bytes).into()),
        ])
    }
}

fn secret(algorithm: KeyAlgorithm, number: u8) -> SecretKey {
    SecretKey::from_seed(algorithm, &[number; 32].into()).expect("a scalar")
}

/// What declares a key.
pub(crate) fn declare(keytype: &str, public: String) -> Json {
    let keyval = object([("private", Json::Null), ("public", public.into())]);
    object([("keytype", keytype.into()), ("keyval", keyval)])
}

/// An object with these members.
pub(crate) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// The same object with a member set, `None` to take it away; `path` is separated by slashes.
pub(crate) fn with(mut value: Json, path: &str, new: Option<Json>) -> Json {
    fn set(value: &mut Json, path: &str, new: Option<Json>) {
        let Json::Object(members) = value else { panic!("no object at {path}") };
        match (path.split_once('/'), new) {
            (Some((first, rest)), new) => set(members.get_mut(first).expect("a member"), rest, new),
            (None, Some(new)) => drop(members.insert(path.to_owned(), new)),
            (None, None) => drop(members.remove(path).expect("a member")),
        }
    }
    set(&mut value, path, new);
    value
}

/// A role of a document: whose keys, and how many must sign.
pub(crate) fn role(keys: &[&Key], threshold: i64) -> Json {
    let ids = keys.iter().map(|key| key.id.as_str().into()).collect();
    object([("keyids", Json::Array(ids)), ("threshold", Json::Integer(threshold))])
}

/// A delegation to the role with this wire name, for all tags.
pub(crate) fn delegation(name: &str, keys: &[&Key], threshold: i64) -> Json {
    let role = with(role(keys, threshold), "name", Some(name.into()));
    with(role, "paths", Some(Json::Array(vec!["".into()])))
}

pub(crate) fn table<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Json {
    Json::Object(keys.into_iter().map(|key| (key.id.clone(), key.declared.clone())).collect())
}

/// What a snapshot says of `bytes`.
pub(crate) fn info(bytes: &[u8]) -> Json {
    let sha256 = base64(Sha256Digest::of(bytes).as_bytes()).into();
    let sha512 = base64(Sha512Digest::of(bytes).as_bytes()).into();
    let length = Json::Integer(bytes.len() as i64);
    object([("hashes", object([("sha256", sha256), ("sha512", sha512)])), ("length", length)])
}

/// The bytes that Go writes around `signed`, with signatures of `keys`.
pub(crate) fn sign(signed: &Json, keys: &[&Key]) -> Vec<u8> {
    envelope(signed, keys.iter().map(|key| key.sign(signed)).collect())
}

/// The same with any signatures.
pub(crate) fn envelope(signed: &Json, signatures: Vec<Json>) -> Vec<u8> {
    let mut bytes = br#"{"signed":"#.to_vec();
    bytes.extend(signed.to_wire());
    bytes.extend(br#","signatures":"#);
    bytes.extend(Json::Array(signatures).to_wire());
    bytes.push(b'}');
    bytes
}

/// See the head of this file. He has two delegations, `targets/releases` and `targets/alice`,
/// both signed with alice's key.
#[derive(Clone)]
pub(crate) struct Insider {
    pub(crate) gun: String,
    pub(crate) now: UtcTime,
    pub(crate) root: Key,
    pub(crate) targets: Key,
    pub(crate) alice: Key,
    /// His own, or one of the server.
    pub(crate) snapshot: Key,
    pub(crate) timestamp: Key,
    /// Whose key nobody trusts.
    pub(crate) mallory: Key,
    /// Tags of each targets role.
    tags: BTreeMap<String, BTreeSet<String>>,
    /// What is published, by wire name.
    pub(crate) published: BTreeMap<String, (i64, Vec<u8>)>,
}

impl Insider {
    /// `snapshot` is the key of the server for that role; without it he holds one himself.
    pub(crate) fn new(gun: &str, now: UtcTime, timestamp: &PublicKey, snapshot: Option<&PublicKey>) -> Self {
        let (begins, ends) = (now.plus_seconds(-3600), now.plus_seconds(10 * YEAR));
        Self {
            gun: gun.to_owned(),
            now,
            root: Key::certified(1, 7, gun, begins, ends),
            targets: Key::p256(2),
            alice: Key::p256(4),
            snapshot: snapshot.map_or_else(|| Key::p256(3), Key::public),
            timestamp: Key::public(timestamp),
            mallory: Key::p256(9),
            tags: BTreeMap::new(),
            published: BTreeMap::new(),
        }
    }

    /// Whether the snapshots are his to sign.
    pub(crate) fn holds_snapshot(&self) -> bool {
        self.snapshot.seed.is_some()
    }

    /// The version that comes next.
    pub(crate) fn next(&self, wire: &str) -> i64 {
        self.published.get(wire).map_or(1, |(version, _)| version + 1)
    }

    pub(crate) fn header(&self, kind: &str, version: i64) -> Json {
        object([
            ("_type", kind.into()),
            ("expires", self.now.plus_seconds(3 * YEAR).to_string().into()),
            ("version", Json::Integer(version)),
        ])
    }

    pub(crate) fn root_document(&self, version: i64) -> Json {
        let Self { root, targets, snapshot, timestamp, .. } = self;
        let roles = object([
            ("root", role(&[root], 1)),
            ("targets", role(&[targets], 1)),
            ("snapshot", role(&[snapshot], 1)),
            ("timestamp", role(&[timestamp], 1)),
        ]);
        let document = with(self.header("Root", version), "roles", Some(roles));
        let document = with(document, "consistent_snapshot", Some(Json::Bool(false)));
        with(document, "keys", Some(table([root, targets, snapshot, timestamp])))
    }

    /// The document of a targets role with its tags.
    pub(crate) fn targets_document(&self, wire: &str, version: i64) -> Json {
        let tags = self.tags.get(wire).into_iter().flatten();
        let listed: Object = tags.map(|tag| (tag.clone(), image(tag))).collect();
        let (keys, roles) = match wire {
            "targets" => {
                let roles = ["targets/releases", "targets/alice"];
                (table([&self.alice]), roles.iter().map(|name| delegation(name, &[&self.alice], 1)).collect())
            }
            _ => (Json::Object(Object::new()), Vec::new()),
        };
        let delegations = object([("keys", keys), ("roles", Json::Array(roles))]);
        let document = with(self.header("Targets", version), "targets", Some(Json::Object(listed)));
        with(document, "delegations", Some(delegations))
    }

    /// A snapshot of what is published, with `files` in place of what they replace.
    pub(crate) fn snapshot_document(&self, version: i64, files: &[File]) -> Json {
        let mut meta: Object =
            self.published.iter().map(|(wire, (_, bytes))| (wire.clone(), info(bytes))).collect();
        meta.extend(files.iter().map(|(wire, bytes)| (wire.clone(), info(bytes))));
        meta.remove("snapshot");
        with(self.header("Snapshot", version), "meta", Some(Json::Object(meta)))
    }

    /// Who signs a targets role.
    pub(crate) fn signer(&self, wire: &str) -> &Key {
        if wire == "targets" { &self.targets } else { &self.alice }
    }

    /// `files`, and a snapshot of them if that is his to sign.
    pub(crate) fn complete(&self, mut files: Vec<File>) -> Vec<File> {
        if self.holds_snapshot() {
            let document = self.snapshot_document(self.next("snapshot"), &files);
            files.push(("snapshot".into(), sign(&document, &[&self.snapshot])));
        }
        files
    }

    /// The first publication: root, targets and both delegations.
    pub(crate) fn first(&mut self) -> Vec<File> {
        let root = sign(&self.root_document(1), &[&self.root]);
        let mut files = vec![("root".to_owned(), root)];
        for wire in ["targets", "targets/releases", "targets/alice"] {
            files.push((wire.into(), sign(&self.targets_document(wire, 1), &[self.signer(wire)])));
        }
        self.complete(files)
    }

    /// An honest publication: one more tag in each of `roles`.
    pub(crate) fn tagged(&mut self, roles: &[&str], tag: &str) -> Vec<File> {
        let mut files = Vec::new();
        for wire in roles {
            self.tags.entry((*wire).to_owned()).or_default().insert(tag.to_owned());
            files.push(self.file(wire, self.next(wire)));
        }
        self.complete(files)
    }

    /// The document of a targets role as it is, with this version.
    pub(crate) fn file(&self, wire: &str, version: i64) -> File {
        (wire.to_owned(), sign(&self.targets_document(wire, version), &[self.signer(wire)]))
    }

    /// Remembers what was accepted.
    pub(crate) fn accepted(&mut self, files: Vec<File>) {
        for (wire, bytes) in files {
            let document = Json::parse(&bytes).expect("JSON");
            let signed = document.as_object().and_then(|members| members.get("signed")?.as_object());
            let version = signed.and_then(|signed| signed.get("version")?.as_u64()).expect("a version");
            self.published.insert(wire, (i64::try_from(version).expect("small"), bytes));
        }
    }

    /// The tags that a reader has to see in `wire`.
    pub(crate) fn tags(&self, wire: &str) -> BTreeSet<String> {
        self.tags.get(wire).cloned().unwrap_or_default()
    }
}

/// In the one spelling that Go reads.
pub(crate) fn base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// What a targets role says of an image.
pub(crate) fn image(tag: &str) -> Json {
    let sha256 = base64(Sha256Digest::of(tag.as_bytes()).as_bytes());
    object([("hashes", object([("sha256", sha256.into())])), ("length", Json::Integer(tag.len() as i64))])
}
