//! How old the word of a trust server may be, for a policy that asks.

use bulla::adapter::no_server::NoServer;
use bulla::flow::init;
use bulla::flow::sign;
use bulla::flow::signer::{self, AddRequest};
use bulla::flow::verdict::{Answer, Question, judge};
use bulla::pins::Mode;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::ImageRef;
use bulla_keys_schema::policy::Policy;
use bulla_server::clock::Clock as _;
use bulla_tests::cli::Desk;
use bulla_tests::server::TestServer;

const HOUR: i64 = 60 * 60;

async fn ask(desk: &Desk<'_>, policy: &Policy, image: &ImageRef) -> Answer {
    judge(desk.ports(), Question { policy, image, platform: None, compares: false }).await.unwrap()
}

fn failure(answer: &Answer) -> Option<&'static str> {
    answer.verdict.first_failure().map(|check| check.id.as_str())
}

/// Begins a repository with one signer, who signs `image`; returns the fingerprint of the root key.
async fn begin(admin: &Desk<'_>, image: &ImageRef) -> String {
    let root = admin.key("root").fingerprint().to_string();
    admin.key("targets");
    let begin = init::Request {
        repository: image.repository().clone(),
        mode: Mode::Spec,
        root_keys: vec!["root".parse().unwrap()],
        root_threshold: 1,
        targets_key: "targets".parse().unwrap(),
        how: false.into(),
    };
    init::init(admin.ports(), &begin).await.unwrap();
    let add = AddRequest {
        repository: image.repository().clone(),
        name: "alice".parse().unwrap(),
        keys: vec![admin.key("alice")],
        threshold: 1,
        patterns: vec!["*".parse().unwrap()],
        ends: None,
        enrolment: None,
        how: false.into(),
    };
    signer::add(admin.ports(), &add).await.unwrap();
    let sign = sign::Request {
        image: image.clone(),
        size: Some(3),
        signer: None,
        platforms: false,
        how: false.into(),
        in_registry: None,
        policy: None,
    };
    sign::sign(admin.ports(), &sign).await.unwrap();
    root
}

#[tokio::test]
async fn metadata_that_nobody_renews_gets_stale_and_an_outage_has_its_grace() {
    let server = TestServer::start().await;
    let admin = Desk::of(&server);
    let digest = Sha256Digest::of(b"one").to_oci();
    let image: ImageRef = format!("reg.example.com/team/app:v1@{digest}").parse().unwrap();
    let root = begin(&admin, &image).await;
    let policy = format!(
        "policy = 1\nname = 'x'\n[trust.'reg.example.com/**']\nroot_keys = ['sha256:{root}']\nroot_threshold = 1\n\
         metadata_max_age = '1h'\noffline_grace = '2h'\n[[rule]]\nname = 'app'\nmatch = ['reg.example.com/team/app']\n\
         signing = {{ required = true, signers = ['alice'] }}\n"
    );
    let policy = Policy::parse(&policy).unwrap();
    let mut user = Desk::of(&server);
    let answer = ask(&user, &policy, &image).await;
    assert_eq!((failure(&answer), answer.reference.is_some()), (None, true), "{answer:?}");
    let until = answer.verdict.valid_until.unwrap();
    // The server answers, and says nothing new: somebody holds the newer back, or renews nothing.
    server.clock.advance(HOUR + 1);
    assert!(until.is_over(server.clock.now()), "{until}");
    let answer = ask(&user, &policy, &image).await;
    assert_eq!((failure(&answer), answer.reference), (Some("meta.stale"), None));
    // It is down: for a while what was accepted before will do.
    user.server = Box::new(NoServer);
    assert_eq!(failure(&ask(&user, &policy, &image).await), None);
    server.clock.advance(2 * HOUR);
    assert_eq!(failure(&ask(&user, &policy, &image).await), Some("meta.stale"));
    // Who never saw anything has nothing to go by.
    let mut fresh = Desk::of(&server);
    fresh.server = Box::new(NoServer);
    assert_eq!(failure(&ask(&fresh, &policy, &image).await), Some("trust.no_data"));
}
