//! The trust server over HTTPS: TUF files under `/tuf`, Bulla's own API under `/api/v1`.

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::{RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{self, Receipt, RequestProgress, RequestSummary};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, StatusCode};

use crate::adapter::api::Api;
use crate::adapter::connection::{ANSWER_BYTES, Connection};
use crate::adapter::feed;
use crate::adapter::signing_requests;
use crate::port::trust_server::{
    Basis, Edition, Noted, OnlineKeys, OnlineRole, Right, TrustServer, TrustServerError, Upload,
};

/// Everything but RFC 3986's unreserved characters: role names may hold any text.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same for a path, whose slashes stay.
const RESERVED_IN_PATH: &AsciiSet = &RESERVED.remove(b'/');

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

    const fn api(&self) -> Api<'_> {
        Api { connection: &self.connection }
    }

    fn unexpected(&self, detail: &str) -> TrustServerError {
        self.connection.unexpected(detail)
    }

    /// The file `what` of `repository`, at `path`.
    async fn file(
        &self,
        repository: &RepositoryName,
        path: &str,
        what: &str,
        limit: usize,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let response = self.connection.send(self.connection.request(Method::GET, path)).await?;
        match response.status() {
            StatusCode::OK => self.connection.body(response, what, limit).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            status => {
                let body = self.connection.body(response, "an answer", ANSWER_BYTES).await?;
                Err(self.api().refusal(status, &body, repository, Right::Read))
            }
        }
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
        self.file(repository, &path, &file, role.byte_limit()).await
    }

    async fn target(
        &self,
        repository: &RepositoryName,
        path: &TargetPath,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let file = path.with_hash_prefix(&digest.to_string());
        let encoded = utf8_percent_encode(&file, RESERVED_IN_PATH);
        let path = format!("/tuf/{repository}/targets/{encoded}");
        self.file(repository, &path, &file, limit).await
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        let response = self.connection.send(self.api().request(Method::GET, repository, "head")).await?;
        match self.api().answer(response, repository, Right::Publish).await {
            Ok(head) => Ok(Basis::Head(head)),
            Err(TrustServerError::NotFound { .. }) => Ok(Basis::Absent),
            Err(error) => Err(error),
        }
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        let response =
            self.connection.send(self.api().request(Method::POST, repository, "online-keys")).await?;
        let keys: wire::OnlineKeys = self.api().answer(response, repository, Right::Publish).await?;
        Ok(OnlineKeys {
            snapshot: self.public_key(&keys.snapshot)?,
            timestamp: self.public_key(&keys.timestamp)?,
        })
    }

    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        let request = self.api().request(Method::POST, repository, "online-keys/rotate");
        let response = self.connection.send(request).await?;
        let keys: wire::OnlineKeys = self.api().answer(response, repository, Right::Admin).await?;
        let next = keys.next.ok_or_else(|| self.unexpected("it has no new online keys"))?;
        match role {
            OnlineRole::Snapshot => self.public_key(&next.snapshot),
            OnlineRole::Timestamp => self.public_key(&next.timestamp),
        }
    }

    async fn noted_before(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        moment: UtcTime,
    ) -> Result<Noted, TrustServerError> {
        feed::noted_before(&self.connection, repository, role, moment).await
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
        let request = self.api().request(Method::POST, repository, "publish");
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
        self.api().answer::<Receipt>(response, repository, Right::Publish).await.map(drop)
    }

    async fn requests(&self, repository: &RepositoryName) -> Result<Vec<RequestSummary>, TrustServerError> {
        signing_requests::list(&self.connection, repository).await
    }

    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<Bytes>, TrustServerError> {
        signing_requests::get(&self.connection, repository, id).await
    }

    async fn open_request(
        &self,
        repository: &RepositoryName,
        request: Bytes,
    ) -> Result<RequestProgress, TrustServerError> {
        signing_requests::open(&self.connection, repository, request).await
    }

    async fn add_signatures(
        &self,
        repository: &RepositoryName,
        id: RequestId,
        signatures: Bytes,
    ) -> Result<RequestProgress, TrustServerError> {
        signing_requests::sign(&self.connection, repository, id, signatures).await
    }

    async fn cancel_request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<(), TrustServerError> {
        signing_requests::cancel(&self.connection, repository, id).await
    }
}

fn part(bytes: &Bytes) -> Part {
    Part::stream_with_length(bytes.clone(), bytes.len() as u64)
}
