//! Uploads: checked by the same types as a client would, before anything is stored.
//!
//! A [`Submission`] is what somebody sent. [`Submission::check`] compares it with the
//! [`CurrentState`] and yields an [`AcceptedUpdate`], which the server completes with
//! snapshot and timestamp into a [`SealedUpdate`]: the only thing that may be stored.

mod accepted;
mod delegations;
mod denials;
mod ends;
mod given;
mod layout;
mod profile;
mod state;
mod unsigned;

pub use accepted::{AcceptedUpdate, SealError, SealedUpdate};
pub use state::{BrokenState, CurrentState, Retired};
pub(crate) use unsigned::{check_online_keys, check_unsigned_root, check_unsigned_targets};

use std::collections::{BTreeMap, BTreeSet};

use crate::dialect::Dialect;
use crate::digest::{Hashed, Sha256Digest};
use crate::key::Fingerprint;
use crate::limits;
use crate::metadata::{Root, Targets, TopLevelRole, Version};
use crate::names::{DelegatedRoleName, RepositoryName, RoleName, TargetPath};
use crate::time::UtcTime;
use crate::verify::verified::Holder;
use crate::verify::{RawMetadata, Verified, VerifyError};

/// An upload as it came.
#[derive(Clone, Default)]
pub struct Submission {
    /// New roots, oldest first.
    pub roots: Vec<Hashed>,
    /// New top-level targets.
    pub targets: Option<Hashed>,
    /// New delegated targets.
    pub delegated: BTreeMap<DelegatedRoleName, Hashed>,
    /// A new snapshot, in Notary's dialect, of a repository whose owner holds the key.
    pub snapshot: Option<Hashed>,
    /// Bytes of targets that the uploaded documents list.
    pub target_files: Vec<Hashed>,
}

/// What a server brings along to judge an upload.
pub struct Authority<'a> {
    /// The online keys it holds for this repository, by key material.
    pub held_keys: &'a BTreeSet<Fingerprint>,
    /// The repository that is uploaded to.
    pub repository: &'a RepositoryName,
    /// The time of the upload.
    pub now: UtcTime,
}

impl Submission {
    /// Checks the upload against the current state; `None` for a repository that does not
    /// exist yet. One that does keeps its dialect, whatever the upload is said to be of.
    ///
    /// # Errors
    /// The first rule that it breaks. Nothing of it may be stored then.
    pub fn check(
        self,
        dialect: Dialect,
        current: Option<&CurrentState>,
        authority: &Authority<'_>,
    ) -> Result<AcceptedUpdate, Rejection> {
        let dialect = current.map_or(dialect, |current| current.root().dialect());
        // Notary's clients publish nothing at all to have the online roles renewed.
        let may_be_empty = dialect == Dialect::Notary1 && current.is_some();
        if self.is_empty() && !may_be_empty {
            return Err(Rejection::Empty);
        }
        let roots = check_roots(dialect, current, self.roots, authority)?;
        let root = match (roots.last(), current) {
            (Some(newest), _) => newest.clone(),
            (None, Some(current)) => current.root().clone(),
            (None, None) => return Err(Rejection::Missing { role: RoleName::Root }),
        };
        let targets = check_targets(dialect, current, self.targets, &root, authority)?;
        let uploaded: BTreeSet<_> = self.delegated.keys().cloned().collect();
        let (delegated, retired) = delegations::check(current, &root, &targets, self.delegated, authority)?;
        let update = AcceptedUpdate {
            before: current.cloned(),
            new_roots: roots,
            root,
            targets,
            delegated,
            retired,
            uploaded,
            given_snapshot: None,
            target_files: Vec::new(),
            now: authority.now,
        };
        if dialect == Dialect::Notary1 {
            return update.with_given_snapshot(self.snapshot, authority.held_keys);
        }
        if self.snapshot.is_some() {
            return Err(Rejection::OnlineRole { role: RoleName::Snapshot });
        }
        update.check_denials()?;
        update.check_ends()?;
        update.check_layout()?;
        update.with_target_files(self.target_files)
    }

    fn is_empty(&self) -> bool {
        self.roots.is_empty()
            && self.targets.is_none()
            && self.delegated.is_empty()
            && self.snapshot.is_none()
    }
}

fn check_roots(
    dialect: Dialect,
    current: Option<&CurrentState>,
    uploaded: Vec<Hashed>,
    authority: &Authority<'_>,
) -> Result<Vec<Verified<Root>>, Rejection> {
    if uploaded.len() > limits::ROOT_STEPS {
        return Err(Rejection::TooLarge { role: RoleName::Root, limit: limits::ROOT_STEPS });
    }
    let holder = Holder { repository: authority.repository.clone(), exactly: false };
    let mut roots: Vec<Verified<Root>> = Vec::with_capacity(uploaded.len());
    for bytes in uploaded {
        let raw = raw::<Root>(dialect, &RoleName::Root, bytes)?;
        let before = roots.last().or_else(|| current.map(CurrentState::root));
        let root = match before {
            Some(before) => raw.verify_successor(before),
            // A repository begins with whatever root its consumers will pin.
            None => raw.verify_first(),
        };
        let refused = |source| Rejection::Verify { role: RoleName::Root, source };
        let root = root.map_err(refused)?;
        require_repository(root.payload(), authority.repository)?;
        if let Some(before) = before {
            root.require_old_certificates(before, &holder).map_err(refused)?;
        }
        root.require_certificates(&holder, Some(authority.now)).map_err(refused)?;
        require_next(dialect, &RoleName::Root, before.map(Verified::version), root.version())?;
        profile::check_root(dialect, root.payload(), authority.held_keys)?;
        roots.push(root);
    }
    if let Some(newest) = roots.last() {
        require_unexpired(&RoleName::Root, newest.expires(), authority.now)?;
        profile::check_online_keys(dialect, newest.payload(), authority.held_keys)?;
    }
    Ok(roots)
}

fn check_targets(
    dialect: Dialect,
    current: Option<&CurrentState>,
    uploaded: Option<Hashed>,
    root: &Verified<Root>,
    authority: &Authority<'_>,
) -> Result<Verified<Targets>, Rejection> {
    let role = RoleName::Targets;
    let keys = root.payload().role(TopLevelRole::Targets);
    let table = &root.payload().keys;
    let refused = |source| Rejection::Verify { role: RoleName::Targets, source };
    let Some(bytes) = uploaded else {
        let current = current.ok_or_else(|| Rejection::Missing { role: role.clone() })?;
        if current.root().digest() == root.digest() {
            // Verified under this very root when the state was made.
            return Ok(current.targets().clone());
        }
        // New targets keys, or a name that the root takes, without newly signed targets would
        // lock every client out.
        let stored = RawMetadata::<Targets>::new(dialect, current.targets().bytes().clone());
        return stored.verify_as(&role, root.payload(), keys, table).map_err(refused);
    };
    let targets = raw::<Targets>(dialect, &role, bytes)?
        .verify_as(&role, root.payload(), keys, table)
        .map_err(refused)?;
    require_next(dialect, &role, current.map(|current| current.targets().version()), targets.version())?;
    require_unexpired(&role, targets.expires(), authority.now)?;
    profile::check_targets(dialect, &role, targets.payload(), authority.held_keys)?;
    Ok(targets)
}

/// Why an upload is refused. Each variant is one rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// A digest on the deny list: whoever signs it now may not know that it was revoked, or
    /// wants it back.
    #[error("{role} lists {path} as {}, which revocations denies", digest.to_oci())]
    DeniedDigest {
        /// The role that lists it.
        role: RoleName,
        /// Under which name.
        path: String,
        /// The denied digest.
        digest: Sha256Digest,
    },
    /// A denied digest would be forgotten without the keys of the list, for example because
    /// other keys let the list go.
    #[error("{name} would leave revocations, but the keys of that role did not sign this")]
    DenialDropped {
        /// The entry.
        name: String,
    },
    /// A key would count twice, or could never count.
    #[error("{role}: key {fingerprint} is listed twice")]
    DuplicateKey {
        /// The role whose keys are listed.
        role: RoleName,
        /// The key material.
        fingerprint: Fingerprint,
    },
    /// Nothing was uploaded.
    #[error("the upload holds no metadata")]
    Empty,
    /// The role's right to sign is over.
    #[error("{role}: the right to sign ended at {ends}")]
    Ended {
        /// Of which role.
        role: RoleName,
        /// When.
        ends: UtcTime,
    },
    /// The uploaded document is expired already.
    #[error("{role} expired at {expires}")]
    Expired {
        /// Of which role.
        role: RoleName,
        /// When.
        expires: UtcTime,
    },
    /// A document that others point to is neither uploaded nor stored.
    #[error("{role} is missing")]
    Missing {
        /// Which role.
        role: RoleName,
    },
    /// A delegated role was uploaded that nobody delegates to.
    #[error("{role} is not delegated")]
    NotDelegated {
        /// Which role.
        role: RoleName,
    },
    /// The server signs this role itself.
    #[error("{role} cannot be uploaded, the server signs it")]
    OnlineRole {
        /// Which role.
        role: RoleName,
    },
    /// Root does not list enough online keys that this server holds.
    #[error("root lists too few {role} keys held by this server")]
    OnlineKeys {
        /// snapshot or timestamp.
        role: RoleName,
    },
    /// A key that the server holds may sign for an offline role: who stole the server could
    /// then forge.
    #[error("{role} trusts key {fingerprint}, which this server holds")]
    OnlineKeyOffline {
        /// The offline role.
        role: RoleName,
        /// The key material.
        fingerprint: Fingerprint,
    },
    /// The document lasts longer than its role's right to sign: clients that do not know of that
    /// limit would trust it after the end.
    #[error("{role} expires at {expires}, after its right to sign ends at {ends}")]
    Outlives {
        /// Of which role.
        role: RoleName,
        /// When the document expires.
        expires: UtcTime,
        /// When the right ends.
        ends: UtcTime,
    },
    /// Something that not all common clients can read.
    #[error("{role}: {what}")]
    Profile {
        /// Which role.
        role: RoleName,
        /// What.
        what: &'static str,
    },
    /// A name is listed and revoked at the same time.
    #[error("{role} lists {path} as a target and as revoked")]
    RevokedTarget {
        /// Which role.
        role: RoleName,
        /// Which name.
        path: TargetPath,
    },
    /// An uploaded snapshot says something else than what is stored and uploaded: clients
    /// would ask for documents that nobody has.
    #[error("the snapshot {what}: {role}")]
    Snapshot {
        /// The role that it lists or does not list.
        role: RoleName,
        /// What is wrong.
        what: &'static str,
    },
    /// Two roles list a name with different digests or lengths; clients would disagree on
    /// which counts.
    #[error("{path} has one digest or length in targets and another in {role}")]
    SplitTarget {
        /// The delegated role.
        role: RoleName,
        /// Which name.
        path: String,
    },
    /// Larger than common clients read.
    #[error("{role} exceeds {limit}, the most that common clients read")]
    TooLarge {
        /// Of which role.
        role: RoleName,
        /// The limit, in bytes or entries.
        limit: usize,
    },
    /// A target file that no uploaded document lists.
    #[error("target file {digest} is not listed by any uploaded document")]
    UnlistedFile {
        /// Its digest.
        digest: Sha256Digest,
    },
    /// An entry of `releases` that no signer vouches for.
    #[error("releases lists {path}, but no signer who may speak for it lists the same digest")]
    Unvouched {
        /// Which name.
        path: String,
    },
    /// Not signed as it must be, or malformed.
    #[error("{role}: {source}")]
    Verify {
        /// Which role.
        role: RoleName,
        /// Why.
        source: VerifyError,
    },
    /// Not the version after the current one (an authorised client that sends 2^31 - 1 would
    /// brick the repository: NCC 3, Cure53 TUF-01-002).
    #[error("{role} has version {found}, expected {}", wanted.map_or_else(|| "no further one".to_owned(), |v| v.to_string()))]
    Version {
        /// Of which role.
        role: RoleName,
        /// The next version.
        wanted: Option<Version>,
        /// The version found.
        found: Version,
    },
}

fn raw<R: crate::dialect::Document>(
    dialect: Dialect,
    role: &RoleName,
    bytes: Hashed,
) -> Result<RawMetadata<R>, Rejection> {
    let limit = role.byte_limit();
    if bytes.len() > limit {
        return Err(Rejection::TooLarge { role: role.clone(), limit });
    }
    Ok(RawMetadata::new(dialect, bytes))
}

/// A root made for another repository would be refused by everybody who asks for this one.
fn require_repository(root: &Root, repository: &RepositoryName) -> Result<(), Rejection> {
    match &root.repository {
        Some(found) if found != repository => Err(Rejection::Verify {
            role: RoleName::Root,
            source: VerifyError::OtherRepository { found: Some(found.clone()) },
        }),
        _ => Ok(()),
    }
}

/// The version after `before`. A role begins with 1, but in Notary's dialect: there clients
/// sign a role once before they publish it, or go on counting where they were before the
/// repository was removed (a root can only have been signed twice).
fn require_next(
    dialect: Dialect,
    role: &RoleName,
    before: Option<Version>,
    found: Version,
) -> Result<(), Rejection> {
    let begins = match (dialect, role) {
        (Dialect::Tuf1, _) => 1,
        (Dialect::Notary1, RoleName::Root) => 2,
        (Dialect::Notary1, _) => limits::FIRST_VERSION,
    };
    match before {
        None if found.get() <= begins => Ok(()),
        None => require_version(role, Some(Version::FIRST), found),
        Some(before) => require_version(role, before.next(), found),
    }
}

fn require_version(role: &RoleName, wanted: Option<Version>, found: Version) -> Result<(), Rejection> {
    let wanted = wanted.filter(|version| version.get() <= limits::WRITTEN_VERSION);
    if wanted != Some(found) {
        return Err(Rejection::Version { role: role.clone(), wanted, found });
    }
    Ok(())
}

fn require_unexpired(role: &RoleName, expires: UtcTime, now: UtcTime) -> Result<(), Rejection> {
    if expires.is_over(now) {
        return Err(Rejection::Expired { role: role.clone(), expires });
    }
    Ok(())
}
