//! Reports of scanners: what goes in is what is counted, in every format; and what is hostile is
//! refused, never counted as nothing.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "a test may panic, and shares a room with its generator"
)]

use bulla_keys_schema::attest::{
    Counts, Filtered, InvalidReport, ReportFormat, ScanSummary, Severity, Unfit,
};
use bulla_keys_schema::digest::Sha256Digest;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

#[path = "scan_reports/generated.rs"]
mod generated;

use generated::{COUNTED, Finding, SCANNED, finding, report};

const DIGEST: Sha256Digest = Sha256Digest::from_bytes([7; 32]);

fn read(report: &Value) -> Result<ScanSummary, InvalidReport> {
    ScanSummary::read(report.to_string().as_bytes(), None)
}

fn one(format: ReportFormat) -> Value {
    report(format, &[(Severity::High, Some("HIGH"))], &DIGEST)
}

/// `report` with the value at `pointer` replaced.
fn with(mut report: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match report.pointer_mut(parent).unwrap() {
        Value::Array(items) => items[name.parse::<usize>().unwrap()] = value,
        members => drop(members.as_object_mut().unwrap().insert(name.to_owned(), value)),
    }
    report
}

proptest! {
    #[test]
    fn what_goes_in_is_what_is_counted(
        format in select(COUNTED.to_vec()),
        findings in vec(finding(), 0..40),
    ) {
        let mut counts = Counts::default();
        findings.iter().for_each(|(severity, _)| counts.add(*severity, 1));
        let read = read(&report(format, &findings, &DIGEST));
        if format == ReportFormat::CycloneDx && findings.is_empty() {
            prop_assert_eq!(read, Err(Unfit::NoVulnerabilities { format }.into()));
        } else {
            let summary = read.unwrap();
            prop_assert_eq!(summary.counts, counts);
            prop_assert_eq!(summary.format, format);
            prop_assert_eq!(summary.scanned_at, Some(SCANNED.parse().unwrap()));
            prop_assert_eq!(&summary.filtered, &None);
            prop_assert!(summary.is_of(&DIGEST) && !summary.is_of(&Sha256Digest::from_bytes([8; 32])));
        }
    }

    #[test]
    fn a_report_cut_short_counts_for_nothing(
        format in select(COUNTED.to_vec()),
        findings in vec(finding(), 1..10),
        at in any::<Index>(),
    ) {
        let text = report(format, &findings, &DIGEST).to_string();
        let cut = &text.as_bytes()[..at.index(text.len())];
        prop_assert!(ScanSummary::read(cut, None).is_err());
    }

    #[test]
    fn a_member_that_is_there_twice_is_refused_wherever_it_is(
        format in select(COUNTED.to_vec()),
        findings in vec(finding(), 1..10),
        at in any::<Index>(),
    ) {
        let text = report(format, &findings, &DIGEST).to_string();
        // Generated texts hold no braces, so each one begins an object; empty ones take one more.
        let places: Vec<usize> = text.match_indices('{').map(|(place, _)| place + 1).collect();
        let place = places[at.index(places.len())];
        let comma = if text.as_bytes()[place] == b'}' { "" } else { "," };
        let (head, tail) = text.split_at(place);
        let twice = format!("{head}\"x\":1,\"\\u0078\":1{comma}{tail}");
        let refused = InvalidReport::Duplicate { name: "x".to_owned() };
        prop_assert_eq!(ScanSummary::read(twice.as_bytes(), None), Err(refused));
    }
}

#[test]
fn a_severity_that_is_no_word_is_refused() {
    for (format, pointer) in [
        (ReportFormat::Trivy, "/Results/1/Vulnerabilities/0/Severity"),
        (ReportFormat::Grype, "/matches/0/vulnerability/severity"),
        (ReportFormat::CosignVuln, "/predicate/scanner/result/Results/1/Vulnerabilities/0/Severity"),
        (ReportFormat::Sarif, "/runs/0/tool/driver/rules/0/properties/tags/1"),
        (ReportFormat::CycloneDx, "/vulnerabilities/0/ratings/0/severity"),
    ] {
        assert_eq!(read(&one(format)).unwrap().counts.of(Severity::High), 1, "{format}");
        for value in [json!(9), json!(1.5), json!(true), json!(["HIGH"]), json!({ "HIGH": 1 })] {
            let refused = read(&with(one(format), pointer, value));
            assert!(matches!(refused, Err(InvalidReport::Member { .. })), "{format}: {refused:?}");
        }
    }
}

#[test]
fn lists_of_findings_are_lists() {
    for (format, pointer) in [
        (ReportFormat::Trivy, "/Results"),
        (ReportFormat::Trivy, "/Results/1/Vulnerabilities"),
        (ReportFormat::Trivy, "/Results/1/Secrets"),
        (ReportFormat::Trivy, "/Metadata/RepoDigests"),
        (ReportFormat::Grype, "/matches"),
        (ReportFormat::Grype, "/ignoredMatches"),
        (ReportFormat::CosignVuln, "/subject"),
        (ReportFormat::CosignVuln, "/predicate/invocation/parameters"),
        (ReportFormat::Sarif, "/runs"),
        (ReportFormat::Sarif, "/runs/0/results"),
        (ReportFormat::CycloneDx, "/vulnerabilities"),
        (ReportFormat::CycloneDx, "/vulnerabilities/0/affects"),
    ] {
        for value in [json!({}), json!(0), json!(""), json!(false), json!({ "0": {} })] {
            let refused = read(&with(one(format), pointer, value));
            assert!(matches!(refused, Err(InvalidReport::Member { .. })), "{pointer}: {refused:?}");
        }
    }
}

#[test]
fn absent_is_not_zero() {
    let no_scan = Err(Unfit::NothingScanned.into());
    for (report, refused) in [
        (with(one(ReportFormat::Trivy), "/Results", json!(null)), &no_scan),
        (with(one(ReportFormat::Trivy), "/Results", json!([])), &no_scan),
        (with(one(ReportFormat::Trivy), "/Results", json!([{ "Class": "secret", "Secrets": [] }])), &no_scan),
        (with(one(ReportFormat::CosignVuln), "/predicate/scanner/result", json!(null)), &no_scan),
        (with(one(ReportFormat::Sarif), "/runs", json!([])), &no_scan),
        (with(one(ReportFormat::Sarif), "/runs/0/results", json!(null)), &no_scan),
        (
            with(one(ReportFormat::Sarif), "/runs/0/invocations/0/executionSuccessful", json!(false)),
            &Err(Unfit::FailedRun.into()),
        ),
        (json!([{ "Target": "app", "Vulnerabilities": null }]), &Err(Unfit::OldTrivy.into())),
        (json!({ "SchemaVersion": 2, "ClusterName": "c", "Resources": [] }), &Err(Unfit::Cluster.into())),
        (
            json!({ "spdxVersion": "SPDX-2.3", "packages": [] }),
            &Err(Unfit::NoVulnerabilities { format: ReportFormat::Spdx }.into()),
        ),
        (
            json!({ "@context": "https://openvex.dev/ns/v0.2.0", "statements": [] }),
            &Err(Unfit::NoVulnerabilities { format: ReportFormat::OpenVex }.into()),
        ),
    ] {
        assert_eq!(&read(&report), refused, "{report}");
    }
    let grype = with(one(ReportFormat::Grype), "/matches", json!(null));
    assert!(matches!(read(&grype), Err(InvalidReport::Member { .. })));
}

#[test]
fn other_things_than_images_are_refused() {
    for (format, pointer) in [
        (ReportFormat::Trivy, "/ArtifactType"),
        (ReportFormat::Grype, "/source/type"),
        (ReportFormat::CosignVuln, "/predicate/scanner/result/ArtifactType"),
        (ReportFormat::CycloneDx, "/metadata/component/type"),
    ] {
        let refused = read(&with(one(format), pointer, json!("directory")));
        assert_eq!(refused, Err(Unfit::NotAnImage { found: "directory".to_owned() }.into()), "{format}");
    }
}

#[test]
fn what_was_taken_out_is_said() {
    let suppressed = Some(Filtered::Suppressed { findings: 2 });
    let two = json!([{}, {}]);
    let trivy = with(one(ReportFormat::Trivy), "/Results/0/ExperimentalModifiedFindings", two.clone());
    assert_eq!(read(&trivy).unwrap().filtered, suppressed);
    let grype = with(one(ReportFormat::Grype), "/ignoredMatches", two);
    assert_eq!(read(&grype).unwrap().filtered, suppressed);
    for (parameters, name) in [
        (json!(["image", "--severity", "HIGH"]), Some("--severity")),
        (json!(["image --vex=repo app"]), Some("--vex")),
        (json!(["image", "--format", "cosign-vuln"]), None),
        (json!([]), None),
    ] {
        let report = with(one(ReportFormat::CosignVuln), "/predicate/invocation/parameters", parameters);
        assert_eq!(read(&report).unwrap().filtered, name.map(|name| Filtered::Option { name }));
    }
}

#[test]
fn an_old_scan_gets_no_younger_by_a_new_wrapping() {
    let young = "2031-01-01T00:00:00Z";
    let report = with(one(ReportFormat::CosignVuln), "/predicate/metadata/scanFinishedOn", json!(young));
    let report = with(report, "/predicate/metadata/scanStartedOn", json!(young));
    assert_eq!(read(&report).unwrap().scanned_at, Some(SCANNED.parse().unwrap()));
}

#[test]
fn a_statement_about_another_image_than_its_report_is_of_none() {
    let other = Sha256Digest::from_bytes([8; 32]);
    let report = with(one(ReportFormat::CosignVuln), "/subject/0/digest/sha256", json!(other.to_string()));
    let summary = read(&report).unwrap();
    assert!(!summary.is_of(&DIGEST) && !summary.is_of(&other));
}

#[test]
fn a_place_with_another_rule_than_the_named_one_is_refused() {
    let findings: Vec<Finding> = vec![(Severity::Critical, Some("CRITICAL")), (Severity::Low, Some("LOW"))];
    let report = report(ReportFormat::Sarif, &findings, &DIGEST);
    let swapped = with(report, "/runs/0/results/0/ruleIndex", json!(1));
    assert!(matches!(read(&swapped), Err(InvalidReport::Member { .. })));
}

#[test]
fn only_the_type_that_is_asked_for_is_read() {
    for found in COUNTED {
        let text = one(found).to_string();
        for expected in ReportFormat::ALL {
            let read = ScanSummary::read(text.as_bytes(), Some(expected));
            match expected == found {
                true => assert!(read.is_ok()),
                false => assert_eq!(read, Err(InvalidReport::OtherFormat { expected, found })),
            }
        }
    }
}
