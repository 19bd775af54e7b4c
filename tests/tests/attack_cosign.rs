//! What an attacker does to signatures and attestations in Sigstore's formats, and what cosign and
//! `bulla verify --key` say to it. Where cosign accepts, the test says so: it is why Bulla does not do the same.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_tests::sigstore_peers::cosign::{Cosign, Layout};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::libraries::{Library, hint, payload, signed_payload};
use bulla_tests::sigstore_peers::ours::{verify_with, verify_with_key};
use bulla_tests::sigstore_peers::reports::{trivy, vulnerabilities};
use bulla_tests::sigstore_peers::stored::{Layer, SIGNATURE, statement};
use bulla_tests::sigstore_peers::{KeyPair, Keys, Opinion, text};
use jiff::SignedDuration;
use serde_json::{Value, json};

/// `bulla verify --key` found nothing at all, or nothing that counts.
const NOT_SIGNED: [i32; 2] = [10, 12];

struct Scene {
    registry: ImageRegistry,
    two: Cosign,
    three: Cosign,
    keys: Keys,
}

impl Scene {
    fn set() -> Option<Self> {
        let registry = ImageRegistry::start()?;
        let (two, three) = Cosign::both()?;
        let keys = Keys::make(&two);
        Some(Self { registry, two, three, keys })
    }

    fn image(&self, tag: &str) -> Image {
        self.registry.push("team/app", tag, tag)
    }

    /// The good key.
    fn good(&self) -> &KeyPair {
        &self.keys.good
    }

    fn cosign_2(&self, image: &Image) -> Opinion {
        self.two.verify(&self.good().public, image, &[])
    }

    fn cosign_3(&self, image: &Image) -> Opinion {
        self.three.verify(&self.good().public, image, &[])
    }

    fn bulla(&self, image: &Image) -> Opinion {
        verify_with_key(&self.good().public, image)
    }

    fn bulla_refuses(&self, case: &str, image: &Image) {
        let opinion = self.bulla(image);
        assert!(NOT_SIGNED.contains(&opinion.code), "{case}: {opinion:?}");
        assert!(opinion.answer.is_empty(), "{case}: a refusal names nothing to pull: {opinion:?}");
    }

    fn attest(&self, layout: Layout, image: &Image) {
        let predicate = vulnerabilities(&trivy(image, 3, SignedDuration::from_mins(1)));
        self.three.attest(layout, self.good(), "vuln", &predicate, image);
    }

    /// An image with a good bundle, which the test changes.
    fn bundled(&self, tag: &str) -> (Image, Value) {
        let image = self.image(tag);
        self.three.sign(Layout::Bundle, self.good(), &image, &[]);
        let mut bundles = self.registry.bundles(&image);
        assert_eq!(bundles.len(), 1);
        self.cosign_3(&image).yes("before it is changed");
        self.bulla(&image).yes("before it is changed");
        (image, bundles.remove(0))
    }

    /// An image with a good signature under `.sig`, which the test changes.
    fn signed(&self, tag: &str) -> (Image, Layer) {
        let image = self.image(tag);
        self.two.sign(Layout::Tags, self.good(), &image, &[]);
        let mut layers = self.registry.signatures(&image);
        assert_eq!(layers.len(), 1);
        self.cosign_2(&image).yes("before it is changed");
        self.bulla(&image).yes("before it is changed");
        (image, layers.remove(0))
    }
}

/// T1: a scan that failed, attested with the key, is no signature.
#[test]
fn an_attestation_is_no_signature() {
    let Some(scene) = Scene::set() else { return };
    for (tag, layout) in [("bundle", Layout::Bundle), ("att", Layout::Tags)] {
        let image = scene.image(tag);
        scene.attest(layout, &image);
        if layout == Layout::Bundle {
            scene.cosign_3(&image).yes("cosign 3 counts any statement in a bundle as a signature");
        }
        scene.cosign_2(&image).no("cosign 2 looks for signatures", "no signatures found");
        scene.bulla_refuses("an attestation", &image);
    }
}

/// T2: somebody else's bundle neither hides a good signature nor spoils it.
#[test]
fn a_foreign_bundle_hides_no_signature() {
    let Some(scene) = Scene::set() else { return };
    let (image, _) = scene.signed("beside-a-foreign-one");
    scene.three.sign(Layout::Bundle, &scene.keys.other, &image, &[]);
    scene.cosign_2(&image).yes("cosign 2 reads tags");
    scene.cosign_3(&image).no("cosign 3 reads nothing but bundles", "no matching");
    scene.bulla(&image).yes("beside a foreign bundle");
    verify_with_key(&scene.keys.other.public, &image).yes("the foreign one by its own key");

    let (image, good) = scene.bundled("beside-a-broken-one");
    let broken = [json!({"mediaType": "nothing known"}), json!([1, 2]), json!({"dsseEnvelope": 7})];
    for broken in broken {
        scene.registry.set_bundles(&image, &[broken.clone(), good.clone()]);
        scene.bulla(&image).yes(&format!("beside {broken}"));
        scene.registry.set_bundles(&image, &[broken]);
        scene.bulla_refuses("nothing but a broken bundle", &image);
    }
}

/// T3: the right key on one layer and the wanted annotation on another do not add up. Neither does a digest.
#[test]
fn layers_do_not_add_up() {
    let Some(scene) = Scene::set() else { return };
    let (image, _) = scene.signed("mixed");
    scene.two.sign(Layout::Tags, &scene.keys.other, &image, &["-a", "env=prod"]);
    let public = &scene.good().public;
    assert_eq!(scene.registry.signatures(&image).len(), 2);
    scene.two.verify(&scene.keys.other.public, &image, &["-a", "env=prod"]).yes("on one layer");
    scene.two.verify(public, &image, &["-a", "env=prod"]).no("on two layers", "no matching");
    let bulla = |key: &KeyPair, options: &[&str]| {
        verify_with(&[&["--key", text(&key.public), "--annotation", "env=prod"], options].concat(), &image)
    };
    bulla(&scene.keys.other, &[]).yes("on one layer");
    assert_eq!(bulla(scene.good(), &[]).code, 12, "on two layers");
    // Both keys have signed, but only one of them this.
    let both = ["--key", text(&scene.keys.other.public), "--threshold", "2"];
    assert_eq!(bulla(scene.good(), &both).code, 12, "one of two keys");
    verify_with(&[&["--key", text(public)], &both[..]].concat(), &image).yes("both without it");
    let twice = ["--key", text(public), "--key", text(public), "--threshold", "2"];
    assert!(!verify_with(&twice, &image).accepted, "one key given twice");

    // The good key over another image, and the other key over this one.
    let (elsewhere, good) = scene.signed("elsewhere");
    let image = scene.image("neither");
    scene.two.sign(Layout::Tags, &scene.keys.other, &image, &[]);
    let mut layers = scene.registry.signatures(&image);
    layers.push(good);
    scene.registry.set_signatures(&image, &layers);
    scene.cosign_2(&image).no(&elsewhere.digest, "no matching");
    scene.bulla_refuses("two halves of a signature", &image);
}

/// T4: who signs later keeps what others signed before.
#[test]
fn a_later_signature_keeps_the_earlier_ones() {
    let Some(scene) = Scene::set() else { return };
    let (image, _) = scene.signed("two-signers");
    scene.two.sign(Layout::Tags, &scene.keys.other, &image, &[]);
    for key in [scene.good(), &scene.keys.other] {
        scene.two.verify(&key.public, &image, &[]).yes("cosign appends");
        verify_with_key(&key.public, &image).yes("bulla finds both");
    }
    // As the crate `sigstore` pushes: one layer, whatever was there.
    let last = scene.registry.signatures(&image).remove(1);
    scene.registry.set_signatures(&image, &[last]);
    scene.cosign_2(&image).no("clobbered", "no matching");
    scene.bulla_refuses("clobbered", &image);
}

/// T5: a tag that is moved back to what was signed before. No key tells that: `bulla verify` without `--key` does.
#[test]
fn a_signature_alone_binds_no_tag_and_no_time() {
    let Some(scene) = Scene::set() else { return };
    let (old, _) = scene.signed("1.0");
    let new = scene.registry.push("team/app", "1.0", "the next build");
    scene.two.sign(Layout::Tags, scene.good(), &new, &[]);
    scene.cosign_2(&new).yes("the new image");
    scene.registry.move_tag(&old);
    let cosign = scene.cosign_2(&old).yes("cosign takes the old one");
    assert!(cosign.answer.contains(&old.digest), "{cosign:?}");
    let bulla = scene.bulla(&old).yes("so does bulla with a key alone");
    assert!(bulla.answer.contains(&old.digest), "{bulla:?}");
    assert!(
        bulla.said.contains("tag") && bulla.said.contains("time"),
        "and says what it cannot know: {bulla:?}"
    );
}

/// T6: image and signature copied into another repository.
#[test]
fn a_signature_is_good_in_its_repository() {
    let Some(scene) = Scene::set() else { return };
    let (image, good) = scene.signed("copied");
    let copy = scene.registry.copy(&image, "team/another");
    scene.registry.set_signatures(&copy, &[good]);
    scene.cosign_2(&copy).yes("cosign does not look at the repository");
    scene.cosign_3(&copy).yes("cosign does not look at the repository");
    scene.bulla_refuses("replayed in another repository", &copy);
}

/// A key id that is not the key's own, on a signature that is good.
#[test]
fn a_wrong_key_id_is_no_name() {
    let Some(scene) = Scene::set() else { return };
    let (image, good) = scene.bundled("key-id");
    let mut named = good.clone();
    named["dsseEnvelope"]["signatures"][0]["keyid"] = json!("SHA256:nobody");
    scene.registry.set_bundles(&image, std::slice::from_ref(&named));
    scene.cosign_3(&image).no("cosign selects keys by it", "no matching");
    scene.bulla(&image).yes("bulla tries the keys that it was given");
    // The name of the right key on a signature of another one.
    scene.three.sign(Layout::Bundle, &scene.keys.other, &image, &[]);
    let mut foreign = foreign_to(&named, scene.registry.bundles(&image));
    foreign["dsseEnvelope"]["signatures"][0]["keyid"] = json!(hint(&scene.good().public));
    scene.registry.set_bundles(&image, &[foreign]);
    scene.cosign_3(&image).no("another key", "no matching");
    scene.bulla_refuses("another key with the right key id", &image);
}

/// The hint in a bundle is not signed.
#[test]
fn a_forged_hint_makes_no_key() {
    let Some(scene) = Scene::set() else { return };
    let (image, good) = scene.bundled("hint");
    let (right, wrong) = (hint(&scene.good().public), hint(&scene.keys.other.public));
    assert_eq!(good["verificationMaterial"]["publicKey"]["hint"], right);
    let with = |bundle: &Value, hint: &str| {
        let mut bundle = bundle.clone();
        bundle["verificationMaterial"]["publicKey"]["hint"] = json!(hint);
        bundle
    };
    // The name of another key on the signature of the right one: an attacker gains nothing, nor does he stop us.
    let misnamed = with(&good, &wrong);
    scene.registry.set_bundles(&image, std::slice::from_ref(&misnamed));
    scene.cosign_3(&image).yes("cosign does not ask for the hint");
    scene.bulla(&image).yes("nor does bulla");
    // The name of the right key on the signature of another one.
    scene.three.sign(Layout::Bundle, &scene.keys.other, &image, &[]);
    let forged = with(&foreign_to(&misnamed, scene.registry.bundles(&image)), &right);
    scene.registry.set_bundles(&image, std::slice::from_ref(&forged));
    scene.cosign_3(&image).no("another key", "no matching");
    scene.bulla_refuses("another key under a forged hint", &image);
    if Library::SigstoreJs.is_present() {
        let public = &scene.good().public;
        Library::SigstoreJs.verify(public, &forged).no("sigstore-js finds the key and", "SIGNATURE_ERROR");
        Library::SigstoreJs.verify(public, &misnamed).no("sigstore-js finds no key", "PUBLIC_KEY_ERROR");
    }
}

/// What is signed is changed after it was signed.
#[test]
fn a_tampered_payload_is_refused() {
    let Some(scene) = Scene::set() else { return };
    // A signature of another image, its digest exchanged.
    let (image, good) = scene.signed("payload");
    let evil = scene.image("evil");
    let exchanged = Layer { bytes: payload(&evil.repository, &evil.digest).into_bytes(), ..good.clone() };
    scene.registry.set_signatures(&evil, &[exchanged]);
    scene.cosign_2(&evil).no("a changed payload", "invalid signature");
    scene.bulla_refuses("a changed payload", &evil);
    // The signature of that image as it is: good, but of something else.
    scene.registry.set_signatures(&evil, std::slice::from_ref(&good));
    scene.cosign_2(&evil).no("another image", "invalid or missing digest in claim");
    scene.bulla_refuses("the payload of another image", &evil);
    // No signature, and half of one.
    for (case, signature) in [("no signature", String::new()), ("half a signature", half_of(&good))] {
        let mut layer = good.clone();
        layer.annotations.insert(SIGNATURE.to_owned(), signature.into());
        scene.registry.set_signatures(&image, &[layer]);
        scene.cosign_2(&image).no(case, "");
        scene.bulla_refuses(case, &image);
    }
    scene.registry.set_signatures(&image, &[]);
    scene.cosign_2(&image).no("no layer", "no signatures found");
    scene.bulla_refuses("no layer", &image);
}

/// The right key over what two readers could take for two things, or for something else than a signature.
#[test]
fn a_payload_has_one_meaning() {
    let Some(scene) = Scene::set() else { return };
    let image = scene.image("meaning");
    let good = payload(&image.tagged(), &image.digest);
    let elsewhere = format!("sha256:{}", "0".repeat(64));
    let member = |digest: &str| format!(r#""image":{{"docker-manifest-digest":"{digest}"}}"#);
    let twice = |first: &str, second: &str| [member(first), member(second)].join(",");
    let exchanged = |with: &str| good.replace(&member(&image.digest), with);
    let payloads = [
        ("the digest twice, ours last", exchanged(&twice(&elsewhere, &image.digest)), true),
        ("the digest twice, ours first", exchanged(&twice(&image.digest, &elsewhere)), false),
        ("two documents", format!("{good}{good}"), false),
        ("another type", good.replace("cosign container image", "some other"), true),
        ("no digest", exchanged(r#""image":{}"#), false),
        ("no name", good.replace(&image.tagged(), ""), true),
    ];
    scene.registry.set_signatures(&image, &[signed_payload(scene.good(), &good)]);
    scene.cosign_2(&image).yes("as it should be");
    scene.bulla(&image).yes("as it should be");
    for (case, payload, cosign_accepts) in payloads {
        scene.registry.set_signatures(&image, &[signed_payload(scene.good(), &payload)]);
        assert_eq!(scene.cosign_2(&image).accepted, cosign_accepts, "{case}");
        scene.bulla_refuses(case, &image);
    }
}

/// The same for the statement in a bundle.
#[test]
fn a_tampered_statement_is_refused() {
    let Some(scene) = Scene::set() else { return };
    let (image, good) = scene.bundled("statement");
    let evil = scene.image("evil-statement");
    scene.registry.set_bundles(&evil, std::slice::from_ref(&good));
    scene.cosign_3(&evil).no("the bundle of another image", "");
    scene.bulla_refuses("the bundle of another image", &evil);

    let mut about_evil = statement(&good["dsseEnvelope"]);
    about_evil["subject"][0]["digest"]["sha256"] = json!(evil.digest.trim_start_matches("sha256:"));
    let mut tampered = good.clone();
    tampered["dsseEnvelope"]["payload"] = json!(STANDARD.encode(about_evil.to_string()));
    scene.registry.set_bundles(&evil, std::slice::from_ref(&tampered));
    scene.cosign_3(&evil).no("a changed statement", "no matching");
    scene.bulla_refuses("a changed statement", &evil);
    for library in Library::ALL.into_iter().filter(|library| library.is_present()) {
        let document = |bundle: &Value| match library {
            Library::SigstoreJs => bundle.clone(),
            Library::Securesystemslib => bundle["dsseEnvelope"].clone(),
        };
        library.verify(&scene.good().public, &document(&good)).yes(library.name());
        library.verify(&scene.good().public, &document(&tampered)).no(library.name(), "");
    }
    // Without signatures, and under another type of payload: both are signed over.
    let mut none = good.clone();
    none["dsseEnvelope"]["signatures"] = json!([]);
    let mut retyped = good;
    retyped["dsseEnvelope"]["payloadType"] = json!("application/json");
    for (case, bundle) in [("no signatures", none), ("another type", retyped)] {
        scene.registry.set_bundles(&image, &[bundle]);
        scene.cosign_3(&image).no(case, "");
        scene.bulla_refuses(case, &image);
    }
}

/// Every key but the right one is refused, a file of two keys as well as one of none.
#[test]
fn only_a_key_is_a_key() {
    let Some(scene) = Scene::set() else { return };
    let (image, _) = scene.signed("keys");
    let refused = verify_with_key(&scene.keys.other.public, &image);
    assert_eq!(refused.code, 12, "{refused:?}");
    for content in ["", "no key at all"] {
        let file = scene.keys.folder().join("broken.pub");
        std::fs::write(&file, content).unwrap();
        let opinion = verify_with_key(&file, &image);
        assert!(!opinion.accepted && opinion.code != 10, "{opinion:?}");
    }
    let missing = verify_with_key(Path::new("/nonexistent/key.pub"), &image);
    assert!(!missing.accepted && missing.said.contains("key.pub"), "{missing:?}");
}

/// The bundle that is not `known`.
fn foreign_to(known: &Value, bundles: Vec<Value>) -> Value {
    assert_eq!(bundles.len(), 2, "cosign adds its bundle to what is there");
    bundles.into_iter().find(|bundle| bundle != known).expect("a second bundle")
}

fn half_of(layer: &Layer) -> String {
    let signature = STANDARD.decode(layer.annotations[SIGNATURE].as_str().unwrap()).unwrap();
    STANDARD.encode(&signature[..signature.len() / 2])
}
