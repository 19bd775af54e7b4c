//! What uploaded documents may contain: the interop profile that every common client reads,
//! and the separation of online from offline keys.

use std::collections::BTreeSet;

use crate::dialect::Dialect;
use crate::key::Fingerprint;
use crate::limits;
use crate::metadata::{
    Children, DelegatedRole, DenyList, KeyTable, RoleKeys, Root, Scope, Targets, Threshold, TopLevelRole,
};
use crate::names::{RELEASES, REVOCATIONS, RoleName, TargetPath};
use crate::verify::submission::Rejection;

/// What holds for every root of a chain: who holds a key of one in the middle could lead the
/// clients that stopped there another way.
pub(super) fn check_root(
    dialect: Dialect,
    root: &Root,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    // In Notary's dialect files are asked for by digest, whatever this member says.
    if dialect == Dialect::Tuf1 && !root.consistent_snapshot {
        return refuse(&RoleName::Root, "consistent_snapshot must be true");
    }
    for role in TopLevelRole::ALL {
        let name = role_name(role);
        let fingerprints = check_keys(dialect, &name, root.role(role), &root.keys)?;
        if matches!(role, TopLevelRole::Root | TopLevelRole::Targets) {
            refuse_held(&name, &fingerprints, held)?;
        }
    }
    Ok(())
}

/// The newest root must let this server sign what it has to sign. In Notary's dialect its owner
/// may hold the key of the snapshot.
pub(super) fn check_online_keys(
    dialect: Dialect,
    root: &Root,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    for role in [TopLevelRole::Snapshot, TopLevelRole::Timestamp] {
        let may_be_held_elsewhere = dialect == Dialect::Notary1 && role == TopLevelRole::Snapshot;
        if !may_be_held_elsewhere && !is_held(root, role, held) {
            return Err(Rejection::OnlineKeys { role: role_name(role) });
        }
    }
    Ok(())
}

/// Whether the keys in `held` can sign `role`.
pub(super) fn is_held(root: &Root, role: TopLevelRole, held: &BTreeSet<Fingerprint>) -> bool {
    let keys = root.role(role);
    keys.threshold.is_met_by(keys.fingerprints(&root.keys).intersection(held).count())
}

/// Notary's clients read any name and any path prefix; only keys are looked at there.
pub(super) fn check_targets(
    dialect: Dialect,
    role: &RoleName,
    targets: &Targets,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    match dialect {
        Dialect::Notary1 => check_delegated_keys(dialect, targets, held),
        Dialect::Tuf1 => check_tuf_targets(role, targets, held),
    }
}

fn check_tuf_targets(
    role: &RoleName,
    targets: &Targets,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    for (name, info) in &targets.targets {
        let Ok(path) = name.parse::<TargetPath>() else {
            return refuse(role, "target names must be relative paths without `..`");
        };
        if info.hashes.as_sha256().is_none() {
            return refuse(role, "every target must be listed with sha256");
        }
        if targets.revoked.contains_key(&path) {
            return Err(Rejection::RevokedTarget { role: role.clone(), path });
        }
    }
    if role.as_str() == REVOCATIONS && DenyList::new(targets).malformed().is_some() {
        return refuse(role, "revocations lists digests only, as sha256/HEX with that digest and a time");
    }
    let Some(delegations) = &targets.delegations else { return Ok(()) };
    let Children::Roles(children) = &delegations.children else {
        return refuse(role, "hash bins are not readable by all clients");
    };
    // Any signer may sign `releases`, for names that signers vouch for. What lies below it
    // nobody vouches for, and other clients would believe it before they ask the signers.
    if role.as_str() == RELEASES && !children.is_empty() {
        return refuse(role, "releases must not delegate: every tag in it needs a signer");
    }
    if role.as_str() == REVOCATIONS && !children.is_empty() {
        return refuse(role, "revocations must not delegate: only its own keys deny");
    }
    for child in children {
        check_child(&RoleName::Delegated(child.name.clone()), child)?;
    }
    check_delegated_keys(Dialect::Tuf1, targets, held)?;
    let releases_at = children.iter().position(|child| child.name.as_str() == RELEASES);
    if releases_at.is_some_and(|at| at > 0) {
        return refuse(role, "releases must be the first delegation");
    }
    Ok(())
}

fn check_delegated_keys(
    dialect: Dialect,
    targets: &Targets,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    let Some(delegations) = &targets.delegations else { return Ok(()) };
    let Children::Roles(children) = &delegations.children else { return Ok(()) };
    for child in children {
        let name = RoleName::Delegated(child.name.clone());
        // A role that lost all its keys, and waits for new ones.
        if dialect == Dialect::Notary1 && child.keys.key_ids.is_empty() {
            continue;
        }
        let fingerprints = check_keys(dialect, &name, &child.keys, &delegations.keys)?;
        refuse_held(&name, &fingerprints, held)?;
    }
    Ok(())
}

fn check_child(name: &RoleName, child: &DelegatedRole) -> Result<(), Rejection> {
    if !child.name.is_portable() {
        return refuse(
            name,
            "names of roles are up to 64 of a-z, 0-9, `.`, `_`, `-`, not starting like `1.`",
        );
    }
    if matches!(child.scope, Scope::HashPrefixes(_)) {
        return refuse(name, "clients read path_hash_prefixes in different ways");
    }
    if name.as_str() == REVOCATIONS && child.scope != DenyList::scope() {
        return refuse(name, "revocations speaks for sha256/* and nothing else");
    }
    if matches!(name.as_str(), RELEASES | REVOCATIONS) && child.ends.is_some() {
        return refuse(name, "only the right of a signer can end by itself");
    }
    Ok(())
}

/// Every key usable, no key material twice, and enough keys for the threshold. In Notary's
/// dialect a renewed certificate stands beside the old one for a while: with a threshold of
/// one, that misleads nobody's count.
fn check_keys(
    dialect: Dialect,
    role: &RoleName,
    keys: &RoleKeys,
    table: &KeyTable,
) -> Result<BTreeSet<Fingerprint>, Rejection> {
    if keys.key_ids.len() > limits::SIGNATURES {
        return Err(Rejection::TooLarge { role: role.clone(), limit: limits::SIGNATURES });
    }
    let mut fingerprints = BTreeSet::new();
    for (_, key) in keys.keys(table) {
        let fingerprint = key.fingerprint();
        let is_twice = !fingerprints.insert(fingerprint);
        if is_twice && (dialect == Dialect::Tuf1 || keys.threshold > Threshold::ONE) {
            return Err(Rejection::DuplicateKey { role: role.clone(), fingerprint });
        }
    }
    if keys.keys(table).count() != keys.key_ids.len() {
        return refuse(role, "every key id must name a P-256, Ed25519 or RSA-PSS key");
    }
    if !keys.threshold.is_met_by(fingerprints.len()) {
        return refuse(role, "the threshold is higher than the number of keys");
    }
    Ok(fingerprints)
}

fn refuse_held(
    role: &RoleName,
    fingerprints: &BTreeSet<Fingerprint>,
    held: &BTreeSet<Fingerprint>,
) -> Result<(), Rejection> {
    match fingerprints.intersection(held).next() {
        Some(fingerprint) => {
            Err(Rejection::OnlineKeyOffline { role: role.clone(), fingerprint: *fingerprint })
        }
        None => Ok(()),
    }
}

fn refuse<T>(role: &RoleName, what: &'static str) -> Result<T, Rejection> {
    Err(Rejection::Profile { role: role.clone(), what })
}

fn role_name(role: TopLevelRole) -> RoleName {
    match role {
        TopLevelRole::Root => RoleName::Root,
        TopLevelRole::Snapshot => RoleName::Snapshot,
        TopLevelRole::Targets => RoleName::Targets,
        TopLevelRole::Timestamp => RoleName::Timestamp,
    }
}
