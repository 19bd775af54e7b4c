//! Signing requests: their states, their end, their bounds.

use std::sync::Arc;

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::RequestId;
use bulla_server::store::{
    CLOSED_REQUESTS, Closed, ClosedRequest, Closing, NewRequest, OPEN_REQUEST_BYTES, OPEN_REQUESTS,
    OpenRequest, Position, Publication, PublishError, RequestState, StoredRequest, TrustStore,
};
use bytes::Bytes;

use super::{
    Place, Shape, assert_readable, assert_sound, name, publication, publish_run, removal, renewal, time,
};

/// The id number `number`.
fn id(number: u8) -> RequestId {
    RequestId::from_bytes([number; 16])
}

fn new(repository: &RepositoryName, number: u8, expected: Option<u64>, length: usize) -> NewRequest {
    let filler = number.wrapping_add(u8::try_from(expected.unwrap_or(0)).unwrap());
    let bytes = Bytes::from(vec![filler; length]);
    NewRequest { repository: repository.clone(), id: id(number), expected, not_after: time(77), bytes }
}

fn closing(repository: &RepositoryName, number: u8, revision: u64, how: Closed) -> Closing {
    let request = RequestState { id: id(number), revision };
    Closing { repository: repository.clone(), request, how, actor: format!("closer {number}"), at: time(5) }
}

/// What [`new`] leaves behind.
fn open(new: &NewRequest) -> (OpenRequest, StoredRequest) {
    let request = RequestState { id: new.id, revision: new.expected.unwrap_or(0) + 1 };
    let length = u64::try_from(new.bytes.len()).unwrap();
    let open = OpenRequest { request, not_after: new.not_after, length };
    (open, StoredRequest::Open { open, bytes: new.bytes.clone() })
}

async fn put(store: &dyn TrustStore, request: &NewRequest) {
    let revision = store.put_request(request.clone()).await.unwrap();
    assert_eq!(revision, request.expected.unwrap_or(0) + 1);
}

async fn closed(store: &dyn TrustStore, repository: &RepositoryName, number: u8) -> Option<ClosedRequest> {
    match store.request(repository, id(number)).await.unwrap() {
        Some(StoredRequest::Closed(closed)) => Some(closed),
        None => None,
        open => panic!("{open:?}"),
    }
}

fn is_conflict<T: std::fmt::Debug>(result: &Result<T, PublishError>) -> bool {
    matches!(result, Err(PublishError::Conflict { .. }))
}

/// G11: of several new states on the same one, one wins, and nothing old comes back.
pub async fn g11_one_winner(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/g11");
    put(&*store, &new(&repository, 1, None, 100)).await;
    for round in 1..=5 {
        let writers = (0..8).map(|writer| {
            let (store, repository) = (Arc::clone(&store), repository.clone());
            tokio::spawn(async move {
                store.put_request(new(&repository, 1, Some(round), 100 + writer)).await.map(|_| writer)
            })
        });
        let mut winners = Vec::new();
        for writer in writers.collect::<Vec<_>>() {
            match writer.await.unwrap() {
                Ok(winner) => winners.push(winner),
                refused => assert!(is_conflict(&refused), "{refused:?}"),
            }
        }
        let [winner] = winners[..] else { panic!("{winners:?}") };
        store = place.reopen(store).await;
        let (_, expected) = open(&new(&repository, 1, Some(round), 100 + winner));
        assert_eq!(store.request(&repository, id(1)).await.unwrap(), Some(expected));
    }
    for wrong in [None, Some(0), Some(5), Some(7), Some(u64::MAX)] {
        let request = NewRequest { expected: wrong, ..new(&repository, 1, None, 9) };
        let refused = store.put_request(request).await;
        assert!(is_conflict(&refused), "{wrong:?}: {refused:?}");
    }
    let absent = store.put_request(new(&repository, 2, Some(1), 9)).await;
    assert!(is_conflict(&absent), "{absent:?}");
    let stale = store.close_request(closing(&repository, 1, 5, Closed::Cancelled)).await;
    assert!(is_conflict(&stale), "{stale:?}");
    assert_sound(&*store).await;
}

/// G11: a publication closes the request that it completes, in the state that was read, or
/// is not made. Also the one that makes the repository.
pub async fn g11_closed_with_the_publication(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/complete");
    let mut token = None;
    for number in 1..=3_u8 {
        put(&*store, &new(&repository, number, None, 6_000)).await;
        let next = publication(&repository, token, number.into(), Shape::default());
        let completing = |revision, id| {
            let completes = Some(RequestState { id, revision });
            store.publish(Publication { completes, ..next.clone() })
        };
        for (revision, other) in [(2, id(number)), (0, id(number)), (1, id(99))] {
            let refused = completing(revision, other).await;
            assert!(is_conflict(&refused), "{refused:?}");
            assert_eq!(store.head(&repository).await.unwrap().map(|head| head.token), token);
        }
        let published = completing(1, id(number)).await.unwrap();
        token = Some(published.token);
        let again = completing(1, id(number)).await.unwrap();
        assert!(again.replayed && again.token == published.token, "{again:?}");
        for _ in 0..2 {
            let expected = ClosedRequest {
                how: Closed::Published,
                position: published.position,
                actor: next.actor.clone(),
                at: next.at,
            };
            assert_eq!(closed(&*store, &repository, number).await, Some(expected));
            assert_eq!(store.open_requests(&repository).await.unwrap(), []);
            assert_readable(&*store, &repository, number.into(), Shape::default()).await;
            assert_sound(&*store).await;
            store = place.reopen(store).await;
        }
    }
    assert_eq!(store.changes(Position(0), 100).await.unwrap().len(), 3, "requests are no changes");
    put(&*store, &new(&repository, 9, None, 10)).await;
    let head = store.head(&repository).await.unwrap().unwrap();
    let completes = Some(RequestState { id: id(9), revision: 1 });
    let refused = store.publish(Publication { completes, ..renewal(&repository, &head, 9) }).await;
    assert!(matches!(refused, Err(PublishError::Invalid { .. })), "{refused:?}");
}

/// Requests of any length are there after a stop, each for its own repository only.
pub async fn requests_survive_at_any_length(place: &dyn Place) {
    let mut store = place.open().await;
    let (mine, yours) = (name("example.com/mine"), name("example.com/mine/too"));
    publish_run(&*store, &mine, None, 1..=1, Shape::default()).await;
    let all: Vec<_> = (1_u8..).zip([0, 1, 4_096, 4_097, 60_000]).collect();
    for (number, length) in &all {
        put(&*store, &new(&mine, *number, None, *length)).await;
    }
    put(&*store, &new(&yours, 1, None, 50)).await;
    for _ in 0..2 {
        let mut listed = Vec::new();
        for (number, length) in &all {
            let (summary, stored) = open(&new(&mine, *number, None, *length));
            assert_eq!(store.request(&mine, id(*number)).await.unwrap(), Some(stored));
            listed.push(summary);
        }
        assert_eq!(store.open_requests(&mine).await.unwrap(), listed);
        let (summary, stored) = open(&new(&yours, 1, None, 50));
        assert_eq!(store.open_requests(&yours).await.unwrap(), [summary]);
        assert_eq!(store.request(&yours, id(1)).await.unwrap(), Some(stored));
        assert_eq!(store.request(&yours, id(2)).await.unwrap(), None);
        assert_eq!(store.open_requests(&name("example.com/min")).await.unwrap(), []);
        assert_sound(&*store).await;
        store = place.reopen(store).await;
    }
}

/// So many, and so many bytes; who closes one makes room.
pub async fn rooms_are_bounded(place: &dyn Place) {
    let store = place.open().await;
    let (repository, other) = (name("example.com/full"), name("example.com/heavy"));
    let full = |result: &Result<u64, PublishError>| matches!(result, Err(PublishError::Full { .. }));
    let most = u8::try_from(OPEN_REQUESTS).unwrap();
    for number in 1..=most {
        put(&*store, &new(&repository, number, None, 10)).await;
    }
    let refused = store.put_request(new(&repository, most + 1, None, 10)).await;
    assert!(full(&refused), "{refused:?}");
    put(&*store, &new(&repository, most, Some(1), 5_000)).await;
    store.close_request(closing(&repository, 1, 1, Closed::Expired)).await.unwrap();
    put(&*store, &new(&repository, most + 1, None, 10)).await;

    let third = usize::try_from(OPEN_REQUEST_BYTES).unwrap() / 3;
    for number in 1..=3 {
        put(&*store, &new(&other, number, None, third)).await;
    }
    for (number, expected) in [(4, None), (3, Some(1))] {
        let refused = store.put_request(new(&other, number, expected, third + 3)).await;
        assert!(full(&refused), "{number}: {refused:?}");
    }
    put(&*store, &new(&other, 3, Some(1), third + 2)).await;
    assert_sound(&*store).await;
}

/// How a request ended is remembered of the last ones, and their ids are not used again.
pub async fn ends_are_remembered(place: &dyn Place) {
    let mut store = place.open().await;
    let repository = name("example.com/ended");
    let kept = u8::try_from(CLOSED_REQUESTS).unwrap();
    put(&*store, &new(&repository, 200, None, 10)).await;
    for number in 1..=kept + 5 {
        put(&*store, &new(&repository, number, None, 10)).await;
        let how = [Closed::Cancelled, Closed::Stale, Closed::Expired][usize::from(number % 3)];
        store.close_request(closing(&repository, number, 1, how)).await.unwrap();
        let again = store.close_request(closing(&repository, number, 1, how)).await;
        assert!(is_conflict(&again), "{again:?}");
        for expected in [None, Some(1)] {
            let reused = store.put_request(new(&repository, number, expected, 10)).await;
            assert!(is_conflict(&reused), "{reused:?}");
        }
        let found = closed(&*store, &repository, number).await.unwrap();
        assert_eq!((found.how, found.actor, found.at), (how, format!("closer {number}"), time(5)));
        if number % 7 == 0 {
            store = place.reopen(store).await;
        }
    }
    for _ in 0..2 {
        for number in 1..=kept + 5 {
            let is_known = closed(&*store, &repository, number).await.is_some();
            assert_eq!(is_known, number > 5, "{number}");
        }
        assert_eq!(store.open_requests(&repository).await.unwrap().len(), 1);
        assert_sound(&*store).await;
        store = place.reopen(store).await;
    }
    put(&*store, &new(&repository, 1, None, 10)).await;
}

/// A removed repository loses its requests, open and closed; its successor has none of them.
pub async fn removals_take_requests_along(place: &dyn Place) {
    let mut store = place.open().await;
    let (repository, other) = (name("example.com/gone"), name("example.com/gone2"));
    let last = publish_run(&*store, &repository, None, 1..=2, Shape::default()).await;
    for number in 1..=3 {
        put(&*store, &new(&repository, number, None, 5_000)).await;
        put(&*store, &new(&other, number, None, 30)).await;
    }
    store.close_request(closing(&repository, 2, 1, Closed::Cancelled)).await.unwrap();
    store.remove(removal(&repository, last.token, 1)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.open_requests(&repository).await.unwrap(), []);
        assert_eq!(store.open_requests(&other).await.unwrap().len(), 3);
        for number in 1..=3 {
            assert_eq!(store.request(&repository, id(number)).await.unwrap(), None);
        }
        assert_sound(&*store).await;
        store = place.reopen(store).await;
    }
    publish_run(&*store, &repository, None, 1..=1, Shape { salt: 4, ..Shape::default() }).await;
    put(&*store, &new(&repository, 2, None, 40)).await;
    store = place.reopen(store).await;
    assert_eq!(store.open_requests(&repository).await.unwrap().len(), 1);
    assert_sound(&*store).await;
}

/// Repositories with open requests, in order and resumable, whether they exist or not.
pub async fn repositories_with_requests_are_listed(place: &dyn Place) {
    let mut store = place.open().await;
    let names = ["a", "a-b", "a/b", "a/b/c", "b"].map(|text| name(&format!("example.com/{text}")));
    for repository in &names {
        for number in 1..=3 {
            put(&*store, &new(repository, number, None, 20)).await;
        }
    }
    put(&*store, &new(&name("example.com/z"), 1, None, 20)).await;
    store.close_request(closing(&name("example.com/z"), 1, 1, Closed::Stale)).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.with_requests(None, 100).await.unwrap(), names);
        assert_eq!(store.with_requests(None, 2).await.unwrap(), names[..2]);
        assert_eq!(store.with_requests(Some(&names[0]), 1).await.unwrap(), names[1..2]);
        assert_eq!(store.with_requests(Some(&names[2]), 100).await.unwrap(), names[3..]);
        assert_eq!(store.with_requests(Some(&names[4]), 100).await.unwrap(), []);
        store = place.reopen(store).await;
    }
}
