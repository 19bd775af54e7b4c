//! Backups of a home: what is in one, how one is written, and what it could bring back.
//!
//! A backup is one JSON document, which stands in an encrypted file. Private keys are in it as
//! they are at rest, each under its own passphrase: whoever opens a backup holds no key yet.

mod coverage;
mod share;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::key::{KeyName, KeySidecar, PublicKey, SealedKey};
use crate::limits;
use crate::names::RepositoryName;
use crate::time::UtcTime;

pub use coverage::{RoleCover, of_root, of_targets};
pub use share::{
    InvalidShare, InvalidSplit, JoinError, MAX_SHARES, Share, Split, join, random_bytes_to_split, split,
};

/// Names the one version of the format.
const SCHEMA: &str = "bulla/backup/v1";
/// Largest document, in bytes: a thousand keys, and the roots of some thousand repositories.
pub const BACKUP_BYTES: usize = 32 * 1024 * 1024;
/// Most keys in one.
const KEYS: usize = 4096;
/// Most repositories whose roots are in one.
const REPOSITORIES: usize = 16_384;

/// What is in a backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// Tells it from every other.
    pub id: BackupId,
    /// When it was made.
    pub created: UtcTime,
    /// The keys; no two have one name.
    pub keys: Vec<BackupKey>,
    /// The file of pins, as it was.
    pub pins: String,
    /// Root documents; no two entries are for one repository.
    pub repositories: Vec<KnownRoots>,
}

/// One key, as its three files say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupKey {
    /// The description, with the name.
    pub sidecar: KeySidecar,
    /// The public key, which is the one described.
    pub public: PublicKey,
    /// The private key under its own passphrase. Whether it is the other half shows when it is
    /// opened.
    pub sealed: SealedKey,
}

/// The roots of a repository from the pinned one to the newest that was known. Nothing is
/// trusted because it stands here: whoever uses them verifies them from a pin on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownRoots {
    /// The repository.
    pub repository: RepositoryName,
    /// How they are written.
    pub dialect: Dialect,
    /// The documents, oldest first.
    pub roots: Vec<Bytes>,
}

/// Names one backup: 128 random bits, as 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BackupId(pub [u8; 16]);

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for BackupId {
    type Err = InvalidBackupId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = Self([0; 16]);
        hex::decode_to_slice(text, &mut id.0).map_err(|_| InvalidBackupId)?;
        if id.to_string() == text { Ok(id) } else { Err(InvalidBackupId) }
    }
}

/// The text names no backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a backup: 32 lower case hex digits")]
pub struct InvalidBackupId;

impl Backup {
    /// Reads the document.
    ///
    /// # Errors
    /// See [`InvalidBackup`]. No passphrase is needed to find out.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidBackup> {
        if bytes.len() > BACKUP_BYTES {
            return Err(InvalidBackup::TooLarge);
        }
        let structure = |error: serde_json::Error| InvalidBackup::Structure { reason: error.to_string() };
        // First, because another version may have other members.
        let Versioned { schema } = serde_json::from_slice(bytes).map_err(structure)?;
        if schema != SCHEMA {
            return Err(InvalidBackup::Version);
        }
        let document: Document = serde_json::from_slice(bytes).map_err(structure)?;
        if document.keys.len() > KEYS || document.repositories.len() > REPOSITORIES {
            return Err(InvalidBackup::TooLarge);
        }
        let mut names = BTreeSet::new();
        let mut keys = Vec::with_capacity(document.keys.len());
        for entry in document.keys {
            let key = entry.read()?;
            if !names.insert(key.sidecar.name.clone()) {
                return Err(InvalidBackup::KeyTwice { name: key.sidecar.name });
            }
            keys.push(key);
        }
        let mut seen = BTreeSet::new();
        let mut repositories = Vec::with_capacity(document.repositories.len());
        for entry in document.repositories {
            let known = entry.read()?;
            if !seen.insert(known.repository.clone()) {
                return Err(InvalidBackup::RepositoryTwice { repository: known.repository });
            }
            repositories.push(known);
        }
        Ok(Self {
            id: member("id", &document.id)?,
            created: member("created", &document.created)?,
            keys,
            pins: document.pins,
            repositories,
        })
    }

    /// The document: indented JSON and a line feed.
    ///
    /// # Errors
    /// It would be larger than what is read.
    pub fn to_bytes(&self) -> Result<Vec<u8>, InvalidBackup> {
        let document = Document {
            schema: SCHEMA.to_owned(),
            id: self.id.to_string(),
            created: self.created.to_string(),
            keys: self.keys.iter().map(KeyEntry::from).collect(),
            pins: self.pins.clone(),
            repositories: self.repositories.iter().map(RootsEntry::from).collect(),
        };
        #[expect(clippy::expect_used, reason = "texts and lists of texts always have a JSON form")]
        let mut bytes = serde_json::to_vec_pretty(&document).expect("plain values");
        bytes.push(b'\n');
        let fits = bytes.len() <= BACKUP_BYTES
            && self.keys.len() <= KEYS
            && self.repositories.len() <= REPOSITORIES
            && self.repositories.iter().all(|known| known.roots.len() <= ROOTS);
        if fits { Ok(bytes) } else { Err(InvalidBackup::TooLarge) }
    }

    /// The roots of `repository`.
    #[must_use]
    pub fn roots(&self, repository: &RepositoryName) -> Option<&KnownRoots> {
        self.repositories.iter().find(|known| known.repository == *repository)
    }
}

/// Most roots of one repository: what one refresh walks, and the one it starts from.
const ROOTS: usize = limits::ROOT_STEPS + 1;

/// Why bytes are no backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBackup {
    /// A key's files cannot be used.
    #[error("invalid backup: key {name:?}: {reason}")]
    Key {
        /// The name that the backup gives it.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two keys have one name.
    #[error("invalid backup: two keys are named {name}")]
    KeyTwice {
        /// The name.
        name: KeyName,
    },
    /// A member whose text means nothing.
    #[error("invalid backup: {member}: {reason}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The description and the public key are of different keys, or of another name.
    #[error("invalid backup: the description of key {name} is that of another key")]
    OtherKey {
        /// The key.
        name: KeyName,
    },
    /// Two lists of roots for one repository.
    #[error("invalid backup: {repository} is listed twice")]
    RepositoryTwice {
        /// The repository.
        repository: RepositoryName,
    },
    /// Bad JSON, or missing, unknown or repeated members.
    #[error("invalid backup: {reason}")]
    Structure {
        /// Where and why.
        reason: String,
    },
    /// Larger than what is read.
    #[error("a backup holds at most 32 MiB, 4096 keys, and 257 roots of each of 16384 repositories")]
    TooLarge,
    /// Another version of the format.
    #[error("invalid backup: this program knows {SCHEMA} only")]
    Version,
}

#[derive(Deserialize)]
struct Versioned {
    schema: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Document {
    schema: String,
    id: String,
    created: String,
    keys: Vec<KeyEntry>,
    pins: String,
    repositories: Vec<RootsEntry>,
}

/// The texts of the three files.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct KeyEntry {
    name: String,
    private_key: String,
    public_key: String,
    description: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct RootsEntry {
    repository: String,
    mode: Mode,
    roots: Vec<String>,
}

#[derive(Clone, Copy, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Spec,
    Legacy,
}

impl KeyEntry {
    fn read(self) -> Result<BackupKey, InvalidBackup> {
        let bad = |reason: String| InvalidBackup::Key { name: self.name.clone(), reason };
        let name: KeyName = self.name.parse().map_err(|error| bad(format!("{error}")))?;
        let sealed = SealedKey::parse(&self.private_key).map_err(|error| bad(error.to_string()))?;
        let public = PublicKey::from_pem(&self.public_key).map_err(|error| bad(error.to_string()))?;
        let sidecar =
            KeySidecar::parse(self.description.as_bytes()).map_err(|error| bad(error.to_string()))?;
        if sidecar.name != name || sidecar.fingerprint != public.fingerprint() {
            return Err(InvalidBackup::OtherKey { name });
        }
        if sidecar.loaded.is_some() {
            // It would have the private key read from somewhere else.
            return Err(bad("its description names another place for the private key".to_owned()));
        }
        Ok(BackupKey { sidecar, public, sealed })
    }
}

impl From<&BackupKey> for KeyEntry {
    fn from(key: &BackupKey) -> Self {
        Self {
            name: key.sidecar.name.to_string(),
            private_key: key.sealed.to_pem(),
            public_key: key.public.to_pem(),
            description: String::from_utf8_lossy(&key.sidecar.to_bytes()).into_owned(),
        }
    }
}

impl RootsEntry {
    fn read(self) -> Result<KnownRoots, InvalidBackup> {
        let repository = member("repositories.repository", &self.repository)?;
        if self.roots.len() > ROOTS {
            return Err(InvalidBackup::TooLarge);
        }
        let bad = |reason: &str| InvalidBackup::Member {
            member: "repositories.roots",
            reason: format!("of {repository}: {reason}"),
        };
        let mut roots = Vec::with_capacity(self.roots.len());
        for text in &self.roots {
            let root = STANDARD.decode(text).map_err(|_| bad("not base64"))?;
            if root.len() > limits::ROOT_BYTES {
                return Err(bad("larger than a root may be"));
            }
            roots.push(root.into());
        }
        let dialect = match self.mode {
            Mode::Spec => Dialect::Tuf1,
            Mode::Legacy => Dialect::Notary1,
        };
        Ok(KnownRoots { repository, dialect, roots })
    }
}

impl From<&KnownRoots> for RootsEntry {
    fn from(known: &KnownRoots) -> Self {
        Self {
            repository: known.repository.to_string(),
            mode: match known.dialect {
                Dialect::Tuf1 => Mode::Spec,
                Dialect::Notary1 => Mode::Legacy,
            },
            roots: known.roots.iter().map(|root| STANDARD.encode(root)).collect(),
        }
    }
}

fn member<T: FromStr<Err: fmt::Display>>(member: &'static str, text: &str) -> Result<T, InvalidBackup> {
    text.parse().map_err(|error: T::Err| InvalidBackup::Member { member, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::key::{KeyAlgorithm, KeySource, LoadedKey, Passphrase, SecretKey};

    fn key(name: &str, seed: u8) -> BackupKey {
        let secret = SecretKey::from_seed(KeyAlgorithm::Ed25519, &Zeroizing::new([seed; 32])).unwrap();
        let sealed = SealedKey::seal(&secret, &Passphrase::new("p".to_owned()), [seed; 32], [seed; 24]);
        let public = secret.public_key().clone();
        let sidecar = KeySidecar {
            name: name.parse().unwrap(),
            fingerprint: public.fingerprint(),
            algorithm: public.algorithm(),
            created: "2026-11-01T10:20:30Z".parse().unwrap(),
            roles: vec![],
            loaded: None,
        };
        BackupKey { sidecar, public, sealed }
    }

    fn backup() -> Backup {
        Backup {
            id: BackupId([0xab; 16]),
            created: "2026-11-02T10:20:30Z".parse().unwrap(),
            keys: vec![key("root", 1), key("targets", 2)],
            pins: "version = 1\n".to_owned(),
            repositories: vec![KnownRoots {
                repository: "registry.example.com/app".parse().unwrap(),
                dialect: Dialect::Notary1,
                roots: vec![Bytes::from_static(b"{}"), Bytes::from_static(b"[1]")],
            }],
        }
    }

    fn changed(from: &str, to: &str) -> Result<Backup, InvalidBackup> {
        let text = String::from_utf8(backup().to_bytes().unwrap()).unwrap();
        let other = text.replacen(from, to, 1);
        assert_ne!(text, other, "{from}");
        Backup::parse(other.as_bytes())
    }

    #[test]
    fn round_trips() {
        let bytes = backup().to_bytes().unwrap();
        assert_eq!(Backup::parse(&bytes), Ok(backup()));
        let empty = Backup { keys: vec![], repositories: vec![], pins: String::new(), ..backup() };
        assert_eq!(Backup::parse(&empty.to_bytes().unwrap()), Ok(empty));
        assert_eq!(backup().roots(&"registry.example.com/app".parse().unwrap()).unwrap().roots.len(), 2);
        assert_eq!(backup().roots(&"registry.example.com/other".parse().unwrap()), None);
    }

    #[test]
    fn key_names_never_lead_out_of_a_folder() {
        for name in ["../root", "/etc/passwd", "a/b", "..", "", ".ssh", "a\\u0000"] {
            let refused = changed("\"name\": \"root\"", &format!("\"name\": \"{name}\""));
            assert!(matches!(refused, Err(InvalidBackup::Key { .. })), "{name}: {refused:?}");
        }
        // The description names its key too.
        let refused = changed("\\\"name\\\": \\\"root\\\"", "\\\"name\\\": \\\"toor\\\"");
        assert_eq!(refused, Err(InvalidBackup::OtherKey { name: "root".parse().unwrap() }));
    }

    #[test]
    fn a_key_file_of_another_public_key_is_refused() {
        let other = key("root", 9);
        let mut wrong = backup();
        wrong.keys[0].public = other.public;
        let refused = Backup::parse(&wrong.to_bytes().unwrap());
        assert_eq!(refused, Err(InvalidBackup::OtherKey { name: "root".parse().unwrap() }));
    }

    #[test]
    fn no_key_is_sent_for_to_another_place() {
        let mut loaded = backup();
        let source = KeySource::file("/etc/shadow").unwrap();
        loaded.keys[1].sidecar.loaded =
            Some(LoadedKey { source, until: "2099-01-01T00:00:00Z".parse().unwrap() });
        let refused = Backup::parse(&loaded.to_bytes().unwrap());
        assert!(matches!(refused, Err(InvalidBackup::Key { .. })), "{refused:?}");
    }

    #[test]
    fn refuses_unknown_and_repeated_members_and_other_versions() {
        assert_eq!(changed("bulla/backup/v1", "bulla/backup/v2"), Err(InvalidBackup::Version));
        assert_eq!(changed("bulla/backup/v1\"", "bulla/backup/v2\",\"new\":1"), Err(InvalidBackup::Version));
        for (from, to) in [
            ("\"id\"", "\"ident\""),
            ("\"id\"", "\"extra\": 1, \"id\""),
            ("\"id\"", "\"id\": \"00\", \"id\""),
            ("\"private_key\"", "\"secret\": \"x\", \"private_key\""),
            ("\"mode\"", "\"level\": 1, \"mode\""),
            ("\"legacy\"", "\"dual\""),
            ("\n}\n", "\n} {}"),
        ] {
            let refused = changed(from, to);
            assert!(matches!(refused, Err(InvalidBackup::Structure { .. })), "{from} -> {to}: {refused:?}");
        }
        for (from, to, wrong) in [
            ("\"abab", "\"ABAB", "id"),
            ("2026-11-02T", "2026-11-02 ", "created"),
            ("registry.example.com/app", "registry.example.com/../app", "repositories.repository"),
            ("\"e30=\"", "\"e30\"", "repositories.roots"),
        ] {
            let refused = changed(from, to);
            assert!(
                matches!(&refused, Err(InvalidBackup::Member { member, .. }) if *member == wrong),
                "{from}: {refused:?}"
            );
        }
    }

    #[test]
    fn refuses_what_is_there_twice_or_too_often() {
        let mut twice = backup();
        twice.keys.push(key("root", 1));
        let name = "root".parse().unwrap();
        assert_eq!(Backup::parse(&twice.to_bytes().unwrap()), Err(InvalidBackup::KeyTwice { name }));
        let mut twice = backup();
        twice.repositories.push(twice.repositories[0].clone());
        let refused = Backup::parse(&twice.to_bytes().unwrap());
        assert!(matches!(refused, Err(InvalidBackup::RepositoryTwice { .. })), "{refused:?}");
        let mut long = backup();
        long.repositories[0].roots = vec![Bytes::from_static(b"{}"); ROOTS + 1];
        assert_eq!(long.to_bytes(), Err(InvalidBackup::TooLarge));
        assert_eq!(Backup::parse(&vec![b' '; BACKUP_BYTES + 1]), Err(InvalidBackup::TooLarge));
    }

    #[test]
    fn a_cut_document_is_refused() {
        let bytes = backup().to_bytes().unwrap();
        for end in (0..bytes.len() - 2).step_by(7) {
            assert!(Backup::parse(&bytes[..end]).is_err(), "cut at {end}");
        }
    }
}
