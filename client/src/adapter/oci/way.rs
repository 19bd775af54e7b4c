//! The way to one repository of a registry: a client, what it shows as `Authorization`, and
//! patience with a registry that is busy.

use std::time::Duration;

use bulla_keys_schema::names::RepositoryName;
use oci_client::secrets::RegistryAuth;
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::adapter::innermost;
use crate::adapter::registry_token::{Access, TokenError, TokenRequest};
use crate::port::RegistryError;

/// Docker Hub's API is not where its name points.
const DOCKER_HUB: &str = "registry-1.docker.io";
/// How often a request is repeated that a busy registry did not answer.
pub(super) const REPEATS: u32 = 3;
pub(super) const PAUSE: Duration = Duration::from_millis(250);
/// The longest wait that a registry may ask for: longer ones are for the user to decide.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// A way that can be gone many times.
pub(in crate::adapter) struct Way {
    host: String,
    base: Url,
    repository: RepositoryName,
    access: Access,
    client: Client,
    login: RegistryAuth,
    plain_hosts: Vec<String>,
    shown: Mutex<RegistryAuth>,
}

/// Where a way leads, and for what.
pub(in crate::adapter) struct WayTo<'a> {
    pub(in crate::adapter) host: &'a str,
    pub(in crate::adapter) repository: &'a RepositoryName,
    pub(in crate::adapter) access: Access,
    pub(in crate::adapter) plain: bool,
    /// Other hosts that may be spoken with in plain HTTP.
    pub(in crate::adapter) plain_hosts: &'a [String],
}

impl WayTo<'_> {
    /// Gets a token, where the registry wants one.
    pub(in crate::adapter) async fn open(
        self,
        client: Client,
        login: RegistryAuth,
    ) -> Result<Way, RegistryError> {
        let Self { host, repository, access, plain, plain_hosts } = self;
        let api_host = if host == "docker.io" { DOCKER_HUB } else { host };
        let scheme = if plain { "http" } else { "https" };
        let base = format!("{scheme}://{api_host}/v2/");
        let base: Url = base.parse().map_err(|_| unreachable(host, "its name is no host"))?;
        let way = Way {
            host: host.to_owned(),
            base,
            repository: repository.clone(),
            access,
            client,
            login,
            plain_hosts: plain_hosts.to_vec(),
            shown: Mutex::new(RegistryAuth::Anonymous),
        };
        let shown = way.token().exchange(&way.base).await;
        let shown = shown.map_err(|error| way.failed(&error, repository.as_str()))?;
        *way.shown.lock().await = shown;
        Ok(way)
    }
}

impl Way {
    pub(super) fn host(&self) -> String {
        self.host.clone()
    }

    pub(super) const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The address of something in the repository.
    pub(super) fn url(&self, rest: &str) -> Result<Url, RegistryError> {
        let path = format!("{}/{rest}", self.repository.path());
        self.base.join(&path).map_err(|_| unreachable(&self.host, "its name is no host"))
    }

    /// The address that an answer to `from` names.
    pub(super) fn follow(from: &Url, named: &str) -> Option<Url> {
        from.join(named).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
    }

    /// Whether an address is in the same registry: others get no login, and no say.
    pub(super) fn owns(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Sends a request, again with a new token where the one shown does not do, and again after a
    /// pause where the registry is busy. `finish` adds what the request carries.
    pub(super) async fn send(
        &self,
        method: &Method,
        url: &Url,
        reference: &str,
        finish: impl Fn(RequestBuilder) -> RequestBuilder + Send + Sync,
    ) -> Result<Response, RegistryError> {
        let (mut has_asked, mut repeats) = (false, 0);
        loop {
            let request = finish(self.client.request(method.clone(), url.clone()));
            let pause = match self.authorise(request, url).await.send().await {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !has_asked => {
                    has_asked = true;
                    // The place that answers counts, which may be another than the one that was asked:
                    // whoever is named as the next one must not name where logins are shown.
                    if !self.owns(response.url()) || !self.renew(&response, reference).await? {
                        return Ok(response);
                    }
                    continue;
                }
                Ok(response) if !is_busy(response.status()) || repeats == REPEATS => return Ok(response),
                Ok(response) => wanted_pause(&response),
                Err(error) if !is_broken(&error) || repeats == REPEATS => {
                    return Err(self.unreachable(&error));
                }
                Err(_) => None,
            };
            let pause = pause.unwrap_or_else(|| PAUSE.saturating_mul(1 << repeats.min(8)));
            if pause > LONGEST_PAUSE {
                return Err(RegistryError::Throttled { host: self.host(), reference: reference.to_owned() });
            }
            sleep(pause).await;
            repeats += 1;
        }
    }

    async fn authorise(&self, request: RequestBuilder, url: &Url) -> RequestBuilder {
        if !self.owns(url) {
            return request;
        }
        match &*self.shown.lock().await {
            RegistryAuth::Anonymous => request,
            RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
            RegistryAuth::Bearer(token) => request.bearer_auth(token),
        }
    }

    /// Tokens are good for a minute or more, and some registries ask for one only where it is
    /// needed. Whether there is a new one.
    async fn renew(&self, response: &Response, reference: &str) -> Result<bool, RegistryError> {
        match self.token().answer(response).await.map_err(|error| self.failed(&error, reference))? {
            Some(token) => *self.shown.lock().await = token,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn token(&self) -> TokenRequest<'_> {
        let Self { repository, access, client, login, plain_hosts, .. } = self;
        TokenRequest {
            client,
            path: repository.path(),
            access: *access,
            login,
            plain_hosts: plain_hosts.as_slice(),
        }
    }

    fn failed(&self, error: &TokenError, reference: &str) -> RegistryError {
        match error {
            TokenError::Plain { realm } => {
                RegistryError::PlainLogin { host: self.host(), realm: realm.clone() }
            }
            TokenError::Status(status) if status.is_client_error() => self.denied(reference),
            _ => self.unreachable(error),
        }
    }

    /// What a refusal means, given what the way is for.
    pub(super) fn denied(&self, reference: &str) -> RegistryError {
        let (host, reference) = (self.host(), reference.to_owned());
        match self.access {
            Access::Pull => RegistryError::Unauthorised { host, reference },
            Access::PullAndPush => RegistryError::MayNotWrite { host, reference },
        }
    }

    pub(super) fn unreachable(&self, error: &(dyn std::error::Error + 'static)) -> RegistryError {
        unreachable(&self.host, &innermost(error))
    }
}

fn unreachable(host: &str, reason: &str) -> RegistryError {
    RegistryError::Unreachable { host: host.to_owned(), reason: reason.to_owned() }
}

/// Answers that say nothing about the thing asked for.
const fn is_busy(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::TOO_MANY_REQUESTS
            | StatusCode::INTERNAL_SERVER_ERROR
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT
    )
}

/// A connection that there was and that broke. Who cannot be reached, or is silent for as long as
/// we wait, is not asked again.
fn is_broken(error: &reqwest::Error) -> bool {
    !error.is_connect() && !error.is_timeout() && !error.is_redirect() && !error.is_builder()
}

/// `Retry-After` in seconds. Dates are not read: our pauses are shorter than clocks differ.
fn wanted_pause(response: &Response) -> Option<Duration> {
    response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}
