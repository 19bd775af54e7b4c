//! The keys of this home.

use std::path::PathBuf;

use bulla_keys_schema::key::{HeldRole, KeyName, KeySidecar, PublicKey, SealedKey};

/// A place that keeps sealed private keys by name.
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

    /// The private key, sealed.
    ///
    /// # Errors
    /// No such key, its file is readable by others, or it is no key file.
    fn sealed(&self, name: &KeyName) -> Result<SealedKey, KeyStoreError>;

    /// Keeps a new key: all of it or nothing.
    ///
    /// # Errors
    /// The name is taken: a key is never overwritten.
    fn create(&self, key: &StoredKey, sealed: &SealedKey) -> Result<(), KeyStoreError>;

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
    /// The private key could be read, or replaced, by somebody else.
    #[error("private key {} is open to others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
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
