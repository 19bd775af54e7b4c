//! `bullad` as it is shipped: the release binary, the embedded store, tokens.

use std::fs;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_keys_schema::wire::{self, Head, OnlineKeys, Problem, Receipt};
use serde::de::DeserializeOwned;

use crate::connection::{Answer, Connection};
use crate::process::{Program, free_address, pinned};
use crate::workload::{BOUNDARY, Body};

/// A running server.
pub struct Daemon {
    /// The process.
    pub program: Program,
    /// Where it serves.
    pub address: SocketAddr,
    /// The token of a publisher.
    pub token: String,
}

impl Daemon {
    /// Starts `binary` with its data in `folder`; on one core only if `core` names one.
    pub fn start(binary: &Path, folder: &Path, core: Option<usize>) -> io::Result<Self> {
        let command = core.map_or_else(|| Command::new(binary), |core| pinned(binary, core));
        Self::start_as(command, binary, folder)
    }

    /// Starts `binary` through `command`, which ends with it.
    pub fn start_as(mut command: Command, binary: &Path, folder: &Path) -> io::Result<Self> {
        let data = folder.join("data");
        fs::create_dir_all(&data)?;
        let address = free_address()?;
        let config = write_config(folder, &data, address)?;
        let token = make_token(binary, &config, folder)?;
        command.arg("serve").arg("--config").arg(&config);
        let mut program = Program::start(&mut command, &folder.join("bullad.log"))?;
        program.wait_for(address)?;
        Ok(Self { program, address, token })
    }

    /// Creates a repository and returns its head token.
    pub async fn create(
        &self,
        connection: &mut Connection,
        repository: &str,
        first: impl FnOnce(&OnlineKeys) -> Body,
    ) -> io::Result<String> {
        let keys: OnlineKeys = self.api(connection, "POST", repository, "online-keys").await?;
        let mut request = Vec::new();
        self.publish_request(&mut request, repository, None, 0, &first(&keys));
        let receipt: Receipt = read(&connection.exchange(&request).await?)?;
        Ok(receipt.token)
    }

    /// The head token of a repository.
    pub async fn head(&self, connection: &mut Connection, repository: &str) -> io::Result<Head> {
        self.api(connection, "GET", repository, "head").await
    }

    /// Writes a request to publish `body` on top of `expected` over `request`.
    pub fn publish_request(
        &self,
        request: &mut Vec<u8>,
        repository: &str,
        expected: Option<&str>,
        operation: u64,
        body: &[u8],
    ) {
        request.clear();
        let (address, token, length) = (self.address, &self.token, body.len());
        // The first half must differ between the repositories of one store.
        let operation = format!("{:016x}{operation:016x}", hash(repository));
        let precondition = expected
            .map_or_else(|| "if-none-match: *".to_owned(), |expected| format!("if-match: \"{expected}\""));
        let _ = write!(
            request,
            "POST {}/repositories/{repository}/publish HTTP/1.1\r\nhost: {address}\r\n\
             authorization: Bearer {token}\r\n{precondition}\r\n{}: {operation}\r\n\
             content-type: multipart/form-data; boundary={BOUNDARY}\r\ncontent-length: {length}\r\n\r\n",
            wire::API,
            wire::IDEMPOTENCY_KEY,
        );
        request.extend_from_slice(body);
    }

    async fn api<T: DeserializeOwned>(
        &self,
        connection: &mut Connection,
        method: &str,
        repository: &str,
        what: &str,
    ) -> io::Result<T> {
        let (address, token) = (self.address, &self.token);
        let request = format!(
            "{method} {}/repositories/{repository}/{what} HTTP/1.1\r\nhost: {address}\r\n\
             authorization: Bearer {token}\r\ncontent-length: 0\r\n\r\n",
            wire::API
        );
        read(&connection.exchange(request.as_bytes()).await?)
    }
}

/// The head token out of a receipt, or the current one out of a conflict (`Err`).
pub fn token(answer: &Answer) -> io::Result<Result<String, String>> {
    if answer.status == 412 {
        let problem: Problem = serde_json::from_slice(&answer.body)?;
        return problem.current_token.map(Err).ok_or_else(|| io::Error::other("the repository is gone"));
    }
    // Reading the whole receipt would cost the server processor time that it needs itself.
    let text = std::str::from_utf8(&answer.body).unwrap_or_default();
    let token = text.split_once("\"token\":\"").and_then(|(_, rest)| rest.split_once('"'));
    match token {
        Some((token, _)) if (200..300).contains(&answer.status) => Ok(Ok(token.to_owned())),
        _ => Err(io::Error::other(format!("HTTP status {}: {text}", answer.status))),
    }
}

fn read<T: DeserializeOwned>(answer: &Answer) -> io::Result<T> {
    if !(200..300).contains(&answer.status) {
        let text = String::from_utf8_lossy(&answer.body);
        return Err(io::Error::other(format!("HTTP status {}: {text}", answer.status)));
    }
    Ok(serde_json::from_slice(&answer.body)?)
}

fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn write_config(folder: &Path, data: &Path, address: SocketAddr) -> io::Result<PathBuf> {
    let key = folder.join("vault.key");
    let mut options = fs::OpenOptions::new();
    options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&key)?
        .write_all("5a".repeat(32).as_bytes())?;
    let config = folder.join("bullad.toml");
    let text =
        format!("[server]\nlisten = \"{address}\"\n[store]\ndata = {data:?}\n[vault]\nkey_file = {key:?}\n",);
    fs::write(&config, text)?;
    Ok(config)
}

fn make_token(binary: &Path, config: &Path, folder: &Path) -> io::Result<String> {
    let known = folder.join("token");
    if let Ok(token) = fs::read_to_string(&known) {
        return Ok(token);
    }
    let mut command = Command::new(binary);
    command.args(["token", "create", "benchmark", "--scope", "**", "--can", "read,publish,admin"]);
    let output = command.args(["--expires", "90d", "--config"]).arg(config).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || !text.starts_with(wire::TOKEN_PREFIX) {
        return Err(io::Error::other(format!("bullad token create: {output:?}")));
    }
    fs::write(known, &text)?;
    Ok(text)
}
