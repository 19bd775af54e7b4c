//! `bulla revoke`

use bulla_keys_schema::digest::{InvalidDigest, Sha256Digest};
use bulla_keys_schema::names::{RepositoryName, RoleName, Tag};
use bulla_keys_schema::request::PlainText;

use super::asking::{self, RequestTime};
use super::{Context, NoTag, say_dry_run, warn_expired};
use crate::flow::deny::{self, Denied};
use crate::flow::revoke::{Request, Revoked, revoke};
use crate::output::Output;
use crate::report::{RevokeDigestReport, RevokeReport};

/// Withdraw the signature of a tag, or forbid a digest whoever signs it, and say so, signed
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The tag: REPOSITORY:TAG; with --digest the repository
    #[arg(value_name = "REPOSITORY[:TAG]", value_parser = super::repository_and_tag)]
    image: (RepositoryName, Option<Tag>),
    /// Forbid this digest, whoever signs it later; every tag that means it is taken off
    #[arg(long, value_name = "sha256:HEX", value_parser = digest)]
    digest: Option<Sha256Digest>,
    /// Allow the digest again; only the keys that forbid digests can
    #[arg(long, requires = "digest")]
    undo: bool,
    /// Why, for whoever is refused
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Where keys of others are needed too, sign with those that are here and ask for the rest
    #[arg(long, requires = "reason")]
    request: bool,
    #[command(flatten)]
    time: RequestTime,
    /// Show what would be revoked, change nothing
    #[arg(long)]
    dry_run: bool,
}

impl Args {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let (repository, reason) = (self.image.0, self.reason);
        let asked = reason.as_deref().filter(|_| self.request).map(str::parse::<PlainText>).transpose()?;
        let how = asking::how(self.request, self.dry_run, asked.as_ref(), &self.time);
        match (self.image.1, self.digest) {
            (Some(tag), None) => revoke_tag(context, Request { repository, tag, reason, how }).await,
            (None, Some(digest)) => {
                let request = deny::Request { repository, digest, reason, how };
                if self.undo { undo(context, request).await } else { forbid(context, request).await }
            }
            (Some(_), Some(_)) => Err(TagAndDigest.into()),
            (None, None) => Err(NoTag.into()),
        }
    }
}

async fn revoke_tag(context: &Context, request: Request) -> anyhow::Result<()> {
    let world = context.settings.world(&request.repository)?;
    let revoked = revoke(world.ports(), &request).await?;
    say_dry_run(context.output, request.how.is_dry_run());
    warn_expired(context.output, &revoked.published);
    explain(context.output, &request, &revoked);
    let report = RevokeReport::new(&request.repository, request.tag.as_str(), &revoked);
    context.output.answer(&report)?;
    asking::end(context, &request.repository, &revoked.published)
}

async fn forbid(context: &Context, request: deny::Request) -> anyhow::Result<()> {
    let world = context.settings.world(&request.repository)?;
    let denied = deny::deny(world.ports(), &request).await?;
    say_dry_run(context.output, request.how.is_dry_run());
    warn_expired(context.output, &denied.published);
    explain_left(context.output, &denied);
    context.output.answer(&RevokeDigestReport::denied(&request, &denied))?;
    asking::end(context, &request.repository, &denied.published)
}

async fn undo(context: &Context, request: deny::Request) -> anyhow::Result<()> {
    let world = context.settings.world(&request.repository)?;
    let published = deny::undo(world.ports(), &request).await?;
    say_dry_run(context.output, request.how.is_dry_run());
    context.output.say("no tag comes back by that: whoever wants one signs it again");
    context.output.answer(&RevokeDigestReport::undone(&request, &published))?;
    asking::end(context, &request.repository, &published)
}

fn explain_left(output: Output, denied: &Denied) {
    for (role, tag) in &denied.left {
        let counts = if denied.is_listed { "; bulla refuses it all the same" } else { "" };
        output.warn(&format!("{role} still lists {tag}, and its keys are not here{counts}"));
    }
    if !denied.is_listed {
        output.warn("a legacy repository has no deny list: whoever may sign can sign this digest again");
    }
}

fn explain(output: Output, request: &Request, revoked: &Revoked) {
    let roles: Vec<String> = revoked.still_listed_by.iter().map(ToString::to_string).collect();
    let roles = roles.join(", ");
    match (roles.as_str(), revoked.is_recorded) {
        ("", _) => {}
        (roles, true) => output.say(&format!(
            "still listed by {roles}, whose keys are not here; releases says it is revoked, which counts"
        )),
        (roles, false) if revoked.still_listed_by.contains(&RoleName::Targets) => output.warn(&format!(
            "still listed by {roles}, whose keys are not here; docker goes on to trust what targets lists"
        )),
        (roles, false) => output.say(&format!(
            "still listed by {roles}, whose keys are not here; releases does not list it, which counts"
        )),
    }
    if request.reason.is_some() && !revoked.is_recorded {
        output.warn("a legacy repository keeps no record of revocations: the reason is lost");
    }
}

/// A digest as references end with it.
fn digest(text: &str) -> Result<Sha256Digest, InvalidDigest> {
    Sha256Digest::parse_oci(text)
}

/// A tag is taken off, a digest is forbidden: which of the two was meant is not clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a tag and a digest are named, and only one of them can be revoked at a time")]
pub(super) struct TagAndDigest;
