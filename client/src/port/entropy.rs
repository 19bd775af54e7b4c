//! Randomness: for keys, for the salt of a sealed key, for operation ids, for jitter.

/// A source of random bytes fit for secrets.
pub trait Entropy: Send + Sync {
    /// Fills `buffer`.
    ///
    /// # Errors
    /// The source failed; nothing may be made from the buffer.
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError>;
}

/// The system gave no randomness.
#[derive(Debug, thiserror::Error)]
#[error("the system's source of randomness failed: {reason}")]
pub struct EntropyError {
    /// What the system said.
    pub reason: String,
}
