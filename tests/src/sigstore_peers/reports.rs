//! Reports of a scanner, written as Trivy writes them, with as many findings as a test needs.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::images::Image;

/// A report about this image with so many critical findings, made `age` ago.
#[must_use]
pub fn trivy(image: &Image, critical: usize, age: SignedDuration) -> Value {
    let findings: Vec<Value> = (1..=critical).map(finding).collect();
    json!({
        "SchemaVersion": 2,
        "CreatedAt": moment(age),
        "ArtifactName": image.tagged(),
        "ArtifactType": "container_image",
        "Metadata": {
            "OS": {"Family": "alpine", "Name": "3.22.1"},
            "ImageID": image.config,
            "RepoTags": [image.tagged()],
            "RepoDigests": [image.pinned()],
        },
        "Results": [{
            "Target": format!("{} (alpine 3.22.1)", image.tagged()),
            "Class": "os-pkgs",
            "Type": "alpine",
            "Vulnerabilities": findings,
        }],
    })
}

fn finding(number: usize) -> Value {
    json!({
        "VulnerabilityID": format!("CVE-2026-{number:04}"),
        "PkgID": "openssl@3.5.0-r0",
        "PkgName": "openssl",
        "PkgIdentifier": {"PURL": "pkg:apk/alpine/openssl@3.5.0-r0?arch=x86_64&distro=3.22.1"},
        "InstalledVersion": "3.5.0-r0",
        "FixedVersion": "3.5.1-r0",
        "Status": "fixed",
        "Severity": "CRITICAL",
        "Title": "made up",
    })
}

/// The predicate that `trivy image --format cosign-vuln` makes of a report.
#[must_use]
pub fn vulnerabilities(report: &Value) -> Value {
    json!({
        "invocation": {"parameters": null, "uri": "", "event_id": "", "builder.id": ""},
        "scanner": {
            "uri": "pkg:github/aquasecurity/trivy@0.66.0",
            "version": "0.66.0",
            "db": {"uri": "", "version": ""},
            "result": report,
        },
        "metadata": {"scanStartedOn": report["CreatedAt"], "scanFinishedOn": report["CreatedAt"]},
    })
}

fn moment(age: SignedDuration) -> String {
    let moment = Timestamp::now().checked_sub(age).expect("a moment in our days");
    moment.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
