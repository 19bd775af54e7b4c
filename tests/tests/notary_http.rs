//! Notary's routes over a real listener: what old clients send and how they are answered.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::TopLevelRole;
use bulla_keys_schema::names::RepositoryName;
use bulla_server::config::LimitsConfig;
use bulla_server::store::TrustStore as _;
use bulla_server::store::memory::MemoryStore;
use bulla_tests::legacy::{
    File, Owner, expires, follow, online_key, post, publish, refusal, shown, version, wire_role,
};
use bulla_tests::publisher;
use bulla_tests::server::{Setup, TestServer, problem};
use reqwest::{Method, Response};
use serde_json::{Value, json};

const GUN: &str = "localhost:5000/team/app";
const DAY: i64 = 24 * 3600;

fn tuf(gun: &str, file: &str) -> String {
    format!("/v2/{gun}/_trust/tuf/{file}")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

async fn send(server: &TestServer, method: Method, path: &str) -> Response {
    server.send(server.request(method, path)).await
}

/// A server with one repository of docker's layout that holds the tag `v1`.
async fn with_tag() -> (TestServer, Owner) {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, GUN, false).await;
    publish(&server, GUN, &owner.first()).await;
    owner.delegate(&["targets/releases", "targets/alice"]);
    let files =
        [owner.file("targets"), owner.tag("targets/releases", "v1"), owner.tag("targets/alice", "v1")];
    publish(&server, GUN, &files).await;
    (server, owner)
}

/// Documents as they are on the wire, by version.
async fn versions(server: &TestServer) -> (u64, u64) {
    let seen = follow(server, GUN).await;
    (seen.top.timestamp().version().get(), seen.top.snapshot().version().get())
}

#[tokio::test]
async fn urls_that_name_nothing_are_answered_in_notarys_words() {
    let (server, _) = with_tag().await;
    let unknown = "r.io/unknown";
    for (method, path, status, code, detail) in [
        (Method::GET, "/v2/x".to_owned(), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::GET, "/v2/_catalog".to_owned(), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::POST, "/v2/".to_owned(), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::PUT, tuf(GUN, ""), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::POST, tuf(GUN, "root.json"), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::DELETE, tuf(GUN, "root.json"), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::GET, tuf(GUN, ""), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::GET, tuf(GUN, "targets.key"), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::POST, tuf(GUN, "root.key"), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::GET, tuf("NO NAME", "root.json"), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::DELETE, tuf("r.io/No", ""), 404, "METADATA_NOT_FOUND", Value::Null),
        (Method::POST, tuf("r.io/No", ""), 400, "INVALID_GUN", json!("r.io/No is no repository name")),
        (Method::GET, tuf(unknown, "root.json"), 404, "METADATA_NOT_FOUND", json!({})),
        (Method::GET, tuf(unknown, "timestamp.json"), 404, "METADATA_NOT_FOUND", json!({})),
        (Method::GET, tuf(GUN, "targets/bob.json"), 404, "METADATA_NOT_FOUND", json!({})),
        (Method::GET, tuf(GUN, "9.root.json"), 404, "METADATA_NOT_FOUND", json!({})),
        (
            Method::GET,
            tuf(GUN, &format!("root.{}.json", "0".repeat(64))),
            404,
            "METADATA_NOT_FOUND",
            json!({}),
        ),
    ] {
        let answer = send(&server, method.clone(), &path).await;
        assert_eq!(header(&answer, "cache-control"), "no-store", "{method} {path}");
        assert_eq!(refusal(answer).await, (status, code.to_owned(), detail), "{method} {path}");
    }
    for (method, path) in [(Method::PATCH, tuf(GUN, "")), (Method::OPTIONS, "/v2/".to_owned())] {
        let answer = send(&server, method, &path).await;
        assert_eq!(answer.status(), 405, "{path}");
        assert_eq!(answer.text().await.expect("a body"), "");
    }
    let ping = send(&server, Method::GET, "/v2/").await;
    assert_eq!(header(&ping, "content-type"), "text/plain; charset=utf-8");
    assert_eq!((ping.status().as_u16(), &*ping.text().await.expect("a body")), (200, "{}"));
    let health = send(&server, Method::GET, "/_notary_server/health").await;
    assert_eq!((health.status().as_u16(), &*health.text().await.expect("a body")), (200, "{}"));
}

#[tokio::test]
async fn documents_come_with_notarys_headers_and_a_tag() {
    let (server, _) = with_tag().await;
    let current = "public, max-age=300, s-maxage=300, must-revalidate";
    let immutable = "public, max-age=2592000, s-maxage=2592000";
    let seen = follow(&server, GUN).await;
    let by_digest = format!("snapshot.{}.json", seen.top.snapshot().digest());
    for (file, cache) in [
        ("timestamp.json", current),
        ("root.json", current),
        ("snapshot.json", current),
        ("targets.json", current),
        ("targets/releases.json", current),
        ("1.root.json", immutable),
        ("01.root.json", immutable),
        ("3.targets.json", immutable),
        ("2.targets/alice.json", immutable),
        (&by_digest, immutable),
    ] {
        let path = tuf(GUN, file);
        let answer = server.get(&path).await;
        assert_eq!(answer.status(), 200, "{file}");
        assert_eq!(header(&answer, "cache-control"), cache, "{file}");
        assert_eq!(header(&answer, "content-type"), "text/plain; charset=utf-8", "{file}");
        assert_eq!(header(&answer, "last-modified"), "", "{file}");
        let etag = header(&answer, "etag").to_owned();
        let bytes = answer.bytes().await.expect("a body");
        assert_eq!(etag, format!("\"{}\"", Sha256Digest::of(&bytes)), "{file}");

        let known = server.send(server.request(Method::GET, &path).header("if-none-match", &etag)).await;
        assert_eq!(known.status(), 304, "{file}");
        assert!(known.bytes().await.expect("a body").is_empty(), "{file}");

        let head = send(&server, Method::HEAD, &path).await;
        assert_eq!(head.status(), 200, "{file}");
        assert_eq!(header(&head, "content-length"), bytes.len().to_string(), "{file}");
    }
    let gzip = |file: &str| server.request(Method::GET, &tuf(GUN, file)).header("accept-encoding", "gzip");
    let root = server.send(gzip("root.json")).await;
    assert_eq!(header(&root, "content-encoding"), "gzip");
    assert!(header(&root, "etag").starts_with("W/\""));
    assert_eq!(header(&server.send(gzip("timestamp.json")).await, "content-encoding"), "");
}

/// Sends bytes that no careful client would; returns the whole answer.
fn raw(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn every_spelling_of_a_url_is_served_without_redirect() {
    let (server, _) = with_tag().await;
    let encoded = GUN.replace('/', "%2F").replace(':', "%3A");
    for path in [
        tuf(GUN, "timestamp.json"),
        format!("/{}", tuf(GUN, "timestamp.json")),
        "//v2/".to_owned(),
        tuf(&encoded, "timestamp.json"),
        tuf(&encoded, "targets%2Freleases.json"),
        format!("/v2/{encoded}%2F_trust%2Ftuf%2Ftimestamp.json"),
    ] {
        let answer = raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    for path in [
        format!("/v2/a/../{GUN}/_trust/tuf/timestamp.json"),
        format!("/v2/a/%2e%2e/{GUN}/_trust/tuf/timestamp.json"),
        format!("///v2/{GUN}/_trust/tuf/timestamp.json"),
        tuf(GUN, "targets/../timestamp.json"),
        tuf(GUN, "targets/%2e%2e/timestamp.json"),
    ] {
        let answer = raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_repository_lives_as_docker_wants_it() {
    let (server, mut owner) = with_tag().await;
    let seen = follow(&server, GUN).await;
    assert_eq!(seen.top.root().version().get(), 1);
    assert_eq!(seen.top.targets().version().get(), 3);
    for role in ["targets/releases", "targets/alice"] {
        assert!(seen.delegated[role].payload().targets.contains_key("v1"), "{role}");
    }
    // One document alone, and nothing at all, which renews.
    publish(&server, GUN, &[owner.tag("targets/releases", "v2")]).await;
    let before = versions(&server).await;
    publish(&server, GUN, &[]).await;
    assert_eq!(versions(&server).await, (before.0 + 1, before.1));
    // A signer who is removed stays listed, and comes back where he stopped.
    owner.undelegate("targets/alice");
    publish(&server, GUN, &[owner.file("targets")]).await;
    let seen = follow(&server, GUN).await;
    assert!(!seen.delegated.contains_key("targets/alice"));
    assert!(seen.top.snapshot().payload().meta.contains_key(&wire_role("targets/alice")));
    let old = owner.delegated["targets/alice"].clone();
    owner.delegate(&["targets/alice"]);
    publish(&server, GUN, &[owner.file("targets")]).await;
    assert_eq!(follow(&server, GUN).await.delegated["targets/alice"].version(), old.version);
    let restarted = post(&server, GUN, &[owner.file("targets/alice")]);
    let (name, text) = shown(server.send(restarted).await).await;
    assert_eq!(name, "ErrBadTargets");
    assert!(text.starts_with("targets/alice has version 1, expected 3; "), "{text}");
    assert!(text.contains("notary witness"), "{text}");
    owner.delegated.insert("targets/alice".into(), old);
    publish(&server, GUN, &[owner.tag("targets/alice", "v3")]).await;
    assert!(follow(&server, GUN).await.delegated["targets/alice"].payload().targets.contains_key("v3"));
}

#[tokio::test]
async fn an_owner_may_hold_the_snapshot_key() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, GUN, true).await;
    let files = owner.first();
    assert_eq!(files.len(), 3);
    let (name, text) = shown(server.send(post(&server, GUN, &files[..2])).await).await;
    assert_eq!(name, "ErrBadHierarchy", "{text}");
    publish(&server, GUN, &files).await;
    assert_eq!(versions(&server).await, (1, 2));
    // Only the timestamp can be renewed.
    publish(&server, GUN, &[]).await;
    assert_eq!(versions(&server).await, (2, 2));
    let tagged = owner.tag("targets", "v1");
    publish(&server, GUN, &[tagged, owner.snapshot(3)]).await;
    assert_eq!(versions(&server).await, (3, 3));
    publish(&server, GUN, &[owner.snapshot(4)]).await;
    // He hands the key over.
    let key = online_key(&server, GUN, "snapshot", Method::POST).await;
    let root = owner.rotate(TopLevelRole::Snapshot, &key);
    publish(&server, GUN, &[root]).await;
    assert_eq!(versions(&server).await, (5, 5));
    publish(&server, GUN, &[owner.tag("targets", "v2")]).await;
    assert!(follow(&server, GUN).await.top.targets().payload().targets.contains_key("v2"));
}

#[tokio::test]
async fn publishers_of_different_roles_do_not_disturb_each_other() {
    let (server, mut owner) = with_tag().await;
    for round in 0..10 {
        let one = [owner.tag("targets/releases", &format!("r{round}"))];
        let other = [owner.tag("targets/alice", &format!("a{round}"))];
        tokio::join!(publish(&server, GUN, &one), publish(&server, GUN, &other));
    }
    let seen = follow(&server, GUN).await;
    assert_eq!(seen.delegated["targets/releases"].payload().targets.len(), 11);
    assert_eq!(seen.delegated["targets/alice"].payload().targets.len(), 11);
}

#[tokio::test]
async fn old_documents_stay_reachable_by_their_digest() {
    let (server, mut owner) = with_tag().await;
    let before = follow(&server, GUN).await;
    let name: RepositoryName = GUN.parse().expect("a name");
    for round in 0..3 {
        publish(&server, GUN, &[owner.tag("targets/releases", &format!("r{round}"))]).await;
        server.clock.advance(8 * DAY);
        assert!(server.app.publisher.renew(&name).await.expect("renewed"));
    }
    for (role, digest) in [
        ("snapshot", before.top.snapshot().digest()),
        ("targets", before.top.targets().digest()),
        ("targets/releases", before.delegated["targets/releases"].digest()),
    ] {
        let answer = server.get(&tuf(GUN, &format!("{role}.{digest}.json"))).await;
        assert_eq!(answer.status(), 200, "{role}");
        assert_eq!(Sha256Digest::of(&answer.bytes().await.expect("a body")), digest);
    }
    // Under no other name, though.
    let other = Owner::init(&server, "localhost:5000/team/other", false).await;
    publish(&server, "localhost:5000/team/other", &other.first()).await;
    let digest = before.top.snapshot().digest();
    let foreign = tuf("localhost:5000/team/other", &format!("snapshot.{digest}.json"));
    assert_eq!(server.get(&foreign).await.status(), 404);
}

#[tokio::test]
async fn file_names_say_the_role_and_nothing_else_counts() {
    let (server, mut owner) = with_tag().await;
    let releases = owner.tag("targets/releases", "v2").1;
    // As curl or a hand-written client may send it: other field names, `.json`, a timestamp on
    // top, one document twice with the same bytes.
    let mut body = Vec::new();
    for (field, name, bytes) in [
        ("x", "timestamp.json", br#"{"signed":{"version":1}}"#.as_slice()),
        ("files", "targets/releases.json", &releases),
        ("", "targets/releases", &releases),
    ] {
        body.extend_from_slice(b"--b\r\n");
        let disposition =
            format!("Content-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(disposition.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let request = server.request(Method::POST, &tuf(GUN, "")).body(body);
    let answer = server.send(request.header("content-type", "multipart/form-data; boundary=b")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    let seen = follow(&server, GUN).await;
    assert!(seen.delegated["targets/releases"].payload().targets.contains_key("v2"));
}

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

#[tokio::test]
async fn keys_stay_the_same_until_a_root_lists_them() {
    let server = TestServer::start().await;
    let key = async |role, method| online_key(&server, GUN, role, method).await;
    let (get, post) = (Method::GET, Method::POST);
    let first = key("timestamp", get.clone()).await;
    assert!(first == key("timestamp", get.clone()).await);
    assert!(first == key("timestamp", post.clone()).await);
    assert!(first != key("snapshot", get.clone()).await);
    assert!(first != online_key(&server, "r.io/other", "timestamp", get.clone()).await);

    let mut owner = Owner::init(&server, GUN, true).await;
    publish(&server, GUN, &owner.first()).await;
    assert!(first == key("timestamp", get.clone()).await);
    let next = key("timestamp", post.clone()).await;
    assert!(first != next && next == key("timestamp", post.clone()).await);
    assert!(first == key("timestamp", get.clone()).await);
    // The snapshot key is the owner's: both name the one that would take over.
    let snapshot = key("snapshot", get.clone()).await;
    assert!(&snapshot != owner.snapshot_key() && snapshot == key("snapshot", post.clone()).await);

    let root = owner.rotate(TopLevelRole::Timestamp, &next);
    publish(&server, GUN, &[root, owner.snapshot(3)]).await;
    assert!(next == key("timestamp", get.clone()).await);
    let third = key("timestamp", post.clone()).await;
    assert!(third != first && third != next);
    assert!(snapshot == key("snapshot", post.clone()).await);
    // A key that is none of this server's.
    let foreign = owner.snapshot_key().clone();
    let root = owner.rotate(TopLevelRole::Timestamp, &foreign);
    let (name, text) = shown(server.send(bulla_tests::legacy::post(&server, GUN, &[root])).await).await;
    assert_eq!(name, "ErrBadRoot");
    assert!(text.contains("notary key rotate GUN timestamp -r"), "{text}");
    // The server's two keys may move one after the other, and back to the owner.
    let mut owner = Owner::init(&server, "r.io/a", false).await;
    publish(&server, "r.io/a", &owner.first()).await;
    for (role, wire) in [(TopLevelRole::Timestamp, "timestamp"), (TopLevelRole::Snapshot, "snapshot")] {
        let next = online_key(&server, "r.io/a", wire, post.clone()).await;
        let root = owner.rotate(role, &next);
        publish(&server, "r.io/a", &[root]).await;
        assert!(next == online_key(&server, "r.io/a", wire, get.clone()).await);
        follow(&server, "r.io/a").await;
    }
}

#[tokio::test]
async fn removal_forgets_the_documents_but_neither_keys_nor_versions() {
    let (server, mut owner) = with_tag().await;
    let neighbour = format!("{GUN}2");
    let other = Owner::init(&server, &neighbour, false).await;
    publish(&server, &neighbour, &other.first()).await;
    let before = follow(&server, GUN).await;
    for _ in 0..2 {
        let answer = send(&server, Method::DELETE, &tuf(GUN, "")).await;
        assert_eq!((answer.status().as_u16(), &*answer.text().await.expect("a body")), (200, ""));
        assert_eq!(server.get(&tuf(GUN, "root.json")).await.status(), 404);
        let file = format!("targets.{}.json", before.top.targets().digest());
        assert_eq!(server.get(&tuf(GUN, &file)).await.status(), 404);
    }
    follow(&server, &neighbour).await;
    let unknown = send(&server, Method::DELETE, &tuf("r.io/unknown", "")).await;
    assert_eq!(unknown.status(), 200);
    // A client that still has everything publishes it anew: the same root, the next targets.
    owner.delegated.clear();
    let files = [owner.root_file(), owner.tag("targets", "v9")];
    publish(&server, GUN, &files).await;
    let after = follow(&server, GUN).await;
    assert_eq!(after.top.targets().version().get(), 4);
    assert!(after.top.timestamp().version() > before.top.timestamp().version());
    assert!(after.top.snapshot().version() > before.top.snapshot().version());
}

#[tokio::test]
async fn the_two_modes_do_not_mix() {
    let (server, owner) = with_tag().await;
    let (mut publisher, receipt) = publisher::create(&server, "r.io/spec").await;
    for file in ["root.json", "timestamp.json", "1.root.json"] {
        assert_eq!(server.get(&tuf("r.io/spec", file)).await.status(), 404, "{file}");
    }
    let upload = post(&server, "r.io/spec", &owner.first());
    let (_, text) = shown(server.send(upload).await).await;
    assert!(text.starts_with("r.io/spec is in spec mode") && text.contains("bulla sign"), "{text}");
    for (method, file) in
        [(Method::GET, "timestamp.key"), (Method::POST, "snapshot.key"), (Method::DELETE, "")]
    {
        let answer = send(&server, method, &tuf("r.io/spec", file)).await;
        assert!(shown(answer).await.1.contains("spec mode"), "{file}");
    }
    assert_eq!(server.get("/tuf/r.io/spec/metadata/root.json").await.status(), 200);

    let head = server.app.store.head(&GUN.parse().expect("a name")).await.expect("read").expect("there");
    let parts = publisher.tag("v1", b"{}");
    let upload = server.publish(GUN, Some(&head.token.to_string()), 1, &parts);
    let problem = problem(server.send(upload).await).await;
    assert!(problem.detail.contains("legacy mode"), "{problem:?}");
    assert_eq!(problem.rejection.expect("a rule").rule, "other-mode");
    let rotate = format!("/api/v1/repositories/{GUN}/online-keys/rotate");
    assert_eq!(send(&server, Method::POST, &rotate).await.status(), 422);
    drop(receipt);
}

#[tokio::test]
async fn the_online_roles_are_renewed_well_ahead() {
    let (server, _) = with_tag().await;
    let name: RepositoryName = GUN.parse().expect("a name");
    let renew = async || server.app.publisher.renew(&name).await.expect("it can be renewed");
    let (timestamp, snapshot) = versions(&server).await;
    assert!(!renew().await);
    let life = follow(&server, GUN).await.top.timestamp().expires().seconds_since(server_now(&server));
    assert_eq!(life, 14 * DAY);
    server.clock.advance(7 * DAY);
    assert!(renew().await);
    assert_eq!(versions(&server).await, (timestamp + 1, snapshot));
    // A snapshot that the server signs is renewed with it when its half-life is over.
    server.clock.advance(2 * 365 * DAY);
    assert!(renew().await);
    assert_eq!(versions(&server).await, (timestamp + 2, snapshot + 1));
}

#[tokio::test]
async fn a_snapshot_of_the_owner_is_never_signed_anew_and_served_although_it_expired() {
    let server = TestServer::start().await;
    let name: RepositoryName = GUN.parse().expect("a name");
    let mut owner = Owner::init(&server, GUN, true).await;
    let mut files = owner.first();
    let meta = || {
        let bytes = |file: &File| file.1.clone();
        let dialect = bulla_keys_schema::dialect::Dialect::Notary1;
        let of = |bytes: Vec<u8>| dialect.describe(version(1), &bytes, Sha256Digest::of(&bytes));
        [(wire_role("root"), of(bytes(&files[0]))), (wire_role("targets"), of(bytes(&files[1])))]
    };
    let soon = server_now(&server).plus_seconds(30 * DAY);
    files[2] = owner.snapshot_of(2, meta().into(), soon);
    publish(&server, GUN, &files).await;
    for _ in 0..10 {
        server.clock.advance(8 * DAY);
        assert!(server.app.publisher.renew(&name).await.expect("the timestamp can be renewed"));
        // Not at once again, as it would be if the snapshot counted.
        assert!(!server.app.publisher.renew(&name).await.expect("it can be looked at"));
    }
    for (file, bytes) in [("snapshot.json", &files[2].1), ("targets.json", &files[1].1)] {
        let answer = server.get(&tuf(GUN, file)).await;
        assert_eq!(answer.status(), 200, "{file}");
        assert_eq!(&answer.bytes().await.expect("a body")[..], bytes, "{file}");
    }
    let timestamp: Value = server.get(&tuf(GUN, "timestamp.json")).await.json().await.expect("JSON");
    assert_eq!(timestamp["signed"]["version"], 11);
    // The owner comes back and repairs it.
    let tagged = owner.tag("targets", "v1");
    publish(&server, GUN, &[tagged, owner.snapshot(3)]).await;
    assert_eq!(versions(&server).await, (12, 3));
}

fn server_now(server: &TestServer) -> bulla_keys_schema::time::UtcTime {
    bulla_server::clock::Clock::now(&*server.clock)
}

async fn feed(server: &TestServer, path: &str) -> Vec<Value> {
    let answer = server.get(path).await;
    assert_eq!(answer.status(), 200, "{path}");
    let body: Value = answer.json().await.expect("JSON");
    let records = body["records"].as_array().expect("a list").clone();
    assert_eq!(body["count"], records.len(), "{path}");
    records
}

#[tokio::test]
async fn changes_are_listed_as_notary_does() {
    let (server, mut owner) = with_tag().await;
    publisher::create(&server, "r.io/spec").await;
    let other = Owner::init(&server, "r.io/other", false).await;
    publish(&server, "r.io/other", &other.first()).await;
    publish(&server, GUN, &[owner.tag("targets/releases", "v2")]).await;
    send(&server, Method::DELETE, &tuf("r.io/other", "")).await;

    let all = feed(&server, "/v2/_trust/changefeed?records=0").await;
    let guns: Vec<&str> = all.iter().map(|record| record["GUN"].as_str().expect("a text")).collect();
    assert_eq!(guns, [GUN, GUN, "r.io/other", GUN, "r.io/other"]);
    let timestamp = follow(&server, GUN).await.top.timestamp().clone();
    assert_eq!(all[3]["SHA256"], timestamp.digest().to_string());
    assert_eq!(all[3]["Version"], timestamp.version().get());
    assert_eq!((&all[3]["Category"], &all[4]["Category"]), (&json!("update"), &json!("deletion")));
    assert_eq!((&all[4]["Version"], &all[4]["SHA256"]), (&json!(0), &json!("")));
    assert_eq!(all[0]["CreatedAt"], "2030-01-01T00:00:00Z");

    let ids: Vec<&str> = all.iter().map(|record| record["ID"].as_str().expect("a text")).collect();
    let own = format!("/v2/{GUN}/_trust/changefeed");
    for (path, query, expected) in [
        ("/v2/_trust/changefeed", "records=2".to_owned(), &ids[..2]),
        ("/v2/_trust/changefeed", format!("records=2&change_id={}", ids[1]), &ids[2..4]),
        ("/v2/_trust/changefeed", format!("records=9&change_id={}", ids[4]), &[]),
        ("/v2/_trust/changefeed", format!("records=-2&change_id={}", ids[3]), &ids[1..3]),
        ("/v2/_trust/changefeed", format!("records=-9&change_id={}", ids[1]), &ids[..1]),
        ("/v2/_trust/changefeed", "records=2&change_id=-1".to_owned(), &ids[3..]),
        ("/v2/_trust/changefeed", "records=-100&change_id=-1".to_owned(), &ids[..]),
        (&own, "records=10".to_owned(), &[ids[0], ids[1], ids[3]]),
        (&own, "records=-1&change_id=-1".to_owned(), &ids[3..4]),
        ("/v2/r.io/unknown/_trust/changefeed", "records=1".to_owned(), &[]),
        ("/v2/r.io/spec/_trust/changefeed", "records=1".to_owned(), &[]),
    ] {
        let found = feed(&server, &format!("{path}?{query}")).await;
        let found: Vec<&str> = found.iter().map(|record| record["ID"].as_str().expect("a text")).collect();
        assert_eq!(found, expected, "{path} {query}");
    }
    for query in ["", "?records=", "?records=x", "?records=1&change_id=x"] {
        let answer = server.get(&format!("/v2/_trust/changefeed{query}")).await;
        let (status, code, _) = refusal(answer).await;
        assert_eq!((status, &*code), (400, "INVALID_PARAMETERS"), "{query}");
    }
}

#[tokio::test]
async fn rights_are_those_of_notarys_scopes() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    let read = server.token("reader", "read", "localhost:5000/team/**", DAY);
    let write = server.token("ci", "publish", "localhost:5000/team/**", DAY);
    let admin = server.token("admin", "admin", "**", DAY);
    let other = server.token("other", "admin", "r.io/**", DAY);
    let request = |method: &Method, path: &str, token: Option<&str>| {
        let request = server.request(method.clone(), path);
        match token {
            Some(token) => request.basic_auth("anybody", Some(token)),
            None => request,
        }
    };
    let (get, post, delete) = (Method::GET, Method::POST, Method::DELETE);
    let changes = format!("/v2/{GUN}/_trust/changefeed?records=1");
    // Without credentials, then with each token: reader, publisher, admin, of other repositories.
    for (method, path, scope, expected) in [
        (&get, "/v2/".to_owned(), "*", [401, 200, 200, 200, 200]),
        (&get, tuf(GUN, "root.json"), "pull", [401, 404, 404, 404, 404]),
        (&get, tuf(GUN, "timestamp.key"), "push", [401, 401, 200, 200, 401]),
        (&post, tuf(GUN, "timestamp.key"), "*", [401, 401, 401, 200, 401]),
        (&post, tuf(GUN, ""), "push", [401, 401, 400, 400, 401]),
        (&delete, tuf(GUN, ""), "*", [401, 401, 401, 200, 401]),
        (&get, changes, "pull", [401, 200, 200, 200, 404]),
        (&get, "/v2/_trust/changefeed?records=1".to_owned(), "*", [401, 401, 401, 200, 401]),
        (&get, "/_notary_server/health".to_owned(), "", [200; 5]),
    ] {
        let tokens = [None, Some(&read), Some(&write), Some(&admin), Some(&other)];
        for (token, expected) in tokens.into_iter().zip(expected) {
            let answer = server.send(request(method, &path, token.map(String::as_str))).await;
            assert_eq!(answer.status(), expected, "{method} {path} {token:?}");
            if expected == 401 {
                assert_eq!(header(&answer, "www-authenticate"), "Basic realm=\"bullad\"", "{path}");
                let (_, code, detail) = refusal(answer).await;
                assert_eq!(code, "UNAUTHORIZED", "{path}");
                assert_eq!(detail[0]["Action"], scope, "{path}");
            }
        }
    }
    let bearer = server.request(Method::GET, "/v2/").bearer_auth(&read);
    assert_eq!(server.send(bearer).await.status(), 200);
    let wrong = server.request(Method::GET, "/v2/").basic_auth("x", Some("bulla_no"));
    assert_eq!(server.send(wrong).await.status(), 401);
}

#[tokio::test]
async fn what_credentials_open_is_not_for_shared_caches() {
    for (public, cache) in [
        (false, "private, max-age=300, must-revalidate"),
        (true, "public, max-age=300, s-maxage=300, must-revalidate"),
    ] {
        let server = TestServer::with(Setup { tokens: Some(public), ..Setup::default() }).await;
        let token = server.token("admin", "admin", "**", DAY);
        let with = |request: reqwest::RequestBuilder| request.bearer_auth(&token);
        let mut keys = Vec::new();
        for role in ["snapshot", "timestamp"] {
            let request = server.request(Method::GET, &tuf(GUN, &format!("{role}.key")));
            let body: Value = server.send(with(request)).await.json().await.expect("JSON");
            keys.push(bulla_tests::legacy::read_key(&body));
        }
        let owner = Owner::new(GUN, &keys[0], &keys[1]);
        assert_eq!(server.send(with(post(&server, GUN, &owner.first()))).await.status(), 200);
        let request = server.request(Method::GET, &tuf(GUN, "timestamp.json"));
        let answer = server.send(if public { request } else { with(request) }).await;
        assert_eq!((answer.status().as_u16(), header(&answer, "cache-control")), (200, cache));
        // Also where anybody may read, clients learn at `/v2/` how to log in.
        assert_eq!(server.get("/v2/").await.status(), 401);
    }
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::with(Setup { store: store.clone(), ..Setup::default() }).await;
    let owner = Owner::init(&server, GUN, false).await;
    publish(&server, GUN, &owner.first()).await;
    store.close().await.expect("closed");
    for answer in [
        server.get(&tuf(GUN, "timestamp.json")).await,
        server.get(&tuf(GUN, "timestamp.key")).await,
        server.send(post(&server, GUN, &[])).await,
        send(&server, Method::DELETE, &tuf(GUN, "")).await,
    ] {
        let (status, code, detail) = refusal(answer).await;
        assert_eq!((status, &*code, detail), (503, "UNAVAILABLE", Value::Null));
    }
    let health = server.get("/_notary_server/health").await;
    assert_eq!(health.status(), 503);
    let body: Value = health.json().await.expect("JSON");
    assert_eq!(body, json!({"store": "does not work at present"}));
}

#[tokio::test]
async fn notarys_routes_are_counted_by_themselves() {
    let (server, _) = with_tag().await;
    server.get(&tuf(GUN, "timestamp.json")).await;
    server.get(&tuf(GUN, "root.json")).await;
    let text = server.operate("/metrics").await.text().await.expect("a body");
    for line in [
        r#"bullad_http_requests_total{class="NotaryTimestamp",method="GET",status="200"} 1"#,
        r#"bullad_http_requests_total{class="NotaryMetadata",method="GET",status="200"} 1"#,
        r#"bullad_http_requests_total{class="NotaryPublish",method="POST",status="200"} 2"#,
        r#"bullad_http_requests_total{class="NotaryApi",method="GET",status="200"} 2"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
