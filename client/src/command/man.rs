//! `bulla man`

use std::fs;
use std::path::{Path, PathBuf};

use crate::output::Output;

/// Write the manual pages into a folder
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The folder; it must exist
    dir: PathBuf,
}

impl Args {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        write(super::definition(), "bulla", &self.dir)?;
        output.say(&format!("manual pages written to {}", self.dir.display()));
        Ok(())
    }
}

fn write(command: clap::Command, name: &str, folder: &Path) -> Result<(), UnwritablePage> {
    for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set()) {
        write(sub.clone(), &format!("{name}-{}", sub.get_name()), folder)?;
    }
    let path = folder.join(format!("{name}.1"));
    let mut page = Vec::new();
    clap_mangen::Man::new(command.name(name.to_owned()))
        .render(&mut page)
        .and_then(|()| fs::write(&path, page))
        .map_err(|error| UnwritablePage { path, reason: error.to_string() })
}

/// A manual page cannot be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot write {}: {reason}", path.display())]
pub(super) struct UnwritablePage {
    path: PathBuf,
    reason: String,
}
