//! What must not get into a request, or open one.

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{PlainText, RequestId, SignatureFile, SigningRequest};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{ProblemCode, RequestProgress};
use bulla_server::store::{OPEN_REQUESTS, StoredRequest};
use bulla_tests::server::problem;
use bytes::Bytes;
use reqwest::Method;

use crate::ceremony::{Ceremony, DAY, Holder, Opened, changed};

async fn stored(ceremony: &Ceremony, opened: &Opened) -> Bytes {
    let repository: RepositoryName = ceremony.repository.parse().unwrap();
    match ceremony.server.app.store.request(&repository, opened.id).await.unwrap() {
        Some(StoredRequest::Open { bytes, .. }) => bytes,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn bodies_that_are_no_request_are_refused() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let good = ceremony.renewal(1).await;
    let text = String::from_utf8(good.to_bytes()).unwrap();
    let with = |change: &dyn Fn(&mut SigningRequest)| {
        let mut request = good.clone();
        change(&mut request);
        Bytes::from(request.to_bytes())
    };
    let online = |request: &mut SigningRequest| {
        let bytes = request.documents[&RoleName::Root].clone();
        request.documents.insert(RoleName::Timestamp, bytes);
    };
    let strange_base = |request: &mut SigningRequest| {
        let root = request.base[&RoleName::Root];
        request.base.insert("alice".parse().unwrap(), root);
    };
    let id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let first = SigningRequest { id, ..ceremony.first().await };
    use ProblemCode::{BadRequest, Rejected, RequestStale, TooLarge};
    for (what, body, code, rule) in [
        ("nothing", Bytes::new(), BadRequest, ""),
        ("no JSON", Bytes::from_static(b"\xff\xfe{"), BadRequest, ""),
        ("cut off", Bytes::from(text[..text.len() / 2].to_owned()), BadRequest, ""),
        ("a new member", text.replacen('{', "{\"x\":1,", 1).into(), BadRequest, ""),
        ("deep", Bytes::from("[".repeat(100_000)), BadRequest, ""),
        ("no text", text.replace("routine", "a\\u202eb").into(), BadRequest, ""),
        ("too long", vec![b' '; limits::NEW_REQUEST_BYTES + 1].into(), TooLarge, ""),
        ("for another", with(&|r| r.repository = "example.com/b".parse().unwrap()), Rejected, "request"),
        (
            "too patient",
            with(&|r| (r.created_at, r.not_after) = years_from(r.created_at)),
            Rejected,
            "request",
        ),
        ("of yesterday", with(&|r| r.not_after = r.created_at.plus_seconds(1)), RequestStale, ""),
        ("of an online role", with(&online), Rejected, "online-role"),
        ("without documents", with(&|r| r.documents.clear()), Rejected, "empty"),
        (
            "with a file of nobody",
            with(&|r| r.files = vec![Bytes::from_static(b"x")]),
            Rejected,
            "unlisted-file",
        ),
        ("on too much", with(&strange_base), RequestStale, ""),
        ("on nothing", first.to_bytes().into(), RequestStale, ""),
    ] {
        if what == "of yesterday" {
            ceremony.server.clock.advance(2);
        }
        let found = ceremony.refused(Method::POST, "", Some(body)).await;
        assert_eq!(found, (code, rule.to_owned()), "{what}");
        assert_eq!(ceremony.list().await, Vec::<String>::new(), "{what}");
    }
    for media_type in [None, Some("multipart/form-data; boundary=x"), Some("text/plain")] {
        let mut request = ceremony.server.request(Method::POST, &ceremony.path("")).body(text.clone());
        if let Some(media_type) = media_type {
            request = request.header("content-type", media_type);
        }
        let found = problem(ceremony.server.send(request).await).await;
        assert_eq!(found.code, ProblemCode::UnsupportedMediaType, "{media_type:?}");
    }
}

fn years_from(now: UtcTime) -> (UtcTime, UtcTime) {
    (now.plus_seconds(4_000 * DAY), now.plus_seconds(4_001 * DAY))
}

/// A request that looks further than it is would let a signer believe that others agreed.
#[tokio::test]
async fn requests_come_with_good_signatures_or_none() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    ceremony.sign(&opened, &[Holder::Anna]).await;
    let shown = ceremony.send(Method::GET, &format!("/{}", opened.id), None).await.bytes().await.unwrap();
    let signed = SigningRequest::parse(&shown).unwrap();
    let root = String::from_utf8(signed.documents[&RoleName::Root].to_vec()).unwrap();
    let at = root.find("\"sig\":\"").unwrap() + 7;
    for forged in [
        format!("{}{}{}", &root[..at], if &root[at..=at] == "0" { "1" } else { "0" }, &root[at + 1..]),
        root.replacen("\"keyid\":\"", "\"keyid\":\"f", 1),
    ] {
        let mut request = signed.clone();
        request.id = "00112233445566778899aabbccddeeff".parse().unwrap();
        request.documents.insert(RoleName::Root, forged.into());
        let (code, _) = ceremony.refused(Method::POST, "", Some(request.to_bytes().into())).await;
        assert!(matches!(code, ProblemCode::Rejected), "{code}");
    }
    let mut copy = signed;
    copy.id = "00112233445566778899aabbccddeeff".parse().unwrap();
    let taken = ceremony.send(Method::POST, "", Some(copy.to_bytes().into())).await;
    let progress: RequestProgress = taken.json().await.unwrap();
    assert_eq!((progress.added, progress.complete), (1, false), "a good one comes along");
    assert_eq!(ceremony.list().await.len(), 2);
}

#[tokio::test]
async fn what_is_complete_is_to_be_published() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let file = ceremony.signatures(&opened, &[Holder::Anna, Holder::Ben]).await;
    let request = SigningRequest::parse(&opened.bytes).unwrap();
    let repository = request.repository.clone();
    let mut open = request.open(&repository, ceremony.state().await.as_ref(), ceremony.now()).unwrap();
    open.merge(&SignatureFile::parse(&file).unwrap()).unwrap();
    let whole =
        SigningRequest { id: "00112233445566778899aabbccddeeff".parse().unwrap(), ..open.request().clone() };
    let found = ceremony.refused(Method::POST, "", Some(whole.to_bytes().into())).await;
    assert_eq!(found, (ProblemCode::Rejected, "request-complete".to_owned()));
}

#[tokio::test]
async fn bad_signatures_are_refused_and_change_nothing() {
    let ceremony = Ceremony::on_disk().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let other = ceremony.opened(ceremony.renewal(2).await).await;
    let good = ceremony.signatures(&opened, &[Holder::Anna]).await;
    let foreign = ceremony.signatures(&other, &[Holder::Anna]).await;
    let nobody = Holder::Nobody.key().public_key().fingerprint();
    let ben = Holder::Ben.key().public_key().fingerprint();
    let before = stored(&ceremony, &opened).await;
    let rejected = (ProblemCode::Rejected, "request-signature".to_owned());
    let bad = (ProblemCode::BadRequest, String::new());
    for (what, file, expected) in [
        ("of another request", foreign.clone(), &rejected),
        ("over another payload", changed(&foreign, |file| file.request = opened.id), &rejected),
        ("for another repository", changed(&good, |f| f.repository = "b".parse().unwrap()), &rejected),
        ("of nobody's key", changed(&good, |file| file.signatures[0].key = nobody), &rejected),
        ("of another's key", changed(&good, |file| file.signatures[0].key = ben), &rejected),
        ("of another role", changed(&good, |f| f.signatures[0].role = RoleName::Targets), &rejected),
        ("with a bit flipped", changed(&good, |file| file.signatures[0].signature[7] ^= 1), &rejected),
        ("empty", changed(&good, |file| file.signatures[0].signature.clear()), &rejected),
        (
            "one good and one bad",
            changed(&good, |file| {
                let mut second = file.signatures[0].clone();
                second.key = ben;
                file.signatures.push(second);
            }),
            &rejected,
        ),
        ("no JSON", Bytes::from_static(b"[]"), &bad),
        (
            "too long",
            vec![b' '; limits::SIGNATURE_FILE_BYTES + 1].into(),
            &(ProblemCode::TooLarge, String::new()),
        ),
    ] {
        let found = ceremony.refused(Method::POST, &format!("/{}/signatures", opened.id), Some(file)).await;
        assert_eq!(&found, expected, "{what}");
        assert_eq!(stored(&ceremony, &opened).await, before, "{what}");
    }
    let path = "/00112233445566778899aabbccddeeff/signatures";
    assert_eq!(ceremony.refused(Method::POST, path, Some(good.clone())).await.0, ProblemCode::NotFound);
    assert!(!ceremony.sign(&opened, &[Holder::Anna]).await.complete, "the good one is taken");
    assert!(ceremony.sign(&opened, &[Holder::Ben]).await.complete);
}

#[tokio::test]
async fn there_is_room_for_so_many_only() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    for number in 1..=OPEN_REQUESTS {
        ceremony.opened(ceremony.renewal(i64::try_from(number).unwrap()).await).await;
    }
    let one_more = ceremony.renewal(90).await;
    let body = Bytes::from(one_more.to_bytes());
    let found = problem(ceremony.send(Method::POST, "", Some(body.clone())).await).await;
    assert_eq!((found.status, found.code), (409, ProblemCode::RequestsFull));
    let first = ceremony.list().await.remove(0);
    assert_eq!(ceremony.send(Method::DELETE, &format!("/{first}"), None).await.status(), 204);
    assert_eq!(ceremony.send(Method::POST, "", Some(body)).await.status(), 201);
}

#[tokio::test]
async fn an_id_belongs_to_one_request() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let opened = ceremony.opened(ceremony.renewal(1).await).await;
    let other = SigningRequest { id: opened.id, ..ceremony.renewal(2).await };
    let found = ceremony.refused(Method::POST, "", Some(other.to_bytes().into())).await;
    assert_eq!(found.0, ProblemCode::RequestExists);
}

/// Opening and cancelling over and over must not fill the disk: what was stored once stays in
/// the journal.
#[tokio::test]
async fn nobody_fills_the_disk_with_requests() {
    let ceremony = Ceremony::in_memory().await.begun().await;
    let mut request = ceremony.renewal(1).await;
    // What keys are called is free text: as much as fits.
    let text: PlainText = "\u{20ac}".repeat(limits::REQUEST_TEXT).parse().unwrap();
    let print =
        |number: usize| Sha256Digest::of(&number.to_be_bytes()).to_string().parse::<Fingerprint>().unwrap();
    request.holders = (0..limits::KEYS).map(|number| (print(number), text.clone())).collect();
    let length = request.to_bytes().len();
    let mut stored = 0;
    for number in 0..=u8::MAX {
        request.id = RequestId::from_bytes([number; 16]);
        let response = ceremony.send(Method::POST, "", Some(request.to_bytes().into())).await;
        if response.status() != 201 {
            assert_eq!(problem(response).await.code, ProblemCode::RequestsFull);
            break;
        }
        stored += length;
        let cancel = ceremony.send(Method::DELETE, &format!("/{}", request.id), None).await;
        assert_eq!(cancel.status(), 204);
    }
    assert!(stored > 32 * 1024 * 1024 && stored < 64 * 1024 * 1024, "{stored}");
    ceremony.server.clock.advance(3_600);
    let opened = ceremony.send(Method::POST, "", Some(request.to_bytes().into())).await;
    assert_eq!(opened.status(), 201, "an hour later");
}
