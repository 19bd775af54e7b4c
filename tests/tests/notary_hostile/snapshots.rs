//! Snapshots of an owner who holds the key: compared with what is stored, or one upload could
//! point everybody to documents that nobody has.

use bulla_keys_schema::json::Json;
use bulla_tests::legacy::File;
use bulla_tests::notary::Notary;

use crate::case::Answer::{Refused, Taken};
use crate::case::{Case, judge, try_all};
use crate::insider::{Insider, Key, info, object, sign, with};
use crate::site::{Reader, Site, now, tuf};

const BAD: &str = "ErrBadSnapshot";
const OTHER: &str = "lists other bytes than those stored or uploaded";

/// The next snapshot of what is published and of `files`, changed by `change`, signed by `key`.
fn signed(
    insider: &Insider,
    key: &Key,
    mut files: Vec<File>,
    change: impl FnOnce(Json) -> Json,
) -> Vec<File> {
    let document = change(insider.snapshot_document(insider.next("snapshot"), &files));
    files.push(("snapshot".into(), sign(&document, &[key])));
    files
}

fn snapshot(insider: &Insider, change: impl FnOnce(Json) -> Json) -> Vec<File> {
    signed(insider, &insider.snapshot, Vec::new(), change)
}

fn member(insider: &Insider, path: &str, value: Json) -> Vec<File> {
    snapshot(insider, |document| with(document, path, Some(value)))
}

/// A wire name holds a slash, which separates the parts of a path.
fn meta(insider: &Insider, change: impl FnOnce(&mut bulla_keys_schema::json::Object)) -> Vec<File> {
    snapshot(insider, |document| {
        let listed = document.as_object().and_then(|d| d.get("meta")?.as_object()).unwrap();
        let mut listed = listed.clone();
        change(&mut listed);
        with(document, "meta", Some(Json::Object(listed)))
    })
}

fn lists(insider: &Insider, wire: &str, listed: Json) -> Vec<File> {
    meta(insider, |meta| drop(meta.insert(wire.to_owned(), listed)))
}

fn forgets(insider: &Insider, wire: &str) -> Vec<File> {
    meta(insider, |meta| drop(meta.remove(wire).unwrap()))
}

/// The next targets, with a snapshot that still lists the old ones.
fn behind(insider: &Insider, wire: &str) -> Vec<File> {
    let mut files = snapshot(insider, |document| document);
    files.push(insider.file(wire, insider.next(wire)));
    files
}

fn without(insider: &Insider, path: &str) -> Vec<File> {
    snapshot(insider, |document| with(document, path, None))
}

#[rustfmt::skip]
const SNAPSHOTS: &[Case] = &[
    ("points to targets that nobody has", |i| lists(i, "targets", info(b"nonsense")), Refused(BAD, OTHER)),
    ("points to a root that nobody has", |i| lists(i, "root", info(b"nonsense")), Refused(BAD, OTHER)),
    ("points to a delegation that nobody has", |i| lists(i, "targets/alice", info(b"nonsense")), Refused(BAD, OTHER)),
    ("points to a role that nobody has", |i| lists(i, "targets/bob", info(b"nonsense")), Refused(BAD, "neither stored nor uploaded: targets/bob")),
    ("swaps two delegations", |i| { let bytes = &i.published["targets/releases"].1; lists(i, "targets/alice", info(bytes)) }, Refused(BAD, OTHER)),
    ("points to a version before", |i| { let (version, _) = i.published["targets"]; lists(i, "targets", info(&i.file("targets", version - 1).1)) }, Refused(BAD, OTHER)),
    ("another length", |i| member(i, "meta/targets/length", Json::Integer(1)), Refused(BAD, OTHER)),
    ("a length beyond everything", |i| member(i, "meta/targets/length", Json::Integer((1 << 53) - 1)), Refused(BAD, OTHER)),
    ("no length", |i| without(i, "meta/targets/length"), Refused(BAD, "length")),
    ("another SHA-512", |i| member(i, "meta/targets/hashes/sha512", crate::insider::base64(&[0; 64]).into()), Refused(BAD, OTHER)),
    ("SHA-256 alone", |i| snapshot(i, |d| with(with(d, "meta/targets/hashes/sha512", None), "meta/root/hashes/sha512", None)), Taken),
    ("SHA-512 alone", |i| without(i, "meta/targets/hashes/sha256"), Refused(BAD, "sha256")),
    ("a hash that Go cannot read", |i| member(i, "meta/targets/hashes/md5", "!!!".into()), Refused(BAD, "base64")),
    ("no targets", |i| forgets(i, "targets"), Refused(BAD, "lists root and targets")),
    ("no root", |i| forgets(i, "root"), Refused(BAD, "lists root and targets")),
    ("nothing", |i| member(i, "meta", object([])), Refused(BAD, "lists root and targets")),
    ("lists itself", |i| lists(i, "snapshot", info(b"")), Refused(BAD, "root or a targets role")),
    ("lists the timestamp", |i| lists(i, "timestamp", info(b"")), Refused(BAD, "root or a targets role")),
    ("names with endings", |i| lists(i, "targets.json", info(b"")), Refused(BAD, "root or a targets role")),
    ("a name that leads elsewhere", |i| lists(i, "targets/../../../etc/passwd", info(b"")), Refused(BAD, "root or a targets role")),
    ("a name to break a terminal", |i| lists(i, "\u{1b}[2J\n", info(b"")), Refused(BAD, "root or a targets role")),
    ("a version in what it lists", |i| member(i, "meta/targets/version", Json::Integer(1)), Taken),
    ("somebody else signed it", |i| signed(i, &i.mallory, vec![], |d| d), Refused(BAD, "signed by 0 of 1")),
    ("the targets key signed it", |i| signed(i, &i.targets, vec![], |d| d), Refused(BAD, "signed by 0 of 1")),
    ("expired", |i| member(i, "expires", i.now.plus_seconds(-1).to_string().into()), Refused(BAD, "snapshot expired at ")),
    ("targets without a snapshot", |i| vec![i.file("targets", i.next("targets"))], Refused("ErrBadHierarchy", "has to send the snapshot along")),
    ("a delegation without a snapshot", |i| vec![i.file("targets/alice", i.next("targets/alice"))], Refused("ErrBadHierarchy", "has to send the snapshot along")),
    ("targets and a snapshot of the old ones", |i| behind(i, "targets"), Refused(BAD, OTHER)),
    ("a delegation and a snapshot of the old one", |i| behind(i, "targets/alice"), Refused(BAD, OTHER)),
    ("another type", |i| member(i, "_type", "Targets".into()), Refused(BAD, "_type")),
    ("a root in place of a snapshot", |i| vec![("snapshot".into(), i.published["root"].1.clone())], Refused(BAD, "snapshot: ")),
];

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_of_owners_are_compared_with_what_is_stored() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/snapshots", true).await;
    try_all(&site, &mut insider, SNAPSHOTS).await;
    // Where the server signs them, nobody else does.
    let mut insider = site.begin("registry.test:5000/hostile/server-snapshots", false).await;
    let foreign: &[Case] = &[(
        "a snapshot of the owner",
        |i| signed(i, &i.mallory, vec![], |d| d),
        Refused(BAD, "signed by 0 of 1"),
    )];
    try_all(&site, &mut insider, foreign).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_the_owner_forgets_can_be_published_again() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/forgets", true).await;
    let mut reader = Reader::of(&insider.gun);
    reader.read(&site).await.unwrap();
    let files = forgets(&insider, "targets/alice");
    site.publish(&mut insider, files).await;
    let seen = reader.read(&site).await.unwrap();
    assert!(!seen.delegated.contains_key("targets/alice"));
    if let Some(notary) = Notary::at(&site.server.url, &site.server.ca_cert) {
        notary.ok(&["list", &insider.gun]);
    }
    // Its counter goes on.
    let from_the_beginning = insider.complete(vec![insider.file("targets/alice", 1)]);
    let answer = site.post(&insider.gun, &from_the_beginning).await;
    judge("from the beginning", answer, Refused("ErrBadTargets", "targets/alice has version 1, expected 3"))
        .await
        .unwrap();
    let files = insider.tagged(&["targets/alice"], "v1");
    site.publish(&mut insider, files).await;
    site.is_readable(&insider, &mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_snapshot_of_the_owner_is_served_and_can_be_repaired() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/hostile/expired", true).await;
    let end = now().plus_seconds(2);
    let files = member(&insider, "expires", end.to_string().into());
    site.publish(&mut insider, files).await;
    while !end.is_over(now()) {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let snapshot = &insider.published["snapshot"].1;
    for (file, bytes) in [("snapshot.json", Some(snapshot)), ("timestamp.json", None)] {
        let answer = site.get(&tuf(&insider.gun, file)).await;
        assert_eq!(answer.status(), 200, "{file}");
        let served = answer.bytes().await.unwrap();
        assert!(bytes.is_none_or(|bytes| served == *bytes), "{file}");
    }
    // Nothing but a timestamp can be made of nothing; the owner repairs the rest.
    judge("nothing", site.post_body(&insider.gun, "--b--\r\n").await, Taken).await.unwrap();
    let files = insider.tagged(&["targets"], "v1");
    site.publish(&mut insider, files).await;
    site.is_readable(&insider, &mut Reader::of(&insider.gun)).await;
}
