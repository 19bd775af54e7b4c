//! Images that a policy judges: a trust server, a registry with whole images, an admin, a signer and
//! a scanner.

use std::path::PathBuf;

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cli::Cli;
use crate::programs::{Bullad, expect};
use crate::simulator::{Loopback, Registry};

/// The repository of the registry that stands for all.
const ANY: &str = "";

/// A server, a registry, and who signs.
pub struct Judged {
    /// The trust server.
    pub server: Bullad,
    /// The registry.
    pub registry: Registry,
    /// Who holds all keys: `root`, `targets`, `alice`, `bob` and `scanner`.
    pub admin: Cli,
    /// The repository.
    pub name: String,
    /// The fingerprint of the root key, as policies write it.
    pub root_key: String,
    _loopback: Loopback,
    folder: TempDir,
}

impl Judged {
    /// A repository with the signers `alice` and `bob`, and with `scanner`, who attests.
    ///
    /// # Panics
    /// A program does not do what it shall.
    #[must_use]
    pub fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Bullad::start(folder.path());
        let admin = server.user();
        let registry = Registry::default();
        let loopback = registry.over_http();
        for key in ["root", "targets", "alice", "bob", "scanner"] {
            expect(&admin, 0, &["key", "generate", key, "--algorithm", "ecdsa-p256"]);
        }
        let name = format!("{}/team/app", loopback.host());
        expect(&admin, 0, &["init", &name]);
        let shown = expect(&admin, 0, &["key", "show", "root", "--output", "json"]).json();
        let root_key = format!("sha256:{}", shown["fingerprint"].as_str().expect("a fingerprint"));
        let judged = Self { server, registry, admin, name, root_key, _loopback: loopback, folder };
        judged.add("alice", "*");
        judged.add("bob", "*");
        judged.add("scanner", "att/**");
        judged
    }

    fn add(&self, signer: &str, tags: &str) {
        let key = self.admin.home(&format!("keys/{signer}.pub"));
        let key = key.to_str().expect("a text");
        expect(&self.admin, 0, &["signer", "add", &self.name, signer, "--key", key, "--tags", tags]);
    }

    /// `REPOSITORY:TAG`.
    #[must_use]
    pub fn image(&self, tag: &str) -> String {
        format!("{}:{tag}", self.name)
    }

    /// Pushes an image that runs as `user`.
    #[must_use]
    pub fn push(&self, tag: &str, user: &str) -> Sha256Digest {
        let config = json!({
            "os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []},
            "config": {"User": user, "Labels": {"build.date": "today", "tag": tag}},
        });
        let manifest = self.manifest(&config.to_string(), 1000);
        self.registry.push(tag, manifest.to_string().as_bytes())
    }

    /// The manifest of an image with one layer, whose configuration is kept.
    #[must_use]
    pub fn manifest(&self, config: &str, layer: u64) -> Value {
        let (config, content) = (Bytes::from(config.to_owned()), Bytes::from_static(b"layer"));
        let size = config.len();
        let mut digests = Vec::new();
        self.registry.change(|kept| {
            digests.push(kept.put_blob(ANY, config).to_oci());
            digests.push(kept.put_blob(ANY, content).to_oci());
        });
        json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json", "digest": digests[0], "size": size,
            },
            "layers": [{
                "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": digests[1], "size": layer,
            }],
        })
    }

    /// Signs a tag.
    ///
    /// # Panics
    /// It is refused.
    pub fn sign(&self, tag: &str, signer: &str) {
        expect(&self.admin, 0, &["sign", &self.image(tag), "--as", signer, "--no-registry-signature"]);
    }

    /// Attests a scan of `digest` with these severities, made now.
    ///
    /// # Panics
    /// It is refused.
    pub fn attest(&self, digest: Sha256Digest, severities: &[&str]) {
        let image = format!("{}@{}", self.name, digest.to_oci());
        let findings = severities.iter().enumerate().map(|(number, severity)| {
            json!({
                "VulnerabilityID": format!("CVE-2030-{number}"), "PkgName": "a", "InstalledVersion": "1",
                "Severity": severity, "PkgIdentifier": {"PURL": "pkg:deb/debian/a@1"},
            })
        });
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
        let now = i64::try_from(now.as_secs()).expect("a time of this age");
        let now = bulla_keys_schema::time::UtcTime::from_unix_seconds(now).expect("a time").to_string();
        let report = json!({
            "SchemaVersion": 2, "CreatedAt": now, "ArtifactName": image, "ArtifactType": "container_image",
            "Metadata": {"RepoDigests": [image], "OS": {"Family": "debian", "Name": "13"}},
            "Results": [{
                "Target": "debian", "Class": "os-pkgs", "Type": "debian",
                "Vulnerabilities": findings.collect::<Vec<_>>(),
            }],
        });
        let file = self.file("report.json", &report.to_string());
        let how = ["--scan-args", "image --format json", "--no-registry-signature"];
        expect(&self.admin, 0, &[&["attest", &image, &file, "--as", "scanner"], &how[..]].concat());
    }

    /// Writes a file.
    ///
    /// # Panics
    /// It cannot be written.
    #[must_use]
    pub fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path.to_str().expect("a text").to_owned()
    }

    /// A policy with a `[trust]` entry for the registry, and these rules.
    #[must_use]
    pub fn policy(&self, rules: &str) -> String {
        self.policy_by(&self.root_key, rules)
    }

    /// The same, pinned to another root key.
    #[must_use]
    pub fn policy_by(&self, root_key: &str, rules: &str) -> String {
        let (host, server) = (self.name.split('/').next().unwrap_or_default(), &self.server.url);
        let text = format!(
            "policy = 1\nname = 'tested'\n[trust.'{host}/**']\nserver = '{server}'\nroot_keys = ['{root_key}']\n\
             root_threshold = 1\nmetadata_max_age = '24h'\n[[rule]]\nname = 'app'\nmatch = ['{}']\n{rules}",
            self.name
        );
        self.file(&format!("{}.toml", Sha256Digest::of(text.as_bytes())), &text)
    }

    /// Somebody who has pinned nothing, and knows the server from policies alone.
    #[must_use]
    pub fn stranger(&self) -> Cli {
        self.server.user().without("BULLA_SERVER")
    }
}
