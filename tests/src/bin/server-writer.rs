//! Starts the real server and publishes into it as fast as it goes, and prints one line for
//! everything it was promised. Crash tests kill both, cut their power and make calls fail.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::author::{Delegation, Draft, RoleSpec, RootEdit, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey, SecretKey};
use bulla_keys_schema::metadata::{Children, KeyEntry, Root, Scope, Targets, Threshold, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{Head, IDEMPOTENCY_KEY, OnlineKeys, Receipt};
use bulla_tests::crash::READY;
use bulla_tests::crash_server::{Event, ServerProcess};
use reqwest::multipart::{Form, Part};
use reqwest::{Client, RequestBuilder, StatusCode};

/// 2035-01-01T00:00:00Z: when offline documents expire.
const EXPIRES: i64 = 2_051_222_400;
/// Bytes that one listed target takes in a document.
const ENTRY: usize = 128;
/// How often a reader looks at a timestamp.
const LOOK: Duration = Duration::from_millis(3);

/// `BULLAD DATA PUBLISHERS LARGE`, the last in bytes.
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [bullad, data, publishers, large] = &args[..] else { panic!("BULLAD DATA PUBLISHERS LARGE") };
    // On the main thread: the server is bound to the life of the one that starts it.
    let server = ServerProcess::start(&PathBuf::from(bullad), &PathBuf::from(data));
    let mut server = server.unwrap_or_else(|said| panic!("bullad does not start: {said}"));
    say(READY);
    let (publishers, large) = (publishers.parse().expect("a number"), large.parse().expect("a number"));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(publish_all(&server, publishers, large));
    let status = server.ended();
    tell(&Event::Ended { status: status.to_string() });
    std::process::exit(i32::from(!status.success()));
}

/// Everybody publishes until the server is gone.
async fn publish_all(server: &ServerProcess, publishers: u64, large: usize) {
    let http = Client::builder().no_proxy().build().expect("a client");
    let mut tasks = Vec::new();
    for salt in 0..publishers {
        let publisher = Arc::new(Publisher::new(server, http.clone(), salt, large));
        if salt % 4 != 0 || salt == 0 {
            tasks.push(tokio::spawn(Arc::clone(&publisher).read()));
        }
        tasks.push(tokio::spawn(publisher.publish()));
    }
    for task in tasks {
        task.await.expect("no task panics");
    }
}

/// One of the programs that publish at the same time.
struct Publisher {
    http: Client,
    url: String,
    token: String,
    repository: String,
    /// Makes its documents differ from those that others make of the same repository.
    salt: u64,
    /// Length of each image manifest, in bytes.
    manifest: usize,
    /// Number of targets in each document, beside the one that moves.
    entries: usize,
}

impl Publisher {
    /// Every fourth shares a repository with others, to have conflicts on the way; of the
    /// rest, some publish large documents, some large targets, some only small things.
    fn new(server: &ServerProcess, http: Client, salt: u64, large: usize) -> Self {
        let repository = match salt % 4 {
            0 => "example.com/shared".to_owned(),
            _ => format!("example.com/own-{salt}"),
        };
        let (manifest, entries) = match salt % 4 {
            1 => (600, large / ENTRY),
            3 => (600, 0),
            _ => (large, 0),
        };
        let (url, token) = (server.url.clone(), server.token.clone());
        Self { http, url, token, repository, salt, manifest, entries }
    }

    /// Publishes one version after the other.
    async fn publish(self: Arc<Self>) {
        for attempt in 0_u64.. {
            let (operation, request) = match self.next(attempt).await {
                Ok(next) => next,
                // It answers, though not this at present: a busy one must not lose its publishers.
                Err(error) if error.is_status() => continue,
                Err(_) => return,
            };
            let repository = self.repository.clone();
            tell(&Event::Sent { operation: operation.clone(), repository: repository.clone() });
            let answer = match request.send().await {
                Ok(answer) => answer,
                Err(_) => return tell(&Event::Unanswered { operation, status: None }),
            };
            let status = answer.status();
            let Ok(body) = answer.text().await else {
                return tell(&Event::Unanswered { operation, status: Some(status.as_u16()) });
            };
            match (status, serde_json::from_str::<Receipt>(&body)) {
                (StatusCode::OK, Ok(receipt)) => {
                    tell(&Event::Published { operation, repository, receipt });
                }
                (StatusCode::PRECONDITION_FAILED | StatusCode::SERVICE_UNAVAILABLE, _) => {
                    tell(&Event::Refused { operation });
                }
                _ => tell(&Event::Surprise { answer: format!("{status}: {body}") }),
            }
        }
    }

    /// Builds the next version on the current head: the id of the operation, and the request
    /// that publishes it.
    async fn next(&self, attempt: u64) -> reqwest::Result<(String, RequestBuilder)> {
        let head = self.http.get(self.api("head")).bearer_auth(&self.token).send().await?;
        let head = match head.status() {
            StatusCode::NOT_FOUND => None,
            _ => Some(head.error_for_status()?.json::<Head>().await?),
        };
        let request = self.http.post(self.api("publish")).bearer_auth(&self.token);
        let alice: RoleName = "alice".parse().expect("a role");
        let mut form = Form::new();
        let (number, request) = match &head {
            Some(head) => (
                head.current[&alice].version.get() + 1,
                request.header("if-match", format!("\"{}\"", head.token)),
            ),
            None => {
                let keys = self.http.post(self.api("online-keys")).bearer_auth(&self.token).send().await?;
                let root = root(&keys.error_for_status()?.json().await?);
                form = part(form, "1.targets.json", top(&root));
                let signed = Draft::new(Dialect::Tuf1, root).sign_root(&[&key(1)], None);
                form = part(form, "1.root.json", signed.expect("signed").bytes().to_vec());
                (1, request.header("if-none-match", "*"))
            }
        };
        let manifest = self.manifest(number);
        for role in ["alice", "releases"] {
            form = part(form, &format!("{number}.{role}.json"), self.delegated(role, number, &manifest));
        }
        let id = format!("{} {} {number} {attempt} {}", self.repository, self.salt, std::process::id());
        let id = Sha256Digest::of(id.as_bytes()).to_string()[..32].to_owned();
        let form = form.part("target", Part::bytes(manifest));
        Ok((id.clone(), request.header(IDEMPOTENCY_KEY, id).multipart(form)))
    }

    fn manifest(&self, number: u64) -> Vec<u8> {
        let seed = format!("{} {} {number}", self.repository, self.salt);
        // Bytes that no file system can make shorter.
        let blocks = (0..self.manifest.div_ceil(32))
            .flat_map(|block| *Sha256Digest::of(format!("{seed} {block}").as_bytes()).as_bytes());
        blocks.collect()
    }

    /// The document `number` of `role`, which lists the manifest as `latest`.
    fn delegated(&self, role: &str, number: u64, manifest: &[u8]) -> Vec<u8> {
        let version = Version::new(number).expect("a version");
        let mut edit = TargetsEdit::new(Dialect::Tuf1, role.parse().expect("a role"), version, expires());
        let digest = Sha256Digest::of(manifest);
        for entry in 0..if role == "alice" { self.entries } else { 0 } {
            edit.set_target(
                &format!("tag-{entry:05}").parse().expect("a target"),
                digest,
                manifest.len() as u64,
            );
        }
        edit.set_target(&"latest".parse().expect("a target"), digest, manifest.len() as u64);
        let delegations = targets().delegations.expect("there are delegations");
        let Children::Roles(roles) = &delegations.children else { unreachable!("roles by name") };
        let child = roles.iter().find(|child| child.name.as_str() == role).expect("delegated");
        let signed =
            Draft::new(Dialect::Tuf1, edit.finish()).sign(&[&key(3)], &child.keys, &delegations.keys);
        signed.expect("signed").bytes().to_vec()
    }

    /// Looks at the timestamp again and again, as somebody does who waits for news.
    async fn read(self: Arc<Self>) {
        let url = format!("{}/tuf/{}/metadata/timestamp.json", self.url, self.repository);
        let mut highest = 0;
        loop {
            let Ok(answer) = self.http.get(&url).send().await else { return };
            let found = answer.status().is_success();
            let Ok(body) = answer.bytes().await else { return };
            if found {
                let timestamp: serde_json::Value =
                    serde_json::from_slice(&body).expect("a timestamp is JSON");
                let version = timestamp["signed"]["version"].as_u64().expect("a version");
                if version > highest {
                    highest = version;
                    tell(&Event::Shown { repository: self.repository.clone(), version });
                } else if version < highest {
                    let answer = format!("{}: from {highest} back to {version}", self.repository);
                    tell(&Event::Surprise { answer });
                }
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    fn api(&self, what: &str) -> String {
        format!("{}/api/v1/repositories/{}/{what}", self.url, self.repository)
    }
}

/// The root that names the keys of this program and those of the server.
fn root(online: &OnlineKeys) -> Root {
    let one = |key: PublicKey| RoleSpec { keys: vec![KeyEntry::new(key)], threshold: Threshold::ONE };
    let own = |number| one(key(number).public_key().clone());
    let online = [&online.snapshot, &online.timestamp]
        .map(|key| one(PublicKey::from_pem(&key.public_key).expect("a public key")));
    let edit = RootEdit::first(Dialect::Tuf1, &own(1), &own(2), &online[0], &online[1], expires());
    edit.expect("one key each").finish()
}

/// The signed top-level targets.
fn top(root: &Root) -> Vec<u8> {
    let signed = Draft::new(Dialect::Tuf1, targets()).sign(&[&key(2)], &root.targets, &root.keys);
    signed.expect("signed").bytes().to_vec()
}

/// The top-level targets: everything is delegated.
fn targets() -> Targets {
    let mut edit = TargetsEdit::new(Dialect::Tuf1, RoleName::Targets, Version::FIRST, expires());
    for name in ["releases", "alice"] {
        let delegation = Delegation {
            name: name.parse().expect("a name"),
            keys: vec![KeyEntry::new(key(3).public_key().clone())],
            threshold: Threshold::ONE,
            scope: Scope::Paths(vec!["*".parse().expect("a pattern")]),
            terminating: false,
        };
        edit.set_delegation(&delegation).expect("one key");
    }
    edit.finish()
}

fn part(form: Form, name: &str, bytes: Vec<u8>) -> Form {
    form.part("metadata", Part::bytes(bytes).file_name(name.to_owned()))
}

fn expires() -> UtcTime {
    UtcTime::from_unix_seconds(EXPIRES).expect("in the calendar")
}

/// A key that nobody needs to keep secret.
fn key(number: u8) -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::Ed25519, &[number; 32].into()).expect("any seed is an Ed25519 key")
}

fn tell(event: &Event) {
    say(&serde_json::to_string(event).expect("events are JSON"));
}

/// One line in one call, so that no line is mixed with another.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).expect("somebody reads");
    out.flush().expect("somebody reads");
}
