//! Making and changing targets roles.

use std::collections::BTreeSet;

use crate::dialect::tuf1::key_id;
use crate::digest::{Hashes, Sha256Digest};
use crate::json::Object;
use crate::key::{Fingerprint, KeyId, PublicKey};
use crate::metadata::{
    Children, DelegatedRole, Delegations, KeyEntry, KeyTable, RoleKeys, Scope, TargetInfo, Targets,
    Threshold, Tombstone, Version,
};
use crate::names::{DelegatedRoleName, PathPattern, RELEASES, RepositoryName, RoleName, TargetPath};
use crate::time::UtcTime;

/// Whom to let speak for what.
#[derive(Clone, Debug)]
pub struct Delegation {
    /// The role's name.
    pub name: DelegatedRoleName,
    /// Its keys.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: Threshold,
    /// What it may speak for.
    pub patterns: Vec<PathPattern>,
    /// Whether a search that these patterns match ends with it.
    pub terminating: bool,
}

/// A targets document being written.
#[derive(Clone, Debug)]
pub struct TargetsEdit(Targets);

impl TargetsEdit {
    /// A document of `role` that lists nothing yet.
    #[must_use]
    pub const fn new(role: RoleName, version: Version, expires: UtcTime) -> Self {
        Self(Targets {
            repository: None,
            role: Some(role),
            version,
            expires,
            targets: std::collections::BTreeMap::new(),
            delegations: None,
            revoked: std::collections::BTreeMap::new(),
            extra: Object::new(),
        })
    }

    /// Binds the document to the repository that the root names, or to none if it names none.
    #[must_use]
    pub fn for_repository(mut self, repository: Option<RepositoryName>) -> Self {
        self.0.repository = repository;
        self
    }

    /// The document after `before`; `None` at the end of the version range.
    #[must_use]
    pub fn next(before: &Targets, expires: UtcTime) -> Option<Self> {
        Some(Self(Targets { version: before.version.next()?, expires, ..before.clone() }))
    }

    /// Lists a target by digest and length in bytes. Listing clears the tombstone.
    pub fn set_target(&mut self, path: &TargetPath, digest: Sha256Digest, length: u64) {
        self.0.revoked.remove(path);
        let info = TargetInfo { length, hashes: Hashes::sha256(digest), custom: None };
        self.0.targets.insert(path.as_str().to_owned(), info);
    }

    /// Takes a target off the list, without a tombstone. Returns what was listed.
    pub fn remove_target(&mut self, path: &TargetPath) -> Option<TargetInfo> {
        self.0.targets.remove(path.as_str())
    }

    /// Takes a target off the list and leaves a tombstone, so that readers can tell "revoked"
    /// from "never signed".
    pub fn revoke_target(&mut self, path: &TargetPath, tombstone: Tombstone) {
        self.0.targets.remove(path.as_str());
        self.0.revoked.insert(path.clone(), tombstone);
    }

    /// Adds a delegation, or replaces the one of the same name in its place. `releases` goes
    /// first, all others last.
    ///
    /// # Errors
    /// Fewer keys than the threshold, the same key twice, no pattern, or the document uses
    /// hash bins.
    pub fn set_delegation(&mut self, delegation: &Delegation) -> Result<(), TargetsEditError> {
        let Delegation { name, keys, threshold, patterns, terminating } = delegation;
        if !threshold.is_met_by(keys.len()) {
            let (keys, threshold) = (keys.len(), *threshold);
            return Err(TargetsEditError::TooFewKeys { name: name.clone(), keys, threshold });
        }
        if patterns.is_empty() {
            return Err(TargetsEditError::NoPattern { name: name.clone() });
        }
        let delegations = self.0.delegations.get_or_insert_with(|| Delegations {
            keys: KeyTable::new(),
            children: Children::Roles(Vec::new()),
            extra: Object::new(),
        });
        let Children::Roles(roles) = &mut delegations.children else {
            return Err(TargetsEditError::HashBins);
        };
        let key_ids = list_keys(&mut delegations.keys, keys)
            .map_err(|fingerprint| TargetsEditError::DuplicateKey { name: name.clone(), fingerprint })?;
        let role = DelegatedRole {
            name: name.clone(),
            keys: RoleKeys { key_ids, threshold: *threshold },
            terminating: *terminating,
            scope: Scope::Paths(patterns.clone()),
            extra: Object::new(),
        };
        match roles.iter_mut().find(|known| known.name == *name) {
            Some(known) => *known = role,
            None if name.as_str() == RELEASES => roles.insert(0, role),
            None => roles.push(role),
        }
        Ok(())
    }

    /// Ends a delegation. Returns whether there was one.
    pub fn remove_delegation(&mut self, name: &DelegatedRoleName) -> bool {
        let Some(delegations) = &mut self.0.delegations else { return false };
        let Children::Roles(roles) = &mut delegations.children else { return false };
        let before = roles.len();
        roles.retain(|role| role.name != *name);
        roles.len() < before
    }

    /// The finished document, without keys that no delegation names any more.
    #[must_use]
    pub fn finish(mut self) -> Targets {
        if let Some(Delegations { keys, children: Children::Roles(roles), .. }) = &mut self.0.delegations {
            let used: BTreeSet<_> = roles.iter().flat_map(|role| &role.keys.key_ids).collect();
            keys.retain(|id, _| used.contains(id));
        }
        self.0
    }
}

/// Why a targets document cannot be written like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetsEditError {
    /// The same key twice: it would count once only.
    #[error("{name} lists key {fingerprint} twice")]
    DuplicateKey {
        /// Of which role.
        name: DelegatedRoleName,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// The document delegates to hash bins, beside which no named role can stand.
    #[error("the document delegates to hash bins")]
    HashBins,
    /// The role could speak for nothing.
    #[error("{name} has no pattern")]
    NoPattern {
        /// Which role.
        name: DelegatedRoleName,
    },
    /// The threshold could never be met.
    #[error("{name} has {keys} keys for a threshold of {threshold}")]
    TooFewKeys {
        /// Which role.
        name: DelegatedRoleName,
        /// How many keys.
        keys: usize,
        /// The threshold.
        threshold: Threshold,
    },
}

/// Puts `keys` into `table`, under the ids it already declares for them where it does, and
/// never under an id that it declares for another key.
///
/// # Errors
/// The fingerprint of a key that stands in `keys` twice.
pub(super) fn list_keys(table: &mut KeyTable, keys: &[PublicKey]) -> Result<Vec<KeyId>, Fingerprint> {
    let mut fingerprints = BTreeSet::new();
    let mut ids = Vec::with_capacity(keys.len());
    for key in keys {
        if !fingerprints.insert(key.fingerprint()) {
            return Err(key.fingerprint());
        }
        let known = table.iter().find(|(_, entry)| entry.key.as_ref() == Some(key)).map(|(id, _)| id.clone());
        let id = known.unwrap_or_else(|| {
            let id = free_id(table, key);
            table.insert(id.clone(), KeyEntry::new(key.clone()));
            id
        });
        ids.push(id);
    }
    Ok(ids)
}

/// The usual id of `key`, unless the table declares it for another key, which would be trusted
/// in its place.
fn free_id(table: &KeyTable, key: &PublicKey) -> KeyId {
    let usual = key_id(key);
    let others = (1..).filter_map(|n: u32| format!("{usual}-{n}").parse().ok());
    let mut ids = std::iter::once(usual.clone()).chain(others);
    ids.find(|id| !table.contains_key(id)).unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_takes_the_place_of_another_through_its_id() {
        let [first, second] = [1, 2].map(|byte| {
            let seed = zeroize::Zeroizing::new([byte; 32]);
            let key = crate::key::SecretKey::from_seed(crate::key::KeyAlgorithm::Ed25519, &seed).unwrap();
            key.public_key().clone()
        });
        let mut table = KeyTable::from([(key_id(&first), KeyEntry::new(second.clone()))]);
        let ids = list_keys(&mut table, &[first.clone(), second.clone()]).unwrap();
        let found: Vec<_> = ids.iter().map(|id| table[id].key.clone()).collect();
        assert_eq!(found, [Some(first.clone()), Some(second)]);
        assert_eq!(list_keys(&mut table, &[first.clone(), first.clone()]), Err(first.fingerprint()));
    }
}
