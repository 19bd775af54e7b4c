//! A machine that runs the jobs of a pipeline: `bulla` on the path, a home of its own, and stand-ins for the
//! programs that need an engine or the internet.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use crate::programs::{Bullad, program};

/// Environment variables.
pub type Variables = BTreeMap<String, String>;

/// A machine of the pipeline.
#[derive(Debug)]
pub struct Runner {
    /// Its work folder, which is its home as well.
    pub folder: TempDir,
    ca_cert: PathBuf,
}

impl Runner {
    /// A fresh machine that trusts the certificate of `server`.
    ///
    /// # Panics
    /// `bulla` was not built.
    #[must_use]
    pub fn new(server: &Bullad) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir(folder.path().join("bin")).expect("a folder can be made");
        symlink(program("bulla"), folder.path().join("bin/bulla")).expect("a link can be made");
        Self { folder, ca_cert: server.ca_cert.clone() }
    }

    /// Puts a script on the path, in the place of the program `name`.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn stand_in(&self, name: &str, script: &str) {
        let file = self.folder.path().join("bin").join(name);
        fs::write(&file, script).expect("a file can be written");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("it can be made executable");
    }

    /// Runs `script` as runners do: it ends with the first command that fails.
    ///
    /// # Panics
    /// There is no bash.
    #[must_use]
    pub fn run(&self, script: &str, variables: &Variables) -> Output {
        let path = std::env::var("PATH").expect("a path");
        let path = format!("{}/bin:{path}", self.folder.path().display());
        let mut command = Command::new("bash");
        command.args(["-eo", "pipefail", "-c", script]).env_clear().current_dir(self.folder.path());
        command.env("HOME", self.folder.path()).env("PATH", path).env("BULLA_CA_CERT", &self.ca_cert);
        command.envs(variables).stdin(Stdio::null()).output().expect("bash runs")
    }

    /// The output of a script that has to succeed.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn ok(&self, script: &str, variables: &Variables) -> String {
        let output = self.run(script, variables);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{script}\n{}{}", text(&output.stdout), text(&output.stderr));
        text(&output.stdout)
    }

    /// Every file of its home and work folder must be free of `secrets`.
    ///
    /// # Panics
    /// One is not.
    pub fn keeps_nothing(&self, secrets: &[&str]) {
        let mut folders = vec![self.folder.path().to_owned()];
        let mut seen = 0;
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                match fs::symlink_metadata(&path).expect("an entry") {
                    found if found.is_dir() => folders.push(path),
                    found if found.is_file() => {
                        let content = fs::read(&path).expect("a file");
                        let text = String::from_utf8_lossy(&content);
                        assert!(!secrets.iter().any(|secret| text.contains(secret)), "{}", path.display());
                        seen += 1;
                    }
                    _ => {}
                }
            }
        }
        assert!(seen > 0, "bulla keeps a cache and pins");
    }
}

/// A file of `examples/ci`.
///
/// # Panics
/// It is not there.
#[must_use]
pub fn example(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/ci").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// `template` with every `${{ expression }}` replaced.
///
/// # Panics
/// One is not given.
#[must_use]
pub fn filled(template: &str, given: &BTreeMap<&str, &str>) -> String {
    let mut parts = template.split("${{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").expect("an expression ends");
        let value = given.get(expression.trim()).unwrap_or_else(|| panic!("{expression} is not given"));
        filled += &[*value, rest].concat();
    }
    filled
}
