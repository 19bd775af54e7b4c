//! Who and what is not trusted, and why.

use bulla_keys_schema::dialect::InvalidMetadata;
use bulla_keys_schema::verify::{ChainError, RootError, VerifyError as SignatureError};

use super::{Exit, Explained, hint, registry, server};
use crate::flow::refresh::{CacheError, RefreshError};
use crate::flow::verify::{Refusal, VerifyError};
use crate::pins::PinsError;

pub(super) fn verify(error: &VerifyError) -> Explained {
    match error {
        VerifyError::NothingNamed => (Exit::Usage, hint("name a tag: REPOSITORY:TAG")),
        VerifyError::Refresh(error) => refresh(error),
        VerifyError::Refused(refusal) => refused(refusal),
        VerifyError::Registry(error) => registry(error),
    }
}

pub(super) fn refused(refusal: &Refusal) -> Explained {
    match refusal {
        Refusal::Denied { .. } => (
            Exit::Revoked,
            hint(
                "do not use it, whoever signs it; a repaired image has another digest and is signed as usual",
            ),
        ),
        Refusal::DigestNotSigned { .. } => {
            (Exit::NotSigned, hint("sign a tag that means it: bulla sign REPOSITORY:TAG@sha256:DIGEST"))
        }
        Refusal::Layout { repository } => {
            (Exit::Tampered, hint(&format!("look at the roles: bulla inspect {repository} --pretty")))
        }
        Refusal::Moved { repository, signed, .. } => (
            Exit::Tampered,
            hint(&format!(
                "do not pull the tag; pull what was signed, {repository}@{}, or have the new image signed",
                signed.to_oci()
            )),
        ),
        Refusal::NotSigned { repository, tag, is_certain: true } => {
            (Exit::NotSigned, hint(&format!("whoever may sign it runs: bulla sign {repository}:{tag}")))
        }
        Refusal::NotSigned { repository, tag, is_certain: false } => (
            Exit::NotSigned,
            hint(&format!(
                "it may have been revoked, of which a legacy repository keeps no record; whoever may sign it runs: bulla sign {repository}:{tag}"
            )),
        ),
        Refusal::NotVouched { repository, asked, .. } if asked.is_empty() => (
            Exit::NotSigned,
            hint(&format!("no signer may sign this tag; its admin runs: bulla signer add {repository}")),
        ),
        Refusal::NotVouched { repository, tag, asked } => {
            let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
            (
                Exit::NotSigned,
                hint(&format!("{} may sign it, and runs: bulla sign {repository}:{tag}", asked.join(" or "))),
            )
        }
        Refusal::Revoked { repository, tag, .. } => (
            Exit::Revoked,
            hint(&format!("do not use it; a repaired image is signed again: bulla sign {repository}:{tag}")),
        ),
        Refusal::Size { .. } => (Exit::Tampered, hint("do not pull it; have the image signed again")),
    }
}

pub(in crate::command) fn refresh(error: &RefreshError) -> Explained {
    match error {
        RefreshError::Cache(CacheError::Busy { .. }) => {
            (Exit::Busy, hint("wait for the other program, or end it"))
        }
        RefreshError::Cache(CacheError::Io { .. }) => {
            (Exit::Internal, hint("check the folder, or name another: --home DIR"))
        }
        RefreshError::Chain(error) => chain(error),
        RefreshError::LostRoot { version, .. } => (
            Exit::Tampered,
            hint(&format!(
                "restore a backup of the server that was made after root version {version} was published, then rotate"
            )),
        ),
        RefreshError::NotCached { .. }
        | RefreshError::TargetNotCached { .. }
        | RefreshError::Offline { .. } => {
            (Exit::Unreachable, hint("try again when the trust server is back"))
        }
        RefreshError::NotPinned { repository } => (
            Exit::NoTrustData,
            hint(&format!(
                "ask its admin for the root digest: bulla trust add {repository} --root-sha256 HEX"
            )),
        ),
        RefreshError::PinNotMet {
            repository,
            source: RootError::Verify(SignatureError::Metadata(InvalidMetadata::WrongKind { .. })),
            ..
        } => (
            Exit::Tampered,
            hint(&format!(
                "ask its admin for its mode; to change that of the pin: bulla trust remove {repository}, then bulla trust add --mode MODE"
            )),
        ),
        RefreshError::OtherChain { .. } => (
            Exit::Tampered,
            hint(
                "ask its admin for the root keys, and correct the policy or the pin of this home; where the repository was \
                 begun anew, only a pin says so: bulla trust add",
            ),
        ),
        RefreshError::PinsDiffer { .. } => {
            (Exit::Configuration, hint("look at the pin of this home: bulla trust list"))
        }
        RefreshError::PinNotMet { repository, source, .. } => (
            root(source).0,
            hint(&format!(
                "do not trust this server; if the admin confirms a new root: bulla trust remove {repository}, then bulla trust add"
            )),
        ),
        RefreshError::Pins(error) => pins(error),
        RefreshError::Registry(error) => registry(error),
        RefreshError::Root(error) => root(error),
        RefreshError::Server(error) => server(error),
        RefreshError::UnknownRepository { repository } => (
            Exit::NoTrustData,
            hint(&format!(
                "check the name, --server, BULLA_TOKEN and the mode of the pin; its admin begins it with: bulla init {repository}"
            )),
        ),
    }
}

pub(super) fn chain(error: &ChainError) -> Explained {
    match error {
        ChainError::Ended { role, .. } => (
            Exit::Expired,
            hint(&format!(
                "another signer signs it; the admin can let {role} sign on: remove and add it again"
            )),
        ),
        ChainError::Expired { role, .. } => expired(role.as_str()),
        ChainError::Verify { source, .. } => signatures(source),
        ChainError::Mismatch { .. }
        | ChainError::Missing { .. }
        | ChainError::NotDelegated { .. }
        | ChainError::Outlives { .. }
        | ChainError::RoleRemoved { .. }
        | ChainError::Rollback { .. }
        | ChainError::TooLarge { .. }
        | ChainError::Version { .. } => tampered(),
    }
}

pub(super) fn root(error: &RootError) -> Explained {
    match error {
        RootError::ClockWentBack { .. } => (Exit::Expired, hint("set the clock of this machine right")),
        RootError::Expired { .. } => expired("root"),
        RootError::Verify(source) => signatures(source),
        RootError::TooLarge { .. } | RootError::TooLong | RootError::Version { .. } => tampered(),
    }
}

pub(super) fn expired(role: &str) -> Explained {
    let who = match role {
        "timestamp" | "snapshot" => {
            "the trust server renews it; if it does not, it is down, or somebody holds back its answers"
                .to_owned()
        }
        "root" => "its admin signs a new root: bulla renew REPOSITORY root".to_owned(),
        "targets" => "its admin signs it anew: bulla renew REPOSITORY targets".to_owned(),
        role => {
            format!("whoever signs for {role} signs any tag again, or runs: bulla renew REPOSITORY {role}")
        }
    };
    (Exit::Expired, Some(who))
}

pub(super) fn signatures(error: &SignatureError) -> Explained {
    match error {
        SignatureError::Threshold { missing, .. } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            (Exit::NotSigned, hint(&format!("signatures of these keys are missing: {}", missing.join(", "))))
        }
        _ => tampered(),
    }
}

pub(super) fn tampered() -> Explained {
    (Exit::Tampered, hint("do not pull; tell the admin of the trust server what happened"))
}

pub(super) fn pins(error: &PinsError) -> Explained {
    match error {
        PinsError::Exists { scope } => (
            Exit::Configuration,
            hint(&format!(
                "a root does not change by itself; if the admin confirms it: bulla trust remove {scope}"
            )),
        ),
        PinsError::Invalid { .. } => {
            (Exit::Configuration, hint("correct the file; until then nothing is trusted"))
        }
        PinsError::Io { .. } => {
            (Exit::Configuration, hint("check the file, or name another folder: --home DIR"))
        }
        PinsError::Unknown { .. } => (Exit::Usage, hint("list the pins: bulla trust list")),
    }
}
