//! `bulla key`

use std::path::PathBuf;

use bulla_keys_schema::key::{KeyAlgorithm, KeyName};
use clap::{Subcommand, ValueEnum};

use super::{Context, say_dry_run};
use crate::flow::key::{change_passphrase, generate};
use crate::port::key_store::KeyStoreError;
use crate::report::{KeyReport, KeysReport};

/// Make and keep signing keys
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
    /// List the keys of this home
    List,
    /// Show one key; nothing secret
    Show {
        /// Its name
        name: KeyName,
    },
    /// Print the public key as PEM
    Export {
        /// Its name
        name: KeyName,
    },
    /// Change the passphrase of a key
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
    /// Remove a key for ever
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
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let output = context.output;
        match self {
            Self::Generate { name, algorithm, dry_run } => make(context, &name, algorithm.into(), dry_run),
            Self::List => {
                let keys = context.settings.local(None).ports().keys.list()?;
                Ok(output.answer(&KeysReport::new(&keys))?)
            }
            Self::Show { name } => {
                let key = context.settings.local(None).ports().keys.find(&name)?;
                Ok(output.answer(&KeyReport::from(&key))?)
            }
            Self::Export { name } => {
                let key = context.settings.local(None).ports().keys.find(&name)?;
                if output.is_json() {
                    return Ok(output.answer(&KeyReport::from(&key))?);
                }
                Ok(output.raw(key.public.to_pem().as_bytes())?)
            }
            Self::Passwd { name, new_passphrase_file, dry_run } => {
                let local = context.settings.local(new_passphrase_file);
                let key = match dry_run {
                    true => local.ports().keys.find(&name)?,
                    false => change_passphrase(local.ports(), &name)?,
                };
                say_dry_run(output, dry_run);
                Ok(output.answer(&KeyReport::from(&key))?)
            }
            Self::Remove { name, dry_run } => remove(context, &name, dry_run),
        }
    }
}

fn make(context: &Context, name: &KeyName, algorithm: KeyAlgorithm, dry_run: bool) -> anyhow::Result<()> {
    let local = context.settings.local(None);
    if dry_run {
        return match local.ports().keys.find(name) {
            Ok(known) => Err(crate::flow::key::KeyError::Exists { name: known.name }.into()),
            Err(KeyStoreError::Unknown { .. }) => {
                say_dry_run(context.output, true);
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
    }
    let key = generate(local.ports(), name, algorithm)?;
    context.output.answer(&KeyReport::from(&key))?;
    if let Some(path) = local.ports().keys.public_path(name) {
        context.output.say(&format!("public key: {}", path.display()));
    }
    context.output.say("keep a copy of the key files: a lost key cannot be made again");
    Ok(())
}

fn remove(context: &Context, name: &KeyName, dry_run: bool) -> anyhow::Result<()> {
    let local = context.settings.local(None);
    let keys = local.ports().keys;
    let key = keys.find(name)?;
    if !dry_run {
        keys.remove(name)?;
    }
    say_dry_run(context.output, dry_run);
    Ok(context.output.answer(&KeyReport::from(&key))?)
}
