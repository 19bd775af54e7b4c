//! The rules for uploads that can be judged before all signatures are there: what breaks one of
//! them would be refused when the last one comes, after everybody has signed.

use std::collections::BTreeSet;

use crate::dialect::Dialect;
use crate::key::Fingerprint;
use crate::metadata::{Root, Targets, TopLevelRole};
use crate::names::{RepositoryName, RoleName};
use crate::time::UtcTime;
use crate::verify::VerifyError;
use crate::verify::submission::{
    CurrentState, Rejection, profile, require_next, require_repository, require_unexpired,
};

/// Checks a root but for its signatures. Which online keys the server holds is not known to
/// everybody, so `held` are those that the root itself lists.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn check_unsigned_root(
    dialect: Dialect,
    current: Option<&CurrentState>,
    root: &Root,
    repository: &RepositoryName,
    now: UtcTime,
) -> Result<(), Rejection> {
    require_repository(root, repository)?;
    let before = current.map(|current| current.root().version());
    require_next(dialect, &RoleName::Root, before, root.version)?;
    require_unexpired(&RoleName::Root, root.expires, now)?;
    profile::check_root(dialect, root, &online(root))?;
    require_certificates(dialect, root, repository, now)
}

/// Checks a document of targets or of a delegated role but for its signatures.
///
/// # Errors
/// The first rule that it breaks.
pub(crate) fn check_unsigned_targets(
    current: Option<&CurrentState>,
    (dialect, root): (Dialect, &Root),
    role: &RoleName,
    targets: &Targets,
    now: UtcTime,
) -> Result<(), Rejection> {
    let before = current.and_then(|current| current.last_version(role));
    require_next(dialect, role, before, targets.version)?;
    require_unexpired(role, targets.expires, now)?;
    profile::check_targets(dialect, role, targets, &online(root))
}

/// The server holds the keys in `held`: whether it could sign what `root` demands of it.
///
/// # Errors
/// It could not.
pub(crate) fn check_online_keys(
    dialect: Dialect,
    root: &Root,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    profile::check_root(dialect, root, held)?;
    profile::check_online_keys(dialect, root, held)
}

fn online(root: &Root) -> BTreeSet<Fingerprint> {
    let roles = [TopLevelRole::Snapshot, TopLevelRole::Timestamp];
    roles.into_iter().flat_map(|role| root.role(role).fingerprints(&root.keys)).collect()
}

/// In Notary's dialect, as many root keys as must sign need a certificate for the repository.
fn require_certificates(
    dialect: Dialect,
    root: &Root,
    repository: &RepositoryName,
    now: UtcTime,
) -> Result<(), Rejection> {
    if dialect == Dialect::Tuf1 {
        return Ok(());
    }
    let mut fitting = root.root.clone();
    fitting.key_ids.retain(|id| {
        let certificate = root.keys.get(id).and_then(|entry| entry.certificate.as_ref());
        certificate.is_some_and(|known| known.names(repository) && known.is_valid_at(now))
    });
    let (threshold, fitting) = (root.root.threshold, fitting.fingerprints(&root.keys).len());
    if !threshold.is_met_by(fitting) {
        let source = VerifyError::Certificates { threshold, fitting };
        return Err(Rejection::Verify { role: RoleName::Root, source });
    }
    Ok(())
}
