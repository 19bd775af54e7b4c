//! How the server tells how it is, and how it stops.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulla_server::lifecycle::{Phase, ServeError};
use bulla_server::store::memory::MemoryStore;
use bulla_server::store::{StoreError, TrustStore};
use bulla_tests::server::{Setup, TestServer};

use crate::setting::{until_closed, with_tag};
use crate::trouble::Troubled;

#[tokio::test]
async fn health_readiness_and_numbers_have_a_listener_of_their_own() {
    let (server, _) = with_tag("a", b"{}").await;
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(server.get(path).await.status(), 404, "{path}");
        assert_eq!(server.operate(path).await.status(), 200, "{path}");
    }
    server.get("/tuf/a/metadata/timestamp.json").await;
    let numbers = server.operate("/metrics").await.text().await.expect("numbers");
    for line in [
        r#"bullad_http_requests_total{class="Timestamp",method="GET",status="200"} 1"#,
        r#"bullad_publishes_total{outcome="Done"} 2"#,
    ] {
        assert!(numbers.contains(line), "{numbers}");
    }
    server.clock.advance(-3600);
    let unready = server.operate("/readyz").await;
    assert_eq!(unready.status(), 503);
    assert!(unready.text().await.expect("reasons").contains("clock"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopping_server_finishes_requests_and_closes_the_store() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::with(Setup { store: store.clone(), ..Setup::default() }).await;
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let body = "--b--\r\n";
    let head = format!(
        "POST /api/v1/repositories/a/publish HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\
         idempotency-key: 00000000000000000000000000000001\r\ncontent-length: {}\r\n\
         content-type: multipart/form-data; boundary=b\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.phase.send_replace(Phase::Draining);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(TcpStream::connect(server.address).is_err(), "new connections are taken while stopping");
    stream.write_all(body.as_bytes()).expect("sent");
    let answer = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 422"), "{answer}");
    server.stopped().await.expect("a clean stop");
    assert!(matches!(store.list(None, 1).await, Err(StoreError::Closed)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait() {
    let store = Arc::new(Troubled::default());
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let url = server.url("/api/v1/repositories/slow/head");
    let waiting = tokio::spawn(async move { reqwest::get(url).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let began = Instant::now();
    server.phase.send_replace(Phase::Draining);
    tokio::time::sleep(Duration::from_millis(200)).await;
    server.phase.send_replace(Phase::Stopping);
    server.stopped().await.expect("a clean stop");
    assert!(began.elapsed() < Duration::from_secs(3));
    assert!(waiting.await.expect("no panic").is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_renew_any_more_does_not_go_on() {
    let store = Arc::new(Troubled { cannot_renew: true, ..Troubled::default() });
    let server = TestServer::with(Setup { store, ..Setup::default() }).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), server.stopped()).await.expect("it ends");
    let error = ended.expect_err("a panic");
    assert!(matches!(error, ServeError::Renewals(_)) && error.to_string().contains("hint: "), "{error}");
}
