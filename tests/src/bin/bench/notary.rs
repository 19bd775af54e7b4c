//! `bullad` beside the server that users of Notary have today, Debian's `notary-server`.

use std::io;
use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;
use std::time::Duration;

use bulla_tests::notary_load::{Publisher, Tag};

use crate::Plan;
use crate::notary_rounds::{Chain, Reading, Round, Uploads, path};
use crate::notary_servers::{CORE, Kind, Server};
use crate::process;
use crate::table::{Aim, Table, median};

/// A repository with one tag, to be read; the same with 1,000; two to be published to.
const SMALL: &str = "localhost:5000/bench/small";
const THOUSAND: &str = "localhost:5000/bench/thousand";
const ONE: &str = "localhost:5000/bench/one";
const LARGE: &str = "localhost:5000/bench/large";
/// How many clients read at the same time, where it is more than one.
const AT_ONCE: usize = 8;
/// Publishes per second of one tag that the first round prepares for.
const GUESS: f64 = 2_000.0;
/// Most publishes of a round to the repository with 10,000 tags: each holds 0.9 MB in this program.
const LARGE_UPLOADS: usize = 25;
/// From this share of its core on, the generator of the load is what is measured.
const FULL: f64 = 0.9;

/// Runs the whole comparison.
pub async fn notary(plan: &Plan, bullad: &Path, folder: &Path, table: &mut Table) -> io::Result<()> {
    let cores = available_parallelism()?.get();
    if cores < 2 {
        eprintln!("SKIPPED: notary; hint: needs two cores");
        return Ok(());
    }
    let _pinned = Pinned::to(cores - 1, cores)?;
    let publisher = Publisher::default();
    let mut one = Uploads::new(ONE, |version| vec![("v1".into(), format!("one {version}"))]);
    let mut large = Uploads::new(LARGE, |version| tags(9_999 + version));
    let mut sites = Vec::new();
    for kind in Kind::ALL {
        let Some(server) = Server::start(kind, bullad, &folder.join(kind.folder()))? else { continue };
        sites.push(Site::new(server, &publisher, &one, &large).await?);
    }
    for round in 0..plan.rounds {
        for at in (0..MEASURED.len()).filter(|at| MEASURED[*at].name.contains(&plan.row)) {
            for site in &mut sites {
                let measured = site.measure(at, plan.seconds, &publisher, (&mut one, &mut large)).await;
                measured.map_err(|error| site.failed(at, &error))?;
            }
        }
        eprintln!("round {round} of {} is over", plan.rounds);
    }
    write_rates(&sites, table);
    println!("{}", describe(&sites));
    drop(sites);
    if plan.row.is_empty() {
        write_memory(bullad, &folder.join("peaks"), &publisher, table).await?;
    }
    Ok(())
}

/// What is measured: its name in the table, and the aims beside the two others.
struct Measured {
    name: &'static str,
    memory: Option<Aim>,
    postgres: Option<Aim>,
}

const fn measured(name: &'static str, memory: Option<Aim>, postgres: Option<Aim>) -> Measured {
    Measured { name, memory, postgres }
}

/// First the readings of a [`Site`], then its two ways of publishing.
const MEASURED: [Measured; 9] = [
    measured("`timestamp.json`, new connection each, 1 at once", None, None),
    measured("`timestamp.json`, new connection each, 8 at once", Some(Aim::AtLeast(3.0)), None),
    measured("`timestamp.json`, new connection each, sessions resumed, 1 at once", None, None),
    measured("`timestamp.json`, new connection each, sessions resumed, 8 at once", None, None),
    measured("`timestamp.json`, connections kept, 8 at once", None, None),
    measured("`targets.json` with 1,000 tags, connections kept, 8 at once", None, None),
    measured(
        "`targets.json` with 1,000 tags, gzip accepted as Go's clients do, connections kept, 8 at once",
        None,
        None,
    ),
    measured("publishing one tag, one after the other", None, None),
    measured("publishing one more tag into 10,000", Some(Aim::AtLeast(10.0)), Some(Aim::AtLeast(10.0))),
];

/// A server with its repositories, and what was measured so far.
struct Site {
    server: Server,
    readings: Vec<Reading>,
    one: Chain,
    large: Chain,
    rounds: [Vec<Round>; MEASURED.len()],
}

impl Site {
    async fn new(server: Server, publisher: &Publisher, one: &Uploads, large: &Uploads) -> io::Result<Self> {
        Uploads::new(SMALL, tags).create(&server, publisher).await?;
        Uploads::new(THOUSAND, |_| tags(1_000)).create(&server, publisher).await?;
        let (one, large) = (one.create(&server, publisher).await?, large.create(&server, publisher).await?);
        let (timestamp, targets) = (path(SMALL, "timestamp.json"), path(THOUSAND, "targets.json"));
        let readings = vec![
            Reading::anew(&server, &timestamp, 1, false)?,
            Reading::anew(&server, &timestamp, AT_ONCE, false)?,
            Reading::anew(&server, &timestamp, 1, true)?,
            Reading::anew(&server, &timestamp, AT_ONCE, true)?,
            Reading::kept(&server, &timestamp, AT_ONCE, false)?,
            Reading::kept(&server, &targets, AT_ONCE, false)?,
            Reading::kept(&server, &targets, AT_ONCE, true)?,
        ];
        Ok(Self { server, readings, one, large, rounds: Default::default() })
    }

    /// Adds a round of what stands at `at` in [`MEASURED`].
    async fn measure(
        &mut self,
        at: usize,
        duration: Duration,
        publisher: &Publisher,
        (one, large): (&mut Uploads, &mut Uploads),
    ) -> io::Result<()> {
        let rounds = &mut self.rounds[at];
        let round = match self.readings.get(at) {
            Some(reading) => reading.round(&self.server, duration).await?,
            None if at == self.readings.len() => {
                let rate = rounds.last().map_or(GUESS, |round| round.rate * 1.5);
                one.prepare(publisher, &self.one, (rate * duration.as_secs_f64()) as usize + 16);
                one.round(&self.server, &mut self.one, duration).await?
            }
            None => {
                large.prepare(publisher, &self.large, LARGE_UPLOADS);
                large.round(&self.server, &mut self.large, duration).await?
            }
        };
        rounds.push(round);
        Ok(())
    }

    fn failed(&self, at: usize, error: &io::Error) -> io::Error {
        io::Error::other(format!("{}: {}: {error}", self.server.kind.name(), MEASURED[at].name))
    }

    /// The median of something in the rounds of what was measured at `at`.
    fn median(&self, at: usize, value: fn(&Round) -> f64) -> f64 {
        median(&self.rounds[at].iter().map(value).collect::<Vec<_>>())
    }
}

fn write_rates(sites: &[Site], table: &mut Table) {
    let Some((ours, others)) = sites.split_first() else { return };
    let done = |at: &usize| !ours.rounds[*at].is_empty();
    for (at, measured) in MEASURED.iter().enumerate().filter(|(at, _)| done(at)) {
        let ratios = |other: &Site, value: fn(&Round) -> f64| -> Vec<f64> {
            ours.rounds[at].iter().zip(&other.rounds[at]).map(|(a, b)| value(a) / value(b)).collect()
        };
        for other in others {
            let aim = if other.server.kind == Kind::Memory { measured.memory } else { measured.postgres };
            let name = format!("{}, per second", measured.name);
            let base = other.server.kind.name();
            table.line(&name, base, aim, ratios(other, |round| round.rate));
            table.line("the same, p50 of latency", base, None, ratios(other, |round| round.p50));
            table.line("the same, p99 of latency", base, None, ratios(other, |round| round.p99));
            let cpu = ratios(other, |round| round.server_cpu);
            table.line("the same, processor time each", base, None, cpu);
        }
    }
    for site in sites {
        for (at, rounds) in site.rounds.iter().enumerate().filter(|(at, _)| done(at)) {
            let mut keep = |what: &str, value: fn(&Round) -> f64| {
                let name = format!("notary.{}.{at}.{what}", site.server.kind.folder());
                table.numbers(&name, &rounds.iter().map(value).collect::<Vec<_>>());
            };
            keep("per_second", |round| round.rate);
            keep("p50_milliseconds", |round| round.p50);
            keep("p99_milliseconds", |round| round.p99);
            keep("server_cpu_microseconds_each", |round| round.server_cpu * 1e6);
            keep("generator_share", |round| round.own_share);
            keep("resumed_share", |round| round.resumed);
        }
    }
}

/// The numbers of this machine, for people.
fn describe(sites: &[Site]) -> String {
    let mut text = String::from(
        "| What | Server | Per second | p50 ms | p99 ms | Server's processor us | Generator's share | Resumed |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for (at, measured) in MEASURED.iter().enumerate() {
        for site in sites.iter().filter(|site| !site.rounds[at].is_empty()) {
            let value = |value| site.median(at, value);
            let share = value(|round| round.own_share);
            let full = if share >= FULL { ", the limit" } else { "" };
            text.push_str(&format!(
                "| {} | {} | {:.0} | {:.2} | {:.2} | {:.0} | {:.0} %{full} | {:.0} % |\n",
                measured.name,
                site.server.kind.name(),
                value(|round| round.rate),
                value(|round| round.p50),
                value(|round| round.p99),
                value(|round| round.server_cpu) * 1e6,
                share * 100.0,
                value(|round| round.resumed) * 100.0,
            ));
        }
    }
    text
}

/// The most memory that each server needs for the same work, begun anew.
async fn write_memory(
    bullad: &Path,
    folder: &Path,
    publisher: &Publisher,
    table: &mut Table,
) -> io::Result<()> {
    let mut one = Uploads::new(ONE, |version| vec![("v1".into(), format!("one {version}"))]);
    let mut large = Uploads::new(LARGE, |version| tags(9_999 + version));
    let mut peaks = Vec::new();
    let enough = Duration::from_secs(600);
    for kind in Kind::ALL {
        let Some(server) = Server::start(kind, bullad, &folder.join(kind.folder()))? else { continue };
        let mut site = Site::new(server, publisher, &one, &large).await?;
        one.prepare(publisher, &site.one, 200);
        one.round(&site.server, &mut site.one, enough).await?;
        large.prepare(publisher, &site.large, 20);
        large.round(&site.server, &mut site.large, enough).await?;
        for reading in &site.readings {
            reading.round(&site.server, Duration::from_secs(1)).await?;
        }
        peaks.push((kind, site.server.peak_kib()?));
        table.numbers(&format!("notary.{}.peak_kib", kind.folder()), &[site.server.peak_kib()?]);
        table.numbers(&format!("notary.{}.database_kib", kind.folder()), &[site.server.database_kib()?]);
    }
    let Some(((_, ours), others)) = peaks.split_first() else { return Ok(()) };
    for (kind, peak) in others {
        let name = "peak memory, the database not counted";
        table.line(name, kind.name(), None, vec![ours / peak]);
    }
    Ok(())
}

fn tags(number: u64) -> Vec<Tag> {
    (0..number).map(|tag| (format!("v{tag}"), format!("manifest {tag}"))).collect()
}

/// Keeps this program on one core while it lives.
struct Pinned {
    cores: usize,
}

impl Pinned {
    fn to(core: usize, cores: usize) -> io::Result<Self> {
        assert_ne!(core, CORE, "the servers have that one");
        pin(&core.to_string())?;
        Ok(Self { cores })
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if let Err(error) = pin(&format!("0-{}", self.cores - 1)) {
            eprintln!("the benchmark stays on one core: {error}");
        }
    }
}

fn pin(cores: &str) -> io::Result<()> {
    let own = std::process::id().to_string();
    process::run(Command::new("taskset").args(["--all-tasks", "--cpu-list", "--pid", cores, &own]))
}
