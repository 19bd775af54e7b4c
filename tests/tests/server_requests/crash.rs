//! The real server, killed while it takes the last signature.

use std::process::{Command, Stdio};
use std::time::Duration;

use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{OnlineKeys, RequestProgress};
use bulla_server::clock::{Clock as _, SystemClock};
use bulla_tests::crash_server::{ServerProcess, can_start};
use bulla_tests::programs::program;
use bytes::Bytes;
use reqwest::{Client, Method, StatusCode};
use tempfile::TempDir;

use crate::ceremony::{Holder, first, signatures};

/// How many times the server is killed.
const KILLS: u64 = 30;

/// A server and what it is asked about one repository.
struct Asked<'a> {
    http: &'a Client,
    server: &'a ServerProcess,
    repository: &'a str,
}

impl Asked<'_> {
    /// `None` if the server was gone before its whole answer was there.
    async fn send(&self, method: Method, rest: &str, body: Option<Bytes>) -> Option<(StatusCode, Bytes)> {
        let url = format!("{}/api/v1/repositories/{}/{rest}", self.server.url, self.repository);
        let mut request = self.http.request(method, url).bearer_auth(&self.server.token);
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await.ok()?;
        Some((answer.status(), answer.bytes().await.ok()?))
    }

    async fn sign(&self, id: &str, file: &Bytes) -> Option<RequestProgress> {
        let rest = format!("requests/{id}/signatures");
        let (status, body) = self.send(Method::POST, &rest, Some(file.clone())).await?;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
        Some(serde_json::from_slice(&body).expect("progress"))
    }
}

/// Either the change is published and the request closed, or neither, and the signatures that
/// were acknowledged are still there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_with_the_last_signature() {
    if !can_start() {
        return;
    }
    let (folder, bullad) = (TempDir::new().unwrap(), program("bullad"));
    let data = folder.path().join("data");
    let start = || ServerProcess::start(&bullad, &data).unwrap_or_else(|said| panic!("{said}"));
    let http = Client::builder().no_proxy().pool_max_idle_per_host(0).build().unwrap();
    let (mut done, mut undone) = (0, 0);
    let mut server = start();
    // How long a signature takes depends on the machine and on what else it does: too early leads to
    // a later moment next time, too late to an earlier one.
    let mut moment = Duration::ZERO;
    for round in 0..KILLS * 8 {
        if round >= KILLS && done > 0 && undone > 0 {
            break;
        }
        let repository = format!("example.com/r{round}");
        let asked = Asked { http: &http, server: &server, repository: &repository };
        let now: UtcTime = SystemClock.now().plus_seconds(0);
        let (_, keys) = asked.send(Method::POST, "online-keys", None).await.unwrap();
        let online: OnlineKeys = serde_json::from_slice(&keys).unwrap();
        let request = first(&repository, &online, now);
        let (id, bytes) = (request.id.to_string(), Bytes::from(request.to_bytes()));
        let opened = asked.send(Method::POST, "requests", Some(bytes.clone())).await.unwrap();
        assert_eq!(opened.0, 201, "{}", String::from_utf8_lossy(&opened.1));
        let [anna, ben] = [Holder::Anna, Holder::Ben].map(|holder| signatures(&bytes, None, now, &[holder]));
        let before = asked.sign(&id, &anna).await.unwrap();
        assert!(!before.complete && before.added == 1);

        let kill = async {
            tokio::time::sleep(moment).await;
            server.kill();
        };
        let (answer, ()) = tokio::join!(asked.sign(&id, &ben), kill);
        drop(server);
        server = start();
        let asked = Asked { http: &http, server: &server, repository: &repository };
        let (head, _) = asked.send(Method::GET, "head", None).await.unwrap();
        if answer.is_some() {
            assert_eq!(head, 200, "round {round}: what was acknowledged is there");
        }
        if head == StatusCode::OK {
            let again = asked.sign(&id, &ben).await.unwrap();
            assert_eq!((again.complete, again.added), (true, 0), "round {round}");
            done += 1;
            moment /= 2;
        } else {
            let again = asked.sign(&id, &anna).await.unwrap();
            assert_eq!((again.complete, again.added), (false, 0), "round {round}: it was acknowledged");
            assert!(asked.sign(&id, &ben).await.unwrap().receipt.is_some(), "round {round}");
            undone += 1;
            moment += moment / 4 + Duration::from_micros(500);
        }
    }
    drop(server);
    let checked = Command::new(&bullad).arg("check").arg(&data).stdin(Stdio::null()).output().unwrap();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(done > 0 && undone > 0, "{done} and {undone}: the moments are not well chosen");
}
