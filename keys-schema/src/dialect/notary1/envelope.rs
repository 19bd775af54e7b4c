//! Signatures as Notary carries them, and the bytes of a whole document as Go writes them.

use crate::canonical::canonical;
use crate::dialect::InvalidMetadata;
use crate::dialect::envelope::Signature;
use crate::dialect::fields::Fields;
use crate::dialect::notary1::{decode_base64, encode_base64};
use crate::json::{Json, Object, escape_for_html};
use crate::key::{self, KeyAlgorithm};

/// Reads one entry of `signatures`. Its method has to fit the key that verifies it; it never
/// chooses the algorithm (NCC 2015, finding 1).
pub(crate) fn read_signature(item: &Json) -> Result<Signature, InvalidMetadata> {
    let mut fields = Fields::of(item, "signatures")?;
    let key_id = fields.need("keyid", "a key id", |v| v.as_str()?.parse().ok())?;
    let method = fields.need("method", "a string", Json::as_str)?;
    let carried = fields.need("sig", "base64", |v| decode_base64(v.as_str()?))?;
    fields.rest()?;
    // What is no signature cannot be valid, and must not spoil the others. Very old files spell the method in capitals.
    let (algorithm, bytes) = match method.to_ascii_lowercase().as_str() {
        "ecdsa" => {
            (Some(KeyAlgorithm::EcdsaP256), key::p256_signature_from_raw(&carried).unwrap_or_default())
        }
        "eddsa" => (Some(KeyAlgorithm::Ed25519), carried),
        "rsapss" => (Some(KeyAlgorithm::RsaPss), carried),
        _ => (None, Vec::new()),
    };
    Ok(Signature { key_id, algorithm, bytes })
}

/// The whole document: canonical `signed` first, then the signatures, no byte besides.
pub(crate) fn write(signed: Object, signatures: &[Signature]) -> Vec<u8> {
    let signatures = signatures.iter().map(write_signature).collect();
    let mut out = br#"{"signed":"#.to_vec();
    out.extend(escape_for_html(&Json::Object(signed).to_wire()));
    out.extend(br#","signatures":"#);
    out.extend(canonical(&Json::Array(signatures)));
    out.push(b'}');
    out
}

fn write_signature(signature: &Signature) -> Json {
    let (method, bytes) = match signature.algorithm {
        Some(KeyAlgorithm::Ed25519) => ("eddsa", signature.bytes.clone()),
        Some(KeyAlgorithm::RsaPss) => ("rsapss", signature.bytes.clone()),
        Some(KeyAlgorithm::EcdsaP256) | None => {
            let raw = key::p256_signature_to_raw(&signature.bytes);
            ("ecdsa", raw.map(|raw| raw.to_vec()).unwrap_or_default())
        }
    };
    Json::Object(Object::from([
        ("keyid".to_owned(), Json::from(signature.key_id.as_str())),
        ("method".to_owned(), Json::from(method)),
        ("sig".to_owned(), encode_base64(&bytes)),
    ]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_written_as_go_does() {
        let signed = Object::from([
            ("b".to_owned(), Json::from("<&>\u{2028}\u{2029}\u{2027}\u{e9}")),
            ("a".to_owned(), Json::Integer(1)),
        ]);
        let bytes = write(signed, &[]);
        let expected = "{\"signed\":{\"a\":1,\"b\":\"\\u003c\\u0026\\u003e\\u2028\\u2029\u{2027}\u{e9}\"},\"signatures\":[]}";
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
    }
}
