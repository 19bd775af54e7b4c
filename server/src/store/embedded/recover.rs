//! Opening a store, whatever state the last stop left it in. The journal decides; the index
//! is used if it proves whole and rebuilt if not.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Arc, Mutex};

use bulla_keys_schema::names::{RepositoryName, RoleName};
use bytes::Bytes;

use super::apply::{Placed, View, placed_value};
use super::blobs::Blobs;
use super::checkpoint::{self, Checkpoint, Progress};
use super::codec::{self, Commit, Entry};
use super::commit::head_of;
use super::fields::Undecodable;
use super::frame::{Location, Record, Seal};
use super::heads::{Current, Heads};
use super::index::{Index, Writes, guarded};
use super::journal::{Cursor, Segments, Writer};
use super::layout::{Layout, OpenError, at, beside, sync_folder};
use super::mark::{self, Mark, WentBack};
use super::rows::{self, HeadRow, KeysRow, OperationRow, RequestRow, Row, StateRow, ValueRow};
use super::shared::{Shared, decode, read_record, read_value};
use super::walk::{Walker, expect_all_segments};
use super::{Options, keeper};
use crate::store::{LastVersions, PublicationKind, StoreError};

/// Rows of a replay that are applied at once.
const BATCH: usize = 4_096;

/// An opened store, not yet running.
pub(super) struct Opened {
    pub(super) shared: Shared,
    pub(super) writer: Writer,
    pub(super) lock: File,
    pub(super) went_back: Option<WentBack>,
}

/// Opens or makes the store in `layout`.
///
/// # Errors
/// [`OpenError`]; nothing was changed then but an unfinished group that was cut off.
pub(super) fn open(layout: Layout, options: &Options) -> Result<Opened, OpenError> {
    let lock = layout.lock()?;
    let mark_file = mark::place(&layout.root, options.high_water.as_deref())?;
    layout.prepare()?;
    let store_id = layout.identify()?;
    layout.upgrade()?;
    let segments = Segments::new(layout.journal(), Seal::new(&store_id));
    let blobs = Blobs::new(layout.blobs());
    blobs.clear_temporary()?;
    let found = checkpoint::read(&layout)?;
    let end = find_end(&segments, found)?;
    let mark = Mark::new(mark_file, store_id.clone());
    let went_back = if options.accept_loss { None } else { mark.compare(&segments, &end)? };
    let source = Source { segments: &segments, blobs: &blobs, store_id: &store_id };
    let (index, heads, progress) = source.index(&layout, found, end.seq)?;
    let segments = Arc::new(segments);
    let writer = Writer::resume(Arc::clone(&segments), options.segment_bytes, end)?;
    let mark = went_back.is_none().then_some(mark);
    let progress = Mutex::new(progress);
    let shared = Shared { layout, store_id, segments, blobs, index, heads, mark, progress };
    keeper::keep(&shared, shared.progress(), false);
    Ok(Opened { shared, writer, lock, went_back })
}

/// Finds the end of the journal and cuts off what was never acknowledged.
fn find_end(segments: &Segments, found: Option<Checkpoint>) -> Result<Cursor, StoreError> {
    expect_all_segments(segments)?;
    let start = found.map_or_else(|| Cursor::start(&segments.seal), |found| found.progress.cursor);
    if !segments.confirms(&start)? {
        let what =
            format!("record {}, which CHECKPOINT names, is not in the journal at {}", start.seq, start.end);
        return Err(StoreError::Corrupt { what });
    }
    let mut walker = Walker::new(segments, start);
    while walker.next_group()?.is_some() {}
    let end = walker.cursor;
    if walker.tail_is_dirty()? {
        tracing::warn!(end = %end.end, "cutting an unfinished group off the journal");
        walker.cut_tail()?;
    }
    Ok(end)
}

/// What an index is made from.
struct Source<'a> {
    segments: &'a Segments,
    blobs: &'a Blobs,
    store_id: &'a str,
}

impl Source<'_> {
    /// The index, up to the end of the journal: the old one if it proves whole.
    fn index(
        &self,
        layout: &Layout,
        found: Option<Checkpoint>,
        end: u64,
    ) -> Result<(Index, Heads, Progress), StoreError> {
        let folder = layout.index();
        if let Some(found) = found.filter(|_| folder.exists()) {
            match guarded(|| self.reuse(&folder, found, end)) {
                Ok(reused) => return Ok(reused),
                Err(error) => {
                    tracing::warn!(%error, "the index is damaged and will be rebuilt from the journal");
                }
            }
        }
        let aside = beside(&folder, "damaged")?;
        remove_folder(&aside)?;
        if folder.exists() {
            fs::rename(&folder, &aside).map_err(at("rename", &folder))?;
            sync_folder(&layout.root)?;
        }
        let start = Progress { cursor: Cursor::start(&self.segments.seal), feed: 0 };
        let rebuilt = guarded(|| self.replay(Index::open(&folder)?, start, false))?;
        remove_folder(&aside)?;
        Ok(rebuilt)
    }

    fn reuse(
        &self,
        folder: &Path,
        found: Checkpoint,
        end: u64,
    ) -> Result<(Index, Heads, Progress), StoreError> {
        let index = Index::open(folder)?;
        let state: StateRow = match index.row(&[rows::STATE])? {
            Some(state) => state,
            None if found.progress.cursor.seq == 0 => return self.replay(index, found.progress, false),
            None => return Err(lost("its state row")),
        };
        if state.store_id != self.store_id || state.seq < found.progress.cursor.seq || state.seq > end {
            return Err(StoreError::Corrupt { what: "the index belongs to another journal".to_owned() });
        }
        if !found.clean {
            scan(&index, &state)?;
        }
        self.replay(index, found.progress, !found.clean)
    }

    /// Applies all records after `from`, then loads the heads.
    fn replay(
        &self,
        index: Index,
        from: Progress,
        prove: bool,
    ) -> Result<(Index, Heads, Progress), StoreError> {
        let mut walker = Walker::new(self.segments, from.cursor);
        let mut feed = from.feed;
        let mut view = View { index: &index, writes: Writes::new() };
        loop {
            let group = walker.next_group()?;
            for record in group.iter().flatten() {
                let entry = decode(record)?;
                let before: Option<HeadRow> = view.row(&rows::named(rows::HEAD, entry.repository()))?;
                view.record(Placed::from(record), &entry, before)?;
                feed += u64::from(is_fed(&entry));
            }
            if view.writes.len() >= BATCH || (group.is_none() && !view.writes.is_empty()) {
                let state = StateRow { seq: walker.cursor.seq, feed, store_id: self.store_id.to_owned() };
                view.put(vec![rows::STATE], &state);
                index.apply(std::mem::take(&mut view.writes))?;
            }
            if group.is_none() {
                break;
            }
        }
        let progress = Progress { cursor: walker.cursor, feed };
        drop(view);
        // sled may refuse only the first write: better here, where it can be rebuilt.
        index.sync()?;
        let heads = self.load_heads(&index, prove)?;
        Ok((index, heads, progress))
    }

    fn load_heads(&self, index: &Index, prove: bool) -> Result<Heads, StoreError> {
        let heads = Heads::default();
        let mut loaded = BTreeMap::new();
        for entry in index.scan(&[rows::HEAD], &[rows::HEAD]) {
            let (key, value) = entry?;
            let name = head_name(&key)?;
            let row = HeadRow::decode(&value).map_err(|error| super::index::damaged(&key, error))?;
            let current = self.load_head(index, &name, row, prove)?;
            loaded.insert(name, Some(Arc::new(current)));
        }
        heads.publish(loaded);
        Ok(heads)
    }

    fn load_head(
        &self,
        index: &Index,
        name: &RepositoryName,
        row: HeadRow,
        prove: bool,
    ) -> Result<Current, StoreError> {
        let (record, entry) = read_record(self.segments, row.seq, row.at)?;
        let Entry::Commit(commit) = entry else { return Err(lost("the record of a head")) };
        if commit.repository != *name || record.id != row.id {
            return Err(lost("the record of a head"));
        }
        for (role, reference) in commit.current.iter().filter(|_| prove) {
            let stored: Option<ValueRow> = index.row(&rows::version(row.id, role, reference.version))?;
            if stored.is_none_or(|stored| stored.digest != reference.digest) {
                return Err(lost("a current document"));
            }
        }
        let timestamp = self.timestamp(index, &record, &commit)?;
        Ok(Current { head: Arc::new(head_of(row.seq, &commit, timestamp)), row })
    }

    /// The current timestamp after `commit`, which may have come with an earlier one.
    fn timestamp(&self, index: &Index, record: &Record, commit: &Commit) -> Result<Bytes, StoreError> {
        let role = RoleName::Timestamp;
        let reference = commit.current.get(&role).ok_or_else(|| lost("a timestamp"))?;
        let new = commit.documents.iter().find(|new| new.role == role && new.version == reference.version);
        if let Some(bytes) = new.and_then(|new| codec::inline(&record.body, &new.value)) {
            return Ok(Bytes::copy_from_slice(bytes));
        }
        let row = match new {
            Some(new) => Some(placed_value(Placed::from(record), &new.value)),
            None => index.row(&rows::version(record.id, &role, reference.version))?,
        };
        read_value(self.segments, self.blobs, &row.ok_or_else(|| lost("a timestamp"))?)
    }
}

/// Whether an entry stands in the feed.
pub(super) const fn is_fed(entry: &Entry) -> bool {
    match entry {
        Entry::Commit(commit) => matches!(commit.kind, PublicationKind::Publish),
        Entry::Remove(_) => true,
        Entry::Keys(_) | Entry::Request(_) | Entry::Close(_) => false,
    }
}

/// The repository of a row that is found by its name alone.
pub(super) fn head_name(key: &[u8]) -> Result<RepositoryName, StoreError> {
    key.split_first()
        .and_then(|(_, name)| str::from_utf8(name).ok()?.parse().ok())
        .ok_or_else(|| lost("the name of a repository"))
}

/// Reads the whole index once. sled may open after a power cut and fail only later.
fn scan(index: &Index, state: &StateRow) -> Result<(), StoreError> {
    let mut feed = 0_u64;
    for entry in index.scan(&[], &[]) {
        let (key, value) = entry?;
        let decoded = match key.first() {
            Some(&rows::FEED) => {
                // Rows behind the state row are there if the last stop came between.
                let seq = rows::feed_seq(&key).map_err(|error| super::index::damaged(&key, error))?;
                feed += u64::from(seq <= state.seq);
                Location::decode(&value).map(drop)
            }
            Some(&rows::HEAD) => HeadRow::decode(&value).map(drop),
            Some(&(rows::VERSION | rows::DOCUMENT | rows::TARGET)) => ValueRow::decode(&value).map(drop),
            Some(&rows::OPERATION) => OperationRow::decode(&value).map(drop),
            Some(&rows::KEYS) => KeysRow::decode(&value).map(drop),
            Some(&rows::LAST) => LastVersions::decode(&value).map(drop),
            Some(&rows::REQUEST) => RequestRow::decode(&value).and(rows::request_key(&key)).map(drop),
            Some(&rows::STATE) => StateRow::decode(&value).map(drop),
            _ => Err(Undecodable),
        };
        decoded.map_err(|error| super::index::damaged(&key, error))?;
    }
    if feed == state.feed { Ok(()) } else { Err(lost("rows of the feed")) }
}

fn lost(what: &str) -> StoreError {
    StoreError::Corrupt { what: format!("the index has lost {what}") }
}

fn remove_folder(folder: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.map_err(at("remove", folder)),
    }
}
