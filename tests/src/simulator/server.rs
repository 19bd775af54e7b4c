//! A trust server that serves what it is given and misbehaves when told to.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use bulla::port::TrustServer;
use bulla::port::trust_server::{Basis, Edition, OnlineKeys, OnlineRole, Right, TrustServerError, Upload};
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::wire;
use bytes::Bytes;

use super::support::Files;
use super::wire::{Loopback, Reply, Request, Sending};

/// A trust server; clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Server(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, Files>,
    faults: BTreeMap<String, Fault>,
    asked: Vec<String>,
    /// The headers of the last request over HTTP.
    headers: BTreeMap<String, String>,
}

/// How it misbehaves.
#[derive(Clone, Debug)]
pub enum Fault {
    /// Another status, with a page for people.
    Status(u16),
    /// Another status, with an explanation as our own API gives it.
    Problem(u16, Bytes),
    /// Other bytes than it has, with status 200.
    Instead(Bytes),
    /// "Look elsewhere."
    Redirect(String),
    /// A body that never ends.
    Endless,
    /// A body of 32 MiB white space, sent as a few kilobytes of gzip.
    GzipBomb,
    /// A body of which the length in the header is too small by this many bytes.
    LongerThanSaid(usize),
    /// The connection is cut in the middle of the body.
    Cut,
    /// A byte every so often.
    Dripping(Duration),
    /// The connection ends before any answer.
    Hangup,
}

impl Server {
    /// Serves these files of `repository`, and whatever it served before beside them.
    pub fn serve(&self, repository: &str, files: Files) {
        self.state().files.entry(repository.to_owned()).or_default().extend(files);
    }

    /// Serves these files of `repository` and nothing else.
    pub fn serve_only(&self, repository: &str, files: Files) {
        self.state().files.insert(repository.to_owned(), files);
    }

    /// Misbehaves when `file` is asked for; `*` is any file.
    pub fn spoil(&self, file: &str, fault: Fault) {
        self.state().faults.insert(file.to_owned(), fault);
    }

    /// Behaves again.
    pub fn heal(&self) {
        self.state().faults.clear();
    }

    /// Every file asked for since this was called last, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.state().asked)
    }

    /// A header of the last request that came over HTTP.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        self.state().headers.get(name).cloned()
    }

    /// The same server over HTTP.
    #[must_use]
    pub fn over_http(&self) -> Loopback {
        let server = self.clone();
        Loopback::serve(move |request| server.reply(request))
    }

    /// What is under `file`, and how to spoil it.
    fn ask(&self, repository: &str, file: &str) -> (Option<Bytes>, Option<Fault>) {
        let mut state = self.state();
        state.asked.push(file.to_owned());
        let bytes = state.files.get(repository).and_then(|files| files.get(file)).cloned();
        let fault = state.faults.get(file).or_else(|| state.faults.get("*")).cloned();
        (bytes, fault)
    }

    fn reply(&self, request: &Request) -> Reply {
        self.state().headers.clone_from(&request.headers);
        let path = request.path.strip_prefix("/tuf/").and_then(|path| path.rsplit_once("/metadata/"));
        let Some((repository, file)) = path else { return Reply::new(404, Bytes::new()) };
        let (bytes, fault) = self.ask(repository, file);
        let Some(fault) = fault else {
            return bytes.map_or_else(|| Reply::new(404, Bytes::new()), |bytes| Reply::new(200, bytes));
        };
        spoilt(fault, bytes.unwrap_or_default())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test panics in here")
    }
}

fn spoilt(fault: Fault, bytes: Bytes) -> Reply {
    let sent = |body| Reply { status: 200, headers: Vec::new(), body };
    match fault {
        Fault::Status(status) => {
            Reply::new(status, "<html>no</html>".into()).with("content-type", "text/html")
        }
        Fault::Problem(status, body) => {
            Reply::new(status, body).with("content-type", "application/problem+json")
        }
        Fault::Instead(other) => Reply::new(200, other),
        Fault::Redirect(url) => Reply::new(302, Bytes::new()).with("location", url),
        Fault::Endless => sent(Sending::Endless),
        Fault::GzipBomb => Reply::new(200, bomb()).with("content-encoding", "gzip"),
        Fault::LongerThanSaid(missing) => sent(Sending::Lying(bytes.len() - missing, bytes)),
        Fault::Cut => sent(Sending::Lying(bytes.len(), bytes.slice(..bytes.len() / 2))),
        Fault::Dripping(pause) => sent(Sending::Dripping(bytes, pause)),
        Fault::Hangup => sent(Sending::Nothing),
    }
}

fn bomb() -> Bytes {
    let mut gzip = Command::new("gzip")
        .arg("-9")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("gzip can be run");
    gzip.stdin.take().expect("a pipe").write_all(&vec![b' '; 32 << 20]).expect("gzip reads");
    gzip.wait_with_output().expect("gzip ends").stdout.into()
}

#[async_trait]
impl TrustServer for Server {
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
        let (bytes, fault) = self.ask(repository.as_str(), &file);
        let server = "simulator".to_owned();
        match fault {
            None => Ok(bytes),
            Some(Fault::Instead(other)) => Ok(Some(other)),
            Some(Fault::Status(404)) => Ok(None),
            Some(Fault::Status(401 | 403)) => {
                Err(TrustServerError::Unauthorised { server, right: Right::Publish })
            }
            Some(Fault::Status(502..=504)) => {
                Err(TrustServerError::Unavailable { server, detail: "no".to_owned() })
            }
            Some(Fault::Status(_) | Fault::Problem(..) | Fault::Redirect(_)) => {
                Err(TrustServerError::Unexpected { server, detail: "no".to_owned() })
            }
            Some(Fault::Endless | Fault::GzipBomb) => {
                Err(TrustServerError::TooLarge { server, file, limit: role.byte_limit() })
            }
            Some(Fault::LongerThanSaid(_) | Fault::Cut | Fault::Dripping(_) | Fault::Hangup) => {
                Err(TrustServerError::Unreachable { server, reason: "gone".to_owned() })
            }
        }
    }

    async fn basis(&self, _: &RepositoryName) -> Result<Basis, TrustServerError> {
        Err(read_only())
    }

    async fn online_keys(&self, _: &RepositoryName) -> Result<OnlineKeys, TrustServerError> {
        Err(read_only())
    }

    async fn next_online_key(
        &self,
        _: &RepositoryName,
        _: OnlineRole,
    ) -> Result<PublicKey, TrustServerError> {
        Err(read_only())
    }

    async fn publish(&self, _: &RepositoryName, _: &Upload) -> Result<(), TrustServerError> {
        Err(read_only())
    }
}

fn read_only() -> TrustServerError {
    TrustServerError::Unavailable {
        server: "simulator".to_owned(),
        detail: "it serves metadata only".to_owned(),
    }
}
