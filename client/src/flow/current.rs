//! The whole current state of a repository, as whoever changes or inspects it needs it.
//!
//! Root, timestamp and snapshot are fresh; targets roles are those that the fresh snapshot
//! lists, byte for byte, but may be expired: an expired role is what a signer repairs.

use std::collections::{BTreeMap, VecDeque};

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{Children, KeyTable, RoleKeys, Targets};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::{BrokenState, CurrentState};
use bulla_keys_schema::verify::{ChainError, RawMetadata, Verified, VerifyError};
use bytes::Bytes;

use crate::flow::refresh::{RefreshError, Session};

type Documents = BTreeMap<RoleName, Bytes>;

/// Fetches every targets role and has the whole judged.
///
/// # Errors
/// A role is missing, is not the listed one, is older than one that was accepted before, or is
/// not signed as its delegator demands. In Notary's dialect such a role only counts no more.
pub async fn load(session: &Session<'_>) -> Result<CurrentState, RefreshError> {
    let root = session.root();
    let mut documents = BTreeMap::from([
        (RoleName::Root, root.bytes().clone()),
        (RoleName::Timestamp, session.timestamp().bytes().clone()),
        (RoleName::Snapshot, session.snapshot().snapshot().bytes().clone()),
    ]);
    match root.dialect() {
        Dialect::Tuf1 => {
            add_reachable(session, &mut documents).await?;
            CurrentState::load(Dialect::Tuf1, &documents).map_err(broken)
        }
        Dialect::Notary1 => {
            add_listed(session, &mut documents).await?;
            let state = CurrentState::load(Dialect::Notary1, &documents).map_err(broken)?;
            keep_all(session, &state)?;
            Ok(state)
        }
    }
}

/// Every role that somebody delegates to, judged on the way.
async fn add_reachable(session: &Session<'_>, documents: &mut Documents) -> Result<(), RefreshError> {
    let meta = &session.snapshot().snapshot().payload().meta;
    let root = session.root().payload();
    let mut wanted = VecDeque::from([(RoleName::Targets, root.targets.clone(), root.keys.clone())]);
    while let Some((role, keys, table)) = wanted.pop_front() {
        if documents.contains_key(&role) {
            continue;
        }
        if documents.len() > limits::VISITED_ROLES + 4 {
            return Err(ChainError::TooLarge { role, limit: limits::VISITED_ROLES }.into());
        }
        let is_new = matches!(role, RoleName::Delegated(_)) && !meta.contains_key(&role);
        if is_new {
            // A signer who has not signed yet.
            continue;
        }
        let bytes = fetch(session, &role).await?;
        let document = verify(session, &role, &keys, &table, bytes)
            .map_err(|source| ChainError::Verify { role: role.clone(), source })?;
        session.keep(&role, document.bytes())?;
        wanted.extend(children(document.payload()));
        documents.insert(role, document.bytes().clone());
    }
    Ok(())
}

/// Every role that the snapshot lists. Notary's lists no versions: what comes after a role that
/// nobody delegates to any more is known only from its last document.
async fn add_listed(session: &Session<'_>, documents: &mut Documents) -> Result<(), RefreshError> {
    let meta = &session.snapshot().snapshot().payload().meta;
    let roles = meta.keys().filter(|role| matches!(role, RoleName::Targets | RoleName::Delegated(_)));
    for (count, role) in roles.enumerate() {
        if count > limits::NOTARY_ROLES {
            return Err(ChainError::TooLarge { role: role.clone(), limit: limits::NOTARY_ROLES }.into());
        }
        documents.insert(role.clone(), fetch(session, role).await?);
    }
    Ok(())
}

/// The bytes that the snapshot lists.
async fn fetch(session: &Session<'_>, role: &RoleName) -> Result<Bytes, RefreshError> {
    let listed = session.snapshot().snapshot().payload().meta.get(role);
    let listed = listed.ok_or_else(|| ChainError::Missing { role: role.clone() })?;
    let bytes = session.fetch(role, listed).await?;
    let is_listed = listed.hashes.as_ref().is_some_and(|hashes| hashes.match_bytes(&bytes));
    if !is_listed {
        return Err(ChainError::Mismatch { role: role.clone() }.into());
    }
    Ok(bytes)
}

/// Keeps what counts, unless an earlier run accepted something newer: the snapshot's version
/// says nothing about that here, and whoever signs on top of an old document revives it.
fn keep_all(session: &Session<'_>, state: &CurrentState) -> Result<(), RefreshError> {
    let root = state.root().payload();
    let top = (RoleName::Targets, root.targets.clone(), root.keys.clone());
    let documents = [state.targets()].into_iter().chain(state.delegated().values());
    let roles = documents.flat_map(|document| children(document.payload()));
    for (role, keys, table) in [top].into_iter().chain(roles) {
        let current = match &role {
            RoleName::Delegated(name) => state.delegated().get(name),
            _ => Some(state.targets()),
        };
        let Some(current) = current else { continue };
        if let Some(before) = session.accepted_before(&role)?
            && let Ok(before) = verify(session, &role, &keys, &table, before)
            && before.version() > current.version()
        {
            let (trusted, found) = (before.version(), current.version());
            return Err(ChainError::Rollback { role, trusted, found }.into());
        }
        session.keep(&role, current.bytes())?;
    }
    Ok(())
}

fn verify(
    session: &Session<'_>,
    role: &RoleName,
    keys: &RoleKeys,
    table: &KeyTable,
    bytes: Bytes,
) -> Result<Verified<Targets>, VerifyError> {
    let root = session.root();
    RawMetadata::<Targets>::new(root.dialect(), bytes).verify_as(role, root.payload(), keys, table)
}

fn children(targets: &Targets) -> Vec<(RoleName, RoleKeys, KeyTable)> {
    let Some(delegations) = &targets.delegations else { return vec![] };
    let Children::Roles(roles) = &delegations.children else { return vec![] };
    let child = |role: &bulla_keys_schema::metadata::DelegatedRole| {
        (RoleName::Delegated(role.name.clone()), role.keys.clone(), delegations.keys.clone())
    };
    roles.iter().map(child).collect()
}

fn broken(error: BrokenState) -> RefreshError {
    match error {
        BrokenState::Document { role, source } => {
            ChainError::Verify { role, source: VerifyError::Metadata(source) }.into()
        }
        BrokenState::Missing { role } => ChainError::Missing { role }.into(),
        BrokenState::Verify { role, source } => ChainError::Verify { role, source }.into(),
    }
}
