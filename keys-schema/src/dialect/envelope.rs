//! The envelope around every document: `signed` and `signatures`.

use crate::canonical::canonical_of;
use crate::dialect::fields::Fields;
use crate::dialect::{Dialect, InvalidMetadata, notary1};
use crate::json::{Json, Object};
use crate::key::{KeyAlgorithm, KeyId, PublicKey};
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
    /// The algorithm that it claims to be of, in dialects that say so.
    pub algorithm: Option<KeyAlgorithm>,
    /// The signature as [`PublicKey::verify`] takes it; empty where a signing event left a
    /// placeholder.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// Whether it can be one of `key`. The algorithm is the key's; a signature that claims
    /// another one is refused, never followed.
    #[must_use]
    pub fn fits(&self, key: &PublicKey) -> bool {
        !self.bytes.is_empty() && self.algorithm.is_none_or(|claimed| claimed == key.algorithm())
    }
}

impl Envelope {
    /// Splits `bytes` into what is signed and the signatures.
    ///
    /// # Errors
    /// JSON that two parsers could read differently, members beside `signed` and
    /// `signatures`, a key id twice in `signatures` (CVE-2020-6174), too many signatures.
    pub fn parse(dialect: Dialect, bytes: &[u8]) -> Result<Self, InvalidMetadata> {
        let mut whole = Json::parse(bytes)?;
        let mut fields = Fields::of(&whole, "document")?;
        let signed = fields.need("signed", "an object", |v| v.as_object().map(|_| v))?;
        // The canonical form of what was received, never of what was understood (C31).
        let canonical = canonical_of(signed, bytes.len());
        let signatures = read_signatures(dialect, fields.need("signatures", "an array", Json::as_array)?)?;
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

    /// The same, to be taken apart.
    pub(crate) const fn signed_mut(&mut self) -> &mut Object {
        &mut self.signed
    }

    /// The bytes of an envelope around `signed`.
    #[must_use]
    pub fn write(dialect: Dialect, signed: Object, signatures: &[Signature]) -> Vec<u8> {
        if dialect == Dialect::Notary1 {
            return notary1::envelope::write(signed, signatures);
        }
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

fn read_signatures(dialect: Dialect, listed: &[Json]) -> Result<Vec<Signature>, InvalidMetadata> {
    if listed.len() > limits::SIGNATURES {
        return Err(InvalidMetadata::TooMany { at: "signatures".to_owned() });
    }
    let mut signatures: Vec<Signature> = Vec::with_capacity(listed.len());
    for item in listed {
        let signature = match dialect {
            Dialect::Notary1 => notary1::envelope::read_signature(item)?,
            Dialect::Tuf1 => read_signature(item)?,
        };
        if signatures.iter().any(|known| known.key_id == signature.key_id) {
            return Err(InvalidMetadata::Member {
                at: format!("signatures: {}", signature.key_id),
                expected: "listed once",
            });
        }
        signatures.push(signature);
    }
    Ok(signatures)
}

fn read_signature(item: &Json) -> Result<Signature, InvalidMetadata> {
    let mut fields = Fields::of(item, "signatures")?;
    let key_id = fields.need("keyid", "a key id", |v| v.as_str()?.parse().ok())?;
    // A signature that is no hex cannot be valid, and like an invalid one it must not spoil
    // the others.
    let bytes = fields.need("sig", "a string", |v| v.as_str().map(|s| hex::decode(s).unwrap_or_default()))?;
    fields.rest()?;
    Ok(Signature { key_id, algorithm: None, bytes })
}
