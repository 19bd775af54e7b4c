//! The state of a repository as the server has it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::dialect::{Dialect, Document, InvalidMetadata, notary1};
use crate::metadata::{Children, KeyTable, RoleKeys, Root, Snapshot, Targets, Timestamp, Version};
use crate::names::{DelegatedRoleName, RoleName};
use crate::verify::{RawMetadata, Verified, VerifyError};

/// The current documents of a repository, verified against each other. Expiry is not looked
/// at: an expired state is what an upload repairs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CurrentState {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Verified<Targets>,
    delegated: BTreeMap<DelegatedRoleName, Verified<Targets>>,
    retired: BTreeMap<DelegatedRoleName, Retired>,
}

/// A document of a role in Notary's dialect that counts no more: the role was removed, or its
/// keys were. Clients warn and go on; its version still counts, or a later one under the same
/// name would look like a rollback, and with its old keys it may count again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retired {
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub bytes: Bytes,
}

impl CurrentState {
    pub(super) const fn new(
        root: Verified<Root>,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        targets: Verified<Targets>,
        delegated: BTreeMap<DelegatedRoleName, Verified<Targets>>,
        retired: BTreeMap<DelegatedRoleName, Retired>,
    ) -> Self {
        Self { root, timestamp, snapshot, targets, delegated, retired }
    }

    /// Reads stored documents. The store is not trusted: every signature is counted again.
    ///
    /// # Errors
    /// A document is missing, or not signed as its delegator demands.
    pub fn load(dialect: Dialect, documents: &BTreeMap<RoleName, Bytes>) -> Result<Self, BrokenState> {
        let root = stored::<Root>(dialect, documents, &RoleName::Root)?
            .verify_first()
            .map_err(|source| BrokenState::Verify { role: RoleName::Root, source })?;
        let top = |keys| (keys, &root.payload().keys);
        let timestamp = load(dialect, documents, &RoleName::Timestamp, top(&root.payload().timestamp))?;
        let snapshot: Verified<Snapshot> =
            load(dialect, documents, &RoleName::Snapshot, top(&root.payload().snapshot))?;
        let targets = load_targets(&root, documents, &RoleName::Targets, top(&root.payload().targets))?;
        let mut delegated = BTreeMap::new();
        let mut delegators = vec![targets.clone()];
        while let Some(delegator) = delegators.pop() {
            let Some(delegations) = &delegator.payload().delegations else { continue };
            let Children::Roles(children) = &delegations.children else { continue };
            for child in children {
                // Every edge is verified, also the second one to a role.
                let role = RoleName::Delegated(child.name.clone());
                let is_listed = snapshot.payload().meta.contains_key(&role);
                let document = load_targets(&root, documents, &role, (&child.keys, &delegations.keys));
                let document = match (dialect, document) {
                    // A signer who has not signed yet.
                    (Dialect::Tuf1, Err(BrokenState::Missing { .. })) if !is_listed => continue,
                    (Dialect::Notary1, Err(_)) => continue,
                    (Dialect::Notary1, Ok(_)) if !is_listed => continue,
                    (_, document) => document?,
                };
                if delegated.insert(child.name.clone(), document.clone()).is_none() {
                    delegators.push(document);
                }
            }
        }
        let retired = match dialect {
            Dialect::Notary1 => load_retired(documents, &delegated)?,
            Dialect::Tuf1 => BTreeMap::new(),
        };
        Ok(Self { root, timestamp, snapshot, targets, delegated, retired })
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The timestamp.
    #[must_use]
    pub const fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// The snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// The top-level targets.
    #[must_use]
    pub const fn targets(&self) -> &Verified<Targets> {
        &self.targets
    }

    /// Every delegated role that can be reached from the top-level targets.
    #[must_use]
    pub const fn delegated(&self) -> &BTreeMap<DelegatedRoleName, Verified<Targets>> {
        &self.delegated
    }

    /// Documents of roles that count no more; always empty in TUF's dialect, whose snapshots
    /// remember the versions of such roles.
    #[must_use]
    pub const fn retired(&self) -> &BTreeMap<DelegatedRoleName, Retired> {
        &self.retired
    }

    /// The highest version that a role ever had.
    #[must_use]
    pub fn last_version(&self, role: &RoleName) -> Option<Version> {
        match role {
            RoleName::Root => Some(self.root.version()),
            RoleName::Targets => Some(self.targets.version()),
            RoleName::Snapshot => Some(self.snapshot.version()),
            RoleName::Timestamp => Some(self.timestamp.version()),
            RoleName::Delegated(name) => {
                let listed = self.snapshot.payload().meta.get(role).and_then(|info| info.version);
                let current = self.delegated.get(name).map(Verified::version);
                listed.max(current).max(self.retired.get(name).map(|retired| retired.version))
            }
        }
    }

    /// Whether `document` is one of this state's targets documents, byte for byte.
    pub(super) fn holds(&self, document: &Verified<Targets>) -> bool {
        self.targets.digest() == document.digest()
            || self.delegated.values().any(|known| known.digest() == document.digest())
    }
}

/// Why stored documents are no state of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenState {
    /// A document of a role that counts no more is none at all.
    #[error("the stored {role} is no document: {source}")]
    Document {
        /// Which role.
        role: RoleName,
        /// Why.
        source: InvalidMetadata,
    },
    /// A document is not there.
    #[error("the stored state has no {role}")]
    Missing {
        /// Which role.
        role: RoleName,
    },
    /// A document is not signed as its delegator demands.
    #[error("the stored {role} does not verify: {source}")]
    Verify {
        /// Which role.
        role: RoleName,
        /// Why.
        source: VerifyError,
    },
}

fn stored<R: Document>(
    dialect: Dialect,
    documents: &BTreeMap<RoleName, Bytes>,
    role: &RoleName,
) -> Result<RawMetadata<R>, BrokenState> {
    let bytes = documents.get(role).ok_or_else(|| BrokenState::Missing { role: role.clone() })?;
    Ok(RawMetadata::new(dialect, bytes.clone()))
}

fn load<R: Document>(
    dialect: Dialect,
    documents: &BTreeMap<RoleName, Bytes>,
    role: &RoleName,
    (keys, table): (&RoleKeys, &KeyTable),
) -> Result<Verified<R>, BrokenState> {
    stored::<R>(dialect, documents, role)?
        .verify(keys, table)
        .map_err(|source| BrokenState::Verify { role: role.clone(), source })
}

/// What nobody's signature vouches for now counts by its version only.
fn load_retired(
    documents: &BTreeMap<RoleName, Bytes>,
    delegated: &BTreeMap<DelegatedRoleName, Verified<Targets>>,
) -> Result<BTreeMap<DelegatedRoleName, Retired>, BrokenState> {
    let mut retired = BTreeMap::new();
    for (role, bytes) in documents {
        let RoleName::Delegated(name) = role else { continue };
        if delegated.contains_key(name) {
            continue;
        }
        let version = notary1::claimed_version(bytes)
            .map_err(|source| BrokenState::Document { role: role.clone(), source })?;
        retired.insert(name.clone(), Retired { version, bytes: bytes.clone() });
    }
    Ok(retired)
}

fn load_targets(
    root: &Verified<Root>,
    documents: &BTreeMap<RoleName, Bytes>,
    role: &RoleName,
    (keys, table): (&RoleKeys, &KeyTable),
) -> Result<Verified<Targets>, BrokenState> {
    stored::<Targets>(root.dialect(), documents, role)?
        .verify_as(role, root.payload(), keys, table)
        .map_err(|source| BrokenState::Verify { role: role.clone(), source })
}
