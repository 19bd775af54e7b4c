//! The keys of this home.

use std::path::PathBuf;

use bulla_keys_schema::key::{HeldRole, KeyFileContent, KeyName, KeySidecar, PublicKey, SealedKey};

use super::KeySourceError;

/// A place that keeps private keys by name: sealed, or as a note of where to read them.
pub trait KeyStore: Send + Sync {
    /// All keys, by name.
    ///
    /// # Errors
    /// The place cannot be read, or a file in it is not what its name says.
    fn list(&self) -> Result<Vec<StoredKey>, KeyStoreError>;

    /// The public side of one key.
    ///
    /// # Errors
    /// No such key, or its files are unreadable.
    fn find(&self, name: &KeyName) -> Result<StoredKey, KeyStoreError>;

    /// The private key, to be used now: from its sealed file, or from where it was loaded.
    ///
    /// # Errors
    /// No such key, its file is readable by others or no key file, or a loaded key is gone.
    fn private(&self, name: &KeyName) -> Result<KeyFileContent, KeyStoreError>;

    /// The private key, sealed, as it is kept here.
    ///
    /// # Errors
    /// As for [`Self::private`], and [`KeyStoreError::Loaded`]: nothing is kept of such a key.
    fn sealed(&self, name: &KeyName) -> Result<SealedKey, KeyStoreError>;

    /// Keeps a new key: all of it or nothing.
    ///
    /// # Errors
    /// The name is taken: a key is never overwritten.
    fn create(&self, key: &StoredKey, sealed: &SealedKey) -> Result<(), KeyStoreError>;

    /// Notes a loaded key: its public half, and where its private half is. Takes the place of a
    /// loaded key of the same name.
    ///
    /// # Errors
    /// The name is taken by a key that is kept, or the note cannot be written.
    fn load(&self, key: &StoredKey) -> Result<(), KeyStoreError>;

    /// Puts `sealed` in the place of the sealed key `name`, in one step.
    ///
    /// # Errors
    /// No such key, or it cannot be written.
    fn reseal(&self, name: &KeyName, sealed: &SealedKey) -> Result<(), KeyStoreError>;

    /// Notes in the key's description that it holds a role.
    ///
    /// # Errors
    /// No such key, or it cannot be written.
    fn note_role(&self, name: &KeyName, held: &HeldRole) -> Result<(), KeyStoreError>;

    /// Forgets a key, private side first.
    ///
    /// # Errors
    /// No such key, or it cannot be removed.
    fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError>;

    /// Files that have the name of a key and are none: what a writer left that was killed.
    ///
    /// # Errors
    /// The place cannot be read.
    fn remains(&self, name: &KeyName) -> Result<Vec<PathBuf>, KeyStoreError>;

    /// Removes them, and says which they were. Nothing of a key is touched.
    ///
    /// # Errors
    /// One of them cannot be removed.
    fn remove_remains(&self, name: &KeyName) -> Result<Vec<PathBuf>, KeyStoreError>;

    /// Where the public key can be found by a person, if it is a file.
    fn public_path(&self, name: &KeyName) -> Option<PathBuf>;
}

/// The public side of a key.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The name in this home.
    pub name: KeyName,
    /// The public key.
    pub public: PublicKey,
    /// What is known about it.
    pub sidecar: KeySidecar,
}

/// Why a key cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// The name is taken.
    #[error("key {name} exists already: {}", path.display())]
    Exists {
        /// The key.
        name: KeyName,
        /// The file in the way.
        path: PathBuf,
    },
    /// Others can put files there: a note of a loaded key leads to a key of their choice.
    #[error("{} can be written by others (mode {mode:04o})", path.display())]
    FolderOpenToOthers {
        /// The folder.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A file is not what it should be.
    #[error("{} is not usable: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// What was tried: `read`, `write`, `remove`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The private half is nowhere in this home.
    #[error("key {name} was loaded from {source_place} and is not kept here")]
    Loaded {
        /// The key.
        name: KeyName,
        /// Where it was loaded from.
        source_place: String,
    },
    /// The private key could be read, or replaced, by somebody else.
    #[error("private key {} is open to others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// A loaded key cannot be read again.
    #[error("key {name}: {error}")]
    Source {
        /// The key.
        name: KeyName,
        /// Why.
        error: KeySourceError,
    },
    /// No such key.
    #[error("no key named {name} in {}", folder.display())]
    Unknown {
        /// The key.
        name: KeyName,
        /// Where it was looked for.
        folder: PathBuf,
    },
}
