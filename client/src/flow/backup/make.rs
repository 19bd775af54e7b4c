//! What goes into a backup: keys as they lie in the home, pins, and the roots behind the pins.

use std::collections::BTreeSet;

use bulla_keys_schema::backup::{
    Backup, BackupId, BackupKey, InvalidBackup, KnownRoots, Share, Split, random_bytes_to_split, split,
};
use bulla_keys_schema::key::KeyName;
use bulla_keys_schema::names::RepositoryName;
use zeroize::Zeroizing;

use crate::cache::{Cache, CacheError};
use crate::flow::key::KeyPorts;
use crate::flow::refresh::stored_chain;
use crate::home::Home;
use crate::pins::{Pins, PinsError, Scope};
use crate::port::{Entropy, EntropyError, KeyStoreError, StoredKey};

/// What was put together.
#[derive(Clone, Debug)]
pub struct Gathered {
    /// The content.
    pub backup: Backup,
    /// Keys that are not in it, because their private half is not in this home.
    pub loaded: Vec<KeyName>,
}

/// Puts together the keys `names`, or all of them, with the pins and the newest verified roots
/// of every repository that the pins name, or that a key is known for. No passphrase is asked
/// for, and no server.
///
/// # Errors
/// A key is unknown, loaded, or its files cannot be used; the pins or the cache cannot be read.
pub async fn gather(ports: KeyPorts<'_>, home: &Home, names: &[KeyName]) -> Result<Gathered, GatherError> {
    let (keys, loaded) = keys(ports, names)?;
    let pins = Pins::load(home)?;
    let mut id = BackupId([0; 16]);
    ports.entropy.fill(&mut id.0)?;
    let repositories = roots(home, &pins, &keys).await?;
    let pins = if pins.all().is_empty() { String::new() } else { pins.to_text() };
    Ok(Gathered { backup: Backup { id, created: ports.clock.now(), keys, pins, repositories }, loaded })
}

/// Splits the secret that opens the backup `id`.
///
/// # Errors
/// No randomness, or the secret is none that can be split.
pub fn share_out(
    entropy: &dyn Entropy,
    secret: &[u8],
    id: BackupId,
    sizes: Split,
) -> Result<Vec<Share>, GatherError> {
    let mut random = Zeroizing::new(vec![0; random_bytes_to_split(secret.len(), sizes)]);
    entropy.fill(&mut random)?;
    split(secret, id, sizes, &random).ok_or(GatherError::NotSplit)
}

fn keys(ports: KeyPorts<'_>, names: &[KeyName]) -> Result<(Vec<BackupKey>, Vec<KeyName>), GatherError> {
    let chosen: Vec<StoredKey> = match names {
        [] => ports.keys.list()?,
        names => {
            let names: BTreeSet<&KeyName> = names.iter().collect();
            names.into_iter().map(|name| ports.keys.find(name)).collect::<Result<_, _>>()?
        }
    };
    let (mut keys, mut loaded) = (Vec::new(), Vec::new());
    for StoredKey { name, public, sidecar } in chosen {
        if sidecar.loaded.is_some() {
            if !names.is_empty() {
                return Err(GatherError::Loaded { name });
            }
            loaded.push(name);
            continue;
        }
        let sealed = ports.keys.sealed(&name)?;
        keys.push(BackupKey { sidecar, public, sealed });
    }
    Ok((keys, loaded))
}

/// The repositories that are pinned by name, and those below a pinned prefix that a key is known
/// for.
pub(super) fn known_repositories(pins: &Pins, keys: &[BackupKey]) -> BTreeSet<RepositoryName> {
    let pinned = pins.all().iter().filter_map(|pin| match &pin.scope {
        Scope::Repository(name) => Some(name.clone()),
        Scope::Below(_) => None,
    });
    let held = keys.iter().flat_map(|key| &key.sidecar.roles).map(|held| held.repository.clone());
    pinned.chain(held).collect()
}

async fn roots(home: &Home, pins: &Pins, keys: &[BackupKey]) -> Result<Vec<KnownRoots>, CacheError> {
    let mut all = Vec::new();
    for repository in known_repositories(pins, keys) {
        let Some(pin) = pins.find(&repository) else { continue };
        let stored = Cache::new(home.cache()).open(&repository).await?.load()?;
        let mut roots = Vec::new();
        stored_chain(pin, &repository, stored.roots.values(), |root| roots.push(root.bytes().clone()));
        if !roots.is_empty() {
            all.push(KnownRoots { repository, dialect: pin.mode.dialect(), roots });
        }
    }
    Ok(all)
}

/// Why there is nothing to back up.
#[derive(Debug, thiserror::Error)]
pub enum GatherError {
    /// The cache cannot be read.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Too much for one backup.
    #[error(transparent)]
    Invalid(#[from] InvalidBackup),
    /// The private half of the key is somewhere else.
    #[error("key {name} is loaded: its private half is not in this home, and cannot be backed up")]
    Loaded {
        /// The key.
        name: KeyName,
    },
    /// The secret is empty or too long.
    #[error("the secret of the backup cannot be split")]
    NotSplit,
    /// The pins cannot be read.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// A key cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
}
