//! What is attested of an image, and what an attestation added.

use bulla_keys_schema::attest::{Attestation, Filtered, Finding, Severity};
use bulla_keys_schema::names::{ImageRef, RepositoryName};
use serde::Serialize;

use super::changes::{InRegistryReport, Written};
use super::{line, table};
use crate::flow::attest::{Attested, only};
use crate::flow::attestation::Attestations;
use crate::flow::evidence::Found;
use crate::output::Report;

/// Findings that are shown to people one by one.
const SHOWN: usize = 50;
/// Letters of a digest that are shown to people.
const SHORT: usize = 19;

/// An attestation that was made.
#[derive(Clone, Debug, Serialize)]
pub struct AttestReport {
    repository: String,
    digest: String,
    reference: String,
    /// None where nothing is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    attester: Option<String>,
    /// None in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    /// None in a dry run.
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<String>,
    says: SaysReport,
    dropped: Vec<String>,
    in_registry: Vec<InRegistryReport>,
    #[serde(flatten)]
    written: Written,
}

impl AttestReport {
    /// Of what `attest` did.
    #[must_use]
    pub fn new(repository: &RepositoryName, attested: &Attested) -> Self {
        Self {
            repository: repository.to_string(),
            digest: attested.subject.to_oci(),
            reference: ImageRef::pinned(repository, attested.subject),
            attester: Some(attested.role.to_string()),
            path: attested.path.as_ref().map(ToString::to_string),
            envelope: attested.digest.map(|digest| digest.to_oci()),
            says: SaysReport::new(&attested.attestation),
            dropped: attested.dropped.clone(),
            in_registry: attested.in_registry.iter().map(InRegistryReport::from).collect(),
            written: Written::from(&attested.published),
        }
    }

    /// Of what `attest --only-registry` did.
    #[must_use]
    pub fn in_registry(request: &only::Request, attested: &only::Attested) -> Self {
        let repository = request.image.repository();
        Self {
            repository: repository.to_string(),
            digest: attested.subject.to_oci(),
            reference: ImageRef::pinned(repository, attested.subject),
            attester: None,
            path: None,
            envelope: attested.digest.map(|digest| digest.to_oci()),
            says: SaysReport::new(&attested.attestation),
            dropped: vec![],
            in_registry: attested.written.iter().map(InRegistryReport::from).collect(),
            written: Written::in_registry(std::slice::from_ref(&request.key), !request.dry_run),
        }
    }
}

impl Report for AttestReport {
    const SCHEMA: &'static str = "bulla/attest/v1";

    fn text(&self) -> String {
        let mut text = format!("{}\n", self.reference);
        line(&mut text, format_args!("{}: {}", self.says.kind, self.says.summary()));
        text
    }
}

/// What an attestation says, in a few words.
pub(super) fn in_words(said: &Attestation) -> String {
    let report = SaysReport::new(said);
    format!("{}: {}", report.kind, report.summary())
}

/// What an attestation says.
#[derive(Clone, Debug, Serialize)]
struct SaysReport {
    kind: &'static str,
    predicate_type: String,
    scanned_at: Option<String>,
    database_at: Option<String>,
    scanner: Option<ScannerReport>,
    arguments: Option<Vec<String>>,
    counts: Option<CountsReport>,
    components: Option<u64>,
    statements: Option<u64>,
    /// Why findings are missing, if something says so.
    filtered: Option<String>,
    /// Only whoever signed it says which image it is of.
    unbound: bool,
    /// Nobody said which options the scanner was run with.
    undeclared: bool,
}

#[derive(Clone, Debug, Serialize)]
struct ScannerReport {
    name: String,
    version: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct CountsReport {
    critical: u64,
    high: u64,
    medium: u64,
    low: u64,
    negligible: u64,
    unknown: u64,
}

impl SaysReport {
    fn new(said: &Attestation) -> Self {
        let scan = said.scan.as_ref();
        Self {
            kind: said.kind.as_str(),
            predicate_type: said.predicate_type.clone(),
            scanned_at: said.scanned_at.map(|at| at.to_string()),
            database_at: said.database_at.map(|at| at.to_string()),
            scanner: scan.map(|scan| ScannerReport {
                name: scan.scanner.name.clone(),
                version: scan.scanner.version.clone(),
            }),
            arguments: said.arguments.clone(),
            counts: scan.map(|scan| CountsReport {
                critical: scan.counts.of(Severity::Critical),
                high: scan.counts.of(Severity::High),
                medium: scan.counts.of(Severity::Medium),
                low: scan.counts.of(Severity::Low),
                negligible: scan.counts.of(Severity::Negligible),
                unknown: scan.counts.of(Severity::Unknown),
            }),
            components: said.inventory.as_ref().map(|list| list.components),
            statements: said.vex.as_ref().map(|vex| vex.statements.len() as u64),
            filtered: scan.and_then(|scan| scan.filtered.as_ref()).map(explain),
            unbound: said.is_unbound(),
            undeclared: said.is_undeclared(),
        }
    }

    /// In a few words.
    fn summary(&self) -> String {
        if let Some(counts) = &self.counts {
            let CountsReport { critical, high, medium, low, negligible, unknown } = counts;
            return format!(
                "{critical} critical, {high} high, {medium} medium, {} low, {unknown} unknown",
                low + negligible
            );
        }
        match (self.components, self.statements) {
            (Some(components), _) => format!("{components} components"),
            (None, Some(statements)) => format!("{statements} statements"),
            (None, None) => self.predicate_type.clone(),
        }
    }

    fn marks(&self) -> Vec<&'static str> {
        let filtered = self.filtered.as_ref().map(|_| "filtered");
        let unbound = self.unbound.then_some("unbound");
        let undeclared = self.undeclared.then_some("options unknown");
        [filtered, unbound, undeclared].into_iter().flatten().collect()
    }
}

fn explain(filtered: &Filtered) -> String {
    match filtered {
        Filtered::Suppressed { findings } => format!("{findings} findings were suppressed"),
        Filtered::Option { name } => format!("the scanner was run with {name}"),
    }
}

/// One entry of a role.
#[derive(Clone, Debug, Serialize)]
struct FoundReport {
    number: usize,
    /// Whether it counts.
    valid: bool,
    /// Why not.
    reason: Option<String>,
    attester: String,
    keys: Vec<String>,
    digest: String,
    kind: Option<&'static str>,
    path: String,
    envelope: Option<String>,
    size: u64,
    signed_at: Option<String>,
    expires: String,
    says: Option<SaysReport>,
}

impl FoundReport {
    fn new(number: usize, found: &Found) -> Self {
        let sound = found.standing.as_ref().ok();
        let keys = sound.map(|sound| sound.signed_by.iter().map(ToString::to_string).collect());
        Self {
            number,
            valid: sound.is_some(),
            reason: found.standing.as_ref().err().map(ToString::to_string),
            attester: found.role.to_string(),
            keys: keys.unwrap_or_default(),
            digest: found.subject.to_oci(),
            kind: found.kind.map(|kind| kind.as_str()),
            path: found.name.clone(),
            envelope: found.digest.map(|digest| digest.to_oci()),
            size: found.length,
            signed_at: found.signed_at.map(|at| at.to_string()),
            expires: found.expires.to_string(),
            says: sound.map(|sound| SaysReport::new(&sound.attestation)),
        }
    }

    fn row(&self) -> Vec<String> {
        let says = self.says.as_ref();
        let summary = says.map(SaysReport::summary).or_else(|| self.reason.clone());
        let marks = says.map_or_else(|| vec!["does not count"], SaysReport::marks);
        vec![
            self.number.to_string(),
            self.kind.unwrap_or("?").to_owned(),
            self.signed_at.clone().unwrap_or_else(|| "?".to_owned()),
            says.and_then(|says| says.scanned_at.clone()).unwrap_or_else(|| "?".to_owned()),
            self.attester.clone(),
            self.envelope.as_deref().map_or("?", |digest| digest.get(..SHORT).unwrap_or(digest)).to_owned(),
            summary.unwrap_or_default(),
            marks.join(", "),
        ]
    }
}

/// Everything that is attested of an image.
#[derive(Clone, Debug, Serialize)]
pub struct AttestationsReport {
    repository: String,
    digest: String,
    attestations: Vec<FoundReport>,
    silent: Vec<SilentReport>,
    offline: Option<String>,
}

/// A role whose word does not count any more.
#[derive(Clone, Debug, Serialize)]
struct SilentReport {
    attester: String,
    reason: String,
}

impl From<&Attestations> for AttestationsReport {
    fn from(attestations: &Attestations) -> Self {
        let found = attestations.evidence.found.iter();
        let silent = attestations.evidence.silent.iter();
        Self {
            repository: attestations.repository.to_string(),
            digest: attestations.digest.to_oci(),
            attestations: found.enumerate().map(|(at, found)| FoundReport::new(at + 1, found)).collect(),
            silent: silent
                .map(|(role, error)| SilentReport { attester: role.to_string(), reason: error.to_string() })
                .collect(),
            offline: attestations.offline.clone(),
        }
    }
}

impl Report for AttestationsReport {
    const SCHEMA: &'static str = "bulla/attestations/v1";

    fn text(&self) -> String {
        let mut text = if self.attestations.is_empty() {
            format!("nothing is attested of {}@{}\n", self.repository, self.digest)
        } else {
            let header = ["NO", "KIND", "SIGNED", "SCANNED", "BY", "ENVELOPE", "SAYS", "MARKS"];
            table(&header, self.attestations.iter().map(FoundReport::row))
        };
        for silent in &self.silent {
            line(&mut text, format_args!("{} counts for nothing: {}", silent.attester, silent.reason));
        }
        text
    }
}

/// One attestation in detail.
#[derive(Clone, Debug, Serialize)]
pub struct AttestationReport {
    repository: String,
    #[serde(flatten)]
    found: FoundReport,
    findings: Vec<FindingReport>,
}

#[derive(Clone, Debug, Serialize)]
struct FindingReport {
    id: String,
    severity: &'static str,
    package: Option<String>,
    has_fix: bool,
}

impl From<&Finding> for FindingReport {
    fn from(finding: &Finding) -> Self {
        Self {
            id: finding.id.clone(),
            severity: finding.severity.as_str(),
            package: finding.package.clone(),
            has_fix: finding.has_fix,
        }
    }
}

impl AttestationReport {
    /// Of the entry with this number, the first being 1.
    #[must_use]
    pub fn new(repository: &RepositoryName, number: usize, found: &Found) -> Self {
        let scan = found.standing.as_ref().ok().and_then(|sound| sound.attestation.scan.as_ref());
        let mut findings: Vec<&Finding> = scan.map_or(vec![], |scan| scan.findings.iter().collect());
        findings.sort_by(|a, b| (b.severity, &a.id).cmp(&(a.severity, &b.id)));
        Self {
            repository: repository.to_string(),
            found: FoundReport::new(number, found),
            findings: findings.into_iter().map(FindingReport::from).collect(),
        }
    }
}

impl Report for AttestationReport {
    const SCHEMA: &'static str = "bulla/attestation/v1";

    fn text(&self) -> String {
        let found = &self.found;
        let mut text = format!("image:      {}@{}\n", self.repository, found.digest);
        let mut put = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                line(&mut text, format_args!("{:<12}{}", format!("{name}:"), value.escape_debug()));
            }
        };
        put("attester", Some(&found.attester));
        put("signed at", found.signed_at.as_deref());
        put("envelope", found.envelope.as_deref());
        if let Some(says) = &found.says {
            put("kind", Some(says.kind));
            put("type", Some(&says.predicate_type));
            let version = |scanner: &ScannerReport| scanner.version.clone().unwrap_or_default();
            let scanner =
                says.scanner.as_ref().map(|scanner| format!("{} {}", scanner.name, version(scanner)));
            put("scanner", scanner.as_deref().map(str::trim_end));
            put("arguments", says.arguments.as_ref().map(|words| words.join(" ")).as_deref());
            put("scanned at", says.scanned_at.as_deref());
            put("database", says.database_at.as_deref());
            put("says", Some(&says.summary()));
            put("filtered", says.filtered.as_deref());
            put(
                "unbound",
                says.unbound.then_some("the report names no image: only the attester says which one"),
            );
        }
        for finding in self.findings.iter().take(SHOWN) {
            let package = finding.package.as_deref().map(|name| format!(" in {name}")).unwrap_or_default();
            let fix = if finding.has_fix { ", fixed" } else { "" };
            let words = format!("{} {}{package}{fix}", finding.severity, finding.id);
            line(&mut text, format_args!("  {}", words.escape_debug()));
        }
        if let Some(more) = self.findings.len().checked_sub(SHOWN).filter(|more| *more > 0) {
            line(&mut text, format_args!("  and {more} more"));
        }
        text
    }
}
