//! What a scanner found, counted against the limits of a rule. Adding a finding can only make it
//! worse: no count falls when a report gets longer.

use std::collections::{BTreeMap, BTreeSet};

use super::super::CheckId;
use super::super::case::Case;
use super::super::ledger::{Ledger, SKEW};
use super::super::rules::{AttestationRule, CountBy, ScanRule};
use super::super::verdict::{Check, Evidence, Outcome, Quantity};
use super::attestations::Candidate;
use super::subjects::Subject;
use crate::attest::{Analysis, Finding, ScanSummary, Severity, VexDocument};
use crate::time::UtcTime;

/// A finding with the severity that it counts as.
struct Counted<'a> {
    finding: &'a Finding,
    severity: Severity,
}

/// What all checks of one report share.
struct Report<'a> {
    rule: &'a ScanRule,
    scan: &'a ScanSummary,
    name: String,
    evidence: &'a Evidence,
    undeclared: bool,
}

/// All limits of the entry, held against the chosen report.
pub(super) fn check(
    entry: &AttestationRule,
    chosen: &Candidate<'_>,
    case: &Case,
    subject: &Subject<'_>,
    evidence: &Evidence,
    ledger: &mut Ledger<'_>,
) {
    let name = format!("{}{}", subject.prefix(), entry.name);
    let Some(scan) = &chosen.said.scan else {
        let check = Check::new(CheckId::AttFormat, false).from([evidence.clone()]);
        ledger.note(check.saying(format!("{name}: it lists no findings")));
        return;
    };
    let rule = &entry.scan;
    database(rule, chosen, &name, evidence, ledger);
    let report = Report { rule, scan, name, evidence, undeclared: chosen.said.is_undeclared() };
    let counted = report.counted(chosen, case, subject, ledger);
    for (severity, limit) in &rule.limits {
        report.limit(check_of(*severity), &[*severity], *limit, &counted, ledger);
    }
    if let Some(limit) = rule.max_total {
        report.limit(CheckId::VulnTotal, &Severity::ALL, limit, &counted, ledger);
    }
    report.score(&counted, ledger);
    report.secrets(ledger);
    report.end_of_life(ledger);
}

const fn check_of(severity: Severity) -> CheckId {
    match severity {
        Severity::Critical => CheckId::VulnCritical,
        Severity::High => CheckId::VulnHigh,
        Severity::Medium => CheckId::VulnMedium,
        Severity::Low | Severity::Negligible | Severity::Unknown => CheckId::VulnLow,
    }
}

fn database(
    rule: &ScanRule,
    chosen: &Candidate<'_>,
    name: &str,
    evidence: &Evidence,
    ledger: &mut Ledger<'_>,
) {
    let Some(most) = rule.db_max_age.map(|span| span.seconds()) else { return };
    let at = chosen.said.database_at;
    let holds = at.is_some_and(|at| (-SKEW..=most).contains(&ledger.now.seconds_since(at)));
    let check = Check::new(CheckId::DbStale, holds).limit(most.unsigned_abs()).from([evidence.clone()]);
    let check = match at {
        Some(at) => {
            ledger.expire_after(at, most);
            check.actual(at).saying(if holds { String::new() } else { format!("{name}: it is of {at}") })
        }
        None => check.saying(format!("{name}: nobody says of when the database is")),
    };
    ledger.note(check);
}

impl<'a> Report<'a> {
    /// What counts now: without what somebody who may judge calls harmless, and without what still has
    /// time to be mended.
    fn counted(
        &self,
        chosen: &Candidate<'_>,
        case: &Case,
        subject: &Subject<'_>,
        ledger: &mut Ledger<'_>,
    ) -> Vec<Counted<'a>> {
        let trusts_author = self.rule.vex_signers.contains(&chosen.listed.signer);
        let statements = self.statements(case, subject, ledger);
        let mut counted = Vec::new();
        for finding in &self.scan.findings {
            let judged_away = trusts_author && finding.analysis.is_some_and(Analysis::is_harmless);
            if judged_away || is_harmless(&statements, finding, subject, ledger.now) {
                continue;
            }
            let severity = self.severity(finding);
            if let Some(due) = self.due(finding, severity, case, ledger.now) {
                ledger.expire(due);
                continue;
            }
            counted.push(Counted { finding, severity });
        }
        counted
    }

    /// The statements of those who may judge, about this image.
    fn statements<'c>(
        &self,
        case: &'c Case,
        subject: &Subject<'_>,
        ledger: &mut Ledger<'_>,
    ) -> Vec<&'c VexDocument> {
        let mut documents = Vec::new();
        for listed in &case.attestations {
            let Some(candidate) = Candidate::of(listed) else { continue };
            let may_judge = self.rule.vex_signers.contains(&listed.signer);
            if may_judge && candidate.is_about(subject) && candidate.flaw(ledger.now).is_none() {
                documents.extend(&candidate.said.vex);
                ledger.expire(listed.expires);
            }
        }
        documents
    }

    fn severity(&self, finding: &Finding) -> Severity {
        match finding.severity_by(&self.rule.rating_source) {
            Severity::Unknown => self.rule.unknown_as,
            Severity::Negligible => Severity::Low,
            severity => severity,
        }
    }

    /// When the time to mend the finding is over, if it is not yet. A time that is not known, or still
    /// to come, is long ago.
    fn due(&self, finding: &Finding, severity: Severity, case: &Case, now: UtcTime) -> Option<UtcTime> {
        let window = self.rule.fix_within.get(&severity).filter(|_| finding.has_fix)?;
        let names = [&finding.id].into_iter().chain(&finding.aliases);
        let seen = names.filter_map(|name| case.first_seen.get(name)).min().copied();
        let since = seen.into_iter().chain(finding.published_at).min()?;
        let due = since.plus_seconds(window.seconds());
        (since.seconds_since(now) <= SKEW && !due.is_over(now)).then_some(due)
    }

    /// Holds one limit against the findings of `severities`.
    fn limit(
        &self,
        id: CheckId,
        severities: &[Severity],
        limit: u64,
        counted: &[Counted<'_>],
        ledger: &mut Ledger<'_>,
    ) {
        let own: Vec<&Counted<'_>> =
            counted.iter().filter(|counted| severities.contains(&counted.severity)).collect();
        let number = |counted: &[&Counted<'_>]| match self.rule.count_by {
            CountBy::Finding => counted.len(),
            CountBy::Cve => counted.iter().map(|one| one.finding.identity()).collect::<BTreeSet<_>>().len(),
        };
        let is_whole = self.require_whole(id, severities, ledger);
        let measure = |counted: &[&Counted<'_>]| u64::try_from(number(counted)).unwrap_or(u64::MAX);
        let check = |holds, actual: u64| Check::new(id, holds).limit(limit).actual(actual);
        self.decide(&own, measure, |actual| actual <= limit, check, is_whole, ledger);
    }

    /// `max(0, 100 - 10 * critical - 5 * high - medium)`.
    fn score(&self, counted: &[Counted<'_>], ledger: &mut Ledger<'_>) {
        let Some(least) = self.rule.min_score else { return };
        let weights = BTreeMap::from([(Severity::Critical, 10), (Severity::High, 5), (Severity::Medium, 1)]);
        let severities: Vec<Severity> = weights.keys().copied().collect();
        let is_whole = self.require_whole(CheckId::VulnScore, &severities, ledger);
        let all: Vec<&Counted<'_>> = counted.iter().collect();
        let measure = |counted: &[&Counted<'_>]| {
            let weight = |severity: Severity| weights.get(&severity).copied().unwrap_or(0_u64);
            let lost: u64 = match self.rule.count_by {
                CountBy::Finding => counted.iter().map(|one| weight(one.severity)).sum(),
                CountBy::Cve => {
                    let each: BTreeSet<_> =
                        counted.iter().map(|one| (one.finding.identity(), one.severity)).collect();
                    each.into_iter().map(|(_, severity)| weight(severity)).sum()
                }
            };
            100_u64.saturating_sub(lost)
        };
        let check = |holds, actual: u64| Check::new(CheckId::VulnScore, holds).limit(least).actual(actual);
        self.decide(&all, measure, |score| score >= least, check, is_whole, ledger);
    }

    /// Notes a number of findings: as it is where that holds, and without the excepted ones where only
    /// that does. A number out of half a report proves nothing when it is small.
    fn decide(
        &self,
        all: &[&Counted<'_>],
        measure: impl Fn(&[&Counted<'_>]) -> u64,
        holds: impl Fn(u64) -> bool,
        check: impl Fn(bool, u64) -> Check,
        is_whole: bool,
        ledger: &mut Ledger<'_>,
    ) {
        let actual = measure(all);
        let mut made = check(holds(actual), actual).from([self.evidence.clone()]);
        if made.result == Outcome::Fail {
            let (excepted, left): (Vec<&Counted<'_>>, Vec<&Counted<'_>>) =
                all.iter().copied().partition(|one| ledger.excepts(made.id, one.finding));
            if !excepted.is_empty() && holds(measure(&left)) {
                let findings: Vec<&Finding> = excepted.iter().map(|one| one.finding).collect();
                let names = ledger.use_exceptions(made.id, &findings);
                made.result = Outcome::SkippedByException;
                made.actual = Some(Quantity::Number(measure(&left)));
                made.detail =
                    format!("{}: {} not counted (exception {})", self.name, excepted.len(), names.join(", "));
            } else {
                made.actual = Some(Quantity::Number(measure(&left)));
                made.detail = format!("{}: {}", self.name, worst(&left));
            }
        }
        if !is_whole && made.result != Outcome::Fail {
            made.result = Outcome::NotApplicable;
            made.detail = format!("{}: the report is not whole", self.name);
        }
        ledger.note(made);
    }

    /// Whether no finding of `severities` can be missing in the report; if one can, that is the check
    /// that fails, unless an exception says that it need not hold.
    fn require_whole(&self, id: CheckId, severities: &[Severity], ledger: &mut Ledger<'_>) -> bool {
        let hidden = |severity: &Severity| {
            let below = (*severity == Severity::Low).then_some(Severity::Negligible);
            [*severity].into_iter().chain(below).any(|severity| self.scan.hides(severity).is_some())
        };
        let why = if self.undeclared {
            "nobody declared the arguments of the scanner"
        } else if severities.iter().any(hidden) {
            "findings that count here were left out of the report"
        } else {
            return true;
        };
        let check = Check::new(CheckId::AttFiltered, false).from([self.evidence.clone()]);
        ledger.note(check.saying(format!("{}: {why} ({id})", self.name)))
    }

    fn secrets(&self, ledger: &mut Ledger<'_>) {
        let Some(limit) = self.rule.max_secrets else { return };
        let actual = self.scan.others.secrets;
        // A filter of severities is one of secrets as well.
        let is_whole = !Severity::ALL.iter().any(|severity| self.scan.hides(*severity).is_some());
        let looked = self.scan.looked_for_secrets == Some(true) && is_whole;
        let check = Check::new(CheckId::SecretCount, looked && actual <= limit).limit(limit);
        let check = check.from([self.evidence.clone()]);
        ledger.note(if actual > limit {
            check.actual(actual).saying(format!("{}: secrets lie in the image", self.name))
        } else if looked {
            check.actual(actual)
        } else {
            check.saying(format!("{}: nothing proves that anybody looked for secrets", self.name))
        });
    }

    fn end_of_life(&self, ledger: &mut Ledger<'_>) {
        if !self.rule.deny_eol {
            return;
        }
        let is_over = self.scan.os_end_of_life;
        let check = Check::new(CheckId::OsEol, is_over == Some(false)).from([self.evidence.clone()]);
        ledger.note(match is_over {
            Some(false) => check,
            Some(true) => check.saying(format!("{}: the system gets no advisories any more", self.name)),
            None => check.saying(format!("{}: the scanner does not say how old the system is", self.name)),
        });
    }
}

/// Whether the newest word of those who may judge is that the finding does no harm: about the image of
/// the index, or, if nobody speaks of that one, about the index. A word of a day that is still to come
/// would be the newest until then, whatever is found out.
fn is_harmless(documents: &[&VexDocument], finding: &Finding, subject: &Subject<'_>, now: UtcTime) -> bool {
    let said_of = |digest: &_| {
        documents
            .iter()
            .any(|document| document.statements.iter().any(|statement| statement.speaks_of(finding, digest)))
    };
    let digest = subject.child.filter(|child| said_of(child)).unwrap_or(subject.whole);
    let newest = VexDocument::harmless(documents.iter().copied(), finding, &digest);
    newest.is_some_and(|said| said.said_at.is_none_or(|at| at.seconds_since(now) <= SKEW))
}

/// A few names, for people.
fn worst(counted: &[&Counted<'_>]) -> String {
    let mut sorted = counted.to_vec();
    sorted.sort_by_key(|one| (std::cmp::Reverse(one.severity), one.finding.identity()));
    let mut names: Vec<&str> = sorted.iter().map(|one| one.finding.identity()).collect();
    names.dedup();
    let shown: Vec<&str> = names.iter().take(5).copied().collect();
    let more = if names.len() > shown.len() { ", ..." } else { "" };
    format!("{}{more}", shown.join(", "))
}
