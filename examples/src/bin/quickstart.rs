//! `cargo quickstart`: a trust server and its command line, from nothing to an image that is signed,
//! verified, moved, revoked and refused.
//!
//! Everything happens in a temporary folder and through the two programs themselves. Each command
//! is printed as a person would type it.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail};
use bulla_keys_schema::digest::Sha256Digest;

const REPOSITORY: &str = "registry.example.com/team/app";
/// The manifests of two images; what they are made of does not matter here.
const GOOD_IMAGE: &[u8] = br#"{"schemaVersion":2,"layers":["the good one"]}"#;
const OTHER_IMAGE: &[u8] = br#"{"schemaVersion":2,"layers":["something else"]}"#;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    build()?;
    let folder = tempfile::tempdir()?;
    say("A trust server in a temporary folder, with a certificate authority of its own:");
    let server = Server::start(folder.path())?;
    let mut shell = Shell { environment: server.exports.clone() };
    shell.export("BULLA_HOME", &folder.path().join("home").display().to_string());
    shell.export("BULLA_PASSPHRASE", "only-for-this-try");
    tell_the_story(&shell, &folder.path().join("home"))?;
    say("That was all. Next: the five minutes by hand in README.md, with a real registry.");
    Ok(())
}

fn tell_the_story(shell: &Shell, home: &Path) -> Result<()> {
    let [good, other] = [GOOD_IMAGE, OTHER_IMAGE].map(|image| Sha256Digest::of(image).to_oci());
    let (tag, size) = (format!("{REPOSITORY}:1.0"), GOOD_IMAGE.len().to_string());
    let signed = format!("{tag}@{good}");

    say("Keys: for the root of trust, for the admin of the repository, and for alice, who signs:");
    for key in ["root", "targets", "alice"] {
        shell.bulla(&["key", "generate", key], 0)?;
    }
    say("The repository begins, its root is pinned here, and alice may sign its tags:");
    shell.bulla(&["init", REPOSITORY, "--root-key", "root", "--targets-key", "targets"], 0)?;
    let public = home.join("keys/alice.pub").display().to_string();
    shell.bulla(&["signer", "add", REPOSITORY, "alice", "--key", &public], 0)?;

    say("Alice signs what tag 1.0 means. With digest and size at hand no registry is needed:");
    shell.bulla(&["sign", &signed, "--size", &size, "--as", "alice"], 0)?;
    say("Whoever pulls asks first. The answer is the digest to pull by:");
    shell.bulla(&["verify", &signed], 0)?;
    shell.bulla(&["resolve", &tag], 0)?;

    say("Somebody moves the tag at the registry to another image. It is refused:");
    shell.bulla(&["verify", &format!("{tag}@{other}")], 15)?;

    say("The image turns out to be bad. It is revoked, and refused from now on:");
    shell.bulla(&["revoke", &tag, "--reason", "bad build"], 0)?;
    shell.bulla(&["verify", &signed], 14)
}

/// Builds the two programs beside this one.
fn build() -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--package", "bulla-server", "--package", "bulla", "--bins"]);
    if !cfg!(debug_assertions) {
        command.arg("--release");
    }
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    if !command.status().context("cannot run cargo")?.success() {
        bail!("the programs cannot be built");
    }
    Ok(())
}

fn program(name: &str) -> Result<PathBuf> {
    let here = std::env::current_exe()?;
    Ok(here.parent().context("a program lies in a folder")?.join(name))
}

/// `bullad serve --dev` until it is dropped.
struct Server {
    process: Child,
    exports: Vec<(String, String)>,
}

impl Server {
    fn start(folder: &Path) -> Result<Self> {
        let (data, log) = (folder.join("server"), folder.join("bullad.log"));
        show("bullad", &["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &data.display().to_string()]);
        let mut process = Command::new(program("bullad")?)
            .args(["serve", "--dev", "--listen", "127.0.0.1:0", "--data"])
            .arg(&data)
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?)
            .spawn()
            .context("cannot start bullad")?;
        let stdout = process.stdout.take().context("its output was asked for")?;
        let mut server = Self { process, exports: Vec::new() };
        for line in BufReader::new(stdout).lines().take(3) {
            let line = line?;
            println!("{line}");
            let (name, value) = line.trim_start_matches("export ").split_once('=').context("no export")?;
            server.exports.push((name.to_owned(), value.trim_matches('\'').to_owned()));
        }
        if server.exports.len() < 3 {
            bail!("bullad did not start: {}", std::fs::read_to_string(log)?);
        }
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Gone already is as good as stopped.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs commands and shows them.
struct Shell {
    environment: Vec<(String, String)>,
}

impl Shell {
    fn export(&mut self, name: &str, value: &str) {
        println!("export {name}={value}");
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Runs `bulla`, which has to end with this exit code.
    fn bulla(&self, arguments: &[&str], expected: i32) -> Result<()> {
        show("bulla", arguments);
        let status = Command::new(program("bulla")?)
            .args(arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .env_remove("BULLA_TOKEN")
            .stdin(Stdio::null())
            .status()
            .context("cannot start bulla")?;
        if status.code() != Some(expected) {
            bail!("bulla {}: {status}, expected exit code {expected}", arguments.join(" "));
        }
        if expected != 0 {
            println!("(exit code {expected})");
        }
        Ok(())
    }
}

fn say(text: &str) {
    println!("\n# {text}");
}

/// The command as it would be typed.
fn show(program: &str, arguments: &[&str]) {
    let quoted = arguments.iter().map(|argument| match argument.contains([' ', '\'']) {
        true => format!("'{}'", argument.replace('\'', r"'\''")),
        false => (*argument).to_owned(),
    });
    println!("$ {program} {}", quoted.collect::<Vec<_>>().join(" "));
}
