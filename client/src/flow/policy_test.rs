//! Tests of a policy: images that are made up, with all that is known of them, and what the policy
//! is expected to say.

mod case;

use std::collections::BTreeMap;
use std::fmt;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Platform;
use bulla_keys_schema::names::{ImageRef, SignerName};
use bulla_keys_schema::policy::{Case, CheckId, Verdict};
use bulla_keys_schema::time::UtcTime;
use serde::{Deserialize, Deserializer};

/// Largest file of tests, in bytes.
pub const FILE_BYTES: usize = 1024 * 1024;
/// The one version of the format.
const FORMAT: u64 = 1;

/// Reads what a test names, and nothing else.
pub trait Material {
    /// The bytes of a file, `limit` of them at most.
    ///
    /// # Errors
    /// What the system says.
    fn read(&self, name: &str, limit: usize) -> Result<Vec<u8>, String>;
}

/// A file of tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Suite {
    tests: u64,
    policy: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    now: Option<UtcTime>,
    case: Vec<CaseEntry>,
}

/// One image, and what is expected.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseEntry {
    name: String,
    #[serde(deserialize_with = "parsed")]
    image: ImageRef,
    #[serde(default, deserialize_with = "some_parsed")]
    platform: Option<Platform>,
    #[serde(default, deserialize_with = "moment")]
    now: Option<UtcTime>,
    expect: ExpectWord,
    #[serde(default, deserialize_with = "some_parsed")]
    check: Option<CheckId>,
    rule: Option<String>,
    refused: Option<RefusedEntry>,
    signed: Option<SignedEntry>,
    facts: Option<FactsEntry>,
    #[serde(default)]
    attestation: Vec<AttestationEntry>,
    #[serde(default)]
    first_seen: BTreeMap<String, MomentEntry>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ExpectWord {
    Allow,
    Audit,
    Deny,
}

/// The trust metadata refuses the image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RefusedEntry {
    #[serde(deserialize_with = "parsed")]
    check: CheckId,
    #[serde(default)]
    message: String,
}

/// The trust metadata vouches for it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SignedEntry {
    #[serde(default, deserialize_with = "digest")]
    digest: Option<Sha256Digest>,
    size: Option<u64>,
    #[serde(default)]
    by: Vec<VoucherEntry>,
    #[serde(default, deserialize_with = "moment")]
    fresh_at: Option<UtcTime>,
    #[serde(default)]
    offline: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct VoucherEntry {
    #[serde(deserialize_with = "parsed")]
    signer: SignerName,
    #[serde(default, deserialize_with = "moment")]
    at: Option<UtcTime>,
}

/// What the image is; with children, it is an index.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FactsEntry {
    #[serde(default)]
    user: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    layers: u64,
    base: Option<String>,
    #[serde(default, deserialize_with = "some_parsed")]
    platform: Option<Platform>,
    #[serde(default, deserialize_with = "digest")]
    digest: Option<Sha256Digest>,
    #[serde(default)]
    child: Vec<Self>,
}

/// Something that an attester lists for the image.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AttestationEntry {
    #[serde(deserialize_with = "parsed")]
    signer: SignerName,
    #[serde(default, deserialize_with = "moment")]
    at: Option<UtcTime>,
    /// A report, as the scanner wrote it.
    report: Option<String>,
    /// An envelope; its signature is not looked at.
    envelope: Option<String>,
    /// Any predicate.
    predicate: Option<serde_json::Value>,
    predicate_type: Option<String>,
    /// Why it does not count, for one that does not.
    #[serde(default, deserialize_with = "some_parsed")]
    unusable: Option<CheckId>,
    /// Another image that it is about.
    #[serde(default, deserialize_with = "digest")]
    subject: Option<Sha256Digest>,
    /// The arguments of the scanner, and of when its database is, where the report does not say it.
    arguments: Option<String>,
    #[serde(default, deserialize_with = "moment")]
    database_at: Option<UtcTime>,
}

/// A moment among others.
#[derive(Clone, Copy, Debug)]
struct MomentEntry(UtcTime);

/// A case, ready to be judged.
#[derive(Clone, Debug)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// What is known of the image.
    pub case: Case,
    /// When it is judged.
    pub now: UtcTime,
    /// What is expected.
    pub expected: Expected,
}

/// What a policy is expected to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    decision: &'static str,
    check: Option<CheckId>,
    rule: Option<String>,
}

impl Expected {
    /// Whether `verdict` is what is expected.
    #[must_use]
    pub fn is(&self, verdict: &Verdict) -> bool {
        self.like(verdict) == *self
    }

    /// What `verdict` is, in the members that are expected.
    #[must_use]
    pub fn like(&self, verdict: &Verdict) -> Self {
        let decision = match (verdict.is_allowed(), verdict.would_deny.is_empty()) {
            (true, true) => "allow",
            (true, false) => "audit",
            (false, _) => "deny",
        };
        let failed = verdict.first_failure().map(|check| check.id);
        let check = failed.filter(|_| self.check.is_some() || decision != self.decision);
        Self { decision, check, rule: verdict.rule.clone().filter(|_| self.rule.is_some()) }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.decision)?;
        if let Some(check) = self.check {
            write!(f, " {check}")?;
        }
        self.rule.as_ref().map_or(Ok(()), |rule| write!(f, " by {rule}"))
    }
}

impl Suite {
    /// Reads TOML, or JSON of the same shape.
    ///
    /// # Errors
    /// Anything unknown, missing or of another type.
    pub fn parse(text: &str) -> Result<Self, InvalidTests> {
        let form = |reason: String| InvalidTests::Form { reason };
        let suite: Self = if text.trim_start().starts_with('{') {
            serde_json::from_str(text).map_err(|error| form(error.to_string()))?
        } else {
            toml::from_str(text).map_err(|error| form(error.to_string()))?
        };
        if suite.tests != FORMAT {
            return Err(InvalidTests::Format { found: suite.tests });
        }
        Ok(suite)
    }

    /// The policy that the file names, next to it.
    #[must_use]
    pub fn policy(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// All cases. One that does not say when it is judged is judged at `now`.
    ///
    /// # Errors
    /// A case contradicts itself, or names a file that cannot be used.
    pub fn plan(&self, material: &dyn Material, now: UtcTime) -> Result<Vec<Planned>, InvalidTests> {
        self.case.iter().map(|entry| entry.plan(material, self.now.unwrap_or(now))).collect()
    }
}

fn parsed<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
}

fn some_parsed<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: std::str::FromStr<Err: fmt::Display>,
    D: Deserializer<'de>,
{
    parsed(deserializer).map(Some)
}

fn digest<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Sha256Digest>, D::Error> {
    let text = String::deserialize(deserializer)?;
    Sha256Digest::parse_oci(&text).map(Some).map_err(serde::de::Error::custom)
}

fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UtcTime>, D::Error> {
    MomentEntry::deserialize(deserializer).map(|MomentEntry(moment)| Some(moment))
}

impl<'de> Deserialize<'de> for MomentEntry {
    /// A date of TOML, or the same as a text.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Text(String),
            Date(toml::value::Datetime),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Text(text) => text,
            Written::Date(date) => date.to_string(),
        };
        text.parse().map(Self).map_err(|error| serde::de::Error::custom(format!("{text:?}: {error}")))
    }
}

/// Tests that mean nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTests {
    /// A case contradicts itself.
    #[error("case {name:?}: {fault}")]
    Case {
        /// The case.
        name: String,
        /// What is wrong.
        fault: String,
    },
    /// Neither TOML nor JSON of the right shape.
    #[error("{}", reason.trim_end())]
    Form {
        /// Where and why.
        reason: String,
    },
    /// Of another time.
    #[error("tests = {found} is not known here, only {FORMAT}")]
    Format {
        /// What the file says.
        found: u64,
    },
}
