//! OLPC canonical JSON: the bytes that signatures cover.
//!
//! Not RFC 8785. Strings keep control characters raw and escape only `"` and `\`, numbers
//! are integers, members are sorted by code point, nothing is normalised. Both dialects
//! use the same form.

use crate::json::{Json, Object, WRITTEN, write_integer, write_list, write_quoted};

/// The canonical bytes of `value`. They are input for hashing and signing, and not
/// themselves JSON when a string holds control characters (PEM keys do).
#[must_use]
pub fn canonical(value: &Json) -> Vec<u8> {
    canonical_of(value, WRITTEN)
}

/// As [`canonical`], with room for what was read from `length` bytes.
pub(crate) fn canonical_of(value: &Json, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length);
    write(value, &mut out);
    out
}

/// The canonical bytes of an object with these members.
pub(crate) fn canonical_object(members: &Object) -> Vec<u8> {
    let mut out = Vec::with_capacity(WRITTEN);
    write_object(members, &mut out);
    out
}

fn write(value: &Json, out: &mut Vec<u8>) {
    match value {
        Json::Null => out.extend_from_slice(b"null"),
        Json::Bool(true) => out.extend_from_slice(b"true"),
        Json::Bool(false) => out.extend_from_slice(b"false"),
        Json::Integer(number) => write_integer(*number, out),
        Json::String(text) => write_string(text, out),
        Json::Array(items) => write_list(out, b"[]", items, write),
        Json::Object(members) => write_object(members, out),
    }
}

fn write_object(members: &Object, out: &mut Vec<u8>) {
    write_list(out, b"{}", members, |(name, value), out| {
        write_string(name, out);
        out.push(b':');
        write(value, out);
    });
}

fn write_string(text: &str, out: &mut Vec<u8>) {
    write_quoted(
        text,
        out,
        |byte| matches!(byte, b'"' | b'\\'),
        |byte, out| {
            out.extend_from_slice(&[b'\\', byte]);
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form_of(text: &str) -> String {
        String::from_utf8(canonical(&Json::parse(text.as_bytes()).unwrap())).unwrap()
    }

    #[test]
    fn vectors() {
        for (text, expected) in [
            (r#" { "b" : 1 , "a" : [ true , null , -5 ] } "#, r#"{"a":[true,null,-5],"b":1}"#),
            (r#""line\nfeed\ttab\u0000nul""#, "\"line\nfeed\ttab\0nul\""),
            (r#""q\"b\\s\/""#, r#""q\"b\\s/""#),
            // No normalisation: composed and decomposed forms stay different.
            ("\"e\\u0301\"", "\"e\u{301}\""),
            ("\"\\u00e9\"", "\"\u{e9}\""),
            // Code point order, where UTF-16 order would put U+FF61 after U+1F600.
            (
                "{\"\u{1f600}\":1,\"\u{ff61}\":2,\"Z\":3,\"a\":4}",
                "{\"Z\":3,\"a\":4,\"\u{ff61}\":2,\"\u{1f600}\":1}",
            ),
            ("{}", "{}"),
            ("[]", "[]"),
        ] {
            assert_eq!(form_of(text), expected, "{text}");
        }
    }
}
