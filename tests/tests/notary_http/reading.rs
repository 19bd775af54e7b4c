//! What is read, under whatever spelling of its URL.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RepositoryName;
use bulla_tests::legacy::{Owner, follow, publish, refusal};
use bulla_tests::publisher;
use bulla_tests::server::TestServer;
use reqwest::Method;
use serde_json::{Value, json};

use crate::setting::{DAY, GUN, header, send, tuf, with_tag};

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
