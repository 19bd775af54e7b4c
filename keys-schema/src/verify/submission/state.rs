//! The state of a repository as the server has it.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::dialect::{Dialect, Document};
use crate::metadata::{Children, KeyTable, RoleKeys, Root, Snapshot, Targets, Timestamp};
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
}

impl CurrentState {
    pub(super) const fn new(
        root: Verified<Root>,
        timestamp: Verified<Timestamp>,
        snapshot: Verified<Snapshot>,
        targets: Verified<Targets>,
        delegated: BTreeMap<DelegatedRoleName, Verified<Targets>>,
    ) -> Self {
        Self { root, timestamp, snapshot, targets, delegated }
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
                // A signer who has not signed yet.
                if !documents.contains_key(&role) && !snapshot.payload().meta.contains_key(&role) {
                    continue;
                }
                let document = load_targets(&root, documents, &role, (&child.keys, &delegations.keys))?;
                if delegated.insert(child.name.clone(), document.clone()).is_none() {
                    delegators.push(document);
                }
            }
        }
        Ok(Self { root, timestamp, snapshot, targets, delegated })
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

    /// Whether `document` is one of this state's targets documents, byte for byte.
    pub(super) fn holds(&self, document: &Verified<Targets>) -> bool {
        self.targets.digest() == document.digest()
            || self.delegated.values().any(|known| known.digest() == document.digest())
    }
}

/// Why stored documents are no state of a repository.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenState {
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
