//! Online keys: made here, sealed at rest, unsealed in memory only.
//!
//! A repository has one set of two Ed25519 keys, and one more while a rotation waits for the
//! root that lists it. Which set signs is decided by the root, never here. A root of Notary
//! may list the keys of one set at different times, or only one of them.

mod kek;
mod reseal;
mod ring;
mod seal;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bulla_keys_schema::key::{Fingerprint, InvalidSecretKey, KeyAlgorithm, PublicKey, SecretKey};
use bulla_keys_schema::names::RepositoryName;
use zeroize::Zeroizing;

pub use kek::{KEK_VARIABLE, Kek, KekError, KekId};
pub use reseal::{ResealError, Resealed};
pub use ring::Keyring;
pub use seal::UnsealError;

use crate::store::{PublishError, StoreError, TrustStore};

/// Repositories whose unsealed keys are kept in memory.
const CACHED: usize = 4096;
/// Attempts to store keys while somebody else stores some; the second finds theirs.
const ATTEMPTS: usize = 4;

/// Makes, keeps and hands out online keys.
pub struct Vault {
    ring: Keyring,
    store: Arc<dyn TrustStore>,
    cache: Mutex<Unsealed>,
}

/// Keys in memory.
#[derive(Default)]
struct Unsealed {
    keys: HashMap<RepositoryName, Arc<OnlineKeys>>,
    /// How often some were forgotten: what was read before that may be gone from the store.
    forgotten: u64,
}

/// All online keys of one repository.
pub struct OnlineKeys {
    /// Counts changes, from 1.
    pub generation: u64,
    /// Oldest first: the one in use, and while a rotation waits for its root the next one.
    pub sets: Vec<KeySet>,
}

/// A role that the server signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineRole {
    /// Which documents belong together.
    Snapshot,
    /// That they are fresh.
    Timestamp,
}

/// The keys that sign for one repository together.
pub struct KeySet {
    /// Signs snapshots.
    pub snapshot: SecretKey,
    /// Signs timestamps.
    pub timestamp: SecretKey,
}

impl Vault {
    /// Keeps keys in `store`, sealed under the key-encryption key of `ring`.
    #[must_use]
    pub fn new(ring: impl Into<Keyring>, store: Arc<dyn TrustStore>) -> Self {
        Self { ring: ring.into(), store, cache: Mutex::default() }
    }

    /// The key-encryption keys in use.
    #[must_use]
    pub const fn ring(&self) -> &Keyring {
        &self.ring
    }

    /// The keys of `repository`, if it has any.
    ///
    /// # Errors
    /// The store cannot be read, or the keys cannot be unsealed.
    pub async fn get(&self, repository: &RepositoryName) -> Result<Option<Arc<OnlineKeys>>, VaultError> {
        let forgotten = {
            let cache = self.cache();
            if let Some(keys) = cache.keys.get(repository) {
                return Ok(Some(Arc::clone(keys)));
            }
            cache.forgotten
        };
        let Some(stored) = self.store.online_keys(repository).await? else { return Ok(None) };
        let sets = self.ring.open(repository, &stored.sealed)?;
        let keys = Arc::new(OnlineKeys { generation: stored.generation, sets });
        self.cache().remember(repository, &keys, forgotten);
        Ok(Some(keys))
    }

    /// The keys of `repository`, made now if it has none; durable when it returns.
    ///
    /// # Errors
    /// As [`Self::get`], and what hinders storing.
    pub async fn get_or_make(&self, repository: &RepositoryName) -> Result<Arc<OnlineKeys>, VaultError> {
        for _ in 0..ATTEMPTS {
            if let Some(keys) = self.get(repository).await? {
                return Ok(keys);
            }
            if let Some(keys) = self.store_sets(repository, None, vec![KeySet::make()?]).await? {
                return Ok(keys);
            }
        }
        Err(VaultError::Contended)
    }

    /// Sees to it that there is a key of `role` which no root has listed yet: of all keys in
    /// `known`, those that any root ever listed, none is handed out again. The same key until
    /// a root lists it, because whoever asked before may be signing that root at the moment.
    /// `listed` are the online keys of the current root: no key of them is dropped.
    ///
    /// # Errors
    /// As [`Self::get_or_make`]; and the root may list keys of too many sets.
    pub async fn pending(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
        listed: &BTreeSet<Fingerprint>,
        known: &BTreeSet<Fingerprint>,
    ) -> Result<PublicKey, VaultError> {
        for _ in 0..ATTEMPTS {
            let keys = self.get_or_make(repository).await?;
            if let Some(set) = keys.pending(role, known) {
                return Ok(set.key(role).public_key().clone());
            }
            let needed = |set: &&KeySet| {
                set.fingerprints().any(|key| listed.contains(&key))
                    || [OnlineRole::Snapshot, OnlineRole::Timestamp]
                        .into_iter()
                        .any(|role| keys.pending(role, known).is_some_and(|pending| pending.is(set)))
            };
            let kept = keys.sets.iter().filter(needed).map(KeySet::duplicate);
            let mut sets = kept.collect::<Result<Vec<_>, _>>()?;
            sets.push(KeySet::make()?);
            self.store_sets(repository, Some(keys.generation), sets).await?;
        }
        Err(VaultError::Contended)
    }

    /// Drops the keys of a removed repository from memory.
    pub fn forget(&self, repository: &RepositoryName) {
        let mut cache = self.cache();
        cache.keys.remove(repository);
        cache.forgotten += 1;
    }

    /// `None` if somebody else stored keys meanwhile.
    async fn store_sets(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sets: Vec<KeySet>,
    ) -> Result<Option<Arc<OnlineKeys>>, VaultError> {
        let sealed = self.ring.close(repository, &sets)?;
        let forgotten = self.cache().forgotten;
        match self.store.set_online_keys(repository, expected, sealed).await {
            Ok(generation) => {
                let keys = Arc::new(OnlineKeys { generation, sets });
                self.cache().remember(repository, &keys, forgotten);
                Ok(Some(keys))
            }
            Err(PublishError::Conflict { .. }) => {
                self.forget(repository);
                Ok(None)
            }
            Err(PublishError::Store(error)) => Err(error.into()),
            Err(error) => Err(VaultError::Refused(error)),
        }
    }

    fn cache(&self) -> MutexGuard<'_, Unsealed> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unsealed {
    /// Keeps keys that were read or stored after `forgotten` times of forgetting.
    fn remember(&mut self, repository: &RepositoryName, keys: &Arc<OnlineKeys>, forgotten: u64) {
        if self.forgotten != forgotten {
            // The keys of a removed repository would be used on, and be lost with the process.
            self.keys.remove(repository);
            return;
        }
        if self.keys.len() >= CACHED
            && !self.keys.contains_key(repository)
            && let Some(any) = self.keys.keys().next().cloned()
        {
            self.keys.remove(&any);
        }
        self.keys.insert(repository.clone(), Arc::clone(keys));
    }
}

impl OnlineKeys {
    /// The key that signs `role` under a root that lists `listed`; before there is one, the
    /// oldest.
    #[must_use]
    pub fn in_use(&self, role: OnlineRole, listed: &BTreeSet<Fingerprint>) -> Option<&PublicKey> {
        let oldest = || self.sets.first().map(|set| set.key(role));
        self.held(role, listed).or_else(oldest).map(SecretKey::public_key)
    }

    /// The newest key of `role`, if it waits for a root to list it.
    #[must_use]
    pub fn waiting(&self, role: OnlineRole, listed: &BTreeSet<Fingerprint>) -> Option<&PublicKey> {
        let newest = self.sets.iter().skip(1).next_back().map(|set| set.key(role).public_key());
        newest.filter(|key| !listed.contains(&key.fingerprint()))
    }

    /// The newest key of `role` among those in `listed`.
    #[must_use]
    pub fn held(&self, role: OnlineRole, listed: &BTreeSet<Fingerprint>) -> Option<&SecretKey> {
        let mut keys = self.sets.iter().map(|set| set.key(role));
        keys.rfind(|key| listed.contains(&key.public_key().fingerprint()))
    }

    /// The newest key of `role`. Those that its owner did away with are older.
    #[must_use]
    pub fn newest(&self, role: OnlineRole) -> Option<&PublicKey> {
        self.sets.last().map(|set| set.key(role).public_key())
    }

    /// The oldest set whose key of `role` no root has listed yet.
    fn pending(&self, role: OnlineRole, known: &BTreeSet<Fingerprint>) -> Option<&KeySet> {
        self.sets.iter().find(|set| !known.contains(&set.key(role).public_key().fingerprint()))
    }
}

impl KeySet {
    /// What identifies the two keys.
    pub fn fingerprints(&self) -> impl Iterator<Item = Fingerprint> {
        [&self.snapshot, &self.timestamp].into_iter().map(|key| key.public_key().fingerprint())
    }

    const fn key(&self, role: OnlineRole) -> &SecretKey {
        match role {
            OnlineRole::Snapshot => &self.snapshot,
            OnlineRole::Timestamp => &self.timestamp,
        }
    }

    fn is(&self, other: &Self) -> bool {
        self.fingerprints().eq(other.fingerprints())
    }

    /// Two new keys.
    fn make() -> Result<Self, VaultError> {
        Ok(Self { snapshot: make_key()?, timestamp: make_key()? })
    }

    fn duplicate(&self) -> Result<Self, VaultError> {
        Ok(Self {
            snapshot: SecretKey::from_pkcs8_der(&self.snapshot.to_pkcs8_der())?,
            timestamp: SecretKey::from_pkcs8_der(&self.timestamp.to_pkcs8_der())?,
        })
    }
}

fn make_key() -> Result<SecretKey, VaultError> {
    let mut seed = Zeroizing::new([0; 32]);
    getrandom::fill(seed.as_mut_slice()).map_err(|_| VaultError::Randomness)?;
    Ok(SecretKey::from_seed(KeyAlgorithm::Ed25519, &seed)?)
}

/// Online keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The store has no room for them at present.
    #[error(transparent)]
    Refused(PublishError),
    /// What is stored cannot be unsealed.
    #[error(transparent)]
    Unseal(#[from] UnsealError),
    /// A key that was made is none.
    #[error("cannot make an online key: {0}")]
    Key(#[from] InvalidSecretKey),
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Randomness,
    /// Others stored keys of this repository again and again.
    #[error("the online keys change too fast")]
    Contended,
    /// The root lists keys of many rotations at once.
    #[error("the root lists too many online keys\nhint: publish a root that lists the newest ones only")]
    TooMany,
    /// There is no set that the root lists, so nothing can be rotated.
    #[error("the current root lists no online keys of this server")]
    NotListed,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    fn vault() -> (Vault, RepositoryName) {
        let kek = Kek::from_variable(&Zeroizing::new("01".repeat(32))).unwrap();
        (Vault::new(kek, Arc::new(MemoryStore::new())), "a".parse().unwrap())
    }

    fn print(key: &PublicKey) -> Fingerprint {
        key.fingerprint()
    }

    #[tokio::test]
    async fn a_pending_key_stays_until_a_root_lists_it_and_never_comes_back() {
        use OnlineRole::{Snapshot, Timestamp};

        let (vault, name) = vault();
        let (mut listed, mut known) = (BTreeSet::new(), BTreeSet::new());
        let mut all = BTreeSet::new();
        // The owner holds the snapshot key: for long, only timestamp keys are listed.
        let snapshot = vault.pending(&name, Snapshot, &listed, &known).await.unwrap();
        for _ in 0..20 {
            let next = vault.pending(&name, Timestamp, &listed, &known).await.unwrap();
            assert!(next == vault.pending(&name, Timestamp, &listed, &known).await.unwrap());
            assert!(snapshot == vault.pending(&name, Snapshot, &listed, &known).await.unwrap());
            assert!(all.insert(print(&next)), "handed out twice");
            listed = BTreeSet::from([print(&next)]);
            known.insert(print(&next));
            let keys = vault.get(&name).await.unwrap().unwrap();
            assert!(keys.held(Timestamp, &listed).unwrap().public_key() == &next);
            assert!(keys.held(Snapshot, &listed).is_none());
        }
        listed.insert(print(&snapshot));
        known.insert(print(&snapshot));
        let other = vault.pending(&name, Snapshot, &listed, &known).await.unwrap();
        assert!(other != snapshot);
        let keys = vault.get(&name).await.unwrap().unwrap();
        assert!(keys.held(Snapshot, &listed).is_some() && keys.held(Timestamp, &listed).is_some());
    }
}
