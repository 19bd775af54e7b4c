//! `bulla inspect`

use bulla_keys_schema::names::{ImageRef, RepositoryName, Tag};

use super::Context;
use crate::flow::inspect::inspect;
use crate::report::InspectReport;

/// Show the roles, signers and tags of a repository
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository, or one tag of it: REPOSITORY[:TAG]
    #[arg(value_parser = parse)]
    image: Inspected,
    /// For people, instead of JSON
    #[arg(long)]
    pretty: bool,
}

#[derive(Clone, Debug)]
struct Inspected {
    repository: RepositoryName,
    tag: Option<Tag>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let Inspected { repository, tag } = self.image;
        let world = context.settings.world(&repository)?;
        let busy = context.output.busy("inspecting");
        let result = inspect(world.ports(), &repository, tag.as_ref()).await;
        drop(busy);
        let inspection = result?;
        if let Some(reason) = &inspection.offline {
            context.output.warn(&format!("{reason}; this is what was accepted before"));
        }
        let report = InspectReport::from(&inspection);
        Ok(if self.pretty { context.output.answer(&report)? } else { context.output.json(&report)? })
    }
}

/// As images are typed, but no tag means all tags.
fn parse(text: &str) -> Result<Inspected, super::NoRepository> {
    let image: ImageRef = text.parse().map_err(|_| super::NoRepository)?;
    if image.digest().is_some() {
        return Err(super::NoRepository);
    }
    let typed_tag = text.rsplit('/').next().is_some_and(|last| last.contains(':'));
    let tag = image.tag().filter(|_| typed_tag).cloned();
    Ok(Inspected { repository: image.repository().clone(), tag })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_means_all_tags() {
        assert_eq!(parse("localhost:5000/app").unwrap().tag, None);
        assert_eq!(parse("localhost:5000/app:latest").unwrap().tag.unwrap().as_str(), "latest");
        assert_eq!(parse("busybox").unwrap().repository.as_str(), "docker.io/library/busybox");
        assert!(parse(&format!("a.b/c@sha256:{}", "0".repeat(64))).is_err());
    }
}
