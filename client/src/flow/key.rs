//! Making, importing and resealing keys.

use bulla_keys_schema::key::{
    HeldRole, InvalidSecretKey, KeyAlgorithm, KeyFile, KeyFileContent, KeyName, KeySidecar, NONCE_BYTES,
    Passphrase, SALT_BYTES, SealedKey, SecretKey,
};
use bulla_keys_schema::names::RoleName;
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
    keep(ports, name, &secret, &passphrase, vec![])
}

/// Keeps the key of another program's file under `name`, sealed as all keys of this home
/// are. What the file says about its role is noted, and means no more there.
///
/// # Errors
/// The name is taken, a wrong passphrase for the file, no new one, no randomness, or the key
/// cannot be written.
pub fn import(ports: KeyPorts<'_>, name: &KeyName, file: KeyFile) -> Result<StoredKey, KeyError> {
    require_free(ports.keys, name)?;
    let roles = held_role(&file).into_iter().collect();
    let (secret, passphrase) = match file.content {
        KeyFileContent::Open(secret) => (secret, ports.passphrases.fresh(name)?),
        KeyFileContent::Encrypted(encrypted) => {
            let old = ports.passphrases.existing(name)?;
            let secret =
                encrypted.open(&old).map_err(|source| UnlockError::Open { name: name.clone(), source })?;
            (secret, ports.passphrases.replacement(name)?)
        }
    };
    keep(ports, name, &secret, &passphrase, roles)
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

fn keep(
    ports: KeyPorts<'_>,
    name: &KeyName,
    secret: &SecretKey,
    passphrase: &Passphrase,
    roles: Vec<HeldRole>,
) -> Result<StoredKey, KeyError> {
    let sealed = seal(ports.entropy, secret, passphrase)?;
    let public = secret.public_key().clone();
    let sidecar = KeySidecar {
        name: name.clone(),
        fingerprint: public.fingerprint(),
        algorithm: public.algorithm(),
        created: ports.clock.now(),
        roles,
    };
    let key = StoredKey { name: name.clone(), public, sidecar };
    ports.keys.create(&key, &sealed)?;
    Ok(key)
}

/// The role of one repository that a file of docker or notary names. Signers' files name no
/// repository.
fn held_role(file: &KeyFile) -> Option<HeldRole> {
    let repository = file.gun.as_deref()?.parse().ok()?;
    let role = [RoleName::Root, RoleName::Targets, RoleName::Snapshot]
        .into_iter()
        .find(|role| Some(role.as_str()) == file.role.as_deref())?;
    Some(HeldRole { repository, role })
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

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicU8, Ordering};

    use bulla_keys_schema::key::{NotaryKeyLabels, OpenError, PublicKey, write_notary_key};
    use bulla_keys_schema::time::UtcTime;

    use super::*;

    const SEC1: &str = include_str!("../../../keys-schema/tests/data/notary-keys/openssl-sec1.pem");

    /// A home in memory, whose passphrases are `old`, `fresh` and `new`.
    #[derive(Default)]
    struct World {
        kept: Mutex<Vec<(StoredKey, SealedKey)>>,
        asked: Mutex<Vec<&'static str>>,
        drawn: AtomicU8,
    }

    impl World {
        fn ports(&self) -> KeyPorts<'_> {
            KeyPorts { keys: self, passphrases: self, entropy: self, clock: self }
        }

        fn asked(&self) -> Vec<&'static str> {
            std::mem::take(&mut self.asked.lock().unwrap())
        }

        fn answer(&self, which: &'static str) -> Result<Passphrase, PassphraseError> {
            self.asked.lock().unwrap().push(which);
            Ok(Passphrase::new(which.to_owned()))
        }

        /// The public key of what `passphrase` opens.
        fn open(&self, name: &KeyName, passphrase: &str) -> Result<PublicKey, OpenError> {
            let secret = self.sealed(name).unwrap().open(&Passphrase::new(passphrase.to_owned()))?;
            Ok(secret.public_key().clone())
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

        fn sealed(&self, name: &KeyName) -> Result<SealedKey, KeyStoreError> {
            self.find(name)?;
            let kept = self.kept.lock().unwrap();
            Ok(kept.iter().find(|(key, _)| key.name == *name).unwrap().1.clone())
        }

        fn create(&self, key: &StoredKey, sealed: &SealedKey) -> Result<(), KeyStoreError> {
            self.kept.lock().unwrap().push((key.clone(), sealed.clone()));
            Ok(())
        }

        fn reseal(&self, _: &KeyName, _: &SealedKey) -> Result<(), KeyStoreError> {
            panic!("an import makes a new key")
        }

        fn note_role(&self, _: &KeyName, _: &HeldRole) -> Result<(), KeyStoreError> {
            panic!("an import makes a new key")
        }

        fn remove(&self, _: &KeyName) -> Result<(), KeyStoreError> {
            panic!("an import removes nothing")
        }

        fn public_path(&self, _: &KeyName) -> Option<PathBuf> {
            None
        }
    }

    impl Passphrases for World {
        fn existing(&self, _: &KeyName) -> Result<Passphrase, PassphraseError> {
            self.answer("old")
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

    fn secret() -> SecretKey {
        SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &Zeroizing::new([5; 32])).unwrap()
    }

    fn notary(passphrase: &str, role: &RoleName, gun: Option<&str>) -> KeyFile {
        let gun = gun.map(|gun| gun.parse().unwrap());
        let labels = NotaryKeyLabels { role, gun: gun.as_ref(), path: None };
        let passphrase = Passphrase::new(passphrase.to_owned());
        KeyFile::parse(&write_notary_key(&secret(), &passphrase, labels, [7; 8], [9; 16])).unwrap()
    }

    fn name(text: &str) -> KeyName {
        text.parse().unwrap()
    }

    #[test]
    fn an_encrypted_file_is_opened_and_sealed_anew() {
        let (world, name) = (World::default(), name("alice"));
        let file = notary("old", &RoleName::Targets, Some("registry.example.com/team/app"));
        let key = import(world.ports(), &name, file).unwrap();
        assert_eq!(world.asked(), ["old", "new"]);
        assert_eq!(key.public, *secret().public_key());
        assert_eq!(world.open(&name, "new"), Ok(key.public));
        assert_eq!(world.open(&name, "old"), Err(OpenError::WrongPassphrase));
        let held = HeldRole {
            repository: "registry.example.com/team/app".parse().unwrap(),
            role: RoleName::Targets,
        };
        assert_eq!(world.find(&name).unwrap().sidecar.roles, [held]);
        assert_eq!(key.sidecar.created, world.now());
    }

    #[test]
    fn a_file_in_the_clear_asks_for_one_passphrase_only() {
        let (world, name) = (World::default(), name("alice"));
        let key = import(world.ports(), &name, KeyFile::parse(SEC1).unwrap()).unwrap();
        assert_eq!(world.asked(), ["fresh"]);
        assert_eq!(world.open(&name, "fresh"), Ok(key.public));
        assert_eq!(key.sidecar.roles, []);
    }

    #[test]
    fn cosigns_own_files_are_read_as_well() {
        let (world, name) = (World::default(), name("alice"));
        let sealed = SealedKey::seal(&secret(), &Passphrase::new("old".to_owned()), [1; 32], [2; 24]);
        let key = import(world.ports(), &name, KeyFile::parse(&sealed.to_pem()).unwrap()).unwrap();
        assert_eq!(world.open(&name, "new"), Ok(key.public));
        assert_ne!(world.sealed(&name).unwrap(), sealed);
    }

    #[test]
    fn nothing_is_kept_or_asked_for_where_the_name_is_taken() {
        let (world, name) = (World::default(), name("alice"));
        import(world.ports(), &name, KeyFile::parse(SEC1).unwrap()).unwrap();
        world.asked();
        let again = import(world.ports(), &name, notary("old", &RoleName::Root, None));
        assert!(matches!(again, Err(KeyError::Exists { .. })));
        assert_eq!((world.asked().len(), world.list().unwrap().len()), (0, 1));
    }

    #[test]
    fn a_wrong_passphrase_keeps_nothing_and_asks_no_further() {
        let world = World::default();
        let refused = import(world.ports(), &name("alice"), notary("other", &RoleName::Root, None));
        let wrong = OpenError::WrongPassphrase;
        assert!(
            matches!(refused, Err(KeyError::Unlock(UnlockError::Open { source, .. })) if source == wrong)
        );
        assert_eq!((world.asked(), world.list().unwrap().len()), (vec!["old"], 0));
    }

    #[test]
    fn only_a_whole_claim_is_noted() {
        let carol = "carol".parse().unwrap();
        for (role, gun, noted) in [
            (&RoleName::Root, None, false),
            (&RoleName::Snapshot, Some("a.b/c"), true),
            (&carol, None, false),
            (&carol, Some("a.b/c"), false),
        ] {
            assert_eq!(held_role(&notary("old", role, gun)).is_some(), noted, "{role} {gun:?}");
        }
        let mut file = notary("old", &RoleName::Targets, None);
        file.gun = Some("../a".into());
        assert_eq!(held_role(&file), None);
    }
}
