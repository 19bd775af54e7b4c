//! Delegations: nobody takes a name that is another's to give, and no key counts twice.

use bulla_keys_schema::json::Json;
use bulla_tests::legacy::File;

use crate::case::Answer::{Refused, Taken};
use crate::case::{Case, try_all};
use crate::insider::{Insider, Key, delegation, sign, table, with};
use crate::site::Site;

const BAD: &str = "ErrBadTargets";
const YEAR: i64 = 365 * 24 * 3600;

/// The next document of `wire`, which delegates to `roles` in addition.
fn delegating(insider: &Insider, wire: &str, roles: Vec<Json>, keys: &[&Key]) -> Vec<File> {
    let document = insider.targets_document(wire, insider.next(wire));
    let own = document.as_object().and_then(|d| d.get("delegations")?.as_object()?.get("roles")?.as_array());
    let roles = own.unwrap().iter().cloned().chain(roles).collect();
    let document = with(document, "delegations/roles", Some(Json::Array(roles)));
    let keys = table([&insider.alice].into_iter().chain(keys.iter().copied()));
    let document = with(document, "delegations/keys", Some(keys));
    vec![(wire.to_owned(), sign(&document, &[insider.signer(wire)]))]
}

fn bob(insider: &Insider, keys: &[&Key], threshold: i64) -> Vec<File> {
    delegating(insider, "targets", vec![delegation("targets/bob", keys, threshold)], keys)
}

fn named(insider: &Insider, name: &str) -> Vec<File> {
    delegating(insider, "targets", vec![delegation(name, &[&insider.alice], 1)], &[])
}

fn alice(insider: &Insider, name: &str) -> Vec<File> {
    delegating(insider, "targets/alice", vec![delegation(name, &[&insider.mallory], 1)], &[&insider.mallory])
}

fn certificate(insider: &Insider, serial: u8) -> Key {
    Key::certified(4, serial, "alice", insider.now.plus_seconds(-60), insider.now.plus_seconds(YEAR))
}

fn member(insider: &Insider, path: &str, value: Json) -> Vec<File> {
    let document = insider.targets_document("targets", insider.next("targets"));
    vec![("targets".into(), sign(&with(document, path, Some(value)), &[&insider.targets]))]
}

const BELOW: &str = "roles right below this one";
const NAME: &str = "the name of a role below targets";

#[rustfmt::skip]
const DELEGATIONS: &[Case] = &[
    ("a role that nobody delegated to", |i| vec![("targets/bob".into(), i.file("targets/alice", 1).1)], Refused(BAD, "targets/bob is not delegated")),
    ("a role below one that nobody delegated to", |i| vec![("targets/bob/x".into(), i.file("targets/alice", 1).1)], Refused(BAD, "is not delegated")),
    ("a delegate takes another's name", |i| alice(i, "targets/releases"), Refused(BAD, BELOW)),
    ("a delegate takes a new name", |i| alice(i, "targets/bob"), Refused(BAD, BELOW)),
    ("a delegate takes his own name", |i| alice(i, "targets/alice"), Refused(BAD, BELOW)),
    ("a delegate names a grandchild", |i| alice(i, "targets/alice/a/b"), Refused(BAD, BELOW)),
    ("a delegate names a longer name", |i| alice(i, "targets/alice2"), Refused(BAD, BELOW)),
    ("a delegate names a child", |i| alice(i, "targets/alice/a"), Taken),
    ("targets name a grandchild", |i| named(i, "targets/alice/b"), Refused(BAD, BELOW)),
    ("one name twice", |i| named(i, "targets/alice"), Refused(BAD, "each once")),
    ("a name without targets", |i| named(i, "bob"), Refused(BAD, NAME)),
    ("a name of the top level", |i| named(i, "root"), Refused(BAD, NAME)),
    ("targets themselves", |i| named(i, "targets"), Refused(BAD, NAME)),
    ("a name that ends in a slash", |i| named(i, "targets/"), Refused(BAD, NAME)),
    ("a name that leads elsewhere", |i| named(i, "targets/../root"), Refused(BAD, NAME)),
    ("a name in capitals", |i| named(i, "targets/Bob"), Refused(BAD, NAME)),
    ("a name with an ending", |i| named(i, "targets/bob.json"), Refused(BAD, NAME)),
    ("a name of 300 bytes", |i| named(i, &format!("targets/{}", "b".repeat(292))), Refused(BAD, NAME)),
    ("a user called root", |i| named(i, "targets/root"), Taken),
    ("one key id twice, both needed", |i| bob(i, &[&i.alice, &i.alice], 2), Refused(BAD, "each once")),
    ("one key in two certificates, both needed", |i| bob(i, &[&certificate(i, 1), &certificate(i, 2)], 2), Refused(BAD, "is listed twice")),
    ("one key bare and in a certificate, both needed", |i| bob(i, &[&i.alice, &certificate(i, 2)], 2), Refused(BAD, "is listed twice")),
    ("one key in two certificates, one needed", |i| bob(i, &[&certificate(i, 1), &certificate(i, 2)], 1), Taken),
    ("more needed than there are", |i| bob(i, &[&i.mallory], 2), Refused(BAD, "the threshold is higher")),
    ("none needed", |i| bob(i, &[&i.mallory], 0), Refused(BAD, "threshold")),
    ("a key that is not listed", |i| delegating(i, "targets", vec![delegation("targets/bob", &[&i.mallory], 1)], &[]), Refused(BAD, "every key id must name")),
    ("a role without keys", |i| bob(i, &[], 1), Taken),
    ("the server's key", |i| bob(i, &[&i.timestamp], 1), Refused(BAD, "which this server holds")),
    ("the server's key below a delegate", |i| delegating(i, "targets/alice", vec![delegation("targets/alice/a", &[&i.snapshot], 1)], &[&i.snapshot]), Refused(BAD, "which this server holds")),
    ("paths that are none", |i| delegating(i, "targets", vec![with(delegation("targets/bob", &[&i.alice], 1), "paths", Some("".into()))], &[]), Refused(BAD, "paths")),
    ("no delegations at all", |i| member(i, "delegations", Json::Null), Refused(BAD, "targets.delegations")),
    ("no list of keys", |i| member(i, "delegations/keys", Json::Null), Refused(BAD, "targets.delegations.keys")),
    ("more than anybody reads", |i| { let many = (0..4_095).map(|n| delegation(&format!("targets/b{n}"), &[&i.alice], 1)); delegating(i, "targets", many.collect(), &[]) }, Refused(BAD, "too many")),
];

#[tokio::test(flavor = "multi_thread")]
async fn everybody_delegates_what_is_his() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/delegations", false).await;
    try_all(&site, &mut insider, DELEGATIONS).await;
}
