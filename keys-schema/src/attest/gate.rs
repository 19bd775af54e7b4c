//! Limits, held against one report.

use std::fmt;

use super::{Counts, Filtered, NoEvidence, ScanSummary, Severity};
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

/// Seconds by which the clock of a scanner may be ahead of ours.
const SKEW: i64 = 300;

/// How many findings of each severity pass; none means any number.
///
/// What is unknown counts as high, and what is negligible as low, unless it has a limit of its own:
/// a finding that nobody has judged yet does not slip through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// For critical ones.
    pub critical: Option<u64>,
    /// For high ones.
    pub high: Option<u64>,
    /// For medium ones.
    pub medium: Option<u64>,
    /// For low ones.
    pub low: Option<u64>,
    /// For negligible ones.
    pub negligible: Option<u64>,
    /// For those of unknown severity.
    pub unknown: Option<u64>,
    /// For all of them together.
    pub total: Option<u64>,
    /// For secrets.
    pub secrets: Option<u64>,
    /// The lowest [`Counts::score`] that passes, with unknown ones counted as high.
    pub min_score: Option<u64>,
}

impl Limits {
    fn of(&self, severity: Severity) -> Option<u64> {
        match severity {
            Severity::Critical => self.critical,
            Severity::High => self.high,
            Severity::Medium => self.medium,
            Severity::Low => self.low,
            Severity::Negligible => self.negligible,
            Severity::Unknown => self.unknown,
        }
    }

    /// The findings that count towards the limit of `severity`.
    fn counted(&self, counts: &Counts, severity: Severity) -> u64 {
        let own = counts.of(severity);
        let besides = match severity {
            Severity::High if self.unknown.is_none() => counts.of(Severity::Unknown),
            Severity::Low if self.negligible.is_none() => counts.of(Severity::Negligible),
            _ => 0,
        };
        own.saturating_add(besides)
    }
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CountBy {
    /// Every place where a vulnerability was found.
    #[default]
    Finding,
    /// Every vulnerability, at however many places.
    Cve,
}

/// What a report must be to let its image pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// How many findings pass.
    pub limits: Limits,
    /// What counts as one.
    pub count_by: CountBy,
    /// The image, by the digest of its manifest or its configuration.
    pub image: Option<Sha256Digest>,
    /// How old the scan may be, in seconds.
    pub max_age: Option<i64>,
    /// How old the scanner's database may be, in seconds.
    pub max_database_age: Option<i64>,
    /// Let no image pass whose system gets no advisories any more.
    pub deny_end_of_life: bool,
}

/// What a limit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Findings of one severity.
    Severity(Severity),
    /// Findings of all severities.
    Total,
    /// Secrets.
    Secrets,
    /// The score, whose limit is the lowest one that passes.
    Score,
    /// Systems that get no advisories any more.
    EndOfLife,
}

impl Measure {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Severity(severity) => severity.as_str(),
            Self::Total => "total",
            Self::Secrets => "secrets",
            Self::Score => "score",
            Self::EndOfLife => "end of life",
        }
    }

    /// The severities of which nothing may be missing, so that it can be measured.
    fn needs(self) -> &'static [Severity] {
        match self {
            Self::Severity(Severity::Critical) => &[Severity::Critical],
            Self::Severity(Severity::High) => &[Severity::High],
            Self::Severity(Severity::Medium) => &[Severity::Medium],
            Self::Severity(Severity::Low) => &[Severity::Low],
            Self::Severity(Severity::Negligible) => &[Severity::Negligible],
            Self::Severity(Severity::Unknown) => &[Severity::Unknown],
            Self::Total => &Severity::ALL,
            Self::Score => &[Severity::Critical, Severity::High, Severity::Medium],
            Self::Secrets | Self::EndOfLife => &[],
        }
    }
}

impl fmt::Display for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit and what counts towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// What it is for.
    pub of: Measure,
    /// How much passes; for a score, how little.
    pub limit: u64,
    /// How much there is.
    pub actual: u64,
}

impl Check {
    /// Whether the limit holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        match self.of {
            Measure::Score => self.actual >= self.limit,
            _ => self.actual <= self.limit,
        }
    }
}

impl Gate {
    /// Holds the limits against a report, all of them. The image passes if each [`Check`] holds.
    ///
    /// # Errors
    /// The report says nothing about this image as it is now, or not what a limit asks for.
    pub fn judge(&self, summary: &ScanSummary, now: UtcTime) -> Result<Vec<Check>, NoEvidence> {
        if let Some(image) = self.image.filter(|image| !summary.is_of(image)) {
            return Err(match summary.subjects.is_empty() {
                true => NoEvidence::NamesNoImage,
                false => NoEvidence::OtherImage { image },
            });
        }
        let limits = self.measures();
        if let Some(suppressed @ Filtered::Suppressed { .. }) = &summary.filtered {
            return Err(NoEvidence::Filtered(suppressed.clone()));
        }
        let mut needed = limits.iter().flat_map(|(of, _)| of.needs());
        if let Some(filtered) = needed.find_map(|severity| summary.hides(*severity)) {
            return Err(NoEvidence::Filtered(filtered.clone()));
        }
        self.require_fresh(summary, now)?;
        let counts = match self.count_by {
            CountBy::Finding => summary.counts,
            CountBy::Cve => summary.counts_by_cve(),
        };
        let check = |(of, limit)| Ok(Check { of, limit, actual: self.actual(of, &counts, summary)? });
        limits.into_iter().map(check).collect()
    }

    /// What is limited, the worst first.
    fn measures(&self) -> Vec<(Measure, u64)> {
        let limits = &self.limits;
        let severities = Severity::ALL.map(|severity| (Measure::Severity(severity), limits.of(severity)));
        let others = [
            (Measure::Total, limits.total),
            (Measure::Score, limits.min_score),
            (Measure::Secrets, limits.secrets),
            (Measure::EndOfLife, self.deny_end_of_life.then_some(0)),
        ];
        let all = severities.into_iter().chain(others);
        all.filter_map(|(of, limit)| limit.map(|limit| (of, limit))).collect()
    }

    fn actual(&self, of: Measure, counts: &Counts, summary: &ScanSummary) -> Result<u64, NoEvidence> {
        Ok(match of {
            Measure::Severity(severity) => self.limits.counted(counts, severity),
            Measure::Total => counts.total(),
            Measure::Score => counts.with_unknown_as(Severity::High).score(),
            Measure::Secrets if summary.looked_for_secrets == Some(true) => summary.others.secrets,
            Measure::Secrets => return Err(NoEvidence::NoSecretScan),
            Measure::EndOfLife => u64::from(summary.os_end_of_life.ok_or(NoEvidence::NoSystem)?),
        })
    }

    fn require_fresh(&self, summary: &ScanSummary, now: UtcTime) -> Result<(), NoEvidence> {
        if let Some(at) = summary.scanned_at.filter(|at| at.seconds_since(now) > SKEW) {
            return Err(NoEvidence::InFuture { at });
        }
        if let Some(max_age) = self.max_age {
            let at = summary.scanned_at.ok_or(NoEvidence::NoTime)?;
            if now.seconds_since(at) > max_age {
                return Err(NoEvidence::Stale { at });
            }
        }
        let Some(max_age) = self.max_database_age else { return Ok(()) };
        let at = summary.database_at.ok_or(NoEvidence::NoDatabaseTime)?;
        match now.seconds_since(at) {
            age if age > max_age => Err(NoEvidence::StaleDatabase { at }),
            age if age < -SKEW => Err(NoEvidence::DatabaseInFuture { at }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Filters, Finding, ReportFormat, Scanner, SubjectClaim};
    use super::*;

    fn now() -> UtcTime {
        "2030-01-02T03:04:05Z".parse().unwrap()
    }

    fn summary(counts: &[(Severity, u64)]) -> ScanSummary {
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        for (severity, count) in counts {
            for number in 0..*count {
                summary.found(Finding::new(&format!("CVE-2030-{number}"), *severity)).unwrap();
            }
        }
        summary
    }

    fn of(image: Sha256Digest) -> SubjectClaim {
        SubjectClaim::of_manifests([image].into())
    }

    fn actual(gate: &Gate, summary: &ScanSummary) -> Vec<(Severity, u64, bool)> {
        let checks = gate.judge(summary, now()).unwrap();
        let severity = |check: &Check| match check.of {
            Measure::Severity(severity) => severity,
            other => panic!("{other}"),
        };
        checks.iter().map(|check| (severity(check), check.actual, check.holds())).collect()
    }

    /// The one limit that `gate` has, held against `summary`.
    fn one(gate: &Gate, summary: &ScanSummary) -> Result<(u64, bool), NoEvidence> {
        let checks = gate.judge(summary, now())?;
        assert_eq!(checks.len(), 1);
        Ok((checks[0].actual, checks[0].holds()))
    }

    #[test]
    fn a_limit_is_the_last_number_that_passes() {
        let limits = Limits { critical: Some(1), medium: Some(0), ..Limits::default() };
        let gate = Gate { limits, ..Gate::default() };
        let (critical, medium) = (Severity::Critical, Severity::Medium);
        assert_eq!(actual(&gate, &summary(&[])), [(critical, 0, true), (medium, 0, true)]);
        assert_eq!(actual(&gate, &summary(&[(critical, 1)])), [(critical, 1, true), (medium, 0, true)]);
        assert_eq!(
            actual(&gate, &summary(&[(critical, 2), (medium, 1)])),
            [(critical, 2, false), (medium, 1, false)]
        );
    }

    #[test]
    fn what_has_no_limit_of_its_own_counts_with_another() {
        let found = summary(&[(Severity::Unknown, 2), (Severity::Negligible, 3)]);
        let limits = Limits { high: Some(1), low: Some(9), ..Limits::default() };
        let gate = Gate { limits, ..Gate::default() };
        assert_eq!(actual(&gate, &found), [(Severity::High, 2, false), (Severity::Low, 3, true)]);
        let limits = Limits { unknown: Some(2), negligible: Some(2), ..limits };
        let gate = Gate { limits, ..Gate::default() };
        assert_eq!(
            actual(&gate, &found),
            [
                (Severity::High, 0, true),
                (Severity::Low, 0, true),
                (Severity::Negligible, 3, false),
                (Severity::Unknown, 2, true)
            ]
        );
    }

    #[test]
    fn another_image_an_old_scan_and_a_filtered_one_are_no_evidence() {
        let image = Sha256Digest::from_bytes([1; 32]);
        let gate = Gate { image: Some(image), max_age: Some(60), ..Gate::default() };
        let refused = |summary: &ScanSummary| gate.judge(summary, now()).unwrap_err();
        let mut report = summary(&[]);
        assert_eq!(refused(&report), NoEvidence::NamesNoImage);
        report.claim(of(Sha256Digest::from_bytes([2; 32])));
        assert_eq!(refused(&report), NoEvidence::OtherImage { image });
        report.subjects.clear();
        report.claim(of(image));
        assert_eq!(refused(&report), NoEvidence::NoTime);
        for (seconds, error) in [
            (-61, Some(NoEvidence::Stale { at: now().plus_seconds(-61) })),
            (-60, None),
            (SKEW, None),
            (SKEW + 1, Some(NoEvidence::InFuture { at: now().plus_seconds(SKEW + 1) })),
        ] {
            report.scanned_at = Some(now().plus_seconds(seconds));
            assert_eq!(gate.judge(&report, now()).err(), error, "{seconds}");
        }
        report.scanned_at = Some(now());
        report.filtered = Some(Filtered::Suppressed { findings: 0 });
        assert!(matches!(refused(&report), NoEvidence::Filtered(_)));
    }

    #[test]
    fn what_options_hide_is_unknown_and_the_rest_is_not() {
        let mut report = summary(&[(Severity::Critical, 1)]);
        report.declare(Filters::of_arguments("trivy", ["--severity HIGH,CRITICAL"]));
        let judge = |limits: Limits| Gate { limits, ..Gate::default() }.judge(&report, now());
        let limits = Limits { critical: Some(1), high: Some(0), ..Limits::default() };
        assert!(judge(limits).unwrap().iter().all(Check::holds));
        for limits in [
            Limits { medium: Some(9), ..limits },
            Limits { low: Some(9), ..limits },
            Limits { negligible: Some(9), ..limits },
            Limits { unknown: Some(9), ..limits },
            Limits { total: Some(9), ..limits },
            Limits { min_score: Some(0), ..limits },
        ] {
            let name = "--severity".to_owned();
            assert_eq!(judge(limits), Err(NoEvidence::Filtered(Filtered::Option { name })), "{limits:?}");
        }
        report.declare(Filters::of_arguments("trivy", ["--ignore-unfixed"]));
        assert!(Gate { limits, ..Gate::default() }.judge(&report, now()).is_err());
    }

    #[test]
    fn totals_and_scores_count_everything_they_are_made_of() {
        let found = summary(&[(Severity::Critical, 1), (Severity::Unknown, 2), (Severity::Negligible, 3)]);
        let gate = |limits| Gate { limits, ..Gate::default() };
        for (total, holds) in [(6, true), (5, false)] {
            let limits = Limits { total: Some(total), ..Limits::default() };
            assert_eq!(one(&gate(limits), &found), Ok((6, holds)));
        }
        // 10 for the critical one and 5 for each unknown one.
        for (score, holds) in [(80, true), (81, false)] {
            let limits = Limits { min_score: Some(score), ..Limits::default() };
            assert_eq!(one(&gate(limits), &found), Ok((80, holds)));
        }
        let many = summary(&[(Severity::Critical, 11)]);
        let limits = Limits { min_score: Some(1), ..Limits::default() };
        assert_eq!(one(&gate(limits), &many), Ok((0, false)));
    }

    #[test]
    fn one_vulnerability_at_two_places_counts_once_where_that_is_asked_for() {
        let mut found = summary(&[(Severity::High, 2)]);
        found.found(Finding::new("CVE-2030-1", Severity::High)).unwrap();
        let limits = Limits { high: Some(2), ..Limits::default() };
        assert_eq!(one(&Gate { limits, ..Gate::default() }, &found), Ok((3, false)));
        assert_eq!(one(&Gate { limits, count_by: CountBy::Cve, ..Gate::default() }, &found), Ok((2, true)));
    }

    #[test]
    fn secrets_are_none_only_if_somebody_looked() {
        let limits = Limits { secrets: Some(0), ..Limits::default() };
        let gate = Gate { limits, ..Gate::default() };
        let mut report = summary(&[]);
        assert_eq!(one(&gate, &report), Err(NoEvidence::NoSecretScan));
        report.declare(Filters::of_arguments("trivy", ["--scanners vuln"]));
        assert_eq!(one(&gate, &report), Err(NoEvidence::NoSecretScan));
        let mut report = summary(&[]);
        report.declare(Filters::of_arguments("trivy", ["image"]));
        assert_eq!(one(&gate, &report), Ok((0, true)));
        report.others.secrets = 1;
        assert_eq!(one(&gate, &report), Ok((1, false)));
        report.declare(Filters::of_arguments("trivy", ["--severity CRITICAL"]));
        assert_eq!(one(&gate, &report), Err(NoEvidence::NoSecretScan));
    }

    #[test]
    fn a_system_without_advisories_is_denied_where_that_is_asked_for() {
        let gate = Gate { deny_end_of_life: true, ..Gate::default() };
        let mut report = summary(&[]);
        assert_eq!(one(&gate, &report), Err(NoEvidence::NoSystem));
        report.os_end_of_life = Some(true);
        assert_eq!(one(&gate, &report), Ok((1, false)));
        report.os_end_of_life = Some(false);
        assert_eq!(one(&gate, &report), Ok((0, true)));
    }

    #[test]
    fn an_old_database_is_no_evidence() {
        let gate = Gate { max_database_age: Some(60), ..Gate::default() };
        let mut report = summary(&[]);
        assert_eq!(gate.judge(&report, now()), Err(NoEvidence::NoDatabaseTime));
        for (seconds, error) in [
            (SKEW + 1, Some(NoEvidence::DatabaseInFuture { at: now().plus_seconds(SKEW + 1) })),
            (SKEW, None),
            (-60, None),
            (-61, Some(NoEvidence::StaleDatabase { at: now().plus_seconds(-61) })),
        ] {
            report.note_database(now().plus_seconds(seconds));
            assert_eq!(gate.judge(&report, now()).err(), error, "{seconds}");
        }
        // A younger file beside an old database makes it no younger.
        report.note_database(now());
        assert!(gate.judge(&report, now()).is_err());
    }
}
