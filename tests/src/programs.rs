//! `bullad` and `bulla` as they are shipped: the binaries, started by tests, each in folders of its own.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::cli::{Cli, PASSPHRASE, Ran};

/// The binary `name` in the folder of this build.
///
/// # Panics
/// It was not built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it lies");
    let folder = test.ancestors().nth(2).expect("tests lie in target/PROFILE/deps");
    let program = folder.join(name);
    assert!(program.is_file(), "{} is missing; hint: cargo build --workspace --bins", program.display());
    program
}

/// `bullad serve --dev`, killed when it is dropped.
#[derive(Debug)]
pub struct Bullad {
    process: Child,
    /// What clients set `BULLA_SERVER` to.
    pub url: String,
    /// The certificate of its authority.
    pub ca_cert: PathBuf,
}

impl Bullad {
    /// Starts on a free port, with its data in `folder`, and waits until it answers.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Self {
        let log = folder.join("bullad.log");
        let mut process = Command::new(program("bullad"))
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .stdout(Stdio::piped())
            .stderr(File::options().create(true).append(true).open(&log).expect("a log can be made"))
            .spawn()
            .expect("bullad can be started");
        let lines = BufReader::new(process.stdout.take().expect("a pipe")).lines();
        let exports: Vec<String> = lines.take(3).map_while(Result::ok).collect();
        let value = |name: &str| {
            let found = exports.iter().find_map(|line| line.strip_prefix(&format!("export {name}=")));
            found
                .unwrap_or_else(|| panic!("no {name}: {}", std::fs::read_to_string(&log).unwrap_or_default()))
        };
        let (url, ca_cert) = (value("BULLA_SERVER").to_owned(), value("BULLA_CA_CERT").into());
        Self { process, url, ca_cert }
    }

    /// Somebody with a fresh home who asks this server.
    #[must_use]
    pub fn user(&self) -> Cli {
        Cli::new(program("bulla").to_str().expect("paths of builds are text"))
            .with("BULLA_SERVER", &self.url)
            .with("BULLA_CA_CERT", self.ca_cert.to_str().expect("paths of tests are text"))
            .with("BULLA_PASSPHRASE", PASSPHRASE)
    }
}

impl Drop for Bullad {
    fn drop(&mut self) {
        // Gone already is as good as stopped.
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}

/// Runs `bulla`, which has to end with `code`.
///
/// # Panics
/// It ends otherwise.
pub fn expect(user: &Cli, code: i32, arguments: &[&str]) -> Ran {
    let ran = user.run(arguments);
    assert_eq!(ran.code, code, "bulla {arguments:?}: {ran:?}");
    ran
}
