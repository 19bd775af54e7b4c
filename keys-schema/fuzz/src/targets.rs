//! One function per parser of what comes from outside. Each returns whether its parser took
//! the bytes, and panics when what it took breaks a promise: whatever was read can be
//! written, and reads the same again.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use bulla_keys_schema::canonical::canonical;
use bulla_keys_schema::dialect::{Dialect, Document, Envelope, tuf1};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::key::{Fingerprint, KeyAlgorithm, KeyId, KeySidecar, PublicKey, SealedKey, SecretKey};
use bulla_keys_schema::metadata;
use bulla_keys_schema::names::{ImageRef, PathPattern, RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::time::UtcTime;

/// A function of this room.
pub type Target = fn(&[u8]) -> bool;

/// All of them, by name.
pub const ALL: [(&str, Target); 18] = [
    ("envelope", envelope),
    ("file_name", file_name),
    ("image_ref", image_ref),
    ("json", json),
    ("key_ids", key_ids),
    ("key_sidecar", key_sidecar),
    ("path_pattern", path_pattern),
    ("public_key_pem", public_key_pem),
    ("public_key_raw", public_key_raw),
    ("public_key_spki", public_key_spki),
    ("repository_name", repository_name),
    ("root", root),
    ("sealed_key", sealed_key),
    ("secret_key_pkcs8", secret_key_pkcs8),
    ("snapshot", snapshot),
    ("targets", targets),
    ("timestamp", timestamp),
    ("utc_time", utc_time),
];

/// Strict JSON and its canonical form.
pub fn json(data: &[u8]) -> bool {
    let Ok(value) = Json::parse(data) else { return false };
    let again = Json::parse(&value.to_wire()).expect("the wire form is JSON");
    assert_eq!(again, value);
    assert_eq!(canonical(&again), canonical(&value));
    true
}

/// The envelope around every metadata document.
pub fn envelope(data: &[u8]) -> bool {
    let Ok(envelope) = Envelope::parse(Dialect::Tuf1, data) else { return false };
    let signed = signed_member(data).expect("an envelope has a signed object");
    assert_eq!(envelope.signed_bytes(), canonical(&Json::Object(signed.clone())));
    let written = Envelope::write(Dialect::Tuf1, signed, envelope.signatures());
    let again = Envelope::parse(Dialect::Tuf1, &written).expect("a written envelope");
    assert_eq!(again.signed_bytes(), envelope.signed_bytes());
    assert_eq!(again.signatures(), envelope.signatures());
    true
}

/// Root documents.
pub fn root(data: &[u8]) -> bool {
    document::<metadata::Root>(data)
}

/// Targets documents, delegated ones too.
pub fn targets(data: &[u8]) -> bool {
    document::<metadata::Targets>(data)
}

/// Snapshot documents.
pub fn snapshot(data: &[u8]) -> bool {
    document::<metadata::Snapshot>(data)
}

/// Timestamp documents.
pub fn timestamp(data: &[u8]) -> bool {
    document::<metadata::Timestamp>(data)
}

/// Names of metadata files in URLs.
pub fn file_name(data: &[u8]) -> bool {
    let Some((version, role)) = text(data).and_then(tuf1::parse_file_name) else { return false };
    if let Some(version) = version.filter(|_| role != RoleName::Timestamp) {
        let written = tuf1::file_name(&role, version, true);
        assert!(!written.contains(['/', '\\']), "{written}");
        assert_eq!(tuf1::parse_file_name(&written), Some((Some(version), role)));
    }
    true
}

/// Key files with a passphrase, as far as they are read without it.
pub fn sealed_key(data: &[u8]) -> bool {
    let Some(Ok(sealed)) = text(data).map(SealedKey::parse) else { return false };
    assert_eq!(SealedKey::parse(&sealed.to_pem()).as_ref(), Ok(&sealed));
    true
}

/// What is found inside of sealed keys.
pub fn secret_key_pkcs8(data: &[u8]) -> bool {
    let Ok(key) = SecretKey::from_pkcs8_der(data) else { return false };
    assert_eq!(key.public_key().verify(data, &key.sign(data)), Ok(()));
    let again = SecretKey::from_pkcs8_der(&key.to_pkcs8_der()).expect("a written key");
    assert_eq!(again.public_key(), key.public_key());
    true
}

/// Descriptions of key files.
pub fn key_sidecar(data: &[u8]) -> bool {
    let Ok(sidecar) = KeySidecar::parse(data) else { return false };
    let written = sidecar.to_bytes();
    let again = KeySidecar::parse(&written).expect("a written description");
    assert_eq!(again.to_bytes(), written);
    true
}

/// Public keys in DER.
pub fn public_key_spki(data: &[u8]) -> bool {
    PublicKey::from_spki_der(data).is_ok_and(|key| public_key(&key, data))
}

/// Public keys in PEM.
pub fn public_key_pem(data: &[u8]) -> bool {
    let key = text(data).map(PublicKey::from_pem);
    key.is_some_and(|key| key.is_ok_and(|key| public_key(&key, data)))
}

/// Public keys as bare points, and signatures by them.
pub fn public_key_raw(data: &[u8]) -> bool {
    let (point, signature) = data.split_at(data.len().min(65));
    let ed25519 = data.first_chunk().map(PublicKey::from_ed25519_bytes);
    let compressed = data.first_chunk::<33>().map(|point| PublicKey::from_p256_sec1(point));
    let keys = [ed25519, compressed, Some(PublicKey::from_p256_sec1(point))];
    let accepted = keys.into_iter().flatten().flatten();
    accepted.filter(|key| public_key(key, signature)).count() > 0
}

/// Identifiers of keys.
pub fn key_ids(data: &[u8]) -> bool {
    let parsed =
        [round_trip::<KeyId>(data), round_trip::<Fingerprint>(data), round_trip::<KeyAlgorithm>(data)];
    parsed.contains(&true)
}

/// Image references as people type them.
pub fn image_ref(data: &[u8]) -> bool {
    round_trip::<ImageRef>(data)
}

/// Names of repositories, which become paths.
pub fn repository_name(data: &[u8]) -> bool {
    let accepted = round_trip::<RepositoryName>(data);
    if let Some(name) = text(data).filter(|_| accepted) {
        assert!(!name.split('/').any(|part| matches!(part, "" | "." | "..")), "{name}");
    }
    accepted
}

/// Dates.
pub fn utc_time(data: &[u8]) -> bool {
    let Some(Ok(time)) = text(data).map(str::parse::<UtcTime>) else { return false };
    let whole: UtcTime = time.to_string().parse().expect("a written date");
    // Before 1970 a fraction is dropped to either side, and nothing was signed.
    if time.unix_seconds() >= 0 {
        assert_eq!(whole.unix_seconds(), time.unix_seconds());
    }
    assert!(time.plus_seconds(i64::MIN) <= time.plus_seconds(i64::MAX));
    true
}

/// Patterns, and paths that follow them after a line feed.
pub fn path_pattern(data: &[u8]) -> bool {
    let Some((pattern, path)) = text(data).and_then(|text| text.split_once('\n')) else { return false };
    let (Ok(pattern), Ok(path)) = (pattern.parse::<PathPattern>(), path.parse::<TargetPath>()) else {
        return false;
    };
    if pattern.matches(&path) {
        let parts = |text: &str| text.split('/').count();
        assert_eq!(parts(pattern.as_str()), parts(path.as_str()), "{pattern} {path}");
    }
    true
}

fn text(data: &[u8]) -> Option<&str> {
    std::str::from_utf8(data).ok()
}

fn round_trip<T: FromStr + Display + PartialEq + Debug>(data: &[u8]) -> bool {
    let Some(Ok(value)) = text(data).map(T::from_str) else { return false };
    let again = T::from_str(&value.to_string()).ok().expect("what was written can be read");
    assert_eq!(again, value);
    true
}

fn public_key(key: &PublicKey, signature: &[u8]) -> bool {
    assert_eq!(PublicKey::from_spki_der(key.to_spki_der()).as_ref(), Ok(key));
    assert_eq!(PublicKey::from_pem(&key.to_pem()).map(|key| key.fingerprint()), Ok(key.fingerprint()));
    // Whether it verifies is up to the bytes. That it answers is what counts.
    let _ = key.verify(b"message", signature);
    true
}

fn signed_member(data: &[u8]) -> Option<Object> {
    Json::parse(data).ok()?.as_object()?.get("signed")?.as_object().cloned()
}

fn document<D: Document>(data: &[u8]) -> bool {
    let Some(Ok(document)) = signed_member(data).map(|signed| D::decode(Dialect::Tuf1, &signed)) else {
        return false;
    };
    let written = document.encode(Dialect::Tuf1);
    let again = D::decode(Dialect::Tuf1, &written).expect("a written document");
    assert_eq!(again.encode(Dialect::Tuf1), written);
    assert_eq!(again.version(), document.version());
    true
}
