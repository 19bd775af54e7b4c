//! One repository from its first publication to its removal and what comes after, apart from
//! all others.

use std::io::Read as _;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_server::store::{
    ChangeKind, Content, HeadToken, LastVersions, OpenedValue, Position, Publication, PublishError, Removal,
    TrustStore,
};
use bytes::Bytes;

use super::{
    NOTARY, Place, Shape, TUF, assert_readable, assert_sound, name, operation, publication, publish_run,
    removal, renewal_of, target, version,
};

/// G10: a repository keeps its dialect as long as it exists; its successor may have another.
pub async fn g10_one_dialect(place: &dyn Place) {
    let mut store = place.open().await;
    let both = [Dialect::Tuf1, Dialect::Notary1];
    for (dialect, other) in [(both[0], both[1]), (both[1], both[0])] {
        let repository = name(&format!("example.com/{dialect:?}").to_lowercase());
        let first = publication(&repository, None, 1, Shape::default());
        let mut token = store.publish(Publication { dialect, ..first }).await.unwrap().token;
        for number in 2..=4 {
            let head = store.head(&repository).await.unwrap().unwrap();
            assert_eq!((head.token, head.dialect), (token, dialect));
            let next = publication(&repository, Some(token), number, Shape::default());
            let changed = Publication { dialect: other, ..next.clone() };
            let refused = store.publish(changed).await;
            assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
            let renewed = renewal_of(&[RoleName::Timestamp], &repository, &head, number + 1);
            let refused = store.publish(Publication { dialect: other, ..renewed }).await;
            assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
            assert_eq!(store.head(&repository).await.unwrap(), Some(head));
            token = store.publish(Publication { dialect, ..next }).await.unwrap().token;
            store = place.reopen(store).await;
        }
        store.remove(removal(&repository, token, 1)).await.unwrap();
        let shape = Shape { salt: 5, ..Shape::default() };
        let reborn = publication(&repository, None, 1, shape);
        store.publish(Publication { dialect: other, ..reborn }).await.unwrap();
        store = place.reopen(store).await;
        assert_eq!(store.head(&repository).await.unwrap().unwrap().dialect, other);
    }
    assert_sound(&*store).await;
}

/// After a removal the name remembers how far timestamp and snapshot had come, also when
/// what came next under it was removed earlier in its life.
pub async fn removal_remembers_versions(place: &dyn Place) {
    let mut store = place.open().await;
    let (repository, other) = (name("example.com/again"), name("example.com/never"));
    publish_run(&*store, &other, None, 1..=2, Shape::default()).await;
    let known = |timestamp, snapshot| {
        Some(LastVersions { timestamp: version(timestamp), snapshot: version(snapshot) })
    };
    // How many publications, how many renewals of the timestamp after them, and what is
    // known once that was removed.
    for (life, (publications, renewals, expected)) in
        (0..).zip([(3, 4, known(7, 3)), (5, 0, known(7, 5)), (1, 0, known(7, 5)), (9, 1, known(10, 9))])
    {
        let before = store.last_versions(&repository).await.unwrap();
        let shape = Shape { salt: 10 + life, ..Shape::default() };
        publish_run(&*store, &repository, None, 1..=publications, shape).await;
        for number in publications + 1..=publications + renewals {
            let head = store.head(&repository).await.unwrap().unwrap();
            let mut renewed = renewal_of(&[RoleName::Timestamp], &repository, &head, number);
            renewed.operation = operation(&repository, number, 500 + life);
            store.publish(renewed).await.unwrap();
        }
        store = place.reopen(store).await;
        assert_eq!(store.last_versions(&repository).await.unwrap(), before, "while it exists");
        let head = store.head(&repository).await.unwrap().unwrap();
        store.remove(removal(&repository, head.token, 20 + life)).await.unwrap();
        for _ in 0..2 {
            assert_eq!(store.last_versions(&repository).await.unwrap(), expected, "life {life}");
            assert_eq!(store.last_versions(&other).await.unwrap(), None);
            assert_sound(&*store).await;
            store = place.reopen(store).await;
        }
    }
}

/// A removed repository is gone with its keys, its feed stays, and its successor under the
/// same name gets nothing of it.
pub async fn removal_forgets(place: &dyn Place) {
    removal_forgets_in(TUF, place).await;
}

/// As [`removal_forgets`], where documents have digests to be found by.
pub async fn notary_removal_forgets(place: &dyn Place) {
    removal_forgets_in(NOTARY, place).await;
}

async fn removal_forgets_in(dialect: &str, place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name(&format!("{dialect}example.com/gone"));
    let other = name(&format!("{dialect}example.com/other"));
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
            assert_ne!(read, Some(new.bytes.bytes().clone()), "{}", new.role);
            assert_eq!(store.by_digest(repository, Sha256Digest::of(&new.bytes)).await.unwrap(), None);
        }
        let target = Sha256Digest::of(&target(repository, number, shape));
        assert_eq!(store.by_digest(repository, target).await.unwrap(), None);
    }
}

/// The bytes of one repository are not found under the name of another.
pub async fn no_reads_across_repositories(place: &dyn Place) {
    let store = place.open().await;
    let shapes = [100, 8_000].map(|large| Shape { large, salt: 1 });
    for (dialect, shape) in [TUF, NOTARY].into_iter().flat_map(|dialect| shapes.map(|shape| (dialect, shape)))
    {
        let of = |who: &str| name(&format!("{dialect}example.com/{who}{}", shape.large));
        let (mine, yours) = (of("mine"), of("yours"));
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

/// Sealed online keys: compare and swap on the generation, durable, also before the first
/// publication, and of any length.
pub async fn names_with_keys(place: &dyn Place) {
    let mut store = place.open().await;
    let names: Vec<_> = ["a", "a/b", "a0", "b"].map(name).into();
    assert!(store.with_online_keys(None, 10).await.unwrap().is_empty());
    for repository in names.iter().rev() {
        store.set_online_keys(repository, None, Bytes::from_static(b"sealed")).await.unwrap();
    }
    // Keys of a repository that exists, and of one that was removed and left them.
    let last = publish_run(&*store, &names[1], None, 1..=2, Shape::default()).await;
    let mut gone = removal(&names[1], last.token, 3);
    gone.keeps_keys = true;
    store.remove(gone).await.unwrap();
    publish_run(&*store, &names[3], None, 1..=1, Shape::default()).await;
    for _ in 0..2 {
        let mut found: Vec<RepositoryName> = Vec::new();
        loop {
            let page = store.with_online_keys(found.last(), 1).await.unwrap();
            if page.is_empty() {
                break;
            }
            found.extend(page);
        }
        assert_eq!(found, names);
        assert_eq!(store.with_online_keys(None, 3).await.unwrap(), names[..3]);
        store = place.reopen(store).await;
    }
}

/// Values of every length come back in the form in which they are stored, or can be unpacked.
pub async fn stored_forms(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/forms");
    let mut token = None;
    for (number, large) in (1..).zip([100, 4_096, 4_097, 300_000]) {
        let shape = Shape { large, salt: 5 };
        token = Some(publish_run(&*store, &repository, token, number..=number, shape).await.token);
    }
    for _ in 0..2 {
        for (number, large) in (1..).zip([100, 4_096, 4_097, 300_000]) {
            let value = target(&repository, number, Shape { large, salt: 5 });
            let digest = Sha256Digest::of(&value);
            let length = store.length(&repository, digest).await.unwrap();
            assert_eq!(length, Some(u64::try_from(value.len()).unwrap()), "{large}");
            for packed in [false, true] {
                let opened = store.open(&repository, digest, packed).await.unwrap().unwrap();
                let (is_gzip, length) = (opened.is_gzip, opened.length);
                let taken = content(opened).await;
                assert_eq!(length, u64::try_from(taken.len()).unwrap(), "{large}");
                if is_gzip {
                    assert!(
                        packed && taken.starts_with(&[0x1f, 0x8b]) && taken.len() < value.len(),
                        "{large}"
                    );
                } else {
                    assert_eq!(taken, value, "{large}");
                }
            }
            assert_eq!(store.by_digest(&repository, digest).await.unwrap(), Some(value), "{large}");
        }
        let (other, absent) = (name("example.com/other"), Sha256Digest::of(b"nothing"));
        let there = Sha256Digest::of(&target(&repository, 4, Shape { large: 300_000, salt: 5 }));
        for (repository, digest) in [(&other, there), (&repository, absent)] {
            assert_eq!(store.length(repository, digest).await.unwrap(), None);
            assert!(store.open(repository, digest, false).await.unwrap().is_none());
        }
        assert_sound(&*store).await;
        store = place.reopen(store).await;
    }
}

async fn content(opened: OpenedValue) -> Bytes {
    match opened.content {
        Content::Whole(bytes) => bytes,
        Content::Pieces(mut pieces) => {
            let mut taken = Vec::new();
            let read = move || pieces.read_to_end(&mut taken).map(|_| taken);
            tokio::task::spawn_blocking(read).await.unwrap().unwrap().into()
        }
    }
}

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

/// A removal that says so leaves the sealed online keys as they are, for a successor under the
/// same name.
pub async fn a_removal_can_leave_the_keys(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/kept");
    for (life, sealed) in (0..).zip([Bytes::from(vec![7; 400]), Bytes::from(vec![8; 9_000])]) {
        let shape = Shape { salt: 30 + life, ..Shape::default() };
        let last = publish_run(&*store, &repository, None, 1..=2, shape).await;
        let before = store.online_keys(&repository).await.unwrap().map(|keys| keys.generation);
        let generation = store.set_online_keys(&repository, before, sealed.clone()).await.unwrap();
        let removed = Removal { keeps_keys: true, ..removal(&repository, last.token, 30 + life) };
        store.remove(removed).await.unwrap();
        for _ in 0..2 {
            assert_eq!(store.head(&repository).await.unwrap(), None);
            let kept = store.online_keys(&repository).await.unwrap().unwrap();
            assert_eq!((kept.generation, &kept.sealed), (generation, &sealed));
            assert_sound(&*store).await;
            store = place.reopen(store).await;
        }
    }
    let last = publish_run(&*store, &repository, None, 1..=1, Shape { salt: 39, ..Shape::default() }).await;
    store.remove(removal(&repository, last.token, 39)).await.unwrap();
    assert_eq!(store.online_keys(&repository).await.unwrap(), None);
    store.set_online_keys(&repository, None, Bytes::from_static(b"new")).await.unwrap();
    store = place.reopen(store).await;
    assert_sound(&*store).await;
}
