//! Bodies of Bulla's own HTTP API (`/api/v1`), shared by server and client.
//!
//! Only the shapes: who may send what, and what a server answers when, is told by the
//! server's router. Requests refuse unknown members; answers may grow new ones.

mod requests;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::metadata::Version;
use crate::names::{RepositoryName, RoleName};
use crate::time::UtcTime;

pub use requests::{RequestList, RequestProgress, RequestSummary};

/// Where the API starts.
pub const API: &str = "/api/v1";
/// Media type of [`Problem`] (RFC 9457).
pub const PROBLEM_MEDIA_TYPE: &str = "application/problem+json";
/// Header with the publisher's operation id: 32 hex digits. The same id is done once.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Header that joins an answer with the server's log.
pub const REQUEST_ID: &str = "x-request-id";
/// Name of a multipart part that holds a metadata document; its file name is
/// [`document_file_name`].
pub const METADATA_PART: &str = "metadata";
/// Name of a multipart part that holds the bytes of a target.
pub const TARGET_PART: &str = "target";
/// Start of every access token, so that scanners for leaked secrets can find them.
pub const TOKEN_PREFIX: &str = "bulla_";

/// Answer of `GET /api/v1/repositories?after=&max=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepositoryList {
    /// Names in ascending order, only those the caller may read.
    #[serde(with = "texts")]
    pub repositories: Vec<RepositoryName>,
    /// Value of `after` for the next page; `None` on the last.
    #[serde(with = "optional_text")]
    pub next: Option<RepositoryName>,
}

/// Answer of `GET /api/v1/repositories/{repository}/head`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Names this state; goes into `If-Match` of what builds on it.
    pub token: String,
    /// Every current document.
    #[serde(with = "roles")]
    pub current: BTreeMap<RoleName, DocumentRef>,
    /// When the server signs the online roles anew.
    #[serde(with = "text")]
    pub renew_at: UtcTime,
}

/// A document by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DocumentRef {
    /// Its version.
    #[serde(with = "version")]
    pub version: Version,
    /// The digest of its bytes.
    #[serde(with = "text")]
    pub sha256: Sha256Digest,
    /// Its length in bytes.
    pub length: u64,
}

/// Answer of `GET|POST /api/v1/repositories/{repository}/online-keys` and of
/// `POST .../online-keys/rotate`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlineKeys {
    /// Counts changes, from 1.
    pub generation: u64,
    /// Signs snapshots.
    pub snapshot: OnlineKey,
    /// Signs timestamps.
    pub timestamp: OnlineKey,
    /// The set that takes over once a new root lists it.
    pub next: Option<OnlineKeySet>,
}

/// One set of online keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlineKeySet {
    /// Signs snapshots.
    pub snapshot: OnlineKey,
    /// Signs timestamps.
    pub timestamp: OnlineKey,
}

/// The public half of an online key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnlineKey {
    /// `ed25519`.
    pub algorithm: String,
    /// PEM with label `PUBLIC KEY`.
    pub public_key: String,
}

/// Answer of `POST /api/v1/repositories/{repository}/publish` and of the removal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The new head.
    pub token: String,
    /// Place in the feed of changes.
    pub position: u64,
    /// Whether this operation had been done before.
    pub replayed: bool,
    /// Every current document, the snapshot and timestamp that the server signed included;
    /// empty after a removal.
    #[serde(with = "roles")]
    pub current: BTreeMap<RoleName, DocumentRef>,
}

/// Answer of `GET /api/v1/changes?after=&max=`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeList {
    /// Oldest first, only those of repositories the caller may read.
    pub changes: Vec<Change>,
    /// Value of `after` for the next page, also when there is nothing more yet.
    pub next: u64,
}

/// One entry of the feed of changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Place in the feed.
    pub position: u64,
    /// Which repository.
    #[serde(with = "text")]
    pub repository: RepositoryName,
    /// What happened.
    pub kind: ChangeKind,
    /// Who did it.
    pub actor: String,
    /// When.
    #[serde(with = "text")]
    pub at: UtcTime,
    /// The documents that came with it.
    pub documents: Vec<ChangedDocument>,
    /// Chains this entry to all entries before it.
    #[serde(with = "text")]
    pub chain: Sha256Digest,
}

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// The repository got new metadata.
    Published,
    /// The repository was removed.
    Removed,
}

/// A document of a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangedDocument {
    /// Its role.
    #[serde(with = "text")]
    pub role: RoleName,
    /// Its version.
    #[serde(with = "version")]
    pub version: Version,
    /// The digest of its bytes.
    #[serde(with = "text")]
    pub sha256: Sha256Digest,
}

/// Query of the two lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// The entry after which the page starts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Longest page wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<usize>,
}

/// Why the server did not do it (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Names the kind of problem; nothing needs to be there.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same text for each `code`.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// For machines.
    pub code: ProblemCode,
    /// What and where, for people.
    pub detail: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Joins this answer with the server's log.
    pub request_id: String,
    /// With `concurrent-change`: the head as it is now, `None` if there is no such repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_token: Option<String>,
    /// With `rejected`: which rule said no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rejection: Option<Rejection>,
}

/// Why uploaded metadata was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// The broken rule, stable, in kebab case.
    pub rule: String,
    /// The role whose document broke it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The version that was uploaded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uploaded_version: Option<u64>,
    /// The version that is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current_version: Option<u64>,
}

/// Every problem the API answers with. Codes never change meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemCode {
    /// 400: the request itself is malformed.
    BadRequest,
    /// 401: no token, or one that is unknown, expired or revoked.
    Unauthenticated,
    /// 403: the caller may see this repository, but not do this.
    Forbidden,
    /// 404: absent, or not visible to this caller; nobody can tell which.
    NotFound,
    /// 405: this URL knows other methods.
    MethodNotAllowed,
    /// 408: the request came too slowly.
    RequestTimeout,
    /// 409: there is another signing request with this id.
    RequestExists,
    /// 409: a signing request that can never be completed, because the repository went on
    /// without it, or its time is over.
    RequestStale,
    /// 409: there is no room for a further signing request.
    RequestsFull,
    /// 410: the signing request was published or cancelled.
    RequestClosed,
    /// 412: the repository is not in the state that the caller built on; read and redo.
    ConcurrentChange,
    /// 413: body, part or number of parts beyond the limits.
    TooLarge,
    /// 415: a body of another media type is expected.
    UnsupportedMediaType,
    /// 422: the metadata breaks a rule.
    Rejected,
    /// 428: `If-Match` or `If-None-Match` is missing.
    PreconditionRequired,
    /// 500: a defect of the server; nothing is known about the operation's outcome.
    Internal,
    /// 503: too much at once; nothing was done, try again.
    Busy,
    /// 503: the server cannot work at present; nothing was done.
    Unavailable,
}

impl ProblemCode {
    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthenticated => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::RequestExists | Self::RequestStale | Self::RequestsFull => 409,
            Self::RequestClosed => 410,
            Self::ConcurrentChange => 412,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::Rejected => 422,
            Self::PreconditionRequired => 428,
            Self::Internal => 500,
            Self::Busy | Self::Unavailable => 503,
        }
    }

    /// The code as it stands in a [`Problem`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad-request",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not-found",
            Self::MethodNotAllowed => "method-not-allowed",
            Self::RequestTimeout => "request-timeout",
            Self::RequestExists => "request-exists",
            Self::RequestStale => "request-stale",
            Self::RequestsFull => "requests-full",
            Self::RequestClosed => "request-closed",
            Self::ConcurrentChange => "concurrent-change",
            Self::TooLarge => "too-large",
            Self::UnsupportedMediaType => "unsupported-media-type",
            Self::Rejected => "rejected",
            Self::PreconditionRequired => "precondition-required",
            Self::Internal => "internal",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }

    /// Short text for people, the same for each code.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::BadRequest => "malformed request",
            Self::Unauthenticated => "authentication required",
            Self::Forbidden => "not allowed",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "method not allowed",
            Self::RequestTimeout => "request came too slowly",
            Self::RequestExists => "signing request exists",
            Self::RequestStale => "signing request is stale",
            Self::RequestsFull => "too many signing requests",
            Self::RequestClosed => "signing request is closed",
            Self::ConcurrentChange => "the repository has changed meanwhile",
            Self::TooLarge => "request too large",
            Self::UnsupportedMediaType => "unsupported media type",
            Self::Rejected => "metadata rejected",
            Self::PreconditionRequired => "precondition required",
            Self::Internal => "internal error",
            Self::Busy => "server busy",
            Self::Unavailable => "server unavailable",
        }
    }
}

impl fmt::Display for ProblemCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The file name of a document in URLs and in uploads, before percent-encoding:
/// `VERSION.ROLE.json`, without a version for the timestamp, which has one name for all.
#[must_use]
pub fn document_file_name(role: &RoleName, version: Option<Version>) -> String {
    match version {
        Some(version) => format!("{version}.{role}.json"),
        None => format!("{role}.json"),
    }
}

/// The inverse of [`document_file_name`]. Digits before a dot are always a version, so a
/// delegated role whose name starts like that can be asked for by version only.
#[must_use]
pub fn parse_document_file_name(name: &str) -> Option<(RoleName, Option<Version>)> {
    let stem = name.strip_suffix(".json")?;
    let Some((digits, role)) = stem.split_once('.') else { return Some((stem.parse().ok()?, None)) };
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number {
        return Some((stem.parse().ok()?, None));
    }
    if digits.starts_with('0') {
        return None;
    }
    Some((role.parse().ok()?, Some(Version::new(digits.parse().ok()?)?)))
}

/// Values that are written as text.
mod text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(value: &T, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(value)
    }

    pub(super) fn deserialize<'de, T, D>(input: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        String::deserialize(input)?.parse().map_err(D::Error::custom)
    }
}

mod optional_text {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T, S>(value: &Option<T>, out: S) -> Result<S::Ok, S::Error>
    where
        T: Display,
        S: Serializer,
    {
        match value {
            Some(value) => out.collect_str(value),
            None => out.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, T, D>(input: D) -> Result<Option<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        Option::<String>::deserialize(input)?.map(|text| text.parse().map_err(D::Error::custom)).transpose()
    }
}

mod texts {
    use std::fmt::Display;
    use std::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<T: Display, S: Serializer>(values: &[T], out: S) -> Result<S::Ok, S::Error> {
        out.collect_seq(values.iter().map(ToString::to_string))
    }

    pub(super) fn deserialize<'de, T, D>(input: D) -> Result<Vec<T>, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        let texts = Vec::<String>::deserialize(input)?;
        texts.iter().map(|text| text.parse().map_err(D::Error::custom)).collect()
    }
}

mod version {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use crate::metadata::Version;

    pub(super) fn serialize<S: Serializer>(value: &Version, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_u64(value.get())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(input: D) -> Result<Version, D::Error> {
        Version::new(u64::deserialize(input)?).ok_or_else(|| D::Error::custom("not a version"))
    }
}

mod roles {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    use super::DocumentRef;
    use crate::names::RoleName;

    pub(super) fn serialize<S: Serializer>(
        value: &BTreeMap<RoleName, DocumentRef>,
        out: S,
    ) -> Result<S::Ok, S::Error> {
        out.collect_map(value.iter().map(|(role, document)| (role.as_str(), document)))
    }

    pub(super) fn deserialize<'de, D>(input: D) -> Result<BTreeMap<RoleName, DocumentRef>, D::Error>
    where
        D: Deserializer<'de>,
    {
        let map = BTreeMap::<String, DocumentRef>::deserialize(input)?;
        map.into_iter()
            .map(|(role, document)| Ok((role.parse().map_err(D::Error::custom)?, document)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn document_names_round_trip_for_every_role() {
        for name in ["root", "targets", "snapshot", "timestamp", "alice", "a.b", "../x", "a/metadata/b"] {
            let role: RoleName = name.parse().unwrap();
            for version in [None, Version::new(1), Version::new(12)] {
                let file = document_file_name(&role, version);
                assert_eq!(parse_document_file_name(&file), Some((role.clone(), version)), "{file}");
            }
        }
    }

    #[test]
    fn document_names_have_one_spelling() {
        for bad in [
            "",
            ".json",
            "root",
            "0.root.json",
            "01.root.json",
            "1..json",
            "1.json.",
            "9007199254740992.a.json",
        ] {
            assert_eq!(parse_document_file_name(bad), None, "{bad}");
        }
        let (role, version) = parse_document_file_name("1.2.x.json").unwrap();
        assert_eq!((role.as_str(), version.map(Version::get)), ("2.x", Some(1)));
    }

    #[test]
    fn head_reads_what_it_writes() {
        let text = r#"{"token":"h12","current":{"releases":{"version":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","length":3}},"renew_at":"2030-01-02T03:04:05Z"}"#;
        let head: Head = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&head).unwrap(), text);
        assert!(serde_json::from_str::<Head>(&text.replace("\"version\":3", "\"version\":0")).is_err());
        assert!(serde_json::from_str::<Head>(&text.replace("releases", "Root")).is_err());
    }

    #[test]
    fn problem_codes_are_written_as_they_are_named() {
        for code in [
            ProblemCode::BadRequest,
            ProblemCode::Unauthenticated,
            ProblemCode::Forbidden,
            ProblemCode::NotFound,
            ProblemCode::MethodNotAllowed,
            ProblemCode::RequestTimeout,
            ProblemCode::RequestExists,
            ProblemCode::RequestStale,
            ProblemCode::RequestsFull,
            ProblemCode::RequestClosed,
            ProblemCode::ConcurrentChange,
            ProblemCode::TooLarge,
            ProblemCode::UnsupportedMediaType,
            ProblemCode::Rejected,
            ProblemCode::PreconditionRequired,
            ProblemCode::Internal,
            ProblemCode::Busy,
            ProblemCode::Unavailable,
        ] {
            assert_eq!(serde_json::to_string(&code).unwrap(), format!("\"{code}\""));
        }
    }

    #[test]
    fn queries_with_unknown_members_are_refused() {
        assert!(serde_json::from_str::<Page>(r#"{"after":"a","limit":3}"#).is_err());
    }
}
