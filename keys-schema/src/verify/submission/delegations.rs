//! Delegated roles of an upload: every edge of the graph must hold, for every client.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::limits;
use crate::metadata::{Children, Root, Targets, Version};
use crate::names::{DelegatedRoleName, RELEASES, RoleName};
use crate::verify::submission::{
    Authority, CurrentState, Rejection, profile, raw, require_unexpired, require_version,
};
use crate::verify::{RawMetadata, Verified};

/// Follows all delegations from `targets` and verifies every role with the keys of each of
/// its delegator: uploaded documents, and stored ones whose delegation may have changed.
///
/// A new signer may still be without document: the admin has only his public key. Until he
/// signs, a search that comes as far as him ends there, as it must (C26); every released tag
/// is found before, in `releases`, which for that reason cannot be without one. Nor can a
/// role that the snapshot lists: clients would ask for the document it once had.
pub(super) fn check(
    current: Option<&CurrentState>,
    root: &Verified<Root>,
    targets: &Verified<Targets>,
    mut uploaded: BTreeMap<DelegatedRoleName, Bytes>,
    authority: &Authority<'_>,
) -> Result<BTreeMap<DelegatedRoleName, Verified<Targets>>, Rejection> {
    let mut delegated: BTreeMap<DelegatedRoleName, Verified<Targets>> = BTreeMap::new();
    let mut delegators = VecDeque::from([(None, targets.clone())]);
    while let Some((parent, delegator)) = delegators.pop_front() {
        let Some(delegations) = &delegator.payload().delegations else { continue };
        let Children::Roles(children) = &delegations.children else { continue };
        for child in children {
            let role = RoleName::Delegated(child.name.clone());
            let refused = |source| Rejection::Verify { role: role.clone(), source };
            let twice = delegated.contains_key(&child.name);
            check_name(&role, parent.as_ref(), twice)?;
            check_room(&role, parent.as_ref(), current)?;
            let stored = current.and_then(|current| current.delegated().get(&child.name));
            let document = match (uploaded.remove(&child.name), stored) {
                (Some(bytes), _) => {
                    let new = raw::<Targets>(root.dialect(), &role, bytes)?
                        .verify_as(&role, root.payload(), &child.keys, &delegations.keys)
                        .map_err(refused)?;
                    check_new(&role, &new, current, authority)?;
                    new
                }
                (None, Some(stored)) if is_unchanged(current, root, &delegator) => stored.clone(),
                (None, Some(stored)) => RawMetadata::new(root.dialect(), stored.bytes().clone())
                    .verify_as(&role, root.payload(), &child.keys, &delegations.keys)
                    .map_err(refused)?,
                (None, None) if is_new(&role, current) => continue,
                (None, None) => return Err(Rejection::Missing { role }),
            };
            delegated.insert(child.name.clone(), document.clone());
            delegators.push_back((Some(child.name.clone()), document));
        }
        if delegated.len() > limits::VISITED_ROLES {
            return Err(Rejection::TooLarge { role: RoleName::Targets, limit: limits::VISITED_ROLES });
        }
    }
    match uploaded.into_keys().next() {
        Some(name) => Err(Rejection::NotDelegated { role: RoleName::Delegated(name) }),
        None => Ok(delegated),
    }
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
    role.as_str() != RELEASES && !known
}

/// Every role has one delegator, and a delegated role can delegate only to names that start
/// with its own: otherwise a signer could take a name before the admin does, or name a role
/// of others with keys of his own and so block every update of it.
fn check_name(role: &RoleName, parent: Option<&DelegatedRoleName>, twice: bool) -> Result<(), Rejection> {
    let what = match parent {
        _ if twice => "two roles delegate to it",
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

/// The version after the one the snapshot lists: a name that was delegated before keeps its
/// counter, or clients that saw the old one would take the new one for a rollback.
fn check_new(
    role: &RoleName,
    new: &Verified<Targets>,
    current: Option<&CurrentState>,
    authority: &Authority<'_>,
) -> Result<(), Rejection> {
    let before = current.and_then(|current| current.snapshot().payload().meta.get(role));
    let wanted = before.map_or(Some(Version::FIRST), |info| info.version.next());
    require_version(role, wanted, new.version())?;
    require_unexpired(role, new.expires(), authority.now)?;
    profile::check_targets(role, new.payload(), authority.held_keys)
}
