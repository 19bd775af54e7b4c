//! Reads per second of `timestamp.json` beside nginx with a file of the same bytes, each on
//! one core, with the load on another.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::connection::Connection;
use crate::process::{Program, cpu_seconds, free_address, pinned};

/// Connections that are kept open.
const CONNECTIONS: usize = 32;

/// A server of files.
pub struct Nginx {
    /// The master process.
    pub program: Program,
    /// Where it serves.
    pub address: SocketAddr,
}

impl Nginx {
    /// Serves `timestamp` as `/timestamp.json` from one worker on `core`.
    pub fn start(folder: &Path, timestamp: &[u8], core: usize) -> io::Result<Self> {
        let folder = folder.join("nginx");
        fs::create_dir_all(folder.join("www"))?;
        fs::write(folder.join("www/timestamp.json"), timestamp)?;
        let address = free_address()?;
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(&folder, address))?;
        let mut command = pinned(Path::new("nginx"), core);
        command.arg("-p").arg(&folder).arg("-c").arg(&config).arg("-e").arg(folder.join("error.log"));
        let mut program = Program::start(&mut command, &folder.join("nginx.log"))?;
        program.wait_for(address)?;
        Ok(Self { program, address })
    }

    /// The process that serves.
    pub fn worker(&self) -> io::Result<u32> {
        let id = self.program.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        let first = children.split_whitespace().next().and_then(|child| child.parse().ok());
        first.ok_or_else(|| io::Error::other("nginx has no worker"))
    }
}

fn configuration(folder: &Path, address: SocketAddr) -> String {
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let folder = folder.display();
    // Without sendfile, headers and a small file leave in one packet: nginx at its best.
    format!(
        "{user} worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error.log;
        events {{ worker_connections 256; }}
        http {{
            access_log off; sendfile off; keepalive_requests 1000000000; server_tokens off;
            open_file_cache max=16 inactive=1h; open_file_cache_valid 1h; default_type application/json;
            client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
            server {{ listen {address}; root {folder}/www; }}
        }}"
    )
}

/// Something to be asked for again and again.
pub struct Question {
    /// Who answers.
    pub process: u32,
    /// What is asked for.
    pub url: String,
    /// Further headers.
    pub headers: Vec<String>,
}

/// What a round led to.
#[derive(Clone, Copy)]
pub struct ReadRound {
    /// Answers per second.
    pub rate: f64,
    /// Processor seconds of the server per answer.
    pub cpu: f64,
    /// Milliseconds within which 99 of 100 were answered.
    pub p99: f64,
}

/// Asks for `duration`, from `core`. Only answers that look like the first one count.
pub fn round(question: &Question, duration: Duration, core: usize) -> io::Result<ReadRound> {
    let process = question.process.to_string();
    let mut command = pinned(Path::new("wrk"), core);
    command.args(["--latency", "-t", "1", "-c"]).arg(CONNECTIONS.to_string());
    command.arg("-d").arg(format!("{}s", duration.as_secs().max(1)));
    for header in &question.headers {
        command.arg("-H").arg(header);
    }
    let cpu = cpu_seconds(&process)?;
    let output = command.arg(&question.url).stdin(Stdio::null()).output()?;
    let cpu = cpu_seconds(&process)? - cpu;
    let text = String::from_utf8_lossy(&output.stdout);
    let unexpected = || io::Error::other(format!("wrk: {text}"));
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(unexpected());
    }
    let field = |name: &str| text.lines().find_map(|line| line.trim().strip_prefix(name)).map(str::trim);
    let rate: f64 = field("Requests/sec:").and_then(|rate| rate.parse().ok()).ok_or_else(unexpected)?;
    let p99 = field("99%").and_then(milliseconds).ok_or_else(unexpected)?;
    let requests = text.lines().find_map(|line| line.trim().split_once(" requests in "));
    let requests: f64 = requests.and_then(|(number, _)| number.parse().ok()).ok_or_else(unexpected)?;
    Ok(ReadRound { rate, cpu: cpu / requests, p99 })
}

fn milliseconds(text: &str) -> Option<f64> {
    let (number, factor) = match text {
        micros if micros.ends_with("us") => (&micros[..micros.len() - 2], 0.001),
        millis if millis.ends_with("ms") => (&millis[..millis.len() - 2], 1.0),
        seconds => (seconds.strip_suffix('s')?, 1000.0),
    };
    Some(number.parse::<f64>().ok()? * factor)
}

/// Asks once and returns the entity tag and the body.
pub async fn ask(address: SocketAddr, path: &str, headers: &[String]) -> io::Result<(u16, String, Vec<u8>)> {
    let mut request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n");
    headers.iter().for_each(|header| request.extend([header, "\r\n"]));
    request.push_str("\r\n");
    let answer = Connection::open(address).await?.exchange(request.as_bytes()).await?;
    Ok((answer.status, answer.header("etag").unwrap_or_default(), answer.body))
}

/// Whether `program` can be run.
pub fn is_present(program: &str) -> bool {
    Command::new(program).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}
