//! Keys: `keytype` says how `keyval.public` is encoded, and the id is the digest of both.

use crate::canonical::canonical;
use crate::dialect::InvalidMetadata;
use crate::dialect::fields::Fields;
use crate::dialect::notary1::{decode_base64, encode_base64, list};
use crate::digest::Sha256Digest;
use crate::json::{Json, Object};
use crate::key::{Certificate, InvalidCertificate, KeyAlgorithm, KeyId, PublicKey};
use crate::limits;
use crate::metadata::{KeyEntry, KeyTable, RoleKeys, Threshold};

/// The object that declares the bare `key`.
#[must_use]
pub fn key_object(key: &PublicKey) -> Json {
    let (keytype, public) = match (key.algorithm(), key.ed25519_bytes()) {
        (_, Some(raw)) => ("ed25519", encode_base64(&raw)),
        (KeyAlgorithm::RsaPss, None) => ("rsa", encode_base64(key.to_spki_der())),
        (_, None) => ("ecdsa", encode_base64(key.to_spki_der())),
    };
    declared(keytype, public)
}

/// Reads the object that declares a bare key, as servers give their own keys away.
///
/// # Errors
/// Another form, a certificate, or a key that cannot be verified with.
pub fn parse_key_object(bytes: &[u8]) -> Result<PublicKey, InvalidMetadata> {
    let entry = read_entry(&Json::parse(bytes)?, "key", Certificate::from_pem_bundle)?;
    let bare = entry.key.filter(|_| entry.certificate.is_none());
    bare.ok_or(InvalidMetadata::Member { at: "key".to_owned(), expected: "a usable public key" })
}

/// The id of the bare `key`, which Notary also calls the canonical id of every certificate
/// for it.
#[must_use]
pub fn key_id(key: &PublicKey) -> KeyId {
    id_of(&key_object(key))
}

/// The id of a key that is declared by a certificate.
#[must_use]
pub fn certificate_key_id(certificate: &Certificate) -> KeyId {
    id_of(&certificate_object(certificate))
}

fn certificate_object(certificate: &Certificate) -> Json {
    let keytype = match certificate.public_key().algorithm() {
        KeyAlgorithm::RsaPss => "rsa-x509",
        KeyAlgorithm::EcdsaP256 | KeyAlgorithm::Ed25519 => "ecdsa-x509",
    };
    declared(keytype, encode_base64(certificate.pem().as_bytes()))
}

fn declared(keytype: &str, public: Json) -> Json {
    let keyval = Object::from([("private".to_owned(), Json::Null), ("public".to_owned(), public)]);
    Json::Object(Object::from([
        ("keytype".to_owned(), Json::from(keytype)),
        ("keyval".to_owned(), Json::Object(keyval)),
    ]))
}

fn id_of(object: &Json) -> KeyId {
    KeyId::from_digest(Sha256Digest::of(&canonical(object)))
}

/// How certificates in one kind of document are read: those of roots under stricter rules
/// than those of delegations.
pub(crate) type ReadCertificate = fn(&str) -> Result<Certificate, InvalidCertificate>;

pub(crate) fn read_table(
    value: &Json,
    at: &str,
    read_certificate: ReadCertificate,
) -> Result<KeyTable, InvalidMetadata> {
    let listed = Fields::of(value, at)?.rest()?;
    if listed.len() > limits::KEYS {
        return Err(InvalidMetadata::TooMany { at: at.to_owned() });
    }
    listed
        .into_iter()
        .map(|(id, object)| {
            let at = format!("{at}.{id}");
            let entry = read_entry(&object, &at, read_certificate)?;
            // Clients compute ids themselves: a key under another id would be one that nobody
            // else can use.
            let computed = entry.declared.as_ref().map(id_of).filter(|computed| computed.as_str() == id);
            let id = computed.ok_or(InvalidMetadata::Member { at, expected: "listed by its own digest" })?;
            Ok((id, entry))
        })
        .collect()
}

pub(crate) fn write_table(table: &KeyTable) -> Json {
    let entries = table.iter().filter_map(|(id, entry)| {
        let object = match (&entry.declared, &entry.certificate, &entry.key) {
            (Some(declared), _, _) => declared.clone(),
            (None, Some(certificate), _) => certificate_object(certificate),
            (None, None, Some(key)) => key_object(key),
            (None, None, None) => return None,
        };
        Some((id.as_str().to_owned(), object))
    });
    Json::Object(entries.collect())
}

pub(crate) fn read_role_keys(fields: &mut Fields<'_>) -> Result<RoleKeys, InvalidMetadata> {
    let at = fields.path("keyids");
    let listed = fields.need("keyids", "an array", list)?;
    if listed.len() > limits::KEYS {
        return Err(InvalidMetadata::TooMany { at });
    }
    let key_ids: Option<Vec<KeyId>> = listed.iter().map(|id| id.as_str()?.parse().ok()).collect();
    let key_ids = key_ids.ok_or_else(|| fields.wrong("keyids", "an array of key ids"))?;
    let distinct: std::collections::BTreeSet<_> = key_ids.iter().collect();
    if distinct.len() != key_ids.len() {
        return Err(fields.wrong("keyids", "an array of key ids, each once"));
    }
    let threshold = fields.need("threshold", "a number from 1 to 1024", |v| Threshold::new(v.as_u64()?))?;
    Ok(RoleKeys { key_ids, threshold })
}

pub(crate) fn write_role_keys(object: &mut Object, keys: &RoleKeys) {
    let ids = keys.key_ids.iter().map(|id| Json::from(id.as_str())).collect();
    object.insert("keyids".to_owned(), Json::Array(ids));
    object.insert("threshold".to_owned(), super::integer(u64::from(keys.threshold.get())));
}

/// Keeps what declares the key in the one form that ids are computed over.
fn read_entry(
    object: &Json,
    at: &str,
    read_certificate: ReadCertificate,
) -> Result<KeyEntry, InvalidMetadata> {
    let mut fields = Fields::of(object, at)?;
    let keytype = fields.need("keytype", "a string", Json::as_str)?;
    let mut keyval = Fields::of(fields.need("keyval", "an object", Some)?, fields.path("keyval"))?;
    let public = keyval.need("public", "base64", Json::as_str)?;
    let bytes = decode_base64(public).ok_or_else(|| keyval.wrong("public", "base64"))?;
    // A private half in public metadata is a leak that must not be spread.
    keyval.optional("private", "null", |v| matches!(v, Json::Null).then_some(()))?;
    keyval.rest()?;
    fields.rest()?;
    let (key, certificate) = read_key(keytype, &bytes, read_certificate);
    Ok(KeyEntry { key, certificate, declared: Some(declared(keytype, Json::from(public))) })
}

/// Nothing for what cannot be verified with: unknown kinds, and keys of another kind than
/// declared.
fn read_key(
    keytype: &str,
    bytes: &[u8],
    read_certificate: ReadCertificate,
) -> (Option<PublicKey>, Option<Certificate>) {
    let of = |key: PublicKey, wanted| (key.algorithm() == wanted).then_some(key);
    let bare = |wanted| PublicKey::from_spki_der(bytes).ok().and_then(|key| of(key, wanted));
    let wrapped = |wanted| {
        let text = str::from_utf8(bytes).ok()?;
        read_certificate(text).ok().filter(|found| found.public_key().algorithm() == wanted)
    };
    let certificate = match keytype {
        "ecdsa" => return (bare(KeyAlgorithm::EcdsaP256), None),
        "rsa" => return (bare(KeyAlgorithm::RsaPss), None),
        "ed25519" => {
            let raw = bytes.try_into().ok();
            return (raw.and_then(|raw| PublicKey::from_ed25519_bytes(raw).ok()), None);
        }
        "ecdsa-x509" => wrapped(KeyAlgorithm::EcdsaP256),
        "rsa-x509" => wrapped(KeyAlgorithm::RsaPss),
        _ => None,
    };
    (certificate.as_ref().map(|certificate| certificate.public_key().clone()), certificate)
}
