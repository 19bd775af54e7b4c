//! Writing key files that other programs can use: docker and notary, and whatever reads PKCS#8.

use aes::Aes256;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeEncrypt as _, KeyIvInit as _};
use pbkdf2::pbkdf2_hmac;
use pkcs8::EncryptedPrivateKeyInfoRef;
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Parameters, Pbkdf2Params, Pbkdf2Prf, Salt};
use sha1::Sha1;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::ENCRYPTED_LABEL;
use crate::key::{KeyAlgorithm, KeyId, Passphrase, SecretKey, pem};
use crate::names::{RepositoryName, RoleName};

/// Length of the salt, in bytes.
pub const NOTARY_SALT_BYTES: usize = 8;
/// Length of the salt in PKCS#8 that is not for Notary, in bytes.
pub const PKCS8_SALT_BYTES: usize = 16;
/// Length of the initialisation vector, in bytes.
pub const IV_BYTES: usize = 16;

/// What Notary writes. It reads any number, but only with HMAC-SHA-1.
const NOTARY_ITERATIONS: u32 = 2048;
/// OWASP's advice for PBKDF2 with HMAC-SHA-256; a part of a second.
const PKCS8_ITERATIONS: u32 = 600_000;

/// PKCS#8 up to the secret number of a P-256 key: version 1, `ecPublicKey` on the curve, then
/// SEC 1 with its version.
const P256_FRONT: [u8; 36] = [
    0x30, 0x81, 0x93, 0x02, 0x01, 0x01, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
    0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x79, 0x30, 0x77, 0x02, 0x01, 0x01,
    0x04, 0x20,
];
/// Between the number and the public point: the curve again, and the bit string's header.
const P256_MIDDLE: [u8; 17] =
    [0xa0, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0xa1, 0x44, 0x03, 0x42, 0x00];
/// PKCS#8 up to the 96 bytes of an Ed25519 key: version 0, and Notary's number for it.
const ED25519_FRONT: [u8; 20] = [
    0x30, 0x72, 0x02, 0x01, 0x00, 0x30, 0x0b, 0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f,
    0x01, 0x04, 0x60,
];

/// What a key file says about the key in it.
#[derive(Clone, Copy, Debug)]
pub struct NotaryKeyLabels<'a> {
    /// `root`, `targets`, `snapshot`, or the name of a signer.
    pub role: &'a RoleName,
    /// The repository of a targets or snapshot key; others have none.
    pub gun: Option<&'a RepositoryName>,
    /// Notary's id of the key, without which `notary key import` and `docker trust key load`
    /// take no encrypted file. Files inside their folder have it as their name instead.
    pub path: Option<&'a KeyId>,
}

/// Encrypts a key as docker and notary do, which is weak: whoever has the file can try
/// millions of passphrases a second. For sharing a key with them, not for keeping it. The
/// caller brings the randomness; a salt and an IV are used once.
#[must_use]
pub fn write_notary_key(
    secret: &SecretKey,
    passphrase: &Passphrase,
    labels: NotaryKeyLabels<'_>,
    salt: [u8; NOTARY_SALT_BYTES],
    iv: [u8; IV_BYTES],
) -> String {
    let (role, gun) = (labels.role.to_string(), labels.gun.map(RepositoryName::as_str));
    let headers = [("gun", gun), ("path", labels.path.map(KeyId::as_str)), ("role", Some(&role))];
    let headers: Vec<(&str, &str)> =
        headers.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2_hmac::<Sha1>(passphrase.as_bytes(), &salt, NOTARY_ITERATIONS, &mut *key);
    let ciphertext = encrypt(&contents(secret), &key, &iv);
    let derivation = derivation(&salt, NOTARY_ITERATIONS, Pbkdf2Prf::HmacWithSha1);
    pem::encode_with_headers(ENCRYPTED_LABEL, &headers, &pkcs8(&ciphertext, derivation, iv))
}

/// Encrypts a key as PKCS#8 for OpenSSL, Java, Python and all that reads PBES2 (RFC 8018 6.2):
/// PBKDF2 with 600000 rounds of HMAC-SHA-256, and AES-256-CBC. Neither docker nor notary
/// opens it. The caller brings the randomness; a salt and an IV are used once.
#[must_use]
pub fn write_pkcs8_key(
    secret: &SecretKey,
    passphrase: &Passphrase,
    salt: [u8; PKCS8_SALT_BYTES],
    iv: [u8; IV_BYTES],
) -> String {
    let mut key = Zeroizing::new([0; 32]);
    pbkdf2_hmac::<Sha256>(passphrase.as_bytes(), &salt, PKCS8_ITERATIONS, &mut *key);
    let ciphertext = encrypt(&secret.to_pkcs8_der(), &key, &iv);
    let derivation = derivation(&salt, PKCS8_ITERATIONS, Pbkdf2Prf::HmacWithSha256);
    pem::encode(ENCRYPTED_LABEL, &pkcs8(&ciphertext, derivation, iv))
}

/// The bytes that Go's encoder makes of Notary's structure.
fn contents(secret: &SecretKey) -> Zeroizing<Vec<u8>> {
    let (seed, public) = (secret.seed(), secret.public_key());
    let spki = public.to_spki_der();
    let mut der = Zeroizing::new(Vec::with_capacity(256));
    let parts: [&[u8]; 4] = match public.algorithm() {
        KeyAlgorithm::Ed25519 => {
            let public = spki.last_chunk::<32>().map_or(&[][..], |key| key);
            [&ED25519_FRONT, public, &*seed, public]
        }
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::RsaPss => {
            let point = spki.last_chunk::<65>().map_or(&[][..], |point| point);
            [&P256_FRONT, &*seed, &P256_MIDDLE, point]
        }
    };
    for part in parts {
        der.extend_from_slice(part);
    }
    der
}

fn encrypt(content: &[u8], key: &[u8; 32], iv: &[u8; IV_BYTES]) -> Vec<u8> {
    // With room for all of it: a buffer that grows leaves copies behind.
    let mut buffer = Zeroizing::new(vec![0; content.len() + IV_BYTES]);
    buffer.iter_mut().zip(content).for_each(|(to, from)| *to = *from);
    let cipher = cbc::Encryptor::<Aes256>::new(key.into(), iv.into());
    #[expect(clippy::expect_used, reason = "the buffer has room for one more block")]
    let ciphertext = cipher.encrypt_padded::<Pkcs7>(&mut buffer, content.len()).expect("room");
    ciphertext.to_vec()
}

#[expect(clippy::expect_used, reason = "both salts are short")]
fn derivation(salt: &[u8], iteration_count: u32, prf: Pbkdf2Prf) -> Pbkdf2Params {
    Pbkdf2Params { salt: Salt::new(salt).expect("a short salt"), iteration_count, key_length: None, prf }
}

/// `EncryptedPrivateKeyInfo` (RFC 5958 3).
#[expect(clippy::expect_used, reason = "everything in it has a fixed or small length")]
fn pkcs8(ciphertext: &[u8], derivation: Pbkdf2Params, iv: [u8; IV_BYTES]) -> Vec<u8> {
    let parameters = Parameters { kdf: derivation.into(), encryption: EncryptionScheme::Aes256Cbc { iv } };
    let info = EncryptedPrivateKeyInfoRef {
        encryption_algorithm: parameters.into(),
        encrypted_data: OctetStringRef::new(ciphertext).expect("a short text"),
    };
    info.to_der().expect("plain values")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::OpenError;
    use crate::key::notary_file::{KeyFile, KeyFileContent, Pbkdf2Digest, Protection};

    fn secret(algorithm: KeyAlgorithm) -> SecretKey {
        SecretKey::from_seed(algorithm, &Zeroizing::new([5; 32])).unwrap()
    }

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    #[test]
    fn reads_what_it_wrote() {
        let (role, gun) = (RoleName::Targets, "registry.example.com:5000/team/app".parse().unwrap());
        let path: KeyId = "ab".repeat(32).parse().unwrap();
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
            let secret = secret(algorithm);
            let labels = NotaryKeyLabels { role: &role, gun: Some(&gun), path: Some(&path) };
            let text = write_notary_key(&secret, &passphrase("correct horse"), labels, [7; 8], [9; 16]);
            let head = format!(
                "-----BEGIN ENCRYPTED PRIVATE KEY-----\ngun: {gun}\npath: {path}\nrole: targets\n\nM"
            );
            assert!(text.starts_with(&head), "{text}");
            let file = KeyFile::parse(&text).unwrap();
            assert_eq!((file.role.as_deref(), file.gun.as_deref()), (Some("targets"), Some(gun.as_str())));
            let expected = Protection::Pbkdf2 { digest: Pbkdf2Digest::Sha1, iterations: 2048 };
            assert_eq!(file.protection, expected);
            let KeyFileContent::Encrypted(encrypted) = file.content else { panic!("in the clear") };
            let read = encrypted.open(&passphrase("correct horse")).unwrap();
            assert_eq!(read.public_key(), secret.public_key());
            assert_eq!(encrypted.open(&passphrase("correct")).err(), Some(OpenError::WrongPassphrase));
        }
    }

    #[test]
    fn writes_pkcs8_with_work_behind_the_passphrase() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
            let secret = secret(algorithm);
            let text = write_pkcs8_key(&secret, &passphrase("correct horse"), [7; 16], [9; 16]);
            assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nM"), "{text}");
            let file = KeyFile::parse(&text).unwrap();
            let expected = Protection::Pbkdf2 { digest: Pbkdf2Digest::Sha256, iterations: 600_000 };
            assert_eq!((file.protection, file.protection.is_weak()), (expected, false));
            let KeyFileContent::Encrypted(encrypted) = file.content else { panic!("in the clear") };
            let read = encrypted.open(&passphrase("correct horse")).unwrap();
            assert_eq!(read.public_key(), secret.public_key());
        }
    }

    #[test]
    fn leaves_out_what_is_not_known() {
        let labels = NotaryKeyLabels { role: &RoleName::Root, gun: None, path: None };
        let text =
            write_notary_key(&secret(KeyAlgorithm::EcdsaP256), &passphrase(""), labels, [7; 8], [9; 16]);
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nrole: root\n\nM"), "{text}");
    }
}
