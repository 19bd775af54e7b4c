//! Passphrases of key files: from a person, or from a machine's environment.

use std::path::PathBuf;

use bulla_keys_schema::key::{KeyName, Passphrase};

/// Where passphrases come from. Asked last and once per key in any command.
pub trait Passphrases: Send + Sync {
    /// The passphrase that opens the existing key `name`.
    ///
    /// # Errors
    /// None is configured and there is nobody to ask; see [`PassphraseError`].
    fn existing(&self, name: &KeyName) -> Result<Passphrase, PassphraseError>;

    /// A passphrase to protect the new key `name` with; a person types it twice.
    ///
    /// # Errors
    /// As for [`Self::existing`], and when it is empty or the two differ.
    fn fresh(&self, name: &KeyName) -> Result<Passphrase, PassphraseError>;

    /// The passphrase that replaces the one of `name`. Never taken from where
    /// [`Self::existing`] takes it, or nothing would change.
    ///
    /// # Errors
    /// As for [`Self::fresh`].
    fn replacement(&self, name: &KeyName) -> Result<Passphrase, PassphraseError>;
}

/// Why there is no passphrase.
#[derive(Debug, thiserror::Error)]
pub enum PassphraseError {
    /// The variable is that of another key as well: nobody can tell whose passphrase it holds.
    #[error("{variable} is the variable of key {name} and of key {other}")]
    Ambiguous {
        /// The variable.
        variable: String,
        /// The key that was asked about.
        name: KeyName,
        /// The other one.
        other: KeyName,
    },
    /// Two entries that should be the same are not.
    #[error("the two passphrases for key {name} differ")]
    Differ {
        /// The key.
        name: KeyName,
    },
    /// A new key would be as good as unprotected.
    #[error("the passphrase for key {name} is empty")]
    Empty {
        /// The key.
        name: KeyName,
    },
    /// The named passphrase file cannot be read or holds no passphrase.
    #[error("cannot read a passphrase from {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Ctrl-C at the prompt.
    #[error("interrupted")]
    Interrupted,
    /// No terminal, and nothing configured.
    #[error("key {name} needs its passphrase and there is no terminal to ask on")]
    NobodyToAsk {
        /// The key.
        name: KeyName,
        /// The environment variable that may hold it.
        variable: String,
    },
    /// No terminal, and the passphrase that replaces the old one is not configured.
    #[error("key {name} needs a new passphrase and there is no terminal to ask on")]
    NobodyToAskForNew {
        /// The key.
        name: KeyName,
    },
    /// The named passphrase file can be read or changed by others.
    #[error("passphrase file {} is open to others (mode {mode:04o})", path.display())]
    OpenToOthers {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The terminal failed.
    #[error("cannot read from the terminal: {reason}")]
    Terminal {
        /// What the system said.
        reason: String,
    },
    /// An environment variable is no text.
    #[error("the environment variable {variable} is not valid UTF-8")]
    Variable {
        /// Its name.
        variable: String,
    },
    /// The keys cannot be listed, so nobody can tell whether the variable is that of another as well.
    #[error("cannot tell whether {variable} is the variable of one key only: the keys cannot be listed")]
    Unsure {
        /// The variable.
        variable: String,
    },
}
