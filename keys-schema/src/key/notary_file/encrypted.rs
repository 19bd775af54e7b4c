//! Keys under a passphrase: PBES2 of PKCS#8, and the encrypted PEM that was before it.

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use aes::{Aes128, Aes192, Aes256};
use md5::{Digest as _, Md5};
use pbkdf2::pbkdf2_hmac;
use pkcs8::der::asn1::OctetStringRef;
use pkcs8::der::{Decode as _, Error, ErrorKind, Reader as _, SliceReader};
use pkcs8::pkcs5::pbes2::{EncryptionScheme, Kdf, PBES2_OID, Parameters, Pbkdf2Params, Pbkdf2Prf};
use pkcs8::spki::{AlgorithmIdentifierRef, ObjectIdentifier};
use sha1::Sha1;
use sha2::{Sha256, Sha512};
use zeroize::Zeroizing;

use super::contents::Form;
use super::{InvalidKeyFile, Pbkdf2Digest, Protection};
use crate::key::{OpenError, Passphrase, SecretKey};

/// Length of a block of AES, in bytes.
const BLOCK_BYTES: usize = 16;
/// Most rounds of PBKDF2 done for a file: some seconds.
const ITERATIONS: u32 = 10_000_000;

/// Names of what is not read, for messages. Anything else shows its number.
const OTHERS: [(&str, &str); 6] = [
    ("1.2.840.113549.1.5.3", "PBES1 with MD5 and DES"),
    ("1.2.840.113549.1.5.10", "PBES1 with SHA-1 and DES"),
    ("1.2.840.113549.1.12.1.3", "PKCS#12 with triple DES"),
    ("1.2.840.113549.1.12.1.6", "PKCS#12 with RC2"),
    ("1.2.840.113549.3.7", "triple DES"),
    ("1.3.14.3.2.7", "DES"),
];

/// An encrypted key, and what it takes to open it but the passphrase.
pub(super) struct Locked {
    form: Form,
    derivation: Derivation,
    cipher: Cipher,
    iv: [u8; BLOCK_BYTES],
    ciphertext: Vec<u8>,
}

enum Derivation {
    /// OpenSSL's `EVP_BytesToKey` with MD5, one round, and half the IV as salt.
    Md5,
    Pbkdf2 {
        params: Pbkdf2Params,
        digest: Pbkdf2Digest,
    },
}

/// AES in CBC mode, with a key of that many bits.
#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
}

impl Locked {
    /// Reads an `EncryptedPrivateKeyInfo` (RFC 5958 3).
    pub(super) fn from_pkcs8(der: &[u8]) -> Result<Self, InvalidKeyFile> {
        let (algorithm, ciphertext) = two_parts(der).map_err(|_| InvalidKeyFile::Structure)?;
        if algorithm.oid != PBES2_OID {
            return Err(unsupported(&algorithm.oid));
        }
        let parameters = algorithm.parameters.ok_or(InvalidKeyFile::Structure)?;
        let parameters = Parameters::try_from(parameters).map_err(|error| match error.kind() {
            ErrorKind::OidUnknown { oid } => unsupported(&oid),
            _ => InvalidKeyFile::Structure,
        })?;
        let (cipher, iv) = match parameters.encryption {
            EncryptionScheme::Aes128Cbc { iv } => (Cipher::Aes128, iv),
            EncryptionScheme::Aes192Cbc { iv } => (Cipher::Aes192, iv),
            EncryptionScheme::Aes256Cbc { iv } => (Cipher::Aes256, iv),
            other => return Err(unsupported(&other.oid())),
        };
        let derivation = derivation(&parameters.kdf, cipher)?;
        Self { form: Form::Pkcs8, derivation, cipher, iv, ciphertext: ciphertext.as_bytes().to_vec() }.whole()
    }

    /// Takes `DEK-Info: AES-256-CBC,<IV in hex>` (RFC 1421 4.6.1.3, with OpenSSL's names).
    pub(super) fn from_dek_info(form: Form, info: &str, ciphertext: &[u8]) -> Result<Self, InvalidKeyFile> {
        let (name, iv) = info.split_once(',').ok_or(InvalidKeyFile::Headers)?;
        let cipher = match name {
            "AES-128-CBC" => Cipher::Aes128,
            "AES-192-CBC" => Cipher::Aes192,
            "AES-256-CBC" => Cipher::Aes256,
            other => return Err(InvalidKeyFile::Encryption { algorithm: other.to_owned() }),
        };
        let mut bytes = [0; BLOCK_BYTES];
        hex::decode_to_slice(iv, &mut bytes).map_err(|_| InvalidKeyFile::Headers)?;
        let ciphertext = ciphertext.to_vec();
        Self { form, derivation: Derivation::Md5, cipher, iv: bytes, ciphertext }.whole()
    }

    pub(super) const fn protection(&self) -> Protection {
        match &self.derivation {
            Derivation::Md5 => Protection::Md5,
            Derivation::Pbkdf2 { params, digest } => {
                Protection::Pbkdf2 { digest: *digest, iterations: params.iteration_count }
            }
        }
    }

    /// A wrong passphrase shows in the padding 255 times in 256, and else in what is not
    /// even the outline of a key. Nothing tells it from a damaged ciphertext.
    pub(super) fn open(&self, passphrase: &Passphrase) -> Result<SecretKey, OpenError> {
        let content = self.decrypt(passphrase).filter(|content| self.form.has_outline(content));
        Ok(self.form.read(&content.ok_or(OpenError::WrongPassphrase)?)?)
    }

    fn whole(self) -> Result<Self, InvalidKeyFile> {
        let is_whole = !self.ciphertext.is_empty() && self.ciphertext.len().is_multiple_of(BLOCK_BYTES);
        if is_whole { Ok(self) } else { Err(InvalidKeyFile::Structure) }
    }

    fn decrypt(&self, passphrase: &Passphrase) -> Option<Zeroizing<Vec<u8>>> {
        let key = self.derive(passphrase.as_bytes());
        let mut buffer = Zeroizing::new(self.ciphertext.clone());
        let length = match self.cipher {
            Cipher::Aes128 => decrypt::<Aes128>(key.first_chunk::<16>()?, &self.iv, &mut buffer),
            Cipher::Aes192 => decrypt::<Aes192>(key.first_chunk::<24>()?, &self.iv, &mut buffer),
            Cipher::Aes256 => decrypt::<Aes256>(&*key, &self.iv, &mut buffer),
        }?;
        buffer.truncate(length);
        Some(buffer)
    }

    /// 32 bytes; the shorter keys are their beginnings.
    fn derive(&self, passphrase: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        match &self.derivation {
            Derivation::Md5 => bytes_to_key(passphrase, &self.iv, &mut key),
            Derivation::Pbkdf2 { params, digest } => {
                let (salt, rounds) = (params.salt.as_bytes(), params.iteration_count);
                match digest {
                    Pbkdf2Digest::Sha1 => pbkdf2_hmac::<Sha1>(passphrase, salt, rounds, &mut *key),
                    Pbkdf2Digest::Sha256 => pbkdf2_hmac::<Sha256>(passphrase, salt, rounds, &mut *key),
                    Pbkdf2Digest::Sha512 => pbkdf2_hmac::<Sha512>(passphrase, salt, rounds, &mut *key),
                }
            }
        }
        key
    }
}

fn two_parts(der: &[u8]) -> Result<(AlgorithmIdentifierRef<'_>, &OctetStringRef), Error> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|inner| {
        Ok::<_, Error>((AlgorithmIdentifierRef::decode(inner)?, <&OctetStringRef>::decode(inner)?))
    })?;
    reader.finish()?;
    Ok(parts)
}

fn derivation(kdf: &Kdf, cipher: Cipher) -> Result<Derivation, InvalidKeyFile> {
    let Kdf::Pbkdf2(params) = kdf else {
        return Err(InvalidKeyFile::Encryption { algorithm: "scrypt".to_owned() });
    };
    let digest = match params.prf {
        Pbkdf2Prf::HmacWithSha1 => Pbkdf2Digest::Sha1,
        Pbkdf2Prf::HmacWithSha256 => Pbkdf2Digest::Sha256,
        Pbkdf2Prf::HmacWithSha512 => Pbkdf2Digest::Sha512,
        other => return Err(unsupported(&other.oid())),
    };
    let found = params.iteration_count;
    if !(1..=ITERATIONS).contains(&found) {
        return Err(InvalidKeyFile::Iterations { found, limit: ITERATIONS });
    }
    let key_bytes = match cipher {
        Cipher::Aes128 => 16,
        Cipher::Aes192 => 24,
        Cipher::Aes256 => 32,
    };
    if params.key_length.is_some_and(|length| length != key_bytes) {
        return Err(InvalidKeyFile::Structure);
    }
    Ok(Derivation::Pbkdf2 { params: *params, digest })
}

fn unsupported(oid: &ObjectIdentifier) -> InvalidKeyFile {
    let number = oid.to_string();
    let known = OTHERS.iter().find(|(other, _)| *other == number);
    let algorithm = known.map_or_else(|| format!("OID {number}"), |(_, name)| (*name).to_owned());
    InvalidKeyFile::Encryption { algorithm }
}

/// The length of what is left without the padding.
fn decrypt<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], buffer: &mut [u8]) -> Option<usize> {
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).ok()?;
    cipher.decrypt_padded::<Pkcs7>(buffer).ok().map(<[u8]>::len)
}

/// OpenSSL's `EVP_BytesToKey`: MD5 over the digest before, the passphrase and the salt,
/// until there is enough.
fn bytes_to_key(passphrase: &[u8], iv: &[u8; BLOCK_BYTES], key: &mut [u8; 32]) {
    let salt = iv.first_chunk::<8>().map_or(&[][..], |salt| salt);
    let mut digest = Zeroizing::new(Vec::new());
    for part in key.chunks_exact_mut(16) {
        let mut md5 = Md5::new();
        md5.update(&*digest);
        md5.update(passphrase);
        md5.update(salt);
        digest = Zeroizing::new(md5.finalize().to_vec());
        part.copy_from_slice(&digest);
    }
}

#[cfg(test)]
mod tests {
    use pkcs8::EncryptedPrivateKeyInfoRef;
    use pkcs8::der::Encode as _;
    use pkcs8::pkcs5::pbes2::{AES_128_GCM_OID, Salt};

    use super::*;
    use crate::key::InvalidSecretKey;

    fn parameters() -> Pbkdf2Params {
        Pbkdf2Params {
            salt: Salt::new([7; 8]).unwrap(),
            iteration_count: 1,
            key_length: None,
            prf: Pbkdf2Prf::HmacWithSha1,
        }
    }

    fn pkcs8(params: Pbkdf2Params, encryption: EncryptionScheme, ciphertext: &[u8]) -> Vec<u8> {
        let parameters = Parameters { kdf: params.into(), encryption };
        let encrypted_data = OctetStringRef::new(ciphertext).unwrap();
        EncryptedPrivateKeyInfoRef { encryption_algorithm: parameters.into(), encrypted_data }
            .to_der()
            .unwrap()
    }

    fn aes256() -> EncryptionScheme {
        EncryptionScheme::Aes256Cbc { iv: [9; 16] }
    }

    fn refusal(der: &[u8]) -> InvalidKeyFile {
        Locked::from_pkcs8(der).err().unwrap()
    }

    #[test]
    fn bounds_the_work() {
        for found in [0, ITERATIONS + 1, u32::MAX] {
            let params = Pbkdf2Params { iteration_count: found, ..parameters() };
            let expected = InvalidKeyFile::Iterations { found, limit: ITERATIONS };
            assert_eq!(refusal(&pkcs8(params, aes256(), &[0; 16])), expected);
        }
        let params = Pbkdf2Params { iteration_count: ITERATIONS, ..parameters() };
        assert!(Locked::from_pkcs8(&pkcs8(params, aes256(), &[0; 16])).is_ok());
    }

    #[test]
    fn refuses_parameters_that_do_not_fit() {
        for key_length in [Some(16), Some(31), Some(33)] {
            let params = Pbkdf2Params { key_length, ..parameters() };
            assert_eq!(refusal(&pkcs8(params, aes256(), &[0; 16])), InvalidKeyFile::Structure);
        }
        let params = Pbkdf2Params { key_length: Some(32), ..parameters() };
        assert!(Locked::from_pkcs8(&pkcs8(params, aes256(), &[0; 16])).is_ok());
        let gcm = EncryptionScheme::Aes128Gcm { nonce: [0; 12] };
        assert_eq!(refusal(&pkcs8(parameters(), gcm, &[0; 16])), unsupported(&AES_128_GCM_OID));
        for length in [0, 1, 15, 17, 31] {
            let der = pkcs8(parameters(), aes256(), &vec![0; length]);
            assert_eq!(refusal(&der), InvalidKeyFile::Structure, "{length}");
        }
        let good = pkcs8(parameters(), aes256(), &[0; 16]);
        for end in 0..good.len() {
            assert_eq!(refusal(&good[..end]), InvalidKeyFile::Structure, "{end}");
        }
        assert_eq!(refusal(&[&good[..], &[0]].concat()), InvalidKeyFile::Structure);
    }

    /// RFC 8018 says nothing of what a wrong key leaves behind, so it is tried: of 2000 wrong
    /// ones several make a padding that is right.
    #[test]
    fn a_right_padding_alone_is_no_right_passphrase() {
        let locked = Locked::from_pkcs8(&pkcs8(parameters(), aes256(), &[3; 64])).unwrap();
        let mut padded = 0;
        for number in 0..2000 {
            let passphrase = Passphrase::new(format!("{number}"));
            padded += u32::from(locked.decrypt(&passphrase).is_some());
            assert_eq!(locked.open(&passphrase).err(), Some(OpenError::WrongPassphrase), "{number}");
        }
        assert!(padded > 0);
    }

    #[test]
    fn what_was_altered_inside_is_a_broken_key() {
        // In CBC, a change of the IV changes the same bits of the first block: the version.
        let text = crate::key::samples::notary_key_der("openssl-pbes2-sha1-aes256");
        let mut locked = Locked::from_pkcs8(&text).unwrap();
        locked.iv[5] ^= 4;
        let error = locked.open(&Passphrase::new("correct horse".to_owned())).err();
        assert_eq!(error, Some(OpenError::BrokenKey { source: InvalidSecretKey::Encoding }));
    }
}
