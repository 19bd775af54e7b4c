//! Uploads that are refused, each with the code that old clients know.

use bulla_server::config::LimitsConfig;
use bulla_tests::legacy::{File, Owner, expires, follow, post, publish, refusal, shown, version};
use bulla_tests::server::{Setup, TestServer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::setting::{DAY, GUN, header, tuf, versions, with_tag};

#[tokio::test]
async fn what_is_no_upload_is_refused_by_its_code() {
    let (server, owner) = with_tag().await;
    let json = br#"{"signed":{"version":1},"signatures":[]}"#.to_vec();
    let named = |name: &str, bytes: &[u8]| vec![(name.to_owned(), bytes.to_vec())];
    for (files, code, detail) in [
        (named("", &json), "NO_FILENAME", Value::Null),
        (named("releases", &json), "INVALID_ROLE", json!("releases")),
        (named("targets/Alice", &json), "INVALID_ROLE", json!("targets/Alice")),
        (named("targets/a/../b.json", &json), "INVALID_ROLE", json!("targets/a/../b")),
        (named("../root", &json), "INVALID_ROLE", json!("../root")),
    ] {
        let answer = server.send(post(&server, GUN, &files)).await;
        assert_eq!(refusal(answer).await, (400, code.to_owned(), detail), "{files:?}");
    }
    for bytes in
        [b"".as_slice(), b"[]", b"{}", br#"{"signed":{}}"#, br#"{"signed":{"version":"1"}}"#, b"{\"signed"]
    {
        for role in ["root", "targets/alice", "timestamp"] {
            let answer = server.send(post(&server, GUN, &named(role, bytes))).await;
            let (status, code, _) = refusal(answer).await;
            assert_eq!((status, &*code), (400, "MALFORMED_JSON"), "{role} {bytes:?}");
        }
    }
    for media_type in ["application/json", "multipart/form-data"] {
        let request = server.request(Method::POST, &tuf(GUN, "")).header("content-type", media_type);
        let (status, code, _) = refusal(server.send(request.body("{}")).await).await;
        assert_eq!((status, &*code), (400, "MALFORMED_UPLOAD"), "{media_type}");
    }
    let cut = server.request(Method::POST, &tuf(GUN, "")).body("--b\r\nContent-Disp");
    let cut = cut.header("content-type", "multipart/form-data; boundary=b");
    assert_eq!(refusal(server.send(cut).await).await.1, "MALFORMED_UPLOAD");
    // Nothing of all that has changed anything.
    assert_eq!(follow(&server, GUN).await.top.targets().bytes(), &owner.file("targets").1);
}

/// Bad uploads, each with the error that an old client shows and a part of its text.
fn bad_uploads(owner: &Owner) -> Vec<(&'static str, Vec<File>, &'static str, &'static str)> {
    let targets = |number| {
        let mut document = owner.targets.clone();
        document.version = version(number);
        ("targets".to_owned(), owner.sign_targets(document))
    };
    let (name, signed) = owner.file("targets");
    let reserialised = |from: &str, to: &str| {
        let text = String::from_utf8(targets(4).1).expect("text");
        assert!(text.contains(from), "{text}");
        vec![(name.clone(), text.replacen(from, to, 1).into_bytes())]
    };
    let mut expired = owner.targets.clone();
    (expired.version, expired.expires) = (version(4), expires().plus_seconds(-20 * 365 * DAY));
    let snapshot = owner.snapshot_of(9, Default::default(), expires());
    vec![
        (
            "the same version",
            vec![(name.clone(), signed)],
            "ErrBadTargets",
            "targets has version 3, expected 4",
        ),
        ("a huge version", vec![targets(2_147_483_647)], "ErrBadTargets", "expected 4"),
        (
            "a jump",
            vec![targets(7)],
            "ErrBadTargets",
            "targets has version 7, expected 4; run the command again",
        ),
        ("an old version", vec![targets(1)], "ErrBadTargets", "expected 4"),
        ("two contents", vec![targets(4), targets(5)], "ErrBadTargets", "targets was uploaded twice"),
        (
            "nobody's role",
            vec![("targets/bob".into(), targets(1).1)],
            "ErrBadTargets",
            "targets/bob is not delegated",
        ),
        (
            "another's signature",
            vec![("targets/alice".into(), targets(3).1)],
            "ErrBadTargets",
            "targets/alice: ",
        ),
        (
            "expired",
            vec![("targets".into(), owner.sign_targets(expired))],
            "ErrBadTargets",
            "targets expired at",
        ),
        ("the same root", vec![owner.root_file()], "ErrBadRoot", "root"),
        ("a foreign snapshot", vec![snapshot], "ErrBadSnapshot", "snapshot"),
        ("a wrong type", vec![("root".into(), targets(4).1)], "ErrBadRoot", "root: "),
        (
            "an unsigned member",
            reserialised("{\"signed\"", "{\"x\":1,\"signed\""),
            "ErrBadTargets",
            "targets: ",
        ),
        ("a changed byte", reserialised("\"version\":4", "\"version\":5"), "ErrBadTargets", "targets: "),
        (
            "a fraction",
            reserialised("\"version\":4", "\"version\":4,\"z\":1.5"),
            "ErrBadTargets",
            "targets: ",
        ),
        (
            "a member twice",
            reserialised("\"version\":4", "\"version\":4,\"version\":4"),
            "ErrBadTargets",
            "targets: ",
        ),
    ]
}

#[tokio::test]
async fn refused_uploads_are_explained_and_change_nothing() {
    let (server, owner) = with_tag().await;
    let before = follow(&server, GUN).await;
    for (what, files, name, part) in bad_uploads(&owner) {
        let answer = server.send(post(&server, GUN, &files)).await;
        if what == "a member twice" {
            assert_eq!(refusal(answer).await.1, "MALFORMED_JSON", "{what}");
            continue;
        }
        let (shown_name, text) = shown(answer).await;
        assert_eq!(shown_name, name, "{what}: {text}");
        assert!(text.contains(part), "{what}: {text}");
        assert!(!text.contains('\n') && !text.contains("hint:"), "{what}: {text}");
        let after = follow(&server, GUN).await;
        assert_eq!(after.top.timestamp().bytes(), before.top.timestamp().bytes(), "{what}");
    }
    let lone = server.send(post(&server, "r.io/new", &[owner.file("targets")])).await;
    let (name, text) = shown(lone).await;
    assert_eq!((name.as_str(), text.as_str()), ("ErrBadHierarchy", "root is missing"));
    let foreign = server.send(post(&server, "r.io/new", &owner.first())).await;
    assert_eq!(shown(foreign).await.0, "ErrBadRoot");
    assert_eq!(server.get(&tuf("r.io/new", "root.json")).await.status(), 404);
}

#[tokio::test]
async fn a_snapshot_that_points_nowhere_is_refused() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, GUN, true).await;
    publish(&server, GUN, &owner.first()).await;
    let good = owner.snapshot(3);
    let tagged = owner.tag("targets", "v1");
    let nonsense = owner.snapshot(3);
    for (what, files) in [
        ("lists what was not sent", vec![nonsense.clone()]),
        ("lists what was replaced", vec![tagged.clone(), good]),
        ("lists nothing", vec![owner.snapshot_of(3, Default::default(), expires())]),
        ("a jump", vec![tagged.clone(), owner.snapshot(4)]),
        ("missing", vec![tagged.clone()]),
    ] {
        let (name, text) = shown(server.send(post(&server, GUN, &files)).await).await;
        assert!(["ErrBadSnapshot", "ErrBadHierarchy"].contains(&&*name), "{what}: {name} {text}");
        assert!(text.contains("snapshot"), "{what}: {text}");
        follow(&server, GUN).await;
    }
    publish(&server, GUN, &[tagged, nonsense]).await;
    assert_eq!(versions(&server).await, (2, 3));
}

#[tokio::test]
async fn uploads_have_their_limits() {
    let limits = LimitsConfig { body_bytes: 64 * 1024, parts: 4, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let json = br#"{"signed":{"version":1}}"#.to_vec();
    let many: Vec<File> = (0..5).map(|at| (format!("targets/a{at}"), json.clone())).collect();
    let (_, text) = shown(server.send(post(&server, GUN, &many)).await).await;
    assert_eq!(text, "there are more than 4 parts");
    let long = [("timestamp".to_owned(), vec![b' '; 20_000])];
    let (_, text) = shown(server.send(post(&server, GUN, &long)).await).await;
    assert_eq!(text, "timestamp is longer than 16384 bytes");
    let endless = [("targets".to_owned(), vec![b' '; 100_000])];
    let (_, text) = shown(server.send(post(&server, GUN, &endless)).await).await;
    assert_eq!(text, "the body is longer than 65536 bytes");
    // Whoever takes all the memory keeps nobody waiting.
    let _all =
        server.app.bodies.acquire_many(u32::try_from(server.app.bodies.available_permits()).expect("few"));
    let _all = _all.await.expect("free");
    let answer = server.send(post(&server, GUN, &many)).await;
    assert_eq!(header(&answer, "retry-after"), "1");
    assert_eq!(refusal(answer).await.0, 503);
}
