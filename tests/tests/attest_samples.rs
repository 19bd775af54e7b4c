//! Reports that scanners of others wrote, attested as they lie there, and judged by a policy: their known
//! counts pass limits of just that size, and no smaller ones.

use std::path::{Path, PathBuf};

use bulla_keys_schema::attest::ScanSummary;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::cli::Cli;
use bulla_tests::programs::{Bullad, expect};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing listens there.
const REPOSITORY: &str = "localhost:1/team/app";
/// Any size will do: nobody asks a registry.
const SIZE: &str = "7";

/// Critical, high, medium and low findings of each report. What is negligible counts as low.
const SAMPLES: [(&str, [u64; 4]); 12] = [
    ("trivy/alpine-310.json", [0, 0, 4, 0]),
    ("trivy/alpine-310.sarif", [0, 0, 4, 0]),
    ("trivy/alpine-39.json", [2, 0, 4, 0]),
    ("trivy/alpine-39-high-critical.json", [2, 0, 0, 0]),
    ("trivy/centos-7.json", [0, 0, 1, 2]),
    ("trivy/debian-buster.json", [1, 0, 0, 1]),
    ("trivy/fluentd-gems.json", [1, 1, 0, 0]),
    ("trivy/photon-30.json", [2, 1, 0, 0]),
    ("trivy/ubuntu-1804.json", [0, 0, 4, 1]),
    ("grype/TestJsonImgsPresenter.golden", [1, 0, 0, 1]),
    ("grype/TestSarifPresenter_image.golden", [1, 0, 0, 1]),
    ("grype/TestCycloneDxPresenterImage.golden", [1, 0, 0, 1]),
];

/// What looked at nothing, or at no image.
const REFUSED: [&str; 3] =
    ["trivy/alpine-39-skip.json", "trivy/secrets.json", "grype/TestEmptyJsonPresenter.golden"];

#[test]
fn reports_of_others_are_attested_and_judged_by_their_known_counts() {
    let Some(site) = Site::begin() else { return };
    for (number, (name, counts)) in SAMPLES.into_iter().enumerate() {
        let report = sample(name).unwrap();
        let image = site.attest(&report, number);
        let listed = site.list(&image);
        let found = &listed["attestations"][0]["says"]["counts"];
        let low = found["low"].as_u64().unwrap() + found["negligible"].as_u64().unwrap();
        let found = ["critical", "high", "medium"].map(|severity| found[severity].as_u64().unwrap());
        assert_eq!([found[0], found[1], found[2], low], counts, "{name}");
        site.judge(&image, counts, 0);
        for (at, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            let mut limits = counts;
            limits[at] = count - 1;
            site.judge(&image, limits, 20);
        }
    }
}

#[test]
fn reports_of_others_that_say_nothing_are_not_attested() {
    let Some(site) = Site::begin() else { return };
    let image = format!("{REPOSITORY}@{}", Sha256Digest::of(b"image").to_oci());
    for name in REFUSED {
        let report = sample(name).unwrap();
        let report = report.to_str().unwrap();
        expect(&site.user, 21, &["attest", &image, report, "--size", SIZE, "--unbound"]);
        assert_eq!(attestations(&site.list(&image)), 0, "{name}");
    }
}

/// A repository in which alice signs tags and the scanner attests.
struct Site {
    user: Cli,
    root_key: Value,
    folder: TempDir,
    _server: Bullad,
}

impl Site {
    fn begin() -> Option<Self> {
        sample("trivy")?;
        let folder = tempfile::tempdir().unwrap();
        let server = Bullad::start(folder.path());
        let user = server.user();
        for key in ["root", "targets", "alice", "scanner"] {
            expect(&user, 0, &["key", "generate", key]);
        }
        expect(&user, 0, &["init", REPOSITORY, "--root-key", "root", "--targets-key", "targets"]);
        for (signer, tags) in [("alice", "*"), ("scanner", "att/**")] {
            let key = user.home(&format!("keys/{signer}.pub"));
            let key = key.to_str().unwrap();
            expect(&user, 0, &["signer", "add", REPOSITORY, signer, "--key", key, "--tags", tags]);
        }
        let shown = expect(&user, 0, &["key", "show", "root", "--output", "json"]).json();
        Some(Self { user, root_key: shown["fingerprint"].clone(), folder, _server: server })
    }

    /// Signs and attests the image that the report is of: by its digest, or, where the report knows no
    /// more, by the id of the image. Returns it.
    fn attest(&self, report: &Path, number: usize) -> String {
        let bytes = std::fs::read(report).unwrap();
        let claims = ScanSummary::read(&bytes, None).unwrap().subjects;
        let claimed = claims.iter().flat_map(|claim| claim.manifests.iter().chain(&claim.image_ids)).next();
        let digest = claimed.copied().unwrap_or_else(|| Sha256Digest::of(&bytes));
        let image = format!("{REPOSITORY}:v{number}@{}", digest.to_oci());
        expect(&self.user, 0, &["sign", &image, "--size", SIZE, "--as", "alice"]);
        let mut arguments =
            vec!["attest", &image, report.to_str().unwrap(), "--size", SIZE, "--as", "scanner"];
        if claimed.is_none() {
            expect(&self.user, 21, &arguments);
            arguments.push("--unbound");
        }
        // Grype's own JSON tells what was left out, and CycloneDX has no place for it.
        match report.file_name().unwrap().to_str().unwrap() {
            "TestSarifPresenter_image.golden" => {
                arguments.extend(["--scan-args", "user-input --output sarif"])
            }
            grype if grype.starts_with("Test") => {}
            _ => arguments.extend(["--scan-args", "image --scanners vuln"]),
        }
        // The newest of its type alone: some of these reports are of the same image.
        expect(&self.user, 0, &[&arguments[..], &["--keep", "1"]].concat());
        image
    }

    fn list(&self, image: &str) -> Value {
        expect(&self.user, 0, &["attestation", "list", image, "--output", "json"]).json()
    }

    fn judge(&self, image: &str, limits: [u64; 4], code: i32) {
        let [critical, high, medium, low] = limits;
        let policy = json!({
            "policy": 1, "name": "samples", "default": "deny", "mode": "enforce",
            "trust": { REPOSITORY: { "root_keys": [self.root_key], "root_threshold": 1 } },
            "rule": [{
                "name": "samples", "match": [REPOSITORY],
                "signing": { "required": true, "signers": ["alice"] },
                "attestation": [{
                    "name": "vulnerabilities", "type": "vulns", "signers": ["scanner"],
                    "max_critical": critical, "max_high": high, "max_medium": medium, "max_low": low,
                }],
            }],
        });
        let file = self.folder.path().join("policy.json");
        std::fs::write(&file, policy.to_string()).unwrap();
        expect(&self.user, code, &["verify", "--policy", file.to_str().unwrap(), image]);
    }
}

fn attestations(listed: &Value) -> usize {
    listed["attestations"].as_array().unwrap().len()
}

/// Where a report lies.
fn sample(name: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/scan-reports");
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "no ../shared/data/scan-reports");
        eprintln!("SKIPPED: no ../shared/data/scan-reports; hint: put the test data there");
        return None;
    }
    Some(folder.join(name))
}
