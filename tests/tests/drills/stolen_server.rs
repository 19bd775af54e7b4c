//! The server is stolen: whoever has its disk and its keys signs what they can sign.

use std::sync::Arc;

use bulla_keys_schema::author::{Draft, TargetsEdit};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Object;
use bulla_keys_schema::key::{KeyAlgorithm, SecretKey, Signer};
use bulla_keys_schema::metadata::{MetaInfo, Snapshot, Timestamp, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::verify::{Floor, Pin, RootChain, TrustedTargets};
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_server::store::{
    DocumentRef, Head, NewDocument, OperationId, Publication, PublicationKind, TrustStore,
};
use bulla_server::tls::DevelopmentTls;
use bulla_server::vault::{Kek, KeySet, Vault};
use bytes::Bytes;

use crate::drill::Mode;
use crate::site::{Site, manifest, now};

/// A version that no server reaches by itself.
const FAR: u64 = 4_000_000;
/// How long the thief's documents are valid, in seconds.
const LIFETIME: i64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_server() {
    server_is_stolen(Mode::Spec).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_server_in_legacy_mode() {
    server_is_stolen(Mode::Legacy).await;
}

async fn server_is_stolen(mode: Mode) {
    let mut site = site(mode);
    site.through("Rehearsal");
    let watchers = site.watchers().await;
    watchers.see(&site, "1.1").await;

    site.stop_server();
    steal(&site, |thief| thief.run_ahead()).await;
    site.start_server_again();
    watchers.see(&site, "1.1").await;
    site.through("The theft");

    site.stop_server();
    steal(&site, |thief| thief.sign_a_tag()).await;
    site.start_server_again();
    site.watchers().await.refuse(&site).await;
    if mode == Mode::Spec {
        // In legacy mode it would cost `notary` its memory, which is what matters below.
        watchers.refuse(&site).await;
    }

    site.through("3. ");
    watchers.refuse(&site).await;
    site.through("4. ");
    if mode == Mode::Legacy {
        // `notary` first holds the new timestamp against its memory, and fails; then it has the root.
        watchers.refuse(&site).await;
    }
    watchers.see(&site, "1.0").await;
    watchers.miss(&site, "1.1").await;
    site.through("5. ");
    for watchers in [&watchers, &site.watchers().await] {
        watchers.see(&site, "1.0").await;
        watchers.see(&site, "1.1").await;
        watchers.miss(&site, "6.6").await;
    }
    site.finish();
}

/// Two certificates, of authorities that everybody trusts, and folders for what is kept elsewhere.
fn site(mode: Mode) -> Site {
    let mut site = Site::without_server("stolen-server.md", mode);
    let safe = site.path("safe");
    std::fs::create_dir(&safe).unwrap();
    let mut authorities = String::new();
    for (folder, prefix) in [("tls", ""), ("new-tls", "new-")] {
        let files = DevelopmentTls::in_folder(site.path(folder)).unwrap();
        std::fs::copy(files.certificate(), safe.join(format!("{prefix}cert.pem"))).unwrap();
        std::fs::copy(files.key(), safe.join(format!("{prefix}key.pem"))).unwrap();
        authorities += &std::fs::read_to_string(files.authority_certificate()).unwrap();
    }
    std::fs::write(site.path("authorities.pem"), authorities).unwrap();
    for (name, value) in [("SAFE", "safe"), ("BACKUP", "backup"), ("BULLA_CA_CERT", "authorities.pem")] {
        let value = site.path(value).display().to_string();
        site.set(name, &value);
    }
    // The file says where a real server listens.
    site.set("BULLAD_SERVER_LISTEN", "127.0.0.1:0");
    site
}

/// Whoever has the data and the key-encryption key.
struct Thief {
    repository: RepositoryName,
    state: TrustedTargets,
    head: Arc<Head>,
    keys: KeySet,
    documents: Vec<NewDocument>,
}

/// Opens the store of the server, which stands still, and stores what `act` makes of it.
async fn steal(site: &Site, act: impl FnOnce(&mut Thief)) {
    let store =
        Arc::new(EmbeddedStore::open(&site.path("people/the-server/data"), &Options::default()).unwrap());
    let repository: RepositoryName = site.name.parse().unwrap();
    let head = store.head(&repository).await.unwrap().unwrap();
    let read = async |role: &str| {
        let role = role.parse().unwrap();
        store.by_version(&repository, &role, head.current[&role].version).await.unwrap().unwrap()
    };
    let root = read("root").await;
    let pin = Pin::Digest(Sha256Digest::of(&root));
    let chain = RootChain::start(head.dialect, root, &pin).unwrap();
    let chain = chain.require_repository(&repository, true).unwrap().finish(now(), None).unwrap();
    let chain = chain.timestamp(Floor::none(), head.timestamp.clone()).unwrap();
    let chain = chain.snapshot(read("snapshot").await).unwrap();
    let state = chain.targets(read("targets").await).unwrap();
    let vault =
        Vault::new(Kek::from_file(&site.path("safe/kek")).unwrap(), Arc::<EmbeddedStore>::clone(&store));
    let keys = vault.get(&repository).await.unwrap().unwrap();
    let keys = Arc::into_inner({
        drop(vault);
        keys
    });
    let keys = keys.expect("nobody else has the keys").sets.remove(0);
    let mut thief =
        Thief { repository: repository.clone(), state, head: Arc::clone(&head), keys, documents: Vec::new() };
    act(&mut thief);
    store.publish(thief.publication()).await.unwrap();
    store.close().await.unwrap();
}

impl Thief {
    /// The same state with versions that the server will never reach again.
    fn run_ahead(&mut self) {
        let snapshot = self.state.snapshot().payload().clone();
        self.seal(Snapshot { version: Version::new(FAR).unwrap(), ..snapshot }, FAR);
    }

    /// A tag that nobody signed, in a document for which no key is on the server.
    fn sign_a_tag(&mut self) {
        let dialect = self.head.dialect;
        let before = self.state.targets().payload();
        let mut edit = TargetsEdit::next(dialect, before, now().plus_seconds(LIFETIME)).unwrap();
        let bad = manifest("6.6");
        edit.set_target(&"6.6".parse().unwrap(), Sha256Digest::of(&bad), bad.len() as u64);
        let own = SecretKey::from_seed(KeyAlgorithm::Ed25519, &[66; 32].into()).unwrap();
        let root = self.state.root().payload();
        let signed = Draft::new(dialect, edit.finish()).sign_to_seal(&[&own], &root.targets, &root.keys);
        let signed = signed.unwrap();
        let snapshot = self.state.snapshot().payload().clone();
        let mut meta = snapshot.meta.clone();
        meta.insert(RoleName::Targets, signed.describe());
        let version = before.version.next().unwrap();
        self.add(RoleName::Targets, version, signed.into_bytes());
        self.seal(Snapshot { version: Version::new(FAR + 1).unwrap(), meta, ..snapshot }, FAR + 1);
    }

    /// Snapshot and timestamp, with the keys of the server.
    fn seal(&mut self, snapshot: Snapshot, version: u64) {
        let dialect = self.head.dialect;
        let root = self.state.root().payload().clone();
        let expires = now().plus_seconds(LIFETIME);
        let signers: [&dyn Signer; 1] = [&self.keys.snapshot];
        let number = snapshot.version;
        let sealed = Draft::new(dialect, Snapshot { expires, ..snapshot });
        let sealed = sealed.sign_to_seal(&signers, &root.snapshot, &root.keys).unwrap();
        let described: MetaInfo = sealed.describe();
        self.add(RoleName::Snapshot, number, sealed.into_bytes());
        let number = Version::new(version).unwrap();
        let timestamp = Timestamp {
            version: number,
            expires,
            snapshot: described,
            signed_at: None,
            extra: Object::new(),
        };
        let signers: [&dyn Signer; 1] = [&self.keys.timestamp];
        let sealed = Draft::new(dialect, timestamp).sign_to_seal(&signers, &root.timestamp, &root.keys);
        self.add(RoleName::Timestamp, number, sealed.unwrap().into_bytes());
    }

    fn add(&mut self, role: RoleName, version: Version, bytes: Bytes) {
        self.documents.push(NewDocument { role, version, bytes: bytes.into() });
    }

    fn publication(self) -> Publication {
        let mut current = self.head.current.clone();
        for NewDocument { role, version, bytes } in &self.documents {
            let (digest, length) = (Sha256Digest::of(bytes), bytes.len() as u64);
            current.insert(role.clone(), DocumentRef { version: *version, digest, length });
        }
        let id = Sha256Digest::of(format!("{}", self.head.token).as_bytes());
        Publication {
            repository: self.repository,
            dialect: self.head.dialect,
            expected: Some(self.head.token),
            operation: OperationId(*id.as_bytes().first_chunk().unwrap()),
            kind: PublicationKind::Publish,
            documents: self.documents,
            targets: Vec::new(),
            current,
            renew_at: now().plus_seconds(LIFETIME),
            actor: "thief".to_owned(),
            at: now(),
            completes: None,
        }
    }
}
