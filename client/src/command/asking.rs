//! `--request`: the option of every change that may need signatures of others.

use std::collections::BTreeMap;
use std::path::Path;

use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::{PlainText, RequestId};

use super::signer::read_key;
use super::status::Span;
use super::{Answered, Context, Exit};
use crate::flow::publish::{How, Published};
use crate::flow::request::Ask;

/// Whether to ask others, or to do nothing at all.
#[derive(Debug, clap::Args)]
pub(super) struct Asking {
    /// Where keys of others are needed too, sign with those that are here and ask for the rest
    #[arg(long, requires = "reason")]
    request: bool,
    /// Why, for those who are asked
    #[arg(long, value_name = "TEXT", requires = "request")]
    reason: Option<PlainText>,
    #[command(flatten)]
    time: RequestTime,
    /// Show what would be changed, change nothing
    #[arg(long)]
    dry_run: bool,
}

/// How long others have.
#[derive(Debug, clap::Args)]
pub(super) struct RequestTime {
    /// How long those who are asked have to sign; up to 90d
    #[arg(long, value_name = "TIME", default_value = "14d", value_parser = lifetime)]
    request_expires: Span,
}

impl Asking {
    /// What to do with the change.
    pub(super) fn how(&self) -> How {
        how(self.request, self.dry_run, self.reason.as_ref(), &self.time)
    }

    /// The same, where keys of others come in files that are called like them.
    pub(super) fn how_naming(&self, files: &[String]) -> How {
        match self.how() {
            How::Request(mut ask) => {
                let paths = files.iter().map(Path::new);
                ask.holders.extend(
                    paths.filter_map(|path| Some((read_key(path).ok()?.fingerprint(), label(path)?))),
                );
                How::Request(ask)
            }
            how => how,
        }
    }

    /// Whether nothing is to be changed.
    pub(super) const fn is_dry_run(&self) -> bool {
        self.dry_run
    }
}

/// What a key in a file is called: like the file.
pub(super) fn label(path: &Path) -> Option<PlainText> {
    path.file_stem()?.to_str()?.parse().ok()
}

/// What to do with a change.
pub(super) fn how(request: bool, dry_run: bool, reason: Option<&PlainText>, time: &RequestTime) -> How {
    match reason.filter(|_| request) {
        Some(reason) => How::Request(Ask {
            reason: reason.clone(),
            lifetime: time.request_expires.seconds(),
            holders: BTreeMap::new(),
            dry_run,
        }),
        None => How::from(dry_run),
    }
}

/// Ends a change: with 41 if it waits for others.
pub(super) fn end(
    context: &Context,
    repository: &RepositoryName,
    published: &Published,
) -> anyhow::Result<()> {
    wait(context, repository, published.request)
}

/// The same for a request that may have been made.
pub(super) fn wait(
    context: &Context,
    repository: &RepositoryName,
    request: Option<RequestId>,
) -> anyhow::Result<()> {
    let Some(id) = request else { return Ok(()) };
    context.output.say("others have to sign this as well; each of them runs:");
    context.output.say(&format!("  bulla request sign {repository} {id}"));
    Err(Answered(Exit::Waiting).into())
}

fn lifetime(text: &str) -> Result<Span, InvalidLifetime> {
    let span: Span = text.parse().map_err(|_| InvalidLifetime)?;
    if (1..=limits::REQUEST_SECONDS).contains(&span.seconds()) { Ok(span) } else { Err(InvalidLifetime) }
}

/// Nobody can be asked for so long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a span of time up to 90d, like `14d` or `12h`")]
struct InvalidLifetime;
