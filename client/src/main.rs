//! The binary `bulla`: parse, run, exit.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    bulla::command::run(std::env::args_os()).await
}
