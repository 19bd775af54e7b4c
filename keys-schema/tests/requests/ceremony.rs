//! Honest requests, from the first signature to the upload.

use bulla_keys_schema::author::{RootEdit, TargetsEdit};
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::{KeySet, RequestExport, SignatureFile, SigningRequest, Warning};
use bulla_keys_schema::verify::submission::{Authority, CurrentState};

use crate::fixture::{
    ALICE, BOB, CAROL, DAVE, bare, held, next_root, open, proposed, replace_carol, signatures, spec, state,
};
use crate::support::{DIALECT, Doc, Repo, later, now, repository};

/// Whether the server takes the complete request as an upload.
fn publish(request: &bulla_keys_schema::request::OpenRequest, current: Option<&CurrentState>) -> Version {
    let submission = request.submission().expect("it is complete");
    let (held, repository) = (held(), repository());
    let authority = Authority { held_keys: &held, repository: &repository, now: now() };
    submission.check(DIALECT, current, &authority).unwrap().root().version()
}

#[test]
fn the_last_signature_makes_an_upload_of_a_request() {
    // As it travels: written and read at every step.
    let travel = |request: &SigningRequest| SigningRequest::parse(&request.to_bytes()).unwrap();
    let mut request = open(travel(&replace_carol()));
    assert!(!request.is_complete() && request.submission().is_none());
    let status = request.status();
    let counts = &status.documents[0].counts;
    assert_eq!((counts[0].keys, counts[0].signed.len(), counts[0].missing.len()), (KeySet::Old, 1, 2));
    assert_eq!((counts[1].keys, counts[1].signed.len(), counts[1].missing.len()), (KeySet::New, 1, 2));
    assert_eq!(request.wanted(&CAROL.fingerprint()), [RoleName::Root]);
    assert!(request.wanted(&ALICE.fingerprint()).is_empty(), "she has signed");

    // Carol, who goes, agrees: the old keys are enough, the new ones are not.
    let file = SignatureFile::parse(&signatures(&request, CAROL).to_bytes()).unwrap();
    assert_eq!(request.merge(&file).unwrap().added.len(), 1);
    assert!(request.status().documents[0].counts[0].is_met() && !request.is_complete());

    // Dave, who comes, proves that he holds his key.
    assert!(request.diff().warnings.contains(&Warning::NotProven { key: DAVE.fingerprint() }));
    let mut request = open(travel(request.request()));
    let file = signatures(&request, DAVE);
    request.merge(&file).unwrap();
    assert!(!request.diff().warnings.contains(&Warning::NotProven { key: DAVE.fingerprint() }));
    assert!(request.is_complete());
    assert_eq!(publish(&request, Some(&state())).get(), 2);
}

#[test]
fn a_repository_can_begin_as_a_request() {
    let root = RootEdit::first(
        DIALECT,
        &spec(&[ALICE, BOB, CAROL], 2),
        &spec(&[Repo::TARGETS], 1),
        &spec(&[Repo::SNAPSHOT], 1),
        &spec(&[Repo::TIMESTAMP], 1),
        later(),
    );
    let root = root.unwrap().for_repository(repository()).finish();
    let targets = TargetsEdit::new(DIALECT, RoleName::Targets, Version::FIRST, later());
    let targets = Doc::new(&targets.for_repository(Some(repository())).finish(), &[]);
    let documents = [(RoleName::Root, proposed(&root, &[BOB])), (RoleName::Targets, targets.bytes())];
    let request = bare(documents).with_base(None).unwrap();
    assert!(request.base.is_empty());
    let mut request = request.open(&repository(), None, now()).unwrap();
    assert_eq!(request.diff().roles.len(), 2);
    for key in [CAROL, Repo::TARGETS] {
        assert!(request.submission().is_none());
        let file = signatures(&request, key);
        request.merge(&file).unwrap();
    }
    assert_eq!(publish(&request, None).get(), 1);
    let again = request.request().clone().open(&repository(), Some(&state()), now());
    assert!(again.unwrap_err().is_stale(), "the repository has begun meanwhile");
}

#[test]
fn a_signer_of_two_documents_signs_both() {
    let mut root = next_root(&[ALICE, BOB, CAROL], 2);
    root.targets = root.root.clone();
    let mut targets = repo_targets();
    targets.set_number("version", 2).signed_by(&[]);
    let documents = [(RoleName::Root, proposed(&root, &[])), (RoleName::Targets, targets.bytes())];
    let mut request = open(bare(documents).with_base(Some(&state())).unwrap());
    assert_eq!(request.request().base.len(), 2);
    assert_eq!(request.wanted(&ALICE.fingerprint()), [RoleName::Root, RoleName::Targets]);
    let digest = request.digest();
    for key in [ALICE, BOB] {
        let file = signatures(&request, key);
        assert_eq!(file.signatures.len(), 2);
        request.merge(&file).unwrap();
    }
    assert_eq!(request.digest(), digest, "signatures do not change what is signed");
    assert_eq!(publish(&request, Some(&state())).get(), 2);
}

#[test]
fn an_export_carries_what_is_needed_to_judge() {
    let repo = crate::fixture::repo();
    let roots = repo.roots.iter().map(Doc::bytes).collect();
    let export = RequestExport { request: replace_carol(), roots, documents: repo.documents() };
    let read = RequestExport::parse(&export.to_bytes()).unwrap();
    assert_eq!(read, export);
    let current = CurrentState::load(read.request.dialect, &read.documents).unwrap();
    read.request.open(&repository(), Some(&current), now()).unwrap();
    let alone = RequestExport::parse(&replace_carol().to_bytes()).unwrap();
    assert!(alone.documents.is_empty() && alone.request == replace_carol());
}

fn repo_targets() -> Doc {
    crate::fixture::repo().targets
}
