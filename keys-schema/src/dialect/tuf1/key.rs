//! Key objects, key tables and role keys.

use std::collections::BTreeSet;

use crate::canonical::canonical;
use crate::dialect::InvalidMetadata;
use crate::dialect::fields::{Fields, refuse_case_variants};
use crate::dialect::tuf1::integer;
use crate::digest::Sha256Digest;
use crate::json::{Json, Object};
use crate::key::{KeyAlgorithm, KeyId, PublicKey, tuf_keytype_and_scheme};
use crate::limits;
use crate::metadata::{KeyEntry, KeyTable, RoleKeys, Threshold};

/// The object that declares `key`, without members beyond the specification's: tough
/// computes ids over the whole object.
#[must_use]
pub fn key_object(key: &PublicKey) -> Json {
    let (keytype, scheme) = tuf_keytype_and_scheme(key);
    let public = match key.ed25519_bytes() {
        Some(bytes) => hex::encode(bytes),
        None => key.to_pem(),
    };
    Json::Object(Object::from([
        ("keytype".to_owned(), Json::from(keytype)),
        ("scheme".to_owned(), Json::from(scheme)),
        ("keyval".to_owned(), Json::Object(Object::from([("public".to_owned(), Json::from(public))]))),
    ]))
}

/// The id that Bulla declares for `key`: SHA-256 of the canonical key object, as the
/// specification once demanded and some clients still check.
#[must_use]
pub fn key_id(key: &PublicKey) -> KeyId {
    KeyId::from_digest(Sha256Digest::of(&canonical(&key_object(key))))
}

pub(crate) fn read_table(fields: &mut Fields<'_>) -> Result<KeyTable, InvalidMetadata> {
    let at = fields.path("keys");
    let listed = Fields::of(fields.need("keys", "an object", Some)?, at.clone())?.rest()?;
    if listed.len() > limits::KEYS {
        return Err(InvalidMetadata::TooMany { at });
    }
    listed
        .into_iter()
        .map(|(id, object)| {
            let at = format!("{at}.{id}");
            let id: KeyId =
                id.parse().map_err(|_| InvalidMetadata::Member { at: at.clone(), expected: "a key id" })?;
            Ok((id, read_entry(object, &at)?))
        })
        .collect()
}

pub(crate) fn write_table(table: &KeyTable) -> Json {
    let entries = table.iter().filter_map(|(id, entry)| {
        let object = match (&entry.declared, &entry.key) {
            (Some(declared), _) => declared.clone(),
            (None, Some(key)) => key_object(key),
            (None, None) => return None,
        };
        Some((id.as_str().to_owned(), object))
    });
    Json::Object(entries.collect())
}

pub(crate) fn read_role_keys(fields: &mut Fields<'_>) -> Result<RoleKeys, InvalidMetadata> {
    let at = fields.path("keyids");
    let listed = fields.need("keyids", "an array", Json::as_array)?;
    if listed.len() > limits::KEYS {
        return Err(InvalidMetadata::TooMany { at });
    }
    let key_ids: Option<Vec<KeyId>> = listed.iter().map(|id| id.as_str()?.parse().ok()).collect();
    let key_ids = key_ids.ok_or_else(|| fields.wrong("keyids", "an array of key ids"))?;
    if key_ids.iter().collect::<BTreeSet<_>>().len() != key_ids.len() {
        return Err(fields.wrong("keyids", "an array of key ids, each once"));
    }
    let threshold = fields.need("threshold", "a number from 1 to 1024", |v| Threshold::new(v.as_u64()?))?;
    Ok(RoleKeys { key_ids, threshold })
}

pub(crate) fn write_role_keys(object: &mut Object, keys: &RoleKeys) {
    let ids = keys.key_ids.iter().map(|id| Json::from(id.as_str())).collect();
    object.insert("keyids".to_owned(), Json::Array(ids));
    object.insert("threshold".to_owned(), integer(u64::from(keys.threshold.get())));
}

fn read_entry(object: Json, at: &str) -> Result<KeyEntry, InvalidMetadata> {
    refuse_case_variants(&object, at)?;
    let mut fields = Fields::of(&object, at)?;
    let keytype = fields.need("keytype", "a string", Json::as_str)?;
    let scheme = fields.need("scheme", "a string", Json::as_str)?;
    let mut keyval = Fields::of(fields.need("keyval", "an object", Some)?, format!("{at}.keyval"))?;
    let public = keyval.take("public").and_then(Json::as_str);
    keyval.rest()?;
    let key = public.and_then(|public| read_key(keytype, scheme, public));
    fields.rest()?;
    Ok(KeyEntry { key, certificate: None, declared: Some(object) })
}

/// `None` for what cannot be verified with: unknown kinds, and keys whose kind and scheme
/// disagree (the algorithm comes from the key, CVE-2015-9258).
fn read_key(keytype: &str, scheme: &str, public: &str) -> Option<PublicKey> {
    let wanted = match (keytype, scheme) {
        ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => KeyAlgorithm::EcdsaP256,
        ("ed25519", "ed25519") => KeyAlgorithm::Ed25519,
        ("rsa", "rsassa-pss-sha256") => KeyAlgorithm::RsaPss,
        _ => return None,
    };
    let key = if public.trim_start().starts_with("-----BEGIN") {
        PublicKey::from_pem(public.trim()).ok()?
    } else {
        read_hex_key(wanted, &hex::decode(public).ok()?)?
    };
    (key.algorithm() == wanted).then_some(key)
}

fn read_hex_key(wanted: KeyAlgorithm, bytes: &[u8]) -> Option<PublicKey> {
    match wanted {
        KeyAlgorithm::Ed25519 => PublicKey::from_ed25519_bytes(bytes.try_into().ok()?).ok(),
        KeyAlgorithm::EcdsaP256 => {
            PublicKey::from_p256_sec1(bytes).or_else(|_| PublicKey::from_spki_der(bytes)).ok()
        }
        KeyAlgorithm::RsaPss => PublicKey::from_spki_der(bytes).ok(),
    }
}
