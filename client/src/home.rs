//! This user's folder: where things are, and how files come to be in it: whole or not at
//! all, and never readable by others.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// How the names of files begin that are not whole yet.
const HALF_WRITTEN: &str = ".new-";

/// `$BULLA_HOME`: keys, pins, configuration and cache of one user.
#[derive(Clone, Debug)]
pub struct Home {
    path: PathBuf,
}

impl Home {
    /// The folder at `path`; it is made on first need.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// The folder itself.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where key files are.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.path.join("keys")
    }

    /// The file of pins.
    #[must_use]
    pub fn trust(&self) -> PathBuf {
        self.path.join("trust.toml")
    }

    /// The file of policies that were used: it lies beside the pins, because losing it costs trust.
    #[must_use]
    pub fn policies(&self) -> PathBuf {
        self.path.join("policies.toml")
    }

    /// Where verified metadata is kept between runs.
    #[must_use]
    pub fn cache(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// The configuration file.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.path.join("config.toml")
    }
}

/// What to do when the file is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// Fail with [`io::ErrorKind::AlreadyExists`].
    Keep,
    /// Take its place in one step.
    Replace,
}

/// Makes `folder` and its parents, closed to others.
///
/// # Errors
/// The system refuses.
pub fn create_folder(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Writes `bytes` to `path`, whole or not at all: into a new file of mode 0600 (`O_EXCL`)
/// in the same folder, synced, moved into place, folder synced. `mode` applies before the
/// file gets its name.
///
/// # Errors
/// The system refuses, or the file exists and shall be kept. Nothing is left behind.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32, existing: Existing) -> io::Result<()> {
    let folder = match path.parent().ok_or(io::ErrorKind::InvalidInput)? {
        here if here.as_os_str().is_empty() => Path::new("."),
        folder => folder,
    };
    let mut file = tempfile::Builder::new().prefix(HALF_WRITTEN).tempfile_in(folder)?;
    file.write_all(bytes)?;
    if mode != 0o600 {
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    }
    file.as_file().sync_all()?;
    match existing {
        Existing::Replace => {
            file.persist(path)?;
            sync_folder(folder)
        }
        Existing::Keep => {
            file.persist_noclobber(path)?;
            // Whoever hears of an error takes it that the file is not there.
            sync_folder(folder).inspect_err(|_| drop(fs::remove_file(path)))
        }
    }
}

/// Removes what writers left in `folder` that were killed. Nobody may be writing there.
///
/// # Errors
/// The system refuses.
pub fn remove_half_written(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_name().as_bytes().starts_with(HALF_WRITTEN.as_bytes()) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Reads a text of `limit` bytes at most; nothing where there is no such file.
///
/// # Errors
/// The system refuses, or the file is larger or no text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = String::new();
    file.take(limit.saturating_add(1)).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length <= limit) {
        return Ok(Some(text));
    }
    Err(io::Error::other(format!("larger than {limit} bytes")))
}

/// Makes the names in `folder` durable.
///
/// # Errors
/// The system refuses.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Waits for the exclusive lock on `path`, which is made if needed; dropping it unlocks.
///
/// # Errors
/// The system refuses.
pub fn lock(path: &Path) -> io::Result<File> {
    let file = File::options().create(true).append(true).open(path)?;
    file.lock()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_whole_private_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        write_whole(&path, b"one", 0o600, Existing::Keep).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
        let taken = write_whole(&path, b"two", 0o600, Existing::Keep).unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write_whole(&path, b"two", 0o644, Existing::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o644);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["f"]);
    }

    #[test]
    fn a_write_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write_whole(&path, b"x", 0o600, Existing::Replace).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn folders_are_closed_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        create_folder(&path).unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o700);
    }
}
