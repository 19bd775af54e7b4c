//! Whatever can sign: a key in memory today, a token or an agent tomorrow.

use std::error::Error;

use crate::key::{Fingerprint, PublicKey, SecretKey};

/// Something that signs with one key, which it need not give away.
pub trait Signer: Send + Sync {
    /// The key that verifies what [`Self::sign`] returns.
    fn public_key(&self) -> &PublicKey;

    /// Signs `message` as [`PublicKey::verify`] expects it.
    ///
    /// # Errors
    /// The key cannot be reached, or refuses.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

impl Signer for SecretKey {
    fn public_key(&self) -> &PublicKey {
        Self::public_key(self)
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        Ok(Self::sign(self, message))
    }
}

/// A key could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the key {key} could not sign")]
pub struct SignError {
    /// The key.
    pub key: Fingerprint,
    /// What stood in the way.
    pub source: Box<dyn Error + Send + Sync>,
}
