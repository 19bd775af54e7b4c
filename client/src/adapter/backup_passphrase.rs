//! The passphrase of a backup: from the environment or a file, else from a person. It is none of
//! a key's: whoever knows it sees which keys there are, and can use none of them.

use std::path::PathBuf;

use bulla_keys_schema::key::Passphrase;

use super::unattended::{Lookup, read};
use crate::adapter::tty;
use crate::port::PassphraseError;

/// The variable that holds it.
pub const VARIABLE: &str = "BULLA_BACKUP_PASSPHRASE";

/// Where the passphrase of a backup comes from.
pub struct BackupPassphrase {
    lookup: Lookup,
    file: Option<PathBuf>,
}

impl BackupPassphrase {
    /// Asks the environment through `lookup`, then `file`, then a person.
    #[must_use]
    pub const fn new(lookup: Lookup, file: Option<PathBuf>) -> Self {
        Self { lookup, file }
    }

    /// The one that opens an existing backup.
    ///
    /// # Errors
    /// None is configured, and there is nobody to ask.
    pub fn existing(&self) -> Result<Passphrase, BackupPassphraseError> {
        match self.configured()? {
            Some(passphrase) => Ok(passphrase),
            None => ask("Passphrase of the backup: "),
        }
    }

    /// The one for a new backup; a person types it twice.
    ///
    /// # Errors
    /// As for [`Self::existing`], and when it is empty or the two differ.
    pub fn fresh(&self) -> Result<Passphrase, BackupPassphraseError> {
        if let Some(passphrase) = self.configured()? {
            return not_empty(passphrase);
        }
        let first = not_empty(ask("Passphrase for the new backup: ")?)?;
        let second = ask("The same again: ")?;
        if first.same_as(&second) { Ok(first) } else { Err(BackupPassphraseError::Differ) }
    }

    fn configured(&self) -> Result<Option<Passphrase>, BackupPassphraseError> {
        if let Some(value) = (self.lookup)(VARIABLE) {
            let invalid = |_| PassphraseError::Variable { variable: VARIABLE.to_owned() };
            return Ok(Some(Passphrase::new(value.into_string().map_err(invalid)?)));
        }
        Ok(self.file.as_deref().map(read).transpose()?)
    }
}

fn ask(prompt: &str) -> Result<Passphrase, BackupPassphraseError> {
    tty::ask(prompt, || BackupPassphraseError::NobodyToAsk)
}

/// A variable that a pipeline forgot to fill must not make an open backup.
fn not_empty(passphrase: Passphrase) -> Result<Passphrase, BackupPassphraseError> {
    if passphrase.as_bytes().is_empty() { Err(BackupPassphraseError::Empty) } else { Ok(passphrase) }
}

/// Why there is no passphrase for a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupPassphraseError {
    /// Two entries that should be the same are not.
    #[error("the two passphrases for the backup differ")]
    Differ,
    /// It would be no protection.
    #[error("the passphrase for the backup is empty")]
    Empty,
    /// No terminal, and nothing configured.
    #[error("the backup needs a passphrase and there is no terminal to ask on")]
    NobodyToAsk,
    /// The terminal, the file or the variable cannot be read.
    #[error(transparent)]
    Read(#[from] PassphraseError),
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn with(value: Option<&'static str>, file: Option<PathBuf>) -> BackupPassphrase {
        let lookup = move |name: &str| value.filter(|_| name == VARIABLE).map(OsString::from);
        BackupPassphrase::new(Box::new(lookup), file)
    }

    #[test]
    fn the_variable_comes_before_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pass");
        fs::write(&file, "from file\n").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let both = with(Some("from variable"), Some(file.clone()));
        assert_eq!(both.existing().unwrap().as_bytes(), b"from variable");
        assert_eq!(with(None, Some(file)).fresh().unwrap().as_bytes(), b"from file");
    }

    #[test]
    fn an_empty_one_protects_nothing() {
        assert!(matches!(with(Some(""), None).fresh(), Err(BackupPassphraseError::Empty)));
        assert!(with(Some(""), None).existing().is_ok());
        let absent = with(None, Some("/nonexistent/file".into())).fresh();
        assert!(matches!(absent, Err(BackupPassphraseError::Read(PassphraseError::File { .. }))));
    }
}
