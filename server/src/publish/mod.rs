//! The one pipeline through which every change of a repository goes.
//!
//! Upload, read head and current, verify (pure), seal (derive and sign snapshot and
//! timestamp, verify own output), one commit, receipt. Changes of one repository are made
//! one after the other; repositories do not wait for each other. Knows no HTTP.

mod failure;
mod locks;
mod renew;
mod seal;
mod states;
mod upload;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::{AcceptedUpdate, CurrentState, SealedUpdate};

pub use failure::PublishFailure;
pub use renew::Renewer;
pub use seal::{Lifetimes, SealFailure};
pub use upload::Upload;

use crate::clock::SharedClock;
use crate::lookup;
use crate::store::{
    Announcement, DocumentRef, Head, HeadToken, NewDocument, OperationId, Publication, PublicationKind,
    PublishError, Published, Removal, TrustStore,
};
use crate::vault::{OnlineKeys, Vault};

use locks::Locks;
use states::States;

/// 2026-01-01: a clock before this program existed is wrong.
const EARLIEST: i64 = 1_767_225_600;
/// How far a clock may step back, in seconds, before the server stops to sign.
const CLOCK_STEP: i64 = 60;
/// Uploads beyond this many bytes are judged on a thread of their own, so that they do not
/// hold up small ones.
const HEAVY: usize = 256 * 1024;

/// Makes all changes.
pub struct Publisher {
    store: Arc<dyn TrustStore>,
    vault: Arc<Vault>,
    clock: SharedClock,
    lifetimes: Lifetimes,
    locks: Locks,
    states: States,
    latest: AtomicI64,
}

/// What a change led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// As the store has it.
    pub published: Published,
    /// Every current document; empty after a removal.
    pub current: BTreeMap<RoleName, DocumentRef>,
}

impl Publisher {
    /// Publishes to `store`, signing with keys of `vault`.
    #[must_use]
    pub fn new(
        store: Arc<dyn TrustStore>,
        vault: Arc<Vault>,
        clock: SharedClock,
        lifetimes: Lifetimes,
    ) -> Self {
        let latest = AtomicI64::new(EARLIEST);
        Self { store, vault, clock, lifetimes, locks: Locks::default(), states: States::default(), latest }
    }

    /// Checks an upload, completes it and commits it.
    ///
    /// # Errors
    /// Built on another head, refused by a rule, or not possible at present. Nothing was
    /// done then.
    pub async fn publish(&self, upload: Upload) -> Result<Receipt, PublishFailure> {
        let _turn = self.locks.turn(&upload.repository).await;
        let now = self.now()?;
        let head = self.store.head(&upload.repository).await?;
        if head.as_ref().map(|head| head.token) != upload.expected {
            return self.replay(upload, head.as_deref(), now).await;
        }
        let keys = self.vault.get(&upload.repository).await?;
        let state = self.state(&upload.repository, head.as_ref()).await?;
        let repository = upload.repository.clone();
        let (operation, actor, expected) = (upload.operation, upload.actor.clone(), upload.expected);
        let heavy = upload.bytes() > HEAVY;
        let announcement = (!heavy).then(|| self.store.announce());
        // Uploads that came at the same time are announced as well before any is judged.
        tokio::task::yield_now().await;
        let lifetimes = self.lifetimes;
        let work = move || judge(upload, state.as_ref(), keys.as_deref(), lifetimes, now);
        let sealed = if heavy {
            tokio::task::spawn_blocking(work).await.map_err(|_| PublishFailure::Interrupted)??
        } else {
            work()?
        };
        let commit =
            Commit { repository, expected, operation, kind: PublicationKind::Publish, actor, announcement };
        self.commit(commit, sealed, now).await
    }

    /// Signs the online roles of `repository` anew, if that is due. Tells whether it did.
    ///
    /// # Errors
    /// What is stored does not verify, or cannot be signed or stored at present.
    pub async fn renew(&self, repository: &RepositoryName) -> Result<bool, PublishFailure> {
        let _turn = self.locks.turn(repository).await;
        let now = self.now()?;
        let Some(head) = self.store.head(repository).await? else { return Ok(false) };
        if head.renew_at > now {
            return Ok(false);
        }
        let keys = self.vault.get(repository).await?.ok_or(PublishFailure::NoOnlineKeys)?;
        let Some(state) = self.state(repository, Some(&head)).await? else { return Ok(false) };
        let announcement = self.store.announce();
        let sealed = seal::complete(AcceptedUpdate::renewal(&state, now), &keys, self.lifetimes, now)?;
        let commit = Commit {
            repository: repository.clone(),
            expected: Some(head.token),
            operation: random_operation()?,
            kind: PublicationKind::Renew,
            actor: "bullad".to_owned(),
            announcement: Some(announcement),
        };
        self.commit(commit, sealed, now).await.map(|_| true)
    }

    /// Removes a repository with its bytes and online keys.
    ///
    /// # Errors
    /// Another head than `expected`, or not possible at present.
    pub async fn remove(
        &self,
        repository: &RepositoryName,
        expected: HeadToken,
        operation: Option<OperationId>,
        actor: &str,
    ) -> Result<Receipt, PublishFailure> {
        let _turn = self.locks.turn(repository).await;
        let removal = Removal {
            repository: repository.clone(),
            expected,
            operation: operation.map_or_else(random_operation, Ok)?,
            actor: actor.to_owned(),
            at: self.now()?,
        };
        let removed = self.store.remove(removal).await;
        // In any case: memory must not outlive what is on disk.
        self.states.forget(repository);
        self.vault.forget(repository);
        Ok(Receipt { published: removed?, current: BTreeMap::new() })
    }

    /// Adds a set of online keys that takes over once a root lists it.
    ///
    /// # Errors
    /// There is no such repository, or the keys cannot be had.
    pub async fn rotate(&self, repository: &RepositoryName) -> Result<Arc<OnlineKeys>, PublishFailure> {
        let _turn = self.locks.turn(repository).await;
        let head = self.store.head(repository).await?.ok_or(PublishFailure::Conflict { current: None })?;
        let state = self.state(repository, Some(&head)).await?.ok_or(PublishFailure::NoOnlineKeys)?;
        Ok(self.vault.rotate(repository, &seal::listed(state.root().payload())).await?)
    }

    /// The online keys that the current root of `repository` lists; none before there is one.
    ///
    /// # Errors
    /// The store cannot be read, or what it holds does not verify.
    pub async fn listed_keys(
        &self,
        repository: &RepositoryName,
    ) -> Result<BTreeSet<Fingerprint>, PublishFailure> {
        let head = self.store.head(repository).await?;
        let state = self.state(repository, head.as_ref()).await?;
        Ok(state.map(|state| seal::listed(state.root().payload())).unwrap_or_default())
    }

    /// The time, if the clock can be trusted.
    ///
    /// # Errors
    /// It stands before a moment that it had already shown.
    pub fn now(&self) -> Result<UtcTime, PublishFailure> {
        let now = self.clock.now();
        let latest = self.latest.load(Ordering::Relaxed);
        if now.unix_seconds() < latest.saturating_sub(CLOCK_STEP) {
            return Err(PublishFailure::Clock { now });
        }
        Ok(now)
    }

    /// The lifetimes of what is signed here.
    #[must_use]
    pub const fn lifetimes(&self) -> Lifetimes {
        self.lifetimes
    }

    /// The verified state at `head`, from memory if it is there.
    async fn state(
        &self,
        repository: &RepositoryName,
        head: Option<&Arc<Head>>,
    ) -> Result<Option<CurrentState>, PublishFailure> {
        let Some(head) = head else { return Ok(None) };
        if let Some(state) = self.states.get(repository, head.token) {
            return Ok(Some(state));
        }
        let documents = lookup::all_current(&*self.store, repository, head).await?;
        let state = CurrentState::load(Dialect::Tuf1, &documents.into_iter().collect())
            .map_err(|source| PublishFailure::Broken { repository: repository.clone(), source })?;
        self.states.put(repository, head.token, state.clone());
        Ok(Some(state))
    }

    /// An upload built on another head is a conflict, unless it was committed before: only
    /// the store can tell. The publication cannot be committed, its head is gone for good.
    async fn replay(
        &self,
        upload: Upload,
        head: Option<&Head>,
        now: UtcTime,
    ) -> Result<Receipt, PublishFailure> {
        let current = head.map(|head| head.current.clone()).unwrap_or_default();
        let (repository, expected, operation) = (upload.repository, upload.expected, upload.operation);
        if expected.is_none() && head.is_none() {
            return Err(PublishFailure::Conflict { current: None });
        }
        let publication = Publication {
            repository,
            expected,
            operation,
            kind: PublicationKind::Publish,
            documents: Vec::new(),
            targets: Vec::new(),
            current: current.clone(),
            renew_at: now,
            actor: upload.actor,
            at: now,
        };
        match self.store.publish(publication).await {
            Ok(published) => Ok(Receipt { published, current }),
            Err(PublishError::Store(error)) => Err(error.into()),
            Err(_) => Err(PublishFailure::Conflict { current: head.map(|head| head.token) }),
        }
    }

    async fn commit(
        &self,
        commit: Commit,
        sealed: SealedUpdate,
        now: UtcTime,
    ) -> Result<Receipt, PublishFailure> {
        let (state, documents, targets) = sealed.into_parts();
        let current = seal::current(&state);
        let publication = Publication {
            repository: commit.repository.clone(),
            expected: commit.expected,
            operation: commit.operation,
            kind: commit.kind,
            documents: documents
                .into_iter()
                .map(|(role, version, bytes)| NewDocument { role, version, bytes })
                .collect(),
            targets,
            current: current.clone(),
            renew_at: seal::renew_at(&state, self.lifetimes, now)?,
            actor: commit.actor,
            at: now,
        };
        drop(commit.announcement);
        let published = self.store.publish(publication).await?;
        // A repeated upload would have been built on a head that is gone: this is another one
        // under a used id, and a receipt would list documents that nobody has stored.
        if published.replayed {
            let what = "the operation id was used for another upload".to_owned();
            return Err(PublishFailure::Contradiction { what });
        }
        self.latest.fetch_max(now.unix_seconds(), Ordering::Relaxed);
        self.states.put(&commit.repository, published.token, state);
        Ok(Receipt { published, current })
    }
}

/// What a commit is apart from its documents.
struct Commit {
    repository: RepositoryName,
    expected: Option<HeadToken>,
    operation: OperationId,
    kind: PublicationKind,
    actor: String,
    announcement: Option<Announcement>,
}

/// The pure middle of the pipeline.
fn judge(
    upload: Upload,
    state: Option<&CurrentState>,
    keys: Option<&OnlineKeys>,
    lifetimes: Lifetimes,
    now: UtcTime,
) -> Result<SealedUpdate, PublishFailure> {
    let names = upload.names();
    let repository = upload.repository.clone();
    let accepted = seal::check(upload.into_submission()?, &repository, state, keys, now)?;
    let keys = keys.ok_or(PublishFailure::NoOnlineKeys)?;
    let sealed = seal::complete(accepted, keys, lifetimes, now)?;
    names.compare(sealed.documents())?;
    Ok(sealed)
}

/// An operation that nobody repeats.
fn random_operation() -> Result<OperationId, PublishFailure> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| PublishFailure::Randomness)?;
    Ok(OperationId(id))
}
