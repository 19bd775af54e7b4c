//! Bytes that are hashed once on their way.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::digest::Sha256Digest;

/// Bytes with their digest, which is computed when it is first asked for. Clones share it, also between
/// threads: a large document is judged on one and brought to the disk on another.
#[derive(Clone)]
pub struct Hashed {
    bytes: Bytes,
    digest: Arc<OnceLock<Sha256Digest>>,
}

impl Hashed {
    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        *self.digest.get_or_init(|| Sha256Digest::of(&self.bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Hashed {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, digest: Arc::default() }
    }
}

impl Deref for Hashed {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_what_was_computed() {
        let hashed = Hashed::from(Bytes::from_static(b"abc"));
        let clone = hashed.clone();
        assert_eq!(clone.digest(), Sha256Digest::of(b"abc"));
        assert_eq!(hashed.digest.get(), Some(&clone.digest()));
    }
}
