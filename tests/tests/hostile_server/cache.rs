//! What a consumer kept, while the server is down and when it is damaged or forged.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::simulator::support::{Repo, now};
use bulla_tests::simulator::{Consumer, Fault, Registry, Server};

use crate::world::{DAY, MALLORY, NAME, V1, World};

#[tokio::test]
async fn a_server_that_is_down_is_stood_in_for_as_long_as_its_word_counts() {
    let mut repo = Repo::released();
    repo.timestamp.set("expires", now().plus_seconds(DAY).to_string());
    for fault in [Fault::Hangup, Fault::Status(500), Fault::Status(503), Fault::Redirect("http://x".into())] {
        let world = World::of(&repo).await;
        world.server.spoil("*", fault.clone());
        let answer = world.consumer.verify(V1).await;
        assert_eq!(answer.exit, 0, "{fault:?}: {}", answer.text);
        assert!(answer.offline.is_some(), "{fault:?} is not kept quiet");
        let never_seen = world.consumer.verify(&format!("{NAME}:v9")).await;
        assert_eq!(never_seen.exit, 12, "{fault:?}: {}", never_seen.text);
        let uncached = world.consumer.verify(&format!("{NAME}:nightly-1")).await;
        assert_eq!(uncached.exit, 12, "{fault:?}: {}", uncached.text);
        world.consumer.wait(DAY);
        let answer = world.consumer.verify(V1).await;
        assert_eq!(answer.exit, 31, "{fault:?}: {}", answer.text);
        assert!(answer.text.contains("timestamp version 2 expired"), "{}", answer.text);
        let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, repo.digest_pin());
        assert_eq!(newcomer.verify(V1).await.exit, 31, "{fault:?}");
    }
}

#[tokio::test]
async fn a_role_that_was_never_fetched_is_missed_when_the_server_is_down() {
    let (server, registry) = (Server::default(), Registry::default());
    let mut repo = Repo::released();
    repo.list("bob", "nightly-1", b"n").list("releases", "nightly-1", b"n").renew();
    server.serve(NAME, repo.files());
    registry.push("v1", Repo::MANIFEST);
    let consumer = Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin());
    assert_eq!(consumer.verify(V1).await.exit, 0);
    server.spoil("*", Fault::Hangup);
    let answer = consumer.resolve(&format!("{NAME}:nightly-1")).await;
    assert_eq!(answer.exit, 31, "{}", answer.text);
    assert!(answer.text.contains("bob"), "{}", answer.text);
}

#[tokio::test]
async fn a_clock_that_goes_back_revives_nothing() {
    let mut repo = Repo::released();
    repo.timestamp.set("expires", now().plus_seconds(DAY).to_string());
    let world = World::of(&repo).await;
    world.consumer.wait(DAY);
    assert_eq!(world.consumer.verify(V1).await.exit, 13);
    world.consumer.wait(-DAY - 1);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 13, "{}", answer.text);
    assert!(answer.text.contains("the clock says 2029-12-31T23:59:59Z"), "{}", answer.text);
    assert!(answer.text.contains("set the clock"), "{}", answer.text);
    world.consumer.wait(1);
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
}

#[tokio::test]
async fn damaged_caches_are_repaired_from_the_server() {
    let names = [
        "1.root.json",
        "timestamp.json",
        "snapshot.json",
        "targets.json",
        "releases.role",
        "alice.role",
        "accepted.time",
    ];
    for name in names {
        for damage in ["truncated", "tampered", "empty", "gone", "huge", "other"] {
            if (name, damage) == ("accepted.time", "tampered") {
                // Another time is a time: see the test of the clock.
                continue;
            }
            let world = World::new().await;
            let file = world.consumer.cache(NAME).join(name);
            let bytes = std::fs::read(&file).unwrap();
            match damage {
                "truncated" => std::fs::write(&file, &bytes[..bytes.len() / 2]),
                "tampered" => {
                    let mut bytes = bytes.clone();
                    bytes[5] ^= 1;
                    std::fs::write(&file, bytes)
                }
                "empty" => std::fs::write(&file, ""),
                "gone" => std::fs::remove_file(&file),
                "huge" => std::fs::write(&file, vec![b' '; 6 << 20]),
                _ => std::fs::write(&file, r#"{"signatures":[],"signed":{}}"#),
            }
            .unwrap();
            let answer = world.consumer.verify(V1).await;
            assert_eq!(answer.exit, 0, "{name} {damage}: {}", answer.text);
            assert_eq!(answer.text, Sha256Digest::of(Repo::MANIFEST).to_oci());
            world.show(&world.next);
            let answer = world.consumer.verify(V1).await;
            assert_eq!(answer.exit, 0, "{name} {damage}, next: {}", answer.text);
        }
    }
}

/// What somebody else planted in the cache is worth nothing: it is verified again.
#[tokio::test]
async fn a_forged_cache_is_not_believed_even_offline() {
    let forged_manifest = b"malware";
    let mut forged = Repo::released();
    for role in ["roles/root", "roles/snapshot", "roles/timestamp"] {
        forged.roots[0].trust(role, &[MALLORY], 1);
    }
    for document in [&mut forged.roots[0], &mut forged.snapshot, &mut forged.timestamp] {
        document.signed_by(&[MALLORY]);
    }
    forged.sign("v1", forged_manifest);
    for online in [true, false] {
        let world = World::new().await;
        let victim = world.consumer.cache(NAME);
        let attacker = Consumer::new(&world.server, &world.registry).pinned(NAME, forged.digest_pin());
        world.server.serve_only(NAME, forged.files());
        world.registry.push("v1", forged_manifest);
        assert_eq!(attacker.verify(V1).await.exit, 0);
        for (name, bytes) in attacker.disk(NAME) {
            std::fs::write(victim.join(name), bytes).unwrap();
        }
        world.server.serve_only(NAME, world.trusted.files());
        if !online {
            world.server.spoil("*", Fault::Hangup);
        }
        let answer = world.consumer.resolve(V1).await;
        let honest = Sha256Digest::of(Repo::MANIFEST).to_oci();
        assert!(if online { answer.text == honest } else { answer.exit == 31 }, "{}", answer.text);
    }
}

#[tokio::test]
async fn nothing_leaves_the_cache_through_a_link() {
    let world = World::new().await;
    let cache = world.consumer.cache(NAME);
    let victim = world.consumer.folder().join("victim");
    std::fs::write(&victim, "precious").unwrap();
    for name in ["timestamp.json", "snapshot.json", "releases.role", "2.root.json", "accepted.time"] {
        let file = cache.join(name);
        let _absent = std::fs::remove_file(&file);
        std::os::unix::fs::symlink(&victim, &file).unwrap();
    }
    let mut repo = world.next.clone();
    repo.next_root();
    world.show(&repo);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
    assert_eq!(std::fs::read_to_string(&victim).unwrap(), "precious");
    let elsewhere = world.consumer.folder().join("elsewhere");
    std::fs::rename(&cache, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &cache).unwrap();
    assert_eq!(world.consumer.verify(V1).await.exit, 0, "a cache on another disk is the user's choice");
}
