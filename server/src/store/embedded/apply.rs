//! What one record changes in the index: the same for a commit, a replay and a rebuild, and
//! the same again when it is done twice.

use std::collections::BTreeMap;

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;

use super::codec::{Commit, Entry, Keys, Remove, Request, Value};
use super::frame::{Location, Record};
use super::index::{Index, Writes};
use super::rows::{
    self, DOCUMENT, HEAD, HeadRow, KEYS, KeysRow, LAST, OperationRow, Renewed, RequestRow, RequestRowState,
    Row, TARGET, VERSION, ValueRow,
};
use crate::store::inspect::{highest, is_found_by_digest, is_replaceable};
use crate::store::{CLOSED_REQUESTS, Closed, PublicationKind, StoreError};

/// How many renewed timestamps, and as many snapshots where they are replaceable, stay
/// readable.
const KEPT_RENEWALS: usize = 2;

/// Where a record stands, without its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) seq: u64,
    pub(super) id: u64,
    pub(super) at: Location,
}

impl From<&Record> for Placed {
    fn from(record: &Record) -> Self {
        Self { seq: record.seq, id: record.id, at: record.at }
    }
}

/// The index as it will be once `writes` are applied.
pub(super) struct View<'a> {
    pub(super) index: &'a Index,
    pub(super) writes: Writes,
}

impl View<'_> {
    /// The value of a key, decoded.
    ///
    /// # Errors
    /// Those of [`Index::row`].
    pub(super) fn row<T: Row>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        match self.writes.get(key) {
            Some(Some(bytes)) => {
                T::decode(bytes).map(Some).map_err(|error| super::index::damaged(key, error))
            }
            Some(None) => Ok(None),
            None => self.index.row(key),
        }
    }

    /// All rows whose keys begin with `prefix`, decoded.
    ///
    /// # Errors
    /// Those of [`Index::row`].
    pub(super) fn rows<T: Row>(&self, prefix: &[u8]) -> Result<BTreeMap<Vec<u8>, T>, StoreError> {
        let mut found = BTreeMap::new();
        for key in self.keys_with(prefix)? {
            if let Some(row) = self.row(&key)? {
                found.insert(key, row);
            }
        }
        Ok(found)
    }

    /// The keys with a prefix that were or will be there.
    fn keys_with(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>, StoreError> {
        let pending = self.writes.range(prefix.to_vec()..).map(|(key, _)| key.clone());
        let mut keys: Vec<_> = pending.take_while(|key| key.starts_with(prefix)).collect();
        for entry in self.index.scan(prefix, prefix) {
            keys.push(entry?.0.to_vec());
        }
        Ok(keys)
    }

    /// Notes what a record changes; returns the repository's new head row, if it has one.
    /// `before` is its head row so far; one of another incarnation does not count.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(super) fn record(
        &mut self,
        placed: Placed,
        entry: &Entry,
        before: Option<HeadRow>,
    ) -> Result<Option<HeadRow>, StoreError> {
        match entry {
            Entry::Commit(commit) => {
                if let Some(request) = commit.completes {
                    let (actor, at) = (&commit.actor, commit.at);
                    self.close(placed, &commit.repository, request.id, Closed::Published, actor, at)?;
                }
                Ok(Some(self.commit(placed, commit, before.filter(|row| row.id == placed.id))))
            }
            Entry::Remove(remove) => self.remove(placed, remove).map(|()| None),
            Entry::Keys(keys) => {
                self.keys(placed, keys);
                Ok(None)
            }
            Entry::Request(request) => {
                self.request(placed, request);
                Ok(None)
            }
            Entry::Close(close) => {
                let (id, how) = (close.request.id, close.how);
                self.close(placed, &close.repository, id, how, &close.actor, close.at)?;
                Ok(None)
            }
        }
    }

    fn commit(&mut self, placed: Placed, commit: &Commit, before: Option<HeadRow>) -> HeadRow {
        let id = placed.id;
        for document in &commit.documents {
            let row = placed_value(placed, &document.value);
            self.put(rows::version(id, &document.role, document.version), &row);
            if is_found_by_digest(commit.dialect) {
                self.put(rows::digest(DOCUMENT, id, row.digest), &row);
            }
        }
        for target in &commit.targets {
            let row = placed_value(placed, target);
            self.put(rows::digest(TARGET, id, row.digest), &row);
        }
        let (renewed, renewal) = match before {
            Some(row) => (row.renewed, row.renewal),
            None => (Vec::new(), None),
        };
        if let Some(operation) = renewal.filter(|operation| *operation != commit.operation) {
            self.writes.insert(rows::operation(operation), None);
        }
        let operation = OperationRow { seq: placed.seq, repository: commit.repository.clone() };
        self.put(rows::operation(commit.operation), &operation);
        let is_renewal = commit.kind == PublicationKind::Renew;
        if !is_renewal {
            self.put(rows::feed(placed.seq), &placed.at);
        }
        let renewed = if is_renewal { self.forget_replaced(id, renewed, commit) } else { renewed };
        let renewal = is_renewal.then_some(commit.operation);
        let row = HeadRow { id, seq: placed.seq, at: placed.at, renewal, renewed };
        self.put(rows::named(HEAD, &commit.repository), &row);
        row
    }

    /// Adds what a renewal brought and drops what is more than two renewals old.
    fn forget_replaced(&mut self, id: u64, mut renewed: Vec<Renewed>, commit: &Commit) -> Vec<Renewed> {
        let replaceable = |role| is_replaceable(commit.dialect, role);
        for document in commit.documents.iter().filter(|document| replaceable(&document.role)) {
            renewed.retain(|old| (&old.role, old.version) != (&document.role, document.version));
            renewed.push(Renewed {
                role: document.role.clone(),
                version: document.version,
                digest: document.value.digest,
            });
        }
        renewed.sort_by_key(|document| document.version);
        let mut kept = Vec::new();
        for (position, old) in renewed.iter().enumerate() {
            let newer = renewed.iter().skip(position + 1).filter(|other| other.role == old.role).count();
            let is_current = commit.current.get(&old.role).is_some_and(|now| now.version == old.version);
            if newer < KEPT_RENEWALS || is_current {
                kept.push(old.clone());
                continue;
            }
            self.writes.insert(rows::version(id, &old.role, old.version), None);
            // In TUF's dialect too: an index may be older than the rule that there are none.
            self.writes.insert(rows::digest(DOCUMENT, id, old.digest), None);
        }
        kept
    }

    fn remove(&mut self, placed: Placed, remove: &Remove) -> Result<(), StoreError> {
        self.put(rows::feed(placed.seq), &placed.at);
        let operation = OperationRow { seq: placed.seq, repository: remove.repository.clone() };
        self.put(rows::operation(remove.operation), &operation);
        // After a crash the row may stand already, and from a later removal.
        let key = rows::named(LAST, &remove.repository);
        let last = highest(self.row(&key)?, remove.last);
        self.put(key, &last);
        self.writes.insert(rows::named(HEAD, &remove.repository), None);
        if !remove.keeps_keys {
            self.writes.insert(rows::named(KEYS, &remove.repository), None);
        }
        let documents = [VERSION, DOCUMENT, TARGET].map(|kind| rows::of_repository(kind, placed.id));
        for prefix in documents.into_iter().chain([rows::requests(&remove.repository)]) {
            for key in self.keys_with(&prefix)? {
                self.writes.insert(key, None);
            }
        }
        Ok(())
    }

    fn request(&mut self, placed: Placed, request: &Request) {
        let state = RequestRowState::Open {
            revision: request.request.revision,
            not_after: request.not_after,
            value: placed_value(placed, &request.value),
        };
        let key = rows::request(&request.repository, request.request.id);
        self.put(key, &RequestRow { seq: placed.seq, state });
    }

    /// Closes a request and forgets the one that was closed longest ago, if there are too
    /// many. During a replay later ones may stand there already: what is forgotten because of
    /// them would be forgotten anyway.
    fn close(
        &mut self,
        placed: Placed,
        repository: &RepositoryName,
        id: RequestId,
        how: Closed,
        actor: &str,
        at: UtcTime,
    ) -> Result<(), StoreError> {
        let state = RequestRowState::Closed { how, actor: actor.to_owned(), at };
        self.put(rows::request(repository, id), &RequestRow { seq: placed.seq, state });
        let rows: BTreeMap<Vec<u8>, RequestRow> = self.rows(&rows::requests(repository))?;
        let closed = rows.into_iter().filter(|(_, row)| matches!(row.state, RequestRowState::Closed { .. }));
        let mut closed: Vec<_> = closed.map(|(key, row)| (row.seq, key)).collect();
        closed.sort_unstable();
        let forgotten = closed.len().saturating_sub(CLOSED_REQUESTS);
        for (_, key) in closed.into_iter().take(forgotten) {
            self.writes.insert(key, None);
        }
        Ok(())
    }

    fn keys(&mut self, placed: Placed, keys: &Keys) {
        let row = KeysRow { generation: keys.generation, sealed: placed_value(placed, &keys.sealed) };
        self.put(rows::named(KEYS, &keys.repository), &row);
    }

    pub(super) fn put(&mut self, key: Vec<u8>, row: &impl Row) {
        self.writes.insert(key, Some(row.encode()));
    }
}

/// A value of a record, with its place in the journal.
pub(super) fn placed_value(placed: Placed, value: &Value) -> ValueRow {
    let at = match value.place {
        super::codec::Place::Inline { at } => Some(super::frame::value_at(placed.at, at)),
        super::codec::Place::Blob => None,
    };
    ValueRow { digest: value.digest, length: value.length, at }
}
