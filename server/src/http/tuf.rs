//! `/tuf/`: metadata and targets, for any TUF client.
//!
//! Repositories in legacy mode are not here: no TUF client reads their documents.
//!
//! The path of `timestamp.json` is hot: one look-up in memory, no layer, no allocation that
//! can be spared.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use super::document;
use super::extract::{self, Wanted};
use super::middleware::message;
use super::pieces;
use crate::app::App;
use crate::auth::{AuthError, Right};
use crate::lookup;
use crate::metrics::RouteClass;
use crate::store::{Content, Head, OpenedValue, StoreError};

/// Where these URLs start.
pub(crate) const PREFIX: &str = "/tuf/";

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// What a token opened must not be kept by a shared cache.
const IMMUTABLE_PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=31536000, immutable");

/// Whether a path lies below [`PREFIX`].
pub(crate) fn is_below(path: &str) -> bool {
    path.len() > PREFIX.len() && path.starts_with(PREFIX)
}

/// `GET` and `HEAD` of any URL below [`PREFIX`].
pub(crate) async fn get(State(app): State<Arc<App>>, request: Request) -> Response {
    let wanted = request.uri().path().strip_prefix(PREFIX).and_then(extract::wanted);
    let class = class(wanted.as_ref());
    let answer = AssertUnwindSafe(answer(&app, wanted, request.headers())).catch_unwind().await;
    let response = answer.unwrap_or_else(|panic| {
        app.metrics.panics.inc();
        tracing::error!(panic = message(&*panic), "a read panicked");
        refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
    });
    app.metrics.request(class, request.method(), response.status());
    response
}

/// The timestamp comes from memory; everything else may wait for a disk, but not for ever.
async fn answer(app: &App, wanted: Option<Wanted>, headers: &HeaderMap) -> Response {
    match permitted(app, wanted, headers) {
        Err(refusal) => refusal,
        Ok(Wanted::Metadata { repository, role: RoleName::Timestamp, .. }) => {
            let head = app.store.head(&repository).await;
            let found = head.map(|head| head.filter(is_spec).and_then(|head| lookup::timestamp(&head)));
            match found {
                Ok(Some(found)) => document::write(&found, headers, JSON, REVALIDATE),
                Ok(None) => not_found(),
                Err(error) => failed(&error),
            }
        }
        // Boxed, or the answer to the other case would carry its room around.
        Ok(wanted) => {
            let answer = Box::pin(serve(app, wanted, headers));
            let answer = tokio::time::timeout(app.limits.request_time, answer).await;
            answer.unwrap_or_else(|_| refuse(StatusCode::SERVICE_UNAVAILABLE, "too slow\n"))
        }
    }
}

/// Checks the token before the store is asked: what is absent and what is forbidden are
/// told apart by nothing, time included.
#[expect(clippy::result_large_err, reason = "a refusal is the answer itself and is moved once")]
fn permitted(app: &App, wanted: Option<Wanted>, headers: &HeaderMap) -> Result<Wanted, Response> {
    if app.access.is_read_public() {
        return wanted.ok_or_else(not_found);
    }
    let caller = match app.access.identify(headers.get(header::AUTHORIZATION)) {
        Ok(caller) => caller,
        Err(AuthError::Unreadable) => {
            return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "unavailable\n"));
        }
        Err(_) => return Err(unauthenticated()),
    };
    let may = |repository: &RepositoryName| caller.may(Right::Read, repository);
    match wanted {
        Some(Wanted::Metadata { ref repository, .. }) if !may(repository) => Err(not_found()),
        Some(Wanted::Target(mut list)) => {
            list.retain(|(repository, _)| may(repository));
            Ok(Wanted::Target(list))
        }
        Some(wanted) => Ok(wanted),
        None => Err(not_found()),
    }
}

async fn serve(app: &App, wanted: Wanted, headers: &HeaderMap) -> Response {
    let answer = match wanted {
        Wanted::Metadata { repository, role, version } => {
            metadata(app, &repository, &role, version, headers).await
        }
        Wanted::Target(list) => target(app, list, headers).await,
    };
    answer.unwrap_or_else(|error| failed(&error))
}

async fn metadata(
    app: &App,
    repository: &RepositoryName,
    role: &RoleName,
    version: Option<Version>,
    headers: &HeaderMap,
) -> Result<Response, StoreError> {
    if !app.store.head(repository).await?.is_some_and(|head| is_spec(&head)) {
        return Ok(not_found());
    }
    let (found, cache) = match version {
        None => (app.documents.current(repository, role).await?, REVALIDATE),
        Some(version) => (app.documents.by_version(repository, role, version).await?, immutable(app)),
    };
    Ok(match found {
        Some(found) => document::write_packed(&app.documents, &found, headers, JSON, cache).await,
        None => not_found(),
    })
}

/// The bytes of the first repository that has them. Large ones wait for memory, in which they are
/// proven before the first of them is sent; nothing is read for a client that has them already.
async fn target(
    app: &App,
    list: Vec<(RepositoryName, Sha256Digest)>,
    headers: &HeaderMap,
) -> Result<Response, StoreError> {
    for (repository, digest) in list {
        if !app.store.head(&repository).await?.is_some_and(|head| is_spec(&head)) {
            continue;
        }
        let Some(length) = app.store.length(&repository, digest).await? else { continue };
        let mut response = match document::known(&digest, headers, immutable(app)) {
            Some(response) => response,
            None => {
                let memory = app.reserve_read(length).await;
                let packed = document::takes_gzip(headers);
                let Some(found) = open(app, repository, digest, packed, memory).await? else { continue };
                let body = match found.content {
                    Content::Whole(bytes) => Body::from(bytes),
                    Content::Pieces(content) => pieces::body(content, digest),
                };
                let mut response =
                    document::write_stored(body, found.is_gzip, &digest, BYTES, immutable(app));
                let length = HeaderValue::from(found.length);
                response.headers_mut().insert(header::CONTENT_LENGTH, length);
                response
            }
        };
        response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        return Ok(document::varied(response));
    }
    Ok(not_found())
}

/// Opens on a task of its own, which keeps its memory to its end: a client that hangs up does not
/// stop a thread that reads and unpacks, and could begin the next one at once.
async fn open(
    app: &App,
    repository: RepositoryName,
    digest: Sha256Digest,
    packed: bool,
    memory: Option<OwnedSemaphorePermit>,
) -> Result<Option<OpenedValue>, StoreError> {
    let store = Arc::clone(&app.store);
    let work = async move {
        let found = store.open(&repository, digest, packed).await;
        drop(memory);
        found
    };
    tokio::spawn(work).await.map_err(|_| StoreError::Closed)?
}

fn is_spec(head: &Arc<Head>) -> bool {
    head.dialect == Dialect::Tuf1
}

fn failed(error: &StoreError) -> Response {
    if matches!(error, StoreError::Closed) {
        return refuse(StatusCode::SERVICE_UNAVAILABLE, "stopping\n");
    }
    tracing::error!(%error, "a read failed");
    refuse(StatusCode::INTERNAL_SERVER_ERROR, "internal error\n")
}

fn immutable(app: &App) -> HeaderValue {
    if app.access.is_read_public() { IMMUTABLE } else { IMMUTABLE_PRIVATE }
}

fn class(wanted: Option<&Wanted>) -> RouteClass {
    match wanted {
        Some(Wanted::Metadata { role: RoleName::Timestamp, .. }) => RouteClass::Timestamp,
        Some(Wanted::Metadata { .. }) => RouteClass::Metadata,
        Some(Wanted::Target(_)) => RouteClass::Target,
        None => RouteClass::Unknown,
    }
}

fn not_found() -> Response {
    refuse(StatusCode::NOT_FOUND, "not found\n")
}

fn unauthenticated() -> Response {
    let mut response = refuse(StatusCode::UNAUTHORIZED, "authentication required\n");
    let scheme = HeaderValue::from_static("Bearer realm=\"bullad\"");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
    response
}

/// The next version of a root does not exist until it does: no cache may remember a refusal.
fn refuse(status: StatusCode, text: &'static str) -> Response {
    let mut response = (status, Bytes::from_static(text.as_bytes())).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}
