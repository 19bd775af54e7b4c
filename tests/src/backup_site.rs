//! A team's repository on a real server, with what it takes to lose its keys and get them back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bulla_keys_schema::digest::Sha256Digest;
use tempfile::TempDir;

use crate::cli::{Cli, Ran};
use crate::peers::absent;
use crate::programs::{Bullad, expect};

/// The repository.
pub const NAME: &str = "registry.example.com/team/app";
/// The passphrase of the backup.
pub const BACKUP_PASSPHRASE: &str = "battery staple";

/// `bullad`, and the admin of [`NAME`] with the keys `root`, `targets` and `alice`, a signer.
pub struct Site {
    _folder: TempDir,
    server: Bullad,
    /// The admin, in whose home all keys are.
    pub admin: Cli,
}

impl Site {
    /// Begins the repository.
    ///
    /// # Panics
    /// Something of it fails.
    #[must_use]
    pub fn new() -> Self {
        Self::begun(&[])
    }

    /// Begins it with more options.
    ///
    /// # Panics
    /// Something of it fails.
    #[must_use]
    pub fn begun(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Bullad::start_in_memory(folder.path());
        let admin = server.user().with("BULLA_BACKUP_PASSPHRASE", BACKUP_PASSPHRASE);
        for key in ["root", "targets", "alice"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        expect(&admin, 0, &[&["init", NAME], options].concat());
        let public = admin.home("keys/alice.pub");
        let public = public.to_str().expect("paths of tests are text");
        expect(&admin, 0, &["signer", "add", NAME, "alice", "--key", public]);
        Self { _folder: folder, server, admin }
    }

    /// Somebody else, with an empty home on another machine.
    #[must_use]
    pub fn elsewhere(&self) -> Cli {
        self.server.user().with("BULLA_BACKUP_PASSPHRASE", BACKUP_PASSPHRASE)
    }

    /// Makes a backup of the admin's home, and says where it is.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn backup(&self, file: &str, more: &[&str]) -> PathBuf {
        let path = self.admin.folder.path().join(file);
        expect(&self.admin, 0, &[&["key", "backup", "--out", text(&path)], more].concat());
        path
    }

    /// The home is lost.
    ///
    /// # Panics
    /// There is none.
    pub fn lose(&self) {
        fs::remove_dir_all(self.admin.home("")).expect("a home");
    }

    /// Signs a tag as `user`, and has a third person verify it, who pinned the root that `pinned`
    /// knows.
    ///
    /// # Panics
    /// Either fails.
    pub fn sign_and_verify(&self, user: &Cli, tag: &str) {
        let digest = Sha256Digest::of(tag.as_bytes()).to_oci();
        let image = format!("{NAME}:{tag}@{digest}");
        expect(user, 0, &["sign", &image, "--size", &tag.len().to_string()]);
        let pins = expect(user, 0, &["trust", "list", "--output", "json"]).json();
        let root = pins["pins"][0]["root_keys"][0].as_str().map(str::to_owned);
        let document = pins["pins"][0]["root_sha256"].as_str().map(str::to_owned);
        let consumer = self.elsewhere();
        let root = match (&root, &document) {
            (_, Some(digest)) => ["--root-sha256", digest],
            (Some(key), None) => ["--root-key", key],
            (None, None) => panic!("no pin: {pins}"),
        };
        let mode = ["--mode", pins["pins"][0]["mode"].as_str().expect("a mode")];
        expect(&consumer, 0, &[&["trust", "add", NAME], &root[..], &mode[..]].concat());
        expect(&consumer, 0, &["verify", &image]);
    }
}

impl Default for Site {
    fn default() -> Self {
        Self::new()
    }
}

/// A path of a test as text.
///
/// # Panics
/// It is none.
#[must_use]
pub fn text(path: &Path) -> &str {
    path.to_str().expect("paths of tests are text")
}

/// A refusal: its code, words of its first line, and a hint.
///
/// # Panics
/// It was something else.
pub fn refused(ran: &Ran, code: i32, words: &str) {
    assert_eq!(ran.code, code, "{ran:?}");
    assert!(ran.stderr.contains(words), "{words:?} in {}", ran.stderr);
    assert!(ran.stderr.contains("hint: "), "{}", ran.stderr);
}

/// Debian's `age`; nothing if it is not installed, which is said aloud.
#[must_use]
pub fn age(program: &str) -> Option<Command> {
    if Command::new(program).arg("--version").output().is_err() {
        absent("age", "apt-get install age");
        return None;
    }
    Some(Command::new(program))
}
