//! Reads over a real listener: statuses, headers, names, tokens, limits, stopping.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{ProblemCode, RepositoryList};
use bulla_server::config::LimitsConfig;
use bulla_server::lifecycle::Phase;
use bulla_server::store::memory::MemoryStore;
use bulla_server::store::{
    Change, CheckReport, Closing, Head, LastVersions, NewRequest, OpenRequest, Position, Publication,
    PublishError, Published, Removal, SealedOnlineKeys, StoreError, StoredRequest, TrustStore,
};
use bulla_tests::publisher::{self, Publisher};
use bulla_tests::server::{Setup, TestServer, Upload, problem};
use bytes::Bytes;
use reqwest::{Method, Response};

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

/// A server with one repository that holds one tag.
async fn with_tag(repository: &str, manifest: &[u8]) -> (TestServer, Publisher) {
    let server = TestServer::start().await;
    let publisher = fill(&server, repository, manifest).await;
    (server, publisher)
}

async fn fill(server: &TestServer, repository: &str, manifest: &[u8]) -> Publisher {
    let (mut publisher, receipt) = publisher::create(server, repository).await;
    let upload = publisher.tag("v1", manifest);
    let id = publisher::operation(repository, 1);
    let response = server.send(server.publish(repository, Some(&receipt.token), id, &upload)).await;
    assert_eq!(response.status(), 200);
    publisher
}

#[tokio::test]
async fn immutable_files_are_cached_for_ever_and_current_ones_are_revalidated() {
    let (server, _) = with_tag("r.io/app", b"{}").await;
    let immutable = "public, max-age=31536000, immutable";
    for (file, cache) in [
        ("timestamp.json", "no-cache"),
        ("root.json", "no-cache"),
        ("snapshot.json", "no-cache"),
        ("targets.json", "no-cache"),
        ("alice.json", "no-cache"),
        ("1.root.json", immutable),
        ("2.snapshot.json", immutable),
        ("1.targets.json", immutable),
        ("2.releases.json", immutable),
    ] {
        let path = format!("/tuf/r.io/app/metadata/{file}");
        let response = server.get(&path).await;
        assert_eq!(response.status(), 200, "{file}");
        assert_eq!(header(&response, "cache-control"), cache, "{file}");
        assert_eq!(header(&response, "content-type"), "application/json", "{file}");
        let etag = header(&response, "etag").to_owned();
        let bytes = response.bytes().await.expect("a body");
        assert_eq!(etag, format!("\"{}\"", Sha256Digest::of(&bytes)), "{file}");

        let known = server.send(server.request(Method::GET, &path).header("if-none-match", &etag)).await;
        assert_eq!(known.status(), 304, "{file}");
        assert_eq!(header(&known, "etag"), etag, "{file}");
        assert_eq!(header(&known, "cache-control"), cache, "{file}");
        assert!(known.bytes().await.expect("a body").is_empty(), "{file}");

        let head = server.send(server.request(Method::HEAD, &path)).await;
        assert_eq!(head.status(), 200, "{file}");
        assert_eq!(header(&head, "content-length"), bytes.len().to_string(), "{file}");
        assert!(head.bytes().await.expect("a body").is_empty(), "{file}");
    }
}

#[tokio::test]
async fn current_names_and_versions_give_the_same_bytes() {
    let (server, _) = with_tag("app", b"{}").await;
    for (current, version) in
        [("root", "1.root"), ("snapshot", "2.snapshot"), ("targets", "1.targets"), ("releases", "2.releases")]
    {
        let read = async |name: &str| {
            server.get(&format!("/tuf/app/metadata/{name}.json")).await.bytes().await.expect("a body")
        };
        assert_eq!(read(current).await, read(version).await);
    }
}

#[tokio::test]
async fn targets_come_by_digest_from_their_repository_only() {
    let (server, _) = with_tag("r.io/app", b"manifest").await;
    publisher::create(&server, "r.io/other").await;
    let digest = Sha256Digest::of(b"manifest");
    let response = server.get(&format!("/tuf/r.io/app/targets/{digest}.v1")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "application/octet-stream");
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(header(&response, "etag"), format!("\"{digest}\""));
    assert_eq!(response.bytes().await.expect("a body"), "manifest");
    for absent in [
        format!("/tuf/r.io/other/targets/{digest}.v1"),
        format!("/tuf/r.io/app/targets/{}.v1", Sha256Digest::of(b"else")),
        format!("/tuf/r.io/app/targets/{digest}"),
    ] {
        assert_eq!(server.get(&absent).await.status(), 404, "{absent}");
    }
    let in_folder = server.get(&format!("/tuf/r.io/app/targets/dir/{digest}.v1")).await;
    assert_eq!(in_folder.status(), 200);
}

#[tokio::test]
async fn repositories_may_be_called_like_parts_of_urls() {
    let server = TestServer::start().await;
    let names = ["a", "a/metadata", "a/metadata/b", "a/targets", "a/targets/b", "localhost:5000/a", "a/head"];
    for name in names {
        fill(&server, name, name.as_bytes()).await;
    }
    for name in names {
        let encoded = name.replace('/', "%2F").replace(':', "%3A");
        for spelling in [name, &encoded] {
            let timestamp = server.get(&format!("/tuf/{spelling}/metadata/timestamp.json")).await;
            assert_eq!(timestamp.status(), 200, "{spelling}");
            let digest = Sha256Digest::of(name.as_bytes());
            let target = server.get(&format!("/tuf/{spelling}/targets/{digest}.v1")).await;
            assert_eq!(target.bytes().await.expect("a body"), name, "{spelling}");
            let head = server.get(&format!("/api/v1/repositories/{spelling}/head")).await;
            assert_eq!(head.status(), 200, "{spelling}");
        }
    }
    let list: RepositoryList = server.get("/api/v1/repositories?max=3").await.json().await.expect("a list");
    assert_eq!(list.repositories.len(), 3);
    let next = list.next.expect("there are more").to_string();
    let rest: RepositoryList =
        server.get(&format!("/api/v1/repositories?after={next}")).await.json().await.expect("a list");
    assert_eq!((rest.repositories.len(), rest.next), (4, None));
}

/// Sends bytes that no careful client would; returns the first line of the answer.
fn raw(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_cannot_climb_in_any_spelling() {
    let (server, _) = with_tag("a", b"{}").await;
    for path in [
        "/tuf/../a/metadata/timestamp.json",
        "/tuf/b/../a/metadata/timestamp.json",
        "/tuf/b/%2e%2e/a/metadata/timestamp.json",
        "/tuf/b%2f%2e%2e%2fa/metadata/timestamp.json",
        "/tuf/%2e/a/metadata/timestamp.json",
        "/tuf/a/metadata/..%2fmetadata%2ftimestamp.json",
        "/tuf//a/metadata/timestamp.json",
        "/tuf/a%00/metadata/timestamp.json",
    ] {
        let line = raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(line.starts_with("HTTP/1.1 404"), "{path}: {line}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let line = raw(
            &server,
            &format!(
                "{method} /tuf/a/metadata/timestamp.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ),
        );
        assert!(line.starts_with("HTTP/1.1 405"), "{method}: {line}");
    }
}

#[tokio::test]
async fn large_metadata_is_compressed_but_never_the_timestamp() {
    let (server, mut publisher) = with_tag("a", b"{}").await;
    for at in 0..20 {
        let token = token(&server, "a").await;
        let upload = publisher.tag(&format!("tag-{at}"), b"{}");
        assert_eq!(server.send(server.publish("a", Some(&token), 100 + at, &upload)).await.status(), 200);
    }
    let get = async |file: &str| {
        let path = format!("/tuf/a/metadata/{file}");
        server.send(server.request(Method::GET, &path).header("accept-encoding", "gzip")).await
    };
    let releases = get("releases.json").await;
    assert_eq!(header(&releases, "content-encoding"), "gzip");
    assert!(header(&releases, "vary").contains("accept-encoding"));
    let etag = header(&releases, "etag").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    let again = server.request(Method::GET, "/tuf/a/metadata/releases.json").header("if-none-match", &etag);
    assert_eq!(server.send(again).await.status(), 304);
    assert_eq!(header(&get("timestamp.json").await, "content-encoding"), "");
}

async fn token(server: &TestServer, repository: &str) -> String {
    let head: bulla_keys_schema::wire::Head =
        server.get(&format!("/api/v1/repositories/{repository}/head")).await.json().await.expect("a head");
    head.token
}

#[tokio::test]
async fn heads_carry_their_token_as_a_tag() {
    let (server, _) = with_tag("a", b"{}").await;
    let response = server.get("/api/v1/repositories/a/head").await;
    let etag = header(&response, "etag").to_owned();
    let head: bulla_keys_schema::wire::Head = response.json().await.expect("a head");
    assert_eq!(etag, format!("\"{}\"", head.token));
    let roles: Vec<_> = head.current.keys().map(ToString::to_string).collect();
    assert_eq!(roles, ["root", "targets", "snapshot", "timestamp", "alice", "releases"]);
}

#[tokio::test]
async fn without_a_token_everything_is_closed() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    for (method, path) in [
        (Method::GET, "/tuf/a/metadata/timestamp.json"),
        (Method::GET, "/tuf/nonsense"),
        (Method::GET, "/api/v1/repositories"),
        (Method::GET, "/api/v1/changes"),
        (Method::GET, "/api/v1/nonsense"),
        (Method::GET, "/nonsense"),
        (Method::POST, "/api/v1/repositories/a/publish"),
        (Method::DELETE, "/api/v1/repositories/a"),
    ] {
        for token in [None, Some("bulla_wrong"), Some("")] {
            let request = server.request(method.clone(), path);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let response = server.send(request).await;
            assert_eq!(response.status(), 401, "{method} {path} {token:?}");
            assert!(header(&response, "www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn absent_and_forbidden_look_the_same() {
    let store: Arc<dyn TrustStore> = Arc::new(MemoryStore::new());
    let server = TestServer::with(Setup { tokens: Some(false), store, ..Setup::default() }).await;
    let admin = server.token("admin", "admin", "**", 3600);
    let outsider = server.token("outsider", "admin", "r.io/mine/**", 3600);
    let request = server.request(Method::POST, "/api/v1/repositories/r.io/there/online-keys");
    let online = server.send(request.bearer_auth(&admin)).await.json().await.expect("keys");
    let publisher = Publisher::new(&online);
    let publish = server.publish("r.io/there", None, 1, &publisher.first()).bearer_auth(&admin);
    assert_eq!(server.send(publish).await.status(), 200);

    let digest = Sha256Digest::of(b"{}");
    for (method, path) in [
        (Method::GET, "/tuf/NAME/metadata/timestamp.json".to_owned()),
        (Method::GET, "/tuf/NAME/metadata/1.root.json".to_owned()),
        (Method::GET, format!("/tuf/NAME/targets/{digest}.v1")),
        (Method::GET, "/api/v1/repositories/NAME/head".to_owned()),
        (Method::GET, "/api/v1/repositories/NAME/online-keys".to_owned()),
        (Method::POST, "/api/v1/repositories/NAME/online-keys".to_owned()),
        (Method::POST, "/api/v1/repositories/NAME/online-keys/rotate".to_owned()),
        (Method::POST, "/api/v1/repositories/NAME/publish".to_owned()),
        (Method::DELETE, "/api/v1/repositories/NAME".to_owned()),
    ] {
        let mut seen = Vec::new();
        for name in ["r.io/there", "r.io/absnt"] {
            let request = server.request(method.clone(), &path.replace("NAME", name));
            let response = server.send(request.bearer_auth(&outsider).header("x-request-id", "same")).await;
            assert_eq!(response.status(), 404, "{method} {path}");
            let mut headers = response.headers().clone();
            headers.remove("date");
            let body = response.text().await.expect("a body").replace(name, "NAME");
            seen.push((headers, body));
        }
        assert_eq!(seen.first(), seen.get(1), "{method} {path}");
    }
    let list = server.send(server.request(Method::GET, "/api/v1/repositories").bearer_auth(&outsider)).await;
    assert!(list.json::<RepositoryList>().await.expect("a list").repositories.is_empty());
    let changes = server.send(server.request(Method::GET, "/api/v1/changes").bearer_auth(&outsider)).await;
    assert!(!changes.text().await.expect("a body").contains("r.io/there"));
}

#[tokio::test]
async fn rights_within_the_scope_are_told_plainly() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    let reader = server.token("reader", "read", "r.io/**", 3600);
    let publisher = server.token("publisher", "publish", "r.io/**", 3600);
    for (token, method, path) in [
        (&reader, Method::POST, "/api/v1/repositories/r.io/a/online-keys"),
        (&reader, Method::POST, "/api/v1/repositories/r.io/a/publish"),
        (&publisher, Method::POST, "/api/v1/repositories/r.io/a/online-keys/rotate"),
        (&publisher, Method::DELETE, "/api/v1/repositories/r.io/a"),
    ] {
        let response = server.send(server.request(method.clone(), path).bearer_auth(token)).await;
        assert_eq!(problem(response).await.code, ProblemCode::Forbidden, "{method} {path}");
    }
}

#[tokio::test]
async fn anonymous_reads_open_metadata_and_nothing_else() {
    let server = TestServer::with(Setup { tokens: Some(true), ..Setup::default() }).await;
    assert_eq!(server.get("/tuf/a/metadata/timestamp.json").await.status(), 404);
    assert_eq!(server.get("/api/v1/repositories").await.status(), 401);
}

#[tokio::test]
async fn revoked_and_expired_tokens_stop_working_while_the_server_runs() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    let (first, second) =
        (server.token("first", "read", "**", 3600), server.token("second", "read", "**", 60));
    let status = async |token: &str| {
        server.send(server.request(Method::GET, "/api/v1/repositories").bearer_auth(token)).await.status()
    };
    assert_eq!(
        (status(&first).await, status(&second).await),
        (200.try_into().expect("200"), 200.try_into().expect("200"))
    );
    server.clock.advance(60);
    assert_eq!(status(&second).await, 401);
    let file = bulla_server::auth::TokenFile::in_data(server.folder.path());
    file.revoke(&"first".parse().expect("a name")).expect("it exists");
    let began = Instant::now();
    while status(&first).await != 401 {
        assert!(began.elapsed() < Duration::from_secs(3), "a revoked token still works");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(file.path(), "damaged").expect("the file can be written");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(status(&first).await, 503);
    assert_eq!(server.operate("/readyz").await.status(), 503);
}

#[tokio::test]
async fn tls_is_spoken_with_the_development_authority() {
    let server = TestServer::with(Setup { tls: true, ..Setup::default() }).await;
    let response = server.get("/api/v1/repositories").await;
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let stranger = reqwest::Client::builder().no_proxy().build().expect("a client");
    assert!(stranger.get(server.url("/api/v1/repositories")).send().await.is_err());
}

#[tokio::test]
async fn problems_say_what_and_carry_the_request_id() {
    let server = TestServer::start().await;
    let request = server.request(Method::GET, "/api/v1/repositories/a/head").header("x-request-id", "ci-17");
    let response = server.send(request).await;
    assert_eq!(header(&response, "x-request-id"), "ci-17");
    assert_eq!(header(&response, "cache-control"), "no-store");
    let found = problem(response).await;
    assert_eq!((found.code, found.request_id.as_str()), (ProblemCode::NotFound, "ci-17"));
    assert!(found.detail.contains("repository a"));
    let request = server.request(Method::GET, "/api/v1/repositories").header("x-request-id", "a b{}");
    assert_ne!(header(&server.send(request).await, "x-request-id"), "a b{}");
    for (method, path, code) in [
        (Method::GET, "/api/v1/nonsense", ProblemCode::NotFound),
        (Method::GET, "/api/v1/repositories/a", ProblemCode::NotFound),
        (Method::GET, "/api/v1/repositories/../head", ProblemCode::NotFound),
        (Method::POST, "/api/v1/repositories", ProblemCode::MethodNotAllowed),
        (Method::PUT, "/api/v1/repositories/a/head", ProblemCode::MethodNotAllowed),
        (Method::GET, "/api/v1/repositories?limit=3", ProblemCode::BadRequest),
        (Method::GET, "/api/v1/repositories?after=../x", ProblemCode::BadRequest),
        (Method::GET, "/api/v1/changes?after=x", ProblemCode::BadRequest),
    ] {
        assert_eq!(
            problem(server.send(server.request(method.clone(), path)).await).await.code,
            code,
            "{method} {path}"
        );
    }
}

/// A store whose reads of the repository `panic` panic, and of `slow` never end.
struct Troubled(MemoryStore);

#[async_trait]
impl TrustStore for Troubled {
    async fn head(&self, repository: &RepositoryName) -> Result<Option<Arc<Head>>, StoreError> {
        match repository.as_str() {
            "panic" => panic!("trouble with a secret"),
            "slow" => std::future::pending().await,
            _ => self.0.head(repository).await,
        }
    }

    async fn by_version(
        &self,
        name: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Bytes>, StoreError> {
        self.0.by_version(name, role, version).await
    }

    async fn by_digest(
        &self,
        name: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Bytes>, StoreError> {
        self.0.by_digest(name, digest).await
    }

    async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        self.0.publish(publication).await
    }

    async fn remove(&self, removal: Removal) -> Result<Published, PublishError> {
        self.0.remove(removal).await
    }

    async fn last_versions(&self, repository: &RepositoryName) -> Result<Option<LastVersions>, StoreError> {
        self.0.last_versions(repository).await
    }

    async fn list(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.0.list(after, max).await
    }

    async fn changes(&self, after: Position, max: usize) -> Result<Vec<Change>, StoreError> {
        self.0.changes(after, max).await
    }

    async fn due(&self, before: UtcTime, max: usize) -> Result<Vec<RepositoryName>, StoreError> {
        self.0.due(before, max).await
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<Option<SealedOnlineKeys>, StoreError> {
        self.0.online_keys(repository).await
    }

    async fn set_online_keys(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sealed: Bytes,
    ) -> Result<u64, PublishError> {
        self.0.set_online_keys(repository, expected, sealed).await
    }

    async fn with_online_keys(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.0.with_online_keys(after, max).await
    }

    async fn open_requests(&self, repository: &RepositoryName) -> Result<Vec<OpenRequest>, StoreError> {
        self.0.open_requests(repository).await
    }

    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<StoredRequest>, StoreError> {
        self.0.request(repository, id).await
    }

    async fn put_request(&self, request: NewRequest) -> Result<u64, PublishError> {
        self.0.put_request(request).await
    }

    async fn close_request(&self, closing: Closing) -> Result<(), PublishError> {
        self.0.close_request(closing).await
    }

    async fn with_requests(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        self.0.with_requests(after, max).await
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.0.check().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.0.close().await
    }
}

#[tokio::test]
async fn panics_are_contained_and_tell_callers_nothing() {
    let store = Arc::new(Troubled(MemoryStore::new()));
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let response = server.get("/api/v1/repositories/panic/head").await;
    let found = problem(response).await;
    assert_eq!(found.code, ProblemCode::Internal);
    assert!(!found.detail.contains("secret"));
    let read = server.get("/tuf/panic/metadata/timestamp.json").await;
    assert_eq!(read.status(), 500);
    assert!(!read.text().await.expect("a body").contains("secret"));
    assert_eq!(server.get("/api/v1/repositories").await.status(), 200);
    assert!(
        server.operate("/metrics").await.text().await.expect("numbers").contains("bullad_panics_total 2")
    );
}

#[tokio::test]
async fn requests_end_after_their_time_and_in_their_number() {
    let store = Arc::new(Troubled(MemoryStore::new()));
    let limits =
        LimitsConfig { request_time: Duration::from_millis(300), requests: 1, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { store, limits, ..Setup::default() }).await;
    let (slow, refused) = tokio::join!(server.get("/api/v1/repositories/slow/head"), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        server.get("/api/v1/repositories").await
    });
    assert_eq!(problem(slow).await.code, ProblemCode::RequestTimeout);
    assert_eq!(header(&refused, "retry-after"), "1");
    assert_eq!(problem(refused).await.code, ProblemCode::Busy);
}

/// Waits until the server closes the connection; returns what it sent.
fn until_closed(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server did not close the connection: {error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn impatient() -> Setup {
    let limits = LimitsConfig {
        header_time: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        request_time: Duration::from_secs(5),
        ..LimitsConfig::default()
    };
    Setup { limits, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_silent_connections_are_cut_off() {
    let server = TestServer::with(impatient()).await;
    let began = Instant::now();
    let silent = TcpStream::connect(server.address).expect("the server listens");
    let mut halting = TcpStream::connect(server.address).expect("the server listens");
    halting.write_all(b"GET /api/v1/repositories HTTP/1.1\r\nhost:").expect("sent");
    let mut idle = TcpStream::connect(server.address).expect("the server listens");
    idle.write_all(b"GET /api/v1/repositories HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    assert_eq!(until_closed(silent), "");
    assert!(!until_closed(halting).contains("200 OK"));
    assert!(until_closed(idle).starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_are_cut_off() {
    let server = TestServer::with(impatient()).await;
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let head = "POST /api/v1/repositories/a/publish HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\
                idempotency-key: 00000000000000000000000000000001\r\ncontent-length: 1000\r\n\
                content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request-timeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_take_their_answer_are_cut_off() {
    let (server, mut publisher) = {
        let server = TestServer::with(impatient()).await;
        let publisher = fill(&server, "a", b"{}").await;
        (server, publisher)
    };
    let big = vec![b' '; 4 * 1024 * 1024];
    let upload = publisher.tag("big", &big);
    let head = token(&server, "a").await;
    assert_eq!(server.send(server.publish("a", Some(&head), 9, &upload)).await.status(), 200);
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let request = format!("GET /tuf/a/targets/{}.big HTTP/1.1\r\nhost: x\r\n\r\n", Sha256Digest::of(&big));
    for _ in 0..8 {
        stream.write_all(request.as_bytes()).expect("sent");
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let taken = until_closed(stream).len();
    assert!(taken < 8 * big.len(), "everything was sent to a client that did not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_heads_have_limits() {
    let limits = LimitsConfig { connections: 2, header_bytes: 8192, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let long = format!("GET /api/v1/changes HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    let line = raw(&server, &long);
    assert!(line.starts_with("HTTP/1.1 431") || line.is_empty(), "{line}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(server.address).expect("room for two")).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(until_closed(TcpStream::connect(server.address).expect("the port is open")), "");
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.get("/api/v1/repositories").await.status(), 200);
}

#[tokio::test]
async fn health_readiness_and_numbers_have_a_listener_of_their_own() {
    let (server, _) = with_tag("a", b"{}").await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.get(path).await.status(), 404, "{path}");
        assert_eq!(server.operate(path).await.status(), 200, "{path}");
    }
    server.get("/tuf/a/metadata/timestamp.json").await;
    let numbers = server.operate("/metrics").await.text().await.expect("numbers");
    for line in [
        r#"bullad_http_requests_total{class="Timestamp",method="GET",status="200"} 1"#,
        r#"bullad_publishes_total{outcome="Done"} 2"#,
    ] {
        assert!(numbers.contains(line), "{numbers}");
    }
    server.clock.advance(-3600);
    let unready = server.operate("/readyz").await;
    assert_eq!(unready.status(), 503);
    assert!(unready.text().await.expect("reasons").contains("clock"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_finishes_requests_and_closes_the_store() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::with(Setup { store: store.clone(), ..Setup::default() }).await;
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let body = "--b--\r\n";
    let head = format!(
        "POST /api/v1/repositories/a/publish HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\
         idempotency-key: 00000000000000000000000000000001\r\ncontent-length: {}\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.phase.send_replace(Phase::Draining);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(TcpStream::connect(server.address).is_err(), "new connections are taken while stopping");
    stream.write_all(body.as_bytes()).expect("sent");
    let answer = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    server.stopped().await.expect("a clean stop");
    assert!(matches!(store.list(None, 1).await, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let store = Arc::new(Troubled(MemoryStore::new()));
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let url = server.url("/api/v1/repositories/slow/head");
    let waiting = tokio::spawn(async move { reqwest::get(url).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    server.phase.send_replace(Phase::Draining);
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.phase.send_replace(Phase::Stopping);
    server.stopped().await.expect("a clean stop");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(waiting.await.expect("no panic").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_bodies_is_bounded_over_all_publishers() {
    let limits =
        LimitsConfig { body_bytes: 64 * 1024, total_body_bytes: 64 * 1024, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let head = "POST /api/v1/repositories/a/publish HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\
                idempotency-key: 00000000000000000000000000000001\r\ncontent-length: 65536\r\n\
                content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let other = || server.send(server.publish("b", None, 2, &[Upload::Target(b"x".to_vec())]));
    assert_eq!(problem(other().await).await.code, ProblemCode::Busy);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(problem(other().await).await.code, ProblemCode::Rejected);
}
