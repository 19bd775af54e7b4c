//! Repair, in Notary's dialect: documents that are expired, and a root that soon will be, are
//! signed anew along with any other change, where their keys are here.
//!
//! Notary's own clients refuse to change a repository whose `targets` is expired, begin an
//! expired delegation again at version 1, which servers refuse, and renew a root without its
//! certificates.

use std::collections::BTreeSet;

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::metadata::{Children, DelegatedRole, Targets};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::layout::Authority;
use crate::flow::lifetimes;
use crate::flow::publish::{Edit, Edited};
use crate::flow::root_change::{self, RootChange};
use crate::flow::sign::repository_authority;
use crate::flow::signing::KeyRing;

/// Adds to `edit` what can be repaired; says which roles cannot be and stay expired.
pub fn repair(edit: &mut Edit, state: &CurrentState, ring: &KeyRing<'_>, now: UtcTime) -> Vec<RoleName> {
    if state.root().dialect() != Dialect::Notary1 {
        return vec![];
    }
    edit.root = edit.root.take().or_else(|| renewal(state, ring, now));
    let mut left = Vec::new();
    for (role, document, authority) in expired(edit, state, now) {
        let next = TargetsEdit::next(Dialect::Notary1, &document, now.plus_seconds(LIFETIME));
        match (ring.choose(&role, &authority, &BTreeSet::new()), next) {
            (Ok(_), Some(next)) => edit.documents.push(Edited { role, document: next.finish(), authority }),
            _ => left.push(role),
        }
    }
    left
}

const LIFETIME: i64 = lifetimes::targets(Dialect::Notary1);

/// Every expired role that is delegated to after `edit`, which does not write it anew.
fn expired(edit: &Edit, state: &CurrentState, now: UtcTime) -> Vec<(RoleName, Targets, Authority)> {
    let written = |role: &RoleName| edit.documents.iter().find(|edited| edited.role == *role);
    let top = written(&RoleName::Targets);
    let top = top.map_or_else(|| state.targets().payload(), |edited| &edited.document);
    let parents = [top].into_iter().chain(state.delegated().values().map(|document| document.payload()));
    let roles = parents.flat_map(children).filter_map(|(role, authority)| {
        let RoleName::Delegated(name) = &role else { return None };
        Some((role.clone(), state.delegated().get(name)?.payload().clone(), authority))
    });
    [(RoleName::Targets, state.targets().payload().clone(), repository_authority(state))]
        .into_iter()
        .chain(roles)
        .filter(|(role, document, _)| document.expires.is_over(now) && written(role).is_none())
        .filter(|(role, ..)| edit.signed.iter().all(|signed| signed.role != *role))
        .collect()
}

fn children(targets: &Targets) -> Vec<(RoleName, Authority)> {
    let Some(delegations) = &targets.delegations else { return vec![] };
    let Children::Roles(roles) = &delegations.children else { return vec![] };
    let child = |role: &DelegatedRole| {
        let authority = Authority { keys: role.keys.clone(), table: delegations.keys.clone() };
        (RoleName::Delegated(role.name.clone()), authority)
    };
    roles.iter().map(child).collect()
}

/// The same root with a new life, while it or one of the certificates that can be made anew is
/// near its end. `None` while there is time, or where too few of its keys are here.
fn renewal(state: &CurrentState, ring: &KeyRing<'_>, now: UtcTime) -> Option<RootChange> {
    let change = RootChange::renewal();
    let keys = change.keys(state, ring, now).ok()?;
    let soon = now.plus_seconds(lifetimes::ROOT_RENEWAL);
    root_change::end(state.root().payload(), |key| keys.contains(key)).is_over(soon).then_some(change)
}
