//! `bullad backup`: copies a store, running or not, into a folder.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::check::Output;
use crate::store::embedded::{BackupReport, backup};

/// Back a store up, while it runs or not, and verify the result.
///
/// A backup into the same folder again adds only what is new.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// The folder of the store.
    data: PathBuf,
    /// The folder of the backup: absent, empty, or an earlier backup of the same store.
    out: PathBuf,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Makes the backup.
///
/// # Errors
/// The store or the folder cannot be used, or the backup is not whole.
pub(super) fn run(args: BackupArgs) -> anyhow::Result<ExitCode> {
    let BackupArgs { data, out, output } = args;
    print(&backup(&data, &out)?, "backed up", output)?;
    Ok(ExitCode::SUCCESS)
}

/// Says what a backup holds.
///
/// # Errors
/// Standard output or error is closed.
pub(super) fn print(report: &BackupReport, done: &str, output: Output) -> anyhow::Result<()> {
    writeln!(
        std::io::stderr().lock(),
        "{done} and verified: store {}, {} records, {} long values, {} bytes, last position {}",
        report.store_id,
        report.records,
        report.blobs,
        report.bytes,
        report.position
    )?;
    if output == Output::Json {
        writeln!(std::io::stdout().lock(), "{}", serde_json::to_string(report)?)?;
    }
    Ok(())
}
