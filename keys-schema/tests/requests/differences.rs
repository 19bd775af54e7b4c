//! What a signer sees: every difference, whatever the reason says.

use bulla_keys_schema::json::Json;
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::{Change, Diff, KeyChange, SigningRequest, Warning};

use crate::fixture::{
    ALICE, BOB, CAROL, DAVE, MALLORY, bare, next_root, open, proposed, replace_carol, repo, state,
};
use crate::support::{Doc, Repo, TestKey, delegation};

fn diff(request: SigningRequest) -> Diff {
    open(request).diff()
}

fn root_request(keys: &[TestKey], threshold: u64) -> SigningRequest {
    let root = proposed(&next_root(keys, threshold), &[ALICE]);
    bare([(RoleName::Root, root)]).with_base(Some(&state())).unwrap()
}

/// A request for the targets of the repository after `edit`.
fn targets_request(edit: impl FnOnce(&mut Repo)) -> SigningRequest {
    let mut repo = repo();
    repo.targets.set_number("version", 2).signed_by(&[]);
    edit(&mut repo);
    bare([(RoleName::Targets, repo.targets.bytes())]).with_base(Some(&state())).unwrap()
}

fn key(change: KeyChange, key: TestKey) -> Change {
    let known = Some((key.fingerprint(), key.algorithm()));
    Change::Key { of: RoleName::Root, change, id: key.id(), key: known }
}

#[test]
fn keys_that_come_and_go_are_named() {
    let diff = diff(replace_carol());
    assert_eq!(diff.roles.len(), 1);
    assert_eq!(diff.roles[0].changes, [key(KeyChange::Added, DAVE), key(KeyChange::Removed, CAROL)]);
    assert_eq!(diff.roles[0].before.unwrap().get(), 1);
    assert_eq!(diff.warnings, [Warning::NotProven { key: DAVE.fingerprint() }]);
}

#[test]
fn a_change_does_not_hide_behind_a_harmless_reason() {
    // "routine renewal", says the request.
    let diff = diff(root_request(&[ALICE, BOB, CAROL, MALLORY], 1));
    assert!(diff.roles[0].changes.contains(&key(KeyChange::Added, MALLORY)));
    assert!(diff.warnings.iter().any(|warning| matches!(warning, Warning::ThresholdFalls { .. })));
    assert!(diff.warnings.contains(&Warning::NotProven { key: MALLORY.fingerprint() }));
}

#[test]
fn thresholds_holders_and_replaced_keys_are_warned_of() {
    let warns = |keys: &[TestKey], threshold| diff(root_request(keys, threshold)).warnings;
    assert!(warns(&[ALICE], 1).contains(&Warning::FewHolders { holders: 1 }));
    assert!(warns(&[ALICE, BOB], 2).contains(&Warning::NoSpareKey { keys: 2 }));
    assert!(warns(&[DAVE, MALLORY], 1).contains(&Warning::AllRootKeysReplaced));
    assert_eq!(warns(&[ALICE, BOB, CAROL], 2), []);
    let earlier = SigningRequest {
        documents: [(
            RoleName::Root,
            Doc::new(&next_root(&[ALICE, BOB, CAROL], 2), &[]).set("expires", "2030-06-01T00:00:00Z").bytes(),
        )]
        .into(),
        ..replace_carol()
    };
    let diff = diff(earlier);
    assert!(matches!(diff.roles[0].changes[..], [Change::Expires { .. }]), "{diff:?}");
    assert_eq!(diff.warnings, [Warning::ExpiresEarlier { role: RoleName::Root }]);
}

#[test]
fn members_that_mean_nothing_here_are_shown_too() {
    let with = |edit: &dyn Fn(&mut Doc)| {
        let mut doc = Doc::new(&next_root(&[ALICE, BOB, CAROL], 2), &[]);
        edit(&mut doc);
        let documents = [(RoleName::Root, doc.bytes())].into();
        diff(SigningRequest { documents, ..replace_carol() }).roles[0].changes.clone()
    };
    assert_eq!(with(&|_| {}), []);
    let other = |what: &str| Change::Other { what: what.to_owned() };
    assert_eq!(
        with(&|doc| {
            doc.set("x_policy", "all");
        }),
        [other("x_policy")]
    );
    let unused = with(&|doc| {
        doc.set(&format!("keys/{}", MALLORY.id()), MALLORY.object());
    });
    assert_eq!(unused, [other(&format!("key {}, which no role uses", MALLORY.id()))]);
    let declared = with(&|doc| {
        doc.set(&format!("keys/{}/x_note", ALICE.id()), "hers");
    });
    assert_eq!(declared, [other(&format!("how key {} is declared", ALICE.id()))]);
}

#[test]
fn a_key_that_cannot_be_used_is_warned_of() {
    let mut doc = Doc::new(&next_root(&[ALICE, BOB, CAROL], 2), &[]);
    let object =
        format!("{{\"keytype\":\"x\",\"scheme\":\"x\",\"keyval\":{{\"public\":\"{}\"}}}}", "00".repeat(32));
    doc.trust_as("roles/timestamp", "unknown", Json::parse(object.as_bytes()).unwrap());
    let request = SigningRequest { documents: [(RoleName::Root, doc.bytes())].into(), ..replace_carol() };
    // Such a root would be refused in the end; whoever looks at it is told at once.
    assert!(request.open(&crate::support::repository(), Some(&state()), crate::support::now()).is_err());
}

#[test]
fn delegations_and_tags_are_told_one_by_one() {
    let changes =
        |edit: &dyn Fn(&mut Repo)| diff(targets_request(|repo| edit(repo))).roles[0].changes.clone();
    assert_eq!(changes(&|_| {}), []);
    let added = changes(&|repo| {
        repo.delegate("targets", &delegation("mallory", &[MALLORY], &["*"]));
    });
    assert!(matches!(added[0], Change::DelegationAdded { .. }), "{added:?}");
    assert!(matches!(added[1], Change::Key { change: KeyChange::Added, .. }), "{added:?}");
    let wider = changes(&|repo| {
        repo.targets.set("delegations/roles/0/paths", Json::Array(vec![Json::from("*")]));
    });
    assert!(matches!(wider[..], [Change::Delegation { .. }]), "{wider:?}");
    let ending = changes(&|repo| {
        repo.targets.set("delegations/roles/0/terminating", Json::Bool(true));
    });
    assert!(matches!(ending[..], [Change::Delegation { terminating: true, .. }]), "{ending:?}");
    let file = "{\"length\":3,\"hashes\":{\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}}";
    let tag = changes(&|repo| {
        repo.targets.set("targets/v1", Json::parse(file.as_bytes()).unwrap());
    });
    assert!(matches!(&tag[..], [Change::Target { before: None, after: Some(_), .. }]), "{tag:?}");
    let gone = changes(&|repo| {
        repo.targets.remove("delegations");
    });
    assert!(matches!(gone[..], [Change::DelegationRemoved { .. }]), "{gone:?}");
}

#[test]
fn a_threshold_of_a_signer_that_falls_is_warned_of() {
    let mut before = repo();
    before.targets.trust("delegations/roles/0", &[Repo::ALICE, DAVE], 2);
    before.delegated.clear();
    before.unlisted.insert("alice".to_owned());
    let before = bulla_keys_schema::verify::submission::CurrentState::load(
        crate::support::DIALECT,
        &before.documents(),
    )
    .unwrap();
    let mut repo = repo();
    repo.targets.set_number("version", 2).signed_by(&[]);
    let request = bare([(RoleName::Targets, repo.targets.bytes())]).with_base(Some(&before)).unwrap();
    let request = request.open(&crate::support::repository(), Some(&before), crate::support::now()).unwrap();
    assert!(matches!(request.diff().warnings[..], [Warning::ThresholdFalls { .. }]), "{:?}", request.diff());
}
