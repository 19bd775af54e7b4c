//! Removals: of what was named and nothing else, to the end, and for good.

use std::io::Write as _;
use std::net::TcpStream;
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RepositoryName;
use bulla_server::store::TrustStore as _;
use bulla_tests::legacy::{follow, online_key};
use bulla_tests::server::{Setup, TestServer};
use reqwest::Method;

use crate::gated::Gated;
use crate::local::{accept, begin};
use crate::site::{Reader, Site, tuf};

const GUN: &str = "localhost:5000/team/app";
const DAY: i64 = 24 * 3600;

#[tokio::test(flavor = "multi_thread")]
async fn neighbours_stay_and_nothing_of_the_removed_one_is_served() {
    let site = Site::start();
    let removed = site.begin("registry.test:5000/pfx/app", false).await;
    let names =
        ["registry.test:5000/pfx/app2", "registry.test:5000/pfx/app/sub", "registry.test:5000/pfx/ap"];
    let mut neighbours = Vec::new();
    for name in names {
        neighbours.push((site.begin(name, false).await, Reader::of(name)));
    }
    let mut files = vec!["root.json".to_owned(), "timestamp.json".into(), "1.root.json".into()];
    for (role, (version, bytes)) in &removed.published {
        files.extend([format!("{role}.{}.json", Sha256Digest::of(bytes)), format!("{version}.{role}.json")]);
    }
    for file in &files {
        assert_eq!(site.get(&tuf(&removed.gun, file)).await.status(), 200, "{file}");
    }
    for _ in 0..2 {
        let answer = site.request(Method::DELETE, &tuf(&removed.gun, "")).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), &*answer.text().await.unwrap()), (200, ""));
    }
    for file in &files {
        assert_eq!(site.get(&tuf(&removed.gun, file)).await.status(), 404, "{file}");
    }
    for (insider, reader) in &mut neighbours {
        site.is_readable(insider, reader).await;
        let files = insider.tagged(&["targets"], "v1");
        site.publish(insider, files).await;
    }
}

/// What was being done when its client hung up.
async fn hang_up(server: &TestServer, store: &Gated, request: &str) {
    let slots = server.app.slots.available_permits();
    let mut stream = TcpStream::connect(server.address).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    store.removed.acquire().await.unwrap().forget();
    assert!(server.app.slots.available_permits() < slots);
    drop(stream);
    // The server notices, and gives the request up.
    while server.app.slots.available_permits() < slots {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    store.open.add_permits(1);
}

/// The record of the removal says that the keys stay. While they were put back behind it, a
/// client that hung up in between took them with it: the next repository was signed with keys
/// that were in memory only. So did a server that was killed there.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_hangs_up_takes_no_keys_along() {
    let store = Gated::new();
    let setup = || Setup { store: store.clone(), ..Setup::default() };
    let server = TestServer::with(setup()).await;
    let mut insider = begin(&server, GUN, false).await;
    let key = online_key(&server, GUN, "timestamp", Method::GET).await;
    let request = format!("DELETE {} HTTP/1.1\r\nhost: x\r\n\r\n", tuf(GUN, ""));
    let name: RepositoryName = GUN.parse().unwrap();
    let at_once = async {
        while store.head(&name).await.unwrap().is_some() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(store.online_keys(&name).await.unwrap().is_some(), "nothing is left to be done");
    };
    tokio::join!(hang_up(&server, &store, &request), at_once);
    // This waits for its turn, and so for the removal.
    assert!(online_key(&server, GUN, "timestamp", Method::GET).await == key);
    assert!(store.head(&name).await.unwrap().is_none());
    let kept = store.online_keys(&name).await.unwrap();
    assert!(kept.is_some(), "the keys are in memory only");
    // Whoever still has the repository publishes it again.
    insider.published.retain(|role, _| role == "root");
    let mut files = insider.first();
    files[0].1 = insider.published["root"].1.clone();
    accept(&server, &mut insider, files).await;
    follow(&server, GUN).await;
    server.clock.advance(8 * DAY);
    assert!(server.app.publisher.renew(&name).await.unwrap());
}

/// The same through our own API, which removes the keys for good.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_are_gone_are_not_used_on() {
    let store = Gated::new();
    let server = TestServer::with(Setup { store: store.clone(), ..Setup::default() }).await;
    begin(&server, GUN, false).await;
    let name: RepositoryName = GUN.parse().unwrap();
    let head = store.head(&name).await.unwrap().unwrap().token;
    let request =
        format!("DELETE /api/v1/repositories/{GUN} HTTP/1.1\r\nhost: x\r\nif-match: \"{head}\"\r\n\r\n");
    hang_up(&server, &store, &request).await;
    let key = online_key(&server, GUN, "timestamp", Method::GET).await;
    let kept = server.app.vault.get(&name).await.unwrap().unwrap();
    assert!(store.online_keys(&name).await.unwrap().is_some(), "the keys are in memory only");
    assert!(kept.sets.iter().any(|set| set.timestamp.public_key() == &key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removed_repository_goes_on_where_it_was() {
    let site = Site::start();
    let mut insider = site.begin("registry.test:5000/pfx/again", false).await;
    let mut reader = Reader::of(&insider.gun);
    for round in 1..4 {
        reader.read(&site).await.unwrap();
        let answer = site.request(Method::DELETE, &tuf(&insider.gun, "")).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        let root = ("root".to_owned(), insider.published["root"].1.clone());
        let targets = insider.tagged(&["targets", "targets/releases", "targets/alice"], &format!("v{round}"));
        let files = [vec![root], targets].concat();
        site.publish(&mut insider, files).await;
        site.is_readable(&insider, &mut reader).await;
    }
    let lone = insider.tagged(&["targets"], "v9");
    let other = send_to_nobody(&site, &lone).await;
    assert_eq!(other, 400);
}

async fn send_to_nobody(site: &Site, files: &[bulla_tests::legacy::File]) -> u16 {
    site.post("registry.test:5000/pfx/nobody", files).await.status().as_u16()
}
