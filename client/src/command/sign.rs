//! `bulla sign`

use bulla_keys_schema::names::{ImageRef, SignerName};

use super::asking::{self, Asking};
use super::{Context, say_dry_run, warn_expired};
use crate::flow::sign::{Request, sign};
use crate::report::SignReport;

/// Sign what a tag means
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The image: REPOSITORY[:TAG][@sha256:DIGEST]
    image: ImageRef,
    /// Sign as this signer, where keys of several are here
    #[arg(long = "as", value_name = "SIGNER")]
    signer: Option<SignerName>,
    /// Size of the manifest in bytes; with it and a digest no registry is asked
    #[arg(long, value_name = "BYTES")]
    size: Option<u64>,
    /// List the images of an index as well
    #[arg(long)]
    platforms: bool,
    #[command(flatten)]
    asking: Asking,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(self.image.repository())?;
        let request = Request {
            image: self.image,
            size: self.size,
            signer: self.signer,
            platforms: self.platforms,
            how: self.asking.how(),
        };
        let signed = sign(world.ports(), &request).await?;
        warn_expired(context.output, &signed.published);
        say_dry_run(context.output, self.asking.is_dry_run());
        if signed.published.done {
            context.output.say(&format!("signed {}:{}", request.image.repository(), signed.tag));
        }
        context.output.answer(&SignReport::new(request.image.repository(), &signed))?;
        asking::end(context, request.image.repository(), &signed.published)
    }
}
