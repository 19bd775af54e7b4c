//! SARIF 2.1.0, the form that code hosts take. Severities are in words about the rule; `level` is
//! never asked, since it makes one of critical and high.

use serde_json::Value;

use super::finding::LONGEST_NAME;
use super::node::Node;
use super::summary::earlier;
use super::{Finding, InvalidReport, ReportFormat, ScanSummary, Scanner, Severity, SubjectClaim, Unfit};

/// What results are by.
struct Rule<'a> {
    id: &'a str,
    kind: Kind,
    /// What it is about: Grype has a rule for each pair of vulnerability and package.
    vulnerability: &'a str,
    package: Option<&'a str>,
}

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
    require_here(report, "inlineExternalProperties")?;
    let mut summary = ScanSummary::new(ReportFormat::Sarif, Scanner::default());
    let mut runs = 0_usize;
    for run in report.member("runs")?.items()? {
        read_run(&run, &mut summary, runs == 0)?;
        runs += 1;
    }
    if runs == 0 { Err(Unfit::NothingScanned.into()) } else { Ok(summary) }
}

fn read_run(run: &Node<'_>, summary: &mut ScanSummary, is_first: bool) -> Result<(), InvalidReport> {
    require_here(run, "externalPropertyFileReferences")?;
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
    summary.claim(subject(run)?);
    let rules = rules(&driver)?;
    for result in run.get("results")?.ok_or(Unfit::NothingScanned)?.items()? {
        if matches!(result.find_text(&["kind"])?, Some("pass" | "notApplicable")) {
            continue;
        }
        // A suppressed result counts, too: the file does not show who suppressed it.
        let rule = rule(&rules, &result)?;
        match rule.map_or(Kind::Vulnerability(Severity::Unknown), |rule| rule.kind) {
            Kind::Vulnerability(severity) => summary.found(finding(&result, rule, severity)?)?,
            Kind::Secret => summary.others.secrets += 1,
            Kind::Misconfiguration => summary.others.misconfigurations += 1,
            Kind::License => summary.others.licenses += 1,
        }
    }
    Ok(())
}

/// SARIF lets a run keep its results outside of it, where nobody would count them.
fn require_here(of: &Node<'_>, name: &str) -> Result<(), InvalidReport> {
    of.get(name)?
        .map_or(Ok(()), |elsewhere| Err(elsewhere.is_not("absent: results are read in their run alone")))
}

/// What Trivy notes of the image.
fn subject(run: &Node<'_>) -> Result<SubjectClaim, InvalidReport> {
    let mut claim = SubjectClaim::default();
    let Some(properties) = run.get("properties")? else { return Ok(claim) };
    claim.manifests.extend(properties.digests("repoDigests")?);
    claim.image_ids.extend(properties.find_digest("imageID")?);
    Ok(claim)
}

/// One without any name is called by its place, so that no two of them become one.
fn finding(result: &Node<'_>, rule: Option<&Rule<'_>>, severity: Severity) -> Result<Finding, InvalidReport> {
    let Some(rule) = rule else {
        return Ok(match id(result)? {
            Some(id) => Finding::new(id.identifier()?, severity),
            None => Finding::new(result.place(), severity),
        });
    };
    let mut finding = Finding::new(rule.vulnerability, severity);
    finding.package = rule.package.map(str::to_owned);
    Ok(finding)
}

fn rules<'a>(driver: &Node<'a>) -> Result<Vec<Rule<'a>>, InvalidReport> {
    let is_grype = driver.find_text(&["name"])?.is_some_and(|name| name.eq_ignore_ascii_case("grype"));
    let rule = |rule: Node<'a>| {
        let id = rule.member("id")?.identifier()?;
        let help = rule.find_text(&["help", "text"])?.unwrap_or_default();
        let package = line_of(help, "Package:").find(|name| name.len() <= LONGEST_NAME);
        let of_grype = package.filter(|_| is_grype).and_then(|name| id.strip_suffix(name)?.strip_suffix('-'));
        let vulnerability = of_grype.filter(|id| !id.is_empty()).unwrap_or(id);
        Ok(Rule { id, kind: kind_of(&rule)?, vulnerability, package })
    };
    driver.list("rules")?.map(rule).collect()
}

/// What stands after a beginning, in the lines that have it.
fn line_of<'a>(text: &'a str, beginning: &'static str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| line.trim().strip_prefix(beginning)).map(str::trim)
}

fn id<'a>(result: &Node<'a>) -> Result<Option<Node<'a>>, InvalidReport> {
    let found = match result.find(&["ruleId"])? {
        Some(id) => Some(id),
        None => result.find(&["rule", "id"])?,
    };
    Ok(found)
}

/// By the place of the rule, which must have the id that the result names; else by the id alone, and
/// with several of that id the worst.
fn rule<'r, 'a>(rules: &'r [Rule<'a>], result: &Node<'_>) -> Result<Option<&'r Rule<'a>>, InvalidReport> {
    let id = id(result)?.map(|id| id.text()).transpose()?;
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
            id.strip_prefix(rule.id).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        return if fits { Ok(Some(rule)) } else { Err(index.is_not("the place of the rule that is named")) };
    }
    Ok(rules.iter().filter(|rule| Some(rule.id) == id).max_by_key(|rule| rank(rule.kind)))
}

/// A vulnerability is worse than anything that is not counted.
fn rank(kind: Kind) -> u8 {
    match kind {
        Kind::Vulnerability(severity) => 1 + severity as u8,
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
    let worst = line_of(help, "Severity:").map(Severity::from_word).max().unwrap_or(Severity::Unknown);
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
