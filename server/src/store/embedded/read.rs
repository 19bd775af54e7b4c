//! Reads that go through the index.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};

use super::codec::Entry;
use super::frame::{Location, Record};
use super::rows::{self, Row as _, ValueRow};
use super::shared::{Shared, read_record};
use crate::store::{Change, ChangeKind, Position, StoreError};

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
    match shared.index.row(&rows::digest(rows::DOCUMENT, current.row.id, digest))? {
        Some(row) => Ok(Some(row)),
        None => shared.index.row(&rows::digest(rows::TARGET, current.row.id, digest)),
    }
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
        Entry::Keys(_) => return None,
    };
    let position = Position(record.seq);
    Some(Change { position, repository, kind, actor, at, documents, chain: record.chain })
}
