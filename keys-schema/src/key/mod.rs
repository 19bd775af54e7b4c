//! Keys: who may sign, told apart by key material and by nothing else.

mod algorithm;
mod id;
mod passphrase;
mod pem;
mod public;
mod rsa_pss;
mod sealed;
mod secret;
mod sidecar;
mod signer;

pub use algorithm::{InvalidKeyAlgorithm, KeyAlgorithm, tuf_keytype_and_scheme};
pub use id::{Fingerprint, InvalidFingerprint, InvalidKeyId, KeyId};
pub use passphrase::Passphrase;
pub use pem::InvalidPem;
pub use public::{BadSignature, InvalidPublicKey, PublicKey};
pub use sealed::{InvalidSealedKey, NONCE_BYTES, OpenError, SALT_BYTES, SealedKey};
pub use secret::{InvalidSecretKey, SecretKey};
pub use sidecar::{HeldRole, InvalidKeyName, InvalidSidecar, KeyName, KeySidecar};
pub use signer::{SignError, Signer};

#[cfg(test)]
mod samples {
    //! Key files of other implementations; `tests/data/keys/make.py` writes them.

    /// The text of a file in `tests/data/keys`.
    #[expect(clippy::disallowed_methods, reason = "the core reads no files, its tests read samples")]
    pub(super) fn read(name: &str) -> String {
        let path = format!("{}/tests/data/keys/{name}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// The bytes of a file of hex digits there.
    pub(super) fn read_hex(name: &str) -> Vec<u8> {
        hex::decode(read(name).trim()).unwrap()
    }

    /// The bytes of a PEM file there, whatever its label.
    pub(super) fn read_der(name: &str) -> Vec<u8> {
        pem_rfc7468::decode_vec(read(name).as_bytes()).unwrap().1
    }
}
