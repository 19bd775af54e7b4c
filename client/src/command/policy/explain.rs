//! `bulla policy explain`

use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::ImageRef;

use super::asked::{Named, NoPolicy};
use super::verdict;
use crate::command::Context;
use crate::report::ExplanationReport;

/// Say which rule is for an image, which checks it makes, by which evidence, and how they go
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    #[command(flatten)]
    named: Named,
    /// The platform that will be used, like linux/arm64
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<Platform>,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        if !self.named.is_asked(&context.settings) {
            return Err(NoPolicy.into());
        }
        let report = verdict::ask(context, &self.named, &self.image, self.platform.as_ref(), true).await?;
        Ok(context.output.answer(&ExplanationReport(report))?)
    }
}
