//! The counts of a scan and what limits make of them, for people and programs.

use bulla_keys_schema::attest::{
    Check, CountBy, Finding, Gate, Measure, ScanSummary, Severity, VexStatement,
};
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
    arguments_declared: bool,
    left_out_by_option: Option<String>,
    not_known: Vec<&'static str>,
    looked_for_secrets: Option<bool>,
    count_by: &'static str,
    counts: CountsReport,
    score: u64,
    not_counted: OthersReport,
    left_out_by_unsigned_vex: Vec<LeftOut>,
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

/// A finding that a VEX document, which nobody signed, says does no harm.
#[derive(Clone, Debug, Serialize)]
pub struct LeftOut {
    id: String,
    package: Option<String>,
    severity: &'static str,
    status: &'static str,
    justification: Option<&'static str>,
}

impl LeftOut {
    /// A finding, and the statement that takes it away.
    #[must_use]
    pub fn new(finding: &Finding, statement: &VexStatement) -> Self {
        Self {
            id: finding.id.clone(),
            package: finding.package.clone(),
            severity: finding.severity.as_str(),
            status: statement.status.as_str(),
            justification: statement.justification.map(|justification| justification.as_str()),
        }
    }

    fn line(&self) -> String {
        let plain = |text: &str| text.escape_debug().to_string();
        let package = self.package.as_deref().map_or(String::new(), |name| format!(" in {}", plain(name)));
        let why = self.justification.unwrap_or(self.status);
        format!("  {}{package}, {}: {why}", plain(&self.id), self.severity)
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CheckReport {
    of: &'static str,
    severity: Option<&'static str>,
    limit: u64,
    actual: u64,
    holds: bool,
}

impl GateReport {
    /// Of a report whose limits were checked. If the gate names an image, the report is of it.
    #[must_use]
    pub fn new(
        summary: &ScanSummary,
        gate: &Gate,
        checks: &[Check],
        left_out: Vec<LeftOut>,
        now: UtcTime,
    ) -> Self {
        let counts = match gate.count_by {
            CountBy::Finding => summary.counts,
            CountBy::Cve => summary.counts_by_cve(),
        };
        let of = |severity| counts.of(severity);
        let declared = summary.declared.as_ref();
        let passed = checks.iter().all(Check::holds);
        Self {
            decision: if passed { "pass" } else { "fail" },
            image: gate.image.map(|image| image.to_oci()),
            format: summary.format.as_str(),
            scanner: ScannerReport {
                name: summary.scanner.name.clone(),
                version: summary.scanner.version.clone(),
            },
            scanned_at: summary.scanned_at.map(|at| at.to_string()),
            database_at: summary.database_at.map(|at| at.to_string()),
            judged_at: now.to_string(),
            end_of_life: summary.os_end_of_life == Some(true),
            records_filters: summary.records_filters(),
            arguments_declared: declared.is_some(),
            left_out_by_option: declared.and_then(|declared| declared.option()).map(str::to_owned),
            not_known: not_known(summary),
            looked_for_secrets: summary.looked_for_secrets,
            count_by: match gate.count_by {
                CountBy::Finding => "finding",
                CountBy::Cve => "cve",
            },
            counts: CountsReport {
                critical: of(Severity::Critical),
                high: of(Severity::High),
                medium: of(Severity::Medium),
                low: of(Severity::Low),
                negligible: of(Severity::Negligible),
                unknown: of(Severity::Unknown),
            },
            score: counts.with_unknown_as(Severity::High).score(),
            not_counted: OthersReport {
                secrets: summary.others.secrets,
                misconfigurations: summary.others.misconfigurations,
                licenses: summary.others.licenses,
            },
            left_out_by_unsigned_vex: left_out,
            checks: checks.iter().map(check_report).collect(),
            hint: hint(checks),
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
        let OthersReport { mut secrets, misconfigurations, licenses } = self.not_counted;
        if self.check(Measure::Secrets).is_some() {
            secrets = 0;
        }
        if secrets + misconfigurations + licenses > 0 {
            line(
                &mut text,
                format_args!(
                    "also found, and limited by nothing: {secrets} secrets, {misconfigurations} misconfigurations, {licenses} licenses"
                ),
            );
        }
        if !self.left_out_by_unsigned_vex.is_empty() {
            line(&mut text, format_args!("left out by VEX, which nobody signed:"));
            for left_out in &self.left_out_by_unsigned_vex {
                line(&mut text, format_args!("{}", left_out.line()));
            }
        }
        if let Some(option) = &self.left_out_by_option {
            let (option, severities) = (option.escape_debug(), self.not_known.join(", "));
            line(&mut text, format_args!("not known, since the scanner was run with {option}: {severities}"));
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
        // What may be missing is not zero.
        let shown = |severity: Severity, found: u64| match self.not_known.contains(&severity.as_str()) {
            true => "?".to_owned(),
            false => found.to_string(),
        };
        let severities =
            found.map(|(severity, found)| (Measure::Severity(severity), Some(shown(severity, found))));
        let others = [Measure::Total, Measure::Score, Measure::Secrets, Measure::EndOfLife];
        let others = others.map(|of| (of, self.check(of).map(|_| String::new())));
        severities.into_iter().chain(others).filter_map(|(of, found)| Some(self.row(of, found?)))
    }

    fn row(&self, of: Measure, found: String) -> Vec<String> {
        let check = self.check(of);
        let verdict = match check {
            Some(check) if !check.holds && of == Measure::Score => "too low",
            Some(check) if !check.holds && of == Measure::EndOfLife => "not allowed",
            Some(check) if !check.holds => "too many",
            _ => "",
        };
        vec![
            of.to_string(),
            found,
            check.map(|check| check.actual.to_string()).unwrap_or_default(),
            check.map(|check| check.limit.to_string()).unwrap_or_default(),
            verdict.to_owned(),
        ]
    }

    fn check(&self, of: Measure) -> Option<&CheckReport> {
        self.checks.iter().find(|check| check.of == of.as_str())
    }
}

/// The severities of which findings may be missing.
fn not_known(summary: &ScanSummary) -> Vec<&'static str> {
    let hidden = Severity::ALL.into_iter().filter(|severity| summary.hides(*severity).is_some());
    hidden.map(Severity::as_str).collect()
}

/// What to do about the limits that do not hold.
fn hint(checks: &[Check]) -> Option<String> {
    let mut broken = checks.iter().filter(|check| !check.holds()).map(|check| check.of).peekable();
    broken.peek()?;
    let is_old = |of| of == Measure::EndOfLife;
    Some(match broken.all(is_old) {
        true => "build the image on a system that still gets advisories".to_owned(),
        false => "update what is vulnerable and build the image again, or raise the limit".to_owned(),
    })
}

fn check_report(check: &Check) -> CheckReport {
    let severity = match check.of {
        Measure::Severity(severity) => Some(severity.as_str()),
        _ => None,
    };
    CheckReport {
        of: check.of.as_str(),
        severity,
        limit: check.limit,
        actual: check.actual,
        holds: check.holds(),
    }
}
