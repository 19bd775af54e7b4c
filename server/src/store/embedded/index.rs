//! The index: sled, used as a cache of the journal that can be thrown away at any time.
//!
//! On Linux sled's flush is no sync, some of its crash states panic on open, and a snapshot
//! that was being written when the process died makes it refuse to open for ever. So every
//! first touch after a stop happens behind [`guarded`], and nothing here is the only copy.
//!
//! Since it need not be durable, a commit does not wait for it either: new rows are kept in
//! memory, where all reads look first, and go to sled together, once a second.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::fields::Undecodable;
use super::layout::{at, sync_data};
use super::rows::{Group, Place, Row, STATE};
use crate::store::StoreError;

/// Memory for pages, in bytes. Without it sled takes 1 GiB.
const CACHE_BYTES: u64 = 96 * 1024 * 1024;
/// Also the rhythm in which sled reclaims space.
const FLUSH_EVERY_MS: u64 = 500;
/// Rows in memory beyond which a commit waits for sled.
const RECENT_ROWS: usize = 200_000;

/// What is to be changed in the index; `None` removes a key.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An open index.
#[derive(Debug)]
pub(super) struct Index {
    db: sled::Db,
    /// A second handle on sled's file: a sync works on the file, whoever wrote to it.
    file: File,
    path: PathBuf,
    recent: RwLock<Recent>,
    /// Held while rows move from memory to sled.
    moving: Mutex<()>,
}

/// Rows that sled does not have yet.
#[derive(Debug, Default)]
struct Recent {
    rows: Unsaved,
    /// On their way to sled.
    moving: Arc<Unsaved>,
}

/// Rows in memory, tens of thousands of them while many publish. Most are only ever asked for one by one, which a
/// hash answers with a tenth of the comparisons.
#[derive(Debug, Default)]
struct Unsaved {
    /// Those that are read in order.
    listed: Writes,
    /// Those of one kind and repository, which are read in order when it is removed.
    grouped: HashMap<Group, Writes>,
    /// All others.
    single: HashMap<Vec<u8>, Option<Vec<u8>>>,
    /// How many rows came, each as often as it came.
    count: usize,
}

impl Index {
    /// Opens or makes the index in `folder`.
    ///
    /// # Errors
    /// sled cannot open it: see [`guarded`].
    pub(super) fn open(folder: &Path) -> Result<Self, StoreError> {
        remove_half_written_snapshots(folder)?;
        let db = sled::Config::new()
            .path(folder)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(FLUSH_EVERY_MS))
            .mode(sled::Mode::LowSpace)
            .open()
            .map_err(refused)?;
        let path = folder.join("db");
        let file = File::open(&path).map_err(at("open", &path))?;
        Ok(Self { db, file, path, recent: RwLock::default(), moving: Mutex::default() })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// sled cannot read it.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        let recent = self.recent();
        if let Some(row) = recent.rows.get(key).or_else(|| recent.moving.get(key)) {
            return Ok(row.map(Into::into));
        }
        drop(recent);
        self.db.get(key).map_err(refused)
    }

    /// The value of a key, decoded.
    ///
    /// # Errors
    /// sled cannot read it, or it is no such value.
    pub(super) fn row<T: Row>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(key)?.map(|bytes| T::decode(&bytes).map_err(|error| damaged(key, error))).transpose()
    }

    /// All rows with a prefix, ascending, from `from` on. Rows written meanwhile may be
    /// missing.
    pub(super) fn scan<'a>(
        &self,
        prefix: &'a [u8],
        from: &[u8],
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> + use<'a> {
        let mut recent = Writes::new();
        let held = self.recent();
        held.moving.copy(prefix, from, &mut recent);
        held.rows.copy(prefix, from, &mut recent);
        drop(held);
        let stored = self
            .db
            .range(from.to_vec()..)
            .take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
            .map(|entry| entry.map_err(refused));
        Merged { stored: stored.peekable(), recent: recent.into_iter().peekable() }
    }

    /// Notes changes; reads see them from now on, all at once.
    ///
    /// # Errors
    /// sled cannot write, if it had to be waited for.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), StoreError> {
        let mut recent = self.recent_mut();
        recent.rows.add(writes);
        let full = recent.rows.count > RECENT_ROWS && recent.moving.count == 0;
        drop(recent);
        if full { self.hand_over() } else { Ok(()) }
    }

    /// Brings everything applied so far to the disk. A failed sync ends the process (G9).
    ///
    /// # Errors
    /// sled cannot write.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.hand_over()?;
        self.db.flush().map_err(refused)?;
        sync_data(&self.file, &self.path);
        Ok(())
    }

    /// Hands the rows in memory to sled. The row that says how far the index has come goes
    /// last: a stop in between only makes the next start replay more.
    fn hand_over(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.moving.lock().unwrap_or_else(PoisonError::into_inner);
        let mut recent = self.recent_mut();
        recent.moving = Arc::new(std::mem::take(&mut recent.rows));
        let moving = Arc::clone(&recent.moving);
        drop(recent);
        // One by one: sled's readers, the committer among them, would wait for a batch.
        let (state, rows): (Vec<_>, Vec<_>) =
            moving.sorted().into_iter().partition(|(key, _)| *key == [STATE]);
        for (key, value) in rows.into_iter().chain(state) {
            match value {
                Some(value) => self.db.insert(key, value),
                None => self.db.remove(key),
            }
            .map_err(refused)?;
        }
        self.recent_mut().moving = Arc::default();
        Ok(())
    }

    fn recent(&self) -> RwLockReadGuard<'_, Recent> {
        self.recent.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn recent_mut(&self) -> RwLockWriteGuard<'_, Recent> {
        self.recent.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsaved {
    /// What is to become of a key, if anything; `Some(None)` is a removal.
    fn get(&self, key: &[u8]) -> Option<Option<&[u8]>> {
        let row = match Place::of(key) {
            Place::Listed => self.listed.get(key),
            Place::Grouped(group) => self.grouped.get(&group)?.get(key),
            Place::Single => self.single.get(key),
        };
        row.map(Option::as_deref)
    }

    fn add(&mut self, writes: Writes) {
        self.count += writes.len();
        for (key, row) in writes {
            match Place::of(&key) {
                Place::Listed => self.listed.insert(key, row),
                Place::Grouped(group) => self.grouped.entry(group).or_default().insert(key, row),
                Place::Single => self.single.insert(key, row),
            };
        }
    }

    /// Copies the rows with a prefix, from `from` on, over those of `found`.
    fn copy(&self, prefix: &[u8], from: &[u8], found: &mut Writes) {
        match Place::of(prefix) {
            Place::Listed => copy(&self.listed, prefix, from, found),
            Place::Grouped(group) => {
                if let Some(rows) = self.grouped.get(&group) {
                    copy(rows, prefix, from, found);
                }
            }
            // Only the start reads all rows, or all heads.
            Place::Single => {
                for rows in self.grouped.values().chain([&self.listed]) {
                    copy(rows, prefix, from, found);
                }
                let single =
                    self.single.iter().filter(|(key, _)| key.starts_with(prefix) && key.as_slice() >= from);
                found.extend(single.map(|(key, row)| (key.clone(), row.clone())));
            }
        }
    }

    /// All rows in order, which sled takes fastest.
    fn sorted(&self) -> Vec<(&[u8], Option<&[u8]>)> {
        let ordered = self.grouped.values().chain([&self.listed]).flatten();
        let rows = ordered.chain(&self.single);
        let mut rows: Vec<_> = rows.map(|(key, row)| (key.as_slice(), row.as_deref())).collect();
        rows.sort_unstable_by_key(|(key, _)| *key);
        rows
    }
}

fn copy(rows: &Writes, prefix: &[u8], from: &[u8], found: &mut Writes) {
    let rows = rows.range(from.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
    found.extend(rows.map(|(key, row)| (key.clone(), row.clone())));
}

/// Rows of sled and of the memory, in order; those in memory are newer.
struct Merged<S: Iterator> {
    stored: std::iter::Peekable<S>,
    recent: std::iter::Peekable<std::collections::btree_map::IntoIter<Vec<u8>, Option<Vec<u8>>>>,
}

impl<S> Iterator for Merged<S>
where
    S: Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>>,
{
    type Item = S::Item;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.stored.peek(), self.recent.peek()) {
                (Some(Ok((stored, _))), Some((recent, _))) => stored.as_ref().cmp(recent.as_slice()),
                (_, None) | (Some(Err(_)), _) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
            };
            if order == Ordering::Less {
                return self.stored.next();
            }
            if order == Ordering::Equal {
                self.stored.next();
            }
            if let Some((key, Some(value))) = self.recent.next() {
                return Some(Ok((key.into(), value.into())));
            }
        }
    }
}

/// Runs something that touches sled after a stop, and turns its panics into errors.
///
/// # Errors
/// Those of `act`, or that it panicked.
pub(super) fn guarded<T>(act: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| {
        Err(StoreError::Corrupt { what: "the index cannot be read without a panic".to_owned() })
    })
}

/// An error that names a row of the index.
pub(super) fn damaged(key: &[u8], _: Undecodable) -> StoreError {
    StoreError::Corrupt { what: format!("index row {} cannot be decoded", key.escape_ascii()) }
}

/// sled takes a snapshot that was being written when the process died for the newest one.
fn remove_half_written_snapshots(folder: &Path) -> Result<(), StoreError> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        other => other.map_err(at("read", folder))?,
    };
    for entry in entries {
        let path = entry.map_err(at("read", folder))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            fs::remove_file(&path).map_err(at("remove", &path))?;
        }
    }
    Ok(())
}

fn refused(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Io(source) => StoreError::Io { what: "access the index".to_owned(), source },
        other => StoreError::Corrupt { what: format!("index: {other}") },
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::{FEED, OPERATION, TARGET, VERSION, of_repository};
    use super::*;

    fn all(index: &Index, prefix: &[u8], from: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let rows = index.scan(prefix, from).map(Result::unwrap);
        rows.map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// Rows of every kind of place, numbered.
    const BEGINNINGS: [&[u8]; 5] = [
        &[FEED],
        &[OPERATION],
        &[VERSION, 0, 0, 0, 0, 0, 0, 0, 7],
        &[VERSION, 0, 0, 0, 0, 0, 0, 0, 8],
        &[TARGET, 0, 0, 0, 0, 0, 0, 0, 7],
    ];

    fn key(beginning: &[u8], number: u8) -> Vec<u8> {
        [beginning, &[number]].concat()
    }

    fn apply(index: &Index, number: u8, value: Option<u8>) {
        let writes = BEGINNINGS.map(|beginning| (key(beginning, number), value.map(|value| vec![value])));
        index.apply(writes.into()).unwrap();
    }

    #[test]
    fn rows_are_found_alone_and_in_order_wherever_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let index = Index::open(folder.path()).unwrap();
        for number in [3, 1, 2, 5] {
            apply(&index, number, Some(number));
        }
        index.sync().unwrap();
        apply(&index, 4, Some(4));
        apply(&index, 2, Some(20));
        apply(&index, 5, None);
        for _ in 0..2 {
            for beginning in BEGINNINGS {
                let row = |number: u8, value: u8| (key(beginning, number), vec![value]);
                assert!(index.get(&key(beginning, 2)).unwrap().is_some_and(|value| *value == [20]));
                assert_eq!(index.get(&key(beginning, 5)).unwrap(), None);
                let found = all(&index, beginning, &key(beginning, 2));
                assert_eq!(found, [row(2, 20), row(3, 3), row(4, 4)]);
                assert_eq!(all(&index, &key(beginning, 4), &key(beginning, 4)), [row(4, 4)]);
            }
            let all_of_seven = of_repository(VERSION, 7);
            assert_eq!(all(&index, &all_of_seven, &all_of_seven).len(), 4);
            assert_eq!(all(&index, &[VERSION], &[VERSION]).len(), 8);
            let everything = all(&index, &[], &[]);
            assert_eq!(everything.len(), BEGINNINGS.len() * 4);
            assert!(everything.is_sorted());
            // What was in memory is in sled now.
            index.sync().unwrap();
        }
    }
}
