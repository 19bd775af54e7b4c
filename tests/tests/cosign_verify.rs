//! `bulla verify --key`: one answer for both layouts of cosign, what it says and what it does not,
//! and how it ends. What attackers do to signatures has a file of its own.

use std::path::{Path, PathBuf};

use bulla_tests::cli::{Cli, Ran};
use bulla_tests::programs::{expect, program};
use bulla_tests::sigstore_peers::cosign::{Cosign, Layout};
use bulla_tests::sigstore_peers::images::{INDEX, Image, ImageRegistry};
use bulla_tests::sigstore_peers::libraries::{payload, signed_by_the_crate, signed_payload};
use bulla_tests::sigstore_peers::reports::{trivy, vulnerabilities};
use bulla_tests::sigstore_peers::{KeyPair, Keys};
use jiff::SignedDuration;
use serde_json::{Value, json};

struct Scene {
    registry: ImageRegistry,
    two: Cosign,
    three: Cosign,
    keys: Keys,
    bulla: Cli,
}

impl Scene {
    fn set() -> Option<Self> {
        let registry = ImageRegistry::start()?;
        let (two, three) = Cosign::both()?;
        let keys = Keys::make(&two);
        let bulla = Cli::new(program("bulla").to_str().unwrap());
        Some(Self { registry, two, three, keys, bulla })
    }

    fn image(&self, tag: &str) -> Image {
        self.registry.push("team/app", tag, tag)
    }

    /// An image that the good key signed in each layout.
    fn signed(&self) -> [(Image, &'static str); 2] {
        let (tags, bundle) = (self.image("tags"), self.image("bundle"));
        self.two.sign(Layout::Tags, &self.keys.good, &tags, &["-a", "env=prod"]);
        self.three.sign(Layout::Bundle, &self.keys.good, &bundle, &["-a", "env=prod"]);
        [(tags, "sig"), (bundle, "bundle")]
    }

    fn verify(&self, code: i32, reference: &str, keys: &[&KeyPair], options: &[&str]) -> Ran {
        let keys: Vec<&Path> = keys.iter().map(|key| key.public.as_path()).collect();
        self.verify_by(code, reference, &keys, options)
    }

    fn verify_by(&self, code: i32, reference: &str, keys: &[&Path], options: &[&str]) -> Ran {
        let keys = keys.iter().flat_map(|key| ["--key", key.to_str().unwrap()]);
        let arguments: Vec<&str> =
            ["verify", reference].into_iter().chain(keys).chain(options.iter().copied()).collect();
        expect(&self.bulla, code, &arguments)
    }

    fn json(&self, code: i32, reference: &str, keys: &[&KeyPair], options: &[&str]) -> Value {
        let options = [options, &["--output", "json"]].concat();
        let answer = self.verify(code, reference, keys, &options).json();
        require_schema(&answer);
        answer
    }
}

fn require_schema(answer: &Value) {
    let name = answer["schema"].as_str().unwrap().strip_prefix("bulla/").unwrap();
    let name = name.strip_suffix("/v1").unwrap();
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../keys-schema/schema")
        .join(format!("{name}.schema.json"));
    let schema: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .unwrap()
        .iter_errors(answer)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect();
    assert!(errors.is_empty(), "{errors:?}\n{answer:#}");
}

#[test]
fn both_layouts_are_read_and_what_they_leave_open_is_said() {
    let Some(scene) = Scene::set() else { return };
    let good = &scene.keys.good;
    for (image, layout) in scene.signed() {
        let said = scene.verify(0, &image.tagged(), &[good], &[]);
        assert_eq!(said.stdout.trim(), image.pinned(), "what to pull, and nothing else");
        assert!(said.stderr.contains("bind no tag") && said.stderr.contains("no time"), "{}", said.stderr);
        assert!(said.stderr.contains("revoked is unknown"), "{}", said.stderr);

        let answer = scene.json(0, &image.tagged(), &[good], &[]);
        assert_eq!((&answer["verdict"], &answer["reference"]), (&json!("signed"), &json!(image.pinned())));
        let binds = json!({"tag": false, "time": false, "repository": layout == "sig"});
        assert_eq!(answer["binds"], binds, "a bundle names no repository");
        assert_eq!(answer["revocation"], "unknown");
        assert_eq!(answer["proofs"][0]["layout"], layout);
        assert_eq!(answer["proofs"][0]["annotations"]["env"], "prod");
        assert_eq!(answer["others"], json!([]));
        scene.verify(0, &image.pinned(), &[good], &[]);
    }
}

#[test]
fn what_the_crate_signs_is_read() {
    let Some(scene) = Scene::set() else { return };
    let image = scene.image("crate");
    scene.registry.set_signatures(&image, &[signed_by_the_crate(&scene.keys.good, &image)]);
    let answer = scene.json(0, &image.tagged(), &[&scene.keys.good], &[]);
    assert_eq!(answer["proofs"][0]["names"], image.tagged());
    // The name is compared in full: another port is another registry.
    let other = payload("127.0.0.1:1/team/app", &image.digest);
    scene.registry.set_signatures(&image, &[signed_payload(&scene.keys.good, &other)]);
    let answer = scene.json(12, &image.tagged(), &[&scene.keys.good], &[]);
    assert!(answer["others"][0]["reason"].as_str().unwrap().contains("another repository"), "{answer:#}");
    // A tag that was asked for and is not the one that the signer meant is told.
    let named = payload(&image.with_tag("1.0").tagged(), &image.digest);
    scene.registry.set_signatures(&image, &[signed_payload(&scene.keys.good, &named)]);
    let said = scene.verify(0, &image.tagged(), &[&scene.keys.good], &[]);
    assert!(said.stderr.contains("was made for") && said.stderr.contains(":1.0"), "{}", said.stderr);
}

#[test]
fn thresholds_count_keys() {
    let Some(scene) = Scene::set() else { return };
    let (good, other) = (&scene.keys.good, &scene.keys.other);
    let image = scene.image("two");
    let two = ["--threshold", "2"];
    scene.two.sign(Layout::Tags, good, &image, &[]);
    scene.two.sign(Layout::Tags, good, &image, &["-a", "again=1"]);
    scene.three.sign(Layout::Bundle, good, &image, &[]);
    let answer = scene.json(12, &image.tagged(), &[good, other], &two);
    assert_eq!(answer["keys"].as_array().unwrap().len(), 1, "three signatures, one key: {answer:#}");
    scene.three.sign(Layout::Bundle, other, &image, &[]);
    let answer = scene.json(0, &image.tagged(), &[good, other], &two);
    assert_eq!(answer["keys"].as_array().unwrap().len(), 2, "over both layouts");
    assert_eq!(answer["binds"]["repository"], false, "one of the two names none");

    // One key in two files is one key, and a threshold that nothing can meet is a mistake.
    let copy = scene.keys.folder().join("copy.pub");
    std::fs::write(&copy, std::fs::read_to_string(&good.public).unwrap().replace('\n', "\r\n")).unwrap();
    let twice = scene.verify_by(2, &image.tagged(), &[&good.public, &copy], &two);
    assert!(twice.stderr.contains("2 of 1 different keys"), "{}", twice.stderr);
    scene.verify(2, &image.tagged(), &[good], &["--threshold", "0"]);
}

#[test]
fn annotations_are_of_the_signature_that_counts() {
    let Some(scene) = Scene::set() else { return };
    let (good, other) = (&scene.keys.good, &scene.keys.other);
    for (image, _) in scene.signed() {
        scene.verify(0, &image.tagged(), &[good], &["--annotation", "env=prod"]);
        scene.verify(12, &image.tagged(), &[good], &["--annotation", "env=dev"]);
        scene.two.sign(Layout::Tags, other, &image, &["-a", "env=dev"]);
        scene.three.sign(Layout::Bundle, other, &image, &["-a", "env=dev"]);
        scene.verify(12, &image.tagged(), &[good], &["--annotation", "env=dev"]);
        scene.verify(0, &image.tagged(), &[other], &["--annotation", "env=dev"]);
    }
}

#[test]
fn attestations_are_asked_for_by_type() {
    let Some(scene) = Scene::set() else { return };
    let good = &scene.keys.good;
    for (tag, layout) in [("att", Layout::Tags), ("att-bundle", Layout::Bundle)] {
        let image = scene.image(tag);
        scene.verify(10, &image.tagged(), &[good], &["--type", "vuln"]);
        let report = vulnerabilities(&trivy(&image, 1, SignedDuration::from_mins(1)));
        scene.three.attest(layout, good, "vuln", &report, &image);
        let answer = scene.json(0, &image.tagged(), &[good], &["--type", "vuln"]);
        assert_eq!(answer["reference"], image.pinned());
        let uri = "https://cosign.sigstore.dev/attestation/vuln/v1";
        scene.verify(0, &image.tagged(), &[good], &["--type", uri]);
        scene.verify(12, &image.tagged(), &[good], &["--type", "openvex"]);
        scene.verify(12, &image.tagged(), &[&scene.keys.other], &["--type", "vuln"]);
        scene.verify(2, &image.tagged(), &[good], &["--type", "nonsense"]);
    }
}

#[test]
fn an_index_vouches_for_its_images_and_not_the_other_way_round() {
    let Some(scene) = Scene::set() else { return };
    let good = &scene.keys.good;
    let amd64 = ["--platform", "linux/amd64"];
    let (index, child) = scene.registry.push_index("team/app", "index", "an index");
    scene.verify(10, &index.tagged(), &[good], &amd64);
    scene.two.sign(Layout::Tags, good, &index, &[]);
    let answer = scene.json(0, &index.tagged(), &[good], &amd64);
    assert_eq!((&answer["digest"], &answer["signed"]), (&json!(child.digest), &json!(index.digest)));
    scene.verify(2, &index.tagged(), &[good], &["--platform", "plan9/amd64"]);

    let (index, child) = scene.registry.push_index("team/app", "child", "a child");
    scene.three.sign(Layout::Bundle, good, &child, &[]);
    let answer = scene.json(0, &index.tagged(), &[good], &amd64);
    assert_eq!((&answer["digest"], &answer["signed"]), (&json!(child.digest), &json!(child.digest)));
    scene.verify(10, &index.tagged(), &[good], &[]);
    scene.verify(10, &index.tagged(), &[good], &["--platform", "linux/arm64"]);
}

#[test]
fn no_has_several_reasons() {
    let Some(scene) = Scene::set() else { return };
    let (good, other) = (&scene.keys.good, &scene.keys.other);
    let image = scene.image("unsigned");
    let reason = |code, reference: &str| scene.json(code, reference, &[good], &[])["reason"].clone();
    assert_eq!(reason(10, &image.tagged()), "not-found");
    scene.two.sign(Layout::Tags, other, &image, &[]);
    assert_eq!(reason(12, &image.tagged()), "not-ours");
    let said = scene.verify(12, &image.tagged(), &[good], &[]);
    assert!(said.stdout.is_empty() && said.stderr.contains("none of the keys given"), "{said:?}");
    let nowhere = format!("127.0.0.1:1/team/app@{}", image.digest);
    assert_eq!(reason(31, &nowhere), "not-seen");
    scene.verify(11, &image.with_tag("unknown").tagged(), &[good], &[]);

    let rsa: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "../keys-schema/tests/data/keys/rsa-2048.pem"].iter().collect();
    let said = scene.verify_by(3, &image.tagged(), &[&rsa, &good.public], &[]);
    assert!(said.stderr.contains("RSA"), "refused aloud, though another key is there: {}", said.stderr);
    scene.verify(2, &image.tagged(), &[], &["--threshold", "1"]);
}

#[test]
fn long_lists_end_the_search() {
    let Some(scene) = Scene::set() else { return };
    let good = &scene.keys.good;
    let image = scene.image("long");
    scene.two.sign(Layout::Tags, good, &image, &[]);
    let layers = scene.registry.signatures(&image);
    let many: Vec<_> = std::iter::repeat_n(layers[0].clone(), 300).collect();
    scene.registry.set_signatures(&image, &many);
    let said = scene.verify(12, &image.tagged(), &[good], &[]);
    assert!(said.stderr.contains("300 entries"), "{}", said.stderr);
    scene.registry.set_signatures(&image, &many[..256]);
    scene.verify(0, &image.tagged(), &[good], &[]);

    let image = scene.image("crowded");
    let manifest = scene.registry.manifest(&image.repository, &image.tag).unwrap();
    let entry = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": image.digest, "size": manifest.len(),
    });
    let index = |count| {
        let entries = vec![entry.clone(); count];
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string();
        scene.registry.put_manifest(&image.repository, &image.derived_tag(""), index.as_bytes(), INDEX);
    };
    index(3_000);
    let said = scene.verify(31, &image.tagged(), &[good], &[]);
    assert!(said.stderr.contains("cannot look at all signatures"), "{}", said.stderr);
    // An honest signature beside it still counts: what could not be seen takes nothing away.
    scene.two.sign(Layout::Tags, good, &image, &[]);
    let answer = scene.json(0, &image.tagged(), &[good], &[]);
    assert_eq!(answer["unseen"].as_array().unwrap().len(), 1, "{answer:#}");
}
