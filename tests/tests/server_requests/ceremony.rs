//! A repository whose root wants two of three holders, and requests of theirs.

use std::collections::BTreeMap;

use bulla_keys_schema::author::{Draft, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Certificate, KeyAlgorithm, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{KeyEntry, Root, Threshold, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::{RequestId, SignatureFile, SigningRequest};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_keys_schema::wire::{OnlineKey, OnlineKeys, ProblemCode, RequestList, RequestProgress};
use bulla_server::clock::Clock as _;
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_tests::publisher;
use bulla_tests::server::{Setup, TestServer, Upload, problem};
use bytes::Bytes;
use reqwest::{Method, Response};
use tempfile::TempDir;

pub const DAY: i64 = 24 * 3600;

/// The holders of root keys, and one whom nobody knows.
#[derive(Clone, Copy, Debug)]
pub enum Holder {
    Anna,
    Ben,
    Carol,
    Nobody,
}

impl Holder {
    pub fn key(self) -> SecretKey {
        let seed = [41 + self as u8; 32];
        SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &seed.into()).expect("a scalar")
    }
}

/// One server, one repository.
pub struct Ceremony {
    pub server: TestServer,
    pub repository: String,
    /// Who sends all requests; `None` where nobody needs a token.
    pub token: Option<String>,
    _data: Option<TempDir>,
}

/// An open request on a server, as a signer got it.
pub struct Opened {
    pub id: RequestId,
    pub bytes: Bytes,
}

impl Ceremony {
    pub async fn in_memory() -> Self {
        Self::on(Setup::default(), None).await
    }

    pub async fn on_disk() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let store = EmbeddedStore::open(&data.path().join("data"), &Options::default()).expect("a store");
        Self::on(Setup { store: std::sync::Arc::new(store), ..Setup::default() }, Some(data)).await
    }

    pub async fn on(setup: Setup, data: Option<TempDir>) -> Self {
        let with_tokens = setup.tokens.is_some();
        let server = TestServer::with(setup).await;
        let token = with_tokens.then(|| server.token("boss", "admin", "**", DAY));
        Self { server, repository: "example.com/app".to_owned(), token, _data: data }
    }

    /// With the repository there, at root 1.
    pub async fn begun(self) -> Self {
        let opened = self.opened(self.first().await).await;
        self.sign(&opened, &[Holder::Anna]).await;
        let progress = self.sign(&opened, &[Holder::Ben]).await;
        assert!(progress.complete, "{progress:?}");
        self
    }

    pub fn now(&self) -> UtcTime {
        self.server.clock.now()
    }

    pub fn path(&self, rest: &str) -> String {
        format!("/api/v1/repositories/{}/requests{rest}", self.repository)
    }

    /// Sends a request as `token`.
    pub async fn send_as(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: Option<Bytes>,
    ) -> Response {
        let mut request = self.server.request(method, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        self.server.send(request).await
    }

    pub async fn send(&self, method: Method, rest: &str, body: Option<Bytes>) -> Response {
        self.send_as(self.token.as_deref(), method, &self.path(rest), body).await
    }

    /// The code and the rule with which something was refused.
    pub async fn refused(&self, method: Method, rest: &str, body: Option<Bytes>) -> (ProblemCode, String) {
        let found = problem(self.send(method, rest, body).await).await;
        assert!(!found.detail.is_empty());
        (found.code, found.rejection.map(|rejection| rejection.rule).unwrap_or_default())
    }

    /// The request that makes the repository.
    pub async fn first(&self) -> SigningRequest {
        let online: OnlineKeys = match &self.token {
            None => publisher::online_keys(&self.server, &self.repository).await,
            Some(token) => {
                let path = format!("/api/v1/repositories/{}/online-keys", self.repository);
                let made = self.send_as(Some(token), Method::POST, &path, None).await;
                made.json().await.expect("online keys")
            }
        };
        first(&self.repository, &online, self.now())
    }

    /// A request for the next root, which is valid `days` longer.
    pub async fn renewal(&self, days: i64) -> SigningRequest {
        let state = self.state().await.expect("the repository is there");
        let old = state.root().payload();
        let expires = self.now().plus_seconds((365 + days) * DAY);
        let root = RootEdit::next(Dialect::Tuf1, old, expires).expect("a next version").finish();
        request_for(Dialect::Tuf1, &self.repository, &root, Some(&state), self.now())
    }

    /// What the server has now, verified.
    pub async fn state(&self) -> Option<CurrentState> {
        let store = &self.server.app.store;
        let repository = self.repository.parse().expect("a name");
        let head = store.head(&repository).await.expect("a head can be read")?;
        let mut documents = BTreeMap::new();
        for (role, reference) in &head.current {
            let bytes = store.by_version(&repository, role, reference.version).await.expect("a document");
            documents.insert(role.clone(), bytes.expect("it is there"));
        }
        Some(CurrentState::load(head.dialect, &documents).expect("the state verifies"))
    }

    pub async fn root_version(&self) -> u64 {
        self.state().await.map_or(0, |state| state.root().version().get())
    }

    /// Opens `request`, which is new.
    pub async fn opened(&self, request: SigningRequest) -> Opened {
        let (id, bytes) = (request.id, Bytes::from(request.to_bytes()));
        let signed = usize::from(request.documents.contains_key(&RoleName::Targets));
        let response = self.send(Method::POST, "", Some(bytes.clone())).await;
        let status = response.status();
        let text = response.text().await.expect("a body");
        assert_eq!(status, 201, "{text}");
        let progress: RequestProgress = serde_json::from_str(&text).expect("progress");
        assert_eq!((progress.id, progress.complete, progress.added), (id.to_string(), false, signed));
        Opened { id, bytes }
    }

    /// Signatures of `holders` on what they got.
    pub async fn signatures(&self, opened: &Opened, holders: &[Holder]) -> Bytes {
        signatures(&opened.bytes, self.state().await.as_ref(), self.now(), holders)
    }

    pub async fn post(&self, id: RequestId, signatures: Bytes) -> Response {
        self.send(Method::POST, &format!("/{id}/signatures"), Some(signatures)).await
    }

    /// Has `holders` sign, which the server takes.
    pub async fn sign(&self, opened: &Opened, holders: &[Holder]) -> RequestProgress {
        let file = self.signatures(opened, holders).await;
        progress(self.post(opened.id, file).await).await
    }

    /// The ids of open requests, as the server lists them.
    pub async fn list(&self) -> Vec<String> {
        let list: RequestList = self.send(Method::GET, "", None).await.json().await.expect("a list");
        list.requests.into_iter().map(|summary| summary.id).collect()
    }

    /// The next root, signed by two at once and published as ever.
    pub async fn publish_root(&self, days: i64) -> Response {
        // Before the state: whoever is overtaken in between names a head that is gone.
        let repository = self.repository.parse().expect("a name");
        let head = self.server.app.store.head(&repository).await.expect("a head").expect("it is there");
        let state = self.state().await.expect("the repository is there");
        let expires = self.now().plus_seconds((365 + days) * DAY);
        let root = RootEdit::next(Dialect::Tuf1, state.root().payload(), expires).expect("a next version");
        let (anna, ben) = (Holder::Anna.key(), Holder::Ben.key());
        let root = Draft::new(Dialect::Tuf1, root.finish()).sign_root(&[&anna, &ben], Some(state.root()));
        let bytes = root.expect("signed").bytes().to_vec();
        let version = state.root().version().get() + 1;
        let parts = [Upload::Metadata(format!("{version}.root.json"), bytes)];
        let (token, id) = (head.token.to_string(), u128::from(head.token.0) << 32);
        let request =
            self.server.publish(&self.repository, Some(&token), id + days.unsigned_abs() as u128, &parts);
        self.server.send(request).await
    }
}

/// The request that makes a repository, signed for its targets role and by nobody else.
pub fn first(repository: &str, online: &OnlineKeys, now: UtcTime) -> SigningRequest {
    let holders = |holder: Holder| KeyEntry::new(holder.key().public_key().clone());
    let (snapshot, timestamp) = (public(&online.snapshot), public(&online.timestamp));
    first_of(Dialect::Tuf1, repository, holders, [snapshot, timestamp], now)
}

/// The same in legacy mode.
pub fn legacy_first(
    repository: &str,
    snapshot: &PublicKey,
    timestamp: &PublicKey,
    now: UtcTime,
) -> SigningRequest {
    let certified = |holder: Holder| {
        let until = now.plus_seconds(3_650 * DAY);
        let serial = [7 + holder as u8; 16];
        let certificate = Certificate::self_signed(&holder.key(), repository, serial, now, until);
        KeyEntry::certified(certificate.expect("a certificate"))
    };
    first_of(Dialect::Notary1, repository, certified, [snapshot.clone(), timestamp.clone()], now)
}

fn first_of(
    dialect: Dialect,
    repository: &str,
    entry: impl Fn(Holder) -> KeyEntry,
    [snapshot, timestamp]: [PublicKey; 2],
    now: UtcTime,
) -> SigningRequest {
    let spec = |key: PublicKey| RoleSpec { keys: vec![KeyEntry::new(key)], threshold: Threshold::ONE };
    let holders = [Holder::Anna, Holder::Ben, Holder::Carol];
    let root = RoleSpec { keys: holders.map(entry).to_vec(), threshold: Threshold::new(2).expect("two") };
    let (key, expires) = (targets_key(), now.plus_seconds(365 * DAY));
    let targets = spec(key.public_key().clone());
    let root = RootEdit::first(dialect, &root, &targets, &spec(snapshot), &spec(timestamp), expires);
    let root = root.expect("valid keys").finish();
    let targets = TargetsEdit::new(dialect, RoleName::Targets, Version::FIRST, expires).finish();
    let targets = Draft::new(dialect, targets).sign(&[&key], &root.targets, &root.keys).expect("signed");
    let mut request = request_for(dialect, repository, &root, None, now);
    request.documents.insert(RoleName::Targets, targets.bytes().clone());
    request
}

fn request_for(
    dialect: Dialect,
    repository: &str,
    root: &Root,
    state: Option<&CurrentState>,
    now: UtcTime,
) -> SigningRequest {
    let old = state.map(|state| state.root().payload());
    let proposed = Draft::new(dialect, root.clone()).propose_root(&[], old).expect("written");
    let mut id = [0; 16];
    id.copy_from_slice(&Sha256Digest::of(proposed.bytes()).as_bytes()[..16]);
    let request = SigningRequest {
        id: RequestId::from_bytes(id),
        repository: repository.parse().expect("a name"),
        dialect,
        base: BTreeMap::new(),
        reason: "routine".parse().expect("a text"),
        created_by: "anna".parse().expect("a text"),
        created_at: now,
        not_after: now.plus_seconds(7 * DAY),
        documents: [(RoleName::Root, proposed.bytes().clone())].into(),
        files: Vec::new(),
        holders: BTreeMap::new(),
    };
    request.with_base(state).expect("a base")
}

/// Signatures of `holders` on a request, as those who trust `state` make them.
pub fn signatures(request: &[u8], state: Option<&CurrentState>, now: UtcTime, holders: &[Holder]) -> Bytes {
    let request = SigningRequest::parse(request).expect("a request");
    let repository = request.repository.clone();
    let open = request.open(&repository, state, now).expect("it opens");
    let keys: Vec<SecretKey> = holders.iter().map(|holder| holder.key()).collect();
    let signers: Vec<&dyn Signer> = keys.iter().map(|key| key as &dyn Signer).collect();
    open.sign(&signers).expect("signed").to_bytes().into()
}

/// The progress that an answer holds.
pub async fn progress(response: Response) -> RequestProgress {
    let status = response.status();
    let text = response.text().await.expect("a body");
    assert_eq!(status, 200, "{text}");
    serde_json::from_str(&text).expect("progress")
}

/// A file of signatures with something changed.
pub fn changed(file: &Bytes, change: impl FnOnce(&mut SignatureFile)) -> Bytes {
    let mut file = SignatureFile::parse(file).expect("a file of signatures");
    change(&mut file);
    file.to_bytes().into()
}

fn targets_key() -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::Ed25519, &[77; 32].into()).expect("any seed is a key")
}

fn public(key: &OnlineKey) -> PublicKey {
    PublicKey::from_pem(&key.public_key).expect("a public key")
}
