//! X.509 certificates (RFC 5280) as Notary v1 uses them: a name and a lifetime around a key.
//!
//! A certificate proves nothing here. A root document lists it, so whoever signed the root
//! vouches for it; no authority is asked and no chain is followed.

mod contents;
mod self_signed;

use std::fmt;
use std::sync::Arc;

use crate::key::{InvalidPem, InvalidPublicKey, KeyAlgorithm, PublicKey, pem};
use crate::names::RepositoryName;
use crate::time::UtcTime;

use contents::{Contents, Parsed};
pub use self_signed::SelfSignError;

/// The PEM label of a certificate (RFC 7468 5.1).
const LABEL: &str = "CERTIFICATE";
/// Largest bundle read, in bytes: a few certificates with the largest RSA keys.
const BUNDLE_BYTES: usize = 64 * 1024;
/// Most certificates in one bundle.
const BUNDLE_COUNT: usize = 8;
/// How far in the future a certificate may begin, in seconds: clocks differ, and Notary
/// allows one day.
const EARLY_SECONDS: i64 = 24 * 60 * 60;

/// A certificate that passed every check but those that need a name or the time; cheap to
/// clone. Two are equal if their texts are.
#[derive(Clone)]
pub struct Certificate(Arc<Inner>);

struct Inner {
    pem: Box<str>,
    contents: Contents,
}

impl Certificate {
    /// Reads the PEM text of a Notary root key of type `ecdsa-x509` or `rsa-x509`: the
    /// owner's certificate first, then any number of certificates of authorities.
    ///
    /// # Errors
    /// Anything but blocks of PEM, bad DER, the first not being the only one that is no
    /// authority's, weak keys and weak signature algorithms; see [`InvalidCertificate`].
    pub fn from_pem_bundle(text: &str) -> Result<Self, InvalidCertificate> {
        let (first, behind) = parse(text)?;
        if first.is_authority()? {
            return Err(InvalidCertificate::Authority);
        }
        for other in behind {
            if !other.is_authority()? {
                return Err(InvalidCertificate::SeveralOwners);
            }
        }
        let contents = first.contents()?;
        if contents.common_name.is_none() {
            return Err(InvalidCertificate::CommonName);
        }
        Ok(Self::new(text, contents))
    }

    /// Reads the PEM text of a delegation's key of type `ecdsa-x509` or `rsa-x509`. The
    /// first certificate counts. It may name anybody or nobody, and be an authority's:
    /// common ways of making one by hand leave either.
    ///
    /// # Errors
    /// As for [`Self::from_pem_bundle`], but for what is said above.
    pub fn from_delegation_pem(text: &str) -> Result<Self, InvalidCertificate> {
        let (first, _) = parse(text)?;
        Ok(Self::new(text, first.contents()?))
    }

    /// The key that the certificate is about.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.0.contents.public_key
    }

    /// The exact text that was read, with every certificate in it.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.0.pem
    }

    /// The subject's common name: a repository, or a prefix of some and `*`. Empty in a
    /// delegation's certificate without a readable one.
    #[must_use]
    pub fn common_name(&self) -> &str {
        self.0.contents.common_name.as_deref().unwrap_or_default()
    }

    /// Whether the common name is `repository`, or a prefix of it with `*` behind.
    #[must_use]
    pub fn names(&self, repository: &RepositoryName) -> bool {
        let name = self.common_name();
        if name.ends_with('*') {
            return repository.as_str().starts_with(name.trim_end_matches('*'));
        }
        name == repository.as_str()
    }

    /// When it begins.
    #[must_use]
    pub fn not_before(&self) -> UtcTime {
        self.0.contents.not_before
    }

    /// The last second of its life.
    #[must_use]
    pub fn not_after(&self) -> UtcTime {
        self.0.contents.not_after
    }

    /// Whether a new root may use it at `now`: it is not over, and begins within a day.
    #[must_use]
    pub fn is_valid_at(&self, now: UtcTime) -> bool {
        self.not_before() <= now.plus_seconds(EARLY_SECONDS) && now <= self.not_after()
    }

    fn new(text: &str, contents: Contents) -> Self {
        Self(Arc::new(Inner { pem: text.into(), contents }))
    }
}

impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.0.pem == other.0.pem
    }
}

impl Eq for Certificate {}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Certificate({:?} {:?} until {})", self.common_name(), self.public_key(), self.not_after())
    }
}

/// The first certificate of a bundle, and those behind it.
fn parse(text: &str) -> Result<(Parsed, Vec<Parsed>), InvalidCertificate> {
    let mut blocks = pem::decode_all(text, LABEL, BUNDLE_BYTES, BUNDLE_COUNT)?.into_iter();
    let first = blocks.next().ok_or(InvalidPem::Structure)?;
    let behind = blocks.map(|der| Parsed::from_der(&der)).collect::<Result<_, _>>()?;
    Ok((Parsed::from_der(&first)?, behind))
}

/// Why a text is no certificate that a repository may use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// The two places that name the signature's algorithm differ (RFC 5280 4.1.1.2).
    #[error("the certificate names two signature algorithms")]
    AlgorithmMismatch,
    /// The first certificate is an authority's.
    #[error("the first certificate must be the key owner's, this one is an authority's (CA)")]
    Authority,
    /// No common name, more than one, or one that is no short plain text.
    #[error("the certificate must have exactly one common name (CN) in plain text")]
    CommonName,
    /// An extension that must not be ignored, and that means nothing here.
    #[error("the certificate has an unknown critical extension: OID {oid}")]
    CriticalExtension {
        /// Its object identifier.
        oid: String,
    },
    /// The same extension twice: readers could take the one or the other.
    #[error("the certificate has an extension twice: OID {oid}")]
    DuplicateExtension {
        /// Its object identifier.
        oid: String,
    },
    /// Not the DER structure of a certificate, or trailing data behind it.
    #[error("not a certificate in DER (X.509)")]
    Encoding,
    /// The key inside is none that Bulla accepts.
    #[error("the key in the certificate: {0}")]
    Key(#[from] InvalidPublicKey),
    /// The key inside is of a kind that has no certificates in Notary.
    #[error("keys of algorithm {algorithm} have no certificates here: use ECDSA P-256 or RSA")]
    KeyAlgorithm {
        /// The algorithm.
        algorithm: KeyAlgorithm,
    },
    /// Not blocks of PEM with nothing around them.
    #[error(transparent)]
    Pem(#[from] InvalidPem),
    /// A second certificate that is no authority's.
    #[error("only one certificate may be a key owner's, the others must be of authorities (CA)")]
    SeveralOwners,
    /// Signed with a broken digest, or in a way that is not known.
    #[error("the certificate is signed with {algorithm}: use SHA-256 or better")]
    SignatureAlgorithm {
        /// Its name, or its object identifier.
        algorithm: String,
    },
    /// It ends before it begins.
    #[error("the certificate ends before it begins")]
    Validity,
    /// Members that its version does not have (RFC 5280 4.1.2.1).
    #[error("the certificate has members that its version does not know")]
    Version,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;
    use crate::key::samples::read as read_key;
    use crate::key::samples::{certificate, certificate_der};

    fn refusal(text: &str) -> InvalidCertificate {
        Certificate::from_pem_bundle(text).map(|read| panic!("read as {read:?}")).unwrap_err()
    }

    fn good(name: &str) -> Certificate {
        Certificate::from_pem_bundle(&certificate(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn time(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    #[test]
    fn reads_what_owners_have() {
        let public = |name: &str| PublicKey::from_pem(&read_key(name)).unwrap();
        for (name, key) in [
            ("p256", "p256.pem"),
            ("p256-v1", "p256.pem"),
            ("p256-sha512", "p256.pem"),
            ("p256-chain", "p256.pem"),
            ("p256-sha1-authority-behind", "p256.pem"),
            ("p256-printable", "p256.pem"),
            ("p256-long-life", "p256.pem"),
            ("rsa-2048", "rsa-2048.pem"),
            ("rsa-2048-signed-pss", "rsa-2048.pem"),
        ] {
            let read = good(name);
            assert_eq!(read.public_key(), &public(key), "{name}");
            assert_eq!(read.pem(), certificate(name), "{name}");
            assert_eq!(read.common_name(), "registry.example.com/team/app", "{name}");
            assert_eq!(read, read.clone());
        }
        assert_ne!(good("p256"), good("p256-v1"));
        assert_eq!(good("p256").not_before(), time("2026-01-02T03:04:05Z"));
        assert_eq!(good("p256").not_after(), time("2036-01-02T03:04:05Z"));
        // 9999-12-31, "no end", lies beyond our calendar.
        assert!(good("p256-long-life").not_after() > time("9999-12-30T00:00:00Z"));
    }

    #[test]
    fn refuses_each_defect_by_name() {
        let oid = |oid: &str| oid.to_owned();
        let signed =
            |algorithm: &str| InvalidCertificate::SignatureAlgorithm { algorithm: algorithm.to_owned() };
        for (name, expected) in [
            ("p256-sha1", signed("ECDSA with SHA-1")),
            ("rsa-2048-sha1", signed("RSA with SHA-1")),
            ("rsa-2048-md5", signed("RSA with MD5")),
            ("rsa-2048-signed-pss-sha1", signed("RSA-PSS with other parameters than SHA-256")),
            ("p256-signed-unknown", signed("OID 1.2.3.4")),
            ("rsa-1024", InvalidCertificate::Key(InvalidPublicKey::RsaSize { bits: 1024 })),
            (
                "p384",
                InvalidCertificate::Key(InvalidPublicKey::Unsupported {
                    algorithm: "ECDSA P-384".to_owned(),
                }),
            ),
            ("ed25519", InvalidCertificate::KeyAlgorithm { algorithm: KeyAlgorithm::Ed25519 }),
            ("p256-authority", InvalidCertificate::Authority),
            ("p256-authority-first", InvalidCertificate::Authority),
            ("p256-two-owners", InvalidCertificate::SeveralOwners),
            ("p256-no-name", InvalidCertificate::CommonName),
            ("p256-two-names", InvalidCertificate::CommonName),
            ("p256-name-nul", InvalidCertificate::CommonName),
            ("p256-name-utf16", InvalidCertificate::CommonName),
            ("p256-name-long", InvalidCertificate::CommonName),
            ("p256-unknown-critical", InvalidCertificate::CriticalExtension { oid: oid("1.2.3.4") }),
            ("p256-extension-twice", InvalidCertificate::DuplicateExtension { oid: oid("2.5.29.15") }),
            ("p256-basic-constraints-broken", InvalidCertificate::Encoding),
            ("p256-key-usage-trailing", InvalidCertificate::Encoding),
            ("p256-trailing", InvalidCertificate::Encoding),
            ("p256-long-length", InvalidCertificate::Encoding),
            ("p256-two-algorithms", InvalidCertificate::AlgorithmMismatch),
            ("p256-v1-extensions", InvalidCertificate::Version),
            ("p256-v1-unique-id", InvalidCertificate::Version),
            ("p256-v4", InvalidCertificate::Encoding),
            ("p256-ends-first", InvalidCertificate::Validity),
        ] {
            assert_eq!(refusal(&certificate(name)), expected, "{name}");
        }
    }

    #[test]
    fn delegations_have_simpler_certificates() {
        for (name, common_name) in [
            ("p256-authority", "registry.example.com/team/app"),
            ("p256-two-owners", "registry.example.com/team/app"),
            ("p256-no-name", ""),
            ("p256-two-names", ""),
        ] {
            let read = Certificate::from_delegation_pem(&certificate(name)).unwrap();
            assert_eq!(read.common_name(), common_name, "{name}");
        }
        for name in ["p256-sha1", "rsa-1024", "ed25519", "p256-unknown-critical", "p256-ends-first"] {
            assert!(Certificate::from_delegation_pem(&certificate(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn refuses_other_texts_than_certificates() {
        let text = certificate("p256");
        for (bad, reason) in [
            (String::new(), InvalidPem::Structure),
            (format!("x\n{text}"), InvalidPem::Structure),
            (format!("{text}x"), InvalidPem::Structure),
            (format!("{text}x\n{text}"), InvalidPem::Structure),
            (text.replace("-----\nM", "-----\ngun: a\n\nM"), InvalidPem::Structure),
            (read_key("p256.pem"), InvalidPem::Label { wanted: LABEL }),
            (format!("{text}{}", read_key("p256.pem")), InvalidPem::Label { wanted: LABEL }),
            (text.repeat(BUNDLE_COUNT + 1), InvalidPem::TooMany { limit: BUNDLE_COUNT }),
            (" ".repeat(BUNDLE_BYTES + 1), InvalidPem::TooLarge { limit: BUNDLE_BYTES }),
        ] {
            assert_eq!(refusal(&bad), InvalidCertificate::Pem(reason), "{bad}");
        }
    }

    #[test]
    fn names_a_repository_or_a_prefix() {
        let exact = good("p256");
        let repository = |name: &str| name.parse::<RepositoryName>().unwrap();
        assert!(exact.names(&repository("registry.example.com/team/app")));
        for other in
            ["registry.example.com/team", "registry.example.com/team/app2", "registry.example.com/team/ap"]
        {
            assert!(!exact.names(&repository(other)), "{other}");
        }
        let prefix = good("p256-prefix");
        assert_eq!(prefix.common_name(), "registry.example.com/team/*");
        for (name, named) in [
            ("registry.example.com/team/app", true),
            ("registry.example.com/team/app/x", true),
            ("registry.example.com/teams/app", false),
            ("registry.example.com/team", false),
        ] {
            assert_eq!(prefix.names(&repository(name)), named, "{name}");
        }
    }

    #[test]
    fn lives_from_a_day_early_to_its_last_second() {
        let read = good("p256");
        for (now, valid) in [
            ("2026-01-01T03:04:04.999Z", false),
            ("2026-01-01T03:04:05Z", true),
            ("2036-01-02T03:04:05Z", true),
            ("2036-01-02T03:04:05.001Z", false),
            ("2036-01-02T03:04:06Z", false),
        ] {
            assert_eq!(read.is_valid_at(time(now)), valid, "{now}");
        }
    }

    #[test]
    fn truncated_certificates_are_errors() {
        let der = certificate_der("p256");
        for end in 1..der.len() {
            assert_eq!(refusal(&pem::encode(LABEL, &der[..end])), InvalidCertificate::Encoding, "{end}");
        }
        let text = certificate("p256-chain");
        let lines: Vec<&str> = text.lines().collect();
        for end in 0..lines.len() {
            let whole = end > 0 && lines[end - 1].starts_with("-----END");
            assert_eq!(Certificate::from_pem_bundle(&lines[..end].join("\n")).is_ok(), whole, "{end}");
        }
    }

    proptest! {
        #[test]
        fn altered_certificates_never_panic(at: Index, value: u8, cut: Index, cuts: bool) {
            for name in ["p256", "rsa-2048-signed-pss", "p256-unknown-critical"] {
                let mut der = certificate_der(name);
                let at = at.index(der.len());
                der[at] = value;
                if cuts {
                    der.truncate(cut.index(der.len()));
                }
                let text = pem::encode(LABEL, &der);
                if let Ok(read) = Certificate::from_pem_bundle(&text) {
                    prop_assert!(!read.common_name().is_empty() && read.not_before() <= read.not_after());
                }
                let _ = Certificate::from_delegation_pem(&text);
            }
        }
    }
}
