//! What an operator can set: a TOML file, then `BULLAD_*` variables, then flags.
//!
//! One struct per concern, each in its own file. Unknown names and values are errors: a
//! misspelt limit must not silently be no limit.

mod auth;
mod duration;
mod environment;
mod lifetimes;
mod limits;
mod listen;
mod log;
mod storage;
mod vault;

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use auth::{AuthConfig, RegistryConfig};
pub use lifetimes::LifetimesConfig;
pub use limits::LimitsConfig;
pub use listen::{DEFAULT_PORT, OperationsConfig, ServerConfig, TlsConfig};
pub use log::{LogConfig, LogFormat};
pub use storage::{StoreConfig, StoreKind};
pub use vault::VaultConfig;

/// Everything that can be set, as sections of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// `[server]`: where it listens.
    pub server: ServerConfig,
    /// `[tls]`: certificate and key.
    pub tls: Option<TlsConfig>,
    /// `[operations]`: health and metrics.
    pub operations: OperationsConfig,
    /// `[store]`: where metadata lives.
    pub store: StoreConfig,
    /// `[auth]`: who may do what.
    pub auth: AuthConfig,
    /// `[vault]`: the key that seals the online keys.
    pub vault: VaultConfig,
    /// `[lifetimes]`: of what the server signs.
    pub lifetimes: LifetimesConfig,
    /// `[limits]`: of requests and connections.
    pub limits: LimitsConfig,
    /// `[log]`: how it tells.
    pub log: LogConfig,
}

impl Config {
    /// Reads `file`, if any, and lays the variables of the environment over it.
    ///
    /// # Errors
    /// The file cannot be read, or something in it or in a variable is unknown. The result
    /// is not validated yet: flags may still change it.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Self, ConfigError> {
        let text = match file {
            Some(path) => std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?,
            None => String::new(),
        };
        // Read once on its own, because the messages then show the line.
        let malformed = |source| ConfigError::File { path: file.map(Path::to_owned), source };
        let config: Self = toml::from_str(&text).map_err(malformed)?;
        let mut table: toml::Table = toml::from_str(&text).map_err(malformed)?;
        if !environment::overlay(&mut table, environment)? {
            return Ok(config);
        }
        table.try_into().map_err(|source| ConfigError::Environment { source })
    }

    /// Checks what no single value can tell.
    ///
    /// # Errors
    /// Every contradiction, each with the path of the value.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut faults = Vec::new();
        self.server.validate(self.tls.is_some(), &mut faults);
        self.store.validate(&mut faults);
        self.auth.validate(&mut faults);
        self.lifetimes.validate(&mut faults);
        self.limits.validate(&mut faults);
        if faults.is_empty() { Ok(()) } else { Err(ConfigError::Invalid { faults }) }
    }
}

/// One contradiction in a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Path of the value, as in `limits.request_time`.
    pub path: &'static str,
    /// What is wrong with it and what to write instead.
    pub reason: String,
}

impl Fault {
    fn new(path: &'static str, reason: impl Into<String>) -> Self {
        Self { path, reason: reason.into() }
    }
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read configuration {}: {source}\nhint: check the path given to --config", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is no TOML, or names something unknown.
    #[error("invalid configuration{}\n{source}", path.as_ref().map(|p| format!(" {}", p.display())).unwrap_or_default())]
    File {
        /// Which file.
        path: Option<PathBuf>,
        /// Where in it.
        source: toml::de::Error,
    },
    /// A variable names no known section and key.
    #[error(
        "unknown variable {variable}\nhint: the form is BULLAD_SECTION_KEY, as in BULLAD_SERVER_LISTEN; unset what is not meant"
    )]
    Variable {
        /// Which variable.
        variable: String,
    },
    /// A variable sets something unknown, or to a value that does not fit.
    #[error("invalid BULLAD_ variable: {source}")]
    Environment {
        /// Which key.
        source: toml::de::Error,
    },
    /// Values contradict each other.
    #[error("{}", faults.iter().map(|f| format!("invalid configuration: {}: {}", f.path, f.reason)).collect::<Vec<_>>().join("\n"))]
    Invalid {
        /// All of them.
        faults: Vec<Fault>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bullad.toml");
        std::fs::write(&path, text).unwrap();
        let variables = variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Config::load(Some(&path), variables)
            .and_then(|mut config| {
                config.store.data = Some("data".into());
                config.validate().map(|()| config)
            })
            .map_err(|error| error.to_string())
    }

    #[test]
    fn variables_win_over_the_file() {
        let config = load(
            "[server]\nlisten = \"127.0.0.1:1\"\n[limits]\nparts = 7\n",
            &[("BULLAD_SERVER_LISTEN", "127.0.0.1:2"), ("BULLAD_LIFETIMES_TIMESTAMP", "2h"), ("HOME", "/")],
        )
        .unwrap();
        assert_eq!(config.server.listen.port(), 2);
        assert_eq!(config.limits.parts, 7);
        assert_eq!(config.lifetimes.timestamp.as_secs(), 7200);
    }

    #[test]
    fn unknown_names_and_values_are_errors_that_name_them() {
        for (text, variables, part) in [
            ("[server]\nlisen = \"x\"", vec![], "lisen"),
            ("[serve]\n", vec![], "serve"),
            ("[store]\nkind = \"postgres\"", vec![], "postgres"),
            ("[limits]\nrequest_time = \"soon\"", vec![], "soon"),
            ("[limits]\nparts = 0", vec![], "limits.parts"),
            ("[limits]\nparts = -1", vec![], "-1"),
            ("[lifetimes]\ntimestamp = \"1s\"", vec![], "lifetimes.timestamp"),
            ("[lifetimes]\nsnapshot = \"1h\"", vec![], "lifetimes.snapshot"),
            ("[server]\nlisten = \"0.0.0.0:80\"", vec![], "server.listen"),
            ("[operations]\nlisten = \"nowhere\"", vec![], "nowhere"),
            ("not toml", vec![], "line 1"),
            ("", vec![("BULLAD_SERVER_LISEN", "x")], "lisen"),
            ("", vec![("BULLAD_NONSENSE", "x")], "BULLAD_NONSENSE"),
            ("", vec![("BULLAD_LIMITS_PARTS", "many")], "many"),
        ] {
            let message = load(text, &variables).unwrap_err();
            assert!(message.contains(part), "{text} {variables:?}: {message}");
        }
    }

    #[test]
    fn plain_http_beyond_loopback_needs_a_declared_proxy() {
        let open = "[server]\nlisten = \"0.0.0.0:8080\"\n";
        assert!(load(open, &[]).unwrap_err().contains("trusted_proxy"));
        assert!(load(&format!("{open}trusted_proxy = true\n"), &[]).is_ok());
        assert!(load(&format!("{open}[tls]\ncertificate = \"a\"\nkey = \"b\"\n"), &[]).is_ok());
    }
}
