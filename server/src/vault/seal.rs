//! The form in which online keys are stored.
//!
//! `format (1) | key-encryption key id (8) | nonce (24) | XChaCha20-Poly1305`, bound to
//! format, id and repository name, so that one repository's keys cannot be put under
//! another's name. Inside, for each set: snapshot, then timestamp key, each as a length
//! byte and PKCS#8.

use bulla_keys_schema::key::SecretKey;
use bulla_keys_schema::names::RepositoryName;
use bytes::Bytes;
use chacha20poly1305::aead::AeadInOut as _;
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::{Kek, KekId, KeySet, VaultError};

const FORMAT: u8 = 1;
const TAG_BYTES: usize = 16;
const MOST_SETS: usize = 8;

/// Seals `sets`.
pub(super) fn close(kek: &Kek, repository: &RepositoryName, sets: &[KeySet]) -> Result<Bytes, VaultError> {
    if sets.len() > MOST_SETS {
        return Err(VaultError::TooMany);
    }
    // Room for everything at once: a buffer that grows leaves copies behind.
    let mut buffer = Zeroizing::new(Vec::with_capacity(sets.len() * 2 * 256 + TAG_BYTES));
    for key in sets.iter().flat_map(|set| [&set.snapshot, &set.timestamp]) {
        let pkcs8 = key.to_pkcs8_der();
        buffer.push(u8::try_from(pkcs8.len()).map_err(|_| UnsealError::Damaged)?);
        buffer.extend_from_slice(&pkcs8);
    }
    let mut nonce = [0; 24];
    getrandom::fill(&mut nonce).map_err(|_| VaultError::Randomness)?;
    XChaCha20Poly1305::new(kek.bytes().into())
        .encrypt_in_place(&XNonce::from(nonce), &context(kek.id(), repository), &mut *buffer)
        .map_err(|_| UnsealError::Damaged)?;
    Ok([&[FORMAT], kek.id().0.as_slice(), &nonce, &buffer].concat().into())
}

/// The key-encryption key that something says it was sealed under.
pub(super) fn sealed_under(sealed: &[u8]) -> Option<KekId> {
    sealed.get(1..)?.first_chunk::<8>().map(|id| KekId(*id))
}

/// The inverse of [`close`].
pub(super) fn open(
    kek: &Kek,
    repository: &RepositoryName,
    sealed: &[u8],
) -> Result<Vec<KeySet>, UnsealError> {
    let (&format, rest) = sealed.split_first().ok_or(UnsealError::Damaged)?;
    if format != FORMAT {
        return Err(UnsealError::Format { format });
    }
    let (&id, rest) = rest.split_first_chunk::<8>().ok_or(UnsealError::Damaged)?;
    if KekId(id) != kek.id() {
        return Err(UnsealError::OtherKek { sealed_under: KekId(id), in_use: kek.id() });
    }
    let (&nonce, ciphertext) = rest.split_first_chunk::<24>().ok_or(UnsealError::Damaged)?;
    let mut buffer = Zeroizing::new(ciphertext.to_vec());
    XChaCha20Poly1305::new(kek.bytes().into())
        .decrypt_in_place(&XNonce::from(nonce), &context(kek.id(), repository), &mut *buffer)
        .map_err(|_| UnsealError::Damaged)?;
    read_sets(&buffer)
}

fn read_sets(mut bytes: &[u8]) -> Result<Vec<KeySet>, UnsealError> {
    let mut sets = Vec::new();
    while !bytes.is_empty() {
        let snapshot = read_key(&mut bytes)?;
        let timestamp = read_key(&mut bytes)?;
        sets.push(KeySet { snapshot, timestamp });
    }
    if sets.is_empty() || sets.len() > MOST_SETS {
        return Err(UnsealError::Damaged);
    }
    Ok(sets)
}

fn read_key(bytes: &mut &[u8]) -> Result<SecretKey, UnsealError> {
    let (&length, rest) = bytes.split_first().ok_or(UnsealError::Damaged)?;
    let (pkcs8, rest) = rest.split_at_checked(usize::from(length)).ok_or(UnsealError::Damaged)?;
    *bytes = rest;
    SecretKey::from_pkcs8_der(pkcs8).map_err(|_| UnsealError::Damaged)
}

fn context(id: KekId, repository: &RepositoryName) -> Vec<u8> {
    [b"bulla online keys\0", [FORMAT].as_slice(), &id.0, repository.as_str().as_bytes()].concat()
}

/// Stored online keys could not be unsealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Sealed under another key-encryption key.
    #[error(
        "the online keys were sealed under key-encryption key {sealed_under}, this server was given {in_use}\n\
         hint: give it the right one with vault.key_file or BULLAD_VAULT_KEY, or with vault.old_key_file to replace it"
    )]
    OtherKek {
        /// The one that is needed.
        sealed_under: KekId,
        /// The one that was given.
        in_use: KekId,
    },
    /// Written by another release.
    #[error("the sealed online keys have format {format}, this server reads {FORMAT}")]
    Format {
        /// What they say.
        format: u8,
    },
    /// Altered, or belonging to another repository.
    #[error("the sealed online keys are damaged or belong to another repository")]
    Damaged,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kek(byte: &str) -> Kek {
        Kek::from_variable(&Zeroizing::new(byte.repeat(32))).unwrap()
    }

    fn repository(name: &str) -> RepositoryName {
        name.parse().unwrap()
    }

    #[test]
    fn keys_come_back_for_their_repository_only() {
        let sets = [KeySet::make().unwrap(), KeySet::make().unwrap()];
        let sealed = close(&kek("01"), &repository("a"), &sets).unwrap();
        let opened = open(&kek("01"), &repository("a"), &sealed).unwrap();
        assert_eq!(opened.len(), 2);
        for (left, right) in sets.iter().zip(&opened) {
            assert!(left.snapshot.public_key() == right.snapshot.public_key());
            assert!(left.timestamp.public_key() == right.timestamp.public_key());
        }
        assert_eq!(open(&kek("01"), &repository("b"), &sealed).err(), Some(UnsealError::Damaged));
    }

    #[test]
    fn a_wrong_key_encryption_key_is_named() {
        let sealed = close(&kek("01"), &repository("a"), &[KeySet::make().unwrap()]).unwrap();
        let error = open(&kek("02"), &repository("a"), &sealed).err().unwrap();
        assert!(error.to_string().contains(&kek("01").id().to_string()));
        assert!(error.to_string().contains(&kek("02").id().to_string()));
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let sealed = close(&kek("01"), &repository("a"), &[KeySet::make().unwrap()]).unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert!(open(&kek("01"), &repository("a"), &changed).is_err(), "byte {at}");
            assert!(open(&kek("01"), &repository("a"), &sealed[..at]).is_err(), "cut at {at}");
        }
    }
}
