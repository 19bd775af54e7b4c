//! Errors as the API answers them: `application/problem+json` (RFC 9457).
//!
//! A handler returns an [`ApiError`]; the middleware writes it out, because only there the
//! request id is known.

use std::fmt::Display;

use axum::response::{IntoResponse, Response};
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::wire::{self, PROBLEM_MEDIA_TYPE, Problem, ProblemCode};
use http::{HeaderValue, StatusCode, header};

use crate::auth::AuthError;
use crate::publish::PublishFailure;
use crate::store::StoreError;
use crate::vault::VaultError;

use super::middleware::Cause;
use super::rejection;
use super::upload::UploadError;

/// Seconds after which a refused caller may try again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// An answer that says no.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    code: ProblemCode,
    detail: String,
    hint: Option<String>,
    current_token: Option<String>,
    rejection: Option<Box<wire::Rejection>>,
    /// For the log only: what the caller must not learn.
    cause: Option<String>,
}

impl ApiError {
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail, hint: None, current_token: None, rejection: None, cause: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Absent or not visible: one answer for both.
    pub(super) fn not_found(repository: &RepositoryName) -> Self {
        Self::new(ProblemCode::NotFound, format!("no repository {repository} here that this token may see"))
            .hint("check the name, and the scope of the token with `bullad token list`")
    }

    /// What was sent breaks the rule of this name.
    pub(super) fn rejected(rule: &str, detail: &str) -> Self {
        let mut error = Self::new(ProblemCode::Rejected, detail);
        error.rejection = Some(Box::new(rejection::rule(rule, None)));
        error
    }

    /// Not a URL of this API.
    pub(super) fn no_route() -> Self {
        Self::new(ProblemCode::NotFound, "this URL names nothing in the API")
    }

    pub(super) fn method_not_allowed() -> Self {
        Self::new(ProblemCode::MethodNotAllowed, "this URL does not know this method")
    }

    /// A defect or an outage; the cause goes to the log.
    pub(super) fn internal(cause: &dyn Display) -> Self {
        let mut error =
            Self::new(ProblemCode::Internal, "the server failed; its log tells more under this request id");
        error.cause = Some(cause.to_string());
        error
    }

    pub(super) fn unavailable(detail: impl Into<String>, cause: &dyn Display) -> Self {
        let mut error = Self::new(ProblemCode::Unavailable, detail);
        error.cause = Some(cause.to_string());
        error
    }

    pub(super) fn busy() -> Self {
        Self::new(ProblemCode::Busy, "too many requests at once").hint("try again in a moment")
    }

    pub(super) fn conflict(current: Option<String>) -> Self {
        let mut error = Self::new(ProblemCode::ConcurrentChange, "the repository has changed meanwhile")
            .hint("read the current state and do it again");
        error.current_token = current;
        error
    }

    pub(super) const fn code(&self) -> ProblemCode {
        self.code
    }

    /// What the caller is told, and the cause for the log.
    pub(super) fn into_texts(self) -> (String, Option<String>) {
        (self.detail, self.cause)
    }

    /// Writes the answer.
    pub(super) fn write(self, request_id: &str) -> Response {
        let code = self.code;
        let problem = Problem {
            kind: "about:blank".to_owned(),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            detail: self.detail,
            hint: self.hint,
            request_id: request_id.to_owned(),
            current_token: self.current_token,
            rejection: self.rejection.map(|rejection| *rejection),
        };
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, [(header::CONTENT_TYPE, PROBLEM_MEDIA_TYPE)], body).into_response();
        match code {
            ProblemCode::Unauthenticated => {
                let scheme = HeaderValue::from_static("Bearer realm=\"bullad\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, scheme);
            }
            ProblemCode::Busy | ProblemCode::Unavailable => {
                response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
            }
            _ => {}
        }
        if let Some(cause) = self.cause {
            response.extensions_mut().insert(Cause(cause));
        }
        response
    }
}

impl IntoResponse for ApiError {
    /// A marked empty response; the middleware replaces it.
    fn into_response(self) -> Response {
        let mut response = StatusCode::INTERNAL_SERVER_ERROR.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Unreadable => Self::unavailable("authentication is not possible at present", &error),
            _ => Self::new(ProblemCode::Unauthenticated, error.to_string())
                .hint("set BULLA_TOKEN to a token made with `bullad token create`"),
        }
    }
}

impl From<UploadError> for ApiError {
    fn from(error: UploadError) -> Self {
        let code = match error {
            UploadError::Busy => return Self::busy(),
            UploadError::NotMultipart | UploadError::NotJson => ProblemCode::UnsupportedMediaType,
            UploadError::BodyTooLong { .. }
            | UploadError::Endless
            | UploadError::PartTooLong { .. }
            | UploadError::TooManyParts { .. } => ProblemCode::TooLarge,
            UploadError::Slow => ProblemCode::RequestTimeout,
            UploadError::Broken | UploadError::Incomplete => ProblemCode::BadRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Closed => Self::unavailable("the server is stopping", &error),
            StoreError::WentBack { .. } => {
                Self::unavailable("the store was restored to an older state and can only be read", &error)
            }
            other => Self::internal(&other),
        }
    }
}

impl From<VaultError> for ApiError {
    fn from(error: VaultError) -> Self {
        match error {
            VaultError::Store(error) => error.into(),
            VaultError::NotListed | VaultError::TooMany => {
                Self::new(ProblemCode::Rejected, first_line(&error.to_string()))
            }
            VaultError::Refused(_) | VaultError::Contended => Self::busy(),
            other => Self::internal(&other),
        }
    }
}

impl From<PublishFailure> for ApiError {
    fn from(failure: PublishFailure) -> Self {
        match failure {
            PublishFailure::Conflict { current } => Self::conflict(current.map(|token| token.to_string())),
            PublishFailure::Busy => Self::busy(),
            PublishFailure::Vault(error) => error.into(),
            PublishFailure::Store(error) => error.into(),
            PublishFailure::Clock { .. } => Self::unavailable("the clock of the server is wrong", &failure),
            failure => match rejection::describe(&failure) {
                Some(rejection) => {
                    let mut error = Self::new(ProblemCode::Rejected, first_line(&failure.to_string()));
                    error.hint = rejection::hint(&failure).map(str::to_owned);
                    error.rejection = Some(Box::new(rejection));
                    error
                }
                None => Self::internal(&failure),
            },
        }
    }
}

/// Hints have a member of their own.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}
