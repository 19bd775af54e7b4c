//! The folder of a store: its names, its format mark, its lock, and files that are written
//! whole or not at all.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use crate::store::StoreError;

/// What `FORMAT` holds. Another text means another program must be used.
const FORMAT: &str = "bulla store 4\n";
/// The formats before: 3 without packed values, 2 without signing requests as well. Whatever they
/// hold is read as it is.
const FORMATS_BEFORE: [&str; 2] = ["bulla store 3\n", "bulla store 2\n"];

/// Whether a mark is that of the present format: a store's own may change to it at any start.
pub(super) fn is_present_format(mark: &[u8]) -> bool {
    mark == FORMAT.as_bytes()
}

/// The places inside a store's folder.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) root: PathBuf,
}

/// The store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on it; two writers would destroy it.
    #[error("the store {} is in use by another process", path.display())]
    InUse {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds something else.
    #[error("{} is not a store: {what}", path.display())]
    NotAStore {
        /// The folder.
        path: PathBuf,
        /// What is missing or unexpected.
        what: &'static str,
    },
    /// Written by another version of the program.
    #[error(
        "the store {} has the format `{found}`, this program reads `{}`\nhint: start the version of bullad that wrote it, or begin with an empty folder",
        path.display(),
        FORMAT.trim()
    )]
    Format {
        /// The folder.
        path: PathBuf,
        /// The first line of its format mark.
        found: String,
    },
    /// The high-water mark lies where an earlier version put it for a folder that was named
    /// `DIR/` or `.`: in the folder, with which it goes back.
    #[error(
        "the high-water mark {} is inside the store and would go back in time with it\nhint: mv -n {0} {}, and if there is one already, keep the one with the higher `seq`",
        found.display(),
        place.display()
    )]
    MarkInside {
        /// Where it is.
        found: PathBuf,
        /// Where it belongs.
        place: PathBuf,
    },
    /// Its records are damaged or cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn journal(&self) -> PathBuf {
        self.root.join("journal")
    }

    pub(super) fn checkpoint(&self) -> PathBuf {
        self.journal().join("CHECKPOINT")
    }

    pub(super) fn blobs(&self) -> PathBuf {
        self.root.join("blobs")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.root.join("index")
    }

    pub(super) fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    pub(super) fn store_id_file(&self) -> PathBuf {
        self.root.join("store-id")
    }

    /// Takes the lock, which lives as long as the returned file.
    ///
    /// # Errors
    /// [`OpenError::InUse`], or the folder cannot be written.
    pub(super) fn lock(&self) -> Result<File, OpenError> {
        fs::create_dir_all(&self.root).map_err(at("create", &self.root))?;
        let path = self.root.join("LOCK");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at("open", &path))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(OpenError::InUse { path: self.root.clone() }),
            Err(error) => Err(at("lock", &path)(error.into()).into()),
        }
    }

    /// Makes a new store in an empty place, or finishes one whose making was interrupted.
    /// `FORMAT` is written last: a folder that has it is complete.
    ///
    /// # Errors
    /// The folder holds journal or index without a format mark, or cannot be written.
    pub(super) fn prepare(&self) -> Result<(), OpenError> {
        if self.format().exists() {
            return Ok(());
        }
        let foreign = self.index().exists()
            || fs::read_dir(self.journal()).is_ok_and(|mut entries| entries.next().is_some());
        if foreign {
            let what = "it has records but no file FORMAT";
            return Err(OpenError::NotAStore { path: self.root.clone(), what });
        }
        for folder in [self.journal(), self.blobs()] {
            fs::create_dir_all(&folder).map_err(at("create", &folder))?;
        }
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|error| StoreError::Io {
            what: "draw a random store id".to_owned(),
            source: io::Error::other(error),
        })?;
        write_whole(&self.store_id_file(), format!("{}\n", hex::encode(id)).as_bytes())?;
        write_whole(&self.format(), FORMAT.as_bytes())?;
        if let Some(parent) = self.root.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            sync_folder(parent)?;
        }
        Ok(())
    }

    /// Checks `FORMAT` and reads `store-id`.
    ///
    /// # Errors
    /// Another format, or either file is missing or no text of ours.
    pub(super) fn identify(&self) -> Result<String, OpenError> {
        let path = self.root.clone();
        let format = match read_short(&self.format()) {
            Err(StoreError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                return Err(OpenError::NotAStore { path, what: "it has no file FORMAT" });
            }
            other => other?,
        };
        if format != FORMAT && !FORMATS_BEFORE.contains(&format.as_str()) {
            let found = format.lines().next().unwrap_or_default().escape_debug().to_string();
            return Err(OpenError::Format { path, found });
        }
        let id = read_short(&self.store_id_file())?;
        let id = id.trim_end();
        if id.len() != 32 || !id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(OpenError::NotAStore { path, what: "its file store-id holds no store id" });
        }
        Ok(id.to_owned())
    }

    /// Writes the present format into an older store, which must be locked: the program that
    /// wrote it would take new kinds of records, and packed values, for damage.
    ///
    /// # Errors
    /// `FORMAT` cannot be read or written.
    pub(super) fn upgrade(&self) -> Result<(), OpenError> {
        if FORMATS_BEFORE.contains(&read_short(&self.format())?.as_str()) {
            write_whole(&self.format(), FORMAT.as_bytes())?;
        }
        Ok(())
    }
}

/// Puts `bytes` at `path`: a crash leaves the old content or the new one, never a mixture.
///
/// # Errors
/// The file cannot be written. A failed sync ends the process (G9).
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), StoreError> {
    let beside = beside(path, "tmp")?;
    let mut file = File::create(&beside).map_err(at("create", &beside))?;
    file.write_all(bytes).map_err(at("write", &beside))?;
    sync_data(&file, &beside);
    drop(file);
    fs::rename(&beside, path).map_err(at("rename", &beside))?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new("/")))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The folder cannot be opened. A failed sync ends the process (G9).
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let file = File::open(folder).map_err(at("open", folder))?;
    if let Err(error) = file.sync_all() {
        fatal("sync", folder, &error);
    }
    Ok(())
}

/// Makes the content of a file durable or ends the process (G9).
pub(super) fn sync_data(file: &File, path: &Path) {
    if let Err(error) = file.sync_data() {
        fatal("sync", path, &error);
    }
}

/// Ends the process at once, because going on would risk what was acknowledged (G9).
///
/// After a failed sync the kernel may have dropped the pages it could not write and marked
/// them clean, so trying again would succeed without having written anything. Only the next
/// start, which reads what is really on the disk, knows what is there.
pub(super) fn fatal(what: &str, path: &Path, error: &dyn std::fmt::Display) -> ! {
    tracing::error!(path = %path.display(), %error, "cannot {what} the store; ending the process to keep it whole");
    std::process::abort()
}

/// `<path>.<suffix>`, in the same folder, which is never `path` itself.
///
/// # Errors
/// As [`named`].
pub(super) fn beside(path: &Path, suffix: &str) -> Result<PathBuf, StoreError> {
    let mut name = named(path)?.into_os_string();
    name.push(".");
    name.push(suffix);
    Ok(PathBuf::from(name))
}

/// The same place as a path that ends in a name, without a slash behind it: what is appended to
/// `dir/` or `.` would lie in the folder.
///
/// # Errors
/// `path` is the root of the file system, or ends in `.` or `..` and cannot be found.
pub(super) fn named(path: &Path) -> Result<PathBuf, StoreError> {
    let named = match path.file_name() {
        Some(_) => path.components().collect(),
        None => fs::canonicalize(path).map_err(at("find", path))?,
    };
    if named.file_name().is_none() {
        let source = io::Error::new(io::ErrorKind::InvalidInput, "nothing can stand beside it");
        return Err(at("use", path)(source));
    }
    Ok(named)
}

/// Names the act and the file in an error of the system.
pub(super) fn at(act: &str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let what = format!("{act} {}", path.display());
    move |source| StoreError::Io { what, source }
}

/// Reads a file that is short by nature.
pub(super) fn read_short(path: &Path) -> Result<String, StoreError> {
    let mut text = String::new();
    let file = File::open(path).map_err(at("open", path))?;
    file.take(4_096).read_to_string(&mut text).map_err(at("read", path))?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_a_folder_is_never_in_it() {
        for path in ["a/b", "a/b/", "a/b//", "a/b/.", "a/b/./"] {
            assert_eq!(beside(Path::new(path), "x").unwrap(), Path::new("a/b.x"), "{path}");
        }
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        let mut name = here.file_name().unwrap().to_owned();
        name.push(".x");
        for path in [".", "./", "./."] {
            assert_eq!(beside(Path::new(path), "x").unwrap(), here.with_file_name(&name), "{path}");
        }
        let folder = tempfile::TempDir::new().unwrap();
        let (data, inner) = (folder.path().join("data"), folder.path().join("data/inner"));
        fs::create_dir_all(&inner).unwrap();
        let place = folder.path().canonicalize().unwrap().join("data.x");
        assert_eq!(beside(&inner.join(".."), "x").unwrap(), place);
        assert_eq!(beside(&inner.join("../"), "x").unwrap(), place);
        assert!(beside(&data.join("absent/.."), "x").is_err());
        for path in ["/", "//", "/.", "/.."] {
            assert!(beside(Path::new(path), "x").is_err(), "{path}");
        }
    }
}
