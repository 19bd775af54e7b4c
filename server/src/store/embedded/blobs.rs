//! Values too long for the journal: one file each, named by its digest, durable before any
//! record names it.
//!
//! A file holds its value as it is, or packed. Its name is the digest of the value in both
//! cases, so whichever form hashes to the name is meant: no file can be both.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bulla_keys_schema::digest::{Hashed, Sha256Digest};
use bytes::Bytes;
use rustix::fs::{Advice, fadvise};

use super::layout::{at, sync_data, sync_folder};
use super::packed::{self, Unpackable};
use super::pieces::{Compared, FileAgain};
use crate::store::{Content, OpenedValue, StoreError};

/// A value as its file holds it.
#[derive(Debug)]
pub(super) struct Stored {
    pub(super) bytes: Vec<u8>,
    /// Whether `bytes` are the gzip form of the value.
    pub(super) is_packed: bool,
}

/// The folder of blobs.
#[derive(Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
    /// Folders whose own names are known to be durable.
    durable: Mutex<HashSet<PathBuf>>,
    temporary: AtomicU64,
    /// Values that are durable and have no name yet, with the files that hold them.
    staged: Mutex<HashMap<Sha256Digest, PathBuf>>,
}

impl Blobs {
    pub(super) fn new(folder: PathBuf) -> Self {
        let (durable, temporary, staged) = <_>::default();
        Self { folder, durable, temporary, staged }
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
        self.keep(digest, length(bytes), || Ok(Cow::Borrowed(bytes)))
    }

    /// Does what takes long of [`Self::store`] ahead of it: `bytes` are durable when it returns, but
    /// nobody finds them. No folder is made: what is refused in the end leaves nothing.
    ///
    /// # Errors
    /// The file cannot be written; nothing is left of it then. A failed sync ends the process.
    pub(super) fn stage(&self, bytes: &Hashed) -> Result<(), StoreError> {
        let digest = bytes.digest();
        let path = self.path(digest);
        if path.exists() {
            return Ok(());
        }
        let beside = self.write_beside(bytes)?;
        give_back(&beside);
        if let Some(other) = self.staged().insert(digest, beside) {
            drop(fs::remove_file(other));
        }
        Ok(())
    }

    /// Clears away what [`Self::stage`] wrote, unless it was stored meanwhile.
    pub(super) fn unstage(&self, digest: Sha256Digest) {
        if let Some(path) = self.staged().remove(&digest) {
            // A file left over costs only space and is cleared at the next start.
            drop(fs::remove_file(path));
        }
    }

    /// As [`Self::store`], in the shorter of the two forms.
    ///
    /// # Errors
    /// As [`Self::store`].
    pub(super) fn store_packed(&self, digest: Sha256Digest, bytes: &[u8]) -> Result<(), StoreError> {
        let form = || Ok(packed::pack(bytes).map_or(Cow::Borrowed(bytes), Cow::Owned));
        self.keep(digest, length(bytes), form)
    }

    /// Stores what `other` holds, in the form that it has there.
    ///
    /// # Errors
    /// As [`Self::store`] and [`Self::read`].
    pub(super) fn copy_from(
        &self,
        other: &Self,
        digest: Sha256Digest,
        length: u64,
    ) -> Result<(), StoreError> {
        self.keep(digest, length, || other.read_stored(digest, length).map(|stored| Cow::Owned(stored.bytes)))
    }

    /// Stores what `form` gives, unless the value is there.
    fn keep<'a>(
        &self,
        digest: Sha256Digest,
        length: u64,
        form: impl FnOnce() -> Result<Cow<'a, [u8]>, StoreError>,
    ) -> Result<(), StoreError> {
        let path = self.path(digest);
        let folder = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(folder).map_err(at("create", folder))?;
        if self.read_stored(digest, length).is_err() {
            let staged = self.staged().remove(&digest);
            let beside = staged.map_or_else(|| self.write_beside(&form()?), Ok)?;
            name(&beside, &path)?;
        }
        self.make_durable(folder)
    }

    /// Writes `bytes` beside the other files; they are durable when it returns.
    fn write_beside(&self, bytes: &[u8]) -> Result<PathBuf, StoreError> {
        let number = self.temporary.fetch_add(1, Ordering::Relaxed);
        let beside = self.folder.join(format!("tmp-{number}"));
        match write(&beside, bytes) {
            Ok(()) => Ok(beside),
            Err(error) => Err(given_up(&beside, error)),
        }
    }

    /// Reads a value of `length` bytes and compares it with its digest.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if it is missing, too short, too long or changed.
    pub(super) fn read(&self, digest: Sha256Digest, length: u64) -> Result<Vec<u8>, StoreError> {
        let file = self.read_file(digest, length)?;
        let unpacked = packed::is_packed(&file).then(|| packed::unpack(&file, digest, length));
        match unpacked {
            Some(Ok(bytes)) => Ok(bytes),
            found => plain(digest, file, found.and_then(Result::err)),
        }
    }

    /// Reads a value in the form in which it is stored, and proves that it is the value.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_stored(&self, digest: Sha256Digest, length: u64) -> Result<Stored, StoreError> {
        let file = self.read_file(digest, length)?;
        let proven = packed::is_packed(&file).then(|| packed::prove(&file, digest, length));
        match proven {
            Some(Ok(())) => Ok(Stored { bytes: file, is_packed: true }),
            found => plain(digest, file, found.and_then(Result::err))
                .map(|bytes| Stored { bytes, is_packed: false }),
        }
    }

    /// Opens a value to be sent, if `packed` in the form in which it is stored. It is proven now;
    /// what is read of a long one later must be the same.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn open(
        &self,
        digest: Sha256Digest,
        length: u64,
        packed: bool,
    ) -> Result<OpenedValue, StoreError> {
        if length <= OpenedValue::WHOLE && !packed {
            return self.read(digest, length).map(|bytes| OpenedValue::whole(bytes.into()));
        }
        let stored = self.read_stored(digest, length)?;
        let file = FileAgain::new(self.path(digest));
        let is_gzip = stored.is_packed && packed;
        if stored.is_packed && !packed {
            let content = Content::Pieces(Box::new(Compared::new(packed::reader(file), length, digest)));
            return Ok(OpenedValue { length, is_gzip, content });
        }
        let bytes = Bytes::from(stored.bytes);
        let length = self::length(&bytes);
        let content = if length <= OpenedValue::WHOLE {
            Content::Whole(bytes)
        } else {
            let digest = if is_gzip { Sha256Digest::of(&bytes) } else { digest };
            Content::Pieces(Box::new(Compared::new(file, length, digest)))
        };
        Ok(OpenedValue { length, is_gzip, content })
    }

    /// The content of a file, which is never longer than its value.
    fn read_file(&self, digest: Sha256Digest, length: u64) -> Result<Vec<u8>, StoreError> {
        let path = self.path(digest);
        let file = match File::open(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(StoreError::Corrupt { what: format!("blob {digest} is missing") });
            }
            other => other.map_err(at("read", &path))?,
        };
        let found = file.metadata().map_err(at("read", &path))?.len();
        if found > length {
            let what = format!("blob {digest} has {found} bytes instead of at most {length}");
            return Err(StoreError::Corrupt { what });
        }
        let mut bytes = Vec::with_capacity(usize::try_from(found).unwrap_or_default());
        file.take(length).read_to_end(&mut bytes).map_err(at("read", &path))?;
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

    fn staged(&self) -> MutexGuard<'_, HashMap<Sha256Digest, PathBuf>> {
        self.staged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Gives a durable file its name.
fn name(beside: &Path, path: &Path) -> Result<(), StoreError> {
    fs::rename(beside, path).map_err(at("rename", beside)).map_err(|error| given_up(beside, error))
}

/// Removes a file whose value is refused; one left over costs only space and is cleared at the next
/// start.
fn given_up(beside: &Path, error: StoreError) -> StoreError {
    drop(fs::remove_file(beside));
    error
}

/// The value, if it is what the file holds as it is: one that is not packed may begin like one
/// that is. `refused` says why the file is no packed one, if it looked like it.
fn plain(digest: Sha256Digest, file: Vec<u8>, refused: Option<Unpackable>) -> Result<Vec<u8>, StoreError> {
    if Sha256Digest::of(&file) == digest {
        return Ok(file);
    }
    let what = match refused {
        Some(refused) => format!("blob {digest} {refused}"),
        None => format!("blob {digest} has other bytes"),
    };
    Err(StoreError::Corrupt { what })
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Tells the system that nobody reads this file soon, which is on the disk: what is current is served from memory
/// once it was read. The next file takes the same pages, and not others that a virtual machine may have to get from
/// its host first, which takes many times as long as to write them.
fn give_back(path: &Path) {
    // Whoever does not give them back has them; nothing depends on it.
    let _hint = File::open(path).map(|file| fadvise(&file, 0, None, Advice::DontNeed));
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create(path).map_err(at("create", path))?;
    file.write_all(bytes).map_err(at("write", path))?;
    sync_data(&file, path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs() -> (tempfile::TempDir, Blobs) {
        let folder = tempfile::tempdir().unwrap();
        let blobs = Blobs::new(folder.path().to_owned());
        (folder, blobs)
    }

    fn refused(blobs: &Blobs, value: &[u8]) -> String {
        let digest = Sha256Digest::of(value);
        let Err(StoreError::Corrupt { what }) = blobs.read(digest, length(value)) else { panic!("taken") };
        assert!(blobs.read_stored(digest, length(value)).is_err());
        assert!(what.contains(&digest.to_string()), "{what}");
        what.replace(&digest.to_string(), "X")
    }

    #[test]
    fn both_forms_are_one_value() {
        let (_folder, blobs) = blobs();
        let value = b"0123456789".repeat(2_000);
        let digest = Sha256Digest::of(&value);
        blobs.store(digest, &value).unwrap();
        assert!(!blobs.read_stored(digest, length(&value)).unwrap().is_packed);
        // It is there: nothing is written again.
        blobs.store_packed(digest, &value).unwrap();
        assert!(fs::read(blobs.path(digest)).unwrap() == value);
        fs::remove_file(blobs.path(digest)).unwrap();
        blobs.store_packed(digest, &value).unwrap();
        let stored = blobs.read_stored(digest, length(&value)).unwrap();
        assert!(stored.is_packed && stored.bytes == fs::read(blobs.path(digest)).unwrap());
        assert!(stored.bytes.len() < value.len() / 10);
        blobs.store(digest, &value).unwrap();
        assert!(blobs.read_stored(digest, length(&value)).unwrap().is_packed);
        assert!(blobs.read(digest, length(&value)).unwrap() == value);
    }

    fn temporary(blobs: &Blobs) -> usize {
        let entries = fs::read_dir(&blobs.folder).unwrap();
        entries.filter(|entry| entry.as_ref().unwrap().path().is_file()).count()
    }

    #[test]
    fn a_staged_value_is_found_once_it_is_stored() {
        let (_folder, blobs) = blobs();
        let value = b"0123456789".repeat(2_000);
        let (digest, early) = (Sha256Digest::of(&value), Hashed::from(Bytes::from(value.clone())));
        blobs.stage(&early).unwrap();
        assert_eq!(temporary(&blobs), 1);
        assert_eq!(refused(&blobs, &value), "blob X is missing");
        blobs.store(digest, &value).unwrap();
        assert!(blobs.read(digest, length(&value)).unwrap() == value);
        assert_eq!(temporary(&blobs), 0);
        // The file has its name: there is nothing to be cleared away, nor to be staged again.
        blobs.unstage(digest);
        blobs.stage(&early).unwrap();
        assert!(temporary(&blobs) == 0 && blobs.read(digest, length(&value)).unwrap() == value);
    }

    #[test]
    fn a_staged_value_that_nobody_wants_leaves_nothing() {
        let (_folder, blobs) = blobs();
        let value = b"0123456789".repeat(2_000);
        let (digest, early) = (Sha256Digest::of(&value), Hashed::from(Bytes::from(value.clone())));
        blobs.stage(&early).unwrap();
        // Somebody else stages the same: there is one file, which whoever is first clears away.
        blobs.stage(&early).unwrap();
        assert_eq!(temporary(&blobs), 1);
        blobs.unstage(digest);
        assert_eq!(fs::read_dir(&blobs.folder).unwrap().count(), 0);
        blobs.unstage(digest);
        assert_eq!(refused(&blobs, &value), "blob X is missing");
        blobs.store(digest, &value).unwrap();
        assert!(blobs.read(digest, length(&value)).unwrap() == value);
    }

    #[test]
    fn a_staged_value_mends_a_damaged_one() {
        let (_folder, blobs) = blobs();
        let value = b"0123456789".repeat(2_000);
        let digest = Sha256Digest::of(&value);
        blobs.stage(&Hashed::from(Bytes::from(value.clone()))).unwrap();
        fs::create_dir_all(blobs.path(digest).parent().unwrap()).unwrap();
        fs::write(blobs.path(digest), b"0123").unwrap();
        blobs.store(digest, &value).unwrap();
        assert!(blobs.read(digest, length(&value)).unwrap() == value);
        fs::write(blobs.path(digest), b"0123").unwrap();
        // What is there was not looked at, so storing has to do it all.
        blobs.stage(&Hashed::from(Bytes::from(value.clone()))).unwrap();
        blobs.store(digest, &value).unwrap();
        assert!(blobs.read(digest, length(&value)).unwrap() == value);
    }

    #[test]
    fn a_value_that_looks_packed_is_a_value() {
        let (_folder, blobs) = blobs();
        for value in [packed::pack(&[b'x'; 9_000]).unwrap(), b"\x1f\x8b\x08\0\0\0\0\0\x04\xff".to_vec()] {
            let digest = Sha256Digest::of(&value);
            for _ in 0..2 {
                blobs.store_packed(digest, &value).unwrap();
                assert!(blobs.read(digest, length(&value)).unwrap() == value);
            }
        }
    }

    #[test]
    fn damage_is_named_and_mended_by_whoever_brings_the_value() {
        let (_folder, blobs) = blobs();
        let value = b"0123456789".repeat(2_000);
        let digest = Sha256Digest::of(&value);
        assert_eq!(refused(&blobs, &value), "blob X is missing");
        let bomb = packed::pack(&vec![b' '; 2 * 1024 * 1024]).unwrap();
        let other = packed::pack(&b"1234567890".repeat(2_000)).unwrap();
        let cut = packed::pack(&value).unwrap();
        for (file, what) in [
            (bomb, "blob X unpacks to more than its 20000 bytes"),
            (other, "blob X unpacks to other bytes"),
            (cut[..cut.len() - 1].to_vec(), "blob X cannot be unpacked"),
            (value[1..].to_vec(), "blob X has other bytes"),
            (vec![b'x'; 20_001], "blob X has 20001 bytes instead of at most 20000"),
            (Vec::new(), "blob X has other bytes"),
        ] {
            blobs.store_packed(digest, &value).unwrap();
            fs::write(blobs.path(digest), file).unwrap();
            assert_eq!(refused(&blobs, &value), what);
        }
        blobs.store_packed(digest, &value).unwrap();
        assert!(blobs.read(digest, length(&value)).unwrap() == value);
    }

    #[test]
    fn copies_keep_the_form() {
        let ((_from, from), (_to, to)) = (blobs(), blobs());
        let (short, long) = (b"0123456789".repeat(2_000), b"abcdefghij".repeat(2_000));
        from.store_packed(Sha256Digest::of(&short), &short).unwrap();
        from.store(Sha256Digest::of(&long), &long).unwrap();
        for value in [short, long] {
            let digest = Sha256Digest::of(&value);
            to.copy_from(&from, digest, length(&value)).unwrap();
            assert!(fs::read(from.path(digest)).unwrap() == fs::read(to.path(digest)).unwrap());
        }
    }
}
