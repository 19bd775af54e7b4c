//! cosign of two major versions: what it signs, attests and accepts, in both of its layouts.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

use super::images::Image;
use super::{KeyPair, Opinion, text};
use crate::cli::PASSPHRASE;
use crate::peers::absent;

/// Where cosign puts what it signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Tags that end with `.sig` and `.att`.
    Tags,
    /// A Sigstore bundle that refers to the image. Only version 3 writes it.
    Bundle,
}

/// A program of cosign, with a home of its own and no way to the network.
#[derive(Debug)]
pub struct Cosign {
    program: PathBuf,
    folder: TempDir,
    /// 2 or 3.
    pub major: u8,
}

/// The predicate type of an image signature in a bundle.
pub const SIGNATURE: &str = "https://sigstore.dev/cosign/sign/v1";

impl Cosign {
    /// Those that `BULLA_COSIGN` names, separated by colons, the oldest first.
    ///
    /// # Panics
    /// One that is named does not run.
    #[must_use]
    pub fn present() -> Vec<Self> {
        let named = std::env::var_os("BULLA_COSIGN").unwrap_or_default();
        let programs = std::env::split_paths(&named).filter(|path| !path.as_os_str().is_empty());
        let mut found: Vec<Self> = programs.map(Self::new).collect();
        found.sort_by_key(|cosign| cosign.major);
        found
    }

    /// Versions 2 and 3; nothing if one is missing, which is said aloud.
    ///
    /// # Panics
    /// One is missing in CI.
    #[must_use]
    pub fn both() -> Option<(Self, Self)> {
        let mut two = None;
        let mut three = None;
        for cosign in Self::present() {
            if cosign.major == 2 { two = Some(cosign) } else { three = Some(cosign) }
        }
        if two.is_none() || three.is_none() {
            absent("cosign 2 or cosign 3", "source .ci/peers");
        }
        two.zip(three)
    }

    fn new(program: PathBuf) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Version 2 needs the file to read bundles; that it lists no service is enough.
        let trusted_root = r#"{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}"#;
        std::fs::write(folder.path().join("trusted-root.json"), trusted_root).expect("a file can be written");
        let mut cosign = Self { program, folder, major: 2 };
        // Debian's packages do not tell their version. What they can do differs.
        if cosign.run(&["sign", "--help"]).yes("help").answer.contains("--use-signing-config") {
            cosign.major = 3;
            cosign.run(&["signing-config", "create", "--out", "services.json"]).yes("no services");
        }
        cosign
    }

    /// `cosign 2` or `cosign 3`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("cosign {}", self.major)
    }

    /// What it says of its own version.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn version(&self) -> String {
        self.run(&["version"]).yes("its version").answer
    }

    /// Signs the image's digest, with further `options`.
    ///
    /// # Panics
    /// It fails.
    pub fn sign(&self, layout: Layout, key: &KeyPair, image: &Image, options: &[&str]) {
        let fixed = ["sign", "--key", text(&key.private), "--allow-http-registry", "--yes"];
        let image_by_digest = image.pinned();
        let arguments = [&fixed[..], self.unlogged(layout), options, &[&image_by_digest]].concat();
        self.run(&arguments).yes(&format!("{} signs {}", self.name(), image.tagged()));
    }

    /// Attests a predicate of the type `kind`, one of its short names or a URI.
    ///
    /// # Panics
    /// It fails.
    pub fn attest(&self, layout: Layout, key: &KeyPair, kind: &str, predicate: &Value, image: &Image) {
        let file = self.folder.path().join("predicate.json");
        std::fs::write(&file, predicate.to_string()).expect("a file can be written");
        let fixed = ["attest", "--key", text(&key.private), "--allow-http-registry", "--yes"];
        let statement = ["--type", kind, "--predicate", text(&file)];
        let image_by_digest = image.pinned();
        let arguments = [&fixed[..], self.unlogged(layout), &statement, &[&image_by_digest]].concat();
        self.run(&arguments).yes(&format!("{} attests {}", self.name(), image.tagged()));
    }

    /// `cosign verify`, as each version does it by itself: 2 reads tags; 3 reads bundles where there
    /// are any, otherwise tags.
    #[must_use]
    pub fn verify(&self, public: &Path, image: &Image, options: &[&str]) -> Opinion {
        let fixed = ["verify", "--key", text(public), "--insecure-ignore-tlog=true", "--allow-http-registry"];
        self.run(&[&fixed[..], options, &[&image.tagged()]].concat())
    }

    /// `cosign verify-attestation` for predicates of the type `kind`.
    #[must_use]
    pub fn verify_attestation(&self, public: &Path, kind: &str, image: &Image) -> Opinion {
        self.verify_statement(public, kind, image, &[])
    }

    /// The same with a policy, in the language that the end of its name says: each statement of this type has to
    /// pass it.
    ///
    /// # Panics
    /// The policy cannot be written.
    #[must_use]
    pub fn verify_attestation_by(
        &self,
        public: &Path,
        kind: &str,
        (name, policy): (&str, &str),
        image: &Image,
    ) -> Opinion {
        let file = self.folder.path().join(name);
        std::fs::write(&file, policy).expect("a file can be written");
        self.verify_statement(public, kind, image, &["--policy", text(&file)])
    }

    /// The same of version 2, which reads bundles only when told to, and then nothing else.
    #[must_use]
    pub fn verify_bundle(&self, public: &Path, kind: &str, image: &Image) -> Opinion {
        let root = self.folder.path().join("trusted-root.json");
        self.verify_statement(public, kind, image, &["--new-bundle-format", "--trusted-root", text(&root)])
    }

    fn verify_statement(&self, public: &Path, kind: &str, image: &Image, options: &[&str]) -> Opinion {
        let fixed = ["verify-attestation", "--key", text(public), "--type", kind];
        let offline = ["--insecure-ignore-tlog=true", "--allow-http-registry"];
        self.run(&[&fixed[..], &offline, options, &[&image.tagged()]].concat())
    }

    /// Runs it in its folder.
    ///
    /// # Panics
    /// It cannot be started.
    #[must_use]
    pub fn run(&self, arguments: &[&str]) -> Opinion {
        let output = Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", PASSPHRASE)
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .stdin(Stdio::null())
            .output();
        Opinion::new(&output.unwrap_or_else(|error| panic!("{}: {error}", self.program.display())))
    }

    /// What keeps it from asking services on the internet.
    fn unlogged(&self, layout: Layout) -> &'static [&'static str] {
        match (self.major, layout) {
            (2, Layout::Tags) => &["--tlog-upload=false"],
            (2, Layout::Bundle) => panic!("cosign 2 is not asked to write bundles"),
            (_, Layout::Tags) => {
                &["--use-signing-config=false", "--new-bundle-format=false", "--tlog-upload=false"]
            }
            (_, Layout::Bundle) => &["--signing-config", "services.json"],
        }
    }
}
