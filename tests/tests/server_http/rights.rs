//! Who may do what, and what the others learn.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::wire::{ProblemCode, RepositoryList};
use bulla_server::store::TrustStore;
use bulla_server::store::memory::MemoryStore;
use bulla_tests::publisher::Publisher;
use bulla_tests::server::{Setup, TestServer, problem};
use reqwest::Method;

use crate::setting::header;

#[tokio::test]
async fn without_a_token_everything_is_closed() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    for (method, path) in [
        (Method::GET, "/tuf/a/metadata/timestamp.json"),
        (Method::GET, "/tuf/nonsense"),
        (Method::GET, "/api/v1/repositories"),
        (Method::GET, "/api/v1/changes"),
        (Method::GET, "/api/v1/nonsense"),
        (Method::GET, "/nonsense"),
        (Method::POST, "/api/v1/repositories/a/publish"),
        (Method::DELETE, "/api/v1/repositories/a"),
    ] {
        for token in [None, Some("bulla_wrong"), Some("")] {
            let request = server.request(method.clone(), path);
            let request = match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            };
            let response = server.send(request).await;
            assert_eq!(response.status(), 401, "{method} {path} {token:?}");
            assert!(header(&response, "www-authenticate").starts_with("Bearer"), "{method} {path}");
        }
    }
}

#[tokio::test]
async fn absent_and_forbidden_look_the_same() {
    let store: Arc<dyn TrustStore> = Arc::new(MemoryStore::new());
    let server = TestServer::with(Setup { tokens: Some(false), store, ..Setup::default() }).await;
    let admin = server.token("admin", "admin", "**", 3600);
    let outsider = server.token("outsider", "admin", "r.io/mine/**", 3600);
    let request = server.request(Method::POST, "/api/v1/repositories/r.io/there/online-keys");
    let online = server.send(request.bearer_auth(&admin)).await.json().await.expect("keys");
    let publisher = Publisher::new(&online);
    let publish = server.publish("r.io/there", None, 1, &publisher.first()).bearer_auth(&admin);
    assert_eq!(server.send(publish).await.status(), 200);

    let digest = Sha256Digest::of(b"{}");
    for (method, path) in [
        (Method::GET, "/tuf/NAME/metadata/timestamp.json".to_owned()),
        (Method::GET, "/tuf/NAME/metadata/1.root.json".to_owned()),
        (Method::GET, format!("/tuf/NAME/targets/{digest}.v1")),
        (Method::GET, "/api/v1/repositories/NAME/head".to_owned()),
        (Method::GET, "/api/v1/repositories/NAME/online-keys".to_owned()),
        (Method::POST, "/api/v1/repositories/NAME/online-keys".to_owned()),
        (Method::POST, "/api/v1/repositories/NAME/online-keys/rotate".to_owned()),
        (Method::POST, "/api/v1/repositories/NAME/publish".to_owned()),
        (Method::DELETE, "/api/v1/repositories/NAME".to_owned()),
    ] {
        let mut seen = Vec::new();
        for name in ["r.io/there", "r.io/absnt"] {
            let request = server.request(method.clone(), &path.replace("NAME", name));
            let response = server.send(request.bearer_auth(&outsider).header("x-request-id", "same")).await;
            assert_eq!(response.status(), 404, "{method} {path}");
            let mut headers = response.headers().clone();
            headers.remove("date");
            let body = response.text().await.expect("a body").replace(name, "NAME");
            seen.push((headers, body));
        }
        assert_eq!(seen.first(), seen.get(1), "{method} {path}");
    }
    let list = server.send(server.request(Method::GET, "/api/v1/repositories").bearer_auth(&outsider)).await;
    assert!(list.json::<RepositoryList>().await.expect("a list").repositories.is_empty());
    let changes = server.send(server.request(Method::GET, "/api/v1/changes").bearer_auth(&outsider)).await;
    assert!(!changes.text().await.expect("a body").contains("r.io/there"));
}

#[tokio::test]
async fn rights_within_the_scope_are_told_plainly() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    let reader = server.token("reader", "read", "r.io/**", 3600);
    let publisher = server.token("publisher", "publish", "r.io/**", 3600);
    for (token, method, path) in [
        (&reader, Method::POST, "/api/v1/repositories/r.io/a/online-keys"),
        (&reader, Method::POST, "/api/v1/repositories/r.io/a/publish"),
        (&publisher, Method::POST, "/api/v1/repositories/r.io/a/online-keys/rotate"),
        (&publisher, Method::DELETE, "/api/v1/repositories/r.io/a"),
    ] {
        let response = server.send(server.request(method.clone(), path).bearer_auth(token)).await;
        assert_eq!(problem(response).await.code, ProblemCode::Forbidden, "{method} {path}");
    }
}

#[tokio::test]
async fn anonymous_reads_open_metadata_and_nothing_else() {
    let server = TestServer::with(Setup { tokens: Some(true), ..Setup::default() }).await;
    assert_eq!(server.get("/tuf/a/metadata/timestamp.json").await.status(), 404);
    assert_eq!(server.get("/api/v1/repositories").await.status(), 401);
}

#[tokio::test]
async fn revoked_and_expired_tokens_stop_working_while_the_server_runs() {
    let server = TestServer::with(Setup { tokens: Some(false), ..Setup::default() }).await;
    let (first, second) =
        (server.token("first", "read", "**", 3600), server.token("second", "read", "**", 60));
    let status = async |token: &str| {
        server.send(server.request(Method::GET, "/api/v1/repositories").bearer_auth(token)).await.status()
    };
    assert_eq!(
        (status(&first).await, status(&second).await),
        (200.try_into().expect("200"), 200.try_into().expect("200"))
    );
    server.clock.advance(60);
    assert_eq!(status(&second).await, 401);
    let file = bulla_server::auth::TokenFile::in_data(server.folder.path());
    file.revoke(&"first".parse().expect("a name")).expect("it exists");
    let began = Instant::now();
    while status(&first).await != 401 {
        assert!(began.elapsed() < Duration::from_secs(3), "a revoked token still works");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    std::fs::write(file.path(), "damaged").expect("the file can be written");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(status(&first).await, 503);
    assert_eq!(server.operate("/readyz").await.status(), 503);
}

#[tokio::test]
async fn tls_is_spoken_with_the_development_authority() {
    let server = TestServer::with(Setup { tls: true, ..Setup::default() }).await;
    let response = server.get("/api/v1/repositories").await;
    assert_eq!((response.status().as_u16(), response.version()), (200, reqwest::Version::HTTP_2));
    let stranger = reqwest::Client::builder().no_proxy().build().expect("a client");
    assert!(stranger.get(server.url("/api/v1/repositories")).send().await.is_err());
}
