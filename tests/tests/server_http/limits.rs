//! Clients that are slow, send too much or come in crowds.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::wire::ProblemCode;
use bulla_server::config::LimitsConfig;
use bulla_tests::server::{Setup, TestServer, Upload, problem};

use crate::setting::{fill, raw, token, until_closed};

fn impatient() -> Setup {
    let limits = LimitsConfig {
        header_time: Duration::from_millis(300),
        body_idle: Duration::from_millis(300),
        request_time: Duration::from_secs(5),
        ..LimitsConfig::default()
    };
    Setup { limits, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_heads_and_silent_connections_are_cut_off() {
    let server = TestServer::with(impatient()).await;
    let began = Instant::now();
    let silent = TcpStream::connect(server.address).expect("the server listens");
    let mut halting = TcpStream::connect(server.address).expect("the server listens");
    halting.write_all(b"GET /api/v1/repositories HTTP/1.1\r\nhost:").expect("sent");
    let mut idle = TcpStream::connect(server.address).expect("the server listens");
    idle.write_all(b"GET /api/v1/repositories HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    assert_eq!(until_closed(silent), "");
    assert!(!until_closed(halting).contains("200 OK"));
    assert!(until_closed(idle).starts_with("HTTP/1.1 200"));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_are_cut_off() {
    let server = TestServer::with(impatient()).await;
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let head = "POST /api/v1/repositories/a/publish HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\
                idempotency-key: 00000000000000000000000000000001\r\ncontent-length: 1000\r\n\
                content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    let answer = until_closed(stream);
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert!(answer.contains("request-timeout"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_do_not_take_their_answer_are_cut_off() {
    let (server, mut publisher) = {
        let server = TestServer::with(impatient()).await;
        let publisher = fill(&server, "a", b"{}").await;
        (server, publisher)
    };
    let big = vec![b' '; 4 * 1024 * 1024];
    let upload = publisher.tag("big", &big);
    let head = token(&server, "a").await;
    assert_eq!(server.send(server.publish("a", Some(&head), 9, &upload)).await.status(), 200);
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let request = format!("GET /tuf/a/targets/{}.big HTTP/1.1\r\nhost: x\r\n\r\n", Sha256Digest::of(&big));
    for _ in 0..8 {
        stream.write_all(request.as_bytes()).expect("sent");
    }
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let taken = until_closed(stream).len();
    assert!(taken < 8 * big.len(), "everything was sent to a client that did not read");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_and_heads_have_limits() {
    let limits = LimitsConfig { connections: 2, header_bytes: 8192, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let long = format!("GET /api/v1/changes HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(20_000));
    let line = raw(&server, &long);
    assert!(line.starts_with("HTTP/1.1 431") || line.is_empty(), "{line}");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(server.address).expect("room for two")).collect();
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(until_closed(TcpStream::connect(server.address).expect("the port is open")), "");
    drop(held);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(server.get("/api/v1/repositories").await.status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_for_bodies_is_bounded_over_all_publishers() {
    let limits =
        LimitsConfig { body_bytes: 64 * 1024, total_body_bytes: 64 * 1024, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    let head = "POST /api/v1/repositories/a/publish HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\n\
                idempotency-key: 00000000000000000000000000000001\r\ncontent-length: 65536\r\n\
                content-type: multipart/form-data; boundary=b\r\n\r\n--b\r\n";
    stream.write_all(head.as_bytes()).expect("sent");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let other = || server.send(server.publish("b", None, 2, &[Upload::Target(b"x".to_vec())]));
    assert_eq!(problem(other().await).await.code, ProblemCode::Busy);
    drop(stream);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(problem(other().await).await.code, ProblemCode::Rejected);
}
