//! `bulla init`

use std::path::Path;

use bulla_keys_schema::names::RepositoryName;

use super::asking::{self, Asking};
use super::signer::{UnusableFile, names_file, read_certificate, read_key};
use super::{Context, say_dry_run, warn_threshold};
use crate::flow::init::{FirstKey, Request, init};
use crate::pins::Mode;
use crate::report::InitReport;

/// Begin a repository: sign its first root, publish and pin it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image repository, with its registry: registry.example.com/team/app
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// A key that signs root: its name in this home, or a file with the public key of somebody
    /// else, for a legacy repository with his certificate; may be repeated [default: root]
    #[arg(long = "root-key", value_name = "KEY")]
    root_keys: Vec<String>,
    /// How many of the root keys must sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    root_threshold: u64,
    /// The key that signs targets, likewise
    #[arg(long, value_name = "KEY", default_value = "targets")]
    targets_key: String,
    /// How the metadata is written [default: as the pin for its scope says, else spec]
    #[arg(long, value_name = "MODE", value_enum)]
    mode: Option<Mode>,
    #[command(flatten)]
    asking: Asking,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut root_keys = self.root_keys;
        if root_keys.is_empty() {
            root_keys.push("root".to_owned());
        }
        let mode = match self.mode {
            Some(mode) => mode,
            None => context.settings.mode(&self.repository)?,
        };
        let request = Request {
            repository: self.repository,
            mode,
            root_keys: root_keys.iter().map(|text| first_key(text)).collect::<Result<_, _>>()?,
            root_threshold: self.root_threshold,
            targets_key: first_key(&self.targets_key)?,
            how: self.asking.how(),
        };
        let world = context.settings.world_in(&request.repository, mode)?;
        let begun = init(world.ports(), &request).await?;
        warn_threshold(context.output, mode, self.root_threshold);
        say_dry_run(context.output, self.asking.is_dry_run());
        context.output.answer(&InitReport::new(&request.repository, &begun))?;
        let mode = if mode == Mode::Legacy { " --mode legacy" } else { "" };
        if let Some(digest) = begun.root_digest {
            for key in &begun.not_proven {
                context.output.warn(&format!(
                    "root key {key} has not signed: nobody has shown that he holds its private half"
                ));
            }
            context.output.say("pinned here; whoever verifies pins the same root:");
            context
                .output
                .say(&format!("  bulla trust add {}{mode} --root-sha256 {digest}", request.repository));
        }
        asking::wait(context, &request.repository, begun.request)
    }
}

/// A key of this home, or a file of somebody else's.
fn first_key(text: &str) -> Result<FirstKey, UnusableFile> {
    match text.parse() {
        Ok(name) if !names_file(text) => Ok(FirstKey::Named(name)),
        _ => read_first_key(Path::new(text)),
    }
}

fn read_first_key(path: &Path) -> Result<FirstKey, UnusableFile> {
    if let Some(known) = read_certificate(path)? {
        return Ok(FirstKey::Certified(Box::new(known)));
    }
    Ok(FirstKey::Elsewhere { name: asking::label(path), key: Box::new(read_key(path)?) })
}
