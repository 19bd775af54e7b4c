//! `bullad serve`: puts the parts together and answers until told to stop.

use std::fs::DirBuilder;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::available_parallelism;

use anyhow::Context as _;
use clap::{ArgGroup, Args};
use tokio::runtime::{Builder, Runtime};
use zeroize::Zeroizing;

use super::{environment, print};
use crate::app::App;
use crate::auth::{Access, OwnRealm, RegistryAuth, TokenBook, TokenFile};
use crate::clock::{SharedClock, SystemClock};
use crate::config::{Config, StoreKind};
use crate::lifecycle::{self, Server};
use crate::publish::Lifetimes;
use crate::store::embedded::{EmbeddedStore, Options as StoreOptions};
use crate::store::memory::MemoryStore;
use crate::store::{StoreError, TrustStore};
use crate::telemetry;
use crate::tls::{self, DevelopmentTls};
use crate::vault::{KEK_VARIABLE, Kek, Keyring, Resealed};

/// Answer clients until SIGTERM or SIGINT.
///
/// Settings come from the file, then from variables BULLAD_SECTION_KEY (as in
/// BULLAD_SERVER_LISTEN), then from flags.
///
/// To replace the key-encryption key, set vault.key_file to the new one, vault.old_key_file to the
/// old one, and start again: before it serves, all online keys are sealed under the new one. Then
/// take vault.old_key_file out.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("how").required(true).args(["dev", "config"])))]
pub(super) struct Options {
    /// Development: loopback only, no authentication, own certificate authority and keys made
    /// on first start. Prints what clients have to export.
    #[arg(long)]
    dev: bool,
    /// The configuration, a TOML file.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Address and port; port 0 takes a free one. Default 127.0.0.1:4443.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// The data folder. Default with --dev: bullad-dev in the user's data folder.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What differs between development and production.
struct Setting {
    tls: Option<Arc<rustls::ServerConfig>>,
    keys: Keyring,
    access: Access,
    exports: Vec<String>,
}

type OpenedStore = (Arc<dyn TrustStore>, Option<String>);

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut config = Config::load(self.config.as_deref(), environment())?;
        config.server.listen = self.listen.unwrap_or(config.server.listen);
        config.store.data = self.data.or(config.store.data);
        if self.dev {
            require_loopback(&config)?;
            config.store.data = Some(config.store.data.map_or_else(development_folder, Ok)?);
        }
        config.validate()?;
        telemetry::start(&config.log)?;
        let data = config.store.data.clone().context("no data folder")?;
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&data)
            .with_context(|| format!("cannot make the data folder {}", data.display()))?;
        // First of all: the store's lock keeps a second server out of the folder.
        let store = open_store(&config, &data)?;
        let runtime = start_runtime().context("cannot start the runtime")?;
        // As one task among the others: the thread that waits here would be woken for each connection.
        runtime.block_on(runtime.spawn(serve(self.dev, config, data, store)))?
    }
}

/// A thread for each core. Where there is one only, nothing has to be shared among threads.
fn start_runtime() -> io::Result<Runtime> {
    let cores = available_parallelism().map_or(1, NonZero::get);
    let mut builder = if cores > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    builder.enable_all().build()
}

async fn serve(
    dev: bool,
    config: Config,
    data: PathBuf,
    (store, read_only): OpenedStore,
) -> anyhow::Result<()> {
    let clock: SharedClock = Arc::new(SystemClock);
    let setting = if dev { development(&data)? } else { production(&config, &data, &clock)? };
    let lifetimes = Lifetimes::from(&config.lifetimes);
    let mut app = App::new(store, setting.keys, setting.access, clock, lifetimes, config.limits.clone());
    if let Some(reason) = read_only {
        tracing::error!(reason, "reads only");
        app.read_only = Some(reason);
    }
    replace_kek(&app).await?;
    app.check_vault().await?;
    let phase = lifecycle::follow_signals().context("cannot follow signals")?;
    let app = Arc::new(app);
    let server = Server::bind(app, config.server.listen, setting.tls, config.operations.listen)?;
    let address = server.address()?;
    tracing::info!(%address, data = %data.display(), version = env!("CARGO_PKG_VERSION"), "listening");
    if let Some(address) = server.operations_address()? {
        tracing::info!(%address, "listening for health and metrics");
    }
    for name in setting.exports {
        print(&format!("export {}", name.replace("{port}", &address.port().to_string())))?;
    }
    server.run(phase).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Seals the online keys under the new key-encryption key, if there is an old one besides. A
/// store that can only be read is left as it is: all keys open it.
async fn replace_kek(app: &App) -> anyhow::Result<()> {
    if !app.vault.ring().has_old() || app.read_only.is_some() {
        return Ok(());
    }
    let key = app.vault.ring().id();
    let Resealed { resealed, kept } = app.vault.reseal().await?;
    tracing::info!(
        resealed,
        kept,
        %key,
        "all online keys are sealed under the key-encryption key; vault.old_key_file can be taken out"
    );
    Ok(())
}

fn development(data: &Path) -> anyhow::Result<Setting> {
    let kek = Kek::from_file_or_new(&data.join("kek"))?;
    let files = DevelopmentTls::in_folder(data.join("tls"))?;
    let tls = tls::from_pem_files(&files.certificate(), &files.key())?;
    let authority = files.authority_certificate();
    let authority = std::path::absolute(&authority).unwrap_or(authority);
    let exports = vec![
        "BULLA_SERVER=https://localhost:{port}".to_owned(),
        format!("BULLA_CA_CERT={}", quoted(&authority)),
        "DOCKER_CONTENT_TRUST_SERVER=https://localhost:{port}".to_owned(),
    ];
    Ok(Setting { tls: Some(tls), keys: kek.into(), access: Access::open(), exports })
}

fn production(config: &Config, data: &Path, clock: &SharedClock) -> anyhow::Result<Setting> {
    let kek = match (&config.vault.key_file, std::env::var(KEK_VARIABLE)) {
        (Some(path), _) => Kek::from_file(path)?,
        (None, Ok(value)) => Kek::from_variable(&Zeroizing::new(value))?,
        (None, Err(_)) => anyhow::bail!(
            "no key-encryption key for the online keys\n\
             hint: openssl rand -hex 32 > kek; chmod 600 kek; set vault.key_file to it, or {KEK_VARIABLE} to its content"
        ),
    };
    let old = config.vault.old_key_file.iter().map(|path| Kek::from_file(path)).collect::<Result<_, _>>()?;
    let keys = Keyring::new(kek, old);
    let tls = match &config.tls {
        Some(files) => Some(tls::from_pem_files(&files.certificate, &files.key)?),
        None => None,
    };
    let book = TokenBook::new(TokenFile::in_data(data), Arc::clone(clock));
    let access = Access::tokens(book, config.auth.anonymous_read);
    let access = match &config.auth.registry {
        Some(registry) => access.with_registry(RegistryAuth::open(registry.into(), Arc::clone(clock))?),
        // A proxy that is declared ends TLS.
        None if tls.is_some() || config.server.trusted_proxy => access.with_own_realm(OwnRealm::Https),
        None => access.with_own_realm(OwnRealm::HttpOnLoopback),
    };
    Ok(Setting { tls, keys, access, exports: Vec::new() })
}

/// The store, and why it can only be read, if so.
fn open_store(config: &Config, data: &Path) -> anyhow::Result<OpenedStore> {
    Ok(match config.store.kind {
        StoreKind::Memory => (Arc::new(MemoryStore::new()), None),
        StoreKind::Embedded => {
            let store = EmbeddedStore::open(data, &StoreOptions::default())?;
            let read_only = store.went_back().map(|back| {
                let error = StoreError::WentBack { mark: back.mark, position: back.position };
                format!(
                    "{error}\n\
                     hint: put the newest backup back; or accept the loss with bullad restore --accept-loss; \
                     or begin anew by removing {} and {} together",
                    data.display(),
                    back.mark_file.display()
                )
            });
            (Arc::new(store), read_only)
        }
    })
}

/// Without authentication, whoever reaches the port may do everything.
fn require_loopback(config: &Config) -> anyhow::Result<()> {
    for address in [Some(config.server.listen), config.operations.listen].into_iter().flatten() {
        if !address.ip().is_loopback() {
            anyhow::bail!(
                "--dev listens on loopback only, not on {address}\n\
                 hint: use 127.0.0.1 or [::1], or set up authentication with --config FILE"
            );
        }
    }
    Ok(())
}

fn development_folder() -> anyhow::Result<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    variable("XDG_DATA_HOME")
        .or_else(|| Some(variable("HOME")?.join(".local/share")))
        .map(|folder| folder.join("bullad-dev"))
        .context("no data folder: neither XDG_DATA_HOME nor HOME is set\nhint: give --data DIR")
}

/// The path as a shell reads it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    if plain { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_quoted_for_the_shell() {
        assert_eq!(quoted(Path::new("/a/b.pem")), "/a/b.pem");
        assert_eq!(quoted(Path::new("/a b/it's")), r"'/a b/it'\''s'");
    }
}
