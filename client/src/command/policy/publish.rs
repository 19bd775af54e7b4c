//! `bulla policy publish`

use std::path::PathBuf;

use bulla_keys_schema::limits::POLICY_BYTES;
use bulla_keys_schema::names::{RepositoryName, SignerName};
use bulla_keys_schema::policy::PolicyName;
use bytes::Bytes;

use super::file;
use crate::command::asking::{self, Asking};
use crate::command::{Context, say_dry_run, warn_expired};
use crate::flow::policy_publish::{Request, publish};
use crate::flow::policy_source::PolicySource;
use crate::report::PolicyPublishReport;

/// Publish a policy, signed, for all who judge by it
///
/// The file needs a version, which has to rise with every change: nobody who used a policy goes back to
/// an older one. To take a change back, publish the old rules under a higher version.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The repository to publish it in; images have nothing to do with that one
    #[arg(value_parser = crate::command::repository)]
    repository: RepositoryName,
    /// The policy; it is kept byte for byte
    file: PathBuf,
    /// The name to publish it under
    #[arg(long, value_name = "NAME", default_value_t = PolicyName::default())]
    name: PolicyName,
    /// Publish as this signer, whose patterns are for policies alone, like 'policy/*'
    #[arg(long = "as", value_name = "SIGNER")]
    signer: Option<SignerName>,
    #[command(flatten)]
    asking: Asking,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        // What loads here loads everywhere; the complaint names the file and the line.
        file::load(&self.file)?;
        let bytes: Bytes = file::bytes(&self.file, POLICY_BYTES)?.into();
        let source = PolicySource { repository: self.repository, name: self.name };
        let world = context.settings.world(&source.repository)?;
        let request = Request { source, bytes, signer: self.signer, how: self.asking.how() };
        let busy = context.output.busy("publishing");
        let result = publish(world.ports(), &request).await;
        drop(busy);
        let done = result?;
        let source = &request.source;
        match &done.published {
            None => context.output.say(&format!("{source} is published already, with these very bytes")),
            Some(published) => {
                warn_expired(context.output, published);
                say_dry_run(context.output, self.asking.is_dry_run());
            }
        }
        context.output.answer(&PolicyPublishReport::new(source, &done))?;
        match &done.published {
            None => Ok(()),
            Some(published) => asking::end(context, &source.repository, published),
        }
    }
}
