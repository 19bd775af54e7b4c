//! Passphrases in memory.

use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A passphrase: wiped when dropped, never printed, never copied. An empty one is legal, as
/// in cosign, and protects nothing.
pub struct Passphrase(Zeroizing<String>);

impl Passphrase {
    /// Takes over `text`.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The bytes that keys are derived from: UTF-8, not normalised, as cosign takes them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether both are the same, in a time that shows nothing but their lengths.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.as_bytes().ct_eq(other.as_bytes()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compares_whole_texts() {
        let passphrase = |text: &str| Passphrase::new(text.to_owned());
        assert!(passphrase("abc").same_as(&passphrase("abc")));
        assert!(passphrase("").same_as(&passphrase("")));
        for other in ["abd", "ab", "abcd", ""] {
            assert!(!passphrase("abc").same_as(&passphrase(other)), "{other}");
        }
    }
}
