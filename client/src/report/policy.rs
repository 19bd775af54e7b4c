//! What a policy says of an image, for people and programs.

use bulla_keys_schema::policy::{AppliedException, Check, CheckId, Evidence, Outcome, Quantity, Verdict};
use serde::Serialize;

use super::{junit, line, sarif, table};
use crate::output::Report;

/// The answer of `verify --policy`, `resolve --policy`, `policy explain`, and of a `sign` that a
/// policy refused.
#[derive(Clone, Debug, Serialize)]
pub struct PolicyVerdictReport {
    /// The image as it was asked for.
    pub(super) image: String,
    /// What to pull by; nothing where it may not be pulled.
    pub(super) reference: Option<String>,
    /// When it was judged.
    pub(super) judged_at: String,
    #[serde(flatten)]
    pub(super) verdict: Verdict,
    /// What the other policies say that were asked.
    also: Vec<Verdict>,
    /// Why the trust server was not asked.
    offline: Option<String>,
    /// What to do.
    hint: Option<String>,
    /// The exit code that goes with the verdict.
    exit_code: u8,
}

/// What stands around a verdict.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The image as it was asked for.
    pub image: String,
    /// What to pull by.
    pub reference: Option<String>,
    /// When it was judged.
    pub judged_at: String,
    /// Why the trust server was not asked.
    pub offline: Option<String>,
    /// What to do.
    pub hint: Option<String>,
    /// The exit code.
    pub exit_code: u8,
}

impl PolicyVerdictReport {
    /// Of a verdict.
    #[must_use]
    pub fn new(verdict: Verdict, around: Surroundings) -> Self {
        let Surroundings { image, reference, judged_at, offline, hint, exit_code } = around;
        let reference = reference.filter(|_| verdict.is_allowed());
        Self { image, reference, judged_at, verdict, also: vec![], offline, hint, exit_code }
    }

    /// The same, with what other policies say of the image.
    #[must_use]
    pub fn with(self, also: Vec<Verdict>) -> Self {
        Self { also, ..self }
    }

    /// The same, with other advice.
    #[must_use]
    pub fn advising(self, hint: Option<String>) -> Self {
        Self { hint, ..self }
    }

    /// What each policy says, the one that decides first.
    pub(super) fn verdicts(&self) -> impl Iterator<Item = &Verdict> {
        [&self.verdict].into_iter().chain(&self.also)
    }

    /// All checks that were made, for whoever looks on.
    #[must_use]
    pub fn checks(&self) -> String {
        let mut text = String::new();
        line(&mut text, format_args!("image:  {}", self.image));
        self.verdicts().for_each(|verdict| describe_checks(&mut text, verdict));
        text
    }

    /// The verdict itself.
    #[must_use]
    pub const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What to do, where the image is refused.
    #[must_use]
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

impl Report for PolicyVerdictReport {
    const SCHEMA: &'static str = "bulla/policy-verdict/v1";

    /// The reference to pull by and nothing else, so that it can be given to another program.
    fn text(&self) -> String {
        self.reference.as_ref().map(|reference| format!("{reference}\n")).unwrap_or_default()
    }

    fn junit(&self) -> Option<String> {
        Some(junit::of_verdict(self))
    }

    fn sarif(&self) -> Option<serde_json::Value> {
        Some(sarif::of_verdict(self))
    }
}

/// The answer of `policy explain`: the same, with the checks as text.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ExplanationReport(pub PolicyVerdictReport);

impl Report for ExplanationReport {
    const SCHEMA: &'static str = PolicyVerdictReport::SCHEMA;

    fn text(&self) -> String {
        let mut text = self.0.checks();
        // Many checks look at the same report.
        let mut seen: Vec<&Evidence> = Vec::new();
        for evidence in
            self.0.verdicts().flat_map(|verdict| &verdict.checks).flat_map(|check| &check.evidence)
        {
            if !seen.contains(&evidence) {
                seen.push(evidence);
            }
        }
        if !seen.is_empty() {
            text.push('\n');
            let header = ["EVIDENCE", "SIGNER", "AT", "PLATFORM", "DIGEST"];
            text += &table(&header, seen.into_iter().map(evidence_row));
        }
        if let Some(hint) = &self.0.hint {
            line(&mut text, format_args!("hint: {hint}"));
        }
        text
    }

    fn junit(&self) -> Option<String> {
        self.0.junit()
    }

    fn sarif(&self) -> Option<serde_json::Value> {
        self.0.sarif()
    }
}

fn evidence_row(evidence: &Evidence) -> Vec<String> {
    let some = |text: Option<String>| text.unwrap_or_default();
    vec![
        evidence.attestation.clone().unwrap_or_else(|| "signature".to_owned()),
        some(evidence.signer.as_ref().map(ToString::to_string)),
        some(evidence.at.map(|at| at.to_string())),
        some(evidence.platform.clone()),
        some(evidence.digest.map(|digest| digest.to_oci())),
    ]
}

fn describe_checks(text: &mut String, verdict: &Verdict) {
    let rule = verdict.rule.as_deref().unwrap_or("none is about this repository");
    let version = verdict.policy.version.map(|version| format!(" (version {version})")).unwrap_or_default();
    line(text, format_args!("policy: {}{version}, rule: {rule}", verdict.policy.name));
    text.push('\n');
    let made = verdict.checks.iter().filter(|check| check.result != Outcome::NotApplicable);
    *text += &table(&["CHECK", "", "LIMIT", "FOUND", ""], made.map(row));
    for exception in &verdict.exceptions {
        line(text, format_args!("exception {}", describe(exception)));
    }
    text.push('\n');
    line(text, format_args!("{}", conclusion(verdict)));
}

fn conclusion(verdict: &Verdict) -> String {
    let until = verdict.valid_until.map(|until| format!(", valid until {until}")).unwrap_or_default();
    if !verdict.is_allowed() {
        let why = verdict.first_failure().map(|check| format!(": {}", check.id)).unwrap_or_default();
        return format!("refused{why}{until}");
    }
    if verdict.would_deny.is_empty() {
        return format!("allowed{until}");
    }
    let would: Vec<&str> = verdict.would_deny.iter().map(|check| check.as_str()).collect();
    let audit = verdict.audit_until.map(|end| format!(", which ends at {end}")).unwrap_or_default();
    format!("allowed by audit mode{audit}; it would be refused: {}{until}", would.join(", "))
}

fn row(check: &Check) -> Vec<String> {
    let result = match check.result {
        Outcome::Pass => "ok",
        Outcome::Fail => "FAILED",
        Outcome::SkippedByException => "excepted",
        Outcome::NotApplicable => "-",
    };
    vec![
        check.id.to_string(),
        result.to_owned(),
        check.limit.as_ref().map(quantity).unwrap_or_default(),
        check.actual.as_ref().map(quantity).unwrap_or_default(),
        check.detail.clone(),
    ]
}

/// A limit or what is held against it, in words.
pub(super) fn quantity(quantity: &Quantity) -> String {
    match quantity {
        Quantity::Number(number) => number.to_string(),
        Quantity::Signed(number) => number.to_string(),
        Quantity::Text(text) => text.clone(),
        Quantity::Texts(texts) => texts.join(", "),
    }
}

/// One line on a failed check, for reports that have one.
pub(super) fn sentence(check: &Check) -> String {
    let mut text = if check.detail.is_empty() { check.id.to_string() } else { check.detail.clone() };
    if let Some(actual) = &check.actual {
        text += &format!("; found: {}", quantity(actual));
    }
    if let Some(limit) = &check.limit {
        text += &format!("; limit: {}", quantity(limit));
    }
    text
}

fn describe(exception: &AppliedException) -> String {
    let AppliedException { id, applied, void, expires, reason, approved_by, ticket } = exception;
    let state = match (void, applied) {
        (Some(void), _) => format!("not in force: {void}"),
        (None, true) => format!("in force until {expires}"),
        (None, false) => format!("not needed, in force until {expires}"),
    };
    let ticket = ticket.as_ref().map(|ticket| format!(", {ticket}")).unwrap_or_default();
    format!("{id}: {state} ({reason}; {approved_by}{ticket})")
}

/// What an exit code stands for is said once, by the first check that failed.
pub(super) fn name_of(check: &Check) -> String {
    let named = |evidence: &Evidence| {
        let attestation = evidence.attestation.clone()?;
        Some(match &evidence.platform {
            Some(platform) => format!("{attestation}, {platform}"),
            None => attestation,
        })
    };
    let id: CheckId = check.id;
    match check.evidence.iter().find_map(named) {
        Some(of) => format!("{id} ({of})"),
        None => id.to_string(),
    }
}
