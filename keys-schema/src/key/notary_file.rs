//! Private keys as other programs keep them: docker and notary, OpenSSL, cosign.
//!
//! All are PEM. Docker and notary add headers that say what the key is for, and protect
//! most keys far less than [`SealedKey`] does, so that whoever reads one should seal it anew.

mod contents;
mod encrypted;
mod write;

use std::fmt;

use crate::key::pem::{self, Block};
use crate::key::{
    InvalidPem, InvalidSealedKey, InvalidSecretKey, OpenError, Passphrase, SealedKey, SecretKey, rsa_pss,
    sealed,
};

use contents::Form;
use encrypted::Locked;
pub use write::{
    IV_BYTES, NOTARY_SALT_BYTES, NotaryKeyLabels, PKCS8_SALT_BYTES, write_notary_key, write_pkcs8_key,
};

/// The labels read here; cosign's have a reader of their own.
const LABELS: [&str; 5] =
    ["PRIVATE KEY", ENCRYPTED_LABEL, "EC PRIVATE KEY", "ED25519 PRIVATE KEY", PKCS1_LABEL];
const ENCRYPTED_LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Notary's headers, and those of encrypted PEM before PKCS#8 (RFC 1421 4.6.1).
const HEADERS: [&str; 5] = ["role", "gun", "path", "Proc-Type", "DEK-Info"];
/// Largest text read, in bytes: several times the largest key that can be imported.
const TEXT_BYTES: usize = 16 * 1024;
/// PKCS#1 (RFC 8017 A.1.2): RSA, and nothing else.
const PKCS1_LABEL: &str = "RSA PRIVATE KEY";
/// What cosign 2 and 3 take, and we: less is what cosign 1 took.
const SCRYPT_N: u32 = 65_536;
/// Longest label that a message repeats, in characters.
const SHOWN_CHARACTERS: usize = 64;
/// What `openssl ecparam -genkey` writes in front of a P-256 key: the curve once more.
pub(super) const EC_PARAMETERS: &str =
    "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

/// A private key file of another program, read as far as that goes without a passphrase.
pub struct KeyFile {
    /// What the file says the key is for: `root`, `targets`, `snapshot`, or the name of a
    /// signer. Nobody vouches for it.
    pub role: Option<Box<str>>,
    /// The repository that the file says it is for. Nobody vouches for it.
    pub gun: Option<Box<str>>,
    /// How well the file protects the key.
    pub protection: Protection,
    /// The key.
    pub content: KeyFileContent,
}

/// The key in a [`KeyFile`].
pub enum KeyFileContent {
    /// It lay there in the clear.
    Open(SecretKey),
    /// It needs a passphrase.
    Encrypted(EncryptedKey),
}

/// A key under a passphrase, in any of the forms that can be opened.
pub struct EncryptedKey(Seal);

enum Seal {
    Cosign(SealedKey),
    Other(Locked),
}

impl KeyFile {
    /// Reads the text of a key file: exactly one block of PEM, or what `openssl ecparam`
    /// writes for P-256.
    ///
    /// # Errors
    /// What is no whole key file, what is encrypted in a way that is not read, and what
    /// can be seen to be no usable key. See [`InvalidKeyFile`].
    pub fn parse(text: &str) -> Result<Self, InvalidKeyFile> {
        check_outline(text)?;
        if is_cosign(text) {
            let sealed = SealedKey::parse(text)?;
            let protection = Protection::Scrypt { n: sealed.scrypt_n() };
            let content = KeyFileContent::Encrypted(sealed.into());
            return Ok(Self { role: None, gun: None, protection, content });
        }
        let text = without_parameters(text);
        let block = Block::decode(text, &LABELS, &HEADERS, TEXT_BYTES)?;
        let [role, gun] = ["role", "gun"].map(|name| block.header(name).map(Into::into));
        let encryption = (block.header("Proc-Type"), block.header("DEK-Info"));
        let form = match (block.label, encryption) {
            (ENCRYPTED_LABEL, (None, None)) => {
                let locked = Locked::from_pkcs8(&block.content)?;
                return Ok(Self::encrypted(role, gun, locked));
            }
            (PKCS1_LABEL, (None, None)) => {
                return Err(InvalidKeyFile::Pkcs1 { bits: rsa_pss::secret_key_bits(&block.content) });
            }
            (PKCS1_LABEL, _) => return Err(InvalidKeyFile::Pkcs1 { bits: None }),
            ("EC PRIVATE KEY", _) => Form::Sec1,
            ("ED25519 PRIVATE KEY", _) => Form::NotaryEd25519,
            (_, (None, None)) => Form::Pkcs8,
            // PKCS#8 has its own encryption.
            _ => return Err(InvalidKeyFile::Headers),
        };
        match encryption {
            (None, None) => {
                let content = KeyFileContent::Open(form.read(&block.content)?);
                Ok(Self { role, gun, protection: Protection::None, content })
            }
            (Some("4,ENCRYPTED"), Some(info)) => {
                Ok(Self::encrypted(role, gun, Locked::from_dek_info(form, info, &block.content)?))
            }
            _ => Err(InvalidKeyFile::Headers),
        }
    }

    /// Reads the DER that lies in most of these files: PKCS#8, encrypted or not, or SEC 1.
    ///
    /// # Errors
    /// None of them, and whatever [`Self::parse`] refuses in them.
    pub(super) fn from_der(der: &[u8]) -> Result<Self, InvalidKeyFile> {
        match Locked::from_pkcs8(der) {
            Ok(locked) => return Ok(Self::encrypted(None, None, locked)),
            Err(InvalidKeyFile::Structure) => {}
            Err(refused) => return Err(refused),
        }
        let key = match Form::Pkcs8.read(der) {
            Err(InvalidSecretKey::Encoding) => Form::Sec1.read(der)?,
            key => key?,
        };
        let content = KeyFileContent::Open(key);
        Ok(Self { role: None, gun: None, protection: Protection::None, content })
    }

    fn encrypted(role: Option<Box<str>>, gun: Option<Box<str>>, locked: Locked) -> Self {
        let protection = locked.protection();
        Self { role, gun, protection, content: KeyFileContent::Encrypted(EncryptedKey(Seal::Other(locked))) }
    }
}

impl From<SealedKey> for EncryptedKey {
    fn from(sealed: SealedKey) -> Self {
        Self(Seal::Cosign(sealed))
    }
}

impl EncryptedKey {
    /// Opens it. The derivation takes up to some seconds, as the file demands.
    ///
    /// # Errors
    /// [`OpenError::WrongPassphrase`] also for most damaged files: only cosign's form has a
    /// checksum. [`OpenError::BrokenKey`] if there is a key inside that cannot be used.
    pub fn open(&self, passphrase: &Passphrase) -> Result<SecretKey, OpenError> {
        match &self.0 {
            Seal::Cosign(sealed) => sealed.open(passphrase),
            Seal::Other(locked) => locked.open(passphrase),
        }
    }
}

/// What can be said of a text without reading what is in its block: that it is of another kind,
/// or ends too early.
fn check_outline(text: &str) -> Result<(), InvalidKeyFile> {
    let Some(label) = pem::label(without_parameters(text)) else { return Ok(()) };
    if !LABELS.iter().chain(&sealed::LABELS).any(|known| *known == label) {
        let found: String = label.chars().filter(|c| !c.is_control()).take(SHOWN_CHARACTERS).collect();
        return Err(InvalidKeyFile::Label { found: found.into() });
    }
    if !text.contains(&format!("-----END {label}-----")) {
        return Err(InvalidKeyFile::Truncated);
    }
    Ok(())
}

fn without_parameters(text: &str) -> &str {
    text.trim_ascii_start().strip_prefix(EC_PARAMETERS).unwrap_or(text)
}

fn is_cosign(text: &str) -> bool {
    pem::label(text).is_some_and(|label| sealed::LABELS.contains(&label))
}

/// How a file protects the key in it against who has the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Not at all.
    None,
    /// MD5, once: the encrypted PEM before PKCS#8.
    Md5,
    /// PBKDF2 (RFC 8018 5.2).
    Pbkdf2 {
        /// The digest under its HMAC.
        digest: Pbkdf2Digest,
        /// How many rounds.
        iterations: u32,
    },
    /// scrypt with r = 8 and p = 1, cosign's and ours.
    Scrypt {
        /// Its parameter `N`.
        n: u32,
    },
}

/// The digest that PBKDF2 runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pbkdf2Digest {
    /// SHA-1, as docker and notary have it.
    Sha1,
    /// SHA-256, OpenSSL's default.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Protection {
    /// Whether a passphrase that a person remembers can be found by trying: less work for
    /// each guess than OWASP's password storage advice asks for, or, with scrypt, than every
    /// key of ours takes.
    #[must_use]
    pub const fn is_weak(self) -> bool {
        match self {
            Self::None | Self::Md5 => true,
            Self::Pbkdf2 { digest, iterations } => {
                iterations
                    < match digest {
                        Pbkdf2Digest::Sha1 => 1_300_000,
                        Pbkdf2Digest::Sha256 => 600_000,
                        Pbkdf2Digest::Sha512 => 210_000,
                    }
            }
            Self::Scrypt { n } => n < SCRYPT_N,
        }
    }
}

impl fmt::Display for Protection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Md5 => f.write_str("one round of MD5"),
            Self::Pbkdf2 { digest, iterations } => {
                let digest = match digest {
                    Pbkdf2Digest::Sha1 => "SHA-1",
                    Pbkdf2Digest::Sha256 => "SHA-256",
                    Pbkdf2Digest::Sha512 => "SHA-512",
                };
                write!(f, "PBKDF2 with {iterations} rounds of {digest}")
            }
            Self::Scrypt { n } => write!(f, "scrypt with N={n}"),
        }
    }
}

/// Why a text is no private key file that can be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeyFile {
    /// Encrypted in a way that is not read here.
    #[error("the key file is encrypted with {algorithm}, which is not supported")]
    Encryption {
        /// The cipher or key derivation: its name, or its object identifier.
        algorithm: String,
    },
    /// Headers of encryption that do not fit together, or the label.
    #[error("the key file's headers contradict each other")]
    Headers,
    /// No rounds at all, or so many that opening it would take minutes.
    #[error("the key file asks for {found} rounds of key derivation: at most {limit} are done")]
    Iterations {
        /// What it asks for.
        found: u32,
        /// The limit.
        limit: u32,
    },
    /// The key in it is none that can sign here.
    #[error(transparent)]
    Key(#[from] InvalidSecretKey),
    /// PEM of something else.
    #[error("not a private key file: {}", what_else(found))]
    Label {
        /// The label that it has, without control characters.
        found: Box<str>,
    },
    /// Not exactly one PEM block with a label of a private key.
    #[error("not a private key file: {0}")]
    Pem(#[from] InvalidPem),
    /// PKCS#1 holds RSA keys only, and those cannot sign here.
    #[error("PKCS#1 holds RSA keys: {}", pkcs1_reason(*bits))]
    Pkcs1 {
        /// Length of the modulus, in bits; unknown while the file is encrypted.
        bits: Option<usize>,
    },
    /// Damaged, though it is cosign's.
    #[error(transparent)]
    Sealed(#[from] InvalidSealedKey),
    /// Its content is not whole.
    #[error("the key file is damaged: its content is not a whole encrypted key")]
    Structure,
    /// The block begins and does not end.
    #[error("the key file is cut off: the end of its PEM block is missing")]
    Truncated,
}

/// What a PEM block is that is no private key.
fn what_else(label: &str) -> String {
    let known = match label {
        "PUBLIC KEY" | "RSA PUBLIC KEY" => "a public key",
        "CERTIFICATE" | "TRUSTED CERTIFICATE" => "a certificate",
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => "a certificate request",
        "OPENSSH PRIVATE KEY" => "a key of OpenSSH, in a form of its own",
        _ => return format!("the PEM block is labelled `{label}`"),
    };
    format!("it is {known}")
}

fn pkcs1_reason(bits: Option<usize>) -> String {
    match bits {
        Some(bits) => InvalidSecretKey::Rsa { bits }.to_string(),
        None => "RSA keys cannot sign here: use ECDSA P-256 or Ed25519".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::key::PublicKey;
    use crate::key::samples::{notary_key, read};

    const PASSPHRASE: &str = "correct horse";

    fn passphrase(text: &str) -> Passphrase {
        Passphrase::new(text.to_owned())
    }

    fn good(name: &str) -> KeyFile {
        KeyFile::parse(&notary_key(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn refusal(text: &str) -> InvalidKeyFile {
        KeyFile::parse(text).err().unwrap_or_else(|| panic!("read: {text}"))
    }

    fn opened(content: KeyFileContent) -> Result<SecretKey, OpenError> {
        match content {
            KeyFileContent::Open(key) => Ok(key),
            KeyFileContent::Encrypted(key) => key.open(&passphrase(PASSPHRASE)),
        }
    }

    fn pbkdf2(digest: Pbkdf2Digest, iterations: u32) -> Protection {
        Protection::Pbkdf2 { digest, iterations }
    }

    #[test]
    fn opens_every_form_of_a_key() {
        use Pbkdf2Digest::{Sha1, Sha256, Sha512};
        for (name, public, protection, weak) in [
            ("notary-targets", "p256", pbkdf2(Sha1, 2048), true),
            ("openssl-pbes2-sha1-aes256", "p256", pbkdf2(Sha1, 2048), true),
            ("openssl-pbes2-sha256-aes192", "p256", pbkdf2(Sha256, 2048), true),
            ("openssl-pbes2-sha512-aes128", "p256", pbkdf2(Sha512, 210_000), false),
            ("openssl-pbes2-ed25519", "ed25519", pbkdf2(Sha256, 2048), true),
            ("openssl-sec1", "p256", Protection::None, true),
            ("openssl-ecparam", "p256", Protection::None, true),
            ("openssl-sec1-aes128", "p256", Protection::Md5, true),
            ("openssl-sec1-aes192", "p256", Protection::Md5, true),
            ("openssl-sec1-aes256", "p256", Protection::Md5, true),
            ("../keys/p256-secret", "p256", Protection::None, true),
            ("../keys/ed25519-secret", "ed25519", Protection::None, true),
            ("../keys/p256-sealed-65536-sigstore", "p256", Protection::Scrypt { n: 65_536 }, false),
            ("../keys/p256-sealed-131072-cosign", "p256", Protection::Scrypt { n: 131_072 }, false),
            ("../keys/p256-sealed-32768-cosign", "p256", Protection::Scrypt { n: 32_768 }, true),
        ] {
            let file = good(name);
            assert_eq!((file.protection, file.protection.is_weak()), (protection, weak), "{name}");
            let key = opened(file.content).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(key.public_key().to_pem(), read(&format!("{public}.pem")), "{name}");
        }
    }

    #[test]
    fn says_what_the_file_says_it_is_for() {
        for (name, role, gun) in [
            ("notary-root", Some("root"), None),
            ("notary-root-exported", Some("root"), None),
            ("notary-targets", Some("targets"), Some("localhost:15000/demo/app")),
            ("notary-bob", Some("bob"), None),
            ("docker-carol", Some("carol"), None),
            ("openssl-sec1", None, None),
            ("../keys/p256-sealed-65536-sigstore", None, None),
        ] {
            let file = good(name);
            assert_eq!((file.role.as_deref(), file.gun.as_deref()), (role, gun), "{name}");
        }
    }

    #[test]
    fn private_and_public_halves_fit_together() {
        for name in ["notary-bob", "docker-carol"] {
            let text = notary_key(&format!("{name}.public"));
            let public = PublicKey::from_pem_with_headers(&text).unwrap();
            assert_eq!(opened(good(name).content).unwrap().public_key(), &public, "{name}");
            assert_eq!(PublicKey::from_pem(&text), Err(InvalidPem::Structure.into()), "only where asked for");
        }
        let plain = read("p256.pem");
        assert_eq!(PublicKey::from_pem_with_headers(&plain), PublicKey::from_pem(&plain));
        let unknown = notary_key("docker-carol.public").replace("role:", "name:");
        assert_eq!(PublicKey::from_pem_with_headers(&unknown), Err(InvalidPem::Header.into()));
    }

    #[test]
    fn a_wrong_passphrase_is_told_from_a_key_that_cannot_sign() {
        for name in
            ["notary-root", "openssl-pbes2-sha256-aes192", "openssl-sec1-aes128", "openssl-sec1-p384-aes256"]
        {
            let KeyFileContent::Encrypted(key) = good(name).content else { panic!("{name}") };
            for wrong in ["", "correct", "correct horse ", "Correct horse"] {
                assert_eq!(key.open(&passphrase(wrong)).err(), Some(OpenError::WrongPassphrase), "{name}");
            }
        }
        let unsupported = |algorithm: &str| InvalidSecretKey::Unsupported { algorithm: algorithm.to_owned() };
        for (name, source) in [
            ("openssl-pbes2-p384", unsupported("ECDSA P-384")),
            ("openssl-pbes2-rsa", InvalidSecretKey::Rsa { bits: 2048 }),
            ("openssl-sec1-p384-aes256", unsupported("ECDSA P-384")),
        ] {
            assert_eq!(opened(good(name).content).err(), Some(OpenError::BrokenKey { source }), "{name}");
        }
        for (name, expected) in [
            ("openssl-sec1-p384", unsupported("ECDSA P-384").into()),
            ("openssl-rsa", InvalidKeyFile::Pkcs1 { bits: Some(2048) }),
            ("openssl-rsa-1024", InvalidSecretKey::Rsa { bits: 1024 }.into()),
            ("../keys/rsa-2048-secret", InvalidSecretKey::Rsa { bits: 2048 }.into()),
            ("../keys/p384-secret", unsupported("ECDSA P-384").into()),
        ] {
            assert_eq!(refusal(&notary_key(name)), expected, "{name}");
        }
        let head = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n";
        let encrypted = &format!("{head}AAAA\n-----END RSA PRIVATE KEY-----\n");
        assert_eq!(refusal(encrypted), InvalidKeyFile::Pkcs1 { bits: None });
    }

    #[test]
    fn refuses_other_encryption_by_name() {
        for (name, algorithm) in [
            ("openssl-pbes2-des3", "triple DES"),
            ("openssl-pbes2-sha384", "OID 1.2.840.113549.2.10"),
            ("openssl-pbes2-scrypt", "scrypt"),
            ("openssl-pkcs12-des3", "PKCS#12 with triple DES"),
            ("openssl-sec1-des3", "DES-EDE3-CBC"),
        ] {
            let expected = InvalidKeyFile::Encryption { algorithm: algorithm.to_owned() };
            assert_eq!(refusal(&notary_key(name)), expected, "{name}");
        }
    }

    #[test]
    fn refuses_headers_that_do_not_fit() {
        let text = notary_key("openssl-sec1-aes256");
        let pkcs8 = notary_key("notary-root");
        let plain = notary_key("openssl-sec1");
        let without = |text: &str, name: &str| -> String {
            text.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect()
        };
        for bad in [
            text.replace("4,ENCRYPTED", "4,MIC-CLEAR"),
            text.replace("4,ENCRYPTED", "5,ENCRYPTED"),
            without(&text, "Proc-Type"),
            without(&text, "DEK-Info"),
            text.replace("AES-256-CBC,", "AES-256-CBC,00"),
            text.replace("AES-256-CBC,", "AES-256-CBC"),
            text.replace("EC PRIVATE KEY", "PRIVATE KEY"),
            text.replace("EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"),
            pkcs8.replace("role: root", "role: root\nProc-Type: 4,ENCRYPTED"),
        ] {
            assert_eq!(refusal(&bad), InvalidKeyFile::Headers, "{bad}");
        }
        for (bad, reason) in [
            (pkcs8.replace("role:", "owner:"), InvalidPem::Header),
            (format!("{pkcs8}{pkcs8}"), InvalidPem::Several),
            (format!("{plain}{plain}"), InvalidPem::Several),
            (format!("x\n{pkcs8}"), InvalidPem::Structure),
            (format!("{pkcs8}x"), InvalidPem::Structure),
            ("\n".repeat(TEXT_BYTES + 1), InvalidPem::TooLarge { limit: TEXT_BYTES }),
        ] {
            assert_eq!(refusal(&bad), InvalidKeyFile::Pem(reason), "{bad}");
        }
        for (bad, found, words) in [
            (notary_key("openssl-ecparam").replace("Bggqhk", "BgUrgQ"), "EC PARAMETERS", "is labelled"),
            (read("p256.pem"), "PUBLIC KEY", "a public key"),
            (plain.replace("EC PRIVATE", "CERTIFICATE"), "CERTIFICATE KEY", "`CERTIFICATE KEY`"),
            (plain.replace("EC PRIVATE", "OPENSSH PRIVATE"), "OPENSSH PRIVATE KEY", "OpenSSH"),
        ] {
            assert_eq!(refusal(&bad), InvalidKeyFile::Label { found: found.into() }, "{bad}");
            assert!(refusal(&bad).to_string().contains(words), "{}", refusal(&bad));
        }
    }

    #[test]
    fn truncated_files_are_errors() {
        for name in ["notary-root", "openssl-sec1", "openssl-sec1-aes256", "../keys/p256-secret"] {
            let text = notary_key(name);
            for end in 0..text.trim_end().len() {
                let error = refusal(&text[..end]);
                let is_begun = text[..end].contains("KEY-----");
                assert_eq!(error == InvalidKeyFile::Truncated, is_begun, "{name} {end}: {error}");
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn altered_files_never_panic(at: Index, value: u8) {
            for name in ["notary-targets", "openssl-sec1", "openssl-sec1-aes256", "openssl-pbes2-ed25519"] {
                let mut bytes = notary_key(name).into_bytes();
                let at = at.index(bytes.len());
                bytes[at] = value;
                let Ok(text) = String::from_utf8(bytes) else { continue };
                if let Ok(file) = KeyFile::parse(&text) {
                    let _ = opened(file.content);
                }
            }
        }
    }
}
