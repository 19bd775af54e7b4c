//! One certificate in DER, and what is used of it.

use x509_cert::certificate::{TbsCertificate, Version};
use x509_cert::der::asn1::{Any, ObjectIdentifier};
use x509_cert::der::{Decode, Encode as _, Tag, Tagged as _};
use x509_cert::ext::Extension;
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage};
use x509_cert::name::Name;
use x509_cert::spki::{AlgorithmIdentifierOwned, SubjectPublicKeyInfoOwned};
use x509_cert::time::Time;

use super::InvalidCertificate;
use crate::key::algorithm::RSA_PSS;
use crate::key::{KeyAlgorithm, PublicKey, rsa_pss};
use crate::time::UtcTime;

/// `id-at-commonName`, RFC 5280 A.1.
pub(super) const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");
/// Longest common name, in bytes: that of a repository, and some more.
pub(super) const COMMON_NAME_BYTES: usize = 512;

/// `id-ce-keyUsage`, RFC 5280 4.2.1.3.
const KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.15");
/// `id-ce-subjectAltName`, RFC 5280 4.2.1.6.
const SUBJECT_ALT_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.17");
/// `id-ce-basicConstraints`, RFC 5280 4.2.1.9.
const BASIC_CONSTRAINTS: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.19");
/// `id-ce-extKeyUsage`, RFC 5280 4.2.1.12.
const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// ECDSA with SHA-256, -384, -512 (RFC 5758 3.2), RSA with the same (RFC 4055 5), and
/// Ed25519 (RFC 8410 3).
const SIGNED_WELL: [ObjectIdentifier; 7] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.3"),
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.12"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.13"),
    ObjectIdentifier::new_unwrap("1.3.101.112"),
];

/// Names of others, for messages. Anything else shows its number.
const SIGNED_BADLY: [(&str, &str); 6] = [
    ("1.2.840.10040.4.3", "DSA with SHA-1"),
    ("1.2.840.10045.4.1", "ECDSA with SHA-1"),
    ("1.2.840.113549.1.1.2", "RSA with MD2"),
    ("1.2.840.113549.1.1.4", "RSA with MD5"),
    ("1.2.840.113549.1.1.5", "RSA with SHA-1"),
    ("1.2.840.113549.1.1.10", "RSA-PSS with other parameters than SHA-256"),
];

/// A certificate whose parts fit together.
pub(super) struct Parsed(x509_cert::Certificate);

/// What is used of a key owner's certificate.
pub(super) struct Contents {
    pub(super) public_key: PublicKey,
    /// `None` without one, with several, and with one that is no short plain text.
    pub(super) common_name: Option<Box<str>>,
    pub(super) not_before: UtcTime,
    pub(super) not_after: UtcTime,
}

impl Parsed {
    pub(super) fn from_der(der: &[u8]) -> Result<Self, InvalidCertificate> {
        let parsed = x509_cert::Certificate::from_der(der).map_err(|_| InvalidCertificate::Encoding)?;
        let tbs = parsed.tbs_certificate();
        if tbs.signature() != parsed.signature_algorithm() {
            return Err(InvalidCertificate::AlgorithmMismatch);
        }
        let has_unique_ids = tbs.issuer_unique_id().is_some() || tbs.subject_unique_id().is_some();
        let has_extensions = tbs.extensions().is_some();
        let fits = match tbs.version() {
            Version::V1 => !has_unique_ids && !has_extensions,
            Version::V2 => !has_extensions,
            Version::V3 => true,
        };
        if !fits {
            return Err(InvalidCertificate::Version);
        }
        let mut seen = Vec::new();
        for Extension { extn_id, .. } in extensions(tbs) {
            if seen.contains(extn_id) {
                return Err(InvalidCertificate::DuplicateExtension { oid: extn_id.to_string() });
            }
            seen.push(*extn_id);
        }
        Ok(Self(parsed))
    }

    /// Whether it is the certificate of an authority (RFC 5280 4.2.1.9).
    pub(super) fn is_authority(&self) -> Result<bool, InvalidCertificate> {
        let extension = extensions(self.0.tbs_certificate()).find(|found| found.extn_id == BASIC_CONSTRAINTS);
        let constraints = extension.map(value::<BasicConstraints>).transpose()?;
        Ok(constraints.is_some_and(|constraints| constraints.ca))
    }

    pub(super) fn contents(&self) -> Result<Contents, InvalidCertificate> {
        let tbs = self.0.tbs_certificate();
        check_signature_algorithm(tbs.signature())?;
        for extension in extensions(tbs) {
            check_extension(extension)?;
        }
        let [not_before, not_after] = [tbs.validity().not_before, tbs.validity().not_after].map(moment);
        let (not_before, not_after) = (not_before?, not_after?);
        if not_after < not_before {
            return Err(InvalidCertificate::Validity);
        }
        let public_key = public_key(tbs.subject_public_key_info())?;
        Ok(Contents { public_key, common_name: common_name(tbs.subject()), not_before, not_after })
    }
}

fn extensions(tbs: &TbsCertificate) -> impl Iterator<Item = &Extension> {
    tbs.extensions().into_iter().flatten()
}

fn value<'a, T: Decode<'a>>(extension: &'a Extension) -> Result<T, InvalidCertificate> {
    T::from_der(extension.extn_value.as_bytes()).map_err(|_| InvalidCertificate::Encoding)
}

/// What must not be ignored must be known (RFC 5280 4.2), and what is known must be whole.
/// Usages are not judged: Notary never did, and the root document says what the key is for.
fn check_extension(extension: &Extension) -> Result<(), InvalidCertificate> {
    match extension.extn_id {
        KEY_USAGE => value::<KeyUsage>(extension).map(drop),
        EXTENDED_KEY_USAGE => value::<ExtendedKeyUsage>(extension).map(drop),
        BASIC_CONSTRAINTS => value::<BasicConstraints>(extension).map(drop),
        SUBJECT_ALT_NAME => Ok(()),
        oid if extension.critical => Err(InvalidCertificate::CriticalExtension { oid: oid.to_string() }),
        _ => Ok(()),
    }
}

/// With a digest in which collisions can be made, somebody could hold a second certificate
/// with the same signature.
fn check_signature_algorithm(algorithm: &AlgorithmIdentifierOwned) -> Result<(), InvalidCertificate> {
    let oid = algorithm.oid;
    let is_pss_sha256 = || {
        let parameters = algorithm.parameters.as_ref();
        oid == RSA_PSS
            && parameters.is_some_and(|found| rsa_pss::check_pss_parameters(Some(found.into())).is_ok())
    };
    if SIGNED_WELL.contains(&oid) || is_pss_sha256() {
        return Ok(());
    }
    let number = oid.to_string();
    let known = SIGNED_BADLY.iter().find(|(other, _)| *other == number);
    let algorithm = known.map_or_else(|| format!("OID {number}"), |(_, name)| (*name).to_owned());
    Err(InvalidCertificate::SignatureAlgorithm { algorithm })
}

fn public_key(info: &SubjectPublicKeyInfoOwned) -> Result<PublicKey, InvalidCertificate> {
    let der = info.to_der().map_err(|_| InvalidCertificate::Encoding)?;
    let key = PublicKey::from_spki_der(&der)?;
    match key.algorithm() {
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::RsaPss => Ok(key),
        // Notary has no key type for it.
        algorithm @ KeyAlgorithm::Ed25519 => Err(InvalidCertificate::KeyAlgorithm { algorithm }),
    }
}

/// The one common name. Of several, Go takes the last and others the first; of a text with
/// NUL in it, some see only what stands before.
fn common_name(subject: &Name) -> Option<Box<str>> {
    let mut names = subject.iter().filter(|attribute| attribute.oid == COMMON_NAME);
    let (name, None) = (plain_text(&names.next()?.value)?, names.next()) else { return None };
    let fits = (1..=COMMON_NAME_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    fits.then(|| name.into())
}

fn plain_text(value: &Any) -> Option<&str> {
    let text = std::str::from_utf8(value.value()).ok()?;
    match value.tag() {
        Tag::Utf8String => Some(text),
        Tag::PrintableString | Tag::Ia5String if text.is_ascii() => Some(text),
        _ => None,
    }
}

/// The calendar of [`UtcTime`] ends a day before that of certificates, whose last second
/// stands for "no end".
fn moment(time: Time) -> Result<UtcTime, InvalidCertificate> {
    let seconds =
        i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| InvalidCertificate::Validity)?;
    let epoch = UtcTime::from_unix_seconds(0).map_err(|_| InvalidCertificate::Validity)?;
    Ok(epoch.plus_seconds(seconds))
}
