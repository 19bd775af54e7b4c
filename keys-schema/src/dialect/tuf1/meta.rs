//! What one document says of another: version, length, digests.

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields};
use crate::dialect::tuf1::integer;
use crate::digest::{Hashes, Sha256Digest};
use crate::json::{Json, Object};
use crate::metadata::{MetaInfo, Version};

pub(crate) fn read_info(value: &Json, at: At<'_>) -> Result<MetaInfo, InvalidMetadata> {
    let mut fields = Fields::of(value, at)?;
    let version = fields.need("version", "a number from 1", |v| Version::new(v.as_u64()?)).map(Some)?;
    let length = fields.optional("length", "a number", Json::as_u64)?;
    let hashes = match fields.take("hashes") {
        Some(listed) => Some(read_hashes(listed, &fields.at("hashes"))?),
        None => None,
    };
    fields.rest()?;
    Ok(MetaInfo { version, length, hashes })
}

pub(crate) fn write_info(info: &MetaInfo) -> Json {
    let mut object = Object::new();
    if let Some(version) = info.version {
        object.insert("version".to_owned(), integer(version.get()));
    }
    if let Some(length) = info.length {
        object.insert("length".to_owned(), integer(length));
    }
    if let Some(hashes) = &info.hashes {
        object.insert("hashes".to_owned(), write_hashes(hashes));
    }
    Json::Object(object)
}

/// Listed digests of unknown algorithms are passed over; if only such are listed, the
/// object can never be verified and the document is refused.
pub(crate) fn read_hashes(value: &Json, at: &At<'_>) -> Result<Hashes, InvalidMetadata> {
    let mut fields = Fields::of(value, at.clone())?;
    let sha256 = fields.optional("sha256", "64 lower case hex digits", |v| read_sha256(v.as_str()?))?;
    let sha512 = fields.optional("sha512", "128 lower case hex digits", |v| v.as_str()?.parse().ok())?;
    for (name, value) in fields.rest()? {
        if value.as_str().is_none() {
            return Err(InvalidMetadata::Member { at: at.below(&name).to_string(), expected: "a string" });
        }
    }
    Hashes::new(sha256, sha512).ok_or_else(|| InvalidMetadata::Member {
        at: at.to_string(),
        expected: "an object with sha256 or sha512",
    })
}

pub(crate) fn read_sha256(text: &str) -> Option<Sha256Digest> {
    text.parse().ok()
}

pub(crate) fn write_hashes(hashes: &Hashes) -> Json {
    let mut object = Object::new();
    if let Some(digest) = hashes.as_sha256() {
        object.insert("sha256".to_owned(), Json::from(digest.to_string()));
    }
    if let Some(digest) = hashes.as_sha512() {
        object.insert("sha512".to_owned(), Json::from(digest.to_string()));
    }
    Json::Object(object)
}
