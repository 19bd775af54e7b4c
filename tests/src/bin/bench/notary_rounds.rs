//! What is asked of a trust server in one round, by the same client whoever the server is.

use std::io;
use std::time::{Duration, Instant};

use bulla_tests::notary_load::{
    Answer, Check, Publisher, Tag, TlsClient, TlsConnection, read_key, request, upload,
};
use futures_util::future::try_join_all;

use crate::notary_servers::Server;
use crate::process::cpu_seconds;

/// What a round led to.
#[derive(Clone, Copy)]
pub struct Round {
    /// Answers per second.
    pub rate: f64,
    /// Milliseconds within which half of the answers came.
    pub p50: f64,
    /// Milliseconds within which 99 of 100 did.
    pub p99: f64,
    /// Processor seconds of all processes of the server per answer.
    pub server_cpu: f64,
    /// How much of one processor core this program used up.
    pub own_share: f64,
    /// The part of the connections that took up an older session.
    pub resumed: f64,
}

/// Something to be read again and again.
pub struct Reading {
    client: TlsClient,
    request: Vec<u8>,
    at_once: usize,
    keeps: bool,
}

impl Reading {
    /// By `at_once` clients, each request on a connection of its own, as clients of Notary do it.
    pub fn anew(server: &Server, path: &str, at_once: usize, resumes: bool) -> io::Result<Self> {
        let client = TlsClient::new(server.address, Check::Nothing, resumes)?;
        Ok(Self { client, request: request("GET", path, true, true), at_once, keeps: false })
    }

    /// By `at_once` clients that keep their connections.
    pub fn kept(server: &Server, path: &str, at_once: usize, gzip: bool) -> io::Result<Self> {
        let client = TlsClient::new(server.address, Check::Nothing, false)?;
        Ok(Self { client, request: request("GET", path, false, gzip), at_once, keeps: true })
    }

    /// Reads for `duration`. All answers must be the same.
    pub async fn round(&self, server: &Server, duration: Duration) -> io::Result<Round> {
        let expected = accepted(self.client.once(&self.request).await?)?.body;
        let meter = Meter::start(server)?;
        let end = Instant::now() + duration;
        let lanes = try_join_all((0..self.at_once).map(|_| self.lane(&expected, end))).await?;
        let (latencies, resumed): (Vec<_>, Vec<_>) = lanes.into_iter().unzip();
        meter.stop(server, latencies.concat(), resumed.into_iter().sum())
    }

    async fn lane(&self, expected: &[u8], end: Instant) -> io::Result<(Vec<Duration>, u32)> {
        let (mut latencies, mut resumed) = (Vec::new(), 0);
        let mut kept = match self.keeps {
            true => Some(self.client.connect().await?),
            false => None,
        };
        while Instant::now() < end {
            let start = Instant::now();
            let answer = match &mut kept {
                Some(connection) => connection.exchange(&self.request).await?,
                None => self.client.once(&self.request).await?,
            };
            latencies.push(start.elapsed());
            let answer = accepted(answer)?;
            resumed += u32::from(answer.resumed);
            if answer.body != expected {
                return Err(io::Error::other("the same document was answered in two ways"));
            }
        }
        Ok((latencies, resumed))
    }
}

/// Uploads of one repository, each of which follows the one before. They name no server, so
/// that all servers get the same.
pub struct Uploads {
    repository: String,
    tags: fn(u64) -> Vec<Tag>,
    requests: Vec<Vec<u8>>,
}

impl Uploads {
    /// Of a repository whose version `n` has the tags `tags(n)`.
    pub fn new(repository: &str, tags: fn(u64) -> Vec<Tag>) -> Self {
        Self { repository: repository.to_owned(), tags, requests: Vec::new() }
    }

    /// Makes the repository, with version 1.
    pub async fn create(&self, server: &Server, publisher: &Publisher) -> io::Result<Chain> {
        let mut connection = connect(server).await?;
        let repository = &self.repository;
        let mut keys = Vec::new();
        for role in ["snapshot", "timestamp"] {
            let path = path(repository, &format!("{role}.key"));
            let answer = accepted(connection.exchange(&request("GET", &path, false, false)).await?)?;
            keys.push(read_key(&answer.body).ok_or_else(|| io::Error::other("the server has no key"))?);
        }
        let [snapshot, timestamp] = keys.as_slice() else {
            return Err(io::Error::other("the server has not two keys"));
        };
        let root = publisher.root(repository, snapshot, timestamp);
        let targets = publisher.targets(1, &(self.tags)(1), &[]);
        let first = upload(repository, &[("root", &root), ("targets", &targets)], false);
        accepted(connection.exchange(&first).await?)?;
        Ok(Chain { next: 0 })
    }

    /// Signs ahead as many as `chain` may need: `number` more.
    pub fn prepare(&mut self, publisher: &Publisher, chain: &Chain, number: usize) {
        while self.requests.len() < chain.next + number {
            let version = self.requests.len() as u64 + 2;
            let targets = publisher.targets(version, &(self.tags)(version), &[]);
            self.requests.push(upload(&self.repository, &[("targets", &targets)], false));
        }
    }

    /// Publishes one after the other for `duration`, or until nothing is left that was prepared.
    pub async fn round(&self, server: &Server, chain: &mut Chain, duration: Duration) -> io::Result<Round> {
        let mut connection = connect(server).await?;
        let meter = Meter::start(server)?;
        let end = Instant::now() + duration;
        let mut latencies = Vec::new();
        for upload in self.requests.iter().skip(chain.next) {
            if Instant::now() >= end {
                break;
            }
            let start = Instant::now();
            accepted(connection.exchange(upload).await?)?;
            latencies.push(start.elapsed());
            chain.next += 1;
        }
        meter.stop(server, latencies, 0)
    }
}

/// How far the uploads of a repository have come at one server.
pub struct Chain {
    next: usize,
}

/// A connection that is open and has been used.
async fn connect(server: &Server) -> io::Result<TlsConnection> {
    let mut connection = TlsClient::new(server.address, Check::Nothing, false)?.connect().await?;
    accepted(connection.exchange(&request("GET", "/v2/", false, false)).await?)?;
    Ok(connection)
}

/// The path of a file of a repository.
pub fn path(repository: &str, file: &str) -> String {
    format!("/v2/{repository}/_trust/tuf/{file}")
}

/// Time and processor time from here on.
struct Meter {
    start: Instant,
    server_cpu: f64,
    own_cpu: f64,
}

impl Meter {
    fn start(server: &Server) -> io::Result<Self> {
        let (server_cpu, own_cpu) = (server.cpu_seconds()?, cpu_seconds("self")?);
        Ok(Self { start: Instant::now(), server_cpu, own_cpu })
    }

    fn stop(self, server: &Server, mut latencies: Vec<Duration>, resumed: u32) -> io::Result<Round> {
        let elapsed = self.start.elapsed().as_secs_f64();
        let (server_cpu, own_cpu) = (server.cpu_seconds()?, cpu_seconds("self")?);
        latencies.sort_unstable();
        let done = latencies.len() as f64;
        let quantile = |share: f64| {
            let at = latencies.get((done * share) as usize).or(latencies.last());
            at.map_or(0.0, |latency| latency.as_secs_f64() * 1e3)
        };
        Ok(Round {
            rate: done / elapsed,
            p50: quantile(0.5),
            p99: quantile(0.99),
            server_cpu: (server_cpu - self.server_cpu) / done,
            own_share: (own_cpu - self.own_cpu) / elapsed,
            resumed: f64::from(resumed) / done,
        })
    }
}

fn accepted(answer: Answer) -> io::Result<Answer> {
    if answer.status == 200 {
        return Ok(answer);
    }
    let text = String::from_utf8_lossy(&answer.body);
    Err(io::Error::other(format!("HTTP status {}: {text}", answer.status)))
}
