//! Opening a backup: with its passphrase, with an identity of age, or with shares.

use std::path::{Path, PathBuf};

use bulla_keys_schema::backup::{Backup, BackupId, InvalidShare, JoinError, Share, join};

use super::super::Context;
use crate::wiring::backup_file::{self, BackupFileError, Identity, LockKind, Opener};

/// With what to open a backup.
#[derive(Debug, clap::Args)]
pub(super) struct OpeningArgs {
    /// Open it with the identities of age in this file
    #[arg(long, value_name = "FILE", conflicts_with = "share")]
    identity: Option<PathBuf>,
    /// Open it with the share in this file; as often as shares are needed
    #[arg(long, value_name = "FILE")]
    share: Vec<PathBuf>,
}

impl OpeningArgs {
    /// Whether anything was named.
    pub(super) const fn is_given(&self) -> bool {
        self.identity.is_some() || !self.share.is_empty()
    }

    /// Whether what it opens can be made by anybody: for an identity, its public key is enough. A
    /// passphrase, and the key that shares bring back, are known to those who make backups alone.
    pub(super) const fn is_open_to_anybody(&self) -> bool {
        self.identity.is_some()
    }
}

/// Why a backup cannot be opened with what was named.
#[derive(Debug, thiserror::Error)]
pub(in crate::command) enum OpeningError {
    /// The shares bring nothing back.
    #[error(transparent)]
    Join(#[from] JoinError),
    /// The backup wants an identity or shares.
    #[error("the backup is encrypted for public keys: a passphrase does not open it")]
    NeedsIdentity,
    /// The backup wants a passphrase.
    #[error("the backup is encrypted with a passphrase: identities and shares do not open it")]
    NeedsPassphrase,
    /// A backup is made, not opened.
    #[error("--identity and --share open a backup, and do nothing when one is made")]
    NothingToOpen,
    /// The shares fit each other, and bring back another backup's secret.
    #[error("the shares are of backup {shares}, and this is another one")]
    OtherBackup {
        /// The backup that they say they are of.
        shares: BackupId,
    },
    /// One file is no share.
    #[error("{}: {source}", path.display())]
    Share {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: InvalidShare,
    },
    /// Their checksums are right, and what they bring back is no secret.
    #[error("the shares do not fit together: at least one of them was made up")]
    Wrong,
}

/// Opens and reads the backup in `file`.
pub(super) fn open(context: &Context, file: &[u8], with: &OpeningArgs) -> anyhow::Result<Backup> {
    let kind = backup_file::lock_kind(file)?;
    let (document, shares_of) = match kind {
        LockKind::Passphrase if with.is_given() => return Err(OpeningError::NeedsPassphrase.into()),
        LockKind::Passphrase => {
            let passphrase = context.settings.backup_passphrase().existing()?;
            let _busy = context.output.busy("decrypting");
            (backup_file::decrypt(file, &Opener::Passphrase(&passphrase))?, None)
        }
        LockKind::Recipients => match (&with.identity, with.share.as_slice()) {
            (Some(path), _) => {
                let identities = backup_file::read_identities(path)?;
                (backup_file::decrypt(file, &Opener::Identities(&identities))?, None)
            }
            (None, []) => return Err(OpeningError::NeedsIdentity.into()),
            (None, paths) => {
                let (identity, id) = join_files(paths)?;
                let opened = backup_file::decrypt(file, &Opener::Identities(&[identity]));
                let other = OpeningError::OtherBackup { shares: id };
                match opened {
                    Err(BackupFileError::OtherRecipient) => return Err(other.into()),
                    opened => (opened?, Some(id)),
                }
            }
        },
    };
    let backup = Backup::parse(&document)?;
    match shares_of {
        Some(shares) if shares != backup.id => Err(OpeningError::OtherBackup { shares }.into()),
        _ => Ok(backup),
    }
}

fn join_files(paths: &[PathBuf]) -> anyhow::Result<(Identity, BackupId)> {
    let shares = paths.iter().map(|path| read(path)).collect::<anyhow::Result<Vec<Share>>>()?;
    let secret = join(&shares).map_err(OpeningError::from)?;
    let id = shares.first().map(Share::backup).ok_or(OpeningError::NeedsIdentity)?;
    Ok((Identity::from_secret(&secret).ok_or(OpeningError::Wrong)?, id))
}

fn read(path: &Path) -> anyhow::Result<Share> {
    let text = backup_file::read_share(path)?;
    let share = Share::parse(&text);
    Ok(share.map_err(|source| OpeningError::Share { path: path.to_owned(), source })?)
}
