//! What errors of published policies mean.

use bulla_keys_schema::policy::Backwards;
use bulla_keys_schema::verify::WalkError;

use super::policy::exit_of;
use super::{Exit, Explained, chain, hint, publish, refresh, sign, tampered, too_few_keys};
use crate::command::PlatformAlone;
use crate::command::policy::{KeyAlone, NoPolicy, NoPolicySource};
use crate::flow::policy_publish::PolicyPublishError;
use crate::flow::policy_source::{SourceError, Unusable};

pub(super) fn explain(error: &anyhow::Error) -> Option<Explained> {
    if let Some(error) = error.downcast_ref::<SourceError>() {
        return Some(source(error));
    }
    if let Some(error) = error.downcast_ref() {
        return Some(publishing(error));
    }
    if error.is::<KeyAlone>() {
        let text = "leave --key out; to let files and keys decide here: local_override = true under [policy] in config.toml";
        return Some((Exit::Usage, hint(text)));
    }
    if error.is::<NoPolicy>() {
        return Some((Exit::Usage, hint("name one: --policy FILE, or --policy-from REPOSITORY")));
    }
    if error.is::<NoPolicySource>() {
        return Some((Exit::Usage, hint("name it like registry.example.com/policy#default")));
    }
    error
        .is::<PlatformAlone>()
        .then(|| (Exit::Usage, hint("name a policy: --policy FILE; or leave --platform out")))
}

/// Why a published policy cannot be used.
pub(in crate::command) fn source(error: &SourceError) -> Explained {
    let (repository, name) = (&error.policy.repository, &error.policy.name);
    let advice = match &error.reason {
        Unusable::Backwards(_) | Unusable::Withdrawn { .. } => {
            "use no image; tell the admin of the policy, who goes back by publishing the old rules under a higher version"
                .to_owned()
        }
        Unusable::Invalid(error) => format!("whoever publishes it, or updates this program: {}", error.advice()),
        Unusable::Legacy => "publish policies in a repository of TUF 1.0: bulla init REPOSITORY".to_owned(),
        Unusable::NoDigest | Unusable::NotPublished => {
            format!("check the name; whoever may publish it runs: bulla policy publish {repository} FILE --name {name}")
        }
        Unusable::Record(_) => {
            return (
                Exit::Configuration,
                hint("restore the file; without it an older policy could take the place of the one that was used"),
            );
        }
        Unusable::Refresh(error) => return refresh(error),
        Unusable::Role { .. } => {
            format!("the admin looks at who that is: bulla signer list {repository}")
        }
        Unusable::Search(WalkError::Chain(error)) => return chain(error),
        Unusable::Search(WalkError::Denied { .. }) => {
            format!("whoever publishes it publishes a better one: bulla policy publish {repository} FILE --name {name}")
        }
        Unusable::Search(_) => return tampered(),
        Unusable::Withheld { .. } => "try again later; if it stays so, somebody holds it back".to_owned(),
    };
    (error.reason.check().map_or(Exit::Internal, exit_of), hint(&advice))
}

fn publishing(error: &PolicyPublishError) -> Explained {
    match error {
        PolicyPublishError::Backwards { why, .. } | PolicyPublishError::Overtaken(why) => {
            let (Backwards::Lower { known, .. } | Backwards::OtherBytes { version: known }) = why;
            let next = known.saturating_add(1);
            (Exit::Usage, hint(&format!("raise it in the file: version = {next}")))
        }
        PolicyPublishError::Changed => {
            (Exit::Busy, hint("look at what they published: bulla policy show REPOSITORY"))
        }
        PolicyPublishError::Invalid(error) => (Exit::Configuration, hint(error.advice())),
        PolicyPublishError::Legacy => {
            (Exit::Usage, hint("publish policies in a repository of TUF 1.0: bulla init REPOSITORY"))
        }
        PolicyPublishError::MayNotPublish { name } => (
            Exit::NotSigned,
            hint(&format!(
                "the admin adds a role for it: bulla signer add REPOSITORY NAME --tags 'policy/*'; {name} keeps what it has"
            )),
        ),
        PolicyPublishError::NoPublisher { unable } => match unable.first() {
            Some(error) => too_few_keys(error),
            None => (Exit::NotSigned, None),
        },
        PolicyPublishError::OtherPublisher { role } => (
            Exit::Usage,
            hint(&format!("publish as {role}; to let another publish, the admin takes it from {role} first")),
        ),
        PolicyPublishError::Publish(error) => publish(error),
        PolicyPublishError::Record(_) => (
            Exit::Configuration,
            hint(
                "restore the file; without it an older policy could take the place of the one that was used",
            ),
        ),
        PolicyPublishError::SeveralPublishers { .. } => (Exit::Usage, hint("choose one: --as SIGNER")),
        PolicyPublishError::Sign(error) => sign(error),
    }
}
