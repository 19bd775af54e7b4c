//! How the server tells what it does.

use serde::Deserialize;

/// `[log]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Default: text on a terminal, JSON otherwise.
    pub format: Option<LogFormat>,
    /// A level (`info`) or directives (`bulla_server=debug,info`). Default `info`.
    pub level: Option<String>,
}

/// Form of a line of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}
