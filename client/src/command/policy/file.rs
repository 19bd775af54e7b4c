//! The file of a policy.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::limits::POLICY_BYTES;
use bulla_keys_schema::policy::{Policy, PolicyError};

/// Reads a policy.
///
/// # Errors
/// The file cannot be read, or is none.
pub(in crate::command) fn load(path: &Path) -> Result<Policy, UnusablePolicy> {
    let text = read(path, POLICY_BYTES).map_err(|reason| unusable(path, Unusable::File { reason }))?;
    Policy::parse(&text).map_err(|error| unusable(path, error.into()))
}

/// Reads a text of `limit` bytes at most; one byte more tells too much from just enough.
///
/// # Errors
/// What the system says, or that it is no text.
pub(super) fn read(path: &Path, limit: usize) -> Result<String, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(limit as u64 + 1).read_to_string(&mut text).map_err(|error| error.to_string())?;
    Ok(text)
}

fn unusable(path: &Path, reason: Unusable) -> UnusablePolicy {
    UnusablePolicy { path: path.to_owned(), reason }
}

/// A policy decides nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(in crate::command) struct UnusablePolicy {
    /// The file.
    path: PathBuf,
    /// Why.
    pub(in crate::command) reason: Unusable,
}

/// Why a policy decides nothing.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum Unusable {
    /// The file cannot be read.
    #[error("cannot read it: {reason}")]
    File {
        /// What the system said.
        reason: String,
    },
    /// It is none.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}
