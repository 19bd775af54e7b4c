//! The real `bullad` under the load of many clients of Notary at once, and its TLS as others see it.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bulla_keys_schema::dialect::{Dialect, notary1};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::MetaInfo;
use bulla_keys_schema::names::{DelegatedRoleName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{Pin, RootChain};
use bulla_server::clock::{Clock as _, SystemClock};
use bulla_tests::notary_load::{Check, Publisher, TlsClient, read_key, request, upload};
use bulla_tests::peers::absent;
use bulla_tests::programs::Bullad;
use tempfile::TempDir;
use tokio::time::timeout;

/// Connections that read at the same time.
const READERS: usize = 200;
/// Repositories, each of which has one publisher.
const REPOSITORIES: usize = 4;
/// How long the load lasts, in seconds, where [`SECONDS`] does not say it.
const DEFAULT_SECONDS: u64 = 30;
const SECONDS: &str = "BULLA_LOAD_SECONDS";
/// How long one request may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);
const ROLES: [&str; 2] = ["targets/releases", "targets/alice"];

/// A repository as its publisher knows it.
struct Repository {
    name: String,
    root: Vec<u8>,
    /// The version of the delegated roles that was acknowledged last.
    published: AtomicU64,
}

/// What all of the load came to.
#[derive(Default)]
struct Totals {
    connections: AtomicU64,
    resumed: AtomicU64,
    reads: AtomicU64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_cold_readers_see_only_whole_states_while_others_publish() {
    let folder = TempDir::new().expect("a folder");
    let bullad = Bullad::start(folder.path());
    let client = client(&bullad, false);
    let publisher = Publisher::default();
    let mut repositories = Vec::new();
    for number in 0..REPOSITORIES {
        repositories.push(create(&client, &publisher, format!("localhost:5000/load/image-{number}")).await);
    }
    let seconds = std::env::var(SECONDS).ok();
    let seconds =
        seconds.map_or(DEFAULT_SECONDS, |text| text.parse().expect("BULLA_LOAD_SECONDS is a number"));
    let end = Instant::now() + Duration::from_secs(seconds);
    let totals = Totals::default();

    let publishing = repositories.iter().map(|repository| publish(&client, &publisher, repository, end));
    let reading = (0..READERS).map(|number| {
        // Every second one takes up its sessions.
        let resumes = number % 2 == 1;
        let reader = Reader {
            client: self::client(&bullad, resumes),
            resumes,
            totals: &totals,
            seen: BTreeMap::new(),
        };
        reader.run(&repositories[number / 2 % REPOSITORIES], end)
    });
    let reading = futures_util::future::join_all(reading);
    tokio::join!(futures_util::future::join_all(publishing), reading);

    // Everybody is still served, the newest state is that of the last acknowledged publish, and
    // the log tells of no failure.
    for repository in &repositories {
        let mut last =
            Reader { client: client.clone(), resumes: false, totals: &totals, seen: BTreeMap::new() };
        last.follow(repository).await;
        let published = repository.published.load(Ordering::Acquire);
        assert!(published > 1, "nothing was published to {}", repository.name);
        assert!(ROLES.iter().all(|role| last.seen[*role] == published), "{:?} at {published}", last.seen);
    }
    let log = fs::read_to_string(folder.path().join("bullad.log")).expect("a log");
    let failures: Vec<_> = log.lines().filter(|line| line.contains("\"ERROR\"")).collect();
    assert!(failures.is_empty(), "{failures:?}");
    let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let publishes: u64 = repositories.iter().map(|repository| count(&repository.published) - 1).sum();
    let (connections, resumed) = (count(&totals.connections), count(&totals.resumed));
    let reads = count(&totals.reads);
    eprintln!("{reads} cold reads, {connections} connections ({resumed} resumed), {publishes} publishes");
    assert!(reads >= READERS as u64 && resumed > 0);
}

/// Somebody who reads all of a repository again and again, keeping nothing but what he must not
/// see go back.
struct Reader<'a> {
    client: TlsClient,
    resumes: bool,
    totals: &'a Totals,
    /// Versions by role.
    seen: BTreeMap<String, u64>,
}

impl Reader<'_> {
    async fn run(mut self, repository: &Repository, end: Instant) {
        loop {
            // Acknowledged before the reading began: it has to be seen.
            let acknowledged = repository.published.load(Ordering::Acquire);
            self.follow(repository).await;
            for role in ROLES {
                assert!(self.seen[role] >= acknowledged, "{role}: {:?} after {acknowledged}", self.seen);
            }
            self.totals.reads.fetch_add(1, Ordering::Relaxed);
            if Instant::now() >= end {
                return;
            }
        }
    }

    /// Reads as clients of Notary do at first contact: seven connections.
    async fn follow(&mut self, repository: &Repository) {
        assert_eq!(self.get("/v2/").await, b"{}");
        let root = self.file(repository, "root").await;
        assert!(root == repository.root, "the root of {} is another", repository.name);
        let pin = Pin::Digest(Sha256Digest::of(&root));
        let chain = RootChain::start(Dialect::Notary1, root.into(), &pin).expect("a root");
        let name = repository.name.parse().expect("a name");
        let chain = chain.require_repository(&name, true).expect("a root of this repository");
        let trusted = chain.finish(now(), None).expect("a valid root");
        let floor = trusted.floor(None, None);
        let timestamp = self.file(repository, "timestamp").await;
        let timestamp = trusted.timestamp(floor, timestamp.into()).expect("a timestamp that verifies");
        self.forward("timestamp", timestamp.timestamp().version().get());
        let snapshot = self.by_digest(repository, "snapshot", timestamp.wanted()).await;
        let snapshot = timestamp.snapshot(snapshot.into()).expect("a snapshot that verifies");
        self.forward("snapshot", snapshot.snapshot().version().get());
        let wanted = snapshot.wanted().expect("targets are listed");
        let targets = self.by_digest(repository, "targets", wanted).await;
        let targets = snapshot.targets(targets.into()).expect("targets that verify");
        self.forward("targets", targets.targets().version().get());
        for role in ROLES {
            let name = delegated(role);
            let document =
                self.by_digest(repository, role, targets.wanted(&name).expect("it is listed")).await;
            let document = targets.delegated(&name, document.into()).expect("a role that verifies");
            self.forward(role, document.version().get());
        }
    }

    async fn by_digest(&self, repository: &Repository, role: &str, wanted: &MetaInfo) -> Vec<u8> {
        let digest = wanted.hashes.as_ref().and_then(|hashes| hashes.as_sha256()).expect("a digest");
        let bytes = self.file(repository, &format!("{role}.{digest}")).await;
        assert_eq!(Sha256Digest::of(&bytes), digest, "{role} of {}", repository.name);
        bytes
    }

    async fn file(&self, repository: &Repository, name: &str) -> Vec<u8> {
        self.get(&format!("/v2/{}/_trust/tuf/{name}.json", repository.name)).await
    }

    async fn get(&self, path: &str) -> Vec<u8> {
        let asked = request("GET", path, true, false);
        let answer = timeout(PATIENCE, self.client.once(&asked)).await.expect("an answer in time");
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        assert!(self.resumes || !answer.resumed);
        self.totals.connections.fetch_add(1, Ordering::Relaxed);
        self.totals.resumed.fetch_add(u64::from(answer.resumed), Ordering::Relaxed);
        answer.body
    }

    fn forward(&mut self, role: &str, version: u64) {
        let before = self.seen.insert(role.to_owned(), version).unwrap_or(0);
        assert!(before <= version, "{role} went back from {before} to {version}");
    }
}

async fn create(client: &TlsClient, publisher: &Publisher, name: String) -> Repository {
    let mut keys = Vec::new();
    for role in ["snapshot", "timestamp"] {
        let asked = request("GET", &format!("/v2/{name}/_trust/tuf/{role}.key"), true, false);
        let answer = client.once(&asked).await.expect("an answer");
        keys.push(read_key(&answer.body).expect("a key"));
    }
    let root = publisher.root(&name, &keys[0], &keys[1]);
    let targets = publisher.targets(1, &[], &ROLES);
    let delegated = ROLES.map(|role| publisher.delegated(role, 1, &[]));
    let files: Vec<(&str, &[u8])> =
        vec![("root", &root), ("targets", &targets), (ROLES[0], &delegated[0]), (ROLES[1], &delegated[1])];
    let answer = client.once(&upload(&name, &files, true)).await.expect("an answer");
    assert_eq!((answer.status, answer.body.as_slice()), (200, b"".as_slice()));
    Repository { name, root, published: AtomicU64::new(1) }
}

/// Moves one tag after the other, as `docker trust sign` does.
async fn publish(client: &TlsClient, publisher: &Publisher, repository: &Repository, end: Instant) {
    while Instant::now() < end {
        let version = repository.published.load(Ordering::Relaxed) + 1;
        let tags = [("latest".to_owned(), format!("{} {version}", repository.name))];
        let documents = ROLES.map(|role| publisher.delegated(role, version, &tags));
        let files: Vec<(&str, &[u8])> = ROLES.into_iter().zip(documents.iter().map(Vec::as_slice)).collect();
        let asked = upload(&repository.name, &files, true);
        let answer = timeout(PATIENCE, client.once(&asked)).await.expect("an answer in time");
        let answer = answer.unwrap_or_else(|error| panic!("publishing: {error}"));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        repository.published.store(version, Ordering::Release);
    }
}

#[tokio::test]
async fn sessions_are_resumed_in_both_versions_of_tls() {
    let folder = TempDir::new().expect("a folder");
    let bullad = Bullad::start(folder.path());
    let host = address(&bullad).to_string();
    if Command::new("openssl").arg("version").output().is_err() {
        return absent("openssl", "apt-get install openssl");
    }
    for (option, version) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let session = folder.path().join(version);
        let ask = |arguments: &[&str]| {
            let mut command = Command::new("openssl");
            command.args(["s_client", "-connect", &host, "-servername", "localhost", option]);
            command.args(["-verify_return_error", "-ign_eof", "-CAfile"]).arg(&bullad.ca_cert);
            let output = talk(command.args(arguments).arg(&session));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{version}: {output:?}");
            assert!(text.contains("HTTP/1.1 200 OK"), "{version}: {text}");
            text
        };
        let first = ask(&["-sess_out"]);
        assert!(first.contains(&format!("New, {version}, ")), "{version}: {first}");
        assert!(first.contains("Peer signature type: ECDSA"), "{version}: {first}");
        let again = ask(&["-sess_in"]);
        assert!(again.contains(&format!("Reused, {version}, ")), "{version}: {again}");
    }
    // Five more times at once; openssl cannot do that with TLS 1.3.
    let mut command = Command::new("openssl");
    command.args(["s_client", "-reconnect", "-tls1_2", "-connect", &host, "-CAfile"]).arg(&bullad.ca_cert);
    let text = String::from_utf8_lossy(&talk(&mut command).stdout).into_owned();
    assert_eq!(text.matches("Reused, TLSv1.2, ").count(), 5, "{text}");
    // Nothing older is spoken.
    let mut command = Command::new("openssl");
    command.args(["s_client", "-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0", "-connect", &host]);
    let refused = talk(&mut command);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("SSL alert"), "{said}");
}

#[test]
fn keys_of_the_development_certificates_are_p256() {
    let folder = TempDir::new().expect("a folder");
    let bullad = Bullad::start(folder.path());
    if Command::new("openssl").arg("version").output().is_err() {
        return absent("openssl", "apt-get install openssl");
    }
    let server = bullad.ca_cert.with_file_name("server.pem");
    for file in [&bullad.ca_cert, &server] {
        let output = Command::new("openssl").args(["x509", "-noout", "-text", "-in"]).arg(file).output();
        let text = String::from_utf8(output.expect("openssl runs").stdout).expect("text");
        assert!(text.contains("Public Key Algorithm: id-ecPublicKey"), "{text}");
        assert!(text.contains("ASN1 OID: prime256v1"), "{text}");
        assert!(text.contains("Signature Algorithm: ecdsa-with-SHA256"), "{text}");
    }
}

/// Runs `openssl s_client`, which sends one request on its connection.
fn talk(command: &mut Command) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("openssl can be started");
    let mut input = child.stdin.take().expect("a pipe");
    // One that was refused reads nothing.
    let _unread = input.write_all(&request("GET", "/v2/", true, false));
    drop(input);
    child.wait_with_output().expect("openssl ends")
}

fn client(bullad: &Bullad, resumes: bool) -> TlsClient {
    let authority: &Path = &bullad.ca_cert;
    TlsClient::new(address(bullad), Check::Authority(authority), resumes).expect("a client")
}

fn address(bullad: &Bullad) -> SocketAddr {
    let port = bullad.url.rsplit(':').next().and_then(|port| port.parse().ok());
    SocketAddr::from((Ipv4Addr::LOCALHOST, port.expect("a port")))
}

fn delegated(role: &str) -> DelegatedRoleName {
    let Some(RoleName::Delegated(name)) = notary1::role_from_wire(role) else {
        panic!("{role} is no delegation")
    };
    name
}

fn now() -> UtcTime {
    SystemClock.now()
}
