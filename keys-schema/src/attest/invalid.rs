//! Why a report counts for nothing.

use super::ReportFormat;
use crate::limits::{REPORT_BYTES, REPORT_DEPTH, REPORT_FINDINGS, REPORT_VALUES};

/// A file is no report that findings can be counted from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidReport {
    /// Too many bytes. Known before any of them is read as JSON.
    #[error("the report is larger than {REPORT_BYTES} bytes")]
    TooLarge,
    /// No JSON.
    #[error("not JSON, at line {line}, column {column}")]
    Json {
        /// Counted from 1.
        line: usize,
        /// Counted from 1; 0 at the end of a line.
        column: usize,
    },
    /// Arrays and objects in each other, more than any scanner writes.
    #[error("nested deeper than {REPORT_DEPTH} levels")]
    TooDeep,
    /// More values than any scanner writes.
    #[error("more than {REPORT_VALUES} values")]
    TooMany,
    /// More findings than any image has, or longer ones.
    #[error("more than {REPORT_FINDINGS} findings, or too much text in them")]
    TooManyFindings,
    /// Two members of one object have the same name: programs do not agree on which counts.
    #[error("the member {name:?} is there twice in one object")]
    Duplicate {
        /// Its name, cut to a length that can be shown.
        name: String,
    },
    /// No known format.
    #[error("the file is no report of a known type")]
    Unknown,
    /// Two formats fit: one reader would see other findings than the next.
    #[error("the file passes for {first} and for {second}")]
    Ambiguous {
        /// One of them.
        first: ReportFormat,
        /// The other.
        second: ReportFormat,
    },
    /// Another format than the one that was asked for.
    #[error("the file is of type {found}, not {expected}")]
    OtherFormat {
        /// What was asked for.
        expected: ReportFormat,
        /// What it is.
        found: ReportFormat,
    },
    /// A member is missing or of another kind than its format says.
    #[error("{at} is not {expected}")]
    Member {
        /// Where, as a path from the top.
        at: String,
        /// What belongs there.
        expected: &'static str,
    },
    /// Readable, and yet nothing to count from.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

/// A report tells nothing about the vulnerabilities of an image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Nothing is in the file.
    #[error("the report is empty")]
    NoContent,
    /// The scan looked at no package.
    #[error("the scan looked at nothing: the report names no packages that were examined")]
    NothingScanned,
    /// A scan of something else than an image.
    #[error("the report is of {found:?}, not of a container image")]
    NotAnImage {
        /// What the scanner says it is of.
        found: String,
    },
    /// A scan of a whole Kubernetes cluster.
    #[error("the report is of a Kubernetes cluster, not of a container image")]
    Cluster,
    /// The form that Trivy wrote before 0.20: it names no image.
    #[error("the report has the form of an old Trivy, which names no image")]
    OldTrivy,
    /// The scanner says itself that it failed.
    #[error("the scanner says that its run failed")]
    FailedRun,
    /// An inventory or statements, and no findings.
    #[error("{format} without vulnerabilities is no scan: it does not say what was found")]
    NoVulnerabilities {
        /// Its format.
        format: ReportFormat,
    },
    /// A list of what is in an image, in which nothing is listed.
    #[error("the inventory lists nothing")]
    EmptyInventory,
    /// A scan or a statement, and no inventory.
    #[error("{format} is no inventory: it does not list what is in the image")]
    NoInventory {
        /// Its format.
        format: ReportFormat,
    },
    /// Not statements about vulnerabilities.
    #[error("{format} is no VEX document: it does not say which findings are harmless")]
    NoVex {
        /// Its format.
        format: ReportFormat,
    },
    /// A signed envelope, whose signature nobody has checked.
    #[error("the file is a signed envelope, not a report")]
    Envelope,
}
