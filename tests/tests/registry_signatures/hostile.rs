//! A registry, or somebody who may push there, that wants logins, wants a signature not to be seen,
//! or wants it to seem that there is none.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::sync::{Arc, Mutex};

use bulla::adapter::oci_credentials::CredentialSources;
use bulla::adapter::oci_registry::{OciRegistry, RegistrySettings};
use bulla::flow::cosign::verify::{CosignError, Proven, Request as Question, Terms, verify};
use bulla::port::registry::{ManifestPush, Over};
use bulla::port::{Registry as _, RegistryError, Wanted};
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::sigstore::{Attached, BUNDLE, Descriptor, FallbackIndex, MANIFEST, ReferrerManifest};
use bulla_tests::simulator::{
    Habits, Loopback, OCI_INDEX, OCI_MANIFEST, RegistryFault, Reply, Request, Sending,
};
use bytes::Bytes;
use serde_json::{Value, json};

use super::desk::{Desk, IMAGE, LISTING};

/// What a host was shown: path and `Authorization`.
type Seen = Arc<Mutex<Vec<(String, Option<String>)>>>;

/// Which paths are answered elsewhere.
type Which = fn(&str) -> bool;

fn noting(seen: &Seen, answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Loopback {
    let seen = Arc::clone(seen);
    Loopback::serve(move |request: &Request| {
        let login = request.headers.get("authorization").cloned();
        seen.lock().unwrap().push((request.path.clone(), login));
        answer(request)
    })
}

/// A client with a login for `host`, and the repository there.
fn with_login(host: &str) -> (OciRegistry, RepositoryName) {
    let logins = json!({"auths": {host: {"auth": "YWxpY2U6c2VjcmV0"}}}).to_string();
    let lookup = move |name: &str| (name == "DOCKER_AUTH_CONFIG").then(|| OsString::from(&logins));
    let credentials = CredentialSources::from_environment(&lookup);
    let settings = RegistrySettings { credentials, ..RegistrySettings::default() };
    (OciRegistry::new(settings).unwrap(), format!("{host}/team/app").parse().unwrap())
}

fn unauthorised(realm: &str) -> Reply {
    Reply::new(401, Bytes::new()).with("www-authenticate", format!("Bearer realm=\"{realm}\",service=\"x\""))
}

/// Storage that a registry points at for its blobs may belong to somebody else, who must not get the
/// login by asking for it.
#[tokio::test]
async fn whoever_a_registry_points_at_gets_no_login() {
    let sent_on: [(&str, Which); 3] = [
        ("the first question", |path| path == "/v2/"),
        ("every other one", |path| path.starts_with("/v2/team/")),
        ("uploads", |_| false),
    ];
    for (what, is_sent_on) in sent_on {
        let elsewhere = Seen::default();
        let storage = noting(&elsewhere, |request| match &*request.path {
            path if path.starts_with("/token") => Reply::new(200, r#"{"token":"stolen"}"#.into()),
            _ => unauthorised(&format!("http://{}/token", request.headers["host"])),
        });
        let (url, seen) = (storage.url(), Seen::default());
        let registry = noting(&seen, move |request| match &*request.path {
            path if is_sent_on(path) => {
                Reply::new(307, Bytes::new()).with("location", format!("{url}{path}"))
            }
            path if path.ends_with("/uploads/") => {
                Reply::new(202, Bytes::new()).with("location", format!("{url}/upload?x=1"))
            }
            "/v2/" => Reply::new(200, "{}".into()),
            _ => Reply::new(404, "{}".into()),
        });
        let (client, repository) = with_login(&registry.host());
        let tag = Wanted::Tag("v1".parse().unwrap());
        let manifest = Bytes::from_static(IMAGE);
        let push =
            ManifestPush { bytes: manifest, media_type: MANIFEST.to_owned(), tag: None, over: Over::Nothing };
        let digest = Sha256Digest::of(b"x");
        assert!(client.manifest(&repository, &tag).await.is_err());
        assert!(client.blob(&repository, digest, 10).await.is_err());
        assert!(client.tags(&repository).await.is_err());
        let listed = client.referrers(&repository, digest).await;
        assert_eq!(listed.is_err(), is_sent_on("/v2/team/"), "{what}: {listed:?}");
        assert!(client.push_blob(&repository, Bytes::from_static(b"x")).await.is_err());
        assert!(client.push_manifest(&repository, &push).await.is_err());
        let asked = elsewhere.lock().unwrap().clone();
        assert!(!asked.is_empty(), "{what}");
        for (path, login) in asked {
            assert!(login.is_none() && !path.starts_with("/token"), "{what}: {path} got {login:?}");
        }
        assert!(seen.lock().unwrap().iter().any(|(_, login)| login.is_some()), "{what}: the registry does");
    }
}

/// A registry on this machine may be spoken with in plain HTTP, which is no reason to carry its login in
/// the clear to any other machine that it calls its token server.
#[tokio::test]
async fn a_login_is_carried_in_plain_http_to_nobody_else() {
    for realm in ["http://192.0.2.1/token", "http://localhost.example.com:5000/token"] {
        let registry = Loopback::serve(move |_: &Request| unauthorised(realm));
        let (client, repository) = with_login(&registry.host());
        let tag = Wanted::Tag("v1".parse().unwrap());
        let refused = client.manifest(&repository, &tag).await.unwrap_err();
        let RegistryError::PlainLogin { host, realm: named } = &refused else { panic!("{realm}: {refused}") };
        assert!(*host == registry.host() && realm.starts_with(named), "{refused}");
    }
    // On this machine it may go to another port.
    let tokens = Loopback::serve(|_: &Request| Reply::new(200, r#"{"token":"t"}"#.into()));
    let realm = format!("{}/token", tokens.url());
    let registry = Loopback::serve(move |request: &Request| match request.headers.get("authorization") {
        Some(login) if login == "Bearer t" => Reply::new(200, r#"{"tags":["v1"]}"#.into()),
        _ => unauthorised(&realm),
    });
    let (client, repository) = with_login(&registry.host());
    assert_eq!(client.tags(&repository).await.unwrap().len(), 1);
}

/// A list that names a tag twice would have it looked up twice, and be told two things.
#[tokio::test]
async fn a_tag_is_listed_once() {
    let http = Loopback::serve(|request: &Request| {
        let more = Reply::new(200, r#"{"tags":["v2","v1","v1","../x","v2"]}"#.into());
        if request.path.contains("last=") {
            return Reply::new(200, r#"{"tags":["v1","v3"]}"#.into());
        }
        more.with("link", "</v2/team/app/tags/list?last=v2>; rel=\"next\"")
    });
    let name: RepositoryName = format!("{}/team/app", http.host()).parse().unwrap();
    let tags = OciRegistry::new(RegistrySettings::default()).unwrap().tags(&name).await.unwrap();
    assert_eq!(tags.iter().map(ToString::to_string).collect::<Vec<_>>(), ["v1", "v2", "v3"]);
}

async fn ask(desk: &Desk, image: Sha256Digest) -> Result<Proven, CosignError> {
    let question = Question {
        image: format!("{}@{}", desk.repository(), image.to_oci()).parse().unwrap(),
        platform: None,
        terms: Terms {
            keys: vec![desk.public("alice")],
            threshold: 1,
            annotations: BTreeMap::new(),
            predicate_type: None,
        },
    };
    verify(&desk.client, &question).await
}

fn put(desk: &Desk, tag: Option<&str>, manifest: &Value, media_type: &str) -> Sha256Digest {
    let bytes = Bytes::from(manifest.to_string());
    desk.registry.change(|kept| {
        kept.put("", tag, bytes.clone(), media_type);
    });
    Sha256Digest::of(&bytes)
}

/// An entry in front that names the same bytes with another length: it cannot be had, and takes
/// nothing away from the one that can.
#[tokio::test]
async fn a_wrong_length_hides_no_signature() {
    for layout in [Attached::Signatures, Attached::Attestations] {
        let desk = Desk::new(LISTING);
        desk.keys(&["alice"]);
        let image = desk.registry.push("1.0", IMAGE);
        desk.sign("1.0", &["alice"]).await.unwrap();
        let tag = Attached::Signatures.tag(image).to_string();
        if layout == Attached::Signatures {
            let mut manifest = desk.json(&tag);
            let mut short = manifest["layers"][0].clone();
            short["size"] = json!(1);
            let layers = manifest["layers"].as_array_mut().unwrap();
            layers.insert(0, short);
            put(&desk, Some(&tag), &manifest, OCI_MANIFEST);
            desk.registry.spoil(Some(RegistryFault::Referrers(404)));
        } else {
            // Referrers can be added where no tag can be changed.
            let listed = desk.client.referrers(&desk.repository(), image).await.unwrap();
            let (bytes, _) = desk.registry.kept().manifest("", &listed[0].digest.to_oci()).unwrap();
            let bundle = ReferrerManifest::parse(&bytes).unwrap().bundle().unwrap().clone();
            let short = Descriptor::new(BUNDLE, bundle.digest, 1);
            let subject = Descriptor::new(MANIFEST, image, IMAGE.len() as u64);
            let forged =
                ReferrerManifest::new(&short, &subject, "x", "2030-01-02T03:04:05Z".parse().unwrap());
            let fallback = json!({"schemaVersion": 2, "manifests": [
                {"mediaType": MANIFEST, "digest": forged.entry().digest.to_oci(), "size": 1},
                {"mediaType": MANIFEST, "digest": listed[0].digest.to_oci(), "size": bytes.len()},
            ]});
            let forged: Value = serde_json::from_slice(forged.to_bytes()).unwrap();
            put(&desk, None, &forged, OCI_MANIFEST);
            put(&desk, Some(FallbackIndex::tag(image).as_str()), &fallback, OCI_INDEX);
            put(&desk, Some(&tag), &json!({"schemaVersion": 2, "layers": []}), OCI_MANIFEST);
            desk.registry.spoil(Some(RegistryFault::Referrers(404)));
        }
        let proven = ask(&desk, image).await.unwrap();
        assert_eq!(proven.judgement.proofs.len(), 1, "{layout:?}");
        assert_eq!(proven.judgement.others.len(), 1, "{layout:?}: {:?}", proven.judgement);
    }
}

/// Thousands of copies of one large bundle would have to be hashed again and again.
#[tokio::test]
async fn a_copy_is_not_judged_again() {
    let desk = Desk::new(Habits::default());
    desk.keys(&["alice"]);
    let image = desk.registry.push("1.0", IMAGE);
    let bytes = Bytes::from_static(b"no bundle");
    desk.registry.change(|kept| {
        kept.put_blob("", bytes.clone());
    });
    let bundle = Descriptor::of(BUNDLE, &bytes);
    let subject = Descriptor::new(MANIFEST, image, IMAGE.len() as u64);
    let entries: Vec<Value> = (0..5)
        .map(|n| {
            let copy = ReferrerManifest::new(
                &bundle,
                &subject,
                &n.to_string(),
                "2030-01-02T03:04:05Z".parse().unwrap(),
            );
            let copy: Value = serde_json::from_slice(copy.to_bytes()).unwrap();
            let digest = put(&desk, None, &copy, OCI_MANIFEST);
            json!({"mediaType": MANIFEST, "digest": digest.to_oci(), "size": 1})
        })
        .collect();
    let index = json!({"schemaVersion": 2, "manifests": entries});
    put(&desk, Some(FallbackIndex::tag(image).as_str()), &index, OCI_INDEX);
    let Err(CosignError::NotOurs { judgement, .. }) = ask(&desk, image).await else { panic!() };
    assert_eq!(judgement.others.len(), 1, "{judgement:?}");
}

/// "There is none" is said only by who has looked.
#[tokio::test]
async fn who_cannot_look_does_not_say_that_there_is_none() {
    let image = Sha256Digest::of(IMAGE);
    let sig = Attached::Signatures.tag(image).to_string();
    let good = json!({"schemaVersion": 2, "layers": [{
        "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "digest": image.to_oci(),
        "size": IMAGE.len(), "annotations": {"dev.cosignproject.cosign/signature": "AAAA"},
    }]})
    .to_string();
    let none = || Reply::new(404, "{}".into());
    let lying = |bytes: &str, said: usize| Reply {
        status: 200,
        headers: vec![],
        body: Sending::Lying(said, bytes.to_owned().into()),
    };
    let nothing = || Reply { status: 200, headers: vec![], body: Sending::Nothing };
    let replies: Vec<(&str, Reply)> = vec![
        ("401", Reply::new(401, Bytes::new())),
        ("403", Reply::new(403, Bytes::new())),
        ("410", Reply::new(410, Bytes::new())),
        ("418", Reply::new(418, Bytes::new())),
        ("throttled for long", Reply::new(429, Bytes::new()).with("retry-after", "3600")),
        ("a redirect to nowhere", Reply::new(307, Bytes::new())),
        ("a redirect to itself", Reply::new(307, Bytes::new()).with("location", "?again")),
        ("a redirect to no web page", Reply::new(302, Bytes::new()).with("location", "file:///etc/passwd")),
        ("half of it", lying(r#"{"schemaVersion":2,"#, 1_000)),
        ("the end of the connection", nothing()),
        ("nothing at all", Reply::new(204, Bytes::new())),
    ];
    let desk = Desk::new(Habits::default());
    desk.keys(&["alice"]);
    let key = desk.public("alice");
    let places = ["sig", "blob", "referrers", "fallback"];
    let asking = places.into_iter().flat_map(|place| replies.iter().map(move |reply| (place, reply)));
    let asking = asking.map(|(place, (what, reply))| {
        let (reply, sig, good) = (reply.clone(), sig.clone(), good.clone());
        let http = Loopback::serve(move |request: &Request| {
            let path = &*request.path;
            let is_there = match place {
                "sig" => path.contains(&*sig),
                "blob" => path.contains("/blobs/"),
                "referrers" => path.contains("/referrers/"),
                _ => path.contains(FallbackIndex::tag(image).as_str()) && !path.contains(&*sig),
            };
            match path {
                "/v2/" => Reply::new(200, "{}".into()),
                _ if is_there => reply.clone(),
                _ if path.contains(&*sig) && place == "blob" => Reply::new(200, good.clone().into()),
                _ => none(),
            }
        });
        let question = Question {
            image: format!("{}/team/app@{}", http.host(), image.to_oci()).parse().unwrap(),
            platform: None,
            terms: Terms {
                keys: vec![key.clone()],
                threshold: 1,
                annotations: BTreeMap::new(),
                predicate_type: None,
            },
        };
        let client = OciRegistry::new(RegistrySettings::default()).unwrap();
        async move {
            let answer = verify(&client, &question).await;
            assert!(matches!(answer, Err(CosignError::NotSeen { .. })), "{place}, {what}: {answer:?}");
            drop(http);
        }
    });
    futures_util::future::join_all(asking).await;
}
