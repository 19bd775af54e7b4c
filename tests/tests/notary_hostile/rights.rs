//! Who may do nothing does nothing and learns nothing, and who may do something does it to
//! nothing else.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_server::clock::Clock as _;
use bulla_server::store::Position;
use bulla_tests::legacy::{post, read_key};
use bulla_tests::server::{Setup, TestServer};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::Value;

use crate::insider::Insider;
use crate::site::tuf;

const GUN: &str = "localhost:5000/team/app";
const ABSENT: &str = "localhost:5000/team/nix";
const BELOW: &str = "localhost:5000/team/app/sub";
const DAY: i64 = 24 * 3600;

/// A guarded server with one repository of its admin, and a token for each of `wanted`: what it
/// may, and where.
async fn guarded(wanted: &[(&str, &str)]) -> (TestServer, Vec<String>, Insider) {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    let admin = server.token("admin", "admin", "**", DAY);
    let token =
        |(number, (can, scope)): (usize, &(&str, &str))| server.token(&format!("t{number}"), can, scope, DAY);
    let tokens: Vec<String> = wanted.iter().enumerate().map(token).collect();
    for token in &tokens {
        let ping = server.request(Method::GET, "/v2/").bearer_auth(token);
        assert_eq!(server.send(ping).await.status(), 200);
    }
    let mut keys = Vec::new();
    for role in ["timestamp", "snapshot"] {
        let request = server.request(Method::GET, &tuf(GUN, &format!("{role}.key")));
        let body: Value = server.send(request.bearer_auth(&admin)).await.json().await.unwrap();
        keys.push(read_key(&body));
    }
    let mut insider = Insider::new(GUN, server.clock.now(), &keys[0], Some(&keys[1]));
    let files = insider.first();
    let request = post(&server, GUN, &files).bearer_auth(&admin);
    assert_eq!(server.send(request).await.status(), 200);
    insider.accepted(files);
    (server, tokens, insider)
}

/// Everything that can be asked of a repository.
fn requests(server: &TestServer, insider: &Insider, gun: &str) -> Vec<RequestBuilder> {
    let mut requests = Vec::new();
    let files = [
        "root.json",
        "timestamp.json",
        "1.root.json",
        "targets/alice.json",
        "x.json",
        "timestamp.key",
        "snapshot.key",
        "root.key",
        "",
    ];
    for file in files {
        for method in [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::DELETE] {
            requests.push(server.request(method, &tuf(gun, file)));
        }
    }
    for (role, (version, bytes)) in &insider.published {
        let digest = Sha256Digest::of(bytes);
        requests.push(server.request(Method::GET, &tuf(gun, &format!("{role}.{digest}.json"))));
        requests.push(server.request(Method::GET, &tuf(gun, &format!("{version}.{role}.json"))));
    }
    let next = [insider.file("targets", insider.next("targets"))];
    requests.push(post(server, gun, &next));
    requests.push(post(server, gun, &[]));
    requests.push(server.request(Method::GET, &format!("/v2/{gun}/_trust/changefeed?records=1")));
    requests.push(server.request(Method::GET, &format!("/tuf/{gun}/metadata/timestamp.json")));
    for (method, action) in [
        (Method::GET, "/head"),
        (Method::GET, "/online-keys"),
        (Method::POST, "/online-keys"),
        (Method::POST, "/online-keys/rotate"),
        (Method::POST, "/publish"),
        (Method::DELETE, ""),
    ] {
        let request = server.request(method, &format!("/api/v1/repositories/{gun}{action}"));
        requests.push(request.header("if-match", "\"h1\"").header("idempotency-key", "0".repeat(32)));
    }
    requests
}

/// All of an answer but what differs each time, with the name in it made the same.
async fn whole(answer: Response, gun: &str) -> String {
    let head = answer.headers().iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    let head: Vec<String> = head.map(|(name, value)| format!("{name}: {value:?}")).collect();
    let status = answer.status();
    let text = format!("{status}\n{}\n{}", head.join("\n"), answer.text().await.unwrap());
    let mut body = text.replace(gun, "NAME");
    if let Some((before, rest)) = body.split_once("\"request_id\":\"") {
        body = format!("{before}{}", rest.split_once('"').unwrap().1);
    }
    body
}

/// What a change would change: heads, keys and the feed.
async fn everything(server: &TestServer) -> String {
    let store = &server.app.store;
    let names = store.list(None, 100).await.unwrap();
    let mut text = format!("{names:?} {:?}", store.changes(Position(0), 100).await.unwrap());
    for name in [GUN, ABSENT, "localhost:5000/team", BELOW] {
        let name = name.parse().unwrap();
        let keys = store.online_keys(&name).await.unwrap().map(|keys| keys.generation);
        text += &format!("{:?} {keys:?}", store.head(&name).await.unwrap());
    }
    text
}

#[tokio::test]
async fn absent_and_forbidden_look_alike() {
    let (server, tokens, insider) = guarded(&[("admin", "r.io/**")]).await;
    let before = everything(&server).await;
    for token in [None, Some(&*tokens[0]), Some("bulla_unknown")] {
        let with = |request: RequestBuilder| match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let pairs = requests(&server, &insider, GUN).into_iter().zip(requests(&server, &insider, ABSENT));
        for (known, unknown) in pairs {
            let known = whole(server.send(with(known)).await, GUN).await;
            assert!(known.starts_with('4'), "{known}");
            assert_eq!(known, whole(server.send(with(unknown)).await, ABSENT).await);
        }
    }
    assert_eq!(before, everything(&server).await);
}

#[tokio::test]
async fn who_may_only_read_changes_nothing() {
    let (server, tokens, insider) = guarded(&[("read", "localhost:5000/team/**")]).await;
    let before = everything(&server).await;
    for gun in [GUN, ABSENT, BELOW] {
        for request in requests(&server, &insider, gun) {
            let answer = server.send(request.bearer_auth(&tokens[0])).await;
            assert!(!answer.status().is_server_error(), "{}", answer.url());
        }
    }
    assert_eq!(before, everything(&server).await);
}

#[tokio::test]
async fn who_may_publish_neither_removes_nor_rotates() {
    let (server, tokens, _) = guarded(&[("publish", "localhost:5000/team/**")]).await;
    let before = everything(&server).await;
    for (method, path) in [
        (Method::DELETE, tuf(GUN, "")),
        (Method::POST, tuf(GUN, "timestamp.key")),
        (Method::POST, tuf(GUN, "snapshot.key")),
        (Method::GET, "/v2/_trust/changefeed?records=1".to_owned()),
        (Method::DELETE, format!("/api/v1/repositories/{GUN}")),
    ] {
        let request = server.request(method.clone(), &path).header("x-http-method-override", "GET");
        let answer = server.send(request.bearer_auth(&tokens[0])).await;
        assert!(matches!(answer.status().as_u16(), 401 | 403), "{method} {path} {}", answer.status());
    }
    assert_eq!(before, everything(&server).await);
}

#[tokio::test]
async fn a_token_for_one_repository_reaches_no_other() {
    let scopes = [
        "localhost:5000/team/ap",
        "localhost:5000/team/app2",
        BELOW,
        "localhost:5000/team/app/**",
        "localhost:5000/team",
        "localhost:5000/*",
        "Localhost:5000/team/app",
        "localhost:5001/team/app",
        "localhost/team/app",
        "team/app",
    ];
    let wanted: Vec<_> = scopes.iter().map(|scope| ("admin", *scope)).collect();
    let (server, tokens, insider) = guarded(&wanted).await;
    let before = everything(&server).await;
    for (scope, token) in scopes.iter().zip(&tokens) {
        for spelled in [
            GUN.to_owned(),
            GUN.replace('/', "%2F"),
            GUN.replace("app", "%61pp"),
            "localhost:5000/team/app2/..%2fapp".to_owned(),
            format!("{GUN}%2f"),
            format!("%2f{GUN}"),
        ] {
            for request in requests(&server, &insider, &spelled) {
                let answer = server.send(request.bearer_auth(token)).await;
                let status = answer.status().as_u16();
                assert!((400..=499).contains(&status), "{scope} {} {status}", answer.url());
            }
        }
    }
    assert_eq!(before, everything(&server).await);
}
