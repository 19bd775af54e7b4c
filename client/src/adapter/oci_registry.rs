//! Registries of the OCI distribution spec. Logins are `oci-client`'s; tokens and manifests are
//! fetched here, because that crate reads an answer of any length into memory and takes the
//! registry's word for the digest where it gives one.

use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bytes::BytesMut;
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use reqwest::{Certificate, Client, Response, StatusCode};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::adapter::connection::InvalidConnection;
use crate::adapter::oci_credentials::CredentialSources;
use crate::adapter::registry_token::{self, TokenError};
use crate::adapter::{Patience, innermost};
use crate::config::is_loopback_host;
use crate::port::registry::{Manifest, Registry, RegistryError, Wanted};

/// Manifests and indexes of OCI and Docker.
const MEDIA_TYPES: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.docker.distribution.manifest.v2+json";
const CLAIMED: &str = "docker-content-digest";
/// Docker Hub's API is not where its name points.
const DOCKER_HUB: &str = "registry-1.docker.io";
const USER_AGENT: &str = concat!("bulla/", env!("CARGO_PKG_VERSION"));
/// How long a credential helper may take; some ask a person.
const HELPER: Duration = Duration::from_secs(60);

/// How to reach registries.
#[derive(Clone, Debug, Default)]
pub struct RegistrySettings {
    /// More certificate authorities, PEM.
    pub ca_pem: Option<Vec<u8>>,
    /// Hosts to speak plain HTTP with, besides this machine.
    pub plain_http: PlainHttp,
    /// Where logins may be.
    pub credentials: CredentialSources,
    /// How long a registry, and its token server, may take.
    pub patience: Patience,
}

/// Which registries may be spoken with in plain HTTP, besides this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PlainHttp {
    /// All: `--plain-http`.
    All,
    /// These, as `host` or `host:port`.
    Hosts(Vec<String>),
    /// None.
    #[default]
    None,
}

/// Any registry, chosen by the host of the repository's name.
pub struct OciRegistry {
    settings: RegistrySettings,
    certificates: Vec<Certificate>,
}

impl OciRegistry {
    /// Prepares connections.
    ///
    /// # Errors
    /// The CA file holds no certificate.
    pub fn new(settings: RegistrySettings) -> Result<Self, InvalidConnection> {
        let certificates = settings.ca_pem.as_deref().map(read_certificates).transpose()?.unwrap_or_default();
        Ok(Self { settings, certificates })
    }

    fn is_plain(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        match &self.settings.plain_http {
            PlainHttp::All => true,
            // A registry on this machine may well speak TLS: naming a CA says that it does.
            _ if is_loopback_host(name) => self.settings.ca_pem.is_none(),
            PlainHttp::Hosts(hosts) => hosts.iter().any(|known| known == host),
            PlainHttp::None => false,
        }
    }

    /// The stored login. A credential helper may hang: it gets a thread that nobody waits for
    /// longer than that.
    async fn find_login(&self, repository: &RepositoryName) -> Result<RegistryAuth, RegistryError> {
        let host = repository.host().unwrap_or_default().to_owned();
        let failed = |reason: &str| RegistryError::Credentials { host, reason: reason.to_owned() };
        let (credentials, name) = (self.settings.credentials.clone(), repository.clone());
        let (answer, found) = oneshot::channel();
        thread::spawn(move || {
            // Nobody listens any more after the time-out.
            let _ = answer.send(credentials.find(&name));
        });
        match timeout(HELPER, found).await {
            Ok(Ok(login)) => login,
            Ok(Err(_)) => Err(failed("the credential helper cannot be asked")),
            Err(_) => Err(failed("the credential helper does not answer")),
        }
    }

    fn client(&self, ask: &Ask<'_>) -> Result<Client, RegistryError> {
        let builder = self.settings.patience.apply(Client::builder());
        let mut builder = builder
            .user_agent(USER_AGENT)
            .https_only(!ask.plain)
            .tls_certs_merge(self.certificates.iter().cloned());
        if ask.plain {
            builder = builder.no_proxy();
        }
        builder.build().map_err(|error| ask.unreachable(&error))
    }

    async fn get(
        &self,
        client: &Client,
        ask: &Ask<'_>,
        login: &RegistryAuth,
    ) -> Result<Response, RegistryError> {
        let request = client.get(ask.url()).header(ACCEPT, MEDIA_TYPES);
        let request = match login {
            RegistryAuth::Anonymous => request,
            RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
            RegistryAuth::Bearer(token) => request.bearer_auth(token),
        };
        request.send().await.map_err(|error| ask.unreachable(&error))
    }
}

#[async_trait]
impl Registry for OciRegistry {
    async fn manifest(
        &self,
        repository: &RepositoryName,
        wanted: &Wanted,
    ) -> Result<Manifest, RegistryError> {
        let host =
            repository.host().ok_or_else(|| RegistryError::NoHost { repository: repository.clone() })?;
        let api_host = if host == "docker.io" { DOCKER_HUB } else { host };
        let ask = Ask { host, api_host, repository, wanted, plain: self.is_plain(host) };
        let client = self.client(&ask)?;
        let login = self.find_login(repository).await?;
        let login = registry_token::exchange(&client, &ask.base(), repository.path(), login)
            .await
            .map_err(|error| ask.failed(&error))?;
        let response = self.get(&client, &ask, &login).await?;
        match response.status() {
            StatusCode::OK => ask.receive(response).await,
            StatusCode::NOT_FOUND => {
                Err(RegistryError::Unknown { host: host.to_owned(), reference: ask.name() })
            }
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(ask.unauthorised()),
            status => Err(RegistryError::Unexpected {
                host: host.to_owned(),
                reference: ask.name(),
                status: status.as_u16(),
            }),
        }
    }
}

/// One question to one registry.
struct Ask<'a> {
    host: &'a str,
    api_host: &'a str,
    repository: &'a RepositoryName,
    wanted: &'a Wanted,
    plain: bool,
}

impl Ask<'_> {
    fn base(&self) -> String {
        let scheme = if self.plain { "http" } else { "https" };
        format!("{scheme}://{}/v2/", self.api_host)
    }

    fn url(&self) -> String {
        let what = match self.wanted {
            Wanted::Digest(digest) => digest.to_oci(),
            Wanted::Tag(tag) => tag.to_string(),
        };
        format!("{}{}/manifests/{what}", self.base(), self.repository.path())
    }

    fn name(&self) -> String {
        format!("{}{}", self.repository, self.wanted)
    }

    async fn receive(&self, mut response: Response) -> Result<Manifest, RegistryError> {
        let claimed = header(response.headers(), CLAIMED);
        let media_type = header(response.headers(), CONTENT_TYPE.as_str());
        let limit = limits::MANIFEST_BYTES;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(RegistryError::TooLarge {
                    host: self.host.to_owned(),
                    reference: self.name(),
                    limit,
                });
            }
            body.extend_from_slice(&chunk);
        }
        let manifest = Manifest::new(body.freeze(), media_type);
        let asked = match self.wanted {
            Wanted::Digest(digest) => Some(digest.to_oci()),
            Wanted::Tag(_) => None,
        };
        for expected in [asked, claimed].into_iter().flatten() {
            self.check(manifest.digest(), &expected)?;
        }
        Ok(manifest)
    }

    /// A registry that contradicts itself is broken or lies; either way nothing is signed.
    fn check(&self, computed: Sha256Digest, expected: &str) -> Result<(), RegistryError> {
        // Claims by other algorithms cannot be compared; the digest is ours in any case.
        if !expected.starts_with("sha256:") || expected == computed.to_oci() {
            return Ok(());
        }
        Err(RegistryError::Mismatch {
            host: self.host.to_owned(),
            reference: self.name(),
            computed: computed.to_oci(),
            expected: expected.to_owned(),
        })
    }

    fn failed(&self, error: &TokenError) -> RegistryError {
        match error {
            TokenError::Status(status) if status.is_client_error() => self.unauthorised(),
            _ => self.unreachable(error),
        }
    }

    fn unauthorised(&self) -> RegistryError {
        RegistryError::Unauthorised { host: self.host.to_owned(), reference: self.name() }
    }

    fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> RegistryError {
        RegistryError::Unreachable { host: self.host.to_owned(), reason: innermost(error) }
    }
}

fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

fn read_certificates(pem: &[u8]) -> Result<Vec<Certificate>, InvalidConnection> {
    let certificates = Certificate::from_pem_bundle(pem).ok().filter(|found| !found.is_empty());
    certificates.ok_or(InvalidConnection::Certificates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_unless_asked_for() {
        let registry = |ca_pem: Option<Vec<u8>>, plain_http| OciRegistry {
            settings: RegistrySettings { ca_pem, plain_http, ..RegistrySettings::default() },
            certificates: vec![],
        };
        let default = registry(None, PlainHttp::None);
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3"] {
            assert!(default.is_plain(host), "{host}");
            assert!(!registry(Some(vec![]), PlainHttp::None).is_plain(host), "{host}");
        }
        for host in ["r.example.com", "localhost.example.com:5000", "10.0.0.1:5000"] {
            assert!(!default.is_plain(host), "{host}");
            assert!(registry(None, PlainHttp::All).is_plain(host), "{host}");
        }
        let some = registry(None, PlainHttp::Hosts(vec!["r.example.com:5000".to_owned()]));
        assert!(some.is_plain("r.example.com:5000") && !some.is_plain("r.example.com"));
    }
}
