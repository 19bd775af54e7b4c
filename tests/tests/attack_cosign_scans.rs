//! A registry that decides which scans are seen: cosign verifies what it finds, and accepts the better part of the
//! truth; `bulla verify --policy` knows from the trust server which scans there are. The scanner signs with the same
//! key for both.

use bulla_tests::cli::Cli;
use bulla_tests::sigstore_peers::cosign::{Cosign, Layout};
use bulla_tests::sigstore_peers::images::{Image, ImageRegistry};
use bulla_tests::sigstore_peers::ours::{TrustSite, verify_with, verify_with_key};
use bulla_tests::sigstore_peers::reports::{trivy, vulnerabilities};
use bulla_tests::sigstore_peers::stored::{is_about, statement};
use bulla_tests::sigstore_peers::{KeyPair, Opinion, text};
use jiff::SignedDuration;
use serde_json::Value;

const VULNERABILITIES: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

/// The same rule in the words of cosign 2, whose package in Debian knows no Rego.
const NOTHING_CRITICAL_CUE: &str = r#"
predicate: scanner: result: Results: [...{Vulnerabilities: [...{Severity: !="CRITICAL"}], ...}]
"#;

/// The same rule in those of cosign 3.
const NOTHING_CRITICAL_REGO: &str = r#"
package signature
default allow = false
critical := [found |
  found := input.predicate.scanner.result.Results[_].Vulnerabilities[_]
  found.Severity == "CRITICAL"
]
allow { count(critical) == 0 }
"#;

struct Scene {
    registry: ImageRegistry,
    cosign: [Cosign; 2],
    site: TrustSite,
    scanner: KeyPair,
    consumer: Cli,
    image: Image,
}

impl Scene {
    /// A signed image that nobody has looked into yet.
    fn set() -> Option<Self> {
        let registry = ImageRegistry::start()?;
        let cosign = Cosign::both()?.into();
        let site = TrustSite::start();
        site.begin(&registry, "team/app");
        let image = registry.push("team/app", "1.0", "an image");
        site.sign(&image);
        let (scanner, consumer) = (site.key("scanner"), site.consumer());
        Some(Self { registry, cosign, site, scanner, consumer, image })
    }

    /// A scan, attested on the trust server and in the registry.
    fn scan(&self, critical: usize, age: SignedDuration) -> Value {
        let report = trivy(&self.image, critical, age);
        self.site.attest(&self.image, "trivy", report.to_string().as_bytes());
        report
    }

    /// The same, but the registry's half is cosign's, in one layout.
    fn scan_with_cosign(&self, major: u8, critical: usize, age: SignedDuration) {
        let report = trivy(&self.image, critical, age);
        let options = ["--no-registry-signature"];
        let attested = self.site.try_attest(&self.image, "trivy", report.to_string().as_bytes(), &options);
        attested.yes("bulla attests");
        let layout = if major == 3 { Layout::Bundle } else { Layout::Tags };
        let cosign = &self.cosign[usize::from(major) - 2];
        cosign.attest(layout, &self.scanner, "vuln", &vulnerabilities(&report), &self.image);
    }

    fn cosign(&self, major: u8) -> Opinion {
        let cosign = &self.cosign[usize::from(major) - 2];
        let policy = match major {
            2 => ("policy.cue", NOTHING_CRITICAL_CUE),
            _ => ("policy.rego", NOTHING_CRITICAL_REGO),
        };
        cosign.verify_attestation_by(&self.scanner.public, "vuln", policy, &self.image)
    }

    fn bulla(&self) -> Opinion {
        let policy = self.site.policy(self.image.repository.split('/').next().unwrap());
        self.site.verify_with_policy(&self.consumer, &policy, &self.image)
    }

    fn bulla_accepts(&self, case: &str) {
        let opinion = self.bulla().yes(case);
        assert!(opinion.answer.contains(&self.image.pinned()), "{case}: {opinion:?}");
    }

    fn bulla_refuses(&self, case: &str, code: i32, words: &str) {
        let opinion = self.bulla();
        assert_eq!(opinion.code, code, "{case}: {opinion:?}");
        let said = [opinion.answer.as_str(), &opinion.said].concat();
        assert!(said.contains(words), "{case}: does not say {words:?}: {opinion:?}");
    }
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);
const MINUTE: SignedDuration = SignedDuration::from_mins(1);

#[test]
fn a_newer_bad_scan_is_hidden_by_the_registry() {
    let Some(scene) = Scene::set() else { return };
    scene.bulla_refuses("never scanned", 21, "att.missing");
    let _report = scene.scan(0, HOUR);
    scene.bulla_accepts("a good scan");
    let shown = (scene.registry.attestations(&scene.image), scene.registry.bundles(&scene.image));
    for major in [2, 3] {
        scene.cosign(major).yes("a good scan");
    }

    let _report = scene.scan(3, MINUTE);
    for major in [2, 3] {
        scene.cosign(major).no("a bad scan beside a good one", "");
    }
    scene.bulla_refuses("a bad scan", 20, "vuln.critical");

    // The older, better report is what the registry shows from now on.
    scene.registry.set_attestations(&scene.image, &shown.0);
    scene.registry.set_bundles(&scene.image, &shown.1);
    for major in [2, 3] {
        scene.cosign(major).yes("cosign accepts what it is shown");
    }
    scene.bulla_refuses("the bad scan is hidden", 20, "vuln.critical");
    scene.bulla_refuses_from_scratch("somebody who comes later");
}

impl Scene {
    /// The same for somebody who has seen nothing before.
    fn bulla_refuses_from_scratch(&self, case: &str) {
        let policy = self.site.policy(self.image.repository.split('/').next().unwrap());
        let opinion = self.site.verify_with_policy(&self.site.consumer(), &policy, &self.image);
        assert_eq!(opinion.code, 20, "{case}: {opinion:?}");
    }
}

#[test]
fn the_registry_loses_referrers_and_tags() {
    let Some(scene) = Scene::set() else { return };
    scene.scan_with_cosign(2, 0, HOUR);
    scene.scan_with_cosign(3, 3, MINUTE);
    scene.cosign(3).no("a bad scan in a bundle", "");
    scene.bulla_refuses("a bad scan", 20, "vuln.critical");

    let repository = &scene.image.repository;
    scene.registry.forget_tag(repository, &scene.image.derived_tag(""));
    scene.cosign(3).yes("cosign falls back to the older one under .att");
    scene.bulla_refuses("without the bundle", 20, "vuln.critical");

    let derived = scene.image.digest.replace(':', "-");
    let left: Vec<String> =
        scene.registry.tags(repository).into_iter().filter(|tag| tag.starts_with(&derived)).collect();
    assert!(left.iter().any(|tag| tag.ends_with(".att")), "{left:?}");
    left.iter().for_each(|tag| scene.registry.forget_tag(repository, tag));
    scene.cosign(3).no("nothing is left to find", "");
    scene.bulla_refuses("without anything", 20, "vuln.critical");
    scene.bulla_refuses_from_scratch("without anything and without a cache");

    // And nobody is kept from a good image by a registry that loses things.
    scene.scan_with_cosign(2, 0, SignedDuration::from_secs(1));
    scene.registry.forget_tag(repository, &scene.image.derived_tag(".att"));
    scene.bulla_accepts("the newest scan is good");
}

#[test]
fn the_trust_server_is_put_back_to_the_better_scan() {
    let Some(mut scene) = Scene::set() else { return };
    let _report = scene.scan(0, HOUR);
    let earlier = scene.site.snapshot();
    let _report = scene.scan(3, MINUTE);
    scene.bulla_refuses("a bad scan", 20, "vuln.critical");
    scene.site.put_back(&earlier);
    scene.bulla_refuses("older than what was seen", 15, "");
}

/// cosign takes a raw report for a predicate of its own, finds none of its members, and attests nothing at all.
#[test]
fn an_empty_predicate_is_no_clean_scan() {
    let Some(scene) = Scene::set() else { return };
    let report = trivy(&scene.image, 3, MINUTE);
    scene.cosign[1].attest(Layout::Bundle, &scene.scanner, "vuln", &report, &scene.image);
    let bundle = scene.registry.bundles(&scene.image);
    let empty = bundle
        .iter()
        .map(|bundle| statement(&bundle["dsseEnvelope"]))
        .find(|statement| is_about(statement, &scene.image, VULNERABILITIES));
    let empty = empty.expect("what cosign attested");
    assert_eq!(empty["predicate"]["scanner"]["result"], Value::Null);
    scene.cosign(3).yes("nothing critical in nothing");
    scene.bulla_refuses("not on the trust server", 21, "att.missing");
    let signed = verify_with_key(&scene.scanner.public, &scene.image);
    assert!(!signed.accepted, "an attestation is no signature: {signed:?}");
    let scanned = verify_with(&["--key", text(&scene.scanner.public), "--type", "vuln"], &scene.image);
    assert!(!scanned.accepted, "no scan either: {scanned:?}");
    assert!(scanned.said.contains("it says nothing of its type"), "{scanned:?}");

    // bulla attests no such predicate, whether it is called a report or a predicate.
    let predicate = empty["predicate"].to_string();
    for kind in ["cosign-vuln", "trivy"] {
        let opinion = scene.site.try_attest(&scene.image, kind, predicate.as_bytes(), &[]);
        assert!(!opinion.accepted, "{kind}: {opinion:?}");
    }
    scene.bulla_refuses("still nothing", 21, "att.missing");

    // Nor does it make one of the raw report.
    let report = scene.scan(3, MINUTE);
    let envelopes = scene.registry.envelopes(&scene.image);
    let made = envelopes.iter().map(statement).filter(|made| is_about(made, &scene.image, VULNERABILITIES));
    let results: Vec<Value> = made.map(|made| made["predicate"]["scanner"]["result"].clone()).collect();
    assert_eq!(results.iter().filter(|result| **result == report).count(), 2, "{results:?}");
    assert_eq!(results.iter().filter(|result| result.is_null()).count(), 1, "cosign's own: {results:?}");
    scene.bulla_refuses("three holes", 20, "vuln.critical");
}
