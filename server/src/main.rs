//! bullad, the server: parse and dispatch.

use std::process::ExitCode;

use bulla_server::command::Cli;
use clap::Parser as _;

fn main() -> ExitCode {
    Cli::parse().run()
}
