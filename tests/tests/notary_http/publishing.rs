//! What real clients send, and what they send in passing.

use bulla_keys_schema::metadata::TopLevelRole;
use bulla_tests::legacy::{Owner, follow, online_key, post, publish, shown, wire_role};
use bulla_tests::publisher;
use bulla_tests::server::{TestServer, problem};
use reqwest::Method;

use crate::setting::{GUN, send, tuf, versions, with_tag};

#[tokio::test]
async fn a_repository_lives_as_docker_wants_it() {
    let (server, mut owner) = with_tag().await;
    let seen = follow(&server, GUN).await;
    assert_eq!(seen.top.root().version().get(), 1);
    assert_eq!(seen.top.targets().version().get(), 3);
    for role in ["targets/releases", "targets/alice"] {
        assert!(seen.delegated[role].payload().targets.contains_key("v1"), "{role}");
    }
    // One document alone, and nothing at all, which renews.
    publish(&server, GUN, &[owner.tag("targets/releases", "v2")]).await;
    let before = versions(&server).await;
    publish(&server, GUN, &[]).await;
    assert_eq!(versions(&server).await, (before.0 + 1, before.1));
    // A signer who is removed stays listed, and comes back where he stopped.
    owner.undelegate("targets/alice");
    publish(&server, GUN, &[owner.file("targets")]).await;
    let seen = follow(&server, GUN).await;
    assert!(!seen.delegated.contains_key("targets/alice"));
    assert!(seen.top.snapshot().payload().meta.contains_key(&wire_role("targets/alice")));
    let old = owner.delegated["targets/alice"].clone();
    owner.delegate(&["targets/alice"]);
    publish(&server, GUN, &[owner.file("targets")]).await;
    assert_eq!(follow(&server, GUN).await.delegated["targets/alice"].version(), old.version);
    let restarted = post(&server, GUN, &[owner.file("targets/alice")]);
    let (name, text) = shown(server.send(restarted).await).await;
    assert_eq!(name, "ErrBadTargets");
    assert!(text.starts_with("targets/alice has version 1, expected 3; "), "{text}");
    assert!(text.contains("notary witness"), "{text}");
    owner.delegated.insert("targets/alice".into(), old);
    publish(&server, GUN, &[owner.tag("targets/alice", "v3")]).await;
    assert!(follow(&server, GUN).await.delegated["targets/alice"].payload().targets.contains_key("v3"));
}

#[tokio::test]
async fn an_owner_may_hold_the_snapshot_key() {
    let server = TestServer::start().await;
    let mut owner = Owner::init(&server, GUN, true).await;
    let files = owner.first();
    assert_eq!(files.len(), 3);
    let (name, text) = shown(server.send(post(&server, GUN, &files[..2])).await).await;
    assert_eq!(name, "ErrBadHierarchy", "{text}");
    publish(&server, GUN, &files).await;
    assert_eq!(versions(&server).await, (1, 2));
    // Only the timestamp can be renewed.
    publish(&server, GUN, &[]).await;
    assert_eq!(versions(&server).await, (2, 2));
    let tagged = owner.tag("targets", "v1");
    publish(&server, GUN, &[tagged, owner.snapshot(3)]).await;
    assert_eq!(versions(&server).await, (3, 3));
    publish(&server, GUN, &[owner.snapshot(4)]).await;
    // He hands the key over.
    let key = online_key(&server, GUN, "snapshot", Method::POST).await;
    let root = owner.rotate(TopLevelRole::Snapshot, &key);
    publish(&server, GUN, &[root]).await;
    assert_eq!(versions(&server).await, (5, 5));
    publish(&server, GUN, &[owner.tag("targets", "v2")]).await;
    assert!(follow(&server, GUN).await.top.targets().payload().targets.contains_key("v2"));
}

#[tokio::test]
async fn publishers_of_different_roles_do_not_disturb_each_other() {
    let (server, mut owner) = with_tag().await;
    for round in 0..10 {
        let one = [owner.tag("targets/releases", &format!("r{round}"))];
        let other = [owner.tag("targets/alice", &format!("a{round}"))];
        tokio::join!(publish(&server, GUN, &one), publish(&server, GUN, &other));
    }
    let seen = follow(&server, GUN).await;
    assert_eq!(seen.delegated["targets/releases"].payload().targets.len(), 11);
    assert_eq!(seen.delegated["targets/alice"].payload().targets.len(), 11);
}

#[tokio::test]
async fn file_names_say_the_role_and_nothing_else_counts() {
    let (server, mut owner) = with_tag().await;
    let releases = owner.tag("targets/releases", "v2").1;
    // As curl or a hand-written client may send it: other field names, `.json`, a timestamp on
    // top, one document twice with the same bytes.
    let mut body = Vec::new();
    for (field, name, bytes) in [
        ("x", "timestamp.json", br#"{"signed":{"version":1}}"#.as_slice()),
        ("files", "targets/releases.json", &releases),
        ("", "targets/releases", &releases),
    ] {
        body.extend_from_slice(b"--b\r\n");
        let disposition =
            format!("Content-Disposition: form-data; name=\"{field}\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(disposition.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--b--\r\n");
    let request = server.request(Method::POST, &tuf(GUN, "")).body(body);
    let answer = server.send(request.header("content-type", "multipart/form-data; boundary=b")).await;
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap_or_default());
    let seen = follow(&server, GUN).await;
    assert!(seen.delegated["targets/releases"].payload().targets.contains_key("v2"));
}

#[tokio::test]
async fn removal_forgets_the_documents_but_neither_keys_nor_versions() {
    let (server, mut owner) = with_tag().await;
    let neighbour = format!("{GUN}2");
    let other = Owner::init(&server, &neighbour, false).await;
    publish(&server, &neighbour, &other.first()).await;
    let before = follow(&server, GUN).await;
    for _ in 0..2 {
        let answer = send(&server, Method::DELETE, &tuf(GUN, "")).await;
        assert_eq!((answer.status().as_u16(), &*answer.text().await.expect("a body")), (200, ""));
        assert_eq!(server.get(&tuf(GUN, "root.json")).await.status(), 404);
        let file = format!("targets.{}.json", before.top.targets().digest());
        assert_eq!(server.get(&tuf(GUN, &file)).await.status(), 404);
    }
    follow(&server, &neighbour).await;
    let unknown = send(&server, Method::DELETE, &tuf("r.io/unknown", "")).await;
    assert_eq!(unknown.status(), 200);
    // A client that still has everything publishes it anew: the same root, the next targets.
    owner.delegated.clear();
    let files = [owner.root_file(), owner.tag("targets", "v9")];
    publish(&server, GUN, &files).await;
    let after = follow(&server, GUN).await;
    assert_eq!(after.top.targets().version().get(), 4);
    assert!(after.top.timestamp().version() > before.top.timestamp().version());
    assert!(after.top.snapshot().version() > before.top.snapshot().version());
}

#[tokio::test]
async fn the_two_modes_do_not_mix() {
    let (server, owner) = with_tag().await;
    let (mut publisher, receipt) = publisher::create(&server, "r.io/spec").await;
    for file in ["root.json", "timestamp.json", "1.root.json"] {
        assert_eq!(server.get(&tuf("r.io/spec", file)).await.status(), 404, "{file}");
    }
    let upload = post(&server, "r.io/spec", &owner.first());
    let (_, text) = shown(server.send(upload).await).await;
    assert!(text.starts_with("r.io/spec is in spec mode") && text.contains("bulla sign"), "{text}");
    for (method, file) in
        [(Method::GET, "timestamp.key"), (Method::POST, "snapshot.key"), (Method::DELETE, "")]
    {
        let answer = send(&server, method, &tuf("r.io/spec", file)).await;
        assert!(shown(answer).await.1.contains("spec mode"), "{file}");
    }
    assert_eq!(server.get("/tuf/r.io/spec/metadata/root.json").await.status(), 200);

    let head = server.app.store.head(&GUN.parse().expect("a name")).await.expect("read").expect("there");
    let parts = publisher.tag("v1", b"{}");
    let upload = server.publish(GUN, Some(&head.token.to_string()), 1, &parts);
    let problem = problem(server.send(upload).await).await;
    assert!(problem.detail.contains("legacy mode"), "{problem:?}");
    assert_eq!(problem.rejection.expect("a rule").rule, "other-mode");
    let rotate = format!("/api/v1/repositories/{GUN}/online-keys/rotate");
    assert_eq!(send(&server, Method::POST, &rotate).await.status(), 422);
    drop(receipt);
}
