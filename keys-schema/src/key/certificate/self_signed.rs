//! Making the certificate of a root key, in the shape that `notary init` gives it.

use std::time::Duration;

use p256::ecdsa::VerifyingKey;
use p256::ecdsa::signature::Keypair;
use x509_cert::builder::profile::BuilderProfile;
use x509_cert::builder::{self, Builder as _, CertificateBuilder};
use x509_cert::certificate::TbsCertificate;
use x509_cert::der::asn1::{BitString, ObjectIdentifier, PrintableStringRef, Utf8StringRef};
use x509_cert::der::{DateTime, Encode as _};
use x509_cert::ext::pkix::{BasicConstraints, ExtendedKeyUsage, KeyUsage, KeyUsages};
use x509_cert::ext::{Extension, ToExtension as _};
use x509_cert::name::Name;
use x509_cert::serial_number::SerialNumber;
use x509_cert::spki::{
    self, AlgorithmIdentifierOwned, DynSignatureAlgorithmIdentifier, SubjectPublicKeyInfoOwned,
    SubjectPublicKeyInfoRef,
};
use x509_cert::time::{Time, Validity};

use super::contents::{COMMON_NAME, COMMON_NAME_BYTES};
use super::{Certificate, InvalidCertificate, LABEL};
use crate::key::{KeyAlgorithm, SignError, Signer, pem};
use crate::time::UtcTime;

/// `ecdsa-with-SHA256`, RFC 5758 3.2.
const ECDSA_SHA_256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// `id-kp-codeSigning`, RFC 5280 4.2.1.12.
const CODE_SIGNING: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.3.3");

impl Certificate {
    /// Makes a certificate for the key of `signer`, signed by it: what Notary demands of
    /// every root key. `common_name` is the repository, or a prefix and `*`. The caller
    /// brings the time and the randomness of `serial`, which is read as a positive number.
    /// Fractions of seconds are dropped.
    ///
    /// # Errors
    /// Keys of other algorithms than P-256, names and dates that a certificate cannot have,
    /// a serial number of zero, and a signer that cannot sign.
    pub fn self_signed(
        signer: &dyn Signer,
        common_name: &str,
        serial: [u8; 16],
        not_before: UtcTime,
        not_after: UtcTime,
    ) -> Result<Self, SelfSignError> {
        let algorithm = signer.public_key().algorithm();
        let owner = signer.public_key().p256().ok_or(SelfSignError::Algorithm { algorithm })?;
        let owner = Owner { key: *owner, name: name(common_name)? };
        if serial == [0; 16] {
            return Err(SelfSignError::Serial);
        }
        let (not_before, not_after) = (moment(not_before)?, moment(not_after)?);
        let key = SubjectPublicKeyInfoOwned::from_key(&owner.key).map_err(encoding)?;
        let serial = SerialNumber::new(&serial).map_err(encoding)?;
        let mut builder =
            CertificateBuilder::new(owner.clone(), serial, Validity::new(not_before, not_after), key)
                .map_err(encoding)?;
        let signature = signer.sign(&builder.finalize(&owner).map_err(encoding)?)?;
        let signature = BitString::from_bytes(&signature).map_err(encoding)?;
        let der = builder.assemble(signature, &owner).map_err(encoding)?.to_der().map_err(encoding)?;
        // What we would refuse is not made: it checks the name's length and the dates' order.
        Ok(Self::from_pem_bundle(&pem::encode(LABEL, &der))?)
    }
}

/// Whose certificate it is: subject, issuer and key in one.
#[derive(Clone)]
struct Owner {
    key: VerifyingKey,
    name: Name,
}

impl BuilderProfile for Owner {
    fn get_issuer(&self, _subject: &Name) -> Name {
        self.name.clone()
    }

    fn get_subject(&self) -> Name {
        self.name.clone()
    }

    fn build_extensions(
        &self,
        _key: SubjectPublicKeyInfoRef<'_>,
        _issuer_key: SubjectPublicKeyInfoRef<'_>,
        _tbs: &TbsCertificate,
    ) -> builder::Result<Vec<Extension>> {
        let usage = KeyUsage(KeyUsages::DigitalSignature | KeyUsages::KeyEncipherment);
        let purpose = ExtendedKeyUsage(vec![CODE_SIGNING]);
        let constraints = BasicConstraints { ca: false, path_len_constraint: None };
        Ok(vec![
            usage.to_extension(&self.name, &[])?,
            purpose.to_extension(&self.name, &[])?,
            constraints.to_extension(&self.name, &[])?,
        ])
    }
}

impl Keypair for Owner {
    type VerifyingKey = VerifyingKey;

    fn verifying_key(&self) -> VerifyingKey {
        self.key
    }
}

impl DynSignatureAlgorithmIdentifier for Owner {
    fn signature_algorithm_identifier(&self) -> spki::Result<AlgorithmIdentifierOwned> {
        Ok(AlgorithmIdentifierOwned { oid: ECDSA_SHA_256, parameters: None })
    }
}

/// A name of nothing but `common_name`, as a printable string where that can hold it, like
/// Go's encoder.
fn name(common_name: &str) -> Result<Name, SelfSignError> {
    if common_name.len() > COMMON_NAME_BYTES {
        return Err(SelfSignError::Invalid(InvalidCertificate::CommonName));
    }
    let value = PrintableStringRef::new(common_name)
        .and_then(|text| text.to_der())
        .or_else(|_| Utf8StringRef::new(common_name)?.to_der())
        .map_err(encoding)?;
    // The crate makes names of text only; `#` announces DER (RFC 4514 2.4).
    format!("{COMMON_NAME}=#{}", hex::encode(value)).parse().map_err(encoding)
}

fn moment(time: UtcTime) -> Result<Time, SelfSignError> {
    let seconds = u64::try_from(time.unix_seconds()).map_err(|_| SelfSignError::Date { date: time })?;
    let date = DateTime::from_unix_duration(Duration::from_secs(seconds));
    Ok(date.map_err(|_| SelfSignError::Date { date: time })?.into())
}

fn encoding<E>(_: E) -> SelfSignError {
    SelfSignError::Invalid(InvalidCertificate::Encoding)
}

/// Why no certificate was made.
#[derive(Debug, thiserror::Error)]
pub enum SelfSignError {
    /// The signer's key is of another algorithm than P-256.
    #[error("certificates are made for ecdsa-p256 keys only, this one is {algorithm}")]
    Algorithm {
        /// Its algorithm.
        algorithm: KeyAlgorithm,
    },
    /// A date before 1970 or after 9999.
    #[error("{date} cannot be written in a certificate")]
    Date {
        /// The date.
        date: UtcTime,
    },
    /// The name or the dates are none that could be read again.
    #[error(transparent)]
    Invalid(#[from] InvalidCertificate),
    /// A serial number of zero.
    #[error("the serial number of a certificate must be positive")]
    Serial,
    /// The signer could not sign.
    #[error(transparent)]
    Sign(#[from] SignError),
}

#[cfg(test)]
mod tests {
    use x509_cert::der::Decode as _;
    use zeroize::Zeroizing;

    use super::*;
    use crate::key::SecretKey;
    use crate::key::samples::certificate_der;

    const GUN: &str = "registry.example.com:5000/team/app";

    fn time(text: &str) -> UtcTime {
        text.parse().unwrap()
    }

    fn key(algorithm: KeyAlgorithm) -> SecretKey {
        SecretKey::from_seed(algorithm, &Zeroizing::new([5; 32])).unwrap()
    }

    fn make(name: &str, serial: [u8; 16], from: &str, until: &str) -> Result<Certificate, SelfSignError> {
        Certificate::self_signed(&key(KeyAlgorithm::EcdsaP256), name, serial, time(from), time(until))
    }

    fn good(name: &str, serial: [u8; 16]) -> Certificate {
        make(name, serial, "2026-01-02T03:04:05.6Z", "2036-01-02T03:04:05Z").unwrap()
    }

    fn der(certificate: &Certificate) -> Vec<u8> {
        pem_rfc7468::decode_vec(certificate.pem().as_bytes()).unwrap().1
    }

    #[test]
    fn makes_what_it_was_asked_for() {
        let made = good(GUN, [7; 16]);
        assert_eq!(made.common_name(), GUN);
        assert!(made.names(&GUN.parse().unwrap()));
        assert_eq!(made.public_key(), key(KeyAlgorithm::EcdsaP256).public_key());
        assert_eq!(made.not_before(), time("2026-01-02T03:04:05Z"));
        assert_eq!(made.not_after(), time("2036-01-02T03:04:05Z"));
        assert_eq!(made, good(GUN, [7; 16]), "deterministic");
        assert!(made.pem().lines().all(|line| line.len() <= 64) && made.pem().ends_with("-----\n"));
    }

    #[test]
    fn has_the_bytes_of_notarys_but_for_key_and_signature() {
        // Made by another program from the same inputs.
        let (ours, theirs) = (der(&good(GUN, [0x8f; 16])), certificate_der("p256-as-notary"));
        let at = |der: &[u8]| der.windows(2).position(|pair| pair == [0x03, 0x42]).unwrap();
        assert_eq!(ours[4..at(&ours)], theirs[4..at(&theirs)], "up to the key");
        let (ours, theirs) = (&ours[at(&ours) + 68..], &theirs[at(&theirs) + 68..]);
        let end = |der: &[u8]| der.windows(3).rposition(|three| three == [0x04, 0x03, 0x02]).unwrap() + 3;
        assert_eq!(ours[..end(ours)], theirs[..end(theirs)], "extensions and algorithm");
    }

    #[test]
    fn the_signature_is_the_keys_own() {
        let made = der(&good(GUN, [7; 16]));
        let parsed = x509_cert::Certificate::from_der(&made).unwrap();
        let tbs = parsed.tbs_certificate().to_der().unwrap();
        let key = key(KeyAlgorithm::EcdsaP256);
        assert_eq!(key.public_key().verify(&tbs, parsed.signature().raw_bytes()), Ok(()));
    }

    #[test]
    fn serial_numbers_are_positive() {
        for serial in [[0xff; 16], [0x80; 16], [1; 16]] {
            let made = der(&good(GUN, serial));
            let parsed = x509_cert::Certificate::from_der(&made).unwrap();
            let bytes = parsed.tbs_certificate().serial_number().as_bytes();
            assert!(bytes[0] < 0x80 && bytes.ends_with(&serial), "{}", hex::encode(bytes));
        }
        let zero = make(GUN, [0; 16], "2026-01-02T03:04:05Z", "2036-01-02T03:04:05Z");
        assert!(matches!(zero, Err(SelfSignError::Serial)));
    }

    #[test]
    fn names_are_printable_strings_where_they_can() {
        for (name, tag) in
            [(GUN, 0x13), ("a/b_c", 0x0c), ("registry.example.com/team/*", 0x0c), ("\u{e9}", 0x0c)]
        {
            let made = good(name, [7; 16]);
            assert_eq!(made.common_name(), name);
            let text = [&[tag, name.len() as u8], name.as_bytes()].concat();
            assert_eq!(der(&made).windows(text.len()).filter(|found| *found == text).count(), 2, "{name}");
        }
    }

    #[test]
    fn refuses_what_could_not_be_read_again() {
        let (from, until) = ("2026-01-02T03:04:05Z", "2036-01-02T03:04:05Z");
        for name in ["", "a\0b", "a\nb", &"a".repeat(COMMON_NAME_BYTES + 1)] {
            let error = make(name, [7; 16], from, until).unwrap_err();
            assert!(matches!(error, SelfSignError::Invalid(InvalidCertificate::CommonName)), "{name:?}");
        }
        let backwards = make(GUN, [7; 16], until, from).unwrap_err();
        assert!(matches!(backwards, SelfSignError::Invalid(InvalidCertificate::Validity)));
        let early = make(GUN, [7; 16], "1969-12-31T23:59:59Z", until).unwrap_err();
        assert!(matches!(early, SelfSignError::Date { .. }));
        let ed25519 = key(KeyAlgorithm::Ed25519);
        let other = Certificate::self_signed(&ed25519, GUN, [7; 16], time(from), time(until)).unwrap_err();
        assert!(matches!(other, SelfSignError::Algorithm { algorithm: KeyAlgorithm::Ed25519 }));
    }

    #[test]
    fn reaches_past_2049() {
        let made = make(GUN, [7; 16], "2049-12-31T23:59:59Z", "2116-01-01T00:00:00Z").unwrap();
        assert_eq!(made.not_before(), time("2049-12-31T23:59:59Z"));
        assert_eq!(made.not_after(), time("2116-01-01T00:00:00Z"));
        let dates = b"\x17\x0d491231235959Z\x18\x0f21160101000000Z";
        assert!(der(&made).windows(dates.len()).any(|found| found == dates), "RFC 5280 4.1.2.5");
    }
}
