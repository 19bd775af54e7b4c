//! Pins: what a consumer knows of a repository before it first speaks with a server.

use std::collections::BTreeSet;

use crate::digest::Sha256Digest;
use crate::key::Fingerprint;
use crate::metadata::Threshold;

/// What the first root must satisfy. There is no trust on first use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    /// The root is this very document.
    Digest(Sha256Digest),
    /// The root is signed by a threshold of these keys, all listed as its root keys.
    Keys {
        /// The keys, by key material.
        fingerprints: BTreeSet<Fingerprint>,
        /// How many of them must have signed.
        threshold: Threshold,
    },
}
