//! Commits: whole or not at all, one winner, durable, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RoleName;
use bulla_server::store::{HeadToken, Position, PublishError, Published};

use super::{
    NOTARY, Place, Shape, TUF, assert_readable, assert_sound, name, publication, publish_run, reference,
    removal, time,
};

/// G1: what was published is there whole, what was refused not at all.
pub async fn g1_all_or_nothing(place: &dyn Place) {
    g1_all_or_nothing_in(TUF, place).await;
}

/// As [`g1_all_or_nothing`], where documents have digests to be found by.
pub async fn notary_g1_all_or_nothing(place: &dyn Place) {
    g1_all_or_nothing_in(NOTARY, place).await;
}

async fn g1_all_or_nothing_in(dialect: &str, place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name(&format!("{dialect}example.com/g1"));
    let shapes = [Shape::default(), Shape { large: 20_000, ..Shape::default() }];
    let first = publish_run(&*store, &repository, None, 1..=1, shapes[0]).await;
    let mut broken = publication(&repository, Some(first.token), 2, shapes[1]);
    broken.current.insert("ghost".parse().unwrap(), reference(9, b"never stored"));
    let refused = store.publish(broken.clone()).await;
    assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
    for round in 0..2 {
        let head = store.head(&repository).await.unwrap().unwrap();
        assert_eq!(head.token, first.token, "round {round}");
        for new in &broken.documents {
            assert_eq!(store.by_version(&repository, &new.role, new.version).await.unwrap(), None);
            assert_eq!(store.by_digest(&repository, Sha256Digest::of(&new.bytes)).await.unwrap(), None);
        }
        store = place.reopen(store).await;
    }
    publish_run(&*store, &repository, Some(first.token), 2..=2, shapes[1]).await;
    store = place.reopen(store).await;
    assert_readable(&*store, &repository, 1, shapes[0]).await;
    for new in publication(&repository, Some(first.token), 2, shapes[1]).documents {
        assert_eq!(
            store.by_version(&repository, &new.role, new.version).await.unwrap(),
            Some(new.bytes.bytes().clone())
        );
    }
    assert_sound(&*store).await;
}

/// G2: of many publications on one head token, one wins, and the others learn the new token.
pub async fn g2_one_winner(place: &dyn Place) {
    let store = place.open().await;
    let repository = name("example.com/g2");
    let mut token = None;
    for number in 1..=5 {
        let racers = (0..16).map(|salt| {
            let (store, repository) = (Arc::clone(&store), repository.clone());
            let shape = Shape { salt: salt + 1, ..Shape::default() };
            tokio::spawn(async move {
                let mut publication = publication(&repository, token, number, shape);
                if token.is_some() {
                    // The root stays the one of the first winner; the racers differ in the rest.
                    let head = store.head(&repository).await.unwrap().unwrap();
                    publication.current.insert(RoleName::Root, head.current[&RoleName::Root].clone());
                }
                (store.publish(publication).await, shape)
            })
        });
        let mut winners = Vec::new();
        let mut told = Vec::new();
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                (Ok(published), _) => winners.push(published.token),
                (Err(PublishError::Conflict { current }), _) => told.push(current),
                (Err(other), _) => panic!("{other:?}"),
            }
        }
        assert_eq!(winners.len(), 1, "round {number}");
        assert!(told.iter().all(|current| *current == Some(winners[0])), "{told:?} {winners:?}");
        token = Some(winners[0]);
    }
    let absent = store.publish(publication(&name("example.com/no"), token, 1, Shape::default())).await;
    assert!(matches!(absent, Err(PublishError::Conflict { current: None })), "{absent:?}");
    assert_sound(&*store).await;
}

/// G3: everything acknowledged is there after a stop.
pub async fn g3_survives_a_stop(place: &dyn Place) {
    let mut store = place.open().await;
    let large = Shape { large: 50_000, salt: 3 };
    let mut heads = Vec::new();
    for number in 0..6 {
        let repository = name(&format!("example.com/g3/r{number}"));
        let shape = if number % 2 == 0 { Shape::default() } else { large };
        publish_run(&*store, &repository, None, 1..=4, shape).await;
        let head = store.head(&repository).await.unwrap();
        heads.push((repository, shape, head));
    }
    let changes = store.changes(Position(0), 1_000).await.unwrap();
    let due = store.due(time(1_000), 100).await.unwrap();
    for _ in 0..2 {
        store = place.reopen(store).await;
        for (repository, shape, head) in &heads {
            assert_eq!(store.head(repository).await.unwrap(), *head);
            for number in 1..=4 {
                let root_came_first = publication(repository, Some(HeadToken(1)), number, *shape);
                for new in root_came_first.documents {
                    let read = store.by_version(repository, &new.role, new.version).await.unwrap();
                    assert_eq!(read, Some(new.bytes.bytes().clone()));
                }
            }
        }
        assert_eq!(store.changes(Position(0), 1_000).await.unwrap(), changes);
        assert_eq!(store.due(time(1_000), 100).await.unwrap(), due);
        assert_sound(&*store).await;
    }
}

/// G4 and G7: readers beside a writer see heads that only go forward, and everything a head
/// names can be read.
pub async fn g4_g7_readers_go_forward(place: &dyn Place) {
    let store = place.open().await;
    let repository = name("example.com/g4");
    let shape = Shape { large: 6_000, salt: 0 };
    let first = publish_run(&*store, &repository, None, 1..=1, shape).await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, repository, done) = (Arc::clone(&store), repository.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut seen = HeadToken(0);
                let mut rounds = 0_u32;
                while !done.load(Ordering::Relaxed) || rounds < 3 {
                    let head = store.head(&repository).await.unwrap().unwrap();
                    assert!(head.token >= seen, "{} after {seen}", head.token);
                    seen = head.token;
                    assert_eq!(Sha256Digest::of(&head.timestamp), head.current[&RoleName::Timestamp].digest);
                    for (role, reference) in &head.current {
                        let bytes = store.by_version(&repository, role, reference.version).await.unwrap();
                        assert_eq!(Sha256Digest::of(&bytes.unwrap()), reference.digest, "{role}");
                    }
                    rounds += 1;
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    publish_run(&*store, &repository, Some(first.token), 2..=40, shape).await;
    done.store(true, Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

/// G8: the same operation twice is one publication, also after more was published and after
/// a stop, and for removals.
pub async fn g8_same_operation(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/g8");
    let first = publication(&repository, None, 1, Shape::default());
    let published = store.publish(first.clone()).await.unwrap();
    let later = publish_run(&*store, &repository, Some(published.token), 2..=3, Shape::default()).await;
    for _ in 0..2 {
        let again = store.publish(first.clone()).await.unwrap();
        assert_eq!(again, Published { replayed: true, ..published });
        assert_eq!(store.head(&repository).await.unwrap().unwrap().token, later.token);
        store = place.reopen(store).await;
    }
    let mut anew = first.clone();
    anew.expected = Some(later.token);
    assert!(store.publish(anew).await.unwrap().replayed);
    let mut elsewhere = publication(&name("example.com/g8b"), None, 1, Shape::default());
    elsewhere.operation = first.operation;
    assert!(matches!(store.publish(elsewhere).await, Err(PublishError::Invalid { .. })));
    let end = removal(&repository, later.token, 1);
    let removed = store.remove(end.clone()).await.unwrap();
    assert_eq!(store.remove(end).await.unwrap(), Published { replayed: true, ..removed });
    assert_eq!(store.changes(Position(0), 100).await.unwrap().len(), 4);
}

/// A publication that contradicts itself is refused.
pub async fn contradictions_are_refused(place: &dyn Place) {
    let store = place.open().await;
    let repository = name("example.com/contradiction");
    let good = publication(&repository, None, 1, Shape::default());
    let mut without_timestamp = good.clone();
    without_timestamp.current.remove(&RoleName::Timestamp);
    let mut without_snapshot = good.clone();
    without_snapshot.current.remove(&RoleName::Snapshot);
    let mut wrong_length = good.clone();
    wrong_length.current.get_mut(&RoleName::Targets).unwrap().length += 1;
    let mut wrong_digest = good.clone();
    wrong_digest.current.get_mut(&RoleName::Targets).unwrap().digest = Sha256Digest::of(b"?");
    let mut long_actor = good.clone();
    long_actor.actor = "a".repeat(5_000);
    for bad in [without_timestamp, without_snapshot, wrong_length, wrong_digest, long_actor] {
        let refused = store.publish(bad).await;
        assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(store.list(None, 1).await.unwrap(), []);
    store.publish(good).await.unwrap();
}

/// What is staged is not there until it is published; afterwards it is whole, whether it was staged
/// once, twice or not at all, and whenever it was cleared away.
pub async fn staged_values(place: &dyn Place) {
    staged_values_in(TUF, place).await;
}

/// As [`staged_values`], where documents have digests to be found by.
pub async fn notary_staged_values(place: &dyn Place) {
    staged_values_in(NOTARY, place).await;
}

async fn staged_values_in(dialect: &str, place: &dyn Place) {
    let store = place.open().await;
    let repository = name(&format!("{dialect}example.com/staged"));
    let shape = Shape { large: 300_000, ..Shape::default() };
    let long = |number| {
        let publication = publication(&repository, None, number, shape);
        publication.documents.into_iter().map(|new| new.bytes).collect::<Vec<_>>()
    };
    let refused = long(7);
    drop(store.stage(&refused));
    let kept = [store.stage(&long(1)), store.stage(&long(1)), store.stage(&refused)];
    for bytes in long(1).iter().chain(&refused) {
        assert_eq!(store.by_digest(&repository, Sha256Digest::of(bytes)).await.unwrap(), None);
    }
    let first = publish_run(&*store, &repository, None, 1..=2, shape).await;
    drop(kept);
    publish_run(&*store, &repository, Some(first.token), 3..=3, shape).await;
    let store = place.reopen(store).await;
    for number in 1..=3 {
        assert_readable(&*store, &repository, number, shape).await;
    }
    for bytes in refused.iter().filter(|bytes| bytes.len() > 100_000) {
        assert_eq!(store.by_digest(&repository, Sha256Digest::of(bytes)).await.unwrap(), None);
    }
    assert_sound(&*store).await;
}

/// A closed store answers nothing more, and can be closed again.
pub async fn closed(place: &dyn Place) {
    let store = place.open().await;
    let repository = name("example.com/closed");
    publish_run(&*store, &repository, None, 1..=1, Shape::default()).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(store.head(&repository).await.is_err());
    assert!(store.list(None, 1).await.is_err());
    let refused = store.publish(publication(&repository, None, 1, Shape::default())).await;
    assert!(matches!(refused, Err(PublishError::Store(_))), "{refused:?}");
    assert!(store.open_requests(&repository).await.is_err());
    assert!(store.with_requests(None, 1).await.is_err());
}
