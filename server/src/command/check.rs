//! `bullad check`: proves a store whole, record by record and value by value.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use serde_json::json;

use crate::store::embedded::{EmbeddedStore, Options, check_journal};
use crate::store::{CheckReport, TrustStore as _};

/// Read everything in a store and compare it with its digests.
///
/// The store must not be in use. Exits with 0 if it is whole and with 1 if not.
#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The folder of the store.
    data: PathBuf,
    /// File of the high-water mark [default: DATA.high-water].
    #[arg(long, value_name = "FILE")]
    high_water: Option<PathBuf>,
    /// What to print on standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// How a report is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// Words, on standard error.
    Text,
    /// A JSON object on standard output, words on standard error.
    Json,
}

/// Checks the store: the journal first, without changing anything, and if that is whole, the
/// index that readers are answered from.
///
/// # Errors
/// The store is in use, is none, or cannot be read.
pub(super) fn run(args: CheckArgs) -> anyhow::Result<ExitCode> {
    let mut report = check_journal(&args.data)?;
    if report.defects.is_empty() {
        let options = Options { high_water: args.high_water, ..Options::default() };
        let store = EmbeddedStore::open(&args.data, &options)?;
        let runtime = tokio::runtime::Builder::new_current_thread().build().context("start a runtime")?;
        report = runtime.block_on(async {
            let report = store.check().await;
            store.close().await?;
            report
        })?;
        if let Some(back) = store.went_back() {
            let (mark, position) = (back.mark.0, back.position.0);
            let what =
                format!("the store has gone back in time: it ends at {position}, its mark stands at {mark}");
            report.defects.push(what);
        }
    }
    print(&report, args.output)?;
    Ok(if report.defects.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &CheckReport, output: Output) -> anyhow::Result<()> {
    let mut words = std::io::stderr().lock();
    for defect in &report.defects {
        writeln!(words, "defect: {defect}")?;
    }
    let verdict = if report.defects.is_empty() { "the store is whole" } else { "the store is damaged" };
    writeln!(
        words,
        "{verdict}: {} repositories, {} records, {} values, {} bytes, last position {}",
        report.repositories, report.records, report.documents, report.bytes, report.last_position.0
    )?;
    if output == Output::Json {
        let object = json!({
            "schema": 1,
            "whole": report.defects.is_empty(),
            "repositories": report.repositories,
            "records": report.records,
            "values": report.documents,
            "bytes": report.bytes,
            "last_position": report.last_position.0,
            "chain": report.chain.map(|chain| chain.to_string()),
            "defects": report.defects,
        });
        writeln!(std::io::stdout().lock(), "{object}")?;
    }
    Ok(())
}
