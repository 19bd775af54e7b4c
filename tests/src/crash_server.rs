//! The real server in crash tests: `bullad` as a process of its own, and the lines in which
//! the helper `server-writer` tells what it was promised.

pub mod known;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use bulla_keys_schema::wire::Receipt;
use bulla_server::auth::{TokenFile, TokenFileError, TokenName};
use bulla_server::clock::{Clock as _, SystemClock};
use bulla_server::vault::KEK_VARIABLE;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::crash::skipped;

/// The key-encryption key of every server here.
pub const KEK: &str = "1111111111111111111111111111111111111111111111111111111111111111";
/// How long a server may take until it listens, or until it has ended.
const PATIENCE: Duration = Duration::from_secs(30);

/// One line of `server-writer`, in JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// A publish is about to be sent. One of the next three follows.
    Sent {
        /// Which one: the id that it carries.
        operation: String,
        /// To which repository.
        repository: String,
    },
    /// The server acknowledged a publish.
    Published {
        /// Which one.
        operation: String,
        /// Which repository.
        repository: String,
        /// What it answered.
        receipt: Receipt,
    },
    /// The server refused a publish: somebody else was faster, or too much is going on.
    Refused {
        /// Which one.
        operation: String,
    },
    /// The connection ended before the whole answer to a publish was there.
    Unanswered {
        /// Which one.
        operation: String,
        /// The HTTP status, if at least that had come.
        status: Option<u16>,
    },
    /// The server showed a timestamp with a higher version than before.
    Shown {
        /// Which repository.
        repository: String,
        /// Its version.
        version: u64,
    },
    /// The server answered what nobody should ever be answered.
    Surprise {
        /// Status and body.
        answer: String,
    },
    /// The server's process ended by itself.
    Ended {
        /// How.
        status: String,
    },
}

/// The events among some lines. A line that was cut off is none.
pub fn events<'a>(lines: impl IntoIterator<Item = &'a str>) -> Vec<Event> {
    lines.into_iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// Whether a line of `server-writer` says that it runs, or what the server answered.
pub fn is_answer(line: &str) -> bool {
    !matches!(serde_json::from_str(line), Ok(Event::Sent { .. }))
}

/// Whether servers can be bound to the life of whoever starts them; if not, that is said aloud.
pub fn can_start() -> bool {
    let found = Command::new("setpriv").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    let found = found.is_ok_and(|status| status.success());
    if !found {
        skipped("setpriv is missing (Debian's package util-linux)");
    }
    found
}

/// `bullad` on a folder of its own: embedded store, plain HTTP on a free port of loopback,
/// whoever publishes needs a token. Killed when it is dropped.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
    /// Where it listens.
    pub url: String,
    /// What to publish with.
    pub token: String,
}

impl ServerProcess {
    /// Starts `bullad` on `data`, which is made if there is none. The configuration is kept
    /// beside it.
    ///
    /// # Errors
    /// What it logged, if it ended before it listened.
    pub fn start(bullad: &Path, data: &Path) -> Result<Self, String> {
        // The server ends with this process, whatever becomes of it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(bullad);
        let token = configure(&mut command, data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("setpriv starts bullad");
        let mut log = BufReader::new(child.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
        let mut said = String::new();
        for line in log.by_ref() {
            if let Some(address) = address(&line) {
                // What nobody reads must not stop the server.
                std::thread::spawn(move || log.for_each(drop));
                return Ok(Self { child, url: format!("http://{address}"), token });
            }
            said.push_str(&line);
            said.push('\n');
        }
        let status = child.wait().expect("a child ends");
        Err(format!("{status}: {said}"))
    }

    /// Asks it to stop, and waits.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it is running");
        self.ended()
    }

    /// Kills it in the middle of whatever it does.
    pub fn kill(&self) {
        // Gone already is as good as killed.
        let _gone = kill_process(Pid::from_child(&self.child), Signal::KILL);
    }

    /// Waits until it has ended by itself.
    ///
    /// # Panics
    /// It does not end.
    pub fn ended(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be asked") {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "bullad does not end");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Gone already is as good as stopped.
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

/// Arguments and environment of `bullad serve`, and a token for it.
fn configure(command: &mut Command, data: &Path) -> String {
    std::fs::create_dir_all(data).expect("a data folder can be made");
    let config = data.with_extension("toml");
    let text = "server.listen = '127.0.0.1:0'\nauth.anonymous_read = true\n";
    std::fs::write(&config, text).expect("a configuration can be written");
    command.args(["serve", "--config"]).arg(config).arg("--data").arg(data).env(KEK_VARIABLE, KEK);
    new_token(data)
}

/// A token for everything, in the place of the one of the run before.
fn new_token(data: &Path) -> String {
    let file = TokenFile::in_data(data);
    let name: TokenName = "writer".parse().expect("a name");
    match file.revoke(&name) {
        Ok(()) | Err(TokenFileError::Unknown { .. }) => {}
        Err(error) => panic!("the token file of a crashed server: {error}"),
    }
    let (rights, scope) = ("read,publish".parse().expect("rights"), "**".parse().expect("a scope"));
    file.create(name, rights, vec![scope], SystemClock.now(), None).expect("a token can be made").to_string()
}

/// The address in the log line that says that the server listens.
fn address(line: &str) -> Option<&str> {
    let (_, rest) = line.split_once("\"address\":\"")?;
    rest.split('"').next()
}
