//! Floors: what was trusted before, usable only as a lower bound.

use std::collections::BTreeMap;
use std::sync::Arc;

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
    pub(super) targets: AcceptedBefore,
}

/// Targets documents that an earlier run accepted: the lower bound of their versions in
/// Notary's dialect, whose snapshots list none.
pub(super) type AcceptedBefore = Arc<BTreeMap<RoleName, Bytes>>;

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
        Self { timestamp, snapshot, targets: AcceptedBefore::default() }
    }

    /// What was verified under the very root that is trusted now.
    pub(super) fn verified(timestamp: Verified<Timestamp>, snapshot: Verified<Snapshot>) -> Self {
        let targets = AcceptedBefore::default();
        Self { timestamp: Some(timestamp), snapshot: Some(snapshot), targets }
    }

    /// Takes the targets documents along that an earlier run accepted. In Notary's dialect
    /// nothing else says which versions they had; in TUF's the stored snapshot does.
    #[must_use]
    pub fn with_targets(self, documents: BTreeMap<RoleName, Bytes>) -> Self {
        Self { targets: Arc::new(documents), ..self }
    }

    /// The version of the last accepted timestamp.
    #[must_use]
    pub fn timestamp_version(&self) -> Option<Version> {
        self.timestamp.as_ref().map(Verified::version)
    }

    /// The lowest acceptable snapshot version.
    pub(super) fn snapshot_version(&self) -> Option<Version> {
        let listed = self.timestamp.as_ref().and_then(|timestamp| timestamp.payload().snapshot.version);
        listed.max(self.snapshot.as_ref().map(Verified::version))
    }

    /// The lowest acceptable version of every targets role known so far, as far as snapshots
    /// list versions.
    pub(super) fn targets_versions(&self) -> BTreeMap<RoleName, Version> {
        let Some(snapshot) = &self.snapshot else { return BTreeMap::new() };
        let meta = snapshot.payload().meta.iter();
        meta.filter_map(|(role, info)| Some((role.clone(), info.version?))).collect()
    }
}
