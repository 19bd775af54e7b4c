//! The counts of a scan and what limits make of them, for people and programs.

use bulla_keys_schema::attest::{Check, ScanSummary, Severity};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::time::UtcTime;
use serde::Serialize;

use super::{line, table};
use crate::output::Report;

/// A report of a scanner, judged.
#[derive(Clone, Debug, Serialize)]
pub struct GateReport {
    decision: &'static str,
    image: Option<String>,
    format: &'static str,
    scanner: ScannerReport,
    scanned_at: Option<String>,
    database_at: Option<String>,
    judged_at: String,
    end_of_life: bool,
    records_filters: bool,
    counts: CountsReport,
    not_counted: OthersReport,
    checks: Vec<CheckReport>,
    hint: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
struct ScannerReport {
    name: String,
    version: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CountsReport {
    critical: u64,
    high: u64,
    medium: u64,
    low: u64,
    negligible: u64,
    unknown: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct OthersReport {
    secrets: u64,
    misconfigurations: u64,
    licenses: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CheckReport {
    severity: &'static str,
    limit: u64,
    actual: u64,
    holds: bool,
}

impl GateReport {
    /// Of a report whose limits were checked. `image` is what it was found to be of.
    #[must_use]
    pub fn new(summary: &ScanSummary, image: Option<Sha256Digest>, checks: &[Check], now: UtcTime) -> Self {
        let of = |severity| summary.counts.of(severity);
        let passed = checks.iter().all(Check::holds);
        Self {
            decision: if passed { "pass" } else { "fail" },
            image: image.map(|image| image.to_oci()),
            format: summary.format.as_str(),
            scanner: ScannerReport {
                name: summary.scanner.name.clone(),
                version: summary.scanner.version.clone(),
            },
            scanned_at: summary.scanned_at.map(|at| at.to_string()),
            database_at: summary.database_at.map(|at| at.to_string()),
            judged_at: now.to_string(),
            end_of_life: summary.is_end_of_life,
            records_filters: summary.records_filters(),
            counts: CountsReport {
                critical: of(Severity::Critical),
                high: of(Severity::High),
                medium: of(Severity::Medium),
                low: of(Severity::Low),
                negligible: of(Severity::Negligible),
                unknown: of(Severity::Unknown),
            },
            not_counted: OthersReport {
                secrets: summary.others.secrets,
                misconfigurations: summary.others.misconfigurations,
                licenses: summary.others.licenses,
            },
            checks: checks.iter().map(check_report).collect(),
            hint: (!passed).then(|| {
                "update what is vulnerable and build the image again, or raise the limit".to_owned()
            }),
        }
    }

    /// Whether all limits hold.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.holds)
    }

    fn source(&self) -> String {
        let plain = |text: &str| text.escape_debug().to_string();
        let mut source = match self.scanner.name.as_str() {
            "" => self.format.to_owned(),
            name if name == self.format => name.to_owned(),
            name => format!("{} ({})", plain(name), self.format),
        };
        if let Some(version) = &self.scanner.version {
            source += &format!(", version {}", plain(version));
        }
        match &self.scanned_at {
            Some(at) => source + &format!(", scanned at {at}"),
            None => source + ", at an unknown time",
        }
    }
}

impl Report for GateReport {
    const SCHEMA: &'static str = "bulla/gate/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("image:  {}", self.image.as_deref().unwrap_or("not checked")));
        line(&mut text, format_args!("report: {}", self.source()));
        let OthersReport { secrets, misconfigurations, licenses } = self.not_counted;
        if secrets + misconfigurations + licenses > 0 {
            line(
                &mut text,
                format_args!(
                    "also found, and limited by nothing: {secrets} secrets, {misconfigurations} misconfigurations, {licenses} licenses"
                ),
            );
        }
        text.push('\n');
        text += &table(&["SEVERITY", "FOUND", "COUNTED", "LIMIT", ""], self.rows());
        text.push('\n');
        line(&mut text, format_args!("{}", if self.passed() { "passed" } else { "failed" }));
        if let Some(hint) = &self.hint {
            line(&mut text, format_args!("hint: {hint}"));
        }
        text
    }
}

impl GateReport {
    fn rows(&self) -> impl Iterator<Item = Vec<String>> {
        let counts = self.counts;
        let found = [
            (Severity::Critical, counts.critical),
            (Severity::High, counts.high),
            (Severity::Medium, counts.medium),
            (Severity::Low, counts.low),
            (Severity::Negligible, counts.negligible),
            (Severity::Unknown, counts.unknown),
        ];
        found.into_iter().map(|(severity, found)| {
            let check = self.checks.iter().find(|check| check.severity == severity.as_str());
            let verdict = check.map_or("", |check| if check.holds { "" } else { "too many" });
            vec![
                severity.to_string(),
                found.to_string(),
                check.map(|check| check.actual.to_string()).unwrap_or_default(),
                check.map(|check| check.limit.to_string()).unwrap_or_default(),
                verdict.to_owned(),
            ]
        })
    }
}

fn check_report(check: &Check) -> CheckReport {
    CheckReport {
        severity: check.severity.as_str(),
        limit: check.limit,
        actual: check.actual,
        holds: check.holds(),
    }
}
