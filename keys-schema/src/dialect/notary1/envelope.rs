//! Signatures as Notary carries them, and the bytes of a whole document as Go writes them.

use crate::canonical::canonical;
use crate::dialect::InvalidMetadata;
use crate::dialect::envelope::Signature;
use crate::dialect::fields::Fields;
use crate::dialect::notary1::{decode_base64, encode_base64};
use crate::json::{Json, Object};
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

/// Go escapes these characters inside of strings, and they occur nowhere else.
fn escape_for_html(wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'<', _) => out.extend(br"\u003c"),
            (b'>', _) => out.extend(br"\u003e"),
            (b'&', _) => out.extend(br"\u0026"),
            // U+2028 and U+2029.
            (0xe2, [0x80, last @ (0xa8 | 0xa9), after @ ..]) => {
                out.extend(if *last == 0xa8 { br"\u2028" } else { br"\u2029" });
                rest = after;
                continue;
            }
            _ => out.push(byte),
        }
        rest = tail;
    }
    out
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
