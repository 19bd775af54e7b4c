//! Reads: current documents, documents by version, bytes by digest.

use std::sync::Arc;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;

use crate::store::{Head, StoreError, TrustStore};

/// Reads of a current document: between head and bytes, a renewal may replace them.
const ATTEMPTS: usize = 3;

/// Bytes and what they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The bytes, exactly as they were published.
    pub(crate) bytes: Bytes,
    /// Their digest.
    pub(crate) digest: Sha256Digest,
}

/// The current timestamp, which is in memory.
pub(crate) fn timestamp(head: &Head) -> Option<Found> {
    let document = head.current.get(&RoleName::Timestamp)?;
    Some(Found { bytes: head.timestamp.clone(), digest: document.digest })
}

/// The current document of `role`.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn current(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    role: &RoleName,
) -> Result<Option<Found>, StoreError> {
    for _ in 0..ATTEMPTS {
        let Some(head) = store.head(repository).await? else { return Ok(None) };
        if *role == RoleName::Timestamp {
            return Ok(timestamp(&head));
        }
        let Some(document) = head.current.get(role) else { return Ok(None) };
        if let Some(bytes) = store.by_version(repository, role, document.version).await? {
            return Ok(Some(Found { bytes, digest: document.digest }));
        }
    }
    Err(StoreError::Corrupt { what: format!("the current {role} of {repository} cannot be found") })
}

/// The document of `role` with `version`.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn by_version(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    role: &RoleName,
    version: Version,
) -> Result<Option<Found>, StoreError> {
    let Some(bytes) = store.by_version(repository, role, version).await? else { return Ok(None) };
    let digest = Sha256Digest::of(&bytes);
    Ok(Some(Found { bytes, digest }))
}

/// Bytes of `repository` by their digest.
///
/// # Errors
/// The store cannot be read.
pub(crate) async fn by_digest(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    digest: Sha256Digest,
) -> Result<Option<Found>, StoreError> {
    Ok(store.by_digest(repository, digest).await?.map(|bytes| Found { bytes, digest }))
}

/// The bytes of all current documents that `head` names, the timestamp included.
///
/// # Errors
/// The store cannot be read, or lacks one of them.
pub(crate) async fn all_current(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    head: &Arc<Head>,
) -> Result<Vec<(RoleName, Bytes)>, StoreError> {
    let mut documents = Vec::with_capacity(head.current.len());
    for (role, document) in &head.current {
        let bytes = if *role == RoleName::Timestamp {
            head.timestamp.clone()
        } else {
            store.by_version(repository, role, document.version).await?.ok_or_else(|| {
                StoreError::Corrupt {
                    what: format!("version {} of {role} of {repository} cannot be found", document.version),
                }
            })?
        };
        documents.push((role.clone(), bytes));
    }
    Ok(documents)
}
