//! Which policies an image is judged by: a file, a published one, and the one that holds on this machine.

use std::path::PathBuf;

use bulla_keys_schema::names::{ImageRef, RepositoryName};
use bulla_keys_schema::policy::{Policy, PolicyName};
use bulla_keys_schema::time::UtcTime;

use super::file;
use crate::command::{Context, NoRepository};
use crate::flow::policy_source::{FoundPolicy, PolicySource, SourceError, fetch};
use crate::wiring::Settings;

/// The policies that a command line names.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct Named {
    /// Ask this policy, too; its [trust] entries say whom to trust
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Ask the policy that is published there, too; its repository has to be pinned here
    #[arg(long, value_name = "REPOSITORY[#NAME]", value_parser = source)]
    policy_from: Option<PolicySource>,
}

impl Named {
    /// Whether any is named, here or by the configuration.
    pub(in crate::command) const fn is_asked(&self, settings: &Settings) -> bool {
        self.policy.is_some() || self.policy_from.is_some() || settings.machine_policy().is_some()
    }

    /// Reads all that have to agree, those that were published first.
    ///
    /// # Errors
    /// One of them cannot be used. None is left out.
    pub(super) async fn gather(&self, context: &Context) -> anyhow::Result<Vec<Asked>> {
        let given = self.policy.as_deref().map(file::load).transpose()?;
        let machine = context.settings.machine_policy();
        let machine = machine.filter(|machine| !(machine.local_override && given.is_some()));
        let machine = machine.map(|machine| PolicySource {
            repository: machine.repository.clone(),
            name: machine.name.clone(),
        });
        let typed = self.policy_from.as_ref().filter(|typed| Some(*typed) != machine.as_ref());
        let mut asked = Vec::new();
        for source in machine.iter().chain(typed) {
            asked.push(Asked::from(published(context, source).await?));
        }
        asked.extend(given.map(|policy| Asked { policy, valid_until: None }));
        Ok(asked)
    }
}

/// A policy that has to agree.
pub(super) struct Asked {
    /// What it says.
    pub(super) policy: Policy,
    /// Until when it is known to be the one that is published; a file always is.
    pub(super) valid_until: Option<UtcTime>,
}

impl From<FoundPolicy> for Asked {
    fn from(found: FoundPolicy) -> Self {
        Self { policy: found.published.policy, valid_until: Some(found.valid_until) }
    }
}

/// A published policy, from the server of its own repository.
///
/// # Errors
/// It cannot be used.
pub(in crate::command) async fn published(
    context: &Context,
    source: &PolicySource,
) -> anyhow::Result<FoundPolicy> {
    let world = context.settings.world(&source.repository)?;
    let busy = context.output.busy("reading the policy");
    let found = fetch(world.ports(), source).await;
    drop(busy);
    let found: FoundPolicy = found.map_err(|error: SourceError| error)?;
    if let Some(reason) = &found.offline {
        context.output.warn(&format!(
            "{reason}; using version {} of the policy {source}, which was read before",
            found.published.edition.version
        ));
    }
    Ok(found)
}

/// `REPOSITORY[#NAME]`
///
/// # Errors
/// It is none.
pub(in crate::command) fn source(text: &str) -> Result<PolicySource, NoSource> {
    let (repository, name) = match text.split_once('#') {
        None => (text, PolicyName::default()),
        Some((repository, name)) => (repository, name.parse().map_err(|_| NoSource)?),
    };
    let repository = crate::command::repository(repository).map_err(|NoRepository| NoSource)?;
    Ok(PolicySource { repository, name })
}

/// The text does not say where a policy is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a published policy: expected REPOSITORY or REPOSITORY#NAME")]
pub(in crate::command) struct NoSource;

/// No policy was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no policy is named, and none is set for this machine")]
pub(in crate::command) struct NoPolicy;

/// A key would decide in the place of the policy that holds on this machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "images are judged by the policy {repository}#{name} on this machine, and {image} would be by a key alone"
)]
pub(in crate::command) struct KeyAlone {
    repository: RepositoryName,
    name: PolicyName,
    image: String,
}

impl KeyAlone {
    /// Refuses a key where a policy holds that nothing here may take the place of.
    ///
    /// # Errors
    /// Such a policy is set.
    pub(in crate::command) fn refuse(settings: &Settings, image: &ImageRef) -> Result<(), Self> {
        match settings.machine_policy().filter(|machine| !machine.local_override) {
            None => Ok(()),
            Some(machine) => Err(Self {
                repository: machine.repository.clone(),
                name: machine.name.clone(),
                image: image.to_string(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_repositories_with_or_without_a_name() {
        for (text, read) in [
            ("r.example.com/policy", "r.example.com/policy#default"),
            ("r.example.com/policy#prod", "r.example.com/policy#prod"),
            ("busybox#a.b", "docker.io/library/busybox#a.b"),
            ("localhost:5000/policy", "localhost:5000/policy#default"),
        ] {
            assert_eq!(source(text).unwrap().to_string(), read);
        }
        for bad in
            ["", "#x", "r.example.com/policy#", "r.example.com/policy#A", "r.example.com/policy:1", "a#b#c"]
        {
            assert_eq!(source(bad), Err(NoSource), "{bad}");
        }
    }
}
