//! The reference implementation: everything behind one mutex, nothing survives the process.
//! For tests and for trying things out; what it answers is what the contract means.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

use super::inspect::{self, inspect};
use super::requests::{self, CLOSED_REQUESTS, Closed, ClosedRequest, RequestState};
use super::{
    Change, ChangeKind, CheckReport, Closing, DocumentRef, Head, HeadToken, LastVersions, NewRequest,
    OpenRequest, OperationId, Position, Publication, PublicationKind, PublishError, Published, Removal,
    SealedOnlineKeys, StoreError, StoredRequest, TrustStore,
};

/// A store in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    /// The number of the last commit.
    seq: u64,
    repositories: BTreeMap<RepositoryName, Repository>,
    keys: BTreeMap<RepositoryName, SealedOnlineKeys>,
    removed: BTreeMap<RepositoryName, LastVersions>,
    requests: BTreeMap<RepositoryName, BTreeMap<RequestId, StoredRequest>>,
    operations: BTreeMap<[u8; 16], (RepositoryName, u64)>,
    feed: Vec<Change>,
}

#[derive(Debug)]
struct Repository {
    head: Arc<Head>,
    versions: BTreeMap<(RoleName, Version), Sha256Digest>,
    documents: BTreeMap<Sha256Digest, Bytes>,
    targets: BTreeMap<Sha256Digest, Bytes>,
}

impl MemoryStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn open(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.closed { Err(StoreError::Closed) } else { Ok(state) }
    }
}

#[async_trait]
impl TrustStore for MemoryStore {
    async fn head(&self, repository: &RepositoryName) -> Result<Option<Arc<Head>>, StoreError> {
        Ok(self.open()?.repositories.get(repository).map(|found| Arc::clone(&found.head)))
    }

    async fn by_version(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Bytes>, StoreError> {
        let state = self.open()?;
        let Some(found) = state.repositories.get(repository) else { return Ok(None) };
        let digest = found.versions.get(&(role.clone(), version));
        Ok(digest.and_then(|digest| found.documents.get(digest)).cloned())
    }

    async fn by_digest(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Bytes>, StoreError> {
        let state = self.open()?;
        let Some(found) = state.repositories.get(repository) else { return Ok(None) };
        let document =
            found.documents.get(&digest).filter(|_| inspect::is_found_by_digest(found.head.dialect));
        Ok(document.or_else(|| found.targets.get(&digest)).cloned())
    }

    async fn publish(&self, publication: Publication) -> Result<Published, PublishError> {
        let inspected = inspect(&publication)?;
        let mut state = self.open()?;
        if let Some(done) = state.replayed(publication.operation, &publication.repository)? {
            return Ok(done);
        }
        state.expect(&publication.repository, publication.expected)?;
        let before = state.repositories.get(&publication.repository);
        let previous = before.map(|found| &*found.head);
        inspect::same_dialect(publication.dialect, previous)?;
        let new = |role: &RoleName, reference: &DocumentRef| {
            inspected.documents.iter().any(|new| {
                new.role == *role && new.version == reference.version && new.digest == reference.digest
            })
        };
        inspect::backed(&publication.current, new, previous)?;
        for new in &inspected.documents {
            let stored = before.and_then(|found| found.versions.get(&(new.role.clone(), new.version)));
            match stored {
                Some(digest) if *digest == new.digest => {}
                Some(_) => return Err(inspect::taken(&new.role, new.version)),
                None => inspect::unused(&new.role, new.version, previous)?,
            }
        }
        if let Some(request) = publication.completes {
            state.expect_request(&publication.repository, request)?;
        }
        Ok(state.commit(publication, inspected))
    }

    async fn remove(&self, removal: Removal) -> Result<Published, PublishError> {
        inspect::actor(&removal.actor)?;
        let mut state = self.open()?;
        if let Some(done) = state.replayed(removal.operation, &removal.repository)? {
            return Ok(done);
        }
        state.expect(&removal.repository, Some(removal.expected))?;
        if let Some(found) = state.repositories.get(&removal.repository) {
            let last = inspect::last_versions(&found.head)?;
            let last = inspect::highest(state.removed.get(&removal.repository).copied(), last);
            state.removed.insert(removal.repository.clone(), last);
        }
        let seq = state.next(removal.operation, &removal.repository);
        state.repositories.remove(&removal.repository);
        state.requests.remove(&removal.repository);
        if !removal.keeps_keys {
            state.keys.remove(&removal.repository);
        }
        let (repository, actor, at) = (removal.repository, removal.actor, removal.at);
        state.note(seq, repository, ChangeKind::Removed, actor, at, Vec::new());
        Ok(published(seq, false))
    }

    async fn last_versions(&self, repository: &RepositoryName) -> Result<Option<LastVersions>, StoreError> {
        Ok(self.open()?.removed.get(repository).copied())
    }

    async fn list(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.open()?;
        Ok(state
            .repositories
            .range::<RepositoryName, _>(range)
            .take(max)
            .map(|(name, _)| name.clone())
            .collect())
    }

    async fn changes(&self, after: Position, max: usize) -> Result<Vec<Change>, StoreError> {
        let state = self.open()?;
        Ok(state.feed.iter().filter(|change| change.position > after).take(max).cloned().collect())
    }

    async fn due(&self, before: UtcTime, max: usize) -> Result<Vec<RepositoryName>, StoreError> {
        let state = self.open()?;
        let all = state.repositories.iter().map(|(name, found)| (found.head.renew_at, name));
        let mut due: Vec<_> = all.filter(|(at, _)| *at < before).collect();
        due.sort();
        Ok(due.into_iter().take(max).map(|(_, name)| name.clone()).collect())
    }

    async fn online_keys(&self, repository: &RepositoryName) -> Result<Option<SealedOnlineKeys>, StoreError> {
        Ok(self.open()?.keys.get(repository).cloned())
    }

    async fn set_online_keys(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sealed: Bytes,
    ) -> Result<u64, PublishError> {
        let mut state = self.open()?;
        if state.keys.get(repository).map(|keys| keys.generation) != expected {
            let current = state.repositories.get(repository).map(|found| found.head.token);
            return Err(PublishError::Conflict { current });
        }
        let generation = expected.unwrap_or(0).saturating_add(1);
        state.seq += 1;
        state.keys.insert(repository.clone(), SealedOnlineKeys { generation, sealed });
        Ok(generation)
    }

    async fn with_online_keys(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.open()?;
        Ok(state.keys.range::<RepositoryName, _>(range).take(max).map(|(name, _)| name.clone()).collect())
    }

    async fn open_requests(&self, repository: &RepositoryName) -> Result<Vec<OpenRequest>, StoreError> {
        Ok(self.open()?.open_requests(repository).copied().collect())
    }

    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<StoredRequest>, StoreError> {
        Ok(self.open()?.requests.get(repository).and_then(|all| all.get(&id)).cloned())
    }

    async fn put_request(&self, new: NewRequest) -> Result<u64, PublishError> {
        let length = u64::try_from(new.bytes.len()).unwrap_or(u64::MAX);
        let mut state = self.open()?;
        match new.expected {
            Some(revision) => {
                state.expect_request(&new.repository, RequestState { id: new.id, revision })?;
            }
            None if state.requests.get(&new.repository).is_some_and(|all| all.contains_key(&new.id)) => {
                return Err(state.conflict(&new.repository));
            }
            None => {}
        }
        let others = state.open_requests(&new.repository).filter(|open| open.request.id != new.id);
        requests::fits(others.map(|open| open.length), length)?;
        let revision = new.expected.unwrap_or(0).saturating_add(1);
        let request = RequestState { id: new.id, revision };
        let open = OpenRequest { request, not_after: new.not_after.plus_seconds(0), length };
        state.seq += 1;
        let all = state.requests.entry(new.repository).or_default();
        all.insert(new.id, StoredRequest::Open { open, bytes: new.bytes });
        Ok(revision)
    }

    async fn close_request(&self, closing: Closing) -> Result<(), PublishError> {
        inspect::actor(&closing.actor)?;
        let mut state = self.open()?;
        state.expect_request(&closing.repository, closing.request)?;
        state.seq += 1;
        let (how, position) = (closing.how, Position(state.seq));
        let closed = ClosedRequest { how, position, actor: closing.actor, at: closing.at.plus_seconds(0) };
        state.close_request(&closing.repository, closing.request.id, closed);
        Ok(())
    }

    async fn with_requests(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError> {
        let range = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let state = self.open()?;
        let names = state.requests.range::<RepositoryName, _>(range).map(|(name, _)| name);
        Ok(names.filter(|name| state.open_requests(name).next().is_some()).take(max).cloned().collect())
    }

    async fn check(&self) -> Result<CheckReport, StoreError> {
        let state = self.open()?;
        let mut report = CheckReport {
            repositories: u64::try_from(state.repositories.len()).unwrap_or(u64::MAX),
            records: state.seq,
            last_position: Position(state.seq),
            chain: state.feed.last().map(|change| change.chain),
            ..CheckReport::default()
        };
        for (name, found) in &state.repositories {
            for (digest, bytes) in found.documents.iter().chain(&found.targets) {
                report.documents += 1;
                report.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                if Sha256Digest::of(bytes) != *digest {
                    report.defects.push(format!("{name}: value {digest} has other bytes"));
                }
            }
            for (role, reference) in &found.head.current {
                if found.versions.get(&(role.clone(), reference.version)) != Some(&reference.digest) {
                    report.defects.push(format!("{name}: {role} version {} is missing", reference.version));
                }
            }
        }
        Ok(report)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        Ok(())
    }
}

impl State {
    fn replayed(
        &self,
        operation: OperationId,
        repository: &RepositoryName,
    ) -> Result<Option<Published>, PublishError> {
        match self.operations.get(&operation.0) {
            None => Ok(None),
            Some((name, seq)) if name == repository => Ok(Some(published(*seq, true))),
            Some(_) => Err(inspect::foreign_operation()),
        }
    }

    fn expect(&self, repository: &RepositoryName, expected: Option<HeadToken>) -> Result<(), PublishError> {
        let current = self.repositories.get(repository).map(|found| found.head.token);
        if current == expected { Ok(()) } else { Err(PublishError::Conflict { current }) }
    }

    fn conflict(&self, repository: &RepositoryName) -> PublishError {
        PublishError::Conflict { current: self.repositories.get(repository).map(|found| found.head.token) }
    }

    fn open_requests(&self, repository: &RepositoryName) -> impl Iterator<Item = &OpenRequest> {
        self.requests.get(repository).into_iter().flat_map(BTreeMap::values).filter_map(|stored| match stored
        {
            StoredRequest::Open { open, .. } => Some(open),
            StoredRequest::Closed(_) => None,
        })
    }

    fn expect_request(&self, repository: &RepositoryName, request: RequestState) -> Result<(), PublishError> {
        let found = self.open_requests(repository).any(|open| open.request == request);
        if found { Ok(()) } else { Err(self.conflict(repository)) }
    }

    /// Closes a request and forgets the one that was closed longest ago, if there are too many.
    fn close_request(&mut self, repository: &RepositoryName, id: RequestId, closed: ClosedRequest) {
        let all = self.requests.entry(repository.clone()).or_default();
        all.insert(id, StoredRequest::Closed(closed));
        let position = |stored: &StoredRequest| match stored {
            StoredRequest::Open { .. } => None,
            StoredRequest::Closed(closed) => Some(closed.position),
        };
        let mut ended: Vec<_> = all.values().filter_map(position).collect();
        ended.sort_unstable();
        let Some(last) = ended.len().checked_sub(CLOSED_REQUESTS + 1).and_then(|at| ended.get(at)) else {
            return;
        };
        all.retain(|_, stored| position(stored).is_none_or(|position| position > *last));
    }

    fn next(&mut self, operation: OperationId, repository: &RepositoryName) -> u64 {
        self.seq += 1;
        self.operations.insert(operation.0, (repository.clone(), self.seq));
        self.seq
    }

    fn commit(&mut self, publication: Publication, inspected: inspect::Inspected) -> Published {
        let seq = self.next(publication.operation, &publication.repository);
        let before = self.repositories.remove(&publication.repository);
        let (mut versions, mut stored, mut targets) =
            before.map_or_else(Default::default, |found| (found.versions, found.documents, found.targets));
        let mut documents = Vec::new();
        for new in inspected.documents {
            documents.push((new.role.clone(), new.version, new.digest));
            versions.insert((new.role, new.version), new.digest);
            stored.insert(new.digest, new.bytes);
        }
        targets.extend(inspected.targets);
        let timestamp = publication.current.get(&RoleName::Timestamp).and_then(|now| stored.get(&now.digest));
        let head = Arc::new(Head {
            token: HeadToken(seq),
            dialect: publication.dialect,
            timestamp: timestamp.cloned().unwrap_or_default(),
            current: publication.current,
            renew_at: publication.renew_at.plus_seconds(0),
        });
        let repository = Repository { head, versions, documents: stored, targets };
        self.repositories.insert(publication.repository.clone(), repository);
        if let Some(request) = publication.completes {
            let (actor, at) = (publication.actor.clone(), publication.at.plus_seconds(0));
            let closed = ClosedRequest { how: Closed::Published, position: Position(seq), actor, at };
            self.close_request(&publication.repository, request.id, closed);
        }
        if publication.kind == PublicationKind::Publish {
            let (repository, actor) = (publication.repository, publication.actor);
            self.note(seq, repository, ChangeKind::Published, actor, publication.at, documents);
        }
        published(seq, false)
    }

    fn note(
        &mut self,
        seq: u64,
        repository: RepositoryName,
        kind: ChangeKind,
        actor: String,
        at: UtcTime,
        documents: Vec<(RoleName, Version, Sha256Digest)>,
    ) {
        let at = at.plus_seconds(0);
        let before = self.feed.last().map_or(Sha256Digest::of(b"bulla memory 1"), |change| change.chain);
        let text = format!("{before} {seq} {repository} {kind:?} {actor:?} {at} {documents:?}");
        let chain = Sha256Digest::of(text.as_bytes());
        self.feed.push(Change { position: Position(seq), repository, kind, actor, at, documents, chain });
    }
}

const fn published(seq: u64, replayed: bool) -> Published {
    Published { token: HeadToken(seq), position: Position(seq), replayed }
}
