//! What `bulla sign` and `bulla attest` write stands beside what others wrote: an index and its platforms, signatures
//! by several programs on one image, and keys of the other algorithm.

use std::path::Path;

use bulla_tests::sigstore_peers::cosign::{Cosign, Layout};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::ours::{TrustSite, verify_with, verify_with_key};
use bulla_tests::sigstore_peers::reports::{trivy, vulnerabilities};
use bulla_tests::sigstore_peers::skopeo::{Identity, Skopeo};
use bulla_tests::sigstore_peers::{Keys, text};
use jiff::SignedDuration;

struct Scene {
    registry: ImageRegistry,
    cosign: [Cosign; 2],
    skopeo: Vec<Skopeo>,
    keys: Keys,
    ours: TrustSite,
}

impl Scene {
    fn set() -> Option<Self> {
        let registry = ImageRegistry::start()?;
        let cosign: [Cosign; 2] = Cosign::both()?.into();
        let skopeo = Skopeo::present();
        if skopeo.is_empty() {
            return None;
        }
        let keys = Keys::make(&cosign[0]);
        let ours = TrustSite::start();
        ours.begin(&registry, "team/app");
        Some(Self { registry, cosign, skopeo, keys, ours })
    }

    fn everybody_accepts(&self, public: &Path, image: &Image, case: &str) {
        for cosign in &self.cosign {
            cosign.verify(public, image, &[]).yes(&format!("{}, {case}", cosign.name()));
        }
        for skopeo in &self.skopeo {
            let name = format!("{}, {case}", skopeo.name());
            skopeo.verify(public, image, Identity::Exact).yes(&name);
            let other = skopeo.verify(&self.keys.other.public, image, Identity::Exact);
            assert!(!other.accepted, "{name}, by another key: {other:?}");
        }
        verify_with_key(public, image).yes(case);
    }
}

/// cosign looks at the index, skopeo and podman at the image of their platform: both are signed.
#[test]
fn an_index_is_signed_with_its_platforms() {
    let Some(scene) = Scene::set() else { return };
    let (index, child) = scene.registry.push_index("team/app", "index", "ours");
    scene.ours.sign(&index);
    let alice = scene.ours.key("alice").public;
    scene.everybody_accepts(&alice, &index, "an index that bulla signed");
    assert!(!scene.registry.signatures(&child).is_empty() && !scene.registry.bundles(&child).is_empty());

    let (index, _) = scene.registry.push_index("team/app", "index-of-cosign", "theirs");
    let good = &scene.keys.good;
    scene.cosign[0].sign(Layout::Tags, good, &index, &[]);
    verify_with_key(&good.public, &index).yes("an index that cosign signed");
    for skopeo in &scene.skopeo {
        let opinion = skopeo.verify(&good.public, &index, Identity::Repository);
        opinion.no("the platform is not signed", "no signature exists");
    }
    scene.cosign[0].sign(Layout::Tags, good, &index, &["--recursive"]);
    for skopeo in &scene.skopeo {
        skopeo.verify(&good.public, &index, Identity::Repository).yes("cosign signed the platforms as well");
    }
    let on_arm = verify_with(&["--key", text(&good.public), "--platform", "linux/arm64"], &index);
    on_arm.yes("one platform of an index");
}

/// Nobody's signature is lost when `bulla` signs, nor is one of its own written twice.
#[test]
fn signatures_of_others_stay() {
    let Some(scene) = Scene::set() else { return };
    let image = scene.registry.push("team/app", "shared", "an image of many signers");
    scene.cosign[0].sign(Layout::Tags, &scene.keys.good, &image, &[]);
    scene.cosign[1].sign(Layout::Bundle, &scene.keys.good, &image, &[]);
    scene.ours.sign(&image);
    let alice = scene.ours.key("alice").public;
    scene.everybody_accepts(&alice, &image, "bulla beside cosign");
    for cosign in &scene.cosign {
        cosign.verify(&scene.keys.good.public, &image, &[]).yes("what cosign signed before");
    }
    let count = || (scene.registry.signatures(&image).len(), scene.registry.bundles(&image).len());
    assert_eq!(count(), (2, 2));
    scene.ours.sign_in_the_registry("alice", &image);
    assert_eq!(count(), (2, 2), "the same signer again");

    // And bulla's stay when others sign after it.
    scene.cosign[0].sign(Layout::Tags, &scene.keys.other, &image, &[]);
    scene.cosign[1].sign(Layout::Bundle, &scene.keys.other, &image, &[]);
    let signed_again = scene.skopeo[0].sign(&scene.keys, &image, "shared");
    assert_eq!(signed_again, image);
    scene.everybody_accepts(&alice, &image, "cosign and skopeo after bulla");
    assert_eq!(count(), (4, 3));
}

/// The same for attestations.
#[test]
fn attestations_of_others_stay() {
    let Some(scene) = Scene::set() else { return };
    let image = scene.registry.push("team/app", "scanned", "an image of many scanners");
    let report = trivy(&image, 0, SignedDuration::from_mins(1));
    let predicate = vulnerabilities(&report);
    scene.cosign[0].attest(Layout::Tags, &scene.keys.good, "vuln", &predicate, &image);
    scene.cosign[1].attest(Layout::Bundle, &scene.keys.good, "vuln", &predicate, &image);
    scene.ours.attest(&image, "trivy", report.to_string().as_bytes());
    assert_eq!(scene.registry.attestations(&image).len(), 2);
    assert_eq!(scene.registry.bundles(&image).len(), 2);
    let scanner = scene.ours.key("scanner").public;
    for public in [&scene.keys.good.public, &scanner] {
        for cosign in &scene.cosign {
            cosign.verify_attestation(public, "vuln", &image).yes("each by its own key");
        }
        verify_with(&["--key", text(public), "--type", "vuln"], &image).yes("each by its own key");
        let another = verify_with(&["--key", text(public), "--type", "openvex"], &image);
        assert!(!another.accepted, "of another type: {another:?}");
    }
}

/// Ed25519 over the message itself, which everybody verifies; cosign 3 signs its hash, which not even cosign 3 verifies.
#[test]
fn ed25519_signs_the_message_itself() {
    let Some(scene) = Scene::set() else { return };
    let image = scene.registry.push("team/app", "ed25519", "an image");
    scene.ours.sign_in_the_registry("edward", &image);
    let edward = scene.ours.key("edward");
    assert_eq!(scene.registry.signatures(&image).len(), 1);
    scene.cosign[0].verify(&edward.public, &image, &[]).yes("cosign 2");
    for skopeo in &scene.skopeo {
        skopeo.verify(&edward.public, &image, Identity::Exact).yes(&skopeo.name());
    }
    verify_with_key(&edward.public, &image).yes("bulla");

    let image = scene.registry.push("team/app", "ed25519-of-cosign-2", "another image");
    scene.cosign[0].sign(Layout::Tags, &edward, &image, &[]);
    verify_with_key(&edward.public, &image).yes("what cosign 2 signed");
    let image = scene.registry.push("team/app", "ed25519-of-cosign-3", "a third image");
    scene.cosign[1].sign(Layout::Tags, &edward, &image, &[]);
    scene.cosign[1].verify(&edward.public, &image, &[]).no("cosign 3 and its own signature", "");
    assert!(!verify_with_key(&edward.public, &image).accepted);
}
