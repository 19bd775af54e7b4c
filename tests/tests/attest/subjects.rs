//! Which image a report is of, where the registry has an index, an archive was scanned, or nothing is said.

use bulla_tests::simulator::{OCI_INDEX, OCI_MANIFEST};
use bytes::Bytes;

use super::*;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";

/// An image for one processor, in the registry of `desk`: its manifest and its configuration.
pub(super) fn push(desk: &Desk<'_>, architecture: &str) -> (Sha256Digest, Sha256Digest) {
    let layer = Sha256Digest::of(architecture.as_bytes()).to_oci();
    let config = json!({"os": "linux", "architecture": architecture, "rootfs": {"type": "layers", "diff_ids": [layer]}});
    let config = Bytes::from(config.to_string());
    let size = config.len();
    let config = desk.registry.kept().put_blob(NAME, config);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": CONFIG, "digest": config.to_oci(), "size": size},
        "layers": [],
    });
    let digest = desk.registry.kept().put(NAME, None, manifest.to_string().into(), OCI_MANIFEST);
    (digest, config)
}

/// An index of images, as tag `1`.
pub(super) fn push_index(desk: &Desk<'_>, images: &[(&str, Sha256Digest)]) -> Sha256Digest {
    let entry = |(architecture, digest): &(&str, Sha256Digest)| {
        json!({"mediaType": OCI_MANIFEST, "digest": digest.to_oci(), "size": 1,
            "platform": {"os": if *architecture == "unknown" { "unknown" } else { "linux" }, "architecture": architecture}})
    };
    let index = json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": images.iter().map(entry).collect::<Vec<_>>()});
    desk.registry.kept().put(NAME, Some("1"), index.to_string().into(), OCI_INDEX)
}

fn with_id(mut report: Value, id: Sha256Digest) -> Value {
    report["Metadata"]["ImageID"] = id.to_oci().into();
    report
}

#[tokio::test]
async fn a_report_is_attested_of_what_it_is_about() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let ((amd, amd_config), (arm, arm_config)) = (push(&desk, "amd64"), push(&desk, "arm64"));
    let index = push_index(&desk, &[("amd64", amd), ("arm64", arm), ("unknown", Sha256Digest::of(b"x"))]);

    // A scanner names the index that it asked for, and the image that it looked at.
    let made = attest(&desk, &with_id(trivy(index, 1), amd_config)).await.unwrap();
    assert_eq!(made.subject, amd);
    assert_eq!(attest(&desk, &trivy(arm, 2)).await.unwrap().subject, arm);
    assert_eq!(attest(&desk, &trivy(index, 3)).await.unwrap().subject, index);
    let other = Sha256Digest::of(b"other");
    for wrong in [trivy(other, 0), with_id(trivy(index, 0), other)] {
        let refused = attest(&desk, &wrong).await.unwrap_err();
        assert!(matches!(refused, AttestError::OtherImage { .. }), "{refused}");
    }
    let mut of_arm = request(predicate(&with_id(trivy(index, 4), arm_config)).unwrap());
    of_arm.image = format!("{NAME}@{}", arm.to_oci()).parse().unwrap();
    assert_eq!(attest::attest(desk.ports(), &of_arm).await.unwrap().subject, arm);
    of_arm.image = format!("{NAME}@{}", amd.to_oci()).parse().unwrap();
    let refused = attest::attest(desk.ports(), &of_arm).await.unwrap_err();
    assert!(matches!(refused, AttestError::OtherImage { .. }), "{refused}");

    sign_tag(&desk, None).await.unwrap();
    let seen = found(&desk).await;
    let mut subjects: Vec<Sha256Digest> = seen.iter().map(|found| found.subject).collect();
    subjects.sort();
    let mut expected = vec![amd, arm, arm, index];
    expected.sort();
    assert_eq!(subjects, expected, "of the index and of all its images");
    assert!(seen.iter().all(|found| found.standing.is_ok()));
}

#[tokio::test]
async fn the_only_image_of_an_index_is_the_index() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let (amd, config) = push(&desk, "amd64");
    let index = push_index(&desk, &[("amd64", amd), ("unknown", Sha256Digest::of(b"x"))]);
    assert_eq!(attest(&desk, &with_id(trivy(index, 1), config)).await.unwrap().subject, index);
}

#[tokio::test]
async fn layers_and_ids_name_an_image_too() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let (image, config) = push(&desk, "amd64");
    let mut report = trivy(image, 1);
    report["Metadata"] = json!({ "ImageID": config.to_oci() });
    let mut wanted = request(predicate(&report).unwrap());
    wanted.image = format!("{NAME}@{}", image.to_oci()).parse().unwrap();
    assert_eq!(attest::attest(desk.ports(), &wanted).await.unwrap().subject, image);
    for (layer, fits) in [("amd64", true), ("arm64", false)] {
        report["Metadata"] = json!({ "DiffIDs": [Sha256Digest::of(layer.as_bytes()).to_oci()] });
        wanted.predicate = predicate(&report).unwrap();
        let attested = attest::attest(desk.ports(), &wanted).await;
        assert_eq!(attested.is_ok(), fits, "{layer}: {attested:?}");
    }
}

#[tokio::test]
async fn a_report_of_no_image_is_marked() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let mut report = trivy(image, 1);
    report["Metadata"] = json!({});
    let refused = attest(&desk, &report).await.unwrap_err();
    assert!(matches!(refused, AttestError::Unbound), "{refused}");
    let mut unbound = request(predicate(&report).unwrap());
    unbound.unbound = true;
    attest::attest(desk.ports(), &unbound).await.unwrap();
    let seen = found(&desk).await;
    assert!(seen[0].standing.as_ref().unwrap().attestation.is_unbound());
}

#[tokio::test]
async fn a_digest_with_its_size_needs_no_registry() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let image = Sha256Digest::of(b"somewhere else");
    let mut offline = request(predicate(&trivy(image, 1)).unwrap());
    offline.image = format!("{NAME}@{}", image.to_oci()).parse().unwrap();
    assert!(matches!(attest::attest(desk.ports(), &offline).await, Err(AttestError::Registry(_))));
    offline.size = Some(14);
    let made = attest::attest(desk.ports(), &offline).await.unwrap();
    assert_eq!((made.subject, made.in_registry.len()), (image, 0));
}
