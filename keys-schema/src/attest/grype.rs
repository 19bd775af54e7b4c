//! Grype's own JSON, of a container image.

use std::collections::BTreeSet;

use super::node::Node;
use super::{Filtered, InvalidReport, ReportFormat, ScanSummary, Scanner, Severity, Unfit};
use crate::digest::Sha256Digest;

/// Reads a whole report.
///
/// # Errors
/// Another shape than Grype's, or not of an image.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    let descriptor = report.member("descriptor")?;
    let name = descriptor.member("name")?;
    if name.text()? != "grype" {
        return Err(name.is_not("grype"));
    }
    let source = report.member("source")?;
    let found = source.member("type")?.text()?;
    if found != "image" {
        return Err(Unfit::NotAnImage { found: found.to_owned() }.into());
    }
    let version = descriptor.find_text(&["version"])?.map(str::to_owned);
    let scanner = Scanner { name: "grype".to_owned(), version };
    let mut summary = ScanSummary::new(ReportFormat::Grype, scanner);
    summary.scanned_at = descriptor.find_time(&["timestamp"])?;
    summary.database_at = match descriptor.find_time(&["db", "built"])? {
        Some(built) => Some(built),
        None => descriptor.find_time(&["db", "status", "built"])?,
    };
    summary.claim(digests(&source.member("target")?)?);
    for found in report.member("matches")?.items()? {
        let vulnerability = found.member("vulnerability")?;
        vulnerability.member("id")?.text()?;
        let severity = vulnerability.find_text(&["severity"])?.unwrap_or_default();
        summary.counts.add(Severity::from_word(severity), 1);
    }
    let ignored = report.list("ignoredMatches")?.count() as u64;
    if ignored > 0 {
        summary.filtered = Some(Filtered::Suppressed { findings: ignored });
    }
    Ok(summary)
}

fn digests(target: &Node<'_>) -> Result<BTreeSet<Sha256Digest>, InvalidReport> {
    let mut digests = BTreeSet::new();
    for digest in target.list("repoDigests")? {
        digests.insert(digest.digest()?);
    }
    for name in ["manifestDigest", "imageID"] {
        if target.find_text(&[name])?.is_some() {
            digests.insert(target.member(name)?.digest()?);
        }
    }
    Ok(digests)
}
