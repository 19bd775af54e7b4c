//! Snapshot: which versions of all targets roles belong together.

use std::collections::BTreeMap;

use crate::digest::Hashes;
use crate::json::Object;
use crate::metadata::Version;
use crate::names::RoleName;
use crate::time::UtcTime;

/// Versions of the targets roles (TUF 1.0, 4.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Version of this document.
    pub version: Version,
    /// When it may no longer be used.
    pub expires: UtcTime,
    /// Every targets role there is, and was: a role never leaves (C18). In Notary's dialect
    /// also root.
    pub meta: BTreeMap<RoleName, MetaInfo>,
    /// Members this crate does not interpret.
    pub extra: Object,
}

/// What a parent says of a document below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaInfo {
    /// Its version; Notary does not say it.
    pub version: Option<Version>,
    /// Its length in bytes, if said.
    pub length: Option<u64>,
    /// Its digests, if said.
    pub hashes: Option<Hashes>,
}

impl MetaInfo {
    /// How many bytes a reader should fetch at most: what is listed, or `limit` if nothing is,
    /// and never more than `limit` (endless data).
    #[must_use]
    pub fn fetch_limit(&self, limit: usize) -> usize {
        self.length.and_then(|length| usize::try_from(length).ok()).map_or(limit, |length| length.min(limit))
    }
}
