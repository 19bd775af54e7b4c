//! Documents as large as readers take: what they may hold, and what it costs to read them.

use std::time::{Duration, Instant};

use bulla_keys_schema::dialect::{Document, Envelope, InvalidMetadata};
use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{Root, Snapshot, Targets};
use bytes::Bytes;

use crate::papers::{
    ALICE, BOB, Holder, Papers, ROOT, bare, certificate, declared, delegate, info, lists, members, name,
    sign, trust,
};
use crate::server::Server;
use crate::uploads::{Row, next, try_all};
use crate::{DIALECT, Doc, TestKey, repository, samples};

/// What a document may cost, without optimisation and on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a document in the time that everybody has.
fn read<D: Document>(bytes: &Bytes) -> Result<D, InvalidMetadata> {
    let start = Instant::now();
    Envelope::parse(DIALECT, bytes)?;
    let whole = Json::parse(bytes).unwrap();
    let mut signed = whole.as_object().unwrap().get("signed").unwrap().as_object().unwrap().clone();
    let document = D::decode(DIALECT, &mut signed);
    assert!(start.elapsed() < PATIENCE, "{:?} for {} bytes", start.elapsed(), bytes.len());
    document
}

fn unsigned(edit: impl FnOnce(&mut Doc)) -> Bytes {
    let mut doc = sign(&lists(&["v1"]), &[]);
    edit(&mut doc);
    doc.bytes()
}

fn with_keys(keys: impl Iterator<Item = (bulla_keys_schema::key::KeyId, Json)>) -> Bytes {
    let keys: Object = keys.map(|(id, object)| (id.as_str().to_owned(), object)).collect();
    unsigned(|doc| {
        doc.set("delegations/keys", Json::Object(keys));
    })
}

#[test]
fn as_many_keys_as_fit() {
    // RSA, each with another modulus.
    let spki = samples::rsa().to_spki_der().to_vec();
    let rsa = |number: usize| {
        let mut spki = spki.clone();
        spki[100..102].copy_from_slice(&u16::try_from(number).unwrap().to_be_bytes());
        declared("rsa", &spki)
    };
    let targets: Targets = read(&with_keys((0..limits::KEYS).map(rsa))).unwrap();
    let keys = targets.delegations.unwrap().keys;
    assert_eq!(keys.values().filter(|entry| entry.key.is_some()).count(), limits::KEYS);
    let refused = read::<Targets>(&with_keys((0..=limits::KEYS).map(rsa))).unwrap_err();
    assert_eq!(refused.to_string(), "targets.delegations.keys has too many entries");

    // Certificates with as many of authorities behind them as one bundle holds.
    let behind = samples::certificate("p256-authority").repeat(7);
    let bundle = |number: usize| {
        let own = certificate(ROOT, &format!("{}-{number}", repository()));
        declared("ecdsa-x509", format!("{}{behind}", own.pem()).as_bytes())
    };
    let bytes = with_keys((0..800).map(bundle));
    assert!((limits::TARGETS_BYTES * 3 / 4..limits::TARGETS_BYTES).contains(&bytes.len()), "{}", bytes.len());
    let targets: Targets = read(&bytes).unwrap();
    assert_eq!(
        targets.delegations.unwrap().keys.values().filter(|entry| entry.certificate.is_some()).count(),
        800
    );
}

#[test]
fn as_many_roles_as_fit() {
    let id = bare(BOB).0;
    let ids = |count: usize| {
        let others = (1..count).map(|number| format!("{number:064x}"));
        Json::Array([id.as_str().to_owned()].into_iter().chain(others).map(Json::from).collect())
    };
    let role = |number: usize, ids: Json| {
        let name = Json::from(format!("targets/n{number}"));
        members([("keyids", ids), ("name", name), ("threshold", Json::Integer(1))])
    };
    let roles = |count: usize, keys: usize| {
        unsigned(|doc| {
            let roles = (0..count).map(|number| role(number, ids(keys))).collect();
            doc.set("delegations/roles", Json::Array(roles));
        })
    };
    let bytes = roles(limits::DELEGATIONS, 16);
    assert!(bytes.len() < limits::TARGETS_BYTES, "{}", bytes.len());
    assert!(read::<Targets>(&bytes).is_ok());
    let refused = read::<Targets>(&roles(limits::DELEGATIONS + 1, 1)).unwrap_err();
    assert_eq!(refused.to_string(), "targets.delegations.roles has too many entries");
    assert!(read::<Targets>(&roles(1, limits::KEYS)).is_ok());
    let refused = read::<Targets>(&roles(1, limits::KEYS + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "targets.delegations.roles.keyids has too many entries");
}

#[test]
fn as_many_certificates_as_fit_into_a_root() {
    let mut root = Papers::new(Holder::Server).root;
    for number in 0..500 {
        let (id, object) = crate::papers::wrapped(&certificate(ROOT, &format!("{}-{number}", repository())));
        root.set(&format!("keys/{id}"), object);
    }
    assert!(root.bytes().len() > limits::ROOT_BYTES * 3 / 4, "{}", root.bytes().len());
    assert_eq!(read::<Root>(&root.bytes()).unwrap().keys.len(), 504);
}

#[test]
fn as_many_roles_as_a_snapshot_lists() {
    let lists = |count: usize| {
        let mut papers = Papers::new(Holder::Client);
        papers.delegated.clear();
        let listed = (0..count).map(|number| (format!("targets/n{number}"), info(b"x")));
        papers.listed = listed.collect();
        papers.snapshot_bytes().unwrap()
    };
    assert!(lists(limits::DELEGATIONS).len() < limits::SNAPSHOT_BYTES);
    assert_eq!(read::<Snapshot>(&lists(limits::DELEGATIONS)).unwrap().meta.len(), limits::DELEGATIONS + 2);
    let refused = read::<Snapshot>(&lists(limits::DELEGATIONS + 1)).unwrap_err();
    assert_eq!(refused.to_string(), "snapshot.meta has too many entries");
}

const LIMITS: &[Row] = &[
    Row {
        name: "more keys than a document has signatures",
        error: "bob exceeds 256, the most that common clients read",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let count = limits::SIGNATURES + usize::from(spoil);
                let keys: Vec<_> = (0..count).map(|number| bare(TestKey::new("many").nth(number))).collect();
                delegate(papers.next("targets"), "targets/bob", &[BOB]);
                trust(&mut papers.targets, "delegations/roles/2", &keys, 1);
            })
        },
    },
    Row {
        name: "document larger than clients read",
        error: "alice exceeds 5000000, the most that common clients read",
        build: |spoil| {
            next(Holder::Server, |papers| {
                let alice = papers.next("targets/alice");
                let rest = limits::TARGETS_BYTES - alice.bytes().len();
                alice.pad(rest + usize::from(spoil));
            })
        },
    },
];

#[test]
fn what_is_too_much_is_refused() {
    try_all(&[LIMITS]);
    // More signatures than a document may have: read, and refused before any is verified.
    let papers = Papers::new(Holder::Server);
    let server = Server::with(&papers);
    let mut after = papers.clone();
    let alice = after.next("targets/alice");
    for number in 0..limits::SIGNATURES {
        alice.bad_signature(&format!("{number}"), b"");
    }
    let bytes = alice.signed_as(bare(ALICE).0.as_str(), ALICE).bytes();
    let mut submission = papers.since(Some(&papers));
    submission.delegated.insert(name("targets/alice"), bytes.into());
    let refused = server.check(submission).unwrap_err();
    assert_eq!(refused.to_string(), "alice: signatures has too many entries");
}
