//! `bulla man`

use std::path::PathBuf;

use crate::output::Output;

/// Write the manual pages into a folder
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder; it must exist
    dir: PathBuf,
}

impl Args {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        clap_mangen::generate_to(super::definition(), &self.dir)
            .map_err(|error| UnwritablePages { path: self.dir.clone(), reason: error.to_string() })?;
        output.say(&format!("manual pages written to {}", self.dir.display()));
        Ok(())
    }
}

/// The manual pages cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write manual pages to {}: {reason}", path.display())]
pub(super) struct UnwritablePages {
    path: PathBuf,
    reason: String,
}
