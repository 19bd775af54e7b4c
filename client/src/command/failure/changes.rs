//! Changes of a repository that were not made.

use super::{
    Exit, Explained, hint, in_registry, key, key_store, pins, policy, refresh, registry, server, unlock,
    verify,
};
use crate::flow::init::InitError;
use crate::flow::publish::PublishError;
use crate::flow::renew::RenewError;
use crate::flow::revoke::RevokeError;
use crate::flow::root_change::RootChangeError;
use crate::flow::rotate::RotateError;
use crate::flow::sign::SignError;
use crate::flow::signer::SignerError;
use crate::flow::signing::TooFewKeys;
use crate::flow::status::StatusError;

pub(super) fn publish(error: &PublishError) -> Explained {
    match error {
        PublishError::Entropy(_) | PublishError::Sign { .. } => (Exit::Internal, None),
        PublishError::NotConfirmed { repository, .. } => {
            (Exit::Tampered, hint(&format!("look at what is there: bulla inspect {repository} --pretty")))
        }
        PublishError::Refresh(error) => refresh(error),
        PublishError::Request(_) => (Exit::Usage, hint("no server would take this change, whoever signs it")),
        PublishError::RequestTooLarge { .. } => (Exit::Usage, hint("make several smaller changes")),
        PublishError::RootChange(error) => root_change(error),
        PublishError::Server(error) => server(error),
        PublishError::Store(error) => key_store(error),
        PublishError::TooBusy { .. } => (Exit::Busy, hint("try again when fewer change it at once")),
        PublishError::TooFewKeys(error) => too_few_keys(error),
        PublishError::Unlock(error) => unlock(error),
    }
}

pub(super) fn rotate(error: &RotateError) -> Explained {
    match error {
        RotateError::AlreadyListed { .. } | RotateError::NothingChanges { .. } => {
            (Exit::Usage, hint("look at the keys in use: bulla status REPOSITORY"))
        }
        RotateError::Edit(_) | RotateError::Threshold { .. } | RotateError::TooFew { .. } => {
            (Exit::Usage, hint("name more keys with --add, or a lower --threshold"))
        }
        RotateError::Entropy(_) | RotateError::LastVersion | RotateError::Make(_) => (Exit::Internal, None),
        RotateError::HashBins => (Exit::Usage, hint("use the tool that made this repository")),
        RotateError::Key(error) => key(error),
        RotateError::OtherCertificate { .. } => {
            (Exit::Usage, hint("name a certificate that its holder made for this repository"))
        }
        RotateError::NoKey { name } => (
            Exit::Usage,
            hint(&format!(
                "make it: bulla key generate {name}; a file ends in .pub, or has a slash in its path"
            )),
        ),
        RotateError::NoName { .. } => (Exit::Usage, hint("make a key yourself, and name it: --key NAME")),
        RotateError::NoRole => {
            (Exit::Usage, hint("name one: root, targets, snapshot, timestamp or a signer"))
        }
        RotateError::NoneHere { .. } => {
            (Exit::Usage, hint("say which key joins and which leaves: --add KEY --remove FINGERPRINT"))
        }
        RotateError::NotListed { .. } => {
            (Exit::Usage, hint("look at the keys in use: bulla status REPOSITORY --output json"))
        }
        RotateError::OnlineKeys { .. } => {
            (Exit::Usage, hint("leave out --key, --add, --remove and --threshold"))
        }
        RotateError::Publish(error) => publish(error),
        RotateError::Repeated { .. } | RotateError::Twice { .. } => (Exit::Usage, hint("name it once")),
        RotateError::Root(error) => root_change(error),
        RotateError::SeveralRoles => (Exit::Usage, hint("rotate one role after the other")),
        RotateError::Store(error) => key_store(error),
        RotateError::UnknownSigner { .. } => {
            (Exit::Usage, hint("look who there is: bulla signer list REPOSITORY"))
        }
    }
}

pub(super) fn renew(error: &RenewError) -> Explained {
    match error {
        RenewError::LastVersion { .. } => (Exit::Internal, None),
        RenewError::Online { role } => {
            (Exit::Usage, hint(&format!("for new keys: bulla rotate REPOSITORY {role}")))
        }
        RenewError::Publish(error) => publish(error),
        RenewError::Root(error) => root_change(error),
        RenewError::Store(error) => key_store(error),
        RenewError::Unknown { .. } => (Exit::Usage, hint("look which there are: bulla status REPOSITORY")),
    }
}

pub(super) fn status(error: &StatusError) -> Explained {
    match error {
        StatusError::Refresh(error) => refresh(error),
        StatusError::Store(error) => key_store(error),
    }
}

fn root_change(error: &RootChangeError) -> Explained {
    match error {
        RootChangeError::Certificate(_) | RootChangeError::LastVersion | RootChangeError::Sign(_) => {
            (Exit::Internal, None)
        }
        RootChangeError::LegacyKey { .. } => {
            (Exit::Usage, hint("make one: bulla key generate NAME --algorithm ecdsa-p256"))
        }
        RootChangeError::NoCertificate { .. } => {
            (Exit::Usage, hint("run this where the private key is: only its holder can certify it"))
        }
        RootChangeError::Root(_) => (Exit::Usage, hint("check --add, --remove, --key and --threshold")),
        RootChangeError::TooFewKeys(error) => too_few_keys(error),
    }
}

pub(super) fn too_few_keys(error: &TooFewKeys) -> Explained {
    let missing: Vec<String> = error.missing.iter().map(ToString::to_string).collect();
    (
        Exit::NotSigned,
        hint(&format!("sign where these keys are: {}; or ask their holders: --request", missing.join(", "))),
    )
}

pub(super) fn sign(error: &SignError) -> Explained {
    match error {
        SignError::Denied { denial, .. } => (
            Exit::Revoked,
            hint(&format!(
                "sign a repaired image; if the revocation was wrong, whoever made it runs: bulla revoke --undo REPOSITORY --digest {}",
                denial.digest.to_oci()
            )),
        ),
        SignError::Ended { .. } => (
            Exit::Expired,
            hint(
                "sign as another signer: --as SIGNER; the admin can let this one sign on: remove and add it again",
            ),
        ),
        SignError::HashBins | SignError::Missing { .. } | SignError::NoReleases => {
            (Exit::Usage, hint("use the tool that made this repository"))
        }
        SignError::Judge(error) => verify(error),
        SignError::Policy { verdict, .. } => {
            (policy::exit(verdict).unwrap_or(Exit::Internal), policy::hint(verdict, "IMAGE"))
        }
        SignError::Images => (Exit::Usage, hint("sign only at the trust server: --no-registry-signature")),
        SignError::LastVersion { .. } => (Exit::Internal, None),
        SignError::NotInRegistry { image, keys, source } => {
            let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
            (in_registry::exit(source), in_registry::finish(image, &keys))
        }
        SignError::NoSigner { unable, .. } => match unable.first() {
            Some(error) => too_few_keys(error),
            None => (Exit::NotSigned, hint("the admin adds a signer: bulla signer add")),
        },
        SignError::NoTag { .. } => (Exit::Usage, hint("name a tag: REPOSITORY:TAG@sha256:DIGEST")),
        SignError::OtherDigest { .. } => (Exit::Tampered, hint("sign nothing; ask who pushed to this tag")),
        SignError::OtherSize { .. } => (Exit::Usage, hint("leave --size out, or correct it")),
        SignError::OutOfScope { .. } => (Exit::NotSigned, hint("sign as another signer: --as SIGNER")),
        SignError::Platforms(_) => (Exit::Usage, hint("leave --platforms out")),
        SignError::PlatformsOffline => (Exit::Usage, hint("leave --platforms or --size out")),
        SignError::Publish(error) => publish(error),
        SignError::Registry(error) => registry(error),
        SignError::SeveralSigners { .. } => (Exit::Usage, hint("choose one: --as SIGNER")),
        SignError::TooFewKeys(error) => too_few_keys(error),
        SignError::UnknownSigner { name } => (
            Exit::Usage,
            hint(&format!("the admin adds it: bulla signer add REPOSITORY {name} --key FILE.pub")),
        ),
    }
}

pub(super) fn init(error: &InitError) -> Explained {
    match error {
        InitError::Exists { repository } => (
            Exit::Usage,
            hint(&format!(
                "use it; pin its root here if it is yours: bulla trust add {repository} --root-key FILE.pub"
            )),
        ),
        InitError::Certificate(_) => (Exit::Internal, None),
        InitError::LegacyRootKey { name } => (
            Exit::Usage,
            hint(&format!(
                "name another: --root-key NAME, made with: bulla key generate {name}-p256 --algorithm ecdsa-p256"
            )),
        ),
        InitError::NoCertificate { .. } => {
            (Exit::Usage, hint("its holder hands you a certificate for this repository: --root-key FILE.crt"))
        }
        InitError::OtherCertificate { .. } => {
            (Exit::Usage, hint("name a certificate that its holder made for this repository"))
        }
        InitError::NoKey { name } => (
            Exit::Usage,
            hint(&format!(
                "make it: bulla key generate {name}, or name others: --root-key NAME --targets-key NAME"
            )),
        ),
        InitError::OtherMode { scope, mode } => (
            Exit::Configuration,
            hint(&format!("use --mode {mode}, or remove the pin: bulla trust remove {scope}")),
        ),
        InitError::OtherPin { scope, .. } => (
            Exit::Configuration,
            hint(&format!("sign with the pinned root keys, or remove the pin: bulla trust remove {scope}")),
        ),
        InitError::Pinned { repository } => (
            Exit::Configuration,
            hint(&format!("if it shall begin anew with another root: bulla trust remove {repository}")),
        ),
        InitError::Pins(error) => pins(error),
        InitError::Publish(error) => publish(error),
        InitError::Root(_) => (Exit::Usage, hint("name different keys: --root-key NAME, once each")),
        InitError::Sign { .. } => (Exit::Internal, None),
        InitError::Store(error) => key_store(error),
        InitError::Threshold { .. } => {
            (Exit::Usage, hint("name more keys with --root-key, or lower --root-threshold"))
        }
        InitError::Unlock(error) => unlock(error),
    }
}

pub(super) fn signer(error: &SignerError) -> Explained {
    match error {
        SignerError::Edit(_) | SignerError::Threshold { .. } => {
            (Exit::Usage, hint("name different keys: --key FILE.pub, once each, and a --threshold that fits"))
        }
        SignerError::Enrolment(_)
        | SignerError::EnrolmentSize { .. }
        | SignerError::EnrolmentVersion { .. } => (
            Exit::NotSigned,
            hint("have the signer run bulla signer enrol again, with the same name, keys and tags"),
        ),
        SignerError::CannotTakeOver(error) => too_few_keys(error),
        SignerError::EnrolmentOutlives { .. } => {
            (Exit::Usage, hint("have the signer run bulla signer enrol again, with the same --expires"))
        }
        SignerError::Over { .. } => (Exit::Usage, hint("name a later --expires, or another signer")),
        SignerError::Exists { name } => (
            Exit::Usage,
            hint(&format!("choose another name, or first: bulla signer remove REPOSITORY {name}")),
        ),
        SignerError::HashBins => (Exit::Usage, hint("use the tool that made this repository")),
        SignerError::LastVersion => (Exit::Internal, None),
        SignerError::LegacyName { .. } => {
            (Exit::Usage, hint("use lower case letters, digits, `_` and `-` only"))
        }
        SignerError::LegacyPattern { .. } => {
            (Exit::Usage, hint("write --tags 'PREFIX*', or leave it out to allow all tags"))
        }
        SignerError::NotEnrolled(_) => (
            Exit::NotSigned,
            hint(
                "where the keys are, run: bulla signer enrol REPOSITORY NAME --key KEYNAME --out FILE; then add --enrolment FILE here",
            ),
        ),
        SignerError::Publish(error) => publish(error),
        SignerError::TagsLeft { .. } => {
            (Exit::Usage, hint("revoke them first, or let the first signer sign all tags: leave --tags out"))
        }
        SignerError::Unknown { .. } => (Exit::Usage, hint("list the signers: bulla signer list REPOSITORY")),
    }
}

pub(super) fn revoke(error: &RevokeError) -> Explained {
    match error {
        RevokeError::Already { .. } | RevokeError::AlreadyDenied { .. } => {
            (Exit::Revoked, hint("nothing needs to be done"))
        }
        RevokeError::DigestNotSigned { repository, .. } => {
            (Exit::NotSigned, hint(&format!("list what is signed: bulla inspect {repository} --pretty")))
        }
        RevokeError::Edit(_) => (Exit::Internal, None),
        RevokeError::Legacy { .. } => (Exit::Usage, hint("whoever wants the tag signs it again: bulla sign")),
        RevokeError::NotDenied { repository, .. } => {
            (Exit::Usage, hint(&format!("list what is denied: bulla inspect {repository} --pretty")))
        }
        RevokeError::HashBins | RevokeError::NoDenyList | RevokeError::NoReleases => {
            (Exit::Usage, hint("use the tool that made this repository"))
        }
        RevokeError::LastVersion { .. } => (Exit::Internal, None),
        RevokeError::NotSigned { repository, .. } => {
            (Exit::NotSigned, hint(&format!("list what is signed: bulla inspect {repository} --pretty")))
        }
        RevokeError::Publish(error) => publish(error),
    }
}
