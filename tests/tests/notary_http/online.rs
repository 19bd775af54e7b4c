//! Keys that the server holds, and what it signs with them.

use bulla_keys_schema::metadata::TopLevelRole;
use bulla_keys_schema::names::RepositoryName;
use bulla_tests::legacy::{File, Owner, follow, online_key, publish, shown, version, wire_role};
use bulla_tests::server::TestServer;
use bytes::Bytes;
use reqwest::Method;
use serde_json::Value;

use crate::setting::{DAY, GUN, tuf, versions, with_tag};

#[tokio::test]
async fn keys_stay_the_same_until_a_root_lists_them() {
    let server = TestServer::start().await;
    let key = async |role, method| online_key(&server, GUN, role, method).await;
    let (get, post) = (Method::GET, Method::POST);
    let first = key("timestamp", get.clone()).await;
    assert!(first == key("timestamp", get.clone()).await);
    assert!(first == key("timestamp", post.clone()).await);
    assert!(first != key("snapshot", get.clone()).await);
    assert!(first != online_key(&server, "r.io/other", "timestamp", get.clone()).await);

    let mut owner = Owner::init(&server, GUN, true).await;
    publish(&server, GUN, &owner.first()).await;
    assert!(first == key("timestamp", get.clone()).await);
    let next = key("timestamp", post.clone()).await;
    assert!(first != next && next == key("timestamp", post.clone()).await);
    assert!(first == key("timestamp", get.clone()).await);
    // The snapshot key is the owner's: both name the one that would take over.
    let snapshot = key("snapshot", get.clone()).await;
    assert!(&snapshot != owner.snapshot_key() && snapshot == key("snapshot", post.clone()).await);

    let root = owner.rotate(TopLevelRole::Timestamp, &next);
    publish(&server, GUN, &[root, owner.snapshot(3)]).await;
    assert!(next == key("timestamp", get.clone()).await);
    let third = key("timestamp", post.clone()).await;
    assert!(third != first && third != next);
    assert!(snapshot == key("snapshot", post.clone()).await);
    // A key that is none of this server's.
    let foreign = owner.snapshot_key().clone();
    let root = owner.rotate(TopLevelRole::Timestamp, &foreign);
    let (name, text) = shown(server.send(bulla_tests::legacy::post(&server, GUN, &[root])).await).await;
    assert_eq!(name, "ErrBadRoot");
    assert!(text.contains("notary key rotate GUN timestamp -r"), "{text}");
    // The server's two keys may move one after the other, and back to the owner.
    let mut owner = Owner::init(&server, "r.io/a", false).await;
    publish(&server, "r.io/a", &owner.first()).await;
    for (role, wire) in [(TopLevelRole::Timestamp, "timestamp"), (TopLevelRole::Snapshot, "snapshot")] {
        let next = online_key(&server, "r.io/a", wire, post.clone()).await;
        let root = owner.rotate(role, &next);
        publish(&server, "r.io/a", &[root]).await;
        assert!(next == online_key(&server, "r.io/a", wire, get.clone()).await);
        follow(&server, "r.io/a").await;
    }
}

#[tokio::test]
async fn the_online_roles_are_renewed_well_ahead() {
    let (server, _) = with_tag().await;
    let name: RepositoryName = GUN.parse().expect("a name");
    let renew = async || server.app.publisher.renew(&name).await.expect("it can be renewed");
    let (timestamp, snapshot) = versions(&server).await;
    assert!(!renew().await);
    let life = follow(&server, GUN).await.top.timestamp().expires().seconds_since(server_now(&server));
    assert_eq!(life, 14 * DAY);
    server.clock.advance(7 * DAY);
    assert!(renew().await);
    assert_eq!(versions(&server).await, (timestamp + 1, snapshot));
    // A snapshot that the server signs is renewed with it when its half-life is over.
    server.clock.advance(2 * 365 * DAY);
    assert!(renew().await);
    assert_eq!(versions(&server).await, (timestamp + 2, snapshot + 1));
}

#[tokio::test]
async fn a_snapshot_of_the_owner_is_never_signed_anew_and_served_although_it_expired() {
    let server = TestServer::start().await;
    let name: RepositoryName = GUN.parse().expect("a name");
    let mut owner = Owner::init(&server, GUN, true).await;
    let mut files = owner.first();
    let meta = || {
        let bytes = |file: &File| file.1.clone();
        let dialect = bulla_keys_schema::dialect::Dialect::Notary1;
        let of = |bytes: Vec<u8>| dialect.describe(version(1), &Bytes::from(bytes).into());
        [(wire_role("root"), of(bytes(&files[0]))), (wire_role("targets"), of(bytes(&files[1])))]
    };
    let soon = server_now(&server).plus_seconds(30 * DAY);
    files[2] = owner.snapshot_of(2, meta().into(), soon);
    publish(&server, GUN, &files).await;
    for _ in 0..10 {
        server.clock.advance(8 * DAY);
        assert!(server.app.publisher.renew(&name).await.expect("the timestamp can be renewed"));
        // Not at once again, as it would be if the snapshot counted.
        assert!(!server.app.publisher.renew(&name).await.expect("it can be looked at"));
    }
    for (file, bytes) in [("snapshot.json", &files[2].1), ("targets.json", &files[1].1)] {
        let answer = server.get(&tuf(GUN, file)).await;
        assert_eq!(answer.status(), 200, "{file}");
        assert_eq!(&answer.bytes().await.expect("a body")[..], bytes, "{file}");
    }
    let timestamp: Value = server.get(&tuf(GUN, "timestamp.json")).await.json().await.expect("JSON");
    assert_eq!(timestamp["signed"]["version"], 11);
    // The owner comes back and repairs it.
    let tagged = owner.tag("targets", "v1");
    publish(&server, GUN, &[tagged, owner.snapshot(3)]).await;
    assert_eq!(versions(&server).await, (12, 3));
}

fn server_now(server: &TestServer) -> bulla_keys_schema::time::UtcTime {
    bulla_server::clock::Clock::now(&*server.clock)
}
