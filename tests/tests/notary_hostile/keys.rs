//! Keys of the server: who asks for one makes one at most, and who rotates for ever comes to an
//! end.

use bulla_tests::legacy::{follow, online_key, refusal};
use bulla_tests::server::TestServer;
use reqwest::Method;

use crate::case::Answer::Refused;
use crate::case::judge;
use crate::insider::{Insider, Key, role, sign, table, with};
use crate::local::{accept, begin};
use crate::site::tuf;

const GUN: &str = "localhost:5000/team/app";

/// The next root, with these keys for timestamps.
fn root(insider: &Insider, keys: &[Key]) -> Vec<(String, Vec<u8>)> {
    let Insider { root, targets, snapshot, .. } = insider;
    let keys: Vec<&Key> = keys.iter().collect();
    let listed = table(keys.iter().copied().chain([root, targets, snapshot]));
    let document = with(insider.root_document(insider.next("root")), "roles/timestamp", Some(role(&keys, 1)));
    vec![("root".into(), sign(&with(document, "keys", Some(listed)), &[root]))]
}

async fn pending(server: &TestServer) -> Key {
    Key::public(&online_key(server, GUN, "timestamp", Method::POST).await)
}

async fn sets(server: &TestServer) -> usize {
    server.app.vault.get(&GUN.parse().unwrap()).await.unwrap().unwrap().sets.len()
}

#[tokio::test]
async fn rotating_for_ever_keeps_few_keys() {
    let server = TestServer::start().await;
    let mut insider = begin(&server, GUN, false).await;
    for _ in 0..40 {
        for _ in 0..3 {
            pending(&server).await;
        }
        insider.timestamp = pending(&server).await;
        let files = root(&insider, std::slice::from_ref(&insider.timestamp));
        accept(&server, &mut insider, files).await;
        assert!(sets(&server).await <= 4);
    }
    follow(&server, GUN).await;
}

#[tokio::test]
async fn a_root_that_drops_no_key_comes_to_an_end() {
    let server = TestServer::start().await;
    let mut insider = begin(&server, GUN, false).await;
    let mut keys = vec![insider.timestamp.clone()];
    let refused = loop {
        let answer = server.send(server.request(Method::POST, &tuf(GUN, "timestamp.key"))).await;
        if answer.status() != 200 {
            break answer;
        }
        keys.push(Key::public(&bulla_tests::legacy::read_key(&answer.json().await.unwrap())));
        let files = root(&insider, &keys);
        accept(&server, &mut insider, files).await;
        assert!(keys.len() < 20);
    };
    judge("too many", refused, Refused("ErrBadRoot", "too many online keys")).await.unwrap();
    follow(&server, GUN).await;
    // The way out.
    let files = root(&insider, &keys[keys.len() - 1..]);
    accept(&server, &mut insider, files).await;
    pending(&server).await;
    follow(&server, GUN).await;
}

#[tokio::test]
async fn nobody_makes_keys_by_looking() {
    let server = TestServer::start().await;
    let names =
        ["root", "targets", "targets/alice", "mirrors", "", "Snapshot", "snapshot.json", "../snapshot"];
    for name in names {
        for method in [Method::GET, Method::POST, Method::HEAD, Method::PUT, Method::DELETE] {
            let path = tuf(GUN, &format!("{name}.key"));
            let answer = server.send(server.request(method.clone(), &path)).await;
            assert_eq!(answer.status(), 404, "{method} {path}");
            if method != Method::HEAD {
                refusal(answer).await;
            }
        }
    }
    for method in [Method::HEAD, Method::PUT, Method::DELETE, Method::PATCH, Method::OPTIONS] {
        server.send(server.request(method, &tuf(GUN, "snapshot.key"))).await;
    }
    assert!(server.app.store.online_keys(&GUN.parse().unwrap()).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_done_away_with_does_not_come_back_after_a_removal() {
    let server = TestServer::start().await;
    let mut insider = begin(&server, GUN, false).await;
    let old = online_key(&server, GUN, "timestamp", Method::GET).await;
    insider.timestamp = pending(&server).await;
    let files = root(&insider, std::slice::from_ref(&insider.timestamp));
    accept(&server, &mut insider, files).await;
    let new = online_key(&server, GUN, "timestamp", Method::GET).await;
    assert!(old != new);
    let removed = server.send(server.request(Method::DELETE, &tuf(GUN, ""))).await;
    assert_eq!(removed.status(), 200);
    // Whoever begins anew is told the newest, and always the same.
    for _ in 0..2 {
        assert!(online_key(&server, GUN, "timestamp", Method::GET).await == new);
    }
    // With it, everything can be begun again.
    insider.published.clear();
    let files = insider.first();
    accept(&server, &mut insider, files).await;
    follow(&server, GUN).await;
}
