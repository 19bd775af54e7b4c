//! Uploads that are refused before they were read: whoever sends one reads why, on a connection that goes on,
//! and nobody is listened to for ever.

use std::convert::Infallible;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use bulla_server::config::LimitsConfig;
use bulla_tests::server::{Setup, TestServer};
use futures_util::stream;
use reqwest::{Body, Client, Version};
use tokio::sync::mpsc;

/// More than the buffers between two programs hold.
const LENGTH: usize = 24 * 1024 * 1024;

fn connect(server: &TestServer) -> TcpStream {
    let connection = TcpStream::connect(server.address).expect("it listens");
    connection.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    connection.set_write_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    connection
}

fn begin(server: &TestServer, path: &str, framing: &str) -> TcpStream {
    begin_as(server, path, "multipart/form-data; boundary=b", framing)
}

fn begin_as(server: &TestServer, path: &str, media_type: &str, framing: &str) -> TcpStream {
    let mut connection = connect(server);
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nif-none-match: *\r\nidempotency-key: {:032x}\r\n\
         content-type: {media_type}\r\n{framing}\r\n\r\n",
        1
    );
    connection.write_all(head.as_bytes()).expect("sent");
    connection
}

/// Reads until `end` has come.
fn read_until(connection: &mut TcpStream, end: &str) -> String {
    let (mut text, mut buffer) = (String::new(), [0; 4096]);
    while !text.contains(end) {
        let count = connection.read(&mut buffer).expect("an answer");
        assert!(count > 0, "closed after: {text}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

async fn with(limits: LimitsConfig) -> TestServer {
    TestServer::with(Setup { limits, ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_before_he_was_heard_reads_why() {
    let small = with(LimitsConfig { body_bytes: 1024 * 1024, ..LimitsConfig::default() }).await;
    let busy = with(LimitsConfig::default()).await;
    let permits = u32::try_from(busy.app.bodies.available_permits()).expect("few");
    let _all = busy.app.bodies.acquire_many(permits).await.expect("free");
    for (server, path, status, end) in [
        (&busy, "/api/v1/repositories/a/publish", "503", "}"),
        (&busy, "/v2/r.io/a/_trust/tuf/", "503", "}"),
        (&small, "/api/v1/repositories/a/publish", "413", "longer than 1048576 bytes"),
        (&small, "/api/v1/nonsense", "404", "}"),
    ] {
        tokio::task::block_in_place(|| {
            let mut connection = begin(server, path, &format!("content-length: {LENGTH}"));
            // He looks for the answer when he has sent all, as many programs do.
            connection.write_all(&vec![b'x'; LENGTH]).expect("it is taken");
            let refused = read_until(&mut connection, end);
            assert!(refused.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {refused}");
            let next = b"GET /api/v1/repositories HTTP/1.1\r\nhost: localhost\r\n\r\n";
            connection.write_all(next).expect("sent");
            assert!(read_until(&mut connection, "\"repositories\"").contains("HTTP/1.1 200"), "{path}");
        });
    }
}

/// The stream goes on as well, so that nobody takes its end for a failure.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_over_http_2_may_send_what_he_has() {
    let server = with(LimitsConfig::default()).await;
    let client = Client::builder().no_proxy().http2_prior_knowledge().build().expect("a client");
    let (chunks, body) = mpsc::channel::<Result<Vec<u8>, Infallible>>(1);
    let body = stream::unfold(body, |mut body| async { body.recv().await.map(|chunk| (chunk, body)) });
    let request = client.post(server.url("/api/v1/repositories/a/publish"));
    let request = request.header("content-type", "text/plain").header("content-length", 3 * 1024);
    let refused = request.body(Body::wrap_stream(body)).send().await.expect("an answer");
    assert_eq!((refused.version(), refused.status().as_u16()), (Version::HTTP_2, 428));
    assert!(refused.text().await.expect("a body").contains("precondition-required"));
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        chunks.send(Ok(vec![b'x'; 1024])).await.expect("the stream was reset");
    }
}

/// Nor is he told to go on who waits for that.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_form_is_refused_before_any_of_it_has_come() {
    let hour = Duration::from_secs(3600);
    let limits = LimitsConfig { body_idle: hour, request_time: hour, ..LimitsConfig::default() };
    let server = with(limits).await;
    for media_type in ["application/json", "multipart/form-data", "multipart/form-data; boundary="] {
        for framing in ["content-length: 1000", "content-length: 1000\r\nexpect: 100-continue"] {
            tokio::task::block_in_place(|| {
                let path = "/api/v1/repositories/a/publish";
                let refused = read_until(&mut begin_as(&server, path, media_type, framing), "}");
                assert!(refused.starts_with("HTTP/1.1 415"), "{media_type}: {refused}");
            });
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_listened_to_for_ever() {
    let most = 4 * 1024 * 1024;
    let server =
        with(LimitsConfig { body_bytes: 1024 * 1024, total_body_bytes: most, ..LimitsConfig::default() })
            .await;
    tokio::task::block_in_place(|| {
        let mut endless = begin(&server, "/api/v1/nonsense", "transfer-encoding: chunked");
        let chunk = [b"10000\r\n", &vec![b'x'; 0x10000][..], b"\r\n"].concat();
        let mut sent = 0;
        let failure = loop {
            match endless.write_all(&chunk) {
                Ok(()) => sent += chunk.len(),
                Err(error) => break error,
            }
            assert!(sent < most + 32 * 1024 * 1024, "it is still taken");
        };
        assert!(
            [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&failure.kind()),
            "{failure} after {sent} bytes"
        );
        assert!(sent > most, "given up after {sent} bytes");

        let mut slow = begin(&server, "/api/v1/nonsense", "content-length: 1000000");
        let began = Instant::now();
        read_until(&mut slow, "}");
        while slow.write_all(b"x").is_ok() {
            assert!(began.elapsed() < Duration::from_secs(15), "it is still waited for");
            std::thread::sleep(Duration::from_millis(50));
        }
        assert!(began.elapsed() > Duration::from_secs(2), "it was not waited for");
    });
}

/// What comes of refused bodies is taken from a few at a time: more are cut off, as from the first moment all
/// would be without it.
#[tokio::test(flavor = "multi_thread")]
async fn only_so_many_are_listened_to_at_once() {
    let server = with(LimitsConfig::default()).await;
    let _all = server.app.lingering.acquire_many(64).await.expect("free");
    tokio::task::block_in_place(|| {
        let mut refused = begin(&server, "/api/v1/nonsense", &format!("content-length: {LENGTH}"));
        assert!(refused.write_all(&vec![b'x'; LENGTH]).is_err(), "it is still taken");
    });
}
