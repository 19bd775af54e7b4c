//! Documents in memory: what one reader asked for needs no disk for the next one, and nobody gets anything
//! but what is current.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::wire::Head;
use bulla_server::config::LimitsConfig;
use bulla_server::store::embedded::{EmbeddedStore, Options};
use bulla_tests::publisher::{self, Publisher, receipt};
use bulla_tests::server::{Setup, TestServer};
use bytes::Bytes;
use reqwest::{Client, Method, Response};

const REPOSITORY: &str = "r.io/app";

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

fn url(file: &str) -> String {
    format!("/tuf/{REPOSITORY}/metadata/{file}")
}

/// Where a value lies.
fn blob(data: &Path, bytes: &[u8]) -> PathBuf {
    let name = Sha256Digest::of(bytes).to_string();
    data.join("blobs").join(&name[..2]).join(&name[2..4]).join(&name)
}

async fn bytes(server: &TestServer, file: &str) -> Bytes {
    let response = server.get(&url(file)).await;
    assert_eq!(response.status(), 200, "{file}");
    response.bytes().await.expect("a body")
}

async fn tag(server: &TestServer, publisher: &mut Publisher, name: &str) -> String {
    let head: Head = server
        .get(&format!("/api/v1/repositories/{REPOSITORY}/head"))
        .await
        .json()
        .await
        .expect("a repository");
    let upload = publisher.tag(name, b"{}");
    let id = publisher::operation(name, 1);
    receipt(server.send(server.publish(REPOSITORY, Some(&head.token), id, &upload)).await).await.token
}

/// A server on `data`, with a repository whose `releases.json` is a file of its own.
async fn with_long_document(data: &Path, kept_document_bytes: usize) -> (TestServer, Publisher, String) {
    let store = Arc::new(EmbeddedStore::open(data, &Options::default()).expect("a new store"));
    let limits = LimitsConfig { kept_document_bytes, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { store, limits, ..Setup::default() }).await;
    let (mut publisher, first) = publisher::create(&server, REPOSITORY).await;
    let mut token = first.token;
    for at in 0..50 {
        token = tag(&server, &mut publisher, &format!("v{at}")).await;
    }
    (server, publisher, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_asked_for_needs_no_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (server, ..) = with_long_document(&data, LimitsConfig::default().kept_document_bytes).await;
    let found = bytes(&server, "releases.json").await;
    std::fs::remove_file(blob(&data, &found)).expect("it has a file");
    let current: Head = server
        .get(&format!("/api/v1/repositories/{REPOSITORY}/head"))
        .await
        .json()
        .await
        .expect("a repository");
    let version = current.current[&"releases".parse().expect("a role")].version;
    assert_eq!(bytes(&server, "releases.json").await, found);
    assert_eq!(bytes(&server, &format!("{version}.releases.json")).await, found);

    let packed = server.request(Method::GET, &url("releases.json")).header("accept-encoding", "gzip");
    let packed = server.send(packed).await;
    assert_eq!((header(&packed, "content-encoding"), header(&packed, "vary")), ("gzip", "accept-encoding"));
    assert_eq!(header(&packed, "etag"), format!("W/\"{}\"", Sha256Digest::of(&found)));
    let length = packed.content_length().expect("it is known");
    let sent = packed.bytes().await.expect("a body");
    assert_eq!(u64::try_from(sent.len()), Ok(length));
    assert!(sent.len() < found.len());
    let unpacking = Client::builder().no_proxy().build().expect("a client");
    let unpacked = unpacking.get(server.url(&url("releases.json"))).send().await.expect("an answer");
    assert_eq!(unpacked.bytes().await.expect("a body"), found);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_room_all_is_read_from_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (server, ..) = with_long_document(&data, 0).await;
    let found = bytes(&server, "releases.json").await;
    assert_eq!(bytes(&server, "releases.json").await, found);
    std::fs::remove_file(blob(&data, &found)).expect("it has a file");
    assert_eq!(server.get(&url("releases.json")).await.status(), 500);
    assert_eq!(server.get(&url("timestamp.json")).await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_for_is_not_what_is_current_later() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (server, mut publisher, _) =
        with_long_document(&data, LimitsConfig::default().kept_document_bytes).await;
    let before = bytes(&server, "releases.json").await;
    let token = tag(&server, &mut publisher, "later").await;
    let after = bytes(&server, "releases.json").await;
    assert!(after != before && after.len() > before.len());
    // The one of before has its number still.
    let mut versions = Vec::new();
    for number in 1..60 {
        let response = server.get(&url(&format!("{number}.releases.json"))).await;
        if response.status() == 200 {
            versions.push(response.bytes().await.expect("a body"));
        }
    }
    assert!(versions.ends_with(&[before, after.clone()]));

    // Another repository of the same name, with the same versions.
    let remove = server.request(Method::DELETE, &format!("/api/v1/repositories/{REPOSITORY}"));
    receipt(server.send(remove.header("if-match", format!("\"{token}\""))).await).await;
    for file in ["releases.json", "targets.json", "1.root.json", "1.targets.json", "snapshot.json"] {
        assert_eq!(server.get(&url(file)).await.status(), 404, "{file}");
    }
    let mut anew = Publisher::new(&publisher::online_keys(&server, REPOSITORY).await);
    let upload = server.publish(REPOSITORY, None, 7, &anew.first());
    receipt(server.send(upload).await).await;
    tag(&server, &mut anew, "another").await;
    for file in ["releases.json", "2.releases.json"] {
        let found = bytes(&server, file).await;
        assert!(found != after && found != versions[1], "{file}");
    }
}

/// All who ask for a new document at once get it.
#[tokio::test(flavor = "multi_thread")]
async fn many_ask_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let (server, mut publisher, _) =
        with_long_document(&data, LimitsConfig::default().kept_document_bytes).await;
    for round in 0..5 {
        tag(&server, &mut publisher, &format!("round-{round}")).await;
        let ask = (0..40).map(|number| {
            let coding = if number % 2 == 0 { "gzip" } else { "identity" };
            let request = server.request(Method::GET, &url("releases.json"));
            server.send(request.header("accept-encoding", coding))
        });
        let answers = futures_util::future::join_all(ask).await;
        let tags: Vec<&str> = answers.iter().map(|answer| header(answer, "etag")).collect();
        let expected = format!("\"{}\"", Sha256Digest::of(&bytes(&server, "releases.json").await));
        assert!(tags.iter().all(|tag| tag.trim_start_matches("W/") == expected), "{tags:?}");
    }
}
