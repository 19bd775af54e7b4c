//! The forms in which a private key lies in a file, once it is in the clear.

use pkcs8::PrivateKeyInfoRef;
use pkcs8::der::asn1::{AnyRef, OctetStringRef};
use pkcs8::der::{Decode as _, Error, Reader as _, SliceReader, Tag, TagMode, TagNumber, Tagged as _};
use pkcs8::spki::{AlgorithmIdentifierRef, ObjectIdentifier};
use zeroize::Zeroizing;

use crate::key::algorithm::{EC, P256};
use crate::key::{InvalidSecretKey, KeyAlgorithm, SecretKey};

/// Ed25519 as GnuPG numbered it; Notary never learned RFC 8410.
pub(super) const NOTARY_ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.4.1.11591.15.1");
/// Public key, seed, public key once more.
const NOTARY_ED25519_BYTES: usize = 96;

/// How a private key is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// PKCS#8 (RFC 5208, RFC 5958), or what Notary takes for it.
    Pkcs8,
    /// `ECPrivateKey` (SEC 1 C.4).
    Sec1,
    /// 96 bytes.
    NotaryEd25519,
}

impl Form {
    /// Whether `content` has the outline of this form. Bytes that come out of a decryption
    /// with a wrong key have not.
    pub(super) fn has_outline(self, content: &[u8]) -> bool {
        match self {
            Self::Pkcs8 | Self::Sec1 => AnyRef::from_der(content).is_ok_and(|any| any.tag() == Tag::Sequence),
            Self::NotaryEd25519 => content.len() == NOTARY_ED25519_BYTES,
        }
    }

    pub(super) fn read(self, content: &[u8]) -> Result<SecretKey, InvalidSecretKey> {
        match self {
            Self::Pkcs8 => pkcs8(content),
            Self::Sec1 => sec1(content),
            Self::NotaryEd25519 => notary_ed25519(content),
        }
    }
}

/// Notary's PKCS#8 has for EC keys the version that announces a public key, and none, and
/// for Ed25519 keys a number and a content of its own.
fn pkcs8(der: &[u8]) -> Result<SecretKey, InvalidSecretKey> {
    match three_parts(der) {
        Ok((_, algorithm, key)) if algorithm.oid == NOTARY_ED25519 => notary_ed25519(key.as_bytes()),
        Ok((1, algorithm, key)) if algorithm.oid == EC => {
            SecretKey::from_pkcs8(&PrivateKeyInfoRef::new(algorithm, key))
        }
        _ => SecretKey::from_pkcs8_der(der),
    }
}

/// A PKCS#8 structure of nothing but version, algorithm and key.
fn three_parts(der: &[u8]) -> Result<(u8, AlgorithmIdentifierRef<'_>, &OctetStringRef), Error> {
    let mut reader = SliceReader::new(der)?;
    let parts = reader.sequence(|inner| {
        let version = u8::decode(inner)?;
        Ok::<_, Error>((version, AlgorithmIdentifierRef::decode(inner)?, <&OctetStringRef>::decode(inner)?))
    })?;
    reader.finish()?;
    Ok(parts)
}

/// The curve of a SEC 1 key stands inside it, and in PKCS#8 outside as well.
fn sec1(der: &[u8]) -> Result<SecretKey, InvalidSecretKey> {
    let curve = sec1_curve(der).map_err(|_| InvalidSecretKey::Encoding)?.unwrap_or(P256);
    let algorithm = AlgorithmIdentifierRef { oid: EC, parameters: Some((&curve).into()) };
    let key = OctetStringRef::new(der).map_err(|_| InvalidSecretKey::Encoding)?;
    SecretKey::from_pkcs8(&PrivateKeyInfoRef::new(algorithm, key))
}

fn sec1_curve(der: &[u8]) -> Result<Option<ObjectIdentifier>, Error> {
    let mut reader = SliceReader::new(der)?;
    let curve = reader.sequence(|inner| {
        let _version: u8 = inner.decode()?;
        let _secret: &OctetStringRef = inner.decode()?;
        let curve = inner.context_specific(TagNumber(0), TagMode::Explicit)?;
        let _public: Option<AnyRef<'_>> = inner.decode()?;
        Ok::<_, Error>(curve)
    })?;
    reader.finish()?;
    Ok(curve)
}

fn notary_ed25519(content: &[u8]) -> Result<SecretKey, InvalidSecretKey> {
    let (public, rest) = content.split_first_chunk::<32>().ok_or(InvalidSecretKey::Encoding)?;
    let (seed, again) = rest.split_first_chunk::<32>().ok_or(InvalidSecretKey::Encoding)?;
    if content.len() != NOTARY_ED25519_BYTES {
        return Err(InvalidSecretKey::Encoding);
    }
    let key = SecretKey::from_seed(KeyAlgorithm::Ed25519, &Zeroizing::new(*seed))?;
    let own = key.public_key().ed25519_bytes();
    if own.as_ref() != Some(public) || own.as_ref().map(|own| &own[..]) != Some(again) {
        return Err(InvalidSecretKey::PublicKeyMismatch);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::samples::{notary_key_der, read_der};

    /// RFC 8032 7.1, test 1.
    fn ed25519() -> [u8; NOTARY_ED25519_BYTES] {
        let seed = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        let public = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
        hex::decode([public, seed, public].concat()).unwrap().try_into().unwrap()
    }

    fn refusal(form: Form, content: &[u8]) -> InvalidSecretKey {
        form.read(content).err().unwrap()
    }

    #[test]
    fn reads_notarys_ed25519_in_both_places() {
        let plain = Form::NotaryEd25519.read(&ed25519()).unwrap();
        assert_eq!(plain.public_key().ed25519_bytes().unwrap()[..], ed25519()[..32]);
        let front = hex::decode("3072020100300b06092b06010401da470f010460").unwrap();
        let inside = Form::Pkcs8.read(&[&front[..], &ed25519()].concat()).unwrap();
        assert_eq!(inside.public_key(), plain.public_key());
    }

    #[test]
    fn refuses_ed25519_halves_that_do_not_fit() {
        for at in [0, 31, 32, 63, 64, 95] {
            let mut bad = ed25519();
            bad[at] ^= 1;
            assert_eq!(refusal(Form::NotaryEd25519, &bad), InvalidSecretKey::PublicKeyMismatch, "{at}");
        }
        for length in [0, 32, 64, 95] {
            assert_eq!(refusal(Form::NotaryEd25519, &ed25519()[..length]), InvalidSecretKey::Encoding);
        }
        let longer = [&ed25519()[..], &[0]].concat();
        assert_eq!(refusal(Form::NotaryEd25519, &longer), InvalidSecretKey::Encoding);
    }

    #[test]
    fn reads_the_version_that_only_notary_writes() {
        let good = read_der("p256-secret.pem");
        let mut notarys = good.clone();
        assert_eq!(notarys[3..6], [2, 1, 0]);
        notarys[5] = 1;
        assert!(SecretKey::from_pkcs8_der(&notarys).is_err(), "no other reader should");
        let read = Form::Pkcs8.read(&notarys).unwrap();
        assert_eq!(read.public_key(), SecretKey::from_pkcs8_der(&good).unwrap().public_key());
        notarys[5] = 2;
        assert_eq!(refusal(Form::Pkcs8, &notarys), InvalidSecretKey::Encoding);
    }

    #[test]
    fn a_sec1_key_needs_no_curve_and_no_public_key() {
        let der = notary_key_der("openssl-sec1");
        let whole = Form::Sec1.read(&der).unwrap();
        // Version and secret, of `30 77 02 01 01 04 20 <32> a0 0a .. a1 44 ..`.
        let short = [&[0x30, 37], &der[2..39]].concat();
        assert_eq!(Form::Sec1.read(&short).unwrap().public_key(), whole.public_key());
        let mut other = der.clone();
        *other.last_mut().unwrap() ^= 1;
        let refused = refusal(Form::Sec1, &other);
        assert!(
            matches!(refused, InvalidSecretKey::PublicKeyMismatch | InvalidSecretKey::Encoding),
            "{refused:?}"
        );
        for end in 0..der.len() {
            assert_eq!(refusal(Form::Sec1, &der[..end]), InvalidSecretKey::Encoding, "{end}");
        }
        assert_eq!(refusal(Form::Sec1, &[&der[..], &[0]].concat()), InvalidSecretKey::Encoding);
    }
}
