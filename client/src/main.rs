//! The binary `bulla`: parse, run, exit.

use std::process::ExitCode;

use rustix::process::{Resource, Rlimit, setrlimit};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    // Keys and passphrases are in memory: a crash must not leave them in a file. A system that
    // knows no such limit is used all the same.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    bulla::command::run(std::env::args_os()).await
}
