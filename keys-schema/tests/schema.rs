//! The published JSON Schemas and the code agree on what is a file of ours.
//!
//! A schema knows no calendar and no folded letters: there, and only there, the code is the
//! stricter one.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

use bulla_keys_schema::key::{KeyAlgorithm, KeySidecar, KeySource, LoadedKey};
use jsonschema::Validator;
use serde_json::{Value, json};

/// The schema in a file of `schema/`. Compiling it checks it against its own meta-schema.
fn schema(text: &str) -> Validator {
    jsonschema::validator_for(&serde_json::from_str(text).unwrap()).unwrap()
}

/// What the code and the schema say of `document`, which must be the same.
fn verdict(schema: &Validator, document: &Value) -> bool {
    let by_code = KeySidecar::parse(document.to_string().as_bytes());
    let by_schema = schema.validate(document);
    assert_eq!(
        by_code.is_ok(),
        by_schema.is_ok(),
        "code: {:?}, schema: {:?}, in {document}",
        by_code.err(),
        by_schema.err()
    );
    by_schema.is_ok()
}

fn key_sidecar_schema() -> Validator {
    schema(include_str!("../schema/key-sidecar.schema.json"))
}

fn key_sidecar() -> Value {
    json!({
        "schema_version": 1,
        "name": "alice-2",
        "fingerprint": "ab".repeat(32),
        "algorithm": "ecdsa-p256",
        "created": "2026-11-01T10:20:30Z",
        "roles": [
            { "repository": "registry.example.com:5000/team/app", "role": "root" },
            { "repository": "busybox", "role": "alice" },
        ],
    })
}

/// The description with the member at `pointer` replaced, or removed.
fn changed(pointer: &str, value: Option<Value>) -> Value {
    let mut document = key_sidecar();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let members = document.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    match value {
        Some(value) => drop(members.insert(name.to_owned(), value)),
        None => drop(members.remove(name).expect("a member of that name")),
    }
    document
}

#[test]
fn key_sidecar_that_the_code_writes_fits_the_schema() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519, KeyAlgorithm::RsaPss] {
        for roles in [json!([]), key_sidecar()["roles"].clone()] {
            let document = changed("/roles", Some(roles));
            let mut sidecar = KeySidecar::parse(document.to_string().as_bytes()).unwrap();
            sidecar.algorithm = algorithm;
            let until = sidecar.created.plus_seconds(3600);
            sidecar.loaded = (algorithm == KeyAlgorithm::Ed25519)
                .then(|| LoadedKey { source: KeySource::variable("CI_KEY").unwrap(), until });
            let written: Value = serde_json::from_slice(&sidecar.to_bytes()).unwrap();
            assert!(verdict(&key_sidecar_schema(), &written));
        }
    }
}

#[test]
fn key_sidecar_schema_allows_what_the_code_reads() {
    let schema = key_sidecar_schema();
    for (pointer, value) in [
        ("/name", "a"),
        ("/name", "A.b_c-d.0"),
        ("/fingerprint", &format!("sha256:{}", "0".repeat(64))),
        ("/created", "2026-11-01T10:20:30.123Z"),
        ("/roles/0/repository", "localhost:5000/a__b/c--d"),
        ("/roles/0/repository", "Registry.example.com/app"),
        ("/roles/0/role", "timestamp"),
        ("/roles/0/role", "a role of others/\u{f6}"),
    ] {
        assert!(verdict(&schema, &changed(pointer, Some(json!(value)))), "{pointer}: {value}");
    }
    for (place, value) in
        [("variable", "_KEY_2"), ("variable", "k"), ("file", "/run/secrets/ci key"), ("file", "/")]
    {
        let loaded = json!({ place: value, "until": "2026-11-02T10:20:30.5Z" });
        assert!(verdict(&schema, &changed("/loaded", Some(loaded))), "{place}: {value}");
    }
}

#[test]
fn key_sidecar_schema_refuses_what_the_code_refuses() {
    let schema = key_sidecar_schema();
    let mut refused = vec![json!(null), json!([]), json!({}), json!("text")];
    for pointer in [
        "/schema_version",
        "/name",
        "/fingerprint",
        "/algorithm",
        "/created",
        "/roles",
        "/roles/0/repository",
        "/roles/1/role",
    ] {
        refused.push(changed(pointer, None));
        refused.push(changed(pointer, Some(json!(null))));
        refused.push(changed(pointer, Some(json!(""))));
        refused.push(changed(pointer, Some(json!(7))));
        refused.push(changed(pointer, Some(json!({}))));
    }
    for (pointer, value) in [
        ("/comment", json!("unknown member")),
        ("/secret", json!("c2VjcmV0")),
        ("/roles/0/level", json!(1)),
        ("/loaded", json!(null)),
        ("/loaded", json!({ "variable": "KEY" })),
        ("/loaded", json!({ "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "variable": "KEY", "file": "/key", "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "variable": "1KEY", "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "variable": "K=Y", "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "variable": "", "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "variable": null, "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "file": "key", "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "file": "/a\nb", "until": "2026-11-01T10:20:30Z" })),
        ("/loaded", json!({ "file": "/key", "until": "later" })),
        ("/loaded", json!({ "file": "/key", "until": "2026-11-01T10:20:30Z", "secret": "" })),
        ("/schema_version", json!(2)),
        ("/schema_version", json!("1")),
        ("/name", json!("../alice")),
        ("/name", json!("a..b")),
        ("/name", json!(".alice")),
        ("/name", json!("a/b")),
        ("/name", json!("a b")),
        ("/name", json!("a".repeat(65))),
        ("/fingerprint", json!("AB".repeat(32))),
        ("/fingerprint", json!("ab".repeat(31))),
        ("/fingerprint", json!(format!("sha512:{}", "ab".repeat(32)))),
        ("/algorithm", json!("ecdsa-p384")),
        ("/algorithm", json!("ED25519")),
        ("/created", json!("2026-11-01")),
        ("/created", json!("2026-11-01T10:20:30+00:00")),
        ("/created", json!("2026-11-01 10:20:30Z")),
        ("/roles", json!(["root"])),
        ("/roles/0/repository", json!("registry.example.com/../app")),
        ("/roles/0/repository", json!("/app")),
        ("/roles/0/repository", json!("registry.example.com/App")),
        ("/roles/0/repository", json!("registry.example.com/app:v1")),
        ("/roles/0/repository", json!("a".repeat(256))),
        ("/roles/0/role", json!("a\nb")),
        ("/roles/0/role", json!("a".repeat(257))),
    ] {
        refused.push(changed(pointer, Some(value)));
    }
    for document in refused {
        assert!(!verdict(&schema, &document), "{document}");
    }
}
