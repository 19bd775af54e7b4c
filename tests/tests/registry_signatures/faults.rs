//! What goes wrong at any step leaves something that can be repeated, and is told as what it is.

use bulla::flow::cosign::only::OnlyError;
use bulla::flow::cosign::write::{WriteError, WriteFailure};
use bulla::port::RegistryError;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::sigstore::{Attached, FallbackIndex};
use bulla_tests::simulator::{Habits, RegistryFault};
use bytes::Bytes;

use super::desk::{Desk, IMAGE, LISTING};
use super::proofs;

#[tokio::test]
async fn a_write_that_fails_at_any_step_can_be_repeated() {
    for (habits, fault) in
        [(Habits::default(), RegistryFault::Writes(403)), (LISTING, RegistryFault::Writes(400))]
    {
        let mut steps = 0;
        loop {
            let desk = Desk::new(habits);
            desk.keys(&["ci"]);
            let image = desk.registry.push("1.0", IMAGE);
            desk.registry.spoil_after(steps, Some(fault.clone()));
            let signed = desk.sign("1.0", &["ci"]).await;
            let is_done = signed.is_ok();
            if let Err(error) = signed {
                require(&error, &fault);
            }
            desk.registry.spoil(None);
            desk.sign("1.0", &["ci"]).await.unwrap();
            assert_eq!(proofs(&desk, image, "ci").len(), 2, "{fault:?} after {steps} writes");
            let layers = desk.attached(Attached::Signatures, image).layers().len();
            assert_eq!(layers, 1, "{fault:?} after {steps} writes");
            if is_done {
                break;
            }
            steps += 1;
        }
        assert!(steps > 8, "{steps} writes: blobs and manifests");
    }
}

fn require(error: &OnlyError, fault: &RegistryFault) {
    let OnlyError::Write(WriteFailure { error: WriteError::Registry(error), .. }) = error else {
        panic!("{error}");
    };
    match (fault, error) {
        (RegistryFault::Writes(403), RegistryError::MayNotWrite { .. }) => {}
        (RegistryFault::Writes(400), RegistryError::Refused { status: 400, reason: Some(reason), .. }) => {
            assert_eq!(reason, "DENIED, told to refuse");
        }
        _ => panic!("{error}"),
    }
}

#[tokio::test]
async fn a_busy_registry_is_asked_again_and_then_given_up() {
    let desk = Desk::new(LISTING);
    desk.keys(&["ci"]);
    let image = desk.registry.push("1.0", IMAGE);
    desk.registry.spoil_once(RegistryFault::Writes(503));
    desk.sign("1.0", &["ci"]).await.unwrap();
    assert_eq!(proofs(&desk, image, "ci").len(), 2, "once is nothing");
    desk.registry.spoil_once(RegistryFault::Hangup);
    desk.sign("1.0", &["ci"]).await.unwrap();

    desk.keys(&["other"]);
    desk.registry.spoil(Some(RegistryFault::Writes(429)));
    let error = desk.sign("1.0", &["other"]).await.unwrap_err();
    assert!(error.to_string().contains("is asked too often"), "{error}");
    assert!(proofs(&desk, image, "other").is_empty());
}

#[tokio::test]
async fn referrers_that_cannot_be_listed_are_not_taken_for_none() {
    for status in [401, 403, 429, 500] {
        let desk = Desk::new(LISTING);
        desk.keys(&["ci"]);
        let image = desk.registry.push("1.0", IMAGE);
        desk.registry.spoil(Some(RegistryFault::Referrers(status)));
        let error = desk.sign("1.0", &["ci"]).await.unwrap_err();
        let OnlyError::Write(failure) = &error else { panic!("{error}") };
        assert_eq!(failure.written.len(), 1, "the signature is there, and told: {error}");
        assert!(error.to_string().contains(&format!("written before: {}", Attached::Signatures.tag(image))));
        desk.registry.spoil(None);
        desk.sign("1.0", &["ci"]).await.unwrap();
        assert_eq!(proofs(&desk, image, "ci").len(), 2);
    }
}

#[tokio::test]
async fn what_is_in_the_way_is_not_thrown_away() {
    for (tag, bytes) in [
        (".sig", "not JSON"),
        (".sig", r#"{"schemaVersion":2,"manifests":[]}"#),
        (".sig", r#"{"schemaVersion":2,"layers":{}}"#),
        ("", "<html>"),
        ("", r#"{"schemaVersion":2,"manifests":7}"#),
    ] {
        let desk = Desk::new(Habits::default());
        desk.keys(&["ci"]);
        let image = desk.registry.push("1.0", IMAGE);
        let tag = format!("{}{tag}", FallbackIndex::tag(image));
        desk.registry.push(&tag, bytes.as_bytes());
        let error = desk.sign("1.0", &["ci"]).await.unwrap_err();
        assert!(matches!(error, OnlyError::Write(_)), "{error}");
        let (now, _) = desk.registry.kept().manifest("", &tag).unwrap();
        assert_eq!(now, Bytes::from(bytes), "{error}");
    }
}

#[tokio::test]
async fn a_registry_that_forgets_what_it_took_is_found_out() {
    let desk = Desk::new(Habits::default());
    desk.keys(&["ci"]);
    desk.registry.push("1.0", IMAGE);
    desk.registry.spoil(Some(RegistryFault::Forgets));
    let error = desk.sign("1.0", &["ci"]).await.unwrap_err();
    let OnlyError::Write(failure) = &error else { panic!("{error}") };
    assert!(matches!(failure.error, WriteError::Overwritten { .. }), "{error}");
}

#[tokio::test]
async fn blobs_are_hashed_and_bounded() {
    use bulla::port::Registry as _;

    let desk = Desk::new(LISTING);
    let (digest, name) = (desk.blob(b"a blob"), desk.repository());
    assert_eq!(desk.client.blob(&name, digest, 6).await.unwrap(), "a blob");
    let refused = |result: Result<Bytes, RegistryError>| result.unwrap_err();
    let error = refused(desk.client.blob(&name, digest, 5).await);
    assert!(matches!(error, RegistryError::TooLarge { limit: 5, .. }), "{error}");
    let error = refused(desk.client.blob(&name, Sha256Digest::of(b"none"), 5).await);
    assert!(matches!(error, RegistryError::Unknown { .. }), "{error}");
    for (fault, is_right) in [
        (RegistryFault::Instead("b blob".into()), RegistryFaultKind::Mismatch),
        (RegistryFault::Endless, RegistryFaultKind::TooLarge),
        (RegistryFault::Truncated, RegistryFaultKind::Unreachable),
        (RegistryFault::Hangup, RegistryFaultKind::Unreachable),
    ] {
        desk.registry.spoil(Some(fault.clone()));
        let error = refused(desk.client.blob(&name, digest, 1_000).await);
        assert_eq!(RegistryFaultKind::of(&error), Some(is_right), "{fault:?}: {error}");
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RegistryFaultKind {
    Mismatch,
    TooLarge,
    Unreachable,
}

impl RegistryFaultKind {
    fn of(error: &RegistryError) -> Option<Self> {
        match error {
            RegistryError::Mismatch { .. } => Some(Self::Mismatch),
            RegistryError::TooLarge { .. } => Some(Self::TooLarge),
            RegistryError::Unreachable { .. } => Some(Self::Unreachable),
            _ => None,
        }
    }
}
