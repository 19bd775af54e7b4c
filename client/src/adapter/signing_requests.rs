//! Signing requests at Bulla's own API. It stands beside whatever a repository's documents are
//! spoken about in, so repositories of Notary's dialect have them as well, at our server.

use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::wire::{Problem, RequestList, RequestProgress, RequestSummary};
use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, RequestBuilder, StatusCode};
use serde::de::DeserializeOwned;

use crate::adapter::api::Api;
use crate::adapter::connection::{ANSWER_BYTES, Connection};
use crate::port::TrustServerError;
use crate::port::trust_server::Right;

const FOLDER: &str = "requests";
const JSON: &str = "application/json";

pub(super) async fn list(
    connection: &Connection,
    repository: &RepositoryName,
) -> Result<Vec<RequestSummary>, TrustServerError> {
    let api = Api { connection };
    let list: RequestList =
        answer(api, repository, api.request(Method::GET, repository, FOLDER), Right::Read).await?;
    Ok(list.requests)
}

pub(super) async fn get(
    connection: &Connection,
    repository: &RepositoryName,
    id: RequestId,
) -> Result<Option<Bytes>, TrustServerError> {
    let api = Api { connection };
    let response = connection.send(api.request(Method::GET, repository, &path(id))).await?;
    let status = response.status();
    if status.is_success() {
        return connection.body(response, "a signing request", limits::REQUEST_BYTES).await.map(Some);
    }
    let body = connection.body(response, "an answer", ANSWER_BYTES).await?;
    match refusal(api, status, &body, repository, Right::Read) {
        TrustServerError::NotFound { .. } => Ok(None),
        error => Err(error),
    }
}

pub(super) async fn open(
    connection: &Connection,
    repository: &RepositoryName,
    request: Bytes,
) -> Result<RequestProgress, TrustServerError> {
    let sent = Api { connection }.request(Method::POST, repository, FOLDER);
    progress(connection, repository, sent, request).await
}

pub(super) async fn sign(
    connection: &Connection,
    repository: &RepositoryName,
    id: RequestId,
    signatures: Bytes,
) -> Result<RequestProgress, TrustServerError> {
    let what = format!("{}/signatures", path(id));
    let sent = Api { connection }.request(Method::POST, repository, &what);
    progress(connection, repository, sent, signatures).await
}

pub(super) async fn cancel(
    connection: &Connection,
    repository: &RepositoryName,
    id: RequestId,
) -> Result<(), TrustServerError> {
    let api = Api { connection };
    let response = connection.send(api.request(Method::DELETE, repository, &path(id))).await?;
    let status = response.status();
    if status == StatusCode::NO_CONTENT {
        return Ok(());
    }
    let body = connection.body(response, "an answer", ANSWER_BYTES).await?;
    // Whoever opened it may without.
    Err(refusal(api, status, &body, repository, Right::Admin))
}

async fn progress(
    connection: &Connection,
    repository: &RepositoryName,
    request: RequestBuilder,
    body: Bytes,
) -> Result<RequestProgress, TrustServerError> {
    let request = request.header(CONTENT_TYPE, JSON).body(body);
    answer(Api { connection }, repository, request, Right::Publish).await
}

async fn answer<T: DeserializeOwned>(
    api: Api<'_>,
    repository: &RepositoryName,
    request: RequestBuilder,
    right: Right,
) -> Result<T, TrustServerError> {
    let response = api.connection.send(request).await?;
    let status = response.status();
    let body = api.connection.body(response, "an answer", ANSWER_BYTES).await?;
    if !status.is_success() {
        return Err(refusal(api, status, &body, repository, right));
    }
    serde_json::from_slice(&body)
        .map_err(|_| api.connection.unexpected("its answer is not the expected JSON"))
}

/// A server of another make knows nothing under these URLs, and says so in its own way.
fn refusal(
    api: Api<'_>,
    status: StatusCode,
    body: &[u8],
    repository: &RepositoryName,
    right: Right,
) -> TrustServerError {
    let is_unknown = matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED);
    if is_unknown && serde_json::from_slice::<Problem>(body).is_err() {
        return TrustServerError::NoRequests;
    }
    api.refusal(status, body, repository, right)
}

fn path(id: RequestId) -> String {
    format!("{FOLDER}/{id}")
}
