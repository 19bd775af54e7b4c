//! Keys made of their names.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::thread::LocalKey;

use bulla_keys_schema::dialect::tuf1::{key_id, key_object};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::key::{Fingerprint, KeyAlgorithm, KeyId, PublicKey, SecretKey};
use zeroize::Zeroizing;

/// A key whose seed is the digest of its name: every run signs the same bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestKey {
    name: &'static str,
    number: usize,
    algorithm: KeyAlgorithm,
}

impl TestKey {
    pub const fn new(name: &'static str) -> Self {
        Self { name, number: 0, algorithm: KeyAlgorithm::Ed25519 }
    }

    pub const fn p256(name: &'static str) -> Self {
        Self { name, number: 0, algorithm: KeyAlgorithm::EcdsaP256 }
    }

    /// One of many keys of this name.
    pub const fn nth(self, number: usize) -> Self {
        Self { number, ..self }
    }

    pub const fn algorithm(self) -> KeyAlgorithm {
        self.algorithm
    }

    pub fn secret(self) -> SecretKey {
        let seed = Sha256Digest::of(format!("{} {}", self.name, self.number).as_bytes());
        SecretKey::from_seed(self.algorithm, &Zeroizing::new(*seed.as_bytes())).unwrap()
    }

    pub fn public(self) -> PublicKey {
        once(&PUBLIC, format!("{self:?}"), || self.secret().public_key().clone())
    }

    /// The one signature by this key over `message`.
    pub fn sign(self, message: &[u8]) -> Vec<u8> {
        once(&SIGNATURES, (format!("{self:?}"), Sha256Digest::of(message)), || self.secret().sign(message))
    }

    pub fn fingerprint(self) -> Fingerprint {
        self.public().fingerprint()
    }

    pub fn id(self) -> KeyId {
        key_id(&self.public())
    }

    /// The object that declares this key.
    pub fn object(self) -> Json {
        key_object(&self.public())
    }
}

type Known<K, V> = LocalKey<RefCell<BTreeMap<K, V>>>;

thread_local! {
    /// Curves are slow where nothing is optimised, and tests ask for the same again and again.
    static PUBLIC: RefCell<BTreeMap<String, PublicKey>> = const { RefCell::new(BTreeMap::new()) };
    static SIGNATURES: RefCell<BTreeMap<(String, Sha256Digest), Vec<u8>>> =
        const { RefCell::new(BTreeMap::new()) };
}

fn once<K: Ord, V: Clone>(known: &'static Known<K, V>, key: K, make: impl FnOnce() -> V) -> V {
    known.with_borrow_mut(|known| known.entry(key).or_insert_with(make).clone())
}
