//! A server on a free port, in this process, with a clock that stands still.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{IDEMPOTENCY_KEY, Problem};
use bulla_server::app::App;
use bulla_server::auth::{Access, TokenBook, TokenFile};
use bulla_server::clock::Clock;
use bulla_server::config::{LifetimesConfig, LimitsConfig};
use bulla_server::lifecycle::{Phase, ServeError, Server};
use bulla_server::publish::Lifetimes;
use bulla_server::store::TrustStore;
use bulla_server::store::memory::MemoryStore;
use bulla_server::tls::{self, DevelopmentTls};
use bulla_server::vault::Kek;
use reqwest::multipart::{Form, Part};
use reqwest::{Certificate, Client, Method, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// When every test begins: 2030-01-01T00:00:00Z.
pub const BEGIN: i64 = 1_893_456_000;

/// A clock that moves when told to.
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// Moves the clock by `seconds`.
    pub fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now(&self) -> UtcTime {
        UtcTime::from_unix_seconds(self.0.load(Ordering::Relaxed)).expect("tests stay in the calendar")
    }
}

/// How a server of a test differs from the usual one.
pub struct Setup {
    /// Where it keeps its metadata.
    pub store: Arc<dyn TrustStore>,
    /// `None` for a server without authentication, else whether reads are public.
    pub tokens: Option<bool>,
    /// Limits of requests.
    pub limits: LimitsConfig,
    /// Lifetimes of what it signs.
    pub lifetimes: LifetimesConfig,
    /// Whether it speaks TLS.
    pub tls: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            store: Arc::new(MemoryStore::new()),
            tokens: None,
            limits: LimitsConfig::default(),
            lifetimes: LifetimesConfig::default(),
            tls: false,
        }
    }
}

/// A running server and what a test needs to talk to it.
pub struct TestServer {
    /// Its parts.
    pub app: Arc<App>,
    /// Its time.
    pub clock: Arc<FixedClock>,
    /// Its data folder.
    pub folder: TempDir,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where health and metrics are.
    pub operations: SocketAddr,
    /// Tells it to stop.
    pub phase: watch::Sender<Phase>,
    client: Client,
    scheme: &'static str,
    task: JoinHandle<Result<(), ServeError>>,
}

impl TestServer {
    /// The usual server: memory store, no authentication, plain HTTP.
    pub async fn start() -> Self {
        Self::with(Setup::default()).await
    }

    /// A server as `setup` wants it.
    pub async fn with(setup: Setup) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the server");
        let clock = Arc::new(FixedClock(AtomicI64::new(BEGIN)));
        let kek = Kek::from_file_or_new(&folder.path().join("kek")).expect("a key-encryption key");
        let access = match setup.tokens {
            None => Access::open(),
            Some(public) => {
                let book = TokenBook::new(TokenFile::in_data(folder.path()), clock.clone());
                Access::tokens(book, public)
            }
        };
        let mut client = Client::builder().no_proxy().gzip(false);
        let tls = setup.tls.then(|| {
            let files = DevelopmentTls::in_folder(folder.path().join("tls")).expect("a certificate");
            tls::from_pem_files(&files.certificate(), &files.key()).expect("the certificate is usable")
        });
        if setup.tls {
            let pem = std::fs::read(folder.path().join("tls/ca.pem")).expect("the authority's certificate");
            let authority = Certificate::from_pem(&pem).expect("the certificate is readable");
            client = client.tls_certs_only([authority]);
        }
        let lifetimes = Lifetimes::from(&setup.lifetimes);
        let app = Arc::new(App::new(setup.store, kek, access, clock.clone(), lifetimes, setup.limits));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = Server::bind(Arc::clone(&app), any, tls, Some(any)).expect("a free port");
        let address = server.address().expect("an address");
        let operations = server.operations_address().expect("an address").expect("it was asked for");
        let (phase, receiver) = watch::channel(Phase::Serving);
        let task = tokio::spawn(server.run(receiver));
        let client = client.build().expect("a client");
        let scheme = if setup.tls { "https" } else { "http" };
        Self { app, clock, folder, address, operations, phase, client, scheme, task }
    }

    /// The URL of `path`.
    pub fn url(&self, path: &str) -> String {
        format!("{}://localhost:{}{path}", self.scheme, self.address.port())
    }

    /// A request to be filled.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// `GET path`.
    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends a request that must be answered, whatever the answer.
    pub async fn send(&self, request: RequestBuilder) -> Response {
        request.send().await.expect("the server answers")
    }

    /// `GET path` of the listener for operators.
    pub async fn operate(&self, path: &str) -> Response {
        let url = format!("http://{}{path}", self.operations);
        self.client.get(url).send().await.expect("the server answers")
    }

    /// A publish of `parts`, built on `token` (`None` for a new repository).
    pub fn publish(
        &self,
        repository: &str,
        token: Option<&str>,
        id: u128,
        parts: &[Upload],
    ) -> RequestBuilder {
        let mut form = Form::new();
        for upload in parts {
            form = match upload {
                Upload::Metadata(name, bytes) => {
                    form.part("metadata", Part::bytes(bytes.clone()).file_name(name.clone()))
                }
                Upload::Target(bytes) => form.part("target", Part::bytes(bytes.clone())),
            };
        }
        let request = self.request(Method::POST, &format!("/api/v1/repositories/{repository}/publish"));
        let request = match token {
            Some(token) => request.header("if-match", format!("\"{token}\"")),
            None => request.header("if-none-match", "*"),
        };
        request.header(IDEMPOTENCY_KEY, format!("{id:032x}")).multipart(form)
    }

    /// Makes a token in the server's data folder.
    pub fn token(&self, name: &str, can: &str, scope: &str, seconds: i64) -> String {
        let file = TokenFile::in_data(self.folder.path());
        let (rights, scope) = (can.parse().expect("rights"), scope.parse().expect("a scope"));
        let now = self.clock.now();
        let token = file.create(
            name.parse().expect("a name"),
            rights,
            vec![scope],
            now,
            Some(now.plus_seconds(seconds)),
        );
        token.expect("the token can be made").to_string()
    }

    /// Stops the server and waits until it has.
    pub async fn stop(self) -> Result<(), ServeError> {
        self.phase.send_replace(Phase::Draining);
        self.task.await.expect("the server does not panic")
    }

    /// Waits until the server has stopped by itself.
    pub async fn stopped(self) -> Result<(), ServeError> {
        self.task.await.expect("the server does not panic")
    }
}

/// A part of an upload.
#[derive(Clone, Debug)]
pub enum Upload {
    /// A document with its file name.
    Metadata(String, Vec<u8>),
    /// Bytes of a target.
    Target(Vec<u8>),
}

/// The problem that an answer holds.
pub async fn problem(response: Response) -> Problem {
    let status = response.status().as_u16();
    let media_type = response.headers().get("content-type").cloned();
    let bytes = response.bytes().await.expect("a body");
    let problem: Problem = serde_json::from_slice(&bytes).unwrap_or_else(|error| {
        panic!("{status} is no problem: {error}: {}", String::from_utf8_lossy(&bytes))
    });
    assert_eq!(media_type.as_ref().and_then(|v| v.to_str().ok()), Some("application/problem+json"));
    assert_eq!(problem.status, status);
    problem
}
