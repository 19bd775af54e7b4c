//! The neutral predicate of in-toto for vulnerabilities, versions 0.1 and 0.2, alone or in a statement.
//! It names vulnerabilities and no packages. An empty list is a scan that found nothing.

use serde_json::Value;

use super::cosign_vuln::{arguments, subjects};
use super::node::Node;
use super::summary::earlier;
use super::{Filters, Finding, InvalidReport, ReportFormat, ScanSummary, Scanner, Severity, Unfit};

/// The types of the predicate.
const PREDICATES: [&str; 2] =
    ["https://in-toto.io/attestation/vulns/v0.1", "https://in-toto.io/attestation/vulns/v0.2"];

/// Whether a statement is of this type, or a bare predicate can be nothing else.
pub(super) fn fits(report: &Value) -> bool {
    if report.get("_type").is_some() {
        return report.get("predicateType").and_then(Value::as_str).is_some_and(is_type);
    }
    // An empty list may as well be what an old Trivy wrote, who names no image.
    let first = report.pointer("/scanner/result/0");
    first.is_some_and(|first| first.get("id").is_some() || first.get("vulnerability").is_some())
}

fn is_type(kind: &str) -> bool {
    PREDICATES.contains(&kind)
}

/// Reads a predicate, or a statement with one.
///
/// # Errors
/// Another predicate, another shape, or no list of results.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    if report.get("_type")?.is_none() {
        return predicate(report);
    }
    let kind = report.member("predicateType")?;
    if !is_type(kind.text()?) {
        return Err(kind.is_not("in-toto's type of vulnerabilities"));
    }
    let mut summary = predicate(&report.member("predicate")?)?;
    summary.claim(subjects(report)?);
    Ok(summary)
}

fn predicate(predicate: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    let scanner = predicate.member("scanner")?;
    let version = scanner.find_text(&["version"])?.map(str::to_owned);
    let name = name(scanner.find_text(&["uri"])?.unwrap_or_default()).to_owned();
    let mut summary = ScanSummary::new(ReportFormat::InTotoVulns, Scanner { name, version });
    for name in ["scanStartedOn", "scanFinishedOn"] {
        summary.scanned_at = earlier(summary.scanned_at, predicate.find_time(&["metadata", name])?);
    }
    summary.database_at = scanner.find_time(&["db", "lastUpdate"])?;
    for found in scanner.get("result")?.ok_or(Unfit::NothingScanned)?.items()? {
        // The text of version 0.1 puts one object more around it, its example does not.
        summary.found(match found.get("vulnerability")? {
            Some(inner) => finding(&inner)?,
            None => finding(&found)?,
        })?;
    }
    if let Some(arguments) = arguments(predicate)? {
        let filters = Filters::of_arguments(&summary.scanner.name, arguments);
        summary.declare(filters);
    }
    Ok(summary)
}

/// The program in `pkg:github/aquasecurity/trivy@VERSION`.
fn name(uri: &str) -> &str {
    let path = uri.split(['@', '?', '#']).next().unwrap_or_default();
    path.trim_end_matches('/').rsplit('/').next().unwrap_or_default()
}

fn finding(found: &Node<'_>) -> Result<Finding, InvalidReport> {
    Ok(Finding::new(found.member("id")?.identifier()?, severity(found)?))
}

/// The first word that is known; without one, the worst score of CVSS.
fn severity(found: &Node<'_>) -> Result<Severity, InvalidReport> {
    let mut by_score = Severity::Unknown;
    for rating in found.list("severity")? {
        let Some(score) = rating.get("score")? else { continue };
        let number = match score.value() {
            Value::String(text) => match Severity::from_word(text) {
                Severity::Unknown => text.parse().ok(),
                word => return Ok(word),
            },
            value => Some(value.as_f64().ok_or_else(|| score.is_not("a word or a number"))?),
        };
        let method = rating.find_text(&["method"])?.unwrap_or_default().to_ascii_lowercase();
        let is_cvss = method.contains("cvss") || method == "nvd";
        if let Some(number) = number.filter(|_| is_cvss) {
            by_score = by_score.max(Severity::from_score(number));
        }
    }
    Ok(by_score)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read_severity(ratings: &Value) -> Result<Severity, InvalidReport> {
        severity(&Node::root(&json!({ "severity": ratings })))
    }

    #[test]
    fn a_word_goes_before_scores_and_scores_are_of_cvss() {
        for (ratings, expected) in [
            (
                json!([{ "method": "nvd", "score": "medium" }, { "method": "cvss_score", "score": "9.8" }]),
                Severity::Medium,
            ),
            (
                json!([{ "method": "cvss_score", "score": "5.2" }, { "method": "nvd", "score": "HIGH" }]),
                Severity::High,
            ),
            (
                json!([{ "method": "ssvc", "score": "track" }, { "method": "nvd", "score": "critical" }]),
                Severity::Critical,
            ),
            (
                json!([{ "method": "CVSS_V3", "score": 5.2 }, { "method": "nvd", "score": "7.5" }]),
                Severity::High,
            ),
            (json!([{ "method": "epss", "score": 0.2 }]), Severity::Unknown),
            (json!([{ "method": "cvss", "score": "eleven" }, { "score": null }]), Severity::Unknown),
            (json!(null), Severity::Unknown),
            (json!([]), Severity::Unknown),
        ] {
            assert_eq!(read_severity(&ratings), Ok(expected), "{ratings}");
        }
        for refused in
            [json!({}), json!("high"), json!([{ "score": true }]), json!([{ "score": ["high"] }]), json!([1])]
        {
            assert!(read_severity(&refused).is_err(), "{refused}");
        }
    }

    #[test]
    fn the_scanner_is_named_by_the_end_of_its_uri() {
        for (uri, expected) in [
            ("pkg:github/aquasecurity/trivy@244fd47e", "trivy"),
            ("https://github.com/anchore/grype/", "grype"),
            ("trivy", "trivy"),
            ("", ""),
        ] {
            assert_eq!(name(uri), expected);
        }
    }
}
