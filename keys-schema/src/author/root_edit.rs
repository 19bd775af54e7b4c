//! Making and changing roots.

use std::collections::BTreeSet;

use crate::author::targets_edit::list_keys;
use crate::dialect::Dialect;
use crate::json::Object;
use crate::key::Fingerprint;
use crate::metadata::{KeyEntry, KeyTable, RoleKeys, Root, Threshold, TopLevelRole, Version};
use crate::names::RepositoryName;
use crate::time::UtcTime;

/// Who shall sign a role.
#[derive(Clone, Debug)]
pub struct RoleSpec {
    /// The keys; those of a root in Notary's dialect in certificates.
    pub keys: Vec<KeyEntry>,
    /// How many of them must sign.
    pub threshold: Threshold,
}

/// A root being written.
#[derive(Clone, Debug)]
pub struct RootEdit {
    dialect: Dialect,
    root: Root,
}

impl RootEdit {
    /// The first root of a repository.
    ///
    /// # Errors
    /// A role has fewer keys than its threshold, or the same key twice.
    pub fn first(
        dialect: Dialect,
        root: &RoleSpec,
        targets: &RoleSpec,
        snapshot: &RoleSpec,
        timestamp: &RoleSpec,
        expires: UtcTime,
    ) -> Result<Self, RootEditError> {
        let mut keys = KeyTable::new();
        let mut add = |role, spec| add_role(dialect, &mut keys, role, spec);
        let root = Root {
            repository: None,
            root: add(TopLevelRole::Root, root)?,
            targets: add(TopLevelRole::Targets, targets)?,
            snapshot: add(TopLevelRole::Snapshot, snapshot)?,
            timestamp: add(TopLevelRole::Timestamp, timestamp)?,
            version: Version::FIRST,
            expires,
            // Notary's documents say no, although its files are asked for by digest.
            consistent_snapshot: dialect == Dialect::Tuf1,
            keys,
            extra: Object::new(),
        };
        Ok(Self { dialect, root })
    }

    /// Binds the root to one repository: its targets documents must then name the same.
    #[must_use]
    pub fn for_repository(mut self, repository: RepositoryName) -> Self {
        self.root.repository = Some(repository);
        self
    }

    /// The root after `before`; `None` at the end of the version range.
    #[must_use]
    pub fn next(dialect: Dialect, before: &Root, expires: UtcTime) -> Option<Self> {
        let root = Root { version: before.version.next()?, expires, ..before.clone() };
        Some(Self { dialect, root })
    }

    /// Replaces the keys and the threshold of one role.
    ///
    /// # Errors
    /// Fewer keys than the threshold, or the same key twice.
    pub fn set_role(&mut self, role: TopLevelRole, spec: &RoleSpec) -> Result<(), RootEditError> {
        let keys = add_role(self.dialect, &mut self.root.keys, role, spec)?;
        *self.root.role_mut(role) = keys;
        Ok(())
    }

    /// The finished root, without keys that no role names any more.
    #[must_use]
    pub fn finish(mut self) -> Root {
        let used: BTreeSet<_> =
            TopLevelRole::ALL.into_iter().flat_map(|role| self.root.role(role).key_ids.clone()).collect();
        self.root.keys.retain(|id, _| used.contains(id));
        self.root
    }
}

/// Why a root cannot be written like this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootEditError {
    /// The same key twice: it would count once only.
    #[error("{} lists key {fingerprint} twice", role.as_str())]
    DuplicateKey {
        /// Of which role.
        role: TopLevelRole,
        /// The key.
        fingerprint: Fingerprint,
    },
    /// The threshold could never be met.
    #[error("{} has {keys} keys for a threshold of {threshold}", role.as_str())]
    TooFewKeys {
        /// Which role.
        role: TopLevelRole,
        /// How many keys.
        keys: usize,
        /// The threshold.
        threshold: Threshold,
    },
}

fn add_role(
    dialect: Dialect,
    table: &mut KeyTable,
    role: TopLevelRole,
    spec: &RoleSpec,
) -> Result<RoleKeys, RootEditError> {
    if !spec.threshold.is_met_by(spec.keys.len()) {
        return Err(RootEditError::TooFewKeys { role, keys: spec.keys.len(), threshold: spec.threshold });
    }
    let key_ids = list_keys(dialect, table, &spec.keys)
        .map_err(|fingerprint| RootEditError::DuplicateKey { role, fingerprint })?;
    Ok(RoleKeys { key_ids, threshold: spec.threshold })
}
