//! skopeo, which signs and verifies as podman and CRI-O do: all of them are containers/image.
//!
//! It reads tags that end with `.sig` and no bundles, and looks at the manifest of the platform.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;
use tempfile::TempDir;

use super::images::Image;
use super::{Keys, Opinion, text};
use crate::peers::absent;

/// Which name a signature must carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// Exactly what is pulled, repository and tag: the default.
    Exact,
    /// The repository, with any tag or none.
    Repository,
}

/// A program of skopeo with a configuration of its own.
#[derive(Debug)]
pub struct Skopeo {
    program: PathBuf,
    folder: TempDir,
    /// As it says it: `1.18.0`.
    pub version: String,
}

impl Skopeo {
    /// Those that `BULLA_SKOPEO` names, separated by colons, the oldest first; none is said aloud.
    ///
    /// # Panics
    /// None is there in CI, or one that is named does not run.
    #[must_use]
    pub fn present() -> Vec<Self> {
        let named = std::env::var_os("BULLA_SKOPEO").unwrap_or_default();
        let programs = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
        let mut found: Vec<Self> = programs.map(Self::new).collect();
        if found.is_empty() {
            absent("skopeo 1.18 or newer", "source .ci/peers");
        }
        found.sort_by(|one, other| one.version.cmp(&other.version));
        found
    }

    fn new(program: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let attachments = folder.path().join("registries.d");
        std::fs::create_dir(&attachments).expect("a folder can be made");
        let everywhere = "default-docker: {use-sigstore-attachments: true}\n";
        std::fs::write(attachments.join("default.yaml"), everywhere).expect("a file can be written");
        let mut skopeo = Self { program, folder, version: String::new() };
        let said = skopeo.run(&["--version"]).yes("its version").answer;
        skopeo.version = said.trim().trim_start_matches("skopeo version ").to_owned();
        skopeo
    }

    /// `skopeo 1.18.0`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("skopeo {}", self.version)
    }

    /// Copies the image to the tag `to` of its repository, signed with the good key.
    ///
    /// # Panics
    /// It fails.
    #[must_use]
    pub fn sign(&self, keys: &Keys, image: &Image, to: &str) -> Image {
        let signed = image.with_tag(to);
        let passphrase = keys.folder().join("passphrase");
        let key = ["--sign-by-sigstore-private-key", text(&keys.good.private)];
        let passphrase = ["--sign-passphrase-file", text(&passphrase)];
        let places = [format!("docker://{}", image.tagged()), format!("docker://{}", signed.tagged())];
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false"];
        let fixed =
            ["--registries.d", "registries.d", "--insecure-policy", "copy", "--quiet", "--preserve-digests"];
        let arguments =
            [&fixed[..], &tls, &key, &passphrase, &places.each_ref().map(String::as_str)].concat();
        self.run(&arguments).yes(&format!("{} signs {}", self.name(), signed.tagged()));
        signed
    }

    /// Pulls the image under a policy that wants a signature by this key.
    ///
    /// # Panics
    /// The policy cannot be written.
    #[must_use]
    pub fn verify(&self, public: &Path, image: &Image, identity: Identity) -> Opinion {
        let mut wanted = json!({"type": "sigstoreSigned", "keyPath": public});
        if identity == Identity::Repository {
            wanted["signedIdentity"] = json!({"type": "matchRepository"});
        }
        let policy = json!({
            "default": [{"type": "reject"}],
            "transports": {"docker": {image.repository.clone(): [wanted]}},
        });
        let pulled = tempfile::tempdir_in(&self.folder).expect("a folder");
        let (file, layout) = (pulled.path().join("policy.json"), pulled.path().join("image"));
        std::fs::write(&file, policy.to_string()).expect("a file can be written");
        let fixed = ["--registries.d", "registries.d", "--policy", text(&file), "copy", "--quiet"];
        // A layout on the disk has no place for signatures.
        let copy = ["--remove-signatures", "--src-tls-verify=false"];
        let places = [format!("docker://{}", image.tagged()), format!("oci:{}:it", layout.display())];
        self.run(&[&fixed[..], &copy, &places.each_ref().map(String::as_str)].concat())
    }

    fn run(&self, arguments: &[&str]) -> Opinion {
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.folder.path())
            .env("TMPDIR", self.folder.path())
            .stdin(Stdio::null())
            .output();
        Opinion::new(&output.unwrap_or_else(|error| panic!("{}: {error}", self.program.display())))
    }
}
