//! Several people at once.

use std::sync::Arc;

use bulla_keys_schema::wire::ProblemCode;
use bulla_tests::server::problem;
use reqwest::StatusCode;

use crate::ceremony::{Ceremony, Holder, progress};

/// Of holders who send their signatures at the same time, none gets lost, and the change is
/// published once.
async fn all_at_once(ceremony: Ceremony) {
    let ceremony = Arc::new(ceremony.begun().await);
    for round in 1..=8_u8 {
        let opened = ceremony.opened(ceremony.renewal(round.into()).await).await;
        let mut files = Vec::new();
        for holder in [Holder::Anna, Holder::Ben, Holder::Carol] {
            files.push(ceremony.signatures(&opened, &[holder]).await);
        }
        let send = |file| {
            let (ceremony, id) = (Arc::clone(&ceremony), opened.id);
            tokio::spawn(async move { progress(ceremony.post(id, file).await).await })
        };
        let tasks: Vec<_> = files.into_iter().map(send).collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let count = |wanted: fn(&(bool, usize, bool)) -> bool| {
            let seen = answers.iter().map(|a| (a.complete, a.added, a.receipt.is_some()));
            seen.filter(wanted).count()
        };
        assert_eq!(count(|seen| *seen == (false, 1, false)), 1, "the first waits: {answers:?}");
        assert_eq!(count(|seen| *seen == (true, 1, true)), 1, "the second publishes: {answers:?}");
        assert_eq!(count(|seen| *seen == (true, 0, false)), 1, "the third comes late: {answers:?}");
        assert_eq!(ceremony.root_version().await, u64::from(round) + 1);
    }
    let changes = ceremony.server.app.store.changes(<_>::default(), 100).await.unwrap();
    assert_eq!(changes.len(), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once_in_memory() {
    all_at_once(Ceremony::in_memory().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_at_once_on_disk() {
    all_at_once(Ceremony::on_disk().await).await;
}

/// Somebody publishes while the last signature comes in: one of the two wins, and the other
/// is told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_in_between() {
    let ceremony = Arc::new(Ceremony::on_disk().await.begun().await);
    let (mut published, mut completed) = (0, 0);
    for round in 1..=12 {
        let version = ceremony.root_version().await;
        let opened = ceremony.opened(ceremony.renewal(round).await).await;
        ceremony.sign(&opened, &[Holder::Anna]).await;
        let file = ceremony.signatures(&opened, &[Holder::Ben]).await;
        let other = Arc::clone(&ceremony);
        let other = tokio::spawn(async move { other.publish_root(round + 100).await });
        let last = ceremony.post(opened.id, file).await;
        let other = other.await.unwrap();
        match (last.status(), other.status()) {
            (StatusCode::OK, refused) => {
                assert!(progress(last).await.complete);
                // Built on the root before or after: never both.
                assert!(refused == StatusCode::PRECONDITION_FAILED || refused == StatusCode::OK, "{refused}");
                completed += 1;
            }
            (StatusCode::CONFLICT, StatusCode::OK) => {
                assert_eq!(problem(last).await.code, ProblemCode::RequestStale);
                published += 1;
            }
            (last, other) => panic!("{last} and {other}"),
        }
        assert!(ceremony.root_version().await > version);
        let report = ceremony.server.app.store.check().await.unwrap();
        assert_eq!(report.defects, Vec::<String>::new());
    }
    assert_eq!(published + completed, 12);
    assert_eq!(ceremony.list().await.len(), 0);
}

/// The same request sent many times at once is one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_request_opened_by_many() {
    let ceremony = Arc::new(Ceremony::on_disk().await.begun().await);
    let body: bytes::Bytes = ceremony.renewal(1).await.to_bytes().into();
    let tasks: Vec<_> = (0..12)
        .map(|_| {
            let (ceremony, body) = (Arc::clone(&ceremony), body.clone());
            tokio::spawn(async move { ceremony.send(reqwest::Method::POST, "", Some(body)).await.status() })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            StatusCode::CREATED => made += 1,
            StatusCode::OK => {}
            other => panic!("{other}"),
        }
    }
    assert_eq!((made, ceremony.list().await.len()), (1, 1));
}
