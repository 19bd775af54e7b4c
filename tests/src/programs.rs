//! `bullad`, `bulla` and a registry as they are shipped: the binaries, started by tests, each in a
//! folder of its own, on a port that the system picks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulla_server::tls::DevelopmentTls;
use bulla_server::vault::Kek;

use crate::cli::{Cli, PASSPHRASE, Ran};
use crate::peers::absent;

/// The binary `name` in the folder of this build.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    let folder = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    let program = folder.join(name);
    assert!(program.is_file(), "{} is missing; hint: cargo build --workspace --bins", program.display());
    program
}

/// How long a program may take until it answers.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A process that is killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Running(pub(crate) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good as stopped.
        let _gone = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// A running `bullad`.
#[derive(Debug)]
pub struct Bullad {
    _process: Running,
    /// What clients set `BULLA_SERVER` to.
    pub url: String,
    /// The certificate of its authority.
    pub ca_cert: PathBuf,
}

impl Bullad {
    /// `bullad serve --dev`, its data in `folder`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let mut command = Command::new(program("bullad"));
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
        Self::spawn(command, folder, folder.join("data/tls/ca.pem"))
    }

    /// The same, with everything in memory.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_in_memory(folder: &Path) -> Self {
        let mut command = Command::new(program("bullad"));
        command.args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"]).arg(folder.join("data"));
        command.env("BULLAD_STORE_KIND", "memory");
        Self::spawn(command, folder, folder.join("data/tls/ca.pem"))
    }

    /// `bullad serve --config`: TLS, and nobody may do anything without a token.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start_guarded(folder: &Path) -> Self {
        let files = DevelopmentTls::in_folder(folder.join("tls")).expect("a certificate can be made");
        let key_file = folder.join("kek");
        Kek::from_file_or_new(&key_file).expect("a key-encryption key can be made");
        let config = format!(
            "server.listen = '127.0.0.1:0'\nstore.data = '{}'\nvault.key_file = '{}'\n\
             tls.certificate = '{}'\ntls.key = '{}'\n",
            folder.join("data").display(),
            key_file.display(),
            files.certificate().display(),
            files.key().display()
        );
        std::fs::write(folder.join("bullad.toml"), config).expect("the configuration can be written");
        let mut command = Command::new(program("bullad"));
        command.args(["serve", "--config"]).arg(folder.join("bullad.toml"));
        Self::spawn(command, folder, files.authority_certificate())
    }

    /// Runs `command`, which becomes a `bullad` with the certificate of `ca_cert`, its log in `folder`.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn spawn(mut command: Command, folder: &Path, ca_cert: PathBuf) -> Self {
        let log = folder.join("bullad.log");
        let (process, address) = spawn(&mut command, &log, "\"address\":\"127.0.0.1:");
        Self { _process: process, url: format!("https://localhost:{address}"), ca_cert }
    }

    /// Somebody with a fresh home who asks this server.
    #[must_use]
    pub fn user(&self) -> Cli {
        Cli::new(program("bulla").to_str().expect("paths of builds are text"))
            .with("BULLA_SERVER", &self.url)
            .with("BULLA_CA_CERT", self.ca_cert.to_str().expect("paths of tests are text"))
            .with("BULLA_PASSPHRASE", PASSPHRASE)
    }
}

/// A running registry: Debian's `docker-registry`.
#[derive(Debug)]
pub struct DockerRegistry {
    _process: Running,
    /// Its host and port, as image names begin.
    pub host: String,
}

impl DockerRegistry {
    /// Starts it with its data in `folder`; nothing if it is not installed, which is said aloud.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Option<Self> {
        if Command::new("docker-registry").arg("--version").output().is_err() {
            absent("docker-registry", "apt-get install docker-registry");
            return None;
        }
        let config = format!(
            "version: 0.1\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: 127.0.0.1:0}}\n",
            folder.join("registry").display()
        );
        let file = folder.join("registry.yml");
        std::fs::write(&file, config).expect("the configuration can be written");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(file);
        let (process, port) = spawn(&mut command, &folder.join("registry.log"), "listening on 127.0.0.1:");
        Some(Self { _process: process, host: format!("127.0.0.1:{port}") })
    }
}

/// Starts a program that logs to its standard error, and reads the port after `before` from there.
pub(crate) fn spawn(command: &mut Command, log: &Path, before: &str) -> (Running, String) {
    let started = Instant::now();
    let output = File::create(log).expect("a log can be made");
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(output).spawn();
    let mut process = Running(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
    loop {
        let said = std::fs::read_to_string(log).expect("the log can be read");
        let port = said.split_once(before).map(|(_, rest)| rest.split(|c: char| !c.is_ascii_digit()).next());
        // A line that is still being written does not count.
        if let (Some(Some(port)), true) = (port, said.ends_with('\n')) {
            return (process, port.to_owned());
        }
        let ended = process.0.try_wait().expect("the process can be asked").is_some();
        assert!(!ended && started.elapsed() < PATIENCE, "{command:?} does not start: {said}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs `bulla`, which has to end with `code`.
///
/// # Panics
/// It ends otherwise.
pub fn expect(user: &Cli, code: i32, arguments: &[&str]) -> Ran {
    let ran = user.run(arguments);
    assert_eq!(ran.code, code, "bulla {arguments:?}: {ran:?}");
    ran
}
