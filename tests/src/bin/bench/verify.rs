//! A warm `bulla verify`, from start of the program to its answer, beside `curl` that fetches
//! one file of the same server: what a program that starts, connects and asks once must cost.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::Plan;
use crate::connection::Connection;
use crate::daemon::Daemon;
use crate::read;
use crate::table::{Table, median};
use crate::workload::Publishers;

/// Runs of each program in one round; the round counts as their median.
const RUNS: usize = 15;
const REPOSITORY: &str = "registry.example.com/verify/image";

/// Times both programs in turn.
pub async fn verify(
    plan: &Plan,
    bullad: &Path,
    bulla: &Path,
    folder: &Path,
    table: &mut Table,
) -> io::Result<()> {
    if !read::is_present("curl") {
        eprintln!("SKIPPED: verify; hint: needs curl: apt-get install curl");
        return Ok(());
    }
    let daemon = Daemon::start(bullad, folder, None)?;
    let publishers = Publishers::single();
    let mut connection = Connection::open(daemon.address).await?;
    daemon.create(&mut connection, REPOSITORY, |keys| publishers.creation(keys)).await?;
    let server = format!("http://{}", daemon.address);
    let with_home = || {
        let mut command = Command::new(bulla);
        command.env("BULLA_SERVER", &server).env("BULLA_TOKEN", &daemon.token);
        command.env("BULLA_HOME", folder.join("home"));
        command
    };
    let mut pin = with_home();
    once(pin.args(["trust", "add", REPOSITORY, "--root-key", &publishers.root_key()]))?;
    let (tag, digest) = publishers.first_target();
    let image = format!("{REPOSITORY}:{tag}@sha256:{digest}");
    let url = format!("{server}/tuf/{REPOSITORY}/metadata/timestamp.json");
    let token = format!("Authorization: Bearer {}", daemon.token);
    once(with_home().args(["verify", &image]))?;
    let mut rounds = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let mut times = (Vec::new(), Vec::new());
        for _ in 0..RUNS {
            times.0.push(once(with_home().args(["verify", &image]))?);
            times.1.push(once(Command::new("curl").args(["-sSf", "-H", &token, &url]))?);
        }
        rounds.0.push(median(&times.0));
        rounds.1.push(median(&times.1));
    }
    let ratios = rounds.0.iter().zip(&rounds.1).map(|(ours, theirs)| ours / theirs).collect();
    table.line("time of a warm `bulla verify`", "curl, one file", None, ratios);
    table.numbers("verify.bulla_milliseconds", &rounds.0);
    table.numbers("verify.curl_milliseconds", &rounds.1);
    Ok(())
}

/// Runs a program to its end, which must be a good one; milliseconds.
fn once(command: &mut Command) -> io::Result<f64> {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let time = start.elapsed().as_secs_f64() * 1000.0;
    if output.status.success() {
        return Ok(time);
    }
    Err(io::Error::other(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr))))
}
