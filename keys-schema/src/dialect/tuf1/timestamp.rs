//! Timestamp (TUF 1.0, 4.6).

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields};
use crate::dialect::tuf1::meta::{read_info, write_info};
use crate::dialect::tuf1::{read_header, write_header};
use crate::json::{Json, Object};
use crate::metadata::Timestamp;
use crate::time::UtcTime;

/// Our extra member of `signed`: when the server signed. What expires a day later may have been
/// signed a minute or a month before; a policy that asks for fresh metadata needs to know.
const SIGNED_AT: &str = "x_bulla_signed_at";

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
    let signed_at: Option<UtcTime> =
        fields.optional(SIGNED_AT, "a UTC date", |value| value.as_str()?.parse().ok())?;
    if signed_at.is_some_and(|signed_at| signed_at > header.expires) {
        return Err(fields.wrong(SIGNED_AT, "a UTC date not after `expires`"));
    }
    Ok(Timestamp {
        version: header.version,
        expires: header.expires,
        snapshot,
        signed_at,
        extra: fields.rest()?,
    })
}

pub(crate) fn encode(timestamp: &Timestamp) -> Object {
    let mut signed = timestamp.extra.clone();
    write_header(&mut signed, "timestamp", timestamp.version, timestamp.expires);
    let meta = Object::from([("snapshot.json".to_owned(), write_info(&timestamp.snapshot))]);
    signed.insert("meta".to_owned(), Json::Object(meta));
    if let Some(signed_at) = timestamp.signed_at {
        signed.insert(SIGNED_AT.to_owned(), Json::from(signed_at.to_string()));
    }
    signed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(signed_at: Option<&str>) -> Result<Timestamp, String> {
        let text = r#"{"_type":"timestamp","spec_version":"1.0.0","version":3,"expires":"2031-01-02T00:00:00Z",
            "meta":{"snapshot.json":{"version":7}},"x_other":1}"#;
        let Json::Object(mut signed) = Json::parse(text.as_bytes()).unwrap() else { panic!("no object") };
        if let Some(json) = signed_at {
            signed.insert(SIGNED_AT.to_owned(), Json::parse(json.as_bytes()).unwrap());
        }
        let timestamp = decode(&signed).map_err(|error| error.to_string())?;
        assert!(encode(&timestamp) == signed, "{signed_at:?}");
        Ok(timestamp)
    }

    #[test]
    fn the_time_of_signing_is_read_back() {
        assert_eq!(decoded(None).unwrap().signed_at, None);
        for date in ["2031-01-01T23:59:59Z", "2031-01-02T00:00:00Z"] {
            let read = decoded(Some(&format!("\"{date}\""))).unwrap();
            assert_eq!(read.signed_at.map(|at| at.to_string()).as_deref(), Some(date));
            assert!(!read.extra.contains_key(SIGNED_AT) && read.extra.contains_key("x_other"));
        }
    }

    #[test]
    fn no_time_and_one_after_the_end_are_refused() {
        for (json, what) in [
            (
                "\"2031-01-02T00:00:01Z\"",
                "timestamp.x_bulla_signed_at must be a UTC date not after `expires`",
            ),
            ("\"2031-01-01T00:00:00+02:00\"", "timestamp.x_bulla_signed_at must be a UTC date"),
            ("\"yesterday\"", "timestamp.x_bulla_signed_at must be a UTC date"),
            ("1893456000", "timestamp.x_bulla_signed_at must be a UTC date"),
            ("null", "timestamp.x_bulla_signed_at must be a UTC date"),
        ] {
            assert_eq!(decoded(Some(json)).unwrap_err(), what, "{json}");
        }
    }
}
