//! The one that writes. It takes whatever waits, decides each commit against the
//! state before it, writes all of them as one group with one sync, and only then lets
//! anybody see them. While more than a few commits are being made ready, its thread waits a moment
//! for them; it never waits for nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::apply::{Placed, View};
use super::checkpoint::Progress;
use super::codec::{self, Commit, Entry};
use super::frame::{BODY_MAX, Location, NewRecord, framed_len};
use super::heads::Current;
use super::index::Writes;
use super::journal::{Cursor, Writer};
use super::layout::fatal;
use super::pace::Pace;
use super::rows::{self, KeysRow, OperationRow, RequestRow, RequestRowState, Row as _, StateRow, ValueRow};
use super::shared::Shared;
use crate::store::inspect;
use crate::store::{
    DocumentRef, Head, HeadToken, OperationId, Position, Publication, PublicationKind, PublishError,
    Published, RequestState, StoreError, requests,
};

/// Most commits in one group.
const GROUP: usize = 256;
/// A group takes no further commits once it has this many bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;
/// Longest wait for commits that are being made ready: what a few dozen take on two cores.
const LINGER: Duration = Duration::from_millis(8);
/// How often the wait looks whether those commits were given up.
const GLANCE: Duration = Duration::from_micros(500);

/// A commit that waits, fully encoded; its long values are on the disk already.
pub(super) struct Request {
    pub(super) entry: Entry,
    pub(super) body: Vec<u8>,
    pub(super) body_digest: Sha256Digest,
    /// The new timestamp, if the commit brings one.
    pub(super) timestamp: Option<Bytes>,
    pub(super) reply: oneshot::Sender<Result<Published, PublishError>>,
}

impl Request {
    /// Wraps a commit for the queue.
    ///
    /// # Errors
    /// [`PublishError::Invalid`]: too long for one record.
    pub(super) fn new(
        entry: Entry,
        body: Vec<u8>,
        timestamp: Option<Bytes>,
    ) -> Result<(Self, oneshot::Receiver<Result<Published, PublishError>>), PublishError> {
        if body.len() > BODY_MAX {
            return Err(inspect::invalid(format!("a record of {} bytes is too long", body.len())));
        }
        let (reply, answer) = oneshot::channel();
        let body_digest = Sha256Digest::of(&body);
        Ok((Self { entry, body, body_digest, timestamp, reply }, answer))
    }

    /// Whether a client sent it. What the server changes by itself comes in crowds from one task: there, each
    /// would be made alone, with a sync of its own, while all else that the task does stands still.
    pub(super) fn is_upload(&self) -> bool {
        matches!(&self.entry, Entry::Commit(commit) if commit.kind == PublicationKind::Publish)
    }
}

/// The committer's state.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    writer: Writer,
    pace: Arc<Pace>,
}

/// What was decided on a commit that may go on.
enum Decision {
    Replayed(Published),
    /// The incarnation it belongs to; `None` makes a new one.
    Accepted(Option<u64>),
}

/// The commits of one group while they are decided.
struct Group<'a> {
    view: View<'a>,
    states: HashMap<RepositoryName, Option<Arc<Current>>>,
    accepted: Vec<Accepted>,
    seq: u64,
    end: Location,
    feed: u64,
}

struct Accepted {
    placed: Placed,
    body: Vec<u8>,
    body_digest: Sha256Digest,
}

impl Committer {
    pub(super) const fn new(shared: Arc<Shared>, writer: Writer, pace: Arc<Pace>) -> Self {
        Self { shared, writer, pace }
    }

    /// Works until nobody can send commits any more. A panic of whoever holds `this` ends the process.
    pub(super) fn run(this: &Mutex<Self>, queue: &Receiver<Request>) {
        while let Ok(first) = queue.recv() {
            let mut committer = this.lock().unwrap_or_else(PoisonError::into_inner);
            let group = committer.gather(first, queue);
            committer.commit(group);
        }
    }

    /// Makes a single commit, on the thread of whoever has it. As on the committer's own, a panic ends the
    /// process: nobody knows what is on the disk then.
    pub(super) fn commit_one(&mut self, request: Request) {
        let shared = Arc::clone(&self.shared);
        shared.or_end("store-commit", || self.commit(vec![request]));
    }

    /// What goes into a group with `first`.
    fn gather(&self, first: Request, queue: &Receiver<Request>) -> Vec<Request> {
        let mut bytes = framed_len(first.body.len());
        let mut requests = vec![first];
        let until = Instant::now() + LINGER;
        while requests.len() < GROUP && bytes < GROUP_BYTES {
            let Some(next) = self.next(queue, requests.len(), until) else { break };
            bytes += framed_len(next.body.len());
            requests.push(next);
        }
        requests
    }

    /// The next commit of a group that has `ready` ones.
    fn next(&self, queue: &Receiver<Request>, ready: usize, until: Instant) -> Option<Request> {
        loop {
            match queue.try_recv() {
                Ok(next) => return Some(next),
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || self.pace.suffices(ready) {
                return None;
            }
            // Not at the queue: each commit that comes would wake this thread, in the middle of making others ready.
            thread::park_timeout(left.min(GLANCE));
        }
    }

    fn commit(&mut self, requests: Vec<Request>) {
        self.pace.begin(requests.len());
        self.writer.reserve(requests.iter().map(|request| framed_len(request.body.len())).sum());
        let shared = Arc::clone(&self.shared);
        let mut group = Group {
            view: View { index: &shared.index, writes: Writes::new() },
            states: HashMap::new(),
            accepted: Vec::with_capacity(requests.len()),
            seq: self.writer.cursor.seq,
            end: self.writer.cursor.end,
            feed: shared.progress().feed,
        };
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let (reply, answer) = match group.decide_and_stage(&shared, request) {
                Ok(decided) => decided,
                // An index that cannot be read is rebuilt by the next start.
                Err(error) => fatal("read", &shared.layout.index(), &error),
            };
            answers.push((reply, answer));
        }
        if !group.accepted.is_empty() {
            self.write(group);
        }
        for (reply, answer) in answers {
            // Whoever asked may have gone; the commit stands all the same.
            drop(reply.send(answer));
        }
    }

    /// Makes a group durable, then visible.
    fn write(&mut self, mut group: Group<'_>) {
        let before = self.writer.cursor;
        let number = before.group.saturating_add(1);
        let mut cursor = Cursor { group: number, ..before };
        let mut bytes = Vec::new();
        let count = group.accepted.len();
        for (position, accepted) in group.accepted.iter().enumerate() {
            let new = NewRecord {
                seq: accepted.placed.seq,
                id: accepted.placed.id,
                group: number,
                left: u32::try_from(count.saturating_sub(position + 1)).unwrap_or(u32::MAX),
                chain_before: cursor.chain,
                body_digest: accepted.body_digest,
                body: &accepted.body,
            };
            cursor.chain = self.shared.segments.seal.write(&mut bytes, &new);
            cursor.seq = accepted.placed.seq;
            cursor.last = Some(accepted.placed.at);
        }
        cursor.end = group.end;
        self.writer.append(&bytes, cursor);
        let state = StateRow { seq: cursor.seq, feed: group.feed, store_id: self.shared.store_id.clone() };
        group.view.writes.insert(vec![rows::STATE], Some(state.encode()));
        if let Err(error) = self.shared.index.apply(group.view.writes) {
            fatal("write", &self.shared.layout.index(), &error);
        }
        self.shared.heads.publish(group.states);
        *self.shared.progress.lock().unwrap_or_else(PoisonError::into_inner) =
            Progress { cursor, feed: group.feed };
    }
}

type Answer = (oneshot::Sender<Result<Published, PublishError>>, Result<Published, PublishError>);

impl Group<'_> {
    /// Decides one request; if it is accepted, later ones of the group see its effect.
    fn decide_and_stage(&mut self, shared: &Shared, request: Request) -> Result<Answer, StoreError> {
        let name = request.entry.repository().clone();
        let before = match self.states.get(&name) {
            Some(state) => state.clone(),
            None => shared.heads.get(&name),
        };
        let id = match self.decide(&request.entry, before.as_deref()) {
            Ok(Decision::Replayed(published)) => return Ok((request.reply, Ok(published))),
            Ok(Decision::Accepted(id)) => id,
            Err(PublishError::Store(error)) => return Err(error),
            Err(refusal) => return Ok((request.reply, Err(refusal))),
        };
        self.seq = self.seq.saturating_add(1);
        let placed = Placed { seq: self.seq, id: id.unwrap_or(self.seq), at: self.end };
        self.end = self.end.plus(framed_len(request.body.len()));
        let row =
            self.view.record(placed, &request.entry, before.as_ref().map(|current| current.row.clone()))?;
        match (&request.entry, row) {
            (Entry::Commit(commit), Some(row)) => {
                let timestamp =
                    request.timestamp.or_else(|| before.map(|current| current.head.timestamp.clone()));
                let head = Arc::new(head_of(placed.seq, commit, timestamp.unwrap_or_default()));
                self.states.insert(name, Some(Arc::new(Current { head, row })));
                self.feed += u64::from(commit.kind == PublicationKind::Publish);
            }
            (Entry::Remove(_), _) => {
                self.states.insert(name, None);
                self.feed += 1;
            }
            _ => {}
        }
        self.accepted.push(Accepted { placed, body: request.body, body_digest: request.body_digest });
        let published =
            Published { token: HeadToken(placed.seq), position: Position(placed.seq), replayed: false };
        Ok((request.reply, Ok(published)))
    }

    fn decide(&self, entry: &Entry, before: Option<&Current>) -> Result<Decision, PublishError> {
        let head = before.map(|current| &*current.head);
        let token = head.map(|head| head.token);
        let id = before.map(|current| current.row.id);
        match entry {
            Entry::Commit(commit) => {
                if let Some(done) = self.replayed(commit.operation, &commit.repository)? {
                    return Ok(done);
                }
                if commit.expected != token.map(|token| token.0) {
                    return Err(PublishError::Conflict { current: token });
                }
                self.fits(commit, before)?;
                if let Some(request) = commit.completes {
                    self.expect_request(&commit.repository, request, token)?;
                }
                Ok(Decision::Accepted(id))
            }
            Entry::Remove(remove) => {
                if let Some(done) = self.replayed(remove.operation, &remove.repository)? {
                    return Ok(done);
                }
                if token != Some(HeadToken(remove.expected)) {
                    return Err(PublishError::Conflict { current: token });
                }
                Ok(Decision::Accepted(id))
            }
            Entry::Keys(keys) => {
                let stored: Option<KeysRow> = self.view.row(&rows::named(rows::KEYS, &keys.repository))?;
                if stored.map_or(0, |row| row.generation).checked_add(1) != Some(keys.generation) {
                    return Err(PublishError::Conflict { current: token });
                }
                Ok(Decision::Accepted(Some(id.unwrap_or(0))))
            }
            Entry::Request(request) => {
                self.takes_request(request, token)?;
                Ok(Decision::Accepted(Some(id.unwrap_or(0))))
            }
            Entry::Close(close) => {
                self.expect_request(&close.repository, close.request, token)?;
                Ok(Decision::Accepted(Some(id.unwrap_or(0))))
            }
        }
    }

    /// Whether a request is open in this very state (G11).
    fn expect_request(
        &self,
        repository: &RepositoryName,
        request: RequestState,
        current: Option<HeadToken>,
    ) -> Result<(), PublishError> {
        let row: Option<RequestRow> = self.view.row(&rows::request(repository, request.id))?;
        match row.map(|row| row.state) {
            Some(RequestRowState::Open { revision, .. }) if revision == request.revision => Ok(()),
            _ => Err(PublishError::Conflict { current }),
        }
    }

    /// Whether a request builds on what is stored (G11) and has room.
    fn takes_request(&self, new: &codec::Request, current: Option<HeadToken>) -> Result<(), PublishError> {
        let key = rows::request(&new.repository, new.request.id);
        let mut others: BTreeMap<Vec<u8>, RequestRow> = self.view.rows(&rows::requests(&new.repository))?;
        let stored = match others.remove(&key).map(|row| row.state) {
            None => Some(0),
            Some(RequestRowState::Open { revision, .. }) => Some(revision),
            Some(RequestRowState::Closed { .. }) => None,
        };
        if stored.and_then(|revision| revision.checked_add(1)) != Some(new.request.revision) {
            return Err(PublishError::Conflict { current });
        }
        let lengths = others.into_values().filter_map(|row| match row.state {
            RequestRowState::Open { value, .. } => Some(value.length),
            RequestRowState::Closed { .. } => None,
        });
        requests::fits(lengths, new.value.length)
    }

    /// Whether the operation was committed before (G8).
    fn replayed(
        &self,
        operation: OperationId,
        repository: &RepositoryName,
    ) -> Result<Option<Decision>, PublishError> {
        let row: Option<OperationRow> = self.view.row(&rows::operation(operation))?;
        row.map(|row| replayed(&row, repository).map(Decision::Replayed)).transpose()
    }

    /// Whether the commit agrees with what is stored (G5, G7, G10).
    fn fits(&self, commit: &Commit, before: Option<&Current>) -> Result<(), PublishError> {
        let head = before.map(|current| &*current.head);
        inspect::same_dialect(commit.dialect, head)?;
        let new = |role: &RoleName, reference: &DocumentRef| {
            commit.documents.iter().any(|new| {
                new.role == *role
                    && new.version == reference.version
                    && new.value.digest == reference.digest
                    && new.value.length == reference.length
            })
        };
        inspect::backed(&commit.current, new, head)?;
        let Some(before) = before else { return Ok(()) };
        for new in &commit.documents {
            let key = rows::version(before.row.id, &new.role, new.version);
            match self.view.row::<ValueRow>(&key)? {
                Some(stored) if stored.digest == new.value.digest => {}
                Some(_) => return Err(inspect::taken(&new.role, new.version)),
                None => inspect::unused(&new.role, new.version, head)?,
            }
        }
        Ok(())
    }
}

/// The head that a commit makes.
pub(super) fn head_of(seq: u64, commit: &Commit, timestamp: Bytes) -> Head {
    Head {
        token: HeadToken(seq),
        dialect: commit.dialect,
        current: commit.current.clone(),
        timestamp,
        renew_at: commit.renew_at,
    }
}

/// The answer to a repeated operation.
///
/// # Errors
/// [`PublishError::Invalid`] if it was one of another repository.
pub(super) fn replayed(row: &OperationRow, repository: &RepositoryName) -> Result<Published, PublishError> {
    if row.repository != *repository {
        return Err(inspect::foreign_operation());
    }
    Ok(Published { token: HeadToken(row.seq), position: Position(row.seq), replayed: true })
}

/// The bytes of the timestamp that becomes current with a publication, if it brings one.
pub(super) fn new_timestamp(publication: &Publication) -> Option<Bytes> {
    let version = publication.current.get(&RoleName::Timestamp)?.version;
    let new = publication.documents.iter().find(|d| d.role == RoleName::Timestamp && d.version == version)?;
    Some(new.bytes.bytes().clone())
}
