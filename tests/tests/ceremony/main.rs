//! Three people with one root: it begins, and gets another key, through requests and files, by
//! the real programs. One of the three has no network at all. Foreign clients follow.

mod hostile;
mod site;

use bulla_tests::programs::expect;
use serde_json::json;

use crate::site::{Site, sha256};

#[tokio::test(flavor = "multi_thread")]
async fn a_root_of_two_of_three_begins_and_gets_another_key() {
    let site = Site::new(&[]);
    let (name, alice, bob) = (site.name.as_str(), &site.alice, &site.bob);

    // It begins: Alice signs and asks, Carol signs without network, and with that it is there.
    let id = site.ask_for_first_root();
    expect(alice, 10, &["inspect", name]);
    let listed = expect(alice, 0, &["request", "list", name]);
    assert!(listed.stdout.contains(&id) && listed.stdout.contains("the first root"), "{listed:?}");
    let waiting = expect(alice, 41, &["request", "show", name, &id]);
    assert!(waiting.stdout.contains("root v1  keys 1/2 (alice; any 1 of "), "{waiting:?}");
    // Two weeks less the time since: none, if all this took less than a second.
    assert!(
        ["13 d", "14 d"].iter().any(|end| waiting.stdout.contains(&format!("expires in {end}"))),
        "{waiting:?}"
    );
    let (file, signed) = (site.file("first.request"), site.file("first.signed"));
    expect(alice, 0, &["request", "export", name, &id, "--out", &file]);
    let seen = expect(&site.carol, 41, &["request", "show", "--file", &file]);
    assert!(
        seen.stdout.contains("root new -> v1") && seen.stdout.contains("(carol, in this home)"),
        "{seen:?}"
    );
    let refused = expect(&site.carol, 2, &["request", "sign", "--file", &file, "--out", &signed]);
    assert!(refused.stderr.contains("no terminal") && !std::path::Path::new(&signed).exists(), "{refused:?}");
    let made = expect(&site.carol, 0, &["request", "sign", "--file", &file, "--out", &signed, "--yes"]);
    assert!(made.stdout.contains("root v1  keys 2/2 (alice, carol)"), "{made:?}");
    let done = expect(alice, 0, &["request", "submit", &signed, "--output", "json"]).json();
    assert_eq!((&done["complete"], &done["published"]), (&true.into(), &true.into()));
    assert_eq!(done["root_sha256"].as_str(), Some(sha256(&site.first_root()).as_str()));
    assert!(done["warnings"].to_string().contains("not proven"), "Bob has shown nothing: {done:#}");

    site.sign_tag("v0");
    let follower = site.follower();
    follower.see(&site, "v0").await;
    let keys =
        [("alice", alice), ("bob", bob), ("carol", &site.carol)].map(|(key, who)| site.public(who, key));
    let pin: Vec<&str> = keys.iter().flat_map(|file| ["--root-key", file.as_str()]).collect();
    expect(bob, 0, &[&["trust", "add", name, "--threshold", "2"], &pin[..]].concat());

    // Bob's laptop is lost, and his key with it. The new one proves itself, Carol agrees.
    expect(bob, 0, &["key", "generate", "bob-2"]);
    let id = site.ask_to_replace_bob();
    expect(bob, 0, &["key", "remove", "bob"]);
    let shown = site.shown(bob, &id);
    let digest = shown["digest"].as_str().unwrap();
    expect(bob, 15, &["request", "sign", name, &id, "--expect-digest", &sha256(b"something else")]);
    let proven = expect(bob, 41, &["request", "sign", name, &id, "--expect-digest", digest]);
    assert!(
        proven.stdout.contains("root v2  old keys 1/2 (alice; any 1 of ")
            && proven.stdout.contains("new keys 2/2 ("),
        "{proven:?}"
    );
    assert!(!proven.stdout.contains("not proven"), "{proven:?}");
    expect(bob, 2, &["request", "sign", name, &id, "--yes"]);
    let signed = site.carol_signs(&id, 0);
    expect(bob, 0, &["request", "submit", &signed]);
    expect(alice, 0, &["request", "list", name]);
    follower.see(&site, "v0").await;
    site.sign_tag("v1");
    follower.see(&site, "v1").await;
    site.follower().see(&site, "v1").await;

    // The new key counts: Alice and Bob go on without Carol.
    let id = site.ask(&["rotate", name, "targets"], "a new key for targets");
    expect(bob, 0, &["request", "sign", name, &id, "--yes"]);
    site.sign_tag("v2");
    follower.see(&site, "v2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signer_with_two_keys_signs_tags_by_requests() {
    let site = Site::begun(&[]);
    let (name, alice, bob) = (site.name.as_str(), &site.alice, &site.bob);
    // `releases` and the signer need Alice and Bob; the threshold of the signer is two.
    let (one, two) = (site.file("alice.pub"), site.public(bob, "bob"));
    let keys = ["--key", &one, "--key", &two, "--threshold", "2"];
    expect(alice, 0, &[&["signer", "add", name, "both"], &keys[..]].concat());
    let digest = format!("sha256:{}", "ab".repeat(32));
    let image = format!("{name}:v1@{digest}");
    let tag = ["sign", image.as_str(), "--size", "7", "--as", "both"];
    let refused = expect(alice, 12, &tag);
    assert!(refused.stderr.contains("--request"), "{refused:?}");
    let dry = expect(alice, 0, &[&tag[..], &["--request", "--reason", "v1", "--dry-run"]].concat());
    assert!(dry.stderr.contains("dry run"), "{dry:?}");
    let id = site.ask(&tag, "v1 is ready");
    let shown = expect(bob, 41, &["request", "show", name, &id]);
    assert!(shown.stdout.contains(&format!("+ tag v1: {digest} (7 bytes)")), "{shown:?}");
    let signed = expect(bob, 0, &["request", "sign", name, &id, "--yes"]);
    let to_do = format!("  bulla sign --only-registry --key bob {image}\n");
    assert!(signed.stderr.contains(&to_do), "cosign does not see it yet: {signed:?}");
    let resolved = expect(bob, 0, &["inspect", name]).json();
    assert!(resolved.to_string().contains(&"ab".repeat(32)), "{resolved:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scanner_with_two_keys_attests_by_requests() {
    let site = Site::begun(&[]);
    let (name, alice, bob) = (site.name.as_str(), &site.alice, &site.bob);
    let (one, two) = (site.file("alice.pub"), site.public(bob, "bob"));
    let keys = ["--key", &one, "--key", &two, "--threshold", "2", "--tags", "att/**"];
    expect(alice, 0, &[&["signer", "add", name, "both"], &keys[..]].concat());
    let image = format!("{name}@sha256:{}", "cd".repeat(32));
    let report = json!({
        "SchemaVersion": 2, "CreatedAt": "2026-01-01T00:00:00Z", "ArtifactName": image,
        "ArtifactType": "container_image",
        "Metadata": {"RepoDigests": [image], "OS": {"Family": "debian", "Name": "13"}},
        "Results": [{"Target": "debian", "Class": "os-pkgs", "Type": "debian", "Vulnerabilities": []}],
    });
    let file = site.file("report.json");
    std::fs::write(&file, report.to_string()).unwrap();
    let attest =
        ["attest", &image, &file, "--size", "7", "--as", "both", "--scan-args", "image --format json"];
    let refused = expect(alice, 12, &attest);
    assert!(refused.stderr.contains("--request"), "{refused:?}");
    let dry = expect(alice, 0, &[&attest[..], &["--request", "--reason", "scan", "--dry-run"]].concat());
    assert!(dry.stderr.contains("dry run"), "{dry:?}");
    let id = site.ask(&attest, "scanned");
    // The report travels along, and whoever is asked sees what it says.
    let shown = expect(bob, 41, &["request", "show", name, &id]);
    assert!(shown.stdout.contains("which says vulns: 0 critical, 0 high"), "{shown:?}");
    expect(bob, 21, &["attestation", "show", &image, "1"]);
    let signed = expect(bob, 0, &["request", "sign", name, &id, "--yes"]);
    assert!(!signed.stderr.contains("only-registry"), "no tag was signed: {signed:?}");
    let listed = expect(bob, 0, &["attestation", "list", &image, "--output", "json"]).json();
    assert_eq!(
        (&listed["attestations"][0]["valid"], &listed["attestations"][1]),
        (&json!(true), &json!(null))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_legacy_root_is_shared_by_requests_too() {
    let site = Site::new(&["--algorithm", "ecdsa-p256"]);
    let (name, alice, bob) = (site.name.as_str(), &site.alice, &site.bob);
    // In Notary's dialect a root key stands in a certificate, which only its holder can make.
    let other = site.public(bob, "bob");
    let begin = ["init", name, "--mode", "legacy", "--root-key", "alice", "--root-key", &other];
    let refused = expect(alice, 2, &begin);
    let elsewhere = expect(bob, 0, &["key", "export", "bob", "--certificate", "registry.example.com/other"]);
    let certificate = site.file("bob.crt");
    std::fs::write(&certificate, elsewhere.stdout).unwrap();
    assert!(
        refused.stderr.contains("certificate") && refused.stderr.contains("--root-key FILE.crt"),
        "{refused:?}"
    );
    let begin = ["init", name, "--mode", "legacy", "--root-key", "alice", "--root-key", &certificate];
    let refused = expect(alice, 2, &begin);
    assert!(refused.stderr.contains("is for registry.example.com/other"), "{refused:?}");
    let fitting = expect(bob, 0, &["key", "export", "bob", "--certificate", name]);
    std::fs::write(&certificate, fitting.stdout).unwrap();
    let id = site.ask(&[&begin[..], &["--root-threshold", "2"]].concat(), "the first root");

    // Bob trusts nobody yet: what he signs is what he pins.
    expect(bob, 0, &["request", "sign", name, &id, "--yes"]);
    for who in [alice, bob] {
        let root = &expect(who, 0, &["inspect", name]).json()["roles"][0];
        assert_eq!(
            (&root["role"], &root["version"], &root["threshold"]),
            (&"root".into(), &1.into(), &2.into())
        );
    }
    let id = site.ask(&["rotate", name, "targets"], "a new key for targets");
    expect(bob, 0, &["request", "sign", name, &id, "--yes"]);
    // Carol joins by a certificate that she made without network.
    let bare = site.public(&site.carol, "carol");
    let join = ["rotate", name, "root", "--add", &bare, "--request", "--reason", "carol joins"];
    let refused = expect(alice, 2, &join);
    assert!(refused.stderr.contains("needs a certificate"), "{refused:?}");
    let made = expect(&site.carol, 0, &["key", "export", "carol", "--certificate", name]);
    let certificate = site.file("carol.crt");
    std::fs::write(&certificate, made.stdout).unwrap();
    let id = site.ask(&["rotate", name, "root", "--add", &certificate], "carol joins");
    expect(bob, 0, &["request", "sign", name, &id, "--yes"]);
    let root = &expect(bob, 0, &["inspect", name]).json()["roles"][0];
    assert_eq!((&root["version"], root["keys"].as_array().unwrap().len()), (&3.into(), 3));
    site.sign_tag("v1");
    expect(bob, 0, &["resolve", &format!("{name}:v1")]);
}
