//! `.../requests`: signing requests in and out. What they say is judged by `publish`.

use axum::Json;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::{InvalidRequest, RequestId};
use bulla_keys_schema::wire::{self, ProblemCode};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};

use super::api;
use super::extract::RequestAction;
use super::problem::ApiError;
use super::publish::failed;
use super::upload;
use crate::app::App;
use crate::auth::{Caller, Right};
use crate::metrics::Outcome;
use crate::publish::{Listed, RequestFailure, Signed};
use crate::store::Closed;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Does what was asked. The caller has the right that [`RequestAction::right`] names.
pub(super) async fn act(
    app: &App,
    caller: &Caller,
    repository: &RepositoryName,
    action: RequestAction,
    request: Request,
) -> Result<Response, ApiError> {
    match action {
        RequestAction::List => {
            let listed = app.publisher.requests(repository).await?;
            let requests = listed.into_iter().map(write_summary).collect();
            Ok(Json(wire::RequestList { requests }).into_response())
        }
        RequestAction::Open => {
            let body = upload::json(app, request, limits::NEW_REQUEST_BYTES).await?;
            let opened = app.publisher.open_request(repository, body, caller.name()).await?;
            tracing::info!(%repository, request = %opened.id, new = opened.is_new, "signing request opened");
            let status = if opened.is_new { StatusCode::CREATED } else { StatusCode::OK };
            let signed = Signed { added: opened.signatures, is_complete: false, receipt: None };
            Ok((status, Json(write_progress(opened.id, signed))).into_response())
        }
        RequestAction::Show(id) => {
            let bytes: Bytes = app.publisher.request(repository, id).await?;
            let mut response = bytes.into_response();
            response.headers_mut().insert(header::CONTENT_TYPE, JSON);
            Ok(response)
        }
        RequestAction::Sign(id) => sign(app, caller, repository, id, request).await,
        RequestAction::Cancel(id) => {
            let is_admin = caller.may(Right::Admin, repository);
            app.publisher.cancel_request(repository, id, caller.name(), is_admin).await?;
            Ok(StatusCode::NO_CONTENT.into_response())
        }
    }
}

impl RequestAction {
    /// What the caller needs for it. To take a request back he needs more, which only the
    /// request tells.
    pub(super) const fn right(self) -> Right {
        match self {
            Self::List | Self::Show(_) => Right::Read,
            Self::Open | Self::Sign(_) | Self::Cancel(_) => Right::Publish,
        }
    }
}

/// Takes signatures. Those that complete a request are counted as a publication.
async fn sign(
    app: &App,
    caller: &Caller,
    repository: &RepositoryName,
    id: RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let body = upload::json(app, request, limits::SIGNATURE_FILE_BYTES).await?;
    let result = app.publisher.sign_request(repository, id, body.bytes().clone(), caller.name()).await;
    match &result {
        Ok(Signed { receipt: Some(_), .. }) => app.metrics.publish(Outcome::Done),
        Err(RequestFailure::Publish(failure)) => app.metrics.publish(failed(failure)),
        _ => {}
    }
    let signed = result?;
    if let Some(receipt) = &signed.receipt {
        let published = &receipt.published;
        let position = published.position.0;
        tracing::info!(%repository, request = %id, token = %published.token, position, "published");
    } else {
        let added = signed.added;
        tracing::info!(%repository, request = %id, added, "signatures taken");
    }
    Ok(Json(write_progress(id, signed)).into_response())
}

fn write_progress(id: RequestId, signed: Signed) -> wire::RequestProgress {
    wire::RequestProgress {
        id: id.to_string(),
        complete: signed.is_complete,
        added: signed.added,
        receipt: signed.receipt.map(api::receipt_body),
    }
}

fn write_summary(listed: Listed) -> wire::RequestSummary {
    wire::RequestSummary {
        id: listed.id.to_string(),
        reason: listed.reason.to_string(),
        created_by: listed.created_by.to_string(),
        opened_by: listed.opened_by,
        created_at: listed.created_at,
        not_after: listed.not_after,
        roles: listed.roles,
    }
}

impl From<RequestFailure> for ApiError {
    fn from(failure: RequestFailure) -> Self {
        let text = failure.to_string();
        let text = text.lines().next().unwrap_or_default();
        match failure {
            RequestFailure::Publish(failure) => failure.into(),
            RequestFailure::NotFound { .. } => Self::new(ProblemCode::NotFound, text)
                .hint("list the open ones with GET /api/v1/repositories/{repository}/requests"),
            RequestFailure::Closed { closed, .. } => {
                let how = if closed.how == Closed::Published { "published" } else { "cancelled" };
                let detail = format!("{text}: it was {how} by {} at {}", closed.actor, closed.at);
                Self::new(ProblemCode::RequestClosed, detail).hint("there is nothing left to do for it")
            }
            RequestFailure::Over { .. } => Self::new(ProblemCode::RequestStale, text)
                .hint("read the current state, and make a new request for what is still wanted"),
            RequestFailure::Exists { .. } => {
                Self::new(ProblemCode::RequestExists, text).hint("make the request anew, with a random id")
            }
            RequestFailure::Full { .. } => Self::new(ProblemCode::RequestsFull, text)
                .hint("complete or cancel requests that are open, or wait an hour"),
            RequestFailure::Complete => {
                Self::rejected("request-complete", text).hint("publish it like any other upload")
            }
            RequestFailure::Invalid(InvalidRequest::TooLarge { .. }) => {
                Self::new(ProblemCode::TooLarge, text)
            }
            RequestFailure::Invalid(_) => Self::new(ProblemCode::BadRequest, text)
                .hint("send a file that `bulla request` wrote, as it is"),
            RequestFailure::Unfit(_) => {
                Self::rejected("request", text).hint("read the current state, and make the request anew")
            }
            RequestFailure::Signature(_) => Self::rejected("request-signature", text)
                .hint("sign the request that the server holds, with a key of the role"),
            RequestFailure::NotYours { .. } => Self::new(ProblemCode::Forbidden, text)
                .hint("use the token that opened it, or one made with `bullad token create --can admin`"),
        }
    }
}
