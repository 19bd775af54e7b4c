//! An upload that passed every rule, and what completes it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::dialect::{Dialect, Document};
use crate::digest::{Hashed, Hashes, Sha256Digest};
use crate::limits;
use crate::metadata::{MetaInfo, Root, Snapshot, Targets, Timestamp, Version};
use crate::names::{DelegatedRoleName, RoleName};
use crate::time::UtcTime;
use crate::verify::submission::{CurrentState, Rejection, Retired};
use crate::verify::{ChainError, Floor, RootChain, TrustedRoot, Verified};

/// An upload that passed every rule, still without snapshot and timestamp.
#[derive(Clone, Debug)]
pub struct AcceptedUpdate {
    pub(super) before: Option<CurrentState>,
    pub(super) new_roots: Vec<Verified<Root>>,
    pub(super) root: Verified<Root>,
    pub(super) targets: Verified<Targets>,
    pub(super) delegated: BTreeMap<DelegatedRoleName, Verified<Targets>>,
    pub(super) retired: BTreeMap<DelegatedRoleName, Retired>,
    pub(super) uploaded: BTreeSet<DelegatedRoleName>,
    pub(super) given_snapshot: Option<Verified<Snapshot>>,
    pub(super) target_files: Vec<Hashed>,
    pub(super) now: UtcTime,
}

impl AcceptedUpdate {
    /// A renewal: nothing uploaded, the online roles are signed anew.
    #[must_use]
    pub fn renewal(state: &CurrentState, now: UtcTime) -> Self {
        Self {
            before: Some(state.clone()),
            new_roots: Vec::new(),
            root: state.root().clone(),
            targets: state.targets().clone(),
            delegated: state.delegated().clone(),
            retired: state.retired().clone(),
            uploaded: BTreeSet::new(),
            given_snapshot: None,
            target_files: Vec::new(),
            now,
        }
    }

    /// The root that the new snapshot and timestamp are to be signed under.
    #[must_use]
    pub const fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The state that the update builds on.
    #[must_use]
    pub const fn before(&self) -> Option<&CurrentState> {
        self.before.as_ref()
    }

    /// The time at which it was judged, as it was passed in.
    #[must_use]
    pub const fn now(&self) -> UtcTime {
        self.now
    }

    /// Whether a new snapshot is needed: a targets role changed, or the root no longer
    /// vouches for the old one.
    #[must_use]
    pub fn needs_snapshot(&self) -> bool {
        let Some(before) = &self.before else { return true };
        let root = self.root.payload();
        self.meta() != before.snapshot().payload().meta
            || before.snapshot().reverify(&root.snapshot, &root.keys).is_err()
    }

    /// The snapshot that was uploaded, if its key is not held by the server.
    #[must_use]
    pub const fn given_snapshot(&self) -> Option<&Verified<Snapshot>> {
        self.given_snapshot.as_ref()
    }

    /// What the next snapshot lists: every current targets role, and roles that are gone with
    /// their last version (C18: a role never leaves). In Notary's dialect also root, and those
    /// that are gone only as long as whoever signs the snapshot keeps them.
    #[must_use]
    pub fn meta(&self) -> BTreeMap<RoleName, MetaInfo> {
        if let Some(given) = &self.given_snapshot {
            return given.payload().meta.clone();
        }
        let mut meta =
            self.before.as_ref().map_or_else(BTreeMap::new, |b| b.snapshot().payload().meta.clone());
        if self.root.dialect() == Dialect::Notary1 {
            list(&mut meta, RoleName::Root, &self.root);
        }
        list(&mut meta, RoleName::Targets, &self.targets);
        for (name, document) in &self.delegated {
            list(&mut meta, RoleName::Delegated(name.clone()), document);
        }
        meta
    }

    /// Takes target files along, each of which an uploaded document must list.
    pub(super) fn with_target_files(mut self, files: Vec<Hashed>) -> Result<Self, Rejection> {
        if files.is_empty() {
            return Ok(self);
        }
        let listed: BTreeSet<(Sha256Digest, u64)> = self
            .changed_targets()
            .flat_map(|(_, document)| document.payload().targets.values())
            .filter_map(|info| Some((info.hashes.as_sha256()?, info.length)))
            .collect();
        for file in &files {
            if file.len() > limits::TARGET_FILE_BYTES {
                return Err(Rejection::TooLarge {
                    role: RoleName::Targets,
                    limit: limits::TARGET_FILE_BYTES,
                });
            }
            let digest = file.digest();
            if !u64::try_from(file.len()).is_ok_and(|length| listed.contains(&(digest, length))) {
                return Err(Rejection::UnlistedFile { digest });
            }
        }
        self.target_files = files;
        Ok(self)
    }

    /// Completes the update. The server's own output is judged as a client would that had
    /// trusted the state before: a publication that it would refuse is not stored.
    ///
    /// # Errors
    /// A client would refuse the new timestamp or snapshot, or is missing one.
    pub fn seal(self, snapshot: Option<Bytes>, timestamp: Bytes) -> Result<SealedUpdate, SealError> {
        let snapshot = self.given_snapshot.as_ref().map(|given| given.bytes().clone()).or(snapshot);
        let snapshot_bytes = match (&snapshot, &self.before) {
            (Some(new), _) => new.clone(),
            (None, Some(before)) => before.snapshot().bytes().clone(),
            (None, None) => return Err(SealError::NoSnapshot),
        };
        let trusted = self.as_a_client()?;
        let floor = match &self.before {
            None => Floor::none(),
            Some(before) if before.root().digest() == trusted.root().digest() => {
                Floor::verified(before.timestamp().clone(), before.snapshot().clone())
            }
            Some(before) => {
                let bytes = (before.timestamp().bytes().clone(), before.snapshot().bytes().clone());
                trusted.floor(Some(bytes.0), Some(bytes.1))
            }
        };
        let step = trusted.timestamp(floor, timestamp)?;
        let is_newer =
            self.before.as_ref().is_none_or(|b| step.timestamp().version() > b.timestamp().version());
        if !(step.is_new() && is_newer) {
            return Err(SealError::SameTimestamp);
        }
        let timestamp = step.timestamp().clone();
        // A snapshot whose key the server does not hold may expire; nobody but its owner can
        // help that, and a newer timestamp still shows that nothing else has changed.
        let stays = snapshot.is_none() && self.root.dialect() == Dialect::Notary1;
        let accepted =
            if stays { step.expired_snapshot(snapshot_bytes)? } else { step.snapshot(snapshot_bytes)? };
        let is_newer =
            self.before.as_ref().is_none_or(|b| accepted.snapshot().version() > b.snapshot().version());
        if snapshot.is_some() && !is_newer {
            return Err(SealError::SameSnapshot);
        }
        if accepted.snapshot().payload().meta != self.meta() {
            return Err(SealError::OtherContent);
        }
        let new_snapshot = snapshot.map(|_| accepted.snapshot().clone());
        let documents = self.documents(new_snapshot.as_ref(), &timestamp);
        let snapshot = accepted.snapshot().clone();
        let Self { root, targets, delegated, retired, target_files, .. } = self;
        let state = CurrentState::new(root, timestamp, snapshot, targets, delegated, retired);
        Ok(SealedUpdate { state, documents, target_files })
    }

    /// The root as seen by a client that had trusted the state before, expired or not.
    fn as_a_client(&self) -> Result<TrustedRoot, SealError> {
        let mut chain = match (&self.before, self.new_roots.first()) {
            (Some(before), _) => RootChain::resume(before.root().clone()),
            (None, Some(first)) => RootChain::resume(first.clone()),
            (None, None) => return Err(SealError::NoRoot),
        };
        let skip = usize::from(self.before.is_none());
        for root in self.new_roots.iter().skip(skip) {
            chain.step(root.bytes().clone()).map_err(|_| SealError::NoRoot)?;
        }
        Ok(chain.finish_expired(self.now))
    }

    fn documents(
        &self,
        snapshot: Option<&Verified<Snapshot>>,
        timestamp: &Verified<Timestamp>,
    ) -> Vec<(RoleName, Version, Hashed)> {
        let roots = self.new_roots.iter().map(|root| (RoleName::Root, root.version(), root.hashed().clone()));
        let targets = self.changed_targets().map(|(role, doc)| (role, doc.version(), doc.hashed().clone()));
        let snapshot =
            snapshot.into_iter().map(|doc| (RoleName::Snapshot, doc.version(), doc.hashed().clone()));
        let timestamp = [(RoleName::Timestamp, timestamp.version(), timestamp.hashed().clone())];
        roots.chain(targets).chain(snapshot).chain(timestamp).collect()
    }

    pub(super) fn changed_targets(&self) -> impl Iterator<Item = (RoleName, &Verified<Targets>)> {
        let known = self.before.as_ref().map(|before| before.targets().digest());
        let top = (known != Some(self.targets.digest())).then_some((RoleName::Targets, &self.targets));
        let delegated = self
            .uploaded
            .iter()
            .filter_map(|name| Some((RoleName::Delegated(name.clone()), self.delegated.get(name)?)));
        top.into_iter().chain(delegated)
    }
}

/// Lists `document`. In Notary's dialect, what an owner's snapshot says of the same bytes stays
/// as it is: it may name fewer digests, and nobody else can sign a better one.
fn list<R: Document>(meta: &mut BTreeMap<RoleName, MetaInfo>, role: RoleName, document: &Verified<R>) {
    let length = u64::try_from(document.bytes().len()).ok();
    let is_same = |known: &MetaInfo| {
        let digest = known.hashes.as_ref().and_then(Hashes::as_sha256);
        digest == Some(document.digest()) && known.length == length
    };
    if document.dialect() == Dialect::Tuf1 || !meta.get(&role).is_some_and(is_same) {
        meta.insert(role, document.describe());
    }
}

/// A complete update: the only thing that may be stored.
#[derive(Clone, Debug)]
pub struct SealedUpdate {
    state: CurrentState,
    documents: Vec<(RoleName, Version, Hashed)>,
    target_files: Vec<Hashed>,
}

impl SealedUpdate {
    /// The state after the update.
    #[must_use]
    pub const fn state(&self) -> &CurrentState {
        &self.state
    }

    /// The new documents, in the order in which a plain file server would have to write them.
    #[must_use]
    pub fn documents(&self) -> &[(RoleName, Version, Hashed)] {
        &self.documents
    }

    /// The new target files.
    #[must_use]
    pub fn target_files(&self) -> &[Hashed] {
        &self.target_files
    }

    /// Gives up the parts.
    #[must_use]
    pub fn into_parts(self) -> (CurrentState, Vec<(RoleName, Version, Hashed)>, Vec<Hashed>) {
        (self.state, self.documents, self.target_files)
    }
}

/// Why the server's own snapshot or timestamp does not complete an update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// A client would refuse it.
    #[error("a client would refuse the result: {0}")]
    Chain(#[from] ChainError),
    /// There is no root to judge by, or the new roots do not chain.
    #[error("the update has no usable root")]
    NoRoot,
    /// The first snapshot is missing.
    #[error("the update has no snapshot")]
    NoSnapshot,
    /// The snapshot lists something else than the update.
    #[error("the snapshot does not describe the update")]
    OtherContent,
    /// The snapshot has the version of the one before, or an older one: after a rotation of
    /// online keys no client would notice, but a file must not change its content.
    #[error("the snapshot is not newer than the one before")]
    SameSnapshot,
    /// The timestamp has the version of the one before, or an older one.
    #[error("the timestamp is not newer than the one before")]
    SameTimestamp,
}
