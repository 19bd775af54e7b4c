//! Which online keys a repository uses, and which come next. The root decides; this only reads
//! it.

use std::collections::BTreeSet;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Fingerprint, PublicKey};
use bulla_keys_schema::metadata::{Root, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::verify::submission::BrokenState;
use bulla_keys_schema::verify::{RawMetadata, Verified};

use super::{PublishFailure, Publisher, require_mode, seal};
use crate::store::{Head, StoreError};
use crate::vault::{OnlineRole, VaultError};

/// The public keys that wait for a root.
#[derive(Clone, Debug)]
pub struct NextKeys {
    /// Will sign snapshots.
    pub snapshot: PublicKey,
    /// Will sign timestamps.
    pub timestamp: PublicKey,
}

impl Publisher {
    /// Sees to it that there is a key for each online role that no root has listed yet. It takes
    /// over once a root lists it, alone or with the other; until then it stays the same, because
    /// whoever asked before may be signing that root at the moment.
    ///
    /// # Errors
    /// There is no such repository, it is in legacy mode, or the keys cannot be had.
    pub async fn rotate(&self, repository: &RepositoryName) -> Result<NextKeys, PublishFailure> {
        let _turn = self.locks.turn(repository).await;
        let head = self.store.head(repository).await?.ok_or(PublishFailure::Conflict { current: None })?;
        require_mode(repository, Some(&head), Dialect::Tuf1)?;
        let root = self.root(repository, Some(&head)).await?.ok_or(PublishFailure::NoOnlineKeys)?;
        Ok(NextKeys {
            snapshot: self.pending(repository, OnlineRole::Snapshot, Some(&root)).await?,
            timestamp: self.pending(repository, OnlineRole::Timestamp, Some(&root)).await?,
        })
    }

    /// The online keys that the current root of `repository` lists; none before there is one.
    ///
    /// # Errors
    /// The store cannot be read, or what it holds does not verify.
    pub async fn listed_keys(
        &self,
        repository: &RepositoryName,
    ) -> Result<BTreeSet<Fingerprint>, PublishFailure> {
        let head = self.store.head(repository).await?;
        let root = self.root(repository, head.as_deref()).await?;
        Ok(root.map(|root| seal::listed(root.payload())).unwrap_or_default())
    }

    /// For a repository in legacy mode: the key with which the server signs `role`, or the one
    /// that waits for a root to list it. The same one each time, made with the first question.
    ///
    /// # Errors
    /// A repository in spec mode, or the keys cannot be had.
    pub async fn online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, PublishFailure> {
        let _turn = self.locks.turn(repository).await;
        let root = self.legacy_root(repository).await?;
        if let Some(root) = &root
            && let Some(keys) = self.vault.get(repository).await?
            && let Some(key) = keys.held(role, &of_role(root.payload(), role))
        {
            return Ok(key.public_key().clone());
        }
        self.pending(repository, role, root.as_ref()).await
    }

    /// For a repository in legacy mode: the key of `role` that takes over once a root lists it.
    /// The same one until that happens.
    ///
    /// # Errors
    /// As [`Self::online_key`].
    pub async fn pending_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, PublishFailure> {
        let _turn = self.locks.turn(repository).await;
        let root = self.legacy_root(repository).await?;
        self.pending(repository, role, root.as_ref()).await
    }

    async fn legacy_root(
        &self,
        repository: &RepositoryName,
    ) -> Result<Option<Verified<Root>>, PublishFailure> {
        let head = self.store.head(repository).await?;
        require_mode(repository, head.as_deref(), Dialect::Notary1)?;
        self.root(repository, head.as_deref()).await
    }

    /// The root at `head`, and nothing else of what may be much.
    async fn root(
        &self,
        repository: &RepositoryName,
        head: Option<&Head>,
    ) -> Result<Option<Verified<Root>>, PublishFailure> {
        let Some(head) = head else { return Ok(None) };
        let role = RoleName::Root;
        let bytes = match head.current.get(&role) {
            Some(reference) => self.store.by_version(repository, &role, reference.version).await?,
            None => None,
        };
        let broken = |source| PublishFailure::Broken { repository: repository.clone(), source };
        let bytes = bytes.ok_or_else(|| broken(BrokenState::Missing { role: role.clone() }))?;
        let root = RawMetadata::new(head.dialect, bytes).verify_first();
        root.map(Some).map_err(|source| broken(BrokenState::Verify { role, source }))
    }

    async fn pending(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
        root: Option<&Verified<Root>>,
    ) -> Result<PublicKey, PublishFailure> {
        let Some(root) = root else {
            // The root that tells which keys were done away with is gone with its repository.
            let keys = self.vault.get_or_make(repository).await?;
            return Ok(keys.newest(role).ok_or(VaultError::NotListed)?.clone());
        };
        let (listed, known) = (seal::listed(root.payload()), self.known_keys(repository, root).await?);
        Ok(self.vault.pending(repository, role, &listed, &known).await?)
    }

    /// The online keys that any root of the repository ever listed: a key that its owner once
    /// did away with must not come back as a new one.
    async fn known_keys(
        &self,
        repository: &RepositoryName,
        newest: &Verified<Root>,
    ) -> Result<BTreeSet<Fingerprint>, PublishFailure> {
        let mut known = seal::listed(newest.payload());
        for version in (1..newest.version().get()).filter_map(Version::new) {
            // An old repository may begin with version 2.
            let Some(bytes) = self.store.by_version(repository, &RoleName::Root, version).await? else {
                continue;
            };
            let root = RawMetadata::<Root>::new(newest.dialect(), bytes).verify_first().map_err(|error| {
                StoreError::Corrupt { what: format!("version {version} of root of {repository}: {error}") }
            })?;
            known.extend(seal::listed(root.payload()));
        }
        Ok(known)
    }
}

fn of_role(root: &Root, role: OnlineRole) -> BTreeSet<Fingerprint> {
    let keys = match role {
        OnlineRole::Snapshot => &root.snapshot,
        OnlineRole::Timestamp => &root.timestamp,
    };
    keys.fingerprints(&root.keys)
}
