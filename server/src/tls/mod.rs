//! Certificates of the server.

mod development;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::{CipherSuite, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use development::{DevelopmentTls, DevelopmentTlsError};

/// TLS 1.2 and 1.3, HTTP/2 and HTTP/1.1, with a chain and a key from PEM files.
///
/// Clients of Notary open a connection for each request. Whoever can resume a session is spared
/// a handshake; tickets hold the state, so that no number of other clients pushes it out.
///
/// # Errors
/// A file cannot be read, or key and certificate do not belong together.
pub fn from_pem_files(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| TlsError::Read { path: certificate.to_owned(), source })?;
    if chain.is_empty() {
        return Err(TlsError::Empty { path: certificate.to_owned() });
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|source| TlsError::Read { path: key.to_owned(), source })?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|source| TlsError::Unfit {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        })?;
    config.ignore_client_order = true;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(TlsError::Tickets)?;
    // One is enough for whoever comes back, and each costs everybody else.
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// AES-128 with SHA-256 first, whatever the client's order is: processors compute SHA-256 by
/// themselves, but not SHA-384, which OpenSSL's clients ask for first, and half of what is done
/// for a short connection is to hash.
fn provider() -> CryptoProvider {
    const FIRST: [CipherSuite; 3] = [
        CipherSuite::TLS13_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    ];
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !FIRST.contains(&suite.suite()));
    provider
}

/// The server has no usable certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or is no PEM.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: rustls_pki_types::pem::Error,
    },
    /// No certificate in the file.
    #[error("no certificate in {}", path.display())]
    Empty {
        /// Which file.
        path: PathBuf,
    },
    /// No keys for session tickets: the system gives no random numbers.
    #[error("cannot make keys for session tickets: {0}")]
    Tickets(rustls::Error),
    /// Certificate and key cannot be used together.
    #[error("cannot use certificate {} with key {}: {source}", certificate.display(), key.display())]
    Unfit {
        /// The chain.
        certificate: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}
