//! Where the matrices of docker take place: an engine and a registry, one command line, each trust server.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cli::{Cli, PASSPHRASE};
use crate::docker::{Docker, Engine};
use crate::notary::RunningTrustServer;
use crate::notary_matrix::{self, Column};
use crate::peers::debian;
use crate::programs::{DockerRegistry, program};

/// What all people of one column share.
pub struct Site<'a> {
    /// The major version of the command line.
    pub major: u32,
    /// The registry.
    pub registry: &'a DockerRegistry,
    /// The trust server.
    pub server: &'a RunningTrustServer,
    program: &'a Path,
    engine: &'a Engine,
}

impl Site<'_> {
    /// Somebody with a home of his own, who trusts the server's authority.
    #[must_use]
    pub fn user(&self) -> Docker {
        Docker::new(self.program, self.engine, self.server)
    }

    /// Somebody who was not given the certificate of the server's authority.
    #[must_use]
    pub fn user_without_ca(&self) -> Docker {
        Docker::without_ca(self.program, self.engine, self.server)
    }

    /// Somebody who uses `bulla` in place of docker.
    ///
    /// # Panics
    /// `bulla` was not built.
    #[must_use]
    pub fn bulla(&self) -> Cli {
        let text = |path: &Path| path.to_str().expect("paths of tests are text").to_owned();
        Cli::new(&text(&program("bulla")))
            .with("BULLA_SERVER", &self.server.url)
            .with("BULLA_CA_CERT", &text(&self.server.ca_cert))
            .with("BULLA_PASSPHRASE", PASSPHRASE)
    }

    /// A repository of this column alone: the registry is shared.
    #[must_use]
    pub fn repository(&self, name: &str) -> String {
        let column: String =
            self.server.kind.name().chars().filter(|letter| letter.is_ascii_lowercase()).collect();
        format!("{}/{column}/{name}", self.registry.host)
    }
}

/// Does `steps` with the command line of the Debian release `suite` and every trust server.
/// Without the peers nothing is done, which is said aloud.
///
/// # Panics
/// A step failed.
pub fn matrix(suite: &str, steps: impl Fn(&Site<'_>, &mut Column) + Sync) {
    let Some(docker) = debian::program(suite, "docker") else { return };
    let Some((version, major)) = trusting_version(&docker) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let Some(engine) = Engine::start(folder.path()) else { return };
    let Some(registry) = DockerRegistry::start(folder.path()) else { return };
    notary_matrix::run(&format!("docker {version}"), folder.path(), |server, column| {
        let (program, engine, registry) = (docker.as_path(), &engine, &registry);
        steps(&Site { major, registry, server, program, engine }, column);
    });
}

/// The version of a command line; nothing, which is said aloud, where content trust left the
/// program: from version 29.
fn trusting_version(program: &PathBuf) -> Option<(String, u32)> {
    let output = Command::new(program).arg("--version").output().expect("docker can be started");
    let said = String::from_utf8(output.stdout).expect("a text");
    // Docker version 20.10.24+dfsg1, build 297e128
    let version = said.split([' ', '+', ',']).nth(2).expect("a version").to_owned();
    let major = version.split('.').next().and_then(|major| major.parse().ok()).expect("a number");
    if major < 29 {
        return Some((version, major));
    }
    eprintln!("SKIPPED: docker {version} enforces no content trust");
    None
}
