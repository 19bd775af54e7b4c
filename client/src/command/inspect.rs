//! `bulla inspect`

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::names::{RepositoryName, Tag};

use super::Context;
use crate::flow::inspect::inspect;
use crate::report::{DockerReport, InspectReport};

/// Show the roles, signers and tags of a repository
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository, or one tag of it: REPOSITORY[:TAG]
    #[arg(value_name = "REPOSITORY[:TAG]", value_parser = super::repository_and_tag)]
    image: (RepositoryName, Option<Tag>),
    /// For people, instead of JSON; of a legacy repository, as docker shows it
    #[arg(long)]
    pretty: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (repository, tag) = self.image;
        let world = context.settings.world(&repository)?;
        let busy = context.output.busy("inspecting");
        let result = inspect(world.ports(), &repository, tag.as_ref()).await;
        drop(busy);
        let inspection = result?;
        if let Some(reason) = &inspection.offline {
            context.output.warn(&format!("{reason}; this is what was accepted before"));
        }
        let report = InspectReport::from(&inspection);
        match (self.pretty, inspection.dialect) {
            (false, _) => context.output.json(&report)?,
            (true, Dialect::Tuf1) => context.output.answer(&report)?,
            (true, Dialect::Notary1) => {
                let image = tag.map_or_else(|| repository.to_string(), |tag| format!("{repository}:{tag}"));
                context.output.answer(&DockerReport::new(&inspection, &image))?;
            }
        }
        Ok(())
    }
}
