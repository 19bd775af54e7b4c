//! `bulla policy`, and how other commands ask one.

mod check;
mod explain;
mod file;
mod import;
mod test;
mod verdict;

pub(super) use file::{Unusable as PolicyReason, UnusablePolicy, load};
pub(super) use import::{Unusable as ImportReason, UnusableImport};
pub(super) use test::UnusableTests;
pub(super) use verdict::{ByPolicy, end, refused, world};

use super::Context;

/// Work on policies: which images may be used, and why
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Check(check::Args),
    Explain(explain::Args),
    Import(import::Args),
    Test(test::Args),
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Check(args) => args.run(context),
            Self::Explain(args) => args.run(context).await,
            Self::Import(args) => args.run(context),
            Self::Test(args) => args.run(context),
        }
    }

    /// Whether the answer is a verdict.
    pub(super) const fn gives_verdict(&self) -> bool {
        matches!(self, Self::Explain(_))
    }
}
