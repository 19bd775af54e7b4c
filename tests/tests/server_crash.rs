//! What clients of the real server see after crashes, power cuts and failing disks: what was
//! acknowledged is there, byte for byte, and nobody was shown a state that is gone.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::names::RepositoryName;
use bulla_server::store::TrustStore as _;
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_server::vault::{Kek, Keyring, OnlineKeys, Vault};
use bulla_tests::cli::private_file;
use bulla_tests::crash::{Cut, READY, Running, copy_folder, powercut, strace};
use bulla_tests::crash_server::known::Known;
use bulla_tests::crash_server::{Event, KEK, can_start, events, is_answer};
use bulla_tests::crash_trace::{JournalTrace, failing_once};
use bulla_tests::programs::program;
use futures_util::FutureExt as _;
use tempfile::TempDir;

/// System calls that change what is on the disk. strace counts each of them by itself, and
/// for each thread by itself.
const WRITING: [&str; 14] = [
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "fsync",
    "fdatasync",
    "ftruncate",
    "fallocate",
    "unlink",
    "mkdir",
    "sync_file_range",
];
/// Those of sled on its file. Its threads make them, so the main thread's, which come first,
/// would hide them: they are counted alone as well.
const INDEX_WRITING: [&str; 5] = ["write", "pwrite64", "fsync", "fdatasync", "sync_file_range"];

/// Repositories whose online keys are resealed.
const RESEALED: u64 = 150;

fn writer() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_server-writer"))
}

fn arguments(data: &Path, publishers: u64, large: u64) -> Vec<String> {
    let paths = [program("bullad"), data.to_owned()].map(|path| path.display().to_string());
    let numbers = [publishers, large].map(|number| number.to_string());
    [&paths[..], &numbers[..]].concat()
}

fn write_to(data: &Path, publishers: u64, large: u64) -> Command {
    let mut command = Command::new(writer());
    command.args(arguments(data, publishers, large));
    command
}

fn number_from(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap())
}

/// Different moments in every round, the same in every run.
fn moment(round: u64, from: u64, most: u64) -> Duration {
    Duration::from_millis(from + round.wrapping_mul(2_654_435_761) % most)
}

/// One folder is carried through all kills. Each time another server has to carry on.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_concurrent_publishes() {
    if !can_start() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let data = folder.path().join("data");
    let mut known = Known::default();
    let kills = number_from("BULLA_KILLS", 50);
    for round in 0..kills {
        let large = if round % 3 == 0 { 200_000 } else { 600 };
        let mut running = Running::start(write_to(&data, 8, large));
        running.wait_for(2, is_answer);
        std::thread::sleep(moment(round, 50, 350));
        let new = known.learn(&running.kill());
        let mut server = known.judge(&data, new).await;
        if round % 10 == 9 {
            known.follow(&server).await;
            assert!(server.stop().success(), "round {round}: the server does not stop in order");
            check(&data);
        }
    }
    let count = u64::try_from(known.acks.len()).unwrap();
    assert!(count > 2 * kills, "only {count} publishes were acknowledged");
    let server = known.judge(&data, 0).await;
    known.follow(&server).await;
    drop(server);
    check(&data);
    eprintln!("{count} acknowledged publishes survived {kills} kills");
}

/// Killed at the first, second, third ... writing call of a start, from an absent folder with
/// all that `--dev` makes, and from one that was left by a kill in the middle of publishes.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_writing_call_of_a_start() {
    if !can_start() {
        return;
    }
    for before in ["absent", "killed"] {
        let folder = TempDir::new().unwrap();
        let mut known = Known::default();
        if before == "killed" {
            let data = folder.path().join("before/data");
            let mut running = Running::start(write_to(&data, 4, 200_000));
            running.wait_for(30, is_answer);
            known.learn(&running.kill());
            assert!(!known.acks.is_empty());
            // Where `--dev` looks for it.
            private_file(&data.join("kek"), KEK);
        }
        let mut kills = 0;
        let points = WRITING.map(|call| (call, None));
        for (call, only) in points.into_iter().chain(INDEX_WRITING.map(|call| (call, Some("index/db")))) {
            for when in 1.. {
                assert!(when < 5_000, "the start never gets through");
                let round = folder.path().join("round");
                if before == "killed" {
                    copy_folder(&folder.path().join("before"), &round);
                } else {
                    std::fs::create_dir_all(&round).unwrap();
                }
                let data = round.join("data");
                let Some(started) = start_killed_at(call, when, only, &data) else { return };
                assert!(started_normally(&data), "{before}: killed at {call} {when}, it starts no more");
                if before == "killed" {
                    known.judge(&data, 0).await;
                }
                check(&data);
                std::fs::remove_dir_all(&round).unwrap();
                if started {
                    break;
                }
                kills += 1;
            }
        }
        assert!(kills > 10, "{before}: killed only at {kills} calls");
        eprintln!("{before}: killed at {kills} calls");
    }
}

/// Starts the server to be killed at the `when`th `call` of one of its threads, of those on
/// `only` this file if one is named; tells whether it came to listen all the same. `None`
/// without strace.
fn start_killed_at(call: &str, when: u64, only: Option<&str>, data: &Path) -> Option<bool> {
    let inject = format!("inject={call}:signal=SIGKILL:when={when}");
    let trace = format!("trace={call}");
    let only = only.map(|file| data.join(file).display().to_string());
    let mut args = vec!["-o", "/dev/null", "-e", &trace, "-e", &inject];
    args.extend(only.iter().flat_map(|file| ["-P", file]));
    let mut command = strace(&args, &program("bullad"))?;
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut running = Running::start(command);
    // Three lines tell what to export.
    running.wait_for_lines(3);
    Some(running.kill().len() >= 3)
}

/// Whether `bullad serve --dev` comes to listen.
fn started_normally(data: &Path) -> bool {
    let mut command = Command::new(program("bullad"));
    command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(data);
    let mut running = Running::start(command);
    running.wait_for_lines(3);
    running.kill().len() >= 3
}

/// The power is cut again and again; what survives one cut is the start of the next.
#[tokio::test(flavor = "multi_thread")]
async fn power_cuts() {
    let (Some(tool), true) = (powercut(), can_start()) else { return };
    let cuts = number_from("BULLA_POWERCUTS", 12);
    let chains = [('A', 600), ('P', 600), ('A', 200_000), ('P', 200_000)];
    let mut survived = 0;
    for (chain, (model, large)) in (0_u64..).zip(chains) {
        let folder = TempDir::new().unwrap();
        let mut known = Known::default();
        let mut patience = 1_u32;
        let mut before: Option<PathBuf> = None;
        for round in 0..cuts.div_ceil(4) {
            let seed = chain * 1_000 + round;
            // Every other time only what was synced in this very run counts as synced.
            let model = if round % 2 == 0 { model } else { model.to_ascii_lowercase() };
            let left = folder.path().join(format!("left-{round}"));
            // A busy machine acknowledges nothing so soon.
            let after = moment(seed, 200, 1_000) * if known.acks.is_empty() { patience } else { 1 };
            patience = (patience * 4).min(16);
            let cut = Cut { tool: &tool, model, seed, after, before: before.as_deref() };
            let mut mounted = PathBuf::new();
            let found = cut.run(&left, &writer(), |mount| {
                mounted = mount.to_owned();
                arguments(&mount.join("data"), 8, large)
            });
            unmount(&mounted);
            assert_eq!(found.first().map(String::as_str), Some(READY), "{cut:?}: it does not start");
            known.learn(&found);
            let copy = folder.path().join("copy");
            copy_folder(&left, &copy);
            let data = copy.join("data");
            check(&data);
            let mut server = known.judge(&data, 0).await;
            known.follow(&server).await;
            assert!(server.stop().success(), "{cut:?}: the server does not stop in order");
            std::fs::remove_dir_all(&copy).unwrap();
            if let Some(old) = before.replace(left) {
                std::fs::remove_dir_all(old).unwrap();
            }
        }
        assert!(!known.acks.is_empty(), "nothing was acknowledged");
        survived += known.acks.len();
    }
    eprintln!("{survived} acknowledged publishes survived {cuts} power cuts");
}

/// The tool cannot unmount what the server, which dies a moment after the tool's own child,
/// still held open. Most of the time nothing is left to do.
fn unmount(mounted: &Path) {
    let mut command = Command::new("fusermount3");
    command.args(["-u", "-z"]).arg(mounted).stdout(Stdio::null()).stderr(Stdio::null());
    if command.status().is_ok_and(|status| status.success()) {
        std::fs::remove_dir(mounted).ok();
    }
}

/// A failing sync of the journal: no acknowledgement, the server ends, what was acknowledged
/// before is there.
#[tokio::test(flavor = "multi_thread")]
async fn failing_syncs_end_the_server() {
    if !can_start() {
        return;
    }
    for error in ["EIO", "ENOSPC"] {
        for (when, large) in [(10, 600), (25, 600), (15, 200_000)] {
            let folder = TempDir::new().unwrap();
            let data = folder.path().join("data");
            let inject = format!("inject=fdatasync:error={error}:when={when}+");
            let log = folder.path().join("strace");
            let out = log.display().to_string();
            let args = ["-y", "-o", &out, "-e", "trace=fdatasync", "-e", &inject];
            let Some(mut command) = strace(&args, &writer()) else { return };
            command.args(arguments(&data, 4, large));
            let (status, lines) = Running::start(command).wait();
            assert!(!status.success(), "{error} {when}: the server went on");
            let ended = events(lines.iter().map(String::as_str)).into_iter().find_map(|event| match event {
                Event::Ended { status } => Some(status),
                _ => None,
            });
            assert!(ended.is_some_and(|how| how != "exit status: 0"), "{error} {when}: it did not end");
            failed_at_the_journal(&std::fs::read_to_string(&log).unwrap(), error);
            let mut known = Known::default();
            known.learn(&lines);
            let mut server = known.judge(&data, 0).await;
            known.follow(&server).await;
            assert!(server.stop().success(), "{error} {when}: the server does not stop in order");
            check(&data);
        }
    }
}

/// One sync of the journal fails, all others would succeed. Nobody tries again, no publish
/// that it would have covered is acknowledged, the server ends, and what was acknowledged
/// before is whole.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_sync_would_cover_is_not_acknowledged() {
    if !can_start() {
        return;
    }
    let (mut failures, mut acknowledged, mut in_flight) = (0, 0, 0);
    for error in ["EIO", "ENOSPC"] {
        for (publishers, when, large) in [(1, 12, 600), (4, 60, 600), (4, 40, 200_000)] {
            let folder = TempDir::new().unwrap();
            let (data, log) = (folder.path().join("data"), folder.path().join("strace"));
            let args = failing_once(&data, &log, "fdatasync", error, when);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let Some(mut command) = strace(&args, &writer()) else { return };
            command.args(arguments(&data, publishers, large));
            let (status, lines) = Running::start(command).wait();
            assert!(!status.success(), "{error} {when}: the server went on");
            let trace = JournalTrace::read(&std::fs::read_to_string(&log).unwrap());
            trace.assert_failed_once("fdatasync", error);
            assert_eq!(trace.syncs_before, when - 1, "{error}");
            assert!(trace.written > trace.synced, "nothing stood under the sync: {trace:?}");
            let told = Told::read(&lines);
            assert!(told.ended.starts_with("signal: 6 "), "{error} {when}: {}", told.ended);
            assert!(!told.positions.is_empty(), "{error} {when}: nothing was acknowledged before");
            for position in &told.positions {
                assert!(*position <= trace.synced, "{error} {when}: {position} after {}", trace.synced);
            }
            let mut known = Known::default();
            known.learn(&lines);
            let mut server = known.judge(&data, 0).await;
            // The records are there all the same: only the answer of the disk was a lie.
            let covered = known.feed(&server, trace.synced).await;
            assert!(!covered.is_empty(), "{error} {when}: no publish stood under the sync");
            for (position, change) in covered {
                assert!(position <= trace.written, "{position} after {}", trace.written);
                let repository = change.repository.to_string();
                assert!(told.unanswered.contains(&repository), "{repository}: {:?}", told.unanswered);
            }
            known.follow(&server).await;
            assert!(server.stop().success(), "{error} {when}: the server does not stop in order");
            check(&data);
            failures += 1;
            acknowledged += told.positions.len();
            in_flight += told.unanswered.len();
        }
    }
    eprintln!(
        "{failures} failed syncs: {acknowledged} publishes acknowledged before, {in_flight} in flight got no answer"
    );
}

/// The sync that makes the journal's first file durable fails: the server does not come to
/// listen, and the next start finds nothing wrong.
#[test]
fn a_failed_first_sync_of_the_journal_ends_the_start() {
    for error in ["EIO", "ENOSPC"] {
        let folder = TempDir::new().unwrap();
        let (data, log) = (folder.path().join("data"), folder.path().join("strace"));
        let args = failing_once(&data, &log, "fsync", error, 1);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let Some(mut command) = strace(&args, &program("bullad")) else { return };
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(&data);
        let (status, lines) = Running::start(command).wait();
        assert!(!status.success(), "{error}: the server went on");
        assert_eq!(lines, Vec::<String>::new(), "{error}: it listens");
        JournalTrace::read(&std::fs::read_to_string(&log).unwrap()).assert_failed_once("fsync", error);
        assert!(started_normally(&data), "{error}: it starts no more");
        check(&data);
    }
}

/// Killed between two records while all online keys are sealed under another key-encryption key:
/// with both keys everything opens, and the next start goes on where this one ended.
#[tokio::test(flavor = "multi_thread")]
async fn killed_while_online_keys_are_resealed() {
    let folder = TempDir::new().unwrap();
    let (kek, old) = (folder.path().join("kek"), folder.path().join("kek.old"));
    private_file(&kek, &"22".repeat(32));
    private_file(&old, KEK);
    let open = |data: &Path| Arc::new(EmbeddedStore::open(data, &Options::default()).unwrap());
    let ring = |current: &Path, old: &[&Path]| {
        let old = old.iter().map(|path| Kek::from_file(path).unwrap()).collect();
        Keyring::new(Kek::from_file(current).unwrap(), old)
    };
    let before = folder.path().join("before/data");
    std::fs::create_dir_all(before.parent().unwrap()).unwrap();
    let store = open(&before);
    let vault = Vault::new(ring(&old, &[]), store.clone());
    let mut keys = BTreeMap::new();
    for number in 0..RESEALED {
        let name: RepositoryName = format!("r.io/app-{number}").parse().unwrap();
        let made = vault.get_or_make(&name).await.unwrap();
        keys.insert(name, prints(&made));
    }
    store.close().await.unwrap();
    drop((vault, store));

    // The port is taken, so a start that comes through ends by itself, after the resealing.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut kills, mut partly) = (0, 0);
    for (call, when) in [("fdatasync", 1), ("fdatasync", 2), ("fdatasync", 3), ("fdatasync", 4)]
        .into_iter()
        .chain((2..40).step_by(4).map(|when| ("pwrite64", when)))
    {
        let round = folder.path().join("round");
        copy_folder(&folder.path().join("before"), &round);
        let (data, config) = (round.join("data"), round.join("bullad.toml"));
        let [data_text, kek_text, old_text] = [&data, &kek, &old].map(|path| path.display().to_string());
        let text = format!(
            "[server]\nlisten = \"{}\"\n[store]\ndata = \"{data_text}\"\n[vault]\n\
             key_file = \"{kek_text}\"\nold_key_file = \"{old_text}\"\n",
            taken.local_addr().unwrap()
        );
        std::fs::write(&config, text).unwrap();
        let inject = format!("inject={call}:signal=SIGKILL:when={when}");
        let trace = format!("trace={call}");
        let args = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
        let Some(mut command) = strace(&args, &program("bullad")) else { return };
        command.args(["serve", "--config"]).arg(&config);
        let (status, _) = Running::start(command).wait();
        kills += i32::from(status.code() != Some(1));

        let store = open(&data);
        assert_eq!(store.went_back(), None);
        let both = Vault::new(ring(&kek, &[&old]), store.clone());
        let mut done = 0;
        for (name, before) in &keys {
            let found = both.get(name).await.unwrap().unwrap();
            assert_eq!(prints(&found), *before, "{call} {when}: {name}");
            done += found.generation - 1;
        }
        partly += i32::from((1..RESEALED).contains(&done));
        let resealed = both.reseal().await.unwrap();
        assert_eq!((resealed.resealed, resealed.kept), (RESEALED - done, done), "{call} {when}");
        let new = Vault::new(ring(&kek, &[]), store.clone());
        for (name, before) in &keys {
            assert_eq!(prints(&new.get(name).await.unwrap().unwrap()), *before, "{call} {when}: {name}");
        }
        store.close().await.unwrap();
        drop((both, new, store));
        check(&data);
        std::fs::remove_dir_all(&round).unwrap();
    }
    eprintln!("killed {kills} times while {RESEALED} were resealed, {partly} times between two of them");
    assert!(kills > 2 && partly > 0, "{kills} kills, {partly} between two records");
}

fn prints(keys: &OnlineKeys) -> Vec<String> {
    keys.sets.iter().flat_map(|set| set.fingerprints()).map(|print| print.to_string()).collect()
}

/// What became of every publish of one `server-writer`.
#[derive(Default)]
struct Told {
    /// Where those that were acknowledged stand in the feed.
    positions: Vec<u64>,
    /// The repositories of those that got no answer at all.
    unanswered: Vec<String>,
    /// How the server ended.
    ended: String,
}

impl Told {
    /// Checks that each publish that was sent was acknowledged, refused, or got not even a
    /// status, and that at least one was in flight when the server ended.
    fn read(lines: &[String]) -> Self {
        let mut told = Self::default();
        let mut in_flight = BTreeMap::new();
        for event in events(lines.iter().map(String::as_str)) {
            let answered = match event {
                Event::Sent { operation, repository } => {
                    assert_eq!(in_flight.insert(operation, repository), None, "an id was used twice");
                    continue;
                }
                Event::Published { operation, receipt, .. } => {
                    told.positions.push(receipt.position);
                    operation
                }
                Event::Refused { operation } => operation,
                Event::Unanswered { operation, status } => {
                    assert_eq!(status, None, "half an answer");
                    told.unanswered.extend(in_flight.get(&operation).cloned());
                    operation
                }
                Event::Ended { status } => {
                    told.ended = status;
                    continue;
                }
                Event::Shown { .. } => continue,
                Event::Surprise { answer } => panic!("the server answers {answer}"),
            };
            assert!(in_flight.remove(&answered).is_some(), "{answered} was not sent");
        }
        assert_eq!(in_flight, BTreeMap::new(), "nobody knows what became of them");
        assert!(!told.unanswered.is_empty(), "nothing was in flight");
        told
    }
}

/// The judge of all tests here notices a folder that lost what was acknowledged, also when
/// the high-water mark, which would tell the server, is lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_folder_from_before_is_noticed() {
    if !can_start() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let (data, old) = (folder.path().join("data"), folder.path().join("old"));
    let mut known = Known::default();
    for round in 0..2 {
        let mut running = Running::start(write_to(&data, 4, 600));
        running.wait_for(60, is_answer);
        known.learn(&running.kill());
        if round == 0 {
            copy_folder(&data, &old);
            let mut server = known.judge(&old, 0).await;
            known.follow(&server).await;
            assert!(server.stop().success());
            std::fs::remove_file(folder.path().join("old.high-water")).ok();
        }
    }
    let server = known.judge(&data, 0).await;
    known.follow(&server).await;
    drop(server);
    let judged = AssertUnwindSafe(known.judge(&old, 0)).catch_unwind().await;
    let panic = judged.expect_err("nobody noticed");
    let words = panic.downcast_ref::<String>().expect("assertions panic with text");
    assert!(words.contains("was shown, now it is"), "{words}");
}

/// The first failure that was injected hit a file of the store, and the journal was synced
/// before.
fn failed_at_the_journal(log: &str, error: &str) {
    let synced = log.lines().filter(|line| line.contains("/journal/0") && line.ends_with("= 0")).count();
    assert!(synced > 1, "the journal was synced {synced} times only");
    let failed = log.lines().find(|line| line.contains(error)).expect("a call failed");
    assert!(failed.contains("/data/") || failed.contains("resumed"), "{failed}");
}

/// `bullad check` finds nothing.
fn check(data: &Path) {
    let checked = Command::new(program("bullad")).arg("check").arg(data).stdin(Stdio::null()).output();
    let checked = checked.unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
}
