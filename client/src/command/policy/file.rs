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
    let text = read(path, POLICY_BYTES).map_err(|error| Unusable::at(path, error))?;
    Policy::parse(&text).map_err(|error| Unusable::at(path, error))
}

/// Reads the bytes of a policy, `limit` at most and one more.
///
/// # Errors
/// The file cannot be read.
pub(super) fn bytes(path: &Path, limit: usize) -> Result<Vec<u8>, UnusablePolicy> {
    read(path, limit).map(String::into_bytes).map_err(|error| Unusable::at(path, error))
}

/// Reads a text of `limit` bytes at most; one byte more tells too much from just enough.
///
/// # Errors
/// What the system says, or that it is no text.
pub(super) fn read(path: &Path, limit: usize) -> Result<String, Unreadable> {
    let mut text = String::new();
    File::open(path)?.take(limit as u64 + 1).read_to_string(&mut text)?;
    Ok(text)
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(in crate::command) struct Unusable<R> {
    /// The file or folder.
    path: PathBuf,
    /// Why.
    pub(in crate::command) reason: R,
}

impl<R> Unusable<R> {
    /// The file at `path`.
    pub(super) fn at(path: &Path, reason: impl Into<R>) -> Self {
        Self { path: path.to_owned(), reason: reason.into() }
    }
}

/// What the system said.
#[derive(Debug, thiserror::Error)]
#[error("cannot read it: {0}")]
pub(in crate::command) struct Unreadable(String);

impl From<std::io::Error> for Unreadable {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A policy decides nothing.
pub(in crate::command) type UnusablePolicy = Unusable<PolicyReason>;

/// Why a policy decides nothing.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum PolicyReason {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] Unreadable),
    /// It is none.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}
