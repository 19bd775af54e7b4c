//! The client workflow after the root: timestamp, snapshot, targets (TUF 1.0, 5.4 to 5.6).
//!
//! Each step consumes the last one. `now` was fixed when the root chain ended (C1), and
//! whatever is returned was checked to be unexpired at that moment, stored documents too: a
//! mirror could otherwise freeze a client whose timestamp did not change.

use bytes::Bytes;

use crate::dialect::{Dialect, Document};
use crate::limits;
use crate::metadata::{KeyTable, MetaInfo, RoleKeys, Root, Snapshot, Targets, Timestamp, Version};
use crate::names::{DelegatedRoleName, RoleName};
use crate::time::UtcTime;
use crate::verify::floor::AcceptedBefore;
use crate::verify::{Floor, RawMetadata, Verified, VerifyError};

/// The newest root, unexpired for everybody but whoever is about to replace it.
#[derive(Clone, Debug)]
pub struct TrustedRoot {
    root: Verified<Root>,
    now: UtcTime,
    rotated: bool,
}

impl TrustedRoot {
    pub(super) const fn new(root: Verified<Root>, now: UtcTime, rotated: bool) -> Self {
        Self { root, now, rotated }
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// Whether keys of timestamp or snapshot were rotated since the last run: the caller then
    /// deletes what it stored of them. This is how a repository recovers from a fast-forward
    /// attack (C10).
    #[must_use]
    pub const fn online_keys_rotated(&self) -> bool {
        self.rotated
    }

    /// Reads the timestamp and snapshot that an earlier run stored. The floor is empty if
    /// their keys were rotated since.
    #[must_use]
    pub fn floor(&self, timestamp: Option<Bytes>, snapshot: Option<Bytes>) -> Floor {
        if self.rotated {
            return Floor::none();
        }
        Floor::read(self.root.dialect(), self.root.payload(), timestamp, snapshot)
    }

    /// Accepts a fetched timestamp: signed (C12), not older than the floor (C13), whose
    /// snapshot is not older than the floor's either (C14), and not expired (C15). With an
    /// equal version the stored one is kept.
    ///
    /// # Errors
    /// Any of these checks; nothing may be stored then (CVE-2025-2888).
    pub fn timestamp(self, floor: Floor, bytes: Bytes) -> Result<TrustedTimestamp, ChainError> {
        let root = self.root.payload();
        let bytes = within(bytes, &RoleName::Timestamp, limits::TIMESTAMP_BYTES)?;
        let new = verify::<Timestamp>(
            self.root.dialect(),
            bytes,
            &RoleName::Timestamp,
            &root.timestamp,
            &root.keys,
        )?;
        if let Some(trusted) = floor.timestamp_version() {
            refuse_rollback(&RoleName::Timestamp, trusted, new.version())?;
            if trusted == new.version() {
                return self.stored_timestamp(floor);
            }
        }
        if let (Some(trusted), Some(listed)) = (floor.snapshot_version(), new.payload().snapshot.version) {
            refuse_rollback(&RoleName::Snapshot, trusted, listed)?;
        }
        TrustedTimestamp::new(self, new, floor, true)
    }

    /// Goes on with the stored timestamp, for a run without server. Expiry still counts.
    ///
    /// # Errors
    /// There is none, or it is expired.
    pub fn stored_timestamp(self, floor: Floor) -> Result<TrustedTimestamp, ChainError> {
        match floor.timestamp.clone() {
            Some(stored) => TrustedTimestamp::new(self, stored, floor, false),
            None => Err(ChainError::Missing { role: RoleName::Timestamp }),
        }
    }
}

/// A trusted timestamp, unexpired.
#[derive(Clone, Debug)]
pub struct TrustedTimestamp {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    floor: Floor,
    now: UtcTime,
    is_new: bool,
}

impl TrustedTimestamp {
    fn new(
        root: TrustedRoot,
        timestamp: Verified<Timestamp>,
        floor: Floor,
        is_new: bool,
    ) -> Result<Self, ChainError> {
        refuse_expired(&RoleName::Timestamp, &timestamp, root.now)?;
        Ok(Self { root: root.root, timestamp, floor, now: root.now, is_new })
    }

    /// The timestamp.
    #[must_use]
    pub const fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// Whether it is newer than the stored one and is to be stored now.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.is_new
    }

    /// The snapshot to fetch.
    #[must_use]
    pub fn wanted(&self) -> &MetaInfo {
        &self.timestamp.payload().snapshot
    }

    /// Accepts a snapshot: length and digests as the timestamp says, over the raw bytes
    /// before anything else (C16); signed, with the listed version (C17); every targets role
    /// known before still listed, none older (C18: silent role removal, CVE-2025-2887); not
    /// expired (C19). Notary lists root, by its bytes, and no versions: there the snapshot
    /// itself must not be older, and targets roles are compared when they are accepted.
    ///
    /// # Errors
    /// Any of these checks.
    pub fn snapshot(self, bytes: Bytes) -> Result<TrustedSnapshot, ChainError> {
        let now = self.now;
        let accepted = self.expired_snapshot(bytes)?;
        refuse_expired(&RoleName::Snapshot, &accepted.snapshot, now)?;
        Ok(accepted)
    }

    /// The same but for expiry: a server cannot replace a snapshot whose key it does not hold.
    pub(super) fn expired_snapshot(self, bytes: Bytes) -> Result<TrustedSnapshot, ChainError> {
        let role = RoleName::Snapshot;
        let root = self.root.payload();
        let bytes = listed_as(bytes, &role, self.wanted())?;
        let new = verify::<Snapshot>(self.root.dialect(), bytes, &role, &root.snapshot, &root.keys)?;
        require_version(&role, self.wanted().version, new.version())?;
        if let Some(trusted) = self.floor.snapshot_version() {
            refuse_rollback(&role, trusted, new.version())?;
        }
        if let Some(root) = new.payload().meta.get(&RoleName::Root) {
            listed_as(self.root.bytes().clone(), &RoleName::Root, root)?;
        }
        for (role, trusted) in self.floor.targets_versions() {
            match new.payload().meta.get(&role) {
                Some(MetaInfo { version: Some(listed), .. }) => refuse_rollback(&role, trusted, *listed)?,
                _ => return Err(ChainError::RoleRemoved { role }),
            }
        }
        let Self { root, timestamp, floor, now, .. } = self;
        Ok(TrustedSnapshot { root, timestamp, snapshot: new, before: floor.targets, now })
    }
}

/// A trusted snapshot, unexpired.
#[derive(Clone, Debug)]
pub struct TrustedSnapshot {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    before: AcceptedBefore,
    now: UtcTime,
}

impl TrustedSnapshot {
    /// The snapshot.
    #[must_use]
    pub const fn snapshot(&self) -> &Verified<Snapshot> {
        &self.snapshot
    }

    /// The targets document to fetch.
    ///
    /// # Errors
    /// The snapshot lists none.
    pub fn wanted(&self) -> Result<&MetaInfo, ChainError> {
        listed(&self.snapshot, &RoleName::Targets)
    }

    /// Accepts the top-level targets: length, digests and version as the snapshot says,
    /// signed by the root's targets keys, not expired (C20).
    ///
    /// # Errors
    /// Any of these checks.
    pub fn targets(self, bytes: Bytes) -> Result<TrustedTargets, ChainError> {
        let root = self.root.payload();
        let parents = Parents { root: &self.root, snapshot: &self.snapshot, before: &self.before };
        let keys = (&root.targets, &root.keys);
        let targets = accept_targets(parents, &RoleName::Targets, bytes, keys, self.now)?;
        let Self { root, timestamp, snapshot, before, now } = self;
        Ok(TrustedTargets { root, timestamp, snapshot, targets, before, now })
    }
}

/// The complete top level of a repository, every part unexpired at one moment.
#[derive(Clone, Debug)]
pub struct TrustedTargets {
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: Verified<Snapshot>,
    targets: Verified<Targets>,
    before: AcceptedBefore,
    now: UtcTime,
}

impl TrustedTargets {
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

    /// The moment at which everything was checked.
    #[must_use]
    pub const fn now(&self) -> UtcTime {
        self.now
    }

    /// The first moment at which one of the four documents may no longer be used.
    #[must_use]
    pub fn valid_until(&self) -> UtcTime {
        self.root
            .expires()
            .min(self.timestamp.expires())
            .min(self.snapshot.expires())
            .min(self.targets.expires())
    }

    /// What the snapshot says of a delegated role, for fetching it.
    ///
    /// # Errors
    /// The snapshot does not list it (C26).
    pub fn wanted(&self, role: &DelegatedRoleName) -> Result<&MetaInfo, ChainError> {
        listed(&self.snapshot, &RoleName::Delegated(role.clone()))
    }

    /// Accepts a role that the top-level targets delegate to, with the checks of
    /// [`TrustedSnapshot::targets`] and the delegation's keys (C23).
    ///
    /// # Errors
    /// No such delegation, or any of the checks.
    pub fn delegated(&self, role: &DelegatedRoleName, bytes: Bytes) -> Result<Verified<Targets>, ChainError> {
        self.delegated_by(&self.targets, role, bytes)
    }

    /// Accepts a role that `delegator` delegates to (C21: per edge of the graph).
    ///
    /// # Errors
    /// No such delegation, any of the checks, or the role's right to speak is over, or is over
    /// before the document expires.
    pub fn delegated_by(
        &self,
        delegator: &Verified<Targets>,
        role: &DelegatedRoleName,
        bytes: Bytes,
    ) -> Result<Verified<Targets>, ChainError> {
        let name = RoleName::Delegated(role.clone());
        let delegations = delegator.payload().delegations.as_ref();
        let keys = match (delegator.payload().delegation(role), delegations) {
            (Some(child), Some(delegations)) => (&child.keys, &delegations.keys),
            (None, Some(delegations)) => match &delegations.children {
                crate::metadata::Children::Succinct(bins) if bins.contains(role) => {
                    (&bins.keys, &delegations.keys)
                }
                _ => return Err(ChainError::NotDelegated { role: name }),
            },
            (_, None) => return Err(ChainError::NotDelegated { role: name }),
        };
        let parents = Parents { root: &self.root, snapshot: &self.snapshot, before: &self.before };
        let document = accept_targets(parents, &name, bytes, keys, self.now)?;
        match delegator.payload().delegation(role).and_then(|child| child.ends) {
            Some(ends) if ends.is_over(self.now) => Err(ChainError::Ended { role: name, ends }),
            Some(ends) if document.expires() > ends => {
                Err(ChainError::Outlives { role: name, expires: document.expires(), ends })
            }
            _ => Ok(document),
        }
    }
}

/// Why the newest state of a repository cannot be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// The role was to speak for a time only, and the time is over.
    #[error("{role} may sign no more: its right to sign ended at {ends}")]
    Ended {
        /// Which role.
        role: RoleName,
        /// When its right ended.
        ends: UtcTime,
    },
    /// The document is expired.
    #[error("{role} version {version} expired at {expires}")]
    Expired {
        /// Of which role.
        role: RoleName,
        /// Its version.
        version: Version,
        /// When it expired.
        expires: UtcTime,
    },
    /// The bytes are not those that the parent document lists.
    #[error("{role} has other bytes than listed: length or digest differ")]
    Mismatch {
        /// Of which role.
        role: RoleName,
    },
    /// There is no such document, or the snapshot does not list it.
    #[error("{role} is missing")]
    Missing {
        /// Which role.
        role: RoleName,
    },
    /// Nobody delegates to this role.
    #[error("{role} is not delegated")]
    NotDelegated {
        /// Which role.
        role: RoleName,
    },
    /// A role that was listed before is gone.
    #[error("the snapshot no longer lists {role}")]
    RoleRemoved {
        /// Which role.
        role: RoleName,
    },
    /// A document of a role that was to speak for a time only lasts longer than that: clients
    /// that do not know the limit would go on trusting it.
    #[error("{role} expires at {expires}, after its right to sign ends at {ends}")]
    Outlives {
        /// Which role.
        role: RoleName,
        /// When its document expires.
        expires: UtcTime,
        /// When its right ends.
        ends: UtcTime,
    },
    /// An older version than the one trusted before.
    #[error("{role} went back from version {trusted} to {found}")]
    Rollback {
        /// Of which role.
        role: RoleName,
        /// The version trusted before.
        trusted: Version,
        /// The version found.
        found: Version,
    },
    /// Larger than any client reads.
    #[error("{role} has more than {limit} bytes")]
    TooLarge {
        /// Of which role.
        role: RoleName,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not signed as it must be, or malformed.
    #[error("{role}: {source}")]
    Verify {
        /// Which role.
        role: RoleName,
        /// Why.
        source: VerifyError,
    },
    /// Another version than the parent document lists.
    #[error("{role} has version {found}, but {listed} is listed")]
    Version {
        /// Of which role.
        role: RoleName,
        /// The version listed.
        listed: Version,
        /// The version found.
        found: Version,
    },
}

/// What a targets role is judged by besides its delegator.
#[derive(Clone, Copy)]
struct Parents<'a> {
    root: &'a Verified<Root>,
    snapshot: &'a Verified<Snapshot>,
    before: &'a AcceptedBefore,
}

fn accept_targets(
    Parents { root, snapshot, before }: Parents<'_>,
    role: &RoleName,
    bytes: Bytes,
    (keys, table): (&RoleKeys, &KeyTable),
    now: UtcTime,
) -> Result<Verified<Targets>, ChainError> {
    let info = listed(snapshot, role)?;
    let bytes = listed_as(bytes, role, info)?;
    let verify = |bytes| {
        RawMetadata::<Targets>::new(root.dialect(), bytes).verify_as(role, root.payload(), keys, table)
    };
    let targets = verify(bytes).map_err(|source| ChainError::Verify { role: role.clone(), source })?;
    require_version(role, info.version, targets.version())?;
    // What the delegator's keys did not sign, or do no more, binds nobody.
    let accepted = before.get(role).filter(|known| info.version.is_none() && *known != targets.bytes());
    if let Some(accepted) = accepted.and_then(|known| verify(known.clone()).ok()) {
        refuse_rollback(role, accepted.version(), targets.version())?;
    }
    refuse_expired(role, &targets, now)?;
    Ok(targets)
}

pub(super) fn listed<'a>(
    snapshot: &'a Verified<Snapshot>,
    role: &RoleName,
) -> Result<&'a MetaInfo, ChainError> {
    snapshot.payload().meta.get(role).ok_or_else(|| ChainError::Missing { role: role.clone() })
}

pub(super) fn listed_as(bytes: Bytes, role: &RoleName, info: &MetaInfo) -> Result<Bytes, ChainError> {
    let bytes = within(bytes, role, role.byte_limit())?;
    let length_fits = info.length.is_none_or(|length| usize::try_from(length) == Ok(bytes.len()));
    let hashes_fit = info.hashes.as_ref().is_none_or(|hashes| hashes.match_bytes(&bytes));
    if !(length_fits && hashes_fit) {
        return Err(ChainError::Mismatch { role: role.clone() });
    }
    Ok(bytes)
}

fn within(bytes: Bytes, role: &RoleName, limit: usize) -> Result<Bytes, ChainError> {
    if bytes.len() > limit {
        return Err(ChainError::TooLarge { role: role.clone(), limit });
    }
    Ok(bytes)
}

fn verify<R: Document>(
    dialect: Dialect,
    bytes: Bytes,
    role: &RoleName,
    keys: &RoleKeys,
    table: &KeyTable,
) -> Result<Verified<R>, ChainError> {
    RawMetadata::new(dialect, bytes)
        .verify(keys, table)
        .map_err(|source| ChainError::Verify { role: role.clone(), source })
}

pub(super) fn require_version(
    role: &RoleName,
    listed: Option<Version>,
    found: Version,
) -> Result<(), ChainError> {
    match listed {
        Some(listed) if listed != found => Err(ChainError::Version { role: role.clone(), listed, found }),
        _ => Ok(()),
    }
}

pub(super) fn refuse_rollback(role: &RoleName, trusted: Version, found: Version) -> Result<(), ChainError> {
    if found < trusted {
        return Err(ChainError::Rollback { role: role.clone(), trusted, found });
    }
    Ok(())
}

fn refuse_expired<R: Document>(
    role: &RoleName,
    document: &Verified<R>,
    now: UtcTime,
) -> Result<(), ChainError> {
    if document.expires().is_over(now) {
        let (version, expires) = (document.version(), document.expires());
        return Err(ChainError::Expired { role: role.clone(), version, expires });
    }
    Ok(())
}
