//! Reports that scanners of others wrote, read where they lie: known counts come out, nothing panics
//! on what is close to them, and what is cut counts for nothing.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stderr,
    clippy::unwrap_used,
    reason = "a test may panic, reads files, and says what it skips"
)]

use std::fs;
use std::path::Path;

use bulla_keys_schema::attest::{Counts, Inventory, ReportFormat, ScanSummary, Severity, VexDocument};

/// Critical, high, medium, low, negligible, unknown.
type Row = [u64; 6];

/// File, counts of findings, counts of vulnerabilities, findings with a fix, and whether the system
/// gets no advisories any more.
const SAMPLES: &[(&str, Row, Row, usize, Option<bool>)] = &[
    ("trivy/alpine-310.json", [0, 0, 4, 0, 0, 0], [0, 0, 2, 0, 0, 0], 4, Some(true)),
    ("trivy/alpine-310.sarif", [0, 0, 4, 0, 0, 0], [0, 0, 2, 0, 0, 0], 0, None),
    ("trivy/alpine-39.json", [2, 0, 4, 0, 0, 0], [1, 0, 2, 0, 0, 0], 6, Some(true)),
    ("trivy/alpine-39-high-critical.json", [2, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0], 2, Some(true)),
    ("trivy/centos-7.json", [0, 0, 1, 2, 0, 0], [0, 0, 1, 2, 0, 0], 2, Some(false)),
    ("trivy/debian-buster.json", [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], 1, Some(false)),
    ("trivy/fluentd-gems.json", [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 2, Some(false)),
    ("trivy/photon-30.json", [2, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], 3, Some(false)),
    ("trivy/ubuntu-1804.json", [0, 0, 4, 1, 0, 0], [0, 0, 1, 1, 0, 0], 4, Some(false)),
    // One image in three formats. The score of the low one is that of a high one.
    ("grype/TestJsonImgsPresenter.golden", [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], 1, None),
    ("grype/TestSarifPresenter_image.golden", [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], 0, None),
    ("grype/TestCycloneDxPresenterImage.golden", [1, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], 0, None),
];

/// Files from which nothing may be counted.
const REFUSED: &[&str] =
    &["trivy/alpine-39-skip.json", "trivy/secrets.json", "grype/TestEmptyJsonPresenter.golden"];

fn sample(name: &str) -> Option<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/scan-reports");
    if !folder.is_dir() {
        assert!(std::env::var_os("CI").is_none(), "no ../shared/data/scan-reports");
        eprintln!("SKIPPED: no ../shared/data/scan-reports; hint: put the test data there");
        return None;
    }
    Some(fs::read(folder.join(name)).unwrap())
}

fn row(counts: Counts) -> Row {
    Severity::ALL.map(|severity| counts.of(severity))
}

#[test]
fn known_reports_have_known_counts() {
    for (name, findings, vulnerabilities, fixed, end_of_life) in SAMPLES {
        let Some(bytes) = sample(name) else { return };
        let summary = ScanSummary::read(&bytes, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(row(summary.counts), *findings, "{name}");
        assert_eq!(row(summary.counts_by_cve()), *vulnerabilities, "{name}");
        assert_eq!(summary.findings.iter().filter(|finding| finding.has_fix).count(), *fixed, "{name}");
        assert_eq!(summary.os_end_of_life, *end_of_life, "{name}");
        for finding in &summary.findings {
            assert!(finding.identity().starts_with("CVE-"), "{name}: {finding:?}");
            assert!(finding.package.is_some(), "{name}: {finding:?}");
        }
    }
    for name in REFUSED {
        let Some(bytes) = sample(name) else { return };
        assert!(ScanSummary::read(&bytes, None).is_err(), "{name}");
    }
}

#[test]
fn a_finding_is_told_with_all_that_the_report_knows() {
    let Some(bytes) = sample("trivy/alpine-39.json") else { return };
    let summary = ScanSummary::read(&bytes, Some(ReportFormat::Trivy)).unwrap();
    let worst = summary.findings.iter().find(|finding| finding.severity == Severity::Critical).unwrap();
    assert_eq!(worst.id, "CVE-2019-14697");
    assert_eq!(worst.package.as_deref(), Some("musl"));
    assert!(worst.purl.as_deref().unwrap().starts_with("pkg:apk/alpine/musl@"), "{worst:?}");
    assert!(worst.published_at.is_some() && worst.has_fix);
    assert!(!summary.subjects[0].diff_ids.is_empty() && !summary.subjects[0].image_ids.is_empty());

    let Some(bytes) = sample("grype/TestSarifPresenter_image.golden") else { return };
    let summary = ScanSummary::read(&bytes, Some(ReportFormat::Sarif)).unwrap();
    let found: Vec<_> =
        summary.findings.iter().map(|finding| (finding.id.as_str(), finding.package.as_deref())).collect();
    assert_eq!(found, [("CVE-1999-0001", Some("package-1")), ("CVE-1999-0002", Some("package-2"))]);

    let Some(bytes) = sample("grype/TestCycloneDxPresenterImage.golden") else { return };
    let summary = ScanSummary::read(&bytes, Some(ReportFormat::CycloneDx)).unwrap();
    assert_eq!(summary.findings[1].purl.as_deref(), Some("pkg:deb/package-2@2.2.2"));
    let inventory = Inventory::read(&bytes).unwrap();
    assert_eq!((inventory.components, inventory.subject), (2, summary.subjects[0].clone()));
}

#[test]
fn a_report_cut_anywhere_counts_for_nothing() {
    for (name, ..) in SAMPLES {
        let Some(bytes) = sample(name) else { return };
        let whole = bytes.trim_ascii_end();
        for at in places(whole.len()) {
            assert!(ScanSummary::read(&whole[..at], None).is_err(), "{name} cut at {at}");
        }
    }
}

/// One changed byte may change a name or a severity. What is still read holds together.
#[test]
fn a_changed_byte_never_panics() {
    for (name, ..) in SAMPLES {
        let Some(bytes) = sample(name) else { return };
        for at in places(bytes.len()) {
            for mask in [0x01, 0x20, 0x80, 0x04] {
                let mut changed = bytes.clone();
                changed[at] ^= mask;
                let read = ScanSummary::read(&changed, None);
                if let Ok(summary) = &read {
                    assert_eq!(Counts::by_finding(&summary.findings), summary.counts, "{name} at {at}");
                }
                drop((Inventory::read(&changed), VexDocument::read(&changed)));
            }
        }
    }
}

/// A few hundred places, the same in every run.
fn places(length: usize) -> impl Iterator<Item = usize> {
    let step = (length / 150).max(1);
    (0..length).step_by(step)
}
