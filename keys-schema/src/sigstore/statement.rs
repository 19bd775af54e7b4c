//! Statements as far as a signature needs them: the one that makes a bundle a signature of an image,
//! and the annotations that cosign keeps with the subject.

use std::collections::BTreeMap;

use crate::attest::{InvalidStatement, Statement};
use crate::digest::Sha256Digest;
use crate::json::{Json, Object};

/// The type of the statement that is the signature of an image. A statement of any other type says
/// something about the image, which may be that it is bad.
pub const IMAGE_SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The type of statements that cosign writes for a signature.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";

/// Cosign's short names for types of statements.
const TYPES: [(&str, &str); 10] = [
    ("custom", "https://cosign.sigstore.dev/attestation/v1"),
    ("cyclonedx", "https://cyclonedx.org/bom"),
    ("link", "https://in-toto.io/Link/v1"),
    ("openvex", "https://openvex.dev/ns"),
    ("slsaprovenance", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance02", "https://slsa.dev/provenance/v0.2"),
    ("slsaprovenance1", "https://slsa.dev/provenance/v1"),
    ("spdx", "https://spdx.dev/Document"),
    ("spdxjson", "https://spdx.dev/Document"),
    ("vuln", "https://cosign.sigstore.dev/attestation/vuln/v1"),
];

/// The type of statements that `text` names: one of cosign's short names, or a URI. `None` for
/// anything else, which would be a type that nothing is of.
#[must_use]
pub fn predicate_type(text: &str) -> Option<&str> {
    let short = TYPES.iter().find(|(name, _)| *name == text).map(|(_, uri)| *uri);
    short.or_else(|| text.contains("://").then_some(text))
}

/// The payload that signs the manifest with digest `subject`, as cosign 3 writes it. It names no
/// repository, no tag and no time.
#[must_use]
pub fn image_statement(subject: Sha256Digest, annotations: &BTreeMap<String, String>) -> Vec<u8> {
    let text = |name: &str, text: &str| (name.to_owned(), Json::from(text));
    let digest = Object::from([("sha256".to_owned(), Json::from(subject.to_string()))]);
    let mut named = Object::from([("digest".to_owned(), Json::Object(digest))]);
    if !annotations.is_empty() {
        let annotations = annotations.iter().map(|(name, value)| text(name, value));
        named.insert("annotations".to_owned(), Json::Object(annotations.collect()));
    }
    let statement = Object::from([
        text("_type", STATEMENT),
        ("subject".to_owned(), Json::Array(vec![Json::Object(named)])),
        text("predicateType", IMAGE_SIGNATURE),
        ("predicate".to_owned(), Json::Object(Object::new())),
    ]);
    Json::Object(statement).to_wire()
}

/// What a signed statement says about one image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) predicate_type: String,
    /// Whether the image is among the subjects.
    pub(super) is_about: bool,
    /// The annotations of that subject that are texts.
    pub(super) annotations: BTreeMap<String, String>,
}

impl Said {
    /// Reads a statement.
    ///
    /// # Errors
    /// See [`InvalidStatement`].
    pub(super) fn read(payload: &[u8], image: Sha256Digest) -> Result<Self, InvalidStatement> {
        let statement = Statement::parse(payload)?;
        Ok(Self {
            predicate_type: statement.predicate_type().to_owned(),
            is_about: statement.subjects().contains(&image),
            annotations: annotations(payload, image),
        })
    }
}

/// None where the statement holds numbers that this reader does not take, as reports do: nobody
/// annotates those.
fn annotations(payload: &[u8], image: Sha256Digest) -> BTreeMap<String, String> {
    let Ok(statement) = Json::parse(payload) else { return BTreeMap::new() };
    let subjects = statement.as_object().and_then(|members| members.get("subject")).and_then(Json::as_array);
    let hex = image.to_string();
    let is_image = |subject: &&Object| {
        let digest = subject.get("digest").and_then(Json::as_object);
        digest.and_then(|digest| digest.get("sha256")).and_then(Json::as_str) == Some(&hex)
    };
    // Of several subjects with this digest, the first: annotations of two are not mixed.
    let named = subjects.into_iter().flatten().filter_map(Json::as_object).find(is_image);
    let found = named.and_then(|subject| subject.get("annotations")).and_then(Json::as_object);
    let texts = found.into_iter().flat_map(Object::iter);
    texts.filter_map(|(name, value)| Some((name.to_owned(), value.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_a_statement_on_one_image() {
        let image = Sha256Digest::of(b"");
        let annotations = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
        let written = image_statement(image, &annotations);
        let said = Said::read(&written, image).unwrap();
        assert_eq!((said.predicate_type.as_str(), said.is_about), (IMAGE_SIGNATURE, true));
        assert_eq!(said.annotations, annotations);
        assert!(!Said::read(&written, Sha256Digest::of(b"x")).unwrap().is_about);
        let plain = String::from_utf8(image_statement(image, &BTreeMap::new())).unwrap();
        let expected = format!(
            r#"{{"_type":"{STATEMENT}","predicate":{{}},"predicateType":"{IMAGE_SIGNATURE}","subject":[{{"digest":{{"sha256":"{image}"}}}}]}}"#
        );
        assert_eq!(plain, expected);
    }

    #[test]
    fn annotations_of_two_subjects_are_not_mixed() {
        let (image, other) = (Sha256Digest::of(b""), Sha256Digest::of(b"x"));
        let statement = format!(
            r#"{{"_type":"{STATEMENT}","predicate":{{}},"predicateType":"x","subject":[
                {{"digest":{{"sha256":"{other}"}},"annotations":{{"a":"1"}}}},
                {{"digest":{{"sha256":"{image}"}},"annotations":{{"b":"2","n":3}}}},
                {{"digest":{{"sha256":"{image}"}},"annotations":{{"c":"3"}}}}]}}"#
        );
        let said = Said::read(statement.as_bytes(), image).unwrap();
        assert_eq!(said.annotations, BTreeMap::from([("b".to_owned(), "2".to_owned())]));
    }
}
