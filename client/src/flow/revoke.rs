//! Revoke: take a tag off every list that this home can sign, and say so, signed.

use std::collections::BTreeSet;

use bulla_keys_schema::author::TargetsEdit;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::{Targets, Tombstone};
use bulla_keys_schema::names::{RepositoryName, RoleName, Tag, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::layout::{Authority, Layout};
use crate::flow::publish::{self, Edit, Edited, PublishError, Published, TARGETS_LIFETIME};
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
    /// Change nothing.
    pub dry_run: bool,
}

/// What was revoked.
#[derive(Clone, Debug)]
pub struct Revoked {
    /// What the tag meant.
    pub digest: Sha256Digest,
    /// Signers whose lists still hold the tag, because their keys are not here. Consumers
    /// refuse it all the same: `releases` says it is revoked.
    pub still_listed_by: Vec<RoleName>,
    /// The documents and keys.
    pub published: Published,
}

/// Revokes.
///
/// # Errors
/// See [`RevokeError`].
pub async fn revoke(ports: Ports<'_>, request: &Request) -> Result<Revoked, RevokeError> {
    let mut what = None;
    let published = publish::publish(ports, &request.repository, request.dry_run, |state, ring, now| {
        let plan = plan(state, ring, now, request)?;
        what = Some((plan.digest, plan.still_listed_by));
        Ok::<_, RevokeError>(Edit { documents: plan.documents, ..Edit::default() })
    })
    .await?;
    let (digest, still_listed_by) = what.ok_or_else(|| not_signed(request))?;
    Ok(Revoked { digest, still_listed_by, published })
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
    let targets = state.targets().payload();
    let layout = Layout::of(targets).ok_or(RevokeError::HashBins)?;
    let main = match layout {
        Layout::Alone => {
            Holder { role: RoleName::Targets, document: targets, authority: repository_authority(state) }
        }
        Layout::Signers(signers) => {
            let role = signers.releases().ok_or(RevokeError::NoReleases)?;
            holder(state, role_name(role), authority(&signers, role)).ok_or(RevokeError::NoReleases)?
        }
    };
    let listed = main.document.targets.get(path.as_str()).and_then(|info| info.hashes.as_sha256());
    let Some(digest) = listed else {
        return Err(match main.document.revoked.get(&path) {
            Some(tombstone) => RevokeError::Already { tag: request.tag.clone(), at: tombstone.revoked_at },
            None => not_signed(request),
        });
    };
    let dialect = state.root().dialect();
    let mut documents = vec![main.without(dialect, &path, digest, now, request)?];
    let mut still_listed_by = Vec::new();
    if let Layout::Signers(signers) = layout {
        for role in signers.all() {
            let Some(holder) = holder(state, role_name(role), authority(&signers, role)) else { continue };
            if !holder.document.targets.contains_key(path.as_str()) {
                continue;
            }
            match ring.choose(&holder.role, &holder.authority, &BTreeSet::new()) {
                Ok(_) => documents.push(holder.without(dialect, &path, digest, now, request)?),
                Err(_) => still_listed_by.push(holder.role),
            }
        }
    }
    Ok(Plan { digest, documents, still_listed_by })
}

/// A role with its document.
struct Holder<'a> {
    role: RoleName,
    document: &'a Targets,
    authority: Authority,
}

impl Holder<'_> {
    fn without(
        self,
        dialect: Dialect,
        path: &TargetPath,
        digest: Sha256Digest,
        now: UtcTime,
        request: &Request,
    ) -> Result<Edited, RevokeError> {
        let expires = now.plus_seconds(TARGETS_LIFETIME);
        let mut edit = TargetsEdit::next(dialect, self.document, expires)
            .ok_or_else(|| RevokeError::LastVersion { role: self.role.clone() })?;
        edit.revoke_target(path, Tombstone { digest, reason: request.reason.clone(), revoked_at: now });
        Ok(Edited { role: self.role, document: edit.finish(), authority: self.authority })
    }
}

fn holder(state: &CurrentState, role: RoleName, authority: Authority) -> Option<Holder<'_>> {
    let RoleName::Delegated(name) = &role else { return None };
    let document = state.delegated().get(name)?.payload();
    Some(Holder { role, document, authority })
}

fn not_signed(request: &Request) -> RevokeError {
    RevokeError::NotSigned { repository: request.repository.clone(), tag: request.tag.clone() }
}

/// Why nothing was revoked.
#[derive(Debug, thiserror::Error)]
pub enum RevokeError {
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
