//! Attest beside the image alone, with a key that is named: for those who use cosign and have no trust
//! server. Nothing there says when it was attested, and nothing takes it back.

use bulla_keys_schema::attest::{Attestation, Envelope, IN_TOTO, Predicate};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::ImageRef;

use super::AttestError;
use super::subject::{self, Question};
use crate::flow::Ports;
use crate::flow::cosign::only::{self, OnlyError};
use crate::flow::cosign::write::{self, Kind, Written};
use crate::flow::signing;

/// What to attest, and with what.
#[derive(Clone, Debug)]
pub struct Request {
    /// The image, by tag or digest.
    pub image: ImageRef,
    /// What is said of it.
    pub predicate: Predicate,
    /// Take a report that names no image.
    pub unbound: bool,
    /// A key of this home.
    pub key: KeyName,
    /// Write nothing, and ask for no passphrase.
    pub dry_run: bool,
}

/// What was attested.
#[derive(Clone, Debug)]
pub struct Attested {
    /// The image.
    pub subject: Sha256Digest,
    /// What everybody reads in it.
    pub attestation: Attestation,
    /// The digest of the envelope; nothing in a dry run, where nothing is signed.
    pub digest: Option<Sha256Digest>,
    /// What is in the registry now, or would be.
    pub written: Vec<Written>,
}

/// Attests in the registry alone. What was attested there before stays.
///
/// # Errors
/// See [`AttestOnlyError`]. Everything can be repeated.
pub async fn attest(ports: Ports<'_>, request: &Request) -> Result<Attested, AttestOnlyError> {
    let Request { image, predicate, unbound, .. } = request;
    let repository = image.repository();
    let key = only::find(ports, &request.key)?;
    let question = Question { image, size: None, predicate, unbound: *unbound };
    let subject = subject::find(ports, question).await?;
    let descriptor = subject.descriptor.ok_or(AttestError::Images)?;
    let said = predicate.statement(repository.as_str(), subject.digest).map_err(AttestError::from)?;
    let (payload, attestation) = said;
    let subject = subject.digest;
    if request.dry_run {
        let planned = |kind| Written { subject, kind, place: None, is_new: true };
        let written = [Kind::Attestation, Kind::Bundle].map(planned).to_vec();
        return Ok(Attested { subject, attestation, digest: None, written });
    }
    let signer = signing::open(ports.keys, ports.passphrases, &key).map_err(OnlyError::from)?;
    let envelope = Envelope::sign(IN_TOTO, &payload, &[&signer]).map_err(AttestError::from)?;
    let (subjects, uri) = (std::slice::from_ref(&descriptor), &attestation.predicate_type);
    let written = write::write_attestation(ports, repository, subjects, &envelope, uri, &key.public).await;
    let written = written.map_err(OnlyError::from)?;
    Ok(Attested { subject, attestation, digest: Some(envelope.digest()), written })
}

/// Why nothing was attested, or not everywhere.
#[derive(Debug, thiserror::Error)]
pub enum AttestOnlyError {
    /// The image or the report is not what it has to be.
    #[error(transparent)]
    Attest(#[from] AttestError),
    /// The key cannot be used, or the registry does not take everything.
    #[error(transparent)]
    InRegistry(#[from] OnlyError),
}
