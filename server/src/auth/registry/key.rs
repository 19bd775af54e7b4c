//! Keys that sign tokens, each bound to the one algorithm that fits it: a token cannot talk
//! anybody into using a key in another way (RFC 8725 3.1).

use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use serde::Deserialize;
use x509_cert::der::Decode as _;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::spki::SubjectPublicKeyInfoRef;

const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const EC: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const EDWARDS_25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// How a token may be signed. There is no way to say `none`, nor a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// ECDSA with P-256 and SHA-256 (RFC 7518 3.4).
    #[serde(rename = "ES256")]
    Es256,
    /// RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 3.3), of 2048 to 8192 bits.
    #[serde(rename = "RS256")]
    Rs256,
    /// Ed25519 (RFC 8037 3.1).
    #[serde(rename = "EdDSA")]
    EdDsa,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Rs256, Self::EdDsa];

    /// The name in the header of a token.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of that name, letter by letter.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    const fn verification(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::Es256 => &ECDSA_P256_SHA256_FIXED,
            Self::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
            Self::EdDsa => &ED25519,
        }
    }
}

/// A public key that tokens can be signed with.
pub(super) struct VerifyingKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

impl VerifyingKey {
    /// The key in a DER `SubjectPublicKeyInfo`, as certificates hold it.
    pub(super) fn from_spki(der: &[u8]) -> Result<Self, UnfitKey> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| UnfitKey::Malformed)?;
        let algorithm = match spki.algorithm.oid {
            RSA => Algorithm::Rs256,
            EC if spki.algorithm.parameters_oid().is_ok_and(|curve| curve == P256) => Algorithm::Es256,
            EDWARDS_25519 => Algorithm::EdDsa,
            _ => return Err(UnfitKey::Type),
        };
        let key = Self::parse(algorithm, der)?;
        // Reads RSA keys of 2048 to 8192 bits only.
        if algorithm == Algorithm::Rs256 && PublicEncryptingKey::from_der(der).is_err() {
            return Err(UnfitKey::Size);
        }
        Ok(key)
    }

    /// The RSA key of a modulus and an exponent.
    pub(super) fn rsa(n: &[u8], e: &[u8]) -> Result<Self, UnfitKey> {
        let der: PublicKeyX509Der<'_> =
            RsaPublicKeyComponents { n, e }.as_der().map_err(|_| UnfitKey::Malformed)?;
        Self::from_spki(der.as_ref())
    }

    /// The point of P-256 with these coordinates.
    pub(super) fn p256(x: &[u8], y: &[u8]) -> Result<Self, UnfitKey> {
        if x.len() != 32 || y.len() != 32 {
            return Err(UnfitKey::Malformed);
        }
        // SEC 1 2.3.3: an uncompressed point.
        Self::parse(Algorithm::Es256, &[&[4], x, y].concat())
    }

    /// The Ed25519 key of 32 bytes.
    pub(super) fn ed25519(x: &[u8]) -> Result<Self, UnfitKey> {
        if x.len() != 32 {
            return Err(UnfitKey::Malformed);
        }
        Self::parse(Algorithm::EdDsa, x)
    }

    /// The only algorithm that this key is used with.
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        self.key.verify_sig(message, signature).is_ok()
    }

    fn parse(algorithm: Algorithm, bytes: &[u8]) -> Result<Self, UnfitKey> {
        ParsedPublicKey::new(algorithm.verification(), bytes)
            .map(|key| Self { algorithm, key })
            .map_err(|_| UnfitKey::Malformed)
    }
}

/// Why a key cannot be used for tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnfitKey {
    /// Another kind of key.
    #[error("the key is neither RSA, nor on P-256, nor Ed25519")]
    Type,
    /// An RSA key that is too short to be safe, or absurdly long.
    #[error("an RSA key must have 2048 to 8192 bits")]
    Size,
    /// Not a key, or not a point on its curve.
    #[error("the key is malformed")]
    Malformed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_named_letter_by_letter() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(algorithm.name()), Some(algorithm));
        }
        for bad in ["none", "None", "", "HS256", "es256", "ES384", "PS256", "RS256 ", "EDDSA", "Ed25519"] {
            assert_eq!(Algorithm::named(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_of_other_kinds_and_sizes_are_unfit() {
        let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        assert_eq!(spki(&p384), Err(UnfitKey::Type));
        let p256 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert_eq!(spki(&p256), Ok(Algorithm::Es256));
        let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        assert_eq!(spki(&ed25519), Ok(Algorithm::EdDsa));

        let rsa = |bytes: usize| VerifyingKey::rsa(&[vec![0xc1], vec![1; bytes - 1]].concat(), &[1, 0, 1]);
        assert_eq!(rsa(256).map(|key| key.algorithm()).ok(), Some(Algorithm::Rs256));
        assert_eq!(rsa(128).err(), Some(UnfitKey::Size));
        assert_eq!(rsa(255).err(), Some(UnfitKey::Size));
        assert_eq!(VerifyingKey::p256(&[1; 32], &[1; 32]).err(), Some(UnfitKey::Malformed));
        assert_eq!(VerifyingKey::p256(&[1; 31], &[1; 33]).err(), Some(UnfitKey::Malformed));
        assert_eq!(VerifyingKey::ed25519(&[1; 31]).err(), Some(UnfitKey::Malformed));
        assert_eq!(VerifyingKey::from_spki(b"x").err(), Some(UnfitKey::Malformed));
    }

    fn spki(pair: &rcgen::KeyPair) -> Result<Algorithm, UnfitKey> {
        use rcgen::PublicKeyData as _;
        VerifyingKey::from_spki(&pair.subject_public_key_info()).map(|key| key.algorithm())
    }
}
