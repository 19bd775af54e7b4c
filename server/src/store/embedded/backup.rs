//! Backup while the store runs: everything before some record of the journal is immutable,
//! so the backup is the journal up to there and the files it names. It takes no lock and
//! disturbs nobody. A backup into the same folder again adds only what is new, and what it adds
//! is no part of the backup before the manifest says so: interrupted, it leaves the earlier one.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::digest::Sha256Digest;
use serde::{Deserialize, Serialize};

use super::blobs::Blobs;
use super::codec::Place;
use super::frame::{Seal, segment_name};
use super::journal::{Cursor, CursorText, Segments, sync_all};
use super::layout::{Layout, OpenError, at, is_present_format, sync_data, sync_folder, write_whole};
use super::shared::decode;
use super::walk::{Walker, expect_all_segments};
use crate::store::StoreError;

/// The manifest's file name; it is written last.
const MANIFEST: &str = "MANIFEST.json";
/// How much is copied at once, in bytes.
const CHUNK: u64 = 1024 * 1024;

/// What a backup holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// The store it was made of.
    pub store_id: String,
    /// The last record.
    pub position: u64,
    /// The chain digest of the last record, as hex digits.
    pub chain: String,
    /// Records.
    pub records: u64,
    /// Files of long values.
    pub blobs: u64,
    /// Bytes of journal and files.
    pub bytes: u64,
}

/// A backup could not be made or is not whole.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The store cannot be opened or read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The folder holds the backup of another store, or of another history of this one.
    #[error("{} holds a backup of another history: {what}\nhint: back up into a new folder", path.display())]
    Foreign {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The folder holds something, but no backup.
    #[error("{} is not a backup: {what}", path.display())]
    NotABackup {
        /// The folder.
        path: PathBuf,
        /// What is missing.
        what: String,
    },
    /// The first backup into the folder was interrupted.
    #[error(
        "the backup in {} was never finished: it has no {MANIFEST}, which is written last\nhint: run `bullad backup` into it again, or restore another one",
        path.display()
    )]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// The backup is not what its manifest says.
    #[error("the backup in {} is damaged: {what}", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// Which file or record, and how.
        what: String,
    },
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        Self::Open(error.into())
    }
}

/// The manifest: what the other files must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    format: u32,
    pub(super) store_id: String,
    pub(super) cursor: CursorText,
    /// SHA-256 of each file but the long values, which are named by theirs.
    files: BTreeMap<String, String>,
}

/// Backs the store in `data` up into `out`, whether it runs or not, and verifies the result.
///
/// # Errors
/// [`BackupError`]. An earlier backup in `out` stays usable until the new one is complete.
pub fn backup(data: &Path, out: &Path) -> Result<BackupReport, BackupError> {
    let layout = Layout::new(data);
    let store_id = layout.identify()?;
    let source = Segments::new(layout.journal(), Seal::new(&store_id));
    let from = match start(out, &store_id)? {
        Some(cursor) if source.confirms(&cursor)? => cursor,
        Some(cursor) => {
            let what = format!("the store does not hold its record {}", cursor.seq);
            return Err(BackupError::Foreign { path: out.to_owned(), what });
        }
        None => Cursor::start(&source.seal),
    };
    let target = Layout::new(out);
    for folder in [target.journal(), target.blobs()] {
        fs::create_dir_all(&folder).map_err(at("create", &folder))?;
    }
    let end = copy_records(&source, &layout, &target, from)?;
    copy_journal(&source, &target, from, end)?;
    for (from, to) in [(layout.format(), target.format()), (layout.store_id_file(), target.store_id_file())] {
        let bytes = fs::read(&from).map_err(at("read", &from))?;
        write_whole(&to, &bytes)?;
    }
    write_manifest(&target, store_id, end)?;
    verify_backup(out)
}

/// Verifies that a backup is whole: every file, every record, every value.
///
/// # Errors
/// [`BackupError::NotABackup`], [`BackupError::Unfinished`], [`BackupError::Damaged`], or a file
/// cannot be read.
pub fn verify_backup(folder: &Path) -> Result<BackupReport, BackupError> {
    let (manifest, end) = read_manifest(folder)?;
    let damaged = |what: String| BackupError::Damaged { path: folder.to_owned(), what };
    let judged = |error: StoreError| match error {
        StoreError::Corrupt { what } => damaged(what),
        other => other.into(),
    };
    let layout = Layout::new(folder);
    if layout.identify()? != manifest.store_id {
        return Err(damaged("its store id is not that of its manifest".to_owned()));
    }
    let mut report = BackupReport {
        store_id: manifest.store_id.clone(),
        position: end.seq,
        chain: end.chain.to_string(),
        records: 0,
        blobs: 0,
        bytes: 0,
    };
    for (name, digest) in &manifest.files {
        let bytes = match read_file(folder, name, &end) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(damaged(format!("{name} is missing")));
            }
            other => other?,
        };
        report.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        // A later backup that was interrupted may have left a newer mark: older records are read
        // as they are in either case.
        let is_newer_mark = folder.join(name) == layout.format() && is_present_format(&bytes);
        if Sha256Digest::of(&bytes).to_string() != *digest && !is_newer_mark {
            return Err(damaged(format!("{name} has other bytes")));
        }
    }
    let segments = Segments::new(layout.journal(), Seal::new(&manifest.store_id));
    expect_all_segments(&segments).map_err(judged)?;
    let blobs = Blobs::new(layout.blobs());
    let mut walker = Walker::new(&segments, Cursor::start(&segments.seal));
    let mut seen = std::collections::HashSet::new();
    while walker.cursor.seq < end.seq
        && let Some(group) = walker.next_group()?
    {
        for record in &group {
            report.records += 1;
            for value in decode(record).map_err(judged)?.values().filter(|value| value.place == Place::Blob) {
                if !seen.insert(value.digest) {
                    continue;
                }
                let length = blobs.read_stored(value.digest, value.length).map_err(judged)?.bytes.len();
                report.blobs += 1;
                report.bytes += u64::try_from(length).unwrap_or(u64::MAX);
            }
        }
    }
    if walker.cursor != end {
        return Err(damaged(format!(
            "its journal ends at {} instead of record {}",
            walker.cursor.end, end.seq
        )));
    }
    Ok(report)
}

/// Reads a file that the manifest names. What stands behind `end` in the journal was left by a
/// later backup that was interrupted.
///
/// # Errors
/// It cannot be read.
pub(super) fn read_file(folder: &Path, name: &str, end: &Cursor) -> Result<Vec<u8>, StoreError> {
    let path = folder.join(name);
    let mut bytes = fs::read(&path).map_err(at("read", &path))?;
    if path == Layout::new(folder).journal().join(segment_name(end.end.segment)) {
        bytes.truncate(usize::try_from(end.end.offset).unwrap_or(usize::MAX));
    }
    Ok(bytes)
}

/// Reads the manifest of a backup.
///
/// # Errors
/// [`BackupError::NotABackup`], [`BackupError::Unfinished`], [`BackupError::Damaged`] if it names
/// other files than a backup has, or it cannot be read.
pub(super) fn read_manifest(folder: &Path) -> Result<(Manifest, Cursor), BackupError> {
    let path = folder.join(MANIFEST);
    let not = |what: &str| BackupError::NotABackup { path: folder.to_owned(), what: what.to_owned() };
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let is_begun = Layout::new(folder).journal().is_dir();
            let unfinished = BackupError::Unfinished { path: folder.to_owned() };
            return Err(if is_begun { unfinished } else { not("it has no MANIFEST.json") });
        }
        other => other.map_err(at("read", &path))?,
    };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| not(&error.to_string()))?;
    if manifest.format != 1 {
        return Err(not("its manifest has another format"));
    }
    let cursor = manifest.cursor.parse().ok_or_else(|| not("its manifest names no place in a journal"))?;
    // They are joined to folders: another name could lead out of both, and without one of these
    // something else than the backup would be restored.
    if !names(&cursor).eq(files(&manifest)) {
        let what = "its manifest names other files than FORMAT, store-id and its journal".to_owned();
        return Err(BackupError::Damaged { path: folder.to_owned(), what });
    }
    Ok((manifest, cursor))
}

/// The files of a backup that its manifest names.
pub(super) fn files(manifest: &Manifest) -> impl Iterator<Item = &str> {
    manifest.files.keys().map(String::as_str)
}

/// The files of a backup that ends at `end`, but for the long values, in the order of a manifest.
fn names(end: &Cursor) -> impl Iterator<Item = String> {
    let journal = (1..=end.end.segment).map(|segment| format!("journal/{}", segment_name(segment)));
    ["FORMAT".to_owned()].into_iter().chain(journal).chain(["store-id".to_owned()])
}

/// Where an earlier backup in `out` ends; `None` if `out` is empty or absent.
fn start(out: &Path, store_id: &str) -> Result<Option<Cursor>, BackupError> {
    let is_empty = match fs::read_dir(out) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        other => other.map_err(at("read", out))?.next().is_none(),
    };
    if is_empty {
        return Ok(None);
    }
    let (manifest, cursor) = match read_manifest(out) {
        Err(BackupError::Unfinished { .. }) => return Ok(None),
        other => other?,
    };
    if manifest.store_id != store_id {
        let what = format!("of the store {} instead of {store_id}", manifest.store_id);
        return Err(BackupError::Foreign { path: out.to_owned(), what });
    }
    Ok(Some(cursor))
}

/// Copies the long values that records after `from` name; returns the end of the journal.
fn copy_records(
    source: &Segments,
    layout: &Layout,
    target: &Layout,
    from: Cursor,
) -> Result<Cursor, BackupError> {
    let (blobs, copies) = (Blobs::new(layout.blobs()), Blobs::new(target.blobs()));
    let mut walker = Walker::new(source, from);
    while let Some(group) = walker.next_group()? {
        for record in &group {
            for value in decode(record)?.values().filter(|value| value.place == Place::Blob) {
                if copies.read_stored(value.digest, value.length).is_err() {
                    copies.copy_from(&blobs, value.digest, value.length)?;
                }
            }
        }
    }
    Ok(walker.cursor)
}

/// Copies the bytes of the journal between two cursors.
fn copy_journal(source: &Segments, target: &Layout, from: Cursor, end: Cursor) -> Result<(), BackupError> {
    for segment in from.end.segment..=end.end.segment {
        let path = source.path(segment);
        let read = File::open(&path).map_err(at("open", &path))?;
        // What was read may still be on its way to the disk. Nobody may restore what the
        // store itself could lose in a power cut.
        sync_data(&read, &path);
        let start = if segment == from.end.segment { u64::from(from.end.offset) } else { 0 };
        let stop = if segment == end.end.segment {
            u64::from(end.end.offset)
        } else {
            read.metadata().map_err(at("read", &path))?.len()
        };
        let copy_path = target.journal().join(segment_name(segment));
        let copy = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&copy_path)
            .map_err(at("open", &copy_path))?;
        let mut offset = start;
        while offset < stop {
            let length = CHUNK.min(stop - offset);
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            read.read_exact_at(&mut bytes, offset).map_err(at("read", &path))?;
            copy.write_all_at(&bytes, offset).map_err(at("write", &copy_path))?;
            offset += length;
        }
        copy.set_len(stop).map_err(at("truncate", &copy_path))?;
        sync_all(&copy, &copy_path);
    }
    sync_folder(&target.journal())?;
    Ok(())
}

fn write_manifest(target: &Layout, store_id: String, end: Cursor) -> Result<(), BackupError> {
    let mut files = BTreeMap::new();
    for name in names(&end) {
        let path = target.root.join(&name);
        let bytes = fs::read(&path).map_err(at("read", &path))?;
        files.insert(name, Sha256Digest::of(&bytes).to_string());
    }
    let manifest = Manifest { format: 1, store_id, cursor: end.into(), files };
    let path = target.root.join(MANIFEST);
    let mut bytes =
        serde_json::to_vec_pretty(&manifest).map_err(|error| at("encode", &path)(io::Error::other(error)))?;
    bytes.push(b'\n');
    write_whole(&path, &bytes)?;
    Ok(())
}
