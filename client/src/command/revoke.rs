//! `bulla revoke`

use bulla_keys_schema::names::ImageRef;

use super::{Context, say_dry_run};
use crate::flow::revoke::{Request, revoke};
use crate::report::RevokeReport;

/// Withdraw the signature of a tag, and say so, signed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tag: REPOSITORY:TAG
    #[arg(value_parser = super::tagged)]
    image: ImageRef,
    /// Why, for whoever is refused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Show what would be revoked, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let Some(tag) = self.image.tag().cloned() else { return Err(super::NoTag.into()) };
        let repository = self.image.repository().clone();
        let world = context.settings.world(&repository)?;
        let request = Request { repository, tag, reason: self.reason, dry_run: self.dry_run };
        let revoked = revoke(world.ports(), &request).await?;
        say_dry_run(context.output, self.dry_run);
        if !revoked.still_listed_by.is_empty() {
            let roles: Vec<String> = revoked.still_listed_by.iter().map(ToString::to_string).collect();
            context.output.say(&format!(
                "still listed by {}, whose keys are not here; releases says it is revoked, which counts",
                roles.join(", ")
            ));
        }
        let report = RevokeReport::new(&request.repository, request.tag.as_str(), &revoked);
        Ok(context.output.answer(&report)?)
    }
}
