//! Private keys as people hand them on: one PEM block or several, or base64 of either form, as a
//! pipeline's variable holds it. Which one it is, the text itself shows.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use crate::key::notary_file::EC_PARAMETERS;
use crate::key::{InvalidKeyFile, InvalidSecretKey, KeyFile};

/// Largest text read, in bytes: the keys of some hundred repositories.
const TEXT_BYTES: usize = 256 * 1024;
/// Most keys in one text.
const KEYS: usize = 256;
const BEGIN: &str = "-----BEGIN ";
/// What shells leave of a line end in a variable.
const WRITTEN_LINE_END: &str = "\\n";
/// Some tools leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a text of keys holds.
pub struct KeyText {
    /// How it is written.
    pub spelling: Spelling,
    /// The keys in it, at least one, in their order.
    pub keys: Vec<KeyFile>,
}

/// How a text of keys is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// PEM.
    Pem,
    /// Base64 of PEM.
    Base64Pem,
    /// Base64 of DER: PEM without its first and last line.
    Base64Der,
}

impl KeyText {
    /// Largest text read, in bytes.
    pub const LIMIT: usize = TEXT_BYTES;

    /// Reads a text, as far as that goes without a passphrase.
    ///
    /// # Errors
    /// See [`InvalidKeyText`]. One key that cannot be used spoils the whole text: nobody
    /// should think that all of it was read.
    pub fn parse(text: &str) -> Result<Self, InvalidKeyText> {
        if text.len() > TEXT_BYTES {
            return Err(InvalidKeyText::TooLarge { limit: TEXT_BYTES });
        }
        if text.trim_ascii().is_empty() {
            return Err(InvalidKeyText::Empty);
        }
        if text.contains(BEGIN) {
            return Ok(Self { spelling: Spelling::Pem, keys: pem(text)? });
        }
        let content = base64(text)?;
        match str::from_utf8(&content) {
            Ok(inner) if inner.contains(BEGIN) => {
                Ok(Self { spelling: Spelling::Base64Pem, keys: pem(inner)? })
            }
            _ => Ok(Self { spelling: Spelling::Base64Der, keys: vec![der(&content)?] }),
        }
    }

    /// The only key.
    ///
    /// # Errors
    /// There are several.
    pub fn into_only_key(self) -> Result<KeyFile, InvalidKeyText> {
        let count = self.keys.len();
        let [only] = <[KeyFile; 1]>::try_from(self.keys).map_err(|_| InvalidKeyText::NotOne { count })?;
        Ok(only)
    }
}

/// Every block is a key of its own, and all is in blocks: whatever stands around them is refused.
fn pem(text: &str) -> Result<Vec<KeyFile>, InvalidKeyText> {
    let unfolded = Zeroizing::new(match text.trim_ascii().contains('\n') {
        true => String::new(),
        false => text.replace(WRITTEN_LINE_END, "\n"),
    });
    let text = if unfolded.is_empty() { text } else { &unfolded };
    let mut blocks = split(text);
    blocks.retain(|block| !block.trim_ascii().lines().eq(EC_PARAMETERS.lines()));
    if blocks.len() > KEYS {
        return Err(InvalidKeyText::TooMany { limit: KEYS });
    }
    let count = blocks.len();
    let read = |(at, block): (usize, &str)| {
        KeyFile::parse(block).map_err(|source| InvalidKeyText::Key { number: at + 1, count, source })
    };
    blocks.into_iter().enumerate().map(read).collect()
}

/// Cuts `text` in front of every line that begins a block but the first.
fn split(text: &str) -> Vec<&str> {
    let mut blocks = Vec::new();
    let mut rest = text;
    let skipped = |rest: &str| rest.len() - rest.trim_ascii_start().len() + BEGIN.len();
    while let Some(at) = rest.get(skipped(rest)..).and_then(|behind| behind.find(&format!("\n{BEGIN}"))) {
        let Some((block, behind)) = rest.split_at_checked(skipped(rest) + at + 1) else { break };
        blocks.push(block);
        rest = behind;
    }
    blocks.push(rest);
    blocks
}

fn base64(text: &str) -> Result<Zeroizing<Vec<u8>>, InvalidKeyText> {
    let mut letters = Zeroizing::new(Vec::with_capacity(text.len()));
    letters.extend(text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    let mut content = Zeroizing::new(vec![0; letters.len()]);
    let length = BASE64.decode_slice(&*letters, &mut content).map_err(|_| InvalidKeyText::Neither)?;
    content.truncate(length);
    Ok(content)
}

fn der(content: &[u8]) -> Result<KeyFile, InvalidKeyText> {
    KeyFile::from_der(content).map_err(|error| match error {
        InvalidKeyFile::Key(InvalidSecretKey::Encoding) => InvalidKeyText::Base64OfNoKey,
        source => InvalidKeyText::Key { number: 1, count: 1, source },
    })
}

/// Why a text holds no keys that can be read. Never holds any of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyText {
    /// Base64, but what is in it is neither PEM nor DER of a key.
    #[error("it is base64, but not of a key")]
    Base64OfNoKey,
    /// Nothing but white space.
    #[error("it is empty")]
    Empty,
    /// One of the keys.
    #[error("{}{source}", which(*number, *count))]
    Key {
        /// Which, from 1.
        number: usize,
        /// How many there are.
        count: usize,
        /// What is wrong with it.
        source: InvalidKeyFile,
    },
    /// Neither form.
    #[error("it is neither PEM nor base64")]
    Neither,
    /// Several where one was wanted.
    #[error("it holds {count} keys")]
    NotOne {
        /// How many.
        count: usize,
    },
    /// Larger than any bundle.
    #[error("it is larger than {limit} bytes")]
    TooLarge {
        /// The limit, in bytes.
        limit: usize,
    },
    /// More keys than any bundle has.
    #[error("it holds more than {limit} keys")]
    TooMany {
        /// The limit.
        limit: usize,
    },
}

fn which(number: usize, count: usize) -> String {
    if count > 1 { format!("key {number} of {count}: ") } else { String::new() }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::*;
    use crate::key::samples::{notary_key, notary_key_der, read, read_der};
    use crate::key::{InvalidPem, KeyFileContent, Passphrase, Protection, PublicKey};

    fn opened(file: KeyFile) -> PublicKey {
        let secret = match file.content {
            KeyFileContent::Open(secret) => secret,
            KeyFileContent::Encrypted(key) => key.open(&Passphrase::new("correct horse".into())).unwrap(),
        };
        secret.public_key().clone()
    }

    fn good(text: &str) -> KeyText {
        KeyText::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn refusal(text: &str) -> InvalidKeyText {
        KeyText::parse(text).err().unwrap_or_else(|| panic!("read: {text}"))
    }

    #[test]
    fn finds_out_how_a_key_is_written() {
        let public = PublicKey::from_pem(&read("p256.pem")).unwrap();
        for name in ["openssl-sec1", "openssl-ecparam", "notary-targets", "../keys/p256-sealed-65536-cosign"]
        {
            let pem = notary_key(name);
            let wrapped: String = STANDARD.encode(&pem).chars().collect::<Vec<_>>().chunks(76).fold(
                String::new(),
                |mut text, line| {
                    text.extend(line);
                    text.push('\n');
                    text
                },
            );
            for (text, spelling) in [
                (pem.clone(), Spelling::Pem),
                (pem.trim_end().replace('\n', "\\n"), Spelling::Pem),
                (pem.replace('\n', "\r\n"), Spelling::Pem),
                (STANDARD.encode(&pem), Spelling::Base64Pem),
                (STANDARD.encode(&pem).trim_end_matches('=').to_owned(), Spelling::Base64Pem),
                (wrapped, Spelling::Base64Pem),
            ] {
                let read = good(&text);
                assert_eq!(read.spelling, spelling, "{text}");
                assert_eq!(opened(read.into_only_key().unwrap()), public, "{text}");
            }
        }
        for der in [
            notary_key_der("openssl-sec1"),
            read_der("p256-secret.pem"),
            notary_key_der("openssl-pbes2-sha256-aes192"),
        ] {
            let read = good(&STANDARD.encode(der));
            assert_eq!(read.spelling, Spelling::Base64Der);
            assert_eq!(opened(read.into_only_key().unwrap()), public);
        }
    }

    #[test]
    fn a_bundle_is_read_whole() {
        let text =
            [notary_key("notary-root-exported"), notary_key("notary-targets"), notary_key("openssl-ecparam")]
                .concat();
        for text in [
            text.clone(),
            format!("\n{}", text.replace("-----\n-----", "-----\n\n-----")),
            STANDARD.encode(text),
        ] {
            let keys = good(&text).keys;
            let roles: Vec<_> = keys.iter().map(|key| key.role.as_deref()).collect();
            assert_eq!(roles, [Some("root"), Some("targets"), None]);
            assert_eq!(keys[1].gun.as_deref(), Some("localhost:15000/demo/app"));
            assert_eq!(keys[2].protection, Protection::None);
        }
        let count = good(&notary_key("openssl-sec1").repeat(3)).into_only_key().err();
        assert_eq!(count, Some(InvalidKeyText::NotOne { count: 3 }));
    }

    #[test]
    fn one_bad_key_spoils_a_bundle() {
        let good = notary_key("openssl-sec1");
        let structure = || InvalidKeyFile::Pem(InvalidPem::Structure);
        for (bad, source) in [
            (read("p256.pem"), InvalidKeyFile::Label { found: "PUBLIC KEY".into() }),
            (notary_key("openssl-rsa"), InvalidKeyFile::Pkcs1 { bits: Some(2048) }),
            (good[..good.len() - 9].to_owned(), InvalidKeyFile::Truncated),
            (good.replace("\n-----END", "!\n-----END"), structure()),
        ] {
            let refused = refusal(&format!("{good}{bad}"));
            assert_eq!(refused, InvalidKeyText::Key { number: 2, count: 2, source });
            assert!(refused.to_string().starts_with("key 2 of 2: "), "{refused}");
        }
        for text in [format!("comment\n{good}"), format!("{good}comment")] {
            assert_eq!(refusal(&text), InvalidKeyText::Key { number: 1, count: 1, source: structure() });
        }
    }

    #[test]
    fn says_what_is_no_key() {
        for (text, expected) in [
            (String::new(), InvalidKeyText::Empty),
            (" \r\n\t".to_owned(), InvalidKeyText::Empty),
            ("no key!".to_owned(), InvalidKeyText::Neither),
            ("\u{e9}".to_owned(), InvalidKeyText::Neither),
            (STANDARD.encode("garbage"), InvalidKeyText::Base64OfNoKey),
            (STANDARD.encode([0x30, 0x80, 1, 2]), InvalidKeyText::Base64OfNoKey),
            (STANDARD.encode(read_der("p256.pem")), InvalidKeyText::Base64OfNoKey),
            ("A".repeat(TEXT_BYTES + 1), InvalidKeyText::TooLarge { limit: TEXT_BYTES }),
            (format!("{BEGIN}X\n").repeat(KEYS + 1), InvalidKeyText::TooMany { limit: KEYS }),
        ] {
            assert_eq!(refusal(&text), expected, "{text}");
        }
        let p384 = InvalidSecretKey::Unsupported { algorithm: "ECDSA P-384".to_owned() };
        let source = InvalidKeyFile::Key(p384);
        let refused = refusal(&STANDARD.encode(read_der("p384-secret.pem")));
        assert_eq!(refused, InvalidKeyText::Key { number: 1, count: 1, source });
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics(text in "(-----BEGIN |PRIVATE KEY-----|\n|[A-Za-z0-9+/=]{0,9}|\\PC){0,12}") {
            let _ = KeyText::parse(&text);
        }
    }
}
