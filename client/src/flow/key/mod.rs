//! Keys: made, taken over, handed on, loaded, sealed anew.

pub mod certificate;
pub mod export;
pub mod import;
pub mod load;
pub mod standing;
#[cfg(test)]
mod world;

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
    require_free(ports.keys, name)?;
    let passphrase = ports.passphrases.fresh(name)?;
    let secret = make(ports.entropy, algorithm)?;
    let key = describe(ports, name, &secret);
    ports.keys.create(&key, &seal(ports.entropy, &secret, &passphrase)?)?;
    Ok(key)
}

/// Whether `name` can be given to a new key.
///
/// # Errors
/// It is taken, or by something that is no whole key.
pub fn require_free(keys: &dyn KeyStore, name: &KeyName) -> Result<(), KeyError> {
    match keys.find(name) {
        Ok(known) => Err(KeyError::Exists { name: known.name }),
        Err(KeyStoreError::Unknown { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A key under a new seal.
#[derive(Clone, Debug)]
pub struct Resealed {
    /// The key.
    pub key: StoredKey,
    /// scrypt's `N` before.
    pub before: u32,
    /// scrypt's `N` from now on; never less.
    pub after: u32,
}

/// Seals the key `name` under another passphrase, at no less cost than before and no less than
/// a new key's.
///
/// # Errors
/// No such key, one that is not kept here, a wrong passphrase, no new one, or the key cannot be
/// written; the old file stays as it was then.
pub fn change_passphrase(ports: KeyPorts<'_>, name: &KeyName) -> Result<Resealed, KeyError> {
    let key = ports.keys.find(name)?;
    let old = ports.keys.sealed(name)?;
    let secret = signing::open(ports.keys, ports.passphrases, &key)?;
    let passphrase = ports.passphrases.replacement(name)?;
    let (salt, nonce) = (random(ports.entropy)?, random(ports.entropy)?);
    let new = old.reseal(&secret, &passphrase, salt, nonce);
    ports.keys.reseal(name, &new)?;
    Ok(Resealed { key, before: old.scrypt_n(), after: new.scrypt_n() })
}

/// The public side of a key that is new here.
fn describe(ports: KeyPorts<'_>, name: &KeyName, secret: &SecretKey) -> StoredKey {
    let public = secret.public_key().clone();
    let sidecar = KeySidecar {
        name: name.clone(),
        fingerprint: public.fingerprint(),
        algorithm: public.algorithm(),
        created: ports.clock.now(),
        roles: vec![],
        loaded: None,
    };
    StoredKey { name: name.clone(), public, sidecar }
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
    let (salt, nonce) = (random::<SALT_BYTES>(entropy)?, random::<NONCE_BYTES>(entropy)?);
    Ok(SealedKey::seal(secret, passphrase, salt, nonce))
}

fn random<const N: usize>(entropy: &dyn Entropy) -> Result<[u8; N], EntropyError> {
    let mut bytes = [0; N];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
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

#[cfg(test)]
mod tests {
    use bulla_keys_schema::key::OpenError;

    use super::world::{World, name};
    use super::*;

    #[test]
    fn a_passphrase_is_changed_at_no_less_cost() {
        const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../keys-schema/tests/data/keys");
        for (n, after) in [(32_768, 65_536), (65_536, 65_536), (131_072, 131_072)] {
            let text = std::fs::read_to_string(format!("{FOLDER}/p256-sealed-{n}-cosign.pem")).unwrap();
            let world = World::with_passphrase("correct horse");
            let name = name("alice");
            let sealed = SealedKey::parse(&text).unwrap();
            let secret = sealed.open(&Passphrase::new("correct horse".to_owned())).unwrap();
            let key = describe(world.ports(), &name, &secret);
            world.create(&key, &sealed).unwrap();
            let changed = change_passphrase(world.ports(), &name).unwrap();
            assert_eq!((changed.before, changed.after), (n, after));
            assert_eq!(world.sealed(&name).unwrap().scrypt_n(), after);
            assert_eq!(world.open(&name, "new"), Ok(key.public));
            assert_eq!(world.open(&name, "correct horse"), Err(OpenError::WrongPassphrase));
        }
    }
}
