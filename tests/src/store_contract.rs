//! The contract of the store, as tests that run on every backend.
//!
//! Each function takes a [`Place`] that is empty and checks one guarantee; what it publishes
//! is made by [`publication`], so that later reads can be compared byte for byte.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_server::store::{
    ChangeKind, DocumentRef, Head, HeadToken, NewDocument, OperationId, Position, Publication,
    PublicationKind, PublishError, Published, Removal, TrustStore,
};
use bytes::Bytes;

/// Somewhere a store can be, stop and come back.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the store that is here, or makes one.
    async fn open(&self) -> Arc<dyn TrustStore>;
    /// Stops the store and opens it again. What cannot survive a stop returns `store`.
    async fn reopen(&self, store: Arc<dyn TrustStore>) -> Arc<dyn TrustStore>;
}

/// How the documents of [`publication`] are made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of the targets document and of the target.
    pub large: usize,
    /// Tells apart documents that are alike in all else.
    pub salt: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { large: 600, salt: 0 }
    }
}

/// A repository name of the tests.
pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// A version.
pub fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// Seconds after some fixed moment.
pub fn time(seconds: i64) -> UtcTime {
    UtcTime::from_unix_seconds(1_900_000_000 + seconds).unwrap()
}

/// The bytes that [`publication`] makes for a document.
pub fn document(repository: &RepositoryName, role: &RoleName, number: u64, shape: Shape) -> Bytes {
    let size = match role {
        RoleName::Targets | RoleName::Delegated(_) => shape.large,
        _ => 300,
    };
    let mut bytes = format!("{repository} {role} {number} {} ", shape.salt).into_bytes();
    let filler = bytes.clone();
    bytes.extend(filler.iter().cycle().take(size.saturating_sub(filler.len())));
    bytes.into()
}

/// The target that [`publication`] brings along.
pub fn target(repository: &RepositoryName, number: u64, shape: Shape) -> Bytes {
    let mut bytes = format!("target {number} of {repository} {} ", shape.salt).into_bytes();
    bytes.resize(shape.large, b'.');
    bytes.into()
}

/// An operation id that belongs to these numbers only.
pub fn operation(repository: &RepositoryName, number: u64, salt: u64) -> OperationId {
    let digest = Sha256Digest::of(format!("{repository} {number} {salt}").as_bytes());
    OperationId(digest.as_bytes()[..16].try_into().unwrap())
}

/// The publication number `number` of a repository: root 1 once, and targets, a delegated
/// role, snapshot and timestamp with the version `number`, plus one target.
pub fn publication(
    repository: &RepositoryName,
    expected: Option<HeadToken>,
    number: u64,
    shape: Shape,
) -> Publication {
    let delegated: RoleName = "releases".parse().unwrap();
    let mut documents = Vec::new();
    let mut current = BTreeMap::new();
    for role in [RoleName::Root, RoleName::Targets, delegated, RoleName::Snapshot, RoleName::Timestamp] {
        let number = if role == RoleName::Root { 1 } else { number };
        let bytes = document(repository, &role, number, shape);
        current.insert(role.clone(), reference(number, &bytes));
        if role != RoleName::Root || expected.is_none() {
            documents.push(NewDocument { role, version: version(number), bytes });
        }
    }
    Publication {
        repository: repository.clone(),
        expected,
        operation: operation(repository, number, shape.salt),
        kind: PublicationKind::Publish,
        documents,
        targets: vec![target(repository, number, shape)],
        current,
        renew_at: time(i64::try_from(number).unwrap() * 60),
        actor: format!("actor {number}"),
        at: time(i64::try_from(number).unwrap()),
    }
}

/// A renewal of the timestamp alone.
pub fn renewal(repository: &RepositoryName, head: &Head, number: u64) -> Publication {
    let shape = Shape { salt: 77, ..Shape::default() };
    let bytes = document(repository, &RoleName::Timestamp, number, shape);
    let mut current = head.current.clone();
    current.insert(RoleName::Timestamp, reference(number, &bytes));
    let new = NewDocument { role: RoleName::Timestamp, version: version(number), bytes };
    Publication {
        expected: Some(head.token),
        operation: operation(repository, number, 77),
        kind: PublicationKind::Renew,
        documents: vec![new],
        targets: Vec::new(),
        current,
        ..publication(repository, Some(head.token), number, shape)
    }
}

/// A document by its bytes.
pub fn reference(number: u64, bytes: &[u8]) -> DocumentRef {
    let length = u64::try_from(bytes.len()).unwrap();
    DocumentRef { version: version(number), digest: Sha256Digest::of(bytes), length }
}

/// Publishes the numbers `from..=to` one after the other.
pub async fn publish_run(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    mut token: Option<HeadToken>,
    numbers: std::ops::RangeInclusive<u64>,
    shape: Shape,
) -> Published {
    let mut last = None;
    for number in numbers {
        let published = store.publish(publication(repository, token, number, shape)).await.unwrap();
        token = Some(published.token);
        last = Some(published);
    }
    last.unwrap()
}

/// Checks that publication `number` can be read back whole.
pub async fn assert_readable(store: &dyn TrustStore, repository: &RepositoryName, number: u64, shape: Shape) {
    for new in publication(repository, None, number, shape).documents {
        let what = format!("{repository} {} {}", new.role, new.version);
        let read = store.by_version(repository, &new.role, new.version).await.unwrap();
        assert_eq!(read.as_ref(), Some(&new.bytes), "{what} by version");
        let read = store.by_digest(repository, Sha256Digest::of(&new.bytes)).await.unwrap();
        assert_eq!(read.as_ref(), Some(&new.bytes), "{what} by digest");
    }
    let target = target(repository, number, shape);
    let read = store.by_digest(repository, Sha256Digest::of(&target)).await.unwrap();
    assert_eq!(read, Some(target), "{repository} target {number}");
}

async fn assert_sound(store: &dyn TrustStore) {
    let report = store.check().await.unwrap();
    assert_eq!(report.defects, Vec::<String>::new());
}

/// G1: what was published is there whole, what was refused not at all.
pub async fn g1_all_or_nothing(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/g1");
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
        assert_eq!(store.by_version(&repository, &new.role, new.version).await.unwrap(), Some(new.bytes));
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
                    assert_eq!(read, Some(new.bytes));
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
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let (store, repository, done) = (Arc::clone(&store), repository.clone(), Arc::clone(&done));
            tokio::spawn(async move {
                let mut seen = HeadToken(0);
                let mut rounds = 0_u32;
                while !done.load(std::sync::atomic::Ordering::Relaxed) || rounds < 3 {
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
    done.store(true, std::sync::atomic::Ordering::Relaxed);
    for reader in readers {
        reader.await.unwrap();
    }
}

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
                bytes: Bytes::from_static(b"other bytes"),
            });
            let refused = store.publish(other).await;
            assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{number}: {refused:?}");
        }
        let mut twice = publication(&repository, Some(last.token), 4, Shape::default());
        twice.documents.push(NewDocument {
            role: RoleName::Targets,
            version: version(4),
            bytes: Bytes::from_static(b"a second content"),
        });
        assert!(matches!(store.publish(twice).await, Err(PublishError::Invalid { .. })));
        store = place.reopen(store).await;
    }
    let mut again = publication(&repository, Some(last.token), 4, Shape::default());
    let same = document(&repository, &RoleName::Targets, 2, Shape::default());
    again.documents.push(NewDocument { role: RoleName::Targets, version: version(2), bytes: same });
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
        assert_eq!(now.timestamp, bytes);
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
        bytes: Bytes::from_static(b"an old version anew"),
    });
    assert!(matches!(store.publish(reused).await, Err(PublishError::Invalid { .. })));
    assert_eq!(store.changes(Position(0), 100).await.unwrap().len(), 2);
    assert_sound(&*store).await;
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

/// A removal.
pub fn removal(repository: &RepositoryName, expected: HeadToken, salt: u64) -> Removal {
    Removal {
        repository: repository.clone(),
        expected,
        operation: operation(repository, 0, salt + 1_000),
        actor: "remover".to_owned(),
        at: time(500),
    }
}

/// A removed repository is gone with its keys, its feed stays, and its successor under the
/// same name gets nothing of it.
pub async fn removal_forgets(place: &dyn Place) {
    let mut store = place.open().await;
    let (repository, other) = (name("example.com/gone"), name("example.com/other"));
    let shape = Shape { large: 9_000, salt: 0 };
    let last = publish_run(&*store, &repository, None, 1..=3, shape).await;
    publish_run(&*store, &other, None, 1..=1, shape).await;
    store.set_online_keys(&repository, None, Bytes::from_static(b"sealed")).await.unwrap();
    let stale = store.remove(removal(&repository, HeadToken(last.token.0 + 900), 1)).await;
    assert!(matches!(stale, Err(PublishError::Conflict { .. })), "{stale:?}");
    store.remove(removal(&repository, last.token, 2)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.head(&repository).await.unwrap(), None);
        assert_eq!(store.online_keys(&repository).await.unwrap(), None);
        assert_eq!(store.list(None, 10).await.unwrap(), vec![other.clone()]);
        assert_nothing_of(&*store, &repository, 1..=3, shape).await;
        store = place.reopen(store).await;
    }
    let again = Shape { large: 700, salt: 9 };
    let reborn = publish_run(&*store, &repository, None, 1..=1, again).await;
    assert!(reborn.token > last.token, "a token is never used twice");
    for _ in 0..2 {
        assert_nothing_of(&*store, &repository, 1..=3, shape).await;
        assert_readable(&*store, &repository, 1, again).await;
        let kinds: Vec<_> = store
            .changes(Position(0), 100)
            .await
            .unwrap()
            .into_iter()
            .filter(|change| change.repository == repository)
            .map(|change| change.kind)
            .collect();
        use ChangeKind::{Published as P, Removed as R};
        assert_eq!(kinds, [P, P, P, R, P]);
        assert_sound(&*store).await;
        store = place.reopen(store).await;
    }
}

async fn assert_nothing_of(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    numbers: std::ops::RangeInclusive<u64>,
    shape: Shape,
) {
    for number in numbers {
        for new in publication(repository, None, number, shape).documents {
            let read = store.by_version(repository, &new.role, new.version).await.unwrap();
            assert_ne!(read, Some(new.bytes.clone()), "{}", new.role);
            assert_eq!(store.by_digest(repository, Sha256Digest::of(&new.bytes)).await.unwrap(), None);
        }
        let target = Sha256Digest::of(&target(repository, number, shape));
        assert_eq!(store.by_digest(repository, target).await.unwrap(), None);
    }
}

/// The bytes of one repository are not found under the name of another.
pub async fn no_reads_across_repositories(place: &dyn Place) {
    let store = place.open().await;
    let (mine, yours) = (name("example.com/mine"), name("example.com/yours"));
    for shape in [Shape { large: 100, salt: 1 }, Shape { large: 8_000, salt: 1 }] {
        let (mine, yours) =
            (name(&format!("{mine}{}", shape.large)), name(&format!("{yours}{}", shape.large)));
        publish_run(&*store, &mine, None, 1..=2, shape).await;
        publish_run(&*store, &yours, None, 1..=1, shape).await;
        for new in publication(&mine, None, 2, shape).documents {
            assert_eq!(store.by_digest(&yours, Sha256Digest::of(&new.bytes)).await.unwrap(), None);
        }
        let target = target(&mine, 2, shape);
        assert_eq!(store.by_digest(&yours, Sha256Digest::of(&target)).await.unwrap(), None);
        assert_eq!(store.by_version(&yours, &RoleName::Targets, version(2)).await.unwrap(), None);
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

/// Sealed online keys: compare and swap on the generation, durable, also before the first
/// publication, and of any length.
pub async fn online_keys(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/keys");
    assert_eq!(store.online_keys(&repository).await.unwrap(), None);
    let sealed = [Bytes::from(vec![7; 400]), Bytes::from(vec![8; 9_000])];
    assert_eq!(store.set_online_keys(&repository, None, sealed[0].clone()).await.unwrap(), 1);
    let second = store.set_online_keys(&repository, None, sealed[1].clone()).await;
    assert!(matches!(second, Err(PublishError::Conflict { .. })), "{second:?}");
    store = place.reopen(store).await;
    assert_eq!(store.online_keys(&repository).await.unwrap().unwrap().sealed, sealed[0]);
    assert_eq!(store.head(&repository).await.unwrap(), None);
    assert_eq!(store.set_online_keys(&repository, Some(1), sealed[1].clone()).await.unwrap(), 2);
    let stale = store.set_online_keys(&repository, Some(1), sealed[0].clone()).await;
    assert!(matches!(stale, Err(PublishError::Conflict { .. })), "{stale:?}");
    store = place.reopen(store).await;
    let stored = store.online_keys(&repository).await.unwrap().unwrap();
    assert_eq!((stored.generation, &stored.sealed), (2, &sealed[1]));
    publish_run(&*store, &repository, None, 1..=1, Shape::default()).await;
    assert!(store.changes(Position(0), 10).await.unwrap().len() == 1, "keys are no change of the feed");
    assert_sound(&*store).await;
}

/// A publication that contradicts itself is refused.
pub async fn contradictions_are_refused(place: &dyn Place) {
    let store = place.open().await;
    let repository = name("example.com/contradiction");
    let good = publication(&repository, None, 1, Shape::default());
    let mut without_timestamp = good.clone();
    without_timestamp.current.remove(&RoleName::Timestamp);
    let mut wrong_length = good.clone();
    wrong_length.current.get_mut(&RoleName::Targets).unwrap().length += 1;
    let mut wrong_digest = good.clone();
    wrong_digest.current.get_mut(&RoleName::Targets).unwrap().digest = Sha256Digest::of(b"?");
    let mut long_actor = good.clone();
    long_actor.actor = "a".repeat(5_000);
    for bad in [without_timestamp, wrong_length, wrong_digest, long_actor] {
        let refused = store.publish(bad).await;
        assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
    }
    assert_eq!(store.list(None, 1).await.unwrap(), []);
    store.publish(good).await.unwrap();
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
}

/// Makes one `#[tokio::test]` per guarantee for a backend; `$place` makes an empty place.
#[macro_export]
macro_rules! store_contract {
    ($backend:ident, $place:expr) => {
        mod $backend {
            use super::*;
            $crate::store_contract!(@ $place; g1_all_or_nothing g2_one_winner g3_survives_a_stop
                g4_g7_readers_go_forward g5_versions_never_change g5_renewals_replace g6_feed
                g8_same_operation removal_forgets no_reads_across_repositories lists_and_due online_keys
                contradictions_are_refused closed);
        }
    };
    (@ $place:expr; $($guarantee:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                let place = $place;
                $crate::store_contract::$guarantee(&place).await;
            }
        )*
    };
}
