//! The published schema of a backup and the code agree on what is one.
//!
//! Texts inside of texts (keys, descriptions, base64) are the code's part alone: there, and only
//! there, it is the stricter one.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use bulla_keys_schema::backup::Backup;
use bulla_keys_schema::key::{KeyAlgorithm, Passphrase, SealedKey, SecretKey};
use serde_json::{Value, json};

fn document() -> Value {
    let secret = SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[5; 32].into()).unwrap();
    let sealed = SealedKey::seal(&secret, &Passphrase::new("p".to_owned()), [1; 32], [2; 24]);
    let description = json!({
        "schema_version": 1,
        "name": "alice",
        "fingerprint": secret.public_key().fingerprint().to_string(),
        "algorithm": "ecdsa-p256",
        "created": "2026-11-01T10:20:30Z",
        "roles": [],
    });
    json!({
        "schema": "bulla/backup/v1",
        "id": "ab".repeat(16),
        "created": "2026-11-01T10:20:30Z",
        "keys": [{
            "name": "alice",
            "private_key": sealed.to_pem(),
            "public_key": secret.public_key().to_pem(),
            "description": description.to_string(),
        }],
        "pins": "version = 1\n",
        "repositories": [{ "repository": "localhost:5000/app", "mode": "legacy", "roots": ["e30="] }],
    })
}

/// What the code and the schema say of `document`, which must be the same.
fn verdict(document: &Value) -> bool {
    let schema: Value = serde_json::from_str(include_str!("../schema/backup.schema.json")).unwrap();
    let by_schema = jsonschema::validator_for(&schema).unwrap().validate(document).is_ok();
    let by_code = Backup::parse(document.to_string().as_bytes());
    assert_eq!(by_code.is_ok(), by_schema, "code: {:?} in {document}", by_code.err());
    by_schema
}

fn changed(pointer: &str, value: Option<Value>) -> Value {
    let mut document = document();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name).expect("a member of that name")),
    }
    document
}

#[test]
fn what_the_code_writes_fits_the_schema() {
    let backup = Backup::parse(document().to_string().as_bytes()).unwrap();
    assert!(verdict(&serde_json::from_slice(&backup.to_bytes().unwrap()).unwrap()));
    for pointer in ["/keys", "/repositories"] {
        assert!(verdict(&changed(pointer, Some(json!([])))), "{pointer}");
    }
    assert!(verdict(&changed("/pins", Some(json!("")))));
    assert!(verdict(&changed("/repositories/0/roots", Some(json!([])))));
}

#[test]
fn both_refuse_the_same() {
    let mut refused = vec![json!(null), json!([]), json!({})];
    for pointer in [
        "/schema",
        "/id",
        "/created",
        "/keys",
        "/pins",
        "/repositories",
        "/keys/0/name",
        "/keys/0/private_key",
        "/keys/0/public_key",
        "/keys/0/description",
        "/repositories/0/repository",
        "/repositories/0/mode",
        "/repositories/0/roots",
    ] {
        refused.push(changed(pointer, None));
        refused.extend([json!(null), json!(7), json!({})].map(|value| changed(pointer, Some(value))));
    }
    for (pointer, value) in [
        ("/extra", json!(1)),
        ("/keys/0/path", json!("/etc/x")),
        ("/repositories/0/level", json!(1)),
        ("/schema", json!("bulla/backup/v2")),
        ("/id", json!("AB".repeat(16))),
        ("/id", json!("ab")),
        ("/created", json!("2026-11-01")),
        ("/keys/0/name", json!("../alice")),
        ("/keys/0/name", json!("a/b")),
        ("/keys/0/private_key", json!("-----BEGIN PRIVATE KEY-----")),
        ("/repositories/0/mode", json!("dual")),
        ("/repositories/0/repository", json!("a/../b")),
        ("/repositories/0/roots", json!(["?"])),
        ("/repositories/0/roots", json!([1])),
    ] {
        refused.push(changed(pointer, Some(value)));
    }
    for document in refused {
        assert!(!verdict(&document), "{document}");
    }
}
