//! The server's part of an update: snapshot and timestamp.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bulla_keys_schema::author::{self, SignError, Unsealed};
use bulla_keys_schema::dialect::{Dialect, Document};
use bulla_keys_schema::key::{Fingerprint, SecretKey, Signer};
use bulla_keys_schema::metadata::Root;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::Verified;
use bulla_keys_schema::verify::submission::{
    AcceptedUpdate, Authority, CurrentState, Rejection, SealError, SealedUpdate, Submission,
};

use super::PublishFailure;
use crate::store::DocumentRef;
use crate::vault::{KeySet, OnlineKeys};

const DIALECT: Dialect = Dialect::Tuf1;

/// How long signed roles are valid, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    timestamp: i64,
    snapshot: i64,
}

impl Lifetimes {
    /// Timestamps and snapshots that are valid for so long.
    #[must_use]
    pub fn new(timestamp: Duration, snapshot: Duration) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { timestamp: seconds(timestamp), snapshot: seconds(snapshot) }
    }

    /// Seconds that a timestamp is valid.
    #[must_use]
    pub const fn timestamp(self) -> i64 {
        self.timestamp
    }
}

/// The keys that `root` lets sign the online roles.
pub(super) fn listed(root: &Root) -> BTreeSet<Fingerprint> {
    let (snapshot, timestamp) = (&root.snapshot, &root.timestamp);
    snapshot.fingerprints(&root.keys).into_iter().chain(timestamp.fingerprints(&root.keys)).collect()
}

/// Judges an upload.
pub(super) fn check(
    submission: Submission,
    repository: &RepositoryName,
    state: Option<&CurrentState>,
    keys: Option<&OnlineKeys>,
    now: UtcTime,
) -> Result<AcceptedUpdate, Rejection> {
    let held_keys: BTreeSet<Fingerprint> =
        keys.iter().flat_map(|keys| &keys.sets).flat_map(KeySet::fingerprints).collect();
    submission.check(DIALECT, state, &Authority { held_keys: &held_keys, repository, now })
}

/// Signs the snapshot, if a new one is needed or due, and the timestamp. Of the sets of
/// keys, whichever the root lists signs.
pub(super) fn complete(
    update: AcceptedUpdate,
    keys: &OnlineKeys,
    lifetimes: Lifetimes,
    now: UtcTime,
) -> Result<SealedUpdate, SealFailure> {
    let root = update.root().payload();
    let due = update
        .before()
        .is_none_or(|before| half_life(before.snapshot().expires(), lifetimes.snapshot) <= now);
    let snapshot = if due || update.needs_snapshot() {
        let expires = now.plus_seconds(lifetimes.snapshot);
        let draft = author::next_snapshot(DIALECT, &update, expires).ok_or(SealFailure::Exhausted)?;
        Some(draft.sign_to_seal(&signers(keys, |set| &set.snapshot), &root.snapshot, &root.keys)?)
    } else {
        None
    };
    let expires = now.plus_seconds(lifetimes.timestamp);
    let described = snapshot.as_ref().map(Unsealed::describe);
    let draft = author::next_timestamp(DIALECT, &update, described, expires).ok_or(SealFailure::Exhausted)?;
    let timestamp = draft.sign_to_seal(&signers(keys, |set| &set.timestamp), &root.timestamp, &root.keys)?;
    Ok(update.seal(snapshot.map(Unsealed::into_bytes), timestamp.into_bytes())?)
}

/// Which documents are current in `state`.
pub(super) fn current(state: &CurrentState) -> BTreeMap<RoleName, DocumentRef> {
    let delegated =
        state.delegated().iter().map(|(name, doc)| (RoleName::Delegated(name.clone()), reference(doc)));
    [
        (RoleName::Root, reference(state.root())),
        (RoleName::Timestamp, reference(state.timestamp())),
        (RoleName::Snapshot, reference(state.snapshot())),
        (RoleName::Targets, reference(state.targets())),
    ]
    .into_iter()
    .chain(delegated)
    .collect()
}

/// When the first of the two online roles has lived half of its life; up to a tenth earlier,
/// at random, so that repositories made together are not renewed together for ever.
pub(super) fn renew_at(
    state: &CurrentState,
    lifetimes: Lifetimes,
    now: UtcTime,
) -> Result<UtcTime, PublishFailure> {
    let timestamp = half_life(state.timestamp().expires(), lifetimes.timestamp);
    let snapshot = half_life(state.snapshot().expires(), lifetimes.snapshot);
    let latest = timestamp.min(snapshot);
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|_| PublishFailure::Randomness)?;
    let span = latest.seconds_since(now).max(0) / 5;
    let jitter = span.saturating_mul(i64::from(u16::from_le_bytes(random))) / i64::from(u16::MAX);
    Ok(latest.plus_seconds(-jitter))
}

fn half_life(expires: UtcTime, lifetime: i64) -> UtcTime {
    expires.plus_seconds(-(lifetime / 2))
}

fn signers(keys: &OnlineKeys, pick: impl Fn(&KeySet) -> &SecretKey) -> Vec<&dyn Signer> {
    keys.sets.iter().map(|set| pick(set) as &dyn Signer).collect()
}

fn reference<R: Document>(document: &Verified<R>) -> DocumentRef {
    DocumentRef {
        version: document.version(),
        digest: document.digest(),
        length: u64::try_from(document.bytes().len()).unwrap_or(u64::MAX),
    }
}

/// The server could not complete an update.
#[derive(Debug, thiserror::Error)]
pub enum SealFailure {
    /// The keys of this server do not meet the root's threshold.
    #[error("cannot sign the online roles: {0}")]
    Sign(#[from] SignError),
    /// The result would not be accepted by clients.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// No further version can be written.
    #[error("the online roles are at the end of their version range")]
    Exhausted,
}
