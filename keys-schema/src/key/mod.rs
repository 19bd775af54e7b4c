//! Keys: who may sign, told apart by key material and by nothing else.

mod algorithm;
mod certificate;
mod id;
mod key_text;
mod notary_file;
mod passphrase;
mod pem;
mod public;
mod rsa_pss;
mod sealed;
mod secret;
mod sidecar;
mod signer;

pub use algorithm::{InvalidKeyAlgorithm, KeyAlgorithm, tuf_keytype_and_scheme};
pub use certificate::{Certificate, InvalidCertificate, SelfSignError};
pub use id::{Fingerprint, InvalidFingerprint, InvalidKeyId, KeyId};
pub use key_text::{InvalidKeyText, KeyText, Spelling};
pub use notary_file::{
    EncryptedKey, IV_BYTES, InvalidKeyFile, KeyFile, KeyFileContent, NOTARY_SALT_BYTES, NotaryKeyLabels,
    PKCS8_SALT_BYTES, Pbkdf2Digest, Protection, write_notary_key, write_pkcs8_key,
};
pub use passphrase::Passphrase;
pub use pem::InvalidPem;
pub use public::{BadSignature, InvalidPublicKey, PublicKey, p256_signature_from_raw, p256_signature_to_raw};
pub use sealed::{InvalidSealedKey, NONCE_BYTES, OpenError, SALT_BYTES, SealedKey};
pub use secret::{InvalidSecretKey, SecretKey};
pub use sidecar::{
    HeldRole, InvalidKeyName, InvalidKeySource, InvalidSidecar, KeyName, KeySidecar, KeySource, LoadedKey,
};
pub use signer::{SignError, Signer};

#[cfg(test)]
mod samples {
    //! Key files of other implementations; a script in each folder makes them.

    /// The text of a file in `tests/data/keys`.
    #[expect(clippy::disallowed_methods, reason = "the core reads no files, its tests read samples")]
    pub(super) fn read(name: &str) -> String {
        let path = format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The bytes of a file of hex digits in `tests/data/keys`.
    pub(super) fn read_hex(name: &str) -> Vec<u8> {
        hex::decode(read(name).trim()).unwrap()
    }

    /// The text of a certificate in `tests/data/certificates`.
    pub(super) fn certificate(name: &str) -> String {
        read(&format!("../certificates/{name}.pem"))
    }

    /// The bytes of the one certificate in a file there.
    pub(super) fn certificate_der(name: &str) -> Vec<u8> {
        pem_rfc7468::decode_vec(certificate(name).as_bytes()).unwrap().1
    }

    /// The text of a private key file in `tests/data/notary-keys`.
    pub(super) fn notary_key(name: &str) -> String {
        read(&format!("../notary-keys/{name}.pem"))
    }

    /// The bytes of a PEM file without headers there.
    pub(super) fn notary_key_der(name: &str) -> Vec<u8> {
        pem_rfc7468::decode_vec(notary_key(name).as_bytes()).unwrap().1
    }

    /// The bytes of a PEM file in `tests/data/keys`, whatever its label.
    pub(super) fn read_der(name: &str) -> Vec<u8> {
        pem_rfc7468::decode_vec(read(name).as_bytes()).unwrap().1
    }
}
