//! Repositories in docker's layout whose snapshot the server signs, and uploads to them.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::author::{Delegation, Draft, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::{Dialect, notary1};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Certificate, KeyAlgorithm, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{KeyEntry, KeyTable, RoleKeys, Scope, Threshold, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;

const DIALECT: Dialect = Dialect::Notary1;
const BOUNDARY: &str = "bulla-load-5f0e9b1c";
const HOUR: i64 = 3600;
/// How long documents are valid. Clients of Notary sign anew what ends within half a year.
const LIFETIME: i64 = 3 * 365 * 24 * HOUR;

/// A tag: its name, and what its digest is computed over.
pub type Tag = (String, String);

/// The keys of an owner and of one signer, and what they sign.
pub struct Publisher {
    root: SecretKey,
    targets: SecretKey,
    signer: SecretKey,
    now: UtcTime,
}

impl Default for Publisher {
    fn default() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
        let now = i64::try_from(now).expect("before the end of time");
        let now = UtcTime::from_unix_seconds(now).expect("in the calendar");
        Self { root: key(11), targets: key(12), signer: key(13), now }
    }
}

impl Publisher {
    /// The first root of `repository`, whose online roles have these keys.
    ///
    /// # Panics
    /// The name is none.
    #[must_use]
    pub fn root(&self, repository: &str, snapshot: &PublicKey, timestamp: &PublicKey) -> Vec<u8> {
        let spec = |entry| RoleSpec { keys: vec![entry], threshold: Threshold::ONE };
        let bare = |key: &PublicKey| spec(KeyEntry::new(key.clone()));
        let begins = self.now.plus_seconds(-HOUR);
        let certificate = Certificate::self_signed(&self.root, repository, [7; 16], begins, self.expires());
        let root = RootEdit::first(
            DIALECT,
            &spec(KeyEntry::certified(certificate.expect("a certificate"))),
            &bare(self.targets.public_key()),
            &bare(snapshot),
            &bare(timestamp),
            self.expires(),
        );
        let root = Draft::new(DIALECT, root.expect("one key each").finish());
        root.sign_root(&[&self.root], None).expect("signed by its key").bytes().to_vec()
    }

    /// The owner's document with `tags`, which delegates everything to the signer in `roles`.
    #[must_use]
    pub fn targets(&self, version: u64, tags: &[Tag], roles: &[&str]) -> Vec<u8> {
        self.document("targets", version, tags, roles, &self.targets)
    }

    /// The signer's document of `role` with `tags`.
    #[must_use]
    pub fn delegated(&self, role: &str, version: u64, tags: &[Tag]) -> Vec<u8> {
        self.document(role, version, tags, &[], &self.signer)
    }

    fn document(
        &self,
        role: &str,
        version: u64,
        tags: &[Tag],
        delegates: &[&str],
        key: &SecretKey,
    ) -> Vec<u8> {
        let version = Version::new(version).expect("versions are counted from 1");
        let mut edit = TargetsEdit::new(DIALECT, wire_role(role), version, self.expires());
        for (name, content) in tags {
            let digest = Sha256Digest::of(content.as_bytes());
            edit.set_target(&name.parse().expect("a tag"), digest, content.len() as u64);
        }
        for role in delegates {
            let RoleName::Delegated(name) = wire_role(role) else { panic!("{role} is no delegation") };
            let keys = vec![KeyEntry::new(self.signer.public_key().clone())];
            let scope = Scope::Prefixes(vec![String::new()]);
            let delegation = Delegation { name, keys, threshold: Threshold::ONE, scope, terminating: false };
            edit.set_delegation(&delegation).expect("one key");
        }
        let id = DIALECT.key_id(key.public_key(), None);
        let table = KeyTable::from([(id.clone(), KeyEntry::new(key.public_key().clone()))]);
        let keys = RoleKeys { key_ids: vec![id], threshold: Threshold::ONE };
        let signers: [&dyn Signer; 1] = [key];
        let signed = Draft::new(DIALECT, edit.finish()).sign(&signers, &keys, &table);
        signed.expect("signed by its key").bytes().to_vec()
    }

    fn expires(&self) -> UtcTime {
        self.now.plus_seconds(LIFETIME)
    }
}

/// A request with no body, for a connection of its own or not, with the headers that Go sends.
#[must_use]
pub fn request(method: &str, path: &str, close: bool, gzip: bool) -> Vec<u8> {
    let close = if close { "Connection: close\r\n" } else { "" };
    let gzip = if gzip { "Accept-Encoding: gzip\r\n" } else { "" };
    let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
    format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\n{length}{gzip}{close}\r\n"
    )
    .into_bytes()
}

/// The request that uploads `files` (role and bytes) to `repository`, as Go sends it.
#[must_use]
pub fn upload(repository: &str, files: &[(&str, &[u8])], close: bool) -> Vec<u8> {
    let mut body = Vec::new();
    for (role, bytes) in files {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"files\"; filename=\"{role}\"\r\n\
             Content-Type: application/octet-stream\r\n\r\n"
        );
        body.extend([head.as_bytes(), bytes, b"\r\n"].concat());
    }
    body.extend(format!("--{BOUNDARY}--\r\n").as_bytes());
    let mut head = format!(
        "POST /v2/{repository}/_trust/tuf/ HTTP/1.1\r\nHost: localhost\r\nUser-Agent: Go-http-client/1.1\r\n\
         Content-Length: {}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n",
        body.len()
    );
    if close {
        head.push_str("Connection: close\r\n");
    }
    let _infallible = write!(head, "Accept-Encoding: gzip\r\n\r\n");
    [head.into_bytes(), body].concat()
}

/// A key as servers of Notary write their Ed25519 keys.
#[must_use]
pub fn read_key(body: &[u8]) -> Option<PublicKey> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let raw = STANDARD.decode(body.pointer("/keyval/public")?.as_str()?).ok()?;
    PublicKey::from_ed25519_bytes(raw.as_slice().try_into().ok()?).ok()
}

fn wire_role(role: &str) -> RoleName {
    notary1::role_from_wire(role).expect("a role")
}

/// A key that nobody needs to keep secret.
fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[number; 32].into()).expect("a scalar")
}
