//! A signer's key is stolen. The thief in the drill signs with `bulla`, which looks before it signs; the
//! one here sends what he signed without looking.

use bulla_keys_schema::author::{Draft, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Passphrase, SealedKey, SecretKey};
use bulla_keys_schema::metadata::{KeyEntry, KeyTable, RoleKeys, Targets, Threshold};
use bulla_keys_schema::verify::{Floor, Pin, RootChain};
use bulla_keys_schema::wire::IDEMPOTENCY_KEY;
use bulla_tests::cli::PASSPHRASE;
use bytes::Bytes;
use reqwest::multipart::{Form, Part};
use reqwest::{Client, Response};

use crate::drill::Mode;
use crate::site::{Site, manifest, now};

/// How long the thief's documents are valid, in seconds.
const LIFETIME: i64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_signer_key() {
    signer_key_is_stolen(Mode::Spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_signer_key_in_legacy_mode() {
    signer_key_is_stolen(Mode::Legacy).await;
}

async fn signer_key_is_stolen(mode: Mode) {
    let mut site = Site::new("stolen-signer-key.md", mode);
    site.through("Rehearsal");
    let watchers = site.watchers().await;
    watchers.see(&site, "6.6").await;
    let mut thief = Thief::of(&site, mode).await;
    let accepted = thief.upload(&site, "6.5").await;
    assert_eq!(accepted.status(), 200, "while the key is good: {}", accepted.text().await.unwrap());

    site.through("3. ");
    let refused = thief.upload(&site, "6.7").await;
    let (status, text) = (refused.status(), refused.text().await.unwrap());
    assert!(status.is_client_error() && text.contains("alice"), "{status} {text}");
    site.through("5. ");
    for tag in ["1.0", "1.1"] {
        watchers.see(&site, tag).await;
    }
    for tag in ["6.5", "6.6", "6.7"] {
        watchers.miss(&site, tag).await;
    }
    site.finish();
    watchers.see(&site, "1.2").await;
    site.watchers().await.see(&site, "1.2").await;
    watchers.miss(&site, "6.6").await;
    let refused = thief.upload(&site, "6.7").await;
    assert!(refused.status().is_client_error(), "Alice's role is back, with another key: {refused:?}");
    watchers.miss(&site, "6.7").await;
}

/// Has Alice's key, and her document as it was when he stole it.
struct Thief {
    dialect: Dialect,
    http: Client,
    key: SecretKey,
    document: Targets,
}

impl Thief {
    async fn of(site: &Site, mode: Mode) -> Self {
        let dialect = if mode == Mode::Spec { Dialect::Tuf1 } else { Dialect::Notary1 };
        let sealed = std::fs::read_to_string(site.path("people/the-thief/.bulla/keys/alice.key")).unwrap();
        let sealed = SealedKey::parse(&sealed).unwrap();
        let key = sealed.open(&Passphrase::new(PASSPHRASE.to_owned())).unwrap();
        let http = site.http();
        let document = alices(site, dialect).await;
        Self { dialect, http, key, document }
    }

    /// Sends the next version of Alice's document, with one more tag.
    async fn upload(&mut self, site: &Site, tag: &str) -> Response {
        let expires = now().plus_seconds(LIFETIME);
        let mut edit = TargetsEdit::next(self.dialect, &self.document, expires).unwrap();
        let bytes = manifest(tag);
        edit.sign_target(&tag.parse().unwrap(), Sha256Digest::of(&bytes), bytes.len() as u64, now());
        self.document = edit.finish();
        let id = self.dialect.key_id(self.key.public_key(), None);
        let table = KeyTable::from([(id.clone(), KeyEntry::new(self.key.public_key().clone()))]);
        let keys = RoleKeys { key_ids: vec![id], threshold: Threshold::ONE };
        let signed =
            Draft::new(self.dialect, self.document.clone()).sign_to_seal(&[&self.key], &keys, &table);
        let part = Part::bytes(signed.unwrap().into_bytes().to_vec());
        let (server, name) = (&site.server().url, &site.name);
        if self.dialect == Dialect::Notary1 {
            let part = part.file_name("targets/alice").mime_str("application/octet-stream").unwrap();
            let url = format!("{server}/v2/{name}/_trust/tuf/");
            return self.http.post(url).multipart(Form::new().part("files", part)).send().await.unwrap();
        }
        let url = format!("{server}/api/v1/repositories/{name}");
        let head: serde_json::Value = self
            .http
            .get(format!("{url}/head"))
            .send()
            .await
            .unwrap()
            .error_for_status()
            .unwrap()
            .json()
            .await
            .unwrap();
        let part = part.file_name(format!("{}.alice.json", self.document.version));
        let request =
            self.http.post(format!("{url}/publish")).header("if-match", format!("{:#}", head["token"]));
        let request =
            request.header(IDEMPOTENCY_KEY, hex::encode(&Sha256Digest::of(tag.as_bytes()).as_bytes()[..16]));
        request.multipart(Form::new().part("metadata", part)).send().await.unwrap()
    }
}

/// Alice's document, as everybody can read it.
async fn alices(site: &Site, dialect: Dialect) -> Targets {
    let role = "alice".parse().unwrap();
    let timestamp = site.document(dialect, "timestamp", None).await;
    let root = site.document(dialect, "root", None).await;
    let pin = Pin::Digest(Sha256Digest::of(&root));
    let chain = RootChain::start(dialect, root, &pin).unwrap();
    let chain = chain.require_repository(&site.name.parse().unwrap(), true).unwrap();
    let chain = chain.finish(now(), None).unwrap().timestamp(Floor::none(), timestamp).unwrap();
    let snapshot: Bytes = site.document(dialect, "snapshot", Some(chain.wanted())).await;
    let chain = chain.snapshot(snapshot).unwrap();
    let targets = site.document(dialect, "targets", Some(chain.wanted().unwrap())).await;
    let chain = chain.targets(targets).unwrap();
    let wire = if dialect == Dialect::Tuf1 { "alice" } else { "targets/alice" };
    let document = site.document(dialect, wire, Some(chain.wanted(&role).unwrap())).await;
    chain.delegated(&role, document).unwrap().payload().clone()
}
