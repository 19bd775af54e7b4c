//! The index: sled, used as a cache of the journal that can be thrown away at any time.
//!
//! On Linux sled's flush is no sync, some of its crash states panic on open, and a snapshot
//! that was being written when the process died makes it refuse to open for ever. So every
//! first touch after a stop happens behind [`guarded`], and nothing here is the only copy.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::codec::Undecodable;
use super::layout::{at, sync_data};
use super::rows::Row;
use crate::store::StoreError;

/// Memory for pages, in bytes. Without it sled takes 1 GiB.
const CACHE_BYTES: u64 = 96 * 1024 * 1024;
/// Also the rhythm in which sled reclaims space.
const FLUSH_EVERY_MS: u64 = 500;

/// What is to be changed in the index; `None` removes a key.
pub(super) type Writes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// An open index.
#[derive(Debug)]
pub(super) struct Index {
    db: sled::Db,
    /// A second handle on sled's file: a sync works on the file, whoever wrote to it.
    file: File,
    path: PathBuf,
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
        Ok(Self { db, file, path })
    }

    /// The value of a key.
    ///
    /// # Errors
    /// sled cannot read it.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.db.get(key).map_err(refused)
    }

    /// The value of a key, decoded.
    ///
    /// # Errors
    /// sled cannot read it, or it is no such value.
    pub(super) fn row<T: Row>(&self, key: &[u8]) -> Result<Option<T>, StoreError> {
        self.get(key)?.map(|bytes| T::decode(&bytes).map_err(|error| damaged(key, error))).transpose()
    }

    /// All keys with a prefix, ascending, from `from` on.
    pub(super) fn scan<'a>(
        &self,
        prefix: &'a [u8],
        from: Vec<u8>,
    ) -> impl Iterator<Item = Result<(sled::IVec, sled::IVec), StoreError>> + use<'a> {
        self.db
            .range(from..)
            .take_while(move |entry| entry.as_ref().map_or(true, |(key, _)| key.starts_with(prefix)))
            .map(|entry| entry.map_err(refused))
    }

    /// Applies all of `writes` or, if the process dies, maybe none.
    ///
    /// # Errors
    /// sled cannot write.
    pub(super) fn apply(&self, writes: &Writes) -> Result<(), StoreError> {
        let mut batch = sled::Batch::default();
        for (key, value) in writes {
            match value {
                Some(value) => batch.insert(key.as_slice(), value.as_slice()),
                None => batch.remove(key.as_slice()),
            }
        }
        self.db.apply_batch(batch).map_err(refused)
    }

    /// Brings everything applied so far to the disk. A failed sync ends the process (G9).
    ///
    /// # Errors
    /// sled cannot write.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.db.flush().map_err(refused)?;
        sync_data(&self.file, &self.path);
        Ok(())
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
