//! JSON of scanners as a tree. It holds fractions, and is larger than metadata, so it is not read
//! by [`crate::json`]; it has bounds of its own, and no object may name a member twice.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::{InvalidReport, Unfit};
use crate::limits::{REPORT_BYTES, REPORT_DEPTH, REPORT_VALUES};

/// Characters of an outside name that are shown.
const SHOWN: usize = 60;

/// Reads a whole document.
///
/// # Errors
/// Too large, no JSON, nothing at all, too deep, too many values, or a member that is there twice.
pub(super) fn parse(bytes: &[u8]) -> Result<Value, InvalidReport> {
    if bytes.len() > REPORT_BYTES {
        return Err(InvalidReport::TooLarge);
    }
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(Unfit::NoContent.into());
    }
    let bounds = Bounds { left: Cell::new(REPORT_VALUES), fault: Cell::new(None) };
    let mut text = serde_json::Deserializer::from_slice(bytes);
    let read = Tree { bounds: &bounds, depth: 0 }.deserialize(&mut text);
    let read = read.and_then(|value| text.end().map(|()| value));
    read.map_err(|error| {
        let at = InvalidReport::Json { line: error.line(), column: error.column() };
        bounds.fault.take().unwrap_or(at)
    })
}

/// What is left of the bounds, and which one was passed: an error of serde only carries words.
struct Bounds {
    left: Cell<usize>,
    fault: Cell<Option<InvalidReport>>,
}

impl Bounds {
    fn fail<E: serde::de::Error>(&self, fault: InvalidReport) -> E {
        let error = E::custom(&fault);
        self.fault.set(Some(fault));
        error
    }
}

/// One value, `depth` containers below the top.
#[derive(Clone, Copy)]
struct Tree<'a> {
    bounds: &'a Bounds,
    depth: usize,
}

impl Tree<'_> {
    fn below<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth >= REPORT_DEPTH {
            return Err(self.bounds.fail(InvalidReport::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, text: D) -> Result<Value, D::Error> {
        let Some(left) = self.bounds.left.get().checked_sub(1) else {
            return Err(self.bounds.fail(InvalidReport::TooMany));
        };
        self.bounds.left.set(left);
        text.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("a number that is none"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(below)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let below = self.below()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                let name = name.chars().take(SHOWN).collect();
                return Err(self.bounds.fail(InvalidReport::Duplicate { name }));
            }
            let value = members.next_value_seed(below)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_serde_json_reads_is_read_the_same() {
        for text in ["null", "[]", "{}", "[1, -2, 0.5, 1e3, true, \"\\u00e9\"]", "{\"a\": {\"b\": [null]}}"] {
            assert_eq!(parse(text.as_bytes()).unwrap(), serde_json::from_str::<Value>(text).unwrap());
        }
    }

    #[test]
    fn bounds_hold() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(REPORT_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(REPORT_DEPTH + 1).as_bytes()), Err(InvalidReport::TooDeep));
        assert_eq!(parse(nested(1_000_000).as_bytes()), Err(InvalidReport::TooDeep));
        let many = |count: usize| format!("[0{}]", ",0".repeat(count - 1));
        assert!(parse(many(REPORT_VALUES - 1).as_bytes()).is_ok());
        assert_eq!(parse(many(REPORT_VALUES).as_bytes()), Err(InvalidReport::TooMany));
        assert_eq!(parse(&vec![b' '; REPORT_BYTES + 1]), Err(InvalidReport::TooLarge));
    }

    #[test]
    fn no_member_is_there_twice_in_any_spelling() {
        let twice = |name: &str| Err(InvalidReport::Duplicate { name: name.to_owned() });
        assert_eq!(parse(b"{\"a\": 1, \"a\": 1}"), twice("a"));
        assert_eq!(parse(b"[{\"b\": {\"ab\": 1, \"\\u0061b\": 2}}]"), twice("ab"));
        assert_eq!(parse(b"{\"\": 1, \"\": 1}"), twice(""));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in ["{", "[1,]", "{\"a\" 1}", "nul", "[] []", "\u{feff}[]", "[1e999]", "\"\\ud800\""] {
            assert!(matches!(parse(text.as_bytes()), Err(InvalidReport::Json { .. })), "{text}");
        }
        assert!(matches!(parse(b"\"\xff\""), Err(InvalidReport::Json { .. })));
        assert_eq!(parse(b"[\n1,\n?]"), Err(InvalidReport::Json { line: 3, column: 1 }));
        for nothing in ["", " \n\t\r"] {
            assert_eq!(parse(nothing.as_bytes()), Err(Unfit::NoContent.into()));
        }
    }
}
