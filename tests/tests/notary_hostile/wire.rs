//! Requests that two readers could understand in different ways, methods that nobody uses, and
//! clients that take their time.

use std::time::{Duration, Instant};

use bulla_server::config::LimitsConfig;
use bulla_tests::legacy::follow;
use bulla_tests::server::{Setup, TestServer};

use crate::local::{begin, raw, statuses};
use crate::site::tuf;

const GUN: &str = "localhost:5000/team/app";

/// A request that must not be answered: it is hidden in the body of another one.
fn hidden() -> String {
    format!("DELETE {} HTTP/1.1\r\nhost: x\r\n\r\n", tuf(GUN, ""))
}

fn post(head: &str, body: &str) -> String {
    let path = tuf(GUN, "");
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=b\r\n{head}\r\n{body}"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_hides_a_request_in_another() {
    let server = TestServer::start().await;
    begin(&server, GUN, false).await;
    let hidden = hidden();
    let (length, whole) = (hidden.len(), hidden.len() + 5);
    let chunk = format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n");
    for (head, body) in [
        // Two lengths.
        (format!("content-length: 5\r\ncontent-length: {whole}\r\n"), format!("--b--{hidden}")),
        (format!("content-length: {whole}\r\ncontent-length: 5\r\n"), format!("--b--{hidden}")),
        ("content-length: 5, 5\r\n".into(), format!("--b--{hidden}")),
        ("content-length: +5\r\n".into(), format!("--b--{hidden}")),
        ("content-length: -5\r\n".into(), format!("--b--{hidden}")),
        ("content-length: 0x5\r\n".into(), format!("--b--{hidden}")),
        ("content-length: 5 5\r\n".into(), format!("--b--{hidden}")),
        ("content-length: 99999999999999999999999\r\n".into(), format!("--b--{hidden}")),
        ("content-length : 5\r\n".into(), format!("--b--{hidden}")),
        (" content-length: 5\r\n".into(), format!("--b--{hidden}")),
        // A length and chunks.
        ("content-length: 5\r\ntransfer-encoding: chunked\r\n".into(), chunk.clone()),
        ("transfer-encoding: chunked\r\ncontent-length: 5\r\n".into(), chunk.clone()),
        ("transfer-encoding: chunked\r\ncontent-length: 99\r\n".into(), chunk.clone()),
        // Chunks that others would not see.
        ("transfer-encoding: xchunked\r\n".into(), chunk.clone()),
        ("transfer-encoding: chunked, identity\r\n".into(), chunk.clone()),
        ("transfer-encoding: gzip\r\n".into(), chunk.clone()),
        ("transfer-encoding : chunked\r\n".into(), chunk.clone()),
        ("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n".into(), chunk.clone()),
        ("transfer-encoding:\x0bchunked\r\n".into(), chunk.clone()),
        // Chunks of a strange length.
        ("transfer-encoding: chunked\r\n".into(), format!("-1\r\n{hidden}\r\n0\r\n\r\n")),
        ("transfer-encoding: chunked\r\n".into(), format!("0x5\r\n--b--\r\n{hidden}")),
        ("transfer-encoding: chunked\r\n".into(), format!("fffffffffffffffff\r\n{hidden}")),
        ("transfer-encoding: chunked\r\n".into(), format!("5\n--b--\n0\n\n{hidden}")),
    ] {
        let answer = raw(&server, post(&format!("{head}connection: close\r\n"), &body).as_bytes()).await;
        let status = statuses(&answer);
        assert!(matches!(status[..], [400] | [408]), "{head:?}: {answer}");
    }
    follow(&server, GUN).await;
}

/// What is one request is one, however it is written.
#[tokio::test(flavor = "multi_thread")]
async fn honest_requests_may_follow_each_other() {
    let server = TestServer::start().await;
    begin(&server, GUN, false).await;
    let get = format!("GET {} HTTP/1.1\r\nhost: x\r\n\r\n", tuf(GUN, "timestamp.json"));
    let last = get.replace("\r\nhost", "\r\nconnection: close\r\nhost");
    let empty = post("content-length: 7\r\n", "--b--\r\n");
    let chunked = post("transfer-encoding: chunked\r\n", "7\r\n--b--\r\n\r\n0\r\n\r\n");
    let answer = raw(&server, [get.clone(), empty, get, chunked, last].concat().as_bytes()).await;
    assert_eq!(statuses(&answer), [200; 5], "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_that_are_none_are_refused() {
    let server = TestServer::start().await;
    begin(&server, GUN, false).await;
    let path = tuf(GUN, "timestamp.json");
    let get = |head: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n");
    for (request, expected) in [
        (get(""), 200),
        (get(&"x: y\r\n".repeat(90)), 200),
        (get(&"x: y\r\n".repeat(2_000)), 431),
        (get(&format!("x: {}\r\n", "y".repeat(100_000))), 431),
        (get("x: a\0b\r\n"), 400),
        (get("x\r\n"), 400),
        (get(": y\r\n"), 400),
        (get("x y: z\r\n"), 400),
        (get("if-none-match: \"\\\"\r\nrange: bytes=0-1\r\n"), 200),
        (get("accept-encoding: gzip;q=9, *;q=-1\r\n"), 200),
        (get("authorization: Bearer\r\nauthorization: Basic x\r\n"), 200),
        (get("expect: 200-ok\r\n"), 200),
        (get("upgrade: h2c\r\n"), 200),
        (get("x-forwarded-proto: http\r\nx-http-method-override: DELETE\r\n"), 200),
        (get("").replace("HTTP/1.1", "HTTP/3.0"), 400),
        (get("").replace("HTTP/1.1", "HTTP/1.0"), 200),
        (get("").replace("GET", "G\u{e4}T"), 400),
        (get("").replace("GET", &"A".repeat(10_000)), 405),
        (get("").replace("GET", "get"), 405),
        (get("").replace("GET", "PATCH"), 405),
        (get("").replace("GET", "OPTIONS"), 405),
        (get("").replace("GET", "TRACE"), 405),
        (get("").replace("GET", "PROPFIND"), 405),
        (get("").replace("GET", "PUT"), 404),
        (get("").replace("GET", "HEAD"), 200),
        (get("").replace(&path, "*"), 404),
        (get("").replace("GET", "OPTIONS").replace(&path, "*"), 404),
        (get("").replace(&path, &format!("http://elsewhere{path}")), 200),
        (get("").replace(&path, &path[1..]), 400),
        (get("").replace(&path, &format!("{path}?x=y#z")), 200),
    ] {
        let answer = raw(&server, request.as_bytes()).await;
        let shown = request.chars().take(200).collect::<String>();
        assert_eq!(statuses(&answer).first(), Some(&expected), "{shown}: {answer:.300}");
    }
    follow(&server, GUN).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_bodies_are_given_up() {
    let limits = LimitsConfig {
        body_idle: Duration::from_millis(300),
        request_time: Duration::from_millis(1_500),
        ..LimitsConfig::default()
    };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    begin(&server, GUN, false).await;
    let (slots, bytes) = (server.app.slots.available_permits(), server.app.bodies.available_permits());
    for body in ["", "-", "--b\r\n", "--b\r\nContent-Disposition: form-data; filename=\"targets\"\r\n\r\n{"] {
        let began = Instant::now();
        let answer = raw(&server, post("content-length: 1000\r\n", body).as_bytes()).await;
        assert_eq!(statuses(&answer), [408], "{body}: {answer}");
        assert!(answer.contains("connection: close"), "{answer}");
        assert!(began.elapsed() < Duration::from_secs(4), "{body}");
    }
    assert_eq!(dribble(&server).await, [408]);
    assert_eq!(server.app.slots.available_permits(), slots);
    assert_eq!(server.app.bodies.available_permits(), bytes);
    follow(&server, GUN).await;
}

/// A byte now and then keeps nobody's memory for ever.
async fn dribble(server: &TestServer) -> Vec<u16> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let stream = tokio::net::TcpStream::connect(server.address).await.unwrap();
    let (mut from, mut to) = stream.into_split();
    to.write_all(post("content-length: 1000\r\n", "--b\r\nx: ").as_bytes()).await.unwrap();
    let dribble = async {
        while to.write_all(b"y").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), from.read_to_end(&mut answer));
    tokio::select! {
        _ = dribble => {}
        _ = read => {}
    }
    statuses(&String::from_utf8_lossy(&answer))
}
