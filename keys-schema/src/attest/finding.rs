//! One vulnerability at one place of an image, whichever scanner found it.

use super::Severity;
use crate::time::UtcTime;

/// Bytes of the longest identifier of a vulnerability, and of the longest name of a package, that is
/// kept. Real ones have a tenth of it.
pub(super) const LONGEST_NAME: usize = 256;
/// Bytes of the longest package URL that is kept.
pub(super) const LONGEST_PURL: usize = 512;
/// Other names of one vulnerability that are kept.
const ALIASES: usize = 4;

/// A vulnerability at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What the scanner calls it, like `CVE-2030-1`. Never empty.
    pub id: String,
    /// Other names of the very same vulnerability: for `GHSA-...` its `CVE-...`. An advisory that
    /// speaks of several vulnerabilities is none of them, and has no aliases.
    pub aliases: Vec<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The name of the package, if the report says it.
    pub package: Option<String>,
    /// The package as a package URL, if the report says it.
    pub purl: Option<String>,
    /// There is proof in the report that a newer version of the package mends it.
    pub has_fix: bool,
    /// When it was made public, if the report says it.
    pub published_at: Option<UtcTime>,
    /// What the author of the document judged of it (`CycloneDX`). The finding counts all the same,
    /// until somebody who is trusted to judge is known to have said it.
    pub analysis: Option<Analysis>,
    /// What each source said (`CycloneDX`), in the order of the document.
    pub ratings: Vec<Rating>,
}

/// How bad one source says a vulnerability is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rating {
    /// The name of the source, like `nvd`, in small letters; empty if it is not named.
    pub source: String,
    /// What it says, in a word or by its score.
    pub severity: Severity,
}

/// What an author says about a finding, in the words of `CycloneDX`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Analysis {
    /// Mended.
    Resolved,
    /// Mended, with proof.
    ResolvedWithPedigree,
    /// It can be exploited.
    Exploitable,
    /// Nobody knows yet.
    InTriage,
    /// The scanner is wrong.
    FalsePositive,
    /// The vulnerable code is not reached.
    NotAffected,
}

impl Analysis {
    /// The word of `CycloneDX`; nothing for another one.
    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "resolved" => Self::Resolved,
            "resolved_with_pedigree" => Self::ResolvedWithPedigree,
            "exploitable" => Self::Exploitable,
            "in_triage" => Self::InTriage,
            "false_positive" => Self::FalsePositive,
            "not_affected" => Self::NotAffected,
            _ => return None,
        })
    }

    /// Whether it takes the finding away, when its author may judge.
    #[must_use]
    pub const fn is_harmless(self) -> bool {
        match self {
            Self::Resolved | Self::ResolvedWithPedigree | Self::FalsePositive | Self::NotAffected => true,
            Self::Exploitable | Self::InTriage => false,
        }
    }
}

impl Finding {
    /// A finding of which no more is known.
    #[must_use]
    pub fn new(id: &str, severity: Severity) -> Self {
        Self {
            id: id.to_owned(),
            aliases: Vec::new(),
            severity,
            package: None,
            purl: None,
            has_fix: false,
            published_at: None,
            analysis: None,
            ratings: Vec::new(),
        }
    }

    /// Notes what else the vulnerability is called. Where that is more than one CVE, it is an advisory
    /// about several, and none of the names is kept: whoever speaks of one of them does not speak of
    /// all.
    pub(super) fn call<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut aliases: Vec<&str> =
            names.into_iter().filter(|name| !name.is_empty() && *name != self.id).collect();
        aliases.sort_unstable();
        aliases.dedup();
        let cves = aliases.iter().copied().chain([self.id.as_str()]).filter(|name| is_cve(name)).count();
        if cves > 1 || aliases.len() > ALIASES || aliases.iter().any(|name| name.len() > LONGEST_NAME) {
            return;
        }
        self.aliases = aliases.into_iter().map(str::to_owned).collect();
    }

    /// Whether `name` is a name of this vulnerability, in any letter case.
    #[must_use]
    pub fn is_called(&self, name: &str) -> bool {
        self.names().any(|own| own.eq_ignore_ascii_case(name))
    }

    /// The one name under which findings are one vulnerability: its CVE, else what the scanner calls
    /// it.
    #[must_use]
    pub fn identity(&self) -> &str {
        self.names().find(|name| is_cve(name)).unwrap_or(&self.id)
    }

    /// How bad it is by the first of `sources` that knows; by the worst word of all if none does.
    #[must_use]
    pub fn severity_by(&self, sources: &[String]) -> Severity {
        let by = |source: &String| {
            let own = self.ratings.iter().filter(|rating| rating.source.eq_ignore_ascii_case(source));
            own.map(|rating| rating.severity).max().filter(|severity| *severity != Severity::Unknown)
        };
        sources.iter().find_map(by).unwrap_or(self.severity)
    }

    /// Bytes of all texts that it holds.
    pub(super) fn text_bytes(&self) -> usize {
        let texts = self.names().chain(self.package.as_deref()).chain(self.purl.as_deref());
        let ratings = self.ratings.iter().map(|rating| rating.source.len() + size_of::<Rating>());
        texts.map(str::len).chain(ratings).sum()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        [self.id.as_str()].into_iter().chain(self.aliases.iter().map(String::as_str))
    }
}

fn is_cve(name: &str) -> bool {
    name.get(..4).is_some_and(|head| head.eq_ignore_ascii_case("CVE-"))
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
    fn an_advisory_about_one_vulnerability_is_that_one() {
        let ghsa = finding("GHSA-1", &["CVE-2030-1", "GHSA-1", "", "CVE-2030-1"], Severity::High);
        assert_eq!(ghsa.aliases, ["CVE-2030-1"]);
        assert_eq!(ghsa.identity(), "CVE-2030-1");
        assert!(ghsa.is_called("cve-2030-1") && ghsa.is_called("GHSA-1") && !ghsa.is_called("CVE-2030-10"));
    }

    #[test]
    fn an_advisory_about_several_is_none_of_them() {
        for (id, others) in [
            ("ELSA-1", &["CVE-2030-1", "CVE-2030-2"][..]),
            ("CVE-2030-3", &["CVE-2030-1"]),
            ("X", &["A", "B", "C", "D", "E"]),
            ("X", &[&"a".repeat(LONGEST_NAME + 1)]),
        ] {
            let advisory = finding(id, others, Severity::High);
            assert_eq!((advisory.identity(), advisory.aliases.len()), (id, 0));
        }
    }

    #[test]
    fn the_first_source_that_knows_is_the_one_that_rates() {
        let mut rated = Finding::new("CVE-2030-1", Severity::High);
        let rating = |source: &str, severity| Rating { source: source.to_owned(), severity };
        rated.ratings = vec![
            rating("nvd", Severity::High),
            rating("redhat", Severity::Low),
            rating("redhat", Severity::Medium),
            rating("ghsa", Severity::Unknown),
        ];
        let by = |sources: &[&str]| {
            rated.severity_by(&sources.iter().map(|source| (*source).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(by(&["Redhat", "nvd"]), Severity::Medium);
        assert_eq!(by(&["ghsa", "nvd"]), Severity::High);
        assert_eq!(by(&["ubuntu"]), Severity::High);
        assert_eq!(by(&[]), Severity::High);
    }
}
