//! The program `bulla` as this package's tests start it.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    bulla::command::run(std::env::args_os()).await
}
