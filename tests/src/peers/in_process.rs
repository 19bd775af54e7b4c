//! Clients that are crates: `sigstore-tuf` and `tough`, each through its own public API.
//!
//! Both are given our HTTP client, for one reason: it trusts the test server's authority.

use std::path::Path;

use futures_util::stream;
use sigstore_tuf::cache::FileStore;
use sigstore_tuf::client::{HttpRepository, Updater};
use tough::{
    IntoVec, RepositoryLoader, TargetName, Transport, TransportError, TransportErrorKind, TransportStream,
};

use super::{Observed, Refused, Repository};

/// Follow with `sigstore-tuf`, its cache in `state`.
pub(super) async fn sigstore_tuf(
    repository: &Repository,
    state: &Path,
    target: Option<&str>,
) -> Result<Observed, Refused> {
    let now = repository.now.unwrap_or_else(jiff::Timestamp::now);
    let source = HttpRepository::new(&repository.metadata_url)
        .and_then(|source| source.with_targets_base(&repository.targets_url))
        .expect("a test's address is an address")
        .with_http_client(http_client(repository));
    let mut updater =
        Updater::new(source, &repository.root).map_err(refused)?.with_store(FileStore::new(state));
    updater.refresh(now).await.map_err(refused)?;
    let target = match target {
        Some(name) => Some(updater.get_target(name, now).await.map_err(refused)?),
        None => None,
    };
    let trusted = updater.trusted();
    Ok(Observed {
        root: trusted.root().version,
        timestamp: trusted.timestamp().expect("a refreshed client has a timestamp").version,
        snapshot: trusted.snapshot().expect("a refreshed client has a snapshot").version,
        targets: trusted.targets_role("targets").expect("a refreshed client has targets").version,
        target,
    })
}

/// Follow with `tough`, its datastore in `state`.
pub(super) async fn tough(
    repository: &Repository,
    state: &Path,
    target: Option<&str>,
) -> Result<Observed, Refused> {
    let address = |text: &str| text.parse().expect("a test's address is an address");
    let loaded = RepositoryLoader::new(
        &repository.root,
        address(&repository.metadata_url),
        address(&repository.targets_url),
    )
    .transport(OverOurHttp(http_client(repository)))
    .datastore(state)
    .load()
    .await
    .map_err(refused)?;
    let target = match target {
        Some(name) => Some(download(&loaded, name).await?),
        None => None,
    };
    Ok(Observed {
        root: loaded.root().signed.version.get(),
        timestamp: loaded.timestamp().signed.version.get(),
        snapshot: loaded.snapshot().signed.version.get(),
        targets: loaded.targets().signed.version.get(),
        target,
    })
}

async fn download(loaded: &tough::Repository, name: &str) -> Result<Vec<u8>, Refused> {
    let name = TargetName::new(name).map_err(refused)?;
    let Some(stream) = loaded.read_target(&name).await.map_err(refused)? else {
        return Err(Refused {
            kind: "TargetNotFound".to_owned(),
            text: format!("no role lists {}", name.raw()),
        });
    };
    stream.into_vec().await.map_err(refused)
}

/// `tough`'s door for transports. Its own trusts only the machine's authorities.
#[derive(Debug, Clone)]
struct OverOurHttp(reqwest::Client);

#[async_trait::async_trait]
impl Transport for OverOurHttp {
    async fn fetch(&self, url: reqwest::Url) -> Result<TransportStream, TransportError> {
        let fault = |kind, error| TransportError::new_with_cause(kind, url.as_str(), error);
        let answer = self.0.get(url.clone()).send().await.map_err(|e| fault(TransportErrorKind::Other, e))?;
        let kind = match answer.status() {
            reqwest::StatusCode::NOT_FOUND => TransportErrorKind::FileNotFound,
            _ => TransportErrorKind::Other,
        };
        let body = answer.error_for_status().map_err(|e| fault(kind, e))?.bytes().await;
        let bytes = body.map_err(|e| fault(TransportErrorKind::Other, e))?;
        Ok(Box::pin(stream::iter([Ok(bytes)])))
    }
}

fn http_client(repository: &Repository) -> reqwest::Client {
    let authorities = repository.ca_cert.iter().map(|file| {
        let pem = std::fs::read(file).expect("the authority's file can be read");
        reqwest::Certificate::from_pem(&pem).expect("the authority's file is PEM")
    });
    reqwest::Client::builder()
        .tls_certs_only(authorities)
        .timeout(std::time::Duration::from_secs(30))
        .build()
        .expect("an HTTP client can be built")
}

fn refused(error: impl std::error::Error) -> Refused {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    Refused { kind: String::new(), text }
}
