//! What stands in the way of an attestation.

use bulla_keys_schema::attest::{InvalidAttestation, InvalidPredicate};

use super::{Exit, Explained, gate, hint, in_registry, publish, registry, sign, too_few_keys};
use crate::command::attest::UnfitFile;
use crate::command::attestation::{NoneFound, NotWritten};
use crate::flow::attest::AttestError;
use crate::flow::attest::only::AttestOnlyError;

pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    if let Some(error) = error.downcast_ref() {
        return Some(attest(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(only(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(file(error));
    }
    if error.is::<NotWritten>() {
        return Some((Exit::Usage, hint("name another file: --out FILE")));
    }
    Some(match error.downcast_ref()? {
        NoneFound::Nothing { .. } => {
            (Exit::NoEvidence, hint("look at what there is: bulla attestation list IMAGE"))
        }
        NoneFound::Unsound { .. } => (Exit::NoEvidence, hint("have it attested again: bulla attest")),
        NoneFound::Unreadable => (Exit::Internal, None),
    })
}

fn only(error: &AttestOnlyError) -> Explained {
    match error {
        AttestOnlyError::Attest(error) => attest(error),
        AttestOnlyError::InRegistry(error) => in_registry::only(error),
    }
}

fn file(error: &UnfitFile) -> Explained {
    match error {
        UnfitFile::Database { .. } => {
            (Exit::Configuration, hint("name the metadata.json of Trivy: --db-metadata FILE"))
        }
        UnfitFile::File { .. } => {
            (Exit::NoEvidence, hint("scan the image first: trivy image -f json -o FILE IMAGE"))
        }
        UnfitFile::NothingScanned => (Exit::Usage, hint("leave --scan-args and --db-metadata out")),
        UnfitFile::Predicate { reason, .. } => predicate(reason),
        UnfitFile::TooLarge { .. } => {
            (Exit::NoEvidence, hint("scan for vulnerabilities alone: trivy image --scanners vuln"))
        }
        UnfitFile::TypeOfNone => (Exit::Usage, hint("say that it is a file of your own: --type custom")),
    }
}

fn attest(error: &AttestError) -> Explained {
    match error {
        AttestError::Images => (Exit::Usage, hint("attest its images one by one, each by its digest")),
        AttestError::KeysChanged { .. } => (Exit::Busy, hint("run the command again")),
        AttestError::LegacyWithoutRegistry => (Exit::Usage, hint("leave --size out")),
        AttestError::MayNotAttest { .. } => (
            Exit::NotSigned,
            hint("the admin adds an attester: bulla signer add REPOSITORY NAME --tags 'att/**'"),
        ),
        AttestError::NoAttester { unable } => match unable.first() {
            Some(error) => too_few_keys(error),
            None => (
                Exit::NotSigned,
                hint(
                    "the admin adds an attester: bulla signer add REPOSITORY NAME --tags 'att/**' --key FILE.pub",
                ),
            ),
        },
        AttestError::NothingNamed => (Exit::Usage, hint("name a tag or a digest")),
        AttestError::NotInRegistry { source, .. } => {
            (in_registry::exit(source), hint("run the same command again; what is there is left alone"))
        }
        AttestError::OtherDigest { .. } => {
            (Exit::Tampered, hint("attest nothing; tell the admin of the registry"))
        }
        AttestError::OtherImage { .. } => {
            (Exit::NoEvidence, hint("scan this very image, by its digest, and attest that report"))
        }
        AttestError::Predicate(error) => predicate(error),
        AttestError::Publish(error) => publish(error),
        AttestError::Registry(error) => registry(error),
        AttestError::RegistryFirst(failure) => (in_registry::exit(failure), hint("run the command again")),
        AttestError::SeveralImages { .. } => {
            (Exit::Usage, hint("name one of them: REPOSITORY@sha256:DIGEST"))
        }
        AttestError::Sign(error) => sign(error),
        AttestError::SignEnvelope(_) => (Exit::Internal, None),
        AttestError::TooFewKeys(error) => too_few_keys(error),
        AttestError::Unbound => (
            Exit::NoEvidence,
            hint("scan the image in its registry; if you know that the report is of it: --unbound"),
        ),
    }
}

fn predicate(error: &InvalidPredicate) -> Explained {
    match error {
        InvalidPredicate::Report(error)
        | InvalidPredicate::Attestation(InvalidAttestation::Report(error)) => {
            (Exit::NoEvidence, gate::invalid(error).1)
        }
        InvalidPredicate::Filtered { .. } => (
            Exit::NoEvidence,
            hint(
                "scan without filters, or say what the scanner was run with: --scan-args 'image --severity HIGH'",
            ),
        ),
        InvalidPredicate::NoPlace { .. } => {
            (Exit::Usage, hint("attest the scanner's own JSON, or leave --scan-args and --db-metadata out"))
        }
        InvalidPredicate::NoUri { .. } | InvalidPredicate::TakenType { .. } => {
            (Exit::Usage, hint("name a URI of your own: --predicate-type https://example.com/TYPE/v1"))
        }
        InvalidPredicate::TooLarge { .. } => {
            (Exit::NoEvidence, hint("scan for vulnerabilities alone: trivy image --scanners vuln"))
        }
        InvalidPredicate::Attestation(_)
        | InvalidPredicate::Empty
        | InvalidPredicate::NoObject
        | InvalidPredicate::NotText => (Exit::NoEvidence, hint("name another file")),
    }
}
