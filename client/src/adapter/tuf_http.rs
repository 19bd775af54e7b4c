//! The trust server over HTTPS: TUF files under `/tuf`, Bulla's own API under `/api/v1`.

use std::error::Error as _;

use async_trait::async_trait;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::wire::{self, Head, OnlineKeys, Problem, ProblemCode, Receipt};
use bytes::{Bytes, BytesMut};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode, redirect};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::adapter::{Patience, innermost};
use crate::config::ServerUrl;
use crate::port::trust_server::{Expected, TrustServer, TrustServerError, Upload};

/// Everything but RFC 3986's unreserved characters: role names may hold any text.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Largest answer of our own API, in bytes: a head that lists thousands of roles.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A trust server at a URL.
pub struct TufHttp {
    client: reqwest::Client,
    server: ServerUrl,
    token: Option<Zeroizing<String>>,
}

impl TufHttp {
    /// Prepares connections to `server`: with the certificates of the system and of
    /// `ca_pem`, and `token` on every request to our own API and the metadata. The server is
    /// given up when it outlasts `patience`.
    ///
    /// # Errors
    /// `ca_pem` holds no certificate, or the token cannot stand in a header.
    pub fn new(
        server: ServerUrl,
        ca_pem: Option<&[u8]>,
        token: Option<Zeroizing<String>>,
        patience: Patience,
    ) -> Result<Self, InvalidConnection> {
        if let Some(token) = &token
            && (token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()))
        {
            return Err(InvalidConnection::Token);
        }
        // A redirect would carry the token and the blame to a server nobody configured.
        let mut builder = patience
            .apply(reqwest::Client::builder())
            .user_agent(concat!("bulla/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none());
        if let Some(pem) = ca_pem {
            let certificates = reqwest::Certificate::from_pem_bundle(pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or(InvalidConnection::Certificates)?;
            builder = builder.tls_certs_merge(certificates);
        }
        if server.is_loopback() {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| InvalidConnection::Tls { reason: innermost(&error) })?;
        Ok(Self { client, server, token })
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, self.server.join(path));
        match &self.token {
            Some(token) => request.bearer_auth(token.as_str()),
            None => request,
        }
    }

    fn api(&self, method: Method, repository: &RepositoryName, what: &str) -> RequestBuilder {
        self.request(method, &format!("{}/repositories/{repository}/{what}", wire::API))
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, TrustServerError> {
        request.send().await.map_err(|error| self.broken(&error))
    }

    fn broken(&self, error: &reqwest::Error) -> TrustServerError {
        // A body cut short or not gzip is found while reading: nothing is wrong with the way.
        let server = self.server.to_string();
        if error.is_timeout() && error.source().is_none() {
            return TrustServerError::Unreachable { server, reason: "timed out".to_owned() };
        }
        TrustServerError::Unreachable { server, reason: innermost(error) }
    }

    /// At most `limit` bytes of body, whatever its headers announce.
    async fn body(
        &self,
        mut response: Response,
        file: &str,
        limit: usize,
    ) -> Result<Bytes, TrustServerError> {
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if body.len() + chunk.len() > limit {
                let (server, file) = (self.server.to_string(), file.to_owned());
                return Err(TrustServerError::TooLarge { server, file, limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn answer<T: DeserializeOwned>(
        &self,
        response: Response,
        repository: &RepositoryName,
    ) -> Result<T, TrustServerError> {
        let status = response.status();
        let body = self.body(response, "an answer", ANSWER_BYTES).await?;
        if !status.is_success() {
            return Err(self.refusal(status, &body, repository));
        }
        serde_json::from_slice(&body).map_err(|_| self.unexpected("its answer is not the expected JSON"))
    }

    fn refusal(&self, status: StatusCode, body: &[u8], repository: &RepositoryName) -> TrustServerError {
        let server = self.server.to_string();
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
        TrustServerError::Unexpected { server: self.server.to_string(), detail: detail.to_owned() }
    }
}

#[async_trait]
impl TrustServer for TufHttp {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        version: Option<Version>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let file = wire::document_file_name(role, version);
        let encoded = utf8_percent_encode(&file, RESERVED);
        let path = format!("/tuf/{repository}/metadata/{encoded}");
        let response = self.send(self.request(Method::GET, &path)).await?;
        match response.status() {
            StatusCode::OK => self.body(response, &file, role.byte_limit()).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let body = self.body(response, "an answer", ANSWER_BYTES).await?;
                Err(self.refusal(status, &body, repository))
            }
        }
    }

    async fn head(&self, repository: &RepositoryName) -> Result<Option<Head>, TrustServerError> {
        let response = self.send(self.api(Method::GET, repository, "head")).await?;
        match self.answer(response, repository).await {
            Ok(head) => Ok(Some(head)),
            Err(TrustServerError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        let response = self.send(self.api(Method::POST, repository, "online-keys")).await?;
        self.answer(response, repository).await
    }

    async fn publish(
        &self,
        repository: &RepositoryName,
        upload: &Upload,
    ) -> Result<Receipt, TrustServerError> {
        let mut form = Form::new();
        for document in &upload.documents {
            let name = wire::document_file_name(&document.role, Some(document.version));
            form = form.part(wire::METADATA_PART, part(&document.bytes).file_name(name));
        }
        for target in &upload.targets {
            form = form.part(wire::TARGET_PART, part(target));
        }
        let (header, value) = match &upload.expected {
            Expected::Absent => (IF_NONE_MATCH, "*".to_owned()),
            Expected::Token(token) => (IF_MATCH, format!("\"{token}\"")),
        };
        let request = self
            .api(Method::POST, repository, "publish")
            .header(header, value)
            .header(HeaderName::from_static(wire::IDEMPOTENCY_KEY), upload.operation.to_string())
            .multipart(form);
        let response = self.send(request).await?;
        self.answer(response, repository).await
    }
}

fn part(bytes: &Bytes) -> Part {
    Part::stream_with_length(bytes.clone(), bytes.len() as u64)
}

/// Why no connection can be prepared.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConnection {
    /// The file of certificates holds none.
    #[error("the CA file holds no PEM certificate")]
    Certificates,
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {reason}")]
    Tls {
        /// What the library said.
        reason: String,
    },
    /// The token cannot stand in a header.
    #[error("BULLA_TOKEN is not a token: it must be visible ASCII characters without spaces")]
    Token,
}
