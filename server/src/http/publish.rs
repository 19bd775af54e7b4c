//! `POST .../publish`: multipart in, one publication, receipt out.

use std::sync::Arc;

use axum::extract::multipart::{Field, MultipartError};
use axum::extract::{FromRequest as _, Multipart, Request};
use axum::response::Response;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::wire::{self, METADATA_PART, ProblemCode, TARGET_PART};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use percent_encoding::percent_decode_str;
use tokio::sync::OwnedSemaphorePermit;

use super::api;
use super::problem::ApiError;
use crate::app::App;
use crate::auth::Caller;
use crate::metrics::Outcome;
use crate::publish::{PublishFailure, Upload};
use crate::store::NewDocument;

/// Reads the upload, hands it to the pipeline and counts how it ended.
pub(super) async fn post(
    app: &App,
    caller: &Caller,
    repository: RepositoryName,
    request: Request,
) -> Result<Response, ApiError> {
    let headers = request.headers();
    let expected = api::expected(headers)?;
    let operation = api::operation(headers)?.ok_or_else(|| {
        ApiError::new(
            ProblemCode::BadRequest,
            "Idempotency-Key is missing: 32 hex digits, new for each publish",
        )
    })?;
    let _memory = reserve(app, headers)?;
    let multipart = Multipart::from_request(request, &()).await.map_err(|_| {
        ApiError::new(ProblemCode::UnsupportedMediaType, "a publish is sent as multipart/form-data")
    })?;
    let (documents, targets) = read(multipart, app.limits.parts).await?;
    let actor = caller.name().to_owned();
    let upload = Upload { repository, expected, operation, documents, targets, actor };
    let repository = upload.repository.clone();
    let result = app.publisher.publish(upload).await;
    app.metrics.publish(outcome(&result));
    let receipt = result?;
    let published = &receipt.published;
    let (position, replayed) = (published.position.0, published.replayed);
    tracing::info!(%repository, token = %published.token, position, replayed, "published");
    Ok(api::write_receipt(receipt))
}

fn outcome(result: &Result<crate::publish::Receipt, PublishFailure>) -> Outcome {
    match result {
        Ok(receipt) if receipt.published.replayed => Outcome::Replayed,
        Ok(_) => Outcome::Done,
        Err(PublishFailure::Conflict { .. }) => Outcome::Conflict,
        Err(failure) if super::rejection::describe(failure).is_some() => Outcome::Rejected,
        Err(_) => Outcome::Failed,
    }
}

/// Memory for the body, before it is sent; for the largest one if its length is not told.
fn reserve(app: &App, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, ApiError> {
    let most = app.limits.body_bytes;
    let told = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = told.and_then(|length| length.parse().ok()).unwrap_or(most);
    if length > most {
        return Err(too_large(format!("the body is longer than {most} bytes")));
    }
    let units = u32::try_from(length.div_ceil(App::BODY_UNIT)).unwrap_or(u32::MAX);
    Arc::clone(&app.bodies).try_acquire_many_owned(units).map_err(|_| ApiError::busy())
}

/// Takes the parts as they come; each is bounded on its own.
async fn read(mut multipart: Multipart, most: usize) -> Result<(Vec<NewDocument>, Vec<Bytes>), ApiError> {
    let (mut documents, mut targets) = (Vec::new(), Vec::new());
    while let Some(field) = multipart.next_field().await.map_err(|error| broken(&error))? {
        if documents.len() + targets.len() >= most {
            return Err(too_large(format!("there are more than {most} parts")));
        }
        match field.name() {
            Some(METADATA_PART) => {
                let (role, version) = field.file_name().and_then(document_name).ok_or_else(bad_name)?;
                let bytes = bounded(field, role.byte_limit(), role.as_str()).await?;
                documents.push(NewDocument { role, version, bytes });
            }
            Some(TARGET_PART) => {
                targets.push(bounded(field, limits::MANIFEST_BYTES, "target").await?);
            }
            _ => {
                return Err(ApiError::new(
                    ProblemCode::BadRequest,
                    format!("parts are called `{METADATA_PART}` or `{TARGET_PART}`"),
                ));
            }
        }
    }
    Ok((documents, targets))
}

/// A file name like `3.targets.json`, with the role percent-encoded.
fn document_name(name: &str) -> Option<(RoleName, bulla_keys_schema::metadata::Version)> {
    let name = percent_decode_str(name).decode_utf8().ok()?;
    let (role, version) = wire::parse_document_file_name(&name)?;
    Some((role, version?))
}

async fn bounded(mut field: Field<'_>, most: usize, what: &str) -> Result<Bytes, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = field.chunk().await.map_err(|error| broken(&error))? {
        if bytes.len() + chunk.len() > most {
            return Err(too_large(format!("{what} is longer than {most} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

fn bad_name() -> ApiError {
    ApiError::new(ProblemCode::BadRequest, "a metadata part needs a file name like `3.targets.json`")
}

fn too_large(detail: String) -> ApiError {
    ApiError::new(ProblemCode::TooLarge, detail)
}

/// The body ended early, came too slowly, was too long or is no multipart.
fn broken(error: &MultipartError) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return too_large("the body is too long".to_owned());
    }
    if is_timeout(error) {
        return ApiError::new(ProblemCode::RequestTimeout, "the body came too slowly");
    }
    ApiError::new(ProblemCode::BadRequest, "the body is no complete multipart/form-data")
}

fn is_timeout(error: &MultipartError) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.is::<tower_http::timeout::TimeoutError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_named_with_version_and_role() {
        let read = |name| document_name(name).map(|(role, version)| (role.to_string(), version.get()));
        assert_eq!(read("3.targets.json"), Some(("targets".into(), 3)));
        assert_eq!(read("1.a%2Fb.json"), Some(("a/b".into(), 1)));
        for bad in ["targets.json", "0.targets.json", "../3.targets.json", "3.targets", "", "%ff"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
