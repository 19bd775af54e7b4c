//! What the errors of backups mean.

use bulla_keys_schema::backup::{InvalidBackup, InvalidSplit, JoinError};

use super::{Exit, Explained, hint, key_store, passphrase, pins};
use crate::command::backup::OpeningError;
use crate::command::backup::restore::UnusableFolder;
use crate::flow::backup::check::CheckError;
use crate::flow::backup::make::GatherError;
use crate::flow::backup::restore::RestoreError;
use crate::wiring::backup_file::BackupFileError;
use crate::wiring::{BACKUP_PASSPHRASE, BackupPassphraseError};

/// Nothing for errors of other commands.
pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    if let Some(error) = error.downcast_ref() {
        return Some(file(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(opening(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(no_passphrase(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(invalid(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(gather(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(check(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(restore(error));
    }
    if error.is::<InvalidSplit>() {
        return Some((Exit::Usage, hint("for example: --shares 5 --threshold 3")));
    }
    if error.is::<UnusableFolder>() {
        return Some((
            Exit::Usage,
            hint("name a backup, or pack the key files alone: tar -C ~/.docker/trust -cf FILE private"),
        ));
    }
    None
}

fn file(error: &BackupFileError) -> Explained {
    match error {
        BackupFileError::Altered => (Exit::Tampered, hint("use another copy of the backup")),
        BackupFileError::Exists { .. } => {
            (Exit::Usage, hint("name another file: --out FILE; a backup is never overwritten"))
        }
        BackupFileError::Io { action: "write", .. } => {
            (Exit::Usage, hint("name a file in a folder that exists and can be written"))
        }
        BackupFileError::Io { .. } | BackupFileError::TooLarge { .. } => {
            (Exit::Usage, hint("name another file"))
        }
        BackupFileError::NoIdentities { .. } => {
            (Exit::Usage, hint("name the file that age-keygen made, not encrypted itself"))
        }
        BackupFileError::NotEncrypted { .. } => {
            (Exit::Usage, hint("name at least one --recipient, and at most 256"))
        }
        BackupFileError::OpenToOthers { path, .. } => {
            (Exit::Configuration, hint(&format!("close it: chmod 600 {}", path.display())))
        }
        BackupFileError::OtherFormat => {
            (Exit::Usage, hint("name a file that bulla key backup made; one in ASCII armor is decoded first"))
        }
        BackupFileError::OtherRecipient => (Exit::Usage, hint("name the right one: --identity FILE")),
        BackupFileError::TooMuchWork { .. } => {
            (Exit::Tampered, hint("bulla key backup makes none like that: find out where it comes from"))
        }
        BackupFileError::WrongPassphrase => {
            (Exit::Usage, hint("try again; if the passphrase is right, use another copy of the backup"))
        }
    }
}

fn opening(error: &OpeningError) -> Explained {
    match error {
        OpeningError::Join(JoinError::TooFew { .. }) => {
            (Exit::NotSigned, hint("ask for more shares, and name each: --share FILE --share FILE"))
        }
        OpeningError::Join(JoinError::Twice { .. }) => {
            (Exit::Usage, hint("name each share once; a copy of a share is no other one"))
        }
        OpeningError::Join(JoinError::Mixed { .. }) | OpeningError::OtherBackup { .. } => {
            (Exit::Usage, hint("each share says in its second line which backup it is of"))
        }
        OpeningError::Join(JoinError::Contradiction { .. }) | OpeningError::Wrong => {
            (Exit::Tampered, hint("find out who made it up; try other shares"))
        }
        OpeningError::NeedsIdentity => {
            (Exit::Usage, hint("name what opens it: --identity FILE, or --share FILE for each share"))
        }
        OpeningError::NeedsPassphrase => (Exit::Usage, hint("leave --identity and --share out")),
        OpeningError::NothingToOpen => {
            (Exit::Usage, hint("leave them out, or name what to open: --verify FILE"))
        }
        OpeningError::Share { .. } => {
            (Exit::Usage, hint("compare it with another copy, letter by letter, or use another share"))
        }
    }
}

fn no_passphrase(error: &BackupPassphraseError) -> Explained {
    match error {
        BackupPassphraseError::Differ => (Exit::Usage, hint("try again")),
        BackupPassphraseError::Empty => {
            (Exit::Usage, hint(&format!("choose one; in pipelines check that {BACKUP_PASSPHRASE} is filled")))
        }
        BackupPassphraseError::NobodyToAsk => {
            (Exit::Usage, hint(&format!("set {BACKUP_PASSPHRASE}, or name a --passphrase-file")))
        }
        BackupPassphraseError::Read(error) => passphrase(error),
    }
}

fn invalid(error: &InvalidBackup) -> Explained {
    match error {
        InvalidBackup::Version => {
            (Exit::Usage, hint("use the version of bulla that made it, or a newer one"))
        }
        _ => (Exit::Tampered, hint("restore nothing from it; use another backup")),
    }
}

fn gather(error: &GatherError) -> Explained {
    match error {
        GatherError::Cache(_) => (Exit::Internal, hint("check the folder, or name another: --home DIR")),
        GatherError::Entropy(_) | GatherError::NotSplit => (Exit::Internal, None),
        GatherError::Invalid(_) => (Exit::Usage, hint("name fewer keys: bulla key backup --out FILE NAME")),
        GatherError::Loaded { .. } => {
            (Exit::Usage, hint("back it up where it is kept; leave its name out here"))
        }
        GatherError::Pins(error) => pins(error),
        GatherError::Store(error) => key_store(error),
    }
}

fn check(error: &CheckError) -> Explained {
    match error {
        CheckError::Cache(_) => (Exit::Internal, hint("check that the folder for temporary files has room")),
        CheckError::Invalid { .. } => {
            (Exit::Tampered, hint("restore the keys alone: bulla key restore --keys-only FILE"))
        }
        CheckError::Pins(error) => pins(error),
    }
}

fn restore(error: &RestoreError) -> Explained {
    match error {
        RestoreError::Cache(_) => {
            (Exit::Internal, hint("keys and pins are in place; check the folder, and run it again"))
        }
        RestoreError::Conflicts(_) => (
            Exit::Configuration,
            hint("give keys other names: --as NAME=NEW; leave the pins of the backup out: --keys-only"),
        ),
        RestoreError::NoSuchKey { .. } => {
            (Exit::Usage, hint("list its keys: bulla key restore --dry-run FILE"))
        }
        RestoreError::Pins(error) => pins(error),
        RestoreError::Store(error) => key_store(error),
    }
}
