//! `bullad man`

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};

/// Write manual pages to a folder.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// The folder; it must exist.
    folder: PathBuf,
}

impl Options {
    pub(super) fn run(self) -> anyhow::Result<()> {
        clap_mangen::generate_to(super::Cli::command(), &self.folder)
            .with_context(|| format!("cannot write manual pages to {}", self.folder.display()))
    }
}
