//! TUF 1.0: the encoding that the specification and most clients use.
//!
//! Reading accepts what python-tuf, go-tuf, tough and rust-tuf write. Writing follows one
//! profile that all of them read: `spec_version` 1.0.0, hex or PEM keys with `keytype`
//! `ecdsa` or `ed25519`, no extra members in key objects, dates with whole seconds.

pub(crate) mod key;
pub(crate) mod meta;
pub(crate) mod root;
pub(crate) mod snapshot;
pub(crate) mod targets;
pub(crate) mod timestamp;

pub use key::{key_id, key_object};

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::Fields;
use crate::json::{Json, Object};
use crate::metadata::Version;
use crate::names::{DelegatedRoleName, RepositoryName, RoleName};
use crate::time::UtcTime;

/// The file name of a document in a repository with consistent snapshots: the version in
/// front if it is known, except for timestamp; names of roles percent-encoded as a whole.
#[must_use]
pub fn file_name(role: &RoleName, version: impl Into<Option<Version>>, consistent_snapshot: bool) -> String {
    let prefixed = match role {
        RoleName::Timestamp => false,
        RoleName::Root => true,
        _ => consistent_snapshot,
    };
    let name = encode_role(role);
    match version.into().filter(|_| prefixed) {
        Some(version) => format!("{version}.{name}.json"),
        None => format!("{name}.json"),
    }
}

/// A role name as one URL path part: everything but letters, digits, `-`, `.`, `_`, `~` is
/// percent-encoded.
#[must_use]
pub fn encode_role(role: &RoleName) -> String {
    percent_encoding::utf8_percent_encode(role.as_str(), UNRESERVED).to_string()
}

const UNRESERVED: &percent_encoding::AsciiSet =
    &percent_encoding::NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Splits `[VERSION.]ROLE.json`, where ROLE may be percent-encoded.
#[must_use]
pub fn parse_file_name(file: &str) -> Option<(Option<Version>, RoleName)> {
    let stem = file.strip_suffix(".json")?;
    let (version, name) = match stem.split_once('.') {
        Some((digits, rest)) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            (Some(parse_version(digits)?), rest)
        }
        _ => (None, stem),
    };
    let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
    Some((version, name.parse().ok()?))
}

fn parse_version(digits: &str) -> Option<Version> {
    if digits.is_empty() || digits.starts_with('0') {
        return None;
    }
    Version::new(digits.parse().ok()?)
}

/// The members that every document has.
pub(crate) struct Header {
    pub(crate) version: Version,
    pub(crate) expires: UtcTime,
}

pub(crate) fn read_header(fields: &mut Fields<'_>, kind: &'static str) -> Result<Header, InvalidMetadata> {
    let found = fields.need("_type", "a string", Json::as_str)?;
    if found != kind {
        return Err(InvalidMetadata::WrongKind { member: "_type", found: found.to_owned(), expected: kind });
    }
    let spec = fields.need("spec_version", "a string", Json::as_str)?;
    if !is_supported(spec) {
        return Err(InvalidMetadata::WrongKind {
            member: "spec_version",
            found: spec.to_owned(),
            expected: "version 1 of the specification",
        });
    }
    Ok(Header {
        version: fields.need("version", "a number from 1", |v| Version::new(v.as_u64()?))?,
        expires: fields.need("expires", "a UTC date", |v| v.as_str()?.parse().ok())?,
    })
}

pub(crate) fn write_header(signed: &mut Object, kind: &str, version: Version, expires: UtcTime) {
    signed.insert("_type".to_owned(), Json::from(kind));
    signed.insert("spec_version".to_owned(), Json::from("1.0.0"));
    signed.insert("version".to_owned(), integer(version.get()));
    signed.insert("expires".to_owned(), Json::from(expires.to_string()));
}

/// Our extra member of `signed`: the repository that the document is made for. Other clients
/// ignore it.
const REPOSITORY: &str = "x_bulla_repository";

pub(crate) fn read_repository(fields: &mut Fields<'_>) -> Result<Option<RepositoryName>, InvalidMetadata> {
    fields.optional(REPOSITORY, "the name of a repository", |v| v.as_str()?.parse().ok())
}

pub(crate) fn write_repository(signed: &mut Object, repository: Option<&RepositoryName>) {
    if let Some(name) = repository {
        signed.insert(REPOSITORY.to_owned(), Json::from(name.as_str()));
    }
}

/// Counters and lengths are bounded by 2^53 - 1 when they are made.
pub(crate) fn integer(value: u64) -> Json {
    Json::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

pub(crate) fn read_role_name(text: &str) -> Option<DelegatedRoleName> {
    text.parse().ok()
}

/// Major version 1, in two or three numbers.
fn is_supported(spec: &str) -> bool {
    let parts: Vec<&str> = spec.split('.').collect();
    parts.first() == Some(&"1")
        && (2..=3).contains(&parts.len())
        && parts.iter().all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_round_trip() {
        let version = Version::new(12).unwrap();
        for name in ["root", "snapshot", "targets", "ci", "../a", "a/b?#", "\u{f6}", "."] {
            let role: RoleName = name.parse().unwrap();
            let file = file_name(&role, version, true);
            assert!(!file.contains('/'));
            assert_eq!(parse_file_name(&file), Some((Some(version), role)), "{file}");
        }
        assert_eq!(file_name(&RoleName::Timestamp, version, true), "timestamp.json");
        assert_eq!(parse_file_name("timestamp.json"), Some((None, RoleName::Timestamp)));
    }

    #[test]
    fn file_names_have_one_spelling_of_a_version() {
        for bad in [
            "0.root.json",
            "01.root.json",
            "1.root",
            "99999999999999999999.root.json",
            ".json",
            "1..json",
            "x",
        ] {
            assert!(!matches!(parse_file_name(bad), Some((Some(_), RoleName::Root))), "{bad}");
        }
    }

    #[test]
    fn supports_major_version_one() {
        assert!(["1.0", "1.0.0", "1.0.31", "1.99.1"].into_iter().all(is_supported));
        assert!(!["2.0", "1", "1.", "1.0.0.0", "1.a", "", "01.0", "0.9"].into_iter().any(is_supported));
    }
}
