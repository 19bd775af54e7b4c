//! `bulla gate`

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use bulla_keys_schema::attest::{
    CountBy, Filters, Gate, InvalidReport, Limits, NoEvidence, ReportFormat, ScanSummary, VexDocument,
    database_made_at,
};
use bulla_keys_schema::digest::{InvalidDigest, Sha256Digest};
use bulla_keys_schema::limits::REPORT_BYTES;
use bulla_keys_schema::names::ImageRef;

use super::status::Span;
use super::{Answered, Context, Exit};
use crate::report::{GateReport, LeftOut};

/// Hold the report of a scanner against limits; no server is asked
///
/// A report that is missing, unreadable, filtered, too old or of another image never counts as one
/// without findings. Findings of unknown severity count as high and negligible ones as low, unless
/// they have a limit of their own.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("limits").required(true).multiple(true))]
#[command(group = clap::ArgGroup::new("wanted"))]
pub(super) struct Args {
    /// The report, as the scanner wrote it, in JSON
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Take no other type: trivy, grype, cosign-vuln, in-toto-vulns, sarif, cyclonedx, spdx or openvex
    #[arg(long = "type", value_name = "TYPE")]
    format: Option<ReportFormat>,
    /// The image that the report must be of: REPOSITORY@sha256:DIGEST
    #[arg(long, group = "wanted", conflicts_with = "digest")]
    image: Option<ImageRef>,
    /// The same by the digest alone, of the manifest or the image id: sha256:DIGEST
    #[arg(long, group = "wanted", value_parser = digest)]
    digest: Option<Sha256Digest>,
    /// Pass up to N critical vulnerabilities
    #[arg(long, value_name = "N", group = "limits")]
    max_critical: Option<u64>,
    /// Pass up to N high ones
    #[arg(long, value_name = "N", group = "limits")]
    max_high: Option<u64>,
    /// Pass up to N medium ones
    #[arg(long, value_name = "N", group = "limits")]
    max_medium: Option<u64>,
    /// Pass up to N low ones
    #[arg(long, value_name = "N", group = "limits")]
    max_low: Option<u64>,
    /// Pass up to N negligible ones; without it, they count as low
    #[arg(long, value_name = "N", group = "limits")]
    max_negligible: Option<u64>,
    /// Pass up to N of unknown severity; without it, they count as high
    #[arg(long, value_name = "N", group = "limits")]
    max_unknown: Option<u64>,
    /// Pass up to N of all severities together
    #[arg(long, value_name = "N", group = "limits")]
    max_total: Option<u64>,
    /// Pass up to N secrets; it must be proved that the scan looked for them
    #[arg(long, value_name = "N", group = "limits")]
    max_secrets: Option<u64>,
    /// Pass with a score of N or more: 100, less 10 for each critical vulnerability, 5 for each high
    /// or unknown one, and 1 for each medium one
    #[arg(long, value_name = "N", group = "limits")]
    min_score: Option<u64>,
    /// Pass no image whose system gets no advisories any more
    #[arg(long, group = "limits")]
    deny_eol_os: bool,
    /// What counts as one: every place of a vulnerability, or the vulnerability
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Counted::Finding)]
    count_by: Counted,
    /// Whose rating counts in `CycloneDX`, the first one that is there; else the worst of all
    #[arg(long, value_name = "SOURCE", value_delimiter = ',')]
    rating_source: Vec<String>,
    /// How old the scan may be, like `24h`
    #[arg(long, value_name = "SPAN")]
    max_age: Option<Span>,
    /// How old the database of the scanner may be
    #[arg(long, value_name = "SPAN")]
    db_max_age: Option<Span>,
    /// The file `metadata.json` beside Trivy's database, whose age Trivy's reports do not tell
    #[arg(long, value_name = "FILE")]
    db_metadata: Option<PathBuf>,
    /// What the scanner was run with, like `image --severity HIGH,CRITICAL`; what that left out is
    /// then unknown, and the rest is known to be all
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    scan_args: Option<String>,
    /// Leave out the findings that this `OpenVEX` document says do no harm in the image. Nobody checks
    /// who wrote it
    #[arg(long, value_name = "FILE", requires = "wanted")]
    vex: Vec<PathBuf>,
}

/// What `--count-by` chooses from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Counted {
    /// Every place where a vulnerability was found
    Finding,
    /// Every vulnerability, at however many places
    Cve,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let gate = self.gate()?;
        let mut summary = self.summary()?;
        let left_out = self.leave_out(&mut summary, gate.image)?;
        let now = context.settings.local(None).ports().clock.now();
        let checks = gate.judge(&summary, now).map_err(|error| self.unusable(error.into()))?;
        warn(context, &gate, &summary);
        let report = GateReport::new(&summary, &gate, &checks, left_out, now);
        let passed = report.passed();
        context.output.answer(&report)?;
        if passed { Ok(()) } else { Err(Answered(Exit::GateFailed).into()) }
    }

    fn gate(&self) -> Result<Gate, NoDigest> {
        Ok(Gate {
            limits: self.limits(),
            count_by: match self.count_by {
                Counted::Finding => CountBy::Finding,
                Counted::Cve => CountBy::Cve,
            },
            image: self.wanted()?,
            max_age: self.max_age.map(Span::seconds),
            max_database_age: self.db_max_age.map(Span::seconds),
            deny_end_of_life: self.deny_eol_os,
        })
    }

    /// The report, with what was said of it on the command line.
    fn summary(&self) -> Result<ScanSummary, UnusableReport> {
        let bytes = read(&self.report).map_err(|reason| self.unusable(reason))?;
        let mut summary =
            ScanSummary::read(&bytes, self.format).map_err(|error| self.unusable(error.into()))?;
        if let Some(arguments) = &self.scan_args {
            let filters = Filters::of_arguments(&summary.scanner.name, [arguments.as_str()]);
            summary.declare(filters);
        }
        if let Some(path) = &self.db_metadata {
            let unusable = |reason| beside(path, "--db-metadata", reason);
            let bytes = read(path).map_err(unusable)?;
            summary.note_database(database_made_at(&bytes).map_err(|error| unusable(error.into()))?);
        }
        if !self.rating_source.is_empty() {
            summary.rate_by(&self.rating_source);
        }
        Ok(summary)
    }

    /// Takes out what the documents say does no harm in `image`.
    fn leave_out(
        &self,
        summary: &mut ScanSummary,
        image: Option<Sha256Digest>,
    ) -> Result<Vec<LeftOut>, UnusableReport> {
        let Some(image) = image else { return Ok(Vec::new()) };
        let mut documents = Vec::with_capacity(self.vex.len());
        for path in &self.vex {
            let unusable = |reason| beside(path, "--vex", reason);
            let bytes = read(path).map_err(unusable)?;
            documents.push(VexDocument::read(&bytes).map_err(|error| unusable(error.into()))?);
        }
        let said = |finding: &_| VexDocument::harmless(&documents, finding, &image);
        let left_out = summary.leave_out(|finding| said(finding).is_some());
        Ok(left_out.iter().filter_map(|finding| Some(LeftOut::new(finding, said(finding)?))).collect())
    }

    fn unusable(&self, reason: Unusable) -> UnusableReport {
        UnusableReport { path: self.report.clone(), option: None, reason }
    }

    const fn limits(&self) -> Limits {
        Limits {
            critical: self.max_critical,
            high: self.max_high,
            medium: self.max_medium,
            low: self.max_low,
            negligible: self.max_negligible,
            unknown: self.max_unknown,
            total: self.max_total,
            secrets: self.max_secrets,
            min_score: self.min_score,
        }
    }

    fn wanted(&self) -> Result<Option<Sha256Digest>, NoDigest> {
        match &self.image {
            Some(image) => image.digest().map(Some).ok_or(NoDigest),
            None => Ok(self.digest),
        }
    }
}

/// A file that was named besides the report.
fn beside(path: &Path, option: &'static str, reason: Unusable) -> UnusableReport {
    let reason = if matches!(reason, Unusable::Missing) { Unusable::NoFile } else { reason };
    UnusableReport { path: path.to_owned(), option: Some(option), reason }
}

/// Says what the verdict does not cover.
fn warn(context: &Context, gate: &Gate, summary: &ScanSummary) {
    if gate.image.is_none() {
        context.output.warn("nobody asked of which image the report is: name it with --image or --digest");
    }
    if summary.os_end_of_life == Some(true) {
        context.output.warn("the image's system gets no advisories any more: few findings mean little");
    }
    if !summary.records_filters() && summary.declared.is_none() {
        let options = "such as --severity and --ignore-unfixed";
        context
            .output
            .say(&format!("the report does not tell what the scanner left out, by options {options}"));
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Unusable> {
    let unreadable = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => Unusable::Missing,
        _ => Unusable::File { reason: error.to_string() },
    };
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    // One byte more tells too much from just enough.
    file.take(REPORT_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

fn digest(text: &str) -> Result<Sha256Digest, InvalidDigest> {
    Sha256Digest::parse_oci(text)
}

/// A report decides nothing.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}", path.display())]
pub(super) struct UnusableReport {
    /// The file.
    path: PathBuf,
    /// The option that named it; nothing for the report itself.
    pub(super) option: Option<&'static str>,
    /// Why.
    pub(super) reason: Unusable,
}

/// Why a report decides nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It is not there.
    #[error("there is no such report")]
    Missing,
    /// A file that was named besides the report is not there.
    #[error("there is no such file")]
    NoFile,
    /// The file cannot be read.
    #[error("cannot read it: {reason}")]
    File {
        /// What the system said.
        reason: String,
    },
    /// It is no report that can be counted.
    #[error(transparent)]
    Invalid(#[from] InvalidReport),
    /// It says nothing about the image.
    #[error(transparent)]
    NoEvidence(#[from] NoEvidence),
}

/// A tag alone: what was scanned may not be what it points to now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the image is named without a digest, and its tag may point elsewhere by now")]
pub(super) struct NoDigest;
