//! Bytes that are hashed once on their way.

use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sha2::{Digest as _, Sha256, Sha512};

use crate::digest::{Sha256Digest, Sha512Digest};

/// Bytes with their digests, each of which is computed when it is first asked for. Clones share them, also between
/// threads: a large document is judged on one and brought to the disk on another.
#[derive(Clone)]
pub struct Hashed {
    bytes: Bytes,
    digests: Arc<Digests>,
}

#[derive(Default)]
struct Digests {
    sha256: OnceLock<Sha256Digest>,
    sha512: OnceLock<Sha512Digest>,
}

impl Hashed {
    /// The SHA-256 digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        *self.digests.sha256.get_or_init(|| Sha256Digest::of(&self.bytes))
    }

    /// The SHA-512 digest of the bytes.
    #[must_use]
    pub fn sha512(&self) -> Sha512Digest {
        *self.digests.sha512.get_or_init(|| Sha512Digest::of(&self.bytes))
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

impl From<Bytes> for Hashed {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, digests: Arc::default() }
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

/// Bytes that come in pieces and are hashed meanwhile: when the last piece of a large document is there, so are
/// its digests.
#[derive(Default)]
pub struct Hashing {
    bytes: Vec<u8>,
    sha256: Sha256,
    sha512: Option<Sha512>,
}

/// Bytes, and what has to live as long as they do.
struct Kept<T> {
    bytes: Vec<u8>,
    _beside: T,
}

impl Hashing {
    /// Computes both digests.
    #[must_use]
    pub fn with_sha512() -> Self {
        Self { sha512: Some(Sha512::new()), ..Self::default() }
    }

    /// How many bytes there are so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there are none yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Adds a piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        self.sha256.update(piece);
        if let Some(sha512) = &mut self.sha512 {
            sha512.update(piece);
        }
    }

    /// All pieces. `beside` is dropped with the last clone of them.
    pub fn finish<T: Send + 'static>(self, beside: T) -> Hashed {
        let Self { bytes, sha256, sha512 } = self;
        let digests = Digests {
            sha256: Sha256Digest::from_bytes(sha256.finalize().into()).into(),
            sha512: sha512.map_or_else(OnceLock::new, |sha512| {
                Sha512Digest::from_bytes(sha512.finalize().into()).into()
            }),
        };
        Hashed { bytes: Bytes::from_owner(Kept { bytes, _beside: beside }), digests: Arc::new(digests) }
    }
}

impl<T> AsRef<[u8]> for Kept<T> {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
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
        assert_eq!(clone.sha512(), Sha512Digest::of(b"abc"));
        assert_eq!(hashed.digests.sha256.get(), Some(&clone.digest()));
        assert_eq!(hashed.digests.sha512.get(), Some(&clone.sha512()));
    }

    #[test]
    fn pieces_have_the_digests_of_the_whole() {
        let text: Vec<u8> = (0..=255).cycle().take(1_000).collect();
        for piece in [1, 63, 64, 65, 128, 1_000] {
            for mut hashing in [Hashing::default(), Hashing::with_sha512()] {
                let is_both = hashing.sha512.is_some();
                text.chunks(piece).for_each(|piece| hashing.add(piece));
                assert_eq!(hashing.len(), text.len());
                let whole = hashing.finish(());
                assert_eq!(whole.bytes(), &text);
                assert_eq!(whole.digests.sha256.get(), Some(&Sha256Digest::of(&text)));
                assert_eq!(whole.digests.sha512.get().is_some(), is_both);
                assert_eq!(whole.sha512(), Sha512Digest::of(&text));
            }
        }
    }

    #[test]
    fn what_is_beside_lives_as_long_as_the_bytes() {
        let beside = Arc::new(());
        let mut hashing = Hashing::default();
        hashing.add(b"abc");
        let whole = hashing.finish(Arc::clone(&beside));
        let part = whole.bytes().slice(1..2);
        drop(whole);
        assert_eq!(Arc::strong_count(&beside), 2);
        drop(part);
        assert_eq!(Arc::strong_count(&beside), 1);
    }
}
