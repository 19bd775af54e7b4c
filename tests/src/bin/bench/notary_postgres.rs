//! A PostgreSQL of the benchmark's own, with its default settings and the tables of Notary's server
//! and signer, which Debian's package does not hold.

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::process::{self, Program, free_address};

/// Where Debian keeps the programs of each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// It does not run as root; this user comes with the package.
const USER: &str = "postgres";
const DATABASE: &str = "notary";
/// How long it may take until it answers.
const PATIENCE: Duration = Duration::from_secs(20);

const TABLES: &str = "
CREATE TABLE tuf_files (
    id bigserial PRIMARY KEY, created_at timestamp, updated_at timestamp, deleted_at timestamp,
    gun varchar(255) NOT NULL, role varchar(255) NOT NULL, version int4 NOT NULL,
    data bytea NOT NULL, sha256 char(64), UNIQUE (gun, role, version));
CREATE INDEX ON tuf_files (sha256);
CREATE TABLE changefeed (
    id bigserial PRIMARY KEY, created_at timestamp DEFAULT current_timestamp, gun varchar(255) NOT NULL,
    version int4 NOT NULL, sha256 char(64), category varchar(20) NOT NULL DEFAULT 'update');
CREATE INDEX ON changefeed (gun);
CREATE TABLE private_keys (
    id bigserial PRIMARY KEY, created_at timestamp, updated_at timestamp, deleted_at timestamp,
    key_id varchar(255) NOT NULL UNIQUE, encryption_alg varchar(255) NOT NULL,
    keywrap_alg varchar(255) NOT NULL, algorithm varchar(50) NOT NULL,
    passphrase_alias varchar(50) NOT NULL, public bytea NOT NULL, private bytea NOT NULL,
    gun varchar(255), role varchar(255), last_used timestamp);
";

/// A running database.
pub struct Postgres {
    program: Program,
    address: SocketAddr,
    programs: PathBuf,
    _data: TempDir,
}

impl Postgres {
    /// Makes a cluster, starts it on `core` and makes the tables.
    pub fn start(folder: &Path, core: usize) -> io::Result<Self> {
        let programs = programs()?;
        // A folder of its own beside the others, which are closed to another user.
        let data = tempfile::Builder::new().prefix("bench-").tempdir_in(crate::release_folder()?)?;
        let user = user(data.path())?;
        let mut command = Command::new("env");
        command.args(user).arg(programs.join("initdb")).arg("--pgdata").arg(data.path());
        process::run(command.args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C"]))?;
        let address = free_address()?;
        let mut command = process::pinned(Path::new("env"), core);
        command.args(user).arg(programs.join("postgres")).arg("-D").arg(data.path());
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]);
        command.args(["-p", &address.port().to_string()]);
        let mut program = Program::start(&mut command, &folder.join("postgres.log"))?;
        program.wait_for(address)?;
        let postgres = Self { program, address, programs, _data: data };
        postgres.wait()?;
        postgres.sql("postgres", &format!("CREATE DATABASE {DATABASE}"))?;
        postgres.sql(DATABASE, TABLES)?;
        Ok(postgres)
    }

    /// How Notary's programs name the database.
    pub fn url(&self) -> String {
        format!("postgres://postgres@{}/{DATABASE}?sslmode=disable", self.address)
    }

    /// Processor seconds of all its processes, those that are gone too.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let gone = process::cpu_seconds_with_ended(self.program.id())?;
        // A process that ends meanwhile is counted there the next time.
        Ok(gone + self.children()?.filter_map(|child| process::cpu_seconds(&child).ok()).sum::<f64>())
    }

    /// Memory of all its processes, in KiB, what they share counted once.
    pub fn memory_kib(&self) -> io::Result<f64> {
        let main = self.program.id().to_string();
        Ok(self.children()?.chain([main]).filter_map(|process| process::share_kib(&process).ok()).sum())
    }

    fn children(&self) -> io::Result<impl Iterator<Item = String>> {
        let id = self.program.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        Ok(children.split_whitespace().map(str::to_owned).collect::<Vec<_>>().into_iter())
    }

    /// Waits until it answers: it listens a moment before.
    fn wait(&self) -> io::Result<()> {
        let start = Instant::now();
        loop {
            match self.sql("postgres", "SELECT 1") {
                Err(_) if start.elapsed() < PATIENCE => sleep(Duration::from_millis(50)),
                result => return result,
            }
        }
    }

    fn sql(&self, database: &str, text: &str) -> io::Result<()> {
        let mut command = Command::new(self.programs.join("psql"));
        command.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1", "--username=postgres"]);
        command.args(["--host=127.0.0.1", &format!("--port={}", self.address.port())]);
        process::run(command.args(["--dbname", database, "--command", text]))
    }
}

/// What goes before a command so that it runs as a user whom the database accepts, who is given the
/// folder too.
fn user(folder: &Path) -> io::Result<&'static [&'static str]> {
    if !rustix::process::getuid().is_root() {
        return Ok(&[]);
    }
    let number = |option: &str| -> io::Result<u32> {
        let output = Command::new("id").args([option, USER]).output()?;
        let number = String::from_utf8_lossy(&output.stdout).trim().parse();
        number.map_err(|_| io::Error::other(format!("there is no user {USER}")))
    };
    chown(folder, Some(number("-u")?), Some(number("-g")?))?;
    Ok(&["setpriv", "--reuid", USER, "--regid", USER, "--clear-groups", "--reset-env"])
}

/// The folder with `initdb`, `postgres` and `psql`.
fn programs() -> io::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().filter_map(Result::ok);
    let mut folders: Vec<PathBuf> = versions.map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.reverse();
    folders.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    let complete =
        |folder: &PathBuf| ["initdb", "postgres", "psql"].iter().all(|name| folder.join(name).is_file());
    folders.into_iter().find(complete).ok_or_else(|| io::Error::other("initdb, postgres or psql is missing"))
}
