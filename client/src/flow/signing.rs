//! The keys of this home, opened once and last.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::key::{
    Fingerprint, KeyFileContent, KeyName, OpenError, Passphrase, SecretKey, Signer,
};
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::names::RoleName;

use crate::flow::Ports;
use crate::flow::layout::Authority;
use crate::port::{KeyStore, KeyStoreError, PassphraseError, Passphrases, StoredKey};

/// The keys of this home, and those of them that are open.
pub struct KeyRing<'a> {
    ports: Ports<'a>,
    stored: Vec<StoredKey>,
    open: BTreeMap<Fingerprint, SecretKey>,
    collects: bool,
}

impl<'a> KeyRing<'a> {
    /// Lists the keys; opens none.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn load(ports: Ports<'a>) -> Result<Self, KeyStoreError> {
        Ok(Self { ports, stored: ports.keys.list()?, open: BTreeMap::new(), collects: false })
    }

    /// Takes keys into account that will be made before anything is signed.
    pub fn expect(&mut self, keys: &[StoredKey]) {
        self.stored.extend_from_slice(keys);
    }

    /// While `collects`, one key is enough to have a say: others will be asked for the rest.
    pub const fn collect(&mut self, collects: bool) {
        self.collects = collects;
    }

    /// The key of this home with that public key.
    #[must_use]
    pub fn find(&self, fingerprint: &Fingerprint) -> Option<&StoredKey> {
        self.stored.iter().find(|key| key.public.fingerprint() == *fingerprint)
    }

    /// As many keys of this home as `role` needs: open ones first, then those in `chosen`,
    /// so that no more passphrases are asked for than needed.
    ///
    /// # Errors
    /// There are not enough.
    pub fn choose(
        &self,
        role: &RoleName,
        authority: &Authority,
        chosen: &BTreeSet<Fingerprint>,
    ) -> Result<Vec<Fingerprint>, TooFewKeys> {
        let listed = authority.keys.fingerprints(&authority.table);
        let mut here: Vec<Fingerprint> =
            listed.iter().filter(|key| self.find(key).is_some()).copied().collect();
        let threshold = authority.keys.threshold;
        let has_a_say = self.collects && !here.is_empty();
        if !threshold.is_met_by(here.len()) && !has_a_say {
            let missing = listed.into_iter().filter(|key| !here.contains(key)).collect();
            return Err(TooFewKeys { role: role.clone(), threshold, here, missing });
        }
        here.sort_by_key(|key| (!self.open.contains_key(key), !chosen.contains(key)));
        here.truncate(usize::try_from(threshold.get()).unwrap_or(usize::MAX));
        Ok(here)
    }

    /// Opens keys, asking once for the passphrase of each.
    ///
    /// # Errors
    /// No passphrase, a wrong one, or a damaged key.
    pub fn unlock(&mut self, keys: &BTreeSet<Fingerprint>) -> Result<(), UnlockError> {
        for fingerprint in keys {
            if self.open.contains_key(fingerprint) {
                continue;
            }
            let Some(stored) = self.find(fingerprint) else { continue };
            let secret = open(self.ports.keys, self.ports.passphrases, stored)?;
            self.open.insert(*fingerprint, secret);
        }
        Ok(())
    }

    /// The open keys among `keys`.
    #[must_use]
    pub fn signers(&self, keys: &[Fingerprint]) -> Vec<&dyn Signer> {
        keys.iter().filter_map(|key| self.open.get(key)).map(|key| key as &dyn Signer).collect()
    }

    /// The names of `keys` in this home.
    #[must_use]
    pub fn names(&self, keys: &[Fingerprint]) -> Vec<KeyName> {
        keys.iter().filter_map(|key| self.find(key)).map(|key| key.name.clone()).collect()
    }
}

/// Opens one key of the store.
///
/// # Errors
/// No passphrase, a wrong one, a damaged key, or one that does not belong to its public half.
pub fn open(
    keys: &dyn KeyStore,
    passphrases: &dyn Passphrases,
    stored: &StoredKey,
) -> Result<SecretKey, UnlockError> {
    open_with_passphrase(keys, passphrases, stored).map(|(secret, _)| secret)
}

/// The same, with the passphrase that opened it. A key that was loaded in the clear has none.
///
/// # Errors
/// As for [`open`].
pub fn open_with_passphrase(
    keys: &dyn KeyStore,
    passphrases: &dyn Passphrases,
    stored: &StoredKey,
) -> Result<(SecretKey, Option<Passphrase>), UnlockError> {
    let name = &stored.name;
    let (secret, passphrase) = match keys.private(name)? {
        KeyFileContent::Open(secret) => (secret, None),
        KeyFileContent::Encrypted(encrypted) => {
            let passphrase = passphrases.existing(name)?;
            let opened = encrypted.open(&passphrase);
            let failed = |source| UnlockError::Open { name: name.clone(), source };
            (opened.map_err(failed)?, Some(passphrase))
        }
    };
    if *secret.public_key() == stored.public {
        return Ok((secret, passphrase));
    }
    Err(match &stored.sidecar.loaded {
        Some(loaded) => UnlockError::Replaced { name: name.clone(), place: loaded.source.to_string() },
        None => UnlockError::Halves { name: name.clone() },
    })
}

/// This home cannot sign for a role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{role} needs {threshold} of its keys, {} here", count(here.len()))]
pub struct TooFewKeys {
    /// The role.
    pub role: RoleName,
    /// How many must sign.
    pub threshold: Threshold,
    /// Those of its keys that are here.
    pub here: Vec<Fingerprint>,
    /// Those that are not.
    pub missing: Vec<Fingerprint>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnlockError {
    /// The public file is not of this key: somebody put it there.
    #[error("the public file of key {name} does not belong to its private file")]
    Halves {
        /// The key.
        name: KeyName,
    },
    /// The key file cannot be opened.
    #[error("key {name}: {source}")]
    Open {
        /// The key.
        name: KeyName,
        /// Why.
        source: OpenError,
    },
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// A loaded key is another one now.
    #[error("{place} no longer holds key {name}, but another one")]
    Replaced {
        /// The key.
        name: KeyName,
        /// Where it was loaded from.
        place: String,
    },
    /// The key file cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
}

fn count(keys: usize) -> String {
    match keys {
        0 => "none is".to_owned(),
        1 => "1 is".to_owned(),
        more => format!("{more} are"),
    }
}
