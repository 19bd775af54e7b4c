//! Roots: who may sign them, for how long, for which repository, and which keys they name.

use bulla_keys_schema::json::{Json, Object};
use bulla_tests::legacy::File;

use crate::case::Answer::{Refused, Taken};
use crate::case::{Case, try_all};
use crate::insider::{Insider, Key, declare, object, role, sign, table, with};
use crate::site::Site;

const BAD: &str = "ErrBadRoot";
const DAY: i64 = 24 * 3600;
const YEAR: i64 = 365 * DAY;

/// The next root, changed by `change` and signed by `keys`.
fn signed(insider: &Insider, keys: &[&Key], change: impl FnOnce(Json) -> Json) -> Vec<File> {
    let document = change(insider.root_document(insider.next("root")));
    vec![("root".into(), sign(&document, keys))]
}

fn root(insider: &Insider, change: impl FnOnce(Json) -> Json) -> Vec<File> {
    signed(insider, &[&insider.root], change)
}

fn member(insider: &Insider, path: &str, value: Json) -> Vec<File> {
    root(insider, |document| with(document, path, Some(value)))
}

/// With these keys for a role. Root's are in the table besides.
fn of_role(insider: &Insider, name: &str, keys: &[&Key], threshold: i64) -> impl FnOnce(Json) -> Json {
    let Insider { root, targets, snapshot, timestamp, .. } = insider;
    let listed = table([root, targets, snapshot, timestamp].into_iter().chain(keys.iter().copied()));
    let (path, role) = (format!("roles/{name}"), role(keys, threshold));
    move |document| with(with(document, &path, Some(role)), "keys", Some(listed))
}

/// With another key, whose owner signs as well.
fn next_key(insider: &Insider, key: &Key) -> Vec<File> {
    signed(insider, &[&insider.root, key], of_role(insider, "root", &[key], 1))
}

/// A certificate of root's key for `name`.
fn certificate(insider: &Insider, name: &str, begins: i64, ends: i64) -> Key {
    Key::certified(1, 8, name, insider.now.plus_seconds(begins), insider.now.plus_seconds(ends))
}

/// With a key in the table that no role has.
fn stray(insider: &Insider, keytype: &str, public: &str) -> Vec<File> {
    let stray = Key::declared(declare(keytype, public.to_owned()));
    root(insider, |document| with(document, &format!("keys/{}", stray.id), Some(stray.declared)))
}

#[rustfmt::skip]
const ROOTS: &[Case] = &[
    ("an extra role", |i| member(i, "roles/mirrors", role(&[&i.root], 1)), Taken),
    ("an extra role that Go cannot read", |i| member(i, "roles/mirrors", Json::Integer(5)), Refused(BAD, "root.roles.mirrors")),
    ("an extra role without meaning", |i| member(i, "roles/mirrors", Json::Null), Refused(BAD, "root.roles.mirrors")),
    ("an extra role with strange keys", |i| member(i, "roles/mirrors", object([("keyids", Json::Integer(5))])), Refused(BAD, "root.roles.mirrors.keyids")),
    ("an extra role with stranger keys", |i| member(i, "roles/mirrors", object([("keyids", Json::Array(vec![Json::Null]))])), Refused(BAD, "root.roles.mirrors.keyids")),
    ("an extra role with a strange threshold", |i| member(i, "roles/mirrors", object([("threshold", "1".into())])), Refused(BAD, "root.roles.mirrors.threshold")),
    ("an extra role to break a terminal", |i| member(i, "roles", with_strange_role(i)), Refused(BAD, "root.roles.")),
    ("Root beside root", |i| member(i, "roles/Root", role(&[&i.root], 1)), Refused(BAD, "letter case")),
    ("a role less", |i| root(i, |d| with(d, "roles/snapshot", None)), Refused(BAD, "root.roles.snapshot")),
    ("a member that nobody knows", |i| member(i, "spec_version", "1.0.0".into()), Taken),
    ("a stray key of an unknown kind", |i| stray(i, "sphincs", "AAAA"), Taken),
    ("a stray certificate that is none", |i| stray(i, "ecdsa-x509", "AAAA"), Taken),
    ("a stray key that Go cannot read", |i| stray(i, "sphincs", "!!!"), Refused(BAD, "base64")),
    ("a key under the id of another", |i| root(i, |d| with(d, &format!("keys/{}", i.targets.id), Some(i.mallory.declared.clone()))), Refused(BAD, "its own digest")),
    ("a private key", |i| root(i, |d| with(d, &format!("keys/{}/keyval/private", i.targets.id), Some("AAAA".into()))), Refused(BAD, "private")),
    ("a thousand and one keys", many_keys, Refused(BAD, "too many")),
    ("expired", |i| member(i, "expires", i.now.plus_seconds(-1).to_string().into()), Refused(BAD, "root expired at ")),
    ("nobody's signature", |i| signed(i, &[], |d| d), Refused(BAD, "signed by 0 of 1")),
    ("somebody else's", |i| signed(i, &[&i.mallory], |d| d), Refused(BAD, "signed by 0 of 1")),
    ("a targets key signs", |i| signed(i, &[&i.targets], |d| d), Refused(BAD, "signed by 0 of 1")),
    ("the old key alone signs for the new one", |i| { let key = other(i); signed(i, &[&i.root], of_role(i, "root", &[&key], 1)) }, Refused(BAD, "signed by 0 of 1")),
    ("the new key alone signs for itself", |i| { let key = other(i); signed(i, &[&key], of_role(i, "root", &[&key], 1)) }, Refused(BAD, "signed by 0 of 1")),
    ("a key without certificate", |i| next_key(i, &Key::p256(1)), Refused(BAD, "signed by 0 of 1")),
    ("another repository's certificate", |i| next_key(i, &certificate(i, "registry.test:5000/hostile/other", -DAY, YEAR)), Refused(BAD, "0 of 1 required root keys have a valid certificate")),
    ("a certificate for a longer name", |i| next_key(i, &certificate(i, "registry.test:5000/hostile/roots2", -DAY, YEAR)), Refused(BAD, "0 of 1 required")),
    ("a certificate in capitals", |i| next_key(i, &certificate(i, "registry.test:5000/hostile/ROOTS", -DAY, YEAR)), Refused(BAD, "0 of 1 required")),
    ("a certificate for what lies below", |i| next_key(i, &certificate(i, "registry.test:5000/hostile/roots/*", -DAY, YEAR)), Refused(BAD, "0 of 1 required")),
    ("a certificate that is over", |i| next_key(i, &certificate(i, &i.gun, -YEAR, -DAY)), Refused(BAD, "0 of 1 required")),
    ("a certificate that begins in two days", |i| next_key(i, &certificate(i, &i.gun, 2 * DAY, YEAR)), Refused(BAD, "0 of 1 required")),
    ("one key in two certificates, both needed", |i| { let key = certificate(i, &i.gun, -DAY, YEAR); signed(i, &[&i.root, &key], of_role(i, "root", &[&i.root, &key], 2)) }, Refused(BAD, "")),
    ("one key in two certificates, one needed", |i| { let key = certificate(i, &i.gun, -DAY, YEAR); signed(i, &[&i.root, &key], of_role(i, "root", &[&i.root, &key], 1)) }, Taken),
    ("one key id twice", |i| root(i, of_role(i, "root", &[&i.root, &i.root], 2)), Refused(BAD, "each once")),
    ("more needed than there are", |i| root(i, of_role(i, "targets", &[&i.targets], 2)), Refused("ErrBadTargets", "the threshold is higher")),
    ("none needed", |i| root(i, of_role(i, "targets", &[&i.targets], 0)), Refused(BAD, "threshold")),
    ("less than none needed", |i| root(i, of_role(i, "targets", &[&i.targets], -1)), Refused(BAD, "threshold")),
    ("more than anybody has needed", |i| root(i, of_role(i, "targets", &[&i.targets], 1 << 40)), Refused(BAD, "threshold")),
    ("a role without keys", |i| root(i, of_role(i, "targets", &[], 1)), Refused("ErrBadTargets", "the threshold is higher")),
    ("targets keys that did not sign the targets", |i| root(i, of_role(i, "targets", &[&i.mallory], 1)), Refused("ErrBadTargets", "signed by 0 of 1")),
    ("the server's key for targets", |i| root(i, of_role(i, "targets", &[&i.targets, &i.timestamp], 1)), Refused("ErrBadTargets", "which this server holds")),
    ("the owner's key for timestamps", |i| root(i, of_role(i, "timestamp", &[&i.mallory], 1)), Refused(BAD, "notary key rotate GUN timestamp -r")),
    ("two keys for timestamps, one not the server's", |i| root(i, of_role(i, "timestamp", &[&i.timestamp, &i.mallory], 2)), Refused(BAD, "notary key rotate GUN timestamp -r")),
    ("the owner's key for snapshots, and none of them", |i| root(i, of_role(i, "snapshot", &[&i.mallory], 1)), Refused("ErrBadHierarchy", "snapshot is missing")),
    ("targets in place of a root", |i| vec![("root".into(), i.file("targets", i.next("targets")).1)], Refused(BAD, "root: ")),
    ("another certificate for the same key", |i| next_key(i, &certificate(i, "registry.test:5000/hostile/*", -DAY, YEAR)), Taken),
];

/// A certified key of somebody else.
fn other(insider: &Insider) -> Key {
    Key::certified(5, 9, &insider.gun, insider.now.plus_seconds(-DAY), insider.now.plus_seconds(YEAR))
}

fn with_strange_role(insider: &Insider) -> Json {
    let document = insider.root_document(1);
    let mut roles = document.as_object().and_then(|d| d.get("roles")?.as_object()).unwrap().clone();
    roles.insert("\u{1b}[2J\n\u{202e}".repeat(1_000), Json::Integer(1));
    Json::Object(roles)
}

fn many_keys(insider: &Insider) -> Vec<File> {
    let strays =
        (0..1_025).map(|n| Key::declared(declare("x", crate::insider::base64(&[n as u8, (n >> 8) as u8]))));
    let keys: Object = strays.map(|key| (key.id, key.declared)).collect();
    member(insider, "keys", Json::Object(keys))
}

#[tokio::test(flavor = "multi_thread")]
async fn roots_are_signed_by_whom_they_must() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/roots", false).await;
    try_all(&site, &mut insider, ROOTS).await;
}
