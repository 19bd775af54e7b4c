//! Putting a backup in place: verified first, built beside the folder, renamed at the end.
//! If that takes the store back in time, its high-water mark tells, and the operator has to
//! say that the loss is accepted before anything is signed again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::backup::{BackupError, BackupReport, files, read_file, read_manifest, verify_backup};
use super::blobs::Blobs;
use super::codec::Place;
use super::frame::Seal;
use super::journal::{Cursor, Segments};
use super::layout::{Layout, OpenError, at, beside, named, sync_folder, write_whole};
use super::mark::WentBack;
use super::shared::decode;
use super::walk::Walker;
use super::{EmbeddedStore, Options};
use crate::store::StoreError;

/// What a restore led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// What was put in place.
    pub backup: BackupReport,
    /// Set if the store is older now than it was: it can be read, but refuses to sign.
    pub went_back: Option<WentBack>,
}

/// A backup was not put in place.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The backup is not whole.
    #[error(transparent)]
    Backup(#[from] BackupError),
    /// The folder is not empty; nothing is ever overwritten.
    #[error("{} is not empty\nhint: restore into a new folder, or move the old one away first", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// What was put in place is not what the backup's manifest says.
    #[error(
        "the store restored into {} is not the one that the manifest of its backup names\nhint: remove it and restore another backup",
        path.display()
    )]
    Differs {
        /// The folder.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The restored store does not open.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// Restores `backup` into the empty or absent folder `data` and opens the result once, which
/// builds its index. With `options.accept_loss` the high-water mark is moved to the restored
/// state; if `data` already holds a store of the same id, that is all that is done.
///
/// # Errors
/// [`RestoreError`]; `data` is as before then, unless the restored store did not open.
pub fn restore(backup: &Path, data: &Path, options: &Options) -> Result<Restored, RestoreError> {
    let report = verify_backup(backup)?;
    let data = &named(data)?;
    let in_place = options.accept_loss && Layout::new(data).identify().is_ok_and(|id| id == report.store_id);
    let mut end = None;
    if !in_place {
        expect_empty(data)?;
        end = Some(put_in_place(backup, data)?);
    }
    let store = EmbeddedStore::open(data, options)?;
    if let Some(end) = end {
        let shared = store.running()?.shared;
        if shared.store_id != report.store_id || shared.progress().cursor != end {
            return Err(RestoreError::Differs { path: data.to_owned() });
        }
    }
    let went_back = store.went_back().cloned();
    Ok(Restored { backup: report, went_back })
}

fn expect_empty(data: &Path) -> Result<(), RestoreError> {
    let is_empty = match fs::read_dir(data) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => true,
        other => other.map_err(at("read", data))?.next().is_none(),
    };
    if is_empty { Ok(()) } else { Err(RestoreError::NotEmpty { path: data.to_owned() }) }
}

/// Returns where the restored journal has to end.
fn put_in_place(backup: &Path, data: &Path) -> Result<Cursor, RestoreError> {
    let building = beside(data, "restoring")?;
    if building.exists() {
        // Left over by a restore that was interrupted.
        fs::remove_dir_all(&building).map_err(at("remove", &building))?;
    }
    let target = Layout::new(&building);
    for folder in [target.journal(), target.blobs()] {
        fs::create_dir_all(&folder).map_err(at("create", &folder))?;
    }
    let (manifest, end) = read_manifest(backup)?;
    for name in files(&manifest) {
        write_whole(&building.join(name), &read_file(backup, name, &end)?)?;
    }
    let source = Layout::new(backup);
    let segments = Segments::new(source.journal(), Seal::new(&manifest.store_id));
    let (blobs, copies) = (Blobs::new(source.blobs()), Blobs::new(target.blobs()));
    let mut walker = Walker::new(&segments, Cursor::start(&segments.seal));
    while walker.cursor.seq < end.seq
        && let Some(group) = walker.next_group()?
    {
        for record in &group {
            for value in decode(record)?.values().filter(|value| value.place == Place::Blob) {
                copies.copy_from(&blobs, value.digest, value.length)?;
            }
        }
    }
    if walker.cursor != end {
        let what = "it changed while it was restored".to_owned();
        return Err(BackupError::Damaged { path: backup.to_owned(), what }.into());
    }
    fs::rename(&building, data).map_err(at("rename", &building))?;
    sync_folder(data.parent().unwrap_or_else(|| Path::new("/")))?;
    Ok(end)
}
