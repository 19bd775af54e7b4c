//! RSASSA-PSS, for reading metadata of others. Bulla never holds RSA secrets: the crate's
//! private operations leak timing (RUSTSEC-2023-0071), its public ones have no secret.

use rsa::pkcs1::der::{self, Decode as _, Error, Reader as _, SliceReader};
use rsa::pkcs1::{RsaPssParams, UintRef};
use rsa::pkcs8::EncodePublicKey as _;
use rsa::pss::{Signature, VerifyingKey};
use rsa::sha2::Sha256;
use rsa::signature::Verifier as _;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, RsaPublicKey};
use spki::der::Encode as _;
use spki::der::asn1::AnyRef;

use crate::key::{BadSignature, InvalidPublicKey};

/// Smallest modulus, in bits. Smaller ones are within reach of factoring.
pub(super) const MIN_BITS: usize = 2048;
/// Largest modulus, in bits. Larger ones only burn time.
const MAX_BITS: usize = 8192;
/// Length of a SHA-256 digest, in bytes.
const HASH_BYTES: usize = 32;

const SHA_256: &str = "2.16.840.1.101.3.4.2.1";
const MGF_1: &str = "1.2.840.113549.1.1.8";

/// Length of the modulus, in bits, of a PKCS#1 `RSAPrivateKey` (RFC 8017 A.1.2). Nothing else is
/// read of it, and no key is made of it.
pub(super) fn secret_key_bits(der: &[u8]) -> Option<usize> {
    let mut reader = SliceReader::new(der).ok()?;
    let modulus = reader.sequence(|inner| {
        let _version: u8 = inner.decode()?;
        let modulus: UintRef<'_> = inner.decode()?;
        while !inner.is_finished() {
            let _secret: der::asn1::AnyRef<'_> = inner.decode()?;
        }
        Ok::<_, Error>(modulus)
    });
    Some(BigUint::from_bytes_be(modulus.ok()?.as_bytes()).bits())
}

/// A parsed RSA public key.
#[derive(Clone)]
pub(super) struct RsaVerifier {
    key: RsaPublicKey,
    /// Salt lengths in use, in bytes: that of the digest (python-tuf, Notary), and the
    /// longest that fits (OpenSSL's and Go's default).
    salts: [usize; 2],
}

impl RsaVerifier {
    /// Reads a PKCS#1 `RSAPublicKey` (RFC 8017 A.1.1).
    pub(super) fn from_pkcs1_der(der: &[u8]) -> Result<Self, InvalidPublicKey> {
        let parts = rsa::pkcs1::RsaPublicKey::from_der(der).map_err(|_| InvalidPublicKey::Encoding)?;
        let number = |part: UintRef<'_>| BigUint::from_bytes_be(part.as_bytes());
        let modulus = number(parts.modulus);
        let bits = modulus.bits();
        if !(MIN_BITS..=MAX_BITS).contains(&bits) {
            return Err(InvalidPublicKey::RsaSize { bits });
        }
        let key = RsaPublicKey::new_with_max_size(modulus, number(parts.public_exponent), MAX_BITS)
            .map_err(|_| InvalidPublicKey::RsaNumbers)?;
        let longest = (bits - 1).div_ceil(8).saturating_sub(HASH_BYTES + 2);
        Ok(Self { key, salts: [HASH_BYTES, longest] })
    }

    /// The canonical `SubjectPublicKeyInfo`: `rsaEncryption` with NULL parameters.
    pub(super) fn to_spki_der(&self) -> Result<Vec<u8>, InvalidPublicKey> {
        let document = self.key.to_public_key_der().map_err(|_| InvalidPublicKey::Encoding)?;
        Ok(document.into_vec())
    }

    /// Verifies (RFC 8017 8.1.2) with either salt length. The salt's length adds nothing to
    /// the security of a signature, so that accepting both gives nothing away.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if signature.len() != self.key.size() {
            return Err(BadSignature);
        }
        let signature = Signature::try_from(signature).map_err(|_| BadSignature)?;
        let verified = self.salts.into_iter().any(|salt| {
            let key = VerifyingKey::<Sha256>::new_with_salt_len(self.key.clone(), salt);
            key.verify(message, &signature).is_ok()
        });
        if verified { Ok(()) } else { Err(BadSignature) }
    }
}

/// Checks the parameters of a key limited to PSS (RFC 4055 3.1): whoever made it may have
/// limited it to another hash, and then our signatures by it would not count elsewhere.
pub(super) fn check_pss_parameters(parameters: Option<AnyRef<'_>>) -> Result<(), InvalidPublicKey> {
    let Some(parameters) = parameters else { return Ok(()) };
    let der = parameters.to_der().map_err(|_| InvalidPublicKey::Encoding)?;
    let parameters = RsaPssParams::from_der(&der).map_err(|_| InvalidPublicKey::Encoding)?;
    let is = |oid: rsa::pkcs8::ObjectIdentifier, wanted: &str| oid.to_string() == wanted;
    let fits = is(parameters.hash.oid, SHA_256)
        && is(parameters.mask_gen.oid, MGF_1)
        && parameters.mask_gen.parameters.is_some_and(|hash| is(hash.oid, SHA_256))
        && usize::from(parameters.salt_len) <= HASH_BYTES;
    if fits { Ok(()) } else { Err(InvalidPublicKey::RsaParameters) }
}

/// Checks the parameters of a plain RSA key: NULL (RFC 3279 2.3.1), or none, as some
/// writers have it.
pub(super) fn check_plain_parameters(parameters: Option<AnyRef<'_>>) -> Result<(), InvalidPublicKey> {
    if parameters.is_none_or(AnyRef::is_null) { Ok(()) } else { Err(InvalidPublicKey::Encoding) }
}

#[cfg(test)]
mod tests {
    use crate::key::samples::{read, read_hex};
    use crate::key::{BadSignature, PublicKey};

    fn verify(key: &str, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        PublicKey::from_pem(&read(key)).unwrap().verify(message, signature)
    }

    #[test]
    fn verifies_both_salt_lengths_in_use() {
        for (key, signature) in [
            ("rsa-2048.pem", "rsa-2048-salt-digest.sig"),
            ("rsa-2048.pem", "rsa-2048-salt-longest.sig"),
            ("rsa-2048-pss-sha256.pem", "rsa-2048-salt-digest.sig"),
            ("rsa-2049.pem", "rsa-2049-salt-longest.sig"),
        ] {
            assert_eq!(verify(key, b"message", &read_hex(signature)), Ok(()), "{signature}");
            assert_eq!(verify(key, b"massage", &read_hex(signature)), Err(BadSignature), "{signature}");
        }
    }

    #[test]
    fn refuses_other_paddings() {
        for signature in [
            "rsa-2048-salt-0.sig",
            "rsa-2048-salt-20.sig",
            "rsa-2048-pkcs1v15.sig",
            "rsa-2048-mgf1-sha512.sig",
            "rsa-2049-salt-longest.sig",
        ] {
            assert_eq!(
                verify("rsa-2048.pem", b"message", &read_hex(signature)),
                Err(BadSignature),
                "{signature}"
            );
        }
    }

    #[test]
    fn refuses_every_change_of_a_signature() {
        let good = read_hex("rsa-2048-salt-digest.sig");
        for at in (0..good.len()).step_by(17) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert_eq!(verify("rsa-2048.pem", b"message", &bad), Err(BadSignature), "byte {at}");
        }
        for bad in
            [[&[0], &good[..]].concat(), good[1..].to_vec(), [&good[..], &[0]].concat(), vec![0xff; 256]]
        {
            assert_eq!(verify("rsa-2048.pem", b"message", &bad), Err(BadSignature));
        }
    }
}
