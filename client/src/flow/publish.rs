//! One change of a repository, from its current state to the proof that the server has it.
//!
//! Somebody else may publish at the same time: then everything is read and written anew, a
//! bounded number of times.

use std::collections::BTreeSet;
use std::time::Duration;

use bulla_keys_schema::author::{Draft, SignError};
use bulla_keys_schema::key::{Fingerprint, KeyName};
use bulla_keys_schema::metadata::{Targets, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_keys_schema::wire::Head;
use bytes::Bytes;

use crate::flow::layout::Authority;
use crate::flow::refresh::{RefreshError, Session};
use crate::flow::signing::{KeyRing, TooFewKeys, UnlockError};
use crate::flow::{Ports, current};
use crate::port::trust_server::{Document, Expected, OperationId, Upload};
use crate::port::{EntropyError, KeyStoreError, TrustServerError};

/// Lifetime of targets and delegated roles, in seconds: 90 days.
pub const TARGETS_LIFETIME: i64 = 90 * 24 * 60 * 60;

/// How often a change is redone because of others. Twenty jobs at once need about twenty.
const ROUNDS: u32 = 60;
/// How often one upload is repeated when nobody knows what became of it.
const REPEATS: u32 = 4;
const PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a change consists of.
#[derive(Clone, Debug, Default)]
pub struct Edit {
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
    /// Whether anything was done: `false` in a dry run.
    pub done: bool,
}

/// Makes the change that `plan` describes, given the current state. With `dry_run`, stops
/// before any passphrase is asked for.
///
/// # Errors
/// What `plan` returns, and [`PublishError`].
pub async fn publish<E: From<PublishError>>(
    ports: Ports<'_>,
    repository: &RepositoryName,
    dry_run: bool,
    mut plan: impl FnMut(&CurrentState, &KeyRing<'_>, UtcTime) -> Result<Edit, E>,
) -> Result<Published, E> {
    let mut ring = KeyRing::load(ports).map_err(PublishError::from)?;
    for round in 0..ROUNDS {
        if round > 0 {
            pause(ports, round).await?;
        }
        let Some((head, state, now)) = read(ports, repository).await? else { continue };
        let edit = plan(&state, &ring, now)?;
        let chosen = choose(&edit, &ring)?;
        let outcome = Published {
            roles: roles(&edit),
            keys: ring.names(&chosen.iter().copied().collect::<Vec<_>>()),
            done: !dry_run,
        };
        if dry_run {
            return Ok(outcome);
        }
        ring.unlock(&chosen).map_err(PublishError::from)?;
        let documents = sign(&state, edit.documents, &ring)?.into_iter().chain(edit.signed).collect();
        let operation = operation(ports)?;
        let upload =
            Upload { documents, targets: edit.files, expected: Expected::Token(head.token), operation };
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

/// Sends an upload; when no answer says what became of it, sends it again under the same
/// operation id.
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
        match ports.server.publish(repository, upload).await {
            Ok(_) => return Ok(()),
            Err(error) if error.is_unclear() && repeats < REPEATS => repeats += 1,
            Err(error) => return Err(error.into()),
        }
        pause(ports, repeats + 3).await?;
    }
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
    let session = online(ports, repository).await?;
    let snapshot = session.snapshot().snapshot().payload();
    for document in documents {
        let listed = match &document.role {
            RoleName::Root => {
                (session.root().version() >= document.version).then_some(session.root().version())
            }
            role => snapshot.meta.get(role).and_then(|info| {
                let same = info.hashes.as_ref().is_some_and(|hashes| hashes.match_bytes(&document.bytes));
                let version = info.version.unwrap_or(document.version);
                (version > document.version || same).then_some(version)
            }),
        };
        if listed.is_none() {
            let (repository, role) = (repository.clone(), document.role.clone());
            return Err(PublishError::NotConfirmed { repository, role, version: document.version });
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
async fn online<'a>(ports: Ports<'a>, repository: &RepositoryName) -> Result<Session<'a>, PublishError> {
    let mut session = Session::open(ports, repository).await?;
    match session.take_offline() {
        Some(error) => Err(error.into()),
        None => Ok(session),
    }
}

/// The head first, the state after: a publication in between makes the server refuse ours.
/// `None` if one was already visible.
async fn read(
    ports: Ports<'_>,
    repository: &RepositoryName,
) -> Result<Option<(Head, CurrentState, UtcTime)>, PublishError> {
    let head = ports.server.head(repository).await?;
    let session = online(ports, repository).await?;
    let head = head.ok_or_else(|| RefreshError::UnknownRepository { repository: repository.clone() })?;
    let state = current::load(&session).await?;
    let same = [
        (RoleName::Root, state.root().digest()),
        (RoleName::Snapshot, state.snapshot().digest()),
        (RoleName::Timestamp, state.timestamp().digest()),
    ];
    let agrees =
        same.iter().all(|(role, digest)| head.current.get(role).is_some_and(|d| d.sha256 == *digest));
    session.finish()?;
    Ok(agrees.then(|| (head, state, session.now())))
}

fn choose(edit: &Edit, ring: &KeyRing<'_>) -> Result<BTreeSet<Fingerprint>, PublishError> {
    let mut chosen = BTreeSet::new();
    for edited in &edit.documents {
        let keys = ring.choose(&edited.role, &edited.authority, &chosen)?;
        chosen.extend(keys);
    }
    Ok(chosen)
}

fn roles(edit: &Edit) -> Vec<(RoleName, Version)> {
    let edited = edit.documents.iter().map(|edited| (edited.role.clone(), edited.document.version));
    edited.chain(edit.signed.iter().map(|document| (document.role.clone(), document.version))).collect()
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
