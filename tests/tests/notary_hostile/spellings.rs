//! The same content in other bytes, and signatures that say strange things about themselves. An
//! old server hashed what it wrote itself, so that a line feed at the end made a repository
//! unreadable for good.

use bulla_keys_schema::json::Json;
use bulla_tests::legacy::File;

use crate::case::Answer::{Code, Refused, Taken};
use crate::case::{Case, try_all};
use crate::insider::{Insider, Key, envelope, object, sign, with};
use crate::site::Site;

const BAD: &str = "ErrBadTargets";
const UNSIGNED: &str = "targets: signed by 0 of 1 required keys";
/// A key id that belongs to nobody.
const NOBODY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// The next top-level targets, with its bytes changed by `change`.
fn bytes(insider: &Insider, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Vec<File> {
    let (name, bytes) = insider.file("targets", insider.next("targets"));
    vec![(name, change(bytes))]
}

fn text(insider: &Insider, change: impl FnOnce(String) -> String) -> Vec<File> {
    bytes(insider, |bytes| change(String::from_utf8(bytes).unwrap()).into_bytes())
}

fn replaced(insider: &Insider, from: &str, to: &str) -> Vec<File> {
    text(insider, |text| {
        assert!(text.contains(from), "{from} {text}");
        text.replace(from, to)
    })
}

/// The next top-level targets, with its content changed by `change` before it is signed.
fn content(insider: &Insider, change: impl FnOnce(Json) -> Json) -> Vec<File> {
    let document = change(insider.targets_document("targets", insider.next("targets")));
    vec![("targets".into(), sign(&document, &[&insider.targets]))]
}

/// With something else that `v0` is listed with.
fn custom(insider: &Insider, custom: Json) -> Vec<File> {
    content(insider, |document| with(document, "targets/v0/custom", Some(custom)))
}

/// The next top-level targets, with `text` in place of a number that is signed.
fn signed_text(insider: &Insider, text: &str) -> Vec<File> {
    let mut files = content(insider, |document| with(document, "x", Some(Json::Integer(4_711))));
    let whole = String::from_utf8(files.remove(0).1).unwrap();
    vec![("targets".into(), whole.replacen("4711", text, 1).into_bytes())]
}

#[rustfmt::skip]
const SPELLINGS: &[Case] = &[
    ("a line feed at the end", |i| text(i, |text| text + "\n"), Taken),
    ("spaces all over", |i| replaced(i, "{\"", "{ \r\n\t\""), Taken),
    ("signatures first", signatures_first, Taken),
    ("members in another order", version_first, Taken),
    ("letters escaped that need not be", |i| replaced(i, "\"Targets\"", r#""\u0054argets""#), Taken),
    ("an unsigned member", |i| replaced(i, r#"{"signed""#, r#"{"x":1,"signed""#), Refused(BAD, "unsigned member")),
    ("an unsigned member at the end", |i| replaced(i, r#","signatures""#, r#","x":{},"signatures""#), Refused(BAD, "unsigned member")),
    ("signed twice", |i| replaced(i, r#"{"signed""#, r#"{"signed":{"version":9},"signed""#), Code("MALFORMED_JSON")),
    ("signatures twice", |i| replaced(i, r#"{"signed""#, r#"{"signatures":[],"signed""#), Refused(BAD, "duplicate")),
    ("Signed beside signed", |i| replaced(i, r#"{"signed""#, r#"{"Signed":{"version":9},"signed""#), Refused(BAD, "letter case")),
    ("a member that nobody knows", |i| content(i, |d| with(d, "spec_version", Some("1.0.0".into()))), Taken),
    ("Version beside version", |i| content(i, |d| with(d, "Version", Some(Json::Integer(1)))), Refused(BAD, "letter case")),
    ("a version twice", |i| replaced(i, r#""version":"#, r#""version":1,"version":"#), Code("MALFORMED_JSON")),
    ("a fraction", |i| signed_text(i, "1.5"), Refused(BAD, "not a plain integer")),
    ("an exponent", |i| signed_text(i, "4711e0"), Refused(BAD, "not a plain integer")),
    ("an integer beyond 2^53", |i| signed_text(i, "9007199254740993"), Refused(BAD, "2^53")),
    ("minus zero", |i| signed_text(i, "-0"), Refused(BAD, "not a plain integer")),
    ("something behind it", |i| text(i, |text| text + "{}"), Code("MALFORMED_JSON")),
    ("a byte order mark", |i| text(i, |text| format!("\u{feff}{text}")), Code("MALFORMED_JSON")),
    ("a NUL at the end", |i| text(i, |text| text + "\0"), Code("MALFORMED_JSON")),
    ("UTF-16", |i| text(i, |text| text.chars().flat_map(|c| [c, '\0']).collect()), Code("MALFORMED_JSON")),
    ("no UTF-8", no_utf8, Refused(BAD, "invalid JSON")),
    ("half a character", |i| signed_text(i, r#""\ud800""#), Refused(BAD, "invalid JSON")),
    ("a hundred levels", |i| signed_text(i, &format!("{}{}", "[".repeat(100), "]".repeat(100))), Refused(BAD, "nested too deeply")),
    ("a hundred thousand levels", |i| signed_text(i, &"[".repeat(100_000)), Code("MALFORMED_JSON")),
    ("lists without end", |i| signed_text(i, &format!("[{}0]", "[],".repeat(200_000))), Refused(BAD, "too many objects")),
    ("characters escaped for HTML", |i| with_html(i, true), Taken),
    ("characters not escaped for HTML", |i| with_html(i, false), Taken),
    ("custom members out of order", custom_out_of_order, Taken),
    ("control characters", |i| custom(i, "\u{1b}[2J\u{0}\n\u{7f}\u{9b}".into()), Taken),
    ("custom members that differ in case", |i| custom(i, object([("a", Json::Null), ("A", Json::Null)])), Refused(BAD, "letter case")),
    ("hashes that Go cannot read", |i| content(i, |d| with(d, "targets/v0/hashes/md5", Some("!!!".into()))), Refused(BAD, "base64")),
    ("a digest of another length", |i| content(i, |d| with(d, "targets/v0/hashes/sha512", Some("AAAA".into()))), Refused(BAD, "64 bytes")),
    ("no length", |i| content(i, |d| with(d, "targets/v0/length", None)), Refused(BAD, "length")),
    ("a negative length", |i| content(i, |d| with(d, "targets/v0/length", Some(Json::Integer(-1)))), Refused(BAD, "length")),
    ("no list of tags", |i| content(i, |d| with(d, "targets", Some(Json::Null))), Refused(BAD, "targets.targets")),
    ("another type", |i| content(i, |d| with(d, "_type", Some("targets".into()))), Refused(BAD, "_type")),
    ("a type to break a terminal", |i| content(i, |d| with(d, "_type", Some("\u{1b}[2J\n".into()))), Refused(BAD, "_type")),
    ("a type of a megabyte", |i| content(i, |d| with(d, "_type", Some("\u{1f600}".repeat(250_000).into()))), Refused(BAD, "_type")),
    ("expired", |i| expires(i, "2020-01-01T00:00:00Z"), Refused(BAD, "targets expired at 2020-01-01")),
    ("a date with a space", |i| expires(i, "2036-01-01 00:00:00Z"), Refused(BAD, "a date")),
    ("a leap second", |i| expires(i, "2036-06-30T23:59:60Z"), Refused(BAD, "a date")),
    ("a date that is none", |i| expires(i, "2036-02-30T00:00:00Z"), Refused(BAD, "a date")),
    ("an offset", |i| expires(i, "2036-01-01T00:00:00.123456789+13:45"), Taken),
];

fn expires(insider: &Insider, text: &str) -> Vec<File> {
    content(insider, |document| with(document, "expires", Some(text.into())))
}

fn signatures_first(insider: &Insider) -> Vec<File> {
    text(insider, |text| {
        let (signed, signatures) = text.split_once(r#","signatures""#).unwrap();
        let signed = signed.strip_prefix('{').unwrap();
        format!(r#"{{"signatures"{},{signed}}}"#, signatures.strip_suffix('}').unwrap())
    })
}

fn version_first(insider: &Insider) -> Vec<File> {
    text(insider, |text| {
        let (head, tail) = text.rsplit_once(r#","version":"#).unwrap();
        let (version, tail) = tail.split_once('}').unwrap();
        let head = head.strip_prefix(r#"{"signed":{"#).unwrap();
        format!(r#"{{"signed":{{"version":{version},{head}}}{tail}"#)
    })
}

fn no_utf8(insider: &Insider) -> Vec<File> {
    bytes(insider, |mut bytes| {
        let at = bytes.windows(7).position(|part| part == b"Targets").unwrap();
        bytes[at] = 0xff;
        bytes
    })
}

/// What Go writes in one way and others in another.
fn with_html(insider: &Insider, escaped: bool) -> Vec<File> {
    let (name, bytes) = custom(insider, "<&>\u{2028}".into()).remove(0);
    let mut text = String::from_utf8(bytes).unwrap();
    for (character, escape) in [("<", r"\u003c"), ("&", r"\u0026"), (">", r"\u003e"), ("\u{2028}", r"\u2028")]
    {
        text = if escaped { text.replace(character, escape) } else { text };
    }
    vec![(name, text.into_bytes())]
}

/// Sorted when it is signed; Go copies what it was given.
fn custom_out_of_order(insider: &Insider) -> Vec<File> {
    let sorted = object([("a", Json::Integer(1)), ("b", Json::Integer(2))]);
    let (name, bytes) = custom(insider, sorted).remove(0);
    let text = String::from_utf8(bytes).unwrap();
    vec![(name, text.replace(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#).into_bytes())]
}

#[tokio::test(flavor = "multi_thread")]
async fn other_bytes_for_the_same_content_harm_nobody() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/spellings", false).await;
    try_all(&site, &mut insider, SPELLINGS).await;
}

/// The next top-level targets, with signatures made by `make`.
fn signed(insider: &Insider, make: impl FnOnce(&Insider, &Json) -> Vec<Json>) -> Vec<File> {
    let document = insider.targets_document("targets", insider.next("targets"));
    vec![("targets".into(), envelope(&document, make(insider, &document)))]
}

/// With the right signature, and another member of it in place of one.
fn retold(insider: &Insider, member: &str, value: &str) -> Vec<File> {
    signed(insider, |i, d| vec![with(i.targets.sign(d), member, Some(value.into()))])
}

/// With the right signature, and another one beside it.
fn beside(insider: &Insider, id: &str, method: &str, signature: &str) -> Vec<File> {
    let other = object([("keyid", id.into()), ("method", method.into()), ("sig", signature.into())]);
    signed(insider, |i, d| vec![i.targets.sign(d), other])
}

#[rustfmt::skip]
const SIGNATURES: &[Case] = &[
    ("no signature", |i| signed(i, |_, _| Vec::new()), Refused(BAD, UNSIGNED)),
    ("somebody else's signature", |i| signed(i, |i, d| vec![i.mallory.sign(d)]), Refused(BAD, UNSIGNED)),
    ("somebody else's under the right id", |i| signed(i, |i, d| vec![with(i.mallory.sign(d), "keyid", Some(i.targets.id.as_str().into()))]), Refused(BAD, UNSIGNED)),
    ("a signature of another document", |i| signed(i, |i, _| vec![i.targets.sign(&i.targets_document("targets", 1))]), Refused(BAD, UNSIGNED)),
    ("a delegate signs for his delegator", |i| signed(i, |i, d| vec![i.alice.sign(d)]), Refused(BAD, UNSIGNED)),
    ("the same signature twice", |i| signed(i, |i, d| vec![i.targets.sign(d), i.targets.sign(d)]), Refused(BAD, "listed once")),
    ("a thousand signatures", |i| signed(i, |i, d| (0..1_000).map(|n| with(i.targets.sign(d), "keyid", Some(format!("{n:064x}").into()))).collect()), Refused(BAD, "too many")),
    ("the method of another key", |i| retold(i, "method", "eddsa"), Refused(BAD, UNSIGNED)),
    ("no method", |i| retold(i, "method", "none"), Refused(BAD, UNSIGNED)),
    ("an empty method", |i| retold(i, "method", ""), Refused(BAD, UNSIGNED)),
    ("a method that once meant no check", |i| retold(i, "method", "pycrypto-pkcs#1 pss"), Refused(BAD, UNSIGNED)),
    ("RSA over the bytes of a P-256 signature", |i| retold(i, "method", "rsapkcs1v15"), Refused(BAD, UNSIGNED)),
    ("a method in capitals, as very old files have it", |i| retold(i, "method", "ECDSA"), Taken),
    ("an id in capitals", |i| { let id = i.targets.id.to_uppercase(); signed(i, |i, d| vec![with(i.targets.sign(d), "keyid", Some(id.into()))]) }, Refused(BAD, UNSIGNED)),
    ("an empty signature", |i| retold(i, "sig", ""), Refused(BAD, UNSIGNED)),
    ("a signature of zeros", |i| retold(i, "sig", &format!("{}==", "A".repeat(86))), Refused(BAD, UNSIGNED)),
    ("a signature in hex", |i| retold(i, "sig", &"0".repeat(128)), Refused(BAD, UNSIGNED)),
    ("a signature without padding", |i| retold(i, "sig", &"A".repeat(86)), Refused(BAD, "base64")),
    ("a signature of a megabyte", |i| retold(i, "sig", &"A".repeat(1 << 20)), Refused(BAD, UNSIGNED)),
    ("a number for a signature", |i| signed(i, |i, d| vec![with(i.targets.sign(d), "sig", Some(Json::Integer(1)))]), Refused(BAD, "sig")),
    ("an unsigned member in a signature", |i| signed(i, |i, d| vec![with(i.targets.sign(d), "x", Some(Json::Null))]), Taken),
    ("an unknown key's signature beside", |i| beside(i, NOBODY, "ecdsa", "AAAA"), Taken),
    ("one that Go cannot read beside", |i| beside(i, NOBODY, "ecdsa", "!!!"), Refused(BAD, "base64")),
    ("one of a wrong method beside", |i| beside(i, NOBODY, "", ""), Taken),
    ("one without id beside", |i| beside(i, "", "ecdsa", "AAAA"), Refused(BAD, "key id")),
    ("one with an id to break a terminal beside", |i| beside(i, "\u{1b}[2J", "ecdsa", "AAAA"), Refused(BAD, "key id")),
];

#[tokio::test(flavor = "multi_thread")]
async fn signatures_are_what_their_key_says_and_not_what_they_say() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/signatures", false).await;
    // Ed25519 beside P-256: what is claimed of one kind is tried with both.
    insider.mallory = Key::ed25519(9);
    try_all(&site, &mut insider, SIGNATURES).await;
}
