//! One key file, several programs: what Bulla writes is read by cosign and by the crate
//! `sigstore`, and the other way round, down to signatures that verify on both sides.
//!
//! `BULLA_COSIGN` names the cosign programs to ask, separated by colons; without it, the
//! one on the path is asked. `.ci/fetch-debian cosign trixie DIR` gets one.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_keys_schema::key::{
    KeyAlgorithm, NONCE_BYTES, OpenError, Passphrase, PublicKey, SALT_BYTES, SealedKey, SecretKey,
};
use bulla_tests::peers::absent;
use sigstore::crypto::SigningScheme;
use sigstore::crypto::signing_key::SigStoreKeyPair;
use sigstore::crypto::signing_key::ecdsa::{ECDSAKeys, EllipticCurve};
use sigstore::crypto::signing_key::ed25519::Ed25519Keys;
use tempfile::TempDir;

const PASSPHRASE: &str = "correct horse \u{e9}\u{1f40e}";
/// The passphrase of the sealed files in `keys-schema/tests/data/keys`.
const SAMPLES_PASSPHRASE: &str = "correct horse";
const MESSAGE: &[u8] = b"one message, many programs";

/// A cosign program with a folder of its own and no way to the network.
struct Cosign {
    program: PathBuf,
    folder: TempDir,
}

impl Cosign {
    fn all() -> Vec<Self> {
        let programs = match std::env::var_os("BULLA_COSIGN") {
            Some(named) => {
                std::env::split_paths(&named).inspect(|path| assert!(runs(path), "{path:?}")).collect()
            }
            None if runs(Path::new("cosign")) => vec![PathBuf::from("cosign")],
            None => Vec::new(),
        };
        if programs.is_empty() {
            absent("cosign", "run .ci/fetch-debian cosign trixie DIR, set BULLA_COSIGN=DIR/usr/bin/cosign");
        }
        programs.into_iter().map(|program| Self { program, folder: TempDir::new().unwrap() }).collect()
    }

    fn run(&self, passphrase: &str, arguments: &[&str]) -> Output {
        Command::new(&self.program)
            .args(arguments)
            .current_dir(&self.folder)
            .env_clear()
            .env("HOME", self.folder.path())
            .env("COSIGN_PASSWORD", passphrase)
            .env("HTTPS_PROXY", "http://127.0.0.1:9")
            .output()
            .unwrap()
    }

    /// The output of a run that must succeed.
    fn output(&self, passphrase: &str, arguments: &[&str]) -> String {
        let output = self.run(passphrase, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{} {arguments:?}: {errors}", self.program.display());
        String::from_utf8(output.stdout).unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.folder.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path().join(name)).unwrap()
    }

    /// Signs [`MESSAGE`] with the key file of that name.
    fn sign(&self, key: &str) -> Vec<u8> {
        self.write("message", MESSAGE);
        let mut arguments = vec!["sign-blob", "--yes", "--tlog-upload=false", "--new-bundle-format=false"];
        if self.output("", &["sign-blob", "--help"]).contains("--use-signing-config") {
            arguments.push("--use-signing-config=false");
        }
        arguments.extend(["--key", key, "--output-signature", "signature", "message"]);
        self.output(PASSPHRASE, &arguments);
        STANDARD.decode(self.read("signature").trim()).unwrap()
    }

    /// Verifies a signature over [`MESSAGE`] with the key file of that name.
    fn verifies(&self, key: &str, signature: &[u8]) -> bool {
        self.write("message", MESSAGE);
        self.write("signature", STANDARD.encode(signature));
        let arguments = ["verify-blob", "--new-bundle-format=false", "--insecure-ignore-tlog=true"];
        let files = ["--key", key, "--signature", "signature", "message"];
        self.run("", &[&arguments[..], &files].concat()).status.success()
    }
}

fn runs(program: &Path) -> bool {
    Command::new(program).arg("version").output().is_ok_and(|output| output.status.success())
}

fn passphrase(text: &str) -> Passphrase {
    Passphrase::new(text.to_owned())
}

fn secrets() -> Vec<SecretKey> {
    [KeyAlgorithm::EcdsaP256, KeyAlgorithm::Ed25519]
        .map(|algorithm| SecretKey::from_seed(algorithm, &[0x42; 32].into()).unwrap())
        .into()
}

fn seal(secret: &SecretKey, text: &str) -> SealedKey {
    SealedKey::seal(secret, &passphrase(text), [0x17; SALT_BYTES], [0x2a; NONCE_BYTES])
}

/// Files that neither Bulla nor cosign wrote: every cost under either label.
fn samples() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../keys-schema/tests/data/keys");
    let mut names = Vec::new();
    for cost in [32_768, 65_536, 131_072] {
        names.extend(["sigstore", "cosign"].map(|label| format!("p256-sealed-{cost}-{label}.pem")));
    }
    names.push("ed25519-sealed.pem".to_owned());
    let read = |name: String| (name.clone(), fs::read_to_string(folder.join(name)).unwrap());
    names.into_iter().map(read).collect()
}

#[test]
fn cosign_uses_our_key_files() {
    for cosign in Cosign::all() {
        for secret in secrets() {
            let public = secret.public_key();
            for text in [PASSPHRASE, ""] {
                cosign.write("ours.key", seal(&secret, text).to_pem());
                assert_eq!(cosign.output(text, &["public-key", "--key", "ours.key"]), public.to_pem());
                let refused = cosign.run("wrong", &["public-key", "--key", "ours.key"]);
                assert!(!refused.status.success(), "cosign took a wrong passphrase");
            }

            cosign.write("ours.key", seal(&secret, PASSPHRASE).to_pem());
            cosign.write("ours.pub", public.to_pem());
            assert_eq!(public.verify(MESSAGE, &cosign.sign("ours.key")), Ok(()));
            assert!(cosign.verifies("ours.pub", &secret.sign(MESSAGE)));
            assert!(!cosign.verifies("ours.pub", &secret.sign(b"another message")));
        }
    }
}

#[test]
fn we_use_the_key_files_of_cosign() {
    for cosign in Cosign::all() {
        cosign.output(PASSPHRASE, &["generate-key-pair"]);
        let (text, public) = (cosign.read("cosign.key"), cosign.read("cosign.pub"));
        let sealed = SealedKey::parse(&text).unwrap();
        assert_eq!(sealed.to_pem(), text, "byte for byte");
        assert_eq!(sealed.open(&passphrase("wrong")).err(), Some(OpenError::WrongPassphrase));

        let secret = sealed.open(&passphrase(PASSPHRASE)).unwrap();
        assert_eq!(secret.public_key().to_pem(), public, "byte for byte");
        assert!(cosign.verifies("cosign.pub", &secret.sign(MESSAGE)));
        assert_eq!(secret.public_key().verify(MESSAGE, &cosign.sign("cosign.key")), Ok(()));
        assert_eq!(PublicKey::from_pem(&public).unwrap(), *secret.public_key());
    }
}

#[test]
fn cosign_and_we_read_the_same_in_files_of_others() {
    for cosign in Cosign::all() {
        for (name, text) in samples() {
            let ours = SealedKey::parse(&text).unwrap().open(&passphrase(SAMPLES_PASSPHRASE)).unwrap();
            cosign.write("sample.key", &text);
            let theirs = cosign.output(SAMPLES_PASSPHRASE, &["public-key", "--key", "sample.key"]);
            assert_eq!(theirs, ours.public_key().to_pem(), "{name}");
        }
    }
}

#[test]
fn the_sigstore_crate_uses_our_key_files() {
    for (secret, scheme) in
        secrets().iter().zip([SigningScheme::ECDSA_P256_SHA256_ASN1, SigningScheme::ED25519])
    {
        let text = seal(secret, PASSPHRASE).to_pem();
        let theirs = SigStoreKeyPair::from_encrypted_pem(text.as_bytes(), PASSPHRASE.as_bytes()).unwrap();
        assert_eq!(theirs.public_key_to_der().unwrap(), secret.public_key().to_spki_der());
        assert!(SigStoreKeyPair::from_encrypted_pem(text.as_bytes(), b"wrong").is_err());

        let signature = theirs.to_sigstore_signer(&scheme).unwrap().sign(MESSAGE).unwrap();
        assert_eq!(secret.public_key().verify(MESSAGE, &signature), Ok(()));
    }
}

#[test]
fn we_use_the_key_files_of_the_sigstore_crate() {
    for theirs in [
        SigStoreKeyPair::ECDSA(ECDSAKeys::new(EllipticCurve::P256).unwrap()),
        SigStoreKeyPair::ED25519(Ed25519Keys::new().unwrap()),
    ] {
        // N=32768 here, and line ends of the other kind.
        let text = theirs.private_key_to_encrypted_pem(PASSPHRASE.as_bytes()).unwrap();
        let secret = SealedKey::parse(&text).unwrap().open(&passphrase(PASSPHRASE)).unwrap();
        assert_eq!(secret.public_key().to_spki_der(), theirs.public_key_to_der().unwrap());
        let public = PublicKey::from_pem(&theirs.public_key_to_pem().unwrap()).unwrap();
        assert_eq!(public, *secret.public_key());
    }
}
