//! In-toto statements: which artifacts, and what is said of them. Version 1, and 0.1, which cosign
//! still writes.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::tree;
use crate::digest::Sha256Digest;
use crate::json::{folds_alike, shown};
use crate::limits::STATEMENT_SUBJECTS;

/// The type that is written.
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// The type that is read besides.
const OLD_STATEMENT: &str = "https://in-toto.io/Statement/v0.1";
/// What a statement consists of; no other member may pass for one of these.
const MEMBERS: [&str; 4] = ["_type", "subject", "predicateType", "predicate"];

/// A statement, with its predicate as it came.
#[derive(Clone, Debug)]
pub struct Statement<'a> {
    subjects: Vec<Sha256Digest>,
    predicate_type: String,
    predicate: &'a RawValue,
}

impl<'a> Statement<'a> {
    /// Reads a statement.
    ///
    /// # Errors
    /// No JSON object, a member twice in whatever letters, another type, or no subject that is named
    /// by SHA-256.
    pub fn parse(payload: &'a [u8]) -> Result<Self, InvalidStatement> {
        let members = Members::parse(payload).ok_or(InvalidStatement::Json)?;
        members.require_no_lookalike()?;
        let kind = members.text("_type").ok_or(InvalidStatement::Member { name: "_type" })?;
        if !matches!(kind.as_str(), STATEMENT | OLD_STATEMENT) {
            return Err(InvalidStatement::OtherType { found: shown(&kind) });
        }
        let predicate_type = members.text("predicateType").filter(|text| !text.is_empty());
        let predicate_type = predicate_type.ok_or(InvalidStatement::Member { name: "predicateType" })?;
        let predicate = members.get("predicate").ok_or(InvalidStatement::Member { name: "predicate" })?;
        let subject = members.get("subject").and_then(|raw| tree::parse(raw.get().as_bytes()).ok());
        let subjects = subjects(subject.as_ref().ok_or(InvalidStatement::Member { name: "subject" })?)?;
        Ok(Self { subjects, predicate_type, predicate })
    }

    /// The digests of the subjects, in their order.
    #[must_use]
    pub fn subjects(&self) -> &[Sha256Digest] {
        &self.subjects
    }

    /// What kind of thing is said, a URI.
    #[must_use]
    pub fn predicate_type(&self) -> &str {
        &self.predicate_type
    }

    /// What is said, as JSON text, byte for byte.
    #[must_use]
    pub fn predicate(&self) -> &'a str {
        self.predicate.get()
    }
}

/// The text of a statement about one image. `predicate` goes in as it is.
///
/// # Errors
/// `predicate` is not one strict JSON object.
pub fn write_statement(
    name: &str,
    subject: Sha256Digest,
    predicate_type: &str,
    predicate: &str,
) -> Result<Vec<u8>, super::InvalidReport> {
    let value = tree::parse(predicate.as_bytes())?;
    if !value.is_object() {
        return Err(super::InvalidReport::Member { at: "the predicate".to_owned(), expected: "an object" });
    }
    let (kind, name, predicate_type) = (quoted(STATEMENT), quoted(name), quoted(predicate_type));
    let head = format!(
        r#"{{"_type":{kind},"subject":[{{"name":{name},"digest":{{"sha256":"{subject}"}}}}],"predicateType":{predicate_type},"predicate":"#
    );
    Ok([head.as_bytes(), predicate.trim().as_bytes(), b"}"].concat())
}

/// A text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// The members of an object as they came, each of them once.
pub(super) struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'a> Members<'a> {
    /// `None` for what is no JSON object, or has a member twice.
    pub(super) fn parse(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// The text of a member.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.get(name).copied()
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Go's programs take `Predicate` for `predicate`, and would judge another one than we do.
    fn require_no_lookalike(&self) -> Result<(), InvalidStatement> {
        let passes =
            |name: &str| MEMBERS.into_iter().find(|known| name != *known && folds_alike(name, known));
        let lookalike = self.0.keys().find_map(|name| passes(name));
        lookalike.map_or(Ok(()), |name| Err(InvalidStatement::Lookalike { name }))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(text: D) -> Result<Self, D::Error> {
        text.deserialize_map(MembersVisitor).map(Members)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = BTreeMap<String, &'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut read = BTreeMap::new();
        while let Some((name, value)) = members.next_entry::<String, &'de RawValue>()? {
            if read.insert(name, value).is_some() {
                return Err(A::Error::custom("a member is there twice"));
            }
        }
        Ok(read)
    }
}

/// Subjects without a SHA-256 name nothing that an image could be.
fn subjects(listed: &Value) -> Result<Vec<Sha256Digest>, InvalidStatement> {
    let member = InvalidStatement::Member { name: "subject" };
    let listed = listed.as_array().ok_or_else(|| member.clone())?;
    if listed.len() > STATEMENT_SUBJECTS {
        return Err(InvalidStatement::TooManySubjects { subjects: listed.len() });
    }
    let mut digests = Vec::new();
    for subject in listed {
        let Some(digest) = subject.as_object().and_then(|subject| subject.get("digest")) else {
            return Err(member);
        };
        let Some(hex) = digest.as_object().ok_or_else(|| member.clone())?.get("sha256") else { continue };
        let hex = hex.as_str().and_then(|hex| hex.parse().ok());
        digests.push(hex.ok_or_else(|| member.clone())?);
    }
    if digests.is_empty() { Err(InvalidStatement::NoSubject) } else { Ok(digests) }
}

/// Why a payload is no statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStatement {
    /// No JSON object, or one with a member that is there twice.
    #[error("the statement is no JSON object whose members are there once")]
    Json,
    /// A member that other programs take for the one that is read here.
    #[error("the statement has a second {name} in other letters")]
    Lookalike {
        /// The member it passes for.
        name: &'static str,
    },
    /// A member is missing or of another kind.
    #[error("the statement has no proper {name}")]
    Member {
        /// The member.
        name: &'static str,
    },
    /// No subject has a SHA-256 digest.
    #[error("the statement names no subject by SHA-256")]
    NoSubject,
    /// Not an in-toto statement of a known version.
    #[error("the statement is of type {found}")]
    OtherType {
        /// Its type.
        found: String,
    },
    /// More subjects than a statement may have.
    #[error("the statement has {subjects} subjects, more than {STATEMENT_SUBJECTS}")]
    TooManySubjects {
        /// How many it has.
        subjects: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Sha256Digest {
        Sha256Digest::of(b"image")
    }

    fn text() -> String {
        let statement =
            write_statement("reg/app", digest(), "https://example.com/t", r#"{"a":1.50}"#).unwrap();
        String::from_utf8(statement).unwrap()
    }

    #[test]
    fn what_is_written_is_read_with_its_bytes() {
        let text = text();
        let statement = Statement::parse(text.as_bytes()).unwrap();
        assert_eq!(statement.subjects(), [digest()]);
        assert_eq!(statement.predicate_type(), "https://example.com/t");
        assert_eq!(statement.predicate(), r#"{"a":1.50}"#, "not a digit is written anew");
        assert!(Statement::parse(text.replace("Statement/v1", "Statement/v0.1").as_bytes()).is_ok());
    }

    #[test]
    fn no_text_breaks_out_of_its_place() {
        for bad in ["", "{}}", "{},\"x\":{}", "[]", "1", "{\"a\":1,\"a\":2}", "{} {}"] {
            assert!(write_statement("n", digest(), "t", bad).is_err(), "{bad}");
        }
        let odd = write_statement("a\"b\\\n", digest(), "u\"v", "{}").unwrap();
        assert_eq!(Statement::parse(&odd).unwrap().predicate_type(), "u\"v");
    }

    #[test]
    fn texts_with_two_meanings_are_refused() {
        let text = text();
        for (member, name) in [("_type", "_TYPE"), ("subject", "Subject"), ("predicate", "predicat\u{0}e")] {
            let twice = text.replace(&format!("\"{member}\":"), &format!("\"{member}\":0,\"{member}\":"));
            assert_eq!(Statement::parse(twice.as_bytes()).unwrap_err(), InvalidStatement::Json, "{member}");
            let lookalike = text.replacen('{', &format!("{{\"{}\":0,", name.replace('\u{0}', "")), 1);
            assert!(Statement::parse(lookalike.as_bytes()).is_err(), "{name}");
        }
        for (from, to, why) in [
            ("https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v2", "another version"),
            ("\"predicate\":", "\"predicates\":", "no predicate"),
            ("\"sha256\":", "\"sha512\":", "no digest that could be an image's"),
            ("\"sha256\":\"", "\"sha256\":\"0", "a longer digest"),
            ("\"digest\":{", "\"digest\":{\"sha256\":\"\",", "a digest twice"),
            ("\"subject\":[", "\"subject\":[7,", "a subject that is a number"),
        ] {
            assert!(text.contains(from), "{from}");
            assert!(Statement::parse(text.replace(from, to).as_bytes()).is_err(), "{why}");
        }
        let upper = text.replace(&digest().to_string(), &digest().to_string().to_uppercase());
        assert_eq!(
            Statement::parse(upper.as_bytes()).unwrap_err(),
            InvalidStatement::Member { name: "subject" }
        );
        for bad in ["", "[]", "null", "{}", "[\"a\"]", &format!("{text} {text}")] {
            assert!(Statement::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let many = vec![r#"{"digest":{"sha512":""}}"#; STATEMENT_SUBJECTS + 1].join(",");
        let many = text.replace("\"subject\":[", &format!("\"subject\":[{many},"));
        assert!(matches!(Statement::parse(many.as_bytes()), Err(InvalidStatement::TooManySubjects { .. })));
    }
}
