//! Grype's own JSON, of a container image.

use super::node::Node;
use super::{
    Filtered, Filters, Finding, InvalidReport, ReportFormat, ScanSummary, Scanner, Severity, SubjectClaim,
    Unfit,
};

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
    summary.claim(subject(&source.member("target")?)?);
    summary.lists_ignored = true;
    // Grype has no scanner for secrets.
    summary.looked_for_secrets = Some(false);
    for found in report.member("matches")?.items()? {
        summary.found(finding(&found)?)?;
    }
    if let Some(configuration) = descriptor.get("configuration")?
        && let Some(option) = blinding(&configuration)?
    {
        summary.declare(Filters::everything(option));
    }
    let ignored = report.list("ignoredMatches")?.count() as u64;
    if ignored > 0 {
        summary.filtered = Some(Filtered::Suppressed { findings: ignored });
    }
    Ok(summary)
}

fn subject(target: &Node<'_>) -> Result<SubjectClaim, InvalidReport> {
    let mut claim = SubjectClaim::default();
    claim.manifests.extend(target.digests("repoDigests")?);
    claim.manifests.extend(target.find_digest("manifestDigest")?);
    claim.image_ids.extend(target.find_digest("imageID")?);
    Ok(claim)
}

/// The option by which Grype did not look at some packages, or took the system for another one. That
/// leaves nothing among the matches that were ignored.
fn blinding(configuration: &Node<'_>) -> Result<Option<&'static str>, InvalidReport> {
    if configuration.list("exclude")?.next().is_some() {
        return Ok(Some("--exclude"));
    }
    Ok(configuration.find_text(&["distro"])?.map(|_| "--distro"))
}

fn finding(found: &Node<'_>) -> Result<Finding, InvalidReport> {
    let vulnerability = found.member("vulnerability")?;
    let severity = vulnerability.find_text(&["severity"])?.unwrap_or_default();
    let mut finding = Finding::new(vulnerability.member("id")?.identifier()?, Severity::from_word(severity));
    let mut related = Vec::new();
    for other in found.list("relatedVulnerabilities")? {
        related.extend(other.find_text(&["id"])?);
    }
    finding.call(related);
    finding.package = found.find_name(&["artifact", "name"])?;
    finding.purl = found.find_purl(&["artifact", "purl"])?;
    finding.has_fix = vulnerability.find_text(&["fix", "state"])? == Some("fixed");
    Ok(finding)
}
