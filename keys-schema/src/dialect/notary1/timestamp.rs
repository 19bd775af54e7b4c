//! Timestamp: the digest of the newest snapshot.

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::Fields;
use crate::dialect::notary1::meta::{read_info, write_info};
use crate::dialect::notary1::{read_header, write_header};
use crate::json::{Json, Object};
use crate::metadata::Timestamp;

pub(crate) fn decode(signed: &Object) -> Result<Timestamp, InvalidMetadata> {
    let mut fields = Fields::new(signed, "timestamp")?;
    let header = read_header(&mut fields, "Timestamp")?;
    let mut meta = Fields::of(fields.need("meta", "an object", Some)?, "timestamp.meta")?;
    let at = meta.path("snapshot");
    let snapshot = read_info(meta.need("snapshot", "an object", Some)?, at)?;
    meta.rest()?;
    let extra = fields.rest()?;
    Ok(Timestamp { version: header.version, expires: header.expires, snapshot, signed_at: None, extra })
}

pub(crate) fn encode(timestamp: &Timestamp) -> Object {
    let mut signed = write_header("Timestamp", timestamp.version, timestamp.expires);
    let meta = Object::from([("snapshot".to_owned(), write_info(&timestamp.snapshot))]);
    signed.insert("meta".to_owned(), Json::Object(meta));
    signed
}
