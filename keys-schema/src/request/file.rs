//! The file format of signing requests: one JSON text, bounded and strict.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::dialect::Dialect;
use crate::key::Fingerprint;
use crate::limits;
use crate::metadata::Version;
use crate::names::{RepositoryName, RoleName};
use crate::request::{BaseDocument, PlainText, RequestId};
use crate::time::UtcTime;

/// The one version of the format.
const SCHEMA_VERSION: u32 = 1;
const KIND: &str = "signing-request";

/// A change that waits for signatures, as somebody wrote it. Good for nothing before it is
/// [opened](Self::open).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningRequest {
    /// Names it.
    pub id: RequestId,
    /// The repository that it would change.
    pub repository: RepositoryName,
    /// How the repository is written.
    pub dialect: Dialect,
    /// The current documents that it builds on; none for a new repository.
    pub base: BTreeMap<RoleName, BaseDocument>,
    /// Why, in the words of whoever made it.
    pub reason: PlainText,
    /// Who made it, in his own words.
    pub created_by: PlainText,
    /// When it was made.
    pub created_at: UtcTime,
    /// When it closes by itself.
    pub not_after: UtcTime,
    /// New documents, with the signatures that they have so far.
    pub documents: BTreeMap<RoleName, Bytes>,
    /// Bytes of targets.
    pub files: Vec<Bytes>,
    /// What the author of the request calls the keys. Anybody can call a key `alice`.
    pub holders: BTreeMap<Fingerprint, PlainText>,
}

impl SigningRequest {
    /// Reads a request.
    ///
    /// # Errors
    /// Beyond the bounds of [`limits`], or not JSON of the known version with exactly the known
    /// members.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        if bytes.len() > limits::REQUEST_BYTES {
            return Err(InvalidRequest::TooLarge { limit: limits::REQUEST_BYTES });
        }
        Self::from_file(&parse_json(bytes)?)
    }

    /// The JSON text and a line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write_json(&self.to_file())
    }

    pub(super) fn from_file(file: &File) -> Result<Self, InvalidRequest> {
        require_kind(file.schema_version, &file.kind, KIND)?;
        bound("documents", file.documents.len(), limits::REQUEST_DOCUMENTS)?;
        bound("base", file.base.len(), limits::DELEGATIONS)?;
        bound("holders", file.holders.len(), limits::KEYS)?;
        let created_at = time("created_at", &file.created_at)?;
        let not_after = time("not_after", &file.not_after)?;
        if !(1..=limits::REQUEST_SECONDS).contains(&not_after.seconds_since(created_at)) {
            return Err(invalid("not_after", "expected up to 90 days after created_at"));
        }
        let base = file.base.iter().map(|document| {
            let version = Version::new(document.version);
            let version = version.ok_or_else(|| invalid("base.version", "expected a number from 1"))?;
            let sha256 = member("base.sha256", &document.sha256)?;
            Ok((member("base.role", &document.role)?, BaseDocument { version, sha256 }))
        });
        let holders = file.holders.iter().map(|holder| {
            Ok((member("holders.fingerprint", &holder.fingerprint)?, member("holders.name", &holder.name)?))
        });
        let files = file.files.iter().map(|text| decode("files", text));
        Ok(Self {
            id: member("id", &file.id)?,
            repository: member("repository", &file.repository)?,
            dialect: read_mode(&file.mode)?,
            base: unique("base.role", base)?,
            reason: member("reason", &file.reason)?,
            created_by: member("created_by", &file.created_by)?,
            created_at,
            not_after,
            documents: read_documents(&file.documents)?,
            files: files.collect::<Result<_, _>>()?,
            holders: unique("holders.fingerprint", holders)?,
        })
    }

    pub(super) fn to_file(&self) -> File {
        let base = self.base.iter().map(|(role, document)| Base {
            role: role.to_string(),
            version: document.version.get(),
            sha256: document.sha256.to_string(),
        });
        let holders = self.holders.iter().map(|(fingerprint, name)| Holder {
            fingerprint: fingerprint.to_string(),
            name: name.to_string(),
        });
        File {
            schema_version: SCHEMA_VERSION,
            kind: KIND.to_owned(),
            id: self.id.to_string(),
            repository: self.repository.to_string(),
            mode: mode(self.dialect).to_owned(),
            base: base.collect(),
            reason: self.reason.to_string(),
            created_by: self.created_by.to_string(),
            created_at: self.created_at.to_string(),
            not_after: self.not_after.to_string(),
            documents: write_documents(&self.documents),
            files: self.files.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
            holders: holders.collect(),
        }
    }
}

/// Why bytes are no signing request, no export of one, or no file of signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRequest {
    /// It is a file of another kind.
    #[error("this is a file of kind {found}, expected {expected}")]
    Kind {
        /// What it says.
        found: String,
        /// What was expected.
        expected: &'static str,
    },
    /// A member whose text means nothing.
    #[error("{member}: {reason}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Bad JSON, or missing, unknown or repeated members.
    #[error("{reason}")]
    Structure {
        /// What and where.
        reason: String,
    },
    /// More bytes than such a file may have.
    #[error("larger than {limit} bytes")]
    TooLarge {
        /// How many it may have.
        limit: usize,
    },
    /// Written by a newer program.
    #[error("unknown schema_version {found}")]
    Version {
        /// What it says.
        found: u32,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    schema_version: u32,
    kind: String,
    id: String,
    repository: String,
    mode: String,
    base: Vec<Base>,
    reason: String,
    created_by: String,
    created_at: String,
    not_after: String,
    documents: Vec<Metadata>,
    files: Vec<String>,
    holders: Vec<Holder>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Base {
    role: String,
    version: u64,
    sha256: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metadata {
    role: String,
    metadata: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Holder {
    fingerprint: String,
    name: String,
}

pub(super) const fn mode(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Notary1 => "legacy",
        Dialect::Tuf1 => "spec",
    }
}

fn read_mode(text: &str) -> Result<Dialect, InvalidRequest> {
    let known = [Dialect::Tuf1, Dialect::Notary1].into_iter().find(|dialect| mode(*dialect) == text);
    known.ok_or_else(|| invalid("mode", "expected spec or legacy"))
}

pub(super) fn read_documents(listed: &[Metadata]) -> Result<BTreeMap<RoleName, Bytes>, InvalidRequest> {
    let documents = listed.iter().map(|document| {
        let role: RoleName = member("documents.role", &document.role)?;
        let bytes = decode("documents.metadata", &document.metadata)?;
        if bytes.len() > role.byte_limit() {
            return Err(InvalidRequest::TooLarge { limit: role.byte_limit() });
        }
        Ok((role, bytes))
    });
    unique("documents.role", documents)
}

pub(super) fn write_documents(documents: &BTreeMap<RoleName, Bytes>) -> Vec<Metadata> {
    let write = |(role, bytes): (&RoleName, &Bytes)| Metadata {
        role: role.to_string(),
        metadata: STANDARD.encode(bytes),
    };
    documents.iter().map(write).collect()
}

pub(super) fn require_kind(version: u32, found: &str, expected: &'static str) -> Result<(), InvalidRequest> {
    if found != expected {
        return Err(InvalidRequest::Kind { found: found.chars().take(40).collect(), expected });
    }
    if version != SCHEMA_VERSION {
        return Err(InvalidRequest::Version { found: version });
    }
    Ok(())
}

pub(super) fn parse_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, InvalidRequest> {
    serde_json::from_slice(bytes).map_err(|error| InvalidRequest::Structure { reason: error.to_string() })
}

pub(super) fn write_json<T: Serialize>(file: &T) -> Vec<u8> {
    #[expect(clippy::expect_used, reason = "texts and numbers always have a JSON form")]
    let mut bytes = serde_json::to_vec(file).expect("plain values");
    bytes.push(b'\n');
    bytes
}

pub(super) fn decode(member: &'static str, text: &str) -> Result<Bytes, InvalidRequest> {
    STANDARD.decode(text).map(Bytes::from).map_err(|_| invalid(member, "expected base64"))
}

pub(super) fn member<T>(name: &'static str, text: &str) -> Result<T, InvalidRequest>
where
    T: std::str::FromStr<Err: std::fmt::Display>,
{
    text.parse().map_err(|error: T::Err| InvalidRequest::Member { member: name, reason: error.to_string() })
}

pub(super) fn bound(name: &'static str, found: usize, most: usize) -> Result<(), InvalidRequest> {
    if found > most {
        return Err(InvalidRequest::Member { member: name, reason: format!("expected at most {most}") });
    }
    Ok(())
}

fn time(name: &'static str, text: &str) -> Result<UtcTime, InvalidRequest> {
    UtcTime::parse_rfc3339(text)
        .map_err(|error| InvalidRequest::Member { member: name, reason: error.to_string() })
}

fn invalid(member: &'static str, reason: &str) -> InvalidRequest {
    InvalidRequest::Member { member, reason: reason.to_owned() }
}

/// Two entries under one name would be read in two ways.
fn unique<K: Ord, V>(
    name: &'static str,
    entries: impl Iterator<Item = Result<(K, V), InvalidRequest>>,
) -> Result<BTreeMap<K, V>, InvalidRequest> {
    let mut map = BTreeMap::new();
    for entry in entries {
        let (key, value) = entry?;
        if map.insert(key, value).is_some() {
            return Err(invalid(name, "expected listed once"));
        }
    }
    Ok(map)
}
