//! Making, opening and resealing keys.

use bulla_keys_schema::key::{
    InvalidSecretKey, KeyAlgorithm, KeyName, KeySidecar, NONCE_BYTES, Passphrase, SALT_BYTES, SealedKey,
    SecretKey,
};
use zeroize::Zeroizing;

use crate::flow::signing::{self, UnlockError};
use crate::port::{
    Clock, Entropy, EntropyError, KeyStore, KeyStoreError, PassphraseError, Passphrases, StoredKey,
};

/// How many seeds are tried: with P-256, one in 2^32 is not usable.
const SEEDS: u32 = 8;

/// What the flows of keys use of the world.
#[derive(Clone, Copy)]
pub struct KeyPorts<'a> {
    /// The keys of this home.
    pub keys: &'a dyn KeyStore,
    /// Who knows their passphrases.
    pub passphrases: &'a dyn Passphrases,
    /// Randomness.
    pub entropy: &'a dyn Entropy,
    /// The time.
    pub clock: &'a dyn Clock,
}

/// Makes a key and keeps it under `name`.
///
/// # Errors
/// The name is taken, no passphrase, no randomness, or the key cannot be written.
pub fn generate(ports: KeyPorts<'_>, name: &KeyName, algorithm: KeyAlgorithm) -> Result<StoredKey, KeyError> {
    // Before anybody is asked for a passphrase.
    if let Ok(known) = ports.keys.find(name) {
        return Err(KeyError::Exists { name: known.name });
    }
    let passphrase = ports.passphrases.fresh(name)?;
    let secret = make(ports.entropy, algorithm)?;
    let sealed = seal(ports.entropy, &secret, &passphrase)?;
    let public = secret.public_key().clone();
    let sidecar = KeySidecar {
        name: name.clone(),
        fingerprint: public.fingerprint(),
        algorithm,
        created: ports.clock.now(),
        roles: vec![],
    };
    let key = StoredKey { name: name.clone(), public, sidecar };
    ports.keys.create(&key, &sealed)?;
    Ok(key)
}

/// Seals the key `name` under another passphrase.
///
/// # Errors
/// No such key, a wrong passphrase, no new one, or the key cannot be written; the old file
/// stays as it was then.
pub fn change_passphrase(ports: KeyPorts<'_>, name: &KeyName) -> Result<StoredKey, KeyError> {
    let stored = ports.keys.find(name)?;
    let secret = signing::open(ports.keys, ports.passphrases, &stored)?;
    let passphrase = ports.passphrases.replacement(name)?;
    ports.keys.reseal(name, &seal(ports.entropy, &secret, &passphrase)?)?;
    Ok(stored)
}

fn make(entropy: &dyn Entropy, algorithm: KeyAlgorithm) -> Result<SecretKey, KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    for _ in 1..SEEDS {
        entropy.fill(seed.as_mut_slice())?;
        match SecretKey::from_seed(algorithm, &seed) {
            Err(InvalidSecretKey::OutOfRange) => {}
            key => return Ok(key?),
        }
    }
    Err(InvalidSecretKey::OutOfRange.into())
}

fn seal(
    entropy: &dyn Entropy,
    secret: &SecretKey,
    passphrase: &Passphrase,
) -> Result<SealedKey, EntropyError> {
    let (mut salt, mut nonce) = ([0; SALT_BYTES], [0; NONCE_BYTES]);
    entropy.fill(&mut salt)?;
    entropy.fill(&mut nonce)?;
    Ok(SealedKey::seal(secret, passphrase, salt, nonce))
}

/// Why a key was not made or changed.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The name is taken.
    #[error("key {name} exists already")]
    Exists {
        /// The name.
        name: KeyName,
    },
    /// No key of this algorithm can be made.
    #[error(transparent)]
    Make(#[from] InvalidSecretKey),
    /// There is no passphrase.
    #[error(transparent)]
    Passphrase(#[from] PassphraseError),
    /// The key cannot be read or written.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// The key cannot be opened.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
}
