//! Certificates for root keys, which Notary's dialect wants in one each.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Certificate, SelfSignError, Signer};
use bulla_keys_schema::metadata::KeyEntry;
use bulla_keys_schema::time::UtcTime;

use crate::flow::lifetimes;
use crate::port::{Entropy, EntropyError};

/// Wraps the key of `signer` into a certificate for `common_name`: a repository, or the start
/// of the names of some and `*`.
///
/// # Errors
/// No randomness, a key of the wrong kind, or a name that does not fit into a certificate.
pub fn certify(
    entropy: &dyn Entropy,
    signer: &dyn Signer,
    common_name: &str,
    now: UtcTime,
) -> Result<KeyEntry, CertificateError> {
    certificate(entropy, signer, common_name, now).map(KeyEntry::certified)
}

/// The certificate alone, for somebody who lists it elsewhere.
///
/// # Errors
/// As for [`certify`].
pub fn certificate(
    entropy: &dyn Entropy,
    signer: &dyn Signer,
    common_name: &str,
    now: UtcTime,
) -> Result<Certificate, CertificateError> {
    let mut serial = [0; 16];
    entropy.fill(&mut serial)?;
    let until = now.plus_seconds(lifetimes::root(Dialect::Notary1));
    Ok(Certificate::self_signed(signer, common_name, serial, now, until)?)
}

/// Why a root key got no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The key or the name does not fit.
    #[error("the certificate of a root key cannot be made: {0}")]
    SelfSign(#[from] SelfSignError),
}
