//! What a set of keys is good for: which roles it can sign for, and which not.

use std::collections::BTreeSet;

use crate::key::Fingerprint;
use crate::metadata::{Children, KeyTable, RoleKeys, Root, Targets, Threshold, TopLevelRole};
use crate::names::RoleName;

/// How far a set of keys reaches for one role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleCover {
    /// The role.
    pub role: RoleName,
    /// How many of its keys must sign.
    pub threshold: Threshold,
    /// Keys of the role that are in the set.
    pub held: BTreeSet<Fingerprint>,
    /// Keys of the role that are not.
    pub absent: BTreeSet<Fingerprint>,
}

impl RoleCover {
    fn new(role: RoleName, keys: &RoleKeys, table: &KeyTable, set: &BTreeSet<Fingerprint>) -> Self {
        let (held, absent) = keys.fingerprints(table).into_iter().partition(|key| set.contains(key));
        Self { role, threshold: keys.threshold, held, absent }
    }

    /// Whether the set alone can sign for the role.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.threshold.is_met_by(self.held.len())
    }
}

/// The offline roles that a root names. The keys of snapshot and timestamp are the server's,
/// and nobody can back them up; a snapshot key that is in the set all the same is counted.
#[must_use]
pub fn of_root(root: &Root, set: &BTreeSet<Fingerprint>) -> Vec<RoleCover> {
    let cover = |name: RoleName, role: TopLevelRole| RoleCover::new(name, root.role(role), &root.keys, set);
    let mut roles =
        vec![cover(RoleName::Root, TopLevelRole::Root), cover(RoleName::Targets, TopLevelRole::Targets)];
    roles.extend(
        Some(cover(RoleName::Snapshot, TopLevelRole::Snapshot)).filter(|cover| !cover.held.is_empty()),
    );
    roles
}

/// The roles that a targets document delegates to by name.
#[must_use]
pub fn of_targets(targets: &Targets, set: &BTreeSet<Fingerprint>) -> Vec<RoleCover> {
    let Some(delegations) = &targets.delegations else { return vec![] };
    let Children::Roles(roles) = &delegations.children else { return vec![] };
    let cover = |role: &crate::metadata::DelegatedRole| {
        RoleCover::new(RoleName::Delegated(role.name.clone()), &role.keys, &delegations.keys, set)
    };
    roles.iter().map(cover).collect()
}
