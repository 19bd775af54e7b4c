//! Keys and certificates that other programs made.

use bulla_keys_schema::key::{PublicKey, SecretKey};
use rsa::pkcs8::DecodePrivateKey as _;
use rsa::rand_core::{CryptoRng, Error, RngCore};
use rsa::sha2::Sha256;
use rsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer as _};

/// The text of a certificate.
pub fn certificate(name: &str) -> String {
    read(&format!("certificates/{name}.pem"))
}

/// The key that the certificates whose names begin with `p256` are for.
pub fn p256() -> SecretKey {
    SecretKey::from_pkcs8_der(&der("keys/p256-secret.pem")).unwrap()
}

/// An RSA key, which Bulla only verifies with.
pub fn rsa() -> PublicKey {
    PublicKey::from_pem(&read("keys/rsa-2048.pem")).unwrap()
}

/// A signature by it: RSASSA-PSS, or the older kind.
pub fn rsa_sign(message: &[u8], is_pss: bool) -> Vec<u8> {
    let key = rsa::RsaPrivateKey::from_pkcs8_der(&der("keys/rsa-2048-secret.pem")).unwrap();
    if is_pss {
        return rsa::pss::SigningKey::<Sha256>::new(key).sign_with_rng(&mut Zeros, message).to_vec();
    }
    rsa::pkcs1v15::SigningKey::<Sha256>::new(key).sign(message).to_vec()
}

/// The files of a folder, by name.
pub fn folder(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap()))
        .collect()
}

fn der(name: &str) -> Vec<u8> {
    pem_rfc7468::decode_vec(read(name).as_bytes()).unwrap().1
}

fn read(name: &str) -> String {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The same salt in every run.
struct Zeros;

impl RngCore for Zeros {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(0);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        bytes.fill(0);
        Ok(())
    }
}

impl CryptoRng for Zeros {}
