//! The certificate authority of a development server.
//!
//! Made on the first start and kept, so that clients need not be told anew. It may vouch for
//! loopback names only: a stolen development key opens nothing else.

use std::fs::DirBuilder;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PKCS_ECDSA_P256_SHA256, date_time_ymd,
};

use crate::private_file;

/// Age at which the server's certificate is made anew; it is valid for longer.
const RENEWED: Duration = Duration::from_secs(90 * 24 * 3600);

/// The files of a development server's TLS.
#[derive(Clone, Debug)]
pub struct DevelopmentTls {
    folder: PathBuf,
}

impl DevelopmentTls {
    /// Uses the files in `folder`; what is missing is made.
    ///
    /// # Errors
    /// A file cannot be read or written.
    pub fn in_folder(folder: PathBuf) -> Result<Self, DevelopmentTlsError> {
        let tls = Self { folder };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&tls.folder)
            .map_err(|source| DevelopmentTlsError::Io { path: tls.folder.clone(), source })?;
        let authority = tls.authority()?;
        if !tls.is_fresh() {
            tls.issue(&authority)?;
        }
        Ok(tls)
    }

    /// The certificate that clients have to trust.
    #[must_use]
    pub fn authority_certificate(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.folder.join("server.pem")
    }

    /// The server's key.
    #[must_use]
    pub fn key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// The key of the authority; made with its certificate if there is none. The key is
    /// written first: a certificate is never without its key, whenever the process dies.
    fn authority(&self) -> Result<KeyPair, DevelopmentTlsError> {
        let (path, certificate) = (self.folder.join("ca.key"), self.authority_certificate());
        let key = match std::fs::read_to_string(&path) {
            Ok(text) => KeyPair::from_pem(&text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
                write(&path, &key.serialize_pem())?;
                // One that another key signed is worth nothing.
                remove(&certificate)?;
                remove(&self.certificate())?;
                key
            }
            Err(source) => return Err(DevelopmentTlsError::Io { path, source }),
        };
        if !certificate.exists() {
            write(&certificate, &authority_params().self_signed(&key)?.pem())?;
        }
        Ok(key)
    }

    /// Whether there is a certificate of the server that is young enough.
    fn is_fresh(&self) -> bool {
        let age = |path: &Path| {
            let modified = std::fs::metadata(path).and_then(|metadata| metadata.modified()).ok()?;
            SystemTime::now().duration_since(modified).ok()
        };
        self.key().exists() && age(&self.certificate()).is_some_and(|age| age < RENEWED)
    }

    /// Key first, then certificate: a certificate that is there has its key.
    fn issue(&self, authority: &KeyPair) -> Result<(), DevelopmentTlsError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::new(authority_params(), authority);
        let certificate = server_params()?.signed_by(&key, &issuer)?;
        remove(&self.certificate())?;
        write(&self.key(), &key.serialize_pem())?;
        write(&self.certificate(), &certificate.pem())
    }
}

fn authority_params() -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Bulla development CA, this machine only");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv4Addr::LOCALHOST.into(), 32)),
            GeneralSubtree::IpAddress(CidrSubnet::from_addr_prefix(Ipv6Addr::LOCALHOST.into(), 128)),
        ],
        excluded_subtrees: Vec::new(),
    });
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2046, 1, 1);
    params
}

fn server_params() -> Result<CertificateParams, rcgen::Error> {
    let names = ["localhost".to_owned()].into_iter();
    let addresses = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let names: Vec<String> = names.chain(addresses.map(|address| address.to_string())).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "localhost");
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let today = SystemTime::now();
    params.not_before = (today - Duration::from_secs(24 * 3600)).into();
    // Some clients refuse server certificates that are valid for longer than this.
    params.not_after = (today + Duration::from_secs(397 * 24 * 3600)).into();
    Ok(params)
}

fn write(path: &Path, text: &str) -> Result<(), DevelopmentTlsError> {
    private_file::replace(path, text.as_bytes())
        .map_err(|source| DevelopmentTlsError::Io { path: path.to_owned(), source })
}

fn remove(path: &Path) -> Result<(), DevelopmentTlsError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(DevelopmentTlsError::Io { path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// A development server has no certificate.
#[derive(Debug, thiserror::Error)]
pub enum DevelopmentTlsError {
    /// A file cannot be read or written.
    #[error("cannot use {}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A key or certificate cannot be made or read.
    #[error("cannot make a development certificate: {0}\nhint: remove the folder `tls` in the data folder")]
    Certificate(#[from] rcgen::Error),
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_made_once_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls");
        let tls = DevelopmentTls::in_folder(path.clone()).unwrap();
        let read = |path: PathBuf| std::fs::read(path).unwrap();
        let before = (read(tls.authority_certificate()), read(tls.certificate()));
        crate::tls::from_pem_files(&tls.certificate(), &tls.key()).unwrap();
        let again = DevelopmentTls::in_folder(path.clone()).unwrap();
        assert_eq!(before, (read(again.authority_certificate()), read(again.certificate())));
        for name in ["ca.key", "server.key"] {
            let mode = std::fs::metadata(path.join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
    }

    #[test]
    fn whatever_is_missing_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls");
        for missing in ["ca.key", "ca.pem", "server.key", "server.pem"] {
            DevelopmentTls::in_folder(path.clone()).unwrap();
            std::fs::remove_file(path.join(missing)).unwrap();
            let tls = DevelopmentTls::in_folder(path.clone()).unwrap();
            crate::tls::from_pem_files(&tls.certificate(), &tls.key()).unwrap();
            assert!(tls.authority_certificate().exists(), "{missing}");
        }
    }
}
