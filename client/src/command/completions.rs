//! `bulla completions`

use clap_complete::Shell;

use crate::output::Output;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The shell
    shell: Shell,
}

impl Args {
    pub(super) fn run(self, output: Output) -> anyhow::Result<()> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::definition(), "bulla", &mut script);
        Ok(output.raw(&script)?)
    }
}
