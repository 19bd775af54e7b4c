//! The one place that maps an error to its exit code and to what to do about it.
//!
//! Codes never change meaning.

mod attest;
mod backup;
mod changes;
mod cosign;
mod gate;
mod in_registry;
mod key_files;
mod keys;
mod places;
pub(super) mod policy;
pub(super) mod published_policy;
mod requests;
mod settings;
mod trust;

use std::process::ExitCode;

use changes::{init, publish, renew, revoke, rotate, sign, signer, status, too_few_keys};
use keys::{certify, key, key_store, passphrase, unlock};
use places::{registry, server};
use settings::settings;
use trust::{chain, pins, tampered, verify};

pub(super) use trust::refresh;

use crate::report::ErrorReport;

/// How `bulla` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A defect, or the system failed.
    Internal = 1,
    /// Used wrongly.
    Usage = 2,
    /// Configuration, pins or a report invalid.
    Configuration = 3,
    /// No trust data: unknown repository, or none pinned.
    NoTrustData = 10,
    /// Tag unknown at the registry.
    TagUnknown = 11,
    /// Signature or threshold not met.
    NotSigned = 12,
    /// Metadata stale or expired.
    Expired = 13,
    /// Revoked.
    Revoked = 14,
    /// Rollback or tampering.
    Tampered = 15,
    /// A limit was passed.
    GateFailed = 20,
    /// What was to be judged is missing, too old, or no evidence for the image.
    NoEvidence = 21,
    /// Not authorised.
    Unauthorised = 30,
    /// Server or registry unreachable.
    Unreachable = 31,
    /// Concurrent change, retry; for signing requests: too late, make it again.
    Busy = 40,
    /// Others have to sign as well.
    Waiting = 41,
    /// Interrupted.
    Interrupted = 130,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error, explained.
pub struct Failure {
    message: String,
    pub(super) exit: Exit,
    hint: Option<String>,
}

impl Failure {
    /// As it is printed.
    #[must_use]
    pub fn report(&self) -> ErrorReport {
        ErrorReport { message: self.message.clone(), hint: self.hint.clone(), exit_code: self.exit as u8 }
    }
}

type Explained = (Exit, Option<String>);

/// Finds out what an error of a flow means.
#[must_use]
pub fn explain(error: &anyhow::Error) -> Failure {
    let (exit, hint) = classify(error);
    Failure { message: error.to_string(), exit, hint }
}

fn classify(error: &anyhow::Error) -> Explained {
    if let Some(error) = error.downcast_ref() {
        return verify(error);
    }
    if let Some(error) = error.downcast_ref() {
        return sign(error);
    }
    if let Some(error) = error.downcast_ref() {
        return in_registry::only(error);
    }
    if let Some(error) = error.downcast_ref() {
        return init(error);
    }
    if let Some(error) = error.downcast_ref() {
        return signer(error);
    }
    if let Some(error) = error.downcast_ref() {
        return revoke(error);
    }
    if let Some(error) = error.downcast_ref() {
        return rotate(error);
    }
    if let Some(error) = error.downcast_ref() {
        return renew(error);
    }
    if let Some(error) = error.downcast_ref() {
        return status(error);
    }
    if let Some(error) = error.downcast_ref() {
        return refresh(error);
    }
    if let Some(error) = error.downcast_ref() {
        return key(error);
    }
    if let Some(error) = error.downcast_ref() {
        return key_files::export(error);
    }
    if let Some(error) = error.downcast_ref() {
        return key_files::load(error);
    }
    if let Some(error) = error.downcast_ref() {
        return key_files::key_source(error);
    }
    if let Some(error) = error.downcast_ref() {
        return key_store(error);
    }
    if let Some(error) = error.downcast_ref() {
        return pins(error);
    }
    if let Some(explained) = backup::explain(error) {
        return explained;
    }
    settings(error)
}

fn hint(text: &str) -> Option<String> {
    Some(text.to_owned())
}
