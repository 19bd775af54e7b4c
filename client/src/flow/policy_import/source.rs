//! Files of other tools, in YAML or JSON, read so that they mean one thing: no member twice, no
//! aliases, no tags. Words that other readers take for truth values stay words.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Largest file, in bytes.
pub const FILE_BYTES: usize = 1024 * 1024;
/// How deep lists and maps may lie in each other.
const DEPTH: usize = 64;

/// The file cannot be read in one way only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSource {
    /// A node that stands for another.
    #[error("line {line}: an alias, whose meaning stands elsewhere")]
    Alias {
        /// The line.
        line: usize,
    },
    /// More containers in each other than any policy has.
    #[error("line {line}: more than {DEPTH} lists and maps in each other")]
    Depth {
        /// The line.
        line: usize,
    },
    /// A name that is no text.
    #[error("line {line}: a member without a name")]
    Name {
        /// The line.
        line: usize,
    },
    /// No YAML.
    #[error("{reason}")]
    Syntax {
        /// Where and why.
        reason: String,
    },
    /// A type of somebody's own.
    #[error("line {line}: a tag, which says that the text is not what it seems")]
    Tag {
        /// The line.
        line: usize,
    },
    /// Too many bytes.
    #[error("the file is larger than {FILE_BYTES} bytes")]
    TooLarge,
    /// One name for two members.
    #[error("line {line}: {name:?} stands there twice")]
    Twice {
        /// The line.
        line: usize,
        /// The name.
        name: String,
    },
}

/// What is open while reading.
enum Open {
    List(Vec<Value>),
    Map(Map<String, Value>, Option<String>),
}

/// The documents of a file.
///
/// # Errors
/// See [`InvalidSource`].
pub(super) fn read(text: &str) -> Result<Vec<Value>, InvalidSource> {
    if text.len() > FILE_BYTES {
        return Err(InvalidSource::TooLarge);
    }
    let (mut documents, mut open) = (Vec::new(), Vec::new());
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| InvalidSource::Syntax { reason: error.to_string() })?;
        let line = span.start.line();
        let done = match event {
            Event::Alias(_) => return Err(InvalidSource::Alias { line }),
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => return Err(InvalidSource::Tag { line }),
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() >= DEPTH => {
                return Err(InvalidSource::Depth { line });
            }
            Event::SequenceStart(..) => {
                open.push(Open::List(Vec::new()));
                continue;
            }
            Event::MappingStart(..) => {
                open.push(Open::Map(Map::new(), None));
                continue;
            }
            Event::Scalar(text, style, ..) => scalar(&text, style),
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(items)) => Value::Array(items),
                Some(Open::Map(members, _)) => Value::Object(members),
                None => continue,
            },
            _ => continue,
        };
        match open.last_mut() {
            None => documents.push(done),
            Some(Open::List(items)) => items.push(done),
            Some(Open::Map(members, name)) => put(members, name, done, line)?,
        }
    }
    Ok(documents)
}

fn put(
    members: &mut Map<String, Value>,
    pending: &mut Option<String>,
    done: Value,
    line: usize,
) -> Result<(), InvalidSource> {
    if let Some(name) = pending.take() {
        members.insert(name, done);
        return Ok(());
    }
    let name = match done {
        Value::String(name) => name,
        Value::Bool(_) | Value::Number(_) => done.to_string(),
        _ => return Err(InvalidSource::Name { line }),
    };
    if members.contains_key(&name) {
        return Err(InvalidSource::Twice { line, name });
    }
    *pending = Some(name);
    Ok(())
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::from(text);
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        text => text.parse::<u64>().map_or_else(|_| Value::from(text), Value::from),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_and_json_mean_one_thing() {
        let yaml = "a: [1, 'true', no, null]\nb: {c: true}\n---\n- x\n";
        assert_eq!(
            read(yaml).unwrap(),
            [json!({"a": [1, "true", "no", null], "b": {"c": true}}), json!(["x"])]
        );
        assert_eq!(read(r#"{"a": {"b": "c"}}"#).unwrap(), [json!({"a": {"b": "c"}})]);
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for (text, expected) in [
            ("a: &x 1\nb: *x\n", "alias"),
            ("a: 1\na: 2\n", "twice"),
            ("a: !!str 1\n", "tag"),
            ("? [a]\n: 1\n", "name"),
            ("a: [1\n", "flow"),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
        assert!(matches!(read(&"[".repeat(100)), Err(InvalidSource::Depth { .. })));
        assert_eq!(read(&"#".repeat(FILE_BYTES + 1)), Err(InvalidSource::TooLarge));
    }
}
