//! Cosign's predicate for vulnerabilities: what `trivy --format cosign-vuln` writes, alone or in the
//! statement that cosign makes of it. The findings are in the scanner's own report within, which is
//! recognised by its content: of Trivy, of Grype, or in SARIF.

use std::collections::BTreeSet;

use super::node::Node;
use super::summary::earlier;
use super::{Filters, InvalidReport, ReportFormat, ScanSummary, SubjectClaim, Unfit, grype, sarif, trivy};

/// The type of the predicate, in the spelling of newer and of older programs.
const PREDICATE: [&str; 2] =
    ["https://cosign.sigstore.dev/attestation/vuln/v1", "cosign.sigstore.dev/attestation/vuln/v1"];

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
    summary.claim(subjects(report)?);
    Ok(summary)
}

/// The images that a statement is about; at least one.
pub(super) fn subjects(statement: &Node<'_>) -> Result<SubjectClaim, InvalidReport> {
    let list = statement.member("subject")?;
    let mut subjects = BTreeSet::new();
    for subject in list.items()? {
        let hex = subject.member("digest")?.member("sha256")?;
        subjects.insert(hex.text()?.parse().map_err(|_| hex.is_not("a SHA-256 digest"))?);
    }
    if subjects.is_empty() {
        return Err(list.is_not("a list with a subject"));
    }
    Ok(SubjectClaim::of_manifests(subjects))
}

fn predicate(predicate: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    let scanner = predicate.member("scanner")?;
    // Cosign makes an empty predicate of a report that it does not know.
    let result = scanner.get("result")?.ok_or(Unfit::NothingScanned)?;
    let mut summary = match ReportFormat::recognise(result.value())? {
        ReportFormat::Trivy => trivy::read(&result)?,
        ReportFormat::Grype => grype::read(&result)?,
        ReportFormat::Sarif => sarif::read(&result)?,
        _ => return Err(result.is_not("a report of trivy or grype, or in SARIF")),
    };
    summary.format = ReportFormat::CosignVuln;
    if let Some(version) = scanner.find_text(&["version"])? {
        summary.scanner.version = Some(version.to_owned());
    }
    for name in ["scanStartedOn", "scanFinishedOn"] {
        summary.scanned_at = earlier(summary.scanned_at, predicate.find_time(&["metadata", name])?);
    }
    summary.database_at = earlier(summary.database_at, scanner.find_time(&["db", "lastUpdate"])?);
    if let Some(arguments) = arguments(predicate)? {
        let filters = Filters::of_arguments(&summary.scanner.name, arguments);
        summary.declare(filters);
    }
    Ok(summary)
}

/// The arguments of the scanner, if the predicate says any.
pub(super) fn arguments<'a>(predicate: &Node<'a>) -> Result<Option<Vec<&'a str>>, InvalidReport> {
    let Some(parameters) = predicate.find(&["invocation", "parameters"])? else { return Ok(None) };
    parameters.items()?.map(|word| word.text()).collect::<Result<_, _>>().map(Some)
}
