//! Signatures for cosign and podman that could not be written.

use super::{Exit, Explained, hint, key_store, registry, unlock};
use crate::flow::cosign::only::OnlyError;
use crate::flow::cosign::write::{WriteError, WriteFailure};
use crate::port::RegistryError;

pub(super) fn only(error: &OnlyError) -> Explained {
    match error {
        OnlyError::Index(_) => (Exit::Usage, hint("sign its images one by one, each by its digest")),
        OnlyError::NoTag { .. } => (Exit::Usage, hint("name a tag or a digest")),
        OnlyError::Registry(error) => registry(error),
        OnlyError::Store(error) => key_store(error),
        OnlyError::UnknownKey { .. } => (Exit::Usage, hint("look which keys are here: bulla key list")),
        OnlyError::Unlock(error) => unlock(error),
        OnlyError::Write(failure) => (exit(failure), to_do(failure)),
    }
}

/// How a command ends that did everything but this.
pub(super) fn exit(failure: &WriteFailure) -> Exit {
    match &failure.error {
        WriteError::Bundle(_) | WriteError::Entropy(_) | WriteError::Sign(_) => Exit::Internal,
        WriteError::Occupied { .. } => Exit::Unreachable,
        WriteError::Overwritten { .. }
        | WriteError::TooBusy { .. }
        | WriteError::Registry(RegistryError::Changed { .. }) => Exit::Busy,
        WriteError::Registry(error) => registry(error).0,
    }
}

fn to_do(failure: &WriteFailure) -> Option<String> {
    match &failure.error {
        WriteError::Bundle(_) | WriteError::Entropy(_) | WriteError::Sign(_) => None,
        WriteError::Occupied { .. } => hint("look what it is, and delete the tag if nobody needs it"),
        WriteError::Overwritten { .. } | WriteError::TooBusy { .. } => hint("run the command again"),
        WriteError::Registry(error) => registry(error).1,
    }
}

/// What to run when the trust server has everything, and only the registry lacks it.
pub(super) fn finish(image: &str, keys: &[String]) -> Option<String> {
    let keys: Vec<String> = keys.iter().map(|key| format!(" --key {key}")).collect();
    hint(&format!(
        "when the registry takes it, run: bulla sign --only-registry{} {image}; or leave it out: --no-registry-signature",
        keys.concat()
    ))
}
