//! What `key export --certificate` answers.

use bulla_keys_schema::key::{Certificate, KeyName};
use bulla_keys_schema::names::RepositoryName;
use serde::Serialize;

use crate::output::Report;

/// A certificate of a root key.
#[derive(Clone, Debug, Serialize)]
pub struct CertificateReport {
    key: String,
    repository: String,
    fingerprint: String,
    certificate: String,
    not_after: String,
}

impl CertificateReport {
    /// Of `certificate`, which the key `name` made for itself.
    #[must_use]
    pub fn new(name: &KeyName, repository: &RepositoryName, certificate: &Certificate) -> Self {
        Self {
            key: name.to_string(),
            repository: repository.to_string(),
            fingerprint: certificate.public_key().fingerprint().to_string(),
            certificate: certificate.pem().to_owned(),
            not_after: certificate.not_after().to_string(),
        }
    }
}

impl Report for CertificateReport {
    const SCHEMA: &'static str = "bulla/certificate/v1";

    /// The certificate itself, as a file to hand over.
    fn text(&self) -> String {
        self.certificate.clone()
    }
}
