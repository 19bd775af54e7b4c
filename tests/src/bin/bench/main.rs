//! The project's benchmark: `bullad` beside what bounds it, in one interleaved run.
//!
//! ```text
//! cargo run --release -p bulla-tests --bin bench -- [publish|read|memory|verify|verdict|notary|cost|all] [--seconds N] [--rounds N] [--publishers N] [--row TEXT]
//! ```
//!
//! It starts and stops everything itself, on free ports of the loopback interface and in a
//! folder below `target`, so that all files lie on the same disk. Only ratios of one run
//! mean something: BENCHMARKS.md tells what is compared.

mod connection;
mod cost;
mod daemon;
mod notary;
mod notary_postgres;
mod notary_rounds;
mod notary_servers;
mod process;
mod publish;
mod raw_log;
mod read;
mod sections;
mod table;
mod verdict;
mod verify;
mod workload;

use std::env;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use std::time::Duration;

use process::Work;
use table::Table;

/// What to measure, how long and how often.
pub struct Plan {
    sections: Vec<String>,
    /// Of one round of one kind.
    seconds: Duration,
    rounds: usize,
    /// How many publish at the same time; all of [`sections::PUBLISHERS`] if not said.
    publishers: Option<usize>,
    /// Of `notary`, only the rows with this in their names.
    row: String,
}

const SECTIONS: [&str; 7] = ["publish", "read", "memory", "verify", "verdict", "notary", "cost"];

fn main() -> ExitCode {
    let plan = match Plan::read(env::args().skip(1)) {
        Ok(plan) => plan,
        Err(message) => {
            eprintln!(
                "{message}\nhint: bench [publish|read|memory|verify|verdict|notary|cost|all] [--seconds N] [--rounds N] [--publishers N] [--row TEXT]"
            );
            return ExitCode::from(2);
        }
    };
    match run(&plan) {
        Ok(table) => {
            println!("{}\n{}", table.to_markdown(), table.to_json());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the benchmark did not end: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(plan: &Plan) -> io::Result<Table> {
    let release = release_folder()?;
    build_programs()?;
    let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(&release)?;
    let bullad = release.join("bullad");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut table = Table::default();
    for section in &plan.sections {
        let folder = folder.path().join(section);
        std::fs::create_dir_all(&folder)?;
        eprintln!("{section} ...");
        let before = Work::now()?;
        if section == "verdict" {
            verdict::verdict(plan, &bullad, &release.join("bulla"), &folder, &mut table)?;
        } else {
            runtime.block_on(async {
                match section.as_str() {
                    "publish" => sections::publish(plan, &bullad, &folder, &mut table).await,
                    "read" => sections::read(plan, &bullad, &folder, &mut table).await,
                    "memory" => sections::memory(&bullad, &folder, &mut table).await,
                    "cost" => cost::cost(&bullad, &folder, &mut table).await,
                    "notary" => notary::notary(plan, &bullad, &folder, &mut table).await,
                    _ => verify::verify(plan, &bullad, &release.join("bulla"), &folder, &mut table).await,
                }
            })?;
        }
        let stolen = before.stolen_since()?;
        println!(
            "{section}: the host withheld {:.0} % of the processor time that was wanted",
            stolen * 100.0
        );
        table.numbers(&format!("{section}.stolen_share"), &[stolen]);
    }
    Ok(table)
}

/// Where this program lies: `bullad` is built beside it.
fn release_folder() -> io::Result<PathBuf> {
    let program = env::current_exe()?;
    let folder = program.parent().ok_or_else(|| io::Error::other("this program lies nowhere"))?;
    if cfg!(debug_assertions) {
        return Err(io::Error::other("built without --release, nothing it measures would mean anything"));
    }
    Ok(folder.to_owned())
}

/// Cargo builds only what it runs, so the other two programs are asked for separately.
fn build_programs() -> io::Result<()> {
    let Some(cargo) = env::var_os("CARGO") else { return Ok(()) };
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--release",
        "-p",
        "bulla-server",
        "--bin",
        "bullad",
        "-p",
        "bulla",
        "--bin",
        "bulla",
    ]);
    if command.status()?.success() {
        Ok(())
    } else {
        Err(io::Error::other("bullad and bulla cannot be built"))
    }
}

impl Plan {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut plan = Self {
            sections: Vec::new(),
            seconds: Duration::from_secs(2),
            rounds: 5,
            publishers: None,
            row: String::new(),
        };
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<usize>().ok());
                value.filter(|value| *value > 0).ok_or_else(|| format!("{argument} needs a number"))
            };
            match argument.as_str() {
                "--seconds" => plan.seconds = Duration::from_secs(number()? as u64),
                "--rounds" => plan.rounds = number()?,
                "--publishers" => plan.publishers = Some(number()?),
                "--row" => plan.row = arguments.next().ok_or("--row needs a text")?,
                "all" => plan.sections = SECTIONS.map(str::to_owned).to_vec(),
                section if SECTIONS.contains(&section) => plan.sections.push(argument),
                _ => return Err(format!("unknown argument `{argument}`")),
            }
        }
        if plan.sections.is_empty() {
            plan.sections = SECTIONS.map(str::to_owned).to_vec();
        }
        Ok(plan)
    }
}
