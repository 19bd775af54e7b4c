//! What the embedded store holds after crashes, power cuts and failing disks.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bulla_tests::crash::{Ack, Cut, READY, Running, acks, copy_folder, powercut, strace, verify};
use bulla_tests::crash_trace::{JournalTrace, failing_once};
use tempfile::TempDir;

/// System calls that change what is on the disk. strace counts each of them by itself.
const WRITING: [&str; 12] = [
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "unlink",
    "mkdir",
    "sync_file_range",
];

fn writer() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_store-writer"))
}

fn write_to(data: &Path, publishers: u64, large: u64, pause_ms: u64) -> Command {
    let mut command = Command::new(writer());
    command.args(arguments(data, publishers, large, pause_ms));
    command
}

fn arguments(data: &Path, publishers: u64, large: u64, pause_ms: u64) -> Vec<String> {
    let numbers = [publishers, large, pause_ms].map(|number| number.to_string());
    [vec![data.display().to_string()], numbers.to_vec()].concat()
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Different moments in every round, the same in every run.
fn moment(round: u64, most: u64) -> Duration {
    Duration::from_millis(1 + round.wrapping_mul(2_654_435_761) % most)
}

fn lines(found: &[String]) -> Vec<Ack> {
    acks(found.iter().map(String::as_str))
}

/// One folder is carried through all kills; a copy is judged after each.
#[tokio::test]
async fn killed_in_the_middle_of_concurrent_publishes() {
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut all = Vec::new();
    for round in 0..number_from("BULLA_KILLS", 50) {
        let mut running = Running::start(write_to(&data, 8, if round % 3 == 0 { 9_000 } else { 600 }, 4));
        if round % 5 != 4 {
            running.wait_for_lines(2);
            std::thread::sleep(moment(round, 150));
        } else {
            std::thread::sleep(moment(round, 60));
        }
        let new = lines(&running.kill());
        let copy = folder.path().join("copy");
        for name in ["data", "data.high-water"] {
            copy_whole(&folder.path().join(name), &copy.join(name));
        }
        if copy.join("data").exists() {
            verify(&copy.join("data"), &new).await;
        }
        fs::remove_dir_all(&copy).ok();
        all.extend(new);
    }
    assert!(all.len() > 100, "only {} publications were acknowledged", all.len());
    verify(&data, &all).await;
    eprintln!("{} acknowledged publications survived", all.len());
}

fn copy_whole(from: &Path, to: &Path) {
    if from.is_dir() {
        copy_folder(from, to);
    } else if from.exists() {
        fs::create_dir_all(to.parent().unwrap()).unwrap();
        fs::copy(from, to).unwrap();
    }
}

/// Killed at the first, second, third ... writing call of a start, from each state that a
/// folder can be in: absent, closed in order, killed.
#[tokio::test]
async fn killed_at_every_writing_call_of_a_start() {
    for before in ["absent", "closed", "killed"] {
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("data");
        let mut known = Vec::new();
        if before != "absent" {
            let mut running = Running::start(write_to(&data, 4, 5_000, 1));
            running.wait_for_lines(60);
            known = lines(&running.kill());
            assert!(!known.is_empty());
        }
        if before == "closed" {
            assert!(write_to(&data, 0, 0, 0).status().unwrap().success());
        }
        let mut kills = 0;
        for call in WRITING {
            for when in 1.. {
                assert!(when < 400, "the start never gets through");
                let round = folder.path().join("round");
                fs::create_dir_all(&round).unwrap();
                for name in ["data", "data.high-water"] {
                    copy_whole(&folder.path().join(name), &round.join(name));
                }
                let inject = format!("inject={call}:signal=SIGKILL:when={when}");
                let trace = format!("trace={call}");
                let args = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
                let Some(mut command) = strace(&args, &writer()) else { return };
                command.args(arguments(&round.join("data"), 0, 0, 0));
                let (status, _) = Running::start(command).wait();
                verify(&round.join("data"), &known).await;
                fs::remove_dir_all(&round).unwrap();
                if status.success() {
                    break;
                }
                kills += 1;
            }
        }
        assert!(kills > 10, "killed only at {kills} calls");
        eprintln!("{before}: killed at {kills} calls");
    }
}

/// A failing sync or write: no acknowledgement, the process ends, what was acknowledged
/// before is there.
#[tokio::test]
async fn failing_disks_end_the_process() {
    let calls = [("fdatasync", "EIO"), ("fdatasync", "ENOSPC"), ("pwrite64", "ENOSPC"), ("pwrite64", "EIO")];
    for (call, error) in calls {
        for when in [12, 25, 40] {
            let folder = TempDir::new().unwrap();
            let data = folder.path().join("data");
            let inject = format!("inject={call}:error={error}:when={when}+");
            let trace = format!("trace={call}");
            let Some(mut command) = strace(&["-o", "/dev/null", "-e", &trace, "-e", &inject], &writer())
            else {
                return;
            };
            command.args(arguments(&data, 4, 600, 0));
            let (status, found) = Running::start(command).wait();
            assert!(!status.success(), "{call} {error} {when}: the process went on");
            let acknowledged = lines(&found);
            assert!(acknowledged.len() < 4 * when, "{call} {error} {when}: {} acks", acknowledged.len());
            verify(&data, &acknowledged).await;
        }
    }
}

/// One sync of the journal fails, in the middle of a segment or where a new one begins; all
/// others would succeed. Nobody tries again, no record that it would have covered is
/// acknowledged, the process ends, what was acknowledged before is there.
#[tokio::test]
async fn what_a_failed_sync_would_cover_is_not_acknowledged() {
    for error in ["EIO", "ENOSPC"] {
        for (call, when) in [("fdatasync", 12), ("fdatasync", 200), ("fsync", 1)] {
            let folder = TempDir::new().unwrap();
            let (data, log) = (folder.path().join("data"), folder.path().join("strace"));
            // The journal's first file, which another thread makes, is there already.
            assert!(Running::start(write_to(&data, 0, 0, 0)).wait().0.success());
            let args = failing_once(&data, &log, call, error, when);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let Some(mut command) = strace(&args, &writer()) else { return };
            command.args(arguments(&data, 4, 600, 0));
            let (status, found) = Running::start(command).wait();
            assert!(!status.success(), "{call} {error} {when}: the process went on");
            let trace = JournalTrace::read(&fs::read_to_string(&log).unwrap());
            trace.assert_failed_once(call, error);
            // A new segment is synced before anything stands in it.
            assert_eq!(trace.written > trace.synced, call == "fdatasync", "{trace:?}");
            let acknowledged = lines(&found);
            assert!(!acknowledged.is_empty(), "{call} {error} {when}: nothing was acknowledged");
            for ack in &acknowledged {
                assert!(ack.position.0 <= trace.synced, "{ack}: synced is {}", trace.synced);
            }
            verify(&data, &acknowledged).await;
        }
    }
}

/// Between the write of a record and its acknowledgement, the journal was synced.
#[test]
fn synced_between_write_and_acknowledgement() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("strace");
    let out = log.display().to_string();
    let trace = "trace=pwrite64,fdatasync,write";
    let Some(mut command) = strace(&["-y", "-s", "8", "-o", &out, "-e", trace], &writer()) else { return };
    command.args(arguments(&folder.path().join("data"), 1, 600, 1));
    let mut running = Running::start(command);
    running.wait_for_lines(30);
    drop(running.kill());
    let mut state = Order::default();
    for line in fs::read_to_string(&log).unwrap().lines() {
        state.read(line);
    }
    assert!(state.acknowledged >= 20, "only {} acknowledgements were traced", state.acknowledged);
}

/// What a trace says so far.
#[derive(Default)]
struct Order {
    /// Calls that were interrupted in the log by those of other threads.
    pending: HashMap<String, String>,
    unsynced: bool,
    written: u32,
    acknowledged: u32,
}

impl Order {
    fn read(&mut self, line: &str) {
        let Some((thread, call)) = line.split_once(' ') else { return };
        let call = call.trim_start();
        if let Some(start) = call.strip_suffix("<unfinished ...>") {
            // An acknowledgement counts from its beginning, everything else from its end.
            if start.starts_with("write(1") {
                self.call(start);
            } else {
                self.pending.insert(thread.to_owned(), start.to_owned());
            }
        } else if let Some((_, end)) = call.split_once(" resumed>") {
            let start = self.pending.remove(thread).unwrap_or_default();
            self.call(&format!("{start}{end}"));
        } else {
            self.call(call);
        }
    }

    fn call(&mut self, call: &str) {
        let journal = call.contains("/journal/0");
        if journal && call.starts_with("pwrite64(") && !call.contains("\"\\0\\0\\0\\0") {
            self.unsynced = true;
            self.written += 1;
        } else if journal && call.starts_with("fdatasync(") && call.trim_end().ends_with("= 0") {
            self.unsynced = false;
        } else if call.starts_with("write(1") && call.contains("\"ack ") {
            self.acknowledged += 1;
            assert!(self.written >= self.acknowledged, "acknowledged without a write: {call}");
            assert!(!self.unsynced, "acknowledged without a sync: {call}");
        }
    }
}

/// The power is cut again and again; what survives one cut is the start of the next.
#[tokio::test]
async fn power_cuts() {
    let Some(tool) = powercut() else { return };
    let cuts = number_from("BULLA_POWERCUTS", 40);
    let chains = [('A', 600), ('P', 600), ('A', 200_000), ('P', 200_000)];
    let mut survived = 0;
    for (chain, (model, large)) in (0_u64..).zip(chains) {
        let folder = TempDir::new().unwrap();
        let mut known: Vec<Ack> = Vec::new();
        let mut before: Option<PathBuf> = None;
        for round in 0..cuts.div_ceil(4) {
            let seed = chain * 1_000 + round;
            // Every other time only what was synced in this very run counts as synced.
            let model = if round % 2 == 0 { model } else { model.to_ascii_lowercase() };
            let left = folder.path().join(format!("left-{round}"));
            let cut = Cut { tool: &tool, model, seed, after: moment(seed, 400), before: before.as_deref() };
            let found = cut.run(&left, &writer(), |mount| arguments(&mount.join("data"), 8, large, 2));
            if before.is_some() {
                assert_eq!(found.first().map(String::as_str), Some(READY), "{cut:?}: it did not start again");
            }
            known.extend(lines(&found));
            let copy = folder.path().join("copy");
            copy_folder(&left, &copy);
            verify(&copy.join("data"), &known).await;
            fs::remove_dir_all(&copy).unwrap();
            if let Some(old) = before.replace(left) {
                fs::remove_dir_all(old).unwrap();
            }
        }
        assert!(!known.is_empty(), "nothing was acknowledged");
        survived += known.len();
    }
    eprintln!("{survived} acknowledged publications survived {cuts} power cuts");
}
