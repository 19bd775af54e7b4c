//! Trivy's own JSON, schema 2, of a container image.

use std::collections::BTreeSet;

use super::node::Node;
use super::{Filtered, InvalidReport, OtherFindings, ReportFormat, ScanSummary, Scanner, Severity, Unfit};
use crate::digest::Sha256Digest;

/// Reads a whole report.
///
/// # Errors
/// Another shape than Trivy's, not of an image, or of a scan that looked at no package.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    require_image(report)?;
    let version = report.find_text(&["Trivy", "Version"])?.map(str::to_owned);
    let scanner = Scanner { name: "trivy".to_owned(), version };
    let mut summary = ScanSummary::new(ReportFormat::Trivy, scanner);
    summary.scanned_at = report.find_time(&["CreatedAt"])?;
    summary.claim(digests(report)?);
    summary.is_end_of_life = report.find_flag(&["Metadata", "OS", "EOSL"])?.unwrap_or_default();
    let mut suppressed = 0;
    let mut has_packages = false;
    for result in report.list("Results")? {
        has_packages |= count(&result, &mut summary)?;
        suppressed += result.list("ExperimentalModifiedFindings")?.count() as u64;
    }
    if !has_packages {
        return Err(Unfit::NothingScanned.into());
    }
    if suppressed > 0 {
        summary.filtered = Some(Filtered::Suppressed { findings: suppressed });
    }
    Ok(summary)
}

fn require_image(report: &Node<'_>) -> Result<(), InvalidReport> {
    if report.get("ClusterName")?.is_some() {
        return Err(Unfit::Cluster.into());
    }
    let schema = report.member("SchemaVersion")?;
    if schema.value().as_u64() != Some(2) {
        return Err(schema.is_not("2, the schema of reports that is read"));
    }
    let found = report.find_text(&["ArtifactType"])?.unwrap_or_default();
    if found != "container_image" {
        return Err(Unfit::NotAnImage { found: found.to_owned() }.into());
    }
    Ok(())
}

/// Everything that names the image: its manifest or the index above it, where it was pulled, and the
/// image id.
fn digests(report: &Node<'_>) -> Result<BTreeSet<Sha256Digest>, InvalidReport> {
    let Some(metadata) = report.get("Metadata")? else { return Ok(BTreeSet::new()) };
    let mut digests = BTreeSet::new();
    for digest in metadata.list("RepoDigests")? {
        digests.insert(digest.digest()?);
    }
    if let Some(id) = metadata.get("ImageID")? {
        digests.insert(id.digest()?);
    }
    Ok(digests)
}

/// Counts what one target holds. Whether packages were looked at: a run with the secret scanner alone
/// finds no vulnerabilities either.
fn count(result: &Node<'_>, summary: &mut ScanSummary) -> Result<bool, InvalidReport> {
    let class = result.find_text(&["Class"])?.unwrap_or_default();
    let mut has_packages = matches!(class, "os-pkgs" | "lang-pkgs");
    for finding in result.list("Vulnerabilities")? {
        finding.member("VulnerabilityID")?.text()?;
        let severity = finding.find_text(&["Severity"])?.unwrap_or_default();
        summary.counts.add(Severity::from_word(severity), 1);
        has_packages = true;
    }
    let OtherFindings { secrets, misconfigurations, licenses } = &mut summary.others;
    *secrets += result.list("Secrets")?.count() as u64;
    *licenses += result.list("Licenses")?.count() as u64;
    for finding in result.list("Misconfigurations")? {
        *misconfigurations += u64::from(finding.find_text(&["Status"])? == Some("FAIL"));
    }
    Ok(has_packages)
}
