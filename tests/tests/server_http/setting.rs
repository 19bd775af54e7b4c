//! A server with one repository, and how it is asked.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use bulla_tests::publisher::{self, Publisher};
use bulla_tests::server::TestServer;
use reqwest::Response;

pub fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).map_or("", |value| value.to_str().expect("headers are text"))
}

/// A server with one repository that holds one tag.
pub async fn with_tag(repository: &str, manifest: &[u8]) -> (TestServer, Publisher) {
    let server = TestServer::start().await;
    let publisher = fill(&server, repository, manifest).await;
    (server, publisher)
}

pub async fn fill(server: &TestServer, repository: &str, manifest: &[u8]) -> Publisher {
    let (mut publisher, receipt) = publisher::create(server, repository).await;
    let upload = publisher.tag("v1", manifest);
    let id = publisher::operation(repository, 1);
    let response = server.send(server.publish(repository, Some(&receipt.token), id, &upload)).await;
    assert_eq!(response.status(), 200);
    publisher
}

/// Sends bytes that no careful client would; returns the first line of the answer.
pub fn raw(server: &TestServer, request: &str) -> String {
    let mut stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    stream.write_all(request.as_bytes()).expect("the request is sent");
    let mut answer = [0; 4096];
    let length = stream.read(&mut answer).unwrap_or(0);
    String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned()
}

pub async fn token(server: &TestServer, repository: &str) -> String {
    let head: bulla_keys_schema::wire::Head =
        server.get(&format!("/api/v1/repositories/{repository}/head")).await.json().await.expect("a head");
    head.token
}

/// Waits until the server closes the connection; returns what it sent.
pub fn until_closed(mut stream: TcpStream) -> String {
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
        Err(error) => panic!("the server did not close the connection: {error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}
