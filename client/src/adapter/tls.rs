//! Whom we believe who a server is: the certificate authorities that were named, and those of the
//! system.
//!
//! The latter are read when a server shows a certificate that the former do not vouch for, and not
//! before: to read some hundred of them takes longer than most commands, which speak with a server
//! of one's own, or in plain HTTP with a registry on the same machine.

use std::sync::{Arc, OnceLock};

use reqwest::ClientBuilder;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use rustls_platform_verifier::Verifier;

use crate::adapter::connection::InvalidConnection;

/// TLS for connections that believe the same authorities.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    config: ClientConfig,
}

impl Tls {
    /// TLS that believes the system's authorities, and those in `pem`.
    ///
    /// # Errors
    /// `pem` holds no certificate, or one that is no authority's.
    pub(super) fn new(pem: Option<&[u8]>) -> Result<Self, InvalidConnection> {
        let named = pem.map(read_pem).transpose()?.unwrap_or_default();
        let failed = |error: Error| InvalidConnection::Tls { reason: error.to_string() };
        let provider = Arc::new(aws_lc_rs::default_provider());
        let authorities = Authorities::new(named, Arc::clone(&provider)).map_err(failed)?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(authorities))
            .with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { config })
    }

    /// Has a client speak like this.
    pub(super) fn apply(&self, builder: ClientBuilder) -> ClientBuilder {
        builder.tls_backend_preconfigured(self.config.clone())
    }
}

fn read_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, InvalidConnection> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    certificates.ok().filter(|found| !found.is_empty()).ok_or(InvalidConnection::Certificates)
}

/// Believes whom the system's authorities and the named ones together would: those alone are asked
/// first, and more authorities never make a good certificate a bad one.
#[derive(Debug)]
struct Authorities {
    named: Vec<CertificateDer<'static>>,
    /// The named ones alone, if there are any.
    first: Option<Arc<WebPkiServerVerifier>>,
    all: OnceLock<Result<Verifier, Error>>,
    provider: Arc<CryptoProvider>,
}

impl Authorities {
    fn new(named: Vec<CertificateDer<'static>>, provider: Arc<CryptoProvider>) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in &named {
            roots.add(certificate.clone())?;
        }
        let first = (!roots.is_empty()).then(|| {
            let builder = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
            builder.build().map_err(|error| Error::General(error.to_string()))
        });
        Ok(Self { named, first: first.transpose()?, all: OnceLock::new(), provider })
    }

    fn all(&self) -> Result<&Verifier, Error> {
        let read = || Verifier::new_with_extra_roots(self.named.clone(), Arc::clone(&self.provider));
        self.all.get_or_init(read).as_ref().map_err(Clone::clone)
    }
}

impl ServerCertVerifier for Authorities {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verify = |verifier: &dyn ServerCertVerifier| {
            verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
        };
        match self.first.as_deref().map(|first| verify(first)) {
            Some(Ok(verified)) => Ok(verified),
            Some(Err(_)) | None => verify(self.all()?),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
