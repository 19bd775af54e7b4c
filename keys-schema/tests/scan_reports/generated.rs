//! Reports with known findings, in every format that findings are counted from.

use bulla_keys_schema::attest::{InvalidReport, ReportFormat, ScanSummary, Severity};
use bulla_keys_schema::digest::Sha256Digest;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

/// When every generated scan was.
pub const SCANNED: &str = "2030-01-02T03:04:05Z";

/// The image of every generated report, unless another one is named.
pub const DIGEST: Sha256Digest = Sha256Digest::from_bytes([7; 32]);

/// The formats that findings are counted from.
pub const COUNTED: [ReportFormat; 6] = [
    ReportFormat::Trivy,
    ReportFormat::Grype,
    ReportFormat::CosignVuln,
    ReportFormat::InTotoVulns,
    ReportFormat::Sarif,
    ReportFormat::CycloneDx,
];

/// One finding: how bad it is, and how that is written. Nothing is one way to write unknown.
pub type Finding = (Severity, Option<&'static str>);

/// Any finding, in any spelling.
pub fn finding() -> impl Strategy<Value = Finding> {
    select(vec![
        (Severity::Critical, Some("CRITICAL")),
        (Severity::Critical, Some("Critical")),
        (Severity::High, Some("HIGH")),
        (Severity::High, Some("high")),
        (Severity::Medium, Some("MEDIUM")),
        (Severity::Medium, Some("moderate")),
        (Severity::Low, Some("LOW")),
        (Severity::Negligible, Some("Negligible")),
        (Severity::Negligible, Some("info")),
        (Severity::Unknown, Some("UNKNOWN")),
        (Severity::Unknown, Some("catastrophic")),
        (Severity::Unknown, None),
    ])
}

/// Reads it, of whatever format it is.
pub fn read(report: &Value) -> Result<ScanSummary, InvalidReport> {
    ScanSummary::read(report.to_string().as_bytes(), None)
}

/// One high finding, in `format`.
pub fn one(format: ReportFormat) -> Value {
    report(format, &[(Severity::High, Some("HIGH"))], &DIGEST)
}

/// `report` with the value at `pointer` replaced.
pub fn with(mut report: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match report.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        members => drop(members.as_object_mut().unwrap().insert(name.to_owned(), value)),
    }
    report
}

/// A report in `format` with these findings of the image `digest`.
pub fn report(format: ReportFormat, findings: &[Finding], digest: &Sha256Digest) -> Value {
    let words: Vec<Option<&str>> = findings.iter().map(|finding| finding.1).collect();
    match format {
        ReportFormat::Trivy => trivy(&words, digest),
        ReportFormat::Grype => grype(&words, digest),
        ReportFormat::CosignVuln => wrapped(&trivy(&words, digest), digest),
        ReportFormat::InTotoVulns => {
            statement("https://in-toto.io/attestation/vulns/v0.2", &in_toto_vulns(&words), digest)
        }
        ReportFormat::Sarif => sarif(&words, digest),
        ReportFormat::CycloneDx => cyclonedx(&words, digest),
        ReportFormat::Spdx | ReportFormat::OpenVex => json!(null),
    }
}

/// A statement about `digest`.
fn statement(kind: &str, predicate: &Value, digest: &Sha256Digest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": "app", "digest": { "sha256": digest.to_string() } }],
        "predicateType": kind,
        "predicate": predicate,
    })
}

/// Any report in the predicate of cosign.
pub fn wrapped(report: &Value, digest: &Sha256Digest) -> Value {
    let predicate = json!({
        "invocation": { "parameters": null },
        "scanner": { "uri": "trivy", "version": "1.2", "db": {}, "result": report },
        "metadata": { "scanStartedOn": SCANNED, "scanFinishedOn": SCANNED },
    });
    statement("https://cosign.sigstore.dev/attestation/vuln/v1", &predicate, digest)
}

/// With the object that only the text of version 0.1 has, and with scores beside the words.
fn in_toto_vulns(words: &[Option<&str>]) -> Value {
    let found = |(i, word): (usize, &Option<&str>)| {
        let word = word.map(|word| json!({ "method": "nvd", "score": word }));
        let score = (i % 3 == 0).then(|| json!({ "method": "epss", "score": "0.9" }));
        let severity: Vec<Value> = score.into_iter().chain(word).collect();
        let found = json!({ "id": format!("CVE-2030-{i}"), "severity": severity });
        if i % 2 == 0 { found } else { json!({ "vulnerability": found }) }
    };
    json!({
        "scanner": { "uri": "pkg:github/a/trivy@1", "result": words.iter().enumerate().map(found).collect::<Vec<_>>() },
        "metadata": { "scanStartedOn": SCANNED, "scanFinishedOn": SCANNED },
    })
}

fn trivy(words: &[Option<&str>], digest: &Sha256Digest) -> Value {
    let (system, language) = words.split_at(words.len() / 2);
    let list = |words: &[Option<&str>]| -> Vec<Value> {
        let finding = |(i, word): (usize, &Option<&str>)| json!({ "VulnerabilityID": format!("CVE-2030-{i}"), "Severity": word, "CVSS": { "V3Score": 9.8 } });
        words.iter().enumerate().map(finding).collect()
    };
    let language = if language.is_empty() { Value::Null } else { list(language).into() };
    json!({
        "SchemaVersion": 2,
        "CreatedAt": SCANNED,
        "ArtifactType": "container_image",
        "Metadata": { "RepoDigests": [format!("reg.example.com:5000/app@{}", digest.to_oci())] },
        "Results": [
            { "Class": "os-pkgs", "Vulnerabilities": list(system) },
            { "Class": "lang-pkgs", "Vulnerabilities": language },
        ],
    })
}

fn grype(words: &[Option<&str>], digest: &Sha256Digest) -> Value {
    let found = |word: &Option<&str>| json!({ "vulnerability": { "id": "CVE-2030-1", "severity": word } });
    json!({
        "matches": words.iter().map(found).collect::<Vec<_>>(),
        "source": { "type": "image", "target": { "manifestDigest": digest.to_oci(), "imageID": "" } },
        "descriptor": { "name": "grype", "version": "1", "timestamp": SCANNED, "db": { "built": SCANNED } },
    })
}

/// One rule for each finding, said in each of the two places for words.
fn sarif(words: &[Option<&str>], digest: &Sha256Digest) -> Value {
    let rule = |(i, word): (usize, &Option<&str>)| {
        let tags: Vec<&str> = ["vulnerability"].into_iter().chain(word.filter(|_| i % 2 == 0)).collect();
        let help =
            word.filter(|_| i % 2 == 1).map_or(String::new(), |word| format!("CVE\nSeverity: {word}\n"));
        json!({ "id": format!("CVE-{i}"), "properties": { "tags": tags }, "help": { "text": help } })
    };
    let result = |i: usize| match i % 3 {
        0 => json!({ "ruleId": format!("CVE-{i}"), "level": "error" }),
        1 => json!({ "ruleIndex": i, "ruleId": format!("CVE-{i}"), "level": "error" }),
        _ => json!({ "rule": { "index": i }, "ruleIndex": -1, "ruleId": format!("CVE-{i}") }),
    };
    json!({
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": { "name": "t", "rules": words.iter().enumerate().map(rule).collect::<Vec<_>>() } },
            "invocations": [{ "executionSuccessful": true, "endTimeUtc": SCANNED }],
            "results": (0..words.len()).map(result).collect::<Vec<_>>(),
            "properties": { "repoDigests": null, "imageID": digest.to_oci() },
        }],
    })
}

/// The worst of several ratings is the one that counts, and scores only where there is no word.
fn cyclonedx(words: &[Option<&str>], digest: &Sha256Digest) -> Value {
    let found = |(i, word): (usize, &Option<&str>)| {
        let rating = word.map(|word| json!({ "severity": word, "method": "other", "score": 10 }));
        let unknown = json!({ "severity": "unknown" });
        let ratings: Vec<Value> = rating.into_iter().chain((i % 2 == 0).then_some(unknown)).collect();
        json!({ "id": "CVE-2030-1", "ratings": ratings, "affects": [{ "ref": "a" }] })
    };
    json!({
        "bomFormat": "CycloneDX",
        "metadata": {
            "timestamp": SCANNED,
            "tools": [{ "name": "t" }],
            "component": { "type": "container", "version": digest.to_oci() },
        },
        "vulnerabilities": words.iter().enumerate().map(found).collect::<Vec<_>>(),
    })
}
