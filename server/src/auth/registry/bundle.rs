//! A file with certificates of those who may sign tokens, or who may say who may.

use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::time::UtcTime;
use rustls_pki_types::pem::{PemObject as _, SectionKind};
use rustls_pki_types::{CertificateDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::aws_lc_rs as algorithms;
use webpki::{EndEntityCert, ExtendedKeyUsageValidator, KeyPurposeIdIter, VerifiedPath};
use x509_cert::Certificate;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::BasicConstraints;

use super::key::{UnfitKey, VerifyingKey};
use super::trust::{TrustedKey, Validity};

/// What certificates may be signed with: nothing with SHA-1, no RSA below 2048 bits.
const SIGNATURES: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::ECDSA_P521_SHA512,
    algorithms::ED25519,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
    algorithms::RSA_PSS_2048_8192_SHA256_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA384_LEGACY_KEY,
    algorithms::RSA_PSS_2048_8192_SHA512_LEGACY_KEY,
];

/// The certificates of one file.
#[derive(Default)]
pub(super) struct Bundle(Vec<Trusted>);

/// One of them.
struct Trusted {
    der: CertificateDer<'static>,
    validity: Validity,
    /// `None` for a key that can sign certificates, but no tokens.
    key: Option<Arc<VerifyingKey>>,
    id: String,
    authority: Option<Authority>,
}

/// A certificate that may sign others.
struct Authority {
    anchor: TrustAnchor<'static>,
    /// How many may stand between it and a leaf (RFC 5280 4.2.1.9).
    path_length: Option<u8>,
}

impl Bundle {
    /// Reads PEM. Text between the sections is skipped.
    pub(super) fn read(pem: &[u8]) -> Result<Self, BundleError> {
        let mut all = Vec::new();
        for (index, section) in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem).enumerate() {
            let number = index + 1;
            let (kind, der) = section.map_err(|_| BundleError::Pem { number })?;
            if kind != SectionKind::Certificate {
                return Err(BundleError::Kind { number });
            }
            all.push(Trusted::read(der, number)?);
        }
        if all.is_empty() { Err(BundleError::Empty) } else { Ok(Self(all)) }
    }

    /// The keys that tokens may name, each under the id that Docker's libtrust gives it.
    pub(super) fn keys(&self) -> impl Iterator<Item = TrustedKey> {
        self.0.iter().filter_map(|one| {
            let key = Arc::clone(one.key.as_ref()?);
            Some(TrustedKey { id: one.id.clone(), key, validity: Some(one.validity) })
        })
    }

    /// The key of the first certificate of `chain`, which is one of these or leads to one.
    /// `None` for a chain that proves nothing at `now`.
    ///
    /// Extended key usages are not looked at: none is made for tokens, and Docker's registries
    /// take them all. An authority in the bundle should sign nothing but token servers.
    pub(super) fn key_of(
        &self,
        chain: &[CertificateDer<'static>],
        now: UtcTime,
    ) -> Option<Arc<VerifyingKey>> {
        let (first, others) = chain.split_first()?;
        let valid = || self.0.iter().filter(|one| one.validity.contains(now));
        if let Some(known) = valid().find(|one| one.der == *first) {
            return known.key.clone();
        }
        let authorities: Vec<&Authority> = valid().filter_map(|one| one.authority.as_ref()).collect();
        let anchors: Vec<TrustAnchor<'_>> = authorities.iter().map(|one| one.anchor.clone()).collect();
        let leaf = EndEntityCert::try_from(first).ok()?;
        let seconds = u64::try_from(now.unix_seconds()).ok()?;
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let length_fits = |path: &VerifiedPath<'_>| {
            let between = path.intermediate_certificates().count();
            let fits = |one: &&Authority| {
                one.anchor == *path.anchor()
                    && one.path_length.is_none_or(|most| between <= usize::from(most))
            };
            if authorities.iter().any(fits) { Ok(()) } else { Err(webpki::Error::PathLenConstraintViolated) }
        };
        leaf.verify_for_usage(SIGNATURES, &anchors, others, time, AnyUsage, None, Some(&length_fits)).ok()?;
        VerifyingKey::from_spki(&leaf.subject_public_key_info()).ok().map(Arc::new)
    }

    /// Numbers, from 1, of the certificates that are of no use at `now`.
    pub(super) fn invalid_at(&self, now: UtcTime) -> Vec<usize> {
        let invalid = self.0.iter().enumerate().filter(|(_, one)| !one.validity.contains(now));
        invalid.map(|(index, _)| index + 1).collect()
    }

    /// Whether a chain could lead to one of these.
    pub(super) fn has_authority(&self) -> bool {
        self.0.iter().any(|one| one.authority.is_some())
    }
}

impl Trusted {
    fn read(der: Vec<u8>, number: usize) -> Result<Self, BundleError> {
        let malformed = || BundleError::Certificate { number };
        let certificate = Certificate::from_der(&der).map_err(|_| malformed())?;
        let fields = certificate.tbs_certificate();
        let spki = fields.subject_public_key_info().to_der().map_err(|_| malformed())?;
        let key = match VerifyingKey::from_spki(&spki) {
            Ok(key) => Some(Arc::new(key)),
            Err(UnfitKey::Type) => None,
            Err(source) => return Err(BundleError::Key { number, source }),
        };
        let constraints = fields.get_extension::<BasicConstraints>().map_err(|_| malformed())?;
        let seconds = |time: &x509_cert::time::Time| {
            i64::try_from(time.to_unix_duration().as_secs()).map_err(|_| malformed())
        };
        let validity = Validity {
            from: seconds(&fields.validity().not_before)?,
            to: seconds(&fields.validity().not_after)?,
        };
        let der = CertificateDer::from(der);
        let authority = match constraints {
            Some((_, BasicConstraints { ca: true, path_len_constraint })) => {
                let anchor = webpki::anchor_from_trusted_cert(&der).map_err(|_| malformed())?.to_owned();
                Some(Authority { anchor, path_length: path_len_constraint })
            }
            _ => None,
        };
        if key.is_none() && authority.is_none() {
            return Err(BundleError::Key { number, source: UnfitKey::Type });
        }
        Ok(Self { id: libtrust_id(&spki), der, validity, key, authority })
    }
}

/// The id that Docker's libtrust gives a key: the first 240 bits of the SHA-256 of its
/// `SubjectPublicKeyInfo` in base32, in groups of four.
fn libtrust_id(spki: &[u8]) -> String {
    const ALPHABET: [char; 32] = [
        'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T',
        'U', 'V', 'W', 'X', 'Y', 'Z', '2', '3', '4', '5', '6', '7',
    ];
    let digest = Sha256::digest(spki);
    let mut id = String::with_capacity(59);
    // 40 bits are eight characters: two groups.
    for chunk in digest.chunks_exact(5).take(6) {
        let bits = chunk.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        for position in (0..8).rev() {
            if position % 4 == 3 && !id.is_empty() {
                id.push(':');
            }
            let index = usize::try_from(bits >> (5 * position) & 31).unwrap_or_default();
            id.extend(ALPHABET.get(index));
        }
    }
    id
}

/// See [`Bundle::key_of`].
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), webpki::Error> {
        Ok(())
    }
}

/// A file with certificates cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Nothing in it.
    #[error("no certificate in it")]
    Empty,
    /// A section is cut off or no base64.
    #[error("section {number} is no PEM")]
    Pem {
        /// Which, from 1.
        number: usize,
    },
    /// A key, for example.
    #[error("section {number} is no certificate; the file must hold certificates only")]
    Kind {
        /// Which, from 1.
        number: usize,
    },
    /// Not a certificate inside.
    #[error("certificate {number} is malformed")]
    Certificate {
        /// Which, from 1.
        number: usize,
    },
    /// The certificate's key can sign neither tokens nor certificates.
    #[error("certificate {number}: {source}")]
    Key {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: UnfitKey,
    },
}
