//! `bullad completions`

use std::io;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

/// Print completions for a shell.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// For which shell.
    shell: Shell,
}

impl Options {
    #[expect(clippy::unnecessary_wraps, reason = "the same shape as the other commands")]
    pub(super) fn run(self) -> anyhow::Result<()> {
        let mut command = super::Cli::command();
        clap_complete::generate(self.shell, &mut command, "bullad", &mut io::stdout());
        Ok(())
    }
}
