//! `bulla key backup`

mod check;
mod opening;
pub(super) mod restore;

use std::path::{Path, PathBuf};

use bulla_keys_schema::backup::{InvalidSplit, Share, Split};
use bulla_keys_schema::key::KeyName;
use zeroize::Zeroizing;

use super::{Context, say_dry_run};
use crate::flow::backup::make::{gather, share_out};
use crate::report::{BackupReport, Openers};
use crate::wiring::backup_file::{self, Identity, Lock, Recipient};

pub(super) use opening::OpeningError;

/// Put keys, pins and roots into one encrypted file, or find out what such a file is good for
///
/// The file is in age's format: with `age --decrypt` it opens without this program too. Keys lie in
/// it under their own passphrases. The passphrase of the backup itself is asked for, or taken from
/// BULLA_BACKUP_PASSPHRASE or --passphrase-file.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Keys to put in [default: all]
    #[arg(value_name = "NAME")]
    names: Vec<KeyName>,
    /// The file to make
    #[arg(long, value_name = "FILE", required_unless_present = "verify")]
    out: Option<PathBuf>,
    /// Encrypt for this public key of age instead of a passphrase; may be repeated
    #[arg(long = "recipient", value_name = "AGE1...")]
    recipients: Vec<Recipient>,
    /// Instead of a passphrase, make N shares of a secret, in files beside the backup
    #[arg(long, value_name = "N", requires = "threshold")]
    shares: Option<u8>,
    /// How many of the shares open the backup
    #[arg(long, value_name = "K", requires = "shares")]
    threshold: Option<u8>,
    /// Show what would be in it, write nothing
    #[arg(long)]
    dry_run: bool,
    /// Open this backup, and hold its keys against what the repositories list now
    #[arg(long, value_name = "FILE", conflicts_with_all = ["names", "out", "recipients", "shares", "dry_run"])]
    verify: Option<PathBuf>,
    #[command(flatten)]
    opening: opening::OpeningArgs,
    /// With --verify: ask no server; hold the keys against the roots in the backup
    #[arg(long, requires = "verify")]
    offline: bool,
    /// With --verify: others keep the other keys of a threshold
    #[arg(long, requires = "verify")]
    partial: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match (&self.verify, &self.out) {
            (Some(file), _) => check::run(context, file, &self.opening, self.offline, self.partial).await,
            (None, Some(out)) => self.make(context, out).await,
            // clap wants one of them.
            (None, None) => Ok(()),
        }
    }

    async fn make(&self, context: &Context, out: &Path) -> anyhow::Result<()> {
        if self.opening.is_given() {
            return Err(OpeningError::NothingToOpen.into());
        }
        let sizes = self.sizes()?;
        let files: Vec<PathBuf> = (1..=sizes.map_or(0, Split::count)).map(|at| share_path(out, at)).collect();
        backup_file::require_absent(files.iter().map(PathBuf::as_path).chain([out]))?;
        let local = context.settings.local(None);
        let gathered = gather(local.ports(), context.settings.home(), &self.names).await?;
        let document = Zeroizing::new(gathered.backup.to_bytes()?);
        let openers = Openers {
            recipients: self.recipients.iter().map(|recipient| format!("{recipient:?}")).collect(),
            shares: files.clone(),
            threshold: sizes.map(Split::threshold),
        };
        if !self.dry_run {
            let mut recipients = self.recipients.clone();
            let mut shares = Vec::new();
            if let Some(sizes) = sizes {
                let identity = Identity::generate();
                let secret = identity.to_secret();
                recipients.push(identity.recipient());
                shares = share_out(local.ports().entropy, secret.as_bytes(), gathered.backup.id, sizes)?;
            }
            let encrypted = if recipients.is_empty() {
                let passphrase = context.settings.backup_passphrase().fresh()?;
                let _busy = context.output.busy("encrypting");
                backup_file::encrypt(&document, &Lock::Passphrase(&passphrase))?
            } else {
                backup_file::encrypt(&document, &Lock::Recipients(&recipients))?
            };
            let texts: Vec<Zeroizing<String>> = shares.iter().map(Share::to_text).collect();
            let mut all: Vec<(PathBuf, &[u8])> =
                files.iter().cloned().zip(texts.iter().map(|text| text.as_bytes())).collect();
            all.push((out.to_owned(), &encrypted));
            backup_file::write_new(&all)?;
        }
        self.finish(context, out, &BackupReport::new(&gathered, out, openers, self.dry_run), &gathered.loaded)
    }

    fn finish(
        &self,
        context: &Context,
        out: &Path,
        report: &BackupReport,
        loaded: &[KeyName],
    ) -> anyhow::Result<()> {
        let output = context.output;
        output.answer(report)?;
        for name in loaded {
            output.warn(&format!(
                "key {name} is loaded: its private half is not in this home, nor in the backup"
            ));
        }
        say_dry_run(output, self.dry_run);
        if !self.dry_run {
            if self.shares.is_some() {
                output.say("give each share to another person, and keep none of them beside the backup");
            }
            output.say("each key in it keeps its own passphrase: without that, the key is lost all the same");
            output.say(&format!("prove it now and then: bulla key backup --verify {}", out.display()));
        }
        Ok(())
    }

    fn sizes(&self) -> Result<Option<Split>, InvalidSplit> {
        let asked = self.shares.zip(self.threshold);
        asked.map(|(count, threshold)| Split::new(count, threshold)).transpose()
    }
}

/// `FILE.share-3`
fn share_path(out: &Path, index: u8) -> PathBuf {
    let mut path = out.as_os_str().to_owned();
    path.push(format!(".share-{index}"));
    path.into()
}
