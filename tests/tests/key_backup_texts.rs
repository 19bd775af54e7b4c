//! The help of `bulla key backup` and `bulla key restore`, and every text of an error of theirs that
//! the tests beside do not bring about: a changed text is a reviewed text.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use bulla::adapter::backup_file::BackupFileError;
use bulla::adapter::backup_passphrase::BackupPassphraseError;
use bulla::command::explain;
use bulla::flow::backup::check::CheckError;
use bulla::flow::backup::make::GatherError;
use bulla::flow::backup::restore::{Conflict, RestoreError};
use bulla_keys_schema::backup::{BackupId, InvalidBackup, InvalidShare, JoinError, Split};
use bulla_keys_schema::key::{Fingerprint, KeyName};
use bulla_keys_schema::names::RepositoryName;
use bulla_tests::cli::Cli;

/// Texts of errors, each with its exit code.
#[derive(Default)]
struct Texts(String);

impl Texts {
    fn add(&mut self, error: impl Error + Send + Sync + 'static) {
        let report = explain(&error.into()).report();
        let _ = writeln!(self.0, "[{}] {}", report.exit_code, report.message);
        if let Some(hint) = report.hint {
            let _ = writeln!(self.0, "     hint: {hint}");
        }
    }

    fn check(self, name: &str) {
        assert!(!self.0.lines().any(|line| line.ends_with('.')), "{}", self.0);
        insta::assert_snapshot!(name, self.0);
    }
}

fn path() -> PathBuf {
    "/home/user/file".into()
}

fn reason() -> String {
    "permission denied".to_owned()
}

fn name() -> KeyName {
    "alice".parse().unwrap()
}

fn fingerprint(byte: u8) -> Fingerprint {
    hex::encode([byte; 32]).parse().unwrap()
}

fn repository() -> RepositoryName {
    "reg.example.com/team/app".parse().unwrap()
}

#[test]
fn help() {
    let cli = Cli::new(env!("CARGO_BIN_EXE_bulla-cli"));
    for command in ["backup", "restore"] {
        let text = cli.run(&["key", command, "--help"]).ok();
        insta::assert_snapshot!(format!("help-key-{command}"), text);
    }
}

#[test]
fn files_and_passphrases() {
    let mut texts = Texts::default();
    texts.add(BackupFileError::Altered);
    texts.add(BackupFileError::Exists { path: path() });
    texts.add(BackupFileError::Io { action: "read", path: path(), reason: reason() });
    texts.add(BackupFileError::Io { action: "write", path: path(), reason: reason() });
    texts.add(BackupFileError::NoIdentities { path: path() });
    texts.add(BackupFileError::NotEncrypted { reason: "more than 256 recipients".to_owned() });
    texts.add(BackupFileError::OpenToOthers { path: path(), mode: 0o644 });
    texts.add(BackupFileError::OtherFormat);
    texts.add(BackupFileError::OtherRecipient);
    texts.add(BackupFileError::TooLarge { path: path(), limit: 34_603_008 });
    texts.add(BackupFileError::TooMuchWork { required: 40 });
    texts.add(BackupFileError::WrongPassphrase);
    texts.add(BackupPassphraseError::Differ);
    texts.add(BackupPassphraseError::Empty);
    texts.add(BackupPassphraseError::NobodyToAsk);
    texts.check("files-and-passphrases");
}

#[test]
fn documents() {
    let mut texts = Texts::default();
    texts.add(InvalidBackup::Key { name: "../alice".to_owned(), reason: "not a key name".to_owned() });
    texts.add(InvalidBackup::KeyTwice { name: name() });
    texts.add(InvalidBackup::Member { member: "created", reason: "not a time".to_owned() });
    texts.add(InvalidBackup::OtherKey { name: name() });
    texts.add(InvalidBackup::RepositoryTwice { repository: repository() });
    texts.add(InvalidBackup::Structure { reason: "unknown field `x`".to_owned() });
    texts.add(InvalidBackup::TooLarge);
    texts.add(InvalidBackup::Version);
    texts.add(CheckError::Invalid { reason: "version 2 is unknown, this program knows 1".to_owned() });
    texts.check("documents");
}

#[test]
fn making_and_restoring() {
    let mut texts = Texts::default();
    texts.add(GatherError::Loaded { name: name() });
    texts.add(GatherError::NotSplit);
    texts.add(GatherError::Invalid(InvalidBackup::TooLarge));
    texts.add(Split::new(3, 1).unwrap_err());
    texts.add(RestoreError::Conflicts(vec![
        Conflict::Key { name: name(), here: fingerprint(1), there: fingerprint(2) },
        Conflict::Pin { scope: "reg.example.com/**".parse().unwrap() },
        Conflict::Twice { name: name() },
    ]));
    texts.add(RestoreError::NoSuchKey { name: name() });
    texts.check("making-and-restoring");
}

#[test]
fn shares() {
    let mut words = String::new();
    for error in [
        JoinError::Contradiction { one: 1, other: 2 },
        JoinError::Mixed { one: BackupId([1; 16]), other: BackupId([2; 16]) },
        JoinError::TooFew { given: 1, threshold: 3 },
        JoinError::Twice { index: 2 },
    ] {
        let _ = writeln!(words, "{error}");
    }
    for error in [InvalidShare::Damaged { what: "checksum" }, InvalidShare::NotAShare] {
        let _ = writeln!(words, "{error}");
    }
    insta::assert_snapshot!("shares", words);
}
