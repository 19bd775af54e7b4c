//! What one publish and one read cost the server in instructions, counted by valgrind.
//!
//! Seconds of a busy machine tell little, instructions hardly change from run to run. They are
//! no time: hashing looks dearer here than it is, because valgrind does not know the
//! processor's instructions for it, and what the kernel does is not counted.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::connection::Connection;
use crate::daemon::Daemon;
use crate::publish::Load;
use crate::read;
use crate::table::Table;

/// Publishes at the same time, each to a repository of its own.
const PUBLISHERS: usize = 16;
/// Publishes of each publisher: to get warm, and counted.
const UPLOADS: [u64; 2] = [3, 25];
/// Reads of a timestamp, likewise.
const READS: [u64; 2] = [100, 10_000];

/// Counts for both kinds of request.
pub async fn cost(bullad: &Path, folder: &Path, table: &mut Table) -> io::Result<()> {
    if !read::is_present("valgrind") {
        eprintln!("SKIPPED: cost; hint: needs valgrind: apt-get install valgrind");
        return Ok(());
    }
    let counter = Counter::start(bullad, &folder.join("publish"))?;
    let mut load = Load::distinct(&counter.daemon, "cost", PUBLISHERS).await?;
    load.publish_each(&counter.daemon, UPLOADS[0]).await?;
    counter.count(true)?;
    load.publish_each(&counter.daemon, UPLOADS[1]).await?;
    counter.count(false)?;
    let publish = counter.stop()? / (PUBLISHERS as f64 * UPLOADS[1] as f64);

    let counter = Counter::start(bullad, &folder.join("read"))?;
    let load = Load::distinct(&counter.daemon, "cost", 1).await?;
    let mut connection = Connection::open(counter.daemon.address).await?;
    read_timestamps(&counter.daemon, &mut connection, load.repository(0), READS[0]).await?;
    counter.count(true)?;
    read_timestamps(&counter.daemon, &mut connection, load.repository(0), READS[1]).await?;
    counter.count(false)?;
    let read = counter.stop()? / READS[1] as f64;

    table.numbers("cost.instructions_of_a_publish", &[publish]);
    table.numbers("cost.instructions_of_a_timestamp", &[read]);
    eprintln!("{publish:.0} instructions for a publish, {read:.0} for a timestamp");
    Ok(())
}

async fn read_timestamps(
    daemon: &Daemon,
    connection: &mut Connection,
    repository: &str,
    reads: u64,
) -> io::Result<()> {
    let (address, token) = (daemon.address, &daemon.token);
    let request = format!(
        "GET /tuf/{repository}/metadata/timestamp.json HTTP/1.1\r\nhost: {address}\r\n\
         authorization: Bearer {token}\r\n\r\n"
    );
    for _ in 0..reads {
        let status = connection.exchange(request.as_bytes()).await?.status;
        assert_eq!(status, 200, "the timestamp is there");
    }
    Ok(())
}

/// A server whose instructions are counted when told so.
struct Counter {
    daemon: Daemon,
    log: PathBuf,
}

impl Counter {
    /// Starts `bullad`; nothing is counted yet. The profile lies beside the log afterwards.
    fn start(bullad: &Path, folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let log = folder.join("valgrind.log");
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--instr-atstart=no"]);
        command.arg(format!("--callgrind-out-file={}", folder.join("callgrind.out").display()));
        command.arg(format!("--log-file={}", log.display())).arg(bullad);
        Ok(Self { daemon: Daemon::start_as(command, bullad, folder)?, log })
    }

    fn count(&self, on: bool) -> io::Result<()> {
        let mut command = Command::new("callgrind_control");
        command.args(["-i", if on { "on" } else { "off" }]).arg(self.daemon.program.id().to_string());
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other(format!("{command:?}: {status}"))) }
    }

    /// All that was counted.
    fn stop(self) -> io::Result<f64> {
        drop(self.daemon);
        let text = fs::read_to_string(&self.log)?;
        let counted = text.lines().find_map(|line| line.split_once("Collected : "));
        let counted = counted.and_then(|(_, number)| number.trim().parse().ok());
        counted.ok_or_else(|| io::Error::other(format!("valgrind counted nothing: {text}")))
    }
}
