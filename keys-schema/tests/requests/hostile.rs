//! Requests and signatures with one thing wrong, which only the rule in question finds.

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::json::Json;
use bulla_keys_schema::key::KeyId;
use bulla_keys_schema::metadata::{Denial, Version};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::{MergeError, OpenError, SigningRequest};
use bulla_keys_schema::verify::submission::{CurrentState, Rejection};
use bytes::Bytes;

use crate::fixture::{
    ALICE, BOB, CAROL, DAVE, MALLORY, bare, next_root, open, proposed, replace_carol, repo, signatures, state,
};
use crate::support::{DIALECT, Doc, Repo, TestKey, delegation, later, lists, now, repository, time};

fn refused(request: SigningRequest) -> OpenError {
    request.open(&repository(), Some(&state()), now()).unwrap_err()
}

/// The honest request, with another document of root in it.
fn with_root(edit: impl FnOnce(&mut Doc)) -> SigningRequest {
    let mut doc = Doc::new(&next_root(&[ALICE, BOB, DAVE], 2), &[ALICE]);
    edit(&mut doc);
    SigningRequest { documents: [(RoleName::Root, doc.bytes())].into(), ..replace_carol() }
}

#[test]
fn the_request_of_these_tests_is_good() {
    open(with_root(|_| {}));
}

#[test]
fn what_was_decided_meanwhile_makes_a_request_stale() {
    let mut after = repo();
    let next = Doc::new(&next_root(&[ALICE, BOB, CAROL], 2), &[ALICE, BOB]);
    after.roots.push(next);
    let after = CurrentState::load(DIALECT, &after.documents()).unwrap();
    let error = replace_carol().open(&repository(), Some(&after), now()).unwrap_err();
    assert!(error.is_stale() && !error.is_over());
    assert_eq!(error.to_string(), "it builds on root v1, the current one is v2");
    let error = replace_carol().open(&repository(), None, now()).unwrap_err();
    assert!(error.is_stale(), "the repository is gone: {error}");
}

#[test]
fn a_base_with_the_same_version_and_other_bytes_is_stale() {
    let mut request = replace_carol();
    let root = request.base.get_mut(&RoleName::Root).unwrap();
    root.sha256 = Sha256Digest::of(b"another root");
    assert!(refused(request).is_stale());
}

#[test]
fn a_base_names_exactly_what_the_request_builds_on() {
    let targets = Doc::new(&lists("targets", &[]), &[]).set_number("version", 2).bytes();
    let whole = bare([(RoleName::Targets, targets)]).with_base(Some(&state())).unwrap();
    open(whole.clone());
    let mut less = whole.clone();
    less.base.remove(&RoleName::Targets);
    assert_eq!(refused(less), OpenError::Base);
    let mut more = replace_carol();
    more.base.extend(whole.base);
    assert_eq!(refused(more), OpenError::Base, "it would become stale for nothing");
    let none = SigningRequest { base: [].into(), ..replace_carol() };
    assert!(refused(none).is_stale());
}

#[test]
fn nobody_signs_what_is_over() {
    let at = |text| replace_carol().open(&repository(), Some(&state()), time(text));
    assert!(at("2030-01-07T23:59:59Z").is_ok());
    let error = at("2030-01-08T00:00:00Z").unwrap_err();
    assert!(error.is_over() && !error.is_stale());
    let far = SigningRequest {
        created_at: time("2030-03-01T00:00:00Z"),
        not_after: time("2030-05-30T00:00:00Z"),
        ..replace_carol()
    };
    assert!(matches!(refused(far), OpenError::TooLong { .. }), "made in the future");
}

#[test]
fn a_request_is_for_one_repository() {
    let other: bulla_keys_schema::names::RepositoryName = "registry.example.com/team/other".parse().unwrap();
    let error = replace_carol().open(&other, Some(&state()), now()).unwrap_err();
    assert!(matches!(error, OpenError::OtherRepository { .. }));
    // The same documents under another name: they say themselves what they are for.
    let renamed = SigningRequest { repository: other.clone(), ..replace_carol() };
    let error = renamed.open(&other, Some(&state()), now()).unwrap_err();
    assert_eq!(error.to_string(), "root: the document is made for registry.example.com/team/app");
}

#[test]
fn documents_that_no_upload_could_bring_are_refused_at_once() {
    let cases: Vec<(&str, SigningRequest)> = vec![
        (
            "root has version 3, expected 2",
            with_root(|doc| {
                doc.set_number("version", 3);
            }),
        ),
        (
            "root has version 1, expected 2",
            with_root(|doc| {
                doc.set_number("version", 1);
            }),
        ),
        (
            "root expired at 2029-01-01T00:00:00Z",
            with_root(|doc| {
                doc.set("expires", "2029-01-01T00:00:00Z");
            }),
        ),
        (
            "root: consistent_snapshot must be true",
            with_root(|doc| {
                doc.set("consistent_snapshot", Json::Bool(false));
            }),
        ),
        (
            "root: the threshold is higher than the number of keys",
            with_root(|doc| {
                doc.set_number("roles/root/threshold", 4);
            }),
        ),
        (
            // The keys that the server signs with decide nothing else.
            "which this server holds",
            with_root(|doc| {
                doc.trust("roles/targets", &[Repo::SNAPSHOT], 1);
            }),
        ),
        ("the upload holds no metadata", SigningRequest { documents: [].into(), ..replace_carol() }),
    ];
    for (wanted, request) in cases {
        let error = refused(request);
        assert!(matches!(error, OpenError::Rejected(_)), "{wanted}: {error}");
        assert!(error.to_string().contains(wanted), "{wanted}: {error}");
    }
}

#[test]
fn documents_of_targets_are_held_to_the_same_rules() {
    let request = |edit: &dyn Fn(&mut Doc)| {
        let mut doc = Doc::new(&lists("targets", &["v1"]), &[]);
        doc.set_number("version", 2);
        edit(&mut doc);
        bare([(RoleName::Targets, doc.bytes())]).with_base(Some(&state())).unwrap()
    };
    open(request(&|_| {}));
    type Case<'a> = (&'a str, &'a dyn Fn(&mut Doc));
    let cases: [Case<'_>; 4] = [
        ("targets has version 3, expected 2", &|doc| {
            doc.set_number("version", 3);
        }),
        ("targets expired at 2029-01-01T00:00:00Z", &|doc| {
            doc.set("expires", "2029-01-01T00:00:00Z");
        }),
        ("target names must be relative paths", &|doc| {
            doc.edit(|signed| {
                let Some(Json::Object(targets)) = signed.get_mut("targets") else { panic!("no targets") };
                let info = targets.remove("v1").unwrap();
                targets.insert("../v1".to_owned(), info);
            });
        }),
        ("the document is made for registry.example.com/team/other", &|doc| {
            doc.set("x_bulla_repository", "registry.example.com/team/other");
        }),
    ];
    for (wanted, edit) in cases {
        let error = refused(request(edit)).to_string();
        assert!(error.contains(wanted), "{wanted}: {error}");
    }
}

/// One that is signed as the list of a harmless role could be uploaded as another.
#[test]
fn a_document_says_which_role_it_is_of() {
    let mut doc = Doc::new(&lists("targets", &["v1"]), &[]);
    doc.set_number("version", 2);
    open(bare([(RoleName::Targets, doc.bytes())]).with_base(Some(&state())).unwrap());
    doc.remove("x_bulla_role");
    let error = refused(bare([(RoleName::Targets, doc.bytes())]).with_base(Some(&state())).unwrap());
    assert_eq!(error.to_string(), "targets: the document must say which role it is of");
}

/// The upload would be refused, and until then a signed document would go round.
#[test]
fn nobody_is_asked_to_sign_a_denied_digest() {
    let mut before = repo();
    let list = delegation("revocations", &[Repo::TARGETS], &["sha256/*"]);
    before.delegate("targets", &list).targets.signed_by(&[Repo::TARGETS]);
    let denial = Denial {
        digest: Sha256Digest::of(Repo::MANIFEST),
        revoked_at: Some(now()),
        reason: None,
        revoked_by: [].into(),
    };
    let mut edit = TargetsEdit::new(DIALECT, "revocations".parse().unwrap(), Version::FIRST, later());
    edit.deny(&denial, None);
    let list = edit.for_repository(Some(repository())).finish();
    before.delegated.insert("revocations".to_owned(), Doc::new(&list, &[Repo::TARGETS]));
    let current = CurrentState::load(DIALECT, &before.documents()).unwrap();
    let open = |names: &[&str]| {
        let doc = Doc::new(&lists("alice", names), &[]).set_number("version", 2).bytes();
        let request = bare([("alice".parse().unwrap(), doc)]).with_base(Some(&current)).unwrap();
        request.open(&repository(), Some(&current), now()).map(drop)
    };
    assert_eq!(open(&[]), Ok(()));
    let refused = open(&["v9"]).unwrap_err();
    assert!(matches!(refused, OpenError::Rejected(Rejection::DeniedDigest { .. })), "{refused}");
}

#[test]
fn one_key_under_two_ids_is_refused() {
    let request = with_root(|doc| {
        doc.trust_as("roles/root", "another-name-for-bob", BOB.object());
    });
    assert!(matches!(
        refused(request),
        OpenError::Rejected(Rejection::DuplicateKey { .. }) | OpenError::Document { .. }
    ));
}

#[test]
fn an_envelope_brings_no_foreign_role() {
    for (role, doc) in [
        ("snapshot", Doc::new(&lists("targets", &[]), &[])),
        ("timestamp", Doc::new(&lists("targets", &[]), &[])),
        ("mallory", Doc::new(&lists("mallory", &["v1"]), &[MALLORY])),
    ] {
        let mut request = replace_carol();
        request.documents.insert(role.parse().unwrap(), doc.bytes());
        let error = refused(request);
        assert!(
            matches!(
                error,
                OpenError::Rejected(Rejection::OnlineRole { .. } | Rejection::NotDelegated { .. })
            ),
            "{role}: {error}"
        );
    }
    // The document of one role in the place of another.
    let mut request = replace_carol();
    request
        .documents
        .insert(RoleName::Targets, Doc::new(&lists("alice", &["v1"]), &[]).set_number("version", 2).bytes());
    assert_eq!(refused(request).to_string(), "targets: the document says that it is of role alice");
}

#[test]
fn what_stays_must_stay_signed() {
    // New targets keys, and the targets of before.
    let request = with_root(|doc| {
        doc.trust("roles/targets", &[DAVE], 1);
    });
    assert_eq!(refused(request), OpenError::Orphan { role: RoleName::Targets });
}

#[test]
fn signatures_that_are_none_are_not_carried() {
    let id = |key: TestKey| key.id().as_str().to_owned();
    let cases: Vec<(&str, SigningRequest)> = vec![
        (
            "of a key without a role",
            with_root(|doc| {
                doc.signed_as(&id(MALLORY), MALLORY);
            }),
        ),
        (
            "under the id of another",
            with_root(|doc| {
                doc.signed_as(&id(BOB), MALLORY);
            }),
        ),
        (
            "empty",
            with_root(|doc| {
                doc.bad_signature(&id(BOB), b"");
            }),
        ),
        (
            "over other bytes",
            with_root(|doc| {
                doc.bad_signature(&id(BOB), &BOB.sign(b"something else"));
            }),
        ),
        (
            "moved from another request",
            with_root(|doc| {
                doc.rewrite("2031-01-01", "2031-01-02");
            }),
        ),
    ];
    for (name, request) in cases {
        assert!(matches!(refused(request), OpenError::Signature { .. }), "{name}");
    }
}

#[test]
fn files_must_be_listed() {
    let request = SigningRequest { files: vec![Bytes::from_static(b"a manifest")], ..replace_carol() };
    assert!(matches!(refused(request), OpenError::Rejected(Rejection::UnlistedFile { .. })));
}

#[test]
fn the_same_key_counts_once() {
    let mut request = open(replace_carol());
    let file = signatures(&request, BOB);
    assert_eq!(request.merge(&file).unwrap().added.len(), 1);
    let before = request.request().to_bytes();
    let again = request.merge(&file).unwrap();
    assert!(again.added.is_empty() && again.known.len() == 1);
    assert_eq!(request.request().to_bytes(), before);
    // Twice in one file, and by Alice, who signed when she made the request.
    let mut request = open(replace_carol());
    let mut twice = file.clone();
    twice.signatures.extend(file.signatures.clone());
    let merged = request.merge(&twice).unwrap();
    assert_eq!((merged.added.len(), merged.known.len()), (1, 1));
    assert!(signatures(&request, ALICE).signatures.is_empty());
    assert_eq!(request.status().documents[0].counts[0].signed.len(), 2);
}

#[test]
fn signatures_are_taken_whole_or_not_at_all() {
    let good = signatures(&open(replace_carol()), BOB);
    let spoil = |edit: &dyn Fn(&mut bulla_keys_schema::request::SignatureFile)| {
        let (mut request, mut file) = (open(replace_carol()), good.clone());
        file.signatures.extend(good.signatures.clone());
        edit(&mut file);
        let before = request.request().clone();
        let error = request.merge(&file).unwrap_err();
        assert_eq!(request.request(), &before, "{error}");
        error
    };
    let key = BOB.fingerprint();
    let role = RoleName::Root;
    assert!(matches!(
        spoil(&|file| file.request = bulla_keys_schema::request::RequestId::from_bytes([8; 16])),
        MergeError::OtherRequest { .. }
    ));
    assert!(matches!(
        spoil(&|file| file.repository = "registry.example.com/other".parse().unwrap()),
        MergeError::OtherRepository { .. }
    ));
    assert_eq!(
        spoil(&|file| file.signatures[1].role = RoleName::Targets),
        MergeError::UnknownDocument { role: RoleName::Targets }
    );
    assert_eq!(
        spoil(&|file| file.signatures[1].payload_sha256 = Sha256Digest::of(b"")),
        MergeError::OtherPayload { role: role.clone() }
    );
    assert_eq!(
        spoil(&|file| file.signatures[1].key = MALLORY.fingerprint()),
        MergeError::NoRole { role: role.clone(), key: MALLORY.fingerprint() }
    );
    let another = CAROL.fingerprint();
    assert_eq!(
        spoil(&|file| file.signatures[1].key = another),
        MergeError::BadSignature { role: role.clone(), key: another },
        "the signature of one key in the name of another"
    );
    assert_eq!(spoil(&|file| file.signatures[0].signature.clear()), MergeError::BadSignature { role, key });
}

#[test]
fn a_signature_over_one_request_does_not_fit_another() {
    let other = bare([(RoleName::Root, proposed(&next_root(&[ALICE, BOB, MALLORY], 1), &[ALICE]))]);
    let other = open(other.with_base(Some(&state())).unwrap());
    let mut request = open(replace_carol());
    // The id is the same: only the digest of what was signed tells the two apart.
    let file = signatures(&other, BOB);
    assert_eq!(request.merge(&file).unwrap_err(), MergeError::OtherPayload { role: RoleName::Root });
    assert_ne!(request.digest(), other.digest());
    let mut forged = file;
    forged.signatures[0].payload_sha256 = request.status().documents[0].payload_sha256;
    assert!(matches!(request.merge(&forged).unwrap_err(), MergeError::BadSignature { .. }));
}

#[test]
fn ids_of_keys_come_from_the_documents_alone() {
    let mut request = open(replace_carol());
    let file = signatures(&request, BOB);
    request.merge(&file).unwrap();
    let text = String::from_utf8(request.documents()[0].2.to_vec()).unwrap();
    let id: KeyId = BOB.id();
    assert_eq!(text.matches(&format!("\"keyid\":\"{id}\"")).count(), 1, "{text}");
    assert_eq!(request.documents()[0].1, Version::new(2).unwrap());
}
