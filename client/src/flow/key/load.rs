//! Load: a key for the commands that follow, which read it anew where it is. Only its public half
//! and a note of that place are written.

use std::path::PathBuf;

use bulla_keys_schema::key::{
    Fingerprint, HeldRole, KeyFileContent, KeyName, KeySource, KeyText, LoadedKey, Protection, SecretKey,
    Spelling,
};
use bulla_keys_schema::names::RepositoryName;

use super::standing::{self, Duty};
use super::{KeyError, KeyPorts, describe};
use crate::flow::Ports;
use crate::flow::refresh::RefreshError;
use crate::flow::signing::UnlockError;
use crate::port::{KeySourceError, KeyStoreError, StoredKey};

/// What to load.
pub struct LoadRequest {
    /// Its name from now on.
    pub name: KeyName,
    /// Where it is.
    pub source: KeySource,
    /// What is there.
    pub text: KeyText,
    /// How long it is to be known, in seconds.
    pub lifetime: i64,
    /// Write nothing.
    pub dry_run: bool,
}

/// A key that was loaded.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The key.
    pub key: StoredKey,
    /// The note of where it is.
    pub note: LoadedKey,
    /// How its text is written.
    pub spelling: Spelling,
    /// How its text protects it.
    pub protection: Protection,
    /// What it may sign in the repositories that were asked.
    pub duties: Vec<Duty>,
    /// The repositories among them in which it may sign nothing.
    pub without: Vec<RepositoryName>,
    /// The id that each repository's documents declare for it.
    pub key_ids: Vec<(RepositoryName, String)>,
    /// The folder of the two files that were written.
    pub folder: Option<PathBuf>,
}

/// Opens a key, finds out what it may sign in `repositories`, and notes where it is. Loading it
/// again begins its time anew.
///
/// # Errors
/// It cannot be opened, its name is taken by a key that is kept here, a repository is not to be
/// trusted, or the key signs for no role of any. Nothing is written then.
pub async fn load(
    ports: KeyPorts<'_>,
    repositories: &[(RepositoryName, Ports<'_>)],
    request: LoadRequest,
) -> Result<Loaded, LoadError> {
    let LoadRequest { name, source, text, lifetime, dry_run } = request;
    require_free(ports, &name)?;
    let spelling = text.spelling;
    let only = text.into_only_key();
    let place = source.to_string();
    let file = only.map_err(|reason| KeySourceError::Invalid { place, reason })?;
    let protection = file.protection;
    let secret = open(ports, &name, file.content)?;
    let mut key = describe(ports, &name, &secret);
    drop(secret);
    let until = ports.clock.now().plus_seconds(lifetime);
    let note = LoadedKey { source, until };
    let mut loaded = Loaded {
        note,
        spelling,
        protection,
        duties: vec![],
        without: vec![],
        key_ids: vec![],
        folder: None,
        key: key.clone(),
    };
    for (repository, world) in repositories {
        let standing = standing::ask(*world, repository).await?;
        let duties = standing.of(key.sidecar.fingerprint);
        if duties.is_empty() {
            loaded.without.push(repository.clone());
        }
        loaded.duties.extend(duties);
        loaded.key_ids.push((repository.clone(), standing.key_id(&key.public).to_string()));
    }
    if !repositories.is_empty() && loaded.duties.is_empty() {
        let repositories = loaded.without;
        return Err(LoadError::NoRole { name, fingerprint: key.sidecar.fingerprint, repositories });
    }
    let held = |duty: &Duty| HeldRole { repository: duty.repository.clone(), role: duty.role.clone() };
    key.sidecar.roles = loaded.duties.iter().map(held).collect();
    key.sidecar.loaded = Some(loaded.note.clone());
    if !dry_run {
        ports.keys.load(&key).map_err(KeyError::from)?;
        let path = ports.keys.public_path(&name);
        loaded.folder = path.and_then(|path| path.parent().map(PathBuf::from));
    }
    Ok(Loaded { key, ..loaded })
}

/// Whether `name` can be given to a loaded key.
fn require_free(ports: KeyPorts<'_>, name: &KeyName) -> Result<(), KeyError> {
    match ports.keys.find(name) {
        Ok(known) if known.sidecar.loaded.is_some() => Ok(()),
        Ok(known) => Err(KeyError::Exists { name: known.name }),
        Err(KeyStoreError::Unknown { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn open(ports: KeyPorts<'_>, name: &KeyName, content: KeyFileContent) -> Result<SecretKey, KeyError> {
    match content {
        KeyFileContent::Open(secret) => Ok(secret),
        KeyFileContent::Encrypted(encrypted) => {
            let passphrase = ports.passphrases.existing(name)?;
            let failed = |source| UnlockError::Open { name: name.clone(), source };
            Ok(encrypted.open(&passphrase).map_err(failed)?)
        }
    }
}

/// Why a key was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It cannot be opened or noted.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is of no use there.
    #[error("key {name} ({fingerprint}) signs for no role of {}", list(repositories))]
    NoRole {
        /// The name that it was to have.
        name: KeyName,
        /// The key.
        fingerprint: Fingerprint,
        /// The repositories that were asked.
        repositories: Vec<RepositoryName>,
    },
    /// A repository is not to be trusted.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// There is no key, or more than one.
    #[error(transparent)]
    Source(#[from] KeySourceError),
}

fn list(repositories: &[RepositoryName]) -> String {
    let names: Vec<&str> = repositories.iter().map(RepositoryName::as_str).collect();
    names.join(", ")
}
