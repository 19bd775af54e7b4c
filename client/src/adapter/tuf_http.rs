//! The trust server over HTTPS: TUF files under `/tuf`, Bulla's own API under `/api/v1`.

use async_trait::async_trait;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::wire::{self, Problem, ProblemCode, Receipt};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;

use crate::adapter::connection::{ANSWER_BYTES, Connection};
use crate::port::trust_server::{Basis, Edition, OnlineKeys, TrustServer, TrustServerError, Upload};

/// Everything but RFC 3986's unreserved characters: role names may hold any text.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A trust server at a URL.
pub struct TufHttp {
    connection: Connection,
}

impl TufHttp {
    /// Speaks with the server behind `connection`.
    #[must_use]
    pub const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    fn api(&self, method: Method, repository: &RepositoryName, what: &str) -> RequestBuilder {
        self.connection.request(method, &format!("{}/repositories/{repository}/{what}", wire::API))
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        response: Response,
        repository: &RepositoryName,
    ) -> Result<T, TrustServerError> {
        let status = response.status();
        let body = self.connection.body(response, "an answer", ANSWER_BYTES).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body, repository));
        }
        serde_json::from_slice(&body).map_err(|_| self.unexpected("its answer is not the expected JSON"))
    }

    fn refusal(&self, status: StatusCode, body: &[u8], repository: &RepositoryName) -> TrustServerError {
        let server = self.connection.server();
        let Ok(problem) = serde_json::from_slice::<Problem>(body) else {
            return match status {
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => TrustServerError::Unauthorised { server },
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    TrustServerError::Unavailable {
                        server,
                        detail: format!("HTTP status {}", status.as_u16()),
                    }
                }
                _ => self.unexpected(&format!("HTTP status {}", status.as_u16())),
            };
        };
        let Problem { code, detail, hint, .. } = problem;
        match code {
            ProblemCode::Unauthenticated => TrustServerError::Unauthorised { server },
            ProblemCode::Forbidden => TrustServerError::Forbidden { server, repository: repository.clone() },
            ProblemCode::NotFound => TrustServerError::NotFound { server, repository: repository.clone() },
            ProblemCode::ConcurrentChange => TrustServerError::Changed { repository: repository.clone() },
            ProblemCode::Internal => self.unexpected(&detail),
            ProblemCode::Busy | ProblemCode::Unavailable | ProblemCode::RequestTimeout => {
                TrustServerError::Unavailable { server, detail }
            }
            ProblemCode::BadRequest
            | ProblemCode::MethodNotAllowed
            | ProblemCode::PreconditionRequired
            | ProblemCode::Rejected
            | ProblemCode::TooLarge
            | ProblemCode::UnsupportedMediaType => TrustServerError::Refused { server, detail, hint },
        }
    }

    fn unexpected(&self, detail: &str) -> TrustServerError {
        self.connection.unexpected(detail)
    }

    fn public_key(&self, key: &wire::OnlineKey) -> Result<PublicKey, TrustServerError> {
        PublicKey::from_pem(&key.public_key)
            .map_err(|error| self.unexpected(&format!("its online keys cannot be used: {error}")))
    }
}

#[async_trait]
impl TrustServer for TufHttp {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let version = match edition {
            Edition::Current => None,
            Edition::Listed(info) => info.version,
            Edition::Version(version) => Some(version),
        };
        let file = wire::document_file_name(role, version);
        let encoded = utf8_percent_encode(&file, RESERVED);
        let path = format!("/tuf/{repository}/metadata/{encoded}");
        let response = self.connection.send(self.connection.request(Method::GET, &path)).await?;
        match response.status() {
            StatusCode::OK => self.connection.body(response, &file, role.byte_limit()).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let body = self.connection.body(response, "an answer", ANSWER_BYTES).await?;
                Err(self.refusal(status, &body, repository))
            }
        }
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        let response = self.connection.send(self.api(Method::GET, repository, "head")).await?;
        match self.answer(response, repository).await {
            Ok(head) => Ok(Basis::Head(head)),
            Err(TrustServerError::NotFound { .. }) => Ok(Basis::Absent),
            Err(error) => Err(error),
        }
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        let response = self.connection.send(self.api(Method::POST, repository, "online-keys")).await?;
        let keys: wire::OnlineKeys = self.answer(response, repository).await?;
        Ok(OnlineKeys {
            snapshot: self.public_key(&keys.snapshot)?,
            timestamp: self.public_key(&keys.timestamp)?,
        })
    }

    async fn publish(&self, repository: &RepositoryName, upload: &Upload) -> Result<(), TrustServerError> {
        let mut form = Form::new();
        for document in &upload.documents {
            let name = wire::document_file_name(&document.role, Some(document.version));
            form = form.part(wire::METADATA_PART, part(&document.bytes).file_name(name));
        }
        for target in &upload.targets {
            form = form.part(wire::TARGET_PART, part(target));
        }
        let request = self.api(Method::POST, repository, "publish");
        let request = match &upload.basis {
            Basis::Absent => request.header(IF_NONE_MATCH, "*"),
            Basis::Head(head) => request.header(IF_MATCH, format!("\"{}\"", head.token)),
            // A state of a server of another kind: this one refuses what names none of its own.
            Basis::Snapshot(_) => request,
        };
        let request = request
            .header(HeaderName::from_static(wire::IDEMPOTENCY_KEY), upload.operation.to_string())
            .multipart(form);
        let response = self.connection.send(request).await?;
        self.answer::<Receipt>(response, repository).await.map(drop)
    }
}

fn part(bytes: &Bytes) -> Part {
    Part::stream_with_length(bytes.clone(), bytes.len() as u64)
}
