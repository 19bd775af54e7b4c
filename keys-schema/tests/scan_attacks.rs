//! Files with one defect each, named after it: none of them makes an image look better than it is.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may panic, and reads files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use bulla_keys_schema::attest::{
    Filters, Finding, ImageIdentity, InvalidReport, Inventory, ScanSummary, Severity, Unfit, VexDocument,
};
use bulla_keys_schema::digest::Sha256Digest;

const IMAGE: Sha256Digest = Sha256Digest::from_bytes([7; 32]);

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/reports")
}

fn file(name: &str) -> Vec<u8> {
    fs::read(folder().join(format!("{name}.json"))).unwrap()
}

fn scan(name: &str) -> Result<ScanSummary, InvalidReport> {
    ScanSummary::read(&file(name), None)
}

/// The finding of the good report, which the good document takes away.
fn finding() -> Finding {
    scan("trivy-good").unwrap().findings.remove(0)
}

#[test]
fn only_a_statement_about_this_finding_in_this_image_takes_it_away() {
    let covers = |name: &str| VexDocument::read(&file(name)).unwrap().covers(&finding(), &IMAGE);
    assert!(covers("vex-good"));
    for name in [
        "vex-without-justification",
        "vex-of-another-image",
        "vex-of-any-image",
        "vex-of-two-images-in-one-product",
        "vex-of-another-package",
        "vex-of-another-version",
        "vex-of-another-vulnerability",
        "vex-under-investigation",
        "vex-contradicted-later",
    ] {
        assert!(!covers(name), "{name}");
    }
    for name in ["vex-with-unknown-status", "vex-with-unknown-justification", "trivy-good"] {
        assert!(VexDocument::read(&file(name)).is_err(), "{name}");
    }
}

#[test]
fn an_advisory_about_two_vulnerabilities_is_not_taken_away_with_one_of_them() {
    let advisory = scan("grype-advisory-about-two-vulnerabilities").unwrap().findings.remove(0);
    assert_eq!(advisory.identity(), "ELSA-2030-1");
    assert!(!VexDocument::read(&file("vex-good")).unwrap().covers(&advisory, &IMAGE));
}

#[test]
fn a_scan_of_another_platform_is_not_of_this_one() {
    let digest = |byte| Sha256Digest::from_bytes([byte; 32]);
    let image = ImageIdentity {
        manifest: digest(2),
        index: Some(digest(1)),
        config: Some(digest(3)),
        diff_ids: vec![digest(4)],
    };
    assert!(scan("trivy-good").unwrap().is_of_image(&image));
    assert!(!scan("trivy-of-another-platform").unwrap().is_of_image(&image));
}

#[test]
fn what_an_author_judged_away_still_counts() {
    let summary = scan("cyclonedx-judged-away-by-its-author").unwrap();
    assert_eq!(summary.counts.of(Severity::High), 1);
}

#[test]
fn a_mild_word_takes_back_no_score_of_somebody_else() {
    let summary = scan("cyclonedx-with-a-score-beside-a-word").unwrap();
    assert_eq!(summary.counts.of(Severity::Critical), 1);
    let vendor = ["vendor".to_owned()];
    assert_eq!(summary.findings[0].severity_by(&vendor), Severity::Low);
}

#[test]
fn what_may_be_hidden_is_not_known() {
    for name in ["predicate-with-unknown-argument", "grype-blind-to-a-folder"] {
        let mut summary = scan(name).unwrap();
        // To say afterwards that all was well takes nothing back.
        summary.declare(Filters::of_arguments("trivy", ["image"]));
        assert!(Severity::ALL.iter().all(|severity| summary.hides(*severity).is_some()), "{name}");
    }
}

#[test]
fn what_is_no_scan_or_cannot_be_read_counts_for_nothing() {
    for (name, refused) in [
        ("predicate-with-list-of-old-trivy", Some(Unfit::OldTrivy)),
        ("predicate-without-result", Some(Unfit::NothingScanned)),
        ("vulns-without-result", Some(Unfit::NothingScanned)),
        ("predicate-with-inventory", None),
        ("vulns-with-result-of-trivy", None),
        ("trivy-without-identifier", None),
        ("cyclonedx-with-unknown-analysis", None),
        ("trivy-with-findings-in-other-letters", None),
        ("sarif-with-results-beside-its-run", None),
        ("sarif-with-results-in-another-file", None),
    ] {
        let error = scan(name).expect_err(name);
        match refused {
            Some(unfit) => assert_eq!(error, unfit.into(), "{name}"),
            None => assert!(matches!(error, InvalidReport::Member { .. }), "{name}: {error}"),
        }
    }
    assert_eq!(Inventory::read(&file("inventory-of-nothing")), Err(Unfit::EmptyInventory.into()));
    assert!(scan("inventory-of-nothing").is_err());
}

#[test]
fn every_file_is_asked_about() {
    let text = include_str!("scan_attacks.rs");
    let names: BTreeSet<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    for name in names {
        assert!(text.contains(&format!("\"{name}\"")), "{name}");
    }
}
