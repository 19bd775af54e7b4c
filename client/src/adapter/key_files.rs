//! Keys as files: `NAME.key` (sealed, 0600), `NAME.pub` (PEM), `NAME.json` (description), in
//! a folder of mode 0700.
//!
//! A loaded key has no `NAME.key`: its description says where the private half is read from, and
//! until when. What is over is removed by whoever lists the keys next.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use bulla_keys_schema::key::{
    EncryptedKey, HeldRole, KeyFileContent, KeyName, KeySidecar, LoadedKey, PublicKey, SealedKey,
};

use crate::home::{self, Existing};
use crate::port::key_store::{KeyStore, KeyStoreError, StoredKey};
use crate::port::{Clock, KeySourceError, KeySources};

/// Largest file read, in bytes; the formats' own limits are lower or the same.
const FILE_BYTES: u64 = 1024 * 1024;
/// The endings of all files of a key.
const KINDS: [&str; 3] = ["key", "pub", "json"];
const PRIVATE: u32 = 0o600;
/// What lets others write in a folder.
const WRITABLE: u32 = 0o022;
const PUBLIC: u32 = 0o644;

/// The folder of keys.
pub struct KeyFiles {
    folder: PathBuf,
    loading: Option<Loading>,
}

/// What it takes to use keys that were loaded.
struct Loading {
    sources: Box<dyn KeySources>,
    clock: Box<dyn Clock>,
}

impl KeyFiles {
    /// Keys in `folder`, which is made on first need.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder, loading: None }
    }

    /// Sees loaded keys as well, reads them from `sources`, and forgets those that are over.
    #[must_use]
    pub fn with_loading(self, sources: Box<dyn KeySources>, clock: Box<dyn Clock>) -> Self {
        Self { loading: Some(Loading { sources, clock }), ..self }
    }

    fn path(&self, name: &KeyName, extension: &str) -> PathBuf {
        self.folder.join(format!("{name}.{extension}"))
    }

    /// Whether only the owner can put files into the folder, or put another in its place. Whoever
    /// else can is able to plant a key, or a note of one that is loaded.
    fn require_closed(&self) -> Result<(), KeyStoreError> {
        let above = match self.folder.parent() {
            Some(above) if above.as_os_str().is_empty() => Some(Path::new(".")),
            above => above,
        };
        for path in above.into_iter().chain([self.folder.as_path()]) {
            let mode = match fs::metadata(path) {
                Ok(found) => found.permissions().mode(),
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error("read", path, &error)),
            };
            if mode & WRITABLE != 0 {
                return Err(KeyStoreError::FolderOpenToOthers { path: path.to_owned(), mode: mode & 0o7777 });
            }
        }
        Ok(())
    }

    /// The file of a key that is kept here.
    fn require(&self, name: &KeyName) -> Result<PathBuf, KeyStoreError> {
        self.require_closed()?;
        let path = self.path(name, "key");
        if path.exists() {
            return Ok(path);
        }
        Err(match self.loaded(name) {
            Some(loaded) => {
                let source_place = loaded.source.to_string();
                KeyStoreError::Loaded { name: name.clone(), source_place }
            }
            None => self.unknown(name),
        })
    }

    fn unknown(&self, name: &KeyName) -> KeyStoreError {
        KeyStoreError::Unknown { name: name.clone(), folder: self.folder.clone() }
    }

    /// Where the key `name` was loaded from, if it was and is not over.
    fn loaded(&self, name: &KeyName) -> Option<LoadedKey> {
        let loaded = self.note(name)?;
        if !self.is_over(&loaded) {
            return Some(loaded);
        }
        // In a home that cannot be written it stays, and is over all the same.
        let _ = self.alone().and_then(|_alone| self.forget_if_over(name));
        None
    }

    /// What the description of `name` says where there is no key file.
    fn note(&self, name: &KeyName) -> Option<LoadedKey> {
        if self.loading.is_none() || self.path(name, "key").exists() {
            return None;
        }
        // A file that is no note is of no key: it must not keep the others from being used.
        sidecar(&self.path(name, "json")).ok()?.loaded
    }

    fn is_over(&self, loaded: &LoadedKey) -> bool {
        self.loading.as_ref().is_some_and(|loading| loaded.until.is_over(loading.clock.now()))
    }

    /// Only who is [`Self::alone`] may do this: else a key that takes the name just then goes with it.
    fn forget_if_over(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        match self.note(name) {
            Some(loaded) if self.is_over(&loaded) => self.remove_files(name),
            _ => Ok(()),
        }
    }

    /// Keeps others from giving names to keys, as long as it is held.
    fn alone(&self) -> Result<File, KeyStoreError> {
        self.require_closed()?;
        home::create_folder(&self.folder).map_err(|error| io_error("write", &self.folder, &error))?;
        let path = self.folder.with_extension("lock");
        home::lock(&path).map_err(|error| io_error("write", &path, &error))
    }

    /// The description goes first where it is all there is of a private half.
    fn remove_files(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        for extension in ["key", "json", "pub"] {
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

    /// Files of `name` that are no key: their writer was killed before the last of them.
    fn files_of_no_key(&self, name: &KeyName) -> Vec<PathBuf> {
        if self.path(name, "key").exists() || self.note(name).is_some() {
            return vec![];
        }
        KINDS.iter().map(|kind| self.path(name, kind)).filter(|path| path.is_file()).collect()
    }

    /// Writes new files in this order. Whatever was written before a failure is taken away again.
    fn write_new(&self, name: &KeyName, files: &[(&str, Vec<u8>, u32)]) -> Result<(), KeyStoreError> {
        if let Some(path) = KINDS.iter().map(|kind| self.path(name, kind)).find(|path| path.exists()) {
            return Err(KeyStoreError::Exists { name: name.clone(), path });
        }
        let mut written = Vec::new();
        for (extension, bytes, mode) in files {
            let path = self.path(name, extension);
            if let Err(error) = home::write_whole(&path, bytes, *mode, Existing::Keep) {
                undo(&written);
                return Err(match error.kind() {
                    ErrorKind::AlreadyExists => KeyStoreError::Exists { name: name.clone(), path },
                    _ => io_error("write", &path, &error),
                });
            }
            written.push(path);
        }
        Ok(())
    }

    /// The names of all keys, whatever their files hold.
    ///
    /// # Errors
    /// The folder cannot be read, or others may read it.
    pub fn names(&self) -> Result<Vec<KeyName>, KeyStoreError> {
        self.require_closed()?;
        let failed = |error: io::Error| io_error("read", &self.folder, &error);
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(vec![]),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.file_name();
            let Some((stem, kind)) = file.to_str().and_then(|file| file.rsplit_once('.')) else { continue };
            let Ok(name) = stem.parse::<KeyName>() else { continue };
            if kind == "key" || (kind == "json" && self.loaded(&name).is_some()) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }
}

impl KeyStore for KeyFiles {
    fn list(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        self.names()?.iter().map(|name| self.find(name)).collect()
    }

    fn find(&self, name: &KeyName) -> Result<StoredKey, KeyStoreError> {
        self.require_closed()?;
        if !self.path(name, "key").exists() && self.loaded(name).is_none() {
            return Err(self.unknown(name));
        }
        let path = self.path(name, "pub");
        let pem = String::from_utf8(read(&path)?).map_err(|_| invalid(&path, "not text"))?;
        let public = PublicKey::from_pem(&pem).map_err(|error| invalid(&path, &error.to_string()))?;
        let path = self.path(name, "json");
        let sidecar = sidecar(&path)?;
        if sidecar.name != *name || sidecar.fingerprint != public.fingerprint() {
            return Err(invalid(&path, &format!("it describes another key than {name}.pub")));
        }
        Ok(StoredKey { name: name.clone(), public, sidecar })
    }

    fn private(&self, name: &KeyName) -> Result<KeyFileContent, KeyStoreError> {
        self.require_closed()?;
        let (Some(loading), Some(loaded)) = (&self.loading, self.loaded(name)) else {
            return Ok(KeyFileContent::Encrypted(EncryptedKey::from(self.sealed(name)?)));
        };
        let failed = |error| KeyStoreError::Source { name: name.clone(), error };
        let text = loading.sources.read(&loaded.source).map_err(failed)?;
        let place = loaded.source.to_string();
        let only =
            text.into_only_key().map_err(|reason| failed(KeySourceError::Invalid { place, reason }))?;
        Ok(only.content)
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

    /// The private file comes last: until then there is no key.
    fn create(&self, key: &StoredKey, sealed: &SealedKey) -> Result<(), KeyStoreError> {
        let _alone = self.alone()?;
        // A loaded key that is over is in nobody's way.
        self.forget_if_over(&key.name)?;
        let files = [
            ("pub", key.public.to_pem().into_bytes(), PUBLIC),
            ("json", key.sidecar.to_bytes(), PUBLIC),
            ("key", sealed.to_pem().into_bytes(), PRIVATE),
        ];
        self.write_new(&key.name, &files)
    }

    /// The description comes last: until then there is no key.
    fn load(&self, key: &StoredKey) -> Result<(), KeyStoreError> {
        let files =
            [("pub", key.public.to_pem().into_bytes(), PUBLIC), ("json", key.sidecar.to_bytes(), PUBLIC)];
        let _alone = self.alone()?;
        self.forget_if_over(&key.name)?;
        if self.note(&key.name).is_none() {
            return self.write_new(&key.name, &files);
        }
        // A run that is killed here leaves no description of another key: one such spoils every list.
        let path = self.path(&key.name, "json");
        fs::remove_file(&path).map_err(|error| io_error("remove", &path, &error))?;
        for (extension, bytes, mode) in files {
            let path = self.path(&key.name, extension);
            home::write_whole(&path, &bytes, mode, Existing::Replace)
                .map_err(|error| io_error("write", &path, &error))?;
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
        match self.require(name) {
            Ok(_) | Err(KeyStoreError::Loaded { .. }) => self.remove_files(name),
            Err(error) => Err(error),
        }
    }

    fn remains(&self, name: &KeyName) -> Result<Vec<PathBuf>, KeyStoreError> {
        self.require_closed()?;
        Ok(self.files_of_no_key(name))
    }

    /// Alone: to others, a key whose last file is being written looks the same.
    fn remove_remains(&self, name: &KeyName) -> Result<Vec<PathBuf>, KeyStoreError> {
        let _alone = self.alone()?;
        let remains = self.files_of_no_key(name);
        for path in &remains {
            fs::remove_file(path).map_err(|error| io_error("remove", path, &error))?;
        }
        home::sync_folder(&self.folder).map_err(|error| io_error("write", &self.folder, &error))?;
        Ok(remains)
    }

    fn public_path(&self, name: &KeyName) -> Option<PathBuf> {
        Some(self.path(name, "pub"))
    }
}

fn sidecar(path: &Path) -> Result<KeySidecar, KeyStoreError> {
    KeySidecar::parse(&read(path)?).map_err(|error| invalid(path, &error.to_string()))
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

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use bulla_keys_schema::key::{KeyAlgorithm, KeySidecar, KeySource, Passphrase, SecretKey};

    use super::*;
    use crate::adapter::key_sources::Surroundings;
    use crate::adapter::system_clock::SystemClock;

    fn files(folder: &Path) -> KeyFiles {
        let nothing = Surroundings::new(Box::new(|_| None));
        KeyFiles::new(folder.join("keys")).with_loading(Box::new(nothing), Box::new(SystemClock))
    }

    fn key(secret: &SecretKey) -> StoredKey {
        let (name, public): (KeyName, _) = ("ci".parse().unwrap(), secret.public_key().clone());
        let sidecar = KeySidecar {
            name: name.clone(),
            fingerprint: public.fingerprint(),
            algorithm: public.algorithm(),
            created: "2020-01-01T00:00:00Z".parse().unwrap(),
            roles: vec![],
            loaded: None,
        };
        StoredKey { name, public, sidecar }
    }

    #[test]
    fn a_key_that_takes_the_name_of_what_is_over_is_not_removed_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let secret = SecretKey::from_seed(KeyAlgorithm::Ed25519, &[7; 32].into()).unwrap();
        let (store, mut over) = (files(folder.path()), key(&secret));
        let source = KeySource::variable("CI").unwrap();
        over.sidecar.loaded = Some(LoadedKey { source, until: "2020-01-02T00:00:00Z".parse().unwrap() });
        store.load(&over).unwrap();
        let alone = store.alone().unwrap();
        let other = files(folder.path());
        let lister = thread::spawn(move || other.list().map(|keys| keys.len()));
        // It has seen what is over by now, and waits.
        thread::sleep(Duration::from_millis(200));
        store.forget_if_over(&over.name).unwrap();
        let sealed = SealedKey::seal(&secret, &Passphrase::new("p".to_owned()), [1; 32], [2; 24]);
        let kept = key(&secret);
        let written = [
            ("pub", kept.public.to_pem().into_bytes(), PUBLIC),
            ("json", kept.sidecar.to_bytes(), PUBLIC),
            ("key", sealed.to_pem().into_bytes(), PRIVATE),
        ];
        store.write_new(&kept.name, &written).unwrap();
        drop(alone);
        lister.join().unwrap().unwrap();
        assert_eq!(store.sealed(&kept.name).unwrap(), sealed);
        assert_eq!(store.list().unwrap().len(), 1);
    }
}
