//! Reading members of JSON objects, each with an error that says where.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use smallvec::SmallVec;

use crate::json::{Json, Object, fold_case, folds_alike, is_name, shown};

/// The bytes are JSON, but no metadata document.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// Two members of one object differ in letter case only; Go would take either.
    #[error("{} has two members that differ only in letter case: \"{}\"", shown(at), shown(name))]
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
    #[error("{} must be {expected}", shown(at))]
    Member {
        /// Where.
        at: String,
        /// What was expected there.
        expected: &'static str,
    },
    /// More entries than [`limits`](crate::limits) allow.
    #[error("{} has too many entries", shown(at))]
    TooMany {
        /// Where.
        at: String,
    },
    /// A member beside `signed` and `signatures`: unsigned text that some readers keep and
    /// some drop (Cure53 TUF-01-001).
    #[error("unsigned member \"{}\" beside `signed` and `signatures`", shown(name))]
    UnsignedMember {
        /// Its name.
        name: String,
    },
    /// The document is of another type or another version of the specification (C28).
    #[error("{member} is \"{}\", expected {expected}", shown(found))]
    WrongKind {
        /// `_type` or `spec_version`.
        member: &'static str,
        /// What the document says.
        found: String,
        /// What was asked for.
        expected: &'static str,
    },
}

/// Where a value stands, for messages: put together only when there is something to say.
#[derive(Clone)]
pub(crate) enum At<'a> {
    Place(Cow<'a, str>),
    Below(&'a Self, &'a str),
}

impl<'a> At<'a> {
    /// The place of a member.
    pub(crate) const fn below(&'a self, name: &'a str) -> Self {
        Self::Below(self, name)
    }
}

impl<'a> From<&'a str> for At<'a> {
    fn from(place: &'a str) -> Self {
        Self::Place(Cow::Borrowed(place))
    }
}

impl From<String> for At<'_> {
    fn from(place: String) -> Self {
        Self::Place(Cow::Owned(place))
    }
}

impl fmt::Display for At<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(place) => f.write_str(place),
            Self::Below(outer, name) => write!(f, "{outer}.{name}"),
        }
    }
}

/// Most names that are taken of one object: so many need no room of their own. A document has three objects
/// for every target.
const TAKEN: usize = 10;

/// The members of one object, taken one by one; what is left is uninterpreted.
pub(crate) struct Fields<'a> {
    at: At<'a>,
    members: &'a Object,
    /// The names that were asked for, each once.
    taken: SmallVec<[&'static str; TAKEN]>,
    /// How many of them are there.
    found: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn of(value: &'a Json, at: impl Into<At<'a>>) -> Result<Self, InvalidMetadata> {
        let at = at.into();
        match value.as_object() {
            Some(members) => Self::new(members, at),
            None => Err(InvalidMetadata::Member { at: at.to_string(), expected: "an object" }),
        }
    }

    pub(crate) fn new(members: &'a Object, at: impl Into<At<'a>>) -> Result<Self, InvalidMetadata> {
        let at = at.into();
        match second_spelling(members) {
            Some(name) => Err(InvalidMetadata::CaseVariant { at: at.to_string(), name: name.to_owned() }),
            None => Ok(Self { at, members, taken: SmallVec::new(), found: 0 }),
        }
    }

    /// Where a member stands.
    pub(crate) const fn at<'s>(&'s self, name: &'s str) -> At<'s> {
        self.at.below(name)
    }

    /// The path of a member, for messages.
    pub(crate) fn path(&self, name: &str) -> String {
        self.at(name).to_string()
    }

    pub(crate) fn take(&mut self, name: &'static str) -> Option<&'a Json> {
        let value = self.members.get(name);
        if !self.taken.iter().any(|taken| is_name(taken, name)) {
            self.taken.push(name);
            self.found += usize::from(value.is_some());
        }
        value
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
        if self.found == self.members.len() {
            return Ok(Object::new());
        }
        let left = self.members.iter().filter(|(name, _)| !self.taken.contains(name));
        left.map(|(name, value)| {
            if self.taken.iter().any(|known| folds_alike(known, name)) {
                return Err(InvalidMetadata::CaseVariant { at: self.at.to_string(), name: name.to_owned() });
            }
            match case_variant(value) {
                Some((path, variant)) => Err(case_variant_at(&self.path(name), path, variant)),
                None => Ok((name.to_owned(), value.clone())),
            }
        })
        .collect()
    }
}

/// Applies the rule to uninterpreted values, at any depth.
pub(crate) fn refuse_case_variants(value: &Json, at: &str) -> Result<(), InvalidMetadata> {
    match case_variant(value) {
        Some((path, name)) => Err(case_variant_at(at, path, name)),
        None => Ok(()),
    }
}

/// Names without upper case and beyond ASCII fold to themselves, as the usual ones do, and JSON objects here
/// have no duplicates: the common case costs nothing.
fn second_spelling(members: &Object) -> Option<&str> {
    let plain = |name: &str| name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase());
    if members.unusual_keys().all(plain) {
        return None;
    }
    let mut folded = BTreeSet::new();
    members.keys().find(|name| !folded.insert(fold_case(name)))
}

/// The first name with a second spelling, and the way to it, innermost part first. The way is
/// put together only when there is something to say: a name of megabytes above as many members
/// would otherwise be copied once for each of them.
fn case_variant(value: &Json) -> Option<(Vec<&str>, &str)> {
    match value {
        Json::Array(items) => items.iter().find_map(case_variant),
        Json::Object(members) => match second_spelling(members) {
            Some(name) => Some((Vec::new(), name)),
            None => members.iter().find_map(|(name, inner)| {
                let (mut path, variant) = case_variant(inner)?;
                path.push(name);
                Some((path, variant))
            }),
        },
        _ => None,
    }
}

fn case_variant_at(at: &str, path: Vec<&str>, name: &str) -> InvalidMetadata {
    let at = path.into_iter().rev().fold(at.to_owned(), |at, part| format!("{at}.{part}"));
    InvalidMetadata::CaseVariant { at, name: name.to_owned() }
}
