//! `bulla init`

use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::RepositoryName;

use super::{Context, say_dry_run, warn_threshold};
use crate::flow::init::{Request, init};
use crate::pins::Mode;
use crate::report::InitReport;

/// Begin a repository: sign its first root, publish and pin it
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image repository, with its registry: registry.example.com/team/app
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// A key of this home that signs root; may be repeated [default: root]
    #[arg(long = "root-key", value_name = "NAME")]
    root_keys: Vec<KeyName>,
    /// How many of the root keys must sign
    #[arg(long, value_name = "K", default_value_t = 1)]
    root_threshold: u64,
    /// The key of this home that signs targets
    #[arg(long, value_name = "NAME", default_value = "targets")]
    targets_key: KeyName,
    /// How the metadata is written [default: as the pin for its scope says, else spec]
    #[arg(long, value_name = "MODE", value_enum)]
    mode: Option<Mode>,
    /// Check everything, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let mut root_keys = self.root_keys;
        if root_keys.is_empty() {
            root_keys.push("root".parse()?);
        }
        let mode = match self.mode {
            Some(mode) => mode,
            None => context.settings.mode(&self.repository)?,
        };
        let request = Request {
            repository: self.repository,
            mode,
            root_keys,
            root_threshold: self.root_threshold,
            targets_key: self.targets_key,
            dry_run: self.dry_run,
        };
        let world = context.settings.world_in(&request.repository, mode)?;
        let begun = init(world.ports(), &request).await?;
        warn_threshold(context.output, mode, self.root_threshold);
        say_dry_run(context.output, self.dry_run);
        context.output.answer(&InitReport::new(&request.repository, &begun))?;
        if let Some(digest) = begun.root_digest {
            context.output.say("pinned here; whoever verifies pins the same root:");
            let mode = if mode == Mode::Legacy { " --mode legacy" } else { "" };
            context
                .output
                .say(&format!("  bulla trust add {}{mode} --root-sha256 {digest}", request.repository));
        }
        Ok(())
    }
}
