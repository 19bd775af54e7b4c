//! A home in memory, for the tests of these flows.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, Ordering};

use bulla_keys_schema::key::{
    HeldRole, KeyAlgorithm, KeyFileContent, KeyName, OpenError, Passphrase, PublicKey, SealedKey, SecretKey,
};
use bulla_keys_schema::time::UtcTime;
use zeroize::Zeroizing;

use super::KeyPorts;
use crate::port::{
    Clock, Entropy, EntropyError, KeyStore, KeyStoreError, PassphraseError, Passphrases, StoredKey,
};

/// A home whose passphrases are `old`, `fresh` and `new`.
pub(super) struct World {
    kept: Mutex<Vec<(StoredKey, SealedKey)>>,
    asked: Mutex<Vec<&'static str>>,
    refused: Mutex<Option<KeyName>>,
    old: &'static str,
    drawn: AtomicU8,
}

impl Default for World {
    fn default() -> Self {
        Self::with_passphrase("old")
    }
}

impl World {
    /// The same, with another passphrase for what is there.
    pub(super) fn with_passphrase(old: &'static str) -> Self {
        let (kept, asked, refused) = Default::default();
        Self { kept, asked, refused, old, drawn: AtomicU8::default() }
    }

    pub(super) fn ports(&self) -> KeyPorts<'_> {
        KeyPorts { keys: self, passphrases: self, entropy: self, clock: self }
    }

    /// The passphrases that were asked for since the last time.
    pub(super) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// Lets every write of the key `name` fail.
    pub(super) fn refuse(&self, name: &KeyName) {
        *self.refused.lock().unwrap() = Some(name.clone());
    }

    /// The public key of what `passphrase` opens.
    pub(super) fn open(&self, name: &KeyName, passphrase: &str) -> Result<PublicKey, OpenError> {
        let secret = self.sealed(name).unwrap().open(&Passphrase::new(passphrase.to_owned()))?;
        Ok(secret.public_key().clone())
    }

    fn answer(&self, which: &'static str) -> Result<Passphrase, PassphraseError> {
        self.asked.lock().unwrap().push(which);
        Ok(Passphrase::new(which.to_owned()))
    }
}

impl KeyStore for World {
    fn list(&self) -> Result<Vec<StoredKey>, KeyStoreError> {
        Ok(self.kept.lock().unwrap().iter().map(|(key, _)| key.clone()).collect())
    }

    fn find(&self, name: &KeyName) -> Result<StoredKey, KeyStoreError> {
        let unknown = || KeyStoreError::Unknown { name: name.clone(), folder: PathBuf::new() };
        self.list()?.into_iter().find(|key| key.name == *name).ok_or_else(unknown)
    }

    fn private(&self, name: &KeyName) -> Result<KeyFileContent, KeyStoreError> {
        Ok(KeyFileContent::Encrypted(self.sealed(name)?.into()))
    }

    fn sealed(&self, name: &KeyName) -> Result<SealedKey, KeyStoreError> {
        self.find(name)?;
        let kept = self.kept.lock().unwrap();
        Ok(kept.iter().find(|(key, _)| key.name == *name).unwrap().1.clone())
    }

    fn create(&self, key: &StoredKey, sealed: &SealedKey) -> Result<(), KeyStoreError> {
        if self.refused.lock().unwrap().as_ref() == Some(&key.name) {
            return Err(KeyStoreError::Exists { name: key.name.clone(), path: PathBuf::new() });
        }
        self.kept.lock().unwrap().push((key.clone(), sealed.clone()));
        Ok(())
    }

    fn load(&self, _: &StoredKey) -> Result<(), KeyStoreError> {
        panic!("these flows load nothing")
    }

    fn reseal(&self, name: &KeyName, sealed: &SealedKey) -> Result<(), KeyStoreError> {
        let mut kept = self.kept.lock().unwrap();
        kept.iter_mut().find(|(key, _)| key.name == *name).unwrap().1 = sealed.clone();
        Ok(())
    }

    fn note_role(&self, _: &KeyName, _: &HeldRole) -> Result<(), KeyStoreError> {
        panic!("these flows give no roles")
    }

    fn remove(&self, name: &KeyName) -> Result<(), KeyStoreError> {
        self.kept.lock().unwrap().retain(|(key, _)| key.name != *name);
        Ok(())
    }

    fn remains(&self, _: &KeyName) -> Result<Vec<PathBuf>, KeyStoreError> {
        Ok(vec![])
    }

    fn remove_remains(&self, _: &KeyName) -> Result<Vec<PathBuf>, KeyStoreError> {
        Ok(vec![])
    }

    fn public_path(&self, _: &KeyName) -> Option<PathBuf> {
        None
    }
}

impl Passphrases for World {
    fn existing(&self, _: &KeyName) -> Result<Passphrase, PassphraseError> {
        self.answer(self.old)
    }

    fn fresh(&self, _: &KeyName) -> Result<Passphrase, PassphraseError> {
        self.answer("fresh")
    }

    fn replacement(&self, _: &KeyName) -> Result<Passphrase, PassphraseError> {
        self.answer("new")
    }
}

impl Entropy for World {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        buffer.fill(self.drawn.fetch_add(1, Ordering::Relaxed));
        Ok(())
    }
}

impl Clock for World {
    fn now(&self) -> UtcTime {
        "2026-11-01T10:20:30Z".parse().unwrap()
    }
}

/// A name.
pub(super) fn name(text: &str) -> KeyName {
    text.parse().unwrap()
}

/// A key that nobody needs to keep secret.
pub(super) fn secret() -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &Zeroizing::new([5; 32])).unwrap()
}
