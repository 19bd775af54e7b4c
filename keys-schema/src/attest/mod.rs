//! What scanners found in an image, read from the files they write.
//!
//! One rule stands above the rest: absent is not zero. A report that cannot be read, that is of
//! something else, or that looked at nothing is refused with a reason, and never counted as one
//! without findings. One file per format; all of them end in one [`ScanSummary`], and
//! [`Gate`] is what judges it.

mod cosign_vuln;
mod cyclonedx;
mod format;
mod gate;
mod grype;
mod invalid;
mod node;
mod sarif;
mod summary;
mod tree;
mod trivy;

pub use format::{ReportFormat, UnknownFormat};
pub use gate::{Check, Gate, Limits, NoEvidence};
pub use invalid::{InvalidReport, Unfit};
pub use summary::{Counts, Filtered, OtherFindings, ScanSummary, Scanner, Severity, SubjectClaim};

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
        let found = ReportFormat::recognise(&value)?;
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(InvalidReport::OtherFormat { expected, found });
        }
        match found {
            ReportFormat::Trivy => trivy::read(&root),
            ReportFormat::Grype => grype::read(&root),
            ReportFormat::CosignVuln => cosign_vuln::read(&root),
            ReportFormat::Sarif => sarif::read(&root),
            ReportFormat::CycloneDx => cyclonedx::read(&root),
            ReportFormat::Spdx | ReportFormat::OpenVex => {
                Err(Unfit::NoVulnerabilities { format: found }.into())
            }
        }
    }
}
