//! The journal on disk: the source of truth of a store. Segments are written in order, each
//! by whole groups; a group is one write and one sync.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use bulla_keys_schema::digest::Sha256Digest;
use rustix::fs::FallocateFlags;
use serde::{Deserialize, Serialize};

use super::frame::{Location, Parsed, Seal, segment_name};
use super::layout::{at, fatal, sync_data, sync_folder};
use crate::store::StoreError;

/// A place between two groups, with all that is needed to go on from there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The last record before.
    pub(super) seq: u64,
    /// The last group before.
    pub(super) group: u64,
    /// The chain digest of the last record before.
    pub(super) chain: Sha256Digest,
    /// Where the last record before begins; `None` at the start of the journal.
    pub(super) last: Option<Location>,
    /// Where the next record goes, unless it does not fit into this segment any more.
    pub(super) end: Location,
}

impl Cursor {
    /// The start of a journal.
    pub(super) const fn start(seal: &Seal) -> Self {
        let end = Location { segment: 1, offset: 0 };
        Self { seq: 0, group: 0, chain: seal.genesis, last: None, end }
    }
}

/// A [`Cursor`] as files hold it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CursorText {
    seq: u64,
    group: u64,
    chain: String,
    last: Option<(u32, u32)>,
    end: (u32, u32),
}

impl From<Cursor> for CursorText {
    fn from(cursor: Cursor) -> Self {
        let pair = |at: Location| (at.segment, at.offset);
        Self {
            seq: cursor.seq,
            group: cursor.group,
            chain: cursor.chain.to_string(),
            last: cursor.last.map(pair),
            end: pair(cursor.end),
        }
    }
}

impl CursorText {
    /// The cursor, if the text holds one.
    pub(super) fn parse(&self) -> Option<Cursor> {
        let place = |(segment, offset)| Location { segment, offset };
        let chain = self.chain.parse().ok()?;
        let (last, end) = (self.last.map(place), place(self.end));
        Some(Cursor { seq: self.seq, group: self.group, chain, last, end })
    }
}

/// The segments of a journal, for reading.
#[derive(Debug)]
pub(super) struct Segments {
    folder: PathBuf,
    pub(super) seal: Seal,
    open: RwLock<HashMap<u32, Arc<File>>>,
}

impl Segments {
    pub(super) fn new(folder: PathBuf, seal: Seal) -> Self {
        Self { folder, seal, open: RwLock::default() }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, segment: u32) -> PathBuf {
        self.folder.join(segment_name(segment))
    }

    /// The numbers of the segments that exist, ascending.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub(super) fn numbers(&self) -> Result<Vec<u32>, StoreError> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(at("read", &self.folder))? {
            let name = entry.map_err(at("read", &self.folder))?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".log")?.parse().ok());
            numbers.extend(number.filter(|number| name.to_str() == Some(&segment_name(*number))));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Reads `length` bytes.
    ///
    /// # Errors
    /// The segment is gone, too short, or cannot be read.
    pub(super) fn read(&self, from: Location, length: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(from.segment);
        let file = self.file(from.segment)?;
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
        match file.read_exact_at(&mut bytes, u64::from(from.offset)) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(StoreError::Corrupt { what: format!("the journal ends inside a value: {from}") })
            }
            Err(error) => Err(at("read", &path)(error)),
        }
    }

    /// Reads the record that begins at `from`; `None` if there is no whole one.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(super) fn record(&self, from: Location) -> Result<Option<super::frame::Record>, StoreError> {
        let header = match self.read(from, 8) {
            Err(StoreError::Corrupt { .. }) => return Ok(None),
            other => other?,
        };
        let Some(length) = self.seal.claimed_len(&header) else { return Ok(None) };
        let bytes = match self.read(from, u64::try_from(length).unwrap_or(u64::MAX)) {
            Err(StoreError::Corrupt { .. }) => return Ok(None),
            other => other?,
        };
        let base = usize::try_from(from.offset).unwrap_or(usize::MAX);
        match self.seal.parse(&bytes, base, from) {
            Parsed::Whole(record) => Ok(Some(*record)),
            Parsed::Nothing | Parsed::Broken => Ok(None),
        }
    }

    /// Whether the journal holds what `cursor` says: its last record, with that digest.
    ///
    /// # Errors
    /// The segment cannot be read.
    pub(super) fn confirms(&self, cursor: &Cursor) -> Result<bool, StoreError> {
        let Some(last) = cursor.last else {
            return Ok(cursor.seq == 0 && *cursor == Cursor::start(&self.seal));
        };
        if !self.path(last.segment).exists() {
            return Ok(false);
        }
        Ok(self.record(last)?.is_some_and(|record| {
            record.seq == cursor.seq
                && record.chain == cursor.chain
                && record.group == cursor.group
                && record.left == 0
                && record.end() == cursor.end
        }))
    }

    /// Closes all files, because some were replaced.
    pub(super) fn forget(&self) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn file(&self, segment: u32) -> Result<Arc<File>, StoreError> {
        let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&segment) {
            return Ok(Arc::clone(file));
        }
        drop(open);
        let path = self.path(segment);
        let file = Arc::new(File::open(&path).map_err(at("open", &path))?);
        let mut open = self.open.write().unwrap_or_else(PoisonError::into_inner);
        open.insert(segment, Arc::clone(&file));
        Ok(file)
    }
}

/// The one writer of a journal.
#[derive(Debug)]
pub(super) struct Writer {
    segments: Arc<Segments>,
    segment_bytes: u32,
    file: File,
    /// Length of the current segment's file.
    size: u64,
    /// How far the current segment is known to be written, with records or zero bytes.
    written: u64,
    pub(super) cursor: Cursor,
}

/// How far ahead zero bytes are written. Overwriting blocks that exist is what makes a sync
/// cheap: preallocated but unwritten blocks cost a metadata commit for each.
const AHEAD: u64 = 1024 * 1024;

impl Writer {
    /// Goes on at `cursor`, after which the segment must be empty.
    ///
    /// # Errors
    /// The segment cannot be opened or made.
    pub(super) fn resume(
        segments: Arc<Segments>,
        segment_bytes: u32,
        cursor: Cursor,
    ) -> Result<Self, StoreError> {
        let path = segments.path(cursor.end.segment);
        let exists = path.exists();
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at("open", &path))?;
        let mut size = file.metadata().map_err(at("read", &path))?.len();
        if !exists || size < u64::from(segment_bytes) {
            size = size.max(u64::from(segment_bytes));
            allocate(&file, size).map_err(at("allocate", &path))?;
            sync_all(&file, &path);
            sync_folder(segments.folder())?;
        }
        let written = u64::from(cursor.end.offset);
        Ok(Self { segments, segment_bytes, file, size, written, cursor })
    }

    /// Makes sure that a group of `length` bytes can be written at `cursor.end`, in a new
    /// segment if need be. A failure ends the process: it stands before many waiting commits.
    pub(super) fn reserve(&mut self, length: usize) {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        if u64::from(self.cursor.end.offset).saturating_add(length) <= self.size {
            return;
        }
        let segment = self.cursor.end.segment.saturating_add(1);
        let path = self.segments.path(segment);
        let size = length.max(u64::from(self.segment_bytes));
        let made = OpenOptions::new().create_new(true).write(true).open(&path).and_then(|file| {
            allocate(&file, size)?;
            Ok(file)
        });
        match made {
            Ok(file) => self.file = file,
            Err(error) => fatal("extend", &path, &error),
        }
        sync_all(&self.file, &path);
        if let Err(error) = sync_folder(self.segments.folder()) {
            fatal("extend", &path, &error);
        }
        (self.size, self.written) = (size, 0);
        self.cursor.end = Location { segment, offset: 0 };
    }

    /// Writes one group and makes it durable; `after` is the cursor behind it. Any error ends
    /// the process: what is on the disk is unknown then (G9).
    pub(super) fn append(&mut self, group: &[u8], after: Cursor) {
        let path = self.segments.path(self.cursor.end.segment);
        if let Err(error) = self.write(group) {
            fatal("write", &path, &error);
        }
        sync_data(&self.file, &path);
        self.cursor = after;
    }

    fn write(&mut self, group: &[u8]) -> io::Result<()> {
        let start = u64::from(self.cursor.end.offset);
        let end = start.saturating_add(u64::try_from(group.len()).unwrap_or(u64::MAX));
        self.file.write_all_at(group, start)?;
        if end > self.written {
            let ahead = end.saturating_add(AHEAD).min(self.size);
            let zeros = vec![0; usize::try_from(ahead.saturating_sub(end)).unwrap_or(0)];
            self.file.write_all_at(&zeros, end)?;
            self.written = ahead.max(end);
        }
        Ok(())
    }
}

/// Makes `file` `size` bytes long, with blocks reserved where the file system can.
pub(super) fn allocate(file: &File, size: u64) -> io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => file.set_len(size),
        other => other.map_err(Into::into),
    }
}

/// Makes content and length durable or ends the process (G9).
pub(super) fn sync_all(file: &File, path: &Path) {
    if let Err(error) = file.sync_all() {
        fatal("sync", path, &error);
    }
}
