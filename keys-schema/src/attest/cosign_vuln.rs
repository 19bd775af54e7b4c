//! Cosign's predicate for vulnerabilities: what `trivy --format cosign-vuln` writes, alone or in the
//! statement that cosign makes of it. The findings are in the scanner's own report within.

use std::collections::BTreeSet;

use super::node::Node;
use super::summary::earlier;
use super::{Filtered, InvalidReport, ReportFormat, ScanSummary, Unfit, grype, trivy};

/// The type of the predicate, in the spelling of newer and of older programs.
const PREDICATE: [&str; 2] =
    ["https://cosign.sigstore.dev/attestation/vuln/v1", "cosign.sigstore.dev/attestation/vuln/v1"];

/// Options of scanners after which findings are missing in the report.
const FILTERS: [&str; 14] = [
    "--severity",
    "-s",
    "--ignore-unfixed",
    "--ignorefile",
    "--ignore-policy",
    "--ignore-status",
    "--ignore-states",
    "--only-fixed",
    "--only-notfixed",
    "--pkg-types",
    "--vuln-type",
    "--skip-dirs",
    "--skip-files",
    "--vex",
];

/// Reads a predicate, or a statement with one.
///
/// # Errors
/// Another predicate, another shape, or what the reader of the report within refuses.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    if report.get("_type")?.is_none() {
        return predicate(report);
    }
    let kind = report.member("predicateType")?;
    if !PREDICATE.contains(&kind.text()?) {
        return Err(kind.is_not("cosign's type of vulnerabilities"));
    }
    let mut summary = predicate(&report.member("predicate")?)?;
    let mut subjects = BTreeSet::new();
    for subject in report.member("subject")?.items()? {
        let hex = subject.member("digest")?.member("sha256")?;
        subjects.insert(hex.text()?.parse().map_err(|_| hex.is_not("a SHA-256 digest"))?);
    }
    if subjects.is_empty() {
        return Err(report.member("subject")?.is_not("a list with a subject"));
    }
    summary.claim(subjects);
    Ok(summary)
}

fn predicate(predicate: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    let scanner = predicate.member("scanner")?;
    // Cosign makes an empty predicate of a report that it does not know.
    let result = scanner.get("result")?.ok_or(Unfit::NothingScanned)?;
    let mut summary = match ReportFormat::recognise(result.value())? {
        ReportFormat::Trivy => trivy::read(&result)?,
        ReportFormat::Grype => grype::read(&result)?,
        _ => return Err(result.is_not("a report of trivy or grype")),
    };
    summary.format = ReportFormat::CosignVuln;
    if let Some(version) = scanner.find_text(&["version"])? {
        summary.scanner.version = Some(version.to_owned());
    }
    for name in ["scanStartedOn", "scanFinishedOn"] {
        summary.scanned_at = earlier(summary.scanned_at, predicate.find_time(&["metadata", name])?);
    }
    summary.database_at = earlier(summary.database_at, scanner.find_time(&["db", "lastUpdate"])?);
    if let Some(name) = filter(predicate)? {
        summary.filtered = summary.filtered.or(Some(Filtered::Option { name }));
    }
    Ok(summary)
}

/// The first option of the scanner that takes findings out.
fn filter(predicate: &Node<'_>) -> Result<Option<&'static str>, InvalidReport> {
    let Some(invocation) = predicate.get("invocation")? else { return Ok(None) };
    for parameter in invocation.list("parameters")? {
        let words = parameter.text()?.split_ascii_whitespace();
        let mut options = words.filter_map(|word| word.split('=').next());
        let found = options.find_map(|option| FILTERS.into_iter().find(|filter| *filter == option));
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}
