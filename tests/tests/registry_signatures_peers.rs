//! Signatures that `bulla` puts into a real registry next to those of real cosign: whoever signed
//! stays verifiable with their own key, whatever the order, and however many write at once.

use std::process::{Child, Stdio};

use bulla_tests::cli::{Cli, PASSPHRASE};
use bulla_tests::programs::{expect, program};
use bulla_tests::sigstore_peers::cosign::{Cosign, Layout, SIGNATURE};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::ours::TrustSite;
use bulla_tests::sigstore_peers::{KeyPair, Keys};
use serde_json::Value;

/// Somebody with one key, and no trust server.
fn signer(name: &str, algorithm: &str) -> (Cli, KeyPair) {
    let bulla = Cli::new(program("bulla").to_str().unwrap()).with("BULLA_PASSPHRASE", PASSPHRASE);
    expect(&bulla, 0, &["key", "generate", name, "--algorithm", algorithm]);
    let key = KeyPair::named(&bulla.home("keys"), name);
    (bulla, key)
}

fn sign(bulla: &Cli, name: &str, image: &Image) -> Value {
    let image = image.tagged();
    let arguments = ["sign", "--only-registry", "--key", name, &image, "--output", "json"];
    expect(bulla, 0, &arguments).json()
}

#[test]
fn signatures_of_bulla_and_of_cosign_stand_next_to_each_other() {
    let (Some((two, three)), Some(registry)) = (Cosign::both(), ImageRegistry::start()) else { return };
    let keys = Keys::make(&three);
    let (bulla, own) = signer("ci", "ecdsa-p256");
    for (path, is_first) in [("team/first", true), ("team/last", false)] {
        let image = registry.push(path, "1.0", path);
        if is_first {
            sign(&bulla, "ci", &image);
        }
        two.sign(Layout::Tags, &keys.good, &image, &[]);
        three.sign(Layout::Bundle, &keys.other, &image, &[]);
        let written = sign(&bulla, "ci", &image);
        for one in written["in_registry"].as_array().unwrap() {
            assert_eq!(one["new"], !is_first, "{written:#}");
        }
        two.verify(&keys.good.public, &image, &[]).yes("theirs, by cosign 2");
        three.verify(&keys.other.public, &image, &[]).yes("theirs, by cosign 3");
        two.verify(&own.public, &image, &[]).yes("ours, by cosign 2");
        three.verify(&own.public, &image, &[]).yes("ours, by cosign 3");
        two.verify_bundle(&own.public, SIGNATURE, &image).yes("our bundle");
        two.verify(&keys.other.public, &image, &[]).no("no layer of that key", "");
    }
}

#[test]
fn a_key_of_ed25519_is_taken_where_cosign_takes_its_own() {
    let (Some((two, three)), Some(registry)) = (Cosign::both(), ImageRegistry::start()) else { return };
    let (bulla, own) = signer("ed", "ed25519");
    let image = registry.push("team/ed", "1.0", "ed");
    sign(&bulla, "ed", &image);
    two.verify(&own.public, &image, &[]).yes("by cosign 2");
    three.verify(&own.public, &image, &[]).yes("by cosign 3");
}

#[test]
fn annotations_are_signed_along() {
    let (Some((two, three)), Some(registry)) = (Cosign::both(), ImageRegistry::start()) else { return };
    let (bulla, own) = signer("ci", "ecdsa-p256");
    let image = registry.push("team/app", "1.0", "annotated");
    let arguments = ["sign", "--only-registry", "--key", "ci", "-a", "env=prod", "-a", "team=web"];
    expect(&bulla, 0, &[&arguments[..], &[&image.tagged()]].concat());
    for cosign in [two, three] {
        cosign.verify(&own.public, &image, &["-a", "env=prod", "-a", "team=web"]).yes("signed along");
        cosign.verify(&own.public, &image, &["-a", "env=test"]).no("another value", "");
    }
}

#[test]
fn the_trust_server_and_the_registry_are_signed_with_one_key() {
    let (Some((two, three)), Some(registry)) = (Cosign::both(), ImageRegistry::start()) else { return };
    let site = TrustSite::start();
    site.begin(&registry, "team/app");
    let (index, child) = registry.push_index("team/app", "1.0", "an index");
    let planned = expect(&site.admin, 0, &["sign", &index.tagged(), "--dry-run", "--output", "json"]).json();
    assert_eq!(planned["in_registry"].as_array().unwrap().len(), 6, "{planned:#}");
    assert_eq!(registry.manifest(&index.repository, &index.derived_tag(".sig")), None, "a dry run");

    let signed = expect(&site.admin, 0, &["sign", &index.tagged(), "--output", "json"]).json();
    assert_eq!(signed["in_registry"].as_array().unwrap().len(), 6, "an index and two images: {signed:#}");
    let alice = site.key("alice").public;
    for image in [&index, &child.with_tag("amd64")] {
        // The child has no tag of its own.
        let arguments = ["verify", "--insecure-ignore-tlog=true", "--allow-http-registry", "--key"];
        for cosign in [&two, &three] {
            let key = alice.to_str().unwrap();
            cosign.run(&[&arguments[..], &[key, &image.pinned()]].concat()).yes("signed by alice");
        }
    }
    let again = expect(&site.admin, 0, &["sign", &index.tagged(), "--output", "json"]).json();
    assert!(again["in_registry"].as_array().unwrap().iter().all(|one| one["new"] == false), "{again:#}");

    let other = registry.push("team/app", "2.0", "another image");
    let options = ["sign", &other.tagged(), "--no-registry-signature", "--output", "json"];
    let signed = expect(&site.admin, 0, &options).json();
    assert_eq!(signed["in_registry"], serde_json::json!([]));
    assert_eq!(registry.manifest(&other.repository, &other.derived_tag(".sig")), None);
}

#[test]
fn two_who_sign_at_once_ten_times_lose_nothing() {
    let (Some((two, three)), Some(registry)) = (Cosign::both(), ImageRegistry::start()) else { return };
    let signers = [signer("one", "ecdsa-p256"), signer("two", "ecdsa-p256")];
    for round in 0..10 {
        let image = registry.push("team/app", &format!("r{round}"), &format!("round {round}"));
        let start = |(bulla, key): &(Cli, KeyPair)| -> Child {
            let name = key.public.file_stem().unwrap().to_str().unwrap();
            let mut command = bulla.command(&["sign", "--only-registry", "--key", name, &image.tagged()]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        };
        for child in signers.each_ref().map(start) {
            let ended = child.wait_with_output().unwrap();
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        }
        for (_, key) in &signers {
            two.verify(&key.public, &image, &[]).yes(&format!("the tag, round {round}"));
            three.verify(&key.public, &image, &[]).yes(&format!("the bundle, round {round}"));
        }
    }
}
