//! Public keys: one value and one fingerprint per key, however it is written.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use ed25519_dalek::Verifier as _;
use ed25519_dalek::pkcs8::EncodePublicKey as _;
use spki::SubjectPublicKeyInfoRef;
use spki::der::Decode as _;

use crate::digest::Sha256Digest;
use crate::key::algorithm::{self, algorithm_name};
use crate::key::rsa_pss::{self, RsaVerifier};
use crate::key::{Fingerprint, InvalidPem, KeyAlgorithm, pem};

/// The PEM label of a `SubjectPublicKeyInfo` (RFC 7468 13).
const LABEL: &str = "PUBLIC KEY";
/// Largest PEM text read, in bytes: several times the largest RSA key.
const PEM_BYTES: usize = 16 * 1024;
/// The neutral point of Ed25519's curve, as RFC 8032 5.1.2 writes it.
const NEUTRAL: [u8; 32] = {
    let mut bytes = [0; 32];
    bytes[0] = 1;
    bytes
};

/// A public key that passed every check, ready to verify.
#[derive(Clone)]
pub struct PublicKey {
    spki: Arc<[u8]>,
    fingerprint: Fingerprint,
    verifier: Verifier,
}

#[derive(Clone)]
enum Verifier {
    EcdsaP256(p256::ecdsa::VerifyingKey),
    Ed25519(ed25519_dalek::VerifyingKey),
    RsaPss(RsaVerifier),
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in DER (RFC 5280 4.1.2.7).
    ///
    /// # Errors
    /// Bad DER or trailing data, algorithms Bulla does not know, and keys that are weak or
    /// have a second spelling; see [`InvalidPublicKey`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, InvalidPublicKey> {
        let info = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| InvalidPublicKey::Encoding)?;
        let bits = info.subject_public_key.as_bytes().ok_or(InvalidPublicKey::Encoding)?;
        let parameters = info.algorithm.parameters;
        match info.algorithm.oid {
            algorithm::EC if info.algorithm.parameters_oid() == Ok(algorithm::P256) => {
                Self::from_p256_sec1(bits)
            }
            algorithm::ED25519 if parameters.is_none() => {
                Self::from_ed25519_bytes(bits.try_into().map_err(|_| InvalidPublicKey::Encoding)?)
            }
            algorithm::ED25519 => Err(InvalidPublicKey::Encoding),
            algorithm::RSA => {
                rsa_pss::check_plain_parameters(parameters)?;
                Self::new(Verifier::RsaPss(RsaVerifier::from_pkcs1_der(bits)?))
            }
            algorithm::RSA_PSS => {
                rsa_pss::check_pss_parameters(parameters)?;
                Self::new(Verifier::RsaPss(RsaVerifier::from_pkcs1_der(bits)?))
            }
            _ => Err(InvalidPublicKey::Unsupported { algorithm: algorithm_name(&info.algorithm) }),
        }
    }

    /// Reads exactly one PEM block labelled `PUBLIC KEY` (RFC 7468 13).
    ///
    /// # Errors
    /// Anything before or after the block, another label, and what
    /// [`Self::from_spki_der`] refuses.
    pub fn from_pem(text: &str) -> Result<Self, InvalidPublicKey> {
        Self::from_spki_der(&pem::decode(text, &[LABEL], PEM_BYTES)?)
    }

    /// As [`Self::from_pem`], and also with the headers `role`, `gun` and `path`, which docker
    /// and notary write into the files of signers. What they say is not used.
    ///
    /// # Errors
    /// As for [`Self::from_pem`]; other headers as well.
    pub fn from_pem_with_headers(text: &str) -> Result<Self, InvalidPublicKey> {
        let block = pem::Block::decode(text, &[LABEL], &["role", "gun", "path"], PEM_BYTES)?;
        Self::from_spki_der(&block.content)
    }

    /// Reads a raw Ed25519 public key (RFC 8032 5.1.5), the form of TUF metadata.
    ///
    /// # Errors
    /// Bytes that are no point, or a point with a part of small order: such a point alone
    /// makes signatures that fit many messages, and added to a good key it gives one secret
    /// a second public key. The same goes for the second spellings of a point.
    pub fn from_ed25519_bytes(bytes: &[u8; 32]) -> Result<Self, InvalidPublicKey> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| InvalidPublicKey::Point)?;
        let point = key.to_edwards();
        if key.is_weak() || !point.is_torsion_free() || point.compress().to_bytes() != *bytes {
            return Err(InvalidPublicKey::WeakPoint);
        }
        Self::new(Verifier::Ed25519(key))
    }

    /// Reads a point of P-256 in SEC 1 form (2.3.3), compressed or not.
    ///
    /// # Errors
    /// Bytes of another form, or no point of the curve.
    pub fn from_p256_sec1(bytes: &[u8]) -> Result<Self, InvalidPublicKey> {
        // The crate would read more: the identity, and points without their y.
        if !matches!(bytes, [2..=4, ..]) {
            return Err(InvalidPublicKey::Point);
        }
        let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(bytes).map_err(|_| InvalidPublicKey::Point)?;
        Self::new(Verifier::EcdsaP256(key))
    }

    /// The signature algorithm.
    #[must_use]
    pub const fn algorithm(&self) -> KeyAlgorithm {
        match self.verifier {
            Verifier::EcdsaP256(_) => KeyAlgorithm::EcdsaP256,
            Verifier::Ed25519(_) => KeyAlgorithm::Ed25519,
            Verifier::RsaPss(_) => KeyAlgorithm::RsaPss,
        }
    }

    /// SHA-256 of [`Self::to_spki_der`]: what tells keys apart.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The canonical `SubjectPublicKeyInfo` in DER: uncompressed point, RSA as
    /// `rsaEncryption` with NULL, whatever form was read.
    #[must_use]
    pub fn to_spki_der(&self) -> &[u8] {
        &self.spki
    }

    /// [`Self::to_spki_der`] as PEM with line feeds, the bytes cosign and python write.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::encode(LABEL, &self.spki)
    }

    /// The raw bytes, if this is an Ed25519 key.
    #[must_use]
    pub fn ed25519_bytes(&self) -> Option<[u8; 32]> {
        match &self.verifier {
            Verifier::Ed25519(key) => Some(key.to_bytes()),
            Verifier::EcdsaP256(_) | Verifier::RsaPss(_) => None,
        }
    }

    /// The point, if this is a P-256 key.
    pub(super) const fn p256(&self) -> Option<&p256::ecdsa::VerifyingKey> {
        match &self.verifier {
            Verifier::EcdsaP256(key) => Some(key),
            Verifier::Ed25519(_) | Verifier::RsaPss(_) => None,
        }
    }

    /// Verifies a signature over `message`: ASN.1 DER for ECDSA (either value of `s`, as
    /// every peer accepts both), 64 bytes for Ed25519, the length of the modulus for RSA.
    ///
    /// # Errors
    /// The signature is malformed or was not made by this key over these bytes.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        match &self.verifier {
            Verifier::EcdsaP256(_) => {
                let signature = p256::ecdsa::Signature::from_der(signature).map_err(|_| BadSignature)?;
                // The key and the two numbers were read by `p256`; the arithmetic takes a fifth of its time here.
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.spki)
                    .verify(message, &signature.to_bytes())
                    .map_err(|_| BadSignature)
            }
            Verifier::Ed25519(key) => {
                let signature = ed25519_dalek::Signature::from_slice(signature).map_err(|_| BadSignature)?;
                // What `verify_strict` refuses besides, without decoding R for it: an R of small order.
                // `verify` demands that R is, byte by byte, the encoding of a point that it computes
                // from the base and the key. Both lie in the group of prime order (for the key see
                // `from_ed25519_bytes`), so that point does, and of such only the neutral one has small order.
                if signature.r_bytes() == &NEUTRAL {
                    return Err(BadSignature);
                }
                key.verify(message, &signature).map_err(|_| BadSignature)
            }
            Verifier::RsaPss(key) => key.verify(message, signature),
        }
    }

    fn new(verifier: Verifier) -> Result<Self, InvalidPublicKey> {
        let encoding = |_| InvalidPublicKey::Encoding;
        let spki = match &verifier {
            Verifier::EcdsaP256(key) => key.to_public_key_der().map_err(encoding)?.into_vec(),
            Verifier::Ed25519(key) => key.to_public_key_der().map_err(encoding)?.into_vec(),
            Verifier::RsaPss(key) => key.to_spki_der()?,
        };
        let fingerprint = Fingerprint::new(Sha256Digest::of(&spki));
        Ok(Self { spki: spki.into(), fingerprint, verifier })
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        self.spki == other.spki
    }
}

impl Eq for PublicKey {}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({} {})", self.algorithm(), self.fingerprint())
    }
}

/// A P-256 signature in ASN.1 DER, as [`PublicKey::verify`] takes it, in the form of
/// Notary v1: `r` and `s` with 32 bytes each. `None` for what is no such signature.
#[must_use]
pub fn p256_signature_to_raw(der: &[u8]) -> Option<[u8; 64]> {
    let signature = p256::ecdsa::Signature::from_der(der).ok()?;
    Some(signature.to_bytes().into())
}

/// The way back from [`p256_signature_to_raw`]. `None` for another length, and for an `r` or
/// `s` that is zero or not below the order of the curve.
#[must_use]
pub fn p256_signature_from_raw(raw: &[u8]) -> Option<Vec<u8>> {
    let signature = p256::ecdsa::Signature::from_slice(raw).ok()?;
    Some(signature.to_der().as_bytes().to_vec())
}

/// The signature does not verify. Deliberately without a reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// Why bytes or a text are no public key that Bulla accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublicKey {
    /// Not the DER structure of a public key, or trailing data behind it.
    #[error("not a public key in DER (SubjectPublicKeyInfo)")]
    Encoding,
    /// Not exactly one PEM block of the right label.
    #[error(transparent)]
    Pem(#[from] InvalidPem),
    /// Not a point of the curve.
    #[error("not a point of the key's curve")]
    Point,
    /// RSA numbers that no key generator makes.
    #[error("not an RSA key: modulus and exponent must be odd, the exponent below 2^33")]
    RsaNumbers,
    /// An RSA key limited to other hashes than SHA-256.
    #[error("the RSA key is limited to other parameters than RSASSA-PSS with SHA-256")]
    RsaParameters,
    /// An RSA modulus outside 2048 to 8192 bits.
    #[error("an RSA key must have 2048 to 8192 bits, this one has {bits}")]
    RsaSize {
        /// Length of the modulus, in bits.
        bits: usize,
    },
    /// A key of another algorithm.
    #[error("{algorithm} keys are not supported: use ECDSA P-256, Ed25519 or RSA")]
    Unsupported {
        /// Its name, or its object identifier.
        algorithm: String,
    },
    /// An Ed25519 point of small order, with a part of small order, or spelled a second way.
    #[error("a weak Ed25519 key, which no key generator makes")]
    WeakPoint,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::samples::{read, read_der};

    fn refusal(name: &str) -> InvalidPublicKey {
        let text = read(&format!("{name}.pem"));
        PublicKey::from_pem(&text).map(|key| panic!("{name} was read as {key:?}")).unwrap_err()
    }

    fn key(name: &str) -> PublicKey {
        PublicKey::from_pem(&read(&format!("{name}.pem"))).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    #[test]
    fn one_key_has_one_fingerprint_however_it_is_written() {
        for (name, others) in [
            ("p256", &["p256-compressed"][..]),
            ("rsa-2048", &["rsa-2048-no-parameters", "rsa-2048-pss", "rsa-2048-pss-sha256"]),
        ] {
            let text = read(&format!("{name}.pem"));
            assert_eq!(key(name).to_pem(), text, "the canonical form is the usual one");
            for other in others {
                assert_eq!(key(other), key(name), "{other}");
                assert_eq!(key(other).fingerprint(), key(name).fingerprint(), "{other}");
                assert_eq!(key(other).to_pem(), text, "{other}");
            }
        }
        let ed25519 = key("ed25519");
        assert_eq!(ed25519.to_pem(), read("ed25519.pem"));
        assert_eq!(PublicKey::from_ed25519_bytes(&ed25519.ed25519_bytes().unwrap()).unwrap(), ed25519);
        assert_ne!(ed25519.fingerprint(), key("p256").fingerprint());
    }

    #[test]
    fn fingerprint_is_the_digest_of_the_der_others_write() {
        let der = read_der("p256.pem");
        assert_eq!(key("p256").to_spki_der(), der);
        assert_eq!(key("p256").fingerprint().as_bytes(), Sha256Digest::of(&der).as_bytes());
    }

    #[test]
    fn refuses_other_algorithms_by_name() {
        for (file, name) in [
            ("p224", "ECDSA P-224"),
            ("p384", "ECDSA P-384"),
            ("p521", "ECDSA P-521"),
            ("secp256k1", "ECDSA secp256k1"),
            ("p256-no-curve", "ECDSA on an unnamed curve"),
            ("p256-null-curve", "ECDSA on an unnamed curve"),
            ("dsa", "DSA"),
            ("ed448", "Ed448"),
            ("x25519", "X25519"),
        ] {
            assert_eq!(refusal(file), InvalidPublicKey::Unsupported { algorithm: name.to_owned() }, "{file}");
        }
    }

    #[test]
    fn refuses_rsa_keys_out_of_bounds() {
        for (file, bits) in [("rsa-1024", 1024), ("rsa-2047", 2047), ("rsa-8193", 8193)] {
            assert_eq!(refusal(file), InvalidPublicKey::RsaSize { bits }, "{file}");
        }
        for file in ["rsa-even-modulus", "rsa-exponent-1", "rsa-exponent-2", "rsa-exponent-8589934593"] {
            assert_eq!(refusal(file), InvalidPublicKey::RsaNumbers, "{file}");
        }
        for file in ["rsa-2048-pss-sha512", "rsa-2048-pss-long-salt"] {
            assert_eq!(refusal(file), InvalidPublicKey::RsaParameters, "{file}");
        }
    }

    #[test]
    fn refuses_a_second_form_of_a_key() {
        for file in ["p256-hybrid", "p256-identity", "p256-off-curve"] {
            assert_eq!(refusal(file), InvalidPublicKey::Point, "{file}");
        }
        for file in ["ed25519-null-parameters", "rsa-2048-odd-parameters", "rsa-2048-pss-null"] {
            assert_eq!(refusal(file), InvalidPublicKey::Encoding, "{file}");
        }
        let der = read_der("p256.pem");
        let long_form = [&[0x30, 0x81, der[1]], &der[2..]].concat();
        let mut unused_bits = der.clone();
        *unused_bits.get_mut(26).unwrap() = 1;
        let mut compact = der.clone();
        *compact.get_mut(27).unwrap() = 5;
        for bad in [&long_form[..], &unused_bits, &compact, &[&der[..], &[0]].concat(), &[]] {
            assert!(PublicKey::from_spki_der(bad).is_err(), "{}", hex::encode(bad));
        }
    }

    #[test]
    fn truncated_keys_are_errors() {
        for name in ["p256", "ed25519", "rsa-2048-pss-sha256"] {
            let (text, der) = (read(&format!("{name}.pem")), read_der(&format!("{name}.pem")));
            for end in 0..der.len() {
                assert!(PublicKey::from_spki_der(&der[..end]).is_err(), "{name} {end}");
            }
            for end in 0..text.trim_end().len() {
                assert!(PublicKey::from_pem(&text[..end]).is_err(), "{name} {end}");
            }
        }
    }

    #[test]
    fn refuses_other_pem_than_one_public_key() {
        let text = read("p256.pem");
        for (bad, reason) in [
            (format!("{text}{text}"), InvalidPem::Several),
            (format!("{text}x"), InvalidPem::Structure),
            (format!("x\n{text}"), InvalidPem::Structure),
            (read("p256-secret.pem"), InvalidPem::Label { wanted: "PUBLIC KEY" }),
            (text.replace("PUBLIC KEY", "RSA PUBLIC KEY"), InvalidPem::Label { wanted: "PUBLIC KEY" }),
            ("\n".repeat(PEM_BYTES + 1), InvalidPem::TooLarge { limit: PEM_BYTES }),
        ] {
            assert_eq!(PublicKey::from_pem(&bad), Err(InvalidPublicKey::Pem(reason)), "{bad}");
        }
    }

    /// The points of order 1, 2, 4, 8, 8, 4, and second spellings of some of them.
    const SMALL_ORDER: [&str; 10] = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0100000000000000000000000000000000000000000000000000000000000080",
    ];

    #[test]
    fn refuses_weak_ed25519_keys() {
        let honest = key("ed25519").ed25519_bytes().unwrap();
        let honest_point = ed25519_dalek::VerifyingKey::from_bytes(&honest).unwrap().to_edwards();
        for weak in SMALL_ORDER {
            let bytes: [u8; 32] = hex::decode(weak).unwrap().try_into().unwrap();
            assert_eq!(PublicKey::from_ed25519_bytes(&bytes), Err(InvalidPublicKey::WeakPoint), "{weak}");
            let point = ed25519_dalek::VerifyingKey::from_bytes(&bytes).unwrap().to_edwards();
            let twin = (honest_point + point).compress().to_bytes();
            if twin != honest {
                assert_eq!(PublicKey::from_ed25519_bytes(&twin), Err(InvalidPublicKey::WeakPoint), "{weak}");
            }
        }
    }

    #[test]
    fn refuses_ed25519_coordinates_beyond_the_field() {
        for low in 0xed..=0xff {
            for high in [0x7f, 0xff] {
                let mut bytes = [0xff; 32];
                (bytes[0], bytes[31]) = (low, high);
                assert!(PublicKey::from_ed25519_bytes(&bytes).is_err(), "{low:x} {high:x}");
            }
        }
    }

    /// Two numbers below the order are a signature for both libraries, or for none.
    #[test]
    fn both_libraries_judge_p256_signatures_alike() {
        use p256::ecdsa::Signature;
        use p256::ecdsa::signature::Verifier as _;
        let (mut good, mut bad) = (0, 0);
        for number in 1..=10_u8 {
            let seed = zeroize::Zeroizing::new([number; 32]);
            let secret = crate::key::SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &seed).unwrap();
            let (public, message) = (secret.public_key(), [number; 50]);
            let (r, s) = Signature::from_der(&secret.sign(&message)).unwrap().split_scalars();
            let one = p256::NonZeroScalar::from_uint(p256::U256::ONE).unwrap();
            let numbers = [r, s, -r, -s, one, -one];
            for (r, s) in numbers.iter().flat_map(|r| numbers.iter().map(move |s| (r, s))) {
                let signature = Signature::from_scalars(r, s).unwrap();
                for message in [&message[..], b"", b"another"] {
                    let expected = public.p256().unwrap().verify(message, &signature).is_ok();
                    let found = public.verify(message, signature.to_der().as_bytes()).is_ok();
                    assert_eq!(found, expected, "{signature}");
                    *if found { &mut good } else { &mut bad } += 1;
                }
            }
        }
        assert_eq!((good, bad), (20, 1_060), "with s and with -s");
    }

    /// Sums of equal and of opposite points: where the arithmetic of two libraries parts, if anywhere.
    #[test]
    fn p256_points_are_added_to_themselves_and_to_their_opposites() {
        use p256::ecdsa::Signature;
        use p256::elliptic_curve::ops::Reduce as _;
        use p256::elliptic_curve::point::AffineCoordinates as _;
        use p256::{FieldBytes, ProjectivePoint, Scalar};
        let judge = |d: Scalar, r: Scalar, s: Scalar| {
            let point = (ProjectivePoint::GENERATOR * d).to_affine();
            let bytes = p256::ecdsa::VerifyingKey::from_affine(point).unwrap().to_sec1_point(false);
            let public = PublicKey::from_p256_sec1(bytes.as_bytes()).unwrap();
            public.verify(b"message", Signature::from_scalars(r, s).unwrap().to_der().as_bytes())
        };
        let number = |bytes: &FieldBytes| Scalar::reduce(bytes);
        let hash = number(Sha256Digest::of(b"message").as_bytes().into());
        for u1 in [1_u64, 2, 3, 1_000_003].map(Scalar::from) {
            // The second summand, u2 times the public key, is u1 times the base as well.
            let r = number(&(ProjectivePoint::GENERATOR * (u1 + u1)).to_affine().x());
            let (d, s) = (hash * r.invert().unwrap(), hash * u1.invert().unwrap());
            assert_eq!(judge(d, r, s), Ok(()));
            // It is the opposite of the first one, and the sum no point that has an x.
            assert_eq!(judge(-d, r, s), Err(BadSignature));
        }
    }

    #[test]
    fn p256_signatures_have_two_forms() {
        let seed = zeroize::Zeroizing::new([5; 32]);
        let secret = crate::key::SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &seed).unwrap();
        for message in 0..40_u8 {
            let der = secret.sign(&[message]);
            let raw = p256_signature_to_raw(&der).unwrap();
            assert_eq!(p256_signature_from_raw(&raw), Some(der), "{message}");
        }
        let raw = p256_signature_to_raw(&secret.sign(b"")).unwrap();
        let der = p256_signature_from_raw(&raw).unwrap();
        // Leading zeros are part of the one form and not of the other.
        let short = [&[0; 31][..], &[1], &raw[32..]].concat();
        assert_eq!(p256_signature_from_raw(&short).unwrap()[2..5], [2, 1, 1]);

        let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
        for bad in [
            vec![],
            raw[..63].to_vec(),
            [&raw[..], &[0]].concat(),
            [&[0; 32], &raw[32..]].concat(),
            [&raw[..32], &[0; 32]].concat(),
            [&order, &raw[32..]].concat(),
            [&raw[..32], &order].concat(),
            der.clone(),
        ] {
            assert_eq!(p256_signature_from_raw(&bad), None, "{}", hex::encode(bad));
        }
        for bad in [&der[..der.len() - 1], &[&der[..], &[0]].concat(), &raw, &[]] {
            assert_eq!(p256_signature_to_raw(bad), None, "{}", hex::encode(bad));
        }
    }

    /// With R the neutral point and s zero, a signature fits every message for which the hash of
    /// R, A and the message is a multiple of A's order: never for a key in use, but what the strict
    /// rule refuses is to stay refused.
    #[test]
    fn accepts_what_the_strict_rule_accepts() {
        use ed25519_dalek::{Signature, Signer as _, SigningKey};
        let signer = SigningKey::from_bytes(&[7; 32]);
        let strict = signer.verifying_key();
        let ours = PublicKey::from_ed25519_bytes(strict.as_bytes()).unwrap();
        let good = signer.sign(b"message").to_bytes();
        let order = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let order: [u8; 32] = hex::decode(order).unwrap().try_into().unwrap();
        let mut all = vec![good];
        for bit in 0..512 {
            let mut bad = good;
            bad[bit / 8] ^= 1 << (bit % 8);
            all.push(bad);
        }
        for point in SMALL_ORDER {
            let point: [u8; 32] = hex::decode(point).unwrap().try_into().unwrap();
            let mut bad = good;
            bad[..32].copy_from_slice(&point);
            all.push(bad);
            for s in [[0; 32], order] {
                bad[32..].copy_from_slice(&s);
                all.push(bad);
            }
            // R with a part of small order: the same but for a factor that only some verifiers clear.
            let twisted = ed25519_dalek::VerifyingKey::from_bytes(&point).unwrap().to_edwards()
                + ed25519_dalek::VerifyingKey::from_bytes(&good[..32].try_into().unwrap())
                    .unwrap()
                    .to_edwards();
            let mut bad = good;
            bad[..32].copy_from_slice(&twisted.compress().to_bytes());
            all.push(bad);
        }
        let mut accepted = 0;
        for bytes in all {
            let expected = strict.verify_strict(b"message", &Signature::from_bytes(&bytes)).is_ok();
            assert_eq!(ours.verify(b"message", &bytes).is_ok(), expected, "{}", hex::encode(bytes));
            accepted += usize::from(expected);
        }
        // The good one, and R plus the neutral point, of which there are three spellings.
        assert_eq!(accepted, 4);
    }

    #[test]
    fn unwanted_signature_lengths_are_bad_signatures() {
        for name in ["p256", "ed25519", "rsa-2048"] {
            for length in [0, 1, 63, 64, 65, 255, 256, 257, 10_000] {
                assert_eq!(key(name).verify(b"", &vec![0x30; length]), Err(BadSignature), "{name} {length}");
            }
        }
    }
}
