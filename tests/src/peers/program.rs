//! Clients that are programs of their own: the scripts in `tests/peers` around python-tuf and tuf-js.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde::Deserialize;

use super::{ForeignClient, Observed, Refused, Repository, absent};

/// Seconds after which a client that has not ended is killed.
const PATIENCE_SECONDS: &str = "60";

/// Whether the client can be run, with a clock of its own if a test asks for one. If not, that is reported.
pub(super) fn is_present(client: ForeignClient) -> bool {
    let (library, interpreter) = match client {
        ForeignClient::PythonTuf => (python(), None),
        _ => (node_folder().join("node_modules/tuf-js"), Some("node")),
    };
    let present = library.exists() && interpreter.into_iter().chain(["faketime", "timeout"]).all(on_path);
    if !present {
        absent(client.name(), "bash .ci/peers installs it");
    }
    present
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Run the client's script once.
pub(super) async fn follow(
    client: ForeignClient,
    repository: &Repository,
    state: &Path,
    target: Option<&str>,
) -> Result<Observed, Refused> {
    let root_file = state.join("pinned-root");
    std::fs::write(&root_file, &repository.root).expect("the pinned root can be written");
    let mut command = command(client, repository);
    command.arg(if target.is_some() { "download" } else { "refresh" });
    command.args([&repository.metadata_url, &repository.targets_url]);
    command.arg(state.join("metadata")).arg(root_file);
    if let Some(name) = target {
        command.arg("--target").arg(name).arg("--out").arg(state.join("targets"));
    }
    let output = tokio::task::spawn_blocking(move || command.output())
        .await
        .expect("waiting for a program does not panic")
        .expect("a present client starts");
    read_answer(client, &output)
}

/// Interpreter and script, with a limit of time and, if asked for, a clock of its own.
fn command(client: ForeignClient, repository: &Repository) -> Command {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE_SECONDS);
    if let Some(now) = repository.now {
        command.arg("faketime").arg(now.strftime("%Y-%m-%d %H:%M:%S").to_string()).env("TZ", "UTC");
    }
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
    match client {
        ForeignClient::PythonTuf => command.arg(python()).arg(scripts.join("python_tuf_client.py")),
        _ => command.arg("node").arg(scripts.join("tuf_js_client.mjs")),
    };
    command.env("BULLA_PEERS_NODE", node_folder());
    if let Some(authority) = &repository.ca_cert {
        command.env("SSL_CERT_FILE", authority).env("NODE_EXTRA_CA_CERTS", authority);
    }
    command
}

/// Exit code 0 is trust, 1 a refusal in the client's words. All else is a fault of the script.
fn read_answer(client: ForeignClient, output: &Output) -> Result<Observed, Refused> {
    match output.status.code() {
        Some(0) => Ok(parse::<Trusted>(client, output).into_observed()),
        Some(1) => {
            let refusal: Refusal = parse(client, output);
            Err(Refused { kind: refusal.refused, text: refusal.text })
        }
        _ => panic!("{} broke: {output:?}", client.name()),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(client: ForeignClient, output: &Output) -> T {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{} answered no JSON ({error}): {output:?}", client.name()))
}

#[derive(Deserialize)]
struct Trusted {
    root: u64,
    timestamp: u64,
    snapshot: u64,
    targets: u64,
    target: Option<Downloaded>,
}

#[derive(Deserialize)]
struct Downloaded {
    path: PathBuf,
    length: usize,
}

#[derive(Deserialize)]
struct Refusal {
    refused: String,
    text: String,
}

impl Trusted {
    fn into_observed(self) -> Observed {
        let target = self.target.map(|file| {
            let bytes = std::fs::read(&file.path).expect("the client wrote the file it names");
            assert_eq!(
                bytes.len(),
                file.length,
                "{} changed after the client had verified it",
                file.path.display()
            );
            bytes
        });
        Observed {
            root: self.root,
            timestamp: self.timestamp,
            snapshot: self.snapshot,
            targets: self.targets,
            target,
        }
    }
}

fn python() -> PathBuf {
    std::env::var_os("BULLA_PEERS_PYTHON")
        .map_or_else(|| peers_folder().join("venv/bin/python"), PathBuf::from)
}

fn node_folder() -> PathBuf {
    std::env::var_os("BULLA_PEERS_NODE").map_or_else(|| peers_folder().join("node"), PathBuf::from)
}

/// Where `.ci/peers` installs the peers unless the environment names another place.
fn peers_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/peers")
}
