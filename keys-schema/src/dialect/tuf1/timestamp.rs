//! Timestamp (TUF 1.0, 4.6).

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields};
use crate::dialect::tuf1::meta::{read_info, write_info};
use crate::dialect::tuf1::{read_header, write_header};
use crate::json::{Json, Object};
use crate::metadata::Timestamp;

pub(crate) fn decode(signed: &Object) -> Result<Timestamp, InvalidMetadata> {
    let mut fields = Fields::new(signed, "timestamp")?;
    let header = read_header(&mut fields, "timestamp")?;
    let meta = fields.need("meta", "an object", Json::as_object)?;
    let at = "timestamp.meta";
    let snapshot = match (meta.len(), meta.get("snapshot.json")) {
        (1, Some(info)) => read_info(info, At::from(at).below("snapshot.json"))?,
        _ => {
            return Err(InvalidMetadata::Member {
                at: at.to_owned(),
                expected: "an object with snapshot.json alone",
            });
        }
    };
    Ok(Timestamp { version: header.version, expires: header.expires, snapshot, extra: fields.rest()? })
}

pub(crate) fn encode(timestamp: &Timestamp) -> Object {
    let mut signed = timestamp.extra.clone();
    write_header(&mut signed, "timestamp", timestamp.version, timestamp.expires);
    let meta = Object::from([("snapshot.json".to_owned(), write_info(&timestamp.snapshot))]);
    signed.insert("meta".to_owned(), Json::Object(meta));
    signed
}
