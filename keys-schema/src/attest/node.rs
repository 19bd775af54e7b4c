//! A place in a report that knows its path, so that every complaint says where. Null is absent, as
//! Go's programs write it; a value of another kind than expected is refused, never skipped.

use serde_json::Value;

use super::InvalidReport;
use super::finding::{LONGEST_NAME, LONGEST_PURL};
use crate::digest::Sha256Digest;
use crate::json::{folds_alike, shown};
use crate::time::UtcTime;

/// A value in a report.
pub(super) struct Node<'a> {
    value: &'a Value,
    at: String,
}

impl<'a> Node<'a> {
    /// The whole report.
    pub(super) const fn root(value: &'a Value) -> Self {
        Self { value, at: String::new() }
    }

    /// The value itself.
    pub(super) const fn value(&self) -> &'a Value {
        self.value
    }

    /// Where it is, as a path from the top.
    pub(super) fn place(&self) -> &str {
        &self.at
    }

    /// A complaint about this place.
    pub(super) fn is_not(&self, expected: &'static str) -> InvalidReport {
        let at = if self.at.is_empty() { "the report".to_owned() } else { self.at.clone() };
        InvalidReport::Member { at, expected }
    }

    /// The member `name`, if it is there and not null. Scanners and those who read them are written in
    /// Go, which takes `vulnerabilities` for `Vulnerabilities`: what only they see would not be counted.
    pub(super) fn get(&self, name: &str) -> Result<Option<Self>, InvalidReport> {
        let members = self.value.as_object().ok_or_else(|| self.is_not("an object"))?;
        if let Some((other, value)) =
            members.iter().find(|(known, _)| *known != name && folds_alike(known, name))
        {
            return Err(self.below(&shown(other), value).is_not("spelled with these capitals"));
        }
        Ok(members.get(name).filter(|value| !value.is_null()).map(|value| self.below(name, value)))
    }

    /// The member `name`, which must be there.
    pub(super) fn member(&self, name: &str) -> Result<Self, InvalidReport> {
        self.get(name)?.ok_or_else(|| self.below(name, &Value::Null).is_not("there"))
    }

    /// The member behind a list of names, if all of them are there.
    pub(super) fn find(&self, names: &[&str]) -> Result<Option<Self>, InvalidReport> {
        let mut here = Self { value: self.value, at: self.at.clone() };
        for name in names {
            match here.get(name)? {
                Some(next) => here = next,
                None => return Ok(None),
            }
        }
        Ok(Some(here))
    }

    /// The text of this value.
    pub(super) fn text(&self) -> Result<&'a str, InvalidReport> {
        self.value.as_str().ok_or_else(|| self.is_not("a text"))
    }

    /// The text behind a list of names; an empty one is none.
    pub(super) fn find_text(&self, names: &[&str]) -> Result<Option<&'a str>, InvalidReport> {
        let Some(found) = self.find(names)? else { return Ok(None) };
        Ok(Some(found.text()?).filter(|text| !text.is_empty()))
    }

    /// This value as the identifier of a vulnerability.
    pub(super) fn identifier(&self) -> Result<&'a str, InvalidReport> {
        match self.text()? {
            "" => Err(self.is_not("an identifier")),
            text if text.len() > LONGEST_NAME => Err(self.is_not("an identifier of bearable length")),
            text => Ok(text),
        }
    }

    /// The name of a package behind a list of names; one that is too long is none.
    pub(super) fn find_name(&self, names: &[&str]) -> Result<Option<String>, InvalidReport> {
        let found = self.find_text(names)?.filter(|text| text.len() <= LONGEST_NAME);
        Ok(found.map(str::to_owned))
    }

    /// The package URL behind a list of names; one that is too long is none.
    pub(super) fn find_purl(&self, names: &[&str]) -> Result<Option<String>, InvalidReport> {
        let found = self.find_text(names)?.filter(|text| text.len() <= LONGEST_PURL);
        Ok(found.map(str::to_owned))
    }

    /// The truth value behind a list of names.
    pub(super) fn find_flag(&self, names: &[&str]) -> Result<Option<bool>, InvalidReport> {
        let Some(found) = self.find(names)? else { return Ok(None) };
        found.value.as_bool().map(Some).ok_or_else(|| found.is_not("true or false"))
    }

    /// The moment behind a list of names. An empty text, and the first moment of Go's calendar, mean
    /// that nobody set it.
    pub(super) fn find_time(&self, names: &[&str]) -> Result<Option<UtcTime>, InvalidReport> {
        let Some(found) = self.find(names)? else { return Ok(None) };
        match found.text()? {
            "" | "0001-01-01T00:00:00Z" => Ok(None),
            text => UtcTime::parse_rfc3339(text).map(Some).map_err(|_| found.is_not("a date and time")),
        }
    }

    /// The digest of this value, `sha256:` and hex, after anything up to the last `@`.
    pub(super) fn digest(&self) -> Result<Sha256Digest, InvalidReport> {
        let text = self.text()?;
        let digest = text.rsplit_once('@').map_or(text, |(_, digest)| digest);
        Sha256Digest::parse_oci(digest).map_err(|_| self.is_not("a SHA-256 digest"))
    }

    /// The digest in the member `name`; an empty text is none.
    pub(super) fn find_digest(&self, name: &str) -> Result<Option<Sha256Digest>, InvalidReport> {
        let Some(found) = self.get(name)? else { return Ok(None) };
        if found.text()?.is_empty() { Ok(None) } else { found.digest().map(Some) }
    }

    /// The digests in the array `name`. Empty texts, which scanners write for images that were never
    /// pulled, are none.
    pub(super) fn digests(&self, name: &str) -> Result<Vec<Sha256Digest>, InvalidReport> {
        let mut digests = Vec::new();
        for item in self.list(name)? {
            if !item.text()?.is_empty() {
                digests.push(item.digest()?);
            }
        }
        Ok(digests)
    }

    /// The items of this array.
    pub(super) fn items(&self) -> Result<impl Iterator<Item = Self> + use<'a>, InvalidReport> {
        let items = self.value.as_array().ok_or_else(|| self.is_not("an array"))?;
        let at = self.at.clone();
        Ok(items.iter().enumerate().map(move |(i, value)| Self { value, at: format!("{at}[{i}]") }))
    }

    /// The items of the array `name`; none where it is absent.
    pub(super) fn list(&self, name: &str) -> Result<impl Iterator<Item = Self> + use<'a>, InvalidReport> {
        let found = self.get(name)?.map(|list| list.items()).transpose()?;
        Ok(found.into_iter().flatten())
    }

    fn below(&self, name: &str, value: &'a Value) -> Self {
        let at = if self.at.is_empty() { name.to_owned() } else { format!("{}.{name}", self.at) };
        Self { value, at }
    }
}
