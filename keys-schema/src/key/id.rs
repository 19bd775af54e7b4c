//! Names of keys: the one metadata declares, and the one the key material proves.

use std::fmt;
use std::str::FromStr;

use crate::digest::{InvalidDigest, Sha256Digest};

/// Longest key id read from metadata, in bytes.
const KEY_ID_BYTES: usize = 256;

/// A key id as TUF metadata declares it: an opaque label (TAP 12). Two ids may name one
/// key, so nothing may be counted by key id; see [`Fingerprint`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(Box<str>);

impl KeyId {
    /// The hex form of `digest`, the id that Bulla declares for a key.
    #[must_use]
    pub fn from_digest(digest: Sha256Digest) -> Self {
        Self(digest.to_string().into())
    }

    /// The id as metadata spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = !text.is_empty() && text.len() <= KEY_ID_BYTES && !text.chars().any(char::is_control);
        if !fits {
            return Err(InvalidKeyId);
        }
        Ok(Self(text.into()))
    }
}

/// The text is empty, too long, or holds control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: it must have 1 to 256 bytes and no control characters")]
pub struct InvalidKeyId;

/// SHA-256 of a public key's canonical `SubjectPublicKeyInfo` in DER: one per secret,
/// however the key is written. Thresholds count these, because a role satisfied by one
/// secret under two key ids has no threshold (GHSA-3633-5h82-39pq).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(Sha256Digest);

impl Fingerprint {
    pub(super) const fn new(digest: Sha256Digest) -> Self {
        Self(digest)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }
}

impl fmt::Display for Fingerprint {
    /// 64 lower-case hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Fingerprint {
    type Err = InvalidFingerprint;

    /// 64 lower-case hex digits, with or without `sha256:` in front.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hex = text.strip_prefix("sha256:").unwrap_or(text);
        hex.parse().map(Self).map_err(|InvalidDigest| InvalidFingerprint)
    }
}

/// The text is no fingerprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key fingerprint: expected 64 lower-case hex digits, optionally after `sha256:`")]
pub struct InvalidFingerprint;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_ids_are_opaque_but_bounded() {
        for good in ["a", "\u{e9}", "not hex at all", &"a".repeat(256)] {
            assert_eq!(good.parse::<KeyId>().unwrap().as_str(), good);
        }
        for bad in ["", "a\nb", "\u{85}", "\0", &"a".repeat(257)] {
            assert_eq!(bad.parse::<KeyId>(), Err(InvalidKeyId), "{bad:?}");
        }
    }

    #[test]
    fn fingerprints_read_both_forms_and_write_one() {
        let hex = "0123456789abcdef".repeat(4);
        let fingerprint: Fingerprint = hex.parse().unwrap();
        assert_eq!(format!("sha256:{hex}").parse(), Ok(fingerprint));
        assert_eq!(fingerprint.to_string(), hex);
        for bad in ["", "sha256:", &hex[1..], &format!("sha256:sha256:{hex}"), &hex.to_uppercase()] {
            assert_eq!(bad.parse::<Fingerprint>(), Err(InvalidFingerprint), "{bad}");
        }
    }
}
