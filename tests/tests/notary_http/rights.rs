//! Who may do what, and how the server tells how it is.

use std::sync::Arc;

use bulla_server::store::TrustStore as _;
use bulla_server::store::memory::MemoryStore;
use bulla_tests::legacy::{Owner, post, publish, refusal};
use bulla_tests::server::{Setup, TestServer};
use reqwest::Method;
use serde_json::{Value, json};

use crate::setting::{DAY, GUN, header, send, tuf, with_tag};

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
