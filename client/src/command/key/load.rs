//! `bulla key load`

use std::path::{self, Path, PathBuf};

use bulla_keys_schema::key::{InvalidKeySource, KeyName, KeySource};
use bulla_keys_schema::names::RepositoryName;

use super::super::{Context, repository, say_dry_run};
use super::NoName;
use crate::flow::Ports;
use crate::flow::key::load::{LoadRequest, load};
use crate::pins::{Pins, Scope};
use crate::report::KeyLoadReport;
use crate::wiring::World;

/// Longest time that a key is known, in hours.
const HOURS: i64 = 30 * 24;
const HOUR: i64 = 3600;

/// Let the following commands use a key of a pipeline's variable, or of a file
///
/// PEM or base64, encrypted or not, of docker, notary, cosign or openssl: which, it finds out by itself.
/// Nothing secret is written to this home, only the public key and the name of the variable: each
/// command that needs the key reads the variable again. Shows which roles it may sign for, and fails if
/// there is none.
#[derive(Debug, clap::Args)]
#[command(
    override_usage = "bulla key load --from-env VAR [OPTIONS] [REPOSITORY]...\n       bulla key load FILE [OPTIONS] [REPOSITORY]..."
)]
pub(in crate::command) struct Args {
    /// The variable with the key: its name, not its value
    // No parser of its own: its error would repeat what was meant to stay in the variable.
    #[arg(long, value_name = "VAR", allow_hyphen_values = true)]
    from_env: Option<String>,
    /// Without --from-env, first the file with the key, which only its owner may be able to read. Then
    /// the repositories in which it is to sign [default: those that are pinned one by one]
    #[arg(value_name = "FILE|REPOSITORY")]
    operands: Vec<String>,
    /// Its name in this home [default: as the variable or the file is named]
    #[arg(long)]
    name: Option<KeyName>,
    /// Hours until it is forgotten
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(i64).range(1..=HOURS))]
    hours: i64,
    /// Only read the key and show what it may sign
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let output = context.output;
        let mut operands = self.operands.iter();
        let (source, name) = match self.from_env {
            Some(variable) => (KeySource::variable(&variable)?, None),
            None => {
                let path = Path::new(operands.next().ok_or(NoSource)?);
                (source_at(path)?, Some(path))
            }
        };
        let named = operands.map(|operand| repository(operand)).collect::<Result<Vec<_>, _>>()?;
        let name = match (self.name, name) {
            (Some(name), _) => name,
            (None, Some(path)) => stem(path).ok_or_else(|| NoName::of(path))?,
            (None, None) => {
                variable_stem(&source).ok_or_else(|| NoName::of(Path::new(&source.to_string())))?
            }
        };
        let repositories = match named.as_slice() {
            [] => pinned(context)?,
            _ => named,
        };
        let local = context.settings.local(None);
        let text = local.sources().read(&source)?;
        let worlds = repositories
            .into_iter()
            .map(|repository| Ok((repository.clone(), context.settings.world(&repository)?)))
            .collect::<anyhow::Result<Vec<(RepositoryName, World)>>>()?;
        let ports: Vec<(RepositoryName, Ports<'_>)> =
            worlds.iter().map(|(repository, world)| (repository.clone(), world.ports())).collect();
        let lifetime = self.hours * HOUR;
        let request = LoadRequest { name, source, text, lifetime, dry_run: self.dry_run };
        let loaded = load(local.ports(), &ports, request).await?;
        say_dry_run(output, self.dry_run);
        output.answer(&KeyLoadReport::new(&loaded, local.ports().clock.now()))?;
        for repository in &loaded.without {
            output.warn(&format!("the key signs for no role of {repository}"));
        }
        if ports.is_empty() {
            output.warn("what the key may sign was not looked up: name repositories, or pin them");
        }
        if !self.dry_run {
            output.say(&format!(
                "the private key stays where it is; to forget it here: bulla key remove {}",
                loaded.key.name
            ));
        }
        Ok(())
    }
}

/// The file at `path`, wherever a later command is started.
pub(super) fn source_at(path: &Path) -> Result<KeySource, NoPath> {
    let refused = |reason: String| NoPath { path: path.to_owned(), reason };
    let absolute = path::absolute(path).map_err(|error| refused(error.to_string()))?;
    let text = absolute.to_str().ok_or_else(|| refused("not text".to_owned()))?;
    KeySource::file(text).map_err(|error: InvalidKeySource| refused(error.to_string()))
}

fn stem(path: &Path) -> Option<KeyName> {
    path.file_stem()?.to_str()?.parse().ok()
}

fn variable_stem(source: &KeySource) -> Option<KeyName> {
    match source {
        KeySource::Variable(name) => name.trim_start_matches('_').to_lowercase().parse().ok(),
        KeySource::File(_) => None,
    }
}

/// The repositories that have a pin of their own.
pub(super) fn pinned(context: &Context) -> anyhow::Result<Vec<RepositoryName>> {
    let pins = Pins::load(context.settings.home())?;
    let alone = pins.all().iter().filter_map(|pin| match &pin.scope {
        Scope::Repository(repository) => Some(repository.clone()),
        Scope::Below(_) => None,
    });
    Ok(alone.collect())
}

/// Neither a variable nor a file was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("nothing says where the key is")]
pub(in crate::command) struct NoSource;

/// A path that a later command could not open again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot use {}: {reason}", path.display())]
pub(in crate::command) struct NoPath {
    /// The path.
    path: PathBuf,
    /// What is wrong with it.
    reason: String,
}
