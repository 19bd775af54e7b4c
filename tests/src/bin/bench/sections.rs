//! The three parts of the benchmark, each with what it is compared to in the same rounds.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread::{available_parallelism, sleep};
use std::time::Duration;

use rustix::process::Signal;

use crate::Plan;
use crate::connection::Connection;
use crate::daemon::Daemon;
use crate::process::{Program, resident_kib};
use crate::publish::{Load, PublishRound};
use crate::raw_log::{self, Mode, RawRound};
use crate::read::{self, Nginx, Question};
use crate::table::{Aim, Table};

/// How many publish at the same time, and the part of the appending raw log's rate that is wanted.
pub const PUBLISHERS: [(usize, f64); 3] = [(1, 0.45), (16, 0.18), (64, 0.10)];
/// Repositories of the memory measurement.
const REPOSITORIES: usize = 1_000;

/// Publishing, beside a raw log on the same disk.
pub async fn publish(plan: &Plan, bullad: &Path, folder: &Path, table: &mut Table) -> io::Result<()> {
    let daemon = Daemon::start(bullad, folder, None)?;
    let mut distinct = Load::distinct(&daemon, "distinct", 64).await?;
    let mut shared = Load::shared(&daemon).await?;
    let wanted =
        PUBLISHERS.into_iter().filter(|(number, _)| plan.publishers.is_none_or(|only| only == *number));
    for (publishers, aim) in wanted.clone() {
        let mut rounds = Vec::new();
        for round in 0..plan.rounds {
            let overwrite = raw_log::run(folder, publishers, plan.seconds, Mode::Overwrite)?;
            let own = distinct.round(&daemon, publishers, plan.seconds).await?;
            let append = raw_log::run(folder, publishers, plan.seconds, Mode::Append)?;
            let common = shared.round(&daemon, publishers, plan.seconds).await?;
            eprintln!(
                "{publishers} publishers, round {round}: {:.0} raw, {:.0} own, {:.0} raw append, {:.0} common per second; {:.0}+{:.0} us",
                overwrite.rate,
                own.rate,
                append.rate,
                common.rate,
                own.server_cpu * 1e6,
                own.own_cpu * 1e6
            );
            rounds.push((overwrite, own, append, common));
        }
        let aim = Some(Aim::AtLeast(aim));
        let by = |ratio: fn(&(RawRound, PublishRound, RawRound, PublishRound)) -> f64| -> Vec<f64> {
            rounds.iter().map(ratio).collect()
        };
        let what = |where_: &str| format!("publishes per second, {publishers} at once, {where_}");
        table.line(
            &what("distinct repositories"),
            "raw log, appending",
            aim,
            by(|(_, own, raw, _)| own.rate / raw.rate),
        );
        table.line(
            &what("distinct repositories"),
            "raw log, overwriting",
            None,
            by(|(raw, own, ..)| own.rate / raw.rate),
        );
        table.line(
            &what("one repository"),
            "raw log, overwriting",
            None,
            by(|(raw, _, _, common)| common.rate / raw.rate),
        );
        let number = |name: &str| format!("publish.{publishers}.{name}");
        table.numbers(&number("raw_overwriting_per_second"), &by(|(raw, ..)| raw.rate));
        table.numbers(&number("raw_appending_per_second"), &by(|(_, _, raw, _)| raw.rate));
        table.numbers(&number("raw_syncs_each"), &by(|(raw, ..)| raw.syncs));
        table.numbers(&number("raw_cpu_microseconds_each"), &by(|(raw, ..)| raw.cpu * 1e6));
        table.numbers(&number("per_second"), &by(|(_, own, ..)| own.rate));
        table.numbers(&number("server_cpu_microseconds_each"), &by(|(_, own, ..)| own.server_cpu * 1e6));
        table.numbers(&number("generator_cpu_microseconds_each"), &by(|(_, own, ..)| own.own_cpu * 1e6));
        table.numbers(&number("p50_milliseconds"), &by(|(_, own, ..)| own.p50));
        table.numbers(&number("p99_milliseconds"), &by(|(_, own, ..)| own.p99));
        table.numbers(&number("one_repository_per_second"), &by(|(.., common)| common.rate));
        table.numbers(&number("one_repository_conflicts_each"), &by(|(.., common)| common.conflicts));
    }
    for (publishers, _) in wanted {
        let aim = (publishers == 64).then_some(Aim::AtMost(0.1));
        let calls = syncs(&daemon, &mut distinct, publishers, plan.seconds, folder).await?;
        let name = format!("syncs per publish, {publishers} at once, distinct repositories");
        table.line(&name, "publishes", aim, vec![calls]);
    }
    Ok(())
}

/// Calls that wait for the disk per publish, counted by strace in a round of its own, because
/// tracing slows the server down.
async fn syncs(
    daemon: &Daemon,
    load: &mut Load,
    publishers: usize,
    duration: Duration,
    folder: &Path,
) -> io::Result<f64> {
    let counts = folder.join("strace.txt");
    let mut command = Command::new("strace");
    command.args([
        "-f",
        "-c",
        "-U",
        "name,calls",
        "-e",
        "trace=fdatasync,fsync,msync,syncfs,sync_file_range",
    ]);
    command.arg("-p").arg(daemon.program.id().to_string()).arg("-o").arg(&counts);
    let strace = Program::start(&mut command, &folder.join("strace.log"))?;
    sleep(Duration::from_secs(1));
    let round = load.round(daemon, publishers, duration).await?;
    strace.signal(Signal::INT)?;
    strace.wait()?;
    let text = fs::read_to_string(&counts)?;
    let calls = |name: &str| -> f64 {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(name));
        line.and_then(|rest| rest.trim().parse().ok()).unwrap_or(0.0)
    };
    let all = calls("fdatasync ") + calls("fsync ") + calls("msync ") + calls("syncfs ");
    if all == 0.0 {
        return Err(io::Error::other(format!("strace counted nothing: {text}")));
    }
    Ok(all / round.done)
}

/// Reads of `timestamp.json`, beside nginx.
pub async fn read(plan: &Plan, bullad: &Path, folder: &Path, table: &mut Table) -> io::Result<()> {
    let cores = available_parallelism()?.get();
    if cores < 2 || !["nginx", "wrk", "taskset"].iter().all(|program| read::is_present(program)) {
        eprintln!("SKIPPED: reads; hint: needs two cores, nginx and wrk: apt-get install nginx-light wrk");
        return Ok(());
    }
    let daemon = Daemon::start(bullad, folder, Some(0))?;
    let load = Load::distinct(&daemon, "read", 64).await?;
    let path = format!("/tuf/{}/metadata/timestamp.json", load.repository(0));
    let token = format!("Authorization: Bearer {}", daemon.token);
    let (status, tag, timestamp) = read::ask(daemon.address, &path, std::slice::from_ref(&token)).await?;
    if status != 200 {
        return Err(io::Error::other(format!("{path}: HTTP status {status}")));
    }
    let nginx = Nginx::start(folder, &timestamp, 0)?;
    let (_, nginx_tag, file) = read::ask(nginx.address, "/timestamp.json", &[]).await?;
    assert_eq!(file, timestamp, "nginx serves the same bytes");
    let worker = nginx.worker()?;
    let question = |process, url: String, headers: &[&str]| Question {
        process,
        url,
        headers: headers.iter().map(|header| (*header).to_owned()).collect(),
    };
    let ours = format!("http://{}{path}", daemon.address);
    let theirs = format!("http://{}/timestamp.json", nginx.address);
    let server = daemon.program.id();
    let questions = [
        question(worker, theirs.clone(), &[]),
        question(server, ours.clone(), &[&token]),
        question(worker, theirs, &[&format!("If-None-Match: {nginx_tag}")]),
        question(server, ours, &[&token, &format!("If-None-Match: {tag}")]),
    ];
    for (at, expected) in [(2, 304), (3, 304)] {
        let Question { url, headers, .. } = &questions[at];
        let (address, path) =
            if at == 2 { (nginx.address, "/timestamp.json") } else { (daemon.address, path.as_str()) };
        let (status, ..) = read::ask(address, path, headers).await?;
        assert_eq!(status, expected, "{url}");
    }
    let mut rounds: [Vec<read::ReadRound>; 4] = Default::default();
    for round in 0..plan.rounds {
        for (question, results) in questions.iter().zip(&mut rounds) {
            results.push(read::round(question, plan.seconds, 1)?);
        }
        eprintln!("round {round}: {:?} per second", rounds.each_ref().map(|kind| kind[round].rate));
    }
    let [file, timestamp, file_304, timestamp_304] = &rounds;
    let ratios = |a: &[read::ReadRound], b: &[read::ReadRound], value: fn(&read::ReadRound) -> f64| {
        a.iter().zip(b).map(|(a, b)| value(a) / value(b)).collect::<Vec<_>>()
    };
    let rate: fn(&read::ReadRound) -> f64 = |round| round.rate;
    let p99: fn(&read::ReadRound) -> f64 = |round| round.p99;
    table.line(
        "`timestamp.json` per second, one core, with a token",
        "nginx, file",
        Some(Aim::AtLeast(0.95)),
        ratios(timestamp, file, rate),
    );
    table.line(
        "the same, processor time each",
        "nginx, file",
        None,
        ratios(timestamp, file, |round| round.cpu),
    );
    table.line(
        "the same, p99 of latency",
        "nginx, file",
        Some(Aim::AtMost(2.0)),
        ratios(timestamp, file, p99),
    );
    table.line(
        "304 per second, one core, with a token",
        "nginx, file",
        None,
        ratios(timestamp_304, file, rate),
    );
    table.line(
        "304 per second, one core, with a token",
        "nginx, 304",
        None,
        ratios(timestamp_304, file_304, rate),
    );
    for (name, results) in ["nginx", "bullad", "nginx_304", "bullad_304"].iter().zip(&rounds) {
        let numbers = |value: fn(&read::ReadRound) -> f64| results.iter().map(value).collect::<Vec<_>>();
        table.numbers(&format!("read.{name}.per_second"), &numbers(rate));
        table.numbers(&format!("read.{name}.cpu_microseconds_each"), &numbers(|round| round.cpu * 1e6));
        table.numbers(&format!("read.{name}.p99_milliseconds"), &numbers(p99));
    }
    Ok(())
}

/// Memory of a server that nobody asks anything, beside the same server with an empty store.
pub async fn memory(bullad: &Path, folder: &Path, table: &mut Table) -> io::Result<()> {
    let daemon = Daemon::start(bullad, folder, None)?;
    sleep(Duration::from_secs(1));
    let empty = resident_kib(daemon.program.id())?;
    Load::distinct(&daemon, "memory", REPOSITORIES).await?;
    sleep(Duration::from_secs(2));
    let filled = resident_kib(daemon.program.id())?;
    drop(daemon);
    let daemon = Daemon::start(bullad, folder, None)?;
    // One question, so that the start is over.
    let mut connection = Connection::open(daemon.address).await?;
    daemon.head(&mut connection, "registry.example.com/memory/image-0").await?;
    sleep(Duration::from_secs(1));
    let again = resident_kib(daemon.program.id())?;
    table.line("memory after 1,000 repositories were made", "empty store", None, vec![filled / empty]);
    table.line("memory with 1,000 repositories, started anew", "empty store", None, vec![again / empty]);
    table.numbers("memory.empty_kib", &[empty]);
    table.numbers("memory.filled_kib", &[filled]);
    table.numbers("memory.started_anew_kib", &[again]);
    Ok(())
}
