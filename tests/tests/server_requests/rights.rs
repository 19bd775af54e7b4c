//! Who may do what, and who cannot tell what is there.

use bulla_keys_schema::wire::ProblemCode;
use bulla_tests::server::{Setup, problem};
use bytes::Bytes;
use reqwest::{Method, StatusCode};

use crate::ceremony::{Ceremony, DAY, Holder};

/// Method, what follows `.../requests`, and body.
type Call = (Method, String, Option<Bytes>);

/// Every request for each kind of caller. What a caller may not do is answered alike, whether
/// the request is there or not.
#[tokio::test]
async fn everybody_may_do_what_his_token_says() {
    let setup = Setup { tokens: Some(true), ..Setup::default() };
    let ceremony = Ceremony::on(setup, None).await;
    let absent = "00112233445566778899aabbccddeeff";
    let token = |name: &str, can: &str, scope: &str| ceremony.server.token(name, can, scope, DAY);
    let reader = token("reader", "read", "example.com/**");
    let stranger = token("stranger", "admin", "example.org/**");
    let writer = token("writer", "publish", "example.com/**");
    let other = token("other", "publish", "example.com/**");
    let opened = ceremony.opened(ceremony.first().await).await;
    let file = ceremony.signatures(&opened, &[Holder::Anna]).await;
    let calls = |id: &str| {
        [
            (Method::GET, String::new(), None),
            (Method::GET, format!("/{id}"), None),
            (Method::POST, String::new(), Some(opened.bytes.clone())),
            (Method::POST, format!("/{id}/signatures"), Some(file.clone())),
            (Method::DELETE, format!("/{id}"), None),
        ]
    };
    let code = async |token: Option<&str>, (method, rest, body): Call| {
        let response = ceremony.send_as(token, method, &ceremony.path(&rest), body).await;
        match response.status() {
            StatusCode::OK | StatusCode::NO_CONTENT => None,
            _ => Some(problem(response).await.code),
        }
    };
    use ProblemCode::{Forbidden, NotFound, Unauthenticated};
    for id in [&opened.id.to_string(), absent] {
        for call in calls(id) {
            assert_eq!(code(None, call.clone()).await, Some(Unauthenticated), "{call:?}");
            assert_eq!(code(Some(&stranger), call.clone()).await, Some(NotFound), "{call:?}");
            if call.0 != Method::GET {
                assert_eq!(code(Some(&reader), call.clone()).await, Some(Forbidden), "{call:?}");
            }
        }
    }
    let answers = async |token: &str| {
        let mut codes = Vec::new();
        for call in calls(&opened.id.to_string()) {
            codes.push(code(Some(token), call).await);
        }
        codes
    };
    assert_eq!(answers(&reader).await[..2], [None, None]);
    assert_eq!(answers(&writer).await, [None, None, None, None, Some(Forbidden)], "it is not his");
    let [_, _, _, _, cancel] = calls(absent);
    assert_eq!(code(Some(&writer), cancel).await, Some(NotFound));
    let [_, _, _, _, cancel] = calls(&opened.id.to_string());
    assert_eq!(code(ceremony.token.as_deref(), cancel).await, None, "an admin may");

    let own = ceremony.first().await;
    let own = bulla_keys_schema::request::SigningRequest { id: absent.parse().unwrap(), ..own };
    let post = (Method::POST, String::new(), Some(own.to_bytes().into()));
    let response = ceremony.send_as(Some(&writer), post.0, &ceremony.path(&post.1), post.2).await;
    assert_eq!(response.status(), 201);
    let [_, _, _, _, cancel] = calls(absent);
    assert_eq!(code(Some(&other), cancel.clone()).await, Some(Forbidden));
    assert_eq!(code(Some(&writer), cancel).await, None, "who opened it may");
}

/// A repository may be called like the URL of a request. Its removal is told apart by the head
/// that it names.
#[tokio::test]
async fn repositories_with_confusing_names_are_not_mixed_up() {
    let mut ceremony = Ceremony::in_memory().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let plain = std::mem::take(&mut ceremony.repository);
    ceremony.repository = format!("{plain}/requests/{}", opened.id);
    let ceremony = ceremony.begun().await;
    let path = format!("/api/v1/repositories/{}", ceremony.repository);
    let head = ceremony.server.app.store.head(&ceremony.repository.parse().unwrap()).await.unwrap().unwrap();
    let removal = ceremony.server.request(Method::DELETE, &path);
    let removal = removal.header("if-match", format!("\"{}\"", head.token));
    assert_eq!(ceremony.server.send(removal).await.status(), 200);
    assert!(ceremony.state().await.is_none());
    let store = &ceremony.server.app.store;
    assert_eq!(store.open_requests(&plain.parse().unwrap()).await.unwrap().len(), 1, "it still waits");
    let cancel = ceremony.send_as(None, Method::DELETE, &path, None).await;
    assert_eq!(cancel.status(), StatusCode::NO_CONTENT);
    assert_eq!(store.open_requests(&plain.parse().unwrap()).await.unwrap().len(), 0);
}
