//! `bulla policy check`

use std::path::PathBuf;

use super::file;
use crate::command::Context;
use crate::report::PolicyReport;

/// Read a policy strictly, and print its rules, the narrowest first
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The policy, in TOML or JSON
    file: PathBuf,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let policy = file::load(&self.file)?;
        let now = context.settings.local(None).ports().clock.now();
        let report = PolicyReport::new(&policy, now);
        report.warnings().iter().for_each(|warning| context.output.warn(warning));
        Ok(context.output.answer(&report)?)
    }
}
