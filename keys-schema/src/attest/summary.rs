//! What a report says, whoever wrote it.

use super::{
    Analysis, Counts, Filters, Finding, ImageIdentity, InvalidReport, ReportFormat, Severity, SubjectClaim,
};
use crate::digest::Sha256Digest;
use crate::limits::{REPORT_BYTES, REPORT_FINDINGS};
use crate::time::UtcTime;

/// Findings of other kinds.
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

/// Findings were taken out of the report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filtered {
    /// The report lists what was taken out.
    Suppressed {
        /// How many findings.
        findings: u64,
    },
    /// The scanner was told to leave findings out, or may have been.
    Option {
        /// The option, or the word that nobody understands.
        name: String,
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
    pub findings: Vec<Finding>,
    /// How many [`Self::findings`] there are.
    pub counts: Counts,
    /// What is no vulnerability.
    pub others: OtherFindings,
    /// Whether the run looked for secrets; nothing if the report does not prove either.
    pub looked_for_secrets: Option<bool>,
    /// Whether and how findings were taken out, of some severity or all: [`Self::hides`] tells of
    /// which. Formats other than Grype's record it badly or not at all: nothing here is no proof.
    pub filtered: Option<Filtered>,
    /// What the options of the scanner leave out, if somebody declared them.
    pub declared: Option<Filters>,
    /// Whether the image's system gets no advisories any more, so that few findings mean little;
    /// nothing if the scanner does not say such things.
    pub os_end_of_life: Option<bool>,
    /// Bytes of all layers, unpacked, if the scanner says so.
    pub unpacked_size: Option<u64>,
    /// The report lists what its scanner left out.
    pub(super) lists_ignored: bool,
    text_bytes: usize,
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
            findings: Vec::new(),
            counts: Counts::default(),
            others: OtherFindings::default(),
            looked_for_secrets: None,
            filtered: None,
            declared: None,
            os_end_of_life: None,
            unpacked_size: None,
            lists_ignored: false,
            text_bytes: 0,
        }
    }

    /// Notes the image of a part that says one.
    pub(super) fn claim(&mut self, claim: SubjectClaim) {
        if !claim.is_empty() {
            self.subjects.push(claim);
        }
    }

    /// Notes a finding. The texts of all of them together hold no more than a report may: a short
    /// report cannot become large in memory by naming one thing often.
    pub(super) fn found(&mut self, finding: Finding) -> Result<(), InvalidReport> {
        self.text_bytes = self.text_bytes.saturating_add(finding.text_bytes());
        if self.findings.len() >= REPORT_FINDINGS || self.text_bytes > REPORT_BYTES {
            return Err(InvalidReport::TooManyFindings);
        }
        self.counts.add(finding.severity, 1);
        self.findings.push(finding);
        Ok(())
    }

    /// Notes what is declared of the options of the scanner, besides what was declared before.
    pub fn declare(&mut self, filters: Filters) {
        let filters = match self.declared.take() {
            Some(earlier) => earlier.and(filters),
            None => filters,
        };
        if let Some(name) = filters.option().filter(|_| self.filtered.is_none()) {
            self.filtered = Some(Filtered::Option { name: name.to_owned() });
        }
        // An option may have hidden secrets even where some are in the report; and what was looked for
        // is not found in a format that has no place for it.
        let has_place = !matches!(self.format, ReportFormat::InTotoVulns | ReportFormat::CycloneDx);
        if !has_place {
            self.looked_for_secrets = None;
        } else if filters.secrets().is_some() || filters.option().is_some() {
            self.looked_for_secrets = filters.secrets();
        }
        self.declared = Some(filters);
    }

    /// Notes of when the scanner's database is, by a file beside it. The earlier moment stays.
    pub fn note_database(&mut self, made_at: UtcTime) {
        self.database_at = earlier(self.database_at, Some(made_at));
    }

    /// Why findings of `severity` may be missing, if something is known that says so.
    #[must_use]
    pub fn hides(&self, severity: Severity) -> Option<&Filtered> {
        match &self.filtered {
            Some(Filtered::Option { .. })
                if self.declared.as_ref().is_some_and(|declared| !declared.hides(severity)) =>
            {
                None
            }
            filtered => filtered.as_ref(),
        }
    }

    /// Vulnerabilities, each once, at however many places it was found.
    #[must_use]
    pub fn counts_by_cve(&self) -> Counts {
        Counts::by_vulnerability(&self.findings)
    }

    /// Rates each finding anew by the first of these sources that knows it, where the report has
    /// several opinions (`CycloneDX`); without one of them, the worst word stays.
    pub fn rate_by(&mut self, sources: &[String]) {
        for finding in &mut self.findings {
            finding.severity = finding.severity_by(sources);
        }
        self.counts = Counts::by_finding(&self.findings);
    }

    /// Leaves findings out, because somebody who may judge said that they are harmless. What was left
    /// out is given back.
    pub fn leave_out(&mut self, is_harmless: impl Fn(&Finding) -> bool) -> Vec<Finding> {
        let (harmless, kept) = std::mem::take(&mut self.findings).into_iter().partition(is_harmless);
        self.findings = kept;
        self.counts = Counts::by_finding(&self.findings);
        harmless
    }

    /// Leaves out what the author of the document judged away. Only for an author whose word counts.
    pub fn trust_analysis(&mut self) -> Vec<Finding> {
        self.leave_out(|finding| finding.analysis.is_some_and(Analysis::is_harmless))
    }

    /// Whether the report tells what was left out by options of the scanner. Grype's own does, alone
    /// or in a predicate; what it writes in SARIF does not.
    #[must_use]
    pub const fn records_filters(&self) -> bool {
        self.lists_ignored
    }

    /// Whether the report says that it is of this image, and no part of it says otherwise. The digest
    /// is that of the manifest, of the index above it, or of the configuration.
    #[must_use]
    pub fn is_of(&self, digest: &Sha256Digest) -> bool {
        !self.subjects.is_empty() && self.subjects.iter().all(|claim| claim.names(digest))
    }

    /// The same where more is known of the image: its layers, too, and which of them its index is.
    #[must_use]
    pub fn is_of_image(&self, image: &ImageIdentity) -> bool {
        !self.subjects.is_empty() && self.subjects.iter().all(|claim| claim.is_of(image))
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
    fn every_claim_must_name_the_image() {
        let digest = |byte| Sha256Digest::from_bytes([byte; 32]);
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        let claim =
            |digests: &[u8]| SubjectClaim::of_manifests(digests.iter().map(|byte| digest(*byte)).collect());
        summary.claim(claim(&[]));
        assert!(!summary.is_of(&digest(1)));
        summary.claim(claim(&[1, 2]));
        assert!(summary.is_of(&digest(1)) && summary.is_of(&digest(2)) && !summary.is_of(&digest(3)));
        summary.claim(claim(&[2, 3]));
        assert!(!summary.is_of(&digest(1)) && summary.is_of(&digest(2)) && !summary.is_of(&digest(3)));
    }

    #[test]
    fn findings_have_bounds() {
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        for _ in 0..REPORT_FINDINGS {
            summary.found(Finding::new("x", Severity::Low)).unwrap();
        }
        assert_eq!(summary.found(Finding::new("x", Severity::Low)), Err(InvalidReport::TooManyFindings));
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        let long = Finding::new(&"x".repeat(REPORT_BYTES / 2), Severity::Low);
        assert!(summary.found(long.clone()).is_ok() && summary.found(long.clone()).is_ok());
        assert_eq!(summary.found(long), Err(InvalidReport::TooManyFindings));
    }

    #[test]
    fn what_an_author_judged_away_counts_until_the_author_is_trusted() {
        let mut summary = ScanSummary::new(ReportFormat::CycloneDx, Scanner::default());
        for analysis in
            [Some(Analysis::NotAffected), Some(Analysis::InTriage), Some(Analysis::Exploitable), None]
        {
            summary.found(Finding { analysis, ..Finding::new("x", Severity::High) }).unwrap();
        }
        assert_eq!(summary.counts.total(), 4);
        assert_eq!(summary.trust_analysis().len(), 1);
        assert_eq!((summary.counts.total(), summary.findings.len()), (3, 3));
    }

    #[test]
    fn what_is_declared_besides_takes_nothing_back() {
        let mut summary = ScanSummary::new(ReportFormat::Trivy, Scanner::default());
        summary.declare(Filters::of_arguments("trivy", ["--severity HIGH,CRITICAL"]));
        summary.declare(Filters::of_arguments("trivy", ["image app"]));
        assert!(summary.hides(Severity::Medium).is_some() && summary.hides(Severity::High).is_none());
        assert_eq!(summary.looked_for_secrets, None);
    }

    #[test]
    fn a_format_without_secrets_proves_nothing_about_them() {
        for (format, proves) in [
            (ReportFormat::Trivy, Some(true)),
            (ReportFormat::CosignVuln, Some(true)),
            (ReportFormat::Sarif, Some(true)),
            (ReportFormat::InTotoVulns, None),
            (ReportFormat::CycloneDx, None),
        ] {
            let mut summary = ScanSummary::new(format, Scanner::default());
            summary.declare(Filters::of_arguments("trivy", ["image --scanners vuln,secret"]));
            assert_eq!(summary.looked_for_secrets, proves, "{format}");
        }
    }
}
