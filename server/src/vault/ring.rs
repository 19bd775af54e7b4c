//! The key-encryption keys of one server: the one that seals, and older ones that still open.

use bulla_keys_schema::names::RepositoryName;
use bytes::Bytes;

use super::{Kek, KekId, KeySet, UnsealError, VaultError, seal};

/// One key that seals, and keys that it takes the place of.
pub struct Keyring {
    current: Kek,
    old: Vec<Kek>,
}

impl From<Kek> for Keyring {
    fn from(current: Kek) -> Self {
        Self { current, old: Vec::new() }
    }
}

impl Keyring {
    /// `current` seals; what is sealed under one of `old` can still be opened.
    #[must_use]
    pub const fn new(current: Kek, old: Vec<Kek>) -> Self {
        Self { current, old }
    }

    /// Names the key that seals.
    #[must_use]
    pub const fn id(&self) -> KekId {
        self.current.id()
    }

    /// Whether there is another key than the one that seals.
    #[must_use]
    pub fn has_old(&self) -> bool {
        self.old.iter().any(|old| old.id() != self.current.id())
    }

    pub(super) fn close(&self, repository: &RepositoryName, sets: &[KeySet]) -> Result<Bytes, VaultError> {
        seal::close(&self.current, repository, sets)
    }

    /// Opens with the key that it was sealed under.
    pub(super) fn open(
        &self,
        repository: &RepositoryName,
        sealed: &[u8],
    ) -> Result<Vec<KeySet>, UnsealError> {
        let id = seal::sealed_under(sealed);
        let old = self.old.iter().find(|old| id == Some(old.id()));
        seal::open(old.unwrap_or(&self.current), repository, sealed)
    }

    /// Whether it is sealed under the key that seals.
    pub(super) fn is_current(&self, sealed: &[u8]) -> bool {
        seal::sealed_under(sealed) == Some(self.current.id())
    }
}
