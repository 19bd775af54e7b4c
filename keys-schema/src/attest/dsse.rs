//! DSSE envelopes: bytes of a declared type, with signatures over both.
//!
//! What is signed is never the JSON around it, so nothing is canonicalised: the payload's bytes count
//! as they came.

use std::collections::BTreeSet;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::Bytes;

use crate::digest::Sha256Digest;
use crate::json::{InvalidJson, Json, Object, folds_alike};
use crate::key::{Fingerprint, PublicKey, SignError, Signer};
use crate::limits::{ENVELOPE_BYTES, ENVELOPE_SIGNATURES};

/// The type of payloads that are in-toto statements.
pub const IN_TOTO: &str = "application/vnd.in-toto+json";

/// The members that are read, which no other member may pass for.
const MEMBERS: [&str; 5] = ["payload", "payloadType", "signatures", "keyid", "sig"];

/// An envelope, with its bytes as they came. Nothing in it is believed before [`Self::verify`].
#[derive(Clone, PartialEq, Eq)]
pub struct Envelope {
    bytes: Bytes,
    payload_type: String,
    payload: Bytes,
    signatures: Vec<Vec<u8>>,
}

impl Envelope {
    /// Reads an envelope. Names of keys in it are not looked at: anybody can write them.
    ///
    /// # Errors
    /// Larger than [`ENVELOPE_BYTES`], not JSON as strictly as metadata is read, a member missing, of
    /// another kind or written in a way that other readers take for another one, or bad base64.
    pub fn parse(bytes: impl Into<Bytes>) -> Result<Self, InvalidEnvelope> {
        let bytes = bytes.into();
        if bytes.len() > ENVELOPE_BYTES {
            return Err(InvalidEnvelope::TooLarge { bytes: bytes.len() });
        }
        let json = Json::parse(&bytes)?;
        let members = object(&json)?;
        let payload_type = text(members, "payloadType")?.to_owned();
        let payload = base64(members, "payload")?.into();
        let listed = members.get("signatures").and_then(Json::as_array);
        let listed = listed.ok_or(InvalidEnvelope::Member { name: "signatures" })?;
        if listed.len() > ENVELOPE_SIGNATURES {
            return Err(InvalidEnvelope::TooManySignatures { signatures: listed.len() });
        }
        let signatures = listed.iter().map(|signature| base64(object(signature)?, "sig"));
        let signatures = signatures.collect::<Result<Vec<_>, _>>()?;
        Ok(Self { bytes, payload_type, payload, signatures })
    }

    /// Signs `payload` with each of `signers`. Names of keys stay empty: cosign passes over a
    /// signature whose name it does not understand.
    ///
    /// # Errors
    /// A key could not sign.
    pub fn sign(payload_type: &str, payload: &[u8], signers: &[&dyn Signer]) -> Result<Self, SignError> {
        let message = pae(payload_type, payload);
        let signatures = signers.iter().map(|signer| signer.sign(&message)).collect::<Result<Vec<_>, _>>()?;
        let listed = signatures.iter().map(|signature| {
            let signature = Json::String(STANDARD.encode(signature));
            Json::Object(Object::from([("sig".to_owned(), signature)]))
        });
        let envelope = Json::Object(Object::from([
            ("payloadType".to_owned(), payload_type.into()),
            ("payload".to_owned(), STANDARD.encode(payload).into()),
            ("signatures".to_owned(), Json::Array(listed.collect())),
        ]));
        let bytes = envelope.to_wire().into();
        let payload = Bytes::copy_from_slice(payload);
        Ok(Self { bytes, payload_type: payload_type.to_owned(), payload, signatures })
    }

    /// The envelope's bytes, as they came.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// SHA-256 of [`Self::bytes`].
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        Sha256Digest::of(&self.bytes)
    }

    /// What the payload claims to be.
    #[must_use]
    pub fn payload_type(&self) -> &str {
        &self.payload_type
    }

    /// What is signed.
    #[must_use]
    pub const fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// The signatures, in no order that means anything.
    #[must_use]
    pub fn signatures(&self) -> &[Vec<u8>] {
        &self.signatures
    }

    /// Which of `keys` have signed payload and type, each key once however often it is there.
    #[must_use]
    pub fn verify<'k>(&self, keys: impl IntoIterator<Item = &'k PublicKey>) -> BTreeSet<Fingerprint> {
        let message = pae(&self.payload_type, &self.payload);
        let mut good = BTreeSet::new();
        for key in keys {
            let has_signed = |signature: &Vec<u8>| key.verify(&message, signature).is_ok();
            if !good.contains(&key.fingerprint()) && self.signatures.iter().any(has_signed) {
                good.insert(key.fingerprint());
            }
        }
        good
    }
}

impl fmt::Debug for Envelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Envelope({}, {} bytes)", self.digest(), self.bytes.len())
    }
}

/// The message that DSSE signs (protocol.md, PAE): type and payload, each with its length in bytes, so
/// that neither can be stretched into the other.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let head = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len());
    [head.as_bytes(), payload].concat()
}

/// An object none of whose members passes for one that is read. Go's programs take `Payload` for
/// `payload`, and would verify something else than we do. Members that nobody knows are allowed.
fn object(json: &Json) -> Result<&Object, InvalidEnvelope> {
    let members = json.as_object().ok_or(InvalidEnvelope::NotAnObject)?;
    let passes = |name: &str, known: &str| name != known && folds_alike(name, known);
    let lookalike = members.keys().find_map(|name| MEMBERS.into_iter().find(|known| passes(name, known)));
    lookalike.map_or(Ok(members), |name| Err(InvalidEnvelope::Lookalike { name }))
}

fn text<'j>(members: &'j Object, name: &'static str) -> Result<&'j str, InvalidEnvelope> {
    members.get(name).and_then(Json::as_str).ok_or(InvalidEnvelope::Member { name })
}

/// Both alphabets are legal in DSSE; within one text only one of them is.
fn base64(members: &Object, name: &'static str) -> Result<Vec<u8>, InvalidEnvelope> {
    let text = text(members, name)?;
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(text).map_err(|_| InvalidEnvelope::Base64 { name })
}

/// Why bytes are no envelope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEnvelope {
    /// A member is not base64 with padding.
    #[error("{name} of the envelope is not base64")]
    Base64 {
        /// The member.
        name: &'static str,
    },
    /// No strict JSON.
    #[error("the envelope is no {0}")]
    Json(#[from] InvalidJson),
    /// A member that other programs take for the one that is read here.
    #[error("the envelope has a second {name} in other letters")]
    Lookalike {
        /// The member it passes for.
        name: &'static str,
    },
    /// A member is missing or of another kind.
    #[error("the envelope has no proper {name}")]
    Member {
        /// The member.
        name: &'static str,
    },
    /// JSON of another shape.
    #[error("the envelope is no object")]
    NotAnObject,
    /// More bytes than an envelope may have.
    #[error("the envelope has {bytes} bytes, more than {ENVELOPE_BYTES}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// More signatures than an envelope may have.
    #[error("the envelope has {signatures} signatures, more than {ENVELOPE_SIGNATURES}")]
    TooManySignatures {
        /// How many it has.
        signatures: usize,
    },
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::key::{KeyAlgorithm, SecretKey};

    fn key(algorithm: KeyAlgorithm, seed: u8) -> SecretKey {
        SecretKey::from_seed(algorithm, &Zeroizing::new([seed; 32])).unwrap()
    }

    fn keys() -> [SecretKey; 2] {
        [key(KeyAlgorithm::EcdsaP256, 7), key(KeyAlgorithm::Ed25519, 7)]
    }

    fn text(payload: &[u8], signatures: &[(&str, &[u8])]) -> String {
        let signature = |(keyid, sig): &(&str, &[u8])| {
            format!(r#"{{"keyid":"{keyid}","sig":"{}"}}"#, STANDARD.encode(sig))
        };
        let signatures: Vec<String> = signatures.iter().map(signature).collect();
        format!(
            r#"{{"payload":"{}","payloadType":"{IN_TOTO}","signatures":[{}]}}"#,
            STANDARD.encode(payload),
            signatures.join(",")
        )
    }

    fn signed_by(text: &str, keys: &[&SecretKey]) -> usize {
        Envelope::parse(text.to_owned()).unwrap().verify(keys.iter().map(|key| key.public_key())).len()
    }

    #[test]
    fn the_message_is_that_of_the_specification() {
        // protocol.md of DSSE 1.0, test vectors.
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(pae("http://example.com/HelloWorld", b"hello world"), expected);
        assert_eq!(pae("", b""), b"DSSEv1 0  0 ");
        assert_eq!(pae("\u{e9}", "\u{e9}".as_bytes()), "DSSEv1 2 \u{e9} 2 \u{e9}".as_bytes());
    }

    #[test]
    fn what_is_signed_reads_the_same_and_verifies() {
        for key in keys() {
            let envelope = Envelope::sign(IN_TOTO, b"{}", &[&key]).unwrap();
            let read = Envelope::parse(envelope.bytes().clone()).unwrap();
            assert_eq!(read, envelope);
            assert_eq!(read.verify([key.public_key()]), [key.public_key().fingerprint()].into());
            assert!(!String::from_utf8(read.bytes().to_vec()).unwrap().contains("keyid"));
        }
    }

    #[test]
    fn tampering_is_seen() {
        for key in keys() {
            let sign = |message: &[u8]| key.sign(message);
            let good = sign(&pae(IN_TOTO, b"{}"));
            assert_eq!(signed_by(&text(b"{}", &[("", &good)]), &[&key]), 1);
            assert_eq!(signed_by(&text(b"{ }", &[("", &good)]), &[&key]), 0, "tampered payload");
            let other_type = text(b"{}", &[("", &good)]).replace("in-toto+json", "in-toto+jsom");
            assert_eq!(signed_by(&other_type, &[&key]), 0, "another type");
            let over_payload = sign(b"{}");
            assert_eq!(signed_by(&text(b"{}", &[("", &over_payload)]), &[&key]), 0, "over the payload");
            assert_eq!(signed_by(&text(b"{}", &[("", b"")]), &[&key]), 0, "an empty signature");
            assert_eq!(signed_by(&text(b"{}", &[]), &[&key]), 0, "no signature");
            assert_eq!(signed_by(&text(b"{}", &[("", &good)]), &[]), 0, "no key");
        }
    }

    #[test]
    fn keys_count_and_not_signatures_or_names() {
        let [p256, ed25519] = keys();
        let sign = |key: &SecretKey| key.sign(&pae(IN_TOTO, b"{}"));
        let (one, two) = (sign(&p256), sign(&ed25519));
        let twice = text(b"{}", &[("a", &one), ("b", &one)]);
        assert_eq!(signed_by(&twice, &[&p256, &p256]), 1, "one key, two signatures, listed twice");
        let forged = p256.public_key().fingerprint().to_string();
        let claims = text(b"{}", &[(&forged, &two)]);
        assert_eq!(signed_by(&claims, &[&p256]), 0, "the name of a key proves nothing");
        assert_eq!(signed_by(&claims, &[&ed25519]), 1, "and hides nothing");
        let both = text(b"{}", &[("", b"rubbish"), ("", &two), ("", &one)]);
        assert_eq!(signed_by(&both, &[&p256, &ed25519]), 2);
    }

    #[test]
    fn texts_with_two_meanings_are_refused() {
        let good = text(b"{}", &[("", b"s")]);
        let parse = |text: String| Envelope::parse(text);
        assert!(parse(good.clone()).is_ok());
        assert!(parse(good.replace("{\"payload\":", "{\"x\":[1],\"payload\":")).is_ok(), "unknown members");
        for (bad, why) in [
            (good.replace("{\"payload\":", "{\"payload\":\"e30=\",\"payload\":"), "a member twice"),
            (
                good.replace("{\"payload\":", "{\"p\\u0061yload\":\"e30=\",\"payload\":"),
                "twice in other spelling",
            ),
            (format!("{good}{{}}"), "trailing data"),
            (good.replace("\"payloadType\"", "\"payloadtype\""), "another name"),
            (good.replace(&STANDARD.encode(b"{}"), "e30"), "no padding"),
            (good.replace(&STANDARD.encode(b"{}"), "e31="), "bits left over"),
            (good.replace(&STANDARD.encode(b"{}"), "e3 0="), "a space"),
            (good.replace("[{", "{").replace("}]", "}"), "signatures that are no list"),
            (good.replace("\"sig\":\"cw==\"", "\"sig\":7"), "a number"),
            ("[]".to_owned(), "no object"),
            (String::new(), "nothing"),
        ] {
            assert!(parse(bad.clone()).is_err(), "{why}: {bad}");
        }
        let lookalike = good.replace("{\"payload\":", "{\"Payload\":\"e30=\",\"payload\":");
        assert_eq!(parse(lookalike), Err(InvalidEnvelope::Lookalike { name: "payload" }));
        let many = text(b"{}", &[("", &b"s"[..]); ENVELOPE_SIGNATURES + 1]);
        assert!(matches!(parse(many), Err(InvalidEnvelope::TooManySignatures { .. })));
        let large = vec![b' '; ENVELOPE_BYTES + 1];
        assert_eq!(Envelope::parse(large), Err(InvalidEnvelope::TooLarge { bytes: ENVELOPE_BYTES + 1 }));
    }

    #[test]
    fn both_alphabets_are_read() {
        let payload = b"\xfb\xff\xfe";
        let standard = text(payload, &[]);
        let url_safe = standard.replace(&STANDARD.encode(payload), &URL_SAFE.encode(payload));
        assert_ne!(standard, url_safe);
        for text in [standard.clone(), url_safe] {
            assert_eq!(Envelope::parse(text).unwrap().payload(), &payload[..]);
        }
        let mixed = standard.replace(&STANDARD.encode(payload), "+_/-");
        assert_eq!(Envelope::parse(mixed), Err(InvalidEnvelope::Base64 { name: "payload" }));
    }
}
