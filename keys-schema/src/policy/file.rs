//! A policy as it is written, in TOML or JSON: names, types and nothing else. What it means is for
//! [`super::load`].

use std::collections::BTreeMap;
use std::fmt::{self, Display};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::value::Datetime;

use super::glob::{RegistryPattern, TagGlob};
use super::invalid::PolicyError;
use super::units::{Size, Span};
use super::{CheckId, Scope};
use crate::digest::Sha256Digest;
use crate::json::Json;
use crate::key::Fingerprint;
use crate::limits::POLICY_BYTES;
use crate::names::SignerName;
use crate::time::UtcTime;

/// How the toml crate hands dates over; no name that a file may use.
const DATE_OF_TOML: &str = "$__toml_private_datetime";

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) policy: u64,
    pub(super) name: String,
    pub(super) version: Option<u64>,
    pub(super) default: Option<DefaultWord>,
    pub(super) mode: Option<ModeWord>,
    pub(super) audit_until: Option<Moment>,
    pub(super) exception_max: Option<Text<Span>>,
    #[serde(default)]
    pub(super) registries: RegistriesEntry,
    #[serde(default)]
    pub(super) trust: BTreeMap<String, TrustEntry>,
    #[serde(default)]
    pub(super) groups: BTreeMap<String, Vec<Text<SignerName>>>,
    #[serde(default)]
    pub(super) rule: Vec<RuleEntry>,
    #[serde(default)]
    pub(super) exception: Vec<ExceptionEntry>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum DefaultWord {
    Deny,
    Audit,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum ModeWord {
    Enforce,
    Audit,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistriesEntry {
    pub(super) allow: Option<Vec<Text<RegistryPattern>>>,
    #[serde(default)]
    pub(super) block: Vec<Text<RegistryPattern>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustEntry {
    pub(super) server: Option<String>,
    pub(super) root: Option<OciDigest>,
    pub(super) root_keys: Option<Vec<Text<Fingerprint>>>,
    pub(super) root_threshold: Option<usize>,
    pub(super) metadata_max_age: Option<Text<Span>>,
    pub(super) offline_grace: Option<Text<Span>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RuleEntry {
    pub(super) name: String,
    #[serde(rename = "match")]
    pub(super) scopes: Vec<Text<Scope>>,
    pub(super) mode: Option<ModeWord>,
    pub(super) audit_until: Option<Moment>,
    #[serde(default)]
    pub(super) require_digest: bool,
    pub(super) tags: Option<Vec<Text<TagGlob>>>,
    #[serde(default)]
    pub(super) deny_tags: Vec<Text<TagGlob>>,
    pub(super) signing: SigningEntry,
    #[serde(default)]
    pub(super) attestation: Vec<AttestationEntry>,
    #[serde(default)]
    pub(super) image: ImageEntry,
    pub(super) base: Option<BaseEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SigningEntry {
    pub(super) required: bool,
    pub(super) signers: Option<Vec<String>>,
    pub(super) threshold: Option<usize>,
    pub(super) must_include: Option<Vec<String>>,
    pub(super) max_signature_age: Option<Text<Span>>,
    pub(super) platforms: Option<PlatformsWord>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum PlatformsWord {
    Requested,
    All,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AttestationEntry {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: Option<TypeWord>,
    pub(super) predicate: Option<String>,
    pub(super) signers: Vec<String>,
    pub(super) max_age: Option<Text<Span>>,
    pub(super) db_max_age: Option<Text<Span>>,
    pub(super) max_critical: Option<u64>,
    pub(super) max_high: Option<u64>,
    pub(super) max_medium: Option<u64>,
    pub(super) max_low: Option<u64>,
    pub(super) max_total: Option<u64>,
    pub(super) min_score: Option<u64>,
    pub(super) max_secrets: Option<u64>,
    pub(super) deny_eol_os: Option<bool>,
    pub(super) unknown_as: Option<SeverityWord>,
    pub(super) count_by: Option<CountWord>,
    pub(super) fix_within: Option<FixEntry>,
    pub(super) rating_source: Option<Vec<String>>,
    pub(super) vex_signers: Option<Vec<String>>,
    pub(super) require: Option<BTreeMap<String, Scalar>>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum TypeWord {
    Vulns,
    Sbom,
    Vex,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum SeverityWord {
    Critical,
    High,
    Medium,
    Low,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(super) enum CountWord {
    Finding,
    Cve,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FixEntry {
    pub(super) critical: Option<Text<Span>>,
    pub(super) high: Option<Text<Span>>,
    pub(super) medium: Option<Text<Span>>,
    pub(super) low: Option<Text<Span>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ImageEntry {
    pub(super) user: Option<UserWord>,
    #[serde(default)]
    pub(super) required_labels: Vec<String>,
    pub(super) max_size: Option<Text<Size>>,
    pub(super) max_unpacked_size: Option<Text<Size>>,
    pub(super) max_layers: Option<u64>,
}

#[derive(Clone, Copy, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum UserWord {
    NonRoot,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BaseEntry {
    pub(super) allow: Vec<Text<Scope>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExceptionEntry {
    pub(super) id: String,
    #[serde(rename = "match")]
    pub(super) scopes: Vec<Text<Scope>>,
    pub(super) checks: Vec<Text<CheckId>>,
    pub(super) vulnerabilities: Option<Vec<String>>,
    pub(super) created: Option<Moment>,
    pub(super) expires: Moment,
    pub(super) reason: String,
    pub(super) approved_by: String,
    pub(super) ticket: Option<String>,
}

/// A value that a predicate has to hold: no list, no table, no fraction.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(untagged, expecting = "a required value is a whole number, a text, true or false")]
pub(super) enum Scalar {
    Flag(bool),
    Number(i64),
    Text(String),
}

impl File {
    /// Reads JSON where the text begins like an object, and TOML otherwise.
    ///
    /// # Errors
    /// Too long, neither of them, a member twice, unknown, missing or of another type.
    pub(super) fn parse(text: &str) -> Result<Self, PolicyError> {
        if text.len() > POLICY_BYTES {
            return Err(PolicyError::TooLarge);
        }
        if text.trim_start().starts_with('{') { Self::of_json(text) } else { Self::of_toml(text) }
    }

    fn of_toml(text: &str) -> Result<Self, PolicyError> {
        toml::from_str(text).map_err(|error| {
            let (line, column) = position(text, error.span().map_or(0, |span| span.start));
            PolicyError::Form { line, column, message: one_line(error.message()) }
        })
    }

    fn of_json(text: &str) -> Result<Self, PolicyError> {
        let at_top = |message: String| PolicyError::Form { line: 1, column: 1, message };
        // Strictly first: serde takes the last of two members of a map.
        let strict = Json::parse(text.as_bytes()).map_err(|error| at_top(error.to_string()))?;
        if has_strange(&strict) {
            return Err(at_top("null is no value of a policy".to_owned()));
        }
        serde_json::from_str(text).map_err(|error| PolicyError::Form {
            line: error.line(),
            column: error.column(),
            message: without_position(&error.to_string()),
        })
    }
}

/// Whether there is a value that TOML cannot hold, or only in disguise.
fn has_strange(value: &Json) -> bool {
    match value {
        Json::Null => true,
        Json::Array(items) => items.iter().any(has_strange),
        Json::Object(members) => {
            members.iter().any(|(name, value)| name == DATE_OF_TOML || has_strange(value))
        }
        _ => false,
    }
}

fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn without_position(message: &str) -> String {
    one_line(message.rsplit_once(" at line ").map_or(message, |(head, _)| head))
}

/// A value that is written as a text.
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<T>(PhantomData<T>);
        impl<T: FromStr<Err: Display>> Visitor<'_> for Words<T> {
            type Value = Text<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
                text.parse().map(Text).map_err(|error| E::custom(format_args!("{text:?}: {error}")))
            }
        }
        deserializer.deserialize_str(Words(PhantomData))
    }
}

/// A digest as registries write it.
pub(super) struct OciDigest(pub(super) Sha256Digest);

impl<'de> Deserialize<'de> for OciDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Sha256Digest::parse_oci(&text)
            .map(Self)
            .map_err(|_| D::Error::custom("not a digest: write sha256: and 64 hex digits in small letters"))
    }
}

/// A moment in UTC: a date and time of TOML that ends in `Z`, or the same as a text.
#[derive(Clone, Copy)]
pub(super) struct Moment(pub(super) UtcTime);

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Date;
        impl<'de> Visitor<'de> for Date {
            type Value = Moment;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a date and time in UTC, like 2030-01-31T00:00:00Z")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Moment, E> {
                text.parse().map(Moment).map_err(|error| E::custom(format_args!("{text:?}: {error}, in UTC")))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Moment, A::Error> {
                let date = Datetime::deserialize(MapAccessDeserializer::new(map))?;
                self.visit_str(&date.to_string())
            }
        }
        deserializer.deserialize_any(Date)
    }
}
