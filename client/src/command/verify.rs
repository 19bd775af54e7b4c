//! `bulla verify`

use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::ImageRef;

use super::cosign::ByKey;
use super::policy::{ByPolicy, KeyAlone};
use super::{Context, PlatformAlone};
use crate::flow::verify::{Trusted, verify};
use crate::report::VerdictReport;
use crate::wiring::Settings;

/// Decide whether an image may be pulled; print the reference to pull by
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    /// The platform that will be used, like linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
    #[command(flatten)]
    by_policy: ByPolicy,
    #[command(flatten)]
    by_key: ByKey,
}

impl Args {
    /// Whether the answer is the verdict of a policy.
    pub(super) const fn gives_verdict(&self, settings: &Settings) -> bool {
        !self.by_key.is_asked() && self.by_policy.is_asked(settings)
    }

    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if self.by_key.is_asked() {
            KeyAlone::refuse(&context.settings, &self.image)?;
            return self.by_key.verify(context, self.image, self.platform).await;
        }
        if let Some(done) = self.by_policy.run(context, &self.image, self.platform.as_ref(), true).await? {
            return Ok(done);
        }
        if self.platform.is_some() {
            return Err(PlatformAlone.into());
        }
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
