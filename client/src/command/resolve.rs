//! `bulla resolve`

use bulla_keys_schema::names::ImageRef;

use super::{Context, verify};
use crate::flow::verify::resolve;
use crate::report::VerdictReport;

/// Print what the signers vouch for, without asking the registry
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(self.image.repository())?;
        let busy = context.output.busy("resolving");
        let result = resolve(world.ports(), &self.image).await;
        drop(busy);
        let trusted = result?;
        verify::explain(context, &trusted);
        Ok(context.output.answer(&VerdictReport::from(&trusted))?)
    }
}
