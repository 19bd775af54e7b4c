//! The command line: one file per command; here they are listed and dispatched.

mod backup;
mod check;
mod completions;
mod man;
mod restore;
mod serve;
mod token;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::config::{Config, ConfigError};

/// Exit code for a configuration that cannot be used; others are 1, and 2 for usage.
const CONFIGURATION: u8 = 3;

/// Keeps signed trust metadata for container image repositories.
#[derive(Debug, Parser)]
#[command(
    name = "bullad",
    version,
    after_help = "Start with `bullad serve --dev`: it needs nothing, listens on loopback only and prints \
                  what clients have to export."
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(Box<serve::Options>),
    #[command(subcommand)]
    Token(token::Options),
    Check(check::CheckArgs),
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Completions(completions::Options),
    Man(man::Options),
}

impl Cli {
    /// Runs the command; errors go to stderr.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Serve(options) => options.run().map(|()| ExitCode::SUCCESS),
            Command::Token(options) => options.run().map(|()| ExitCode::SUCCESS),
            Command::Check(options) => check::run(options),
            Command::Backup(options) => backup::run(options),
            Command::Restore(options) => restore::run(options),
            Command::Completions(options) => options.run().map(|()| ExitCode::SUCCESS),
            Command::Man(options) => options.run().map(|()| ExitCode::SUCCESS),
        };
        result.unwrap_or_else(|error| {
            // Nothing is left to be told if stderr is gone.
            let _ = writeln!(io::stderr(), "error: {}", report(&error));
            if error.is::<ConfigError>() { ExitCode::from(CONFIGURATION) } else { ExitCode::FAILURE }
        })
    }
}

/// What failed and why on the first line, then the hints. Causes that a message quotes
/// already are not told twice.
fn report(error: &anyhow::Error) -> String {
    let (mut what, mut hints) = (String::new(), String::new());
    for cause in error.chain() {
        let text = cause.to_string();
        let (line, hint) = text.split_once("\nhint: ").unwrap_or((&text, ""));
        if what.contains(line) {
            continue;
        }
        what.push_str(if what.is_empty() { "" } else { ": " });
        what.push_str(line.trim_end());
        if !hint.is_empty() {
            hints.push_str("\nhint: ");
            hints.push_str(hint);
        }
    }
    what + &hints
}

/// The variables of the environment that are text.
fn environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

/// The data folder that a command is to work on.
fn data_folder(data: Option<PathBuf>, config: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(data) = data {
        return Ok(data);
    }
    let config = Config::load(config, environment())?;
    config.store.data.context("no data folder\nhint: give --data DIR or --config FILE")
}

/// Writes a line to stdout.
fn print(line: &str) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to stdout")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_tree_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reports_tell_each_cause_once_and_hints_last() {
        let source = io::Error::other("no space");
        let error =
            anyhow::Error::new(ConfigError::Read { path: "a.toml".into(), source }).context("cannot start");
        let expected = "cannot start: cannot read configuration a.toml: no space\nhint: check the path given to --config";
        assert_eq!(report(&error), expected);
    }

    #[test]
    fn serve_needs_to_know_how() {
        assert!(Cli::try_parse_from(["bullad", "serve"]).is_err());
        assert!(Cli::try_parse_from(["bullad", "serve", "--dev", "--config", "x"]).is_err());
        assert!(Cli::try_parse_from(["bullad", "serve", "--dev", "--listen", "127.0.0.1:0"]).is_ok());
    }
}
