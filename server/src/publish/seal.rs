//! The server's part of an update: snapshot and timestamp.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bulla_keys_schema::author::{self, Draft, SignError, Unsealed};
use bulla_keys_schema::dialect::{Dialect, Document};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, SecretKey, Signer};
use bulla_keys_schema::metadata::{Root, Snapshot, Timestamp, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::Verified;
use bulla_keys_schema::verify::submission::{
    AcceptedUpdate, Authority, CurrentState, Rejection, SealError, SealedUpdate, Submission,
};

use super::PublishFailure;
use crate::store::{DocumentRef, LastVersions};
use crate::vault::{KeySet, OnlineKeys};

/// How long the roles that the server signs are valid, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    timestamp: i64,
    snapshot: i64,
}

/// The lifetimes in each mode of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetimes {
    /// TUF 1.0.
    pub spec: Lifetime,
    /// Notary v1.
    pub legacy: Lifetime,
}

impl Lifetime {
    /// Timestamps and snapshots that are valid for so long.
    #[must_use]
    pub fn new(timestamp: Duration, snapshot: Duration) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self { timestamp: seconds(timestamp), snapshot: seconds(snapshot) }
    }
}

impl Lifetimes {
    /// Seconds that the timestamps are valid that expire soonest.
    #[must_use]
    pub const fn shortest(self) -> i64 {
        let (spec, legacy) = (self.spec.timestamp, self.legacy.timestamp);
        if spec < legacy { spec } else { legacy }
    }

    const fn of(self, dialect: Dialect) -> Lifetime {
        match dialect {
            Dialect::Notary1 => self.legacy,
            Dialect::Tuf1 => self.spec,
        }
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
    dialect: Dialect,
    repository: &RepositoryName,
    state: Option<&CurrentState>,
    keys: Option<&OnlineKeys>,
    now: UtcTime,
) -> Result<AcceptedUpdate, Rejection> {
    let held_keys = keys.map(held).unwrap_or_default();
    submission.check(dialect, state, &Authority { held_keys: &held_keys, repository, now })
}

/// Signs the snapshot, if a new one is needed or due, and the timestamp. Of the sets of
/// keys, whichever the root lists signs. `last` are the versions that clients may remember of
/// a repository of this name that was removed.
pub(super) fn complete(
    update: AcceptedUpdate,
    keys: &OnlineKeys,
    last: Option<LastVersions>,
    lifetimes: Lifetimes,
    now: UtcTime,
) -> Result<SealedUpdate, SealFailure> {
    let root = update.root().payload();
    let dialect = update.root().dialect();
    let lifetime = lifetimes.of(dialect);
    let snapshot = if needs_snapshot(&update, keys, lifetime, now) {
        let expires = now.plus_seconds(lifetime.snapshot);
        let draft = author::next_snapshot(dialect, &update, expires);
        let draft = after(dialect, draft, last.map(|last| last.snapshot))?;
        Some(draft.sign_to_seal(&signers(keys, |set| &set.snapshot), &root.snapshot, &root.keys)?)
    } else {
        None
    };
    let expires = now.plus_seconds(lifetime.timestamp);
    let described = snapshot.as_ref().map(Unsealed::describe);
    let draft = author::next_timestamp(dialect, &update, described, expires);
    let draft = after(dialect, draft, last.map(|last| last.timestamp))?;
    let timestamp = draft.sign_to_seal(&signers(keys, |set| &set.timestamp), &root.timestamp, &root.keys)?;
    Ok(update.seal(snapshot.map(Unsealed::into_bytes), timestamp.into_bytes())?)
}

/// The draft, with a version beyond `last`: to clients that remember it, a lower one would be a
/// rollback.
fn after<R: Online>(
    dialect: Dialect,
    draft: Option<Draft<R>>,
    last: Option<Version>,
) -> Result<Draft<R>, SealFailure> {
    let draft = draft.ok_or(SealFailure::Exhausted)?;
    let Some(last) = last.filter(|last| *last >= draft.document().version()) else { return Ok(draft) };
    let version = last.next().ok_or(SealFailure::Exhausted)?;
    Ok(Draft::new(dialect, draft.document().clone().with_version(version)))
}

/// A document that the server counts.
trait Online: Document {
    fn with_version(self, version: Version) -> Self;
}

impl Online for Snapshot {
    fn with_version(self, version: Version) -> Self {
        Self { version, ..self }
    }
}

impl Online for Timestamp {
    fn with_version(self, version: Version) -> Self {
        Self { version, ..self }
    }
}

/// Whether the server has to sign a snapshot. Not if one came with the upload; and one whose
/// key the server does not hold is renewed by its owner only.
fn needs_snapshot(update: &AcceptedUpdate, keys: &OnlineKeys, lifetime: Lifetime, now: UtcTime) -> bool {
    if update.given_snapshot().is_some() {
        return false;
    }
    let due =
        update.before().is_none_or(|before| half_life(before.snapshot().expires(), lifetime.snapshot) <= now);
    update.needs_snapshot() || (due && signs_snapshots(update.root().payload(), keys))
}

/// Whether `keys` are enough for the snapshots under `root`.
fn signs_snapshots(root: &Root, keys: &OnlineKeys) -> bool {
    let listed = root.snapshot.fingerprints(&root.keys);
    root.snapshot.threshold.is_met_by(listed.intersection(&held(keys)).count())
}

/// All keys that this server can sign with.
pub(super) fn held(keys: &OnlineKeys) -> BTreeSet<Fingerprint> {
    keys.sets.iter().flat_map(KeySet::fingerprints).collect()
}

/// Which documents are current in `state`, and which must not be forgotten although their
/// roles count no more.
pub(super) fn current(state: &CurrentState) -> BTreeMap<RoleName, DocumentRef> {
    let delegated =
        state.delegated().iter().map(|(name, doc)| (RoleName::Delegated(name.clone()), reference(doc)));
    let retired = state.retired().iter().map(|(name, document)| {
        let reference = DocumentRef {
            version: document.version,
            digest: Sha256Digest::of(&document.bytes),
            length: length(&document.bytes),
        };
        (RoleName::Delegated(name.clone()), reference)
    });
    [
        (RoleName::Root, reference(state.root())),
        (RoleName::Timestamp, reference(state.timestamp())),
        (RoleName::Snapshot, reference(state.snapshot())),
        (RoleName::Targets, reference(state.targets())),
    ]
    .into_iter()
    .chain(delegated)
    .chain(retired)
    .collect()
}

/// When the first of the roles that `keys` sign has lived half of its life; up to a tenth
/// earlier, at random, so that repositories made together are not renewed together for ever.
pub(super) fn renew_at(
    state: &CurrentState,
    keys: &OnlineKeys,
    lifetimes: Lifetimes,
    now: UtcTime,
) -> Result<UtcTime, PublishFailure> {
    let lifetime = lifetimes.of(state.root().dialect());
    let timestamp = half_life(state.timestamp().expires(), lifetime.timestamp);
    let snapshot = half_life(state.snapshot().expires(), lifetime.snapshot);
    let signed = signs_snapshots(state.root().payload(), keys);
    let latest = if signed { timestamp.min(snapshot) } else { timestamp };
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
    DocumentRef { version: document.version(), digest: document.digest(), length: length(document.bytes()) }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
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
