//! What a publication must fulfil by itself, decided alike for every backend before anything
//! is written.

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::RoleName;
use bytes::Bytes;

use super::{DocumentRef, Head, LastVersions, Publication, PublicationKind, PublishError};

/// Longest name of an actor, in bytes.
const ACTOR_BYTES: usize = 1_024;

/// The new values of a publication with their digests, free of contradictions.
#[derive(Debug)]
pub(super) struct Inspected {
    /// New documents, each (role, version) once.
    pub(super) documents: Vec<InspectedDocument>,
    /// New targets, each digest once.
    pub(super) targets: Vec<(Sha256Digest, Bytes)>,
}

/// A new document with its digest.
#[derive(Debug)]
pub(super) struct InspectedDocument {
    pub(super) role: RoleName,
    pub(super) version: Version,
    pub(super) digest: Sha256Digest,
    pub(super) bytes: Bytes,
}

/// Hashes all values and refuses what contradicts itself.
///
/// # Errors
/// [`PublishError::Invalid`]: one version with two contents, a current document that differs
/// from the one that came along, no current timestamp or snapshot, an overlong actor, or a
/// renewal that completes a request.
pub(super) fn inspect(publication: &Publication) -> Result<Inspected, PublishError> {
    actor(&publication.actor)?;
    if publication.kind == PublicationKind::Renew && publication.completes.is_some() {
        return Err(invalid("a renewal completes a signing request".to_owned()));
    }
    for role in [RoleName::Timestamp, RoleName::Snapshot] {
        if !publication.current.contains_key(&role) {
            return Err(invalid(format!("there is no current {role}")));
        }
    }
    let mut documents: BTreeMap<(RoleName, Version), InspectedDocument> = BTreeMap::new();
    for new in &publication.documents {
        let digest = new.bytes.digest();
        let document = InspectedDocument {
            role: new.role.clone(),
            version: new.version,
            digest,
            bytes: new.bytes.bytes().clone(),
        };
        if let Some(other) = documents.insert((new.role.clone(), new.version), document)
            && other.digest != digest
        {
            return Err(invalid(format!("{} version {} has two contents", new.role, new.version)));
        }
    }
    for (role, reference) in &publication.current {
        if let Some(new) = documents.get(&(role.clone(), reference.version))
            && !describes(reference, new)
        {
            let what = format!("{role} version {} is not the document that came with it", reference.version);
            return Err(invalid(what));
        }
    }
    let targets: BTreeMap<Sha256Digest, Bytes> =
        publication.targets.iter().map(|target| (target.digest(), target.bytes().clone())).collect();
    Ok(Inspected { documents: documents.into_values().collect(), targets: targets.into_iter().collect() })
}

/// Refuses an actor that does not fit into a record.
///
/// # Errors
/// [`PublishError::Invalid`]: longer than 1024 bytes.
pub(super) fn actor(actor: &str) -> Result<(), PublishError> {
    if actor.len() > ACTOR_BYTES {
        return Err(invalid(format!("the actor's name has {} bytes, more than {ACTOR_BYTES}", actor.len())));
    }
    Ok(())
}

/// Whether a repository may be written in `dialect` after `previous` (G10).
///
/// # Errors
/// [`PublishError::Invalid`] names both dialects.
pub(super) fn same_dialect(dialect: Dialect, previous: Option<&Head>) -> Result<(), PublishError> {
    match previous.map(|head| head.dialect) {
        Some(before) if before != dialect => {
            Err(invalid(format!("the repository is written in {before:?}, not in {dialect:?}")))
        }
        _ => Ok(()),
    }
}

/// What is remembered of a repository that is removed at `head`.
///
/// # Errors
/// [`PublishError::Invalid`]: a head without timestamp or snapshot, which no publication makes.
pub(super) fn last_versions(head: &Head) -> Result<LastVersions, PublishError> {
    let version = |role| {
        let found = head.current.get(&role).map(|reference| reference.version);
        found.ok_or_else(|| invalid(format!("there is no current {role}")))
    };
    Ok(LastVersions { timestamp: version(RoleName::Timestamp)?, snapshot: version(RoleName::Snapshot)? })
}

/// The higher versions of what two removals of one name left.
pub(super) fn highest(earlier: Option<LastVersions>, last: LastVersions) -> LastVersions {
    earlier.map_or(last, |earlier| LastVersions {
        timestamp: earlier.timestamp.max(last.timestamp),
        snapshot: earlier.snapshot.max(last.snapshot),
    })
}

/// Whether every current document is new or was current before (G7).
///
/// # Errors
/// [`PublishError::Invalid`] names the role that points to nothing.
pub(super) fn backed<'a>(
    current: &BTreeMap<RoleName, DocumentRef>,
    new: impl Fn(&RoleName, &DocumentRef) -> bool + 'a,
    previous: Option<&Head>,
) -> Result<(), PublishError> {
    let before = previous.map(|head| &head.current);
    for (role, reference) in current {
        let was_current = before.is_some_and(|map| map.get(role) == Some(reference));
        if !was_current && !new(role, reference) {
            let what = format!("{role} version {} is neither new nor current", reference.version);
            return Err(invalid(what));
        }
    }
    Ok(())
}

/// Whether a document that is not stored may be added after `previous`. Replaced timestamps
/// and snapshots may be gone, so their versions count as taken up to the current one (G5).
///
/// # Errors
/// [`PublishError::Invalid`] names the version.
pub(super) fn unused(role: &RoleName, version: Version, previous: Option<&Head>) -> Result<(), PublishError> {
    let latest = previous.and_then(|head| head.current.get(role)).map(|reference| reference.version);
    if is_renewable(role) && latest.is_some_and(|latest| version <= latest) {
        return Err(invalid(format!("{role} version {version} is not newer than the current one")));
    }
    Ok(())
}

/// The roles that the server signs anew by itself.
pub(super) const fn is_renewable(role: &RoleName) -> bool {
    matches!(role, RoleName::Snapshot | RoleName::Timestamp)
}

/// Whether what a renewal brought of `role` may go once later renewals replaced it (G5).
pub(super) const fn is_replaceable(dialect: Dialect, role: &RoleName) -> bool {
    match dialect {
        Dialect::Tuf1 => is_renewable(role),
        Dialect::Notary1 => matches!(role, RoleName::Timestamp),
    }
}

/// Whether documents can be read by their digest: only clients of Notary ask for them so.
pub(super) const fn is_found_by_digest(dialect: Dialect) -> bool {
    match dialect {
        Dialect::Tuf1 => false,
        Dialect::Notary1 => true,
    }
}

/// The error for a second content of one version (G5).
pub(super) fn taken(role: &RoleName, version: Version) -> PublishError {
    invalid(format!("{role} version {version} exists with other bytes"))
}

/// The error for an operation id that was used elsewhere (G8).
pub(super) fn foreign_operation() -> PublishError {
    invalid("the operation id was used for another repository".to_owned())
}

/// A [`PublishError::Invalid`].
pub(super) const fn invalid(what: String) -> PublishError {
    PublishError::Invalid { what }
}

fn describes(reference: &DocumentRef, new: &InspectedDocument) -> bool {
    let length = u64::try_from(new.bytes.len()).unwrap_or(u64::MAX);
    reference.digest == new.digest && reference.length == length
}
