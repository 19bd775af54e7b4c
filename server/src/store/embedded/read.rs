//! Reads that go through the index.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;

use super::codec::Entry;
use super::frame::{Location, Record};
use super::rows::{self, RequestRow, RequestRowState, Row as _, ValueRow};
use super::shared::{Shared, read_record};
use crate::store::inspect::is_found_by_digest;
use crate::store::{
    Change, ChangeKind, ClosedRequest, NewRequest, OpenRequest, Position, PublishError, RequestState,
    StoreError, StoredRequest, requests,
};

/// Where a document is.
///
/// # Errors
/// The index cannot be read.
pub(super) fn version_row(
    shared: &Shared,
    repository: &RepositoryName,
    role: &RoleName,
    version: Version,
) -> Result<Option<ValueRow>, StoreError> {
    let Some(current) = shared.heads.get(repository) else { return Ok(None) };
    shared.index.row(&rows::version(current.row.id, role, version))
}

/// Where a document or target is.
///
/// # Errors
/// The index cannot be read.
pub(super) fn digest_row(
    shared: &Shared,
    repository: &RepositoryName,
    digest: Sha256Digest,
) -> Result<Option<ValueRow>, StoreError> {
    let Some(current) = shared.heads.get(repository) else { return Ok(None) };
    let row = |kind| shared.index.row(&rows::digest(kind, current.row.id, digest));
    if is_found_by_digest(current.head.dialect)
        && let Some(document) = row(rows::DOCUMENT)?
    {
        return Ok(Some(document));
    }
    row(rows::TARGET)
}

/// The feed after a position.
///
/// # Errors
/// The index or a record cannot be read.
pub(super) fn changes(shared: &Shared, after: Position, max: usize) -> Result<Vec<Change>, StoreError> {
    let Some(first) = after.0.checked_add(1) else { return Ok(Vec::new()) };
    let visible = shared.progress().cursor.seq;
    let mut changes = Vec::new();
    for row in shared.index.scan(&[rows::FEED], &rows::feed(first)).take(max) {
        let (key, value) = row?;
        let decoded = rows::feed_seq(&key).and_then(|seq| Ok((seq, Location::decode(&value)?)));
        let (seq, at) = decoded.map_err(|error| super::index::damaged(&key, error))?;
        if seq > visible {
            break;
        }
        let (record, entry) = read_record(&shared.segments, seq, at)?;
        let Some(change) = change_of(&record, entry) else {
            let what = format!("record {seq} in {at} stands in the feed and is no change");
            return Err(StoreError::Corrupt { what });
        };
        changes.push(change);
    }
    Ok(changes)
}

/// The open signing requests of a repository.
///
/// # Errors
/// The index cannot be read.
pub(super) fn open_requests(
    shared: &Shared,
    repository: &RepositoryName,
) -> Result<Vec<OpenRequest>, StoreError> {
    let prefix = rows::requests(repository);
    let mut found = Vec::new();
    for row in shared.index.scan(&prefix, &prefix) {
        let (key, value) = row?;
        let (id, row) = request_row(&key, &value).map(|(_, id, row)| (id, row))?;
        found.extend(open_request(id, &row).map(|(open, _)| open));
    }
    Ok(found)
}

/// One signing request with its bytes.
///
/// # Errors
/// The index or the bytes cannot be read.
pub(super) fn request(
    shared: &Shared,
    repository: &RepositoryName,
    id: RequestId,
) -> Result<Option<StoredRequest>, StoreError> {
    let Some(row) = shared.index.row::<RequestRow>(&rows::request(repository, id))? else { return Ok(None) };
    if let Some((open, value)) = open_request(id, &row) {
        let bytes = shared.value(&value)?;
        return Ok(Some(StoredRequest::Open { open, bytes }));
    }
    let RequestRowState::Closed { how, actor, at } = row.state else { return Ok(None) };
    let position = Position(row.seq);
    Ok(Some(StoredRequest::Closed(ClosedRequest { how, position, actor, at })))
}

/// Repositories with open signing requests.
///
/// # Errors
/// The index cannot be read.
pub(super) fn with_requests(
    shared: &Shared,
    after: Option<&RepositoryName>,
    max: usize,
) -> Result<Vec<RepositoryName>, StoreError> {
    let from = after.map_or_else(|| vec![rows::REQUEST], rows::behind_requests);
    let mut found: Vec<RepositoryName> = Vec::new();
    for row in shared.index.scan(&[rows::REQUEST], &from) {
        let (key, value) = row?;
        let (name, id, row) = request_row(&key, &value)?;
        if open_request(id, &row).is_none() || found.last() == Some(&name) {
            continue;
        }
        if found.len() == max {
            break;
        }
        found.push(name);
    }
    Ok(found)
}

/// Repositories with online keys, existing or not.
///
/// # Errors
/// The index cannot be read.
pub(super) fn with_online_keys(
    shared: &Shared,
    after: Option<&RepositoryName>,
    max: usize,
) -> Result<Vec<RepositoryName>, StoreError> {
    // No name holds a zero byte: what follows is behind the row of `after` itself.
    let from =
        after.map_or_else(|| vec![rows::KEYS], |name| [&rows::named(rows::KEYS, name)[..], &[0]].concat());
    let found = shared.index.scan(&[rows::KEYS], &from).take(max);
    found.map(|row| row.and_then(|(key, _)| super::recover::head_name(&key))).collect()
}

/// Whether a request has room as far as one can tell before its turn.
///
/// # Errors
/// [`PublishError::Full`], or the index cannot be read.
pub(super) fn fits(shared: &Shared, new: &NewRequest) -> Result<(), PublishError> {
    let others = open_requests(shared, &new.repository)?;
    let others = others.into_iter().filter(|open| open.request.id != new.id);
    requests::fits(others.map(|open| open.length), u64::try_from(new.bytes.len()).unwrap_or(u64::MAX))
}

fn request_row(key: &[u8], value: &[u8]) -> Result<(RepositoryName, RequestId, RequestRow), StoreError> {
    let decoded = rows::request_key(key).and_then(|(name, id)| Ok((name, id, RequestRow::decode(value)?)));
    decoded.map_err(|error| super::index::damaged(key, error))
}

/// An open request, and where its bytes are; `None` for a closed one.
fn open_request(id: RequestId, row: &RequestRow) -> Option<(OpenRequest, ValueRow)> {
    let RequestRowState::Open { revision, not_after, value } = row.state else { return None };
    let request = RequestState { id, revision };
    Some((OpenRequest { request, not_after, length: value.length }, value))
}

/// A record as the feed shows it; `None` if it does not belong there.
fn change_of(record: &Record, entry: Entry) -> Option<Change> {
    if !super::recover::is_fed(&entry) {
        return None;
    }
    let (repository, kind, actor, at, documents) = match entry {
        Entry::Commit(commit) => {
            let documents =
                commit.documents.into_iter().map(|d| (d.role, d.version, d.value.digest)).collect();
            (commit.repository, ChangeKind::Published, commit.actor, commit.at, documents)
        }
        Entry::Remove(remove) => {
            (remove.repository, ChangeKind::Removed, remove.actor, remove.at, Vec::new())
        }
        Entry::Keys(_) | Entry::Request(_) | Entry::Close(_) => return None,
    };
    let position = Position(record.seq);
    Some(Change { position, repository, kind, actor, at, documents, chain: record.chain })
}
