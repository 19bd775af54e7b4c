//! Time that passes: what runs out, what is rotated, and how far behind a consumer may be.

use bulla_tests::simulator::support::{Repo, TestKey, now};
use bulla_tests::simulator::{Consumer, Fault};

use crate::world::{DAY, MALLORY, NAME, V1, World};

#[tokio::test]
async fn a_frozen_server_is_noticed_when_its_timestamp_runs_out() {
    let mut repo = Repo::released();
    repo.timestamp.set("expires", now().plus_seconds(DAY).to_string());
    let world = World::of(&repo).await;
    world.consumer.wait(DAY - 1);
    let answer = world.consumer.verify(V1).await;
    assert_eq!((answer.exit, answer.valid_until), (0, Some(now().plus_seconds(DAY))));
    world.consumer.wait(1);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 13, "{}", answer.text);
    assert!(answer.text.contains("timestamp version 2 expired at 2030-01-02T00:00:00Z"), "{}", answer.text);
    let mut renewed = world.next.clone();
    renewed.timestamp.set("expires", now().plus_seconds(2 * DAY).to_string());
    world.show(&renewed);
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
}

/// A thief of the online keys drives the versions up as far as they go.
#[tokio::test]
async fn rotating_the_online_keys_ends_a_fast_forward() {
    const TOP: i64 = (1 << 53) - 1;
    let world = World::new().await;
    world.show_spoilt(|repo| {
        repo.timestamp.set_number("version", TOP);
        repo.snapshot.set_number("version", TOP);
    });
    assert_eq!(world.consumer.verify(V1).await.exit, 0, "the keys are the right ones");
    world.show(&world.next);
    let stuck = world.consumer.verify(V1).await;
    assert_eq!(stuck.exit, 15, "{}", stuck.text);
    let mut rescued = world.next.clone();
    rescued.rotate_online_keys(TestKey::new("new snapshot"), TestKey::new("new timestamp")).renew();
    world.show(&rescued);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
    world.show(&world.next);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 12, "the stolen keys are worth nothing now: {}", answer.text);
}

/// A run that sees the rotation and then fails must not forget that there was one.
#[tokio::test]
async fn a_rotation_seen_in_a_failed_run_still_counts_in_the_next() {
    let world = World::new().await;
    world.show_spoilt(|repo| {
        repo.timestamp.set_number("version", 1000);
    });
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    let mut rescued = world.next.clone();
    rescued.rotate_online_keys(TestKey::new("new snapshot"), TestKey::new("new timestamp")).renew();
    for fault in [Fault::Status(404), Fault::Instead("{}".into()), Fault::Hangup] {
        world.server.serve(NAME, rescued.files());
        world.server.spoil("timestamp.json", fault);
        assert_ne!(world.consumer.verify(V1).await.exit, 0);
        world.server.heal();
    }
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
}

#[tokio::test]
async fn root_rotations_are_followed_without_pinning_anew() {
    let world = World::new().await;
    let mut repo = world.next.clone();
    let keys = ["root 2", "root 3", "root 4"].map(TestKey::new);
    let mut before = Repo::ROOT;
    for key in keys {
        repo.next_root().trust("roles/root", &[key], 1).signed_by(&[before, key]);
        before = key;
    }
    let targets = TestKey::new("targets 2");
    repo.next_root().trust("roles/targets", &[targets], 1).signed_by(&[before]);
    repo.targets.bump().signed_by(&[targets]);
    world.show(&repo);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 0, "{}", answer.text);
    let newcomer = Consumer::new(&world.server, &world.registry).pinned(NAME, world.first.digest_pin());
    assert_eq!(newcomer.verify(V1).await.exit, 0);
    // The retired key signs a sixth root.
    let mut forged = repo.clone();
    forged.next_root().trust("roles/root", &[MALLORY], 1).signed_by(&[Repo::ROOT, MALLORY]);
    forged.renew();
    world.show(&forged);
    let answer = world.consumer.verify(V1).await;
    assert_eq!(answer.exit, 12, "{}", answer.text);
}

#[tokio::test]
async fn a_chain_of_roots_beyond_one_run_is_followed_in_the_next() {
    let world = World::new().await;
    let mut repo = world.next.clone();
    for _ in 0..300 {
        repo.next_root();
    }
    world.show(&repo);
    let roots = |asked: Vec<String>| asked.iter().filter(|file| file.ends_with(".root.json")).count();
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    assert_eq!(roots(world.server.asked()), 256, "bounded in one run");
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    assert_eq!(roots(world.server.asked()), 300 - 256 + 1);
    assert_eq!(world.consumer.verify(V1).await.exit, 0);
    assert_eq!(roots(world.server.asked()), 1);
}
