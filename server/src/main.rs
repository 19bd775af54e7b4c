//! bullad, the server: parse and dispatch.

use std::process::ExitCode;

use bulla_server::command::Cli;
use clap::Parser as _;

/// A publish makes and drops many small values on several threads at once.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    Cli::parse().run()
}
