//! `bulla key`

mod export;
mod import;
mod list;
mod load;

use std::path::PathBuf;

use bulla_keys_schema::key::{KeyAlgorithm, KeyName};
use clap::{Subcommand, ValueEnum};

pub(super) use import::NoName;
pub(super) use load::{NoPath, NoSource};

use super::{Context, say_dry_run};
use crate::flow::key::{change_passphrase, generate, require_free};
use crate::port::KeyStoreError;
use crate::report::{KeyRemainsReport, KeyReport};

/// Make, take over, hand on and keep signing keys
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make a key, protected by a passphrase
    Generate {
        /// Its name in this home
        name: KeyName,
        /// What kind of key
        #[arg(long, value_enum, default_value_t)]
        algorithm: Algorithm,
        /// Only check that the name is free
        #[arg(long)]
        dry_run: bool,
    },
    Import(import::Args),
    Load(load::Args),
    List(list::ListArgs),
    Show(list::ShowArgs),
    Export(export::Args),
    Backup(super::backup::Args),
    Restore(super::backup::restore::Args),
    /// Change the passphrase of a key
    ///
    /// The key file is replaced in one step. Old files of cosign, which cost little to try
    /// passphrases on, cost as much as new ones after it.
    Passwd {
        /// Its name
        name: KeyName,
        /// File with the new passphrase
        #[arg(long, value_name = "FILE")]
        new_passphrase_file: Option<PathBuf>,
        /// Only check that the key is there
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a key for ever, or forget a loaded one
    Remove {
        /// Its name
        name: KeyName,
        /// Only check that the key is there
        #[arg(long)]
        dry_run: bool,
    },
}

/// Algorithms that keys can be made of.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(super) enum Algorithm {
    /// Read by every TUF client, and by cosign
    #[default]
    EcdsaP256,
    /// Smaller and faster
    Ed25519,
}

impl From<Algorithm> for KeyAlgorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::EcdsaP256 => Self::EcdsaP256,
            Algorithm::Ed25519 => Self::Ed25519,
        }
    }
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Generate { name, algorithm, dry_run } => make(context, &name, algorithm.into(), dry_run),
            Self::Import(args) => args.run(context),
            Self::Load(args) => args.run(context).await,
            Self::List(args) => args.run(context).await,
            Self::Show(args) => args.run(context).await,
            Self::Export(args) => args.run(context),
            Self::Backup(args) => args.run(context).await,
            Self::Restore(args) => args.run(context).await,
            Self::Passwd { name, new_passphrase_file, dry_run } => {
                change(context, &name, new_passphrase_file, dry_run)
            }
            Self::Remove { name, dry_run } => remove(context, &name, dry_run),
        }
    }
}

fn make(context: &Context, name: &KeyName, algorithm: KeyAlgorithm, dry_run: bool) -> anyhow::Result<()> {
    let local = context.settings.local(None);
    if dry_run {
        require_free(local.ports().keys, name)?;
        say_dry_run(context.output, true);
        return Ok(());
    }
    let key = generate(local.ports(), name, algorithm)?;
    context.output.answer(&KeyReport::from(&key))?;
    if let Some(path) = local.ports().keys.public_path(name) {
        context.output.say(&format!("public key: {}", path.display()));
    }
    context.output.say("keep a copy of the key files: a lost key cannot be made again");
    Ok(())
}

fn change(
    context: &Context,
    name: &KeyName,
    new_passphrase_file: Option<PathBuf>,
    dry_run: bool,
) -> anyhow::Result<()> {
    let local = context.settings.local(new_passphrase_file);
    if dry_run {
        let key = local.ports().keys.find(name)?;
        local.ports().keys.sealed(name)?;
        say_dry_run(context.output, true);
        return Ok(context.output.answer(&KeyReport::from(&key))?);
    }
    let changed = change_passphrase(local.ports(), name)?;
    if changed.after > changed.before {
        context.output.say(&format!(
            "each guess at the passphrase costs {} times as much as before (scrypt N={} to {})",
            changed.after / changed.before,
            changed.before,
            changed.after
        ));
    }
    context.output.say("copies of the old file still open with the old passphrase");
    Ok(context.output.answer(&KeyReport::from(&changed.key))?)
}

fn remove(context: &Context, name: &KeyName, dry_run: bool) -> anyhow::Result<()> {
    let local = context.settings.local(None);
    let keys = local.ports().keys;
    let key = match keys.find(name) {
        Err(error @ KeyStoreError::Unknown { .. }) => {
            let remains = if dry_run { keys.remains(name)? } else { keys.remove_remains(name)? };
            if remains.is_empty() {
                return Err(error.into());
            }
            say_dry_run(context.output, dry_run);
            return Ok(context.output.answer(&KeyRemainsReport::new(name, &remains, dry_run))?);
        }
        key => key?,
    };
    if !dry_run {
        keys.remove(name)?;
    }
    say_dry_run(context.output, dry_run);
    Ok(context.output.answer(&KeyReport::from(&key))?)
}
