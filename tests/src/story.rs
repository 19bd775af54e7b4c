//! A repository kept by the shipped programs, and foreign clients that follow it: what tests of
//! roles and their ends need.

use std::path::PathBuf;

use bulla_keys_schema::digest::Sha256Digest;
use tempfile::TempDir;

use crate::cli::{Cli, Ran};
use crate::peers::static_files::StaticFiles;
use crate::peers::{ForeignClient, Repository};
use crate::programs::{Bullad, expect};

/// A server, an admin who holds all keys, and a registry that serves what is signed.
pub struct Story {
    /// The trust server.
    pub server: Bullad,
    /// Who holds the keys `root`, `targets`, `alice` and `bob`.
    pub admin: Cli,
    /// The repository.
    pub name: String,
    manifests: PathBuf,
    _registry: StaticFiles,
    folder: TempDir,
}

impl Story {
    /// A repository without signers.
    ///
    /// # Panics
    /// A program does not do what it shall.
    #[must_use]
    pub fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Bullad::start(folder.path());
        let admin = server.user().leaving_registries_alone();
        let manifests = folder.path().join("registry/v2/team/app/manifests");
        std::fs::create_dir_all(&manifests).expect("a folder can be made");
        let registry = StaticFiles::serve(&folder.path().join("registry"));
        let host = registry.url("").trim_start_matches("http://").trim_end_matches('/').to_owned();
        for key in ["root", "targets", "alice", "bob"] {
            expect(&admin, 0, &["key", "generate", key, "--algorithm", "ecdsa-p256"]);
        }
        let name = format!("{host}/team/app");
        expect(&admin, 0, &["init", &name]);
        Self { server, admin, name, manifests, _registry: registry, folder }
    }

    /// `REPOSITORY:TAG`.
    #[must_use]
    pub fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// The path of somebody's public key.
    ///
    /// # Panics
    /// The path of the test is no text.
    #[must_use]
    pub fn public_key(&self, name: &str) -> String {
        self.admin.home(&format!("keys/{name}.pub")).to_str().expect("a text").to_owned()
    }

    /// Adds a signer with the key of that name.
    ///
    /// # Panics
    /// It is refused.
    pub fn add(&self, name: &str, more: &[&str]) {
        let key = self.public_key(name);
        expect(&self.admin, 0, &[&["signer", "add", &self.name, name, "--key", &key], more].concat());
    }

    /// Pushes an image of its own for this tag.
    ///
    /// # Panics
    /// The file cannot be written.
    pub fn push(&self, tag: &str, content: &str) -> String {
        let manifest = manifest(content);
        std::fs::write(self.manifests.join(tag), &manifest).expect("a file can be written");
        Sha256Digest::of(&manifest).to_oci()
    }

    /// Pushes an image and signs it.
    ///
    /// # Panics
    /// It is refused.
    pub fn sign(&self, user: &Cli, tag: &str, signer: &str) -> String {
        let digest = self.push(tag, tag);
        expect(user, 0, &["sign", &self.image(tag), "--as", signer]);
        digest
    }

    /// Somebody who has pinned the repository, with these keys of the admin.
    ///
    /// # Panics
    /// A key or the pin is refused.
    #[must_use]
    pub fn user(&self, keys: &[&str]) -> Cli {
        let user = self.server.user().leaving_registries_alone();
        let root = expect(&self.admin, 0, &["inspect", &self.name]).json();
        let root = root["root_sha256"].as_str().expect("a digest").to_owned();
        expect(&user, 0, &["trust", "add", &self.name, "--root-sha256", &root]);
        std::fs::create_dir_all(user.home("keys")).expect("a folder can be made");
        for key in keys {
            for end in ["key", "pub", "json"] {
                let file = format!("keys/{key}.{end}");
                std::fs::copy(self.admin.home(&file), user.home(&file)).expect("a key can be copied");
            }
        }
        user
    }

    /// What `bulla verify` says of an image.
    #[must_use]
    pub fn verify(&self, user: &Cli, image: &str) -> Ran {
        user.run(&["verify", image, "--output", "json"])
    }

    /// Foreign clients with fresh memories, pinned to the first root.
    ///
    /// # Panics
    /// The root cannot be read.
    pub async fn followers(&self) -> Followers {
        let tuf = |folder: &str| format!("{}/tuf/{}/{folder}", self.server.url, self.name);
        let authority = std::fs::read(&self.server.ca_cert).expect("a certificate");
        let authority = reqwest::Certificate::from_pem(&authority).expect("a certificate");
        let http = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
        let root = http.get(format!("{}/1.root.json", tuf("metadata"))).send().await.expect("an answer");
        let repository = Repository {
            metadata_url: tuf("metadata"),
            targets_url: tuf("targets"),
            root: root.bytes().await.expect("a root").to_vec(),
            ca_cert: Some(self.server.ca_cert.clone()),
            now: None,
        };
        let state = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        Followers { clients: ForeignClient::present(), repository, state }
    }
}

/// Foreign clients, each with its memory.
pub struct Followers {
    clients: Vec<ForeignClient>,
    repository: Repository,
    state: TempDir,
}

impl Followers {
    /// The same without one that is stricter than the others.
    #[must_use]
    pub fn without(mut self, client: ForeignClient) -> Self {
        self.clients.retain(|present| *present != client);
        self
    }

    /// They trust the repository, and download the image of this tag.
    ///
    /// # Panics
    /// One does not.
    pub async fn see(&self, tag: &str) {
        for client in &self.clients {
            let memory = self.state.path().join(client.name());
            let seen = client.follow(&self.repository, &memory, Some(tag)).await;
            let seen = seen.unwrap_or_else(|refused| panic!("{} and {tag}: {refused:?}", client.name()));
            assert_eq!(seen.target, Some(manifest(tag)), "{} and {tag}", client.name());
        }
    }

    /// They trust the repository and find no such tag in it.
    ///
    /// # Panics
    /// One does.
    pub async fn miss(&self, tag: &str) {
        for client in &self.clients {
            let memory = self.state.path().join(client.name());
            let seen = client.follow(&self.repository, &memory, None).await;
            assert!(seen.is_ok(), "{}: {seen:?}", client.name());
            let seen = client.follow(&self.repository, &memory, Some(tag)).await;
            assert!(seen.is_err(), "{} still finds {tag}: {seen:?}", client.name());
        }
    }
}

/// An image without layers, another one for each content.
fn manifest(content: &str) -> Vec<u8> {
    let media_type = "application/vnd.oci.image.manifest.v1+json";
    let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": media_type,
        "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": empty, "size": 2},
        "layers": [],
        "annotations": {"org.opencontainers.image.ref.name": content},
    });
    manifest.to_string().into_bytes()
}
