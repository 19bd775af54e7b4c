//! Attacks of a trust server, and of whoever stands between it and a consumer: each ends with
//! its own exit code and words, leaves nothing on disk that was not accepted, and does not keep
//! the next honest run from succeeding.

mod attacks;
mod cache;
mod passing;
mod pins;
mod signers;
mod unseen;
mod world;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_tests::simulator::support::Repo;
use bulla_tests::simulator::{Consumer, Registry, Server};

use crate::attacks::ATTACKS;
use crate::world::{NAME, V1, World};

#[tokio::test]
async fn every_attack_is_refused_leaves_no_trace_and_is_survived() {
    for attack in ATTACKS {
        let world = World::new().await;
        let before = world.consumer.disk(NAME);
        (attack.launch)(&world);
        for again in [false, true] {
            let answer = world.consumer.verify(V1).await;
            assert_eq!(answer.exit, attack.exit, "{} (again: {again}): {}", attack.name, answer.text);
            for words in attack.says {
                assert!(answer.text.contains(words), "{} (again: {again}): {}", attack.name, answer.text);
            }
        }
        let after = world.consumer.disk(NAME);
        let changed = |name: &&String| before.get(*name) != after.get(*name);
        let moved: Vec<&String> = after.keys().chain(before.keys()).filter(changed).collect();
        let unexpected: Vec<_> = moved.iter().filter(|name| !attack.moved.contains(&name.as_str())).collect();
        assert!(unexpected.is_empty(), "{}: {unexpected:?} moved", attack.name);
        let answer = world.recover().await;
        assert_eq!(answer.exit, 0, "{}: {}", attack.name, answer.text);
        assert_eq!(answer.text, Sha256Digest::of(Repo::MANIFEST).to_oci(), "{}", attack.name);
        assert_eq!(answer.offline, None, "{}", attack.name);
    }
}

/// The same attacks on somebody who was never here: nothing is trusted either.
#[tokio::test]
async fn no_attack_fares_better_with_a_newcomer() {
    for attack in ATTACKS {
        let world = World::new().await;
        let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, world.first.digest_pin());
        (attack.launch)(&world);
        let answer = newcomer.verify(V1).await;
        // Who knows no version cannot see one go back: the signed past is all the newcomer gets.
        let only_old =
            attack.says.iter().any(|words| words.contains("went back") || words.contains("no longer"));
        assert!(answer.exit != 0 || only_old, "{}: {}", attack.name, answer.text);
        assert!(only_old || answer.exit == attack.exit, "{}: {} {}", attack.name, answer.exit, answer.text);
        let answer = world.recover().await;
        assert_eq!(answer.exit, 0, "{}: {}", attack.name, answer.text);
        assert_eq!(newcomer.verify(V1).await.exit, 0, "{}", attack.name);
    }
}

#[tokio::test]
async fn only_what_is_needed_is_asked_for() {
    let (server, registry) = (Server::default(), Registry::default());
    let mut repo = Repo::released();
    registry.push("v1", Repo::MANIFEST);
    let consumer = Consumer::new(&server, &registry).pinned(NAME, repo.digest_pin());
    server.serve(NAME, repo.files());
    assert_eq!(consumer.verify(V1).await.exit, 0);
    let cold = [
        "1.root.json",
        "2.root.json",
        "timestamp.json",
        "1.snapshot.json",
        "1.targets.json",
        "1.releases.json",
        "1.alice.json",
    ];
    assert_eq!(server.asked(), cold);
    assert_eq!(registry.asked(), ["v1"]);
    assert_eq!(consumer.verify(V1).await.exit, 0);
    assert_eq!(server.asked(), ["2.root.json", "timestamp.json"], "nothing is new");
    repo.sign("v2", b"2");
    server.serve(NAME, repo.files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
    let after = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.releases.json", "2.alice.json"];
    assert_eq!(server.asked(), after);
    assert_eq!(registry.asked(), ["v1"], "resolve asks no registry");
    repo.list("bob", "nightly-1", b"n").list("releases", "nightly-1", b"n").renew();
    server.serve(NAME, repo.files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
    let after = ["2.root.json", "timestamp.json", "3.snapshot.json", "3.releases.json"];
    assert_eq!(server.asked(), after, "bob does not speak for v1");
    let image = format!("{NAME}@{}", Sha256Digest::of(b"n").to_oci());
    assert_eq!(consumer.verify(&image).await.signed_by, ["releases", "bob"]);
    assert_eq!(server.asked(), ["2.root.json", "timestamp.json", "2.bob.json"]);
    repo.next_root();
    repo.renew();
    server.serve(NAME, repo.files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
    let after = ["2.root.json", "3.root.json", "timestamp.json", "4.snapshot.json"];
    assert_eq!(server.asked(), after);
}
