//! Each kind of report, those that real scanners wrote among them, and what is refused of each.

use std::fs;

use bulla_keys_schema::attest::{Kind, Statement, report_within};
use bulla_tests::peers::fixtures;

use super::*;

/// Attests one report after the other and reads it back: its kind, and the bytes that came out.
async fn round(desk: &Desk<'_>, predicate: Predicate) -> Result<(Kind, String), AttestError> {
    let mut wanted = request(predicate);
    wanted.unbound = true;
    let made = attest::attest(desk.ports(), &wanted).await?;
    let found = found(desk).await;
    let own = found.iter().find(|found| found.digest == made.digest).unwrap();
    let sound = own.standing.as_ref().unwrap();
    let statement = Statement::parse(sound.envelope.payload()).unwrap();
    Ok((sound.attestation.kind, report_within(&statement).to_owned()))
}

#[tokio::test]
async fn every_format_comes_out_as_it_went_in() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci", desk.key("ci"), "att/**").await.unwrap();
    let now = "2030-01-01T00:00:00Z".parse().unwrap();
    let oci = image.to_oci();
    let purl = format!("pkg:oci/app@{}", oci.replace(':', "%3A"));
    let grype = json!({
        "matches": [{"vulnerability": {"id": "CVE-2030-1", "severity": "High", "fix": {"state": "fixed", "versions": ["2"]}},
            "artifact": {"name": "p", "version": "1", "type": "apk"}}],
        "source": {"type": "image", "target": {"manifestDigest": oci, "imageID": oci, "repoDigests": []}},
        "descriptor": {"name": "grype", "version": "0.90.0", "timestamp": "2030-01-01T00:00:00Z"},
    });
    let sarif = json!({"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "odd scanner", "rules": []}},
        "results": [{"ruleId": "CVE-2030-1"}]}]});
    let spdx = json!({"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "app",
        "packages": [{"name": "p", "SPDXID": "SPDXRef-p"}]});
    let vex = json!({"@context": "https://openvex.dev/ns/v0.2.0", "@id": "x", "author": "a",
        "timestamp": "2030-01-01T00:00:00Z", "statements": [{"vulnerability": {"name": "CVE-2030-1"},
        "products": [{"@id": purl}], "status": "not_affected", "justification": "component_not_present"}]});
    let reports = [
        ("trivy", trivy(image, 1), Kind::Vulns),
        ("grype", grype, Kind::Vulns),
        ("sarif", sarif, Kind::Vulns),
        ("spdx", spdx, Kind::Sbom),
        ("openvex", vex, Kind::Vex),
    ];
    for (name, report, kind) in reports {
        let text = serde_json::to_string_pretty(&report).unwrap();
        let format: ReportFormat = name.parse().unwrap();
        let predicate = Predicate::of_report(text.as_bytes(), Some(format), &Declared::default()).unwrap();
        let (found, out) = round(&desk, predicate).await.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((found, out.as_str()), (kind, text.as_str()), "{name}");
    }
    let own = Predicate::custom(b"{\"fail\": 0}", Some("https://example.com/bench/v1"), now).unwrap();
    assert_eq!(round(&desk, own).await.unwrap(), (Kind::Other, "{\"fail\": 0}".to_owned()));
    assert_eq!(found(&desk).await.len(), 6);
}

/// The counts are those of `reference/scan-reports.md`: critical, high, medium, low.
#[tokio::test]
async fn reports_of_real_scanners_keep_their_counts() {
    let Some(folder) = fixtures::folder("scan-reports") else { return };
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    add(&desk, "ci", desk.key("ci"), "att/**").await.unwrap();
    for (file, counts) in [
        ("trivy/alpine-310.json", [0, 0, 4, 0]),
        ("trivy/alpine-39.json", [2, 0, 4, 0]),
        ("trivy/debian-buster.json", [1, 0, 0, 1]),
        ("trivy/photon-30.json", [2, 1, 0, 0]),
        ("trivy/fluentd-gems.json", [1, 1, 0, 0]),
        ("trivy/centos-7.json", [0, 0, 1, 2]),
        ("trivy/ubuntu-1804.json", [0, 0, 4, 1]),
        ("grype/TestJsonImgsPresenter.golden", [1, 0, 0, 1]),
    ] {
        let report = fs::read(folder.join(file)).unwrap();
        let predicate = Predicate::of_report(&report, None, &Declared::default()).unwrap();
        let named = request(predicate.clone());
        let refused = attest::attest(desk.ports(), &named).await.map(drop);
        assert!(matches!(refused, Err(AttestError::OtherImage { .. })), "{file}: {refused:?}");
        let image = Sha256Digest::of(b"one");
        let (payload, _) = predicate.statement(NAME, image).unwrap();
        let scan = bulla_keys_schema::attest::Attestation::read(&payload).unwrap().scan.unwrap();
        let found = [Severity::Critical, Severity::High, Severity::Medium, Severity::Low];
        assert_eq!(found.map(|severity| scan.counts.of(severity)), counts, "{file}");
    }
    let nothing = fs::read(folder.join("trivy/alpine-39-skip.json")).unwrap();
    assert!(Predicate::of_report(&nothing, None, &Declared::default()).is_err(), "nothing was looked at");
}

#[test]
fn what_is_no_report_of_an_image_is_refused() {
    let image = Sha256Digest::of(b"one");
    let changed = |change: fn(&mut Value)| {
        let mut report = trivy(image, 1);
        change(&mut report);
        report.to_string()
    };
    for (bad, why) in [
        (String::new(), "nothing"),
        ("{}".to_owned(), "an empty object"),
        ("[]".to_owned(), "an old Trivy"),
        ("null".to_owned(), "an old Trivy that found nothing"),
        (changed(|report| report["ClusterName"] = "c".into()), "a cluster"),
        (changed(|report| report["ArtifactType"] = "filesystem".into()), "a folder"),
        (changed(|report| report["Results"] = Value::Null), "no result"),
        (changed(|report| report["matches"] = json!([])), "two formats at once"),
        (format!("{}{{}}", trivy(image, 1)), "trailing data"),
        (trivy(image, 1).to_string().replace("\"Results\"", "\"Results\":[],\"Results\""), "a member twice"),
        ("{\"payloadType\":\"x\",\"payload\":\"\"}".to_owned(), "an envelope"),
    ] {
        let made = Predicate::of_report(bad.as_bytes(), None, &Declared::default());
        assert!(made.is_err(), "{why}");
    }
    let other = Predicate::of_report(
        trivy(image, 1).to_string().as_bytes(),
        Some(ReportFormat::Grype),
        &Declared::default(),
    );
    assert!(other.is_err(), "of another type than was said");
}
