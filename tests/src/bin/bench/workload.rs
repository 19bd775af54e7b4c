//! Uploads as a release pipeline makes them, signed before the clock starts.
//!
//! What a document says follows from its version alone, so a chain of uploads can be
//! continued from wherever a round ended.

use std::fmt::Write as _;

use bulla_keys_schema::author::{Delegation, Draft, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{
    Children, Delegations, KeyEntry, RoleKeys, Scope, Targets, Threshold, Version,
};
use bulla_keys_schema::names::{DelegatedRoleName, RELEASES, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire;

/// Separates the parts of an upload.
pub const BOUNDARY: &str = "bulla-benchmark-5f0e9b1c";
/// Tags of one repository; each publish moves one of them.
const TAGS: u64 = 8;
/// 2036-01-01: nothing expires during a benchmark.
const EXPIRES: i64 = 2_082_758_400;
const DIALECT: Dialect = Dialect::Tuf1;

/// The body of one upload, ready to be sent.
pub type Body = Vec<u8>;

/// Keys and delegations of a repository, apart from its name and its online keys.
pub struct Publishers {
    admin: SecretKey,
    signers: Vec<(DelegatedRoleName, SecretKey)>,
    delegations: Delegations,
    expires: UtcTime,
}

impl Publishers {
    /// One signer, who writes its own role and `releases` with every publish.
    pub fn single() -> Self {
        Self::new(1)
    }

    /// Several signers, each of whom writes a role of its own and nothing else.
    pub fn new(signers: usize) -> Self {
        let signers: Vec<_> = (0..signers)
            .map(|at| (parse::<DelegatedRoleName>(&format!("ci-{at}")), key(at as u64 + 1)))
            .collect();
        let mut edit = TargetsEdit::new(Dialect::Tuf1, RoleName::Targets, Version::FIRST, expires());
        let everyone = signers.iter().map(|(_, key)| key.public_key().clone()).collect();
        set_delegation(&mut edit, parse(RELEASES), everyone);
        for (name, key) in &signers {
            set_delegation(&mut edit, name.clone(), vec![key.public_key().clone()]);
        }
        let delegations = edit.finish().delegations.expect("delegations were just made");
        Self { admin: key(0), signers, delegations, expires: expires() }
    }

    /// How many signers there are.
    pub fn signers(&self) -> usize {
        self.signers.len()
    }

    /// The fingerprint of the key that signs root.
    pub fn root_key(&self) -> String {
        self.admin.public_key().fingerprint().to_string()
    }

    /// A target of the first version, and its digest.
    pub fn first_target(&self) -> (String, Sha256Digest) {
        (target_name(0, 0), target_digest(0, 0, 0))
    }

    /// The upload that creates a repository with these online keys.
    pub fn creation(&self, online: &wire::OnlineKeys) -> Body {
        let admin = RoleSpec {
            keys: vec![KeyEntry::new(self.admin.public_key().clone())],
            threshold: Threshold::ONE,
        };
        let held = |key: &wire::OnlineKey| RoleSpec {
            keys: vec![KeyEntry::new(
                PublicKey::from_pem(&key.public_key).expect("the server's key is readable"),
            )],
            threshold: Threshold::ONE,
        };
        let (snapshot, timestamp) = (held(&online.snapshot), held(&online.timestamp));
        let root = RootEdit::first(Dialect::Tuf1, &admin, &admin, &snapshot, &timestamp, self.expires);
        let root = root.expect("each role has one key").finish();
        let signed = Draft::new(DIALECT, root.clone()).sign_root(&[&self.admin], None);
        let mut body = Body::new();
        add_part(&mut body, "1.root", signed.expect("the root is signed by its key").bytes());

        let mut targets =
            TargetsEdit::new(Dialect::Tuf1, RoleName::Targets, Version::FIRST, self.expires).finish();
        targets.delegations = Some(self.delegations.clone());
        let signed = Draft::new(DIALECT, targets).sign(&[&self.admin], &root.targets, &root.keys);
        add_part(&mut body, "1.targets", signed.expect("targets are signed by their key").bytes());
        let releases = match self.signers.len() {
            1 => self.sign(RELEASES, 0, Version::FIRST),
            // Signers who write their own roles only leave `releases` empty.
            _ => self.sign_document(
                RELEASES,
                0,
                TargetsEdit::new(Dialect::Tuf1, parse(RELEASES), Version::FIRST, self.expires).finish(),
            ),
        };
        add_part(&mut body, "1.releases", &releases);
        for (at, (name, _)) in self.signers.iter().enumerate() {
            add_part(&mut body, &format!("1.{name}"), &self.sign(name.as_str(), at, Version::FIRST));
        }
        close(&mut body);
        body
    }

    /// The upload of `version` by the signer at `at`: one tag moves. A single signer writes
    /// it into `releases` too.
    pub fn update(&self, at: usize, version: u64) -> Body {
        let version = Version::new(version).expect("versions are counted from 2");
        let name = self.signers[at].0.as_str();
        let mut body = Body::with_capacity(4096);
        if self.signers.len() == 1 {
            add_part(&mut body, &format!("{version}.{RELEASES}"), &self.sign(RELEASES, at, version));
        }
        add_part(&mut body, &format!("{version}.{name}"), &self.sign(name, at, version));
        close(&mut body);
        body
    }

    fn sign(&self, role: &str, signer: usize, version: Version) -> Vec<u8> {
        let mut edit = TargetsEdit::new(Dialect::Tuf1, parse(role), version, self.expires);
        for tag in 0..TAGS {
            // The last version up to this one whose turn the tag was.
            let moved = (0..=version.get()).rev().find(|at| at % TAGS == tag).unwrap_or(0);
            let digest = target_digest(signer, tag, moved);
            edit.set_target(&parse(&target_name(signer, tag)), digest, 1024 + moved);
        }
        self.sign_document(role, signer, edit.finish())
    }

    fn sign_document(&self, role: &str, signer: usize, document: Targets) -> Vec<u8> {
        let keys = self.role_keys(role);
        let signers: [&dyn Signer; 1] = [&self.signers[signer].1];
        let signed = Draft::new(DIALECT, document).sign(&signers, keys, &self.delegations.keys);
        signed.expect("the signer may sign its role").bytes().to_vec()
    }

    fn role_keys(&self, role: &str) -> &RoleKeys {
        let Children::Roles(roles) = &self.delegations.children else { panic!("roles were set one by one") };
        &roles.iter().find(|child| child.name.as_str() == role).expect("the role is delegated").keys
    }
}

fn target_name(signer: usize, tag: u64) -> String {
    format!("{signer}.{tag}")
}

fn target_digest(signer: usize, tag: u64, moved: u64) -> Sha256Digest {
    Sha256Digest::of(format!("{signer} {tag} {moved}").as_bytes())
}

fn set_delegation(edit: &mut TargetsEdit, name: DelegatedRoleName, keys: Vec<PublicKey>) {
    let scope = Scope::Paths(vec![parse("*")]);
    let keys = keys.into_iter().map(KeyEntry::new).collect();
    let delegation = Delegation { name, keys, threshold: Threshold::ONE, scope, terminating: false };
    edit.set_delegation(&delegation).expect("each key stands once");
}

/// A key that nobody needs to keep secret.
fn key(number: u64) -> SecretKey {
    let mut seed = [7; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_seed(KeyAlgorithm::Ed25519, &seed.into()).expect("every seed makes an Ed25519 key")
}

fn expires() -> UtcTime {
    UtcTime::from_unix_seconds(EXPIRES).expect("the year 2036 exists")
}

fn parse<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("the benchmark's names are valid")
}

fn add_part(body: &mut Body, document: &str, bytes: &[u8]) {
    let mut head = String::new();
    let _ = write!(
        head,
        "--{BOUNDARY}\r\ncontent-disposition: form-data; name=\"{}\"; filename=\"{document}.json\"\r\n\r\n",
        wire::METADATA_PART
    );
    body.extend_from_slice(head.as_bytes());
    body.extend_from_slice(bytes);
    body.extend_from_slice(b"\r\n");
}

fn close(body: &mut Body) {
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
}
