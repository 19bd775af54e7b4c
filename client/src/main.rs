//! The binary `bulla`: parse, run, exit.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    ExitCode::SUCCESS
}
