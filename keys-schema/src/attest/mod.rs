//! What scanners found in an image, read from the files they write.
//!
//! One rule stands above the rest: absent is not zero. A report that cannot be read, that is of
//! something else, or that looked at nothing is refused with a reason, and never counted as one
//! without findings. One file per format; all of them end in one [`ScanSummary`], and
//! [`Gate`] is what judges it.
//!
//! What somebody says of an image under a signature is an in-toto [`Statement`] in a DSSE [`Envelope`]:
//! [`Predicate`] makes one of a report, and [`Attestation`] is what everybody else reads in it.

mod attestation;
mod cosign_vuln;
mod counts;
mod cyclonedx;
mod database;
mod dsse;
mod filters;
mod finding;
mod format;
mod gate;
mod grype;
mod in_toto_vulns;
mod invalid;
mod inventory;
mod no_evidence;
mod node;
mod openvex;
mod predicate;
mod purl;
mod sarif;
mod statement;
mod subject;
mod summary;
mod target_path;
mod tree;
mod trivy;

pub use attestation::{Attestation, InvalidAttestation};
pub use counts::{Counts, Severity};
pub use database::database_made_at;
pub use dsse::{Envelope, IN_TOTO, InvalidEnvelope, pae};
pub use filters::Filters;
pub use finding::{Analysis, Finding, Rating};
pub use format::{ReportFormat, UnknownFormat};
pub use gate::{Check, CountBy, Gate, Limits, Measure};
pub use invalid::{InvalidReport, Unfit};
pub use inventory::Inventory;
pub use no_evidence::NoEvidence;
pub use openvex::{VexDocument, VexJustification, VexProduct, VexStatement, VexStatus};
pub use predicate::{Binding, Declared, InvalidPredicate, Predicate, report_within};
pub use statement::{InvalidStatement, Statement, write_statement};
pub use subject::{ImageIdentity, SubjectClaim};
pub use summary::{Filtered, OtherFindings, ScanSummary, Scanner};
pub use target_path::{AttestationPath, InvalidAttestationPath, Kind, UnknownKind};

use node::Node;

impl ScanSummary {
    /// Reads a report of any format, recognised by its content, or of the `expected` one alone.
    ///
    /// # Errors
    /// Not JSON as strictly as it is read here, of no known format or of another one, not of the
    /// shape that its format has, or nothing from which findings can be counted.
    pub fn read(bytes: &[u8], expected: Option<ReportFormat>) -> Result<Self, InvalidReport> {
        let value = tree::parse(bytes)?;
        let root = Node::root(&value);
        // A bare predicate of in-toto without findings is recognised by nothing but that it is expected.
        let found = match ReportFormat::recognise(&value)? {
            ReportFormat::CosignVuln if expected == Some(ReportFormat::InTotoVulns) && is_bare(&value) => {
                ReportFormat::InTotoVulns
            }
            found => found,
        };
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(InvalidReport::OtherFormat { expected, found });
        }
        match found {
            ReportFormat::Trivy => trivy::read(&root),
            ReportFormat::Grype => grype::read(&root),
            ReportFormat::CosignVuln => cosign_vuln::read(&root),
            ReportFormat::InTotoVulns => in_toto_vulns::read(&root),
            ReportFormat::Sarif => sarif::read(&root),
            ReportFormat::CycloneDx => cyclonedx::read(&root),
            ReportFormat::Spdx | ReportFormat::OpenVex => {
                Err(Unfit::NoVulnerabilities { format: found }.into())
            }
        }
    }
}

/// Whether this is a predicate without a statement whose results are an empty list.
fn is_bare(value: &serde_json::Value) -> bool {
    let results = value.pointer("/scanner/result").and_then(serde_json::Value::as_array);
    value.get("_type").is_none() && results.is_some_and(Vec::is_empty)
}
