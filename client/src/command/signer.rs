//! `bulla signer`

use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{KeyName, PublicKey};
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{PathPattern, RepositoryName, SignerName};
use bytes::Bytes;
use clap::Subcommand;

use super::{Context, say_dry_run, warn_expired, warn_threshold};
use crate::flow::enrol;
use crate::flow::inspect::inspect;
use crate::flow::signer::{AddRequest, add, every_tag, remove};
use crate::report::{EnrolmentReport, SignerChangeReport, SignersReport};

/// Largest file with a public key, in bytes.
const KEY_BYTES: u64 = 16 * 1024;

/// Let others sign tags
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Let a signer sign tags
    Add(AddArgs),
    /// Take a signer's right to sign
    Remove(RemoveArgs),
    /// List the signers
    List {
        /// The repository
        #[arg(value_parser = super::repository)]
        repository: RepositoryName,
    },
    /// As a signer: sign the document with which the admin adds you
    Enrol(EnrolArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct AddArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name
    name: SignerName,
    /// A public key of the signer (PEM); may be repeated
    #[arg(long = "key", value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    /// How many of the keys must sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: u64,
    /// Tags the signer may sign, with * and ?, or in a legacy repository PREFIX*; may be repeated
    /// [default: all]
    #[arg(long = "tags", value_name = "GLOB")]
    tags: Vec<PathPattern>,
    /// What the signer wrote with `bulla signer enrol`, where the private keys are not here
    #[arg(long, value_name = "FILE")]
    enrolment: Option<PathBuf>,
    /// Show what would be changed, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RemoveArgs {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name
    name: SignerName,
    /// Show what would be changed, change nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct EnrolArgs {
    /// The repository; it must be pinned here
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// The signer's name, as the admin will use it
    name: SignerName,
    /// A key of this home; may be repeated
    #[arg(long = "key", value_name = "NAME", required = true)]
    keys: Vec<KeyName>,
    /// How many of the keys will have to sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    threshold: u64,
    /// Tags the admin will allow; may be repeated [default: all]
    #[arg(long = "tags", value_name = "GLOB")]
    tags: Vec<PathPattern>,
    /// Where to write the document; it must not exist
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Add(args) => args.run(context).await,
            Self::Remove(args) => args.run(context).await,
            Self::List { repository } => {
                let world = context.settings.world(&repository)?;
                let inspection = inspect(world.ports(), &repository, None).await?;
                if let Some(reason) = &inspection.offline {
                    context.output.warn(&format!("{reason}; this is what was accepted before"));
                }
                Ok(context.output.answer(&SignersReport::new(&inspection))?)
            }
            Self::Enrol(args) => args.run(context).await,
        }
    }
}

impl AddArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let request = AddRequest {
            keys: self.keys.iter().map(|path| read_key(path)).collect::<Result<_, _>>()?,
            enrolment: self.enrolment.as_deref().map(read_enrolment).transpose()?,
            repository: self.repository,
            name: self.name,
            threshold: self.threshold,
            patterns: patterns(self.tags),
            dry_run: self.dry_run,
        };
        let world = context.settings.world(&request.repository)?;
        let added = add(world.ports(), &request).await?;
        warn_threshold(context.output, context.settings.mode(&request.repository)?, request.threshold);
        warn_expired(context.output, &added.published);
        say_dry_run(context.output, self.dry_run);
        let report = SignerChangeReport::added(&request.repository, request.name.as_str(), &added);
        Ok(context.output.answer(&report)?)
    }
}

impl RemoveArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        let removed = remove(world.ports(), &self.repository, &self.name, self.dry_run).await?;
        warn_expired(context.output, &removed.published);
        say_dry_run(context.output, self.dry_run);
        let report = SignerChangeReport::removed(&self.repository, self.name.as_str(), &removed);
        Ok(context.output.answer(&report)?)
    }
}

impl EnrolArgs {
    async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        let request = enrol::Request {
            repository: self.repository,
            name: self.name,
            keys: self.keys,
            threshold: self.threshold,
            patterns: patterns(self.tags),
        };
        let failed = |reason: String| UnusableFile { action: "write", path: self.out.clone(), reason };
        if self.out.exists() {
            return Err(failed("it exists already".to_owned()).into());
        }
        let document = enrol::enrol(world.ports(), &request).await?;
        fs::write(&self.out, &document).map_err(|error| failed(error.to_string()))?;
        let file = self.out.display().to_string();
        context.output.say("hand this file and your public keys to the admin, who runs:");
        context.output.say(&format!(
            "  bulla signer add {} {} --key FILE.pub --enrolment {file}",
            request.repository, request.name
        ));
        Ok(context.output.answer(&EnrolmentReport::new(&request.repository, request.name.as_str(), &file))?)
    }
}

fn patterns(tags: Vec<PathPattern>) -> Vec<PathPattern> {
    if tags.is_empty() { every_tag() } else { tags }
}

/// Reads a file with one public key in PEM; docker's name the signer in a header.
pub(super) fn read_key(path: &Path) -> Result<PublicKey, UnusableFile> {
    let failed = |reason: String| UnusableFile { action: "use", path: path.to_owned(), reason };
    let pem = read(path, KEY_BYTES)?;
    let pem = str::from_utf8(&pem).map_err(|_| failed("not text".to_owned()))?;
    PublicKey::from_pem_with_headers(pem).map_err(|error| failed(error.to_string()))
}

fn read_enrolment(path: &Path) -> Result<Bytes, UnusableFile> {
    read(path, limits::TARGETS_BYTES as u64).map(Bytes::from)
}

fn read(path: &Path, limit: u64) -> Result<Vec<u8>, UnusableFile> {
    let failed = |reason: String| UnusableFile { action: "read", path: path.to_owned(), reason };
    let file = File::open(path).map_err(|error| failed(error.to_string()))?;
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > limit {
        return Err(failed(format!("larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// A file named on the command line is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot {action} {}: {reason}", path.display())]
pub(super) struct UnusableFile {
    /// `read`, `write` or `use`.
    pub(super) action: &'static str,
    /// The file.
    pub(super) path: PathBuf,
    /// What is wrong with it.
    pub(super) reason: String,
}
