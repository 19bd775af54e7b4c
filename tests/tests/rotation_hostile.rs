//! Roots that somebody makes who holds some of the keys: the server takes none of them, in either
//! mode, and serves on what was there.

use bulla_keys_schema::author::{Draft, RoleSpec, RootEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Certificate, Passphrase, SealedKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{KeyEntry, Root, Threshold, TopLevelRole};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{RawMetadata, Verified};
use bulla_keys_schema::wire::{Head, IDEMPOTENCY_KEY};
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::programs::{Bullad, expect};
use bytes::Bytes;
use reqwest::multipart::{Form, Part};

const NAME: &str = "registry.test:5000/demo/attacked";

#[tokio::test(flavor = "multi_thread")]
async fn no_such_root_in_spec_mode() {
    attack("spec").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_such_root_in_legacy_mode() {
    attack("legacy").await;
}

async fn attack(mode: &str) {
    let site = Site::begin(mode);
    // The first root is succeeded by one with two keys, of which both must sign.
    let keys = ["--add", "second", "--threshold", "2"];
    let first = site.root("1.root.json").await;
    expect(&site.admin, 0, &[&["rotate", NAME, "root"], &keys[..]].concat());
    let current = site.root("root.json").await;
    assert_eq!((current.version().get(), current.payload().root.threshold.get()), (2, 2));
    let [root, second, thief] = ["root", "second", "thief"].map(|name| site.secret(name));

    let thiefs = site.next(&current, &[&thief], 1);
    let both = site.next(&current, &[&root, &second, &thief], 2);
    let mut doubled = site.next(&current, &[&root, &second], 2);
    // One key under two ids.
    let id = doubled.root.key_ids.first().unwrap().clone();
    let twin: bulla_keys_schema::key::KeyId = format!("{}00", id.as_str()).parse().unwrap();
    doubled.keys.insert(twin.clone(), doubled.keys[&id].clone());
    doubled.root.key_ids = vec![id, twin];
    let mut skipping = site.next(&current, &[&root, &second], 2);
    skipping.version = skipping.version.next().unwrap();
    let old = current.payload();
    let unsigned_by_old = site.signed(&thiefs, &[&thief], &[&thiefs]);
    let unsigned_by_new = site.signed(&thiefs, &[&root, &second], &[old]);
    let half = site.signed(&both, &[&root, &thief], &[old, &both]);
    let twice = site.signed(&doubled, &[&root, &second], &[old, &doubled]);
    let skips = site.signed(&skipping, &[&root, &second], &[old, &skipping]);
    let replayed_first = first.bytes().clone();
    let replayed = current.bytes().clone();
    for (attack, version, bytes) in [
        ("signed by its own keys only", 3, unsigned_by_old),
        ("signed by the keys before only", 3, unsigned_by_new),
        ("signed by one of two keys before", 3, half),
        ("threshold met by one key under two ids", 3, twice),
        ("skips a version", 4, skips),
        ("the first root again", 1, replayed_first),
        ("the current root again", 2, replayed),
    ] {
        let status = site.publish(version, bytes).await;
        assert!((400..500).contains(&status), "{mode}: {attack}: {status}");
        assert_eq!(site.root("root.json").await.digest(), current.digest(), "{mode}: {attack}");
        expect(&site.reader, 0, &["resolve", &image("1")]);
    }
    // What an honest owner does next is not in the way of anything.
    expect(&site.admin, 0, &["rotate", NAME, "root"]);
    assert_eq!(site.root("root.json").await.version().get(), 3);
    expect(&site.reader, 0, &["resolve", &image("1")]);
}

struct Site {
    server: Bullad,
    admin: Cli,
    reader: Cli,
    http: reqwest::Client,
    dialect: Dialect,
    _folder: tempfile::TempDir,
}

impl Site {
    fn begin(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let (admin, reader) = (server.user(), server.user());
        for key in ["root", "second", "thief", "targets"] {
            expect(&admin, 0, &["key", "generate", key]);
        }
        expect(&admin, 0, &["init", NAME, "--mode", mode]);
        expect(&admin, 0, &["sign", &image("1"), "--size", "1"]);
        let digest = expect(&admin, 0, &["inspect", NAME]).json()["root_sha256"].as_str().unwrap().to_owned();
        expect(&reader, 0, &["trust", "add", NAME, "--mode", mode, "--root-sha256", &digest]);
        let authority = reqwest::Certificate::from_pem(&std::fs::read(&server.ca_cert).unwrap()).unwrap();
        let http = reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().unwrap();
        let dialect = if mode == "legacy" { Dialect::Notary1 } else { Dialect::Tuf1 };
        Self { server, admin, reader, http, dialect, _folder: folder }
    }

    fn secret(&self, name: &str) -> SecretKey {
        let text = std::fs::read_to_string(self.admin.home(&format!("keys/{name}.key"))).unwrap();
        SealedKey::parse(&text).unwrap().open(&Passphrase::new(PASSPHRASE.to_owned())).unwrap()
    }

    /// The root after `before` with these keys.
    fn next(&self, before: &Verified<Root>, keys: &[&SecretKey], threshold: u64) -> Root {
        let mut edit = RootEdit::next(self.dialect, before.payload(), before.expires()).unwrap();
        let keys = keys.iter().map(|key| self.entry(key)).collect();
        let spec = RoleSpec { keys, threshold: Threshold::new(threshold).unwrap() };
        edit.set_role(TopLevelRole::Root, &spec).unwrap();
        edit.finish()
    }

    fn entry(&self, key: &SecretKey) -> KeyEntry {
        if self.dialect == Dialect::Tuf1 {
            return KeyEntry::new(key.public_key().clone());
        }
        let now = UtcTime::from_unix_seconds(jiff::Timestamp::now().as_second()).unwrap();
        let (from, until) = (now.plus_seconds(-60), now.plus_seconds(24 * 3600));
        KeyEntry::certified(Certificate::self_signed(key, NAME, [7; 16], from, until).unwrap())
    }

    /// `root` with a signature of each signer for every id that one of `delegators` gives it.
    fn signed(&self, root: &Root, signers: &[&SecretKey], delegators: &[&Root]) -> Bytes {
        let signers: Vec<&dyn Signer> = signers.iter().map(|key| *key as &dyn Signer).collect();
        let mut keys = root.root.clone();
        keys.key_ids.clear();
        let mut table = root.keys.clone();
        for delegator in delegators {
            keys.key_ids.extend(delegator.root.key_ids.clone());
            table.extend(delegator.keys.clone());
        }
        Draft::new(self.dialect, root.clone()).sign_to_seal(&signers, &keys, &table).unwrap().into_bytes()
    }

    async fn publish(&self, version: u64, root: Bytes) -> u16 {
        let part = Part::bytes(root.to_vec());
        let request = match self.dialect {
            Dialect::Notary1 => {
                let form = Form::new().part("files", part.file_name("root"));
                self.http.post(format!("{}/v2/{NAME}/_trust/tuf/", self.server.url)).multipart(form)
            }
            Dialect::Tuf1 => {
                let api = |what: &str| format!("{}/api/v1/repositories/{NAME}/{what}", self.server.url);
                let head: Head = self.http.get(api("head")).send().await.unwrap().json().await.unwrap();
                let operation = hex::encode(&Sha256Digest::of(&root).as_bytes()[..16]);
                let form = Form::new().part("metadata", part.file_name(format!("{version}.root.json")));
                let request =
                    self.http.post(api("publish")).header("if-match", format!("\"{}\"", head.token));
                request.header(IDEMPOTENCY_KEY, operation).multipart(form)
            }
        };
        request.send().await.unwrap().status().as_u16()
    }

    async fn root(&self, file: &str) -> Verified<Root> {
        let url = match self.dialect {
            Dialect::Notary1 => format!("{}/v2/{NAME}/_trust/tuf/{file}", self.server.url),
            Dialect::Tuf1 => format!("{}/tuf/{NAME}/metadata/{file}", self.server.url),
        };
        let answer = self.http.get(url).send().await.unwrap().error_for_status().unwrap();
        RawMetadata::new(self.dialect, answer.bytes().await.unwrap()).verify_first().unwrap()
    }
}

fn image(tag: &str) -> String {
    format!("{NAME}:{tag}@{}", Sha256Digest::of(tag.as_bytes()).to_oci())
}
