//! A server in this process: with a clock and a store that a test can bend, and plain HTTP, so
//! that any bytes can be sent.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bulla_server::clock::Clock as _;
use bulla_tests::legacy::{File, online_key, publish};
use bulla_tests::server::TestServer;
use reqwest::Method;

use crate::insider::Insider;

/// Begins a repository, as [`crate::site::Site::begin`] does.
pub(crate) async fn begin(server: &TestServer, gun: &str, holds_snapshot: bool) -> Insider {
    let timestamp = online_key(server, gun, "timestamp", Method::GET).await;
    let snapshot = online_key(server, gun, "snapshot", Method::GET).await;
    let mut insider =
        Insider::new(gun, server.clock.now(), &timestamp, (!holds_snapshot).then_some(&snapshot));
    let files = insider.first();
    accept(server, &mut insider, files).await;
    insider
}

/// Publishes what must be accepted.
pub(crate) async fn accept(server: &TestServer, insider: &mut Insider, files: Vec<File>) {
    publish(server, &insider.gun, &files).await;
    insider.accepted(files);
}

/// Sends `request`, and what it is answered with until the server hangs up or is silent.
pub(crate) async fn raw(server: &TestServer, request: &[u8]) -> String {
    let (address, request) = (server.address, request.to_vec());
    tokio::task::spawn_blocking(move || talk(address, &request)).await.unwrap()
}

fn talk(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    // The server may have heard enough before all was sent.
    let _sent = stream.write_all(request);
    let mut answer = Vec::new();
    let _end = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// The status of each answer.
pub(crate) fn statuses(answer: &str) -> Vec<u16> {
    answer.split("HTTP/1.").skip(1).filter_map(|line| line.get(2..5)?.parse().ok()).collect()
}
