//! Snapshot: digests of root and of every targets role.

use std::collections::BTreeMap;

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::Fields;
use crate::dialect::notary1::meta::{read_info, write_info};
use crate::dialect::notary1::{read_header, role_from_wire, role_to_wire, write_header};
use crate::json::{Json, Object};
use crate::limits;
use crate::metadata::{MetaInfo, Snapshot};
use crate::names::RoleName;

pub(crate) fn decode(signed: &Object) -> Result<Snapshot, InvalidMetadata> {
    let mut fields = Fields::new(signed, "snapshot")?;
    let header = read_header(&mut fields, "Snapshot")?;
    let listed = fields.need("meta", "an object", Json::as_object)?;
    if listed.len() > limits::DELEGATIONS + 2 {
        return Err(InvalidMetadata::TooMany { at: "snapshot.meta".to_owned() });
    }
    let mut meta: BTreeMap<RoleName, MetaInfo> = BTreeMap::new();
    for (wire, info) in listed {
        let at = format!("snapshot.meta.{wire}");
        let role = role_from_wire(wire)
            .filter(|role| !matches!(role, RoleName::Snapshot | RoleName::Timestamp))
            .ok_or(InvalidMetadata::Member { at: at.clone(), expected: "root or a targets role" })?;
        meta.insert(role, read_info(info, at)?);
    }
    if !(meta.contains_key(&RoleName::Root) && meta.contains_key(&RoleName::Targets)) {
        let at = "snapshot.meta".to_owned();
        return Err(InvalidMetadata::Member { at, expected: "an object that lists root and targets" });
    }
    Ok(Snapshot { version: header.version, expires: header.expires, meta, extra: fields.rest()? })
}

pub(crate) fn encode(snapshot: &Snapshot) -> Object {
    let mut signed = write_header("Snapshot", snapshot.version, snapshot.expires);
    let meta = snapshot.meta.iter().map(|(role, info)| (role_to_wire(role), write_info(info)));
    signed.insert("meta".to_owned(), Json::Object(meta.collect()));
    signed
}
