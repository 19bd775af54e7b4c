//! The life of attestations: made, replaced, dropped, read from the cache; and whose word they are.

use bulla::adapter::Patience;
use bulla::adapter::connection::Connection;
use bulla::adapter::tuf_http::TufHttp;
use bulla::flow::inspect::inspect;
use bulla::flow::sign::SignError;
use bulla::flow::verify::verify;
use bulla_keys_schema::attest::Kind;

use super::*;

#[tokio::test]
async fn the_newest_comes_first_and_old_ones_go() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (begun, image) = begin(&desk).await;
    let key = desk.key("trivy");
    add(&desk, "ci-trivy", key.clone(), "att/**").await.unwrap();
    assert!(found(&desk).await.is_empty());

    let made = attest(&desk, &trivy(image, 2)).await.unwrap();
    assert_eq!((made.subject, made.role.as_str(), made.attestation.kind), (image, "ci-trivy", Kind::Vulns));
    assert_eq!(made.published.keys.len(), 1, "one passphrase for envelope and document");
    let tag = format!("sha256-{image}.att");
    assert!(desk.registry.kept().manifest(NAME, &tag).is_some(), "cosign looks there");
    server.clock.advance(60);
    attest(&desk, &trivy(image, 0)).await.unwrap();

    let consumer = Desk::of(&server);
    pin(&consumer, &begun, Mode::Spec);
    let seen = found(&consumer).await;
    assert_eq!(high(&seen), [Some(0), Some(2)]);
    let sound = seen[0].standing.as_ref().unwrap();
    assert_eq!(sound.signed_by, [key.fingerprint()].into());
    assert!(seen[0].signed_at > seen[1].signed_at);
    assert_eq!(
        high(&look(&consumer, &format!("@{}", image.to_oci())).await.unwrap().evidence.found).len(),
        2
    );

    server.clock.advance(60);
    let mut keep_one = request(predicate(&trivy(image, 1)).unwrap());
    keep_one.keep = NonZeroUsize::MIN;
    let kept = attest::attest(desk.ports(), &keep_one).await.unwrap();
    assert_eq!(kept.dropped.len(), 2);
    assert_eq!(high(&found(&consumer).await), [Some(1)]);
    server.clock.advance(60);
    let again = attest::attest(desk.ports(), &keep_one).await.unwrap();
    assert_eq!(again.path, kept.path, "the same report is the same attestation");
    assert_eq!(high(&found(&consumer).await), [Some(1)]);
}

#[tokio::test]
async fn a_dry_run_asks_for_nothing_and_changes_nothing() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let mut dry = request(predicate(&trivy(image, 2)).unwrap());
    dry.how = true.into();
    let would = attest::attest(desk.ports(), &dry).await.unwrap();
    assert_eq!((would.path, would.digest, would.published.done), (None, None, false));
    assert_eq!(would.published.roles.len(), 1);
    assert!(found(&desk).await.is_empty());
    assert!(desk.registry.kept().tags(NAME).iter().all(|tag| !tag.ends_with(".att")));
}

#[tokio::test]
async fn an_attester_is_no_signer_of_tags_and_the_other_way_round() {
    let server = TestServer::start().await;
    let admin = Desk::of(&server);
    let (begun, image) = begin(&admin).await;
    let scanner = Desk::of(&server);
    pin(&scanner, &begun, Mode::Spec);
    scanner.registry.push(&format!("{NAME}:1"), "one");
    let key = scanner.key("trivy");
    add(&admin, "ci-trivy", key.clone(), "att/**").await.unwrap();
    // Without a signer of tags, they go on to stand in `targets`.
    sign_tag(&admin, None).await.unwrap();
    let alice = admin.key("alice");
    add(&admin, "alice", alice.clone(), "*").await.unwrap();
    sign_tag(&admin, Some("alice")).await.unwrap();

    let refused = sign_tag(&scanner, None).await.unwrap_err();
    assert!(matches!(refused, SignError::NoSigner { .. }), "{refused}");
    let refused = sign_tag(&scanner, Some("ci-trivy")).await.unwrap_err();
    assert!(matches!(refused, SignError::OutOfScope { .. }), "{refused}");
    let state = inspect(admin.ports(), &repository(), None).await.unwrap();
    let releases = state.roles.iter().find(|role| role.role.as_str() == "releases").unwrap();
    assert!(releases.keys.contains(&alice.fingerprint()) && !releases.keys.contains(&key.fingerprint()));
    assert_eq!(state.signers.len(), 2);

    let refused = attest(&admin, &trivy(image, 0)).await.unwrap_err();
    assert!(matches!(refused, AttestError::NoAttester { .. }), "{refused}");
    let mut as_alice = request(predicate(&trivy(image, 0)).unwrap());
    as_alice.signer = Some("alice".parse().unwrap());
    let refused = attest::attest(admin.ports(), &as_alice).await.unwrap_err();
    assert!(matches!(refused, AttestError::MayNotAttest { .. }), "{refused}");
    attest(&scanner, &trivy(image, 3)).await.unwrap();
    assert_eq!(high(&found(&admin).await), [Some(3)]);

    // Whoever attests has no say in what is released, also when others come and go.
    signer::remove(admin.ports(), &repository(), &"alice".parse().unwrap(), &false.into()).await.unwrap();
    sign_tag(&admin, None).await.unwrap();
    let trusted = verify(admin.ports(), &format!("{NAME}:1").parse().unwrap()).await.unwrap();
    assert_eq!(trusted.signed_by.len(), 1);
    assert_eq!(high(&found(&admin).await), [Some(3)]);
    signer::remove(admin.ports(), &repository(), &"ci-trivy".parse().unwrap(), &false.into()).await.unwrap();
    assert!(found(&admin).await.is_empty(), "with the attester goes what he attested");
}

#[tokio::test]
async fn a_pattern_limits_an_attester_to_one_kind() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-sbom", desk.key("sbom"), "att/*.sbom.*").await.unwrap();
    let refused = attest(&desk, &trivy(image, 0)).await.unwrap_err();
    assert!(matches!(refused, AttestError::NoAttester { .. }), "{refused}");
    let sbom = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "metadata": { "component": {
            "type": "container", "name": "app", "bom-ref": format!("pkg:oci/app@{}", image.to_oci()),
            "purl": format!("pkg:oci/app@{}", image.to_oci().replace(':', "%3A")),
        }},
        "components": [{ "type": "library", "name": "p" }],
    });
    attest(&desk, &sbom).await.unwrap();
    let found = found(&desk).await;
    assert_eq!((found.len(), found[0].kind), (1, Some(Kind::Sbom)));
}

#[tokio::test]
async fn what_was_read_is_read_again_without_the_server() {
    let server = TestServer::start().await;
    let admin = Desk::of(&server);
    let (begun, image) = begin(&admin).await;
    add(&admin, "ci-trivy", admin.key("trivy"), "att/**").await.unwrap();
    attest(&admin, &trivy(image, 2)).await.unwrap();
    let consumer = Desk::of(&server);
    pin(&consumer, &begun, Mode::Spec);
    assert_eq!(high(&found(&consumer).await), [Some(2)]);

    let away = || {
        let nowhere = "http://127.0.0.1:1".parse().unwrap();
        Box::new(TufHttp::new(Connection::new(nowhere, None, None, Patience::default()).unwrap()))
    };
    let home = consumer.home().path().to_owned();
    let consumer = Desk::at(consumer.folder, home.clone(), away(), server.clock.as_ref());
    let seen = look(&consumer, ":1").await.unwrap();
    assert!(seen.offline.is_some());
    assert_eq!(high(&seen.evidence.found), [Some(2)]);

    // What is damaged on the disk is not believed, and cannot be had now.
    let kept = walk(&home.join("cache"));
    assert_eq!(kept.len(), 1, "{kept:?}");
    std::fs::write(&kept[0], "{}").unwrap();
    let gone = look(&consumer, ":1").await.unwrap_err();
    assert!(matches!(gone, VerifyError::Refresh(RefreshError::TargetNotCached { .. })), "{gone}");
}

/// The envelopes in a cache.
fn walk(cache: &std::path::Path) -> Vec<std::path::PathBuf> {
    let folders = std::fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path().join("targets"));
    let files =
        folders.filter(|folder| folder.is_dir()).flat_map(|folder| std::fs::read_dir(folder).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}
