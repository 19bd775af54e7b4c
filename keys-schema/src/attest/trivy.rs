//! Trivy's own JSON, schema 2, of a container image.

use super::node::Node;
use super::{
    Filtered, Finding, InvalidReport, OtherFindings, ReportFormat, ScanSummary, Scanner, Severity,
    SubjectClaim, Unfit,
};

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
    summary.claim(subject(report)?);
    summary.os_end_of_life = Some(report.find_flag(&["Metadata", "OS", "EOSL"])?.unwrap_or_default());
    summary.unpacked_size = report.find(&["Metadata", "Size"])?.and_then(|size| size.value().as_u64());
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

/// Everything that names the image: its manifest or the index above it, where it was pulled, the image
/// id, and the layers.
fn subject(report: &Node<'_>) -> Result<SubjectClaim, InvalidReport> {
    let mut claim = SubjectClaim::default();
    let Some(metadata) = report.get("Metadata")? else { return Ok(claim) };
    claim.manifests.extend(metadata.digests("RepoDigests")?);
    claim.image_ids.extend(metadata.find_digest("ImageID")?);
    claim.diff_ids.extend(metadata.digests("DiffIDs")?);
    Ok(claim)
}

/// Counts what one target holds. Whether packages were looked at: a run with the secret scanner alone
/// finds no vulnerabilities either.
fn count(result: &Node<'_>, summary: &mut ScanSummary) -> Result<bool, InvalidReport> {
    let class = result.find_text(&["Class"])?.unwrap_or_default();
    let mut has_packages = matches!(class, "os-pkgs" | "lang-pkgs");
    for found in result.list("Vulnerabilities")? {
        summary.found(finding(&found)?)?;
        has_packages = true;
    }
    let secrets = result.list("Secrets")?.count() as u64;
    // A clean run of the secret scanner leaves no class: that none is there says nothing.
    if class == "secret" || secrets > 0 {
        summary.looked_for_secrets = Some(true);
    }
    let OtherFindings { secrets: all_secrets, misconfigurations, licenses } = &mut summary.others;
    *all_secrets += secrets;
    *licenses += result.list("Licenses")?.count() as u64;
    for finding in result.list("Misconfigurations")? {
        *misconfigurations += u64::from(finding.find_text(&["Status"])? == Some("FAIL"));
    }
    Ok(has_packages)
}

fn finding(found: &Node<'_>) -> Result<Finding, InvalidReport> {
    let severity = found.find_text(&["Severity"])?.unwrap_or_default();
    let mut finding =
        Finding::new(found.member("VulnerabilityID")?.identifier()?, Severity::from_word(severity));
    finding.package = found.find_name(&["PkgName"])?;
    finding.purl = found.find_purl(&["PkgIdentifier", "PURL"])?;
    finding.has_fix =
        found.find_text(&["FixedVersion"])?.is_some() || found.find_text(&["Status"])? == Some("fixed");
    finding.published_at = found.find_time(&["PublishedDate"])?;
    Ok(finding)
}
