//! Deny: nobody may vouch for a digest any more, whatever is signed later. Its own keys say so, in
//! the document of `revocations`, and only they take it back.
//!
//! Every tag that means the digest is taken off as well, where the keys are here: clients that do
//! not know the list only see that. Notary's repositories have no such list; there the tags go,
//! and nothing stays.

use std::collections::BTreeSet;

use bulla_keys_schema::author::{Delegation, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{Denial, DenyList, TargetInfo, Targets, Tombstone};
use bulla_keys_schema::names::{DelegatedRoleName, RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::layout::{self, Authority, Signers};
use crate::flow::lifetimes;
use crate::flow::publish::{self, Edit, Edited, How, PublishError, Published};
use crate::flow::revoke::{Holder, RevokeError, holders, keys};
use crate::flow::sign::{next_version, repository_authority};
use crate::flow::signing::KeyRing;

/// What to deny, and why, or what to take back.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// The digest.
    pub digest: Sha256Digest,
    /// Why, for whoever is refused.
    pub reason: Option<String>,
    /// What to do with the change.
    pub how: How,
}

/// What was denied.
#[derive(Clone, Debug)]
pub struct Denied {
    /// Tags that were taken off, each once.
    pub tags: Vec<String>,
    /// Tags that stay listed, with the role whose keys are not here. Consumers that read the deny
    /// list refuse them all the same.
    pub left: Vec<(RoleName, String)>,
    /// Whether the deny list holds the digest now; `false` in Notary's dialect.
    pub is_listed: bool,
    /// The documents and keys.
    pub published: Published,
}

/// Denies a digest.
///
/// # Errors
/// See [`RevokeError`].
pub async fn deny(ports: Ports<'_>, request: &Request) -> Result<Denied, RevokeError> {
    let (mut taken, mut is_listed) = (Taken::default(), false);
    let published = publish::publish(ports, &request.repository, request.how.clone(), |state, ring, now| {
        let (plan, what) = plan(state, ring, now, request)?;
        taken = what;
        is_listed = state.root().dialect() == Dialect::Tuf1;
        Ok::<_, RevokeError>(Edit { documents: plan, ..Edit::default() })
    })
    .await?;
    Ok(Denied { tags: taken.tags.into_iter().collect(), left: taken.left, is_listed, published })
}

/// Takes a denial back. Tags stay off: whoever wants one signs it again.
///
/// # Errors
/// See [`RevokeError`].
pub async fn undo(ports: Ports<'_>, request: &Request) -> Result<Published, RevokeError> {
    publish::publish(ports, &request.repository, request.how.clone(), |state, ring, now| {
        let edited = allow_again(state, ring, now, request)?;
        Ok::<_, RevokeError>(Edit { documents: vec![edited], ..Edit::default() })
    })
    .await
}

/// What happens to the tags that mean a digest.
#[derive(Default)]
struct Taken {
    tags: BTreeSet<String>,
    left: Vec<(RoleName, String)>,
}

fn plan(
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    request: &Request,
) -> Result<(Vec<Edited>, Taken), RevokeError> {
    let digest = request.digest;
    let dialect = state.root().dialect();
    let holders = holders(state)?;
    let listing: Vec<(&Holder<'_>, Vec<TargetPath>)> =
        holders.iter().map(|holder| (holder, names(holder.document, digest))).collect();
    let by = match dialect {
        Dialect::Tuf1 => keys_of_list(state, ring),
        Dialect::Notary1 => BTreeSet::new(),
    };
    let reason = request.reason.clone();
    let tombstone = Tombstone { digest, reason, revoked_at: now, revoked_by: by };
    let mut documents = Vec::new();
    let mut taken = Taken::default();
    // A tag that a signer lists no more must not stay in `releases`: the server would refuse it.
    let mut is_stuck = false;
    for (holder, paths) in listing.iter().filter(|(_, paths)| !paths.is_empty()) {
        let is_here = ring.choose(&holder.role, &holder.authority, &BTreeSet::new()).is_ok();
        if is_here && (holder.is_resolved || !is_stuck) {
            documents.push(holder.without(dialect, paths, &tombstone)?);
            taken.tags.extend(paths.iter().map(ToString::to_string));
        } else {
            is_stuck |= holder.is_resolved;
            taken.left.extend(paths.iter().map(|path| (holder.role.clone(), path.to_string())));
        }
    }
    if dialect == Dialect::Notary1 {
        return match (documents.is_empty(), taken.left.first()) {
            (false, _) => Ok((documents, taken)),
            (true, Some((role, _))) => Err(missing_keys(&holders, ring, role)),
            (true, None) => Err(not_signed(request)),
        };
    }
    let already = state.revocations().and_then(|list| DenyList::new(list.payload()).find_digest(digest));
    match already {
        Some(denial) if documents.is_empty() => {
            return Err(RevokeError::AlreadyDenied { digest, at: denial.revoked_at });
        }
        Some(_) => {}
        None => {
            let known = listing.iter().find_map(|(holder, paths)| info(holder.document, paths.first()?));
            list(state, now, &mut documents, &Denial::from_tombstone(&tombstone), known)?;
        }
    }
    Ok((documents, taken))
}

/// The names under which a document lists a digest.
fn names(document: &Targets, digest: Sha256Digest) -> Vec<TargetPath> {
    let listed = document.targets.iter().filter(|(_, info)| info.hashes.as_sha256() == Some(digest));
    listed.filter_map(|(name, _)| name.parse().ok()).collect()
}

fn info<'a>(document: &'a Targets, path: &TargetPath) -> Option<&'a TargetInfo> {
    document.targets.get(path.as_str())
}

/// The keys of this home that sign the deny list: those of its delegation, or those of targets,
/// which it gets.
fn keys_of_list(state: &CurrentState, ring: &KeyRing<'_>) -> BTreeSet<Fingerprint> {
    let role = RoleName::Delegated(DelegatedRoleName::revocations());
    let known = layout::revocations(state.root().dialect(), state.targets().payload());
    let authority = known.map_or_else(|| repository_authority(state), |(_, authority)| authority);
    keys(ring, &role, &authority)
}

/// Adds the denial to the list, and the list to the repository on first need.
fn list(
    state: &CurrentState,
    now: UtcTime,
    documents: &mut Vec<Edited>,
    denial: &Denial,
    known: Option<&TargetInfo>,
) -> Result<(), RevokeError> {
    let role = RoleName::Delegated(DelegatedRoleName::revocations());
    let expires = now.plus_seconds(lifetimes::targets(Dialect::Tuf1));
    let last = || RevokeError::LastVersion { role: role.clone() };
    if let Some((_, authority)) = layout::revocations(Dialect::Tuf1, state.targets().payload()) {
        let before = state.revocations().ok_or(RevokeError::NoDenyList)?.payload();
        let mut edit = TargetsEdit::next(Dialect::Tuf1, before, expires).ok_or_else(last)?;
        edit.deny(denial, known);
        documents.insert(0, Edited { role, document: edit.finish(), authority });
        return Ok(());
    }
    let (targets, authority) = delegate(state, now, documents)?;
    let version = next_version(state, &role).ok_or_else(last)?;
    let mut edit = TargetsEdit::new(Dialect::Tuf1, role.clone(), version, expires)
        .for_repository(state.root().payload().repository.clone());
    edit.deny(denial, known);
    documents.retain(|edited| edited.role != RoleName::Targets);
    documents.insert(0, targets);
    documents.insert(1, Edited { role, document: edit.finish(), authority });
    Ok(())
}

/// `targets` with the delegation to the deny list. It gets the keys and the threshold of
/// `targets`: whoever decides who signs decides what nobody may sign.
fn delegate(
    state: &CurrentState,
    now: UtcTime,
    documents: &[Edited],
) -> Result<(Edited, Authority), RevokeError> {
    let name = DelegatedRoleName::revocations();
    let written = documents.iter().find(|edited| edited.role == RoleName::Targets);
    let expires = now.plus_seconds(lifetimes::targets(Dialect::Tuf1));
    let next = match written {
        Some(edited) => Some(TargetsEdit::resume(Dialect::Tuf1, edited.document.clone())),
        None => TargetsEdit::next(Dialect::Tuf1, state.targets().payload(), expires),
    };
    let mut edit = next.ok_or(RevokeError::LastVersion { role: RoleName::Targets })?;
    let authority = repository_authority(state);
    let entries = authority.keys.key_ids.iter().filter_map(|id| authority.table.get(id).cloned());
    edit.set_delegation(&Delegation {
        name: name.clone(),
        keys: entries.filter(|entry| entry.key.is_some()).collect(),
        threshold: authority.keys.threshold,
        scope: DenyList::scope(),
        terminating: true,
    })?;
    let document = edit.finish();
    let signers = Signers::of(&document).zip(document.delegation(&name));
    let list =
        signers.map(|(signers, role)| Authority { keys: role.keys.clone(), table: signers.table().clone() });
    let list = list.ok_or(RevokeError::HashBins)?;
    Ok((Edited { role: RoleName::Targets, document, authority }, list))
}

/// The list without the digest; its tombstone says who took it back, when and why.
fn allow_again(
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    request: &Request,
) -> Result<Edited, RevokeError> {
    let (repository, digest) = (request.repository.clone(), request.digest);
    if state.root().dialect() == Dialect::Notary1 {
        return Err(RevokeError::Legacy { repository });
    }
    let known = layout::revocations(Dialect::Tuf1, state.targets().payload());
    let Some((list, (_, authority))) = state.revocations().zip(known) else {
        return Err(RevokeError::NotDenied { repository, digest });
    };
    if DenyList::new(list.payload()).find_digest(digest).is_none() {
        return Err(RevokeError::NotDenied { repository, digest });
    }
    let tombstone = Tombstone {
        digest,
        reason: request.reason.clone(),
        revoked_at: now,
        revoked_by: keys_of_list(state, ring),
    };
    let role = RoleName::Delegated(DelegatedRoleName::revocations());
    let holder = Holder { role, document: list.payload(), authority, is_resolved: false };
    holder.without(Dialect::Tuf1, [&DenyList::path(digest)], &tombstone)
}

fn missing_keys(holders: &[Holder<'_>], ring: &KeyRing<'_>, role: &RoleName) -> RevokeError {
    let holder = holders.iter().find(|holder| holder.role == *role);
    let error =
        holder.and_then(|holder| ring.choose(&holder.role, &holder.authority, &BTreeSet::new()).err());
    error.map_or(RevokeError::NoReleases, |error| PublishError::TooFewKeys(error).into())
}

fn not_signed(request: &Request) -> RevokeError {
    RevokeError::DigestNotSigned { repository: request.repository.clone(), digest: request.digest }
}
