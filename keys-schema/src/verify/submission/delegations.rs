//! Delegated roles of an upload: every edge of the graph must hold, for every client.

use std::collections::{BTreeMap, VecDeque};

use crate::dialect::Dialect;
use crate::digest::Hashed;
use crate::limits;
use crate::metadata::{Children, Root, Targets};
use crate::names::{DelegatedRoleName, RELEASES, REVOCATIONS, RoleName};
use crate::time::UtcTime;
use crate::verify::submission::{
    Authority, CurrentState, Rejection, Retired, profile, raw, require_next, require_unexpired,
};
use crate::verify::{RawMetadata, Verified};

/// Delegated roles after an upload: those that count, and in Notary's dialect those that do
/// not.
type Delegated = (BTreeMap<DelegatedRoleName, Verified<Targets>>, BTreeMap<DelegatedRoleName, Retired>);

/// Follows all delegations from `targets` and verifies every role with the keys of each of
/// its delegator: uploaded documents, and stored ones whose delegation may have changed.
///
/// A new signer may still be without document: the admin has only his public key. Until he
/// signs, a search that comes as far as him ends there, as it must (C26); every released tag
/// is found before, in `releases`, which for that reason cannot be without one. Nor can
/// `revocations`, which consumers read before they trust anything, nor a role that the snapshot
/// lists: clients would ask for the document it once had.
///
/// A role whose right to speak ends takes along those below it.
///
/// In Notary's dialect a stored document that its delegation no longer vouches for retires:
/// clients of that dialect remove keys from a role and have it signed again later.
pub(super) fn check(
    current: Option<&CurrentState>,
    root: &Verified<Root>,
    targets: &Verified<Targets>,
    mut uploaded: BTreeMap<DelegatedRoleName, Hashed>,
    authority: &Authority<'_>,
) -> Result<Delegated, Rejection> {
    let dialect = root.dialect();
    let mut delegated: BTreeMap<DelegatedRoleName, Verified<Targets>> = BTreeMap::new();
    let mut delegators = VecDeque::from([(None, None, targets.clone())]);
    while let Some((parent, end, delegator)) = delegators.pop_front() {
        let Some(delegations) = &delegator.payload().delegations else { continue };
        let Children::Roles(children) = &delegations.children else { continue };
        for child in children {
            let role = RoleName::Delegated(child.name.clone());
            let ends = earlier(end, child.ends);
            let refused = |source| Rejection::Verify { role: role.clone(), source };
            let twice = delegated.contains_key(&child.name);
            check_name(dialect, &role, parent.as_ref(), twice)?;
            check_room(&role, parent.as_ref(), current)?;
            let stored = current.and_then(|current| current.delegated().get(&child.name));
            let retired = current.and_then(|current| current.retired().get(&child.name));
            let verify = |raw: RawMetadata<Targets>| {
                raw.verify_as(&role, root.payload(), &child.keys, &delegations.keys).map_err(refused)
            };
            let document = match (uploaded.remove(&child.name), stored) {
                (Some(bytes), _) => {
                    let new = verify(raw(dialect, &role, bytes)?)?;
                    check_new(&role, &new, current, authority)?;
                    check_right(&role, &new, ends, authority.now)?;
                    new
                }
                (None, Some(stored)) if is_unchanged(current, root, &delegator) => stored.clone(),
                (None, stored) if dialect == Dialect::Notary1 => {
                    let bytes = stored.map(Verified::bytes).or(retired.map(|retired| &retired.bytes));
                    let document = bytes.map(|bytes| verify(RawMetadata::new(dialect, bytes.clone())));
                    let Some(Ok(document)) = document else { continue };
                    document
                }
                (None, Some(stored)) => {
                    let stored = verify(RawMetadata::new(dialect, stored.bytes().clone()))?;
                    check_lifetime(&role, &stored, ends)?;
                    stored
                }
                (None, None) if is_new(&role, current) => continue,
                (None, None) => return Err(Rejection::Missing { role }),
            };
            delegated.insert(child.name.clone(), document.clone());
            delegators.push_back((Some(child.name.clone()), ends, document));
        }
        let limit = if dialect == Dialect::Notary1 { limits::NOTARY_ROLES } else { limits::VISITED_ROLES };
        if delegated.len() > limit {
            return Err(Rejection::TooLarge { role: RoleName::Targets, limit });
        }
    }
    if let Some(name) = uploaded.into_keys().next() {
        return Err(Rejection::NotDelegated { role: RoleName::Delegated(name) });
    }
    let retired = if dialect == Dialect::Notary1 { retire(current, &delegated)? } else { BTreeMap::new() };
    Ok((delegated, retired))
}

/// What was there before and counts no more.
fn retire(
    current: Option<&CurrentState>,
    delegated: &BTreeMap<DelegatedRoleName, Verified<Targets>>,
) -> Result<BTreeMap<DelegatedRoleName, Retired>, Rejection> {
    let Some(current) = current else { return Ok(BTreeMap::new()) };
    let mut retired = current.retired().clone();
    let retiring = current.delegated().iter().map(|(name, document)| {
        (name.clone(), Retired { version: document.version(), bytes: document.bytes().clone() })
    });
    retired.extend(retiring);
    retired.retain(|name, _| !delegated.contains_key(name));
    // Names that were used once are never forgotten, so they must not become too many.
    if retired.len() > limits::DELEGATIONS {
        return Err(Rejection::TooLarge { role: RoleName::Targets, limit: limits::DELEGATIONS });
    }
    Ok(retired)
}

/// Whether the state was loaded over this very edge of the graph, under the same name.
fn is_unchanged(
    current: Option<&CurrentState>,
    root: &Verified<Root>,
    delegator: &Verified<Targets>,
) -> bool {
    current.is_some_and(|current| {
        current.root().payload().repository == root.payload().repository && current.holds(delegator)
    })
}

fn is_new(role: &RoleName, current: Option<&CurrentState>) -> bool {
    let known = current.is_some_and(|current| current.snapshot().payload().meta.contains_key(role));
    !matches!(role.as_str(), RELEASES | REVOCATIONS) && !known
}

fn earlier(one: Option<UtcTime>, other: Option<UtcTime>) -> Option<UtcTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Who signs after the end of the right to sign is refused, and so is a document that would
/// outlast it.
fn check_right(
    role: &RoleName,
    new: &Verified<Targets>,
    ends: Option<UtcTime>,
    now: UtcTime,
) -> Result<(), Rejection> {
    match ends {
        Some(ends) if ends.is_over(now) => Err(Rejection::Ended { role: role.clone(), ends }),
        ends => check_lifetime(role, new, ends),
    }
}

fn check_lifetime(
    role: &RoleName,
    document: &Verified<Targets>,
    ends: Option<UtcTime>,
) -> Result<(), Rejection> {
    match ends {
        Some(ends) if document.expires() > ends => {
            Err(Rejection::Outlives { role: role.clone(), expires: document.expires(), ends })
        }
        _ => Ok(()),
    }
}

/// Every role has one delegator, and a delegated role can delegate only to names that start
/// with its own: otherwise a signer could take a name before the admin does, or name a role
/// of others with keys of his own and so block every update of it.
fn check_name(
    dialect: Dialect,
    role: &RoleName,
    parent: Option<&DelegatedRoleName>,
    twice: bool,
) -> Result<(), Rejection> {
    let what = match parent {
        _ if twice => "two roles delegate to it",
        // Verified with the document that delegates.
        _ if dialect == Dialect::Notary1 => return Ok(()),
        Some(parent) if !role.as_str().starts_with(&format!("{parent}.")) => {
            "the name of a role below a delegated role must start with that role's name and a dot"
        }
        _ => return Ok(()),
    };
    Err(Rejection::Profile { role: role.clone(), what })
}

/// A snapshot never forgets a name (C18). One half of its room is for the delegations of
/// targets, or a signer could fill it with names below his own until no signer can be added.
fn check_room(
    role: &RoleName,
    parent: Option<&DelegatedRoleName>,
    current: Option<&CurrentState>,
) -> Result<(), Rejection> {
    let listed = current.map(|current| &current.snapshot().payload().meta);
    let is_full =
        listed.is_some_and(|meta| meta.len() >= limits::DELEGATIONS / 2 && !meta.contains_key(role));
    if parent.is_some() && is_full {
        let what = "the snapshot has no room for more names below delegated roles";
        return Err(Rejection::Profile { role: role.clone(), what });
    }
    Ok(())
}

/// The version after the last one of this name: a name that was delegated before keeps its
/// counter, or clients that saw the old one would take the new one for a rollback.
fn check_new(
    role: &RoleName,
    new: &Verified<Targets>,
    current: Option<&CurrentState>,
    authority: &Authority<'_>,
) -> Result<(), Rejection> {
    let before = current.and_then(|current| current.last_version(role));
    require_next(new.dialect(), role, before, new.version())?;
    require_unexpired(role, new.expires(), authority.now)?;
    profile::check_targets(new.dialect(), role, new.payload(), authority.held_keys)
}
