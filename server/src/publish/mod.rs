//! The one pipeline through which every change of a repository goes.
//!
//! Upload, read head and current, verify (pure), seal (derive and sign snapshot and
//! timestamp, verify own output), one commit, receipt. Changes of one repository are made
//! one after the other; repositories do not wait for each other. Knows no HTTP.

mod failure;
mod locks;
mod online;
mod renew;
mod requests;
mod seal;
mod size;
mod states;
mod upload;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::{AcceptedUpdate, CurrentState, SealedUpdate};
use tracing::Instrument as _;

pub use failure::PublishFailure;
pub use online::NextKeys;
pub use renew::Renewer;
pub use requests::{Listed, Opened, RequestFailure, Signed};
pub use seal::{Lifetime, Lifetimes, SealFailure};
pub use upload::{Base, Upload, Uploaded};

use crate::clock::SharedClock;
use crate::lookup;
use crate::store::{
    Announcement, DocumentRef, Head, HeadToken, LastVersions, NewDocument, OperationId, Publication,
    PublicationKind, PublishError, Published, Removal, RequestState, TrustStore,
};
use crate::vault::{OnlineKeys, Vault};

use locks::Locks;
use requests::Budget;
use size::{Place, Room};
use states::States;

/// 2026-01-01: a clock before this program existed is wrong.
const EARLIEST: i64 = 1_767_225_600;
/// How far a clock may step back, in seconds, before the server stops to sign.
const CLOCK_STEP: i64 = 60;

/// Makes all changes.
pub struct Publisher {
    store: Arc<dyn TrustStore>,
    vault: Arc<Vault>,
    clock: SharedClock,
    lifetimes: Lifetimes,
    locks: Locks,
    room: Room,
    states: States,
    budget: Budget,
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
        let (locks, room, states, budget) = <_>::default();
        Self { store, vault, clock, lifetimes, locks, room, states, budget, latest }
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
        require_mode(&upload.repository, head.as_deref(), upload.dialect)?;
        let expected = head.as_ref().map(|head| head.token);
        match upload.base {
            Base::Head(base) if base != expected => {
                return self.replay(upload, base, head.as_deref(), now).await;
            }
            Base::Head(_) | Base::Latest => {}
        }
        self.publish_in_turn(upload, head, None, now).await
    }

    /// Publishes on top of `head`, which nobody changes meanwhile, and closes the signing
    /// request that the upload completes, if it is one.
    async fn publish_in_turn(
        &self,
        upload: Upload,
        head: Option<Arc<Head>>,
        completes: Option<RequestState>,
        now: UtcTime,
    ) -> Result<Receipt, PublishFailure> {
        let keys = self.vault.get(&upload.repository).await?;
        let place = self.room.for_all_of(head.as_deref(), upload.bytes()).await;
        let state = self.state(&upload.repository, head.as_ref(), &place).await?;
        let last = match state {
            Some(_) => None,
            None => self.store.last_versions(&upload.repository).await?,
        };
        let repository = upload.repository.clone();
        let operation = upload.operation.map_or_else(random_operation, Ok)?;
        let actor = upload.actor.clone();
        let announcement = place.is_none().then(|| self.store.announce());
        // Uploads that came at the same time are announced as well before any is judged.
        if announcement.as_ref().is_some_and(|announcement| !announcement.is_single()) {
            tokio::task::yield_now().await;
        }
        let lifetimes = self.lifetimes;
        let online = keys.clone();
        let (heavy, store) = (upload.heavy_documents(), Arc::clone(&self.store));
        let work = move || judge(upload, state.as_ref(), online.as_deref(), last, lifetimes, now);
        // What is heavy is brought to the disk meanwhile.
        let stage = move || store.stage(&heavy);
        let (_staged, sealed) = tokio::join!(size::beside(&place, stage), size::beside(&place, work));
        let sealed = sealed??;
        let keys = keys.ok_or(PublishFailure::NoOnlineKeys)?;
        let kind = PublicationKind::Publish;
        let commit =
            Commit { repository, before: head, operation, kind, actor, keys, announcement, completes };
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
        let place = self.room.for_all_of(Some(&head), 0).await;
        let Some(state) = self.state(repository, Some(&head), &place).await? else { return Ok(false) };
        let announcement = self.store.announce();
        let update = AcceptedUpdate::renewal(&state, now);
        let sealed = seal::complete(update, &keys, None, self.lifetimes, now)?;
        let commit = Commit {
            repository: repository.clone(),
            before: Some(head),
            operation: random_operation()?,
            kind: PublicationKind::Renew,
            actor: "bullad".to_owned(),
            keys,
            announcement: Some(announcement),
            completes: None,
        };
        self.commit(commit, sealed, now).await.map(|_| true)
    }

    /// Removes a repository with its bytes and online keys. Once begun it comes to its end,
    /// also when the caller no longer waits for it.
    ///
    /// # Errors
    /// Another head than `expected`, or not possible at present.
    pub async fn remove(
        self: &Arc<Self>,
        repository: &RepositoryName,
        expected: HeadToken,
        operation: Option<OperationId>,
        actor: &str,
    ) -> Result<Receipt, PublishFailure> {
        let (this, repository, actor) = (Arc::clone(self), repository.clone(), actor.to_owned());
        to_the_end(async move {
            let _turn = this.locks.turn(&repository).await;
            this.remove_in_turn(&repository, expected, operation, actor, false).await
        })
        .await
    }

    /// Removes a repository in legacy mode as it is when its turn comes; `None` if there is
    /// none. Its online keys stay: clients of Notary keep the root that lists them, and publish
    /// it anew.
    ///
    /// # Errors
    /// A repository in spec mode, or not possible at present.
    pub async fn remove_latest(
        self: &Arc<Self>,
        repository: &RepositoryName,
        actor: &str,
    ) -> Result<Option<Receipt>, PublishFailure> {
        let (this, repository, actor) = (Arc::clone(self), repository.clone(), actor.to_owned());
        to_the_end(async move {
            let _turn = this.locks.turn(&repository).await;
            let Some(head) = this.store.head(&repository).await? else { return Ok(None) };
            require_mode(&repository, Some(&head), Dialect::Notary1)?;
            this.remove_in_turn(&repository, head.token, None, actor, true).await.map(Some)
        })
        .await
    }

    async fn remove_in_turn(
        &self,
        repository: &RepositoryName,
        expected: HeadToken,
        operation: Option<OperationId>,
        actor: String,
        keeps_keys: bool,
    ) -> Result<Receipt, PublishFailure> {
        let removal = Removal {
            repository: repository.clone(),
            expected,
            operation: operation.map_or_else(random_operation, Ok)?,
            actor,
            at: self.now()?,
            keeps_keys,
        };
        let removed = self.store.remove(removal).await;
        // In any case: memory must not outlive what is on disk.
        self.states.forget(repository);
        self.vault.forget(repository);
        Ok(Receipt { published: removed?, current: BTreeMap::new() })
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
        place: &Place,
    ) -> Result<Option<CurrentState>, PublishFailure> {
        let Some(head) = head else { return Ok(None) };
        if let Some(state) = self.states.get(repository, head.token) {
            return Ok(Some(state));
        }
        let documents = lookup::all_current(&*self.store, repository, head).await?.into_iter().collect();
        let dialect = head.dialect;
        let loaded = size::beside(place, move || CurrentState::load(dialect, &documents)).await?;
        let state =
            loaded.map_err(|source| PublishFailure::Broken { repository: repository.clone(), source })?;
        self.states.put(repository, head.token, state.clone());
        Ok(Some(state))
    }

    /// An upload built on another head is a conflict, unless it was committed before: only
    /// the store can tell. The publication cannot be committed, its head is gone for good.
    async fn replay(
        &self,
        upload: Upload,
        expected: Option<HeadToken>,
        head: Option<&Head>,
        now: UtcTime,
    ) -> Result<Receipt, PublishFailure> {
        let current = head.map(|head| head.current.clone()).unwrap_or_default();
        let conflict = || PublishFailure::Conflict { current: head.map(|head| head.token) };
        if expected.is_none() && head.is_none() {
            return Err(conflict());
        }
        let publication = Publication {
            repository: upload.repository,
            dialect: upload.dialect,
            expected,
            operation: upload.operation.ok_or_else(conflict)?,
            kind: PublicationKind::Publish,
            documents: Vec::new(),
            targets: Vec::new(),
            current: current.clone(),
            renew_at: now,
            actor: upload.actor,
            at: now,
            completes: None,
        };
        match self.store.publish(publication).await {
            Ok(published) => Ok(Receipt { published, current }),
            Err(PublishError::Store(error)) => Err(error.into()),
            Err(_) => Err(conflict()),
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
        size::check(commit.before.as_deref(), &current)?;
        let publication = Publication {
            repository: commit.repository.clone(),
            dialect: state.root().dialect(),
            expected: commit.before.map(|head| head.token),
            operation: commit.operation,
            kind: commit.kind,
            documents: documents
                .into_iter()
                .map(|(role, version, bytes)| NewDocument { role, version, bytes })
                .collect(),
            targets,
            current: current.clone(),
            renew_at: seal::renew_at(&state, &commit.keys, self.lifetimes, now)?,
            actor: commit.actor,
            at: now,
            completes: commit.completes,
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
    before: Option<Arc<Head>>,
    operation: OperationId,
    kind: PublicationKind,
    actor: String,
    keys: Arc<OnlineKeys>,
    announcement: Option<Announcement>,
    completes: Option<RequestState>,
}

/// The pure middle of the pipeline.
fn judge(
    upload: Upload,
    state: Option<&CurrentState>,
    keys: Option<&OnlineKeys>,
    last: Option<LastVersions>,
    lifetimes: Lifetimes,
    now: UtcTime,
) -> Result<SealedUpdate, PublishFailure> {
    let names = upload.names();
    let (repository, dialect) = (upload.repository.clone(), upload.dialect);
    let accepted = seal::check(upload.into_submission()?, dialect, &repository, state, keys, now)?;
    size::check_roles(accepted.meta().len())?;
    let keys = keys.ok_or(PublishFailure::NoOnlineKeys)?;
    let sealed = seal::complete(accepted, keys, last, lifetimes, now)?;
    names.compare(sealed.documents())?;
    Ok(sealed)
}

/// Does `work` on a task of its own. A request ends when its client hangs up, and what it was
/// doing with it: memory would go on with what is no longer stored.
async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, PublishFailure>> + Send + 'static,
) -> Result<T, PublishFailure> {
    tokio::spawn(work.in_current_span()).await.map_err(|_| PublishFailure::Interrupted)?
}

/// # Errors
/// The repository exists in the other mode.
fn require_mode(
    repository: &RepositoryName,
    head: Option<&Head>,
    dialect: Dialect,
) -> Result<(), PublishFailure> {
    match head {
        Some(head) if head.dialect != dialect => {
            Err(PublishFailure::OtherMode { repository: repository.clone(), found: head.dialect })
        }
        _ => Ok(()),
    }
}

/// An operation that nobody repeats.
fn random_operation() -> Result<OperationId, PublishFailure> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|_| PublishFailure::Randomness)?;
    Ok(OperationId(id))
}
