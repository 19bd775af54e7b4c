//! Keys and certificates that notary made, and what other programs make of ours.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a test may panic, reads files, starts other programs, and says what it skips"
)]

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{
    Certificate, InvalidKeyFile, KeyAlgorithm, KeyFile, KeyFileContent, NotaryKeyLabels, OpenError,
    Passphrase, Protection, PublicKey, SecretKey, write_notary_key, write_pkcs8_key,
};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use zeroize::Zeroizing;

/// The passphrases of the two fixtures. Their README names the first for both.
const PASSPHRASES: [(&str, &str); 2] = [("notary0.1", "randompass"), ("notary0.3", "password")];

fn fixtures() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/notary-v1/compatibility");
    if !folder.is_dir() {
        skip(&format!("no {}", folder.display()));
        return None;
    }
    Some(folder)
}

fn skip(why: &str) {
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{why}");
    eprintln!("SKIPPED: {why}");
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

/// Notary's id of a key, whatever it is wrapped in: the digest of its canonical JSON.
fn notary_id(key: &PublicKey) -> String {
    let (keytype, public) = match key.algorithm() {
        KeyAlgorithm::EcdsaP256 => ("ecdsa", key.to_spki_der().to_vec()),
        KeyAlgorithm::RsaPss => ("rsa", key.to_spki_der().to_vec()),
        KeyAlgorithm::Ed25519 => ("ed25519", key.ed25519_bytes().unwrap().to_vec()),
    };
    let public = STANDARD.encode(public);
    let json = format!(r#"{{"keytype":"{keytype}","keyval":{{"private":null,"public":"{public}"}}}}"#);
    Sha256Digest::of(json.as_bytes()).to_string()
}

#[test]
fn every_private_key_is_the_one_that_its_name_says() {
    let Some(folder) = fixtures() else { return };
    let (mut opened, mut refused) = (0, 0);
    let keys = |(fixture, right): (&str, &'static str)| {
        files(&folder.join(fixture), "key").into_iter().map(move |path| (path, right))
    };
    for (path, right) in PASSPHRASES.into_iter().flat_map(keys) {
        let shown = path.display();
        let file = match KeyFile::parse(&fs::read_to_string(&path).unwrap()) {
            Ok(file) => file,
            Err(error) => {
                assert_eq!(error, InvalidKeyFile::Pkcs1 { bits: None }, "{shown}");
                refused += 1;
                continue;
            }
        };
        assert_eq!((file.protection, file.gun), (Protection::Md5, None), "{shown}");
        let KeyFileContent::Encrypted(key) = file.content else { panic!("{shown} is in the clear") };
        let secret = key.open(&passphrase(right)).unwrap_or_else(|error| panic!("{shown}: {error}"));
        let (id, role) = match path.file_stem().unwrap().to_str().unwrap().split_once('_') {
            // The layout of 0.1 has the role in the name.
            Some((id, _)) => (id.to_owned(), None),
            None => (path.file_stem().unwrap().to_str().unwrap().to_owned(), file.role),
        };
        assert_eq!(notary_id(secret.public_key()), id, "{shown}");
        assert!(role.is_none_or(|role| ["root", "targets", "snapshot"].contains(&&*role)), "{shown}");
        assert_eq!(key.open(&passphrase("wrong")).err(), Some(OpenError::WrongPassphrase), "{shown}");
        opened += 1;
    }
    assert_eq!((opened, refused), (6, 1));
}

/// The certificate of each fixture's root, with what it must say.
#[test]
fn root_certificates_are_those_of_their_repository() {
    let Some(folder) = fixtures() else { return };
    for (root, gun, key, until) in [
        (
            "notary0.1/tuf/docker.com/notary0.1/samplerepo/metadata/root.json",
            "docker.com/notary0.1/samplerepo",
            "d0c623c8e70c70d42a8a8125c44a8598588b3f6e31d5c21a83cbc338dfde8a68",
            "2116-02-05T00:58:57Z",
        ),
        (
            "notary0.3/tuf/docker.com/notary0.3/tst/metadata/root.json",
            "docker.com/notary0.3/tst",
            "f4eaf871a74aa3b3a0ff95cef2455a1e4d461639f5625418e76756fc5c948690",
            "2026-07-25T22:56:32Z",
        ),
    ] {
        let text = certificates_in(&folder.join(root)).pop().unwrap();
        let certificate = Certificate::from_pem_bundle(&text).unwrap();
        assert_eq!(certificate.pem(), text);
        assert!(certificate.names(&gun.parse().unwrap()), "{gun}");
        assert_eq!(notary_id(certificate.public_key()), key);
        let until: UtcTime = until.parse().unwrap();
        assert_eq!(certificate.not_after(), until);
        assert!(certificate.is_valid_at(until) && !certificate.is_valid_at(until.plus_seconds(1)));
    }
}

/// A certificate of version 1 without extensions, as `openssl x509 -req` makes them.
#[test]
fn a_delegations_certificate_is_read() {
    let Some(folder) = fixtures() else { return };
    let targets = folder.join("notary0.3/tuf/docker.com/notary0.3/tst/metadata/targets.json");
    let text = certificates_in(&targets).pop().unwrap();
    let certificate = Certificate::from_delegation_pem(&text).unwrap();
    let id = "fa842f66cac2dc898677a8660789dcff0e3b0b93b73f8952491f6493199936d3";
    assert_eq!(notary_id(certificate.public_key()), id);
    assert_eq!(certificate.common_name(), "avaid96");
}

fn certificates_in(document: &Path) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_slice(&fs::read(document).unwrap()).unwrap();
    let signed = &document["signed"];
    let keys = signed.get("keys").unwrap_or_else(|| &signed["delegations"]["keys"]).as_object().unwrap();
    let wrapped = keys.values().filter(|key| key["keytype"].as_str().unwrap().ends_with("-x509"));
    let text = |key: &serde_json::Value| STANDARD.decode(key["keyval"]["public"].as_str().unwrap()).unwrap();
    wrapped.map(|key| String::from_utf8(text(key)).unwrap()).collect()
}

fn secret() -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &Zeroizing::new([5; 32])).unwrap()
}

/// What `openssl` prints, given `input`; `None` where there is none.
fn openssl(args: &[&str], input: &str) -> Option<String> {
    let started = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut child) = started else {
        skip("no openssl; hint: apt-get install openssl");
        return None;
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn openssl_reads_our_certificates() {
    let gun = "registry.example.com:5000/team/app";
    let [from, until] = ["2026-01-02T03:04:05Z", "2116-01-02T03:04:05Z"].map(|date| date.parse().unwrap());
    let made = Certificate::self_signed(&secret(), gun, [0xf0; 16], from, until).unwrap();
    let Some(text) = openssl(&["x509", "-noout", "-text", "-pubkey"], made.pem()) else { return };
    for expected in [
        "Version: 3 (0x2)",
        "Signature Algorithm: ecdsa-with-SHA256",
        "Not Before: Jan  2 03:04:05 2026 GMT",
        "Not After : Jan  2 03:04:05 2116 GMT",
        "X509v3 Key Usage: critical\n                Digital Signature, Key Encipherment\n",
        "X509v3 Extended Key Usage: \n                Code Signing\n",
        "X509v3 Basic Constraints: critical\n                CA:FALSE\n",
        &secret().public_key().to_pem(),
    ] {
        assert!(text.contains(expected), "{expected}\n{text}");
    }
    for line in ["Issuer:", "Subject:"] {
        let named = text.lines().find(|found| found.trim_start().starts_with(line)).unwrap();
        assert!(named.replace(' ', "").ends_with(&format!("CN={gun}")), "{named}");
    }
    assert!(text.contains(&["f0"; 16].join(":")) && !text.contains("Negative"), "{text}");
    assert_eq!(text.matches("X509v3").count(), 4, "three extensions and their heading: {text}");
    // Trusted by itself, it verifies: its own signature is right.
    let file = std::env::temp_dir().join(format!("bulla-{}.pem", std::process::id()));
    fs::write(&file, made.pem()).unwrap();
    let verified = openssl(
        &[
            "verify",
            "-check_ss_sig",
            "-partial_chain",
            "-attime",
            "1800000000",
            "-trusted",
            file.to_str().unwrap(),
        ],
        made.pem(),
    );
    fs::remove_file(&file).unwrap();
    assert_eq!(verified.as_deref().map(str::trim), Some("stdin: OK"));
}

#[test]
fn openssl_opens_the_key_files_that_we_write_for_notary() {
    let labels = NotaryKeyLabels { role: &RoleName::Root, gun: None, path: None };
    let text = write_notary_key(&secret(), &passphrase("correct horse"), labels, [7; 8], [9; 16]);
    // It takes headers for encryption of its own (notary-v1 keys are not made for it).
    let plain = text.replace("role: root\n\n", "");
    let args = ["pkcs8", "-passin", "pass:correct horse"];
    let Some(opened) = openssl(&args, &plain) else { return };
    let file = KeyFile::parse(&opened).unwrap();
    let KeyFileContent::Open(key) = file.content else { panic!("still encrypted") };
    assert_eq!(key.public_key(), secret().public_key());
}

#[test]
fn openssl_opens_the_key_files_that_we_write_for_it() {
    for algorithm in [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519] {
        let secret = SecretKey::from_seed(algorithm, &Zeroizing::new([5; 32])).unwrap();
        let text = write_pkcs8_key(&secret, &passphrase("correct horse"), [7; 16], [9; 16]);
        let args = ["pkey", "-passin", "pass:correct horse", "-pubout"];
        let Some(public) = openssl(&args, &text) else { return };
        assert_eq!(public, secret.public_key().to_pem(), "{algorithm}");
    }
}

/// The same length, the same parameters and headers as in a file of Debian's notary.
#[test]
fn our_key_files_look_like_those_of_notary() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/notary-keys/notary-root.pem");
    let theirs = fs::read_to_string(path).unwrap();
    let labels = NotaryKeyLabels { role: &RoleName::Root, gun: None, path: None };
    let ours = write_notary_key(&secret(), &passphrase("correct horse"), labels, [7; 8], [9; 16]);
    let head = |text: &str| text.lines().take(3).collect::<Vec<_>>().join("\n");
    assert_eq!(head(&ours), head(&theirs));
    let body = |text: &str| {
        let lines: String = text.lines().skip(3).filter(|line| !line.starts_with('-')).collect();
        STANDARD.decode(lines).unwrap()
    };
    let (ours, theirs) = (body(&ours), body(&theirs));
    assert_eq!(ours.len(), theirs.len());
    // All but salt, IV and ciphertext.
    for part in [0..35, 43..62, 78..81] {
        assert_eq!(ours[part.clone()], theirs[part.clone()], "{part:?}");
    }
    assert_eq!((&ours[35..43], &ours[62..78]), (&[7; 8][..], &[9; 16][..]));
}

/// Debian's notary, which opens what it lists when it changes a passphrase; `None` where
/// there is none.
fn notary() -> Option<PathBuf> {
    let program = std::env::var_os("BULLA_PEERS_DEBIAN").map(PathBuf::from);
    let program = program.map(|folder| folder.join("bookworm/usr/bin/notary")).filter(|path| path.is_file());
    if program.is_none() {
        skip("no notary; hint: source .ci/peers");
    }
    program
}

#[test]
fn notary_uses_the_key_files_that_we_write() {
    let Some(program) = notary() else { return };
    let folder = std::env::temp_dir().join(format!("bulla-notary-keys-{}", std::process::id()));
    fs::create_dir_all(folder.join("private")).unwrap();
    let alice = "alice".parse().unwrap();
    for (algorithm, role) in [(KeyAlgorithm::EcdsaP256, &RoleName::Root), (KeyAlgorithm::Ed25519, &alice)] {
        let secret = SecretKey::from_seed(algorithm, &Zeroizing::new([5; 32])).unwrap();
        let labels = NotaryKeyLabels { role, gun: None, path: None };
        let written = write_notary_key(&secret, &passphrase("correct horse"), labels, [7; 8], [9; 16]);
        let id = notary_id(secret.public_key());
        let path = folder.join(format!("private/{id}.key"));
        fs::write(&path, &written).unwrap();
        let change = |passphrase: &str| {
            Command::new(&program)
                .args(["-d", folder.to_str().unwrap(), "key", "passwd", &id])
                .env("NOTARY_ROOT_PASSPHRASE", passphrase)
                .env("NOTARY_DELEGATION_PASSPHRASE", passphrase)
                .stdin(Stdio::null())
                .output()
                .unwrap()
        };
        assert!(!change("wrong horse").status.success(), "{algorithm}");
        assert_eq!(fs::read_to_string(&path).unwrap(), written);
        let changed = change("correct horse");
        assert!(changed.status.success(), "{algorithm}: {}", String::from_utf8_lossy(&changed.stdout));
        // It wrote the file anew, with a salt of its own.
        let rewritten = fs::read_to_string(&path).unwrap();
        assert_ne!(rewritten, written);
        assert_eq!(rewritten.len(), written.len());
        let file = KeyFile::parse(&rewritten).unwrap();
        assert_eq!(file.role.as_deref(), Some(role.as_str()));
        let KeyFileContent::Encrypted(key) = file.content else { panic!("in the clear") };
        assert_eq!(key.open(&passphrase("correct horse")).unwrap().public_key(), secret.public_key());
    }
    fs::remove_dir_all(&folder).unwrap();
}
