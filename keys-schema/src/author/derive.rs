//! Snapshot and timestamp follow from the rest.

use crate::author::Draft;
use crate::dialect::Dialect;
use crate::json::Object;
use crate::metadata::{MetaInfo, Snapshot, Timestamp, Version};
use crate::time::UtcTime;
use crate::verify::submission::AcceptedUpdate;

/// The snapshot after an accepted update; `None` at the end of the version range.
#[must_use]
pub fn next_snapshot(dialect: Dialect, update: &AcceptedUpdate, expires: UtcTime) -> Option<Draft<Snapshot>> {
    let version = match update.before() {
        Some(before) => before.snapshot().version().next()?,
        None => Version::FIRST,
    };
    let document = Snapshot { version, expires, meta: update.meta(), extra: Object::new() };
    Some(Draft::new(dialect, document))
}

/// The timestamp after an accepted update, over the new snapshot as described here, else over
/// the one that was uploaded, or over the old one where no new one is needed. In TUF's dialect it
/// says when the update was judged, in whole seconds. `None` at the end of the version range, or
/// with no snapshot at all.
#[must_use]
pub fn next_timestamp(
    dialect: Dialect,
    update: &AcceptedUpdate,
    snapshot: Option<MetaInfo>,
    expires: UtcTime,
) -> Option<Draft<Timestamp>> {
    let before = update.before();
    let version = match before {
        Some(before) => before.timestamp().version().next()?,
        None => Version::FIRST,
    };
    let snapshot = match snapshot {
        Some(new) => new,
        None => match update.given_snapshot() {
            Some(given) => given.describe(),
            None => before?.timestamp().payload().snapshot.clone(),
        },
    };
    // Other servers of Notary drop what they do not know, and with it the signature.
    let signed_at = match dialect {
        Dialect::Notary1 => None,
        Dialect::Tuf1 => Some(update.now().plus_seconds(0)),
    };
    Some(Draft::new(dialect, Timestamp { version, expires, snapshot, signed_at, extra: Object::new() }))
}
