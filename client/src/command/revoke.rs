//! `bulla revoke`

use bulla_keys_schema::names::{ImageRef, RoleName};

use super::{Context, say_dry_run, warn_expired};
use crate::flow::revoke::{Request, Revoked, revoke};
use crate::output::Output;
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
        warn_expired(context.output, &revoked.published);
        explain(context.output, &request, &revoked);
        let report = RevokeReport::new(&request.repository, request.tag.as_str(), &revoked);
        Ok(context.output.answer(&report)?)
    }
}

fn explain(output: Output, request: &Request, revoked: &Revoked) {
    let roles: Vec<String> = revoked.still_listed_by.iter().map(ToString::to_string).collect();
    let roles = roles.join(", ");
    match (roles.as_str(), revoked.is_recorded) {
        ("", _) => {}
        (roles, true) => output.say(&format!(
            "still listed by {roles}, whose keys are not here; releases says it is revoked, which counts"
        )),
        (roles, false) if revoked.still_listed_by.contains(&RoleName::Targets) => output.warn(&format!(
            "still listed by {roles}, whose keys are not here; docker goes on to trust what targets lists"
        )),
        (roles, false) => output.say(&format!(
            "still listed by {roles}, whose keys are not here; releases does not list it, which counts"
        )),
    }
    if request.reason.is_some() && !revoked.is_recorded {
        output.warn("a legacy repository keeps no record of revocations: the reason is lost");
    }
}
