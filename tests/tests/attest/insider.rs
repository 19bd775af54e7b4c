//! Somebody with the key of an attester, or of a signer, lists what `bulla attest` would not: it is shown
//! with its reason, and counts for nothing.

use std::cell::RefCell;

use bulla::flow::layout::Signers;
use bulla::flow::publish::{self, Edit, Edited, PublishError};
use bulla::flow::sign::{authority, next_version};
use bulla::flow::signing::KeyRing;
use bulla_keys_schema::attest::{
    AttestationPath, Envelope, IN_TOTO, InvalidAttestation, Kind, write_statement,
};
use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{KeyAlgorithm, KeyFileContent, SecretKey};
use bulla_keys_schema::metadata::TargetInfo;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;
use zeroize::Zeroizing;

use super::*;

/// Publishes a document of `role` that lists exactly these.
pub(super) async fn list(desk: &Desk<'_>, role: &str, entries: &[(String, TargetInfo)], files: Vec<Bytes>) {
    let files = RefCell::new(files);
    let plan = |state: &CurrentState, _: &KeyRing<'_>, now: UtcTime| {
        let name = RoleName::Delegated(role.parse().unwrap());
        let signers = Signers::of(state.targets().payload()).unwrap();
        let delegation = signers.all().find(|delegation| delegation.name.as_str() == role).unwrap();
        let version = next_version(state, &name).unwrap();
        let edit = TargetsEdit::new(Dialect::Tuf1, name.clone(), version, now.plus_seconds(1_000_000));
        let mut document = edit.for_repository(state.root().payload().repository.clone()).finish();
        document.targets.extend(entries.iter().cloned());
        let authority = authority(&signers, delegation);
        let documents = vec![Edited { role: name, document, authority }];
        Ok::<_, PublishError>(Edit { documents, files: files.take(), ..Edit::default() })
    };
    publish::publish(desk.ports(), &repository(), false, plan).await.unwrap();
}

pub(super) fn now() -> UtcTime {
    "2030-01-01T00:00:00Z".parse().unwrap()
}

/// An envelope under the name that it should have.
pub(super) fn entry(subject: Sha256Digest, kind: Kind, bytes: &Bytes) -> (String, TargetInfo) {
    let digest = Sha256Digest::of(bytes);
    let path = AttestationPath::new(subject, kind, digest).to_string();
    (path, TargetInfo::signed(digest, bytes.len() as u64, now()))
}

/// The key with which the attester of the test signs envelopes; his documents are signed at the desk.
pub(super) fn secret(desk: &Desk<'_>) -> SecretKey {
    let Ok(KeyFileContent::Encrypted(file)) = desk.ports().keys.private(&"trivy".parse().unwrap()) else {
        panic!("an encrypted key")
    };
    let passphrase = desk.ports().passphrases.existing(&"trivy".parse().unwrap()).unwrap();
    file.open(&passphrase).unwrap()
}

pub(super) fn envelope(key: &SecretKey, payload_type: &str, payload: &[u8]) -> Bytes {
    Envelope::sign(payload_type, payload, &[key]).unwrap().bytes().clone()
}

#[tokio::test]
async fn what_does_not_count_says_why() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let key = secret(&desk);
    let stranger = SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &Zeroizing::new([9; 32])).unwrap();
    let other = Sha256Digest::of(b"other");
    let statement = |subject| predicate(&trivy(subject, 1)).unwrap().statement("n", subject).unwrap().0;
    let good = envelope(&key, IN_TOTO, &statement(image));
    let empty = write_statement("n", image, "https://cosign.sigstore.dev/attestation/vuln/v1", "{}").unwrap();
    let custom = write_statement("n", image, "https://example.com/t", "{\"a\":1}").unwrap();
    let mut tampered = good.to_vec();
    let at = tampered.windows(9).position(|window| window == b"\"payload\"").unwrap() + 14;
    tampered[at] = if tampered[at] == b'A' { b'B' } else { b'A' };

    type Fits = fn(&Unsound) -> bool;
    let not_signed: Fits = |unsound| *unsound == Unsound::Attestation(InvalidAttestation::NotSigned);
    let cases: [(&str, Bytes, Kind, Fits); 9] = [
        ("another key", envelope(&stranger, IN_TOTO, &statement(image)), Kind::Vulns, not_signed),
        ("a tampered payload", tampered.into(), Kind::Vulns, |unsound| {
            matches!(unsound, Unsound::Attestation(_) | Unsound::Envelope(_))
        }),
        (
            "another type of payload",
            envelope(&key, "text/plain", &statement(image)),
            Kind::Vulns,
            |unsound| matches!(unsound, Unsound::Attestation(InvalidAttestation::PayloadType { .. })),
        ),
        ("another image", envelope(&key, IN_TOTO, &statement(other)), Kind::Vulns, |unsound| {
            *unsound == Unsound::OtherImage
        }),
        ("an empty predicate", envelope(&key, IN_TOTO, &empty), Kind::Vulns, |unsound| {
            matches!(unsound, Unsound::Attestation(InvalidAttestation::Report(_)))
        }),
        ("no statement", envelope(&key, IN_TOTO, b"{}"), Kind::Vulns, |unsound| {
            matches!(unsound, Unsound::Attestation(InvalidAttestation::Statement(_)))
        }),
        ("no envelope", Bytes::from_static(b"{}"), Kind::Vulns, |unsound| {
            matches!(unsound, Unsound::Envelope(_))
        }),
        ("another kind", envelope(&key, IN_TOTO, &custom), Kind::Vulns, |unsound| {
            *unsound == Unsound::OtherKind { found: Kind::Other }
        }),
        ("a scan as something else", good.clone(), Kind::Sbom, |unsound| {
            *unsound == Unsound::OtherKind { found: Kind::Vulns }
        }),
    ];
    for (why, bytes, kind, fits) in cases {
        list(&desk, "ci-trivy", &[entry(image, kind, &bytes)], vec![bytes]).await;
        let found = found(&desk).await;
        assert_eq!(found.len(), 1, "{why}");
        assert!(fits(unsound(&found[0])), "{why}: {}", unsound(&found[0]));
    }

    list(&desk, "ci-trivy", &[entry(image, Kind::Vulns, &good)], vec![good.clone()]).await;
    assert_eq!(high(&found(&desk).await), [Some(1)], "the good one counts");
}

#[tokio::test]
async fn names_are_part_of_what_counts() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/*.sbom.*").await.unwrap();
    let statement = predicate(&trivy(image, 1)).unwrap().statement("n", image).unwrap().0;
    let good = envelope(&secret(&desk), IN_TOTO, &statement);
    let (name, info) = entry(image, Kind::Vulns, &good);
    list(&desk, "ci-trivy", &[(name.clone(), info.clone())], vec![good.clone()]).await;
    let seen = found(&desk).await;
    assert_eq!(unsound(&seen[0]), &Unsound::Scope, "outside his pattern");

    let of_other = AttestationPath::new(image, Kind::Vulns, image).to_string();
    for odd in [of_other, name.replace(".json", ""), name.replace("vulns", "vuln"), format!("{name}.json")] {
        list(&desk, "ci-trivy", &[(odd.clone(), info.clone())], vec![good.clone()]).await;
        let seen = found(&desk).await;
        assert_eq!((seen.len(), unsound(&seen[0])), (1, &Unsound::Name), "{odd}");
    }
}

#[tokio::test]
async fn bytes_that_nobody_has_are_missed() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    attest(&desk, &trivy(image, 0)).await.unwrap();
    let bytes = Bytes::from_static(b"never uploaded");
    list(&desk, "ci-trivy", &[entry(image, Kind::Vulns, &bytes)], vec![]).await;
    assert_eq!(unsound(&found(&desk).await[0]), &Unsound::Missing);
    let (name, mut info) = entry(image, Kind::Vulns, &bytes);
    info.length = u64::MAX / 2;
    list(&desk, "ci-trivy", &[(name, TargetInfo { length: 1 << 40, ..info })], vec![]).await;
    assert!(matches!(unsound(&found(&desk).await[0]), Unsound::TooLarge { .. }));
}

#[tokio::test]
async fn an_expired_attester_is_silent() {
    let server = TestServer::start().await;
    let desk = Desk::of(&server);
    let (_, image) = begin(&desk).await;
    add(&desk, "ci-trivy", desk.key("trivy"), "att/**").await.unwrap();
    let statement = predicate(&trivy(image, 1)).unwrap().statement("n", image).unwrap().0;
    let good = envelope(&secret(&desk), IN_TOTO, &statement);
    // A document that lives for a little more than eleven days.
    list(&desk, "ci-trivy", &[entry(image, Kind::Vulns, &good)], vec![good]).await;
    assert_eq!(high(&found(&desk).await), [Some(1)]);
    server.clock.advance(1_000_001);
    server.app.publisher.renew(&repository()).await.unwrap();
    let evidence = look(&desk, ":1").await.unwrap().evidence;
    assert!(evidence.found.is_empty());
    assert_eq!(evidence.silent[0].0.as_str(), "ci-trivy");
}
