//! Limits, held against one report.

use super::{Counts, Filtered, ScanSummary, Severity};
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

/// What a report must be to let its image pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gate {
    /// How many findings pass.
    pub limits: Limits,
    /// The image, by the digest of its manifest or its configuration.
    pub image: Option<Sha256Digest>,
    /// How old the scan may be, in seconds.
    pub max_age: Option<i64>,
}

/// A limit and the findings that count towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Check {
    /// Of which severity.
    pub severity: Severity,
    /// How many findings pass.
    pub limit: u64,
    /// How many findings there are.
    pub actual: u64,
}

impl Check {
    /// Whether the limit holds.
    #[must_use]
    pub const fn holds(&self) -> bool {
        self.actual <= self.limit
    }
}

impl Gate {
    /// Holds the limits against a report, all of them. The image passes if each [`Check`] holds.
    ///
    /// # Errors
    /// The report says nothing about this image as it is now.
    pub fn judge(&self, summary: &ScanSummary, now: UtcTime) -> Result<Vec<Check>, NoEvidence> {
        if let Some(image) = self.image.filter(|image| !summary.is_of(image)) {
            return Err(match summary.subjects.is_empty() {
                true => NoEvidence::NamesNoImage,
                false => NoEvidence::OtherImage { image },
            });
        }
        if let Some(filtered) = &summary.filtered {
            return Err(NoEvidence::Filtered(filtered.clone()));
        }
        self.require_fresh(summary, now)?;
        let checks = Severity::ALL.into_iter().filter_map(|severity| {
            let limit = self.limits.of(severity)?;
            Some(Check { severity, limit, actual: self.limits.counted(&summary.counts, severity) })
        });
        Ok(checks.collect())
    }

    fn require_fresh(&self, summary: &ScanSummary, now: UtcTime) -> Result<(), NoEvidence> {
        if let Some(at) = summary.scanned_at.filter(|at| at.seconds_since(now) > SKEW) {
            return Err(NoEvidence::InFuture { at });
        }
        let Some(max_age) = self.max_age else { return Ok(()) };
        let at = summary.scanned_at.ok_or(NoEvidence::NoTime)?;
        if now.seconds_since(at) > max_age { Err(NoEvidence::Stale { at }) } else { Ok(()) }
    }
}

/// A report was read, and is no evidence for the image in question.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoEvidence {
    /// It names no digest at all.
    #[error("the report does not say of which image it is")]
    NamesNoImage,
    /// It, or a part of it, names another image.
    #[error("the report is not of {}", image.to_oci())]
    OtherImage {
        /// The image in question.
        image: Sha256Digest,
    },
    /// Findings were taken out of it.
    #[error("{}", filtered(.0))]
    Filtered(Filtered),
    /// It has no time, where an age is demanded.
    #[error("the report does not say when the scan was")]
    NoTime,
    /// It is too old.
    #[error("the report is too old: the scan was at {at}")]
    Stale {
        /// When the scan was.
        at: UtcTime,
    },
    /// It is from the future.
    #[error("the report is from the future: it says the scan was at {at}")]
    InFuture {
        /// When the scan was said to be.
        at: UtcTime,
    },
}

fn filtered(filtered: &Filtered) -> String {
    match filtered {
        Filtered::Suppressed { findings } => {
            format!("the report is filtered: {findings} findings were taken out of it")
        }
        Filtered::Option { name } => format!("the report is filtered: the scanner was run with {name}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{ReportFormat, Scanner};
    use super::*;

    fn now() -> UtcTime {
        "2030-01-02T03:04:05Z".parse().unwrap()
    }

    fn summary(counts: &[(Severity, u64)]) -> ScanSummary {
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        counts.iter().for_each(|(severity, count)| summary.counts.add(*severity, *count));
        summary
    }

    fn actual(gate: &Gate, summary: &ScanSummary) -> Vec<(Severity, u64, bool)> {
        let checks = gate.judge(summary, now()).unwrap();
        checks.iter().map(|check| (check.severity, check.actual, check.holds())).collect()
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
        report.claim(BTreeSet::from([Sha256Digest::from_bytes([2; 32])]));
        assert_eq!(refused(&report), NoEvidence::OtherImage { image });
        report.subjects.clear();
        report.claim(BTreeSet::from([image]));
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
}
