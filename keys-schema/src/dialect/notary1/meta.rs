//! What one document says of another, and of targets: length and digests in base64.

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields};
use crate::dialect::notary1::{decode_base64, decode_base64_to, encode_base64, integer};
use crate::digest::{Hashes, Sha256Digest, Sha512Digest};
use crate::json::{Json, Object};
use crate::metadata::MetaInfo;

/// Room for a digest while it is decoded: for more than the longest one.
const ROOM: usize = 96;

/// SHA-256 is mandatory here: files are fetched by it.
pub(crate) fn read_info(value: &Json, at: String) -> Result<MetaInfo, InvalidMetadata> {
    let mut fields = Fields::of(value, at)?;
    let length = fields.need("length", "a number", Json::as_u64)?;
    let hashes = read_hashes(fields.need("hashes", "an object", Some)?, &fields.at("hashes"))?;
    if hashes.as_sha256().is_none() {
        return Err(fields.wrong("hashes", "an object with sha256"));
    }
    fields.rest()?;
    Ok(MetaInfo { version: None, length: Some(length), hashes: Some(hashes) })
}

pub(crate) fn write_info(info: &MetaInfo) -> Json {
    let mut object = Object::new();
    if let Some(hashes) = &info.hashes {
        object.insert("hashes".to_owned(), write_hashes(hashes));
    }
    if let Some(length) = info.length {
        object.insert("length".to_owned(), integer(length));
    }
    Json::Object(object)
}

/// Listed digests of unknown algorithms are passed over; if only such are listed, the
/// object can never be verified and the document is refused (C27).
pub(crate) fn read_hashes(value: &Json, at: &At<'_>) -> Result<Hashes, InvalidMetadata> {
    let mut fields = Fields::of(value, at.clone())?;
    let sha256 = fields.optional("sha256", "32 bytes in base64", |v| read_sha256(v.as_str()?))?;
    let sha512 = fields
        .optional("sha512", "64 bytes in base64", |v| bytes(v.as_str()?).map(Sha512Digest::from_bytes))?;
    for (name, value) in fields.rest()? {
        if value.as_str().and_then(decode_base64).is_none() {
            return Err(InvalidMetadata::Member { at: format!("{at}.{name}"), expected: "base64" });
        }
    }
    Hashes::new(sha256, sha512).ok_or_else(|| InvalidMetadata::Member {
        at: at.to_string(),
        expected: "an object with sha256 or sha512",
    })
}

pub(crate) fn write_hashes(hashes: &Hashes) -> Json {
    let mut object = Object::new();
    if let Some(digest) = hashes.as_sha256() {
        object.insert("sha256".to_owned(), encode_base64(digest.as_bytes()));
    }
    if let Some(digest) = hashes.as_sha512() {
        object.insert("sha512".to_owned(), encode_base64(digest.as_bytes()));
    }
    Json::Object(object)
}

pub(crate) fn read_sha256(text: &str) -> Option<Sha256Digest> {
    bytes(text).map(Sha256Digest::from_bytes)
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut room = [0; ROOM];
    let length = decode_base64_to(text, &mut room)?;
    room.get(..length)?.try_into().ok()
}
