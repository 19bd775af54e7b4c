//! `bulla verify`

use bulla_keys_schema::names::ImageRef;

use super::Context;
use crate::flow::verify::{Trusted, verify};
use crate::report::VerdictReport;

/// Decide whether an image may be pulled; print the reference to pull by
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(self.image.repository())?;
        let busy = context.output.busy("verifying");
        let result = verify(world.ports(), &self.image).await;
        drop(busy);
        let trusted = result?;
        explain(context, &trusted);
        Ok(context.output.answer(&VerdictReport::from(&trusted))?)
    }
}

/// Says who vouches, and that the answer is from the cache if it is.
pub(super) fn explain(context: &Context, trusted: &Trusted) {
    if let Some(reason) = &trusted.offline {
        context.output.warn(&format!("{reason}; using metadata that is valid until {}", trusted.valid_until));
    }
    let roles: Vec<String> = trusted.signed_by.iter().map(|voucher| voucher.role.to_string()).collect();
    context.output.say(&format!("{}:{} is signed by {}", trusted.repository, trusted.tag, roles.join(", ")));
}
