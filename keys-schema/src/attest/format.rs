//! Which program wrote a report, as its content says. Names of files say nothing.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;

use super::{InvalidReport, Unfit, in_toto_vulns};

/// A format of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportFormat {
    /// Trivy's JSON, schema 2.
    Trivy,
    /// Grype's JSON.
    Grype,
    /// Cosign's vulnerability predicate, bare or in an in-toto statement.
    CosignVuln,
    /// The vulnerability predicate of in-toto, bare or in a statement.
    InTotoVulns,
    /// SARIF 2.1.0.
    Sarif,
    /// `CycloneDX` in JSON.
    CycloneDx,
    /// SPDX in JSON: an inventory.
    Spdx,
    /// `OpenVEX`: statements about findings of others.
    OpenVex,
}

impl ReportFormat {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Trivy,
        Self::Grype,
        Self::CosignVuln,
        Self::InTotoVulns,
        Self::Sarif,
        Self::CycloneDx,
        Self::Spdx,
        Self::OpenVex,
    ];

    /// As it is typed and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trivy => "trivy",
            Self::Grype => "grype",
            Self::CosignVuln => "cosign-vuln",
            Self::InTotoVulns => "in-toto-vulns",
            Self::Sarif => "sarif",
            Self::CycloneDx => "cyclonedx",
            Self::Spdx => "spdx",
            Self::OpenVex => "openvex",
        }
    }

    /// The one format that `report` is of.
    ///
    /// # Errors
    /// None fits, more than one does, or it is known to be no report.
    pub(super) fn recognise(report: &Value) -> Result<Self, InvalidReport> {
        let Some(members) = report.as_object() else {
            return Err(match report {
                // What Trivy wrote before it had a schema: a list of results, or null without any.
                Value::Array(_) | Value::Null => Unfit::OldTrivy.into(),
                _ => InvalidReport::Unknown,
            });
        };
        if members.contains_key("payloadType") && members.contains_key("payload") {
            return Err(Unfit::Envelope.into());
        }
        let mut fitting = Self::ALL.into_iter().filter(|format| format.fits(report));
        match (fitting.next(), fitting.next()) {
            (Some(only), None) => Ok(only),
            (Some(first), Some(second)) => Err(InvalidReport::Ambiguous { first, second }),
            (None, _) => Err(InvalidReport::Unknown),
        }
    }

    fn fits(self, report: &Value) -> bool {
        let has = |name: &str| report.get(name).is_some();
        let begins = |name: &str, beginning: &str| {
            report.get(name).and_then(Value::as_str).is_some_and(|text| text.starts_with(beginning))
        };
        match self {
            Self::Trivy => has("SchemaVersion") || has("ClusterName"),
            Self::Grype => has("matches"),
            Self::CosignVuln => {
                (has("scanner") || begins("_type", "https://in-toto.io/Statement/"))
                    && !in_toto_vulns::fits(report)
            }
            Self::InTotoVulns => in_toto_vulns::fits(report),
            Self::Sarif => has("runs"),
            Self::CycloneDx => has("bomFormat"),
            Self::Spdx => has("spdxVersion") || begins("@context", "https://spdx.org/"),
            Self::OpenVex => begins("@context", "https://openvex.dev/"),
        }
    }
}

impl fmt::Display for ReportFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ReportFormat {
    type Err = UnknownFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(UnknownFormat)
    }
}

/// The text names no format of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a type of reports: trivy, grype, cosign-vuln, in-toto-vulns, sarif, cyclonedx, spdx or openvex")]
pub struct UnknownFormat;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for format in ReportFormat::ALL {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert!("Trivy".parse::<ReportFormat>().is_err() && "".parse::<ReportFormat>().is_err());
    }

    #[test]
    fn one_format_fits_or_none() {
        let recognised = |value: Value| ReportFormat::recognise(&value);
        for (value, format) in [
            (json!({"SchemaVersion": 2}), ReportFormat::Trivy),
            (json!({"matches": null}), ReportFormat::Grype),
            (json!({"_type": "https://in-toto.io/Statement/v0.1"}), ReportFormat::CosignVuln),
            (json!({"scanner": {}}), ReportFormat::CosignVuln),
            (json!({"scanner": {"result": []}}), ReportFormat::CosignVuln),
            (json!({"scanner": {"result": [{"id": "x"}]}}), ReportFormat::InTotoVulns),
            (json!({"scanner": {"result": [{"vulnerability": {}}]}}), ReportFormat::InTotoVulns),
            (
                json!({"_type": "https://in-toto.io/Statement/v1", "predicateType": "https://in-toto.io/attestation/vulns/v0.2"}),
                ReportFormat::InTotoVulns,
            ),
            (json!({"runs": []}), ReportFormat::Sarif),
            (json!({"bomFormat": "CycloneDX"}), ReportFormat::CycloneDx),
            (json!({"spdxVersion": "SPDX-2.3"}), ReportFormat::Spdx),
            (json!({"@context": "https://openvex.dev/ns/v0.2.0"}), ReportFormat::OpenVex),
        ] {
            assert_eq!(recognised(value), Ok(format));
        }
        for value in [json!({}), json!(""), json!(1), json!({"schemaversion": 2}), json!({"@context": 1})] {
            assert_eq!(recognised(value), Err(InvalidReport::Unknown));
        }
        for old in [json!([]), json!(null), json!([{"Vulnerabilities": null}])] {
            assert_eq!(recognised(old), Err(Unfit::OldTrivy.into()));
        }
        let (first, second) = (ReportFormat::Trivy, ReportFormat::Grype);
        assert_eq!(
            recognised(json!({"matches": [], "SchemaVersion": 2})),
            Err(InvalidReport::Ambiguous { first, second })
        );
        assert_eq!(recognised(json!({"payloadType": "x", "payload": ""})), Err(Unfit::Envelope.into()));
    }
}
