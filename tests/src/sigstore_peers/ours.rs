//! Bulla among the others: it judges with a key as cosign does, and signs and attests with a trust server.

use std::path::{Path, PathBuf};

use super::images::{Image, ImageRegistry};
use super::{KeyPair, Opinion, text};
use crate::cli::{Cli, Ran};
use crate::programs::{Bullad, expect, program};
use tempfile::TempDir;

/// What `bulla verify --key` makes of an image: no server, no pins, a fresh home.
#[must_use]
pub fn verify_with_key(public: &Path, image: &Image) -> Opinion {
    verify_with(&["--key", text(public)], image)
}

/// The same with other options.
#[must_use]
pub fn verify_with(options: &[&str], image: &Image) -> Opinion {
    let bulla = Cli::new(text(&program("bulla")));
    opinion(bulla.run(&[&["verify", &image.tagged()], options].concat()))
}

fn opinion(ran: Ran) -> Opinion {
    Opinion { accepted: ran.code == 0, code: ran.code, answer: ran.stdout, said: ran.stderr }
}

/// A trust server, and an admin whose signer is called `alice` and whose scanner is called `scanner`. The key
/// `edward` is of the other algorithm, and of nobody.
pub struct TrustSite {
    server: Option<Bullad>,
    /// Who holds all keys.
    pub admin: Cli,
    folder: TempDir,
}

impl TrustSite {
    /// Starts a server and makes the keys.
    ///
    /// # Panics
    /// A program does not do what it shall.
    #[must_use]
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Bullad::start(folder.path());
        let admin = server.user();
        for key in ["root", "targets", "alice", "scanner"] {
            expect(&admin, 0, &["key", "generate", key, "--algorithm", "ecdsa-p256"]);
        }
        expect(&admin, 0, &["key", "generate", "edward", "--algorithm", "ed25519"]);
        Self { server: Some(server), admin, folder }
    }

    /// Begins a repository in which alice signs tags and the scanner attests.
    ///
    /// # Panics
    /// It is refused.
    pub fn begin(&self, registry: &ImageRegistry, path: &str) {
        let repository = registry.repository(path);
        expect(&self.admin, 0, &["init", &repository]);
        for (signer, tags) in [("alice", "*"), ("scanner", "att/**")] {
            let public = self.key(signer).public;
            let key = ["--key", text(&public), "--tags", tags];
            expect(&self.admin, 0, &[&["signer", "add", &repository, signer], &key[..]].concat());
        }
    }

    /// A key of the admin.
    #[must_use]
    pub fn key(&self, name: &str) -> KeyPair {
        KeyPair::named(&self.admin.home("keys"), name)
    }

    /// `bulla sign` as alice.
    ///
    /// # Panics
    /// It is refused.
    pub fn sign(&self, image: &Image) {
        expect(&self.admin, 0, &["sign", &image.tagged(), "--as", "alice"]);
    }

    /// `bulla sign` for users of cosign, with no trust server: signatures in the registry, and nothing else.
    ///
    /// # Panics
    /// It is refused.
    pub fn sign_in_the_registry(&self, key: &str, image: &Image) {
        expect(&self.admin, 0, &["sign", &image.tagged(), "--only-registry", "--key", key]);
    }

    /// `bulla attest` as the scanner. Returns how it ended.
    ///
    /// # Panics
    /// The report cannot be written.
    #[must_use]
    pub fn try_attest(&self, image: &Image, kind: &str, report: &[u8], options: &[&str]) -> Opinion {
        let file = self.file("report.json", report);
        let arguments = ["attest", &image.tagged(), text(&file), "--type", kind, "--as", "scanner"];
        let arguments = [&arguments[..], &["--scan-args", "image --format json"]].concat();
        opinion(self.admin.run(&[&arguments[..], options].concat()))
    }

    /// The same, which must succeed.
    ///
    /// # Panics
    /// It is refused.
    pub fn attest(&self, image: &Image, kind: &str, report: &[u8]) {
        self.try_attest(image, kind, report, &[]).yes("bulla attests");
    }

    /// `bulla attest` for users of cosign, with no trust server.
    ///
    /// # Panics
    /// It is refused, or the report cannot be written.
    pub fn attest_in_the_registry(&self, key: &str, image: &Image, report: &[u8]) {
        let file = self.file("report.json", report);
        let fixed = ["attest", &image.tagged(), text(&file), "--only-registry", "--key", key];
        expect(&self.admin, 0, &[&fixed[..], &["--scan-args", "image --format json"]].concat());
    }

    /// A policy for this registry: alice signs, and the scanner has found nothing critical within a day.
    ///
    /// # Panics
    /// The admin's key cannot be read.
    #[must_use]
    pub fn policy(&self, host: &str) -> String {
        let root = expect(&self.admin, 0, &["key", "show", "root", "--output", "json"]).json();
        let server = &self.server.as_ref().expect("it runs").url;
        policy_on_scans(host, Some(server), &root["fingerprint"].to_string())
    }

    /// Somebody who trusts nothing but what a policy says.
    ///
    /// # Panics
    /// The server was stopped.
    #[must_use]
    pub fn consumer(&self) -> Cli {
        self.server.as_ref().expect("it runs").user().without("BULLA_PASSPHRASE").without("BULLA_SERVER")
    }

    /// What the server's disk holds now: a folder to go back to.
    ///
    /// # Panics
    /// It cannot be copied.
    #[must_use]
    pub fn snapshot(&mut self) -> PathBuf {
        self.server = None;
        let copy = self.folder.path().join("earlier");
        copy_folder(&self.folder.path().join("data"), &copy);
        self.start_again();
        copy
    }

    /// Somebody puts the server's disk back.
    ///
    /// # Panics
    /// It cannot be copied.
    pub fn put_back(&mut self, snapshot: &Path) {
        self.server = None;
        let data = self.folder.path().join("data");
        std::fs::remove_dir_all(&data).expect("a folder can be removed");
        copy_folder(snapshot, &data);
        self.start_again();
    }

    fn start_again(&mut self) {
        let server = Bullad::start(self.folder.path());
        self.admin = std::mem::replace(&mut self.admin, server.user()).with("BULLA_SERVER", &server.url);
        self.server = Some(server);
    }

    /// `bulla verify --policy` of a consumer: `IMAGE` with a policy of this text.
    ///
    /// # Panics
    /// The policy cannot be written.
    #[must_use]
    pub fn verify_with_policy(&self, consumer: &Cli, policy: &str, image: &Image) -> Opinion {
        let file = self.file("policy.toml", policy.as_bytes());
        opinion(consumer.run(&["verify", &image.tagged(), "--policy", text(&file)]))
    }

    /// A file of this content.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let file = self.folder.path().join(name);
        std::fs::write(&file, content).expect("a file can be written");
        file
    }
}

/// A policy for a registry and a root key, which stands in quotes: alice signs, and the scanner has found
/// nothing critical within a day.
#[must_use]
pub fn policy_on_scans(host: &str, server: Option<&str>, root_key: &str) -> String {
    let server = server.map(|server| format!("server = \"{server}\"\n")).unwrap_or_default();
    format!(
        r#"policy = 1
name = "scans"
default = "deny"
mode = "enforce"
[trust."{host}/**"]
{server}root_keys = [{root_key}]
root_threshold = 1
[[rule]]
name = "applications"
match = ["{host}/team/**"]
  [rule.signing]
  required = true
  signers = ["alice"]
  threshold = 1
  [[rule.attestation]]
  name = "vulnerabilities"
  type = "vulns"
  signers = ["scanner"]
  max_age = "24h"
  max_critical = 0
"#
    )
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = std::process::Command::new("cp").arg("--recursive").arg(from).arg(to).status();
    assert!(copied.is_ok_and(|status| status.success()), "{} cannot be copied", from.display());
}
