//! Content digests: the only identities Bulla trusts.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256, Sha512};

mod hashed;

pub use hashed::{Hashed, Hashing};

/// A SHA-256 digest (32 bytes), written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest([u8; 32]);

impl Sha256Digest {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps 32 bytes that already are a digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Parses `sha256:` followed by 64 lower-case hex digits, the form of OCI references.
    ///
    /// # Errors
    /// Any other algorithm, length or letter case.
    pub fn parse_oci(text: &str) -> Result<Self, InvalidDigest> {
        text.strip_prefix("sha256:").ok_or(InvalidDigest)?.parse()
    }

    /// The OCI form, `sha256:<hex>`.
    #[must_use]
    pub fn to_oci(&self) -> String {
        format!("sha256:{self}")
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(encode_hex(&self.0, &mut [0; 64])?)
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha256Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_hex(text).map(Self)
    }
}

/// A SHA-512 digest (64 bytes), read in metadata of other implementations.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha512Digest([u8; 64]);

impl Sha512Digest {
    /// Hashes `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha512::digest(bytes).into())
    }

    /// Wraps 64 bytes that already are a digest.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// The 64 raw bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Display for Sha512Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(encode_hex(&self.0, &mut [0; 128])?)
    }
}

impl fmt::Debug for Sha512Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Sha512Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        decode_hex(text).map(Self)
    }
}

/// The digests one object is listed with. At least one supported digest is present.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    sha256: Option<Sha256Digest>,
    /// Elsewhere: it is long and seldom there, and a document has thousands of these.
    sha512: Option<Box<Sha512Digest>>,
}

impl Hashes {
    /// A listing by SHA-256 alone, the form Bulla writes.
    #[must_use]
    pub const fn sha256(digest: Sha256Digest) -> Self {
        Self { sha256: Some(digest), sha512: None }
    }

    /// Combines what was listed; `None` when no supported algorithm is left (C27: an
    /// object listed by unknown algorithms only can never be verified).
    #[must_use]
    pub fn new(sha256: Option<Sha256Digest>, sha512: Option<Sha512Digest>) -> Option<Self> {
        if sha256.is_none() && sha512.is_none() {
            return None;
        }
        Some(Self { sha256, sha512: sha512.map(Box::new) })
    }

    /// The SHA-256 digest, if listed.
    #[must_use]
    pub const fn as_sha256(&self) -> Option<Sha256Digest> {
        self.sha256
    }

    /// The SHA-512 digest, if listed.
    #[must_use]
    pub fn as_sha512(&self) -> Option<Sha512Digest> {
        self.sha512.as_deref().copied()
    }

    /// Whether `bytes` match every listed digest.
    #[must_use]
    pub fn match_bytes(&self, bytes: &[u8]) -> bool {
        self.sha256.is_none_or(|d| d == Sha256Digest::of(bytes))
            && self.as_sha512().is_none_or(|d| d == Sha512Digest::of(bytes))
    }
}

/// The text is not a digest in lower-case hex of the right length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a digest: expected lower-case hex digits of the full length")]
pub struct InvalidDigest;

fn encode_hex<'a>(bytes: &[u8], digits: &'a mut [u8]) -> Result<&'a str, fmt::Error> {
    base16ct::lower::encode_str(bytes, digits).map_err(|_| fmt::Error)
}

fn decode_hex<const N: usize>(text: &str) -> Result<[u8; N], InvalidDigest> {
    let mut bytes = [0; N];
    match base16ct::lower::decode(text, &mut bytes).map(<[u8]>::len) {
        Ok(length) if length == N => Ok(bytes),
        _ => Err(InvalidDigest),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oci_form_round_trips_and_refuses_other_spellings() {
        let digest = Sha256Digest::of(b"abc");
        assert_eq!(Sha256Digest::parse_oci(&digest.to_oci()), Ok(digest));
        for bad in [
            format!("sha256:{}", digest.to_string().to_uppercase()),
            digest.to_string(),
            format!("sha512:{digest}"),
            "sha256:".to_owned(),
            format!("sha256:{digest}0"),
        ] {
            assert_eq!(Sha256Digest::parse_oci(&bad), Err(InvalidDigest), "{bad}");
        }
    }

    #[test]
    fn a_digest_has_one_spelling() {
        let text = Sha256Digest::of(b"abc").to_string();
        assert_eq!(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        for at in [0, 1, 62, 63] {
            for byte in 0..=127_u8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] = byte;
                let other = String::from_utf8(bytes).unwrap();
                let is_digit = matches!(byte, b'0'..=b'9' | b'a'..=b'f');
                assert_eq!(other.parse::<Sha256Digest>().is_ok(), is_digit, "{other}");
                if is_digit {
                    assert_eq!(other.parse::<Sha256Digest>().unwrap().to_string(), other);
                }
            }
        }
        for length in [0, 1, 2, 62, 63] {
            assert!(text[..length].parse::<Sha256Digest>().is_err(), "{length}");
        }
        for longer in [format!("{text}0"), format!("{text}00"), format!("\u{e9}{}", &text[2..])] {
            assert!(longer.parse::<Sha256Digest>().is_err(), "{longer}");
        }
    }

    #[test]
    fn every_listed_digest_must_match() {
        let right = Sha256Digest::of(b"x");
        let wrong = Sha512Digest::of(b"y");
        assert!(Hashes::sha256(right).match_bytes(b"x"));
        assert!(!Hashes { sha256: Some(right), sha512: Some(Box::new(wrong)) }.match_bytes(b"x"));
        assert_eq!(Hashes::new(None, None), None);
    }
}
