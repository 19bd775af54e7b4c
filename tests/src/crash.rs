//! Stopping programs in the worst moment and looking at what is left.
//!
//! The programs print [`READY`] once they run and then one [`Ack`] per acknowledged
//! publication.

use std::fmt;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_server::store::{HeadToken, Position, StoredRequest, TrustStore};

use crate::store_contract::{Shape, publication, target};

/// Size of journal segments in crash tests, in bytes: small, so that their borders are
/// crossed and copies are cheap.
pub const SEGMENT: u32 = 1024 * 1024;

/// The first line of a program under test.
pub const READY: &str = "READY";

/// An acknowledged publication, as a line.
#[derive(Clone, Debug)]
pub struct Ack {
    /// Which repository.
    pub repository: RepositoryName,
    /// Which publication of it.
    pub number: u64,
    /// How its documents were made.
    pub shape: Shape,
    /// Its place in the feed, which is the number of its record.
    pub position: Position,
}

impl fmt::Display for Ack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { large, salt } = self.shape;
        write!(f, "ack {} {} {salt} {large} {} .", self.repository, self.number, self.position.0)
    }
}

impl FromStr for Ack {
    type Err = ();

    /// Refuses lines that were cut off.
    fn from_str(line: &str) -> Result<Self, ()> {
        let fields: Vec<&str> = line.split(' ').collect();
        let ["ack", repository, number, salt, large, position, "."] = fields[..] else { return Err(()) };
        Ok(Self {
            repository: repository.parse().map_err(drop)?,
            number: number.parse().map_err(drop)?,
            shape: Shape { large: large.parse().map_err(drop)?, salt: salt.parse().map_err(drop)? },
            position: Position(position.parse().map_err(drop)?),
        })
    }
}

/// The signing request that a publication of `store-writer` completes.
pub fn request_id(repository: &RepositoryName, number: u64, shape: Shape) -> RequestId {
    let digest = Sha256Digest::of(format!("{repository} {number} {}", shape.salt).as_bytes());
    RequestId::from_bytes(digest.as_bytes()[..16].try_into().unwrap())
}

/// The acknowledgements among some lines.
pub fn acks<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Ack> {
    lines.into_iter().filter_map(|line| line.parse().ok()).collect()
}

/// A program under test, with the lines it has printed.
pub struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
}

impl Running {
    /// Starts a program.
    pub fn start(mut command: Command) -> Self {
        // A group of its own, so that a kill reaches what runs under strace too.
        command.process_group(0);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                kept.lock().unwrap().push(line);
            }
        });
        Self { child, lines, reader }
    }

    /// Waits until it has printed so many lines, [`READY`] included, or has ended.
    pub fn wait_for_lines(&mut self, count: usize) {
        self.wait_for(count, |_| true);
    }

    /// Waits until it has printed so many lines that are `wanted`, or has ended; while it prints
    /// anything, it lives.
    pub fn wait_for(&mut self, count: usize, wanted: impl Fn(&str) -> bool) {
        let mut silence = Silence::new();
        let printed =
            |lines: &Mutex<Vec<String>>| lines.lock().unwrap().iter().filter(|line| wanted(line)).count();
        while printed(&self.lines) < count && self.child.try_wait().unwrap().is_none() {
            assert!(silence.is_short(&self.lines), "the program prints nothing");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it in the middle of whatever it does; returns what it had printed.
    pub fn kill(self) -> Vec<String> {
        self.kill_group();
        self.finish().1
    }

    /// Waits for it to end by itself, as long as it prints something at times.
    pub fn wait(mut self) -> (ExitStatus, Vec<String>) {
        let mut silence = Silence::new();
        while self.child.try_wait().unwrap().is_none() {
            if !silence.is_short(&self.lines) {
                self.kill_group();
                let last = self.lines.lock().unwrap().last().cloned();
                panic!("the program neither prints nor ends; its last line: {last:?}");
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        self.finish()
    }

    fn kill_group(&self) {
        let group = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
    }

    fn finish(mut self) -> (ExitStatus, Vec<String>) {
        let status = self.child.wait().unwrap();
        self.reader.join().unwrap();
        let lines = std::mem::take(&mut *self.lines.lock().unwrap());
        (status, lines)
    }
}

/// How long a program has printed nothing.
struct Silence {
    lines: usize,
    since: Instant,
}

impl Silence {
    /// A busy machine may need so long for one line, but not for ever.
    const LONGEST: Duration = Duration::from_secs(60);

    fn new() -> Self {
        Self { lines: 0, since: Instant::now() }
    }

    fn is_short(&mut self, lines: &Mutex<Vec<String>>) -> bool {
        let lines = lines.lock().unwrap().len();
        if lines > self.lines {
            *self = Self { lines, since: Instant::now() };
        }
        self.since.elapsed() < Self::LONGEST
    }
}

/// Opens what a crash has left in `data` and proves it: every acknowledged publication is
/// there, whole and once in the feed, the request that it completed is closed, no head is behind
/// one, and the full check finds nothing.
pub async fn verify(data: &Path, acks: &[Ack]) {
    let options = Options { segment_bytes: SEGMENT, ..Options::default() };
    let store = EmbeddedStore::open(data, &options).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(store.went_back(), None, "an acknowledged position is missing");
    for ack in acks {
        verify_ack(&store, ack).await;
    }
    verify_feed(&store, acks).await;
    let report = store.check().await.unwrap();
    assert_eq!(report.defects, Vec::<String>::new());
    store.close().await.unwrap();
}

async fn verify_ack(store: &dyn TrustStore, ack: &Ack) {
    let Ack { repository, number, shape, .. } = ack;
    let head = store.head(repository).await.unwrap();
    let reached = head.expect("the repository is there").current[&RoleName::Targets].version.get();
    assert!(reached >= *number, "{ack}: the head is at {reached}");
    for new in publication(repository, Some(HeadToken(1)), *number, *shape).documents {
        let read = store.by_version(repository, &new.role, new.version).await.unwrap();
        assert_eq!(read.as_ref(), Some(new.bytes.bytes()), "{ack}: {}", new.role);
    }
    let request = store.request(repository, request_id(repository, *number, *shape)).await.unwrap();
    assert!(!matches!(request, Some(StoredRequest::Open { .. })), "{ack}: its request still waits");
    let target = target(repository, *number, *shape);
    assert_eq!(store.by_digest(repository, Sha256Digest::of(&target)).await.unwrap(), Some(target), "{ack}");
}

async fn verify_feed(store: &dyn TrustStore, acks: &[Ack]) {
    let mut seen = std::collections::HashMap::new();
    let mut after = Position::default();
    loop {
        let changes = store.changes(after, 1_000).await.unwrap();
        let Some(last) = changes.last() else { break };
        after = last.position;
        for change in changes {
            let targets = change.documents.iter().find(|(role, ..)| *role == RoleName::Targets).unwrap();
            let places: &mut Vec<_> = seen.entry((change.repository.clone(), targets.1.get())).or_default();
            places.push(change.position);
        }
    }
    for ack in acks {
        let places = seen.get(&(ack.repository.clone(), ack.number));
        assert_eq!(places, Some(&vec![ack.position]), "{ack} in the feed");
    }
}

/// Copies a folder with everything in it.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), copy).unwrap();
        }
    }
}

/// Says that a test was not done. Where everything must be there, that is a failure.
pub fn skipped(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(std::env::var_os("CI").is_none(), "nothing may be skipped here: {why}");
}

/// A command that starts `program` under strace with these arguments; `None` without strace.
pub fn strace(args: &[&str], program: &Path) -> Option<Command> {
    let found = Command::new("strace").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !found.is_ok_and(|status| status.success()) {
        skipped("strace is missing (Debian's package strace)");
        return None;
    }
    let mut command = Command::new("strace");
    command.args(["-f", "-qq"]);
    // Only the calls that were named stop: to stop at all of them takes a busy machine minutes.
    // An injected signal needs all of them: with the filter, strace 6.1 sends the one at the first
    // call and none at a later one.
    if !args.iter().any(|arg| arg.contains(":signal=")) {
        command.arg("--seccomp-bpf");
    }
    command.args(args).arg("--").arg(program);
    Some(command)
}

/// The tool that simulates power cuts, built if need be; `None` if it cannot be had.
pub fn powercut() -> Option<PathBuf> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifest = project.parent().unwrap().join("shared/tools/powercut/Cargo.toml");
    for (path, what) in [
        (manifest.as_path(), "the power-cut tool is missing"),
        (Path::new("/dev/fuse"), "/dev/fuse is missing"),
        (Path::new("/usr/include/fuse3"), "libfuse3-dev is missing"),
    ] {
        if !path.exists() {
            skipped(what);
            return None;
        }
    }
    let folder = project.join("target/powercut");
    let built = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()))
        .args(["build", "--quiet", "--manifest-path"])
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&folder)
        .status();
    if !built.is_ok_and(|status| status.success()) {
        skipped("the power-cut tool cannot be built");
        return None;
    }
    Some(folder.join("debug/powercut"))
}

/// One power cut.
#[derive(Clone, Debug)]
pub struct Cut<'a> {
    /// The tool.
    pub tool: &'a Path,
    /// `A`, `P`, `a` or `p`: what the drive keeps. See the tool's own description.
    pub model: char,
    /// For what survives.
    pub seed: u64,
    /// When, counted from [`READY`].
    pub after: Duration,
    /// What is on the disk before, if anything.
    pub before: Option<&'a Path>,
}

impl Cut<'_> {
    /// Runs `program` with arguments made from the folder that loses its power, cuts it, and
    /// leaves what survived in `left`. Returns the lines it printed.
    pub fn run(&self, left: &Path, program: &Path, args: impl FnOnce(&Path) -> Vec<String>) -> Vec<String> {
        let mount = tempfile::TempDir::new().unwrap();
        let lines = mount.path().with_extension("lines");
        let mut command = Command::new(self.tool);
        command.arg(mount.path()).arg(left).arg(self.model.to_string()).arg(self.seed.to_string());
        command.arg(self.after.as_millis().to_string()).arg(&lines).arg("--").arg(program);
        command.args(args(mount.path())).stdout(Stdio::null());
        if let Some(before) = self.before {
            command.env("PLFS_PRELOAD", before);
        }
        assert!(command.status().unwrap().success(), "{self:?}");
        let text = fs::read_to_string(&lines).unwrap();
        fs::remove_file(&lines).unwrap();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }
}
