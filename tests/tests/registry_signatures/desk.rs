//! Somebody with keys, and a registry that is reached over HTTP.

use std::collections::BTreeMap;
use std::ffi::OsString;

use bulla::adapter::key_files::KeyFiles;
use bulla::adapter::no_server::NoServer;
use bulla::adapter::oci_registry::{OciRegistry, RegistrySettings};
use bulla::adapter::os_entropy::OsEntropy;
use bulla::adapter::system_clock::SystemClock;
use bulla::adapter::tty::Tty;
use bulla::adapter::unattended::Unattended;
use bulla::flow::Ports;
use bulla::flow::cosign::only::{self, OnlyError, Request, Signed};
use bulla::flow::key::{KeyPorts, generate};
use bulla::home::Home;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{KeyAlgorithm, PublicKey};
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::sigstore::{Attached, SigManifest};
use bulla_tests::cli::PASSPHRASE;
use bulla_tests::simulator::{Habits, Loopback, Registry};
use bytes::Bytes;
use serde_json::Value;
use tempfile::TempDir;

/// A manifest of nothing.
pub const IMAGE: &[u8] =
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","layers":[]}"#;
/// A registry that lists referrers, one in each answer.
pub const LISTING: Habits = Habits { referrers_at_once: Some(1), conditional: false, endless_lists: false };

pub struct Desk {
    pub registry: Registry,
    pub client: OciRegistry,
    http: Loopback,
    keys: KeyFiles,
    passphrases: Unattended,
    home: Home,
    _folder: TempDir,
}

impl Desk {
    pub fn new(habits: Habits) -> Self {
        Self::at(Registry::with(habits))
    }

    pub fn at(registry: Registry) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        let lookup = |name: &str| (name == "BULLA_PASSPHRASE").then(|| OsString::from(PASSPHRASE));
        Self {
            http: registry.over_http(),
            registry,
            client: OciRegistry::new(RegistrySettings::default()).unwrap(),
            keys: KeyFiles::new(home.keys()),
            passphrases: Unattended::new(Box::new(lookup), None, Box::new(Tty)),
            home,
            _folder: folder,
        }
    }

    pub fn ports(&self) -> Ports<'_> {
        Ports {
            server: &NoServer,
            registry: &self.client,
            keys: &self.keys,
            passphrases: &self.passphrases,
            entropy: &OsEntropy,
            clock: &SystemClock,
            home: &self.home,
        }
    }

    pub fn repository(&self) -> RepositoryName {
        format!("{}/team/app", self.http.host()).parse().unwrap()
    }

    pub fn lists_referrers(&self) -> bool {
        self.registry.habits().referrers_at_once.is_some()
    }

    /// Makes P-256 keys.
    pub fn keys(&self, names: &[&str]) {
        let (keys, passphrases, entropy, clock) = (&self.keys, &self.passphrases, &OsEntropy, &SystemClock);
        let ports = KeyPorts { keys, passphrases, entropy, clock };
        for name in names {
            generate(ports, &name.parse().unwrap(), KeyAlgorithm::EcdsaP256).unwrap();
        }
    }

    pub fn public(&self, name: &str) -> PublicKey {
        let keys = bulla::port::KeyStore::list(&self.keys).unwrap();
        keys.into_iter().find(|key| key.name.as_str() == name).unwrap().public
    }

    pub async fn sign(&self, tag: &str, keys: &[&str]) -> Result<Signed, OnlyError> {
        self.sign_as(&self.repository(), tag, keys).await
    }

    pub async fn sign_as(
        &self,
        repository: &RepositoryName,
        tag: &str,
        keys: &[&str],
    ) -> Result<Signed, OnlyError> {
        only::sign(self.ports(), &request(repository, tag, keys)).await
    }

    pub async fn dry_run(&self, tag: &str, keys: &[&str]) -> Result<Signed, OnlyError> {
        let request = Request { dry_run: true, ..request(&self.repository(), tag, keys) };
        only::sign(self.ports(), &request).await
    }

    /// Uploads a blob.
    pub fn blob(&self, bytes: &'static [u8]) -> Sha256Digest {
        self.registry.change(|kept| {
            kept.put_blob("", Bytes::from_static(bytes));
        });
        Sha256Digest::of(bytes)
    }

    /// What is at a tag.
    pub fn json(&self, tag: &str) -> Value {
        let (bytes, _) = self.registry.kept().manifest("", tag).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    pub fn attached(&self, attached: Attached, image: Sha256Digest) -> SigManifest {
        let (bytes, _) = self.registry.kept().manifest("", attached.tag(image).as_str()).unwrap();
        SigManifest::parse(&bytes).unwrap()
    }
}

fn request(repository: &RepositoryName, tag: &str, keys: &[&str]) -> Request {
    Request {
        image: format!("{repository}:{tag}").parse().unwrap(),
        keys: keys.iter().map(|name| name.parse().unwrap()).collect(),
        annotations: BTreeMap::new(),
        dry_run: false,
    }
}
