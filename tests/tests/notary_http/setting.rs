//! A server with one repository of Notary, and how it is asked.

use bulla_tests::legacy::{Owner, follow, publish};
use bulla_tests::server::TestServer;
use reqwest::{Method, Response};

pub const GUN: &str = "localhost:5000/team/app";

pub const DAY: i64 = 24 * 3600;

pub fn tuf(gun: &str, file: &str) -> String {
    format!("/v2/{gun}/_trust/tuf/{file}")
}

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

pub async fn send(server: &TestServer, method: Method, path: &str) -> Response {
    server.send(server.request(method, path)).await
}

/// A server with one repository of docker's layout that holds the tag `v1`.
pub async fn with_tag() -> (TestServer, Owner) {
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
pub async fn versions(server: &TestServer) -> (u64, u64) {
    let seen = follow(server, GUN).await;
    (seen.top.timestamp().version().get(), seen.top.snapshot().version().get())
}
