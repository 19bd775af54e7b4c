//! The program `bulla` in a world of the simulator.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::cli::Ran;
use crate::programs::program;

/// `bulla` with a home of its own.
#[derive(Debug)]
pub struct Program {
    folder: TempDir,
    server: String,
}

impl Program {
    /// A user of the trust server at this URL.
    #[must_use]
    pub fn new(server: &str) -> Self {
        Self { folder: tempfile::tempdir().expect("a folder"), server: server.to_owned() }
    }

    /// A path in the home.
    #[must_use]
    pub fn home(&self, path: &str) -> PathBuf {
        self.folder.path().join("home").join(path)
    }

    /// Runs it: no terminal, no input, nothing of this process's environment, and at most this
    /// much memory, so that endless data ends it and not the machine.
    ///
    /// # Panics
    /// It cannot be run, or does not end within a minute and a half.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = Command::new("timeout")
            .args(["90", "prlimit", "--as=2000000000", "--"])
            .arg(program("bulla"))
            .args(arguments)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("BULLA_HOME", self.home(""))
            .env("BULLA_SERVER", &self.server)
            .stdin(Stdio::null())
            .output()
            .expect("bulla can be run");
        let text = |bytes| String::from_utf8(bytes).expect("bulla writes text");
        let (stdout, stderr) = (text(stdout), text(stderr));
        let code = status.code().unwrap_or_else(|| panic!("bulla {arguments:?}: {status}: {stderr}"));
        assert_ne!(code, 124, "bulla {arguments:?} did not end");
        Ran { code, stdout, stderr }
    }
}
