//! `bulla policy show`

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::policy::PolicyName;

use super::asked::published;
use crate::command::Context;
use crate::flow::policy_source::PolicySource;
use crate::report::PublishedPolicyReport;

/// Print a published policy as it would be used now, byte for byte
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Args {
    /// The repository that it is published in
    #[arg(value_parser = crate::command::repository)]
    repository: RepositoryName,
    /// Its name there
    #[arg(long, value_name = "NAME", default_value_t = PolicyName::default())]
    name: PolicyName,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let source = PolicySource { repository: self.repository, name: self.name };
        let found = published(context, &source).await?;
        if context.output.is_text() {
            return Ok(context.output.raw(&found.bytes)?);
        }
        Ok(context.output.answer(&PublishedPolicyReport::new(&source, &found))?)
    }
}
