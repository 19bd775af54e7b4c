//! Lists of referrers and of tags: whole, or an error.

use bulla::adapter::oci_registry::{OciRegistry, RegistrySettings};
use bulla::port::{Registry as _, RegistryError};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::sigstore::{Descriptor, FallbackIndex};
use bulla_tests::simulator::{Habits, Loopback, Reply, Request};
use bytes::Bytes;
use serde_json::json;

use super::desk::{Desk, IMAGE, LISTING};

/// A manifest that refers to `image`, one of many.
fn referrer(image: Sha256Digest, n: usize) -> String {
    let subject = json!({"mediaType": "m", "digest": image.to_oci(), "size": IMAGE.len()});
    json!({"schemaVersion": 2, "artifactType": format!("type/{n}"), "layers": [], "subject": subject,
        "annotations": {"n": n.to_string()}})
    .to_string()
}

#[tokio::test]
async fn referrers_are_read_page_by_page() {
    for at_once in [1, 2, 7, 100] {
        let desk = Desk::new(Habits { referrers_at_once: Some(at_once), ..Habits::default() });
        let image = desk.registry.push("1.0", IMAGE);
        for n in 0..7 {
            desk.registry.push(&n.to_string(), referrer(image, n).as_bytes());
        }
        let found = desk.client.referrers(&desk.repository(), image).await.unwrap();
        let mut types: Vec<_> = found.iter().filter_map(|entry| entry.artifact_type.clone()).collect();
        types.sort();
        assert_eq!(types, (0..7).map(|n| format!("type/{n}")).collect::<Vec<_>>());
        assert!(found.iter().all(|entry| entry.annotations.contains_key("n")));
        let none = desk.client.referrers(&desk.repository(), Sha256Digest::of(b"")).await.unwrap();
        assert!(none.is_empty());
    }
}

#[tokio::test]
async fn lists_without_end_are_given_up() {
    let desk = Desk::new(Habits { endless_lists: true, ..LISTING });
    let image = desk.registry.push("1.0", IMAGE);
    let error = desk.client.referrers(&desk.repository(), image).await.unwrap_err();
    assert!(error.to_string().contains("it has no last page"), "{error}");
}

#[tokio::test]
async fn tags_are_read_page_by_page() {
    let desk = Desk::new(Habits::default());
    assert!(desk.client.tags(&desk.repository()).await.unwrap().is_empty());
    let names: Vec<String> = (0..10).map(|n| format!("v{n}")).collect();
    for name in &names {
        desk.registry.push(name, IMAGE);
    }
    let tags = desk.client.tags(&desk.repository()).await.unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), names);
}

/// What a registry answers about referrers, and what there is instead at the tag.
async fn ask(list: Reply, tag: Reply) -> Result<Vec<Descriptor>, RegistryError> {
    let image = Sha256Digest::of(IMAGE);
    let http = Loopback::serve(move |request: &Request| {
        if request.path.contains("/referrers/") {
            list.clone()
        } else if request.path.ends_with(FallbackIndex::tag(image).as_str()) {
            tag.clone()
        } else {
            Reply::new(200, "{}".into())
        }
    });
    let name: RepositoryName = format!("{}/team/app", http.host()).parse().unwrap();
    let client = OciRegistry::new(RegistrySettings::default()).unwrap();
    client.referrers(&name, image).await
}

fn index(entries: usize) -> Bytes {
    let entries: Vec<_> = (0..entries)
        .map(|n| json!({"mediaType": "m", "digest": Sha256Digest::of(&n.to_be_bytes()).to_oci(), "size": 1}))
        .collect();
    json!({"schemaVersion": 2, "manifests": entries}).to_string().into()
}

#[tokio::test]
async fn where_there_is_no_list_the_tag_counts() {
    let none = || Reply::new(404, "{}".into());
    for status in [400, 404, 405, 406, 501] {
        let found = ask(Reply::new(status, Bytes::new()), Reply::new(200, index(3))).await;
        assert_eq!(found.unwrap().len(), 3, "{status}");
        assert!(ask(Reply::new(status, Bytes::new()), none()).await.unwrap().is_empty());
    }
    let page = Reply::new(200, "<html>".into()).with("content-type", "text/html; charset=utf-8");
    assert_eq!(ask(page, Reply::new(200, index(2))).await.unwrap().len(), 2);
    // A program that copies images may leave one under the tag.
    assert!(ask(none(), Reply::new(200, IMAGE.into())).await.unwrap().is_empty());
    for bad in ["", "<html>", "[]", r#"{"schemaVersion":2,"manifests":{}}"#] {
        let error = ask(none(), Reply::new(200, bad.into())).await.unwrap_err();
        assert!(matches!(error, RegistryError::Unreadable { .. }), "{bad}: {error}");
    }
    for status in [401, 403, 418] {
        assert!(ask(none(), Reply::new(status, Bytes::new())).await.is_err(), "{status}");
    }
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let there = || Reply::new(200, index(1));
    let more = |link: &str| Reply::new(200, index(1)).with("link", format!("<{link}>; rel=\"next\""));
    let elsewhere = Loopback::serve(|_: &Request| panic!("nobody asks here"));
    for list in [
        Reply::new(401, Bytes::new()),
        Reply::new(403, Bytes::new()),
        Reply::new(418, Bytes::new()),
        Reply::new(200, Bytes::new()),
        Reply::new(200, "[]".into()),
        Reply::new(200, "{}".into()),
        Reply::new(200, index(1_001)),
        more(&format!("{}/v2/team/app/referrers/x", elsewhere.url())),
        more("file:///etc/passwd"),
        more("?page=2"),
    ] {
        let error = ask(list.clone(), there()).await;
        assert!(error.is_err(), "{list:?}: {error:?}");
    }
}
