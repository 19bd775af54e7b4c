//! Private keys that lie outside of this home: in a variable of a pipeline, or in a file.

use std::path::PathBuf;

use bulla_keys_schema::key::{InvalidKeyText, KeySource, KeyText};

/// Reads texts of private keys. Nothing of them is kept.
pub trait KeySources: Send + Sync {
    /// What `source` holds now, as far as that can be read without a passphrase.
    ///
    /// # Errors
    /// There is nothing, it could be read by others, or it is no key; see [`KeySourceError`].
    fn read(&self, source: &KeySource) -> Result<KeyText, KeySourceError>;
}

/// Why a text of keys cannot be read. Never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySourceError {
    /// A variable that is set, to nothing.
    #[error("the variable {variable} is empty")]
    EmptyVariable {
        /// Its name.
        variable: String,
    },
    /// What is there is no private key that can be used.
    #[error("cannot use {place}: {reason}")]
    Invalid {
        /// The path, or the variable.
        place: String,
        /// What is wrong with it.
        reason: InvalidKeyText,
    },
    /// Something else than a file: reading it could take forever.
    #[error("cannot use {}: it is {found}, not a file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Bytes that are no text.
    #[error("cannot use {place}: it is not text")]
    NoText {
        /// The path, or the variable.
        place: String,
    },
    /// The file could be read, or replaced, by somebody else.
    #[error("private key {} is open to others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The system refused.
    #[error("cannot read {}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No such variable.
    #[error("the variable {variable} is not set")]
    UnsetVariable {
        /// Its name.
        variable: String,
    },
}
