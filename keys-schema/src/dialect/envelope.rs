//! The envelope around every document: `signed` and `signatures`.

use crate::canonical::canonical;
use crate::dialect::fields::Fields;
use crate::dialect::{Dialect, InvalidMetadata};
use crate::json::{Json, Object};
use crate::key::KeyId;
use crate::limits;

/// A parsed envelope. `signed` is opaque until its signatures were counted.
#[derive(Clone, Debug)]
pub struct Envelope {
    signed: Object,
    canonical: Vec<u8>,
    signatures: Vec<Signature>,
}

/// A signature as carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The id the document declares for the key.
    pub key_id: KeyId,
    /// The signature; empty where a signing event left a placeholder.
    pub bytes: Vec<u8>,
}

impl Envelope {
    /// Splits `bytes` into what is signed and the signatures.
    ///
    /// # Errors
    /// JSON that two parsers could read differently, members beside `signed` and
    /// `signatures`, a key id twice in `signatures` (CVE-2020-6174), too many signatures.
    pub fn parse(dialect: Dialect, bytes: &[u8]) -> Result<Self, InvalidMetadata> {
        let Dialect::Tuf1 = dialect;
        let mut whole = Json::parse(bytes)?;
        let mut fields = Fields::of(&whole, "document")?;
        let signed = fields.need("signed", "an object", |v| v.as_object().map(|_| v))?;
        // The canonical form of what was received, never of what was understood (C31).
        let canonical = canonical(signed);
        let signatures = read_signatures(fields.need("signatures", "an array", Json::as_array)?)?;
        if let Some(name) = fields.rest()?.into_keys().next() {
            return Err(InvalidMetadata::UnsignedMember { name });
        }
        let signed = match &mut whole {
            Json::Object(members) => members.remove("signed"),
            _ => None,
        };
        match signed {
            Some(Json::Object(signed)) => Ok(Self { signed, canonical, signatures }),
            _ => Err(InvalidMetadata::Member { at: "document.signed".to_owned(), expected: "an object" }),
        }
    }

    /// The bytes that signatures cover.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        &self.canonical
    }

    /// All signatures, each key id once.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// What is signed, for the one place that has counted the signatures.
    pub(crate) const fn signed(&self) -> &Object {
        &self.signed
    }

    /// The bytes of an envelope around `signed`.
    #[must_use]
    pub fn write(signed: Object, signatures: &[Signature]) -> Vec<u8> {
        let signatures = signatures
            .iter()
            .map(|signature| {
                Json::Object(Object::from([
                    ("keyid".to_owned(), Json::from(signature.key_id.as_str())),
                    ("sig".to_owned(), Json::from(hex::encode(&signature.bytes))),
                ]))
            })
            .collect();
        Json::Object(Object::from([
            ("signatures".to_owned(), Json::Array(signatures)),
            ("signed".to_owned(), Json::Object(signed)),
        ]))
        .to_wire()
    }
}

fn read_signatures(listed: &[Json]) -> Result<Vec<Signature>, InvalidMetadata> {
    if listed.len() > limits::SIGNATURES {
        return Err(InvalidMetadata::TooMany { at: "signatures".to_owned() });
    }
    let mut signatures: Vec<Signature> = Vec::with_capacity(listed.len());
    for item in listed {
        let mut fields = Fields::of(item, "signatures")?;
        let key_id: KeyId = fields.need("keyid", "a key id", |v| v.as_str()?.parse().ok())?;
        // A signature that is no hex cannot be valid, and like an invalid one it must not
        // spoil the others.
        let bytes =
            fields.need("sig", "a string", |v| v.as_str().map(|s| hex::decode(s).unwrap_or_default()))?;
        fields.rest()?;
        if signatures.iter().any(|known| known.key_id == key_id) {
            return Err(InvalidMetadata::Member {
                at: format!("signatures: {key_id}"),
                expected: "listed once",
            });
        }
        signatures.push(Signature { key_id, bytes });
    }
    Ok(signatures)
}
