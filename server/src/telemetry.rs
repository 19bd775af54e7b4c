//! The log: to stderr, one line per event, text for people or JSON for machines.
//!
//! A failure is told once, where it is answered. Tokens, keys and bodies never get here.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::config::{LogConfig, LogFormat};

/// Starts logging for the whole process; once only.
///
/// # Errors
/// The level cannot be read, or logging was started before.
pub fn start(config: &LogConfig) -> Result<(), TelemetryError> {
    let level = config.level.as_deref().unwrap_or("info");
    let filter =
        EnvFilter::builder().parse(level).map_err(|_| TelemetryError::Level { level: level.to_owned() })?;
    let terminal = io::stderr().is_terminal();
    let format = config.format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let builder = fmt().with_writer(io::stderr).with_env_filter(filter).with_target(false);
    let started = match format {
        LogFormat::Text => builder.with_ansi(terminal).finish().try_init(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(true)
            .with_span_list(false)
            .finish()
            .try_init(),
    };
    started.map_err(|_| TelemetryError::Started)
}

/// Logging could not be started.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The level is none.
    #[error(
        "invalid configuration: log.level: `{level}` is no level\nhint: use error, warn, info, debug or trace"
    )]
    Level {
        /// What was given.
        level: String,
    },
    /// Logging can be started once.
    #[error("logging was started before")]
    Started,
}
