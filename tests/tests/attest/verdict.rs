//! What a policy makes of an index whose signer lies about its images, and of a report that is held back.

use bulla::flow::verdict::{Question, judge};
use bulla::port::Wanted;
use bulla_keys_schema::attest::{IN_TOTO, Kind};
use bulla_keys_schema::metadata::{ChildFacts, ImageFacts, TargetInfo};
use bulla_keys_schema::policy::{CheckId, Policy, Verdict};
use bytes::Bytes;

use super::insider::{entry, envelope, list, now, secret};
use super::subjects::{push, push_index};
use super::*;

/// A repository with a signer and an attester, and a policy that wants a clean scan.
async fn begin_judged(desk: &Desk<'_>) -> Policy {
    let (begun, _) = begin(desk).await;
    add(desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    add(desk, "alice", desk.key("alice"), "*").await.unwrap();
    let root = begun.root_digest.unwrap().to_oci();
    let text = format!(
        "policy = 1\nname = 'p'\n[trust.'{NAME}']\nroot = '{root}'\n[[rule]]\nname = 'r'\nmatch = ['{NAME}']\n\
         signing = {{ required = true, signers = ['alice'] }}\n[[rule.attestation]]\nname = 's'\ntype = 'vulns'\n\
         signers = ['ci-trivy']\nmax_high = 0\n"
    );
    Policy::parse(&text).unwrap()
}

async fn verdict(desk: &Desk<'_>, policy: &Policy, compares: bool) -> Verdict {
    let image = format!("{NAME}:1").parse().unwrap();
    let question = Question { policy, image: &image, platform: None, compares };
    judge(desk.ports(), question).await.unwrap().verdict
}

/// A clean scan of `image`, as the attester lists it.
fn scan(desk: &Desk<'_>, image: Sha256Digest) -> Bytes {
    let declared = Declared { arguments: Some("image".to_owned()), database_at: None };
    let report = trivy(image, 0).to_string();
    let predicate = Predicate::of_report(report.as_bytes(), None, &declared).unwrap();
    envelope(&secret(desk), IN_TOTO, &predicate.statement("n", image).unwrap().0)
}

#[tokio::test]
async fn a_signer_cannot_put_a_scanned_image_in_the_place_of_one_in_the_index() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let policy = begin_judged(&desk).await;
    let ((clean, _), (bad, _)) = (push(&desk, "amd64"), push(&desk, "arm64"));
    let clean_scan = scan(&desk, clean);
    list(&desk, "ci-trivy", &[entry(clean, Kind::Vulns, &clean_scan)], vec![clean_scan]).await;
    for (within, allowed) in [(clean, true), (bad, false)] {
        let index = push_index(&desk, &[("amd64", within)]);
        sign_tag(&desk, Some("alice")).await.unwrap();
        let served = desk.ports().registry.manifest(&repository(), &Wanted::Digest(index)).await;
        let size = served.unwrap().size();
        // Whatever is in the index, alice says that it is the clean image.
        let child = ChildFacts { platform: "linux/amd64".parse().unwrap(), digest: clean, facts: None };
        let said = TargetInfo::signed(index, size, now()).with_facts(&ImageFacts::Index(vec![child]));
        list(&desk, "alice", &[("1".to_owned(), said)], vec![]).await;
        for compares in [true, false] {
            let verdict = verdict(&desk, &policy, compares).await;
            assert_eq!(verdict.is_allowed(), allowed, "{compares}: {verdict:#?}");
            let failed = verdict.first_failure().map(|check| check.id);
            assert_eq!(failed, (!allowed).then_some(CheckId::AttMissing));
        }
    }
}

#[tokio::test]
async fn who_holds_a_report_of_the_index_back_gains_nothing_by_an_older_one_of_its_image() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let policy = begin_judged(&desk).await;
    let (image, _) = push(&desk, "amd64");
    let index = push_index(&desk, &[("amd64", image)]);
    sign_tag(&desk, Some("alice")).await.unwrap();
    let clean = scan(&desk, image);
    let older = entry(image, Kind::Vulns, &clean);
    list(&desk, "ci-trivy", std::slice::from_ref(&older), vec![clean.clone()]).await;
    assert!(verdict(&desk, &policy, true).await.is_allowed());
    let (name, mut newer) = entry(index, Kind::Vulns, &Bytes::from_static(b"held back"));
    newer = TargetInfo::signed(newer.hashes.as_sha256().unwrap(), newer.length, now().plus_seconds(60));
    list(&desk, "ci-trivy", &[older, (name, newer)], vec![clean]).await;
    let verdict = verdict(&desk, &policy, true).await;
    assert_eq!(verdict.first_failure().map(|check| check.id), Some(CheckId::AttMissing), "{verdict:#?}");
}
