//! Publishes per second, and what each costs.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::sync::Mutex;

use crate::connection::Connection;
use crate::daemon::{Daemon, token};
use crate::process::cpu_seconds;
use crate::workload::{Body, Publishers};

/// Most signers of one repository: a client looks into at most 32 roles.
pub const SIGNERS: usize = 16;
/// Publishes per second that the first round of a kind prepares for.
const GUESS: f64 = 3_000.0;

/// What a round led to.
#[derive(Clone, Copy, Default)]
pub struct PublishRound {
    /// Acknowledged publishes.
    pub done: f64,
    /// Acknowledged publishes per second.
    pub rate: f64,
    /// Processor seconds of the server per publish.
    pub server_cpu: f64,
    /// Processor seconds of this program per publish.
    pub own_cpu: f64,
    /// Requests answered with a conflict, per publish.
    pub conflicts: f64,
    /// Milliseconds within which half of the publishes were answered.
    pub p50: f64,
    /// Milliseconds within which 99 of 100 were.
    pub p99: f64,
}

/// A role, or a pair of roles, whose versions follow each other.
struct Chain {
    repository: String,
    signer: usize,
    /// The version that is current.
    version: u64,
}

/// Chains of uploads to one server.
pub struct Load {
    publishers: Publishers,
    chains: Vec<Chain>,
    rates: BTreeMap<usize, f64>,
}

impl Load {
    /// One repository for each publisher.
    pub async fn distinct(daemon: &Daemon, prefix: &str, repositories: usize) -> io::Result<Self> {
        let publishers = Publishers::single();
        let mut connection = Connection::open(daemon.address).await?;
        let mut chains = Vec::with_capacity(repositories);
        for at in 0..repositories {
            let repository = format!("registry.example.com/{prefix}/image-{at}");
            daemon.create(&mut connection, &repository, |keys| publishers.creation(keys)).await?;
            chains.push(Chain { repository, signer: 0, version: 1 });
        }
        Ok(Self { publishers, chains, rates: BTreeMap::new() })
    }

    /// One repository for all, in which each of [`SIGNERS`] signers has its own role.
    pub async fn shared(daemon: &Daemon) -> io::Result<Self> {
        let publishers = Publishers::new(SIGNERS);
        let mut connection = Connection::open(daemon.address).await?;
        let repository = "registry.example.com/shared/image".to_owned();
        daemon.create(&mut connection, &repository, |keys| publishers.creation(keys)).await?;
        let chain = |signer| Chain { repository: repository.clone(), signer, version: 1 };
        let chains = (0..publishers.signers()).map(chain).collect();
        Ok(Self { publishers, chains, rates: BTreeMap::new() })
    }

    /// The name of the repository of chain `at`.
    pub fn repository(&self, at: usize) -> &str {
        &self.chains[at].repository
    }

    /// Lets `concurrent` publishers publish for `duration`. Beyond the number of chains,
    /// publishers of one chain take turns.
    pub async fn round(
        &mut self,
        daemon: &Daemon,
        concurrent: usize,
        duration: Duration,
    ) -> io::Result<PublishRound> {
        let chains = concurrent.min(self.chains.len());
        let rate = self.rates.get(&concurrent).map_or(GUESS, |rate| rate * 1.5);
        let length = (rate * duration.as_secs_f64() / chains as f64).ceil() as u64 + 16;
        let lineup = self.line_up(daemon, concurrent, length).await?;
        let pid = daemon.program.id().to_string();
        let (server_cpu, own_cpu) = (cpu_seconds(&pid)?, cpu_seconds("self")?);
        let start = Instant::now();
        let clock = Clock { end: Some(start + duration), last: Cell::new(None) };
        let Done { mut latencies, conflicts, all } = self.work(daemon, lineup, &clock).await?;
        let over = clock.last.get().unwrap_or(start + duration).min(start + duration);
        let (server_cpu, own_cpu) = (cpu_seconds(&pid)? - server_cpu, cpu_seconds("self")? - own_cpu);
        latencies.sort_unstable();
        let quantile = |share: f64| {
            let at = (latencies.len() as f64 * share) as usize;
            latencies.get(at).or(latencies.last()).map_or(0.0, |micros| f64::from(*micros) / 1000.0)
        };
        let rate = latencies.len() as f64 / (over - start).as_secs_f64();
        self.rates.insert(concurrent, rate);
        Ok(PublishRound {
            done: all,
            rate,
            server_cpu: server_cpu / all,
            own_cpu: own_cpu / all,
            conflicts: conflicts / all,
            p50: quantile(0.5),
            p99: quantile(0.99),
        })
    }

    /// Lets each chain publish `uploads` times, all chains at the same time.
    pub async fn publish_each(&mut self, daemon: &Daemon, uploads: u64) -> io::Result<()> {
        let lineup = self.line_up(daemon, self.chains.len(), uploads).await?;
        let clock = Clock { end: None, last: Cell::new(None) };
        self.work(daemon, lineup, &clock).await.map(drop)
    }

    /// Signs `length` uploads of each chain and connects the publishers.
    async fn line_up(&self, daemon: &Daemon, concurrent: usize, length: u64) -> io::Result<Lineup> {
        let chains = concurrent.min(self.chains.len());
        let lane = |bodies: Vec<Body>| {
            Mutex::new(Lane { bodies: bodies.into_iter(), token: String::new(), published: 0 })
        };
        let lanes: Vec<_> = self.prepare(chains, length).into_iter().map(lane).collect();
        let mut connections = Vec::with_capacity(concurrent);
        for at in 0..concurrent {
            let mut connection = Connection::open(daemon.address).await?;
            let chain = at % chains;
            let head = daemon.head(&mut connection, &self.chains[chain].repository).await?;
            lanes[chain].lock().await.token = head.token;
            connections.push((chain, connection));
        }
        Ok(Lineup { lanes, connections })
    }

    /// Lets everybody publish until the clock says stop.
    async fn work(&mut self, daemon: &Daemon, lineup: Lineup, clock: &Clock) -> io::Result<Done> {
        let Lineup { lanes, connections } = lineup;
        let mut work: FuturesUnordered<_> = connections
            .into_iter()
            .map(|(chain, connection)| {
                publish(daemon, &self.chains[chain].repository, &lanes[chain], connection, clock)
            })
            .collect();
        let mut done = Done::default();
        while let Some(result) = work.next().await {
            let (latencies, conflicts) = result?;
            done.latencies.extend(latencies);
            done.conflicts += conflicts;
        }
        drop(work);
        for (chain, lane) in self.chains.iter_mut().zip(lanes) {
            let published = lane.into_inner().published;
            chain.version += published;
            done.all += published as f64;
        }
        Ok(done)
    }

    /// The next uploads of the first `chains` chains, signed by all cores.
    fn prepare(&self, chains: usize, length: u64) -> Vec<Vec<Body>> {
        let jobs: Vec<_> = self.chains.iter().take(chains).collect();
        let cores = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let sign = |chain: &Chain| {
            let versions = chain.version + 1..=chain.version + length;
            versions.map(|version| self.publishers.update(chain.signer, version)).collect::<Vec<_>>()
        };
        if jobs.len() == 1 {
            return jobs.into_iter().map(sign).collect();
        }
        thread::scope(|scope| {
            let workers: Vec<_> = jobs
                .chunks(jobs.len().div_ceil(cores))
                .map(|part| scope.spawn(|| part.iter().map(|chain| sign(chain)).collect::<Vec<_>>()))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().expect("signing does not panic")).collect()
        })
    }
}

/// What the publishers of one chain share.
struct Lane {
    bodies: std::vec::IntoIter<Body>,
    token: String,
    published: u64,
}

/// Uploads and connections, ready to start.
struct Lineup {
    lanes: Vec<Mutex<Lane>>,
    /// Each with the chain that it publishes to.
    connections: Vec<(usize, Connection)>,
}

/// What all publishers of a round did.
#[derive(Default)]
struct Done {
    /// Of what was answered in time, in microseconds.
    latencies: Vec<u32>,
    conflicts: f64,
    /// Acknowledged publishes, late ones too.
    all: f64,
}

struct Clock {
    /// `None`: when nothing is left to publish.
    end: Option<Instant>,
    /// Set when a chain ran out of prepared uploads before the end: the round ends then for all.
    last: Cell<Option<Instant>>,
}

impl Clock {
    fn is_over(&self) -> bool {
        self.last.get().is_some() || self.end.is_some_and(|end| Instant::now() >= end)
    }

    fn ran_out(&self) {
        if self.end.is_some() {
            self.last.set(Some(Instant::now()));
        }
    }
}

/// Publishes until the round is over. Returns the latencies of what was answered within it,
/// in microseconds, and the number of conflicts.
async fn publish(
    daemon: &Daemon,
    repository: &str,
    lane: &Mutex<Lane>,
    mut connection: Connection,
    clock: &Clock,
) -> io::Result<(Vec<u32>, f64)> {
    static OPERATION: AtomicU64 = AtomicU64::new(1);
    let (mut latencies, mut conflicts, mut request) = (Vec::new(), 0.0, Vec::with_capacity(8192));
    while !clock.is_over() {
        let mut lane = lane.lock().await;
        if clock.is_over() {
            break;
        }
        let Some(body) = lane.bodies.next() else {
            clock.ran_out();
            break;
        };
        let operation = OPERATION.fetch_add(1, Ordering::Relaxed);
        let start = Instant::now();
        loop {
            daemon.publish_request(&mut request, repository, Some(&lane.token), operation, &body);
            match token(&connection.exchange(&request).await?)? {
                Ok(new) => {
                    lane.token = new;
                    lane.published += 1;
                    break;
                }
                Err(current) => {
                    lane.token = current;
                    conflicts += 1.0;
                }
            }
        }
        if !clock.is_over() {
            latencies.push(u32::try_from(start.elapsed().as_micros()).unwrap_or(u32::MAX));
        }
    }
    Ok((latencies, conflicts))
}
