//! A server that keeps what it accepted, and what others see of it.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::{Draft, SignedMetadata, next_snapshot, next_timestamp};
use bulla_keys_schema::dialect::Document;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, Signer};
use bulla_keys_schema::metadata::{KeyTable, RoleKeys, Snapshot, Timestamp, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::{
    AcceptedUpdate, Authority, CurrentState, Rejection, SealedUpdate, Submission,
};
use bytes::Bytes;

use crate::papers::{Papers, SNAPSHOT, TIMESTAMP};
use crate::{DIALECT, TestKey, now, repository};

/// What everybody can ask for.
#[derive(Clone, Default)]
pub struct Served {
    /// By version.
    pub roots: BTreeMap<u64, Bytes>,
    pub timestamp: Bytes,
    /// All other documents, old ones too.
    pub files: BTreeMap<Sha256Digest, Bytes>,
}

impl Served {
    pub fn put(&mut self, bytes: &Bytes) {
        self.files.insert(Sha256Digest::of(bytes), bytes.clone());
    }
}

/// A server with one repository.
#[derive(Clone)]
pub struct Server {
    pub now: UtcTime,
    /// The online keys that it holds.
    pub held: BTreeSet<Fingerprint>,
    pub served: Served,
    /// The newest document of every role that ever was.
    pub documents: BTreeMap<RoleName, Bytes>,
    state: Option<CurrentState>,
}

impl Server {
    pub fn empty() -> Self {
        let (served, documents) = (Served::default(), BTreeMap::new());
        Self { now: now(), held: held(), served, documents, state: None }
    }

    /// With everything in `papers`.
    pub fn with(papers: &Papers) -> Self {
        let mut server = Self::empty();
        server.publish(papers.first()).unwrap();
        server
    }

    pub fn state(&self) -> &CurrentState {
        self.state.as_ref().unwrap()
    }

    pub fn check(&self, submission: Submission) -> Result<AcceptedUpdate, Rejection> {
        let authority = Authority { held_keys: &self.held, repository: &repository(), now: self.now };
        submission.check(DIALECT, self.state.as_ref(), &authority)
    }

    /// Everything or nothing.
    pub fn publish(&mut self, submission: Submission) -> Result<(), Rejection> {
        let update = self.check(submission)?;
        let is_due = self.is_snapshot_due();
        self.commit(seal(update, self.now, is_due));
        Ok(())
    }

    /// A new timestamp, and a new snapshot where the old one is over and the key is here.
    pub fn renew(&mut self) {
        let update = AcceptedUpdate::renewal(self.state(), self.now);
        let is_due = self.is_snapshot_due();
        self.commit(seal(update, self.now, is_due));
    }

    fn is_snapshot_due(&self) -> bool {
        self.state.as_ref().is_some_and(|state| state.snapshot().expires().is_over(self.now))
    }

    /// Stores an update, and makes sure that a server that starts again finds the same.
    pub fn commit(&mut self, sealed: SealedUpdate) {
        let (state, documents, _) = sealed.into_parts();
        for (role, version, bytes) in documents {
            match role {
                RoleName::Root => drop(self.served.roots.insert(version.get(), bytes.bytes().clone())),
                RoleName::Timestamp => self.served.timestamp = bytes.bytes().clone(),
                _ => self.served.put(&bytes),
            }
            self.documents.insert(role, bytes.bytes().clone());
        }
        let loaded = CurrentState::load(DIALECT, &self.documents).unwrap();
        assert!(content(&loaded) == content(&state), "what is stored is not what was sealed");
        self.state = Some(state);
    }
}

/// The online keys of all servers here but one that lives a foreign life again.
pub fn held() -> BTreeSet<Fingerprint> {
    [SNAPSHOT, TIMESTAMP].map(TestKey::fingerprint).into()
}

/// Completes an update as a server does; what it then would refuse itself is a mistake here.
fn seal(update: AcceptedUpdate, now: UtcTime, is_due: bool) -> SealedUpdate {
    let root = update.root().payload().clone();
    let is_here = root.snapshot.fingerprints(&root.keys).is_subset(&held());
    let expires = now.plus_seconds(1000);
    let wants = update.given_snapshot().is_none() && (update.needs_snapshot() || (is_due && is_here));
    let snapshot: Option<SignedMetadata<Snapshot>> = wants.then(|| {
        let draft = next_snapshot(DIALECT, &update, expires).unwrap();
        online(draft, SNAPSHOT, &root.snapshot, &root.keys)
    });
    let described = snapshot.as_ref().map(SignedMetadata::describe);
    let draft = next_timestamp(DIALECT, &update, described, expires).unwrap();
    let timestamp: SignedMetadata<Timestamp> = online(draft, TIMESTAMP, &root.timestamp, &root.keys);
    let snapshot = snapshot.map(|snapshot| snapshot.bytes().clone());
    update.seal(snapshot, timestamp.bytes().clone()).unwrap()
}

fn online<R: Document>(
    draft: Draft<R>,
    key: TestKey,
    keys: &RoleKeys,
    table: &KeyTable,
) -> SignedMetadata<R> {
    let secret = key.secret();
    draft.sign(&[&secret as &dyn Signer], keys, table).unwrap()
}

/// All that a state says, in a form that can be compared: what each role has, and whether it
/// counts.
fn content(state: &CurrentState) -> BTreeMap<RoleName, (bool, u64, Bytes)> {
    let of = |version: Version, bytes: &Bytes| (true, version.get(), bytes.clone());
    let mut content = BTreeMap::from([
        (RoleName::Root, of(state.root().version(), state.root().bytes())),
        (RoleName::Timestamp, of(state.timestamp().version(), state.timestamp().bytes())),
        (RoleName::Snapshot, of(state.snapshot().version(), state.snapshot().bytes())),
        (RoleName::Targets, of(state.targets().version(), state.targets().bytes())),
    ]);
    for (name, document) in state.delegated() {
        content.insert(RoleName::Delegated(name.clone()), of(document.version(), document.bytes()));
    }
    for (name, retired) in state.retired() {
        let known = content
            .insert(RoleName::Delegated(name.clone()), (false, retired.version.get(), retired.bytes.clone()));
        assert!(known.is_none(), "{name} counts, and counts no more");
    }
    content
}
