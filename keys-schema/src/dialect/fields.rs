//! Reading members of JSON objects, each with an error that says where.

use std::collections::BTreeSet;

use crate::json::{Json, Object, fold_case};

/// The bytes are JSON, but no metadata document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// Two members of one object differ in letter case only; Go would take either.
    #[error("{at} has two members that differ only in letter case: {name:?}")]
    CaseVariant {
        /// Where.
        at: String,
        /// One of the two names.
        name: String,
    },
    /// Not strict JSON.
    #[error(transparent)]
    Json(#[from] crate::json::InvalidJson),
    /// A member is missing, or is not what it must be.
    #[error("{at} must be {expected}")]
    Member {
        /// Where.
        at: String,
        /// What was expected there.
        expected: &'static str,
    },
    /// More entries than [`limits`](crate::limits) allow.
    #[error("{at} has too many entries")]
    TooMany {
        /// Where.
        at: String,
    },
    /// A member beside `signed` and `signatures`: unsigned text that some readers keep and
    /// some drop (Cure53 TUF-01-001).
    #[error("unsigned member {name:?} beside `signed` and `signatures`")]
    UnsignedMember {
        /// Its name.
        name: String,
    },
    /// The document is of another type or another version of the specification (C28).
    #[error("{member} is {found:?}, expected {expected}")]
    WrongKind {
        /// `_type` or `spec_version`.
        member: &'static str,
        /// What the document says.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
}

/// The members of one object, taken one by one; what is left is uninterpreted.
pub(crate) struct Fields<'a> {
    at: String,
    members: &'a Object,
    taken: BTreeSet<&'static str>,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Json, at: impl Into<String>) -> Result<Self, InvalidMetadata> {
        let at = at.into();
        match value.as_object() {
            Some(members) => Self::new(members, at),
            None => Err(InvalidMetadata::Member { at, expected: "an object" }),
        }
    }

    pub(crate) fn new(members: &'a Object, at: impl Into<String>) -> Result<Self, InvalidMetadata> {
        let at = at.into();
        // Names without upper case and beyond ASCII fold to themselves, and JSON objects here
        // have no duplicates: the common case costs nothing.
        let plain = |name: &String| name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
        if members.keys().all(plain) {
            return Ok(Self { at, members, taken: BTreeSet::new() });
        }
        let mut folded = BTreeSet::new();
        for name in members.keys() {
            if !folded.insert(fold_case(name)) {
                return Err(InvalidMetadata::CaseVariant { at, name: name.clone() });
            }
        }
        Ok(Self { at, members, taken: BTreeSet::new() })
    }

    /// The path of a member, for messages.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Json> {
        self.taken.insert(name);
        self.members.get(name)
    }

    /// A member that must be there, read by `read`.
    pub(crate) fn need<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<T, InvalidMetadata> {
        self.take(name).and_then(read).ok_or_else(|| self.wrong(name, expected))
    }

    /// A member that may be absent, read by `read` if it is there.
    pub(crate) fn optional<T>(
        &mut self,
        name: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, InvalidMetadata> {
        match self.take(name) {
            None => Ok(None),
            Some(value) => read(value).map(Some).ok_or_else(|| self.wrong(name, expected)),
        }
    }

    pub(crate) fn wrong(&self, name: &str, expected: &'static str) -> InvalidMetadata {
        InvalidMetadata::Member { at: self.path(name), expected }
    }

    /// The members nobody asked for. One that differs from a known name only in letter case
    /// is refused: Go's decoder would take it for the known one.
    pub(crate) fn rest(self) -> Result<Object, InvalidMetadata> {
        let known: BTreeSet<String> = self.taken.iter().map(|name| fold_case(name)).collect();
        let mut rest = Object::new();
        for (name, value) in self.members {
            if self.taken.contains(name.as_str()) {
                continue;
            }
            if known.contains(&fold_case(name)) {
                return Err(InvalidMetadata::CaseVariant { at: self.at, name: name.clone() });
            }
            refuse_case_variants(value, &format!("{}.{name}", self.at))?;
            rest.insert(name.clone(), value.clone());
        }
        Ok(rest)
    }
}

/// Applies the rule to uninterpreted values, at any depth.
pub(crate) fn refuse_case_variants(value: &Json, at: &str) -> Result<(), InvalidMetadata> {
    match value {
        Json::Array(items) => items.iter().try_for_each(|item| refuse_case_variants(item, at)),
        Json::Object(members) => {
            Fields::new(members, at)?;
            members.iter().try_for_each(|(name, inner)| refuse_case_variants(inner, &format!("{at}.{name}")))
        }
        _ => Ok(()),
    }
}
