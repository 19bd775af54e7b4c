//! The one place that maps an error to its exit code and to what to do about it.
//!
//! Codes never change meaning.

mod attest;
mod backup;
mod cosign;
mod gate;
mod in_registry;
mod key_files;
pub(super) mod policy;

mod requests;

use std::process::ExitCode;

use bulla_keys_schema::dialect::InvalidMetadata;
use bulla_keys_schema::key::OpenError;
use bulla_keys_schema::verify::{ChainError, RootError, VerifyError as SignatureError};

use crate::config::InvalidConfig;
use crate::flow::certificate::CertificateError;
use crate::flow::init::InitError;
use crate::flow::key::KeyError;
use crate::flow::key::certificate::CertifyError;
use crate::flow::publish::PublishError;
use crate::flow::refresh::{CacheError, RefreshError};
use crate::flow::renew::RenewError;
use crate::flow::revoke::RevokeError;
use crate::flow::root_change::RootChangeError;
use crate::flow::rotate::RotateError;
use crate::flow::sign::SignError;
use crate::flow::signer::SignerError;
use crate::flow::signing::{TooFewKeys, UnlockError};
use crate::flow::status::StatusError;
use crate::flow::verify::{Refusal, VerifyError};
use crate::pins::{BadThreshold, PinsError};
use crate::port::trust_server::Right;
use crate::port::{KeyStoreError, PassphraseError, RegistryError, TrustServerError};
use crate::report::ErrorReport;
use crate::wiring::{InvalidConnection, NoHome, NobodyToAsk, PASSPHRASE, UnreadableCertificates};

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

fn settings(error: &anyhow::Error) -> Explained {
    if let Some(explained) = cosign::explain(error) {
        return explained;
    }
    if let Some(explained) = attest::explain(error) {
        return explained;
    }
    if let Some(explained) = gate::explain(error) {
        return explained;
    }
    if let Some(explained) = policy::explain(error) {
        return explained;
    }
    if let Some(explained) = of_request(error) {
        return explained;
    }
    if error.is::<InvalidConfig>() {
        return (Exit::Configuration, hint("correct or remove the file"));
    }
    if error.is::<NoHome>() {
        return (Exit::Configuration, hint("name a folder: --home DIR or BULLA_HOME"));
    }
    if error.is::<super::argument::PrivateKey>() {
        return (
            Exit::Usage,
            hint(
                "replace that key; a key in a variable is loaded by its name, without `$`: bulla key load --from-env VAR",
            ),
        );
    }
    if error.is::<bulla_keys_schema::key::InvalidKeySource>() {
        return (Exit::Usage, hint("write the name of the variable, without `$`: --from-env VAR"));
    }
    if error.is::<super::key::NoName>() {
        return (Exit::Usage, hint("choose a name: --name NAME"));
    }
    if error.is::<super::key::NoSource>() {
        return (Exit::Usage, hint("name the variable or the file: --from-env VAR, or FILE"));
    }
    if error.is::<super::key::NoPath>() {
        return (Exit::Usage, hint("name another file"));
    }
    if error.is::<super::NoRepository>() {
        return (Exit::Usage, hint("name it as images are named: registry.example.com/team/app"));
    }
    if error.is::<BadThreshold>() {
        return (Exit::Usage, hint("--threshold must be between 1 and the number of root keys"));
    }
    match error.downcast_ref() {
        Some(InvalidConnection::Token) => {
            return (Exit::Configuration, hint("copy the token again into BULLA_TOKEN"));
        }
        Some(InvalidConnection::Certificates) => {
            return (Exit::Configuration, hint("name a PEM file with --ca-cert or --registry-ca-cert"));
        }
        Some(InvalidConnection::Tls { .. }) => return (Exit::Internal, None),
        None => {}
    }
    if error.is::<UnreadableCertificates>() {
        return (Exit::Configuration, hint("name a readable PEM file with --ca-cert or --registry-ca-cert"));
    }
    if error.is::<super::signer::UnusableFile>() {
        let text =
            "name another file; the public key of a key of this home: bulla key export NAME > NAME.pub";
        return (Exit::Usage, hint(text));
    }
    if error.is::<super::man::UnwritablePages>() {
        return (Exit::Usage, hint("name a folder that exists and can be written"));
    }
    if error.is::<super::revoke::TagAndDigest>() {
        return (Exit::Usage, hint("name the tag alone, or the repository and --digest"));
    }
    if error.is::<super::NoTag>() {
        return (Exit::Usage, hint("name a tag: REPOSITORY:TAG"));
    }
    (Exit::Internal, None)
}

fn of_request(error: &anyhow::Error) -> Option<Explained> {
    if let Some(error) = error.downcast_ref() {
        return Some(certify(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(requests::request(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(requests::merge(error));
    }
    if error.is::<bulla_keys_schema::request::InvalidRequest>() {
        return Some((Exit::Usage, hint("name a file of bulla request export, or of bulla request sign")));
    }
    if error.is::<bulla_keys_schema::request::InvalidText>() {
        return Some((Exit::Usage, hint("write the reason on one line, in up to 500 characters")));
    }
    if error.is::<super::request::Declined>() {
        return Some((Exit::Usage, hint("without a question: --yes, or --expect-digest HEX")));
    }
    if error.is::<super::request::NothingNamed>() {
        return Some((Exit::Usage, hint("name it: REPOSITORY ID, or --file FILE")));
    }
    if error.is::<super::request::NoOut>() {
        return Some((Exit::Usage, hint("name a file: --out SIGFILE")));
    }
    if error.is::<super::request::UnusableRequestFile>() {
        return Some((Exit::Usage, hint("name another file")));
    }
    error
        .is::<NobodyToAsk>()
        .then(|| (Exit::Usage, hint("look at it with --dry-run, then: --yes, or --expect-digest HEX")))
}

fn verify(error: &VerifyError) -> Explained {
    match error {
        VerifyError::NothingNamed => (Exit::Usage, hint("name a tag: REPOSITORY:TAG")),
        VerifyError::Refresh(error) => refresh(error),
        VerifyError::Refused(refusal) => refused(refusal),
        VerifyError::Registry(error) => registry(error),
    }
}

fn refused(refusal: &Refusal) -> Explained {
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

pub(super) fn refresh(error: &RefreshError) -> Explained {
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
            hint("ask its admin for the root keys, and correct the policy or the pin of this home"),
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

fn chain(error: &ChainError) -> Explained {
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

fn root(error: &RootError) -> Explained {
    match error {
        RootError::ClockWentBack { .. } => (Exit::Expired, hint("set the clock of this machine right")),
        RootError::Expired { .. } => expired("root"),
        RootError::Verify(source) => signatures(source),
        RootError::TooLarge { .. } | RootError::TooLong | RootError::Version { .. } => tampered(),
    }
}

fn expired(role: &str) -> Explained {
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

fn signatures(error: &SignatureError) -> Explained {
    match error {
        SignatureError::Threshold { missing, .. } => {
            let missing: Vec<String> = missing.iter().map(ToString::to_string).collect();
            (Exit::NotSigned, hint(&format!("signatures of these keys are missing: {}", missing.join(", "))))
        }
        _ => tampered(),
    }
}

fn tampered() -> Explained {
    (Exit::Tampered, hint("do not pull; tell the admin of the trust server what happened"))
}

fn token(scope: &str, right: Right) -> String {
    format!("bullad token create NAME --scope {scope} --can {right} --expires 90d --config bullad.toml")
}

fn server(error: &TrustServerError) -> Explained {
    match error {
        TrustServerError::Changed { .. } => (Exit::Busy, hint("try again")),
        TrustServerError::ClientSnapshot { repository } => (
            Exit::Usage,
            hint(&format!("its owner hands it to the server: notary key rotate {repository} snapshot -r")),
        ),
        TrustServerError::NoRequests => {
            (Exit::Configuration, hint("signing requests need bullad as trust server"))
        }
        TrustServerError::RequestOver { .. } => (Exit::Busy, hint("make the change again, with --request")),
        TrustServerError::NotConfigured => {
            (Exit::Configuration, hint("name it: --server URL, BULLA_SERVER, or server in config.toml"))
        }
        TrustServerError::NotFound { .. } => {
            (Exit::NoTrustData, hint("check the name, and that BULLA_TOKEN may publish it"))
        }
        TrustServerError::Refused { hint, .. } => (Exit::Usage, hint.clone()),
        TrustServerError::TooLarge { .. } => tampered(),
        TrustServerError::Forbidden { repository, right, .. } => (
            Exit::Unauthorised,
            hint(&format!(
                "the server's admin makes a token that may: {}",
                token(repository.as_str(), *right)
            )),
        ),
        TrustServerError::Unauthorised { right, .. } => (
            Exit::Unauthorised,
            hint(&format!("put a valid token into BULLA_TOKEN, made with: {}", token("SCOPE", *right))),
        ),
        TrustServerError::Unavailable { .. } => (Exit::Unreachable, hint("try again later")),
        TrustServerError::Unexpected { .. } => (Exit::Unreachable, hint("check --server")),
        TrustServerError::Unreachable { .. } => {
            (Exit::Unreachable, hint("check --server, --ca-cert and the network"))
        }
    }
}

fn registry(error: &RegistryError) -> Explained {
    match error {
        RegistryError::Changed { .. } => (Exit::Busy, hint("others write there too: run the command again")),
        RegistryError::Credentials { host, .. } => {
            (Exit::Unauthorised, hint(&format!("log in again: docker login {host}")))
        }
        RegistryError::MayNotWrite { host, .. } => {
            (Exit::Unauthorised, hint(&format!("log in as somebody who may push: docker login {host}")))
        }
        RegistryError::Mismatch { .. } | RegistryError::TooLarge { .. } => {
            (Exit::Tampered, hint("do not pull; tell the admin of the registry what happened"))
        }
        RegistryError::NoHost { .. } => {
            (Exit::Usage, hint("name the registry: registry.example.com/team/app:TAG"))
        }
        RegistryError::Refused { .. } => {
            (Exit::Unreachable, hint("ask the admin of the registry why it does not take this"))
        }
        RegistryError::Throttled { .. } => (Exit::Unreachable, hint("try again later")),
        RegistryError::TooMany { .. } => {
            (Exit::Unreachable, hint("ask the admin of the registry to remove what nobody needs"))
        }
        RegistryError::Unauthorised { host, .. } => {
            (Exit::Unauthorised, hint(&format!("check the name, and log in: docker login {host}")))
        }
        RegistryError::Unexpected { .. } | RegistryError::Unreadable { .. } => {
            (Exit::Unreachable, hint("check that this is a registry"))
        }
        RegistryError::Unknown { .. } => (Exit::TagUnknown, hint("check the tag, or push it first")),
        RegistryError::Unreachable { .. } => {
            (Exit::Unreachable, hint("check the name and the network, --registry-ca-cert or --plain-http"))
        }
    }
}

fn publish(error: &PublishError) -> Explained {
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

fn rotate(error: &RotateError) -> Explained {
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

fn renew(error: &RenewError) -> Explained {
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

fn status(error: &StatusError) -> Explained {
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

fn too_few_keys(error: &TooFewKeys) -> Explained {
    let missing: Vec<String> = error.missing.iter().map(ToString::to_string).collect();
    (
        Exit::NotSigned,
        hint(&format!("sign where these keys are: {}; or ask their holders: --request", missing.join(", "))),
    )
}

fn sign(error: &SignError) -> Explained {
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

fn init(error: &InitError) -> Explained {
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

fn signer(error: &SignerError) -> Explained {
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

fn revoke(error: &RevokeError) -> Explained {
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

fn key(error: &KeyError) -> Explained {
    match error {
        KeyError::Entropy(_) | KeyError::Make(_) => (Exit::Internal, None),
        KeyError::Exists { name } => {
            (Exit::Usage, hint(&format!("choose another name; to look at it: bulla key show {name}")))
        }
        KeyError::Passphrase(error) => passphrase(error),
        KeyError::Store(error) => key_store(error),
        KeyError::Unlock(error) => unlock(error),
    }
}

fn certify(error: &CertifyError) -> Explained {
    match error {
        CertifyError::Certificate(CertificateError::SelfSign(_)) => {
            (Exit::Usage, hint("make another key: bulla key generate NAME --algorithm ecdsa-p256"))
        }
        CertifyError::Certificate(CertificateError::Entropy(_)) => (Exit::Internal, None),
        CertifyError::Key(error) => key(error),
        CertifyError::Unlock(error) => unlock(error),
    }
}

fn unlock(error: &UnlockError) -> Explained {
    match error {
        UnlockError::Halves { name } => (
            Exit::Configuration,
            hint(&format!("somebody changed one of the files of key {name}: restore them from a copy")),
        ),
        UnlockError::Open { source: OpenError::WrongPassphrase, .. } => {
            (Exit::Usage, hint("try again; if the passphrase is right, restore the key file from a copy"))
        }
        UnlockError::Open { .. } => (Exit::Configuration, hint("restore the key file from a copy")),
        UnlockError::Passphrase(error) => passphrase(error),
        UnlockError::Replaced { name, .. } => (
            Exit::Configuration,
            hint(&format!("load what is there now: bulla key remove {name}, then bulla key load")),
        ),
        UnlockError::Store(error) => key_store(error),
    }
}

fn passphrase(error: &PassphraseError) -> Explained {
    match error {
        PassphraseError::Differ { .. } => (Exit::Usage, hint("try again")),
        PassphraseError::Empty { .. } => {
            (Exit::Usage, hint(&format!("choose one; in pipelines check that {PASSPHRASE} is filled")))
        }
        PassphraseError::File { .. } => {
            (Exit::Usage, hint("--passphrase-file must hold one passphrase of at most 4096 bytes"))
        }
        PassphraseError::Interrupted => (Exit::Interrupted, None),
        PassphraseError::NobodyToAsk { variable, .. } => {
            (Exit::Usage, hint(&format!("set {variable} or {PASSPHRASE}, or name a --passphrase-file")))
        }
        PassphraseError::NobodyToAskForNew { .. } => (Exit::Usage, hint("name a --new-passphrase-file")),
        PassphraseError::Terminal { .. } => (Exit::Internal, hint("name a --passphrase-file")),
        PassphraseError::Variable { variable } => (Exit::Usage, hint(&format!("set {variable} anew"))),
    }
}

fn key_store(error: &KeyStoreError) -> Explained {
    match error {
        KeyStoreError::Exists { .. } => (Exit::Usage, hint("choose another name, or move the file away")),
        KeyStoreError::FolderOpenToOthers { path, .. } => (
            Exit::Configuration,
            hint(&format!("look for keys that are not yours, and close it: chmod go-w {}", path.display())),
        ),
        KeyStoreError::Invalid { .. } => (Exit::Configuration, hint("restore the file from a copy")),
        KeyStoreError::Io { .. } => (Exit::Internal, hint("check the folder, or name another: --home DIR")),
        KeyStoreError::Loaded { .. } => {
            (Exit::Usage, hint("do it where its file is; to keep it in this home: bulla key import FILE"))
        }
        KeyStoreError::Source { error, .. } => key_files::key_source(error),
        KeyStoreError::OpenToOthers { path, .. } => (
            Exit::Configuration,
            hint(&format!(
                "close it, and change its passphrase if others saw it: chmod 600 {}",
                path.display()
            )),
        ),
        KeyStoreError::Unknown { .. } => (Exit::Usage, hint("list the keys: bulla key list")),
    }
}

fn pins(error: &PinsError) -> Explained {
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

fn hint(text: &str) -> Option<String> {
    Some(text.to_owned())
}
