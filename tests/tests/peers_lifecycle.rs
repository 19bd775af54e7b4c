//! One repository through its whole life, kept by the real programs, and followed by clients that this
//! project did not write. Every one of them must agree at every step, with its memory of all steps
//! before, and download a target: the bytes of an image's manifest.

use std::path::{Path, PathBuf};

use bulla_keys_schema::author::{Draft, RoleSpec, RootEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Passphrase, PublicKey, SealedKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{KeyEntry, Root, Threshold, TopLevelRole};
use bulla_keys_schema::verify::{RawMetadata, Verified};
use bulla_keys_schema::wire::{Head, IDEMPOTENCY_KEY, OnlineKey, OnlineKeys};
use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::peers::second_opinion::second_opinion;
use bulla_tests::peers::static_files::StaticFiles;
use bulla_tests::peers::{ForeignClient, Observed, Repository};
use bulla_tests::programs::{Bullad, expect};
use bulla_tests::publisher;
use bulla_tests::server::{BEGIN, Setup, TestServer};
use bytes::Bytes;
use reqwest::multipart::{Form, Part};

const DIALECT: Dialect = Dialect::Tuf1;

#[tokio::test(flavor = "multi_thread")]
async fn every_client_follows_a_repository_from_its_first_root_through_all_rotations() {
    let life = Life::begin("ecdsa-p256");
    let mut followers = Followers::of(&life).await;
    followers.see_root(1).await;

    expect(&life.admin, 0, &["signer", "add", &life.name, "alice", "--key", &life.public_key("alice")]);
    followers.see_root(1).await;
    for number in 1..=10 {
        life.sign(&format!("v{number}"), "alice");
        followers.see(1, &life, &format!("v{number}")).await;
    }

    expect(&life.admin, 0, &["key", "generate", "bob"]);
    let bob = life.public_key("bob");
    expect(&life.admin, 0, &["signer", "add", &life.name, "bob", "--key", &bob, "--tags", "b*"]);
    life.sign("b1", "bob");
    followers.see(1, &life, "b1").await;
    followers.see(1, &life, "v3").await;

    expect(&life.admin, 0, &["signer", "remove", &life.name, "alice"]);
    followers.see(1, &life, "b1").await;
    followers.miss("v3").await;

    life.rotate_online_keys().await;
    followers.see(2, &life, "b1").await;
    life.sign("b2", "bob");
    followers.see(2, &life, "b2").await;

    life.rotate_root_key().await;
    followers.see(3, &life, "b1").await;
    life.sign("b3", "bob");
    followers.see(3, &life, "b3").await;

    expect(&life.admin, 0, &["revoke", &format!("{}:b2", life.name), "--reason", "bad build"]);
    followers.miss("b2").await;
    Followers::of(&life).await.see(3, &life, "b3").await;
}

/// The server's clock is the only one that moves: the clients live in the present.
#[tokio::test(flavor = "multi_thread")]
async fn every_client_refuses_what_is_expired_and_follows_its_renewal() {
    let server = TestServer::with(Setup { tls: true, ..Setup::default() }).await;
    let present = jiff::Timestamp::now().as_second();
    let (day, manifest) = (24 * 3600, manifest("v1"));
    server.clock.advance(present - 2 * day - BEGIN);
    let (mut publisher, receipt) = publisher::create(&server, "team/app").await;
    let upload = server.publish("team/app", Some(&receipt.token), 7, &publisher.tag("v1", &manifest));
    publisher::receipt(server.send(upload).await).await;

    let repository = Repository {
        metadata_url: server.url("/tuf/team/app/metadata"),
        targets_url: server.url("/tuf/team/app/targets"),
        root: server.get("/tuf/team/app/metadata/1.root.json").await.bytes().await.unwrap().to_vec(),
        ca_cert: Some(server.folder.path().join("tls/ca.pem")),
        now: None,
    };
    let state = tempfile::tempdir().unwrap();
    for client in ForeignClient::present() {
        let refused = client.follow(&repository, &state.path().join(client.name()), Some("v1")).await;
        let text = format!("{refused:?}").to_lowercase();
        assert!(refused.is_err() && text.contains("expired"), "{}: {text}", client.name());
    }

    server.clock.advance(2 * day);
    assert!(server.app.publisher.renew(&"team/app".parse().unwrap()).await.unwrap(), "it was due");
    for client in ForeignClient::present() {
        let seen = client.follow(&repository, &state.path().join(client.name()), Some("v1")).await;
        let seen = seen.unwrap_or_else(|refused| panic!("{} after renewal: {refused:?}", client.name()));
        assert_eq!((seen.timestamp, seen.target), (3, Some(manifest.clone())), "{}", client.name());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_crate_tuf_gives_its_second_opinion_on_a_repository_of_ed25519_keys() {
    let life = Life::begin("ed25519");
    expect(&life.admin, 0, &["signer", "add", &life.name, "alice", "--key", &life.public_key("alice")]);
    life.sign("v1", "alice");
    life.rotate_online_keys().await;
    life.rotate_root_key().await;

    let mut documents = Vec::new();
    for file in
        ["1.root.json", "2.root.json", "3.root.json", "timestamp.json", "snapshot.json", "targets.json"]
    {
        documents.push(life.metadata(file).await);
    }
    let [first, second, third, timestamp, snapshot, targets] = documents.as_slice() else { unreachable!() };
    let roots: [&[u8]; 3] = [first, second, third];
    second_opinion(&roots, timestamp, snapshot, targets).unwrap();
    assert!(second_opinion(&roots[..2], timestamp, snapshot, timestamp).is_err(), "no targets at all");
    assert!(
        second_opinion(&roots[..1], timestamp, snapshot, targets).is_err(),
        "root 1 has other online keys"
    );
}

/// A server, an admin who holds all keys, and a registry that serves what is signed.
struct Life {
    server: Bullad,
    admin: Cli,
    name: String,
    http: reqwest::Client,
    manifests: PathBuf,
    _registry: StaticFiles,
    _folder: tempfile::TempDir,
}

impl Life {
    /// Keys of this algorithm, and the first root.
    fn begin(algorithm: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let admin = server.user().leaving_registries_alone();
        let manifests = folder.path().join("registry/v2/team/app/manifests");
        std::fs::create_dir_all(&manifests).unwrap();
        let registry = StaticFiles::serve(&folder.path().join("registry"));
        let host = registry.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
        for key in ["root", "targets", "alice"] {
            expect(&admin, 0, &["key", "generate", key, "--algorithm", algorithm]);
        }
        let name = format!("{host}/team/app");
        expect(&admin, 0, &["init", &name]);
        let authority = reqwest::Certificate::from_pem(&std::fs::read(&server.ca_cert).unwrap()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only([authority]).build().unwrap();
        Self { server, admin, name, http, manifests, _registry: registry, _folder: folder }
    }

    /// Pushes an image and signs it.
    fn sign(&self, tag: &str, signer: &str) {
        std::fs::write(self.manifests.join(tag), manifest(tag)).unwrap();
        expect(&self.admin, 0, &["sign", &format!("{}:{tag}", self.name), "--as", signer]);
    }

    fn public_key(&self, name: &str) -> String {
        self.admin.home(&format!("keys/{name}.pub")).to_str().unwrap().to_owned()
    }

    fn secret_key(&self, name: &str) -> SecretKey {
        let text = std::fs::read_to_string(self.admin.home(&format!("keys/{name}.key"))).unwrap();
        SealedKey::parse(&text).unwrap().open(&Passphrase::new(PASSPHRASE.to_owned())).unwrap()
    }

    /// The server makes new keys; they count once a root lists them.
    async fn rotate_online_keys(&self) {
        let keys = self.http.post(self.api("online-keys/rotate")).send().await.unwrap();
        let keys: OnlineKeys = keys.error_for_status().unwrap().json().await.unwrap();
        let next = keys.next.expect("a rotation makes the next set");
        let root = self.secret_key("root");
        self.publish_root(&[&root], |edit| {
            edit.set_role(TopLevelRole::Snapshot, &one(public(&next.snapshot))).unwrap();
            edit.set_role(TopLevelRole::Timestamp, &one(public(&next.timestamp))).unwrap();
        })
        .await;
    }

    /// Another root key, signed in by the one before.
    async fn rotate_root_key(&self) {
        let algorithm = self.secret_key("root").public_key().algorithm().to_string();
        expect(&self.admin, 0, &["key", "generate", "root2", "--algorithm", &algorithm]);
        let (old, new) = (self.secret_key("root"), self.secret_key("root2"));
        self.publish_root(&[&old, &new], |edit| {
            edit.set_role(TopLevelRole::Root, &one(new.public_key().clone())).unwrap();
        })
        .await;
    }

    async fn publish_root(&self, signers: &[&dyn Signer], change: impl FnOnce(&mut RootEdit)) {
        let current = Bytes::from(self.metadata("root.json").await);
        let current: Verified<Root> = RawMetadata::new(DIALECT, current).verify_first().unwrap();
        let mut edit = RootEdit::next(Dialect::Tuf1, current.payload(), current.expires()).unwrap();
        change(&mut edit);
        let next = Draft::new(DIALECT, edit.finish()).sign_root(signers, Some(&current)).unwrap();
        let head: Head = self.http.get(self.api("head")).send().await.unwrap().json().await.unwrap();
        let file = format!("{}.root.json", next.verified().version());
        let form = Form::new().part("metadata", Part::bytes(next.bytes().to_vec()).file_name(file));
        let request = self.http.post(self.api("publish")).header("if-match", format!("\"{}\"", head.token));
        let operation = format!("{:032x}", next.verified().version().get());
        let answer = request.header(IDEMPOTENCY_KEY, operation).multipart(form).send().await.unwrap();
        let status = answer.status();
        assert!(status.is_success(), "{status}: {}", answer.text().await.unwrap());
    }

    fn api(&self, what: &str) -> String {
        format!("{}/api/v1/repositories/{}/{what}", self.server.url, self.name)
    }

    fn tuf(&self, folder: &str) -> String {
        format!("{}/tuf/{}/{folder}", self.server.url, self.name)
    }

    async fn metadata(&self, file: &str) -> Vec<u8> {
        let answer = self.http.get(format!("{}/{file}", self.tuf("metadata"))).send().await.unwrap();
        answer.error_for_status().unwrap().bytes().await.unwrap().to_vec()
    }
}

/// All clients that are here, each with its memory, pinned to the first root.
struct Followers {
    clients: Vec<ForeignClient>,
    repository: Repository,
    state: tempfile::TempDir,
    /// Versions of timestamp and snapshot that they have seen.
    reached: [u64; 2],
}

impl Followers {
    async fn of(life: &Life) -> Self {
        let repository = Repository {
            metadata_url: life.tuf("metadata"),
            targets_url: life.tuf("targets"),
            root: life.metadata("1.root.json").await,
            ca_cert: Some(life.server.ca_cert.clone()),
            now: None,
        };
        let state = tempfile::tempdir().unwrap();
        Self { clients: ForeignClient::present(), repository, state, reached: [0; 2] }
    }

    async fn see_root(&mut self, root: u64) {
        self.follow(root, None).await;
    }

    /// They trust this root and what was published since, and download the image.
    async fn see(&mut self, root: u64, life: &Life, tag: &str) {
        let pushed = std::fs::read(life.manifests.join(tag)).unwrap();
        for (client, seen) in self.follow(root, Some(tag)).await {
            assert_eq!(seen.target.as_deref(), Some(pushed.as_slice()), "{} and {tag}", client.name());
        }
    }

    /// They trust the repository and find no such target in it.
    async fn miss(&self, tag: &str) {
        for client in &self.clients {
            let memory = self.memory(*client);
            let seen = client.follow(&self.repository, &memory, None).await;
            assert!(seen.is_ok(), "{}: {seen:?}", client.name());
            let seen = client.follow(&self.repository, &memory, Some(tag)).await;
            assert!(seen.is_err(), "{} still finds {tag}: {seen:?}", client.name());
        }
    }

    async fn follow(&mut self, root: u64, tag: Option<&str>) -> Vec<(ForeignClient, Observed)> {
        let mut all: Vec<(ForeignClient, Observed)> = Vec::new();
        for client in &self.clients {
            let seen = client.follow(&self.repository, &self.memory(*client), tag).await;
            let seen = seen
                .unwrap_or_else(|refused| panic!("{} at root {root}, {tag:?}: {refused:?}", client.name()));
            assert_eq!(seen.root, root, "{} and {tag:?}", client.name());
            if let Some((other, first)) = all.first() {
                assert_eq!(*first, seen, "{} and {} disagree on {tag:?}", other.name(), client.name());
            }
            all.push((*client, seen));
        }
        let reached = all.first().map_or(self.reached, |(_, seen)| [seen.timestamp, seen.snapshot]);
        assert!(reached >= self.reached, "from {:?} back to {reached:?}", self.reached);
        self.reached = reached;
        all
    }

    fn memory(&self, client: ForeignClient) -> PathBuf {
        Path::new(self.state.path()).join(client.name())
    }
}

/// An image without layers, another one for each tag.
fn manifest(tag: &str) -> Vec<u8> {
    format!(
        r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}},"layers":[],"annotations":{{"org.opencontainers.image.ref.name":"{tag}"}}}}"#
    )
    .into_bytes()
}

fn one(key: PublicKey) -> RoleSpec {
    RoleSpec { keys: vec![KeyEntry::new(key)], threshold: Threshold::ONE }
}

fn public(key: &OnlineKey) -> PublicKey {
    PublicKey::from_pem(&key.public_key).unwrap()
}
