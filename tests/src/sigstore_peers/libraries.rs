//! Libraries of others that read Sigstore's formats: sigstore-js (npm), securesystemslib (PyPI), and the
//! crate `sigstore`. None of them asks the registry here; they are given what hangs on an image.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use sigstore::crypto::signing_key::SigStoreKeyPair;
use sigstore::crypto::{CosignVerificationKey, Signature, SigningScheme};

use super::images::Image;
use super::stored::{Layer, SIGNATURE};
use super::{KeyPair, Opinion, text};
use crate::cli::PASSPHRASE;
use crate::peers::absent;

/// A library with a script around it, in `tests/peers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Library {
    /// npm `@sigstore/verify`: reads bundles.
    SigstoreJs,
    /// PyPI `securesystemslib`: reads DSSE envelopes.
    Securesystemslib,
}

impl Library {
    /// Both.
    pub const ALL: [Self; 2] = [Self::SigstoreJs, Self::Securesystemslib];

    /// The name under which its authors publish it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SigstoreJs => "@sigstore/verify",
            Self::Securesystemslib => "securesystemslib",
        }
    }

    /// It is installed. If not, that is said aloud.
    ///
    /// # Panics
    /// It is missing in CI.
    #[must_use]
    pub fn is_present(self) -> bool {
        let there = self.run(&["--version"]).accepted;
        if !there {
            absent(self.name(), "source .ci/peers");
        }
        there
    }

    /// What it says of its own version.
    ///
    /// # Panics
    /// It does not run.
    #[must_use]
    pub fn version(self) -> String {
        self.run(&["--version"]).yes(self.name()).answer.trim().to_owned()
    }

    /// What it makes of a document: a bundle, or an envelope.
    ///
    /// # Panics
    /// The script breaks: neither a yes nor a refusal.
    #[must_use]
    pub fn verify(self, public: &Path, document: &Value) -> Opinion {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), document.to_string()).expect("a file can be written");
        let opinion = self.run(&[text(public), text(file.path())]);
        assert!([0, 1].contains(&opinion.code), "{} broke: {opinion:?}", self.name());
        opinion
    }

    fn run(self, arguments: &[&str]) -> Opinion {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers");
        let installed = |variable: &str, otherwise: &str| {
            let default = scripts.join("../../target/peers").join(otherwise);
            std::env::var_os(variable).map_or(default, PathBuf::from)
        };
        let mut command = match self {
            Self::SigstoreJs => Command::new("node"),
            Self::Securesystemslib => Command::new(installed("BULLA_PEERS_PYTHON", "venv/bin/python")),
        };
        command.arg(scripts.join(match self {
            Self::SigstoreJs => "sigstore_js_verify.mjs",
            Self::Securesystemslib => "securesystemslib_verify.py",
        }));
        command.env("BULLA_PEERS_NODE", installed("BULLA_PEERS_NODE", "node")).stdin(Stdio::null());
        match command.args(arguments).output() {
            Ok(output) => Opinion::new(&output),
            Err(error) => {
                Opinion { accepted: false, code: -1, answer: String::new(), said: error.to_string() }
            }
        }
    }
}

/// The crate `sigstore` signs the image as its own client does: the name with the tag, no annotations.
///
/// # Panics
/// It cannot read the key.
#[must_use]
pub fn signed_by_the_crate(key: &KeyPair, image: &Image) -> Layer {
    signed_payload(key, &payload(&image.tagged(), &image.digest))
}

/// The same for a payload of any content.
///
/// # Panics
/// The crate cannot read the key.
#[must_use]
pub fn signed_payload(key: &KeyPair, payload: &str) -> Layer {
    let private = std::fs::read(&key.private).expect("a key");
    let pair = SigStoreKeyPair::from_encrypted_pem(&private, PASSPHRASE.as_bytes()).expect("a key");
    let signer = pair.to_sigstore_signer(&SigningScheme::ECDSA_P256_SHA256_ASN1).expect("a signer");
    let signature = signer.sign(payload.as_bytes()).expect("a signature");
    Layer::signature(payload.as_bytes(), &signature)
}

/// The crate finds the signature of this layer good.
///
/// # Panics
/// It cannot read the key.
#[must_use]
pub fn verified_by_the_crate(public: &Path, layer: &Layer) -> bool {
    let public = std::fs::read(public).expect("a key");
    let key =
        CosignVerificationKey::from_pem(&public, &SigningScheme::ECDSA_P256_SHA256_ASN1).expect("a key");
    let signature = layer.annotations[SIGNATURE].as_str().expect("a signature");
    key.verify_signature(Signature::Base64Encoded(signature.as_bytes()), &layer.bytes).is_ok()
}

/// What simple signing signs, for any name and digest.
#[must_use]
pub fn payload(reference: &str, digest: &str) -> String {
    let critical = json!({
        "identity": {"docker-reference": reference},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    });
    json!({"critical": critical, "optional": null}).to_string()
}

/// The hint that cosign writes into a bundle for this key.
///
/// # Panics
/// It is no key.
#[must_use]
pub fn hint(public: &Path) -> String {
    let pem = std::fs::read_to_string(public).expect("a key");
    let key = bulla_keys_schema::key::PublicKey::from_pem(&pem).expect("a key");
    STANDARD.encode(<sha2::Sha256 as sha2::Digest>::digest(key.to_spki_der()))
}
