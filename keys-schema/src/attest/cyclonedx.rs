//! `CycloneDX` in JSON, as Trivy, Grype and others write it with vulnerabilities.
//!
//! What its author has judged away (`analysis`) is counted all the same: a file alone does not show
//! who that was.

use std::collections::BTreeSet;

use serde_json::Value;

use super::node::Node;
use super::{InvalidReport, ReportFormat, ScanSummary, Scanner, Severity, Unfit};
use crate::digest::Sha256Digest;

/// Reads a whole document.
///
/// # Errors
/// Another shape, not of an image, or an inventory: without any vulnerability nobody can tell a clean
/// scan from none.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    let format = report.member("bomFormat")?;
    if format.text()? != "CycloneDX" {
        return Err(format.is_not("CycloneDX"));
    }
    let mut summary = ScanSummary::new(ReportFormat::CycloneDx, scanner(report)?);
    summary.scanned_at = report.find_time(&["metadata", "timestamp"])?;
    if let Some(component) = report.find(&["metadata", "component"])? {
        let found = component.member("type")?.text()?;
        if found != "container" {
            return Err(Unfit::NotAnImage { found: found.to_owned() }.into());
        }
        summary.claim(digests(&component)?);
    }
    for vulnerability in report.list("vulnerabilities")? {
        vulnerability.member("id")?.text()?;
        // A place each; one whose places are not listed is one all the same.
        let places = vulnerability.list("affects")?.count().max(1);
        summary.counts.add(severity(&vulnerability)?, places as u64);
    }
    if summary.counts.total() == 0 {
        return Err(Unfit::NoVulnerabilities { format: ReportFormat::CycloneDx }.into());
    }
    Ok(summary)
}

/// The first tool that is named, in the form of version 1.5 and later or in that of the earlier ones.
fn scanner(report: &Node<'_>) -> Result<Scanner, InvalidReport> {
    let Some(tools) = report.find(&["metadata", "tools"])? else { return Ok(Scanner::default()) };
    let first = match tools.value() {
        Value::Array(_) => tools.items()?.next(),
        _ => tools.list("components")?.next(),
    };
    let Some(tool) = first else { return Ok(Scanner::default()) };
    let name = tool.find_text(&["name"])?.unwrap_or_default().to_owned();
    Ok(Scanner { name, version: tool.find_text(&["version"])?.map(str::to_owned) })
}

/// Where Grype and Trivy note the image: its version, its package URL, and Trivy's own properties.
fn digests(component: &Node<'_>) -> Result<BTreeSet<Sha256Digest>, InvalidReport> {
    let mut digests = BTreeSet::new();
    if let Some(version) = component.find_text(&["version"])? {
        digests.extend(Sha256Digest::parse_oci(version));
    }
    if let Some(purl) = component.find_text(&["purl"])? {
        let head = purl.split(['?', '#']).next().unwrap_or_default();
        let version = head.rsplit_once('@').map_or("", |(_, version)| version);
        digests.extend(Sha256Digest::parse_oci(&version.replace("%3A", ":").replace("%3a", ":")));
    }
    for property in component.list("properties")? {
        let name = property.find_text(&["name"])?.unwrap_or_default();
        if matches!(name, "aquasecurity:trivy:RepoDigest" | "aquasecurity:trivy:ImageID") {
            digests.insert(property.member("value")?.digest()?);
        }
    }
    Ok(digests)
}

/// The worst rating in words; where there is none, the worst score of CVSS.
fn severity(vulnerability: &Node<'_>) -> Result<Severity, InvalidReport> {
    let (mut by_word, mut by_score) = (Severity::Unknown, Severity::Unknown);
    for rating in vulnerability.list("ratings")? {
        let word = rating.find_text(&["severity"])?.unwrap_or_default();
        by_word = by_word.max(Severity::from_word(word));
        let is_cvss = rating.find_text(&["method"])?.is_some_and(|method| method.starts_with("CVSS"));
        if let Some(score) = rating.get("score")?.filter(|_| is_cvss) {
            let score = score.value().as_f64().ok_or_else(|| score.is_not("a number"))?;
            by_score = by_score.max(Severity::from_score(score));
        }
    }
    Ok(if by_word == Severity::Unknown { by_score } else { by_word })
}
