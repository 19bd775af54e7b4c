//! What a document of targets, or of a delegated role, would change.

use std::collections::BTreeSet;

use crate::json::Object;
use crate::key::KeyId;
use crate::metadata::{Children, DelegatedRole, Delegations, TargetInfo, Targets};
use crate::names::RoleName;
use crate::request::diff::{Listed, diff_extra, diff_header, diff_keys, diff_table};
use crate::request::{Change, Warning};

/// What `after` changes; everything, where there is no `before`.
#[must_use]
pub fn diff_targets(
    role: &RoleName,
    before: Option<&Targets>,
    after: &Targets,
) -> (Vec<Change>, Vec<Warning>) {
    let (mut changes, mut warnings) = (Vec::new(), Vec::new());
    let old = before.and_then(|before| before.delegations.as_ref());
    diff_delegations(old, after.delegations.as_ref(), &mut changes, &mut warnings);
    diff_listed(before, after, &mut changes);
    diff_revoked(before, after, &mut changes);
    let old = before.map(|before| (before.repository.as_ref(), before.expires));
    diff_header(role, old, (after.repository.as_ref(), after.expires), &mut changes, &mut warnings);
    if before.is_some_and(|before| before.role != after.role) {
        changes.push(Change::Other { what: "the role that it names".to_owned() });
    }
    diff_extra("", before.map(|before| &before.extra), &after.extra, &mut changes);
    (changes, warnings)
}

fn diff_delegations(
    before: Option<&Delegations>,
    after: Option<&Delegations>,
    changes: &mut Vec<Change>,
    warnings: &mut Vec<Warning>,
) {
    let (old, new) = (children(before), children(after));
    let (Some(old), Some(new)) = (old, new) else {
        if before.map(|known| &known.children) != after.map(|known| &known.children) {
            changes.push(Change::Other { what: "delegations as hash bins".to_owned() });
        }
        return;
    };
    let table = |delegations: Option<&Delegations>| delegations.map(|d| d.keys.clone()).unwrap_or_default();
    let (old_keys, new_keys) = (table(before), table(after));
    for child in new {
        let known = old.iter().find(|known| known.name == child.name);
        diff_child(known, child, changes);
        let role = RoleName::Delegated(child.name.clone());
        let known = known.map(|known| (&known.keys, &old_keys));
        diff_keys(&role, known, (&child.keys, &new_keys), changes, warnings);
    }
    for gone in old.iter().filter(|gone| !new.iter().any(|child| child.name == gone.name)) {
        changes.push(Change::DelegationRemoved { name: RoleName::Delegated(gone.name.clone()) });
    }
    let stays = |list: &[DelegatedRole], other: &[DelegatedRole]| -> Vec<RoleName> {
        let stay = list.iter().filter(|child| other.iter().any(|known| known.name == child.name));
        stay.map(|child| RoleName::Delegated(child.name.clone())).collect()
    };
    if stays(old, new) != stays(new, old) || moves(old, new) {
        let after = new.iter().map(|child| RoleName::Delegated(child.name.clone())).collect();
        changes.push(Change::DelegationOrder { after });
    }
    let used: BTreeSet<&KeyId> = new.iter().flat_map(|child| &child.keys.key_ids).collect();
    diff_table(Some(&old_keys), &new_keys, &used, changes);
    let nothing = Object::new();
    let extra = after.map_or(&nothing, |known| &known.extra);
    diff_extra("delegations.", before.map(|known| &known.extra), extra, changes);
}

/// Whether a new role stands before one that was there: it is asked first then.
fn moves(old: &[DelegatedRole], new: &[DelegatedRole]) -> bool {
    let is_old = |child: &DelegatedRole| old.iter().any(|known| known.name == child.name);
    let first_new = new.iter().position(|child| !is_old(child));
    first_new.is_some_and(|at| new.iter().skip(at).any(is_old))
}

fn diff_child(before: Option<&DelegatedRole>, after: &DelegatedRole, changes: &mut Vec<Change>) {
    let name = RoleName::Delegated(after.name.clone());
    let (scope, terminating) = (after.scope.clone(), after.terminating);
    if before.and_then(|known| known.ends) != after.ends {
        changes.push(Change::DelegationEnds { name: name.clone(), after: after.ends });
    }
    match before {
        None => changes.push(Change::DelegationAdded { name, scope, terminating }),
        Some(known) if known.scope != after.scope || known.terminating != after.terminating => {
            let before = known.scope.clone();
            changes.push(Change::Delegation { name, before, after: scope, terminating });
        }
        Some(_) => {}
    }
    diff_extra(&format!("{}.", after.name), before.map(|known| &known.extra), &after.extra, changes);
}

fn diff_listed(before: Option<&Targets>, after: &Targets, changes: &mut Vec<Change>) {
    let old = before.map(|before| &before.targets);
    for (path, info) in &after.targets {
        let known = old.and_then(|old| old.get(path));
        match known {
            Some(known) if known == info => {}
            Some(known) if known.hashes == info.hashes && known.length == info.length => {
                changes.push(Change::Other { what: format!("what is noted beside {path}") });
            }
            _ => changes.push(Change::Target {
                path: path.clone(),
                before: known.map(listed),
                after: Some(listed(info)),
            }),
        }
    }
    for (path, info) in old.into_iter().flatten().filter(|(path, _)| !after.targets.contains_key(*path)) {
        changes.push(Change::Target { path: path.clone(), before: Some(listed(info)), after: None });
    }
}

fn diff_revoked(before: Option<&Targets>, after: &Targets, changes: &mut Vec<Change>) {
    let old = before.map(|before| &before.revoked);
    for (path, tombstone) in &after.revoked {
        if old.and_then(|old| old.get(path)) != Some(tombstone) {
            let (digest, reason) = (tombstone.digest, tombstone.reason.clone());
            changes.push(Change::Revoked { path: path.to_string(), digest, reason });
        }
    }
    for path in old.into_iter().flat_map(|old| old.keys()).filter(|path| !after.revoked.contains_key(*path)) {
        changes.push(Change::RevocationRemoved { path: path.to_string() });
    }
}

/// The children listed one by one; `None` for hash bins.
fn children(delegations: Option<&Delegations>) -> Option<&[DelegatedRole]> {
    match delegations.map(|delegations| &delegations.children) {
        None => Some(&[]),
        Some(Children::Roles(roles)) => Some(roles),
        Some(Children::Succinct(_)) => None,
    }
}

fn listed(info: &TargetInfo) -> Listed {
    Listed { digest: info.hashes.as_sha256(), length: info.length }
}
