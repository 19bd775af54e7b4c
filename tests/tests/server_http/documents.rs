//! What is served, under which names, and for how long.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::wire::RepositoryList;
use bulla_tests::publisher::{self};
use bulla_tests::server::TestServer;
use reqwest::Method;

use crate::setting::{fill, header, raw, token, with_tag};

#[tokio::test]
async fn immutable_files_are_cached_for_ever_and_current_ones_are_revalidated() {
    let (server, _) = with_tag("r.io/app", b"{}").await;
    let immutable = "public, max-age=31536000, immutable";
    for (file, cache) in [
        ("timestamp.json", "no-cache"),
        ("root.json", "no-cache"),
        ("snapshot.json", "no-cache"),
        ("targets.json", "no-cache"),
        ("alice.json", "no-cache"),
        ("1.root.json", immutable),
        ("2.snapshot.json", immutable),
        ("1.targets.json", immutable),
        ("2.releases.json", immutable),
    ] {
        let path = format!("/tuf/r.io/app/metadata/{file}");
        let response = server.get(&path).await;
        assert_eq!(response.status(), 200, "{file}");
        assert_eq!(header(&response, "cache-control"), cache, "{file}");
        assert_eq!(header(&response, "content-type"), "application/json", "{file}");
        let etag = header(&response, "etag").to_owned();
        let bytes = response.bytes().await.expect("a body");
        assert_eq!(etag, format!("\"{}\"", Sha256Digest::of(&bytes)), "{file}");

        let known = server.send(server.request(Method::GET, &path).header("if-none-match", &etag)).await;
        assert_eq!(known.status(), 304, "{file}");
        assert_eq!(header(&known, "etag"), etag, "{file}");
        assert_eq!(header(&known, "cache-control"), cache, "{file}");
        assert!(known.bytes().await.expect("a body").is_empty(), "{file}");

        let head = server.send(server.request(Method::HEAD, &path)).await;
        assert_eq!(head.status(), 200, "{file}");
        assert_eq!(header(&head, "content-length"), bytes.len().to_string(), "{file}");
        assert!(head.bytes().await.expect("a body").is_empty(), "{file}");
    }
}

#[tokio::test]
async fn current_names_and_versions_give_the_same_bytes() {
    let (server, _) = with_tag("app", b"{}").await;
    for (current, version) in
        [("root", "1.root"), ("snapshot", "2.snapshot"), ("targets", "1.targets"), ("releases", "2.releases")]
    {
        let read = async |name: &str| {
            server.get(&format!("/tuf/app/metadata/{name}.json")).await.bytes().await.expect("a body")
        };
        assert_eq!(read(current).await, read(version).await);
    }
}

#[tokio::test]
async fn targets_come_by_digest_from_their_repository_only() {
    let (server, _) = with_tag("r.io/app", b"manifest").await;
    publisher::create(&server, "r.io/other").await;
    let digest = Sha256Digest::of(b"manifest");
    let response = server.get(&format!("/tuf/r.io/app/targets/{digest}.v1")).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "content-type"), "application/octet-stream");
    assert_eq!(header(&response, "x-content-type-options"), "nosniff");
    assert_eq!(header(&response, "etag"), format!("\"{digest}\""));
    assert_eq!(response.bytes().await.expect("a body"), "manifest");
    let document = server.get("/tuf/r.io/app/metadata/1.root.json").await.bytes().await.expect("a body");
    for absent in [
        format!("/tuf/r.io/app/targets/{}.v1", Sha256Digest::of(&document)),
        format!("/tuf/r.io/other/targets/{digest}.v1"),
        format!("/tuf/r.io/app/targets/{}.v1", Sha256Digest::of(b"else")),
        format!("/tuf/r.io/app/targets/{digest}"),
    ] {
        assert_eq!(server.get(&absent).await.status(), 404, "{absent}");
    }
    let in_folder = server.get(&format!("/tuf/r.io/app/targets/dir/{digest}.v1")).await;
    assert_eq!(in_folder.status(), 200);
}

#[tokio::test]
async fn repositories_may_be_called_like_parts_of_urls() {
    let server = TestServer::start().await;
    let names = ["a", "a/metadata", "a/metadata/b", "a/targets", "a/targets/b", "localhost:5000/a", "a/head"];
    for name in names {
        fill(&server, name, name.as_bytes()).await;
    }
    for name in names {
        let encoded = name.replace('/', "%2F").replace(':', "%3A");
        for spelling in [name, &encoded] {
            let timestamp = server.get(&format!("/tuf/{spelling}/metadata/timestamp.json")).await;
            assert_eq!(timestamp.status(), 200, "{spelling}");
            let digest = Sha256Digest::of(name.as_bytes());
            let target = server.get(&format!("/tuf/{spelling}/targets/{digest}.v1")).await;
            assert_eq!(target.bytes().await.expect("a body"), name, "{spelling}");
            let head = server.get(&format!("/api/v1/repositories/{spelling}/head")).await;
            assert_eq!(head.status(), 200, "{spelling}");
        }
    }
    let list: RepositoryList = server.get("/api/v1/repositories?max=3").await.json().await.expect("a list");
    assert_eq!(list.repositories.len(), 3);
    let next = list.next.expect("there are more").to_string();
    let rest: RepositoryList =
        server.get(&format!("/api/v1/repositories?after={next}")).await.json().await.expect("a list");
    assert_eq!((rest.repositories.len(), rest.next), (4, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_cannot_climb_in_any_spelling() {
    let (server, _) = with_tag("a", b"{}").await;
    for path in [
        "/tuf/../a/metadata/timestamp.json",
        "/tuf/b/../a/metadata/timestamp.json",
        "/tuf/b/%2e%2e/a/metadata/timestamp.json",
        "/tuf/b%2f%2e%2e%2fa/metadata/timestamp.json",
        "/tuf/%2e/a/metadata/timestamp.json",
        "/tuf/a/metadata/..%2fmetadata%2ftimestamp.json",
        "/tuf//a/metadata/timestamp.json",
        "/tuf/a%00/metadata/timestamp.json",
    ] {
        let line = raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"));
        assert!(line.starts_with("HTTP/1.1 404"), "{path}: {line}");
    }
    for method in ["POST", "PUT", "DELETE"] {
        let line = raw(
            &server,
            &format!(
                "{method} /tuf/a/metadata/timestamp.json HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
            ),
        );
        assert!(line.starts_with("HTTP/1.1 405"), "{method}: {line}");
    }
}

#[tokio::test]
async fn large_metadata_is_compressed_but_never_the_timestamp() {
    let (server, mut publisher) = with_tag("a", b"{}").await;
    for at in 0..20 {
        let token = token(&server, "a").await;
        let upload = publisher.tag(&format!("tag-{at}"), b"{}");
        assert_eq!(server.send(server.publish("a", Some(&token), 100 + at, &upload)).await.status(), 200);
    }
    let get = async |file: &str| {
        let path = format!("/tuf/a/metadata/{file}");
        server.send(server.request(Method::GET, &path).header("accept-encoding", "gzip")).await
    };
    let releases = get("releases.json").await;
    assert_eq!(header(&releases, "content-encoding"), "gzip");
    assert!(header(&releases, "vary").contains("accept-encoding"));
    let etag = header(&releases, "etag").to_owned();
    assert!(etag.starts_with("W/\""), "{etag}");
    let again = server.request(Method::GET, "/tuf/a/metadata/releases.json").header("if-none-match", &etag);
    assert_eq!(server.send(again).await.status(), 304);
    assert_eq!(header(&get("timestamp.json").await, "content-encoding"), "");
}

#[tokio::test]
async fn heads_carry_their_token_as_a_tag() {
    let (server, _) = with_tag("a", b"{}").await;
    let response = server.get("/api/v1/repositories/a/head").await;
    let etag = header(&response, "etag").to_owned();
    let head: bulla_keys_schema::wire::Head = response.json().await.expect("a head");
    assert_eq!(etag, format!("\"{}\"", head.token));
    let roles: Vec<_> = head.current.keys().map(ToString::to_string).collect();
    assert_eq!(roles, ["root", "targets", "snapshot", "timestamp", "alice", "releases"]);
}
