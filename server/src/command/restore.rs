//! `bullad restore`: puts a backup in place, and notices if that goes back in time.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use super::check::Output;
use crate::store::embedded::{Options, restore};

/// Verify a backup and put it in place.
///
/// If the store had come further than the backup, the restored one can be read but refuses
/// to sign until the loss is accepted: clients that saw the newer state would take what it
/// signs for a rollback attack.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// The folder of the backup.
    backup: PathBuf,
    /// The folder of the store: absent or empty.
    data: PathBuf,
    /// File of the high-water mark [default: DATA.high-water].
    #[arg(long, value_name = "FILE")]
    high_water: Option<PathBuf>,
    /// Sign on top of the restored state although newer ones were seen. Works also after the
    /// restore, with the same arguments.
    #[arg(long)]
    accept_loss: bool,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// Restores the backup.
///
/// # Errors
/// The backup is not whole, the folder is not empty, or a file cannot be written.
pub(super) fn run(args: RestoreArgs) -> anyhow::Result<ExitCode> {
    let options =
        Options { high_water: args.high_water, accept_loss: args.accept_loss, ..Options::default() };
    let restored = restore(&args.backup, &args.data, &options)?;
    super::backup::print(&restored.backup, "restored", args.output)?;
    if let Some(back) = restored.went_back {
        writeln!(
            std::io::stderr().lock(),
            "the store has gone back in time: it ends at {}, clients may have seen it at {}; it will not sign\n\
             hint: restore a newer backup, or run `bullad restore {} {} --accept-loss` and publish again, with \
             higher versions, what was lost",
            back.position.0,
            back.mark.0,
            args.backup.display(),
            args.data.display()
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
