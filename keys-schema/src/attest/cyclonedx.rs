//! `CycloneDX` in JSON, as Trivy, Grype and others write it with vulnerabilities.
//!
//! What its author has judged away (`analysis`) is counted all the same, and noted: a file alone does
//! not show who that was. Of several ratings the worst counts, and all of them are kept.

use std::collections::BTreeMap;

use serde_json::Value;

use super::node::Node;
use super::purl::Purl;
use super::{
    Analysis, Finding, InvalidReport, Rating, ReportFormat, ScanSummary, Scanner, Severity, SubjectClaim,
    Unfit,
};
use crate::digest::Sha256Digest;

/// Reads a whole document.
///
/// # Errors
/// Another shape, not of an image, or an inventory: without any vulnerability nobody can tell a clean
/// scan from none.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    require_format(report)?;
    let mut summary = ScanSummary::new(ReportFormat::CycloneDx, scanner(report)?);
    summary.scanned_at = report.find_time(&["metadata", "timestamp"])?;
    if let Some(component) = report.find(&["metadata", "component"])? {
        let found = component.member("type")?.text()?;
        if found != "container" {
            return Err(Unfit::NotAnImage { found: found.to_owned() }.into());
        }
        summary.claim(subject(&component)?);
    }
    let packages = packages(report)?;
    for vulnerability in report.list("vulnerabilities")? {
        let finding = finding(&vulnerability)?;
        let mut places = vulnerability.list("affects")?.peekable();
        // One whose places are not listed is one all the same.
        if places.peek().is_none() {
            summary.found(finding.clone())?;
        }
        for place in places {
            let package = place.find_text(&["ref"])?.and_then(|place| packages.get(place));
            let (package, purl) = package.cloned().unwrap_or_default();
            summary.found(Finding { package, purl, ..finding.clone() })?;
        }
    }
    if summary.counts.total() == 0 {
        return Err(Unfit::NoVulnerabilities { format: ReportFormat::CycloneDx }.into());
    }
    Ok(summary)
}

/// Components by what refers to them: name and package URL.
type Packages<'a> = BTreeMap<&'a str, (Option<String>, Option<String>)>;

fn packages<'a>(report: &Node<'a>) -> Result<Packages<'a>, InvalidReport> {
    let mut packages = BTreeMap::new();
    each_component(report, |component| {
        if let Some(id) = component.find_text(&["bom-ref"])? {
            packages.insert(id, (component.find_name(&["name"])?, component.find_purl(&["purl"])?));
        }
        Ok(())
    })?;
    Ok(packages)
}

/// Goes through all components of a document, those within others too.
pub(super) fn each_component<'a>(
    document: &Node<'a>,
    mut note: impl FnMut(&Node<'a>) -> Result<(), InvalidReport>,
) -> Result<(), InvalidReport> {
    let mut open = vec![document.list("components")?];
    while let Some(list) = open.last_mut() {
        match list.next() {
            Some(component) => {
                note(&component)?;
                open.push(component.list("components")?);
            }
            None => drop(open.pop()),
        }
    }
    Ok(())
}

fn finding(vulnerability: &Node<'_>) -> Result<Finding, InvalidReport> {
    let ratings = ratings(vulnerability)?;
    let severity = worst(ratings.iter().map(Opinion::severity));
    let mut finding = Finding::new(vulnerability.member("id")?.identifier()?, severity);
    let mut others = Vec::new();
    for other in vulnerability.list("references")? {
        others.extend(other.find_text(&["id"])?);
    }
    finding.call(others);
    finding.published_at = vulnerability.find_time(&["published"])?;
    if let Some(state) = vulnerability.find(&["analysis", "state"])? {
        finding.analysis =
            Some(Analysis::from_word(state.text()?).ok_or_else(|| state.is_not("a state of CycloneDX"))?);
    }
    finding.ratings = ratings.iter().filter_map(Opinion::kept).collect();
    Ok(finding)
}

/// Refuses what only says a part of the name.
pub(super) fn require_format(report: &Node<'_>) -> Result<(), InvalidReport> {
    let format = report.member("bomFormat")?;
    if format.text()? == "CycloneDX" { Ok(()) } else { Err(format.is_not("CycloneDX")) }
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
pub(super) fn subject(component: &Node<'_>) -> Result<SubjectClaim, InvalidReport> {
    let mut claim = SubjectClaim::default();
    if let Some(version) = component.find_text(&["version"])? {
        claim.manifests.extend(Sha256Digest::parse_oci(version));
    }
    let purl = component.find_text(&["purl"])?.and_then(Purl::parse);
    claim.manifests.extend(purl.and_then(|purl| purl.image()));
    for property in component.list("properties")? {
        match property.find_text(&["name"])?.unwrap_or_default() {
            "aquasecurity:trivy:RepoDigest" => {
                claim.manifests.insert(property.member("value")?.digest()?);
            }
            "aquasecurity:trivy:ImageID" => {
                claim.image_ids.insert(property.member("value")?.digest()?);
            }
            "aquasecurity:trivy:DiffID" => claim.diff_ids.push(property.member("value")?.digest()?),
            _ => {}
        }
    }
    Ok(claim)
}

/// What one source says.
struct Opinion<'a> {
    source: &'a str,
    word: Severity,
    by_score: Severity,
}

impl Opinion<'_> {
    /// Its word, else its score: no word of one source takes back the score of another.
    fn severity(&self) -> Severity {
        if self.word == Severity::Unknown { self.by_score } else { self.word }
    }

    /// What is kept of it: nothing without a name, or of somebody who does not know.
    fn kept(&self) -> Option<Rating> {
        let severity = self.severity();
        let is_kept = !self.source.is_empty() && severity != Severity::Unknown;
        is_kept.then(|| Rating { source: self.source.to_ascii_lowercase(), severity })
    }
}

/// Words, and scores of CVSS; other scores are of something else than badness.
fn ratings<'a>(vulnerability: &Node<'a>) -> Result<Vec<Opinion<'a>>, InvalidReport> {
    let mut opinions = Vec::new();
    for rating in vulnerability.list("ratings")? {
        let word = rating.find_text(&["severity"])?.unwrap_or_default();
        let is_cvss = rating.find_text(&["method"])?.is_some_and(|method| method.starts_with("CVSS"));
        let mut by_score = Severity::Unknown;
        if let Some(score) = rating.get("score")?.filter(|_| is_cvss) {
            by_score = Severity::from_score(score.value().as_f64().ok_or_else(|| score.is_not("a number"))?);
        }
        let source = rating.find_text(&["source", "name"])?.unwrap_or_default();
        opinions.push(Opinion { source, word: Severity::from_word(word), by_score });
    }
    Ok(opinions)
}

fn worst(severities: impl Iterator<Item = Severity>) -> Severity {
    severities.max().unwrap_or(Severity::Unknown)
}
