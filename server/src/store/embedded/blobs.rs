//! Values too long for the journal: one file each, named by its digest, durable before any
//! record names it.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::digest::Sha256Digest;

use super::layout::{at, sync_data, sync_folder};
use crate::store::StoreError;

/// The folder of blobs.
#[derive(Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
    /// Folders whose own names are known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    temporary: AtomicU64,
}

impl Blobs {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder, durable: Mutex::default(), temporary: AtomicU64::new(0) }
    }

    /// The file of a digest: `ab/cd/<sha256>`.
    pub(super) fn path(&self, digest: Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        let (first, second) = (name.get(..2).unwrap_or_default(), name.get(2..4).unwrap_or_default());
        self.folder.join(first).join(second).join(&name)
    }

    /// Stores `bytes`, which must hash to `digest`; durable when it returns. A file that is
    /// there already counts only if it is whole.
    ///
    /// # Errors
    /// The file cannot be written; nothing names it then. A failed sync ends the process.
    pub(super) fn store(&self, digest: Sha256Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(at("create", folder))?;
        if !fs::read(&path).is_ok_and(|found| Sha256Digest::of(&found) == digest) {
            self.write(bytes, &path)?;
        }
        self.make_durable(folder)
    }

    /// Writes `bytes` beside the other files, and gives them their name once they are durable.
    fn write(&self, bytes: &[u8], path: &Path) -> Result<(), StoreError> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let beside = self.folder.join(format!("tmp-{number}"));
        let written =
            write(&beside, bytes).and_then(|()| fs::rename(&beside, path).map_err(at("rename", &beside)));
        if written.is_err() {
            // The value is refused; a file left over costs only space and is cleared at the next start.
            drop(fs::remove_file(&beside));
        }
        written
    }

    /// Reads a blob and compares it with its digest.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is missing, too short, too long or changed.
    pub(super) fn read(&self, digest: Sha256Digest) -> Result<Vec<u8>, StoreError> {
        let path = self.path(digest);
        let bytes = match fs::read(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Corrupt { what: format!("blob {digest} is missing") });
            }
            other => other.map_err(at("read", &path))?,
        };
        if Sha256Digest::of(&bytes) != digest {
            return Err(StoreError::Corrupt { what: format!("blob {digest} has other bytes") });
        }
        Ok(bytes)
    }

    /// Removes files of values whose writing was interrupted.
    ///
    /// # Errors
    /// The folder cannot be read or changed.
    pub(super) fn clear_temporary(&self) -> Result<(), StoreError> {
        for entry in fs::read_dir(&self.folder).map_err(at("read", &self.folder))? {
            let path = entry.map_err(at("read", &self.folder))?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("tmp-")) {
                fs::remove_file(&path).map_err(at("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Makes the names in `ab/cd` durable, and once per process those that lead there. Last of
    /// all, one after the other: a file system that commits everything at once has then nothing
    /// left to do after the first.
    fn make_durable(&self, folder: &Path) -> Result<(), StoreError> {
        sync_folder(folder)?;
        let lock = || self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if lock().contains(folder) {
            return Ok(());
        }
        sync_folder(folder.parent().unwrap_or(&self.folder))?;
        sync_folder(&self.folder)?;
        lock().insert(folder.to_owned());
        Ok(())
    }
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create(path).map_err(at("create", path))?;
    file.write_all(bytes).map_err(at("write", path))?;
    sync_data(&file, path);
    Ok(())
}
