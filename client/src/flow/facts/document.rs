//! JSON of images, read so that it has one meaning for us and for the programs that run images.
//!
//! Those are written in Go, which takes the last of two members of the same name, and `USER` for
//! `User`. What could be read in two ways is refused.

use std::collections::BTreeMap;
use std::fmt;

use bulla_keys_schema::digest::Sha256Digest;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// An object of a manifest or of a configuration.
#[derive(Clone, Debug)]
pub(super) struct Document(Vec<(String, Tree)>);

/// A JSON value without repeated names.
#[derive(Clone, Debug)]
enum Tree {
    Null,
    /// What no member that is looked at may be.
    Other,
    Number(u64),
    Text(String),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

/// Why bytes of an image cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDocument {
    /// It is no JSON object, or one with a name twice.
    #[error("the image's JSON cannot be read: {reason}")]
    Json {
        /// Where and why.
        reason: String,
    },
    /// Members whose names differ in nothing but the case of letters.
    #[error("the image's JSON has {name:?} more than once, in other letter case")]
    Repeated {
        /// The member.
        name: &'static str,
    },
    /// A member is not what it must be.
    #[error("the image's JSON has no good {name:?}")]
    Member {
        /// The member.
        name: &'static str,
    },
}

impl Document {
    /// Reads an object.
    ///
    /// # Errors
    /// The bytes are something else, or hold a name twice in one object.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, InvalidDocument> {
        match serde_json::from_slice(bytes) {
            Ok(Tree::Object(members)) => Ok(Self(members)),
            Ok(_) => Err(InvalidDocument::Json { reason: "no object".to_owned() }),
            Err(error) => Err(InvalidDocument::Json { reason: error.to_string() }),
        }
    }

    /// Whether there is such a member, in whatever letter case.
    pub(super) fn has(&self, name: &'static str) -> bool {
        self.0.iter().any(|(found, _)| is_alike(found, name))
    }

    /// The member as Go finds it; `null` is none.
    fn get(&self, name: &'static str) -> Result<Option<&Tree>, InvalidDocument> {
        let mut found = self.0.iter().filter(|(found, _)| is_alike(found, name)).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(InvalidDocument::Repeated { name }),
            (Some(Tree::Null) | None, None) => Ok(None),
            (value, None) => Ok(value),
        }
    }

    /// A member that is a text.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn text(&self, name: &'static str) -> Result<Option<String>, InvalidDocument> {
        match self.get(name)? {
            None => Ok(None),
            Some(Tree::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(InvalidDocument::Member { name }),
        }
    }

    /// A member that must be there, and a whole number that is not negative.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn number(&self, name: &'static str) -> Result<u64, InvalidDocument> {
        match self.get(name)? {
            Some(Tree::Number(number)) => Ok(*number),
            _ => Err(InvalidDocument::Member { name }),
        }
    }

    /// A member that must be there, and a SHA-256 digest.
    ///
    /// # Errors
    /// It is not.
    pub(super) fn digest(&self, name: &'static str) -> Result<Sha256Digest, InvalidDocument> {
        let text = self.text(name)?.unwrap_or_default();
        Sha256Digest::parse_oci(&text).map_err(|_| InvalidDocument::Member { name })
    }

    /// A member that is an object.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn object(&self, name: &'static str) -> Result<Option<Self>, InvalidDocument> {
        match self.get(name)? {
            None => Ok(None),
            Some(Tree::Object(members)) => Ok(Some(Self(members.clone()))),
            Some(_) => Err(InvalidDocument::Member { name }),
        }
    }

    /// A member that is a list of objects.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn list(&self, name: &'static str) -> Result<Option<Vec<Self>>, InvalidDocument> {
        let Some(found) = self.get(name)? else { return Ok(None) };
        let Tree::List(items) = found else { return Err(InvalidDocument::Member { name }) };
        let object = |item: &Tree| match item {
            Tree::Object(members) => Some(Self(members.clone())),
            _ => None,
        };
        let items: Option<Vec<Self>> = items.iter().map(object).collect();
        items.map(Some).ok_or(InvalidDocument::Member { name })
    }

    /// A member that maps names to texts; none is empty. Letter case matters among these names.
    ///
    /// # Errors
    /// It is something else.
    pub(super) fn texts(&self, name: &'static str) -> Result<BTreeMap<String, String>, InvalidDocument> {
        let members = self.object(name)?.map(|object| object.0).unwrap_or_default();
        let pair = |(key, value): (String, Tree)| match value {
            Tree::Text(text) => Ok((key, text)),
            // Go leaves the empty text for it.
            Tree::Null => Ok((key, String::new())),
            _ => Err(InvalidDocument::Member { name }),
        };
        members.into_iter().map(pair).collect()
    }
}

/// Whether Go takes `found` for the member `name`: it folds letters, of which two are not ASCII's.
fn is_alike(found: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    found.chars().map(fold).eq(name.chars().map(fold))
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Grower)
    }
}

struct Grower;

impl<'de> Visitor<'de> for Grower {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON without repeated names")
    }

    fn visit_bool<E>(self, _: bool) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Tree, E> {
        Ok(Tree::Number(number))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Tree, E> {
        Ok(Tree::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Tree, E> {
        Ok(Tree::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Tree, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Tree::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Tree, A::Error> {
        let mut object: BTreeMap<String, Tree> = BTreeMap::new();
        while let Some((name, value)) = members.next_entry()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("{name:?} stands there twice")));
            }
            object.insert(name, value);
        }
        Ok(Tree::Object(object.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(text: &str) -> Result<Option<String>, InvalidDocument> {
        Document::parse(text.as_bytes())?.text("User")
    }

    #[test]
    fn a_member_is_found_as_go_finds_it() {
        assert_eq!(user(r#"{"User":"1000"}"#), Ok(Some("1000".to_owned())));
        assert_eq!(user(r#"{"uſER":"0"}"#), Ok(Some("0".to_owned())));
        assert_eq!(user(r#"{"User":null}"#), Ok(None));
        assert_eq!(user("{}"), Ok(None));
        assert_eq!(user(r#"{"User":"1000","user":"0"}"#), Err(InvalidDocument::Repeated { name: "User" }));
        assert_eq!(user(r#"{"User":1000}"#), Err(InvalidDocument::Member { name: "User" }));
        assert_eq!(user(r#"{"User":true}"#), Err(InvalidDocument::Member { name: "User" }));
        for bad in [r#"{"User":"1000","User":"0"}"#, r#"{"x":{"a":1,"a":2}}"#, "[]", "", r#"{"User":"1"} x"#]
        {
            assert!(matches!(user(bad), Err(InvalidDocument::Json { .. })), "{bad}");
        }
    }

    #[test]
    fn numbers_are_whole_and_not_negative() {
        let number = |text: &str| Document::parse(text.as_bytes()).unwrap().number("size");
        assert_eq!(number(r#"{"size":18446744073709551615}"#), Ok(u64::MAX));
        for bad in [r#"{"size":-1}"#, r#"{"size":1.0}"#, r#"{"size":1e3}"#, r#"{"size":"1"}"#, "{}"] {
            assert_eq!(number(bad), Err(InvalidDocument::Member { name: "size" }), "{bad}");
        }
    }

    #[test]
    fn names_of_labels_differ_by_their_case() {
        let document = Document::parse(br#"{"Labels":{"a":"1","A":"2","b":null}}"#).unwrap();
        let labels = document.texts("Labels").unwrap();
        assert_eq!(
            labels.into_iter().collect::<Vec<_>>(),
            [
                ("A".to_owned(), "2".to_owned()),
                ("a".to_owned(), "1".to_owned()),
                ("b".to_owned(), String::new()),
            ]
        );
    }
}
