//! What clients of the real server see after crashes, power cuts and failing disks: what was
//! acknowledged is there, byte for byte, and nobody was shown a state that is gone.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::PermissionsExt as _;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::wire::{Change, ChangeList, DocumentRef, Head, Receipt, document_file_name};
use bulla_tests::crash::{Cut, READY, Running, copy_folder, powercut, strace};
use bulla_tests::crash_server::{Event, KEK, ServerProcess, can_start, events};
use bulla_tests::peers::{ForeignClient, Repository};
use bulla_tests::programs::program;
use futures_util::{FutureExt as _, StreamExt as _};
use reqwest::Client;
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
/// Requests that a judge has under way at the same time.
const AT_ONCE: usize = 8;

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
        running.wait_for_lines(2);
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

/// Killed at writing calls all over a start, from an absent folder with all that `--dev`
/// makes, and from one that was left by a kill in the middle of publishes.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_writing_calls_of_a_start() {
    if !can_start() {
        return;
    }
    for before in ["absent", "killed"] {
        let folder = TempDir::new().unwrap();
        let mut known = Known::default();
        if before == "killed" {
            let data = folder.path().join("before/data");
            let mut running = Running::start(write_to(&data, 4, 200_000));
            running.wait_for_lines(30);
            known.learn(&running.kill());
            assert!(!known.acks.is_empty());
            // Where `--dev` looks for it.
            private_file(&data.join("kek"), KEK);
        }
        let mut kills = 0;
        for call in WRITING {
            let mut when = 1;
            loop {
                assert!(when < 5_000, "the start never gets through");
                let round = folder.path().join("round");
                if before == "killed" {
                    copy_folder(&folder.path().join("before"), &round);
                } else {
                    std::fs::create_dir_all(&round).unwrap();
                }
                let data = round.join("data");
                let Some(started) = start_killed_at(call, when, &data) else { return };
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
                when += if std::env::var_os("BULLA_EVERY_CALL").is_some() { 1 } else { when };
            }
        }
        assert!(kills > 10, "{before}: killed only at {kills} calls");
        eprintln!("{before}: killed at {kills} calls");
    }
}

fn private_file(path: &Path, text: &str) {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Starts the server to be killed at the `when`th `call` of one of its threads; tells whether
/// it came to listen all the same. `None` without strace.
fn start_killed_at(call: &str, when: u64, data: &Path) -> Option<bool> {
    let inject = format!("inject={call}:signal=SIGKILL:when={when}");
    let trace = format!("trace={call}");
    let args = ["-o", "/dev/null", "-e", &trace, "-e", &inject];
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
        let mut before: Option<PathBuf> = None;
        for round in 0..cuts.div_ceil(4) {
            let seed = chain * 1_000 + round;
            // Every other time only what was synced in this very run counts as synced.
            let model = if round % 2 == 0 { model } else { model.to_ascii_lowercase() };
            let left = folder.path().join(format!("left-{round}"));
            let after = moment(seed, 200, 1_000);
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
        running.wait_for_lines(60);
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

/// Everything that the server has ever told to anybody.
#[derive(Default)]
struct Known {
    acks: Vec<(String, Receipt)>,
    shown: BTreeMap<String, u64>,
    followers: BTreeMap<String, Follower>,
    http: Client,
}

/// Clients of others that remember what they saw of one repository.
struct Follower {
    root: Vec<u8>,
    memory: TempDir,
}

impl Known {
    /// Adds what a `server-writer` has printed. Returns how many publishes were known before.
    fn learn(&mut self, lines: &[String]) -> usize {
        let before = self.acks.len();
        for event in events(lines.iter().map(String::as_str)) {
            match event {
                Event::Published { repository, receipt } => {
                    self.saw(&repository, receipt.current[&RoleName::Timestamp].version.get());
                    self.acks.push((repository, receipt));
                }
                Event::Shown { repository, version } => self.saw(&repository, version),
                Event::Surprise { answer } => panic!("the server answers {answer}"),
                Event::Ended { .. } => {}
            }
        }
        before
    }

    fn saw(&mut self, repository: &str, version: u64) {
        let highest = self.shown.entry(repository.to_owned()).or_default();
        *highest = version.max(*highest);
    }

    /// Starts the server again and compares what it serves with what it had acknowledged from
    /// the `first` publish on, and with everything it had shown. Returns it, still running.
    async fn judge(&self, data: &Path, first: usize) -> ServerProcess {
        let server = start_again(data);
        for (repository, shown) in &self.shown {
            let timestamp: serde_json::Value = self.json(&server, &tuf(repository, "timestamp.json")).await;
            let served = timestamp["signed"]["version"].as_u64().unwrap();
            assert!(served >= *shown, "{repository}: timestamp {shown} was shown, now it is {served}");
        }
        let new = &self.acks[first..];
        self.judge_heads(&server, new).await;
        self.judge_feed(&server, new).await;
        let mut seen = HashSet::new();
        let documents = new.iter().flat_map(|(repository, receipt)| {
            let versioned = receipt.current.iter().filter(|(role, _)| **role != RoleName::Timestamp);
            versioned.map(move |(role, document)| (repository.as_str(), role, document))
        });
        let documents = documents.filter(|(repository, role, document)| {
            seen.insert((repository.to_string(), role.to_string(), document.version.get()))
        });
        let reads = documents
            .map(|(repository, role, document)| self.judge_document(&server, repository, role, document));
        futures_util::stream::iter(reads).buffer_unordered(AT_ONCE).collect::<()>().await;
        server
    }

    /// The served bytes are those that were acknowledged, and so is the image they list.
    async fn judge_document(
        &self,
        server: &ServerProcess,
        repository: &str,
        role: &RoleName,
        document: &DocumentRef,
    ) {
        let name = document_file_name(role, Some(document.version));
        let bytes = self.bytes(server, &tuf(repository, &name)).await;
        assert_eq!(bytes.len() as u64, document.length, "{repository} {name}");
        assert_eq!(Sha256Digest::of(&bytes), document.sha256, "{repository} {name}");
        let content: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
        let Some(digest) = content["signed"]["targets"]["latest"]["hashes"]["sha256"].as_str() else {
            return;
        };
        let target = self.bytes(server, &format!("/tuf/{repository}/targets/{digest}.latest")).await;
        assert_eq!(
            hex::encode(Sha256Digest::of(&target).as_bytes()),
            digest,
            "{repository} {name}: its image"
        );
    }

    /// No role stands behind a version that was acknowledged.
    async fn judge_heads(&self, server: &ServerProcess, new: &[(String, Receipt)]) {
        let last: BTreeMap<&str, &Receipt> =
            new.iter().map(|(repository, receipt)| (repository.as_str(), receipt)).collect();
        for (repository, _) in last {
            let head: Head = self.json(server, &format!("/api/v1/repositories/{repository}/head")).await;
            for (_, receipt) in new.iter().filter(|(name, _)| name == repository) {
                for (role, document) in &receipt.current {
                    let now = &head.current[role];
                    assert!(now.version >= document.version, "{repository}: {role} is at {}", now.version);
                    let same = now.version != document.version || now.sha256 == document.sha256;
                    assert!(same, "{repository}: two documents {} of {role}", now.version);
                }
            }
        }
    }

    /// Every acknowledged publish stands once in the feed, at the position it was told.
    async fn judge_feed(&self, server: &ServerProcess, new: &[(String, Receipt)]) {
        let Some(first) = new.iter().map(|(_, receipt)| receipt.position).min() else { return };
        let mut after = first - 1;
        let mut feed: BTreeMap<u64, Change> = BTreeMap::new();
        loop {
            let page: ChangeList = self.json(server, &format!("/api/v1/changes?after={after}")).await;
            if page.changes.is_empty() {
                break;
            }
            after = page.next;
            for change in page.changes {
                let position = change.position;
                assert!(feed.insert(position, change).is_none(), "two changes at {position}");
            }
        }
        for (repository, receipt) in new {
            let change =
                feed.get(&receipt.position).unwrap_or_else(|| panic!("{receipt:?} is not in the feed"));
            assert_eq!(change.repository.as_str(), repository, "at {}", receipt.position);
            let timestamp = change.documents.iter().find(|document| document.role == RoleName::Timestamp);
            let timestamp = timestamp.expect("every publish brings a timestamp");
            assert_eq!(timestamp.sha256, receipt.current[&RoleName::Timestamp].sha256, "{repository}");
        }
    }

    /// Two foreign clients verify every repository with their memory of all times before, and
    /// download an image.
    async fn follow(&mut self, server: &ServerProcess) {
        for (repository, shown) in self.shown.clone() {
            if !self.followers.contains_key(&repository) {
                let root = self.bytes(server, &tuf(&repository, "1.root.json")).await;
                self.followers.insert(repository.clone(), Follower { root, memory: TempDir::new().unwrap() });
            }
            let follower = &self.followers[&repository];
            let served = Repository {
                metadata_url: format!("{}/tuf/{repository}/metadata", server.url),
                targets_url: format!("{}/tuf/{repository}/targets", server.url),
                root: follower.root.clone(),
                ca_cert: None,
                now: None,
            };
            for client in [ForeignClient::SigstoreTuf, ForeignClient::Tough] {
                let memory = follower.memory.path().join(client.name());
                let seen = client.follow(&served, &memory, Some("latest")).await;
                let seen =
                    seen.unwrap_or_else(|refused| panic!("{} of {repository}: {refused:?}", client.name()));
                assert!(
                    seen.timestamp >= shown && seen.target.is_some(),
                    "{} of {repository}",
                    client.name()
                );
            }
        }
    }

    async fn json<T: serde::de::DeserializeOwned>(&self, server: &ServerProcess, path: &str) -> T {
        serde_json::from_slice(&self.bytes(server, path).await).unwrap()
    }

    async fn bytes(&self, server: &ServerProcess, path: &str) -> Vec<u8> {
        let request = self.http.get(format!("{}{path}", server.url)).bearer_auth(&server.token);
        let answer = request.send().await.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert!(answer.status().is_success(), "{path}: {}", answer.status());
        answer.bytes().await.unwrap().to_vec()
    }
}

fn tuf(repository: &str, file: &str) -> String {
    format!("/tuf/{repository}/metadata/{file}")
}

/// Starts the server again. One that was killed holds its lock until the kernel has buried
/// it, which nobody here is told.
fn start_again(data: &Path) -> ServerProcess {
    let begin = Instant::now();
    loop {
        match ServerProcess::start(&program("bullad"), data) {
            Ok(server) => return server,
            Err(said)
                if said.contains("in use by another process")
                    && begin.elapsed() < Duration::from_secs(10) =>
            {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(said) => panic!("it does not start again: {said}"),
        }
    }
}
