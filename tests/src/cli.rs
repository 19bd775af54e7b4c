//! `bulla` in tests: the program with a fresh home, and its flows against ports that a test
//! can bend.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::key_files::KeyFiles;
use bulla::adapter::os_entropy::OsEntropy;
use bulla::adapter::tty::Tty;
use bulla::adapter::tuf_http::TufHttp;
use bulla::adapter::unattended::Unattended;
use bulla::flow::Ports;
use bulla::flow::key::{KeyPorts, generate};
use bulla::home::Home;
use bulla::port::{
    Clock, Descriptor, Manifest, ManifestPush, Pushed, Registry, RegistryError, TrustServer, Wanted,
};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey};
use bulla_keys_schema::names::{RepositoryName, Tag};
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;
use tempfile::TempDir;

use crate::server::{FixedClock, TestServer};
use crate::simulator::{Kept, OCI_MANIFEST};

/// The passphrase of every key.
pub const PASSPHRASE: &str = "correct horse";

/// Writes a file that only its owner may read, as files with secrets have to be.
///
/// # Panics
/// It cannot be written.
pub fn private_file(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file can be written");
    std::fs::set_permissions(path, Permissions::from_mode(0o600)).expect("it can be closed");
}

/// The program, with a home of its own and nothing of this process's environment.
pub struct Cli {
    program: PathBuf,
    /// The folder above its home.
    pub folder: TempDir,
    variables: BTreeMap<String, OsString>,
}

impl Cli {
    /// `program` with a fresh home.
    pub fn new(program: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home").into_os_string();
        let variables = BTreeMap::from([
            ("BULLA_HOME".to_owned(), home),
            ("HOME".to_owned(), folder.path().as_os_str().to_owned()),
        ]);
        Self { program: program.into(), folder, variables }
    }

    /// Sets an environment variable for all further runs.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Removes an environment variable for all further runs.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.variables.remove(name);
        self
    }

    /// Asks it to write nothing to registries: one that only serves files takes nothing.
    ///
    /// # Panics
    /// The configuration cannot be written.
    #[must_use]
    pub fn leaving_registries_alone(self) -> Self {
        std::fs::create_dir_all(self.home("")).expect("a home can be made");
        let says = "registry-signature = false\n";
        std::fs::write(self.home("config.toml"), says).expect("a file can be written");
        self
    }

    /// A path in its home.
    pub fn home(&self, path: &str) -> PathBuf {
        self.folder.path().join("home").join(path)
    }

    /// Runs it without a terminal and without input.
    pub fn run(&self, args: &[&str]) -> Ran {
        let output = self.command(args).output().expect("the program can be started");
        Ran::new(output, self.folder.path())
    }

    /// The command, to be changed before it is run. It leads a session of its own, so that it
    /// has no terminal even where the test has one.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("setsid");
        command.arg("--wait").arg(&self.program).args(args);
        command.env_clear().envs(&self.variables);
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.stdin(Stdio::null()).current_dir(self.folder.path());
        command
    }
}

/// What a run ended with.
#[derive(Debug)]
pub struct Ran {
    /// The exit code.
    pub code: i32,
    /// What it answered, with the test's folder written as `$DIR`.
    pub stdout: String,
    /// What it said, likewise.
    pub stderr: String,
}

impl Ran {
    pub(crate) fn new(output: Output, folder: &Path) -> Self {
        let folder = folder.display().to_string();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace(&folder, "$DIR");
        let code = output.status.code().unwrap_or(-1);
        Self { code, stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    /// The answer of a run that must have succeeded.
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{}{}", self.stdout, self.stderr);
        self.stdout
    }

    /// The JSON answer.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}{}", self.stdout, self.stderr))
    }
}

/// A registry in memory. It keeps no list of referrers: clients have to.
#[derive(Default)]
pub struct FakeRegistry {
    kept: Mutex<Kept>,
}

impl FakeRegistry {
    /// Pushes `manifest` under `reference`, as `repository:tag`.
    pub fn push(&self, reference: &str, manifest: &str) -> Sha256Digest {
        let (repository, tag) = reference.rsplit_once(':').expect("a tag");
        self.kept().put(repository, Some(tag), Bytes::from(manifest.to_owned()), OCI_MANIFEST)
    }

    /// What it keeps.
    pub fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic")
    }
}

#[async_trait]
impl Registry for FakeRegistry {
    async fn manifest(
        &self,
        repository: &RepositoryName,
        wanted: &Wanted,
    ) -> Result<Manifest, RegistryError> {
        let name = match wanted {
            Wanted::Tag(tag) => tag.to_string(),
            Wanted::Digest(digest) => digest.to_oci(),
        };
        let host = repository.host().unwrap_or_default().to_owned();
        let found = self.kept().manifest(repository.as_str(), &name);
        found
            .map(|(bytes, _)| Manifest::new(bytes, None))
            .ok_or_else(|| RegistryError::Unknown { host, reference: format!("{repository}{wanted}") })
    }

    async fn blob(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Bytes, RegistryError> {
        self.kept().read_blob((repository.as_str(), repository), digest, limit)
    }

    async fn referrers(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Vec<Descriptor>, RegistryError> {
        Ok(self.kept().read_referrers(repository.as_str(), digest, false))
    }

    async fn tags(&self, repository: &RepositoryName) -> Result<Vec<Tag>, RegistryError> {
        self.kept().read_tags((repository.as_str(), repository))
    }

    async fn push_blob(&self, repository: &RepositoryName, bytes: Bytes) -> Result<(), RegistryError> {
        self.kept().put_blob(repository.as_str(), bytes);
        Ok(())
    }

    async fn push_manifest(
        &self,
        repository: &RepositoryName,
        push: &ManifestPush,
    ) -> Result<Pushed, RegistryError> {
        let taken = self.kept().take((repository.as_str(), repository), push);
        taken.map(|_| Pushed { lists_subject: false })
    }
}

impl Clock for FixedClock {
    fn now(&self) -> UtcTime {
        bulla_server::clock::Clock::now(self)
    }
}

/// One user of the flows: a home with keys, a clock, a registry and a way to a trust server.
pub struct Desk<'a> {
    /// The folder above the home.
    pub folder: TempDir,
    /// The registry.
    pub registry: FakeRegistry,
    /// The trust server.
    pub server: Box<dyn TrustServer>,
    clock: &'a dyn Clock,
    keys: KeyFiles,
    passphrases: Unattended,
    home: Home,
}

impl<'a> Desk<'a> {
    /// A new user of `server`.
    pub fn of(server: &'a TestServer) -> Self {
        let url = server.url("").parse().expect("a URL");
        let connection = Connection::new(url, None, None, Patience::default()).expect("a client");
        Self::with(Box::new(TufHttp::new(connection)), server.clock.as_ref())
    }

    /// A new user of whatever server.
    pub fn with(server: Box<dyn TrustServer>, clock: &'a dyn Clock) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        Self::at(folder, home, server, clock)
    }

    /// Whoever works in `home`, where a program may have been at work before.
    pub fn at(folder: TempDir, home: PathBuf, server: Box<dyn TrustServer>, clock: &'a dyn Clock) -> Self {
        let home = Home::new(home);
        let lookup = |name: &str| (name == "BULLA_PASSPHRASE").then(|| OsString::from(PASSPHRASE));
        Self {
            keys: KeyFiles::new(home.keys()),
            passphrases: Unattended::new(Box::new(lookup), None, Box::new(Tty)),
            registry: FakeRegistry::default(),
            folder,
            server,
            clock,
            home,
        }
    }

    /// What flows take.
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            server: self.server.as_ref(),
            registry: &self.registry,
            keys: &self.keys,
            passphrases: &self.passphrases,
            entropy: &OsEntropy,
            clock: self.clock,
            home: &self.home,
        }
    }

    /// Makes a key.
    pub fn key(&self, name: &str) -> PublicKey {
        let ports = KeyPorts {
            keys: &self.keys,
            passphrases: &self.passphrases,
            entropy: &OsEntropy,
            clock: self.clock,
        };
        let name = name.parse().expect("a name");
        generate(ports, &name, KeyAlgorithm::Ed25519).expect("a key").public
    }

    /// The home.
    pub fn home(&self) -> &Home {
        &self.home
    }
}
