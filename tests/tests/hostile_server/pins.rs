//! Whom a consumer trusts: no server puts one repository in the place of another.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::verify::Pin;
use bulla_tests::simulator::support::{Repo, TestKey};
use bulla_tests::simulator::{Consumer, Registry, Server};

use crate::world::{MALLORY, NAME, V1, World};

#[tokio::test]
async fn the_files_of_another_repository_do_not_fit() {
    const OTHER: &str = "registry.example.com/team/other";
    let world = World::new().await;
    let mut other = Repo::released();
    // Every repository of a server has online keys of its own.
    other.roots[0].trust("roles/snapshot", &[MALLORY], 1).trust("roles/timestamp", &[MALLORY], 1);
    other.snapshot.signed_by(&[MALLORY]);
    other.timestamp.signed_by(&[MALLORY]);
    other.made_for(OTHER).sign("v1", b"another image");
    world.server.serve(OTHER, other.files());
    world.registry.push("v1", Repo::MANIFEST);
    let both = Consumer::new(&world.server, &world.registry);
    let both = both.pinned(NAME, world.first.digest_pin()).pinned(OTHER, other.digest_pin());
    assert_eq!(both.resolve(V1).await.exit, 0);
    assert_eq!(both.resolve(&format!("{OTHER}:v1")).await.text, Sha256Digest::of(b"another image").to_oci());
    for (name, bytes) in both.disk(OTHER) {
        std::fs::write(both.cache(NAME).join(name), bytes).unwrap();
    }
    let answer = both.resolve(V1).await;
    assert_eq!(answer.text, Sha256Digest::of(Repo::MANIFEST).to_oci());
    world.server.serve_only(NAME, other.files());
    let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, world.first.digest_pin());
    let answer = newcomer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    let found = Sha256Digest::of(&other.roots[0].bytes()).to_string();
    assert!(answer.text.contains(&found), "the digest that was found is named: {}", answer.text);
}

/// Who stole the server holds the online keys of every repository, and has what alice signed
/// for another one.
#[tokio::test]
async fn a_stolen_server_cannot_swap_what_one_signer_signed_for_two_repositories() {
    let world = World::new().await;
    let mut other = world.next.clone();
    other.made_for("registry.example.com/team/other").list("alice", "v1", b"x").list("releases", "v1", b"x");
    for swapped in [&["releases", "alice"][..], &["alice"]] {
        world.show_spoilt(|repo| {
            for role in swapped {
                repo.delegated.insert((*role).to_owned(), other.delegated[*role].clone());
            }
        });
        let answer = world.consumer.resolve(V1).await;
        assert_eq!(answer.exit, 15, "{}", answer.text);
        assert!(answer.text.contains("made for registry.example.com/team/other"), "{}", answer.text);
    }
    world.show_spoilt(|repo| {
        repo.targets = other.targets.clone();
        repo.targets.bump();
    });
    let answer = world.consumer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    // A document that names no repository does not pass where the root names one.
    world.show_spoilt(|repo| {
        repo.targets_doc("releases").remove("x_bulla_repository");
    });
    assert_eq!(world.consumer.resolve(V1).await.exit, 15);
}

/// One pin for all repositories of a team does not make them one.
#[tokio::test]
async fn a_pin_for_many_repositories_does_not_let_the_server_swap_them() {
    let keys = Pin::Keys { fingerprints: [Repo::ROOT.fingerprint()].into(), threshold: Threshold::ONE };
    let (server, registry) = (Server::default(), Registry::default());
    let mut other = Repo::released();
    other.made_for("registry.example.com/team/other");
    server.serve(NAME, other.files());
    let consumer = Consumer::new(&server, &registry).pinned("registry.example.com/team/**", keys);
    let answer = consumer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    let mut nameless = Repo::released();
    nameless.roots[0].remove("x_bulla_repository");
    server.serve_only(NAME, nameless.files());
    let answer = consumer.resolve(V1).await;
    assert_eq!(answer.exit, 15, "{}", answer.text);
    server.serve_only(NAME, Repo::released().files());
    assert_eq!(consumer.resolve(V1).await.exit, 0);
}

#[tokio::test]
async fn who_is_not_pinned_is_not_asked() {
    let world = World::new().await;
    for (image, says) in [
        ("registry.example.com/team/app2:v1", "registry.example.com/team/app2 is not pinned"),
        ("registry.example.com/team:v1", "registry.example.com/team is not pinned"),
    ] {
        let answer = world.consumer.verify(image).await;
        assert_eq!(answer.exit, 10, "{}", answer.text);
        assert!(answer.text.contains(says) && answer.text.contains("bulla trust add"), "{}", answer.text);
    }
    assert!(world.server.asked().is_empty());
}

#[tokio::test]
async fn the_most_specific_pin_counts_and_is_not_fallen_back_from() {
    let (server, registry) = (Server::default(), Registry::default());
    let repo = Repo::released();
    let keys = Pin::Keys { fingerprints: [MALLORY.fingerprint()].into(), threshold: Threshold::ONE };
    registry.push("v1", Repo::MANIFEST);
    server.serve(NAME, repo.files());
    let wide = Consumer::new(&server, &registry).pinned("registry.example.com/**", repo.digest_pin());
    assert_eq!(wide.verify(V1).await.exit, 0);
    let narrow = wide.pinned("registry.example.com/team/**", keys.clone());
    let answer = narrow.verify(V1).await;
    assert_eq!(answer.exit, 12, "the wider pin would have been met: {}", answer.text);
    assert!(answer.text.contains(&MALLORY.fingerprint().to_string()), "the key is named: {}", answer.text);
    let exact = narrow.pinned(NAME, repo.digest_pin());
    assert_eq!(exact.verify(V1).await.exit, 0);
}

#[tokio::test]
async fn pins_by_keys_want_their_threshold_of_root_keys() {
    let keys = ["root a", "root b", "root c"].map(TestKey::new);
    let pin = |keys: &[TestKey], threshold| Pin::Keys {
        fingerprints: keys.iter().map(|key| key.fingerprint()).collect(),
        threshold: Threshold::new(threshold).unwrap(),
    };
    let mut repo = Repo::released();
    repo.roots[0].trust("roles/root", &keys, 1).signed_by(&keys[..2]);
    for (pin, exit) in [
        (pin(&keys, 2), 0),
        (pin(&keys[..1], 1), 0),
        (pin(&keys, 3), 12),
        (pin(&keys[2..], 1), 12),
        (pin(&[keys[0], MALLORY], 2), 12),
        // Its key is in the root and has signed nothing, but is no root key.
        (pin(&[Repo::TARGETS], 1), 12),
    ] {
        let (server, registry) = (Server::default(), Registry::default());
        server.serve(NAME, repo.files());
        let consumer = Consumer::new(&server, &registry).pinned(NAME, pin.clone());
        let answer = consumer.resolve(V1).await;
        assert_eq!(answer.exit, exit, "{pin:?}: {}", answer.text);
    }
    // A root signed by a key that it does not name as a root key.
    repo.roots[0].trust("roles/root", &keys[1..], 1).trust("roles/targets", &[Repo::TARGETS, keys[0]], 1);
    repo.roots[0].signed_by(&keys);
    let (server, registry) = (Server::default(), Registry::default());
    server.serve(NAME, repo.files());
    let consumer = Consumer::new(&server, &registry).pinned(NAME, pin(&keys[..1], 1));
    let answer = consumer.resolve(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
}
