//! How bad findings are, and how many there are.

use std::collections::BTreeMap;
use std::fmt;

use super::Finding;

/// How bad a finding is. The order is that of badness, with what is not known at the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The scanner does not say, or says a word that nobody knows.
    Unknown,
    /// Below low.
    Negligible,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// All of them, the worst first.
    pub const ALL: [Self; 6] =
        [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Negligible, Self::Unknown];

    /// The word in any letter case. What is no known word is [`Self::Unknown`], never less bad.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "critical" => Self::Critical,
            "high" => Self::High,
            "medium" | "moderate" => Self::Medium,
            "low" => Self::Low,
            "negligible" | "info" | "none" => Self::Negligible,
            _ => Self::Unknown,
        }
    }

    /// The band of a CVSS score from 0 to 10; of anything else, [`Self::Unknown`].
    #[must_use]
    pub fn from_score(score: f64) -> Self {
        match score {
            9.0..=10.0 => Self::Critical,
            7.0..9.0 => Self::High,
            4.0..7.0 => Self::Medium,
            score if score > 0.0 && score < 4.0 => Self::Low,
            0.0 => Self::Negligible,
            _ => Self::Unknown,
        }
    }

    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Negligible => "negligible",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Findings per severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; 6]);

impl Counts {
    /// How many of `severity`.
    #[must_use]
    pub const fn of(&self, severity: Severity) -> u64 {
        let [unknown, negligible, low, medium, high, critical] = self.0;
        match severity {
            Severity::Unknown => unknown,
            Severity::Negligible => negligible,
            Severity::Low => low,
            Severity::Medium => medium,
            Severity::High => high,
            Severity::Critical => critical,
        }
    }

    /// Adds findings.
    pub fn add(&mut self, severity: Severity, findings: u64) {
        if let Some(count) = self.0.get_mut(severity as usize) {
            *count = count.saturating_add(findings);
        }
    }

    /// The same with those of unknown severity counted as `severity`.
    #[must_use]
    pub fn with_unknown_as(mut self, severity: Severity) -> Self {
        let unknown = self.0.first_mut().map(std::mem::take).unwrap_or_default();
        self.add(severity, unknown);
        self
    }

    /// 100 less 10 for each critical finding, 5 for each high one and 1 for each medium one; 0 at
    /// least. Whoever counts unknown ones moves them first.
    #[must_use]
    pub fn score(&self) -> u64 {
        let weights = [(Severity::Critical, 10), (Severity::High, 5), (Severity::Medium, 1)];
        let lost = weights.iter().fold(0_u64, |lost, (severity, weight)| {
            lost.saturating_add(self.of(*severity).saturating_mul(*weight))
        });
        100_u64.saturating_sub(lost)
    }

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |total, count| total.saturating_add(*count))
    }
}

impl Counts {
    /// One for each finding.
    #[must_use]
    pub fn by_finding<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut counts = Self::default();
        findings.into_iter().for_each(|finding| counts.add(finding.severity, 1));
        counts
    }

    /// One for each vulnerability, at however many places, by the worst that is said of it. One that
    /// is of unknown severity at another place counts there, too: that place may be the worst.
    #[must_use]
    pub fn by_vulnerability<'a>(findings: impl IntoIterator<Item = &'a Finding>) -> Self {
        let mut worst: BTreeMap<(&str, bool), Severity> = BTreeMap::new();
        for finding in findings {
            let key = (finding.identity(), finding.severity == Severity::Unknown);
            let known = worst.entry(key).or_insert(finding.severity);
            *known = (*known).max(finding.severity);
        }
        let mut counts = Self::default();
        worst.values().for_each(|severity| counts.add(*severity, 1));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(id: &str, others: &[&str], severity: Severity) -> Finding {
        let mut finding = Finding::new(id, severity);
        finding.call(others.iter().copied());
        finding
    }

    #[test]
    fn words_and_scores_have_their_bands() {
        for (word, severity) in [
            ("CRITICAL", Severity::Critical),
            ("High", Severity::High),
            ("moderate", Severity::Medium),
            ("low", Severity::Low),
            ("Negligible", Severity::Negligible),
            ("INFO", Severity::Negligible),
            ("none", Severity::Negligible),
            ("", Severity::Unknown),
            ("9.8", Severity::Unknown),
            ("not critical", Severity::Unknown),
        ] {
            assert_eq!(Severity::from_word(word), severity, "{word}");
        }
        for (score, severity) in [
            (10.0, Severity::Critical),
            (9.0, Severity::Critical),
            (8.95, Severity::High),
            (7.0, Severity::High),
            (4.0, Severity::Medium),
            (3.95, Severity::Low),
            (0.05, Severity::Low),
            (0.0, Severity::Negligible),
            (-0.1, Severity::Unknown),
            (10.1, Severity::Unknown),
            (f64::NAN, Severity::Unknown),
            (f64::INFINITY, Severity::Unknown),
        ] {
            assert_eq!(Severity::from_score(score), severity, "{score}");
        }
    }

    #[test]
    fn each_severity_has_its_count() {
        let mut counts = Counts::default();
        for (number, severity) in Severity::ALL.into_iter().enumerate() {
            counts.add(severity, number as u64 + 1);
        }
        assert_eq!(Severity::ALL.map(|severity| counts.of(severity)), [1, 2, 3, 4, 5, 6]);
        assert_eq!(counts.total(), 21);
    }

    #[test]
    fn one_vulnerability_counts_once_by_its_worst_place() {
        let findings = [
            finding("CVE-2030-1", &[], Severity::Low),
            finding("GHSA-1", &["CVE-2030-1"], Severity::High),
            finding("CVE-2030-1", &[], Severity::Medium),
            finding("CVE-2030-2", &[], Severity::Low),
            finding("CVE-2030-2", &[], Severity::Unknown),
            finding("CVE-2030-2", &[], Severity::Unknown),
        ];
        let counts = Counts::by_vulnerability(&findings);
        let found = Severity::ALL.map(|severity| counts.of(severity));
        // Critical, high, medium, low, negligible, unknown.
        assert_eq!(found, [0, 1, 0, 1, 0, 1]);
        assert_eq!(Counts::by_finding(&findings).total(), 6);
    }
}
