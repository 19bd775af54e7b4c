//! One change of a repository, from its current state to the proof that the server has it.
//!
//! Somebody else may publish at the same time: then everything is read and written anew, a
//! bounded number of times.

use std::collections::BTreeSet;
use std::time::Duration;

use bulla_keys_schema::author::{Draft, SignError};
use bulla_keys_schema::digest::{Hashes, Sha256Digest};
use bulla_keys_schema::key::{Fingerprint, KeyName};
use bulla_keys_schema::metadata::{MetaInfo, Targets, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{OpenError, RequestId};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::RootError;
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;

use crate::flow::layout::Authority;
use crate::flow::refresh::{Purpose, RefreshError, Session};
use crate::flow::repair;
use crate::flow::request::{self, Ask};
use crate::flow::root_change::{RootChange, RootChangeError};
use crate::flow::signing::{KeyRing, TooFewKeys, UnlockError};
use crate::flow::tidy::tidy;
use crate::flow::{Ports, current};
use crate::port::trust_server::{Basis, Document, Edition, OperationId, Upload};
use crate::port::{EntropyError, KeyStoreError, StoredKey, TrustServerError};

/// How often a change is redone because of others. Twenty jobs at once need about twenty.
const ROUNDS: u32 = 60;
/// How often one upload is repeated when nobody knows what became of it.
const REPEATS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a change consists of.
#[derive(Clone, Debug, Default)]
pub struct Edit {
    /// A new root.
    pub root: Option<RootChange>,
    /// New documents.
    pub documents: Vec<Edited>,
    /// Documents that others have signed.
    pub signed: Vec<Document>,
    /// Bytes of targets.
    pub files: Vec<Bytes>,
}

/// A new document of a targets role, not yet signed.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The role.
    pub role: RoleName,
    /// What it will say.
    pub document: Targets,
    /// Who signs it.
    pub authority: Authority,
}

/// What was published, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// The new documents.
    pub roles: Vec<(RoleName, Version)>,
    /// The keys of this home that signed.
    pub keys: Vec<KeyName>,
    /// Roles that are expired still, because their keys are not here.
    pub still_expired: Vec<RoleName>,
    /// Whether anything was published: `false` in a dry run, and while others have to sign.
    pub done: bool,
    /// The signing request that waits for others.
    pub request: Option<RequestId>,
}

/// What to do with a change.
#[derive(Clone, Debug)]
pub enum How {
    /// Publish it.
    Publish,
    /// Only say what it would be: nobody is asked for a passphrase.
    DryRun,
    /// Publish it if the keys of this home are enough; else sign with those that are here, and
    /// ask others for the rest.
    Request(Ask),
}

impl How {
    /// Whether nothing is to be changed.
    #[must_use]
    pub const fn is_dry_run(&self) -> bool {
        matches!(self, Self::DryRun | Self::Request(Ask { dry_run: true, .. }))
    }

    /// Whether keys of others count as if they were here.
    #[must_use]
    pub const fn is_request(&self) -> bool {
        self.asks().is_some()
    }

    /// The same, with nothing changed.
    #[must_use]
    pub fn to_dry_run(&self) -> Self {
        match self {
            Self::Publish | Self::DryRun => Self::DryRun,
            Self::Request(ask) => Self::Request(Ask { dry_run: true, ..ask.clone() }),
        }
    }

    /// Whom to ask for what is missing here.
    const fn asks(&self) -> Option<&Ask> {
        match self {
            Self::Request(ask) => Some(ask),
            Self::Publish | Self::DryRun => None,
        }
    }
}

impl From<bool> for How {
    /// Whether to change nothing.
    fn from(dry_run: bool) -> Self {
        if dry_run { Self::DryRun } else { Self::Publish }
    }
}

/// Makes the change that `plan` describes, given the current state, or as much of it as `how`
/// says.
///
/// # Errors
/// What `plan` returns, and [`PublishError`].
pub async fn publish<E: From<PublishError>>(
    ports: Ports<'_>,
    repository: &RepositoryName,
    how: impl Into<How>,
    plan: impl FnMut(&CurrentState, &KeyRing<'_>, UtcTime) -> Result<Edit, E>,
) -> Result<Published, E> {
    publish_from(&Footing::default(), ports, repository, how, plan).await
}

/// What a change starts from, where that is not the usual.
#[derive(Clone, Debug)]
pub struct Footing {
    /// How the current state is read.
    pub purpose: Purpose,
    /// Keys that this home will have by the time of signing: for dry runs.
    pub keys_to_come: Vec<StoredKey>,
}

impl Default for Footing {
    fn default() -> Self {
        Self { purpose: Purpose::Change, keys_to_come: vec![] }
    }
}

/// The same as [`publish`], from `footing`.
///
/// # Errors
/// As for [`publish`].
pub async fn publish_from<E: From<PublishError>>(
    footing: &Footing,
    ports: Ports<'_>,
    repository: &RepositoryName,
    how: impl Into<How>,
    plan: impl FnMut(&CurrentState, &KeyRing<'_>, UtcTime) -> Result<Edit, E>,
) -> Result<Published, E> {
    let mut ring = KeyRing::load(ports).map_err(PublishError::from)?;
    publish_with(&mut ring, footing, ports, repository, how, plan).await
}

/// The same with the keys of `ring`. Those that sign are open in it afterwards: whoever has more
/// to sign with them asks for no passphrase twice.
///
/// # Errors
/// As for [`publish`].
pub async fn publish_with<E: From<PublishError>>(
    ring: &mut KeyRing<'_>,
    footing: &Footing,
    ports: Ports<'_>,
    repository: &RepositoryName,
    how: impl Into<How>,
    mut plan: impl FnMut(&CurrentState, &KeyRing<'_>, UtcTime) -> Result<Edit, E>,
) -> Result<Published, E> {
    let how = how.into();
    ring.expect(&footing.keys_to_come);
    for round in 0..ROUNDS {
        if round > 0 {
            pause(ports, round).await?;
        }
        let Some((basis, state, now)) = read(footing.purpose, ports, repository).await? else { continue };
        ring.collect(how.asks().is_some());
        let mut edit = plan(&state, ring, now)?;
        ring.collect(false);
        let still_expired = repair::repair(&mut edit, &state, ring, now);
        tidy(&mut edit, &state, now);
        require_root(&edit, &state, now)?;
        let (chosen, asked) = match (choose(&edit, &state, ring, now), how.asks()) {
            (Err(PublishError::TooFewKeys(_)), Some(ask)) => {
                (request::keys_here(&edit, &state, ring, now)?, Some(ask))
            }
            (chosen, _) => (chosen?, None),
        };
        let mut outcome = Published {
            roles: roles(&edit, &state),
            keys: ring.names(&chosen.iter().copied().collect::<Vec<_>>()),
            still_expired,
            done: !how.is_dry_run() && asked.is_none(),
            request: None,
        };
        if how.is_dry_run() {
            return Ok(outcome);
        }
        ring.unlock(&chosen).map_err(PublishError::from)?;
        if let Some(ask) = asked {
            outcome.request = request::ask(ports, repository, ask, edit, &state, ring, now).await?;
            if outcome.request.is_some() {
                return Ok(outcome);
            }
            continue;
        }
        let mut documents = Vec::new();
        if let Some(change) = &edit.root {
            documents.push(change.sign(ports, repository, &state, ring, now).map_err(PublishError::from)?);
        }
        documents.extend(sign(&state, edit.documents, ring)?.into_iter().chain(edit.signed));
        let operation = operation(ports)?;
        let upload = Upload { documents, targets: edit.files, basis, operation };
        match submit(ports, repository, &upload).await {
            Err(PublishError::Server(TrustServerError::Changed { .. })) => {}
            Err(error) => return Err(error.into()),
            Ok(()) => {
                confirm(ports, repository, &upload.documents).await?;
                return Ok(outcome);
            }
        }
    }
    Err(PublishError::TooBusy { repository: repository.clone(), rounds: ROUNDS }.into())
}

/// Sends an upload; when no answer says what became of it, looks whether it is there, and
/// sends it again under the same operation id if it is not.
///
/// # Errors
/// The server refused, or gave no clear answer each time.
pub async fn submit(
    ports: Ports<'_>,
    repository: &RepositoryName,
    upload: &Upload,
) -> Result<(), PublishError> {
    let mut repeats = 0;
    loop {
        let Err(error) = ports.server.publish(repository, upload).await else { return Ok(()) };
        let unclear = error.is_unclear();
        if !unclear && repeats == 0 {
            return Err(refused(ports, repository, upload, error).await.into());
        }
        pause(ports, repeats + 3).await?;
        if has_arrived(ports, repository, upload).await {
            return Ok(());
        }
        if !unclear || repeats == REPEATS {
            return Err(refused(ports, repository, upload, error).await.into());
        }
        repeats += 1;
    }
}

/// The current state, from the server.
///
/// # Errors
/// It cannot be had, or not be trusted as `purpose` asks for.
pub async fn current_state(
    purpose: Purpose,
    ports: Ports<'_>,
    repository: &RepositoryName,
) -> Result<CurrentState, PublishError> {
    let session = online(purpose, ports, repository).await?;
    Ok(current::load(&session).await?)
}

/// Reads back: what was published is what consumers get, or something newer.
///
/// # Errors
/// The state cannot be trusted, or lacks what the server said it took.
pub async fn confirm(
    ports: Ports<'_>,
    repository: &RepositoryName,
    documents: &[Document],
) -> Result<(), PublishError> {
    let session = online(Purpose::Use, ports, repository).await?;
    let mut newer = Vec::new();
    for document in documents {
        let listed = session.snapshot().snapshot().payload().meta.get(&document.role);
        let hashes = listed.and_then(|info| info.hashes.as_ref());
        let is_shown = match document.role {
            RoleName::Root => session.root().version() >= document.version,
            _ => hashes.is_some_and(|hashes| hashes.match_bytes(&document.bytes)),
        };
        match listed.and_then(|info| info.version) {
            // A trusted snapshot lists these very bytes: nobody needs to send them again.
            _ if is_shown && document.role != RoleName::Root => {
                session.keep(&document.role, &document.bytes)?;
            }
            _ if is_shown => {}
            Some(version) if version > document.version => {}
            // Only the document itself says how new it is.
            None if listed.is_some() => newer.push(document),
            _ => return Err(not_confirmed(repository, document)),
        }
    }
    if !newer.is_empty() {
        let state = current::load(&session).await?;
        let is_older = |document: &&&Document| state.last_version(&document.role) <= Some(document.version);
        if let Some(document) = newer.iter().find(is_older) {
            return Err(not_confirmed(repository, document));
        }
    }
    session.finish()?;
    Ok(())
}

/// A random operation id.
///
/// # Errors
/// No randomness.
pub fn operation(ports: Ports<'_>) -> Result<OperationId, PublishError> {
    let mut id = [0; 16];
    ports.entropy.fill(&mut id)?;
    Ok(OperationId(id))
}

/// A session that speaks with the server: changes never start from the cache alone.
async fn online<'a>(
    purpose: Purpose,
    ports: Ports<'a>,
    repository: &RepositoryName,
) -> Result<Session<'a>, PublishError> {
    let mut session = Session::open_to(purpose, ports, repository).await?;
    match session.take_offline() {
        Some(error) => Err(error.into()),
        None => Ok(session),
    }
}

/// The server's name of the state first, the state after: a publication in between makes the
/// server refuse ours. `None` if one was already visible.
async fn read(
    purpose: Purpose,
    ports: Ports<'_>,
    repository: &RepositoryName,
) -> Result<Option<(Basis, CurrentState, UtcTime)>, PublishError> {
    let basis = ports.server.basis(repository).await?;
    let session = online(purpose, ports, repository).await?;
    if basis == Basis::Absent {
        return Err(RefreshError::UnknownRepository { repository: repository.clone() }.into());
    }
    let state = current::load(&session).await?;
    session.finish()?;
    Ok(agree(&basis, &state).then(|| (basis, state, session.now())))
}

fn agree(basis: &Basis, state: &CurrentState) -> bool {
    match basis {
        Basis::Absent => false,
        Basis::Head(head) => {
            let same = [
                (RoleName::Root, state.root().digest()),
                (RoleName::Snapshot, state.snapshot().digest()),
                (RoleName::Timestamp, state.timestamp().digest()),
            ];
            same.iter().all(|(role, digest)| head.current.get(role).is_some_and(|d| d.sha256 == *digest))
        }
        Basis::Snapshot(digest) => *digest == state.snapshot().digest(),
    }
}

/// Whether the server has an upload that nobody knows the fate of. It came whole or not at all,
/// so one document tells.
async fn has_arrived(ports: Ports<'_>, repository: &RepositoryName, upload: &Upload) -> bool {
    let Some(document) = upload.documents.first() else { return false };
    let hashes = Some(Hashes::sha256(Sha256Digest::of(&document.bytes)));
    let listed = MetaInfo { version: Some(document.version), length: None, hashes };
    let found = ports.server.metadata(repository, &document.role, Edition::Listed(&listed)).await;
    found.is_ok_and(|found| found.as_ref() == Some(&document.bytes))
}

/// Where the server has no name for states, it refuses what comes too late like anything else
/// that does not fit. Whether there is a newer state now tells the two apart.
async fn refused(
    ports: Ports<'_>,
    repository: &RepositoryName,
    upload: &Upload,
    error: TrustServerError,
) -> TrustServerError {
    let asks = matches!(error, TrustServerError::Refused { .. }) && !matches!(upload.basis, Basis::Head(_));
    if !asks {
        return error;
    }
    match ports.server.basis(repository).await {
        Ok(basis) if basis != upload.basis => TrustServerError::Changed { repository: repository.clone() },
        _ => error,
    }
}

fn not_confirmed(repository: &RepositoryName, document: &Document) -> PublishError {
    let (repository, role) = (repository.clone(), document.role.clone());
    PublishError::NotConfirmed { repository, role, version: document.version }
}

/// Nobody can use what is written under an expired root: it needs a successor along with it.
fn require_root(edit: &Edit, state: &CurrentState, now: UtcTime) -> Result<(), PublishError> {
    let (version, expires) = (state.root().version(), state.root().expires());
    if edit.root.is_none() && expires.is_over(now) {
        return Err(RefreshError::from(RootError::Expired { version, expires }).into());
    }
    Ok(())
}

fn choose(
    edit: &Edit,
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
) -> Result<BTreeSet<Fingerprint>, PublishError> {
    let mut chosen = match &edit.root {
        Some(change) => change.keys(state, ring, now)?,
        None => BTreeSet::new(),
    };
    for edited in &edit.documents {
        let keys = ring.choose(&edited.role, &edited.authority, &chosen)?;
        chosen.extend(keys);
    }
    Ok(chosen)
}

fn roles(edit: &Edit, state: &CurrentState) -> Vec<(RoleName, Version)> {
    let root = edit.root.as_ref().and_then(|_| state.root().version().next());
    let root = root.map(|version| (RoleName::Root, version));
    let edited = edit.documents.iter().map(|edited| (edited.role.clone(), edited.document.version));
    let signed = edit.signed.iter().map(|document| (document.role.clone(), document.version));
    root.into_iter().chain(edited).chain(signed).collect()
}

fn sign(
    state: &CurrentState,
    edited: Vec<Edited>,
    ring: &KeyRing<'_>,
) -> Result<Vec<Document>, PublishError> {
    let mut documents = Vec::new();
    for Edited { role, document, authority } in edited {
        let chosen = ring.choose(&role, &authority, &BTreeSet::new())?;
        let version = document.version;
        let signed = Draft::new(state.root().dialect(), document)
            .sign(&ring.signers(&chosen), &authority.keys, &authority.table)
            .map_err(|source| PublishError::Sign { role: role.clone(), source })?;
        documents.push(Document { role, version, bytes: signed.bytes().clone() });
    }
    Ok(documents)
}

/// Longer each time, up to two seconds, and random, so that rivals spread out.
async fn pause(ports: Ports<'_>, round: u32) -> Result<(), PublishError> {
    let longest = PAUSE.saturating_mul(1_u32.checked_shl(round).unwrap_or(u32::MAX)).min(LONGEST_PAUSE);
    let mut random = [0; 4];
    ports.entropy.fill(&mut random)?;
    let part = f64::from(u32::from_be_bytes(random)) / f64::from(u32::MAX);
    tokio::time::sleep(longest.mul_f64(part)).await;
    Ok(())
}

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The server said yes and shows something else.
    #[error("{role} version {version} of {repository} was accepted, but is not what the server shows")]
    NotConfirmed {
        /// The repository.
        repository: RepositoryName,
        /// The role.
        role: RoleName,
        /// Its version.
        version: Version,
    },
    /// The current state cannot be trusted.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// Nobody could sign what others would be asked for.
    #[error("such a request cannot be made: {0}")]
    Request(Box<OpenError>),
    /// There would be no room for signatures.
    #[error("the request has {bytes} bytes, more than a signing request may have")]
    RequestTooLarge {
        /// How many it has.
        bytes: usize,
    },
    /// The new root cannot be made.
    #[error(transparent)]
    RootChange(RootChangeError),
    /// The server did not do it.
    #[error(transparent)]
    Server(#[from] TrustServerError),
    /// What was written was refused by our own verification.
    #[error("cannot sign {role}: {source}")]
    Sign {
        /// The role.
        role: RoleName,
        /// Why.
        source: SignError,
    },
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// Others were faster each time.
    #[error("{repository} was changed by others {rounds} times while we tried")]
    TooBusy {
        /// The repository.
        repository: RepositoryName,
        /// How often.
        rounds: u32,
    },
    /// This home has not enough keys.
    #[error(transparent)]
    TooFewKeys(#[from] TooFewKeys),
    /// A key cannot be used.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
}

impl From<OpenError> for PublishError {
    fn from(error: OpenError) -> Self {
        Self::Request(Box::new(error))
    }
}

impl From<RootChangeError> for PublishError {
    /// Keys that are missing are missing, for whatever document.
    fn from(error: RootChangeError) -> Self {
        match error {
            RootChangeError::TooFewKeys(error) => Self::TooFewKeys(error),
            error => Self::RootChange(error),
        }
    }
}
