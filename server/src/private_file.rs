//! Small files that only their owner may read, written whole or not at all.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use tempfile::NamedTempFile;

/// Replaces `path` by a file with mode 0600; durable when it returns.
///
/// # Errors
/// The operating system said no; then `path` is what it was before.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (file, folder) = prepare(path, bytes)?;
    file.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// Like [`replace`], but never over an existing file.
///
/// # Errors
/// `path` exists, or the operating system said no.
pub(crate) fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let (file, folder) = prepare(path, bytes)?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

/// A temporary file beside `path`, which `tempfile` makes with mode 0600.
fn prepare<'a>(path: &'a Path, bytes: &[u8]) -> io::Result<(NamedTempFile, &'a Path)> {
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok((file, folder))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn files_are_private_and_creation_never_overwrites() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        create(&path, b"1").unwrap();
        assert_eq!(create(&path, b"2").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
        replace(&path, b"3").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"3");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
