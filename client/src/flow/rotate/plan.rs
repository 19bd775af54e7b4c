//! What the rotation of some roles means for the documents of a repository.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::{Delegation, RoleSpec, TargetsEdit};
use bulla_keys_schema::key::{Certificate, Fingerprint, PublicKey};
use bulla_keys_schema::metadata::{
    DelegatedRole, KeyEntry, KeyTable, RoleKeys, Targets, Threshold, TopLevelRole,
};
use bulla_keys_schema::names::{RELEASES, REVOCATIONS, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use super::{RotateError, Subject};
use crate::flow::layout::{Authority, Layout, Signers};
use crate::flow::lifetimes;
use crate::flow::publish::{Edit, Edited};
use crate::flow::root_change::{self, RootChange};
use crate::flow::sign::{authority, repository_authority, role_name};

/// Other keys, or another threshold, for one role.
#[derive(Clone, Debug)]
pub(super) struct Change {
    pub(super) subject: Subject,
    pub(super) joining: Vec<PublicKey>,
    /// Certificates that holders of joining keys made for them.
    pub(super) certificates: Vec<Certificate>,
    pub(super) leaving: BTreeSet<Fingerprint>,
    pub(super) threshold: Option<Threshold>,
}

impl Change {
    /// `before` as it is after this change.
    ///
    /// # Errors
    /// A key joins that is there, or leaves that is not; too few stay; or nothing changes.
    pub(super) fn apply(&self, before: &RoleSpec) -> Result<RoleSpec, RotateError> {
        let role = || self.subject.role();
        let known = prints(&before.keys);
        let joins: BTreeSet<Fingerprint> = self.joining.iter().map(PublicKey::fingerprint).collect();
        if let Some(key) = joins.intersection(&known).next().filter(|key| !self.leaving.contains(key)) {
            return Err(RotateError::AlreadyListed { role: role(), key: *key });
        }
        if let Some(key) = self.leaving.difference(&known).next() {
            return Err(RotateError::NotListed { role: role(), key: *key });
        }
        let mut keys: Vec<KeyEntry> = before.keys.clone();
        keys.retain(|entry| print(entry).is_some_and(|key| !self.leaving.contains(&key)));
        keys.extend(self.joining.iter().map(|key| self.entry(key)));
        let threshold = self.threshold.unwrap_or(before.threshold);
        if !threshold.is_met_by(prints(&keys).len()) {
            return Err(RotateError::TooFew { role: role(), keys: keys.len(), threshold });
        }
        if prints(&keys) == known && threshold == before.threshold {
            return Err(RotateError::NothingChanges { role: role() });
        }
        Ok(RoleSpec { keys, threshold })
    }

    fn entry(&self, key: &PublicKey) -> KeyEntry {
        let certificate = self.certificates.iter().find(|known| known.public_key() == key);
        certificate.map_or_else(|| KeyEntry::new(key.clone()), |known| KeyEntry::certified(known.clone()))
    }
}

/// The keys of a role as the current documents list them.
///
/// # Errors
/// There is no such signer.
pub(super) fn current_spec(state: &CurrentState, subject: &Subject) -> Result<RoleSpec, RotateError> {
    match subject {
        Subject::Top(role) => {
            let root = state.root().payload();
            Ok(root_change::spec(root.role(*role), root))
        }
        Subject::Signer(name) => {
            let unknown = || RotateError::UnknownSigner { name: name.clone() };
            Layout::of(state.targets().payload()).ok_or(RotateError::HashBins)?;
            let signers = Signers::of(state.targets().payload()).ok_or_else(unknown)?;
            let role = signers.all().find(|role| role.name == *name.role()).ok_or_else(unknown)?;
            Ok(delegated_spec(role, &signers))
        }
    }
}

/// Every document that `changes` need.
///
/// # Errors
/// The changes do not fit the repository; see [`RotateError`].
pub(super) fn plan(state: &CurrentState, changes: &[Change], now: UtcTime) -> Result<Edit, RotateError> {
    let mut root = RootChange::renewal();
    let mut next = BTreeMap::new();
    for change in changes {
        let spec = change.apply(&current_spec(state, &change.subject)?)?;
        if let Subject::Top(role) = change.subject {
            root.set_role(role, spec.clone());
        }
        next.insert(change.subject.role(), spec);
    }
    let mut edit = Edit::default();
    let offline = changes.iter().any(|change| match &change.subject {
        Subject::Top(role) => *role == TopLevelRole::Targets,
        Subject::Signer(_) => true,
    });
    if offline {
        let targets_authority = match next.contains_key(&RoleName::Targets) {
            true => root.authority(TopLevelRole::Targets, state, now)?,
            false => repository_authority(state),
        };
        edit.documents = documents(state, changes, &next, targets_authority, now)?;
    }
    if changes.iter().any(|change| matches!(change.subject, Subject::Top(_))) {
        edit.root = Some(root);
    }
    Ok(edit)
}

/// `targets` with the delegations that follow, and every delegated document whose signatures
/// are not enough any more.
fn documents(
    state: &CurrentState,
    changes: &[Change],
    next: &BTreeMap<RoleName, RoleSpec>,
    targets_authority: Authority,
    now: UtcTime,
) -> Result<Vec<Edited>, RotateError> {
    let before = state.targets().payload();
    Layout::of(before).ok_or(RotateError::HashBins)?;
    let mut edit = following(state, before, now)?;
    // Also where there is no signer: the deny list follows the keys of targets.
    if let Some(signers) = Signers::of(before) {
        for (role, spec) in delegations(state, &signers, changes, next) {
            edit.set_delegation(&delegation(role, spec))?;
        }
    }
    let targets = edit.finish();
    let mut edited = Vec::new();
    if let Some(signers) = Signers::of(&targets) {
        for role in signers.roles() {
            edited.extend(signed_anew(state, &signers, role, now)?);
        }
    }
    edited.insert(0, Edited { role: RoleName::Targets, document: targets, authority: targets_authority });
    Ok(edited)
}

/// The delegations that get other keys: those of the signers that are named, and the reserved
/// roles, which list the keys of others.
fn delegations<'a>(
    state: &CurrentState,
    signers: &Signers<'a>,
    changes: &[Change],
    next: &BTreeMap<RoleName, RoleSpec>,
) -> Vec<(&'a DelegatedRole, RoleSpec)> {
    let root = state.root().payload();
    // Who lists a key after all changes.
    let spec_of = |role: &DelegatedRole| {
        next.get(&role_name(role)).cloned().unwrap_or_else(|| delegated_spec(role, signers))
    };
    let targets = next.get(&RoleName::Targets).cloned();
    let targets = targets.unwrap_or_else(|| root_change::spec(&root.targets, root));
    let mut listed: BTreeSet<Fingerprint> = prints(&targets.keys);
    listed.extend(signers.of_tags().flat_map(|role| prints(&spec_of(role).keys)));
    let rotated = signers.all().filter(|role| next.contains_key(&role_name(role)));
    let mut all: Vec<_> = rotated.map(|role| (role, spec_of(role))).collect();
    for role in signers.roles() {
        let still = match role.name.as_str() {
            RELEASES => &listed,
            REVOCATIONS => &prints(&targets.keys),
            _ => continue,
        };
        let mut spec = delegated_spec(role, signers);
        let before = prints(&spec.keys);
        for change in changes {
            let is_followed = match &change.subject {
                Subject::Top(top) => *top == TopLevelRole::Targets,
                Subject::Signer(name) => {
                    let is_of_tags = signers.of_tags().any(|signer| signer.name == *name.role());
                    is_of_tags && role.name.as_str() == RELEASES
                }
            };
            if is_followed && let Ok(current) = current_spec(state, &change.subject) {
                follow(&mut spec, &before, &prints(&current.keys), change, still);
            }
        }
        if prints(&spec.keys) != before {
            all.push((role, spec));
        }
    }
    all
}

/// Lets a role that lists keys of `current` follow a change of them: keys in `still` stay.
fn follow(
    spec: &mut RoleSpec,
    before: &BTreeSet<Fingerprint>,
    current: &BTreeSet<Fingerprint>,
    change: &Change,
    still: &BTreeSet<Fingerprint>,
) {
    if before.is_disjoint(current) {
        return;
    }
    let stays = |key: &Fingerprint| !change.leaving.contains(key) || still.contains(key);
    spec.keys.retain(|entry| print(entry).is_some_and(|key| stays(&key)));
    let listed = prints(&spec.keys);
    let joining = change.joining.iter().filter(|key| !listed.contains(&key.fingerprint()));
    spec.keys.extend(joining.cloned().map(KeyEntry::new));
}

/// The next document of `role` with the same content, if the signatures of the current one are
/// not enough for its new delegation.
fn signed_anew(
    state: &CurrentState,
    signers: &Signers<'_>,
    role: &DelegatedRole,
    now: UtcTime,
) -> Result<Option<Edited>, RotateError> {
    let Some(document) = state.delegated().get(&role.name) else { return Ok(None) };
    let authority = authority(signers, role);
    if document.reverify(&authority.keys, &authority.table).is_ok() {
        return Ok(None);
    }
    let mut next = following(state, document.payload(), now)?.finish();
    if let Some(ends) = role.ends {
        next.expires = next.expires.min(ends);
    }
    Ok(Some(Edited { role: role_name(role), document: next, authority }))
}

fn following(state: &CurrentState, before: &Targets, now: UtcTime) -> Result<TargetsEdit, RotateError> {
    let dialect = state.root().dialect();
    let expires = now.plus_seconds(lifetimes::targets(dialect));
    TargetsEdit::next(dialect, before, expires).ok_or(RotateError::LastVersion)
}

fn delegation(role: &DelegatedRole, spec: RoleSpec) -> Delegation {
    Delegation {
        name: role.name.clone(),
        keys: spec.keys,
        threshold: spec.threshold,
        scope: role.scope.clone(),
        terminating: role.terminating,
    }
}

fn delegated_spec(role: &DelegatedRole, signers: &Signers<'_>) -> RoleSpec {
    spec(&role.keys, signers.table())
}

fn spec(keys: &RoleKeys, table: &KeyTable) -> RoleSpec {
    let entries = keys.key_ids.iter().filter_map(|id| table.get(id));
    RoleSpec { keys: entries.cloned().collect(), threshold: keys.threshold }
}

/// The distinct keys among `entries`.
pub(super) fn prints(entries: &[KeyEntry]) -> BTreeSet<Fingerprint> {
    entries.iter().filter_map(print).collect()
}

fn print(entry: &KeyEntry) -> Option<Fingerprint> {
    entry.key.as_ref().map(PublicKey::fingerprint)
}

#[cfg(test)]
mod tests {
    use bulla_keys_schema::key::{KeyAlgorithm, SecretKey};

    use super::*;

    fn key(seed: u8) -> PublicKey {
        let secret = SecretKey::from_seed(KeyAlgorithm::Ed25519, &zeroize::Zeroizing::new([seed; 32]));
        secret.unwrap().public_key().clone()
    }

    fn before(seeds: &[u8], threshold: u64) -> RoleSpec {
        let keys = seeds.iter().map(|seed| KeyEntry::new(key(*seed))).collect();
        RoleSpec { keys, threshold: Threshold::new(threshold).unwrap() }
    }

    fn change(joining: &[u8], leaving: &[u8], threshold: Option<u64>) -> Change {
        Change {
            subject: Subject::Top(TopLevelRole::Targets),
            joining: joining.iter().map(|seed| key(*seed)).collect(),
            certificates: vec![],
            leaving: leaving.iter().map(|seed| key(*seed).fingerprint()).collect(),
            threshold: threshold.and_then(Threshold::new),
        }
    }

    #[test]
    fn a_role_keeps_keys_enough_for_its_threshold() {
        let two = before(&[1, 2, 3], 2);
        let after = change(&[4], &[1], None).apply(&two).unwrap();
        let expected = [2, 3, 4].map(|seed| key(seed).fingerprint());
        assert_eq!((prints(&after.keys), after.threshold), (BTreeSet::from(expected), two.threshold));
        assert!(change(&[], &[1], None).apply(&two).is_ok());
        for (joining, leaving, threshold) in
            [(&[][..], &[1, 2][..], None), (&[], &[1, 2, 3], Some(1)), (&[4], &[], Some(5))]
        {
            let refused = change(joining, leaving, threshold).apply(&two);
            assert!(matches!(refused, Err(RotateError::TooFew { .. })), "{joining:?} {leaving:?}");
        }
        let known = change(&[2], &[], None).apply(&two);
        assert!(matches!(known, Err(RotateError::AlreadyListed { .. })));
        let unknown = change(&[], &[4], None).apply(&two);
        assert!(matches!(unknown, Err(RotateError::NotListed { .. })));
        for same in [change(&[], &[], None), change(&[], &[], Some(2))] {
            assert!(matches!(same.apply(&two), Err(RotateError::NothingChanges { .. })));
        }
    }

    #[test]
    fn a_reserved_role_follows_whoever_it_lists() {
        let followed = |listed: &[u8], current: &[u8], change: &Change, still: &[u8]| {
            let mut spec = before(listed, 1);
            let set = |seeds: &[u8]| seeds.iter().map(|seed| key(*seed).fingerprint()).collect();
            follow(&mut spec, &set(listed), &set(current), change, &set(still));
            let mut seeds: Vec<u8> = Vec::new();
            seeds.extend((0..9).filter(|seed| prints(&spec.keys).contains(&key(*seed).fingerprint())));
            seeds
        };
        let replaced = change(&[4], &[1], None);
        assert_eq!(followed(&[1, 2], &[1], &replaced, &[2, 4]), [2, 4]);
        // The key that leaves is also that of somebody who stays.
        assert_eq!(followed(&[1, 2], &[1], &replaced, &[1, 2, 4]), [1, 2, 4]);
        // It lists no key of this role: old tools made it so.
        assert_eq!(followed(&[2, 3], &[1], &replaced, &[2, 3, 4]), [2, 3]);
        // The new key is there already, for another reason.
        assert_eq!(followed(&[1, 4], &[1], &replaced, &[4]), [4]);
    }
}
