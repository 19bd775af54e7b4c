//! Programs that the benchmark starts, and what the kernel counts for them.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// `USER_HZ`, in which /proc counts processor time on every architecture Rust's std knows.
const TICKS_PER_SECOND: f64 = 100.0;
/// How long a program may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(20);

/// A running program; stopped when dropped.
pub struct Program(Child);

impl Program {
    /// Starts `command`; what it prints goes to `log`.
    pub fn start(command: &mut Command, log: &Path) -> io::Result<Self> {
        let log = File::create(log)?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        child.map(Self).map_err(|error| io::Error::other(format!("{command:?}: {error}")))
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Waits until somebody listens on `address`.
    pub fn wait_for(&mut self, address: SocketAddr) -> io::Result<()> {
        let start = Instant::now();
        while TcpStream::connect(address).is_err() {
            if let Some(status) = self.0.try_wait()? {
                return Err(io::Error::other(format!(
                    "the program ended with {status} instead of listening"
                )));
            }
            if start.elapsed() > PATIENCE {
                return Err(io::Error::other(format!("nobody listens on {address}")));
            }
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub fn wait(mut self) -> io::Result<()> {
        self.0.wait().map(drop)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        pid.map_or(Ok(()), |pid| Ok(kill_process(pid, signal)?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let start = Instant::now();
        let _ = self.signal(Signal::TERM);
        while matches!(self.0.try_wait(), Ok(None)) {
            if start.elapsed() > PATIENCE {
                let _ = self.0.kill();
                let _ = self.0.wait();
                return;
            }
            sleep(Duration::from_millis(5));
        }
    }
}

/// A command that is bound to one processor core.
pub fn pinned(program: &Path, core: usize) -> Command {
    let mut command = Command::new("taskset");
    command.arg("--cpu-list").arg(core.to_string()).arg(program);
    command
}

/// Processor seconds, user and system, that a process has used; `self` for this one.
pub fn cpu_seconds(process: &str) -> io::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    ticks(&stat, 11..13)
}

/// The same, with those of children that have ended.
pub fn cpu_seconds_with_ended(process: u32) -> io::Result<f64> {
    ticks(&fs::read_to_string(format!("/proc/{process}/stat"))?, 11..15)
}

/// What all processors of this machine did since it started, in ticks.
#[derive(Clone, Copy)]
pub struct Work {
    /// For programs and the kernel.
    done: f64,
    /// Nothing, because the host gave the processor to another machine although somebody here wanted it.
    stolen: f64,
}

impl Work {
    /// Up to now.
    pub fn now() -> io::Result<Self> {
        let text = fs::read_to_string("/proc/stat")?;
        let fields = text.lines().next().unwrap_or_default().split_whitespace().skip(1);
        let fields: Result<Vec<f64>, _> = fields.map(str::parse).collect();
        match fields.as_deref() {
            Ok([user, nice, system, _idle, _wait, interrupts, soft, stolen, ..]) => {
                Ok(Self { done: user + nice + system + interrupts + soft, stolen: *stolen })
            }
            _ => Err(io::Error::other("/proc/stat has another form")),
        }
    }

    /// The part of the wanted processor time since then that was stolen.
    pub fn stolen_since(self) -> io::Result<f64> {
        let now = Self::now()?;
        let stolen = now.stolen - self.stolen;
        Ok(stolen / (now.done - self.done + stolen).max(1.0))
    }
}

fn ticks(stat: &str, fields: Range<usize>) -> io::Result<f64> {
    // The second field, the program's name, may hold anything; the numbers follow it.
    let all: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let wanted = all.get(fields).unwrap_or_default();
    let sum = wanted.iter().map(|field| field.parse::<f64>()).sum::<Result<f64, _>>();
    match sum {
        Ok(ticks) if !wanted.is_empty() => Ok(ticks / TICKS_PER_SECOND),
        _ => Err(io::Error::other("/proc/PID/stat has another form")),
    }
}

/// Resident memory of a process, in KiB.
pub fn resident_kib(process: u32) -> io::Result<f64> {
    kib(&format!("/proc/{process}/status"), "VmRSS:")
}

/// The most memory of a process that was ever resident, in KiB.
pub fn peak_kib(process: u32) -> io::Result<f64> {
    kib(&format!("/proc/{process}/status"), "VmHWM:")
}

/// Resident memory of a process, in KiB, pages that it shares with n others counted as 1/n.
pub fn share_kib(process: &str) -> io::Result<f64> {
    kib(&format!("/proc/{process}/smaps_rollup"), "Pss:")
}

fn kib(file: &str, name: &str) -> io::Result<f64> {
    let text = fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("{file} has no {name}")))
}

/// Runs `command` to its end; it must succeed.
pub fn run(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.map_err(|error| io::Error::other(format!("{command:?}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{command:?}: {}: {}", output.status, said.trim())))
}

/// A loopback address that nobody uses at the moment.
pub fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
