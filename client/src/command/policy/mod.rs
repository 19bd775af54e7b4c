//! `bulla policy`, and how other commands ask one.

mod asked;
mod check;
mod explain;
mod file;
mod import;
mod publish;
mod show;
mod test;
mod verdict;

pub(super) use asked::{KeyAlone, NoPolicy, NoSource as NoPolicySource, published, source};
pub(super) use file::{PolicyReason, UnusablePolicy, load};
pub(super) use import::{ImportReason, UnusableImport};
pub(super) use test::UnusableTests;
pub(super) use verdict::{ByPolicy, end, refused};

use super::Context;

/// Work on policies: which images may be used, and why
#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    Check(check::Args),
    Explain(explain::Args),
    Import(import::Args),
    Publish(publish::Args),
    Show(show::Args),
    Test(test::Args),
}

impl Verb {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        match self {
            Self::Check(args) => args.run(context),
            Self::Explain(args) => args.run(context).await,
            Self::Import(args) => args.run(context),
            Self::Publish(args) => args.run(context).await,
            Self::Show(args) => args.run(context).await,
            Self::Test(args) => args.run(context),
        }
    }

    /// Whether the answer is a verdict.
    pub(super) const fn gives_verdict(&self) -> bool {
        matches!(self, Self::Explain(_))
    }
}
