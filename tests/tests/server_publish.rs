//! The publish pipeline over HTTP: creation, tags, conflicts, repetition, refusals, online
//! keys, renewal, removal.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::metadata::MetaInfo;
use bulla_keys_schema::names::{DelegatedRoleName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::RootChain;
use bulla_keys_schema::verify::{Floor, RawMetadata};
use bulla_keys_schema::wire::{ChangeKind, ChangeList, Head, OnlineKeys, ProblemCode, Receipt};
use bulla_server::config::{LifetimesConfig, LimitsConfig};
use bulla_server::store::memory::MemoryStore;
use bulla_server::store::{HeadToken, TrustStore};
use bulla_tests::publisher::{self, Publisher, operation, receipt};
use bulla_tests::server::{Setup, TestServer, Upload, problem};
use bytes::Bytes;
use reqwest::Method;

const HOUR: i64 = 3600;

async fn file(server: &TestServer, repository: &str, name: &str) -> Bytes {
    let response = server.get(&format!("/tuf/{repository}/metadata/{name}")).await;
    assert_eq!(response.status(), 200, "{name}");
    response.bytes().await.expect("a body")
}

/// Follows a repository from its first root as a fresh client would.
async fn follow(server: &TestServer, repository: &str, now: UtcTime) -> Result<[u64; 4], String> {
    let first = file(server, repository, "1.root.json").await;
    let root = RawMetadata::new(Dialect::Tuf1, first).verify_first().map_err(|e| e.to_string())?;
    let mut chain = RootChain::resume(root);
    for version in 2.. {
        let response = server.get(&format!("/tuf/{repository}/metadata/{version}.root.json")).await;
        if response.status() == 404 {
            break;
        }
        chain.step(response.bytes().await.expect("a body")).map_err(|e| e.to_string())?;
    }
    let root = chain.finish(now, None).map_err(|e| e.to_string())?;
    let root_version = root.root().version();
    let timestamp = file(server, repository, "timestamp.json").await;
    let step = root.timestamp(Floor::none(), timestamp).map_err(|e| e.to_string())?;
    let named = |info: &MetaInfo, role: &str| {
        info.version.map(|version| format!("{version}.{role}.json")).ok_or(format!("{role} without version"))
    };
    let name = named(step.wanted(), "snapshot")?;
    let timestamp_version = step.timestamp().version();
    let step = step.snapshot(file(server, repository, &name).await).map_err(|e| e.to_string())?;
    let name = named(step.wanted().map_err(|e| e.to_string())?, "targets")?;
    let snapshot_version = step.snapshot().version();
    let step = step.targets(file(server, repository, &name).await).map_err(|e| e.to_string())?;
    for role in ["releases", "alice"] {
        let role: DelegatedRoleName = role.parse().expect("a role");
        let name = named(step.wanted(&role).map_err(|e| e.to_string())?, role.as_str())?;
        step.delegated(&role, file(server, repository, &name).await).map_err(|e| e.to_string())?;
    }
    let targets_version = step.targets().version();
    Ok([root_version, timestamp_version, snapshot_version, targets_version].map(|version| version.get()))
}

fn now(server: &TestServer) -> UtcTime {
    use bulla_server::clock::Clock as _;
    server.clock.now()
}

async fn tag(server: &TestServer, publisher: &mut Publisher, token: &str, number: u32) -> Receipt {
    let upload = publisher.tag(&format!("v{number}"), format!("manifest {number}").as_bytes());
    receipt(server.send(server.publish("a", Some(token), operation("a", number), &upload)).await).await
}

#[tokio::test]
async fn a_repository_lives_through_creation_and_tags() {
    let server = TestServer::start().await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    assert!(!created.replayed);
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([1, 1, 1, 1]));
    let tagged = tag(&server, &mut publisher, &created.token, 1).await;
    assert_ne!(tagged.token, created.token);
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([1, 2, 2, 1]));
    let head: Head = server.get("/api/v1/repositories/a/head").await.json().await.expect("a head");
    assert_eq!((head.token, head.current), (tagged.token, tagged.current));

    let list: ChangeList = server.get("/api/v1/changes").await.json().await.expect("changes");
    let seen: Vec<_> = list.changes.iter().map(|change| (change.kind, change.actor.as_str())).collect();
    assert_eq!(seen, [(ChangeKind::Published, "anonymous"); 2]);
    assert_eq!(list.next, tagged.position);
    let roles: Vec<_> = list.changes[1].documents.iter().map(|document| document.role.to_string()).collect();
    for role in ["alice", "releases", "snapshot", "timestamp"] {
        assert!(roles.iter().any(|found| found == role), "{roles:?}");
    }
    let rest: ChangeList =
        server.get(&format!("/api/v1/changes?after={}", list.next)).await.json().await.expect("changes");
    assert_eq!((rest.changes.len(), rest.next), (0, list.next));
}

#[tokio::test]
async fn the_same_operation_is_done_once() {
    let server = TestServer::start().await;
    let publisher = Publisher::new(&publisher::online_keys(&server, "a").await);
    let mut receipts = Vec::new();
    for _ in 0..2 {
        let response = server.send(server.publish("a", None, 5, &publisher.first())).await;
        receipts.push(receipt(response).await);
    }
    assert!(!receipts[0].replayed && receipts[1].replayed);
    assert_eq!((&receipts[0].token, receipts[0].position), (&receipts[1].token, receipts[1].position));
    assert_eq!(receipts[0].current, receipts[1].current);
    let list: ChangeList = server.get("/api/v1/changes").await.json().await.expect("changes");
    assert_eq!(list.changes.len(), 1);
}

#[tokio::test]
async fn who_built_on_another_head_is_told_the_current_one() {
    let server = TestServer::start().await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    let tagged = tag(&server, &mut publisher, &created.token, 1).await;
    let upload = publisher.tag("late", b"{}");
    for stale in [Some(created.token.as_str()), Some("h999"), None] {
        let response = server.send(server.publish("a", stale, operation("a", 77), &upload)).await;
        let found = problem(response).await;
        assert_eq!(found.code, ProblemCode::ConcurrentChange, "{stale:?}");
        assert_eq!(found.current_token.as_ref(), Some(&tagged.token), "{stale:?}");
    }
    let absent = server.send(server.publish("b", Some("h1"), 9, &upload)).await;
    let found = problem(absent).await;
    assert_eq!((found.code, found.current_token), (ProblemCode::ConcurrentChange, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_publishers_with_one_token_one_wins() {
    let server = Arc::new(TestServer::start().await);
    let (mut publisher, created) = publisher::create(&server, "a").await;
    let upload = publisher.tag("v1", b"{}");
    let tries: Vec<_> = (0..16)
        .map(|at| {
            let (server, token, upload) = (Arc::clone(&server), created.token.clone(), upload.clone());
            tokio::spawn(async move {
                server
                    .send(server.publish("a", Some(&token), operation("race", at), &upload))
                    .await
                    .status()
                    .as_u16()
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for attempt in tries {
        statuses.push(attempt.await.expect("no panic"));
    }
    statuses.sort_unstable();
    assert_eq!((statuses[0], &statuses[1..]), (200, [412; 15].as_slice()));
}

#[tokio::test]
async fn refusals_name_rule_role_and_versions() {
    let server = TestServer::start().await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    let good = publisher.tag("v1", b"{}");
    let skipped = publisher.tag("v2", b"{}");
    let [Upload::Metadata(_, alice), Upload::Metadata(_, releases), _] = good.as_slice() else {
        panic!("two documents and a target")
    };
    let named = |name: &str, bytes: &[u8]| Upload::Metadata(name.to_owned(), bytes.to_vec());
    let mut broken = alice.clone();
    let last = broken.len() - 10;
    broken[last] ^= 1;
    for (what, parts, rule, role) in [
        ("a target alone", vec![Upload::Target(b"{}".to_vec())], "empty", None),
        ("a version left out", skipped.clone(), "version", Some("releases")),
        ("releases alone", vec![named("2.releases.json", releases)], "unvouched", None),
        ("a snapshot", vec![named("2.snapshot.json", alice)], "online-role", Some("snapshot")),
        ("twice", vec![named("2.alice.json", alice), named("2.alice.json", alice)], "twice", Some("alice")),
        ("another's name", vec![named("2.bob.json", alice)], "not-delegated", Some("bob")),
        ("a wrong file name", vec![named("9.alice.json", alice)], "file-name", Some("alice")),
        ("broken bytes", vec![named("2.alice.json", &broken)], "signature", Some("alice")),
        ("no metadata", vec![named("2.alice.json", b"hello")], "signature", Some("alice")),
        (
            "an unlisted target",
            vec![
                named("2.alice.json", alice),
                named("2.releases.json", releases),
                Upload::Target(b"x".to_vec()),
            ],
            "unlisted-file",
            None,
        ),
    ] {
        let id = operation(what, 0);
        let found = problem(server.send(server.publish("a", Some(&created.token), id, &parts)).await).await;
        assert_eq!(found.code, ProblemCode::Rejected, "{what}: {found:?}");
        let rejection = found.rejection.unwrap_or_else(|| panic!("{what}: no rejection"));
        assert_eq!((rejection.rule.as_str(), rejection.role.as_deref()), (rule, role), "{what}");
        if rule == "version" {
            assert_eq!((rejection.uploaded_version, rejection.current_version), (Some(3), Some(1)));
        }
    }
    let head: Head = server.get("/api/v1/repositories/a/head").await.json().await.expect("a head");
    assert_eq!(head.token, created.token);
    let response = server.send(server.publish("a", Some(&created.token), 3, &good)).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn roots_must_list_the_keys_of_this_server() {
    let server = TestServer::start().await;
    let other = publisher::online_keys(&server, "other").await;
    let publisher = Publisher::new(&other);
    for made in [false, true] {
        if made {
            publisher::online_keys(&server, "a").await;
        }
        let found = problem(server.send(server.publish("a", None, 1, &publisher.first())).await).await;
        assert_eq!(found.rejection.expect("a rule").rule, "online-keys");
        assert!(found.hint.expect("a hint").contains("online-keys"));
    }
    assert_eq!(server.get("/tuf/a/metadata/timestamp.json").await.status(), 404);
}

#[tokio::test]
async fn malformed_requests_are_refused_before_anything_is_judged() {
    let limits = LimitsConfig { body_bytes: 64 * 1024, parts: 4, ..LimitsConfig::default() };
    let server = TestServer::with(Setup { limits, ..Setup::default() }).await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    let upload = publisher.tag("v1", b"{}");
    let path = "/api/v1/repositories/a/publish";
    let post = || server.request(Method::POST, path);
    let id = "00000000000000000000000000000001";
    let form = || reqwest::multipart::Form::new().text("metadata", "x");
    for (what, request, code) in [
        (
            "no precondition",
            post().header("idempotency-key", id).multipart(form()),
            ProblemCode::PreconditionRequired,
        ),
        ("no id", post().header("if-none-match", "*").multipart(form()), ProblemCode::BadRequest),
        (
            "short id",
            post().header("if-none-match", "*").header("idempotency-key", "01"),
            ProblemCode::BadRequest,
        ),
        ("no token", post().header("if-match", "h1").header("idempotency-key", id), ProblemCode::BadRequest),
        (
            "both",
            post().header("if-match", "\"h1\"").header("if-none-match", "*").header("idempotency-key", id),
            ProblemCode::BadRequest,
        ),
        (
            "json",
            post().header("if-none-match", "*").header("idempotency-key", id).json(&1),
            ProblemCode::UnsupportedMediaType,
        ),
        (
            "no file name",
            post().header("if-none-match", "*").header("idempotency-key", id).multipart(form()),
            ProblemCode::BadRequest,
        ),
        (
            "another part",
            post()
                .header("if-none-match", "*")
                .header("idempotency-key", id)
                .multipart(reqwest::multipart::Form::new().text("other", "x")),
            ProblemCode::BadRequest,
        ),
        (
            "a body that ends early",
            post()
                .header("if-none-match", "*")
                .header("idempotency-key", id)
                .header("content-type", "multipart/form-data; boundary=b")
                .body("--b\r\ncontent-disposition: form-data; name=\"target\"\r\n\r\nx"),
            ProblemCode::BadRequest,
        ),
        (
            "a large body",
            server.publish("a", Some(&created.token), 2, &[Upload::Target(vec![0; 100 * 1024])]),
            ProblemCode::TooLarge,
        ),
        (
            "many parts",
            server.publish("a", Some(&created.token), 2, &[upload.clone(), upload.clone()].concat()),
            ProblemCode::TooLarge,
        ),
        (
            "a large document",
            server.publish("a", None, 2, &[Upload::Metadata("1.timestamp.json".into(), vec![b' '; 20_000])]),
            ProblemCode::TooLarge,
        ),
    ] {
        let found = problem(server.send(request).await).await;
        assert_eq!(found.code, code, "{what}: {found:?}");
    }
    let unsized_body = futures_util::stream::iter((0..40).map(|_| Ok::<_, std::io::Error>(vec![b'x'; 4096])));
    let request = post()
        .header("if-none-match", "*")
        .header("idempotency-key", id)
        .header("content-type", "multipart/form-data; boundary=b")
        .body(reqwest::Body::wrap_stream(futures_util::StreamExt::chain(
            futures_util::stream::iter([Ok(
                b"--b\r\ncontent-disposition: form-data; name=\"target\"\r\n\r\n".to_vec(),
            )]),
            unsized_body,
        )));
    assert_eq!(problem(server.send(request).await).await.code, ProblemCode::TooLarge);
}

#[tokio::test]
async fn online_keys_are_made_once_and_rotate_through_a_new_root() {
    let server = TestServer::start().await;
    let path = "/api/v1/repositories/a/online-keys";
    assert_eq!(server.get(path).await.status(), 404);
    let before = publisher::online_keys(&server, "a").await;
    assert_eq!(publisher::online_keys(&server, "a").await, before);
    assert_eq!(server.get(path).await.json::<OnlineKeys>().await.expect("keys"), before);
    assert_ne!(before.snapshot, before.timestamp);
    let rotate = async || {
        let response = server.send(server.request(Method::POST, &format!("{path}/rotate"))).await;
        let status = response.status().as_u16();
        (status, response.json::<OnlineKeys>().await.ok())
    };
    assert_eq!(rotate().await.0, 404, "there is no repository yet");

    let (mut publisher, created) = publisher::create(&server, "a").await;
    let waiting = rotate().await.1.expect("keys");
    assert_eq!((&waiting.snapshot, &waiting.timestamp), (&before.snapshot, &before.timestamp));
    assert_eq!(rotate().await.1.as_ref(), Some(&waiting), "asking twice makes one set");
    let tagged = tag(&server, &mut publisher, &created.token, 1).await;
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([1, 2, 2, 1]), "the old set still signs");

    let next = waiting.next.expect("a set that waits");
    let upload = publisher.rotate(&next);
    let rotated = receipt(server.send(server.publish("a", Some(&tagged.token), 20, &upload)).await).await;
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([2, 3, 3, 1]));
    let after: OnlineKeys = server.get(path).await.json().await.expect("keys");
    assert_eq!((after.snapshot, after.timestamp, after.next), (next.snapshot, next.timestamp, None));
    tag(&server, &mut publisher, &rotated.token, 2).await;
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([2, 4, 4, 1]));
    let again = rotate().await.1.expect("keys");
    assert!(again.next.is_some() && again.generation > waiting.generation);
}

/// Waits until the timestamp has a version above `version`.
async fn renewed(server: &TestServer, version: u64) -> [u64; 4] {
    let began = Instant::now();
    loop {
        if let Ok(found) = follow(server, "a", now(server)).await
            && found[1] > version
        {
            return found;
        }
        assert!(began.elapsed() < Duration::from_secs(10), "nothing was renewed");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Rounds of renewal follow each other quickly when lifetimes are short.
fn short_lived(store: Arc<dyn TrustStore>) -> Setup {
    let lifetimes = LifetimesConfig {
        timestamp: Duration::from_secs(60),
        snapshot: Duration::from_secs(180),
        ..LifetimesConfig::default()
    };
    Setup { lifetimes, store, ..Setup::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn online_roles_are_renewed_before_they_expire() {
    let server = TestServer::with(short_lived(Arc::new(MemoryStore::new()))).await;
    publisher::create(&server, "a").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([1, 1, 1, 1]), "nothing is due");
    server.clock.advance(31);
    assert_eq!(renewed(&server, 1).await, [1, 2, 1, 1], "the snapshot has lived a sixth of its life");
    server.clock.advance(65);
    assert_eq!(renewed(&server, 2).await, [1, 3, 2, 1], "the snapshot has lived half of its life");
    let list: ChangeList = server.get("/api/v1/changes").await.json().await.expect("changes");
    assert_eq!(list.changes.len(), 1, "renewals are no changes");
    server.clock.advance(HOUR);
    assert_eq!(renewed(&server, 3).await, [1, 4, 3, 1], "even what has expired is renewed");
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_never_write_and_a_publish_builds_on_a_renewal() {
    let store = Arc::new(MemoryStore::new());
    let server = TestServer::with(short_lived(store.clone())).await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    for _ in 0..20 {
        follow(&server, "a", now(&server)).await.expect("the repository is whole");
    }
    let name = "a".parse().expect("a name");
    let head = store.head(&name).await.expect("readable").expect("there");
    assert_eq!(head.token.to_string(), created.token);
    server.clock.advance(31);
    renewed(&server, 1).await;
    let stale = publisher.tag("v1", b"{}");
    let response = server.send(server.publish("a", Some(&created.token), 4, &stale)).await;
    let current = problem(response).await.current_token.expect("the new token");
    assert_ne!(current.parse::<HeadToken>().expect("a token"), head.token);
    assert_eq!(server.send(server.publish("a", Some(&current), 5, &stale)).await.status(), 200);
}

#[tokio::test]
async fn a_removed_repository_leaves_no_document_and_can_be_made_anew() {
    let server = TestServer::start().await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    tag(&server, &mut publisher, &created.token, 1).await;
    let before = publisher::online_keys(&server, "a").await;
    let head: Head = server.get("/api/v1/repositories/a/head").await.json().await.expect("a head");
    let delete = |token: &str| {
        server.request(Method::DELETE, "/api/v1/repositories/a").header("if-match", format!("\"{token}\""))
    };
    let missing = server.send(server.request(Method::DELETE, "/api/v1/repositories/a")).await;
    assert_eq!(problem(missing).await.code, ProblemCode::PreconditionRequired);
    let stale = server.send(delete(&created.token)).await;
    assert_eq!(problem(stale).await.code, ProblemCode::ConcurrentChange);
    let removed = receipt(server.send(delete(&head.token)).await).await;
    assert!(removed.current.is_empty());
    assert_eq!(problem(server.send(delete(&head.token)).await).await.code, ProblemCode::NotFound);
    for path in [
        "/tuf/a/metadata/timestamp.json",
        "/tuf/a/metadata/1.root.json",
        "/api/v1/repositories/a/head",
        "/api/v1/repositories/a/online-keys",
    ] {
        assert_eq!(server.get(path).await.status(), 404, "{path}");
    }
    let list: ChangeList = server.get("/api/v1/changes").await.json().await.expect("changes");
    assert_eq!(list.changes.last().expect("an entry").kind, ChangeKind::Removed);
    assert_ne!(publisher::online_keys(&server, "a").await.timestamp, before.timestamp);
    let anew = Publisher::new(&publisher::online_keys(&server, "a").await);
    let receipt = receipt(server.send(server.publish("a", None, 50, &anew.first())).await).await;
    assert!(receipt.current.contains_key(&RoleName::Root));
    // What the server signs goes on counting: lower versions would look like a rollback.
    assert_eq!(follow(&server, "a", now(&server)).await, Ok([1, 3, 3, 1]));
}

#[tokio::test]
async fn a_clock_that_steps_back_signs_nothing() {
    let server = TestServer::start().await;
    let (mut publisher, created) = publisher::create(&server, "a").await;
    server.clock.advance(-HOUR);
    let upload = publisher.tag("v1", b"{}");
    let found = problem(server.send(server.publish("a", Some(&created.token), 2, &upload)).await).await;
    assert_eq!(found.code, ProblemCode::Unavailable);
    server.clock.advance(HOUR);
    assert_eq!(server.send(server.publish("a", Some(&created.token), 2, &upload)).await.status(), 200);
}
