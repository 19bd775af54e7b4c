//! `/v2/`: Notary v1, for `docker trust` and `notary` as they are.
//!
//! Serves repositories in legacy mode only. Clients open a connection for each request and
//! follow no redirects, so every URL that they may build is answered as it is.

mod changes;
mod publish;
mod refusal;
mod token;
mod wire;

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::document;
use super::middleware::{self, Cause};
use crate::app::App;
use crate::auth::{AuthError, Caller, ChallengeScope, Right};
use crate::metrics::RouteClass;

use refusal::{Code, Refusal};
use wire::{Asked, Which};

pub(crate) use crate::auth::TOKEN_PATH;
pub(crate) use token::token;

/// Where these URLs start. A client whose server is set with a slash at the end sends two.
const PREFIX: &str = "/v2/";

/// What Notary's server calls all that it answers; clients do not look at it.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
const CURRENT: HeaderValue = HeaderValue::from_static("public, max-age=300, s-maxage=300, must-revalidate");
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=2592000, s-maxage=2592000");
/// What credentials opened must not be kept by a shared cache.
const CURRENT_PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=300, must-revalidate");
const IMMUTABLE_PRIVATE: HeaderValue = HeaderValue::from_static("private, max-age=2592000");

/// Any request below [`PREFIX`].
pub(crate) async fn serve(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let path = path.strip_prefix('/').filter(|path| path.starts_with('/')).unwrap_or(path);
    let asked = path.strip_prefix(PREFIX).map_or(Asked::Nothing, |path| wire::read(request.method(), path));
    match class(&asked) {
        Some(class) => {
            let work = |request| async { act(&app, asked, request).await.unwrap_or_else(Refusal::write) };
            middleware::around(&app, class, request, Refusal::write_problem, work).await
        }
        None => read(&app, asked, request).await,
    }
}

/// `GET /_notary_server/health`: which parts do not work. What is wrong with them is told on
/// the listener for operators.
pub(crate) async fn health(State(app): State<Arc<App>>) -> Response {
    let obstacles = app.obstacles().await;
    let checks = obstacles.iter().map(|text| text.split(':').next().unwrap_or_default());
    let checks: BTreeMap<&str, &str> = checks.map(|name| (name, "does not work at present")).collect();
    let mut response = text(serde_json::to_vec(&checks).unwrap_or_default());
    if !checks.is_empty() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response
}

/// How a request is counted that may change something or take long; `None` for the others,
/// which must cost as little as possible.
const fn class(asked: &Asked) -> Option<RouteClass> {
    match asked {
        Asked::Publish(_) => Some(RouteClass::NotaryPublish),
        Asked::Remove(_) | Asked::Key { .. } | Asked::Changes(_) => Some(RouteClass::NotaryApi),
        Asked::Document { .. }
        | Asked::Ping
        | Asked::InvalidName(_)
        | Asked::Nothing
        | Asked::OtherMethod => None,
    }
}

/// What changes something, or reads more than one document.
async fn act(app: &App, asked: Asked, request: Request) -> Result<Response, Refusal> {
    match asked {
        Asked::Publish(repository) => {
            let caller = require(app, &request, &repository, Right::Publish)?;
            publish::post(app, &caller, repository, request).await
        }
        Asked::Remove(repository) => {
            let caller = require(app, &request, &repository, Right::Admin)?;
            if let Some(receipt) = app.publisher.remove_latest(&repository, caller.name()).await? {
                tracing::info!(%repository, position = receipt.published.position.0, "removed");
            }
            Ok(empty())
        }
        Asked::Key { repository, role, pending } => {
            let right = if pending { Right::Admin } else { Right::Publish };
            require(app, &request, &repository, right)?;
            let key = match pending {
                true => app.publisher.pending_key(&repository, role).await?,
                false => app.publisher.online_key(&repository, role).await?,
            };
            Ok(text(wire::key(&key).ok_or_else(|| Refusal::new(Code::Unknown))?))
        }
        Asked::Changes(Some(repository)) => {
            may_read(app, &request, &repository)?;
            changes::get(app, Some(&repository), None, request.uri()).await
        }
        Asked::Changes(None) => {
            let caller = identify(app, &request, None)?;
            if !caller.may_catalog() {
                return Err(unauthorized(app, &request, None));
            }
            changes::get(app, None, Some(&caller), request.uri()).await
        }
        _ => Err(Refusal::new(Code::MetadataNotFound)),
    }
}

/// Answers what needs one look at most.
async fn read(app: &App, asked: Asked, request: Request) -> Response {
    let method = request.method().clone();
    let class = match &asked {
        Asked::Document { role: RoleName::Timestamp, .. } => RouteClass::NotaryTimestamp,
        Asked::Document { .. } => RouteClass::NotaryMetadata,
        Asked::Ping => RouteClass::NotaryApi,
        _ => RouteClass::Unknown,
    };
    let answer = AssertUnwindSafe(in_time(app, asked, request)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|panic| {
        app.metrics.panics.inc();
        Err(Refusal::failed(Code::Unknown, &format!("panic: {}", middleware::message(&*panic))))
    });
    let mut response = answer.unwrap_or_else(Refusal::write);
    if let Some(Cause(cause)) = response.extensions_mut().remove::<Cause>() {
        tracing::error!(cause, "a read failed");
    }
    app.metrics.request(class, &method, response.status());
    response
}

/// The timestamp comes from memory; everything else may wait for a disk, but not for ever.
async fn in_time(app: &App, asked: Asked, request: Request) -> Result<Response, Refusal> {
    if matches!(asked, Asked::Document { role: RoleName::Timestamp, which: Which::Current, .. }) {
        return look(app, asked, request).await;
    }
    tokio::time::timeout(app.limits.request_time, look(app, asked, request))
        .await
        .unwrap_or_else(|_| Err(Refusal::failed(Code::Unavailable, &"a read took too long")))
}

async fn look(app: &App, asked: Asked, request: Request) -> Result<Response, Refusal> {
    match asked {
        Asked::Ping => {
            identify(app, &request, None)?;
            Ok(text("{}"))
        }
        Asked::Document { repository, role, which } => {
            may_read(app, &request, &repository)?;
            metadata(app, &repository, &role, which, request.headers()).await
        }
        Asked::InvalidName(name) => {
            Err(Refusal::with_text(Code::InvalidGun, format!("{name} is no repository name")))
        }
        Asked::OtherMethod => {
            let mut response = empty();
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            Ok(response)
        }
        _ => Err(Refusal::new(Code::MetadataNotFound)),
    }
}

async fn metadata(
    app: &App,
    repository: &RepositoryName,
    role: &RoleName,
    which: Which,
    headers: &HeaderMap,
) -> Result<Response, Refusal> {
    let head = app.store.head(repository).await?;
    if head.is_none_or(|head| head.dialect != Dialect::Notary1) {
        return Err(Refusal::not_found());
    }
    let found = match which {
        Which::Current => app.documents.current(repository, role).await,
        Which::Version(version) => app.documents.by_version(repository, role, version).await,
        Which::Digest(digest) => app.documents.by_digest(repository, digest).await,
    };
    let found = found?.ok_or_else(Refusal::not_found)?;
    let cache = match (which, app.access.is_read_public()) {
        (Which::Current, true) => CURRENT,
        (Which::Current, false) => CURRENT_PRIVATE,
        (_, true) => IMMUTABLE,
        (_, false) => IMMUTABLE_PRIVATE,
    };
    Ok(match role {
        RoleName::Timestamp => document::write(&found, headers, TEXT, cache),
        _ => document::write_packed(&app.documents, &found, headers, TEXT, cache).await,
    })
}

/// Whether metadata of `repository` may be read by whoever sends `request`. Decided before the
/// store is asked, so that absent and forbidden are told apart by nothing.
fn may_read(app: &App, request: &Request, repository: &RepositoryName) -> Result<(), Refusal> {
    if app.access.is_read_public() {
        return Ok(());
    }
    let needed = (repository, Right::Read);
    let caller = identify(app, request, Some(needed))?;
    if caller.may(Right::Read, repository) {
        return Ok(());
    }
    // A client that began with a token for anybody gets a better one only when it is asked to.
    let offers_tokens = |challenge: &HeaderValue| challenge.as_bytes().starts_with(b"Bearer ");
    let scope = ChallengeScope::Repository(repository, Right::Read);
    let challenges = app.access.challenges(&scope, token::host(request));
    if challenges.iter().any(offers_tokens) {
        return Err(Refusal::unauthorized(Some(needed), challenges));
    }
    Err(Refusal::not_found())
}

/// The caller, if he has `right` on `repository`.
fn require(
    app: &App,
    request: &Request,
    repository: &RepositoryName,
    right: Right,
) -> Result<Caller, Refusal> {
    let needed = Some((repository, right));
    let caller = identify(app, request, needed)?;
    if caller.may(right, repository) { Ok(caller) } else { Err(unauthorized(app, request, needed)) }
}

/// The caller, who is told what he needs if he does not say who he is.
fn identify(
    app: &App,
    request: &Request,
    needed: Option<(&RepositoryName, Right)>,
) -> Result<Caller, Refusal> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let caller = app.access.identify(authorization).map_err(|error| match error {
        AuthError::Unreadable => Refusal::failed(Code::Unavailable, &error),
        _ => unauthorized(app, request, needed),
    })?;
    middleware::note(&caller);
    Ok(caller)
}

fn unauthorized(app: &App, request: &Request, needed: Option<(&RepositoryName, Right)>) -> Refusal {
    let scope = match needed {
        Some((repository, right)) => ChallengeScope::Repository(repository, right),
        None => ChallengeScope::Catalog,
    };
    Refusal::unauthorized(needed, app.access.challenges(&scope, token::host(request)))
}

/// A success without content.
fn empty() -> Response {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}

/// A success that no cache may keep.
fn text(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(header::CONTENT_TYPE, TEXT);
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}
