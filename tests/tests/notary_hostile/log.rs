//! The log of the program: what strangers send stands in it as text, on one line, and drives no
//! terminal.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bulla_tests::programs::program;
use serde_json::Value;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(30);

/// `bullad` with plain HTTP on this machine, so that any bytes can be sent.
struct Plain {
    process: Child,
    log: PathBuf,
    port: u16,
    _folder: TempDir,
}

impl Plain {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("kek"), "00".repeat(32)).unwrap();
        std::fs::set_permissions(path("kek"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let config = "server.listen = '127.0.0.1:0'\nstore.data = 'data'\nstore.kind = 'memory'\n\
                      vault.key_file = 'kek'\nlog.format = 'json'\n";
        std::fs::write(path("bullad.toml"), config).unwrap();
        let log = path("log");
        let mut command = Command::new(program("bullad"));
        command.args(["serve", "--config", "bullad.toml"]).current_dir(folder.path()).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).unwrap());
        let mut plain = Self { process: command.spawn().unwrap(), log, port: 0, _folder: folder };
        let began = Instant::now();
        while plain.port == 0 {
            assert!(began.elapsed() < PATIENCE, "{}", plain.said());
            std::thread::sleep(Duration::from_millis(20));
            let said = plain.said();
            let port = said.split_once("\"address\":\"127.0.0.1:").and_then(|(_, rest)| rest.split_once('"'));
            plain.port = port.map_or(0, |(port, _)| port.parse().unwrap());
        }
        plain
    }

    fn said(&self) -> String {
        String::from_utf8(std::fs::read(&self.log).unwrap()).unwrap()
    }

    fn send(&self, request: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        stream.write_all(request).unwrap();
        let _answer = stream.read_to_end(&mut Vec::new());
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _gone = self.process.kill().and_then(|()| self.process.wait());
    }
}

#[test]
fn what_strangers_send_drives_no_terminal() {
    let plain = Plain::start();
    let paths: [&[u8]; 9] = [
        b"/\xc2\x9b2Jx",
        b"/\xe2\x80\xaex",
        b"/api/v1/repositories/\xc2\x9b2J/head",
        b"/api/v1/%0a%1b[2J",
        b"/v2/\xc2\x9b2J/_trust/tuf/",
        b"/v2/%c2%9b2J%0a{}/_trust/tuf/",
        b"/v2/a/_trust/tuf/?\xc2\x9b",
        b"/\"}{\"level\":\"ERROR\"",
        b"/%22%0a{%22level%22:%22ERROR%22}",
    ];
    for path in paths {
        for method in ["GET", "POST", "DELETE"] {
            let head = format!(
                " HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 0\r\nx-request-id: {}\r\n\r\n",
                "a\"b"
            );
            plain.send(&[method.as_bytes(), b" ", path, head.as_bytes()].concat());
        }
    }
    let said = plain.said();
    assert!(said.lines().count() > paths.len() && said.contains(r"u{9b}"), "{said}");
    for line in said.lines() {
        assert!(!line.chars().any(|c| c.is_control() || ('\u{200e}'..'\u{2070}').contains(&c)), "{line:?}");
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(["INFO", "WARN"].iter().any(|level| entry["level"] == *level), "{line}");
    }
}
