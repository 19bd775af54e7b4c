//! How far a request is: who signed, and who still may.

use std::collections::BTreeSet;

use crate::digest::Sha256Digest;
use crate::key::Fingerprint;
use crate::metadata::{Threshold, Version};
use crate::names::RoleName;

/// How far a request is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestStatus {
    /// Each of its documents.
    pub documents: Vec<DocumentStatus>,
}

impl RequestStatus {
    /// Whether every threshold is met.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.documents.iter().all(DocumentStatus::is_complete)
    }
}

/// How far one document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentStatus {
    /// Its role.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the canonical bytes that signatures are over.
    pub payload_sha256: Sha256Digest,
    /// Every threshold that it must meet: two for the successor of a root.
    pub counts: Vec<Count>,
}

impl DocumentStatus {
    /// Whether every threshold is met.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.counts.is_empty() && self.counts.iter().all(Count::is_met)
    }
}

/// One threshold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// Whose keys count.
    pub keys: KeySet,
    /// How many must sign.
    pub threshold: Threshold,
    /// Which did.
    pub signed: BTreeSet<Fingerprint>,
    /// Which could, and did not.
    pub missing: BTreeSet<Fingerprint>,
}

impl Count {
    /// Whether the threshold is met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.threshold.is_met_by(self.signed.len())
    }
}

/// Whose keys a threshold counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeySet {
    /// The root before names them for root.
    Old,
    /// The new root names them for itself.
    New,
    /// The delegator names them; a first root names its own.
    Role,
}
