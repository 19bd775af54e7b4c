//! What whoever may push to a registry can put beside an image, and what it proves: nothing.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::attest::write_statement;
use crate::key::SecretKey;
use crate::sigstore::image_statement;

const REPOSITORY: &str = "localhost:5000/team/app";
const SCANNED: &str = "https://cosign.sigstore.dev/attestation/vuln/v1";

fn image() -> Sha256Digest {
    Sha256Digest::of(b"the manifest")
}

fn secret(seed: u8) -> SecretKey {
    SecretKey::from_seed(KeyAlgorithm::EcdsaP256, &[seed; 32].into()).unwrap()
}

fn alice() -> SecretKey {
    secret(1)
}

fn mallory() -> SecretKey {
    secret(2)
}

fn texts(texts: &[(&str, &str)]) -> BTreeMap<String, String> {
    texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

fn question(keys: &[&SecretKey], threshold: usize) -> Question {
    let keys: Vec<PublicKey> = keys.iter().map(|key| key.public_key().clone()).collect();
    Question::new(&REPOSITORY.parse().unwrap(), image(), &keys, threshold).unwrap()
}

fn signed(payload: &[u8], key: &SecretKey) -> Found {
    let signature = Some(STANDARD.encode(key.sign(payload)));
    let origin = Origin::Signature(Sha256Digest::of(payload));
    Found { origin, content: Content::Payload { bytes: payload.to_vec().into(), signature } }
}

fn layer(key: &SecretKey, reference: &str, annotations: &[(&str, &str)]) -> Found {
    signed(&SimpleSigning::new(reference, image(), &texts(annotations)).to_bytes(), key)
}

fn good_layer(key: &SecretKey) -> Found {
    layer(key, "localhost:5000/team/app:v1", &[])
}

fn bundle_of(payload_type: &str, payload: &[u8], key: &SecretKey) -> Found {
    let envelope = Envelope::sign(payload_type, payload, &[key]).unwrap();
    let bytes = Bundle::write(&envelope, key.public_key()).unwrap();
    Found { origin: Origin::Referrer(Sha256Digest::of(&bytes)), content: Content::Bundle(bytes.into()) }
}

fn good_bundle(key: &SecretKey) -> Found {
    bundle_of(IN_TOTO, &image_statement(image(), &BTreeMap::new()), key)
}

fn attested(predicate_type: &str, predicate: &str) -> Vec<u8> {
    write_statement(REPOSITORY, image(), predicate_type, predicate).unwrap()
}

/// A scan that found nothing.
fn scan() -> Vec<u8> {
    let report = r#"{"SchemaVersion":2,"ArtifactName":"a","ArtifactType":"container_image","Trivy":{"Version":"0.50.0"},
        "Results":[{"Target":"a (debian 12.5)","Class":"os-pkgs","Type":"debian"}]}"#;
    let predicate = format!(
        r#"{{"invocation":{{}},"scanner":{{"uri":"pkg:github/aquasecurity/trivy","version":"0.50.0","result":{report}}},
            "metadata":{{"scanStartedOn":"2026-01-01T00:00:00Z","scanFinishedOn":"2026-01-01T00:00:00Z"}}}}"#
    );
    attested(SCANNED, &predicate)
}

/// Nothing is proven by this alone, for that reason; and it neither hides nor spoils what is good.
fn refused(question: &Question, bad: &Found) -> Reason {
    let judgement = question.judge(std::slice::from_ref(bad));
    assert!(!judgement.holds() && judgement.proofs.is_empty(), "{bad:?}");
    let reason = judgement.others[0].reason.clone();
    let reference = format!("{REPOSITORY}:v1");
    let good = SimpleSigning::new(&reference, image(), &question.annotations).to_bytes();
    let all = question.judge(&[bad.clone(), signed(&good, &alice()), bad.clone()]);
    assert!(all.holds() && all.proofs.len() == 1 && all.others.len() == 2, "{bad:?}");
    reason
}

#[test]
fn each_layout_proves_by_itself() {
    let question = question(&[&alice()], 1);
    let judgement = question.judge(&[good_layer(&alice())]);
    assert!(judgement.holds() && judgement.binds_repository());
    assert_eq!(judgement.proofs[0].reference.as_deref(), Some("localhost:5000/team/app:v1"));
    let judgement = question.judge(&[good_bundle(&alice())]);
    assert!(judgement.holds() && !judgement.binds_repository(), "a bundle names no repository");
}

#[test]
fn ed25519_signs_the_bytes_themselves() {
    let key = SecretKey::from_seed(KeyAlgorithm::Ed25519, &[3; 32].into()).unwrap();
    let question = question(&[&key], 1);
    assert!(question.judge(&[good_layer(&key)]).holds());
    assert!(question.judge(&[good_bundle(&key)]).holds());
    // What cosign 3 signs with such a key is over a hash, and another algorithm.
    let payload = SimpleSigning::new(REPOSITORY, image(), &BTreeMap::new()).to_bytes();
    let hashed = STANDARD.encode(key.sign(Sha256Digest::of(&payload).as_bytes()));
    let content = Content::Payload { bytes: payload.into(), signature: Some(hashed) };
    let judgement = question.judge(&[Found { origin: Origin::Signature(image()), content }]);
    assert_eq!(judgement.others[0].reason, Reason::OtherKey);
}

#[test]
fn nothing_proves_nothing() {
    assert!(!question(&[&alice()], 1).judge(&[]).holds());
    let repository: RepositoryName = REPOSITORY.parse().unwrap();
    let ask = |keys: &[PublicKey], threshold| Question::new(&repository, image(), keys, threshold).err();
    let key = alice().public_key().clone();
    assert_eq!(ask(&[], 0), Some(InvalidQuestion::NoKeys));
    assert_eq!(ask(&[], 1), Some(InvalidQuestion::NoKeys));
    let keys = [key.clone(), key];
    assert_eq!(ask(&keys, 0), Some(InvalidQuestion::Threshold { threshold: 0, keys: 1 }));
    assert_eq!(ask(&keys, 2), Some(InvalidQuestion::Threshold { threshold: 2, keys: 1 }));
    assert_eq!(ask(&keys, 1), None);
}

#[test]
fn rsa_keys_are_refused_and_not_passed_over() {
    let text = include_str!("../../../tests/data/keys/rsa-2048.pem");
    let rsa = PublicKey::from_pem(text).unwrap();
    let keys = [alice().public_key().clone(), rsa.clone()];
    let refused = Question::new(&REPOSITORY.parse().unwrap(), image(), &keys, 1).err();
    assert_eq!(refused, Some(InvalidQuestion::Rsa { key: rsa.fingerprint() }));
}

#[test]
fn a_statement_about_the_image_is_no_signature_of_it() {
    let question = question(&[&alice()], 1);
    let scan = bundle_of(IN_TOTO, &scan(), &alice());
    assert_eq!(refused(&question, &scan), Reason::OtherStatement { predicate_type: SCANNED.to_owned() });
    let asked = question.for_attestation(SCANNED);
    assert!(asked.judge(&[scan]).holds());
    // And the other way round.
    assert!(!asked.judge(&[good_bundle(&alice()), good_layer(&alice())]).holds());
}

/// Cosign signs such for whoever gives it a report of a tool that it does not know.
#[test]
fn an_attestation_that_says_nothing_is_none_of_its_type() {
    let empty = r#"{"invocation":{"parameters":null,"uri":"","event_id":"","builder.id":""},
        "scanner":{"uri":"","version":"","db":{"uri":"","version":""},"result":null},
        "metadata":{"scanStartedOn":"0001-01-01T00:00:00Z","scanFinishedOn":"0001-01-01T00:00:00Z"}}"#;
    for (kind, predicate) in [
        (SCANNED, empty),
        (SCANNED, "{}"),
        ("https://in-toto.io/attestation/vulns/v0.2", "{}"),
        ("https://cyclonedx.org/bom", "{}"),
        ("https://cyclonedx.org/bom/v1.5", r#"{"bomFormat":"CycloneDX","specVersion":"1.5"}"#),
        ("https://spdx.dev/Document", "{}"),
        ("https://openvex.dev/ns", "{}"),
    ] {
        let asked = question(&[&alice()], 1).for_attestation(kind);
        for bad in [bundle_of(IN_TOTO, &attested(kind, predicate), &alice()), {
            let envelope = Envelope::sign(IN_TOTO, &attested(kind, predicate), &[&alice()]).unwrap();
            let origin = Origin::Attestation(envelope.digest());
            Found { origin, content: Content::Envelope(envelope.bytes().clone()) }
        }] {
            let judgement = asked.judge(&[bad]);
            assert!(!judgement.holds(), "{kind} {predicate}");
            assert!(matches!(judgement.others[0].reason, Reason::Attestation(_)), "{judgement:?}");
        }
    }
    // What nobody here reads is good by its signature.
    let kind = "https://example.com/review/v1";
    let review = bundle_of(IN_TOTO, &attested(kind, "{}"), &alice());
    assert!(question(&[&alice()], 1).for_attestation(kind).judge(&[review]).holds());
}

#[test]
fn annotations_and_key_must_be_of_one_layer() {
    let question = question(&[&alice()], 1).with_annotations(texts(&[("env", "prod")]));
    let mix = [
        layer(&alice(), REPOSITORY, &[("env", "dev")]),
        layer(&mallory(), REPOSITORY, &[("env", "prod")]),
        bundle_of(IN_TOTO, &image_statement(image(), &texts(&[("env", "prod")])), &mallory()),
        good_bundle(&alice()),
    ];
    assert!(!question.judge(&mix).holds());
    assert_eq!(refused(&question, &mix[0]), Reason::Annotation { name: "env".to_owned() });
    assert_eq!(refused(&question, &mix[1]), Reason::OtherKey);
    assert_eq!(refused(&question, &mix[2]), Reason::OtherKey);
    assert_eq!(refused(&question, &mix[3]), Reason::Annotation { name: "env".to_owned() });
    for good in [
        layer(&alice(), REPOSITORY, &[("env", "prod"), ("more", "x")]),
        bundle_of(IN_TOTO, &image_statement(image(), &texts(&[("env", "prod")])), &alice()),
    ] {
        assert!(question.judge(&[good]).holds());
    }
}

#[test]
fn two_of_two_annotations_on_two_layers_are_not_both() {
    let both = texts(&[("a", "1"), ("b", "2")]);
    let question = question(&[&alice()], 1).with_annotations(both);
    let halves = [layer(&alice(), REPOSITORY, &[("a", "1")]), layer(&alice(), REPOSITORY, &[("b", "2")])];
    assert!(!question.judge(&halves).holds());
}

#[test]
fn one_key_counts_once() {
    let question = question(&[&alice(), &mallory()], 2);
    let twice = [good_layer(&alice()), layer(&alice(), REPOSITORY, &[("n", "2")]), good_bundle(&alice())];
    let judgement = question.judge(&twice);
    assert_eq!((judgement.proofs.len(), judgement.keys().len(), judgement.holds()), (3, 1, false));
    let judgement = question.judge(&[&twice[..], &[good_bundle(&mallory())]].concat());
    assert!(judgement.holds() && !judgement.binds_repository(), "one of the two names no repository");
    assert!(question.judge(&[good_layer(&alice()), good_layer(&mallory())]).binds_repository());
}

#[test]
fn two_spellings_of_a_key_are_one_key() {
    let text = include_str!("../../../tests/data/keys/p256.pem");
    let compressed = include_str!("../../../tests/data/keys/p256-compressed.pem");
    let keys = [PublicKey::from_pem(text).unwrap(), PublicKey::from_pem(compressed).unwrap()];
    let refused = Question::new(&REPOSITORY.parse().unwrap(), image(), &keys, 2).err();
    assert_eq!(refused, Some(InvalidQuestion::Threshold { threshold: 2, keys: 1 }));
}

#[test]
fn signatures_cannot_be_moved() {
    let question = question(&[&alice()], 1);
    let elsewhere = "localhost:5000/team/other:v1";
    for reference in [elsewhere, "team/app", "localhost:5001/team/app", "localhost:5000/team/app/x", ""] {
        let replayed = layer(&alice(), reference, &[]);
        assert_eq!(
            refused(&question, &replayed),
            Reason::OtherRepository { named: reference.to_owned() },
            "{reference}"
        );
    }
    let other = Sha256Digest::of(b"another manifest");
    let moved = signed(&SimpleSigning::new(REPOSITORY, other, &BTreeMap::new()).to_bytes(), &alice());
    assert_eq!(refused(&question, &moved), Reason::OtherImage { named: Some(other) });
    let moved = bundle_of(IN_TOTO, &image_statement(other, &BTreeMap::new()), &alice());
    assert_eq!(refused(&question, &moved), Reason::OtherImage { named: None });
}

#[test]
fn what_is_signed_is_the_bytes() {
    let question = question(&[&alice()], 1);
    let Content::Payload { bytes, signature } = good_layer(&alice()).content else { panic!() };
    let origin = Origin::Signature(image());
    let with = |bytes: Vec<u8>, signature: Option<String>| Found {
        origin,
        content: Content::Payload { bytes: bytes.into(), signature },
    };
    let spaced = [&bytes[..], b" "].concat();
    let text = String::from_utf8(bytes.to_vec()).unwrap().replace(":v1", ":v2");
    for tampered in [spaced, text.into_bytes(), Vec::new()] {
        assert_eq!(refused(&question, &with(tampered, signature.clone())), Reason::OtherKey);
    }
    let of_other_bytes = STANDARD.encode(alice().sign(b"other bytes"));
    assert_eq!(refused(&question, &with(bytes.to_vec(), Some(of_other_bytes))), Reason::OtherKey);
    for none in [None, Some(String::new()), Some("?".to_owned())] {
        assert_eq!(refused(&question, &with(bytes.to_vec(), none)), Reason::NoSignature);
    }
    let long = vec![b' '; SIMPLE_SIGNING_BYTES + 1];
    let signature = Some(STANDARD.encode(alice().sign(&long)));
    assert!(matches!(refused(&question, &with(long, signature)), Reason::TooLarge { .. }));
}

#[test]
fn a_payload_that_a_good_key_signed_is_read_strictly() {
    let question = question(&[&alice()], 1);
    let good = SimpleSigning::new(REPOSITORY, image(), &BTreeMap::new()).to_bytes();
    let good = String::from_utf8(good).unwrap();
    for (from, to) in [
        ("cosign container image signature", "atomic container signature"),
        ("\"optional\":null", "\"optional\":null,\"optional\":null"),
        ("\"critical\":{", "\"critical\":{\"type\":\"x\","),
        ("{\"critical\"", "{\"critical\":{},\"critical\""),
        ("null}", "null} {}"),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good);
        assert!(matches!(refused(&question, &signed(bad.as_bytes(), &alice())), Reason::Payload(_)), "{bad}");
    }
}

#[test]
fn a_bundle_is_judged_by_its_signature_and_not_by_what_it_says_of_itself() {
    let question = question(&[&alice()], 1);
    // A hint at Alice's key, and a signature by Mallory's.
    let statement = image_statement(image(), &BTreeMap::new());
    let envelope = Envelope::sign(IN_TOTO, &statement, &[&mallory()]).unwrap();
    let forged = Bundle::write(&envelope, alice().public_key()).unwrap();
    let origin = Origin::Referrer(image());
    let forged = Found { origin, content: Content::Bundle(forged.into()) };
    assert_eq!(refused(&question, &forged), Reason::OtherKey);

    let Content::Bundle(good) = good_bundle(&alice()).content else { panic!() };
    let good = String::from_utf8(good.to_vec()).unwrap();
    let with = |text: &str| Found { origin, content: Content::Bundle(text.to_owned().into()) };
    // Another key's name, or none, changes nothing.
    let hint = crate::sigstore::key_hint(alice().public_key());
    let other_hint = good.replace(&hint, &crate::sigstore::key_hint(mallory().public_key()));
    assert!(question.judge(&[with(&other_hint)]).holds());
    let named = good.replace("{\"sig\":", "{\"keyid\":\"SHA256:nobody\",\"sig\":");
    assert!(question.judge(&[with(&named)]).holds(), "cosign passes over this one; the signature is good");

    let tampered = good.replace(&STANDARD.encode(&statement), &STANDARD.encode(scan()));
    assert_ne!(tampered, good);
    assert_eq!(refused(&question, &with(&tampered)), Reason::OtherKey);
    let retyped = bundle_of("application/json", &statement, &alice());
    assert_eq!(refused(&question, &retyped), Reason::NoStatement);
    let no_statement = bundle_of(IN_TOTO, b"{}", &alice());
    assert!(matches!(refused(&question, &no_statement), Reason::Statement(_)));
    for broken in ["", "{}", "null", &good[..good.len() - 1]] {
        assert!(matches!(refused(&question, &with(broken)), Reason::Bundle(_)), "{broken}");
    }
}

#[test]
fn a_signature_over_a_payload_is_none_over_a_statement() {
    let question = question(&[&alice()], 1);
    // The bytes of the statement, signed as if they were a payload, and the other way round.
    let statement = image_statement(image(), &BTreeMap::new());
    assert!(matches!(refused(&question, &signed(&statement, &alice())), Reason::Payload(_)));
    let payload = SimpleSigning::new(REPOSITORY, image(), &BTreeMap::new()).to_bytes();
    assert!(matches!(refused(&question, &bundle_of(IN_TOTO, &payload, &alice())), Reason::Statement(_)));
}

#[test]
fn what_is_foreign_is_listed() {
    let question = question(&[&alice()], 1);
    let origin = Origin::Referrer(image());
    let nothing = |reason: Reason| Found { origin, content: Content::Nothing(reason) };
    assert_eq!(refused(&question, &nothing(Reason::Missing)), Reason::Missing);
    let certificate = r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"certificate":{"rawBytes":"AA=="},"tlogEntries":[{}]},"dsseEnvelope":{}}"#;
    let certificate = Found { origin, content: Content::Bundle(certificate.into()) };
    assert_eq!(refused(&question, &certificate), Reason::Certificate);
}
