//! The answer of a policy: one decision, and everything that led to it.

use serde::{Serialize, Serializer};

use super::CheckId;
use crate::digest::Sha256Digest;
use crate::names::SignerName;
use crate::time::UtcTime;

/// What a policy says of one image at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Whether the image may be used.
    pub decision: Decision,
    /// The digest that was judged, and the only one that may be used; nothing where there is none.
    #[serde(serialize_with = "digest")]
    pub digest: Option<Sha256Digest>,
    /// Which policy.
    pub policy: PolicyIdentity,
    /// The rule that was chosen; nothing where none is about the repository.
    pub rule: Option<String>,
    /// Every check, in order. One check can stand there more than once, with different evidence.
    pub checks: Vec<Check>,
    /// The exceptions that are for this repository, in force or not.
    pub exceptions: Vec<AppliedException>,
    /// What would have refused the image, had not an audit mode let it pass. Empty where nothing
    /// would, and where the image is refused.
    #[serde(serialize_with = "texts")]
    pub would_deny: Vec<CheckId>,
    /// When that audit mode ends.
    #[serde(serialize_with = "time")]
    pub audit_until: Option<UtcTime>,
    /// Until when the same question has the same answer, at the latest: the first moment at which
    /// something that was looked at expires. Nothing where nothing can be said, so ask again each time.
    #[serde(serialize_with = "time")]
    pub valid_until: Option<UtcTime>,
}

impl Verdict {
    /// The verdict of a policy that cannot be had: one check, which fails. `policy` says which it is.
    #[must_use]
    pub fn refused_by(policy: &str, check: CheckId, why: &str) -> Self {
        let check = Check {
            id: check,
            result: Outcome::Fail,
            detail: why.to_owned(),
            limit: None,
            actual: None,
            evidence: vec![],
        };
        Self {
            decision: Decision::Deny,
            digest: None,
            policy: PolicyIdentity { name: policy.to_owned(), version: None },
            rule: None,
            checks: vec![check],
            exceptions: vec![],
            would_deny: vec![],
            audit_until: None,
            valid_until: None,
        }
    }

    /// Whether the image may be used.
    #[must_use]
    pub fn is_allowed(&self) -> bool {
        self.decision == Decision::Allow
    }

    /// The first check that fails, in the order of [`CheckId`]. Where the image is refused it is the
    /// one that decides; where an audit mode lets it pass, the one that would.
    #[must_use]
    pub fn first_failure(&self) -> Option<&Check> {
        self.checks.iter().find(|check| check.result == Outcome::Fail)
    }
}

/// Whether an image may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// Which policy was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PolicyIdentity {
    /// Its name.
    pub name: String,
    /// Its version, if it has one.
    pub version: Option<u64>,
}

/// One check and how it went.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// Which.
    #[serde(serialize_with = "text")]
    pub id: CheckId,
    /// How it went.
    pub result: Outcome,
    /// What was found, in words; empty where there is nothing to say.
    pub detail: String,
    /// What the policy asks for, where that is a number, a time, or a list of words.
    pub limit: Option<Quantity>,
    /// What there is.
    pub actual: Option<Quantity>,
    /// What it was read from.
    pub evidence: Vec<Evidence>,
}

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It holds.
    Pass,
    /// It does not hold.
    Fail,
    /// It does not hold, and an exception says that it need not.
    SkippedByException,
    /// The policy does not ask for it, or what it would look at is not there because another check
    /// failed.
    NotApplicable,
}

/// A limit, or what is held against it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Quantity {
    /// A number: of findings, signers, bytes or seconds.
    Number(u64),
    /// A number that can be below zero.
    Signed(i64),
    /// A text, a moment among them.
    Text(String),
    /// Several texts.
    Texts(Vec<String>),
}

impl From<u64> for Quantity {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Quantity {
    fn from(number: usize) -> Self {
        Self::Number(u64::try_from(number).unwrap_or(u64::MAX))
    }
}

impl From<UtcTime> for Quantity {
    fn from(time: UtcTime) -> Self {
        Self::Text(time.to_string())
    }
}

impl From<&str> for Quantity {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A document that a check looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The attestation entry of the rule that it serves, if it is an attestation.
    pub attestation: Option<String>,
    /// Who signed it.
    #[serde(serialize_with = "name")]
    pub signer: Option<SignerName>,
    /// The digest of its bytes: of the envelope of an attestation.
    #[serde(serialize_with = "digest")]
    pub digest: Option<Sha256Digest>,
    /// The image of an index that it was used for, as `linux/amd64`, where it is for one of several.
    pub platform: Option<String>,
    /// Of when it is.
    #[serde(serialize_with = "time")]
    pub at: Option<UtcTime>,
}

/// An exception that is for the repository in question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AppliedException {
    /// Its name.
    pub id: String,
    /// Whether it let something pass that would have failed.
    pub applied: bool,
    /// Why it is not in force; nothing where it is.
    pub void: Option<String>,
    /// When it ends.
    #[serde(serialize_with = "some_time")]
    pub expires: UtcTime,
    /// Why it was made.
    pub reason: String,
    /// Who agreed to it.
    pub approved_by: String,
    /// Where it was discussed.
    pub ticket: Option<String>,
}

fn text<S: Serializer>(check: &CheckId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(check.as_str())
}

fn texts<S: Serializer>(checks: &[CheckId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(checks.iter().map(|check| check.as_str()))
}

fn name<S: Serializer>(name: &Option<SignerName>, serializer: S) -> Result<S::Ok, S::Error> {
    name.as_ref().map(SignerName::as_str).serialize(serializer)
}

fn digest<S: Serializer>(digest: &Option<Sha256Digest>, serializer: S) -> Result<S::Ok, S::Error> {
    digest.map(|digest| digest.to_oci()).serialize(serializer)
}

fn time<S: Serializer>(time: &Option<UtcTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_string()).serialize(serializer)
}

fn some_time<S: Serializer>(time: &UtcTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(time)
}
