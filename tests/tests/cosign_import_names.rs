//! `bulla cosign import`, where a signature names its tag, and where the repository cannot tell what was
//! revoked.

use bulla_tests::cli::{Cli, Ran};
use bulla_tests::programs::{Bullad, expect};
use bulla_tests::simulator::{Loopback, Registry};
use serde_json::Value;
use tempfile::TempDir;

const IMAGE: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[]}"#;
const OTHER: &[u8] = br#"{"schemaVersion":2,"config":{},"layers":[],"annotations":{"it":"is another"}}"#;

struct Scene {
    registry: Registry,
    admin: Cli,
    name: String,
    _loopback: Loopback,
    server: Bullad,
    _folder: TempDir,
}

impl Scene {
    /// A repository without signers, whose tags the key of targets signs. `ci` signs in the registry.
    fn begin(mode: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let admin = server.user();
        let registry = Registry::default();
        let loopback = registry.over_http();
        for key in ["root", "targets", "ci"] {
            expect(&admin, 0, &["key", "generate", key, "--algorithm", "ecdsa-p256"]);
        }
        let name = format!("{}/team/app", loopback.host());
        expect(&admin, 0, &["init", &name, "--mode", mode]);
        Self { registry, admin, name, _loopback: loopback, server, _folder: folder }
    }

    /// Adds a signer, whose key is in a home of its own alone.
    fn signer(&self, name: &str) -> Cli {
        let user = self.server.user();
        expect(&user, 0, &["key", "generate", name, "--algorithm", "ecdsa-p256"]);
        let key = user.home(&format!("keys/{name}.pub"));
        expect(&self.admin, 0, &["signer", "add", &self.name, name, "--key", key.to_str().unwrap()]);
        let root = expect(&self.admin, 0, &["inspect", &self.name]).json();
        let root = root["root_sha256"].as_str().unwrap();
        expect(&user, 0, &["trust", "add", &self.name, "--root-sha256", root, "--mode", "legacy"]);
        user
    }

    fn sign_in_the_registry(&self, tag: &str) {
        let image = format!("{}:{tag}", self.name);
        expect(&self.admin, 0, &["sign", "--only-registry", "--key", "ci", &image]);
    }

    /// Imports by the key `ci`.
    fn import(&self, code: i32, options: &[&str]) -> Value {
        self.run(code, &[&["--output", "json"], options].concat()).json()
    }

    /// What would be said beside the answer.
    fn advice(&self, code: i32) -> String {
        self.run(code, &["--dry-run"]).stderr
    }

    fn run(&self, code: i32, options: &[&str]) -> Ran {
        let key = self.admin.home("keys/ci.pub");
        let fixed = ["cosign", "import", &self.name, "--key", key.to_str().unwrap()];
        expect(&self.admin, code, &[&fixed[..], options].concat())
    }

    fn verify(&self, code: i32, tag: &str) {
        expect(&self.admin, code, &["verify", &format!("{}:{tag}", self.name)]);
    }
}

/// Fate and reason of a tag.
fn fate<'a>(answer: &'a Value, tag: &str) -> (&'a str, &'a str) {
    let found = answer["tags"].as_array().unwrap().iter().find(|found| found["tag"] == tag).unwrap();
    (found["fate"].as_str().unwrap(), found["reason"].as_str().unwrap_or_default())
}

#[test]
fn a_signature_that_names_a_tag_counts_for_that_tag_alone() {
    let scene = Scene::begin("spec");
    scene.registry.push("1.0", IMAGE);
    // The signature says 1.0; the bundle that lies beside it names no tag.
    scene.sign_in_the_registry("1.0");
    scene.registry.push("latest", IMAGE);
    assert!(scene.advice(0).contains("--any-tag"));
    let answer = scene.import(0, &[]);
    assert_eq!(fate(&answer, "1.0"), ("imported", ""));
    assert_eq!(fate(&answer, "latest"), ("refused", "it is signed as 1.0, and not as this tag"));
    scene.verify(0, "1.0");
    scene.verify(12, "latest");

    let answer = scene.import(0, &["--any-tag"]);
    assert_eq!((fate(&answer, "1.0").0, fate(&answer, "latest").0), ("skipped", "imported"));
    scene.verify(0, "latest");

    // Whoever signs it as the other tag too need not be asked.
    scene.registry.push("2.0", OTHER);
    scene.sign_in_the_registry("2.0");
    scene.registry.push("stable", OTHER);
    assert_eq!(fate(&scene.import(0, &[]), "stable").0, "refused");
    scene.sign_in_the_registry("stable");
    assert_eq!(fate(&scene.import(0, &[]), "stable").0, "imported");
}

#[test]
fn a_legacy_repository_brings_nothing_back_unasked() {
    let scene = Scene::begin("legacy");
    scene.registry.push("1.0", IMAGE);
    scene.sign_in_the_registry("1.0");
    let answer = scene.import(12, &[]);
    let (fate_of, why) = fate(&answer, "1.0");
    assert!(fate_of == "refused" && why.contains("keeps no record"), "{answer:#}");
    assert!(scene.advice(12).contains("--none-revoked"));
    assert_eq!(fate(&scene.import(0, &["--none-revoked"]), "1.0").0, "imported");
    scene.verify(0, "1.0");
    // What is listed was not revoked.
    assert_eq!(fate(&scene.import(0, &[]), "1.0").0, "skipped");

    expect(&scene.admin, 0, &["revoke", &format!("{}:1.0", scene.name), "--reason", "bad"]);
    assert_eq!(fate(&scene.import(12, &[]), "1.0").0, "refused");
    scene.verify(12, "1.0");
    // Moving a tag is no answer to that either.
    scene.registry.push("2.0", OTHER);
    scene.sign_in_the_registry("2.0");
    assert_eq!(fate(&scene.import(0, &["--none-revoked", "--tags", "2.0"]), "2.0").0, "imported");
    scene.registry.push("2.0", IMAGE);
    let answer = scene.import(12, &["--move", "--any-tag", "--tags", "2.0"]);
    assert!(fate(&answer, "2.0").1.contains("keeps no record"), "{answer:#}");
}

/// The admin cannot take a tag off the list of a signer whose key is elsewhere: that it stands there does not
/// say that it was not revoked.
#[test]
fn a_list_of_a_signer_brings_nothing_back() {
    let scene = Scene::begin("legacy");
    let alice = scene.signer("alice");
    scene.registry.push("1.0", IMAGE);
    let image = format!("{}:1.0", scene.name);
    expect(&alice, 0, &["sign", &image, "--as", "alice"]);
    scene.verify(0, "1.0");
    let key = alice.home("keys/alice.pub");
    let import = ["cosign", "import", &scene.name, "--key", key.to_str().unwrap(), "--output", "json"];
    // The registry has her signature, and what is released was not revoked.
    assert_eq!(fate(&expect(&alice, 0, &import).json(), "1.0").0, "skipped");

    let revoked = expect(&scene.admin, 0, &["revoke", &image, "--output", "json"]);
    assert!(revoked.stdout.contains("alice"), "she lists it still: {revoked:?}");
    scene.verify(12, "1.0");
    for more in [&[][..], &["--as", "alice"], &["--move"], &["--any-tag"], &["--tags", "1.0"]] {
        let answer = expect(&alice, 12, &[&import[..], more].concat()).json();
        let (fate_of, why) = fate(&answer, "1.0");
        assert!(fate_of == "refused" && why.contains("keeps no record"), "{more:?}: {answer:#}");
    }
    scene.verify(12, "1.0");
    expect(&alice, 12, &["verify", &image]);

    // Whoever knows better says so.
    assert_eq!(
        fate(&expect(&alice, 0, &[&import[..], &["--none-revoked"]].concat()).json(), "1.0").0,
        "imported"
    );
    scene.verify(0, "1.0");
}
