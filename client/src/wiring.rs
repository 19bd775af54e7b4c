//! From settings to adapters. The only room that reads the environment.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::names::RepositoryName;
use zeroize::Zeroizing;

use crate::adapter::Patience;
pub use crate::adapter::backup_file;
pub use crate::adapter::backup_passphrase::{
    BackupPassphrase, BackupPassphraseError, VARIABLE as BACKUP_PASSPHRASE,
};
use crate::adapter::connection::Connection;
pub use crate::adapter::connection::InvalidConnection;
use crate::adapter::key_files::KeyFiles;
use crate::adapter::key_sources::Surroundings;
use crate::adapter::no_server::NoServer;
use crate::adapter::notary_http::NotaryHttp;
use crate::adapter::oci_credentials::CredentialSources;
use crate::adapter::oci_registry::{OciRegistry, PlainHttp, RegistrySettings};
use crate::adapter::os_entropy::OsEntropy;
use crate::adapter::system_clock::SystemClock;
use crate::adapter::tty::Tty;
use crate::adapter::tuf_http::TufHttp;
use crate::adapter::unattended::Unattended;
pub use crate::adapter::unattended::{VARIABLE as PASSPHRASE, variable_for};
use crate::config::{ConfigFile, MachinePolicy, OutputFormat, ServerUrl};
use crate::flow::Ports;
use crate::flow::key::KeyPorts;
use crate::home::Home;
use crate::pins::{Mode, Pins};
use crate::port::{KeySources, TrustServer};

/// The variable that holds the token for the trust server. Not a flag: flags are visible to
/// every user of the machine.
const TOKEN: &str = "BULLA_TOKEN";
/// Largest file of certificates, in bytes.
const CA_BYTES: u64 = 4 * 1024 * 1024;

/// Options of every command.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// URL of the trust server
    #[arg(long, global = true, value_name = "URL", env = "BULLA_SERVER", hide_env_values = true)]
    pub server: Option<ServerUrl>,
    /// Folder of keys, pins and cache [default: ~/.bulla]
    #[arg(long, global = true, value_name = "DIR", env = "BULLA_HOME", hide_env_values = true)]
    pub home: Option<PathBuf>,
    /// PEM file with more certificate authorities for the trust server
    #[arg(long, global = true, value_name = "FILE", env = "BULLA_CA_CERT", hide_env_values = true)]
    pub ca_cert: Option<PathBuf>,
    /// PEM file with more certificate authorities for registries; a registry on this machine is
    /// then spoken with over TLS too
    #[arg(long, global = true, value_name = "FILE")]
    pub registry_ca_cert: Option<PathBuf>,
    /// Speak plain HTTP with registries; without it, only with those on this machine
    #[arg(long, global = true)]
    pub plain_http: bool,
    /// How answers are written
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub output: Option<OutputFormat>,
    /// File with the passphrase of the keys in use
    #[arg(long, global = true, value_name = "FILE")]
    pub passphrase_file: Option<PathBuf>,
    /// Say nothing but answers, warnings and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// Options, configuration and home, put together.
#[derive(Clone, Debug)]
pub struct Settings {
    args: GlobalArgs,
    file: ConfigFile,
    home: Home,
    /// The server that a policy names.
    by_policy: Option<ServerUrl>,
}

impl Settings {
    /// Reads the configuration of the home that `args` or the environment name.
    ///
    /// # Errors
    /// There is no home, or its configuration is invalid.
    pub fn load(args: GlobalArgs) -> anyhow::Result<Self> {
        let folder = match &args.home {
            Some(home) => home.clone(),
            None => match std::env::var_os("HOME").filter(|home| !home.is_empty()) {
                Some(home) => Path::new(&home).join(".bulla"),
                None => return Err(NoHome.into()),
            },
        };
        let home = Home::new(folder);
        let file = ConfigFile::load(&home.config())?;
        Ok(Self { args, file, home, by_policy: None })
    }

    /// The user's folder.
    #[must_use]
    pub const fn home(&self) -> &Home {
        &self.home
    }

    /// How answers are written.
    #[must_use]
    pub fn format(&self) -> OutputFormat {
        self.args.output.or(self.file.output).unwrap_or_default()
    }

    /// Whether the registry is written to wherever something is signed.
    #[must_use]
    pub fn signs_in_registry(&self) -> bool {
        self.file.registry_signature.unwrap_or(true)
    }

    /// The policy by which every image is judged here, if the configuration names one.
    #[must_use]
    pub const fn machine_policy(&self) -> Option<&MachinePolicy> {
        self.file.policy.as_ref()
    }

    /// The keys of the home and what they need; no network. `replacement` is the file with a
    /// passphrase that replaces another.
    #[must_use]
    pub fn local(&self, replacement: Option<PathBuf>) -> Local {
        let unattended = Unattended::new(
            Box::new(|name| std::env::var_os(name)),
            self.args.passphrase_file.clone(),
            Box::new(Tty),
        );
        let files =
            || KeyFiles::new(self.home.keys()).with_loading(Box::new(surroundings()), Box::new(SystemClock));
        let known = files();
        let names = move || known.names().ok();
        Local {
            keys: files(),
            sources: surroundings(),
            passphrases: unattended.with_replacement(replacement).among(Box::new(names)),
            entropy: OsEntropy,
            clock: SystemClock,
        }
    }

    /// The same with the pins, the cache and the keys of another folder.
    #[must_use]
    pub fn at(&self, home: Home) -> Self {
        Self { home, ..self.clone() }
    }

    /// Where the passphrase of a backup comes from. There, `--passphrase-file` is its own.
    #[must_use]
    pub fn backup_passphrase(&self) -> BackupPassphrase {
        BackupPassphrase::new(Box::new(|name| std::env::var_os(name)), self.args.passphrase_file.clone())
    }

    /// Where the passphrases of the keys in a backup come from.
    #[must_use]
    pub fn passphrases_in_backup(&self) -> Unattended {
        Unattended::new(Box::new(|name| std::env::var_os(name)), None, Box::new(Tty))
    }

    /// How the metadata of `repository` is written, as its pin says; without a pin, the usual
    /// way.
    ///
    /// # Errors
    /// The pins cannot be read.
    pub fn mode(&self, repository: &RepositoryName) -> anyhow::Result<Mode> {
        Ok(Pins::load(&self.home)?.find(repository).map(|pin| pin.mode).unwrap_or_default())
    }

    /// Everything, for work on `repository`.
    ///
    /// # Errors
    /// Certificates or pins cannot be read, or the token is none.
    pub fn world(&self, repository: &RepositoryName) -> anyhow::Result<World> {
        self.world_in(repository, self.mode(repository)?)
    }

    /// Everything, for work on `repository` by a policy that names a server. That of a pin of this
    /// home goes before it.
    ///
    /// # Errors
    /// As for [`Self::world`].
    pub fn world_by_policy(
        &self,
        repository: &RepositoryName,
        server: Option<ServerUrl>,
    ) -> anyhow::Result<World> {
        Self { by_policy: server, ..self.clone() }.world(repository)
    }

    /// What is known of `repository` without asking anybody.
    ///
    /// # Errors
    /// As for [`Self::world`].
    pub fn world_offline(&self, repository: &RepositoryName) -> anyhow::Result<World> {
        Ok(World { server: Box::new(NoServer), ..self.world(repository)? })
    }

    /// Everything, for a repository that is to be begun in `mode`.
    ///
    /// # Errors
    /// As for [`Self::world`].
    pub fn world_in(&self, repository: &RepositoryName, mode: Mode) -> anyhow::Result<World> {
        let plain_http = PlainHttp { all: self.args.plain_http, hosts: self.file.plain_http.clone() };
        let registry_ca = self.args.registry_ca_cert.as_ref().or(self.file.registry_ca_cert.as_ref());
        let registry = OciRegistry::new(RegistrySettings {
            ca_pem: read_certificates(registry_ca)?,
            plain_http,
            credentials: CredentialSources::from_environment(&|name| std::env::var_os(name)),
            patience: Patience::default(),
        })?;
        Ok(World {
            local: self.local(None),
            server: self.server(repository, mode)?,
            registry,
            home: self.home.clone(),
        })
    }

    /// The server that was named, else the pinned one, else that of the policy, else the configured
    /// one. The token is for those that whoever uses this home has named: else whoever writes a policy
    /// would get everybody's.
    fn server(&self, repository: &RepositoryName, mode: Mode) -> anyhow::Result<Box<dyn TrustServer>> {
        let pins = Pins::load(&self.home)?;
        let pinned = || pins.find(repository).and_then(|pin| pin.server.as_ref()?.parse::<ServerUrl>().ok());
        let own = self.args.server.clone().or_else(pinned);
        let is_trusted =
            |url: &ServerUrl| own.as_ref() == Some(url) || self.file.server.as_ref() == Some(url);
        let named = own.clone().or_else(|| self.by_policy.clone()).or_else(|| self.file.server.clone());
        let Some(url) = named else {
            return Ok(Box::new(NoServer));
        };
        let ca = read_certificates(self.args.ca_cert.as_ref().or(self.file.ca_cert.as_ref()))?;
        let token = std::env::var_os(TOKEN).filter(|token| !token.is_empty() && is_trusted(&url));
        let token = token.map(OsString::into_string).transpose();
        let token = token.map_err(|_| InvalidConnection::Token)?.map(Zeroizing::new);
        let connection = Connection::new(url, ca.as_deref(), token, Patience::default())?;
        Ok(match mode {
            Mode::Spec => Box::new(TufHttp::new(connection)),
            Mode::Legacy => Box::new(NotaryHttp::new(connection)),
        })
    }
}

/// Keys, passphrases, randomness and time.
pub struct Local {
    keys: KeyFiles,
    sources: Surroundings,
    passphrases: Unattended,
    entropy: OsEntropy,
    clock: SystemClock,
}

impl Local {
    /// As the flows of keys want it.
    #[must_use]
    pub const fn ports(&self) -> KeyPorts<'_> {
        KeyPorts {
            keys: &self.keys,
            passphrases: &self.passphrases,
            entropy: &self.entropy,
            clock: &self.clock,
        }
    }

    /// Private keys that lie outside of the home.
    #[must_use]
    pub const fn sources(&self) -> &dyn KeySources {
        &self.sources
    }
}

fn surroundings() -> Surroundings {
    Surroundings::new(Box::new(|name| std::env::var_os(name)))
}

/// The real world.
pub struct World {
    local: Local,
    server: Box<dyn TrustServer>,
    registry: OciRegistry,
    home: Home,
}

impl World {
    /// As the flows want it.
    #[must_use]
    pub fn ports(&self) -> Ports<'_> {
        let Local { keys, passphrases, entropy, clock, .. } = &self.local;
        let (server, home) = (self.server.as_ref(), &self.home);
        Ports { server, registry: &self.registry, keys, passphrases, entropy, clock, home }
    }
}

/// Asks a person at the terminal; anything but a clear yes is a no.
///
/// # Errors
/// There is nobody to ask.
pub fn ask(question: &str) -> Result<bool, NobodyToAsk> {
    crate::adapter::tty::ask_yes_no(question).map_err(|_| NobodyToAsk)
}

/// There is no terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no terminal to ask on")]
pub struct NobodyToAsk;

/// There is no folder to keep anything in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no home folder: neither BULLA_HOME nor HOME is set")]
pub struct NoHome;

fn read_certificates(path: Option<&PathBuf>) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(path) = path else { return Ok(None) };
    let unreadable =
        |error: std::io::Error| UnreadableCertificates { path: path.clone(), reason: error.to_string() };
    let file = File::open(path).map_err(unreadable)?;
    let mut pem = Vec::new();
    file.take(CA_BYTES).read_to_end(&mut pem).map_err(unreadable)?;
    Ok(Some(pem))
}

/// A file of certificates cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read certificates from {}: {reason}", path.display())]
pub struct UnreadableCertificates {
    /// The file.
    pub path: PathBuf,
    /// What the system said.
    pub reason: String,
}
