//! Signers whose right to sign is limited in time: what they may no longer add to `releases`.
//!
//! Their own documents are judged where delegations are followed.

use std::collections::BTreeSet;

use crate::key::Fingerprint;
use crate::metadata::{Children, DelegatedRole, KeyTable};
use crate::names::{DelegatedRoleName, RELEASES, REVOCATIONS, RoleName};
use crate::verify::submission::{AcceptedUpdate, Rejection};

impl AcceptedUpdate {
    /// `releases` lists the keys of all signers, with no limit of their own: a signature by a
    /// key that is there only because of a signer whose time is over does not count.
    pub(super) fn check_ends(&self) -> Result<(), Rejection> {
        let name = DelegatedRoleName::releases();
        let Some(releases) = self.delegated.get(&name).filter(|_| self.uploaded.contains(&name)) else {
            return Ok(());
        };
        let targets = self.targets.payload();
        let (Some(role), Some(delegations)) = (targets.delegation(&name), &targets.delegations) else {
            return Ok(());
        };
        let Children::Roles(children) = &delegations.children else { return Ok(()) };
        let (over, current): (Vec<_>, Vec<_>) =
            children.iter().filter(|child| is_signer(child)).partition(|child| child.is_over(self.now));
        let keys = |roles: &[&DelegatedRole], table: &KeyTable| -> BTreeSet<Fingerprint> {
            roles.iter().flat_map(|role| role.keys.fingerprints(table)).collect()
        };
        let over_keys = keys(&over, &delegations.keys);
        let mut current_keys = keys(&current, &delegations.keys);
        let root = self.root.payload();
        current_keys.extend(root.targets.fingerprints(&root.keys));
        let counted = releases.signed_by().iter();
        let counted = counted.filter(|key| current_keys.contains(key) || !over_keys.contains(key)).count();
        let ends = over.iter().filter_map(|role| role.ends).max();
        match ends {
            Some(ends) if !role.keys.threshold.is_met_by(counted) => {
                Err(Rejection::Ended { role: RoleName::Delegated(name), ends })
            }
            _ => Ok(()),
        }
    }
}

fn is_signer(role: &DelegatedRole) -> bool {
    !matches!(role.name.as_str(), RELEASES | REVOCATIONS)
}
