//! Requests that are completed, go stale, expire, or are taken back.

use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::SigningRequest;
use bulla_keys_schema::wire::{ChangeList, ProblemCode, RequestList};
use bulla_server::store::{Closed, StoredRequest};
use bulla_tests::legacy::online_key;
use bulla_tests::server::{Setup, problem};
use reqwest::{Method, StatusCode};

use crate::ceremony::{Ceremony, DAY, Holder, Opened, legacy_first, progress};

/// How the server remembers a request.
async fn closed(ceremony: &Ceremony, opened: &Opened) -> Option<Closed> {
    let repository: RepositoryName = ceremony.repository.parse().unwrap();
    match ceremony.server.app.store.request(&repository, opened.id).await.unwrap() {
        Some(StoredRequest::Closed(closed)) => Some(closed.how),
        _ => None,
    }
}

/// A repository comes to be once two of three have signed, and is changed in the same way.
async fn two_of_three(ceremony: Ceremony) {
    let first = ceremony.first().await;
    let opened = ceremony.opened(first).await;
    let again = ceremony.send(Method::POST, "", Some(opened.bytes.clone())).await;
    assert_eq!(again.status(), 200, "the same bytes are the same request");
    assert_eq!(ceremony.list().await, [opened.id.to_string()]);
    for round in 0..2 {
        let signed = ceremony.sign(&opened, &[Holder::Anna]).await;
        assert_eq!((signed.complete, signed.added), (false, 1 - round), "the same signature again");
    }
    assert!(ceremony.state().await.is_none(), "one of two is none");
    let shown = ceremony.send(Method::GET, &format!("/{}", opened.id), None).await;
    assert_eq!(shown.headers()["content-type"], "application/json");
    let shown = Opened { id: opened.id, bytes: shown.bytes().await.unwrap() };
    assert_ne!(shown.bytes, opened.bytes, "it has the signature");
    let again = ceremony.send(Method::POST, "", Some(opened.bytes.clone())).await;
    assert_eq!(again.status(), 200, "also after it was signed");

    let last = ceremony.signatures(&shown, &[Holder::Carol]).await;
    let signed = progress(ceremony.post(opened.id, last.clone()).await).await;
    assert_eq!((signed.complete, signed.added), (true, 1));
    let receipt = signed.receipt.expect("it was published");
    assert!(!receipt.replayed);
    assert_eq!(ceremony.root_version().await, 1);
    assert_eq!(closed(&ceremony, &opened).await, Some(Closed::Published));
    let signed = progress(ceremony.post(opened.id, last).await).await;
    assert_eq!((signed.complete, signed.added, signed.receipt), (true, 0, None));
    assert_eq!(ceremony.list().await, Vec::<String>::new());
    for body in [None, Some(opened.bytes)] {
        let (method, rest) = match body {
            None => (Method::GET, format!("/{}", opened.id)),
            Some(_) => (Method::POST, String::new()),
        };
        let found = problem(ceremony.send(method, &rest, body).await).await;
        assert_eq!(found.code, ProblemCode::RequestClosed);
        assert!(found.detail.contains("published by anonymous"), "{}", found.detail);
    }

    let next = ceremony.opened(ceremony.renewal(9).await).await;
    ceremony.sign(&next, &[Holder::Ben]).await;
    assert!(ceremony.sign(&next, &[Holder::Carol]).await.complete);
    assert_eq!(ceremony.root_version().await, 2);
    let path = format!("/api/v1/changes?after={}", receipt.position);
    let changes: ChangeList = ceremony.server.get(&path).await.json().await.unwrap();
    let [change] = &changes.changes[..] else { panic!("{changes:?}") };
    assert_eq!(change.actor, "anonymous");
    let metrics = ceremony.server.operate("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("bullad_publishes_total{outcome=\"Done\"} 2"), "{metrics}");
    let report = ceremony.server.app.store.check().await.unwrap();
    assert_eq!(report.defects, Vec::<String>::new());
}

#[tokio::test]
async fn two_of_three_in_memory() {
    two_of_three(Ceremony::in_memory().await).await;
}

#[tokio::test]
async fn two_of_three_on_disk() {
    two_of_three(Ceremony::on_disk().await).await;
}

/// Both signatures in one file are as good.
#[tokio::test]
async fn one_file_may_hold_them_all() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let signed = ceremony.sign(&opened, &[Holder::Anna, Holder::Ben, Holder::Carol]).await;
    assert_eq!((signed.complete, signed.added), (true, 3));
    assert_eq!(ceremony.root_version().await, 2);
}

#[tokio::test]
async fn a_request_that_somebody_overtook_is_closed() {
    let ceremony = Ceremony::on_disk().await.begun().await;
    let (mine, other) =
        (ceremony.opened(ceremony.renewal(1).await).await, ceremony.opened(ceremony.renewal(2).await).await);
    ceremony.sign(&mine, &[Holder::Anna]).await;
    let last = ceremony.signatures(&mine, &[Holder::Ben]).await;
    assert_eq!(ceremony.publish_root(3).await.status(), 200);
    assert_eq!(ceremony.list().await, Vec::<String>::new(), "what cannot be completed is not listed");
    let show = format!("/{}", mine.id);
    assert_eq!(ceremony.refused(Method::GET, &show, None).await.0, ProblemCode::RequestStale);
    assert_eq!(closed(&ceremony, &mine).await, None, "reading closes nothing");
    for _ in 0..2 {
        let found = problem(ceremony.post(mine.id, last.clone()).await).await;
        assert_eq!((found.status, found.code), (409, ProblemCode::RequestStale));
        assert!(found.hint.is_some());
        assert_eq!(closed(&ceremony, &mine).await, Some(Closed::Stale));
    }
    assert_eq!(ceremony.refused(Method::GET, &show, None).await.0, ProblemCode::RequestStale);
    assert_eq!(ceremony.root_version().await, 2);
    let repository: RepositoryName = ceremony.repository.parse().unwrap();
    assert_eq!(ceremony.server.app.publisher.close_requests(&repository).await.unwrap(), 1);
    assert_eq!(closed(&ceremony, &other).await, Some(Closed::Stale));
}

/// What the server signs anew by itself does not make requests stale.
#[tokio::test]
async fn renewals_of_online_roles_do_not_matter() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    ceremony.sign(&opened, &[Holder::Anna]).await;
    ceremony.server.clock.advance(6 * DAY);
    let repository: RepositoryName = ceremony.repository.parse().unwrap();
    assert!(ceremony.server.app.publisher.renew(&repository).await.unwrap());
    assert_eq!(ceremony.server.app.publisher.close_requests(&repository).await.unwrap(), 0);
    assert!(ceremony.sign(&opened, &[Holder::Ben]).await.complete);
}

#[tokio::test]
async fn a_request_has_its_time() {
    let ceremony = Ceremony::on_disk().await.begun().await;
    let (mine, other) =
        (ceremony.opened(ceremony.renewal(1).await).await, ceremony.opened(ceremony.renewal(2).await).await);
    let file = ceremony.signatures(&mine, &[Holder::Anna]).await;
    ceremony.server.clock.advance(7 * DAY - 1);
    assert_eq!(ceremony.list().await.len(), 2);
    ceremony.server.clock.advance(1);
    assert_eq!(ceremony.list().await.len(), 0);
    assert_eq!(problem(ceremony.post(mine.id, file).await).await.code, ProblemCode::RequestStale);
    assert_eq!(closed(&ceremony, &mine).await, Some(Closed::Expired));
    assert_eq!(closed(&ceremony, &other).await, None);
    // A server looks for more of them as soon as it starts.
    let store = Arc::clone(&ceremony.server.app.store);
    let second = Ceremony::on(Setup { store, ..Setup::default() }, None).await;
    second.server.clock.advance(7 * DAY);
    for _ in 0..500 {
        if closed(&ceremony, &other).await.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(second);
    assert_eq!(closed(&ceremony, &other).await, Some(Closed::Expired));
}

#[tokio::test]
async fn a_request_can_be_taken_back() {
    let ceremony = Ceremony::on_disk().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let file = ceremony.signatures(&opened, &[Holder::Anna, Holder::Ben]).await;
    let path = format!("/{}", opened.id);
    for _ in 0..2 {
        assert_eq!(ceremony.send(Method::DELETE, &path, None).await.status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(problem(ceremony.post(opened.id, file).await).await.code, ProblemCode::RequestClosed);
    assert_eq!(closed(&ceremony, &opened).await, Some(Closed::Cancelled));
    assert_eq!(ceremony.root_version().await, 1);
    // Anybody may ask anew, under another id.
    let request = ceremony.renewal(1).await;
    let body = Some(request.to_bytes().into());
    assert_eq!(ceremony.refused(Method::POST, "", body).await.0, ProblemCode::RequestClosed);
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    ceremony.opened(SigningRequest { id, ..request }).await;
}

#[tokio::test]
async fn a_removed_repository_has_no_requests() {
    let ceremony = Ceremony::on_disk().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let repository: RepositoryName = ceremony.repository.parse().unwrap();
    let head = ceremony.server.app.store.head(&repository).await.unwrap().unwrap();
    let removal = ceremony
        .server
        .request(Method::DELETE, &format!("/api/v1/repositories/{repository}"))
        .header("if-match", format!("\"{}\"", head.token));
    assert_eq!(ceremony.server.send(removal).await.status(), 200);
    assert_eq!(ceremony.list().await, Vec::<String>::new());
    let show = format!("/{}", opened.id);
    assert_eq!(ceremony.refused(Method::GET, &show, None).await.0, ProblemCode::NotFound);
}

#[tokio::test]
async fn lists_tell_what_a_request_says_of_itself_and_who_opened_it() {
    let setup = Setup { tokens: Some(false), ..Setup::default() };
    let ceremony = Ceremony::on(setup, None).await;
    let request = ceremony.first().await;
    let opened = ceremony.opened(request.clone()).await;
    let list: RequestList = ceremony.send(Method::GET, "", None).await.json().await.unwrap();
    let [listed] = &list.requests[..] else { panic!("{list:?}") };
    assert_eq!((&*listed.id, &*listed.reason), (&*opened.id.to_string(), "routine"));
    assert_eq!((&*listed.created_by, &*listed.opened_by), ("anna", "boss"));
    assert_eq!((listed.created_at, listed.not_after), (request.created_at, request.not_after));
    let roles: Vec<_> = request.documents.into_keys().collect();
    assert_eq!(listed.roles, roles);
}

/// In legacy mode as well: the holders' keys stand in certificates, and the server signs
/// snapshot and timestamp in Notary's form.
#[tokio::test]
async fn two_of_three_in_legacy_mode() {
    let ceremony = Ceremony::in_memory().await;
    let key = async |role| online_key(&ceremony.server, &ceremony.repository, role, Method::GET).await;
    let (snapshot, timestamp) = (key("snapshot").await, key("timestamp").await);
    let request = legacy_first(&ceremony.repository, &snapshot, &timestamp, ceremony.now());
    let opened = ceremony.opened(request).await;
    assert!(!ceremony.sign(&opened, &[Holder::Carol]).await.complete);
    let signed = ceremony.sign(&opened, &[Holder::Ben]).await;
    assert!(signed.complete && signed.receipt.is_some());
    assert_eq!(closed(&ceremony, &opened).await, Some(Closed::Published));
    let path = format!("/v2/{}/_trust/tuf/root.json", ceremony.repository);
    assert_eq!(ceremony.server.get(&path).await.status(), 200);
}
