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

use generated::{COUNTED, DIGEST, Finding, SCANNED, finding, one, read, report, with, wrapped};

/// `report` without the member at `pointer`.
fn without(mut report: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    report.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    report
}

/// Pointers to all members of all objects in `value`.
fn members(value: &Value, at: &str, places: &mut Vec<String>) {
    let mut below = |name: &str, value: &Value, is_member: bool| {
        let at = format!("{at}/{name}");
        if is_member {
            places.push(at.clone());
        }
        members(value, &at, places);
    };
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| below(name, value, true)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(i, item)| below(&i.to_string(), item, false));
        }
        _ => {}
    }
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
    fn a_report_in_the_predicate_of_cosign_has_the_findings_that_it_has_alone(
        format in select(vec![ReportFormat::Trivy, ReportFormat::Grype, ReportFormat::Sarif]),
        findings in vec(finding(), 0..20),
    ) {
        let report = report(format, &findings, &DIGEST);
        let alone = read(&report).unwrap();
        let wrapped = read(&wrapped(&report, &DIGEST)).unwrap();
        prop_assert_eq!(&wrapped.findings, &alone.findings);
        prop_assert_eq!(wrapped.counts, alone.counts);
        prop_assert_eq!(wrapped.scanner.name, alone.scanner.name);
        prop_assert_eq!(wrapped.format, ReportFormat::CosignVuln);
    }

    #[test]
    fn a_vulnerability_counts_once_by_its_worst_severity(
        // Both give one name to all findings.
        format in select(vec![ReportFormat::Grype, ReportFormat::CycloneDx]),
        findings in vec(finding(), 1..20),
    ) {
        let counts = read(&report(format, &findings, &DIGEST)).unwrap().counts_by_cve();
        let worst = findings.iter().map(|finding| finding.0).max().unwrap();
        let has_unknown = findings.iter().any(|finding| finding.0 == Severity::Unknown);
        for severity in Severity::ALL {
            let expected = severity == worst || (severity == Severity::Unknown && has_unknown);
            prop_assert_eq!(counts.of(severity), u64::from(expected), "{}", severity);
        }
    }

    #[test]
    fn a_member_that_is_null_is_as_good_as_absent(
        format in select(COUNTED.to_vec()),
        findings in vec(finding(), 1..6),
        at in any::<Index>(),
    ) {
        let report = report(format, &findings, &DIGEST);
        let mut places = Vec::new();
        members(&report, "", &mut places);
        let place = &places[at.index(places.len())];
        let null = read(&with(report.clone(), place, Value::Null));
        match (read(&without(report, place)), null) {
            (Ok(absent), Ok(null)) => prop_assert_eq!(absent, null),
            (Err(_), Err(_)) => {}
            (absent, null) => prop_assert!(false, "{}: {:?} {:?}", place, absent.is_ok(), null.is_ok()),
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
        (ReportFormat::InTotoVulns, "/predicate/scanner/result/0/severity/1/score"),
        (ReportFormat::Sarif, "/runs/0/tool/driver/rules/0/properties/tags/1"),
        (ReportFormat::CycloneDx, "/vulnerabilities/0/ratings/0/severity"),
    ] {
        assert_eq!(read(&one(format)).unwrap().counts.of(Severity::High), 1, "{format}");
        // In in-toto's, a number is a score.
        let numbers = [json!(9), json!(1.5)].into_iter().filter(|_| format != ReportFormat::InTotoVulns);
        for value in numbers.chain([json!(true), json!(["HIGH"]), json!({ "HIGH": 1 })]) {
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
        (ReportFormat::InTotoVulns, "/predicate/scanner/result"),
        (ReportFormat::InTotoVulns, "/predicate/scanner/result/0/severity"),
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
        (with(one(ReportFormat::InTotoVulns), "/predicate/scanner/result", json!(null)), &no_scan),
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
        (json!(["image", "--unheard-of"]), Some("--unheard-of")),
        (json!(["image", "--format", "cosign-vuln"]), None),
        (json!([]), None),
    ] {
        let report = with(one(ReportFormat::CosignVuln), "/predicate/invocation/parameters", parameters);
        let filtered = name.map(|name: &str| Filtered::Option { name: name.to_owned() });
        assert_eq!(read(&report).unwrap().filtered, filtered);
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
