//! Somebody who wants to know whether an image may be pulled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::key_files::KeyFiles;
use bulla::adapter::oci_registry::{OciRegistry, RegistrySettings};
use bulla::adapter::os_entropy::OsEntropy;
use bulla::adapter::system_clock::SystemClock;
use bulla::adapter::tty::Tty;
use bulla::adapter::tuf_http::TufHttp;
use bulla::adapter::unattended::Unattended;
use bulla::command::explain;
use bulla::flow::Ports;
use bulla::flow::verify::{Trusted, VerifyError, resolve, verify};
use bulla::home::Home;
use bulla::pins::{Mode, Pin, PinnedRoot, Pins};
use bulla::port::{Clock, Registry as RegistryPort, TrustServer};
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::Pin as CorePin;
use tempfile::TempDir;

use super::support::now;
use super::{Registry, Server};

/// A home, a clock that moves when told to, and ways to a trust server and a registry.
pub struct Consumer {
    folder: TempDir,
    home: Home,
    server: Box<dyn TrustServer>,
    registry: Box<dyn RegistryPort>,
    keys: KeyFiles,
    passphrases: Unattended,
    clock: SetClock,
}

/// Files in the cache of one repository, but the lock.
pub type Disk = BTreeMap<String, Vec<u8>>;

/// What the consumer is told.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The exit code that goes with it.
    pub exit: u8,
    /// The digest that may be pulled, or the error and its hint.
    pub text: String,
    /// Who vouches.
    pub signed_by: Vec<String>,
    /// Why the server was not asked, if it was not.
    pub offline: Option<String>,
    /// When to ask again, if it may be pulled.
    pub valid_until: Option<UtcTime>,
}

impl Consumer {
    /// A consumer who speaks with both through ports. The clock stands at the moment that the
    /// simulator's repositories are made for.
    #[must_use]
    pub fn new(server: &Server, registry: &Registry) -> Self {
        Self::with(Box::new(server.clone()), Box::new(registry.clone()), now())
    }

    /// A consumer who speaks HTTP, as `bulla` does but less patient, and starts at the true
    /// time.
    #[must_use]
    pub fn over_http(server: &str) -> Self {
        let seconds = Duration::from_secs;
        let patience = Patience { connect: seconds(10), read: seconds(5), whole: seconds(10) };
        let server = Connection::new(server.parse().expect("a URL"), None, None, patience).expect("a client");
        let server = TufHttp::new(server);
        let settings = RegistrySettings { patience, ..RegistrySettings::default() };
        let registry = OciRegistry::new(settings).expect("a client");
        Self::with(Box::new(server), Box::new(registry), SystemClock.now())
    }

    fn with(server: Box<dyn TrustServer>, registry: Box<dyn RegistryPort>, now: UtcTime) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::new(folder.path().join("home"));
        Self {
            keys: KeyFiles::new(home.keys()),
            passphrases: Unattended::new(Box::new(|_| None), None, Box::new(Tty)),
            clock: SetClock(AtomicI64::new(now.unix_seconds())),
            folder,
            home,
            server,
            registry,
        }
    }

    /// The same consumer, pinned to `root` for `scope`.
    #[must_use]
    pub fn pinned(self, scope: &str, root: CorePin) -> Self {
        let root = match root {
            CorePin::Digest(digest) => PinnedRoot::Document(digest),
            CorePin::Keys { fingerprints, threshold } => {
                PinnedRoot::keys(fingerprints, threshold.get().into()).expect("a threshold that can be met")
            }
        };
        let pin = Pin { scope: scope.parse().expect("a scope"), mode: Mode::Spec, root, server: None };
        Pins::update(&self.home, |pins| pins.add(pin)).expect("a pin that is new");
        self
    }

    /// What a registry serves for this image, judged.
    pub async fn verify(&self, image: &str) -> Answer {
        verify(self.ports(), &image.parse().expect("an image")).await.into()
    }

    /// What the signers vouch for.
    pub async fn resolve(&self, image: &str) -> Answer {
        resolve(self.ports(), &image.parse().expect("an image")).await.into()
    }

    /// Moves the clock.
    pub fn wait(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::Relaxed);
    }

    /// What flows take.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        Ports {
            server: self.server.as_ref(),
            registry: self.registry.as_ref(),
            keys: &self.keys,
            passphrases: &self.passphrases,
            entropy: &OsEntropy,
            clock: &self.clock,
            home: &self.home,
        }
    }

    /// The folder of the cache of `repository`, which a run has made.
    #[must_use]
    pub fn cache(&self, repository: &str) -> PathBuf {
        let name: RepositoryName = repository.parse().expect("a repository");
        let mut folders: Vec<_> = std::fs::read_dir(self.home.cache())
            .expect("a run has made the cache")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| folder_of(path, name.as_str()))
            .collect();
        assert_eq!(folders.len(), 1, "{repository}: {folders:?}");
        folders.remove(0)
    }

    /// What is in the cache of `repository`.
    #[must_use]
    pub fn disk(&self, repository: &str) -> Disk {
        let entries = std::fs::read_dir(self.cache(repository)).expect("a folder");
        let files = entries.map(|entry| entry.expect("an entry").path());
        let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        files
            .filter(|path| name(path) != "lock" && path.is_file())
            .map(|path| (name(&path), std::fs::read(&path).expect("a file")))
            .collect()
    }

    /// The folder above the home.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }
}

/// Whether this is the folder of `repository`: names are percent-encoded there.
fn folder_of(path: &std::path::Path, repository: &str) -> bool {
    let file = path.file_name().expect("a name").to_string_lossy();
    file == repository.replace('/', "%2F").replace(':', "%3A")
}

impl From<Result<Trusted, VerifyError>> for Answer {
    fn from(result: Result<Trusted, VerifyError>) -> Self {
        match result {
            Ok(trusted) => Self {
                exit: 0,
                text: trusted.digest.to_oci(),
                signed_by: trusted.signed_by.iter().map(|voucher| voucher.role.to_string()).collect(),
                offline: trusted.offline,
                valid_until: Some(trusted.valid_until),
            },
            Err(error) => {
                let report = explain(&error.into()).report();
                let hint = report.hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                Self {
                    exit: report.exit_code,
                    text: report.message + &hint,
                    signed_by: Vec::new(),
                    offline: None,
                    valid_until: None,
                }
            }
        }
    }
}

struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> UtcTime {
        UtcTime::from_unix_seconds(self.0.load(Ordering::Relaxed)).expect("tests stay in the calendar")
    }
}
