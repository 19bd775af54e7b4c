//! Registries of the OCI distribution spec: where they are, how they may be spoken with, and who
//! we are to them. What is asked for is in `oci`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, Tag};
use bytes::Bytes;
use oci_client::secrets::RegistryAuth;
use reqwest::{Client, redirect};
use tokio::sync::{OnceCell, oneshot};
use tokio::time::timeout;

use crate::adapter::connection::InvalidConnection;
use crate::adapter::oci::{self, Way, WayTo};
use crate::adapter::oci_credentials::CredentialSources;
use crate::adapter::registry_token::Access;
use crate::adapter::tls::Tls;
use crate::adapter::{Patience, innermost};
use crate::config::is_loopback_host;
use crate::port::registry::{Descriptor, ManifestPush, Pushed};
use crate::port::{Manifest, Registry, RegistryError, Wanted};

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
pub struct PlainHttp {
    /// All: `--plain-http`. That says nothing of the token servers that they name.
    pub all: bool,
    /// These, as `host` or `host:port`; token servers as well.
    pub hosts: Vec<String>,
}

/// Any registry, chosen by the host of the repository's name.
pub struct OciRegistry {
    settings: RegistrySettings,
    tls: Tls,
    /// Ways that were opened: helpers and token servers are asked once for each.
    ways: Mutex<BTreeMap<(RepositoryName, Access), Opening>>,
}

/// A way that somebody opens, for all who wait for it.
type Opening = Arc<OnceCell<Arc<Way>>>;

impl OciRegistry {
    /// Prepares connections.
    ///
    /// # Errors
    /// The CA file holds no certificate.
    pub fn new(settings: RegistrySettings) -> Result<Self, InvalidConnection> {
        let tls = Tls::new(settings.ca_pem.as_deref())?;
        Ok(Self { settings, tls, ways: Mutex::default() })
    }

    fn is_plain(&self, host: &str) -> bool {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        let PlainHttp { all, hosts } = &self.settings.plain_http;
        match () {
            () if *all => true,
            // A registry on this machine may well speak TLS: naming a CA says that it does.
            () if is_loopback_host(name) => self.settings.ca_pem.is_none(),
            () => hosts.iter().any(|known| known == host),
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

    async fn way(&self, repository: &RepositoryName, access: Access) -> Result<Arc<Way>, RegistryError> {
        let cell = {
            // A map that somebody left in panic is still one.
            let mut ways = self.ways.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(ways.entry((repository.clone(), access)).or_default())
        };
        cell.get_or_try_init(|| self.open(repository, access)).await.cloned()
    }

    async fn open(&self, repository: &RepositoryName, access: Access) -> Result<Arc<Way>, RegistryError> {
        let host =
            repository.host().ok_or_else(|| RegistryError::NoHost { repository: repository.clone() })?;
        let plain = self.is_plain(host);
        let client = self.client(plain).map_err(|error| RegistryError::Unreachable {
            host: host.to_owned(),
            reason: innermost(&error),
        })?;
        let login = self.find_login(repository).await?;
        let plain_hosts = &self.settings.plain_http.hosts;
        let way = WayTo { host, repository, access, plain, plain_hosts };
        Ok(Arc::new(way.open(client, login).await?))
    }

    fn client(&self, plain: bool) -> reqwest::Result<Client> {
        let builder = self.tls.apply(self.settings.patience.apply(Client::builder()));
        let builder =
            builder.user_agent(USER_AGENT).https_only(!plain).redirect(redirect::Policy::custom(stay_in_tls));
        if plain { builder.no_proxy().build() } else { builder.build() }
    }
}

#[async_trait]
impl Registry for OciRegistry {
    async fn manifest(
        &self,
        repository: &RepositoryName,
        wanted: &Wanted,
    ) -> Result<Manifest, RegistryError> {
        oci::read_manifest(&*self.way(repository, Access::Pull).await?, wanted).await
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        oci::read_blob(&*self.way(repository, Access::Pull).await?, digest, limit).await
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        oci::read_referrers(&*self.way(repository, Access::Pull).await?, digest).await
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, RegistryError> {
        oci::read_tags(&*self.way(repository, Access::Pull).await?).await
    }

    async fn push_blob(&self, repository: &RepositoryName, bytes: Bytes) -> Result<(), RegistryError> {
        oci::write_blob(&*self.way(repository, Access::PullAndPush).await?, bytes).await
    }

    async fn push_manifest(
        &self,
        repository: &RepositoryName,
        push: &ManifestPush,
    ) -> Result<Pushed, RegistryError> {
        oci::write_manifest(&*self.way(repository, Access::PullAndPush).await?, push).await
    }
}

/// Who was shown a login over TLS could have it sent on in the clear: to the same host and port it is.
fn stay_in_tls(attempt: redirect::Attempt<'_>) -> redirect::Action {
    let began = attempt.previous().last().map(reqwest::Url::scheme);
    if began == Some("https") && attempt.url().scheme() != "https" {
        return attempt.stop();
    }
    redirect::Policy::default().redirect(attempt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_http_is_for_this_machine_unless_asked_for() {
        let registry = |ca_pem: Option<Vec<u8>>, plain_http| OciRegistry {
            settings: RegistrySettings { ca_pem, plain_http, ..RegistrySettings::default() },
            tls: Tls::new(None).unwrap(),
            ways: Mutex::default(),
        };
        let default = registry(None, PlainHttp::default());
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.1.2.3"] {
            assert!(default.is_plain(host), "{host}");
            assert!(!registry(Some(vec![]), PlainHttp::default()).is_plain(host), "{host}");
        }
        for host in ["r.example.com", "localhost.example.com:5000", "10.0.0.1:5000"] {
            assert!(!default.is_plain(host), "{host}");
            assert!(registry(None, PlainHttp { all: true, hosts: vec![] }).is_plain(host), "{host}");
        }
        let some = registry(None, PlainHttp { all: false, hosts: vec!["r.example.com:5000".to_owned()] });
        assert!(some.is_plain("r.example.com:5000") && !some.is_plain("r.example.com"));
    }
}
