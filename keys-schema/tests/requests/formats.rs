//! Bytes that are no request and no file of signatures, and bounds.

use bulla_keys_schema::limits;
use bulla_keys_schema::request::{InvalidRequest, RequestExport, SignatureFile, SigningRequest};
use bytes::Bytes;
use serde_json::{Value, json};

use crate::fixture::{BOB, open, replace_carol, signatures};

fn request_json() -> Value {
    serde_json::from_slice(&replace_carol().to_bytes()).unwrap()
}

/// The request with the member at `pointer` replaced, or removed.
fn changed(pointer: &str, value: Option<Value>) -> Value {
    let mut document = request_json();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match (document.pointer_mut(parent).unwrap(), value) {
        (Value::Object(members), Some(value)) => drop(members.insert(name.to_owned(), value)),
        (Value::Object(members), None) => drop(members.remove(name).unwrap()),
        (Value::Array(items), Some(value)) => items.push(value),
        _ => panic!("{pointer}"),
    }
    document
}

#[test]
fn requests_read_what_they_write() {
    let request = replace_carol();
    assert_eq!(SigningRequest::parse(&request.to_bytes()).unwrap(), request);
    let file = signatures(&open(request), BOB);
    assert_eq!(SignatureFile::parse(&file.to_bytes()).unwrap(), file);
}

#[test]
fn requests_have_exactly_the_known_members() {
    let mut refused = vec![json!(null), json!([]), json!({}), json!("text")];
    for member in request_json().as_object().unwrap().keys() {
        refused.push(changed(&format!("/{member}"), None));
        refused.push(changed(&format!("/{member}"), Some(json!(null))));
        refused.push(changed(&format!("/{member}"), Some(json!(7))));
    }
    let (document, holder) = (request_json()["documents"][0].clone(), request_json()["holders"][0].clone());
    for (pointer, value) in [
        ("/comment", json!("unknown member")),
        ("/schema_version", json!(2)),
        ("/kind", json!("signatures")),
        ("/id", json!("AABBCCDDEEFF00112233445566778899")),
        ("/id", json!("../../etc/passwd")),
        ("/repository", json!("registry.example.com/../app")),
        ("/mode", json!("tuf")),
        ("/reason", json!("renewal\u{1b}[2K")),
        ("/reason", json!("")),
        ("/created_by", json!("\u{202e}alice")),
        ("/created_at", json!("2030-01-01")),
        // Before it was made, and more than 90 days after.
        ("/not_after", json!("2029-12-31T00:00:00Z")),
        ("/not_after", json!("2030-04-02T00:00:00Z")),
        ("/base/0/version", json!(0)),
        ("/base/0/sha256", json!("ab")),
        ("/documents/0/metadata", json!("not base64")),
        ("/documents/0/role", json!("Root")),
        ("/documents/-", document),
        ("/holders/-", holder),
        ("/holders/0/name", json!("a\nb")),
        ("/files", json!(["#"])),
    ] {
        refused.push(changed(pointer, Some(value)));
    }
    for document in refused {
        let text = document.to_string();
        assert!(SigningRequest::parse(text.as_bytes()).is_err(), "{text}");
        assert!(RequestExport::parse(text.as_bytes()).is_err(), "{text}");
    }
    let twice = String::from_utf8(replace_carol().to_bytes()).unwrap();
    let twice = twice.replacen("\"reason\":", "\"reason\":\"another\",\"reason\":", 1);
    assert!(SigningRequest::parse(twice.as_bytes()).is_err());
}

/// The schema in a file of `schema/`, and whether it takes what the code writes.
fn require_schema(text: &str, written: &[u8]) {
    let schema = jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap();
    let written: Value = serde_json::from_slice(written).unwrap();
    assert!(schema.validate(&written).is_ok(), "{written:#}");
    let mut more = written;
    more["comment"] = json!("unknown member");
    assert!(schema.validate(&more).is_err());
}

#[test]
fn the_schemas_know_what_the_code_writes() {
    let request = replace_carol();
    require_schema(include_str!("../../schema/signing-request.schema.json"), &request.to_bytes());
    let file = signatures(&open(request), BOB);
    require_schema(include_str!("../../schema/signature.schema.json"), &file.to_bytes());
}

#[test]
fn the_schema_of_requests_refuses_what_the_code_refuses() {
    let schema = serde_json::from_str(include_str!("../../schema/signing-request.schema.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    for member in request_json().as_object().unwrap().keys() {
        for value in [None, Some(json!(null)), Some(json!(7)), Some(json!({}))] {
            assert!(schema.validate(&changed(&format!("/{member}"), value)).is_err(), "{member}");
        }
    }
    for (pointer, value) in [
        ("/id", json!("../../etc/passwd")),
        ("/reason", json!("renewal\u{1b}[2K")),
        ("/reason", json!("a".repeat(501))),
        ("/created_by", json!("\u{202e}alice")),
        ("/base/0/version", json!(0)),
        ("/documents/0/metadata", json!("not base64")),
        ("/holders/0/name", json!("a\nb")),
        ("/mode", json!("tuf")),
    ] {
        let document = changed(pointer, Some(value));
        assert!(schema.validate(&document).is_err(), "{pointer}");
        assert!(SigningRequest::parse(document.to_string().as_bytes()).is_err(), "{pointer}");
    }
}

#[test]
fn files_of_another_kind_are_named() {
    let request = replace_carol();
    let file = signatures(&open(request.clone()), BOB);
    let error = SignatureFile::parse(&request.to_bytes());
    assert!(matches!(error, Err(InvalidRequest::Kind { .. } | InvalidRequest::Structure { .. })));
    assert!(SigningRequest::parse(&file.to_bytes()).is_err());
}

#[test]
fn sizes_are_bounded() {
    let large = SigningRequest { files: vec![Bytes::from(vec![0; 6_300_000])], ..replace_carol() };
    let error = SigningRequest::parse(&large.to_bytes());
    assert_eq!(error, Err(InvalidRequest::TooLarge { limit: limits::REQUEST_BYTES }));
    let spaces = vec![b' '; limits::SIGNATURE_FILE_BYTES + 1];
    assert_eq!(
        SignatureFile::parse(&spaces),
        Err(InvalidRequest::TooLarge { limit: limits::SIGNATURE_FILE_BYTES })
    );
    let mut many = request_json();
    let one = many["documents"][0]["metadata"].clone();
    let documents: Vec<Value> = (0..=limits::REQUEST_DOCUMENTS)
        .map(|number| json!({ "role": format!("signer-{number}"), "metadata": one }))
        .collect();
    many["documents"] = Value::Array(documents);
    assert!(SigningRequest::parse(many.to_string().as_bytes()).is_err());
}

#[test]
fn cut_texts_are_refused() {
    let whole = replace_carol().to_bytes();
    for length in (0..whole.len() - 2).step_by(97) {
        assert!(SigningRequest::parse(&whole[..length]).is_err(), "{length}");
    }
}
