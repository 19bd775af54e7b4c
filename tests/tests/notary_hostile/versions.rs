//! Versions: a huge one would lock a role for good, an old one is a rollback.

use bulla_keys_schema::json::Json;
use bulla_tests::legacy::File;

use crate::case::Answer::{Code, Refused};
use crate::case::{Case, judge, try_all};
use crate::insider::{Insider, sign, with};
use crate::site::Site;

const HUGE: i64 = 2_147_483_647;
const LARGEST: i64 = (1 << 53) - 1;

/// A document of `wire` with this version, and a snapshot if that is the owner's.
fn at(insider: &Insider, wire: &str, version: i64) -> Vec<File> {
    let file = match wire {
        "root" => (wire.to_owned(), sign(&insider.root_document(version), &[&insider.root])),
        "snapshot" => {
            let document = insider.snapshot_document(version, &[]);
            (wire.to_owned(), sign(&document, &[&insider.snapshot]))
        }
        _ => insider.file(wire, version),
    };
    if wire == "snapshot" { vec![file] } else { insider.complete(vec![file]) }
}

/// The next top-level targets, with `version` in the text where its version was.
fn spelled(insider: &Insider, version: &str) -> Vec<File> {
    let document = insider.targets_document("targets", 987_654);
    let text = String::from_utf8(sign(&document, &[&insider.targets])).unwrap();
    insider.complete(vec![("targets".into(), text.replace("987654", version).into_bytes())])
}

fn zero(insider: &Insider) -> Vec<File> {
    let document = with(insider.targets_document("targets", 1), "version", Some(Json::Integer(0)));
    insider.complete(vec![("targets".into(), sign(&document, &[&insider.targets]))])
}

const BAD_ROOT: &str = "ErrBadRoot";
const BAD: &str = "ErrBadTargets";

#[rustfmt::skip]
const VERSIONS: &[Case] = &[
    ("root, huge", |i| at(i, "root", HUGE), Refused(BAD_ROOT, "root has version 2147483647, expected 2")),
    ("root, beyond 32 bits", |i| at(i, "root", LARGEST), Refused(BAD_ROOT, "root has version 9007199254740991, expected 2")),
    ("root, a step too far", |i| at(i, "root", 3), Refused(BAD_ROOT, "root has version 3, expected 2")),
    ("root, again", |i| at(i, "root", 1), Refused(BAD_ROOT, "root has version 1, expected 2")),
    ("targets, huge", |i| at(i, "targets", HUGE), Refused(BAD, "targets has version 2147483647, expected ")),
    ("targets, a step too far", |i| at(i, "targets", i.next("targets") + 1), Refused(BAD, "expected ")),
    ("targets, again", |i| at(i, "targets", i.next("targets") - 1), Refused(BAD, "expected ")),
    ("targets, old", |i| at(i, "targets", 1), Refused(BAD, "targets has version 1, expected ")),
    ("targets, zero", zero, Refused(BAD, "targets.version must be a number from 1")),
    ("a delegation, huge", |i| at(i, "targets/alice", HUGE), Refused(BAD, "targets/alice has version 2147483647, expected ")),
    ("a delegation, a step too far", |i| at(i, "targets/alice", i.next("targets/alice") + 1), Refused(BAD, "expected ")),
    ("a delegation, from the beginning", |i| at(i, "targets/alice", 1), Refused(BAD, "notary witness")),
    ("negative", |i| spelled(i, "-1"), Refused(BAD, "")),
    ("a fraction", |i| spelled(i, "3.0"), Code("MALFORMED_JSON")),
    ("a text", |i| spelled(i, "\"3\""), Code("MALFORMED_JSON")),
    ("null", |i| spelled(i, "null"), Code("MALFORMED_JSON")),
    ("an exponent", |i| spelled(i, "3e0"), Code("MALFORMED_JSON")),
    ("beyond 63 bits", |i| spelled(i, "9223372036854775808"), Code("MALFORMED_JSON")),
    ("beyond everything", |i| spelled(i, &"9".repeat(4_000)), Code("MALFORMED_JSON")),
    ("with a zero in front", |i| spelled(i, "03"), Code("MALFORMED_JSON")),
];

#[rustfmt::skip]
const OF_SNAPSHOTS: &[Case] = &[
    ("huge", |i| at(i, "snapshot", HUGE), Refused("ErrBadSnapshot", "snapshot has version 2147483647, expected ")),
    ("a step too far", |i| at(i, "snapshot", i.next("snapshot") + 1), Refused("ErrBadSnapshot", "expected ")),
    ("again", |i| at(i, "snapshot", i.next("snapshot") - 1), Refused("ErrBadSnapshot", "expected ")),
    ("old", |i| at(i, "snapshot", 1), Refused("ErrBadSnapshot", "snapshot has version 1, expected ")),
];

#[tokio::test(flavor = "multi_thread")]
async fn versions_go_up_one_by_one() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/versions", false).await;
    try_all(&site, &mut insider, VERSIONS).await;
    let mut insider = site.begin("registry.test:5000/hostile/held-versions", true).await;
    try_all(&site, &mut insider, OF_SNAPSHOTS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_near_the_end() {
    let site = Site::start();
    for (number, (wire, version, name)) in [
        ("root", 3, BAD_ROOT),
        ("root", HUGE, BAD_ROOT),
        ("targets", HUGE, BAD),
        ("targets", LARGEST, BAD),
        ("targets/alice", HUGE, BAD),
        ("snapshot", HUGE, "ErrBadSnapshot"),
    ]
    .into_iter()
    .enumerate()
    {
        let gun = format!("registry.test:5000/hostile/begin{number}");
        let timestamp = site.key(&gun, "timestamp", reqwest::Method::GET).await;
        let mut insider = Insider::new(&gun, crate::site::now(), &timestamp, None);
        let honest = insider.first();
        let mut files = honest.clone();
        files.pop();
        if wire != "snapshot" {
            let changed = at(&insider, wire, version).remove(0);
            *files.iter_mut().find(|file| file.0 == wire).unwrap() = changed;
        }
        let number = if wire == "snapshot" { version } else { 1 };
        let snapshot = insider.snapshot_document(number, &files);
        files.push(("snapshot".into(), sign(&snapshot, &[&insider.snapshot])));
        let what = format!("{wire} {version}");
        judge(&what, site.post(&gun, &files).await, Refused(name, "has version ")).await.unwrap();
        assert_eq!(site.get(&crate::site::tuf(&gun, "root.json")).await.status(), 404, "{what}");
        site.publish(&mut insider, honest).await;
        site.is_readable(&insider, &mut crate::site::Reader::of(&gun)).await;
    }
}
