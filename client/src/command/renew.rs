//! `bulla renew`

use bulla_keys_schema::names::{InvalidRoleName, RepositoryName, RoleName};

use super::asking::{self, Asking};
use super::status::{Span, WITHIN};
use super::{Context, say_dry_run, warn_expired};
use crate::flow::renew::{Request, renew};
use crate::report::RenewReport;

/// Sign anew, with the same content, what expires soon
///
/// Renews root, targets and delegated roles whose keys are in this home, an expired root as well,
/// and says whose keys are needed for the rest. Snapshot and timestamp are renewed by the trust
/// server. Ends with 0 where nothing is left to renew, and with 13 where something is.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// Renew these roles, even if they last longer [default: all that expire soon]
    #[arg(value_name = "ROLE", value_parser = role)]
    roles: Vec<RoleName>,
    /// How soon is soon
    #[arg(long, value_name = "TIME", default_value = WITHIN)]
    within: Span,
    #[command(flatten)]
    asking: Asking,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let request = Request {
            repository: self.repository,
            within: self.within.seconds(),
            roles: self.roles,
            how: self.asking.how(),
        };
        let world = context.settings.world(&request.repository)?;
        let renewed = renew(world.ports(), &request).await?;
        if let Some(published) = &renewed.published {
            warn_expired(context.output, published);
        }
        say_dry_run(context.output, self.asking.is_dry_run());
        for left in &renewed.left {
            let missing: Vec<String> = left.missing.missing.iter().map(ToString::to_string).collect();
            let (role, expires, missing) = (&left.role, left.expires, missing.join(", "));
            context.output.warn(&format!(
                "{role} expires at {expires}, and is to be renewed where these keys are: {missing}"
            ));
        }
        context.output.answer(&RenewReport::new(&request.repository, &renewed))?;
        if let Some(published) = &renewed.published {
            asking::end(context, &request.repository, published)?;
        }
        if renewed.left.is_empty() { Ok(()) } else { Err(super::Answered(super::Exit::Expired).into()) }
    }
}

fn role(text: &str) -> Result<RoleName, InvalidRoleName> {
    text.parse()
}
