//! `bulla trust`

use std::path::Path;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use clap::Subcommand;

use super::{Context, say_dry_run, signer};
use crate::config::ServerUrl;
use crate::pins::{Mode, Pin, PinnedRoot, Pins, Scope};
use crate::report::{PinReport, PinsReport};

/// Say which root keys to trust for which repositories
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Pin the root of a repository, or of all repositories below a prefix
    Add(AddArgs),
    /// List the pins
    List,
    /// Remove a pin
    Remove {
        /// The repository or scope, as listed
        #[arg(value_parser = super::scope)]
        scope: Scope,
        /// Change nothing
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("root").required(true)))]
pub(super) struct AddArgs {
    /// A repository, or a scope: registry.example.com/team/**
    #[arg(value_parser = super::scope)]
    scope: Scope,
    /// Digest of a root document
    #[arg(long, value_name = "HEX", group = "root", value_parser = digest)]
    root_sha256: Option<Sha256Digest>,
    /// Fingerprint of a root key, or a file with its public key (PEM); may be repeated
    #[arg(long = "root-key", value_name = "FINGERPRINT|FILE", group = "root")]
    root_keys: Vec<String>,
    /// How many of the root keys must have signed [default: all]
    #[arg(long, value_name = "K", conflicts_with = "root_sha256")]
    threshold: Option<u64>,
    /// How the metadata of these repositories is written
    #[arg(long, value_name = "MODE", value_enum, default_value_t)]
    mode: Mode,
    /// Ask this trust server about these repositories, unless --server names one
    #[arg(long = "pin-server", value_name = "URL")]
    pin_server: Option<ServerUrl>,
    /// Change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Verb {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let home = context.settings.home();
        match self {
            Self::Add(args) => args.run(context),
            Self::List => Ok(context.output.answer(&PinsReport::new(Pins::load(home)?.all()))?),
            Self::Remove { scope, dry_run } => {
                let removed = match dry_run {
                    true => Pins::load(home)?.remove(&scope)?,
                    false => Pins::update(home, |pins| pins.remove(&scope))?,
                };
                say_dry_run(context.output, dry_run);
                Ok(context.output.answer(&PinReport::from(&removed))?)
            }
        }
    }
}

impl AddArgs {
    fn run(self, context: &Context) -> anyhow::Result<()> {
        let home = context.settings.home();
        let root = match self.root_sha256 {
            Some(digest) => PinnedRoot::Document(digest),
            None => {
                let keys = self.root_keys.iter().map(|key| fingerprint(key));
                let keys = keys.collect::<Result<Vec<_>, _>>()?;
                let threshold = self.threshold.unwrap_or(keys.len() as u64);
                PinnedRoot::keys(keys, threshold)?
            }
        };
        let server = self.pin_server.map(|url| url.to_string());
        let pin = Pin { scope: self.scope, mode: self.mode, root, server };
        if self.dry_run {
            Pins::load(home)?.add(pin.clone())?;
        } else {
            Pins::update(home, |pins| pins.add(pin.clone()))?;
        }
        say_dry_run(context.output, self.dry_run);
        Ok(context.output.answer(&PinReport::from(&pin))?)
    }
}

fn digest(text: &str) -> Result<Sha256Digest, bulla_keys_schema::digest::InvalidDigest> {
    text.strip_prefix("sha256:").unwrap_or(text).parse()
}

/// A text of 64 hex digits is a fingerprint, anything else a file.
fn fingerprint(text: &str) -> Result<Fingerprint, signer::UnusableFile> {
    match text.parse() {
        Ok(fingerprint) => Ok(fingerprint),
        Err(_) => signer::read_key(Path::new(text)).map(|key| key.fingerprint()),
    }
}
