//! The signature algorithms Bulla knows, and their names in metadata.

use std::fmt;
use std::str::FromStr;

use spki::{AlgorithmIdentifierRef, ObjectIdentifier};

use crate::key::PublicKey;

/// `ecPublicKey`, RFC 5480 2.1.1.
pub(super) const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
/// `secp256r1`, RFC 5480 2.1.1.1.
pub(super) const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
/// `id-Ed25519`, RFC 8410 3.
pub(super) const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// `rsaEncryption`, RFC 3279 2.3.1.
pub(super) const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// `id-RSASSA-PSS`, RFC 4055 1.2.
pub(super) const RSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");

/// Names of what Bulla does not support, for messages. Anything else shows its number.
const OTHERS: [(&str, &str); 15] = [
    ("1.3.132.0.33", "ECDSA P-224"),
    ("1.3.132.0.34", "ECDSA P-384"),
    ("1.3.132.0.35", "ECDSA P-521"),
    ("1.3.132.0.10", "ECDSA secp256k1"),
    ("1.3.36.3.3.2.8.1.1.7", "ECDSA brainpoolP256r1"),
    ("1.2.840.113549.1.1.1", "RSA"),
    ("1.2.840.113549.1.1.10", "RSA-PSS"),
    ("1.2.840.10040.4.1", "DSA"),
    ("1.3.101.110", "X25519"),
    ("1.3.101.111", "X448"),
    ("1.3.101.113", "Ed448"),
    ("1.2.156.10197.1.301", "SM2"),
    ("2.16.840.1.101.3.4.3.17", "ML-DSA-44"),
    ("2.16.840.1.101.3.4.3.18", "ML-DSA-65"),
    ("2.16.840.1.101.3.4.3.19", "ML-DSA-87"),
];

/// A signature algorithm with all its parameters fixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyAlgorithm {
    /// ECDSA on P-256 over SHA-256, signatures in ASN.1 DER (FIPS 186-5).
    EcdsaP256,
    /// Pure Ed25519 (RFC 8032).
    Ed25519,
    /// RSASSA-PSS with SHA-256 and MGF1-SHA-256 (RFC 8017), for verification only.
    RsaPss,
}

impl fmt::Display for KeyAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::Ed25519 => "ed25519",
            Self::RsaPss => "rsa-pss",
        })
    }
}

impl FromStr for KeyAlgorithm {
    type Err = InvalidKeyAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "ecdsa-p256" => Ok(Self::EcdsaP256),
            "ed25519" => Ok(Self::Ed25519),
            "rsa-pss" => Ok(Self::RsaPss),
            _ => Err(InvalidKeyAlgorithm),
        }
    }
}

/// The text names no algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown key algorithm: expected ecdsa-p256, ed25519 or rsa-pss")]
pub struct InvalidKeyAlgorithm;

/// The `keytype` and `scheme` with which TUF 1.0 metadata (4.2) describes this key.
#[must_use]
pub const fn tuf_keytype_and_scheme(key: &PublicKey) -> (&'static str, &'static str) {
    match key.algorithm() {
        KeyAlgorithm::EcdsaP256 => ("ecdsa", "ecdsa-sha2-nistp256"),
        KeyAlgorithm::Ed25519 => ("ed25519", "ed25519"),
        KeyAlgorithm::RsaPss => ("rsa", "rsassa-pss-sha256"),
    }
}

/// What to call an algorithm in a message; for elliptic curves, the curve.
pub(super) fn algorithm_name(algorithm: &AlgorithmIdentifierRef<'_>) -> String {
    let oid = match algorithm.oid {
        EC => match algorithm.parameters_oid() {
            Ok(curve) => curve,
            // Parameters written out could describe a curve with a known secret (CVE-2020-0601).
            Err(_) => return "ECDSA on an unnamed curve".to_owned(),
        },
        other => other,
    }
    .to_string();
    let known = OTHERS.iter().find(|(number, _)| *number == oid);
    known.map_or_else(|| format!("OID {oid}"), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip() {
        for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519, KeyAlgorithm::RsaPss] {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
        for bad in ["", "ECDSA-P256", "ecdsa", "rsa", "ed25519 "] {
            assert_eq!(bad.parse::<KeyAlgorithm>(), Err(InvalidKeyAlgorithm), "{bad}");
        }
    }
}
