//! Snapshot (TUF 1.0, 4.4).

use std::collections::BTreeMap;

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{At, Fields};
use crate::dialect::tuf1::meta::{read_info, write_info};
use crate::dialect::tuf1::{read_header, write_header};
use crate::json::{Json, Object};
use crate::limits;
use crate::metadata::{MetaInfo, Snapshot};
use crate::names::RoleName;

pub(crate) fn decode(signed: &Object) -> Result<Snapshot, InvalidMetadata> {
    let mut fields = Fields::new(signed, "snapshot")?;
    let header = read_header(&mut fields, "snapshot")?;
    let listed = fields.need("meta", "an object", Json::as_object)?;
    if listed.len() > limits::DELEGATIONS + 2 {
        return Err(InvalidMetadata::TooMany { at: "snapshot.meta".to_owned() });
    }
    let mut meta: BTreeMap<RoleName, MetaInfo> = BTreeMap::new();
    let place = At::from("snapshot.meta");
    for (file, info) in listed {
        let at = place.below(file);
        let role = file.strip_suffix(".json").and_then(|name| name.parse::<RoleName>().ok());
        match role {
            // Old repositories list root here; the root chain has rules of its own.
            Some(RoleName::Root) => {
                read_info(info, at)?;
            }
            Some(role @ (RoleName::Targets | RoleName::Delegated(_))) => {
                meta.insert(role, read_info(info, at)?);
            }
            _ => {
                return Err(InvalidMetadata::Member {
                    at: at.to_string(),
                    expected: "the file name of a targets role",
                });
            }
        }
    }
    if !meta.contains_key(&RoleName::Targets) {
        return Err(InvalidMetadata::Member {
            at: "snapshot.meta".to_owned(),
            expected: "an object that lists targets.json",
        });
    }
    Ok(Snapshot { version: header.version, expires: header.expires, meta, extra: fields.rest()? })
}

pub(crate) fn encode(snapshot: &Snapshot) -> Object {
    let mut signed = snapshot.extra.clone();
    write_header(&mut signed, "snapshot", snapshot.version, snapshot.expires);
    let meta = snapshot.meta.iter().map(|(role, info)| (format!("{role}.json"), write_info(info)));
    signed.insert("meta".to_owned(), Json::Object(meta.collect()));
    signed
}
