//! Floors: what was trusted before, usable only as a lower bound.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::dialect::Dialect;
use crate::metadata::{Root, Snapshot, Timestamp, Version};
use crate::names::RoleName;
use crate::verify::{RawMetadata, Verified};

/// The versions that an earlier run accepted, maybe expired since. Nothing older is accepted
/// again (C13, C14, C18). Stored documents count only if the trusted root's keys signed them.
#[derive(Clone, Debug, Default)]
pub struct Floor {
    pub(super) timestamp: Option<Verified<Timestamp>>,
    pub(super) snapshot: Option<Verified<Snapshot>>,
}

impl Floor {
    /// No lower bound: the first run.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads stored documents; those that `root` does not vouch for are left out (C29: a
    /// damaged store must not lock its owner out).
    pub(super) fn read(
        dialect: Dialect,
        root: &Root,
        timestamp: Option<Bytes>,
        snapshot: Option<Bytes>,
    ) -> Self {
        let timestamp = timestamp
            .and_then(|bytes| RawMetadata::new(dialect, bytes).verify(&root.timestamp, &root.keys).ok());
        let snapshot = snapshot
            .and_then(|bytes| RawMetadata::new(dialect, bytes).verify(&root.snapshot, &root.keys).ok());
        Self { timestamp, snapshot }
    }

    /// What was verified under the very root that is trusted now.
    pub(super) const fn verified(timestamp: Verified<Timestamp>, snapshot: Verified<Snapshot>) -> Self {
        Self { timestamp: Some(timestamp), snapshot: Some(snapshot) }
    }

    /// The version of the last accepted timestamp.
    #[must_use]
    pub fn timestamp_version(&self) -> Option<Version> {
        self.timestamp.as_ref().map(Verified::version)
    }

    /// The lowest acceptable snapshot version.
    pub(super) fn snapshot_version(&self) -> Option<Version> {
        let listed = self.timestamp.as_ref().map(|timestamp| timestamp.payload().snapshot.version);
        listed.max(self.snapshot.as_ref().map(Verified::version))
    }

    /// The lowest acceptable version of every targets role known so far.
    pub(super) fn targets_versions(&self) -> BTreeMap<RoleName, Version> {
        let Some(snapshot) = &self.snapshot else { return BTreeMap::new() };
        snapshot.payload().meta.iter().map(|(role, info)| (role.clone(), info.version)).collect()
    }
}
