//! Docker as its users have it: an engine of its own for a test, and command lines of several
//! releases that enforce Docker Content Trust.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::digest::Sha256Digest;
use serde_json::Value;

use crate::cli::{Cli, PASSPHRASE, Ran};
use crate::notary::{RunningTrustServer, answer};
use crate::peers::{absent, debian};
use crate::programs::{Running, spawn};

/// A running `dockerd`. It, its containerd and their mounts live in name spaces of their own and
/// are gone with it.
#[derive(Debug)]
pub struct Engine {
    _process: Running,
    socket: PathBuf,
}

impl Engine {
    /// Starts it with its data in `folder`; nothing if it is not installed or may not be
    /// started, which is said aloud.
    ///
    /// # Panics
    /// It does not start.
    #[must_use]
    pub fn start(folder: &Path) -> Option<Self> {
        let program = debian::program(debian::BOOKWORM, "dockerd")?;
        let containerd = debian::program(debian::BOOKWORM, "containerd")?;
        let runc = debian::program(debian::BOOKWORM, "runc")?;
        if !rustix::process::geteuid().is_root() {
            absent("dockerd", "it needs root: sudo --preserve-env");
            return None;
        }
        let socket = folder.join("docker.sock");
        // Even a test that is killed leaves nothing behind.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]);
        command.args(["--mount-proc", "--"]).arg(program);
        command.arg("--data-root").arg(folder.join("docker-data"));
        command.arg("--exec-root").arg(folder.join("docker-exec"));
        command.arg("--pidfile").arg(folder.join("docker.pid"));
        command.arg(format!("--host=unix://{}", socket.display()));
        command.args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]);
        // It looks for the programs that it starts on the path.
        let folders = [containerd, runc].map(|program| program.parent().map(PathBuf::from));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = folders.into_iter().flatten().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(path).expect("no colons in folders"));
        let (process, _) = spawn(&mut command, &folder.join("dockerd.log"), "API listen on /");
        Some(Self { _process: process, socket })
    }
}

/// Somebody who types `docker`, with a home of his own.
pub struct Docker {
    /// The program and its environment.
    pub cli: Cli,
}

impl Docker {
    /// Somebody who uses the command line `program` and trusts `server`.
    ///
    /// # Panics
    /// His files cannot be written.
    #[must_use]
    pub fn new(program: &Path, engine: &Engine, server: &RunningTrustServer) -> Self {
        let user = Self::without_ca(program, engine, server);
        user.trust_authority(server, &server.ca_cert);
        user
    }

    /// The same, who was not given the certificate of the server's authority.
    #[must_use]
    pub fn without_ca(program: &Path, engine: &Engine, server: &RunningTrustServer) -> Self {
        let cli = Cli::new(program.to_str().expect("paths of builds are text"));
        let config = cli.folder.path().join(".docker");
        let cli = cli
            .with("DOCKER_CONFIG", config.to_str().expect("paths of tests are text"))
            .with("DOCKER_HOST", &format!("unix://{}", engine.socket.display()))
            .with("DOCKER_CONTENT_TRUST_SERVER", &server.url)
            .with("DOCKER_CONTENT_TRUST_ROOT_PASSPHRASE", PASSPHRASE)
            .with("DOCKER_CONTENT_TRUST_REPOSITORY_PASSPHRASE", PASSPHRASE);
        Self { cli }
    }

    /// Logs in to `registry` as `user`, as `docker login` leaves it on the disk.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn log_in(&self, registry: &str, user: &str) {
        let secret = STANDARD.encode(format!("{user}:password"));
        let config = serde_json::json!({"auths": {registry: {"auth": secret}}});
        fs::create_dir_all(self.config()).expect("a folder can be made");
        fs::write(self.config().join("config.json"), config.to_string()).expect("a file can be written");
    }

    /// Believes what the authority with the certificate `ca_cert` says of `server`.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn trust_authority(&self, server: &RunningTrustServer, ca_cert: &Path) {
        let folder = self.config().join("tls").join(server.host());
        fs::create_dir_all(&folder).expect("a folder can be made");
        fs::copy(ca_cert, folder.join("ca.crt")).expect("the certificate can be copied");
    }

    fn config(&self) -> PathBuf {
        self.cli.folder.path().join(".docker")
    }

    /// The folder with his keys and what he has seen.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.config().join("trust")
    }

    /// A file beside his home.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.cli.folder.path().join(name)
    }

    /// Runs it with nothing to read.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// Runs it with `input` to read.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        answer(self.cli.command(arguments), input, self.cli.folder.path())
    }

    /// Runs it with `DOCKER_CONTENT_TRUST=1`.
    pub fn trusting(&self, arguments: &[&str]) -> Ran {
        let mut command = self.cli.command(arguments);
        command.env("DOCKER_CONTENT_TRUST", "1");
        answer(command, "", self.cli.folder.path())
    }

    /// Runs it; it must succeed. Returns what it printed.
    ///
    /// # Panics
    /// It fails.
    pub fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).ok()
    }

    /// Puts an image with `content` into the engine as `name`, and returns its id.
    ///
    /// # Panics
    /// The engine does not take it.
    pub fn make_image(&self, name: &str, content: &str) -> String {
        fs::write(self.file("content"), content).expect("a file can be written");
        let mut tar = Command::new("tar");
        tar.args(["-cf", "layer.tar", "content"]).current_dir(self.cli.folder.path());
        assert!(tar.status().expect("tar can be started").success(), "tar failed");
        self.ok(&["import", "layer.tar", name]).trim().to_owned()
    }

    /// What `docker trust inspect` prints of `name`.
    ///
    /// # Panics
    /// It fails, or prints anything but one repository.
    pub fn inspect(&self, name: &str) -> Value {
        let shown = self.run(&["trust", "inspect", name]);
        assert_eq!(shown.code, 0, "{shown:?}");
        let shown = shown.json();
        let [repository] = shown.as_array().expect("a list").as_slice() else { panic!("{shown}") };
        repository.clone()
    }

    /// Tag, digest and signers of all released tags of `name`.
    ///
    /// # Panics
    /// `docker trust inspect` fails.
    pub fn signed_tags(&self, name: &str) -> Vec<(String, String, Vec<String>)> {
        let shown = self.inspect(name);
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let tag = |row: &Value| {
            let signers = row["Signers"].as_array().expect("a list").iter().map(text).collect();
            (text(&row["SignedTag"]), text(&row["Digest"]), signers)
        };
        shown["SignedTags"].as_array().expect("a list").iter().map(tag).collect()
    }

    /// The names of the signers of `name`, in the order of `docker trust inspect`.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn signers(&self, name: &str) -> Vec<String> {
        let shown = self.inspect(name);
        let signers = shown["Signers"].as_array().expect("a list").iter();
        signers.map(|signer| signer["Name"].as_str().expect("a text").to_owned()).collect()
    }

    /// The digest of the root that he trusts for `name`, in hex.
    ///
    /// # Panics
    /// He never asked for it.
    #[must_use]
    pub fn root_sha256(&self, name: &str) -> String {
        let file = self.trust().join("tuf").join(name).join("metadata/root.json");
        Sha256Digest::of(&fs::read(file).expect("he has seen the repository")).to_string()
    }

    /// The id of an image that the engine has.
    ///
    /// # Panics
    /// It has no such image.
    #[must_use]
    pub fn image_id(&self, image: &str) -> String {
        self.ok(&["image", "inspect", "--format", "{{.Id}}", image]).trim().to_owned()
    }

    /// The files of his private keys that say that they are of `role`.
    ///
    /// # Panics
    /// They cannot be read.
    #[must_use]
    pub fn keys_of(&self, role: &str) -> Vec<PathBuf> {
        let Ok(files) = fs::read_dir(self.trust().join("private")) else { return Vec::new() };
        let files = files.map(|file| file.expect("a folder can be listed").path());
        let says = |file: &PathBuf| fs::read_to_string(file).expect("a key can be read");
        files.filter(|file| says(file).contains(&format!("role: {role}\n"))).collect()
    }
}

/// The digest, in hex, in what `docker push` or `docker trust sign` printed.
///
/// # Panics
/// There is none.
#[must_use]
pub fn pushed(printed: &str) -> String {
    let digest = printed.split("digest: sha256:").nth(1).and_then(|rest| rest.split_whitespace().next());
    digest.unwrap_or_else(|| panic!("{printed}")).to_owned()
}
