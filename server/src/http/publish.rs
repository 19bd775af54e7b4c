//! `POST .../publish`: multipart in, one publication, receipt out.

use axum::extract::Request;
use axum::response::Response;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::{Hashed, Hashing};
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::wire::{self, METADATA_PART, ProblemCode, TARGET_PART};
use percent_encoding::percent_decode_str;

use super::api;
use super::problem::ApiError;
use super::upload::Parts;
use crate::app::App;
use crate::auth::Caller;
use crate::metrics::Outcome;
use crate::publish::{Base, PublishFailure, Receipt, Upload, Uploaded};

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
    let mut parts = Parts::of(app, request).await?;
    let (documents, targets) = read(&mut parts).await?;
    let actor = caller.name().to_owned();
    let upload = Upload {
        repository: repository.clone(),
        dialect: Dialect::Tuf1,
        base: Base::Head(expected),
        operation: Some(operation),
        documents,
        targets,
        actor,
    };
    let result = app.publisher.publish(upload).await;
    parts.give_back();
    app.metrics.publish(outcome(&result));
    let receipt = result?;
    let published = &receipt.published;
    let (position, replayed) = (published.position.0, published.replayed);
    tracing::info!(%repository, token = %published.token, position, replayed, "published");
    Ok(api::write_receipt(receipt))
}

/// How a publication ended, for the numbers.
pub(super) fn outcome(result: &Result<Receipt, PublishFailure>) -> Outcome {
    match result {
        Ok(receipt) if receipt.published.replayed => Outcome::Replayed,
        Ok(_) => Outcome::Done,
        Err(failure) => failed(failure),
    }
}

/// How a publication ended that was not made.
pub(super) fn failed(failure: &PublishFailure) -> Outcome {
    match failure {
        PublishFailure::Conflict { .. } => Outcome::Conflict,
        failure if super::rejection::describe(failure).is_some() => Outcome::Rejected,
        _ => Outcome::Failed,
    }
}

/// Takes the parts as they come.
async fn read(parts: &mut Parts) -> Result<(Vec<Uploaded>, Vec<Hashed>), ApiError> {
    let (mut documents, mut targets) = (Vec::new(), Vec::new());
    while let Some(part) = parts.next().await? {
        match part.name() {
            Some(METADATA_PART) => {
                let (role, version) = part.file_name().and_then(document_name).ok_or_else(bad_name)?;
                let bytes = part.bytes(role.byte_limit(), role.as_str(), Hashing::default()).await?;
                documents.push(Uploaded { role, version: Some(version), bytes });
            }
            Some(TARGET_PART) => {
                let bytes = part.bytes(limits::TARGET_FILE_BYTES, "target", Hashing::default()).await?;
                targets.push(bytes);
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

fn bad_name() -> ApiError {
    ApiError::new(ProblemCode::BadRequest, "a metadata part needs a file name like `3.targets.json`")
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
