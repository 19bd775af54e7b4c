//! The trust servers of the comparison: Debian's `notary-server` with everything in memory, the same
//! with PostgreSQL and `notary-signer`, and `bullad`. All show certificates of the same kind.

use std::env;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_server::tls::DevelopmentTls;
use bulla_tests::peers::debian;
use serde_json::{Value, json};

use crate::notary_postgres::Postgres;
use crate::process::{self, Program, free_address};

/// The core on which every server runs; the load has the other one.
pub const CORE: usize = 0;

/// Which server.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bullad serve --dev` with its embedded store.
    Bullad,
    /// `notary-server` with its memory backend.
    Memory,
    /// `notary-server` with PostgreSQL, its keys in `notary-signer`.
    Postgres,
}

impl Kind {
    /// Every one, ours first.
    pub const ALL: [Self; 3] = [Self::Bullad, Self::Memory, Self::Postgres];

    /// Its name in a table.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bullad => "bullad",
            Self::Memory => "notary-server, memory",
            Self::Postgres => "notary-server, PostgreSQL and signer",
        }
    }

    /// Its name in a path.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Bullad => "bullad",
            Self::Memory => "memory",
            Self::Postgres => "postgres",
        }
    }
}

/// A running trust server with all the processes that it needs.
pub struct Server {
    /// Which one.
    pub kind: Kind,
    /// Where it serves.
    pub address: SocketAddr,
    /// In the order in which they are stopped.
    programs: Vec<Program>,
    postgres: Option<Postgres>,
}

impl Server {
    /// Starts it with its data in `folder`; `None` if something that it needs is not installed,
    /// which is said aloud.
    pub fn start(kind: Kind, bullad: &Path, folder: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(folder)?;
        match kind {
            Kind::Bullad => start_bullad(bullad, folder).map(Some),
            Kind::Memory => start_memory(folder),
            Kind::Postgres => start_postgres(folder),
        }
    }

    /// Processor seconds of all its processes so far.
    pub fn cpu_seconds(&self) -> io::Result<f64> {
        let own: f64 = self
            .programs
            .iter()
            .map(|program| process::cpu_seconds(&program.id().to_string()))
            .sum::<io::Result<_>>()?;
        Ok(own + self.postgres.as_ref().map_or(Ok(0.0), Postgres::cpu_seconds)?)
    }

    /// The most memory that was ever resident, in KiB, of each of its processes but the database's,
    /// added up.
    pub fn peak_kib(&self) -> io::Result<f64> {
        self.programs.iter().map(|program| process::peak_kib(program.id())).sum()
    }

    /// Memory of the database at the moment, in KiB, what its processes share counted once.
    pub fn database_kib(&self) -> io::Result<f64> {
        self.postgres.as_ref().map_or(Ok(0.0), Postgres::memory_kib)
    }
}

fn start_bullad(bullad: &Path, folder: &Path) -> io::Result<Server> {
    let address = free_address()?;
    let mut command = process::pinned(bullad, CORE);
    command.args(["serve", "--dev", "--listen", &address.to_string(), "--data"]).arg(folder.join("data"));
    let mut program = Program::start(&mut command, &folder.join("bullad.log"))?;
    program.wait_for(address)?;
    Ok(Server { kind: Kind::Bullad, address, programs: vec![program], postgres: None })
}

fn start_memory(folder: &Path) -> io::Result<Option<Server>> {
    let Some(program) = debians("notary-server") else { return Ok(None) };
    let storage = json!({"backend": "memory"});
    let (address, program) = start_notary(&program, folder, &json!({"type": "local"}), &storage)?;
    Ok(Some(Server { kind: Kind::Memory, address, programs: vec![program], postgres: None }))
}

fn start_postgres(folder: &Path) -> io::Result<Option<Server>> {
    let (Some(server), Some(signer)) = (debians("notary-server"), debians("notary-signer")) else {
        return Ok(None);
    };
    let postgres = match Postgres::start(folder, CORE) {
        Ok(postgres) => postgres,
        Err(reason) => {
            eprintln!("SKIPPED: PostgreSQL: {reason}; hint: apt-get install postgresql");
            return Ok(None);
        }
    };
    let storage = json!({"backend": "postgres", "db_url": postgres.url()});
    let client = client_certificate(folder)?;
    let (signer_address, signer) = start_signer(&signer, folder, &client, &storage)?;
    let files = tls(folder)?;
    let trust = json!({
        "type": "remote", "hostname": "localhost", "port": signer_address.port().to_string(),
        "key_algorithm": "ed25519", "tls_ca_file": files.authority_certificate(),
        "tls_client_cert": client, "tls_client_key": client.with_extension("key"),
    });
    let (address, server) = start_notary(&server, folder, &trust, &storage)?;
    let programs = vec![server, signer];
    Ok(Some(Server { kind: Kind::Postgres, address, programs, postgres: Some(postgres) }))
}

fn start_notary(
    program: &Path,
    folder: &Path,
    trust: &Value,
    storage: &Value,
) -> io::Result<(SocketAddr, Program)> {
    let (address, files) = (free_address()?, tls(folder)?);
    let config = json!({
        "server": {
            "http_addr": address, "tls_cert_file": files.certificate(), "tls_key_file": files.key(),
        },
        "trust_service": trust,
        "storage": storage,
        // The level that is used when none is given.
        "logging": {"level": "error"},
    });
    let file = folder.join("notary-server.json");
    fs::write(&file, config.to_string())?;
    let mut command = process::pinned(program, CORE);
    command.arg(format!("-config={}", file.display()));
    let mut program = Program::start(&mut command, &folder.join("notary-server.log"))?;
    program.wait_for(address)?;
    Ok((address, program))
}

fn start_signer(
    program: &Path,
    folder: &Path,
    client: &Path,
    storage: &Value,
) -> io::Result<(SocketAddr, Program)> {
    let (address, files) = (free_address()?, tls(folder)?);
    let mut storage = storage.clone();
    storage["default_alias"] = json!("bench");
    let config = json!({
        "server": {
            "grpc_addr": address, "tls_cert_file": files.certificate(), "tls_key_file": files.key(),
            "client_ca_file": client,
        },
        "storage": storage,
        "logging": {"level": "error"},
    });
    let file = folder.join("notary-signer.json");
    fs::write(&file, config.to_string())?;
    let mut command = process::pinned(program, CORE);
    command.arg(format!("-config={}", file.display())).env("NOTARY_SIGNER_BENCH", "correct horse");
    let mut program = Program::start(&mut command, &folder.join("notary-signer.log"))?;
    program.wait_for(address)?;
    Ok((address, program))
}

fn tls(folder: &Path) -> io::Result<DevelopmentTls> {
    DevelopmentTls::in_folder(folder.join("tls")).map_err(io::Error::other)
}

/// What the server shows to the signer: a certificate that is its own authority.
fn client_certificate(folder: &Path) -> io::Result<PathBuf> {
    let certificate = folder.join("client.pem");
    let mut command = Command::new("openssl");
    command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    command.args(["-days", "30", "-subj", "/CN=notary-server", "-keyout"]);
    command.arg(certificate.with_extension("key")).arg("-out").arg(&certificate);
    process::run(&mut command)?;
    Ok(certificate)
}

/// A program of Debian's package `notary`: an installed one, else what `.ci/peers` unpacked.
fn debians(name: &str) -> Option<PathBuf> {
    let folders = env::var_os("PATH").unwrap_or_default();
    let installed = env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file());
    installed.or_else(|| debian::program(debian::BOOKWORM, name))
}
