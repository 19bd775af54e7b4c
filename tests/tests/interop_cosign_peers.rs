//! The programs and libraries of others that the tests about Sigstore's formats need: each of them runs here, and
//! says its version. A peer that is missing is skipped aloud, and fails in CI.

use bulla_tests::peers::absent;
use bulla_tests::sigstore_peers::cosign::Cosign;
use bulla_tests::sigstore_peers::libraries::Library;
use bulla_tests::sigstore_peers::skopeo::Skopeo;

#[test]
fn cosign_2_runs() {
    cosign_runs(2);
}

#[test]
fn cosign_3_runs() {
    cosign_runs(3);
}

fn cosign_runs(major: u8) {
    let Some(cosign) = Cosign::present().into_iter().find(|cosign| cosign.major == major) else {
        return absent(&format!("cosign {major}"), "source .ci/peers");
    };
    let version = cosign.version();
    println!("cosign {major}: {version}");
    assert!(version.contains("GitVersion:") && version.contains("GoVersion:"), "{version}");
}

#[test]
fn skopeo_of_debian_13_runs() {
    skopeo_runs("1.18.");
}

#[test]
fn skopeo_of_the_next_debian_runs() {
    skopeo_runs("1.22.");
}

fn skopeo_runs(version: &str) {
    let present = Skopeo::present();
    if present.is_empty() {
        return;
    }
    let versions: Vec<&str> = present.iter().map(|skopeo| skopeo.version.as_str()).collect();
    assert!(versions.iter().any(|found| found.starts_with(version)), "{versions:?}");
}

#[test]
fn sigstore_js_runs_in_the_version_of_the_lock() {
    let lock: serde_json::Value = serde_json::from_str(include_str!("../peers/package-lock.json")).unwrap();
    let locked = &lock["packages"]["node_modules/@sigstore/verify"];
    assert!(locked["integrity"].as_str().unwrap().starts_with("sha512-"));
    if Library::SigstoreJs.is_present() {
        assert_eq!(Library::SigstoreJs.version(), locked["version"].as_str().unwrap());
    }
}

#[test]
fn securesystemslib_runs_in_the_version_of_the_lock() {
    if Library::Securesystemslib.is_present() {
        let locked = format!("securesystemslib=={} \\", Library::Securesystemslib.version());
        assert!(include_str!("../peers/requirements.txt").lines().any(|line| line == locked), "{locked}");
    }
}

/// Whoever installs from the locks asks the registry that his machine is set to.
#[test]
fn the_locks_name_no_registry() {
    let (npm, pip) = (include_str!("../peers/package-lock.json"), include_str!("../peers/requirements.txt"));
    assert!(!npm.contains("\"resolved\"") && !pip.contains("://"));
}
