//! `bulla key list` and `bulla key show`

use std::collections::BTreeSet;

use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::RepositoryName;

use super::super::Context;
use super::load::pinned;
use crate::flow::key::standing::{Standing, ask, remember};
use crate::port::StoredKey;
use crate::report::{KeyReport, KeysReport};

/// List the keys of this home, their roles, and the days until what they signed expires
///
/// Of the repositories that have a pin of their own, and those in which a key was given a role here.
/// As this home saw them last, unless --online is given.
#[derive(Debug, clap::Args)]
pub(in crate::command) struct ListArgs {
    /// Ask the trust server
    #[arg(long)]
    online: bool,
}

/// Show one key and its roles; nothing secret
#[derive(Debug, clap::Args)]
pub(in crate::command) struct ShowArgs {
    /// Its name
    name: KeyName,
    /// Ask the trust server for its roles
    #[arg(long)]
    online: bool,
}

impl ListArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let local = context.settings.local(None);
        let keys = local.ports().keys.list()?;
        let standings = standings(context, &keys, self.online).await?;
        Ok(context.output.answer(&KeysReport::new(&keys, &standings, local.ports().clock.now()))?)
    }
}

impl ShowArgs {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<()> {
        let local = context.settings.local(None);
        let key = local.ports().keys.find(&self.name)?;
        let standings = standings(context, std::slice::from_ref(&key), self.online).await?;
        Ok(context.output.answer(&KeyReport::new(&key, &standings, local.ports().clock.now()))?)
    }
}

/// What is known of every repository that may have roles for `keys`. A repository that cannot be
/// judged is named, and does not hide the others.
async fn standings(context: &Context, keys: &[StoredKey], online: bool) -> anyhow::Result<Vec<Standing>> {
    let noted = keys.iter().flat_map(|key| &key.sidecar.roles).map(|held| held.repository.clone());
    let repositories: BTreeSet<RepositoryName> = pinned(context)?.into_iter().chain(noted).collect();
    let mut found = Vec::new();
    for repository in &repositories {
        let known = match online {
            true => ask(context.settings.world(repository)?.ports(), repository).await.map(Some),
            false => remember(context.settings.world_offline(repository)?.ports(), repository).await,
        };
        match known {
            Ok(standing) => found.extend(standing),
            Err(error) => context.output.warn(&format!("roles in {repository} are not known: {error}")),
        }
    }
    Ok(found)
}
