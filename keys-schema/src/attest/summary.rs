//! What a report says, whoever wrote it.

use std::collections::BTreeSet;
use std::fmt;

use super::ReportFormat;
use crate::digest::Sha256Digest;
use crate::time::UtcTime;

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

    /// How many there are.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |total, count| total.saturating_add(*count))
    }
}

/// Findings of other kinds, which no limit counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OtherFindings {
    /// Secrets that lie in the image.
    pub secrets: u64,
    /// Failed checks of configuration.
    pub misconfigurations: u64,
    /// Licences.
    pub licenses: u64,
}

/// Who scanned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scanner {
    /// The name of the program.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
}

/// Digests that one part of a report gives for its image: of the manifest, the index above it, or the
/// configuration (the image id). Each of them names one content, so one is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubjectClaim(pub BTreeSet<Sha256Digest>);

/// Findings were taken out of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// The report lists what was taken out.
    Suppressed {
        /// How many findings.
        findings: u64,
    },
    /// The scanner was told to leave findings out.
    Option {
        /// The name of the option.
        name: &'static str,
    },
}

/// A report, counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanSummary {
    /// How it is written.
    pub format: ReportFormat,
    /// Who scanned.
    pub scanner: Scanner,
    /// When, if the report says so: the earliest of the moments that it gives.
    pub scanned_at: Option<UtcTime>,
    /// Of when the scanner's database is, if the report says so.
    pub database_at: Option<UtcTime>,
    /// Which image. With more than one claim, all must be of the image in question.
    pub subjects: Vec<SubjectClaim>,
    /// Vulnerabilities, one for each place where one was found.
    pub counts: Counts,
    /// What no limit counts.
    pub others: OtherFindings,
    /// Whether and how findings were taken out. Formats other than Grype's record it badly or not at
    /// all: nothing here is no proof.
    pub filtered: Option<Filtered>,
    /// The image's system gets no advisories any more: few findings mean little.
    pub is_end_of_life: bool,
}

impl ScanSummary {
    /// Without anything found yet.
    pub(super) fn new(format: ReportFormat, scanner: Scanner) -> Self {
        Self {
            format,
            scanner,
            scanned_at: None,
            database_at: None,
            subjects: Vec::new(),
            counts: Counts::default(),
            others: OtherFindings::default(),
            filtered: None,
            is_end_of_life: false,
        }
    }

    /// Notes the image of a part that says one.
    pub(super) fn claim(&mut self, digests: BTreeSet<Sha256Digest>) {
        if !digests.is_empty() {
            self.subjects.push(SubjectClaim(digests));
        }
    }

    /// Whether this format tells what was left out by options of the scanner.
    #[must_use]
    pub fn records_filters(&self) -> bool {
        self.format == ReportFormat::Grype
    }

    /// Whether the report says that it is of this image, and no part of it says otherwise.
    #[must_use]
    pub fn is_of(&self, digest: &Sha256Digest) -> bool {
        !self.subjects.is_empty() && self.subjects.iter().all(|claim| claim.0.contains(digest))
    }
}

/// The earlier of two moments, where one may be missing: an old scan does not get younger by being
/// wrapped again.
pub(super) fn earlier(one: Option<UtcTime>, other: Option<UtcTime>) -> Option<UtcTime> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_claim_must_name_the_image() {
        let digest = |byte| Sha256Digest::from_bytes([byte; 32]);
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        summary.claim(BTreeSet::new());
        assert!(!summary.is_of(&digest(1)));
        summary.claim(BTreeSet::from([digest(1), digest(2)]));
        assert!(summary.is_of(&digest(1)) && summary.is_of(&digest(2)) && !summary.is_of(&digest(3)));
        summary.claim(BTreeSet::from([digest(2), digest(3)]));
        assert!(!summary.is_of(&digest(1)) && summary.is_of(&digest(2)) && !summary.is_of(&digest(3)));
    }
}
