//! Revoke: take a tag off every list that this home can sign, and say so, signed.

use std::collections::BTreeSet;

use bulla_keys_schema::author::{TargetsEdit, TargetsEditError};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{DelegatedRole, Targets, Tombstone};
use bulla_keys_schema::names::{RepositoryName, RoleName, Tag, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::layout::{Authority, Layout, Signers};
use crate::flow::lifetimes;
use crate::flow::publish::{self, Edit, Edited, How, PublishError, Published};
use crate::flow::sign::{authority, repository_authority, role_name};
use crate::flow::signing::KeyRing;

/// What to revoke, and why.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// The tag.
    pub tag: Tag,
    /// Why, for whoever is refused.
    pub reason: Option<String>,
    /// What to do with the change.
    pub how: How,
}

/// What was revoked.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// What the tag meant.
    pub digest: Sha256Digest,
    /// Roles whose lists still hold the tag, because their keys are not here. Consumers refuse
    /// it all the same: `releases` says it is revoked, or in Notary's dialect does not list it.
    pub still_listed_by: Vec<RoleName>,
    /// Whether the repository keeps a record of the revocation.
    pub is_recorded: bool,
    /// The documents and keys.
    pub published: Published,
}

/// Revokes.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke(ports: Ports<'_>, request: &Request) -> Result<Revoked, RevokeError> {
    let (mut what, mut is_recorded) = (None, false);
    let published = publish::publish(ports, &request.repository, request.how.clone(), |state, ring, now| {
        let plan = plan(state, ring, now, request)?;
        is_recorded = state.root().dialect() == Dialect::Tuf1;
        what = Some((plan.digest, plan.still_listed_by));
        Ok::<_, RevokeError>(Edit { documents: plan.documents, ..Edit::default() })
    })
    .await?;
    let (digest, still_listed_by) = what.ok_or_else(|| not_signed(request))?;
    Ok(Revoked { digest, still_listed_by, is_recorded, published })
}

struct Plan {
    digest: Sha256Digest,
    documents: Vec<Edited>,
    still_listed_by: Vec<RoleName>,
}

fn plan(
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    request: &Request,
) -> Result<Plan, RevokeError> {
    let path = request.tag.target_path();
    let holders = holders(state)?;
    let resolved = holders.iter().find(|holder| holder.is_resolved && holder.lists(&path));
    let digest = resolved.and_then(|holder| holder.document.targets.get(path.as_str())?.hashes.as_sha256());
    let (Some(resolved), Some(digest)) = (resolved, digest) else {
        let main = holders.first().and_then(|main| main.document.revoked.get(&path));
        return Err(match main {
            Some(tombstone) => RevokeError::Already { tag: request.tag.clone(), at: tombstone.revoked_at },
            None => not_signed(request),
        });
    };
    let mut documents = Vec::new();
    let mut still_listed_by = Vec::new();
    for holder in holders.iter().filter(|holder| holder.lists(&path)) {
        let is_needed = holder.role == resolved.role;
        if is_needed || ring.choose(&holder.role, &holder.authority, &BTreeSet::new()).is_ok() {
            let by = keys(ring, &resolved.role, &resolved.authority);
            let reason = request.reason.clone();
            let tombstone = Tombstone { digest, reason, revoked_at: now, revoked_by: by };
            documents.push(holder.without(state.root().dialect(), [&path], &tombstone)?);
        } else {
            still_listed_by.push(holder.role.clone());
        }
    }
    Ok(Plan { digest, documents, still_listed_by })
}

/// The keys of this home that sign for a role; none where they are too few.
pub(super) fn keys(ring: &KeyRing<'_>, role: &RoleName, authority: &Authority) -> BTreeSet<Fingerprint> {
    ring.choose(role, authority, &BTreeSet::new()).unwrap_or_default().into_iter().collect()
}

/// A role with its document.
pub(super) struct Holder<'a> {
    pub(super) role: RoleName,
    pub(super) document: &'a Targets,
    pub(super) authority: Authority,
    /// Whether consumers look tags up in it.
    pub(super) is_resolved: bool,
}

impl Holder<'_> {
    fn lists(&self, path: &TargetPath) -> bool {
        self.document.targets.contains_key(path.as_str())
    }

    /// The next document without these names. Their tombstones say what `tombstone` says; Notary
    /// has no place for them.
    pub(super) fn without<'p>(
        &self,
        dialect: Dialect,
        paths: impl IntoIterator<Item = &'p TargetPath>,
        tombstone: &Tombstone,
    ) -> Result<Edited, RevokeError> {
        let expires = tombstone.revoked_at.plus_seconds(lifetimes::targets(dialect));
        let mut edit = TargetsEdit::next(dialect, self.document, expires)
            .ok_or_else(|| RevokeError::LastVersion { role: self.role.clone() })?;
        for path in paths {
            match dialect {
                Dialect::Tuf1 => edit.revoke_target(path, tombstone.clone()),
                Dialect::Notary1 => drop(edit.remove_target(path)),
            }
        }
        Ok(Edited { role: self.role.clone(), document: edit.finish(), authority: self.authority.clone() })
    }
}

/// Every role that may list tags, in the order in which consumers look them up. Docker looks
/// into `targets` as well when `releases` does not list a tag, and its repositories leave old
/// tags there.
pub(super) fn holders(state: &CurrentState) -> Result<Vec<Holder<'_>>, RevokeError> {
    let document = state.targets().payload();
    let top = Holder {
        role: RoleName::Targets,
        document,
        authority: repository_authority(state),
        is_resolved: true,
    };
    let Layout::Signers(signers) = Layout::of(document).ok_or(RevokeError::HashBins)? else {
        return Ok(vec![top]);
    };
    let is_legacy = state.root().dialect() == Dialect::Notary1;
    let releases = signers.releases().and_then(|role| delegated(state, &signers, role, true));
    if releases.is_none() && !is_legacy {
        return Err(RevokeError::NoReleases);
    }
    let top = Some(top).filter(|_| is_legacy);
    let signers = signers.all().filter_map(|role| delegated(state, &signers, role, false));
    Ok(releases.into_iter().chain(top).chain(signers).collect())
}

fn delegated<'a>(
    state: &'a CurrentState,
    signers: &Signers<'_>,
    role: &DelegatedRole,
    is_resolved: bool,
) -> Option<Holder<'a>> {
    let document = state.delegated().get(&role.name)?.payload();
    Some(Holder { role: role_name(role), document, authority: authority(signers, role), is_resolved })
}

fn not_signed(request: &Request) -> RevokeError {
    RevokeError::NotSigned { repository: request.repository.clone(), tag: request.tag.clone() }
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
    /// The digest is on the deny list, and no list that can be signed here holds it.
    #[error("{} was revoked already{}", digest.to_oci(), at.map(|at| format!(", at {at}")).unwrap_or_default())]
    AlreadyDenied {
        /// The digest.
        digest: Sha256Digest,
        /// When.
        at: Option<UtcTime>,
    },
    /// Nothing lists the digest, and the repository cannot remember it.
    #[error("no tag of {repository} means {}", digest.to_oci())]
    DigestNotSigned {
        /// The repository.
        repository: RepositoryName,
        /// The digest.
        digest: Sha256Digest,
    },
    /// There is no denial to take back.
    #[error("{} is not on the deny list of {repository}", digest.to_oci())]
    NotDenied {
        /// The repository.
        repository: RepositoryName,
        /// The digest.
        digest: Sha256Digest,
    },
    /// The deny list is delegated, but has no document.
    #[error("the repository has a deny list that was never published")]
    NoDenyList,
    /// The deny list cannot be delegated.
    #[error("the deny list cannot be made: {0}")]
    Edit(#[from] TargetsEditError),
    /// Notary has no deny lists.
    #[error("{repository} is a legacy repository, which has no deny list")]
    Legacy {
        /// The repository.
        repository: RepositoryName,
    },
    /// Somebody was faster.
    #[error("the tag {tag} was revoked already, at {at}")]
    Already {
        /// The tag.
        tag: Tag,
        /// When.
        at: UtcTime,
    },
    /// The repository was laid out by another tool.
    #[error("the repository delegates to hash bins, where no signer has a name")]
    HashBins,
    /// The version counter is at its end.
    #[error("{role} has reached the last version there is")]
    LastVersion {
        /// The role.
        role: RoleName,
    },
    /// The repository has signers but nowhere to list releases.
    #[error("the repository has signers, but no role `releases`")]
    NoReleases,
    /// There is nothing to revoke.
    #[error("{repository}:{tag} is not signed")]
    NotSigned {
        /// The repository.
        repository: RepositoryName,
        /// The tag.
        tag: Tag,
    },
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
}
