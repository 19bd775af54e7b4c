//! What a request says in words: shown on terminals of people who decide by it.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// Text of one line without characters that could hide or move other text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlainText(Box<str>);

impl PlainText {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PlainText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PlainText {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=limits::REQUEST_TEXT).contains(&text.chars().count());
        if !fits || text.chars().any(is_hidden) {
            return Err(InvalidText);
        }
        Ok(Self(text.into()))
    }
}

/// Control characters, and those that turn the direction of writing or show as nothing.
const fn is_hidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// The text cannot be shown as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected 1 to 500 characters on one line, without control characters")]
pub struct InvalidText;

/// The random name of a request: 32 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId([u8; 16]);

impl RequestId {
    /// The id with these bytes, which must be random.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    /// One spelling only: the id is a file name and part of a URL.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 16];
        let is_lower = !text.bytes().any(|b| b.is_ascii_uppercase());
        if !is_lower || hex::decode_to_slice(text, &mut bytes).is_err() {
            return Err(InvalidRequestId);
        }
        Ok(Self(bytes))
    }
}

/// The text is no id of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a signing request: expected 32 lower-case hex digits")]
pub struct InvalidRequestId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_hides_something_is_refused() {
        for text in ["routine renewal", "\u{f6}ffentlich", &"a".repeat(500)] {
            assert!(text.parse::<PlainText>().is_ok(), "{text}");
        }
        for text in
            ["", "a\nb", "a\u{1b}[2K", "a\u{202e}b", "\u{2066}a", "a\u{200b}", "\u{ad}a", &"a".repeat(501)]
        {
            assert_eq!(text.parse::<PlainText>(), Err(InvalidText), "{text:?}");
        }
    }

    #[test]
    fn ids_have_one_spelling() {
        let text = "00112233445566778899aabbccddeeff";
        assert_eq!(text.parse::<RequestId>().unwrap().to_string(), text);
        for bad in
            ["", &text.to_uppercase(), &text[1..], &format!("{text}0"), "../../../../etc/passwd/../x/a"]
        {
            assert!(bad.parse::<RequestId>().is_err(), "{bad}");
        }
    }
}
