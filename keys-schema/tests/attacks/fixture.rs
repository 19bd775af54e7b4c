//! One attack as a file: all that a client knows, is served and must say.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::verify::Pin;
use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::support::{Client, Files};

/// White space at the end from which on a document is written in two parts.
const PADDING: usize = 64;

/// Where the files are.
pub fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/attacks"))
}

/// The text of a file.
pub fn write(rules: &str, client: &Client, error: &str) -> String {
    let mut members = json!({
        "rules": rules,
        "now": client.now.to_string(),
        "last_accepted": client.last_accepted.map(|time| time.to_string()),
        "repository": client.repository.as_str(),
        "pin_is_for_many": client.named,
        "pin": write_pin(&client.pin),
        "first_root": write_bytes(&client.first_root),
        "stored": write_files(&client.stored),
        "served": write_files(&client.served),
        "target": client.target,
        "target_bytes": write_bytes(&client.target_bytes),
        "error": error,
    });
    if client.last_accepted.is_none() {
        members.as_object_mut().unwrap().remove("last_accepted");
    }
    format!("{members:#}\n")
}

/// What a file says: the client, and the error.
pub fn read(text: &str) -> (Client, String) {
    let file: Value = serde_json::from_str(text).unwrap();
    let client = Client {
        pin: read_pin(&file["pin"]),
        first_root: read_bytes(&file["first_root"]),
        now: file["now"].as_str().unwrap().parse().unwrap(),
        last_accepted: file["last_accepted"].as_str().map(|time| time.parse().unwrap()),
        stored: read_files(&file["stored"]),
        served: read_files(&file["served"]),
        repository: file["repository"].as_str().unwrap().parse().unwrap(),
        named: file["pin_is_for_many"].as_bool().unwrap(),
        target: file["target"].as_str().unwrap().to_owned(),
        target_bytes: read_bytes(&file["target_bytes"]),
    };
    (client, file["error"].as_str().unwrap().to_owned())
}

fn write_pin(pin: &Pin) -> Value {
    match pin {
        Pin::Digest(digest) => json!({ "digest": digest.to_string() }),
        Pin::Keys { fingerprints, threshold } => {
            let keys: Vec<String> = fingerprints.iter().map(ToString::to_string).collect();
            json!({ "keys": keys, "threshold": threshold.get() })
        }
    }
}

fn read_pin(value: &Value) -> Pin {
    if let Some(digest) = value["digest"].as_str() {
        return Pin::Digest(digest.parse::<Sha256Digest>().unwrap());
    }
    let keys = value["keys"].as_array().unwrap().iter();
    Pin::Keys {
        fingerprints: keys.map(|key| key.as_str().unwrap().parse().unwrap()).collect(),
        threshold: Threshold::new(value["threshold"].as_u64().unwrap()).unwrap(),
    }
}

fn write_files(files: &Files) -> Value {
    Value::Object(files.iter().map(|(name, bytes)| (name.clone(), write_bytes(bytes))).collect())
}

fn read_files(value: &Value) -> Files {
    let files = value.as_object().unwrap();
    files.iter().map(|(name, bytes)| (name.clone(), read_bytes(bytes))).collect()
}

/// Text as it is, anything else in base64, and a long end of white space as its length.
fn write_bytes(bytes: &Bytes) -> Value {
    let Ok(text) = str::from_utf8(bytes) else { return json!({ "base64": STANDARD.encode(bytes) }) };
    let start = text.trim_end_matches(' ');
    let spaces = text.len() - start.len();
    if spaces < PADDING { json!(text) } else { json!({ "text": start, "spaces": spaces }) }
}

fn read_bytes(value: &Value) -> Bytes {
    let empty = Map::new();
    let members = value.as_object().unwrap_or(&empty);
    let spaces = members.get("spaces").and_then(Value::as_u64).unwrap_or(0);
    let text = value.as_str().or_else(|| members.get("text")?.as_str());
    match (text, members.get("base64")) {
        (Some(text), None) => (text.to_owned() + &" ".repeat(spaces.try_into().unwrap())).into(),
        (None, Some(base64)) => STANDARD.decode(base64.as_str().unwrap()).unwrap().into(),
        _ => panic!("neither text nor base64: {value}"),
    }
}
