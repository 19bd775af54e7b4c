//! The trust server over Notary v1's own HTTP, so that it may be an old `notary-server` as well.
//!
//! That protocol has no name for a state and no operation ids: an update is judged by the
//! versions of its documents, and a repeated one is a second one.

use async_trait::async_trait;
use bulla_keys_schema::dialect::notary1::{parse_key_object, role_to_wire};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{RequestProgress, RequestSummary};
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::Deserialize;
use serde_json::Value;

use crate::adapter::connection::{ANSWER_BYTES, Connection};
use crate::adapter::feed;
use crate::adapter::signing_requests;
use crate::port::trust_server::{
    Basis, Edition, Noted, OnlineKeys, OnlineRole, Right, TrustServer, TrustServerError, Upload,
};

/// Everything but RFC 3986's unreserved characters and the slash: names of roles hold slashes.
const RESERVED: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// Largest public key, in bytes; those of servers have about a hundred.
const KEY_BYTES: usize = 16 * 1024;
/// The field that Notary's own client puts documents into; servers look at the file name only.
const FIELD: &str = "files";
const OCTETS: &str = "application/octet-stream";

/// A Notary v1 server at a URL.
pub struct NotaryHttp {
    connection: Connection,
}

impl NotaryHttp {
    /// Speaks with the server behind `connection`.
    #[must_use]
    pub const fn new(connection: Connection) -> Self {
        Self { connection }
    }

    fn request(&self, method: Method, repository: &RepositoryName, file: &str) -> RequestBuilder {
        let file = utf8_percent_encode(file, RESERVED);
        self.connection.request(method, &format!("/v2/{repository}/_trust/tuf/{file}"))
    }

    /// The bytes of `file`, if the server has it.
    async fn get(
        &self,
        repository: &RepositoryName,
        file: &str,
        limit: usize,
        right: Right,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let response = self.connection.send(self.request(Method::GET, repository, file)).await?;
        match response.status() {
            StatusCode::OK => self.connection.body(response, file, limit).await.map(Some),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.refusal(response, repository, right).await),
        }
    }

    async fn key(&self, repository: &RepositoryName, role: &str) -> Result<PublicKey, TrustServerError> {
        let file = format!("{role}.key");
        let found = self.get(repository, &file, KEY_BYTES, Right::Publish).await?;
        let Some(bytes) = found else {
            let (server, repository) = (self.connection.server(), repository.clone());
            return Err(TrustServerError::NotFound { server, repository });
        };
        self.public_key(&bytes, role)
    }

    fn public_key(&self, bytes: &[u8], role: &str) -> Result<PublicKey, TrustServerError> {
        parse_key_object(bytes)
            .map_err(|error| self.connection.unexpected(&format!("its {role} key cannot be used: {error}")))
    }

    async fn refusal(
        &self,
        response: Response,
        repository: &RepositoryName,
        right: Right,
    ) -> TrustServerError {
        let status = response.status();
        let body = match self.connection.body(response, "an answer", ANSWER_BYTES).await {
            Ok(body) => body,
            Err(error) => return error,
        };
        let server = self.connection.server();
        match (status, Fault::read(&body)) {
            (StatusCode::UNAUTHORIZED, _) => TrustServerError::Unauthorised { server, right },
            (StatusCode::FORBIDDEN, _) => {
                TrustServerError::Forbidden { server, repository: repository.clone(), right }
            }
            (_, Some(fault)) => fault.explain(server, repository, right),
            (
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT,
                None,
            ) => TrustServerError::Unavailable { server, detail: format!("HTTP status {}", status.as_u16()) },
            (_, None) => self.connection.unexpected(&format!("HTTP status {}", status.as_u16())),
        }
    }
}

#[async_trait]
impl TrustServer for NotaryHttp {
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError> {
        let name = role_to_wire(role);
        let digest = |hashes: &bulla_keys_schema::digest::Hashes| hashes.as_sha256();
        let file = match edition {
            Edition::Version(version) => format!("{version}.{name}.json"),
            Edition::Listed(info) => match info.hashes.as_ref().and_then(digest) {
                Some(digest) => format!("{name}.{digest}.json"),
                None => format!("{name}.json"),
            },
            Edition::Current => format!("{name}.json"),
        };
        self.get(repository, &file, role.byte_limit(), Right::Read).await
    }

    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError> {
        let snapshot = self.get(repository, "snapshot.json", limits::SNAPSHOT_BYTES, Right::Publish).await?;
        Ok(snapshot.map_or(Basis::Absent, |bytes| Basis::Snapshot(Sha256Digest::of(&bytes))))
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        Ok(OnlineKeys {
            snapshot: self.key(repository, "snapshot").await?,
            timestamp: self.key(repository, "timestamp").await?,
        })
    }

    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        let role = match role {
            OnlineRole::Snapshot => "snapshot",
            OnlineRole::Timestamp => "timestamp",
        };
        let request = self.request(Method::POST, repository, &format!("{role}.key"));
        let response = self.connection.send(request).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response, repository, Right::Admin).await);
        }
        let bytes = self.connection.body(response, "a key", KEY_BYTES).await?;
        self.public_key(&bytes, role)
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
            let bytes = document.bytes.clone();
            let length = bytes.len() as u64;
            let part = Part::stream_with_length(bytes, length).file_name(role_to_wire(&document.role));
            let part = part.mime_str(OCTETS).map_err(|_| self.connection.unexpected("no media type"))?;
            form = form.part(FIELD, part);
        }
        let request = self.request(Method::POST, repository, "").multipart(form);
        let response = self.connection.send(request).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::NOT_FOUND => {
                let (server, repository) = (self.connection.server(), repository.clone());
                Err(TrustServerError::NotFound { server, repository })
            }
            _ => Err(self.refusal(response, repository, Right::Publish).await),
        }
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

/// One error as Docker's registries and Notary write it.
#[derive(Deserialize)]
struct Fault {
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: Value,
}

#[derive(Deserialize)]
struct Faults {
    errors: Vec<Fault>,
}

impl Fault {
    fn read(body: &[u8]) -> Option<Self> {
        let faults: Faults = serde_json::from_slice(body).ok()?;
        faults.errors.into_iter().next()
    }

    fn explain(self, server: String, repository: &RepositoryName, right: Right) -> TrustServerError {
        let repository = repository.clone();
        let detail = self.words();
        match self.code.as_str() {
            // Two publications at once, one of which comes too late; with a database behind an
            // old server, that looks like a failure of its storage.
            "VERSION" => TrustServerError::Changed { repository },
            "UPDATING" | "UNAVAILABLE" => TrustServerError::Unavailable { server, detail },
            "UNAUTHORIZED" => TrustServerError::Unauthorised { server, right },
            "DENIED" => TrustServerError::Forbidden { server, repository, right },
            "UNKNOWN" | "NO_STORAGE" | "NO_CRYPTOSERVICE" | "NO_KEYALGORITHM" => {
                TrustServerError::Unexpected { server, detail }
            }
            _ if self.lacks_snapshot() => TrustServerError::ClientSnapshot { repository },
            _ => TrustServerError::Refused { server, detail, hint: None },
        }
    }

    /// The one thing about snapshots that an update of ours can lack: the server does not hold
    /// their key.
    fn lacks_snapshot(&self) -> bool {
        let name = self.detail.get("Name").and_then(Value::as_str);
        let missing = self.detail.pointer("/Error/Missing").and_then(Value::as_str);
        name == Some("ErrBadHierarchy") && missing == Some("snapshot")
    }

    /// What a person can use: the detail of an update says all there is to say, other details
    /// belong to the message.
    fn words(&self) -> String {
        if let Some(text) = self.detail.pointer("/Error/Msg").and_then(Value::as_str) {
            return text.to_owned();
        }
        match (self.message.trim_end_matches('.'), self.detail.as_str()) {
            ("", Some(text)) => text.to_owned(),
            ("", None) => self.code.clone(),
            (message, Some(text)) => format!("{message}: {text}"),
            (message, None) => message.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    use bulla_keys_schema::digest::Hashes;
    use bulla_keys_schema::metadata::{MetaInfo, Version};

    use super::*;
    use crate::adapter::Patience;
    use crate::port::trust_server::{Document, OperationId};

    const KEY: &str = r#"{"keytype":"ed25519","keyval":{"public":"mlygEy6A9yVw0+YfJ/gAMTuUjhNRQi7QUmNpOIYWJz4=","private":null}}"#;

    /// A server that gives these answers, one after the other, and tells what it was asked.
    fn answering(answers: Vec<(u16, String)>) -> (NotaryHttp, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://127.0.0.1:{}/notary/", listener.local_addr().unwrap().port());
        let asked = thread::spawn(move || {
            answers
                .into_iter()
                .map(|(status, body)| {
                    let (mut stream, _) = listener.accept().unwrap();
                    let mut request = Vec::new();
                    let mut buffer = [0; 4096];
                    // Uploads end with the last boundary, all else with the headers.
                    loop {
                        let read = stream.read(&mut buffer).unwrap();
                        request.extend_from_slice(&buffer[..read]);
                        let upload = request.starts_with(b"POST");
                        if request.ends_with(if upload { b"--\r\n".as_slice() } else { b"\r\n\r\n" }) {
                            break;
                        }
                    }
                    let head = format!("HTTP/1.1 {status} X\r\nlocation: /x\r\nconnection: close\r\n");
                    write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len()).unwrap();
                    String::from_utf8_lossy(&request).into_owned()
                })
                .collect()
        });
        let connection = Connection::new(url.parse().unwrap(), None, None, Patience::default()).unwrap();
        (NotaryHttp::new(connection), asked)
    }

    fn repository() -> RepositoryName {
        "reg.example.com:5000/team/app".parse().unwrap()
    }

    fn alice() -> RoleName {
        RoleName::Delegated("alice".parse().unwrap())
    }

    #[tokio::test]
    async fn documents_have_the_names_of_notary() {
        let info = MetaInfo {
            version: None,
            length: None,
            hashes: Some(Hashes::sha256(Sha256Digest::from_bytes([1; 32]))),
        };
        let answers = vec![(200, "one".to_owned()), (200, "two".to_owned()), (404, String::new())];
        let (server, asked) = answering(answers);
        let get =
            async |role: RoleName, edition| server.metadata(&repository(), &role, edition).await.unwrap();
        assert_eq!(get(alice(), Edition::Listed(&info)).await.as_deref(), Some(&b"one"[..]));
        let second = Edition::Version(Version::new(2).unwrap());
        assert_eq!(get(RoleName::Root, second).await.as_deref(), Some(&b"two"[..]));
        assert_eq!(get(RoleName::Timestamp, Edition::Current).await, None);
        let files = [
            format!("targets/alice.{}.json", "01".repeat(32)),
            "2.root.json".into(),
            "timestamp.json".into(),
        ];
        for (asked, file) in asked.join().unwrap().iter().zip(files) {
            let line = format!("GET /notary/v2/reg.example.com:5000/team/app/_trust/tuf/{file} HTTP/1.1\r\n");
            assert!(asked.starts_with(&line), "{asked}");
        }
    }

    #[tokio::test]
    async fn an_update_names_its_roles_in_full() {
        let (server, asked) =
            answering(vec![(200, KEY.to_owned()), (200, KEY.to_owned()), (200, String::new())]);
        let keys = server.online_keys(&repository()).await.unwrap();
        assert_eq!(keys.snapshot, keys.timestamp);
        let document = Document { role: alice(), version: Version::FIRST, bytes: Bytes::from_static(b"{}") };
        let upload = Upload {
            documents: vec![document],
            targets: vec![Bytes::from_static(b"a manifest")],
            basis: Basis::Absent,
            operation: OperationId([0; 16]),
        };
        server.publish(&repository(), &upload).await.unwrap();
        let asked = asked.join().unwrap();
        assert!(asked[0].contains("/snapshot.key ") && asked[1].contains("/timestamp.key "), "{asked:?}");
        assert!(
            asked[2].starts_with("POST /notary/v2/reg.example.com:5000/team/app/_trust/tuf/ "),
            "{}",
            asked[2]
        );
        assert!(
            asked[2].contains(r#"filename="targets/alice""#) && !asked[2].contains("manifest"),
            "{}",
            asked[2]
        );
    }

    #[tokio::test]
    async fn what_is_no_document_is_an_error() {
        let large = "x".repeat(RoleName::Timestamp.byte_limit() + 1);
        let statuses = [(200, large), (301, String::new()), (401, String::new()), (503, String::new())];
        let (server, asked) = answering(statuses.into());
        let mut errors = Vec::new();
        for _ in 0..4 {
            let got = server.metadata(&repository(), &RoleName::Timestamp, Edition::Current).await;
            errors.push(got.unwrap_err());
        }
        assert!(matches!(
            errors.as_slice(),
            [
                TrustServerError::TooLarge { .. },
                TrustServerError::Unexpected { .. },
                TrustServerError::Unauthorised { .. },
                TrustServerError::Unavailable { .. },
            ]
        ));
        assert_eq!(asked.join().unwrap().len(), 4);
        let (server, asked) = answering(vec![(200, KEY.replace("null", "\"leaked\""))]);
        let keys = server.online_keys(&repository()).await;
        assert!(matches!(keys, Err(TrustServerError::Unexpected { .. })), "{keys:?}");
        asked.join().unwrap();
    }

    fn explained(code: &str, detail: &str) -> TrustServerError {
        let body = format!(r#"{{"errors":[{{"code":"{code}","message":"A message.","detail":{detail}}}]}}"#);
        let fault = Fault::read(body.as_bytes()).unwrap();
        fault.explain("https://s".to_owned(), &"a.b/c".parse().unwrap(), Right::Publish)
    }

    #[test]
    fn errors_of_servers_are_told_apart() {
        assert!(matches!(explained("VERSION", "{}"), TrustServerError::Changed { .. }));
        assert!(explained("UPDATING", "null").is_unclear());
        assert!(explained("UNAVAILABLE", "null").is_unclear());
        assert!(explained("UNKNOWN", r#"{"some":"go"}"#).is_unclear());
        let lacks = r#"{"Name":"ErrBadHierarchy","Error":{"Missing":"snapshot","Msg":"no snapshot"}}"#;
        assert!(matches!(explained("INVALID_UPDATE", lacks), TrustServerError::ClientSnapshot { .. }));
        for (detail, said) in [
            (r#"{"Name":"ErrBadTargets","Error":{"Msg":"version 3"}}"#, "version 3"),
            (r#"{"Name":"ErrBadHierarchy","Error":{"Missing":"root","Msg":"no root"}}"#, "no root"),
            (r#""targets/A""#, "A message: targets/A"),
            ("null", "A message"),
            ("{}", "A message"),
        ] {
            match explained("INVALID_UPDATE", detail) {
                TrustServerError::Refused { detail, .. } => assert_eq!(detail, said),
                other => panic!("{other:?}"),
            }
        }
        for none in ["", "[]", r#"{"errors":[]}"#, r#"{"errors":[{"message":"x"}]}"#] {
            assert!(Fault::read(none.as_bytes()).is_none(), "{none}");
        }
    }
}
