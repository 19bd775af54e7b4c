//! What a policy file says, how its tests went, and what came out of the policy of another tool.

use bulla_keys_schema::policy::{Mode, Policy, Rule, TrustPin, Wanted};
use bulla_keys_schema::time::UtcTime;
use serde::Serialize;

use super::{line, table};
use crate::flow::policy_import::Imported;
use crate::output::Report;

/// How soon an end is worth a warning, in seconds.
const SOON: i64 = 14 * 24 * 60 * 60;

/// A policy that was read.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyReport {
    name: String,
    version: Option<u64>,
    rules: Vec<RuleReport>,
    trust: Vec<TrustReport>,
    exceptions: Vec<ExceptionReport>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct RuleReport {
    name: String,
    scopes: Vec<String>,
    mode: &'static str,
    audit_until: Option<String>,
    signatures: bool,
    attestations: Vec<String>,
    image: bool,
}

#[derive(Clone, Debug, Serialize)]
struct TrustReport {
    scope: String,
    server: Option<String>,
    root: Option<String>,
    root_keys: Vec<String>,
    root_threshold: Option<usize>,
}

#[derive(Clone, Debug, Serialize)]
struct ExceptionReport {
    id: String,
    scopes: Vec<String>,
    checks: Vec<String>,
    vulnerabilities: Vec<String>,
    expires: String,
    reason: String,
    approved_by: String,
}

impl PolicyReport {
    /// Of a policy, at `now`.
    #[must_use]
    pub fn new(policy: &Policy, now: UtcTime) -> Self {
        let mut rules: Vec<&Rule> = policy.rules().iter().collect();
        rules.sort_by_key(|rule| {
            std::cmp::Reverse(rule.scopes().iter().map(bulla_keys_schema::policy::Scope::specificity).max())
        });
        Self {
            name: policy.name().to_owned(),
            version: policy.version(),
            rules: rules.into_iter().map(rule_report).collect(),
            trust: policy.trust().iter().map(trust_report).collect(),
            exceptions: policy.exceptions().iter().map(exception_report).collect(),
            warnings: warnings(policy, now),
        }
    }

    /// What is good, and yet worth a look.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn rule_report(rule: &Rule) -> RuleReport {
    let (mode, audit_until) = match rule.mode() {
        Mode::Enforce => ("enforce", None),
        Mode::Audit { until } => ("audit", Some(until.to_string())),
    };
    let attestation = |wanted: &bulla_keys_schema::policy::AttestationRule| {
        let kind = match wanted.wanted() {
            Wanted::Kind(kind) => kind.to_string(),
            Wanted::Predicate(uri) => uri.clone(),
        };
        format!("{} ({kind})", wanted.name())
    };
    RuleReport {
        name: rule.name().to_owned(),
        scopes: rule.scopes().iter().map(ToString::to_string).collect(),
        mode,
        audit_until,
        signatures: rule.requires_signatures(),
        attestations: rule.attestations().iter().map(attestation).collect(),
        image: rule.needs_facts(),
    }
}

fn trust_report(trust: &bulla_keys_schema::policy::Trust) -> TrustReport {
    let (root, root_keys, root_threshold) = match &trust.pin {
        TrustPin::Root(digest) => (Some(digest.to_oci()), vec![], None),
        TrustPin::RootKeys { keys, threshold } => {
            (None, keys.iter().map(ToString::to_string).collect(), Some(*threshold))
        }
    };
    let (scope, server) = (trust.scope.to_string(), trust.server.clone());
    TrustReport { scope, server, root, root_keys, root_threshold }
}

fn exception_report(exception: &bulla_keys_schema::policy::Exception) -> ExceptionReport {
    ExceptionReport {
        id: exception.id.clone(),
        scopes: exception.scopes.iter().map(ToString::to_string).collect(),
        checks: exception.checks.iter().map(ToString::to_string).collect(),
        vulnerabilities: exception.vulnerabilities.iter().cloned().collect(),
        expires: exception.expires.to_string(),
        reason: exception.reason.clone(),
        approved_by: exception.approved_by.clone(),
    }
}

fn warnings(policy: &Policy, now: UtcTime) -> Vec<String> {
    let mut warnings = Vec::new();
    for rule in policy.rules() {
        let name = rule.name();
        match rule.mode() {
            Mode::Audit { until } if until.is_over(now) => {
                warnings
                    .push(format!("rule {name:?}: its audit ended at {until}, and it refuses since then"));
            }
            Mode::Audit { until } => {
                warnings.push(format!("rule {name:?} refuses nothing until {until}"));
            }
            Mode::Enforce => {}
        }
        if !rule.needs_trust() {
            warnings.push(format!("rule {name:?} asks for no signature: anybody who can push decides"));
        }
    }
    for exception in policy.exceptions() {
        let (id, expires) = (&exception.id, exception.expires);
        if expires.is_over(now) {
            warnings.push(format!("exception {id:?} ended at {expires}"));
        } else if expires.seconds_since(now) < SOON {
            warnings.push(format!("exception {id:?} ends soon, at {expires}"));
        }
    }
    warnings
}

impl Report for PolicyReport {
    const SCHEMA: &'static str = "bulla/policy/v1";

    fn text(&self) -> String {
        let mut text = String::new();
        let version = self.version.map(|version| format!(", version {version}")).unwrap_or_default();
        line(&mut text, format_args!("policy {}{version}", self.name));
        text.push('\n');
        let rules = self.rules.iter().map(|rule| {
            let mut asks = vec![];
            asks.extend(rule.signatures.then(|| "signatures".to_owned()));
            asks.extend(rule.attestations.iter().cloned());
            asks.extend(rule.image.then(|| "the image".to_owned()));
            let mode = rule
                .audit_until
                .as_ref()
                .map_or_else(|| rule.mode.to_owned(), |until| format!("audit until {until}"));
            vec![rule.name.clone(), mode, rule.scopes.join(", "), asks.join(", ")]
        });
        text += &table(&["RULE", "MODE", "FOR", "ASKS FOR"], rules);
        if !self.exceptions.is_empty() {
            text.push('\n');
            let exceptions = self.exceptions.iter().map(|exception| {
                vec![
                    exception.id.clone(),
                    exception.scopes.join(", "),
                    exception.checks.join(", "),
                    exception.vulnerabilities.join(", "),
                    exception.expires.clone(),
                ]
            });
            text += &table(&["EXCEPTION", "FOR", "CHECKS", "ONLY", "ENDS"], exceptions);
        }
        text
    }
}

/// How the tests of a policy went.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyTestsReport {
    /// Whether all went as expected.
    passed: bool,
    /// One by one.
    cases: Vec<PolicyTestReport>,
}

/// How one test of a policy went.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyTestReport {
    /// The file.
    pub file: String,
    /// The case.
    pub name: String,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub actual: String,
    /// The rule that was chosen.
    pub rule: Option<String>,
    /// Whether it is what was expected.
    pub holds: bool,
    /// What the check that failed found.
    pub detail: Option<String>,
}

impl PolicyTestsReport {
    /// Of all cases.
    #[must_use]
    pub fn new(cases: Vec<PolicyTestReport>) -> Self {
        Self { passed: cases.iter().all(|case| case.holds), cases }
    }

    /// Whether all went as expected.
    #[must_use]
    pub const fn passed(&self) -> bool {
        self.passed
    }
}

impl Report for PolicyTestsReport {
    const SCHEMA: &'static str = "bulla/policy-test/v1";

    fn text(&self) -> String {
        let rows = self.cases.iter().map(|case| {
            let result = if case.holds { "ok" } else { "FAILED" };
            vec![
                case.file.clone(),
                case.name.clone(),
                result.to_owned(),
                case.expected.clone(),
                case.actual.clone(),
            ]
        });
        let mut text = table(&["FILE", "CASE", "", "EXPECTED", "ACTUAL"], rows);
        let failed = self.cases.iter().filter(|case| !case.holds).count();
        text.push('\n');
        line(&mut text, format_args!("{} cases, {failed} failed", self.cases.len()));
        text
    }
}

/// A policy that came from another tool.
#[derive(Clone, Debug, Serialize)]
pub struct ImportReport {
    origin: &'static str,
    complete: bool,
    problems: Vec<String>,
    notes: Vec<String>,
    policy: String,
}

impl ImportReport {
    /// Whether all of the source is in it.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.complete
    }
}

impl From<Imported> for ImportReport {
    fn from(imported: Imported) -> Self {
        let Imported { origin, text, problems, notes } = imported;
        Self { origin, complete: problems.is_empty(), problems, notes, policy: text }
    }
}

impl Report for ImportReport {
    const SCHEMA: &'static str = "bulla/policy-import/v1";

    fn text(&self) -> String {
        self.policy.clone()
    }
}
