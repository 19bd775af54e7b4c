//! Keys as files: `NAME.key` (sealed, 0600), `NAME.pub` (PEM), `NAME.json` (description), in
//! a folder of mode 0700.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{HeldRole, KeyName, KeySidecar, PublicKey, SealedKey};

use crate::home::{self, Existing};
use crate::port::key_store::{KeyStore, KeyStoreError, StoredKey};

/// Largest file read, in bytes; the formats' own limits are lower or the same.
const FILE_BYTES: u64 = 1024 * 1024;
const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// The folder of keys.
#[derive(Clone, Debug)]
pub struct KeyFiles {
    folder: PathBuf,
}

impl KeyFiles {
    /// Keys in `folder`, which is made on first need.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn path(&self, name: &KeyName, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }

    fn require(&self, name: &KeyName) -> Result<PathBuf, KeyStoreError> {
        let path = self.path(name, "key");
        if path.exists() {
            return Ok(path);
        }
        Err(KeyStoreError::Unknown { name: name.clone(), folder: self.folder.clone() })
    }
}

impl KeyStore for KeyFiles {
    fn list(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        let failed = |error: io::Error| io_error("read", &self.folder, &error);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let stem = file.to_str().and_then(|file| file.strip_suffix(".key"));
            names.extend(stem.and_then(|stem| stem.parse::<KeyName>().ok()));
        }
        names.sort();
        names.iter().map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &KeyName) -> Result<StoredKey, KeyStoreError> {
        self.require(name)?;
        let path = self.path(name, "pub");
        let pem = String::from_utf8(read(&path)?).map_err(|_| invalid(&path, "not text"))?;
        let public = PublicKey::from_pem(&pem).map_err(|error| invalid(&path, &error.to_string()))?;
        let path = self.path(name, "json");
        let sidecar = KeySidecar::parse(&read(&path)?).map_err(|error| invalid(&path, &error.to_string()))?;
        if sidecar.name != *name || sidecar.fingerprint != public.fingerprint() {
            return Err(invalid(&path, &format!("it describes another key than {name}.pub")));
        }
        Ok(StoredKey { name: name.clone(), public, sidecar })
    }

    fn sealed(&self, name: &KeyName) -> Result<SealedKey, KeyStoreError> {
        let path = self.require(name)?;
        let file = File::open(&path).map_err(|error| io_error("read", &path, &error))?;
        let mode = file.metadata().map_err(|error| io_error("read", &path, &error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KeyStoreError::OpenToOthers { path, mode: mode & 0o7777 });
        }
        let text = String::from_utf8(read_open(&path, file)?).map_err(|_| invalid(&path, "not text"))?;
        SealedKey::parse(&text).map_err(|error| invalid(&path, &error.to_string()))
    }

    /// The private file comes last: until then there is no key. Whatever was written before
    /// a failure is taken away again.
    fn create(&self, key: &StoredKey, sealed: &SealedKey) -> Result<(), KeyStoreError> {
        home::create_folder(&self.folder).map_err(|error| io_error("write", &self.folder, &error))?;
        let files: [(&str, Vec<u8>, u32); 3] = [
            ("pub", key.public.to_pem().into_bytes(), PUBLIC),
            ("json", key.sidecar.to_bytes(), PUBLIC),
            ("key", sealed.to_pem().into_bytes(), PRIVATE),
        ];
        if let Some(path) =
            files.iter().map(|(kind, ..)| self.path(&key.name, kind)).find(|path| path.exists())
        {
            return Err(KeyStoreError::Exists { name: key.name.clone(), path });
        }
        let mut written = Vec::new();
        for (extension, bytes, mode) in files {
            let path = self.path(&key.name, extension);
            if let Err(error) = home::write_whole(&path, &bytes, mode, Existing::Keep) {
                undo(&written);
                return Err(match error.kind() {
                    ErrorKind::AlreadyExists => KeyStoreError::Exists { name: key.name.clone(), path },
                    _ => io_error("write", &path, &error),
                });
            }
            written.push(path);
        }
        Ok(())
    }

    fn reseal(&self, name: &KeyName, sealed: &SealedKey) -> Result<(), KeyStoreError> {
        let path = self.require(name)?;
        home::write_whole(&path, sealed.to_pem().as_bytes(), PRIVATE, Existing::Replace)
            .map_err(|error| io_error("write", &path, &error))
    }

    fn note_role(&self, name: &KeyName, held: &HeldRole) -> Result<(), KeyStoreError> {
        let StoredKey { mut sidecar, .. } = self.find(name)?;
        if sidecar.roles.contains(held) {
            return Ok(());
        }
        sidecar.roles.push(held.clone());
        let path = self.path(name, "json");
        home::write_whole(&path, &sidecar.to_bytes(), PUBLIC, Existing::Replace)
            .map_err(|error| io_error("write", &path, &error))
    }

    fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        self.require(name)?;
        for extension in ["key", "pub", "json"] {
            let path = self.path(name, extension);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(io_error("remove", &path, &error));
                }
                _ => {}
            }
        }
        home::sync_folder(&self.folder).map_err(|error| io_error("write", &self.folder, &error))
    }

    fn public_path(&self, name: &KeyName) -> Option<PathBuf> {
        Some(self.path(name, "pub"))
    }
}

fn undo(written: &[PathBuf]) {
    for path in written {
        // Nothing better can be done: the error that led here is the one to report.
        let _ = fs::remove_file(path);
    }
}

fn read(path: &Path) -> Result<Vec<u8>, KeyStoreError> {
    let file = File::open(path).map_err(|error| io_error("read", path, &error))?;
    read_open(path, file)
}

fn read_open(path: &Path, file: File) -> Result<Vec<u8>, KeyStoreError> {
    let mut bytes = Vec::new();
    file.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| io_error("read", path, &error))?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(invalid(path, "larger than 1 MiB"));
    }
    Ok(bytes)
}

fn invalid(path: &Path, reason: &str) -> KeyStoreError {
    KeyStoreError::Invalid { path: path.to_owned(), reason: reason.to_owned() }
}

fn io_error(action: &'static str, path: &Path, error: &io::Error) -> KeyStoreError {
    KeyStoreError::Io { action, path: path.to_owned(), reason: error.to_string() }
}
