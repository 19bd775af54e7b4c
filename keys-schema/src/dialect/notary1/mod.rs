//! Notary v1: what `docker trust` and `notary` write and read.
//!
//! The same logical model as TUF 1.0 in other clothes: capitalised types, base64 instead of
//! hex, roles named by their path (`targets/releases`), no versions in what one document says
//! of another, path prefixes instead of patterns. Documents are written byte for byte as Go's
//! encoder would: an old server hashes what it encodes itself, so a difference of one byte
//! would make a repository unreadable there.
//!
//! What Go's decoder cannot read is refused wherever it stands, also where nobody would look: one
//! signer could make a repository unreadable for all older clients otherwise.
//!
//! There is no room for members of our own, because old servers drop what they do not know.
//! So these documents name neither repository nor role, and cannot tell "revoked" from
//! "never signed".

pub(crate) mod envelope;
pub(crate) mod key;
pub(crate) mod meta;
mod role;
pub(crate) mod root;
pub(crate) mod snapshot;
pub(crate) mod targets;
pub(crate) mod timestamp;

pub use key::{certificate_key_id, key_id, key_object, parse_key_object};
pub use role::{is_direct_child, role_from_wire, role_to_wire};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::dialect::fields::Fields;
use crate::dialect::{Dialect, Envelope, InvalidMetadata};
use crate::json::{Json, Object};
use crate::metadata::Version;
use crate::time::UtcTime;

/// The version that an unverified targets document claims: good for telling which version
/// comes next, and for nothing else.
///
/// # Errors
/// The bytes are no targets document.
pub fn claimed_version(bytes: &[u8]) -> Result<Version, InvalidMetadata> {
    let mut envelope = Envelope::parse(Dialect::Notary1, bytes)?;
    Ok(targets::decode(envelope.signed_mut())?.version)
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
    Ok(Header {
        version: fields.need("version", "a number from 1", |v| Version::new(v.as_u64()?))?,
        expires: fields.need("expires", "a date", |v| read_date(v.as_str()?))?,
    })
}

/// Go knows no leap seconds, and no zone a day or more away.
fn read_date(text: &str) -> Option<UtcTime> {
    let time = UtcTime::parse_rfc3339(text).ok()?;
    let is_leap = text.get(17..19) == Some("60");
    let zone = text.get(text.len().checked_sub(5)?..).filter(|_| !text.ends_with('Z'));
    let is_near = zone.is_none_or(|zone| zone < "24:00" && zone.get(3..).is_some_and(|m| m < "60"));
    (!is_leap && is_near).then_some(time)
}

/// Whole seconds in UTC are also the shortest form that Go writes.
pub(crate) fn write_header(kind: &str, version: Version, expires: UtcTime) -> Object {
    Object::from([
        ("_type".to_owned(), Json::from(kind)),
        ("expires".to_owned(), Json::from(expires.to_string())),
        ("version".to_owned(), integer(version.get())),
    ])
}

pub(crate) fn integer(value: u64) -> Json {
    Json::Integer(i64::try_from(value).unwrap_or(i64::MAX))
}

/// Standard base64 with padding and nothing else, so that one value has one spelling.
pub(crate) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// As [`decode_base64`], into `room`; how many bytes there are, `None` also if there are too many.
pub(crate) fn decode_base64_to(text: &str, room: &mut [u8]) -> Option<usize> {
    STANDARD.decode_slice(text, room).ok()
}

pub(crate) fn encode_base64(bytes: &[u8]) -> Json {
    Json::from(STANDARD.encode(bytes))
}

/// Go writes a list that was never filled as `null`.
pub(crate) fn list(value: &Json) -> Option<&[Json]> {
    match value {
        Json::Null => Some(&[]),
        other => other.as_array(),
    }
}
