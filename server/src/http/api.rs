//! `/api/v1/`: lists, heads, online keys, removal.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, Request, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::wire::{self, ProblemCode};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::extract::{self, Action, NoAction};
use super::problem::ApiError;
use super::{publish, requests};
use crate::app::App;
use crate::auth::{Caller, Right};
use crate::publish::Receipt;
use crate::store::{Change, ChangeKind, DocumentRef, HeadToken, OperationId, Position};
use crate::vault::{OnlineKeys, OnlineRole};

/// Where URLs of one repository start.
const REPOSITORIES: &str = "/api/v1/repositories/";
/// Entries of a page, if the caller does not say or says more.
const PAGE: usize = 1000;

/// `GET /api/v1/repositories?after=&max=`
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<wire::Page>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(page) = query.map_err(bad_query)?;
    let mut after = page.after.as_deref().map(str::parse::<RepositoryName>).transpose().map_err(bad_query)?;
    let max = page.max.unwrap_or(PAGE).clamp(1, PAGE);
    let mut repositories: Vec<RepositoryName> = Vec::new();
    loop {
        let names = app.store.list(after.as_ref(), PAGE).await?;
        let last = names.len() < PAGE;
        after = names.last().cloned().or(after);
        repositories.extend(names.into_iter().filter(|name| caller.may_list(name)));
        if repositories.len() > max {
            repositories.truncate(max);
            let next = repositories.last().cloned();
            return Ok(Json(wire::RepositoryList { repositories, next }).into_response());
        }
        if last {
            return Ok(Json(wire::RepositoryList { repositories, next: None }).into_response());
        }
    }
}

/// `GET /api/v1/changes?after=&max=`
pub(crate) async fn changes(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<wire::Page>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(page) = query.map_err(bad_query)?;
    let after = page.after.as_deref().map(str::parse).transpose().map_err(bad_query)?.unwrap_or(0);
    let max = page.max.unwrap_or(PAGE).clamp(1, PAGE);
    let found = app.store.changes(Position(after), max).await?;
    let next = found.last().map_or(after, |change| change.position.0);
    let visible = found.into_iter().filter(|change| caller.may_list(&change.repository));
    Ok(Json(wire::ChangeList { changes: visible.map(write_change).collect(), next }).into_response())
}

/// Everything below `/api/v1/repositories/`.
pub(crate) async fn repository(
    State(app): State<Arc<App>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let path = request.uri().path().strip_prefix(REPOSITORIES).unwrap_or_default();
    let nothing = |reason| match reason {
        NoAction::NotFound => ApiError::no_route(),
        NoAction::OtherMethod => ApiError::method_not_allowed(),
    };
    // The removal of a repository names its head, so that it is never taken for anything else.
    let removes = request.method() == Method::DELETE && request.headers().contains_key(header::IF_MATCH);
    if !removes && let Some(asked) = extract::request_action(request.method(), path) {
        let (repository, action) = asked.map_err(nothing)?;
        require(&caller, &repository, action.right())?;
        return requests::act(&app, &caller, &repository, action, request).await;
    }
    let (repository, action) = extract::action(request.method(), path).map_err(nothing)?;
    require(&caller, &repository, right(action))?;
    match action {
        Action::Head => head(&app, &repository).await,
        Action::OnlineKeys => match app.vault.get(&repository).await? {
            Some(keys) => online_keys(&app, &repository, &keys).await,
            None => Err(ApiError::not_found(&repository)),
        },
        Action::MakeOnlineKeys => {
            let keys = app.vault.get_or_make(&repository).await?;
            online_keys(&app, &repository, &keys).await
        }
        Action::RotateOnlineKeys => rotate(&app, &repository).await,
        Action::Publish => publish::post(&app, &caller, repository, request).await,
        Action::Remove => remove(&app, &caller, &repository, request.headers()).await,
    }
}

const fn right(action: Action) -> Right {
    match action {
        Action::Head | Action::OnlineKeys => Right::Read,
        Action::MakeOnlineKeys | Action::Publish => Right::Publish,
        Action::RotateOnlineKeys | Action::Remove => Right::Admin,
    }
}

/// Decided before the store is asked, so that the answer tells nothing about it.
fn require(caller: &Caller, repository: &RepositoryName, right: Right) -> Result<(), ApiError> {
    if caller.may(right, repository) {
        Ok(())
    } else if caller.may(Right::Read, repository) {
        let word = if right == Right::Admin { "admin" } else { "publish" };
        Err(ApiError::new(
            ProblemCode::Forbidden,
            format!("the token may read {repository}, but not do this"),
        )
        .hint(format!("use a token made with `bullad token create --can {word}`")))
    } else {
        Err(ApiError::not_found(repository))
    }
}

async fn head(app: &App, repository: &RepositoryName) -> Result<Response, ApiError> {
    let head = app.store.head(repository).await?.ok_or_else(|| ApiError::not_found(repository))?;
    let body = wire::Head {
        token: head.token.to_string(),
        current: head
            .current
            .iter()
            .map(|(role, document)| (role.clone(), write_document(document)))
            .collect(),
        renew_at: head.renew_at,
    };
    let mut response = Json(body).into_response();
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(with_etag(response, head.token))
}

async fn rotate(app: &App, repository: &RepositoryName) -> Result<Response, ApiError> {
    if app.store.head(repository).await?.is_none() {
        return Err(ApiError::not_found(repository));
    }
    let next = app.publisher.rotate(repository).await?;
    let keys = app.vault.get(repository).await?.ok_or_else(|| ApiError::not_found(repository))?;
    let next = write_keys(&next.snapshot, &next.timestamp);
    let mut answer = keys_of(app, repository, &keys).await?;
    answer.next = Some(next);
    Ok(Json(answer).into_response())
}

async fn online_keys(
    app: &App,
    repository: &RepositoryName,
    keys: &OnlineKeys,
) -> Result<Response, ApiError> {
    Ok(Json(keys_of(app, repository, keys).await?).into_response())
}

/// The keys in use, and beside them those that wait for a root, if any do.
async fn keys_of(
    app: &App,
    repository: &RepositoryName,
    keys: &OnlineKeys,
) -> Result<wire::OnlineKeys, ApiError> {
    let listed = app.publisher.listed_keys(repository).await?;
    let none = || ApiError::internal(&"a repository without keys");
    let in_use = |role| keys.in_use(role, &listed).ok_or_else(none);
    let (snapshot, timestamp) = (in_use(OnlineRole::Snapshot)?, in_use(OnlineRole::Timestamp)?);
    let waiting = |role| keys.waiting(role, &listed);
    let next = match (waiting(OnlineRole::Snapshot), waiting(OnlineRole::Timestamp)) {
        (None, None) => None,
        (next_snapshot, next_timestamp) => {
            Some(write_keys(next_snapshot.unwrap_or(snapshot), next_timestamp.unwrap_or(timestamp)))
        }
    };
    let wire::OnlineKeySet { snapshot, timestamp } = write_keys(snapshot, timestamp);
    Ok(wire::OnlineKeys { generation: keys.generation, snapshot, timestamp, next })
}

async fn remove(
    app: &App,
    caller: &Caller,
    repository: &RepositoryName,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let operation = operation(headers)?;
    let expected = expected(headers)?.ok_or_else(|| {
        ApiError::new(ProblemCode::PreconditionRequired, "a removal needs If-Match with the head token")
    })?;
    if app.store.head(repository).await?.is_none() && operation.is_none() {
        return Err(ApiError::not_found(repository));
    }
    let receipt = app.publisher.remove(repository, expected, operation, caller.name()).await?;
    tracing::info!(%repository, position = receipt.published.position.0, "removed");
    Ok(write_receipt(receipt))
}

/// The token of `If-Match`; `None` for `If-None-Match: *`.
pub(super) fn expected(headers: &HeaderMap) -> Result<Option<HeadToken>, ApiError> {
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap_or_default().trim());
    match (text(header::IF_MATCH), text(header::IF_NONE_MATCH)) {
        (Some(token), None) => {
            let token = token.strip_prefix('"').and_then(|token| token.strip_suffix('"'));
            let token = token.and_then(|token| token.parse().ok());
            token.map(Some).ok_or_else(|| {
                ApiError::new(ProblemCode::BadRequest, "If-Match must hold one head token in double quotes")
            })
        }
        (None, Some("*")) => Ok(None),
        (None, None) => Err(ApiError::new(
            ProblemCode::PreconditionRequired,
            "If-Match with the head token is missing, or If-None-Match: * for a new repository",
        )),
        _ => Err(ApiError::new(ProblemCode::BadRequest, "use either If-Match or If-None-Match: *")),
    }
}

/// The id of `Idempotency-Key`.
pub(super) fn operation(headers: &HeaderMap) -> Result<Option<OperationId>, ApiError> {
    let Some(value) = headers.get(wire::IDEMPOTENCY_KEY) else { return Ok(None) };
    let mut id = [0; 16];
    hex::decode_to_slice(value.as_bytes(), &mut id)
        .map_err(|_| ApiError::new(ProblemCode::BadRequest, "Idempotency-Key must be 32 hex digits"))?;
    Ok(Some(OperationId(id)))
}

pub(super) fn write_receipt(receipt: Receipt) -> Response {
    let token = receipt.published.token;
    with_etag((StatusCode::OK, Json(receipt_body(receipt))).into_response(), token)
}

pub(super) fn receipt_body(receipt: Receipt) -> wire::Receipt {
    let Receipt { published, current } = receipt;
    wire::Receipt {
        token: published.token.to_string(),
        position: published.position.0,
        replayed: published.replayed,
        current: current.iter().map(|(role, document)| (role.clone(), write_document(document))).collect(),
    }
}

fn with_etag(mut response: Response, token: HeadToken) -> Response {
    if let Ok(etag) = HeaderValue::try_from(format!("\"{token}\"")) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

fn write_document(document: &DocumentRef) -> wire::DocumentRef {
    wire::DocumentRef { version: document.version, sha256: document.digest, length: document.length }
}

fn write_keys(snapshot: &PublicKey, timestamp: &PublicKey) -> wire::OnlineKeySet {
    let key = |key: &PublicKey| wire::OnlineKey {
        algorithm: key.algorithm().to_string(),
        public_key: key.to_pem(),
    };
    wire::OnlineKeySet { snapshot: key(snapshot), timestamp: key(timestamp) }
}

fn write_change(change: Change) -> wire::Change {
    let documents = change.documents.into_iter();
    wire::Change {
        position: change.position.0,
        repository: change.repository,
        kind: match change.kind {
            ChangeKind::Published => wire::ChangeKind::Published,
            ChangeKind::Removed => wire::ChangeKind::Removed,
        },
        actor: change.actor,
        at: change.at,
        documents: documents
            .map(|(role, version, sha256)| wire::ChangedDocument { role, version, sha256 })
            .collect(),
        chain: change.chain,
    }
}

fn bad_query(error: impl Display) -> ApiError {
    ApiError::new(ProblemCode::BadRequest, format!("malformed query: {error}"))
}
