//! Timestamp: which snapshot is the newest.

use crate::json::Object;
use crate::metadata::{MetaInfo, Version};
use crate::time::UtcTime;

/// The newest snapshot (TUF 1.0, 4.6); its short life is what makes a freeze visible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timestamp {
    /// Version of this document.
    pub version: Version,
    /// When it may no longer be used.
    pub expires: UtcTime,
    /// The snapshot it vouches for.
    pub snapshot: MetaInfo,
    /// When it was signed, as the server says: never later than `expires`. Not in Notary's
    /// dialect, nor from other servers.
    pub signed_at: Option<UtcTime>,
    /// Members this crate does not interpret.
    pub extra: Object,
}
