//! `bulla resolve`

use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::ImageRef;

use super::policy::ByPolicy;
use super::{Context, PlatformAlone, verify};
use crate::flow::verify::resolve;
use crate::report::VerdictReport;

/// Print what the signers vouch for, without asking the registry
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    /// The platform that will be used, like linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    pub(super) by_policy: ByPolicy,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if let Some(done) = self.by_policy.run(context, &self.image, self.platform.as_ref(), false).await? {
            return Ok(done);
        }
        if self.platform.is_some() {
            return Err(PlatformAlone.into());
        }
        let world = context.settings.world(self.image.repository())?;
        let busy = context.output.busy("resolving");
        let result = resolve(world.ports(), &self.image).await;
        drop(busy);
        let trusted = result?;
        verify::explain(context, &trusted);
        Ok(context.output.answer(&VerdictReport::from(&trusted))?)
    }
}
