//! `bulla status`

use std::str::FromStr;

use bulla_keys_schema::names::{RepositoryName, RoleName};

use super::{Answered, Context, Exit};
use crate::flow::status::{Life, RoleStatus, status};
use crate::report::StatusReport;

/// How soon is soon, if nothing else is said.
pub(super) const WITHIN: &str = "30d";

/// Show what expires when, and who has to sign it
///
/// For cron: ends with 0 if all is well, and with 13 if something is expired or expires soon.
/// Whatever else goes wrong has another code.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The repository
    #[arg(value_parser = super::repository)]
    repository: RepositoryName,
    /// How soon is soon
    #[arg(long, value_name = "TIME", default_value = WITHIN)]
    warn: Span,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let world = context.settings.world(&self.repository)?;
        let status = status(world.ports(), &self.repository, self.warn.seconds()).await?;
        if let Some(reason) = &status.offline {
            context.output.warn(&format!("{reason}; this is what was accepted before"));
        }
        context.output.answer(&StatusReport::from(&status))?;
        for role in status.urgent() {
            context.output.say(&advice(&self.repository, role));
        }
        match status.urgent().next() {
            None => Ok(()),
            Some(_) => Err(Answered(Exit::Expired).into()),
        }
    }
}

fn advice(repository: &RepositoryName, role: &RoleStatus) -> String {
    let what = if role.life == Life::Over { "is expired" } else { "expires soon" };
    let who = match () {
        () if role.by_server == Some(true) => "the trust server renews it, and has not done so".to_owned(),
        () if role.threshold.is_met_by(role.here()) && role.role == RoleName::Snapshot => {
            format!("hand it to the server, as its key is here: notary key rotate {repository} snapshot -r")
        }
        () if role.threshold.is_met_by(role.here()) => {
            format!("its keys are here: bulla renew {repository} {}", role.role)
        }
        () => {
            let missing = role.keys.iter().filter(|(_, name)| name.is_none());
            let missing: Vec<String> = missing.map(|(key, _)| key.to_string()).collect();
            let server = match role.by_server {
                None => "the trust server renews it, unless somebody else holds its key: ",
                Some(_) => "",
            };
            let (here, threshold) = (role.here(), role.threshold);
            format!("{server}{here} of {threshold} keys are here, others are {}", missing.join(", "))
        }
    };
    format!("{} {what}: {who}", role.role)
}

/// A span of time as people write it: `30d`, `12h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span(i64);

impl Span {
    /// Its length in seconds.
    pub(super) const fn seconds(self) -> i64 {
        self.0
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let span = humantime::parse_duration(text).map_err(|_| InvalidSpan)?;
        i64::try_from(span.as_secs()).map(Self).map_err(|_| InvalidSpan)
    }
}

/// The text is no span of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a span of time like `30d` or `12h`")]
pub(super) struct InvalidSpan;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_people_write_them() {
        assert_eq!(WITHIN.parse(), Ok(Span(30 * 24 * 60 * 60)));
        assert_eq!("12h".parse(), Ok(Span(12 * 60 * 60)));
        for none in ["", "30", "-1d", "soon"] {
            assert_eq!(none.parse::<Span>(), Err(InvalidSpan), "{none}");
        }
    }
}
