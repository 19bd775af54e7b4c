//! The contract of the store, as tests that run on every backend.
//!
//! Each function takes a [`Place`] that is empty and checks one guarantee; what it publishes
//! is made by [`publication`], so that later reads can be compared byte for byte.

pub mod commits;
pub mod history;
pub mod lives;
pub mod requests;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_server::store::{
    DocumentRef, Head, HeadToken, NewDocument, OperationId, Publication, PublicationKind, Published, Removal,
    TrustStore,
};
use bytes::Bytes;

/// Somewhere a store can be, stop and come back.
#[async_trait]
pub trait Place: Send + Sync {
    /// Opens the store that is here, or makes one.
    async fn open(&self) -> Arc<dyn TrustStore>;
    /// Stops the store and opens it again. What cannot survive a stop returns `store`.
    async fn reopen(&self, store: Arc<dyn TrustStore>) -> Arc<dyn TrustStore>;
}

/// How the documents of [`publication`] are made.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Bytes of the targets document and of the target.
    pub large: usize,
    /// Tells apart documents that are alike in all else.
    pub salt: u64,
}

impl Default for Shape {
    fn default() -> Self {
        Self { large: 600, salt: 0 }
    }
}

/// What the names of repositories in TUF's dialect begin with.
const TUF: &str = "";
/// What the names of repositories in Notary's dialect begin with.
const NOTARY: &str = "notary.";

/// The dialect of what [`publication`] makes, which the beginning of the name tells.
pub fn dialect_of(repository: &RepositoryName) -> Dialect {
    if repository.as_str().starts_with(NOTARY) { Dialect::Notary1 } else { Dialect::Tuf1 }
}

/// A repository name of the tests.
pub fn name(text: &str) -> RepositoryName {
    text.parse().unwrap()
}

/// A version.
pub fn version(number: u64) -> Version {
    Version::new(number).unwrap()
}

/// Seconds after some fixed moment.
pub fn time(seconds: i64) -> UtcTime {
    UtcTime::from_unix_seconds(1_900_000_000 + seconds).unwrap()
}

/// The bytes that [`publication`] makes for a document.
pub fn document(repository: &RepositoryName, role: &RoleName, number: u64, shape: Shape) -> Bytes {
    let size = match role {
        RoleName::Targets | RoleName::Delegated(_) => shape.large,
        _ => 300,
    };
    let mut bytes = format!("{repository} {role} {number} {} ", shape.salt).into_bytes();
    let filler = bytes.clone();
    bytes.extend(filler.iter().cycle().take(size.saturating_sub(filler.len())));
    bytes.into()
}

/// The target that [`publication`] brings along.
pub fn target(repository: &RepositoryName, number: u64, shape: Shape) -> Bytes {
    let mut bytes = format!("target {number} of {repository} {} ", shape.salt).into_bytes();
    bytes.resize(shape.large, b'.');
    bytes.into()
}

/// An operation id that belongs to these numbers only.
pub fn operation(repository: &RepositoryName, number: u64, salt: u64) -> OperationId {
    let digest = Sha256Digest::of(format!("{repository} {number} {salt}").as_bytes());
    OperationId(digest.as_bytes()[..16].try_into().unwrap())
}

/// The publication number `number` of a repository: root 1 once, and targets, a delegated
/// role, snapshot and timestamp with the version `number`, plus one target.
pub fn publication(
    repository: &RepositoryName,
    expected: Option<HeadToken>,
    number: u64,
    shape: Shape,
) -> Publication {
    let delegated: RoleName = "releases".parse().unwrap();
    let mut documents = Vec::new();
    let mut current = BTreeMap::new();
    for role in [RoleName::Root, RoleName::Targets, delegated, RoleName::Snapshot, RoleName::Timestamp] {
        let number = if role == RoleName::Root { 1 } else { number };
        let bytes = document(repository, &role, number, shape);
        current.insert(role.clone(), reference(number, &bytes));
        if role != RoleName::Root || expected.is_none() {
            documents.push(NewDocument { role, version: version(number), bytes: bytes.into() });
        }
    }
    Publication {
        repository: repository.clone(),
        dialect: dialect_of(repository),
        expected,
        operation: operation(repository, number, shape.salt),
        kind: PublicationKind::Publish,
        documents,
        targets: vec![target(repository, number, shape).into()],
        current,
        renew_at: time(i64::try_from(number).unwrap() * 60),
        actor: format!("actor {number}"),
        at: time(i64::try_from(number).unwrap()),
        completes: None,
    }
}

/// A renewal of the timestamp alone.
pub fn renewal(repository: &RepositoryName, head: &Head, number: u64) -> Publication {
    renewal_of(&[RoleName::Timestamp], repository, head, number)
}

/// A renewal of these roles, each with the version `number`.
pub fn renewal_of(roles: &[RoleName], repository: &RepositoryName, head: &Head, number: u64) -> Publication {
    let shape = Shape { salt: 77, ..Shape::default() };
    let mut current = head.current.clone();
    let mut documents = Vec::new();
    for role in roles {
        let bytes = document(repository, role, number, shape);
        current.insert(role.clone(), reference(number, &bytes));
        documents.push(NewDocument { role: role.clone(), version: version(number), bytes: bytes.into() });
    }
    Publication {
        dialect: head.dialect,
        operation: operation(repository, number, 77),
        kind: PublicationKind::Renew,
        documents,
        targets: Vec::new(),
        current,
        ..publication(repository, Some(head.token), number, shape)
    }
}

/// A document by its bytes.
pub fn reference(number: u64, bytes: &[u8]) -> DocumentRef {
    let length = u64::try_from(bytes.len()).unwrap();
    DocumentRef { version: version(number), digest: Sha256Digest::of(bytes), length }
}

/// Publishes the numbers `from..=to` one after the other.
pub async fn publish_run(
    store: &dyn TrustStore,
    repository: &RepositoryName,
    mut token: Option<HeadToken>,
    numbers: std::ops::RangeInclusive<u64>,
    shape: Shape,
) -> Published {
    let mut last = None;
    for number in numbers {
        let published = store.publish(publication(repository, token, number, shape)).await.unwrap();
        token = Some(published.token);
        last = Some(published);
    }
    last.unwrap()
}

/// Checks that publication `number` can be read back whole: documents by their digest in Notary's dialect only.
pub async fn assert_readable(store: &dyn TrustStore, repository: &RepositoryName, number: u64, shape: Shape) {
    for new in publication(repository, None, number, shape).documents {
        let what = format!("{repository} {} {}", new.role, new.version);
        let read = store.by_version(repository, &new.role, new.version).await.unwrap();
        assert_eq!(read.as_ref(), Some(new.bytes.bytes()), "{what} by version");
        let read = store.by_digest(repository, Sha256Digest::of(&new.bytes)).await.unwrap();
        let expected = (dialect_of(repository) == Dialect::Notary1).then_some(new.bytes.bytes());
        assert_eq!(read.as_ref(), expected, "{what} by digest");
    }
    let target = target(repository, number, shape);
    let read = store.by_digest(repository, Sha256Digest::of(&target)).await.unwrap();
    assert_eq!(read, Some(target), "{repository} target {number}");
}

/// The full check finds nothing.
pub async fn assert_sound(store: &dyn TrustStore) {
    let report = store.check().await.unwrap();
    assert_eq!(report.defects, Vec::<String>::new());
}

/// A removal.
pub fn removal(repository: &RepositoryName, expected: HeadToken, salt: u64) -> Removal {
    Removal {
        repository: repository.clone(),
        expected,
        operation: operation(repository, 0, salt + 1_000),
        actor: "remover".to_owned(),
        at: time(500),
        keeps_keys: false,
    }
}

/// Makes one `#[tokio::test]` per guarantee for a backend; `$place` makes an empty place.
#[macro_export]
macro_rules! store_contract {
    ($backend:ident, $place:expr) => {
        mod $backend {
            use super::*;
            $crate::store_contract!(@ $place; commits: g1_all_or_nothing notary_g1_all_or_nothing
                g2_one_winner g3_survives_a_stop g4_g7_readers_go_forward g8_same_operation
                contradictions_are_refused staged_values notary_staged_values closed);
            $crate::store_contract!(@ $place; history: g5_versions_never_change g5_renewals_replace
                g5_notary_snapshots_stay roles_of_nobody_stay g6_feed lists_and_due);
            $crate::store_contract!(@ $place; lives: g10_one_dialect removal_forgets notary_removal_forgets
                removal_remembers_versions no_reads_across_repositories online_keys
                a_removal_can_leave_the_keys names_with_keys stored_forms);
            $crate::store_contract!(@ $place; requests: g11_one_winner g11_closed_with_the_publication
                requests_survive_at_any_length rooms_are_bounded ends_are_remembered
                removals_take_requests_along repositories_with_requests_are_listed);
        }
    };
    (@ $place:expr; $theme:ident: $($guarantee:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $guarantee() {
                let place = $place;
                $crate::store_contract::$theme::$guarantee(&place).await;
            }
        )*
    };
}
