//! Who signed, how many of them, and what they take back.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_tests::simulator::support::{Repo, delegation, now};
use bulla_tests::simulator::{BOB, Fault};

use crate::world::{MALLORY, NAME, V1, World, newcomer, newcomer_of};

#[tokio::test]
async fn one_secret_is_one_signature_whatever_its_ids() {
    let second_id = "b".repeat(64);
    let mut repo = Repo::released();
    let alice = "delegations/roles/1";
    repo.targets.trust(alice, &[Repo::ALICE], 2).trust_as(alice, &second_id, Repo::ALICE.object());
    repo.alice().signed_as(&second_id, Repo::ALICE);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
    assert!(answer.text.contains("alice: signed by 1 of 2 required keys"), "{}", answer.text);
    let mut repo = Repo::released();
    repo.targets.trust(alice, &[Repo::ALICE, BOB], 2);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
    assert!(
        answer.text.contains(&BOB.fingerprint().to_string()),
        "the missing key is named: {}",
        answer.text
    );
    assert!(!answer.text.contains(&Repo::ALICE.fingerprint().to_string()), "{}", answer.text);
    repo.alice().signed_by(&[Repo::ALICE, BOB]);
    assert_eq!(newcomer(&repo).resolve(V1).await.exit, 0);
}

#[tokio::test]
async fn revoked_never_signed_and_signed_again_are_told_apart() {
    let world = World::new().await;
    let answer = world.consumer.verify(&format!("{NAME}:v9")).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
    assert!(answer.text.contains("v9 is not signed"), "{}", answer.text);
    let mut repo = world.next.clone();
    repo.revoke("releases", "v1", Repo::MANIFEST).renew();
    world.show(&repo);
    let by_digest = format!("{NAME}@{}", Sha256Digest::of(Repo::MANIFEST).to_oci());
    for image in [V1, &by_digest] {
        let answer = world.consumer.verify(image).await;
        assert_eq!(answer.exit, 14, "{image}: {}", answer.text);
        for words in ["was revoked by releases at 2029-12-31T00:00:00Z", "leaked a password"] {
            assert!(answer.text.contains(words), "{image}: {}", answer.text);
        }
    }
    // Who replays what was before the revocation is found out.
    world.server.serve_only(NAME, world.trusted.files());
    assert_eq!(world.consumer.verify(V1).await.exit, 15);
    repo.targets_doc("releases").remove("x_bulla_revoked");
    repo.list("releases", "v1", b"repaired").list("alice", "v1", b"repaired").renew();
    world.show(&repo);
    world.registry.push("v1", b"repaired");
    assert_eq!(world.consumer.verify(V1).await.text, Sha256Digest::of(b"repaired").to_oci());
}

#[tokio::test]
async fn a_signer_takes_back_its_word() {
    let world = World::new().await;
    let mut repo = world.next.clone();
    repo.revoke("alice", "v1", Repo::MANIFEST).renew();
    world.show(&repo);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 14, "{}", answer.text);
    assert!(answer.text.contains("was revoked by alice"), "{}", answer.text);
}

/// Who steals the server's keys, or is one signer of several, cannot make an image trusted.
#[tokio::test]
async fn released_is_what_a_signer_in_scope_vouches_for() {
    let image = format!("{NAME}:v9");
    for (what, edit, exit, says) in [
        (
            "nobody vouches",
            (|repo| {
                repo.list("releases", "v9", b"x");
            }) as fn(&mut Repo),
            12,
            "no signer vouches for it",
        ),
        (
            "another digest",
            |repo| {
                repo.list("releases", "v9", b"x").list("alice", "v9", b"y");
            },
            12,
            "no signer vouches for it",
        ),
        (
            "a signer outside its patterns",
            |repo| {
                repo.list("releases", "v9", b"x").list("bob", "v9", b"x");
            },
            12,
            "no signer vouches for it",
        ),
        (
            "not released",
            |repo| {
                repo.list("alice", "v9", b"x");
            },
            12,
            "v9 is not signed",
        ),
        (
            "in targets too, with another digest",
            |repo| {
                repo.list("releases", "v9", b"x").list("alice", "v9", b"x").list("targets", "v9", b"y");
            },
            15,
            "clients disagree",
        ),
        (
            "in targets only",
            |repo| {
                repo.list("targets", "v9", b"x");
            },
            15,
            "clients disagree",
        ),
        (
            "no releases at all",
            |repo| {
                repo.targets.remove("delegations/roles/0");
                repo.targets.bump();
            },
            15,
            "clients disagree",
        ),
        (
            "an expired signer",
            |repo| {
                repo.list("releases", "v9", b"x").list("alice", "v9", b"x");
                repo.alice().set("expires", now().to_string());
            },
            13,
            "alice version",
        ),
        (
            "a role below a signer",
            |repo| {
                repo.delegate("alice", &delegation("alice.ci", &[BOB], &["*"]));
                repo.alice().bump();
                repo.add("alice.ci", &["v9"], &[BOB])
                    .list("alice.ci", "v9", b"x")
                    .list("releases", "v9", b"x");
            },
            12,
            "no signer vouches for it",
        ),
    ] {
        let world = World::new().await;
        world.show_spoilt(edit);
        let answer = world.consumer.resolve(&image).await;
        assert_eq!(answer.exit, exit, "{what}: {}", answer.text);
        assert!(answer.text.contains(says), "{what}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_second_signer_is_enough_when_one_is_expired() {
    let mut repo = Repo::released();
    repo.delegate("targets", &delegation("carol", &[MALLORY], &["*"]));
    repo.add("carol", &["v1"], &[MALLORY]);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.signed_by, ["releases", "alice", "carol"]);
    repo.alice().set("expires", now().to_string());
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!((answer.exit, answer.signed_by), (0, vec!["releases".to_owned(), "carol".to_owned()]));
    repo.alice().signed_by(&[BOB]);
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!(answer.exit, 12, "a signer whose document is forged is no expired one: {}", answer.text);
}

/// The pinned root is older than its keys: what is signed by a key retired since is no root.
#[tokio::test]
async fn a_repository_without_signers_stands_on_targets_alone() {
    let repo = Repo::flat();
    let answer = newcomer(&repo).resolve(V1).await;
    assert_eq!((answer.exit, answer.signed_by), (0, vec!["targets".to_owned()]));
    let mut bins = Repo::flat();
    bins.targets.set("delegations", Json::Object(bulla_keys_schema::json::Object::new()));
    assert_eq!(newcomer(&bins).resolve(V1).await.exit, 15);
}

/// A byte changed anywhere is noticed, or changes nothing that counts.
#[tokio::test]
async fn no_changed_byte_leads_to_another_digest() {
    let repo = Repo::released();
    let honest = Sha256Digest::of(Repo::MANIFEST).to_oci();
    for (name, bytes) in repo.files() {
        for position in (0..bytes.len()).step_by(41) {
            for change in [1, 0x20, 0x80] {
                let mut changed = bytes.to_vec();
                changed[position] ^= change;
                let consumer = newcomer_of(&repo, &name, Fault::Instead(changed.into()));
                let answer = consumer.resolve(V1).await;
                let refused = [12, 15].contains(&answer.exit);
                // Capitals in the hex of a signature are the same signature.
                let same = name == "timestamp.json" && change == 0x20 || name == "1.bob.json";
                assert!(
                    refused || same && answer.exit == 0,
                    "{name} at {position} ^ {change}: {} {}",
                    answer.exit,
                    answer.text
                );
                assert!(refused || answer.text == honest, "{name} at {position}: {}", answer.text);
            }
        }
    }
}
