//! Secret keys at rest: cosign's encrypted PEM, so that one file serves both programs.
//!
//! PEM around JSON, in it scrypt (RFC 7914) and NaCl's secretbox around PKCS#8.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::{AeadInPlace as _, KeyInit as _, XSalsa20Poly1305};
use serde::Deserialize;
use zeroize::Zeroizing;

use crate::key::{InvalidPem, InvalidSecretKey, Passphrase, SecretKey, pem};

/// Length of the salt, in bytes.
pub const SALT_BYTES: usize = 32;
/// Length of the nonce, in bytes.
pub const NONCE_BYTES: usize = 24;

/// The label cosign writes since 2.0, and the one before; it reads both.
pub(super) const LABELS: [&str; 2] = ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"];
const KDF: &str = "scrypt";
const CIPHER: &str = "nacl/secretbox";
/// Largest text read, in bytes; the largest key cosign writes (RSA 4096) takes a third.
const TEXT_BYTES: usize = 16 * 1024;
/// The authenticator in front of the ciphertext, in bytes.
const TAG_BYTES: usize = 16;
/// The shortest PKCS#8 there is (Ed25519), in bytes.
const PKCS8_BYTES: usize = 48;
const BLOCK_SIZE: u32 = 8;
const PARALLELISM: u32 = 1;

/// A secret key under a passphrase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    cost: Cost,
    salt: [u8; SALT_BYTES],
    nonce: [u8; NONCE_BYTES],
    ciphertext: Vec<u8>,
}

/// The three values of scrypt's `N` that cosign knows. Any other is refused before it can
/// take all memory, or next to no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// 2^15, cosign 1.
    Legacy,
    /// 2^16, cosign 2 and 3.
    Standard,
    /// 2^17, OWASP's advice; takes 128 MiB.
    Owasp,
}

impl Cost {
    const ALL: [Self; 3] = [Self::Legacy, Self::Standard, Self::Owasp];

    const fn log_n(self) -> u8 {
        match self {
            Self::Legacy => 15,
            Self::Standard => 16,
            Self::Owasp => 17,
        }
    }

    const fn n(self) -> u32 {
        1 << self.log_n()
    }
}

impl SealedKey {
    /// Reads the text of a key file: exactly one PEM block with either of cosign's labels.
    ///
    /// # Errors
    /// Whatever is no whole key file of this form. No passphrase is needed to find out.
    pub fn parse(text: &str) -> Result<Self, InvalidSealedKey> {
        let content = pem::decode(text, &LABELS, TEXT_BYTES)?;
        let envelope: Envelope = serde_json::from_slice(&content).map_err(|_| InvalidSealedKey::Structure)?;
        if envelope.kdf.name != KDF || envelope.cipher.name != CIPHER {
            return Err(InvalidSealedKey::Algorithm);
        }
        let params = &envelope.kdf.params;
        let cost = Cost::ALL
            .into_iter()
            .find(|cost| (u64::from(cost.n()), BLOCK_SIZE, PARALLELISM) == (params.n, params.r, params.p))
            .ok_or(InvalidSealedKey::Cost)?;
        let ciphertext = bytes(&envelope.ciphertext)?;
        if ciphertext.len() < TAG_BYTES + PKCS8_BYTES {
            return Err(InvalidSealedKey::Structure);
        }
        Ok(Self { cost, salt: array(&envelope.kdf.salt)?, nonce: array(&envelope.cipher.nonce)?, ciphertext })
    }

    /// Opens the seal. Takes 64 MiB and about 0.1 s, or twice that, for the derivation.
    ///
    /// # Errors
    /// See [`OpenError`]. A wrong passphrase and an altered ciphertext cannot be told apart.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SecretKey, OpenError> {
        let mut content = Zeroizing::new(self.ciphertext.clone());
        secretbox(self.cost, passphrase, &self.salt)
            .decrypt_in_place(&self.nonce.into(), b"", &mut *content)
            .map_err(|_| OpenError::WrongPassphrase)?;
        Ok(SecretKey::from_pkcs8_der(&content)?)
    }

    /// Seals `secret` as cosign 2 and 3 do. The caller brings the randomness; a salt and
    /// a nonce are used once.
    #[must_use]
    pub fn seal(
        secret: &SecretKey,
        passphrase: &Passphrase,
        salt: [u8; SALT_BYTES],
        nonce: [u8; NONCE_BYTES],
    ) -> Self {
        Self::seal_at(Cost::Standard, secret, passphrase, salt, nonce)
    }

    /// Seals `secret` again, in place of this seal: at no less cost than before, and at no less
    /// than [`Self::seal`] takes.
    #[must_use]
    pub fn reseal(
        &self,
        secret: &SecretKey,
        passphrase: &Passphrase,
        salt: [u8; SALT_BYTES],
        nonce: [u8; NONCE_BYTES],
    ) -> Self {
        Self::seal_at(self.cost.max(Cost::Standard), secret, passphrase, salt, nonce)
    }

    /// scrypt's `N`: what each guess at the passphrase costs.
    #[must_use]
    pub const fn scrypt_n(&self) -> u32 {
        self.cost.n()
    }

    fn seal_at(
        cost: Cost,
        secret: &SecretKey,
        passphrase: &Passphrase,
        salt: [u8; SALT_BYTES],
        nonce: [u8; NONCE_BYTES],
    ) -> Self {
        // The key is encrypted where it lies: no copy of it stays behind in memory.
        let mut content = secret.to_pkcs8_der();
        let tag =
            secretbox(cost, passphrase, &salt).encrypt_in_place_detached(&nonce.into(), b"", &mut content);
        #[expect(clippy::expect_used, reason = "fails for nothing but associated data, and there is none")]
        let tag = tag.expect("secretbox without associated data");
        Self { cost, salt, nonce, ciphertext: [tag.as_slice(), &content].concat() }
    }

    /// The text of the key file, byte for byte as cosign writes it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let n = self.cost.n();
        let [salt, nonce, ciphertext] =
            [&self.salt[..], &self.nonce[..], &self.ciphertext].map(|bytes| STANDARD.encode(bytes));
        let json = format!(
            r#"{{"kdf":{{"name":"{KDF}","params":{{"N":{n},"r":{BLOCK_SIZE},"p":{PARALLELISM}}},"salt":"{salt}"}},"cipher":{{"name":"{CIPHER}","nonce":"{nonce}"}},"ciphertext":"{ciphertext}"}}"#
        );
        let [label, _] = LABELS;
        pem::encode(label, json.as_bytes())
    }
}

/// Why a text is no sealed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSealedKey {
    /// Another key derivation or cipher.
    #[error("the key file uses another derivation or cipher than scrypt and nacl/secretbox")]
    Algorithm,
    /// Scrypt parameters outside the three sets in use.
    #[error("the key file's scrypt parameters are none of N=32768, 65536, 131072 with r=8, p=1")]
    Cost,
    /// Not exactly one PEM block of the right label.
    #[error("not an encrypted key file: {0}")]
    Pem(#[from] InvalidPem),
    /// Missing, unknown or malformed members, or parts of the wrong length.
    #[error("the key file is damaged: its content is not a whole encrypted key")]
    Structure,
}

/// Why a sealed key could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The seal holds something that is no usable key.
    #[error("the passphrase is right, but the key inside cannot be used: {source}")]
    BrokenKey {
        /// What is wrong with it.
        #[from]
        source: InvalidSecretKey,
    },
    /// The authenticator does not fit.
    #[error("wrong passphrase, or the key file was altered")]
    WrongPassphrase,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kdf {
    name: String,
    params: Params,
    salt: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Params {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cipher {
    name: String,
    nonce: String,
}

#[expect(clippy::expect_used, reason = "both fail for constants only, which the tests run through")]
fn secretbox(cost: Cost, passphrase: &Passphrase, salt: &[u8]) -> XSalsa20Poly1305 {
    let params = scrypt::Params::new(cost.log_n(), BLOCK_SIZE, PARALLELISM).expect("known parameters");
    let mut key = Zeroizing::new([0; 32]);
    scrypt::scrypt(passphrase.as_bytes(), salt, &params, &mut *key).expect("known length");
    XSalsa20Poly1305::new((&*key).into())
}

fn bytes(text: &str) -> Result<Vec<u8>, InvalidSealedKey> {
    STANDARD.decode(text).map_err(|_| InvalidSealedKey::Structure)
}

fn array<const N: usize>(text: &str) -> Result<[u8; N], InvalidSealedKey> {
    bytes(text)?.try_into().map_err(|_| InvalidSealedKey::Structure)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::samples::{read, read_der};
    use crate::key::{KeyAlgorithm, PublicKey};

    const SALT: [u8; SALT_BYTES] = [7; SALT_BYTES];
    const NONCE: [u8; NONCE_BYTES] = [9; NONCE_BYTES];

    fn passphrase() -> Passphrase {
        Passphrase::new("correct horse".to_owned())
    }

    fn secret() -> SecretKey {
        SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &Zeroizing::new([5; 32])).unwrap()
    }

    fn sealed() -> SealedKey {
        SealedKey::seal(&secret(), &passphrase(), SALT, NONCE)
    }

    /// The JSON text in a sealed key, changed and put in PEM again.
    fn with_json(change: impl FnOnce(String) -> String) -> String {
        let (label, json) = pem_rfc7468::decode_vec(sealed().to_pem().as_bytes())
            .map(|(label, content)| (label.to_owned(), String::from_utf8(content).unwrap()))
            .unwrap();
        let changed = change(json.clone());
        assert_ne!(changed, json);
        pem::encode(&label, changed.as_bytes())
    }

    fn sealing(content: &[u8]) -> SealedKey {
        let mut ciphertext = content.to_vec();
        secretbox(Cost::Legacy, &passphrase(), &SALT)
            .encrypt_in_place(&NONCE.into(), b"", &mut ciphertext)
            .unwrap();
        SealedKey { cost: Cost::Legacy, salt: SALT, nonce: NONCE, ciphertext }
    }

    #[test]
    fn opens_what_it_sealed() {
        let text = sealed().to_pem();
        assert!(text.starts_with("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n"));
        assert_eq!(SealedKey::parse(&text), Ok(sealed()));
        assert_eq!(*sealed().open(&passphrase()).unwrap().to_pkcs8_der(), *secret().to_pkcs8_der());
        let empty = Passphrase::new(String::new());
        assert!(SealedKey::seal(&secret(), &empty, SALT, NONCE).open(&empty).is_ok());
    }

    #[test]
    fn a_seal_is_made_again_at_no_less_cost() {
        for (n, after) in [(32_768, 65_536), (65_536, 65_536), (131_072, 131_072)] {
            let sealed = SealedKey::parse(&read(&format!("p256-sealed-{n}-cosign.pem"))).unwrap();
            assert_eq!(sealed.scrypt_n(), n);
            let secret = sealed.open(&passphrase()).unwrap();
            let new = Passphrase::new("battery staple".to_owned());
            let again = sealed.reseal(&secret, &new, SALT, NONCE);
            assert_eq!(again.scrypt_n(), after);
            assert_eq!(again.open(&new).unwrap().public_key(), secret.public_key());
            assert_eq!(again.open(&passphrase()).err(), Some(OpenError::WrongPassphrase));
        }
    }

    #[test]
    fn opens_every_form_that_cosign_reads() {
        for n in [32_768, 65_536, 131_072] {
            for label in ["sigstore", "cosign"] {
                let name = format!("p256-sealed-{n}-{label}.pem");
                let sealed = SealedKey::parse(&read(&name)).unwrap();
                let key = sealed.open(&passphrase()).unwrap_or_else(|error| panic!("{name}: {error}"));
                assert_eq!(key.public_key(), &PublicKey::from_pem(&read("p256.pem")).unwrap());
                if label == "sigstore" {
                    assert_eq!(sealed.to_pem(), read(&name), "byte for byte");
                }
            }
        }
        let key = SealedKey::parse(&read("ed25519-sealed.pem")).unwrap().open(&passphrase()).unwrap();
        assert_eq!(key.public_key().to_pem(), read("ed25519.pem"));
    }

    #[test]
    fn tells_a_wrong_passphrase_from_a_broken_key() {
        for wrong in ["", "correct", "correct horse ", "Correct horse"] {
            let error = sealed().open(&Passphrase::new(wrong.to_owned())).err();
            assert_eq!(error, Some(OpenError::WrongPassphrase), "{wrong:?}");
        }
        for (content, source) in [
            (vec![0; 64], InvalidSecretKey::Encoding),
            (
                read_der("p384-secret.pem"),
                InvalidSecretKey::Unsupported { algorithm: "ECDSA P-384".to_owned() },
            ),
        ] {
            assert_eq!(sealing(&content).open(&passphrase()).err(), Some(OpenError::BrokenKey { source }));
        }
        let rsa = SealedKey::parse(&read("rsa-2048-sealed.pem")).unwrap();
        let source = InvalidSecretKey::Rsa { bits: 2048 };
        assert_eq!(rsa.open(&passphrase()).err(), Some(OpenError::BrokenKey { source }));
    }

    #[test]
    fn every_altered_part_is_noticed() {
        let good = sealed();
        let flipped = |at: usize| {
            let mut bad = good.clone();
            bad.ciphertext[at] ^= 1;
            bad
        };
        for bad in [
            flipped(0),
            flipped(TAG_BYTES),
            flipped(good.ciphertext.len() - 1),
            SealedKey { salt: [8; SALT_BYTES], ..good.clone() },
            SealedKey { nonce: [8; NONCE_BYTES], ..good.clone() },
            SealedKey { cost: Cost::Legacy, ..good.clone() },
        ] {
            assert_eq!(bad.open(&passphrase()).err(), Some(OpenError::WrongPassphrase));
        }
    }

    #[test]
    fn refuses_damaged_files_without_a_passphrase() {
        let text = sealed().to_pem();
        for end in 0..text.trim_end().len() {
            assert!(SealedKey::parse(&text[..end]).is_err(), "cut at {end}");
        }
        let (_, json) = pem_rfc7468::decode_vec(text.as_bytes()).unwrap();
        for end in 0..json.len() {
            let cut = pem::encode(LABELS[0], &json[..end]);
            assert!(SealedKey::parse(&cut).is_err(), "content cut at {end}");
        }
        for at in 0..json.len() {
            let mut bad = json.clone();
            bad[at] ^= 0x80;
            assert!(SealedKey::parse(&pem::encode(LABELS[0], &bad)).is_err(), "byte {at}");
        }
    }

    #[test]
    fn refuses_other_contents() {
        let salt = STANDARD.encode(SALT);
        let nonce = STANDARD.encode(NONCE);
        let other_r = |json: String| json.replace(r#""r":8"#, r#""r":16"#);
        let other_p = |json: String| json.replace(r#""p":1"#, r#""p":2"#);
        for bad in [with_json(other_r), with_json(other_p)] {
            assert_eq!(SealedKey::parse(&bad), Err(InvalidSealedKey::Cost));
        }
        for n in ["0", "1", "16384", "65537", "262144", "1073741824", "18446744073709551615"] {
            let bad = with_json(|json| json.replace("65536", n));
            assert_eq!(SealedKey::parse(&bad), Err(InvalidSealedKey::Cost), "{n}");
        }
        for (from, to) in [("scrypt", "pbkdf2"), ("nacl/secretbox", "aes")] {
            let bad = with_json(|json| json.replace(from, to));
            assert_eq!(SealedKey::parse(&bad), Err(InvalidSealedKey::Algorithm), "{to}");
        }
        for (from, to) in [
            (salt.as_str(), STANDARD.encode([7; 31])),
            (&salt, STANDARD.encode([7; 33])),
            (&salt, salt.trim_end_matches('=').to_owned()),
            (&nonce, STANDARD.encode([9; 23])),
            (&nonce, STANDARD.encode([9; 25])),
            (&STANDARD.encode(&sealed().ciphertext), STANDARD.encode([1; TAG_BYTES + PKCS8_BYTES - 1])),
            (&STANDARD.encode(&sealed().ciphertext), String::new()),
            (r#""p":1"#, r#""p":1,"p":1"#.to_owned()),
            (r#""p":1"#, r#""p":1,"q":1"#.to_owned()),
            (r#""p":1"#, r#""p":1.0"#.to_owned()),
            (r#""r":8,"#, String::new()),
            ("65536", "-65536".to_owned()),
            (r#"{"kdf""#, r#"{"comment":"","kdf""#.to_owned()),
        ] {
            let bad = with_json(|json| json.replace(from, &to));
            assert_eq!(SealedKey::parse(&bad), Err(InvalidSealedKey::Structure), "{from} -> {to}");
        }
        let trailing = with_json(|json| json + "{}");
        assert_eq!(SealedKey::parse(&trailing), Err(InvalidSealedKey::Structure));
    }

    #[test]
    fn refuses_other_pem() {
        let text = sealed().to_pem();
        let label = InvalidPem::Label { wanted: LABELS[0] };
        for (bad, reason) in [
            (text.replace("SIGSTORE ", ""), label),
            (text.replace("ENCRYPTED SIGSTORE", "OPENSSH"), label),
            (read("p256-secret.pem"), label),
            (read("p256.pem"), label),
            (format!("{text}{text}"), InvalidPem::Several),
            (format!("{text}{}", read("p256.pem")), InvalidPem::Several),
            (format!("{text}trailing"), InvalidPem::Structure),
            (format!("leading\n{text}"), InvalidPem::Structure),
            (String::new(), InvalidPem::Structure),
            ("a".repeat(TEXT_BYTES + 1), InvalidPem::TooLarge { limit: TEXT_BYTES }),
        ] {
            assert_eq!(SealedKey::parse(&bad), Err(InvalidSealedKey::Pem(reason)), "{bad}");
        }
    }

    #[test]
    fn messages_hold_no_secrets() {
        let text = format!("{:?}", sealed());
        assert!(!text.contains(&hex::encode([5; 32])));
        let error = sealed().open(&Passphrase::new("hunter2".to_owned())).err().unwrap();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
