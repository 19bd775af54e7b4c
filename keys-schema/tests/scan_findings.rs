//! What readers tell of each finding, and of what a report may lack.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    dead_code,
    unreachable_pub,
    reason = "a test may panic, and shares a room with its generator"
)]

use bulla_keys_schema::attest::{
    Filtered, Filters, InvalidReport, ReportFormat, ScanSummary, Severity, Unfit,
};
use serde_json::{Value, json};

#[path = "scan_reports/generated.rs"]
mod generated;

use generated::{one, read, with};

#[test]
fn what_grype_did_not_look_at_is_hidden_whatever_is_declared() {
    for (name, value, option) in [
        ("exclude", json!(["./usr/**"]), Some("--exclude")),
        ("exclude", json!([]), None),
        ("distro", json!("alpine:3.9"), Some("--distro")),
        ("distro", json!(""), None),
    ] {
        let report = with(one(ReportFormat::Grype), "/descriptor/configuration", json!({ name: value }));
        let mut summary = read(&report).unwrap();
        summary.declare(Filters::of_arguments("grype", ["-o json"]));
        for severity in Severity::ALL {
            let filtered = option.map(|option: &str| Filtered::Option { name: option.to_owned() });
            assert_eq!(summary.hides(severity), filtered.as_ref(), "{name}");
        }
    }
}

#[test]
fn the_order_of_sources_chooses_the_rating_and_the_worst_is_what_else_counts() {
    let rating = |source: &str, severity: &str| json!({ "source": { "name": source }, "severity": severity });
    let ratings = json!([rating("nvd", "high"), rating("RedHat", "low"), rating("ubuntu", "none")]);
    let report = with(one(ReportFormat::CycloneDx), "/vulnerabilities/0/ratings", ratings);
    let mut summary = read(&report).unwrap();
    assert_eq!(summary.counts.of(Severity::High), 1);
    for (sources, expected) in [
        (&["redhat", "nvd"][..], Severity::Low),
        (&["debian", "ubuntu"], Severity::Negligible),
        // Sources that say nothing leave what was chosen before.
        (&["debian"], Severity::Negligible),
    ] {
        summary.rate_by(&sources.iter().map(|source| (*source).to_owned()).collect::<Vec<_>>());
        assert_eq!(summary.counts.of(expected), 1, "{sources:?}");
        assert_eq!(summary.counts.total(), 1);
    }
}

#[test]
fn what_an_author_judged_away_is_counted_and_noted() {
    let harmless = ["resolved", "resolved_with_pedigree", "false_positive", "not_affected"];
    for (state, is_harmless) in
        harmless.map(|state| (state, true)).into_iter().chain([("exploitable", false), ("in_triage", false)])
    {
        let analysis = json!({ "state": state, "justification": "code_not_reachable" });
        let report = with(one(ReportFormat::CycloneDx), "/vulnerabilities/0/analysis", analysis);
        let mut summary = read(&report).unwrap();
        assert_eq!(summary.counts.total(), 1, "{state}");
        assert_eq!(summary.trust_analysis().len(), usize::from(is_harmless), "{state}");
        assert_eq!(summary.counts.total(), u64::from(!is_harmless), "{state}");
    }
    let unheard_of =
        with(one(ReportFormat::CycloneDx), "/vulnerabilities/0/analysis", json!({ "state": "fine" }));
    assert!(matches!(read(&unheard_of), Err(InvalidReport::Member { .. })));
}

#[test]
fn places_are_told_by_what_refers_to_them() {
    let report = with(
        one(ReportFormat::CycloneDx),
        "/vulnerabilities/0/affects",
        json!([{ "ref": "a" }, { "ref": "b" }, {}]),
    );
    let components = json!([
        { "bom-ref": "a", "name": "openssl", "purl": "pkg:deb/debian/openssl@1" },
        { "bom-ref": "c", "name": "app", "components": [{ "bom-ref": "b", "name": "inner" }] },
    ]);
    let summary = read(&with(report, "/components", components)).unwrap();
    let told: Vec<_> = summary
        .findings
        .iter()
        .map(|finding| (finding.package.as_deref(), finding.purl.as_deref()))
        .collect();
    let openssl = (Some("openssl"), Some("pkg:deb/debian/openssl@1"));
    assert_eq!(told, [openssl, (Some("inner"), None), (None, None)]);
}

#[test]
fn an_advisory_is_called_by_its_one_cve() {
    let id = |name: &str| json!({ "id": name });
    for (related, identity) in [
        (json!([id("CVE-2030-7")]), "CVE-2030-7"),
        (json!([id("CVE-2030-7"), id("CVE-2030-8")]), "GHSA-1"),
        (json!(null), "GHSA-1"),
    ] {
        let report = with(one(ReportFormat::Grype), "/matches/0/vulnerability/id", json!("GHSA-1"));
        let report = with(report, "/matches/0/relatedVulnerabilities", related);
        assert_eq!(read(&report).unwrap().findings[0].identity(), identity);
    }
    let report = with(one(ReportFormat::CycloneDx), "/vulnerabilities/0/id", json!("GHSA-1"));
    let report = with(report, "/vulnerabilities/0/references", json!([id("CVE-2030-7")]));
    assert_eq!(read(&report).unwrap().findings[0].identity(), "CVE-2030-7");
}

#[test]
fn a_later_version_of_a_predicate_is_not_read_as_this_one() {
    let kind = json!("https://in-toto.io/attestation/vulns/v0.3");
    let refused = read(&with(one(ReportFormat::InTotoVulns), "/predicateType", kind));
    assert!(matches!(refused, Err(InvalidReport::Member { .. })), "{refused:?}");
}

#[test]
fn an_empty_digest_is_none_and_another_text_is_refused() {
    for (format, pointer) in [
        (ReportFormat::Trivy, "/Metadata/RepoDigests"),
        (ReportFormat::Grype, "/source/target/repoDigests"),
        (ReportFormat::Sarif, "/runs/0/properties/repoDigests"),
    ] {
        let summary = read(&with(one(format), pointer, json!([""]))).unwrap();
        assert!(summary.subjects.iter().all(|claim| !claim.is_empty()), "{format}");
        for value in [json!(["x"]), json!([1]), json!(["sha512:00"]), json!([" "])] {
            let refused = read(&with(one(format), pointer, value));
            assert!(matches!(refused, Err(InvalidReport::Member { .. })), "{format}: {refused:?}");
        }
    }
}

#[test]
fn a_fix_needs_proof() {
    for (pointer, value, has_fix) in [
        ("/Results/1/Vulnerabilities/0/FixedVersion", json!("1.2"), true),
        ("/Results/1/Vulnerabilities/0/FixedVersion", json!(""), false),
        ("/Results/1/Vulnerabilities/0/Status", json!("fixed"), true),
        ("/Results/1/Vulnerabilities/0/Status", json!("will_not_fix"), false),
    ] {
        let summary = read(&with(one(ReportFormat::Trivy), pointer, value.clone())).unwrap();
        assert_eq!(summary.findings[0].has_fix, has_fix, "{value}");
    }
    for (state, has_fix) in [("fixed", true), ("not-fixed", false), ("wont-fix", false), ("unknown", false)] {
        let report =
            with(one(ReportFormat::Grype), "/matches/0/vulnerability/fix", json!({ "state": state }));
        assert_eq!(read(&report).unwrap().findings[0].has_fix, has_fix, "{state}");
    }
}

#[test]
fn identifiers_are_there_and_of_bearable_length() {
    for (format, pointer) in [
        (ReportFormat::Trivy, "/Results/1/Vulnerabilities/0/VulnerabilityID"),
        (ReportFormat::Grype, "/matches/0/vulnerability/id"),
        (ReportFormat::InTotoVulns, "/predicate/scanner/result/0/id"),
        (ReportFormat::Sarif, "/runs/0/tool/driver/rules/0/id"),
        (ReportFormat::CycloneDx, "/vulnerabilities/0/id"),
    ] {
        for value in [json!(""), json!(null), json!(7), json!("x".repeat(257))] {
            let refused = read(&with(one(format), pointer, value));
            assert!(matches!(refused, Err(InvalidReport::Member { .. })), "{format}: {refused:?}");
        }
    }
}

/// 1.2 MB that name one long package for each of 100,000 places.
#[test]
fn a_short_report_does_not_become_large_in_memory() {
    let report = with(
        one(ReportFormat::CycloneDx),
        "/components",
        json!([{ "bom-ref": "a", "name": "p".repeat(200), "purl": format!("pkg:a/{}", "p".repeat(400)) }]),
    );
    let places: Vec<Value> = (0..99_000).map(|_| json!({ "ref": "a" })).collect();
    let refused = read(&with(report, "/vulnerabilities/0/affects", json!(places)));
    assert_eq!(refused, Err(InvalidReport::TooManyFindings));
}

#[test]
fn results_without_a_name_are_not_one() {
    let report = with(one(ReportFormat::Sarif), "/runs/0/results", json!([{}, {}]));
    assert_eq!(read(&report).unwrap().counts_by_cve().of(Severity::Unknown), 2);
}

#[test]
fn a_predicate_without_findings_is_a_scan_only_for_whoever_expects_it() {
    let predicate = json!({ "scanner": { "uri": "trivy", "result": [] } }).to_string();
    let as_expected = ScanSummary::read(predicate.as_bytes(), Some(ReportFormat::InTotoVulns)).unwrap();
    assert_eq!(as_expected.counts.total(), 0);
    assert_eq!(ScanSummary::read(predicate.as_bytes(), None), Err(Unfit::OldTrivy.into()));
    let cosign = ScanSummary::read(predicate.as_bytes(), Some(ReportFormat::CosignVuln));
    assert_eq!(cosign, Err(Unfit::OldTrivy.into()));
}

#[test]
fn what_options_hide_is_said_for_each_severity() {
    let severity = json!(["image", "--severity", "HIGH,CRITICAL", "--scanners", "vuln,secret"]);
    let report = with(one(ReportFormat::CosignVuln), "/predicate/invocation/parameters", severity);
    let summary = read(&report).unwrap();
    assert_eq!(summary.hides(Severity::Critical), None);
    assert_eq!(summary.hides(Severity::High), None);
    assert!(summary.hides(Severity::Medium).is_some() && summary.hides(Severity::Unknown).is_some());
    assert_eq!(summary.looked_for_secrets, None);
    let all = with(report, "/predicate/invocation/parameters", json!(["image --scanners vuln,secret app"]));
    let summary = read(&all).unwrap();
    assert!(Severity::ALL.iter().all(|severity| summary.hides(*severity).is_none()));
    assert_eq!(summary.looked_for_secrets, Some(true));
}

#[test]
fn a_report_without_secrets_does_not_say_whether_anybody_looked() {
    assert_eq!(read(&one(ReportFormat::Trivy)).unwrap().looked_for_secrets, None);
    for result in [json!({ "Class": "secret" }), json!({ "Class": "os-pkgs", "Secrets": [{}] })] {
        let report = with(one(ReportFormat::Trivy), "/Results/0", result);
        assert_eq!(read(&report).unwrap().looked_for_secrets, Some(true));
    }
    assert_eq!(read(&one(ReportFormat::Grype)).unwrap().looked_for_secrets, Some(false));
    assert_eq!(read(&one(ReportFormat::Sarif)).unwrap().looked_for_secrets, None);
}
