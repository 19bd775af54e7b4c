//! The targets that a document lists, in either dialect: there may be tens of thousands of them, so what was
//! parsed is taken apart and not copied.

use std::collections::BTreeMap;
use std::mem;

use crate::dialect::InvalidMetadata;
use crate::dialect::fields::At;
use crate::json::{Json, Object};
use crate::metadata::TargetInfo;

/// Takes the members of `targets` out of `signed`, where the member stays as it is apart from that.
pub(super) fn take_targets(signed: &mut Object) -> Object {
    match signed.get_mut("targets") {
        Some(Json::Object(listed)) => mem::take(listed),
        _ => Object::new(),
    }
}

/// Takes what the publisher says of a target out of its description, where the member stays.
pub(super) fn take_custom(target: &mut Json) -> Option<Json> {
    match target {
        Json::Object(members) => members.get_mut("custom").map(|custom| mem::replace(custom, Json::Null)),
        _ => None,
    }
}

/// Reads each target with `read`.
pub(super) fn read_targets(
    listed: Object,
    read: fn(Json, At<'_>) -> Result<TargetInfo, InvalidMetadata>,
) -> Result<BTreeMap<String, TargetInfo>, InvalidMetadata> {
    let place = At::from("targets.targets");
    // A map is built at once of what is in order.
    let mut targets = Vec::with_capacity(listed.len());
    for (name, info) in listed {
        let info = read(info, place.below(&name))?;
        targets.push((name, info));
    }
    Ok(targets.into_iter().collect())
}
