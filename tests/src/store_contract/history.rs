//! What stays readable, what goes, and in which order things are listed.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_server::store::{ChangeKind, HeadToken, NewDocument, Position, PublishError};
use bytes::Bytes;

use super::{
    Place, Shape, assert_sound, dialect_of, document, name, publication, publish_run, reference, renewal,
    renewal_of, time, version,
};

/// G5: the bytes of a version never change.
pub async fn g5_versions_never_change(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/g5");
    let last = publish_run(&*store, &repository, None, 1..=3, Shape::default()).await;
    for _ in 0..2 {
        for number in [2, 3] {
            let mut other = publication(&repository, Some(last.token), 4, Shape::default());
            other.documents.push(NewDocument {
                role: RoleName::Targets,
                version: version(number),
                bytes: Bytes::from_static(b"other bytes").into(),
            });
            let refused = store.publish(other).await;
            assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{number}: {refused:?}");
        }
        let mut twice = publication(&repository, Some(last.token), 4, Shape::default());
        twice.documents.push(NewDocument {
            role: RoleName::Targets,
            version: version(4),
            bytes: Bytes::from_static(b"a second content").into(),
        });
        assert!(matches!(store.publish(twice).await, Err(PublishError::Invalid { .. })));
        store = place.reopen(store).await;
    }
    let mut again = publication(&repository, Some(last.token), 4, Shape::default());
    let same = document(&repository, &RoleName::Targets, 2, Shape::default());
    again.documents.push(NewDocument { role: RoleName::Targets, version: version(2), bytes: same.into() });
    store.publish(again).await.unwrap();
    assert_sound(&*store).await;
}

/// Renewals are no changes, replace each other, and what publications brought stays.
pub async fn g5_renewals_replace(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/renew");
    publish_run(&*store, &repository, None, 1..=2, Shape::default()).await;
    for number in 3..=9 {
        let head = store.head(&repository).await.unwrap().unwrap();
        let renewed = renewal(&repository, &head, number);
        let bytes = renewed.documents[0].bytes.clone();
        store.publish(renewed).await.unwrap();
        let now = store.head(&repository).await.unwrap().unwrap();
        assert_eq!(&now.timestamp, bytes.bytes());
        assert_eq!(now.current[&RoleName::Snapshot], head.current[&RoleName::Snapshot]);
        if number == 6 {
            store = place.reopen(store).await;
        }
    }
    for kept in [1, 2] {
        let bytes = document(&repository, &RoleName::Timestamp, kept, Shape::default());
        let read = store.by_version(&repository, &RoleName::Timestamp, version(kept)).await.unwrap();
        assert_eq!(read, Some(bytes));
    }
    for kept in [8, 9] {
        assert!(store.by_version(&repository, &RoleName::Timestamp, version(kept)).await.unwrap().is_some());
    }
    let head = store.head(&repository).await.unwrap().unwrap();
    let mut reused = renewal(&repository, &head, 10);
    reused.documents.push(NewDocument {
        role: RoleName::Timestamp,
        version: version(4),
        bytes: Bytes::from_static(b"an old version anew").into(),
    });
    assert!(matches!(store.publish(reused).await, Err(PublishError::Invalid { .. })));
    assert_eq!(store.changes(Position(0), 100).await.unwrap().len(), 2);
    assert_sound(&*store).await;
}

/// Every snapshot of a Notary v1 repository stays, by digest and by version: a client that
/// kept a timestamp for two weeks asks for the one that it names. Timestamps go.
pub async fn g5_notary_snapshots_stay(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("notary.example.com/stays");
    publish_run(&*store, &repository, None, 1..=1, Shape::default()).await;
    let mut brought = Vec::new();
    for number in 2..=9 {
        let head = store.head(&repository).await.unwrap().unwrap();
        let roles = [RoleName::Snapshot, RoleName::Timestamp];
        let renewed = renewal_of(&roles, &repository, &head, number);
        brought.push(renewed.documents[0].clone());
        store.publish(renewed).await.unwrap();
        if number == 6 {
            store = place.reopen(store).await;
        }
    }
    for _ in 0..2 {
        for snapshot in &brought {
            let read = store.by_digest(&repository, Sha256Digest::of(&snapshot.bytes)).await.unwrap();
            assert_eq!(read.as_ref(), Some(snapshot.bytes.bytes()), "snapshot {}", snapshot.version);
            let read = store.by_version(&repository, &RoleName::Snapshot, snapshot.version).await.unwrap();
            assert_eq!(read.as_ref(), Some(snapshot.bytes.bytes()), "snapshot {}", snapshot.version);
        }
        assert_sound(&*store).await;
        store = place.reopen(store).await;
    }
}

/// A document of a role that nobody delegates to any more stays current for as long as its
/// publisher says so, without being brought again.
pub async fn roles_of_nobody_stay(place: &dyn Place) {
    let mut store = place.open().await;
    for repository in [name("example.com/tuf"), name("notary.example.com/notary")] {
        let role: RoleName = "alice/of/yesterday".parse().unwrap();
        let bytes = document(&repository, &role, 7, Shape::default());
        let mut first = publication(&repository, None, 1, Shape { salt: 1, ..Shape::default() });
        let known = reference(7, &bytes);
        first.current.insert(role.clone(), known.clone());
        first.documents.push(NewDocument {
            role: role.clone(),
            version: version(7),
            bytes: bytes.clone().into(),
        });
        store.publish(first).await.unwrap();
        for number in 2..=4 {
            let head = store.head(&repository).await.unwrap().unwrap();
            let mut next = publication(&repository, Some(head.token), number, Shape::default());
            for old in [&role, &RoleName::Root] {
                next.current.insert(old.clone(), head.current[old].clone());
            }
            store.publish(next).await.unwrap();
            store = place.reopen(store).await;
            let head = store.head(&repository).await.unwrap().unwrap();
            assert_eq!(head.current.get(&role), Some(&known));
            let read = store.by_version(&repository, &role, version(7)).await.unwrap();
            assert_eq!(read.as_ref(), Some(&bytes));
            let expected = (dialect_of(&repository) == Dialect::Notary1).then_some(&bytes);
            assert_eq!(store.by_digest(&repository, known.digest).await.unwrap().as_ref(), expected);
        }
        assert_sound(&*store).await;
    }
}

/// G6: every publication once in the feed, in order, resumable from any place.
pub async fn g6_feed(place: &dyn Place) {
    let mut store = place.open().await;
    let writers = (0..8).map(|number| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let repository = name(&format!("example.com/g6/r{number}"));
            publish_run(&*store, &repository, None, 1..=12, Shape::default()).await;
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    for page in [1, 7, 1_000] {
        let mut seen: BTreeMap<RepositoryName, u64> = BTreeMap::new();
        let mut after = Position::default();
        loop {
            let changes = store.changes(after, page).await.unwrap();
            if changes.is_empty() {
                break;
            }
            for change in changes {
                assert!(change.position > after);
                after = change.position;
                let next = seen.entry(change.repository.clone()).or_default();
                *next += 1;
                assert_eq!(change.kind, ChangeKind::Published);
                assert_eq!(change.actor, format!("actor {next}"));
                assert_eq!(change.at, time(i64::try_from(*next).unwrap()));
                let expected = publication(
                    &change.repository,
                    (*next > 1).then_some(HeadToken(1)),
                    *next,
                    Shape::default(),
                );
                let mut documents: Vec<_> = expected
                    .documents
                    .iter()
                    .map(|new| (new.role.clone(), new.version, Sha256Digest::of(&new.bytes)))
                    .collect();
                documents.sort();
                let mut brought = change.documents.clone();
                brought.sort();
                assert_eq!(brought, documents);
            }
        }
        assert_eq!(seen.len(), 8);
        assert!(seen.values().all(|count| *count == 12), "{seen:?}");
        store = place.reopen(store).await;
    }
}

/// Lists are in order and resumable; due repositories come most urgent first.
pub async fn lists_and_due(place: &dyn Place) {
    let mut store = place.open().await;
    let names: Vec<_> = (0..9).map(|number| name(&format!("example.com/l{number}"))).collect();
    for (number, repository) in (1..).zip(names.iter().rev()) {
        let mut first = publication(repository, None, 1, Shape::default());
        first.renew_at = time(number * 10);
        store.publish(first).await.unwrap();
    }
    for _ in 0..2 {
        assert_eq!(store.list(None, 100).await.unwrap(), names);
        assert_eq!(store.list(Some(&names[3]), 2).await.unwrap(), names[4..6]);
        assert_eq!(store.list(Some(&name("example.com/l3x")), 1).await.unwrap(), names[4..5]);
        let due = store.due(time(40), 100).await.unwrap();
        assert_eq!(due, [names[8].clone(), names[7].clone(), names[6].clone()]);
        assert_eq!(store.due(time(1_000), 2).await.unwrap(), [names[8].clone(), names[7].clone()]);
        assert_eq!(store.due(time(10), 5).await.unwrap(), []);
        store = place.reopen(store).await;
    }
    let head = store.head(&names[8]).await.unwrap().unwrap();
    let mut renewed = renewal(&names[8], &head, 2);
    renewed.renew_at = time(99_999);
    store.publish(renewed).await.unwrap();
    assert_eq!(store.due(time(1_000), 1).await.unwrap(), [names[7].clone()]);
}
