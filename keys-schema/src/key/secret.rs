//! Secret keys: made from a seed or read from PKCS#8, used to sign, never shown.

use ed25519_dalek::pkcs8::KeypairBytes;
use p256::ecdsa::signature::Signer as _;
use pkcs8::der::{Decode as _, ErrorKind, Tag};
use pkcs8::{EncodePrivateKey as _, PrivateKeyInfoRef, SecretDocument};
use zeroize::{ZeroizeOnDrop, Zeroizing};

use crate::key::algorithm::{self, algorithm_name};
use crate::key::rsa_pss::{self, MIN_BITS};
use crate::key::{KeyAlgorithm, PublicKey};

/// A secret key that can sign. Wiped when dropped.
pub struct SecretKey {
    public: PublicKey,
    /// In a box, so that moving the key leaves no copies of it behind.
    signing: Box<Signing>,
    pkcs8: Zeroizing<Vec<u8>>,
}

enum Signing {
    EcdsaP256(p256::ecdsa::SigningKey),
    Ed25519(ed25519_dalek::SigningKey),
}

impl ZeroizeOnDrop for SecretKey {}

impl SecretKey {
    /// Makes a key of 32 random bytes, which the caller brings: the P-256 scalar (big
    /// endian, FIPS 186-5 A.2.2), or the Ed25519 seed (RFC 8032 5.1.5).
    ///
    /// # Errors
    /// [`InvalidSecretKey::OutOfRange`] for about one in 2^32 seeds with P-256: try another
    /// one. [`InvalidSecretKey::VerifyOnly`] for RSA.
    pub fn from_seed(algorithm: KeyAlgorithm, seed: &Zeroizing<[u8; 32]>) -> Result<Self, InvalidSecretKey> {
        match algorithm {
            KeyAlgorithm::EcdsaP256 => {
                let key =
                    p256::SecretKey::from_slice(seed.as_slice()).map_err(|_| InvalidSecretKey::OutOfRange)?;
                Self::from_p256(&key)
            }
            KeyAlgorithm::Ed25519 => Self::from_ed25519(seed),
            KeyAlgorithm::RsaPss => Err(InvalidSecretKey::VerifyOnly),
        }
    }

    /// Reads PKCS#8 in DER, version 1 (RFC 5208) or 2 with the public key (RFC 5958).
    ///
    /// # Errors
    /// Bad DER or trailing data, algorithms Bulla does not sign with, and a public key
    /// inside that belongs to another secret: signing with it could give the secret away.
    pub fn from_pkcs8_der(der: &[u8]) -> Result<Self, InvalidSecretKey> {
        Self::from_pkcs8(&PrivateKeyInfoRef::from_der(der).map_err(|_| InvalidSecretKey::Encoding)?)
    }

    /// The same, of the parts.
    pub(super) fn from_pkcs8(info: &PrivateKeyInfoRef<'_>) -> Result<Self, InvalidSecretKey> {
        let key = match info.algorithm.oid {
            algorithm::EC if info.algorithm.parameters_oid() == Ok(algorithm::P256) => {
                let key = p256::SecretKey::try_from(info.clone()).map_err(|error| p256_error(&error))?;
                Self::from_p256(&key)?
            }
            algorithm::ED25519 => {
                let pair = KeypairBytes::try_from(info.clone()).map_err(|_| InvalidSecretKey::Encoding)?;
                Self::from_ed25519(&Zeroizing::new(pair.secret_key))?
            }
            algorithm::RSA | algorithm::RSA_PSS => {
                let bits = rsa_pss::secret_key_bits(info.private_key.as_bytes());
                return Err(bits.map_or(InvalidSecretKey::Encoding, |bits| InvalidSecretKey::Rsa { bits }));
            }
            _ => {
                return Err(InvalidSecretKey::Unsupported { algorithm: algorithm_name(&info.algorithm) });
            }
        };
        if let Some(bits) = info.public_key {
            let claimed = bits.as_bytes().ok_or(InvalidSecretKey::Encoding)?;
            key.check_public_key(claimed)?;
        }
        Ok(key)
    }

    /// This key as PKCS#8 version 1 in DER, the bytes Go writes.
    #[must_use]
    pub fn to_pkcs8_der(&self) -> Zeroizing<Vec<u8>> {
        self.pkcs8.clone()
    }

    /// The key that verifies what this one signs.
    #[must_use]
    pub const fn public_key(&self) -> &PublicKey {
        &self.public
    }

    /// Signs `message`. Deterministic: P-256 by RFC 6979 with SHA-256, in ASN.1 DER with
    /// the lower value of `s`; Ed25519 by RFC 8032.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &*self.signing {
            Signing::EcdsaP256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.normalize_s().to_der().as_bytes().to_vec()
            }
            Signing::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
        }
    }

    fn from_p256(key: &p256::SecretKey) -> Result<Self, InvalidSecretKey> {
        let signing = Box::new(Signing::EcdsaP256(key.into()));
        let point = key.public_key().to_sec1_bytes();
        let public = PublicKey::from_p256_sec1(&point).map_err(|_| InvalidSecretKey::Encoding)?;
        Ok(Self { public, signing, pkcs8: der_bytes(key.to_pkcs8_der())? })
    }

    fn from_ed25519(seed: &[u8; 32]) -> Result<Self, InvalidSecretKey> {
        let key = ed25519_dalek::SigningKey::from_bytes(seed);
        let point = key.verifying_key().to_bytes();
        let public = PublicKey::from_ed25519_bytes(&point).map_err(|_| InvalidSecretKey::Encoding)?;
        // Without the public key, because version 2 is unknown to older readers.
        let version_1 = KeypairBytes { secret_key: *seed, public_key: None };
        let pkcs8 = der_bytes(version_1.to_pkcs8_der())?;
        Ok(Self { public, signing: Box::new(Signing::Ed25519(key)), pkcs8 })
    }

    /// The 32 bytes that [`Self::from_seed`] makes this key of.
    pub(super) fn seed(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(match &*self.signing {
            Signing::EcdsaP256(key) => key.to_bytes().into(),
            Signing::Ed25519(key) => key.to_bytes(),
        })
    }

    fn check_public_key(&self, claimed: &[u8]) -> Result<(), InvalidSecretKey> {
        let claimed = match &*self.signing {
            Signing::EcdsaP256(_) => PublicKey::from_p256_sec1(claimed).ok(),
            Signing::Ed25519(_) => {
                claimed.try_into().ok().and_then(|bytes| PublicKey::from_ed25519_bytes(bytes).ok())
            }
        };
        if claimed.as_ref() == Some(&self.public) { Ok(()) } else { Err(InvalidSecretKey::PublicKeyMismatch) }
    }
}

fn der_bytes(document: pkcs8::Result<SecretDocument>) -> Result<Zeroizing<Vec<u8>>, InvalidSecretKey> {
    Ok(document.map_err(|_| InvalidSecretKey::Encoding)?.to_bytes())
}

/// The crate compares the public key of SEC 1 (C.4) itself, and reports a difference as a
/// bad value of the bit string that holds it.
fn p256_error(error: &pkcs8::Error) -> InvalidSecretKey {
    match error {
        pkcs8::Error::Asn1(error) if error.kind() == (ErrorKind::Value { tag: Tag::BitString }) => {
            InvalidSecretKey::PublicKeyMismatch
        }
        _ => InvalidSecretKey::Encoding,
    }
}

/// Why bytes are no secret key that Bulla signs with. Never holds any of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecretKey {
    /// Not the DER structure of a private key, or trailing data behind it.
    #[error("not a private key in DER (PKCS#8)")]
    Encoding,
    /// Zero, or not below the order of the curve.
    #[error("the random number is no P-256 secret")]
    OutOfRange,
    /// The public key stored with it is another one.
    #[error("the public key inside the private key does not belong to it")]
    PublicKeyMismatch,
    /// An RSA key: it verifies here, and cannot sign.
    #[error("{}", rsa_reason(*bits))]
    Rsa {
        /// Length of the modulus, in bits.
        bits: usize,
    },
    /// A key of another algorithm.
    #[error("{algorithm} keys cannot sign here: use ECDSA P-256 or Ed25519")]
    Unsupported {
        /// Its name, or its object identifier.
        algorithm: String,
    },
    /// An algorithm Bulla only verifies.
    #[error("RSA keys are for verification only: use ecdsa-p256 or ed25519")]
    VerifyOnly,
}

fn rsa_reason(bits: usize) -> String {
    let weak = if bits < MIN_BITS { ", and one this short is safe nowhere" } else { "" };
    format!("{bits} bit RSA keys cannot sign here{weak}: use ECDSA P-256 or Ed25519")
}

#[cfg(test)]
mod tests {
    use p256::elliptic_curve::ops::Neg as _;

    use super::*;
    use crate::key::samples::{read, read_der};
    use crate::key::{BadSignature, Signer};

    fn seed(hex: &str) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(hex::decode(hex).unwrap().try_into().unwrap())
    }

    fn p256() -> SecretKey {
        // RFC 6979 A.2.5
        let seed = seed("c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721");
        SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &seed).unwrap()
    }

    fn ed25519() -> SecretKey {
        // RFC 8032 7.1, test 1
        let seed = seed("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        SecretKey::from_seed(KeyAlgorithm::Ed25519, &seed).unwrap()
    }

    fn refusal(der: &[u8]) -> InvalidSecretKey {
        SecretKey::from_pkcs8_der(der).err().unwrap()
    }

    #[test]
    fn signs_as_the_rfcs_do() {
        let signature = p256::ecdsa::Signature::from_der(&p256().sign(b"sample")).unwrap();
        assert_eq!(
            hex::encode(signature.r().to_bytes()),
            "efd48b2aacb6a8fd1140dd9cd45e81d69d2c877b56aaf991c34d0ea84eaf3716"
        );
        // The RFC's value of s is the higher one.
        assert_eq!(
            hex::encode(signature.s().neg().to_bytes()),
            "f7cb1c942d657c41d436c7a1b6e29f65f3e900dbb9aff4064dc4ab2f843acda8"
        );
        assert_eq!(
            hex::encode(ed25519().sign(b"")),
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
        );
        assert_eq!(
            hex::encode(ed25519().public_key().ed25519_bytes().unwrap()),
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
        );
    }

    #[test]
    fn its_public_key_verifies_what_it_signed_and_nothing_else() {
        for key in [p256(), ed25519()] {
            let signer: &dyn Signer = &key;
            let signature = signer.sign(b"message").unwrap();
            let public = signer.public_key();
            assert_eq!(public.verify(b"message", &signature), Ok(()));
            assert_eq!(public.verify(b"massage", &signature), Err(BadSignature));
            for at in 0..signature.len() {
                let mut bad = signature.clone();
                bad[at] ^= 1;
                assert_eq!(public.verify(b"message", &bad), Err(BadSignature), "byte {at}");
            }
        }
        assert_eq!(p256().public_key().verify(b"", &ed25519().sign(b"")), Err(BadSignature));
    }

    #[test]
    fn only_the_sign_of_s_may_change_in_an_ecdsa_signature() {
        let key = p256();
        // A message whose r needs a zero in front to stay positive.
        let message = (0..).map(|n: u64| n.to_be_bytes()).find(|m| key.sign(m)[3] == 33).unwrap();
        let message = message.as_slice();
        let der = key.sign(message);
        let low = p256::ecdsa::Signature::from_der(&der).unwrap();
        assert_eq!(low.normalize_s(), low, "written with the lower s");
        let high = p256::ecdsa::Signature::from_scalars(low.r(), low.s().neg()).unwrap();
        assert_eq!(key.public_key().verify(message, high.to_der().as_bytes()), Ok(()));

        let (r, s) = (low.r().to_bytes().to_vec(), low.s().to_bytes().to_vec());
        let integer =
            |pad: &[u8], number: &[u8]| [&[2, (pad.len() + number.len()) as u8], pad, number].concat();
        let sequence = |header: &[u8], body: &[Vec<u8>]| {
            let body = body.concat();
            [&[0x30], header, &[body.len() as u8][..], &body].concat()
        };
        let pad = |number: &[u8]| if number[0] >= 0x80 { vec![0] } else { vec![] };
        let (good_r, good_s) = (integer(&pad(&r), &r), integer(&pad(&s), &s));
        assert_eq!(sequence(&[], &[good_r.clone(), good_s.clone()]), der);
        let zero = integer(&[], &[0]);
        for (bad, why) in [
            (vec![], "empty"),
            ([&r[..], &s].concat(), "raw r and s"),
            ([&der[..], &[0]].concat(), "trailing byte"),
            (sequence(&[0x81], &[good_r.clone(), good_s.clone()]), "long form of a short length"),
            (sequence(&[], &[integer(&[0, 0], &r), good_s.clone()]), "padded r"),
            (sequence(&[], &[good_r.clone(), integer(&[0, 0], &s)]), "padded s"),
            (sequence(&[], &[integer(&[], &r), good_s.clone()]), "negative r"),
            (sequence(&[], &[good_r.clone(), good_s.clone(), zero.clone()]), "third number"),
            (sequence(&[], &[zero.clone(), good_s.clone()]), "r is zero"),
            (sequence(&[], &[good_r.clone(), zero]), "s is zero"),
            (sequence(&[], &[integer(&[0], &[0xff; 32]), good_s.clone()]), "r beyond the order"),
            (sequence(&[], &[integer(&[1], &r), good_s.clone()]), "r of 33 bytes"),
            (sequence(&[], &[good_s, good_r]), "swapped"),
        ] {
            assert_eq!(key.public_key().verify(message, &bad), Err(BadSignature), "{why}");
        }
    }

    #[test]
    fn ed25519_signatures_have_one_form() {
        let key = ed25519();
        let good = key.sign(b"message");
        // s + L, the order of the base point: the same number to a reader that does not look.
        let order = hex::decode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").unwrap();
        let mut carry = 0;
        let more: Vec<u8> = good[32..]
            .iter()
            .zip(order)
            .map(|(a, b)| {
                let sum = u16::from(*a) + u16::from(b) + carry;
                carry = sum >> 8;
                sum as u8
            })
            .collect();
        for bad in
            [[&good[..32], &more].concat(), good[..63].to_vec(), [&good[..], &[0]].concat(), vec![0; 64]]
        {
            assert_eq!(key.public_key().verify(b"message", &bad), Err(BadSignature), "{}", hex::encode(bad));
        }
    }

    #[test]
    fn reads_and_writes_pkcs8_as_openssl_does() {
        for name in ["p256", "ed25519"] {
            let der = read_der(&format!("{name}-secret.pem"));
            let key = SecretKey::from_pkcs8_der(&der).unwrap();
            assert_eq!(key.public_key().to_pem(), read(&format!("{name}.pem")));
            assert_eq!(*key.to_pkcs8_der(), der);
        }
    }

    #[test]
    fn reads_both_versions_of_ed25519_pkcs8() {
        // RFC 8410 10.3, without and with attributes and public key.
        let v1 = "302e020100300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
        let v2 = "3072020101300506032b657004220420d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842a01f301d060a2a864886f70d01090914310f0c0d437572646c6520436861697273812100\
                  19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        let (v1, v2) = (hex::decode(v1).unwrap(), hex::decode(v2).unwrap());
        let (old, new) = (SecretKey::from_pkcs8_der(&v1).unwrap(), SecretKey::from_pkcs8_der(&v2).unwrap());
        assert_eq!(old.public_key(), new.public_key());
        assert_eq!(*new.to_pkcs8_der(), v1);

        let mut other = v2.clone();
        other[v2.len() - 32..].copy_from_slice(&ed25519().public_key().ed25519_bytes().unwrap());
        assert_eq!(refusal(&other), InvalidSecretKey::PublicKeyMismatch);
        let mut unmarked = v2;
        unmarked[4] = 0;
        assert_eq!(refusal(&unmarked), InvalidSecretKey::Encoding, "version 1 with a public key");
    }

    #[test]
    fn refuses_a_p256_key_with_another_public_key() {
        let der = p256().to_pkcs8_der();
        let other = read_der("p256.pem");
        let (head, point) = (&der[..der.len() - 65], &other[other.len() - 65..]);
        assert_eq!(refusal(&[head, point].concat()), InvalidSecretKey::PublicKeyMismatch);

        // The same in the field of PKCS#8 version 2.
        let with_public_key = |point: &[u8]| {
            let body = [&[2, 1, 1], &der[6..], &[0x81, 66, 0], point].concat();
            [&[0x30, 0x81, body.len() as u8], &body[..]].concat()
        };
        let own = p256().public_key().to_spki_der().to_vec();
        assert!(SecretKey::from_pkcs8_der(&with_public_key(&own[own.len() - 65..])).is_ok());
        assert_eq!(refusal(&with_public_key(point)), InvalidSecretKey::PublicKeyMismatch);
    }

    #[test]
    fn refuses_what_cannot_sign() {
        let expected = InvalidSecretKey::Unsupported { algorithm: "ECDSA P-384".to_owned() };
        assert_eq!(refusal(&read_der("p384-secret.pem")), expected);
        let rsa = read_der("rsa-2048-secret.pem");
        assert_eq!(refusal(&rsa), InvalidSecretKey::Rsa { bits: 2048 });
        let inner = [&rsa[..26], &[0; 8]].concat();
        assert_eq!(refusal(&inner), InvalidSecretKey::Encoding, "no whole number in it");
        assert!(!rsa_reason(2048).contains("short") && rsa_reason(1024).contains("short"));
        let zero = Zeroizing::new([0; 32]);
        for (algorithm, seed, expected) in [
            (KeyAlgorithm::EcdsaP256, &zero, InvalidSecretKey::OutOfRange),
            (KeyAlgorithm::EcdsaP256, &Zeroizing::new([0xff; 32]), InvalidSecretKey::OutOfRange),
            (KeyAlgorithm::RsaPss, &zero, InvalidSecretKey::VerifyOnly),
        ] {
            assert_eq!(SecretKey::from_seed(algorithm, seed).err(), Some(expected));
        }
    }

    #[test]
    fn truncated_or_longer_keys_are_errors() {
        for key in [p256(), ed25519()] {
            let der = key.to_pkcs8_der();
            for end in 0..der.len() {
                assert_eq!(refusal(&der[..end]), InvalidSecretKey::Encoding, "{end}");
            }
            assert_eq!(refusal(&[&der[..], &[0]].concat()), InvalidSecretKey::Encoding);
        }
    }
}
