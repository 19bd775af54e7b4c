//! `bulla gate`

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use bulla_keys_schema::attest::{Gate, InvalidReport, Limits, NoEvidence, ReportFormat, ScanSummary};
use bulla_keys_schema::digest::{InvalidDigest, Sha256Digest};
use bulla_keys_schema::limits::REPORT_BYTES;
use bulla_keys_schema::names::ImageRef;

use super::status::Span;
use super::{Answered, Context, Exit};
use crate::report::GateReport;

/// Hold the report of a scanner against limits; no server is asked
///
/// A report that is missing, unreadable, filtered, too old or of another image never counts as one
/// without findings. Findings of unknown severity count as high and negligible ones as low, unless
/// they have a limit of their own.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("limits").required(true).multiple(true))]
pub(super) struct Args {
    /// The report, as the scanner wrote it, in JSON
    #[arg(long, value_name = "FILE")]
    report: PathBuf,
    /// Take no other type: trivy, grype, cosign-vuln, sarif, cyclonedx, spdx or openvex
    #[arg(long = "type", value_name = "TYPE")]
    format: Option<ReportFormat>,
    /// The image that the report must be of: REPOSITORY@sha256:DIGEST
    #[arg(long, conflicts_with = "digest")]
    image: Option<ImageRef>,
    /// The same by the digest alone, of the manifest or the image id: sha256:DIGEST
    #[arg(long, value_parser = digest)]
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
    /// How old the scan may be, like `24h`
    #[arg(long, value_name = "SPAN")]
    max_age: Option<Span>,
}

impl Args {
    pub(super) fn run(self, context: &Context) -> anyhow::Result<()> {
        let gate =
            Gate { limits: self.limits(), image: self.wanted()?, max_age: self.max_age.map(Span::seconds) };
        let unusable = |reason: Unusable| UnusableReport { path: self.report.clone(), reason };
        let bytes = read(&self.report).map_err(unusable)?;
        let summary = ScanSummary::read(&bytes, self.format).map_err(|error| unusable(error.into()))?;
        let now = context.settings.local(None).ports().clock.now();
        let checks = gate.judge(&summary, now).map_err(|error| unusable(error.into()))?;
        warn(context, &gate, &summary);
        let report = GateReport::new(&summary, gate.image, &checks, now);
        let passed = report.passed();
        context.output.answer(&report)?;
        if passed { Ok(()) } else { Err(Answered(Exit::GateFailed).into()) }
    }

    const fn limits(&self) -> Limits {
        Limits {
            critical: self.max_critical,
            high: self.max_high,
            medium: self.max_medium,
            low: self.max_low,
            negligible: self.max_negligible,
            unknown: self.max_unknown,
        }
    }

    fn wanted(&self) -> Result<Option<Sha256Digest>, NoDigest> {
        match &self.image {
            Some(image) => image.digest().map(Some).ok_or(NoDigest),
            None => Ok(self.digest),
        }
    }
}

/// Says what the verdict does not cover.
fn warn(context: &Context, gate: &Gate, summary: &ScanSummary) {
    if gate.image.is_none() {
        context.output.warn("nobody asked of which image the report is: name it with --image or --digest");
    }
    if summary.is_end_of_life {
        context.output.warn("the image's system gets no advisories any more: few findings mean little");
    }
    if !summary.records_filters() {
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
    /// Why.
    pub(super) reason: Unusable,
}

/// Why a report decides nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// It is not there.
    #[error("there is no such report")]
    Missing,
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
