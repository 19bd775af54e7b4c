//! Answers of Bulla's own HTTP API, and what it says when it refuses.

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::wire::{self, Problem, ProblemCode};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::adapter::connection::{ANSWER_BYTES, Connection};
use crate::port::TrustServerError;
use crate::port::trust_server::Right;

/// Bulla's own API behind a connection.
#[derive(Clone, Copy)]
pub(super) struct Api<'a> {
    pub(super) connection: &'a Connection,
}

impl Api<'_> {
    pub(super) fn request(self, method: Method, repository: &RepositoryName, what: &str) -> RequestBuilder {
        self.connection.request(method, &format!("{}/repositories/{repository}/{what}", wire::API))
    }

    /// What the server answered to something that `right` is needed for.
    pub(super) async fn answer<T: DeserializeOwned>(
        self,
        response: Response,
        repository: &RepositoryName,
        right: Right,
    ) -> Result<T, TrustServerError> {
        let status = response.status();
        let body = self.connection.body(response, "an answer", ANSWER_BYTES).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body, repository, right));
        }
        serde_json::from_slice(&body)
            .map_err(|_| self.connection.unexpected("its answer is not the expected JSON"))
    }

    pub(super) fn refusal(
        self,
        status: StatusCode,
        body: &[u8],
        repository: &RepositoryName,
        right: Right,
    ) -> TrustServerError {
        let server = self.connection.server();
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    TrustServerError::Unauthorised { server, right }
                }
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    TrustServerError::Unavailable {
                        server,
                        detail: format!("HTTP status {}", status.as_u16()),
                    }
                }
                _ => self.connection.unexpected(&format!("HTTP status {}", status.as_u16())),
            };
        };
        let Problem { code, detail, hint, .. } = problem;
        match code {
            ProblemCode::Unauthenticated => TrustServerError::Unauthorised { server, right },
            ProblemCode::Forbidden => {
                TrustServerError::Forbidden { server, repository: repository.clone(), right }
            }
            ProblemCode::NotFound => TrustServerError::NotFound { server, repository: repository.clone() },
            ProblemCode::ConcurrentChange => TrustServerError::Changed { repository: repository.clone() },
            ProblemCode::Internal => self.connection.unexpected(&detail),
            ProblemCode::Busy | ProblemCode::Unavailable | ProblemCode::RequestTimeout => {
                TrustServerError::Unavailable { server, detail }
            }
            ProblemCode::RequestClosed | ProblemCode::RequestStale => {
                TrustServerError::RequestOver { detail }
            }
            ProblemCode::BadRequest
            | ProblemCode::MethodNotAllowed
            | ProblemCode::PreconditionRequired
            | ProblemCode::Rejected
            | ProblemCode::RequestExists
            | ProblemCode::RequestsFull
            | ProblemCode::TooLarge
            | ProblemCode::UnsupportedMediaType => TrustServerError::Refused { server, detail, hint },
        }
    }
}
