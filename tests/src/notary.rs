//! Notary v1 as its users have it: Debian's `notary` program, and a trust server that it talks to,
//! be it the one it was written for or `bullad`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use bulla_server::tls::DevelopmentTls;

use crate::cli::{Cli, PASSPHRASE, Ran};
use crate::peers::debian;
use crate::programs::{Bullad, PATIENCE, Running};

/// The trust servers that clients must not be able to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrustServer {
    /// Debian's `notary-server`, everything in memory. It shows that a test asks for no more
    /// than what its users have today.
    Notary,
    /// `bullad` with its embedded store.
    BulladEmbedded,
    /// `bullad` with everything in memory.
    BulladMemory,
}

impl TrustServer {
    /// Every one.
    pub const ALL: [Self; 3] = [Self::Notary, Self::BulladEmbedded, Self::BulladMemory];

    /// Its name in a table.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Notary => "notary-server 0.7.0",
            Self::BulladEmbedded => "bullad, embedded",
            Self::BulladMemory => "bullad, memory",
        }
    }

    /// Starts it with its data in `folder`; nothing if it is not installed.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(self, folder: &Path) -> Option<RunningTrustServer> {
        fs::create_dir_all(folder).expect("a folder can be made");
        let bullad = |bullad: Bullad| RunningTrustServer {
            kind: self,
            url: bullad.url.clone(),
            ca_cert: bullad.ca_cert.clone(),
            _process: Process::Bullad(bullad),
        };
        match self {
            Self::Notary => start_notary_server(folder),
            Self::BulladEmbedded => Some(bullad(Bullad::start(folder))),
            Self::BulladMemory => Some(bullad(Bullad::start_in_memory(folder))),
        }
    }
}

/// A trust server; it is stopped when this is dropped.
#[derive(Debug)]
pub struct RunningTrustServer {
    /// Which one.
    pub kind: TrustServer,
    /// `https://localhost:PORT`.
    pub url: String,
    /// The certificate of its authority.
    pub ca_cert: PathBuf,
    _process: Process,
}

#[derive(Debug)]
enum Process {
    Bullad(#[expect(dead_code, reason = "held until it is dropped")] Bullad),
    Notary(#[expect(dead_code, reason = "held until it is dropped")] Running),
}

impl RunningTrustServer {
    /// Its host and port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// Whether it is ours.
    #[must_use]
    pub fn is_bullad(&self) -> bool {
        self.kind != TrustServer::Notary
    }
}

fn start_notary_server(folder: &Path) -> Option<RunningTrustServer> {
    let program = debian::program(debian::BOOKWORM, "notary-server")?;
    let files = DevelopmentTls::in_folder(folder.join("tls")).expect("a certificate can be made");
    let config = serde_json::json!({
        "server": {
            "http_addr": "127.0.0.1:0",
            "tls_cert_file": files.certificate(),
            "tls_key_file": files.key(),
        },
        "trust_service": {"type": "local"},
        "storage": {"backend": "memory"},
        "logging": {"level": "info"},
    });
    let file = folder.join("notary-server.json");
    fs::write(&file, config.to_string()).expect("the configuration can be written");
    let log = fs::File::create(folder.join("notary-server.log")).expect("a log can be made");
    let mut command = Command::new(program);
    command.arg(format!("-config={}", file.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut process = Running(command.spawn().expect("the server can be started"));
    let started = Instant::now();
    let port = loop {
        if let Some(port) = listens_on(process.0.id()) {
            break port;
        }
        let ended = process.0.try_wait().expect("the process can be asked").is_some();
        assert!(!ended && started.elapsed() < PATIENCE, "{command:?} does not start");
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    Some(RunningTrustServer {
        kind: TrustServer::Notary,
        url: format!("https://localhost:{port}"),
        ca_cert: files.authority_certificate(),
        _process: Process::Notary(process),
    })
}

/// The TCP port on which the process `id` listens: it took one that was free and tells nobody.
fn listens_on(id: u32) -> Option<u16> {
    let open = fs::read_dir(format!("/proc/{id}/fd")).ok()?;
    let sockets: Vec<String> = open
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok()?.into_os_string().into_string().ok())
        .filter_map(|target| Some(target.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    // Columns: number, local address, remote address, state (0A: listening), ..., inode.
    fs::read_to_string(format!("/proc/{id}/net/tcp")).ok()?.lines().find_map(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (columns.get(1)?, columns.get(3)?, columns.get(9)?);
        let ours = *state == "0A" && sockets.iter().any(|socket| socket == inode);
        ours.then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok()).flatten()
    })
}

/// The `notary` program with a trust folder of its own.
pub struct Notary {
    /// The program and its environment.
    pub cli: Cli,
    server: String,
    ca_cert: PathBuf,
    trust: PathBuf,
}

impl Notary {
    /// Somebody with nothing yet; nothing if the program is not installed.
    #[must_use]
    pub fn new(server: &RunningTrustServer) -> Option<Self> {
        Self::at(&server.url, &server.ca_cert)
    }

    /// The same, of the server at `url`, whose authority has the certificate `ca_cert`.
    #[must_use]
    pub fn at(url: &str, ca_cert: &Path) -> Option<Self> {
        let program = debian::program(debian::BOOKWORM, "notary")?;
        let mut cli = Cli::new(program.to_str().expect("paths of builds are text"));
        for role in ["ROOT", "TARGETS", "SNAPSHOT", "DELEGATION"] {
            cli = cli.with(&format!("NOTARY_{role}_PASSPHRASE"), PASSPHRASE);
        }
        let trust = cli.folder.path().join("trust");
        Some(Self { cli, server: url.to_owned(), ca_cert: ca_cert.to_owned(), trust })
    }

    /// The same, with the keys and the cache in `trust`, which another program may use as well.
    #[must_use]
    pub fn sharing(server: &RunningTrustServer, trust: &Path) -> Option<Self> {
        Some(Self { trust: trust.to_owned(), ..Self::new(server)? })
    }

    /// The same keys and cache, with another address of the server.
    #[must_use]
    pub fn asking(&self, url: &str) -> Option<Self> {
        Some(Self { trust: self.trust.clone(), ..Self::at(url, &self.ca_cert)? })
    }

    /// Its keys and cache.
    #[must_use]
    pub fn trust(&self) -> &Path {
        &self.trust
    }

    /// Runs it with nothing to read.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Runs it with `input` to read.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        let mut command = self.cli.command(&["-s", &self.server, "--tlscacert"]);
        command.arg(&self.ca_cert).arg("-d").arg(&self.trust).args(arguments);
        answer(command, input, self.cli.folder.path())
    }

    /// Runs it; it must succeed. Returns what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// Runs it; it must fail and say `reason`.
    ///
    /// # Panics
    /// It does anything else.
    pub fn refused(&self, arguments: &[&str], reason: &str) {
        refused(&self.run(arguments), reason);
    }
}

/// Runs `command` with `input` to read.
///
/// # Panics
/// It cannot be started.
pub(crate) fn answer(mut command: Command, input: &str, folder: &Path) -> Ran {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program can be started");
    let mut pipe = child.stdin.take().expect("it was asked for");
    // A program that reads nothing may be gone already.
    let _unread = pipe.write_all(input.as_bytes());
    drop(pipe);
    Ran::new(child.wait_with_output().expect("the program can be waited for"), folder)
}

/// Asserts that a program failed and said `reason`, in small letters or not.
///
/// # Panics
/// It did anything else.
pub fn refused(ran: &Ran, reason: &str) {
    let said =
        [&ran.stdout, &ran.stderr].iter().any(|text| text.to_lowercase().contains(&reason.to_lowercase()));
    assert!(ran.code > 0 && said, "{ran:?}");
}
