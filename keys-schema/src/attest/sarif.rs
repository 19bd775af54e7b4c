//! SARIF 2.1.0, the form that code hosts take. Severities are in words about the rule; `level` is
//! never asked, since it makes one of critical and high.

use std::collections::BTreeSet;

use serde_json::Value;

use super::node::Node;
use super::summary::earlier;
use super::{InvalidReport, ReportFormat, ScanSummary, Scanner, Severity, Unfit};
use crate::digest::Sha256Digest;

/// What a result is about.
#[derive(Clone, Copy)]
enum Kind {
    Vulnerability(Severity),
    Secret,
    Misconfiguration,
    License,
}

/// Reads a whole log.
///
/// # Errors
/// Another shape, no run, or a run without results, which is one that did not look.
pub(super) fn read(report: &Node<'_>) -> Result<ScanSummary, InvalidReport> {
    let version = report.member("version")?;
    if version.text()? != "2.1.0" {
        return Err(version.is_not("2.1.0"));
    }
    let mut summary = ScanSummary::new(ReportFormat::Sarif, Scanner::default());
    let mut runs = 0_usize;
    for run in report.member("runs")?.items()? {
        read_run(&run, &mut summary, runs == 0)?;
        runs += 1;
    }
    if runs == 0 { Err(Unfit::NothingScanned.into()) } else { Ok(summary) }
}

fn read_run(run: &Node<'_>, summary: &mut ScanSummary, is_first: bool) -> Result<(), InvalidReport> {
    let driver = run.member("tool")?.member("driver")?;
    if is_first {
        summary.scanner.name = driver.member("name")?.text()?.to_owned();
        summary.scanner.version = driver.find_text(&["version"])?.map(str::to_owned);
    }
    for invocation in run.list("invocations")? {
        if invocation.find_flag(&["executionSuccessful"])? == Some(false) {
            return Err(Unfit::FailedRun.into());
        }
        summary.scanned_at = earlier(summary.scanned_at, invocation.find_time(&["endTimeUtc"])?);
    }
    summary.claim(digests(run)?);
    let rules = rules(&driver)?;
    for result in run.get("results")?.ok_or(Unfit::NothingScanned)?.items()? {
        if matches!(result.find_text(&["kind"])?, Some("pass" | "notApplicable")) {
            continue;
        }
        match kind(&rules, &result)? {
            Kind::Vulnerability(severity) => summary.counts.add(severity, 1),
            Kind::Secret => summary.others.secrets += 1,
            Kind::Misconfiguration => summary.others.misconfigurations += 1,
            Kind::License => summary.others.licenses += 1,
        }
    }
    Ok(())
}

/// What Trivy notes of the image.
fn digests(run: &Node<'_>) -> Result<BTreeSet<Sha256Digest>, InvalidReport> {
    let mut digests = BTreeSet::new();
    let Some(properties) = run.get("properties")? else { return Ok(digests) };
    for digest in properties.list("repoDigests")? {
        digests.insert(digest.digest()?);
    }
    if properties.find_text(&["imageID"])?.is_some() {
        digests.insert(properties.member("imageID")?.digest()?);
    }
    Ok(digests)
}

/// The rules of a run: id, and what a result by it is.
fn rules<'a>(driver: &Node<'a>) -> Result<Vec<(&'a str, Kind)>, InvalidReport> {
    let rule = |rule: Node<'a>| Ok((rule.member("id")?.text()?, kind_of(&rule)?));
    driver.list("rules")?.map(rule).collect()
}

/// By the place of the rule, which must have the id that the result names; else by the id alone, and
/// with several of that id the worst.
fn kind(rules: &[(&str, Kind)], result: &Node<'_>) -> Result<Kind, InvalidReport> {
    let id = match result.find_text(&["ruleId"])? {
        Some(id) => Some(id),
        None => result.find_text(&["rule", "id"])?,
    };
    let index = match result.get("ruleIndex")? {
        Some(index) => Some(index),
        None => result.find(&["rule", "index"])?,
    };
    // -1 is what SARIF writes for no place.
    if let Some(index) = index.filter(|index| index.value() != &Value::from(-1)) {
        let place = index.value().as_u64().and_then(|place| usize::try_from(place).ok());
        let rule =
            place.and_then(|place| rules.get(place)).ok_or_else(|| index.is_not("the place of a rule"))?;
        let fits = id.is_none_or(|id| {
            id.strip_prefix(rule.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        return if fits { Ok(rule.1) } else { Err(index.is_not("the place of the rule that is named")) };
    }
    let named = rules.iter().filter(|rule| Some(rule.0) == id).map(|rule| rule.1);
    Ok(named.max_by_key(rank).unwrap_or(Kind::Vulnerability(Severity::Unknown)))
}

/// A vulnerability is worse than anything that is not counted.
fn rank(kind: &Kind) -> u8 {
    match kind {
        Kind::Vulnerability(severity) => 1 + *severity as u8,
        Kind::Secret | Kind::Misconfiguration | Kind::License => 0,
    }
}

fn kind_of(rule: &Node<'_>) -> Result<Kind, InvalidReport> {
    let mut tags = Vec::new();
    if let Some(properties) = rule.get("properties")? {
        for tag in properties.list("tags")? {
            tags.push(tag.text()?);
        }
    }
    let has = |name: &str| tags.iter().any(|tag| tag.eq_ignore_ascii_case(name));
    Ok(match () {
        () if has("vulnerability") => Kind::Vulnerability(severity(rule, &tags)?),
        () if has("secret") => Kind::Secret,
        () if has("misconfiguration") => Kind::Misconfiguration,
        () if has("license") => Kind::License,
        () => Kind::Vulnerability(severity(rule, &tags)?),
    })
}

/// A word among the tags, else in the text of help, else the band of the score.
fn severity(rule: &Node<'_>, tags: &[&str]) -> Result<Severity, InvalidReport> {
    let worst = tags.iter().map(|tag| Severity::from_word(tag)).max().unwrap_or(Severity::Unknown);
    if worst != Severity::Unknown {
        return Ok(worst);
    }
    let help = rule.find_text(&["help", "text"])?.unwrap_or_default();
    let lines = help.lines().filter_map(|line| line.trim().strip_prefix("Severity:"));
    let worst = lines.map(|word| Severity::from_word(word.trim())).max().unwrap_or(Severity::Unknown);
    if worst != Severity::Unknown {
        return Ok(worst);
    }
    let Some(score) = rule.find(&["properties", "security-severity"])? else { return Ok(worst) };
    let score = match score.value() {
        Value::String(text) => text.parse().map_err(|_| score.is_not("a score"))?,
        number => number.as_f64().ok_or_else(|| score.is_not("a score"))?,
    };
    Ok(Severity::from_score(score))
}
