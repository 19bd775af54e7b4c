//! A certificate for a root key of a repository in Notary's dialect, for whoever begins or
//! changes that root elsewhere: only who holds the private half can make it.

use bulla_keys_schema::key::{Certificate, KeyName};
use bulla_keys_schema::names::RepositoryName;

use super::{KeyError, KeyPorts};
use crate::flow::certificate::{self, CertificateError};
use crate::flow::signing::{self, UnlockError};

/// Makes a certificate of the key `name` for `repository`.
///
/// # Errors
/// No such key, one that cannot be opened, or one that is of the wrong kind.
pub fn certify(
    ports: KeyPorts<'_>,
    name: &KeyName,
    repository: &RepositoryName,
) -> Result<Certificate, CertifyError> {
    let stored = ports.keys.find(name).map_err(KeyError::from)?;
    let secret = signing::open(ports.keys, ports.passphrases, &stored)?;
    Ok(certificate::certificate(ports.entropy, &secret, repository.as_str(), ports.clock.now())?)
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// It cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// There is no such key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The key cannot be used.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
}
