//! The system's randomness.

use crate::port::{Entropy, EntropyError};

/// `getrandom(2)` and its like.
#[derive(Clone, Copy, Debug)]
pub struct OsEntropy;

impl Entropy for OsEntropy {
    fn fill(&self, buffer: &mut [u8]) -> Result<(), EntropyError> {
        getrandom::fill(buffer).map_err(|error| EntropyError { reason: error.to_string() })
    }
}
