//! Renew: sign anew, with the same content, what comes to its end soon.

use std::collections::BTreeSet;

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::Targets;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::lifetimes;
use crate::flow::publish::{self, Edit, Edited, How, PublishError, Published};
use crate::flow::refresh::Purpose;
use crate::flow::root_change::{self, RootChange, RootChangeError};
use crate::flow::signing::{KeyRing, TooFewKeys};
use crate::flow::status::{self, Held, Life};
use crate::port::KeyStoreError;

/// What to renew.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// How many seconds a role must last to be left alone.
    pub within: i64,
    /// These roles, whether they are due or not; all that are due if none is named.
    pub roles: Vec<RoleName>,
    /// What to do with the change.
    pub how: How,
}

/// What was renewed.
#[derive(Clone, Debug)]
pub struct Renewed {
    /// The documents and keys; `None` if nothing was due that can be signed here.
    pub published: Option<Published>,
    /// Roles that are due, and whose keys are elsewhere.
    pub left: Vec<Left>,
}

/// A role that could not be renewed here.
#[derive(Clone, Debug)]
pub struct Left {
    /// Its name.
    pub role: RoleName,
    /// When it expires.
    pub expires: UtcTime,
    /// What is missing.
    pub missing: TooFewKeys,
}

/// Renews.
///
/// # Errors
/// See [`RenewError`].
pub async fn renew(ports: Ports<'_>, request: &Request) -> Result<Renewed, RenewError> {
    let repository = &request.repository;
    let state = publish::current_state(Purpose::Change, ports, repository).await?;
    let mut ring = KeyRing::load(ports)?;
    ring.collect(matches!(request.how, How::Request(_)));
    let (edit, left) = plan(&state, &ring, ports.clock.now(), request)?;
    if edit.root.is_none() && edit.documents.is_empty() {
        return Ok(Renewed { published: None, left });
    }
    let mut still = left;
    let published = publish::publish(ports, repository, request.how.clone(), |state, ring, now| {
        let (edit, left) = plan(state, ring, now, request)?;
        still = left;
        Ok::<_, RenewError>(edit)
    })
    .await?;
    Ok(Renewed { published: Some(published), left: still })
}

fn plan(
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    request: &Request,
) -> Result<(Edit, Vec<Left>), RenewError> {
    let all = status::held(state);
    for role in &request.roles {
        match all.iter().find(|held| held.role == *role) {
            _ if matches!(role, RoleName::Snapshot | RoleName::Timestamp) => {
                return Err(RenewError::Online { role: role.clone() });
            }
            Some(Held { document: Some(_), .. }) => {}
            _ => return Err(RenewError::Unknown { role: role.clone() }),
        }
    }
    let mut edit = Edit::default();
    let mut left = Vec::new();
    for held in all {
        let is_due = matches!(held.life(now, request.within), Life::Ending | Life::Over);
        let is_asked = if request.roles.is_empty() { is_due } else { request.roles.contains(&held.role) };
        let (true, Some((_, expires))) = (is_asked, held.document) else { continue };
        let in_vain = request.roles.is_empty() && held.role == RoleName::Root;
        let in_vain = in_vain.then(|| others(state, ring, now.plus_seconds(request.within), &held)).flatten();
        let added = match in_vain {
            Some(missing) => Err(missing),
            None => add(&mut edit, state, ring, now, &held)?,
        };
        if let Err(missing) = added {
            left.push(Left { role: held.role, expires, missing });
        }
    }
    Ok((edit, left))
}

/// Whose keys are missing where only certificates of others end before `soon`: a new root would
/// carry these on as they are.
fn others(state: &CurrentState, ring: &KeyRing<'_>, soon: UtcTime, held: &Held) -> Option<TooFewKeys> {
    let root = state.root().payload();
    let is_here = |key: &Fingerprint| ring.find(key).is_some();
    if root_change::end(root, is_here).is_over(soon) {
        return None;
    }
    let keys = held.authority.keys.fingerprints(&held.authority.table).into_iter();
    let (here, missing) = keys.partition(is_here);
    Some(TooFewKeys { role: held.role.clone(), threshold: held.authority.keys.threshold, here, missing })
}

/// Adds the next document of a role, if enough of its keys are here.
fn add(
    edit: &mut Edit,
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    held: &Held,
) -> Result<Result<(), TooFewKeys>, RenewError> {
    let before = match &held.role {
        RoleName::Targets => state.targets().payload(),
        RoleName::Delegated(name) => match state.delegated().get(name) {
            Some(document) => document.payload(),
            None => return Ok(Ok(())),
        },
        RoleName::Root | RoleName::Snapshot | RoleName::Timestamp => {
            let change = RootChange::renewal();
            match change.keys(state, ring, now) {
                Err(RootChangeError::TooFewKeys(missing)) => return Ok(Err(missing)),
                keys => drop(keys?),
            }
            edit.root = Some(change);
            return Ok(Ok(()));
        }
    };
    if let Err(missing) = ring.choose(&held.role, &held.authority, &BTreeSet::new()) {
        return Ok(Err(missing));
    }
    let document = next(state, before, held, now)?;
    edit.documents.push(Edited { role: held.role.clone(), document, authority: held.authority.clone() });
    Ok(Ok(()))
}

fn next(state: &CurrentState, before: &Targets, held: &Held, now: UtcTime) -> Result<Targets, RenewError> {
    let dialect = state.root().dialect();
    let expires = now.plus_seconds(lifetimes::targets(dialect));
    let expires = held.ends.map_or(expires, |ends| expires.min(ends));
    let next = TargetsEdit::next(dialect, before, expires);
    let next = next.ok_or_else(|| RenewError::LastVersion { role: held.role.clone() })?;
    Ok(next.finish())
}

/// Why nothing was renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewError {
    /// The version counter is at its end.
    #[error("{role} has reached the last version there is")]
    LastVersion {
        /// The role.
        role: RoleName,
    },
    /// The server renews this role.
    #[error("{role} is renewed by the trust server")]
    Online {
        /// The role.
        role: RoleName,
    },
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The next root cannot be made.
    #[error(transparent)]
    Root(#[from] RootChangeError),
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// No such role, or one without a document.
    #[error("the repository has no document of {role}")]
    Unknown {
        /// The role.
        role: RoleName,
    },
}
