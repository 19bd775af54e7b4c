//! The key-encryption key: 32 bytes from a file or a variable.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bulla_keys_schema::digest::Sha256Digest;
use zeroize::Zeroizing;

use crate::private_file;

/// Variable with the key, for hosts that bring secrets that way.
pub const KEK_VARIABLE: &str = "BULLAD_VAULT_KEY";
/// No spelling of 32 bytes is longer.
const LONGEST: u64 = 256;
const DOMAIN: &[u8] = b"bulla key-encryption key id\0";

/// Seals the online keys.
pub struct Kek {
    key: Zeroizing<[u8; 32]>,
    id: KekId,
}

/// Tells key-encryption keys apart without telling them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KekId(pub(super) [u8; 8]);

impl fmt::Display for KekId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Kek {
    /// Reads the key from a file that only its owner may read.
    ///
    /// # Errors
    /// The file cannot be read, is open to others, or holds no key.
    pub fn from_file(path: &Path) -> Result<Self, KekError> {
        let unreadable = |source| KekError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let mode = file.metadata().map_err(unreadable)?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(KekError::Exposed { path: path.to_owned(), mode: mode & 0o777 });
        }
        let mut text = Zeroizing::new(String::with_capacity(usize::try_from(LONGEST).unwrap_or(0)));
        file.take(LONGEST).read_to_string(&mut text).map_err(unreadable)?;
        Self::from_text(&text).ok_or_else(|| KekError::Malformed { place: path.display().to_string() })
    }

    /// Reads the key from the value of [`KEK_VARIABLE`].
    ///
    /// # Errors
    /// It holds no key.
    pub fn from_variable(value: &Zeroizing<String>) -> Result<Self, KekError> {
        Self::from_text(value).ok_or_else(|| KekError::Malformed { place: KEK_VARIABLE.to_owned() })
    }

    /// Reads the key in `path`, which is made with a new key if there is none.
    ///
    /// # Errors
    /// As [`Self::from_file`], and what hinders writing.
    pub fn from_file_or_new(path: &Path) -> Result<Self, KekError> {
        match Self::from_file(path) {
            Err(KekError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        let mut key = Zeroizing::new([0_u8; 32]);
        getrandom::fill(key.as_mut_slice()).map_err(|_| KekError::Randomness)?;
        let text = Zeroizing::new(format!("{}\n", *Zeroizing::new(hex::encode(*key))));
        match private_file::create(path, text.as_bytes()) {
            // Somebody else was faster: theirs counts.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::from_file(path),
            Err(source) => Err(KekError::Write { path: path.to_owned(), source }),
            Ok(()) => Ok(Self::new(key)),
        }
    }

    /// Names this key.
    #[must_use]
    pub const fn id(&self) -> KekId {
        self.id
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.key
    }

    fn from_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let bytes = match text.len() {
            64 => hex::decode(text).ok(),
            44 => STANDARD.decode(text).ok(),
            43 => URL_SAFE_NO_PAD.decode(text).ok(),
            _ => None,
        };
        let bytes = Zeroizing::new(bytes?);
        let mut key = Zeroizing::new([0; 32]);
        if bytes.len() != key.len() {
            return None;
        }
        key.copy_from_slice(&bytes);
        Some(Self::new(key))
    }

    /// The id is half of a hash over 32 random bytes: it tells nothing about them.
    fn new(key: Zeroizing<[u8; 32]>) -> Self {
        let mut input = Zeroizing::new(Vec::with_capacity(DOMAIN.len() + key.len()));
        input.extend_from_slice(DOMAIN);
        input.extend_from_slice(key.as_slice());
        let mut id = [0; 8];
        for (to, from) in id.iter_mut().zip(Sha256Digest::of(&input).as_bytes()) {
            *to = *from;
        }
        Self { key, id: KekId(id) }
    }
}

/// The key-encryption key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KekError {
    /// The file cannot be read.
    #[error("cannot read key-encryption key {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read or write the file.
    #[error(
        "key-encryption key {} has mode {mode:03o}, others may read it\nhint: chmod 600 {}",
        path.display(), path.display()
    )]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// No 32 bytes.
    #[error(
        "no key-encryption key in {place}: expected 32 bytes in hex or base64\nhint: make one with `openssl rand -hex 32`"
    )]
    Malformed {
        /// The file or the variable.
        place: String,
    },
    /// The new key cannot be stored.
    #[error("cannot write key-encryption key {}: {source}", path.display())]
    Write {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Randomness,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_hex_and_base64_and_nothing_else() {
        let hex = "00".repeat(31) + "ff";
        let id = Kek::from_text(&hex).unwrap().id();
        let bytes = hex::decode(&hex).unwrap();
        for same in [STANDARD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes), format!(" {hex}\n")] {
            assert_eq!(Kek::from_text(&same).map(|kek| kek.id()), Some(id), "{same}");
        }
        for bad in ["", "00", &"0".repeat(63), &"g".repeat(64), &"0".repeat(66)] {
            assert!(Kek::from_text(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_file_that_others_may_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kek");
        let made = Kek::from_file_or_new(&path).unwrap();
        assert_eq!(Kek::from_file_or_new(&path).unwrap().id(), made.id());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Kek::from_file(&path), Err(KekError::Exposed { mode: 0o640, .. })));
    }
}
