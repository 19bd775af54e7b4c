//! Strict JSON: one text has one meaning, for us and for every other reader.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::limits;

mod object;

pub use object::Object;

use object::Name;
pub(crate) use object::is_name;

/// Room for what is written at first, in bytes: most documents fit.
pub(crate) const WRITTEN: usize = 2048;

/// A JSON value without floats, of bounded depth, whose objects have no duplicate members.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// A whole number of magnitude up to [`limits::JSON_INTEGER`].
    Integer(i64),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

impl Json {
    /// Parses `bytes`, which must hold exactly one value.
    ///
    /// # Errors
    /// Bad JSON, duplicate member names, floats, integers beyond 2^53 - 1, nesting beyond
    /// [`limits::JSON_DEPTH`], trailing data. Such texts are read differently by different
    /// parsers, so that two of them would disagree on what was signed. And more containers
    /// than [`limits::JSON_CONTAINERS`], which need a hundred times their text in memory.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidJson> {
        // Of a whole text this is seen sooner than of each string by itself.
        let text = str::from_utf8(bytes).map_err(|error| InvalidJson { reason: error.to_string() })?;
        let mut parser = serde_json::Deserializer::from_str(text);
        let containers = Cell::new(0);
        let value = Seed { depth: 0, containers: &containers }
            .deserialize(&mut parser)
            .map_err(|error| InvalidJson::new(&error))?;
        parser.end().map_err(|error| InvalidJson::new(&error))?;
        Ok(value)
    }

    /// The compact JSON text of this value, members in code point order.
    #[must_use]
    pub fn to_wire(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(WRITTEN);
        self.write_wire(&mut out);
        out
    }

    /// The object, if this is one.
    #[must_use]
    pub const fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// The array, if this is one.
    #[must_use]
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The string, if this is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The integer, if this is one and not negative.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Integer(number) => u64::try_from(*number).ok(),
            _ => None,
        }
    }

    /// The truth value, if this is one.
    #[must_use]
    pub const fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    fn write_wire(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Integer(number) => write_integer(*number, out),
            Self::String(text) => write_wire_string(text, out),
            Self::Array(items) => write_list(out, b"[]", items, |item, out| item.write_wire(out)),
            Self::Object(members) => write_list(out, b"{}", members, |(name, value), out| {
                write_wire_string(name, out);
                out.push(b':');
                value.write_wire(out);
            }),
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

/// The bytes are no strict JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON: {reason}")]
pub struct InvalidJson {
    reason: String,
}

impl InvalidJson {
    fn new(error: &serde_json::Error) -> Self {
        let reason = error.to_string();
        Self { reason }
    }
}

/// Writes `items` between the two bytes of `brackets`, separated by commas.
pub(crate) fn write_list<T>(
    out: &mut Vec<u8>,
    brackets: &[u8; 2],
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    let [open, close] = *brackets;
    out.push(open);
    for (at, item) in items.into_iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(item, out);
    }
    out.push(close);
}

/// Two names that Go's `encoding/json` would take for the same struct field have the same
/// fold: ASCII case, and the two letters that fold to `s` and `k` in Unicode.
#[must_use]
pub(crate) fn fold_case(name: &str) -> String {
    name.chars().map(fold).collect()
}

/// Whether two names have the same fold.
#[must_use]
pub(crate) fn folds_alike(a: &str, b: &str) -> bool {
    a.chars().map(fold).eq(b.chars().map(fold))
}

const fn fold(c: char) -> char {
    match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// A text from outside, fit for a message: control characters cannot drive a terminal, and
/// megabytes do not fill a log.
#[must_use]
pub(crate) fn shown(text: &str) -> String {
    const CHARACTERS: usize = 200;
    let mut shown: String = text.chars().take(CHARACTERS).flat_map(char::escape_debug).collect();
    if text.chars().nth(CHARACTERS).is_some() {
        shown.push_str("...");
    }
    shown
}

/// The wire form as Go's encoder writes it: it escapes these characters inside of strings, and they
/// occur nowhere else.
#[must_use]
pub(crate) fn escape_for_html(wire: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(wire.len());
    let mut rest = wire;
    while let Some((&byte, tail)) = rest.split_first() {
        match (byte, tail) {
            (b'<', _) => out.extend(br"\u003c"),
            (b'>', _) => out.extend(br"\u003e"),
            (b'&', _) => out.extend(br"\u0026"),
            // U+2028 and U+2029.
            (0xe2, [0x80, last @ (0xa8 | 0xa9), after @ ..]) => {
                out.extend(if *last == 0xa8 { br"\u2028" } else { br"\u2029" });
                rest = after;
                continue;
            }
            _ => out.push(byte),
        }
        rest = tail;
    }
    out
}

/// Writes the digits of `number`.
pub(crate) fn write_integer(number: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Writes `text` in quotes. Bytes that `is_special` picks, all of them ASCII, are written by
/// `escape`, everything between them as it is.
pub(crate) fn write_quoted(
    text: &str,
    out: &mut Vec<u8>,
    is_special: impl Fn(u8) -> bool,
    escape: impl Fn(u8, &mut Vec<u8>),
) {
    out.push(b'"');
    // Without a way out of the loop, many bytes are looked at in one step.
    if text.bytes().fold(false, |found, byte| found | is_special(byte)) {
        for byte in text.bytes() {
            if is_special(byte) { escape(byte, out) } else { out.push(byte) }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

fn write_wire_string(text: &str, out: &mut Vec<u8>) {
    let is_special = |byte| matches!(byte, b'"' | b'\\' | 0..b' ');
    write_quoted(text, out, is_special, |byte, out| match byte {
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        0..b' ' => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
        _ => out.extend_from_slice(&[b'\\', byte]),
    });
}

#[derive(Clone, Copy)]
struct Seed<'a> {
    depth: usize,
    /// How many containers there were so far.
    containers: &'a Cell<usize>,
}

impl Seed<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= limits::JSON_DEPTH {
            return Err(E::custom("nested too deeply"));
        }
        self.containers.set(self.containers.get() + 1);
        if self.containers.get() > limits::JSON_CONTAINERS {
            return Err(E::custom("too many objects and arrays"));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value without floats")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Json, E> {
        if value.unsigned_abs() > limits::JSON_INTEGER.unsigned_abs() {
            return Err(E::custom("integer beyond 2^53 - 1"));
        }
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Json, E> {
        self.visit_i64(i64::try_from(value).map_err(|_| E::custom("integer beyond 2^53 - 1"))?)
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<Json, E> {
        Err(E::custom("number that is not a plain integer"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let twice = |name: Name| A::Error::custom(format_args!("duplicate member \"{}\"", shown(&name)));
        let mut reading = object::Reading::default();
        while let Some(name) = members.next_key_seed(NameSeed)? {
            let value = members.next_value_seed(inner)?;
            reading.add(name, value).map_err(twice)?;
        }
        reading.finish().map(Json::Object).map_err(twice)
    }
}

/// Reads the name of a member.
struct NameSeed;

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = Name;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Name, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = Name;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Name, E> {
        Ok(object::intern(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_two_parsers_read_differently() {
        for (text, reason) in [
            (r#"{"a":1,"a":1}"#, "duplicate member"),
            (r#"{"a":{"b":[{"c":1,"c":2}]}}"#, "duplicate member"),
            ("1.0", "not a plain integer"),
            ("1e3", "not a plain integer"),
            ("-0", "not a plain integer"),
            ("9007199254740992", "beyond 2^53"),
            ("-9007199254740992", "beyond 2^53"),
            ("18446744073709551616", "not a plain integer"),
            ("{} {}", "trailing"),
            ("{}\0", "trailing"),
            (r#""\ud800""#, "hex escape"),
            ("01", "invalid number"),
            ("", "EOF"),
            ("\u{feff}{}", "expected value"),
        ] {
            let error = Json::parse(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert!(Json::parse(b"\"\xff\"").is_err());
    }

    #[test]
    fn bounds_the_depth() {
        let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert!(Json::parse(&nested(limits::JSON_DEPTH)).is_ok());
        assert!(Json::parse(&nested(limits::JSON_DEPTH + 1)).unwrap_err().to_string().contains("deeply"));
        assert!(Json::parse(&nested(1_000_000)).is_err());
    }

    #[test]
    fn bounds_the_containers() {
        let listed = |n: usize| format!("[{}]", ["{}"].repeat(n).join(","));
        assert!(Json::parse(listed(limits::JSON_CONTAINERS - 1).as_bytes()).is_ok());
        let error = Json::parse(listed(limits::JSON_CONTAINERS).as_bytes()).unwrap_err().to_string();
        assert!(error.contains("too many"), "{error}");
    }

    #[test]
    fn messages_cannot_drive_a_terminal() {
        assert_eq!(shown("a\u{1b}[2J\u{202e}\n\u{e9}"), "a\\u{1b}[2J\\u{202e}\\n\u{e9}");
        assert_eq!(shown(&"a".repeat(1_000_000)).len(), 203);
    }

    #[test]
    fn wire_form_is_json_again() {
        let text = "{\"b\":[1,-2,null,true],\"a\":\"x\\n\\u0001\\\"\\\\\u{1f600}\u{e9}\"}";
        let value = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(Json::parse(&value.to_wire()).unwrap(), value);
    }

    #[test]
    fn folds_the_letters_go_folds() {
        assert_eq!(fold_case("\u{17f}IGNED\u{212a}"), "signedk");
        assert!(folds_alike("\u{17f}IGNED\u{212a}", "signedK"));
        assert!(!folds_alike("signed", "signedk") && !folds_alike("signedk", "signed"));
    }
}
