//! Sigstore bundles, version 0.3: an envelope, and which key verifies it.
//!
//! Written for plain keys alone. Read are those that anybody writes, as strictly as the reference
//! implementation: unknown members make it no bundle. What needs a certificate is told apart, as it
//! is somebody else's proof and no fault.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::BUNDLE;
use crate::attest::{Envelope, InvalidEnvelope};
use crate::json::{InvalidJson, Json, Object, shown};
use crate::key::PublicKey;
use crate::limits::BUNDLE_BYTES;

/// The other spelling of the type, from before it had the version in its name.
const OLD_SPELLING: &str = "application/vnd.dev.sigstore.bundle+json;version=0.3";
/// What may stand beside the key or the certificate: evidence of logs and clocks.
const EVIDENCE: [&str; 2] = ["tlogEntries", "timestampVerificationData"];
/// What says who signed; exactly one of these.
const MATERIAL: [&str; 3] = ["certificate", "publicKey", "x509CertificateChain"];
/// What is signed; exactly one of these.
const CONTENT: [&str; 2] = ["dsseEnvelope", "messageSignature"];

/// A bundle, with nothing in it believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bundle {
    /// An envelope that a plain key verifies. Which one it hints at is not looked at.
    Envelope(Envelope),
    /// The signer shows a certificate.
    Certificate,
    /// A signature over bytes, which says nothing about an image.
    MessageSignature,
}

impl Bundle {
    /// Reads a bundle.
    ///
    /// # Errors
    /// See [`InvalidBundle`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidBundle> {
        if bytes.len() > BUNDLE_BYTES {
            return Err(InvalidBundle::TooLarge { bytes: bytes.len() });
        }
        let Json::Object(bundle) = Json::parse(bytes)? else { return Err(InvalidBundle::NotAnObject) };
        let media_type = bundle.get("mediaType").and_then(Json::as_str).unwrap_or_default();
        if media_type != BUNDLE && media_type != OLD_SPELLING {
            return Err(InvalidBundle::OtherVersion { found: shown(media_type) });
        }
        let material = object(&bundle, "verificationMaterial")?;
        only(&bundle, &["mediaType", "verificationMaterial"], &CONTENT)?;
        only(material, &EVIDENCE, &MATERIAL)?;
        if one_of(material, &MATERIAL)? != "publicKey" {
            return Ok(Self::Certificate);
        }
        let key = object(material, "publicKey")?;
        only(key, &["hint"], &[])?;
        if key.get("hint").is_some_and(|hint| hint.as_str().is_none()) {
            return Err(InvalidBundle::Member { name: "hint" });
        }
        if one_of(&bundle, &CONTENT)? != "dsseEnvelope" {
            return Ok(Self::MessageSignature);
        }
        let envelope = object(&bundle, "dsseEnvelope")?;
        only(envelope, &["payload", "payloadType", "signatures"], &[])?;
        // The signature is over the payload, so the JSON around it may be written anew.
        let envelope = Envelope::parse(Json::Object(envelope.clone()).to_wire())?;
        match envelope.signatures().len() {
            1 => Ok(Self::Envelope(envelope)),
            signatures => Err(InvalidBundle::Signatures { signatures }),
        }
    }

    /// The bundle of an envelope that was signed with `key`. No certificate, no log.
    ///
    /// # Errors
    /// The envelope has none or several signatures.
    pub fn write(envelope: &Envelope, key: &PublicKey) -> Result<Vec<u8>, InvalidBundle> {
        let [signature] = envelope.signatures() else {
            return Err(InvalidBundle::Signatures { signatures: envelope.signatures().len() });
        };
        let hint = key_hint(key);
        let (payload, signature) = (STANDARD.encode(envelope.payload()), STANDARD.encode(signature));
        let payload_type = serde_json::Value::from(envelope.payload_type());
        let bundle = format!(
            r#"{{"mediaType":"{BUNDLE}","verificationMaterial":{{"publicKey":{{"hint":"{hint}"}}}},"dsseEnvelope":{{"payload":"{payload}","payloadType":{payload_type},"signatures":[{{"sig":"{signature}"}}]}}}}"#
        );
        Ok(bundle.into_bytes())
    }
}

/// How a bundle hints at its key: SHA-256 of the key in DER, in base64.
#[must_use]
pub fn key_hint(key: &PublicKey) -> String {
    STANDARD.encode(Sha256::digest(key.to_spki_der()))
}

fn object<'j>(of: &'j Object, name: &'static str) -> Result<&'j Object, InvalidBundle> {
    of.get(name).and_then(Json::as_object).ok_or(InvalidBundle::Member { name })
}

/// Every member must be one of these.
fn only(object: &Object, some: &[&str], others: &[&str]) -> Result<(), InvalidBundle> {
    match object.keys().find(|name| !some.contains(name) && !others.contains(name)) {
        Some(unknown) => Err(InvalidBundle::Unknown { name: shown(unknown) }),
        None => Ok(()),
    }
}

/// The one of these members that is there.
fn one_of(object: &Object, names: &[&'static str]) -> Result<&'static str, InvalidBundle> {
    let mut there = names.iter().copied().filter(|name| object.contains_key(name));
    match (there.next(), there.next()) {
        (Some(name), None) => Ok(name),
        _ => Err(InvalidBundle::OneOf { names: names.join(", ") }),
    }
}

/// Why bytes are no bundle that is read, or none can be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBundle {
    /// Its envelope is none.
    #[error(transparent)]
    Envelope(#[from] InvalidEnvelope),
    /// No strict JSON.
    #[error(transparent)]
    Json(#[from] InvalidJson),
    /// A member is missing or of another kind.
    #[error("the bundle has no proper {name}")]
    Member {
        /// The member.
        name: &'static str,
    },
    /// JSON of another shape.
    #[error("the bundle is no object")]
    NotAnObject,
    /// None or several of members that exclude each other.
    #[error("the bundle must have exactly one of {names}")]
    OneOf {
        /// The members.
        names: String,
    },
    /// Another version, or no bundle at all.
    #[error("the bundle is of type \"{found}\", and only version 0.3 is read")]
    OtherVersion {
        /// Its type.
        found: String,
    },
    /// Not exactly one signature.
    #[error("the envelope of a bundle has {signatures} signatures and must have one")]
    Signatures {
        /// How many it has.
        signatures: usize,
    },
    /// More bytes than a bundle may have.
    #[error("the bundle has {bytes} bytes, more than {BUNDLE_BYTES}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// A member that nobody knows.
    #[error("the bundle has a member \"{name}\", which is not known")]
    Unknown {
        /// The member.
        name: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::IN_TOTO;
    use crate::key::{KeyAlgorithm, SecretKey};

    fn secret() -> SecretKey {
        SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[0x42; 32].into()).unwrap()
    }

    fn written() -> String {
        let secret = secret();
        let envelope = Envelope::sign(IN_TOTO, b"{}", &[&secret]).unwrap();
        String::from_utf8(Bundle::write(&envelope, secret.public_key()).unwrap()).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let text = written();
        let Ok(Bundle::Envelope(envelope)) = Bundle::parse(text.as_bytes()) else { panic!("{text}") };
        let secret = secret();
        assert_eq!(envelope.verify([secret.public_key()]).len(), 1);
        assert_eq!(&envelope.payload()[..], b"{}");
        let hint = STANDARD.encode(Sha256::digest(secret.public_key().to_spki_der()));
        assert!(text.contains(&format!("\"publicKey\":{{\"hint\":\"{hint}\"}}")), "{text}");
        assert!(!text.contains("tlogEntries"), "absent, not empty");
    }

    #[test]
    fn the_hint_decides_nothing() {
        let text = written();
        let hint = format!("{{\"hint\":\"{}\"}}", key_hint(secret().public_key()));
        for other in ["{}", "{\"hint\":\"\"}", "{\"hint\":\"somebody else\"}"] {
            let other = text.replace(&hint, other);
            assert_ne!(other, text);
            assert_eq!(Bundle::parse(other.as_bytes()), Bundle::parse(text.as_bytes()));
        }
        assert!(Bundle::parse(text.replace(&hint, "{\"hint\":1}").as_bytes()).is_err());
    }

    #[test]
    fn certificates_and_signatures_of_bytes_are_told_apart() {
        let text = written();
        let start = text.find("{\"publicKey\"").unwrap();
        let end = text.find(",\"dsseEnvelope\"").unwrap();
        let material = &text[start..end];
        let with = |other: &str| Bundle::parse(text.replace(material, other).as_bytes());
        assert_eq!(
            with(r#"{"certificate":{"rawBytes":"AA=="},"tlogEntries":[{}]}"#),
            Ok(Bundle::Certificate)
        );
        assert_eq!(with(r#"{"x509CertificateChain":{"certificates":[]}}"#), Ok(Bundle::Certificate));
        assert!(matches!(with(r#"{"publicKey":{},"tlogEntries":[{}]}"#), Ok(Bundle::Envelope(_))));
        assert!(with("{}").is_err());
        assert!(with(r#"{"publicKey":{},"certificate":{}}"#).is_err());
        let message = format!("{}{}", &text[..end], r#","messageSignature":{"signature":"AA=="}}"#);
        assert_eq!(Bundle::parse(message.as_bytes()), Ok(Bundle::MessageSignature));
    }

    #[test]
    fn anything_else_is_refused() {
        let text = written();
        for (from, to) in [
            ("v0.3+json", "v0.2+json"),
            ("\"mediaType\"", "\"media_type\""),
            ("{\"mediaType\"", "{\"more\":1,\"mediaType\""),
            ("{\"mediaType\"", "{\"mediaType\":\"\",\"mediaType\""),
            ("\"verificationMaterial\"", "\"VerificationMaterial\""),
            ("\"publicKey\":{", "\"publicKey\":{\"rawBytes\":\"AA==\","),
            ("\"dsseEnvelope\":{", "\"messageSignature\":{},\"dsseEnvelope\":{"),
            ("\"dsseEnvelope\":{", "\"dsseEnvelope\":{\"Payload\":\"\","),
            ("\"signatures\":[{", "\"signatures\":[{\"sig\":\"AA==\"},{"),
        ] {
            let bad = text.replacen(from, to, 1);
            assert_ne!(bad, text, "{from}");
            assert!(Bundle::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        for bad in ["", "[]", "null", "{}"] {
            assert!(Bundle::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let none = text.replace(&text[text.find("[{\"sig\"").unwrap()..], "[]}}");
        assert_eq!(Bundle::parse(none.as_bytes()), Err(InvalidBundle::Signatures { signatures: 0 }));
    }
}
