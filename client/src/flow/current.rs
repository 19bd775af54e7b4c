//! The whole current state of a repository, as whoever changes or inspects it needs it.
//!
//! Root, timestamp and snapshot are fresh; targets roles are those that the fresh snapshot
//! lists, byte for byte, but may be expired: an expired role is what a signer repairs.

use std::collections::{BTreeMap, VecDeque};

use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{Children, KeyTable, RoleKeys, Targets};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::verify::submission::{BrokenState, CurrentState};
use bulla_keys_schema::verify::{ChainError, RawMetadata, Verified};
use bytes::Bytes;

use crate::flow::refresh::{RefreshError, Session};

/// Fetches every targets role that can be reached and has the whole judged.
///
/// # Errors
/// A role is missing, is not the listed one, or is not signed as its delegator demands.
pub async fn load(session: &Session<'_>) -> Result<CurrentState, RefreshError> {
    let snapshot = session.snapshot().snapshot();
    let root = session.root();
    let mut documents = BTreeMap::from([
        (RoleName::Root, root.bytes().clone()),
        (RoleName::Timestamp, session.timestamp().bytes().clone()),
        (RoleName::Snapshot, snapshot.bytes().clone()),
    ]);
    let mut wanted =
        VecDeque::from([(RoleName::Targets, root.payload().targets.clone(), root.payload().keys.clone())]);
    while let Some((role, keys, table)) = wanted.pop_front() {
        if documents.contains_key(&role) {
            continue;
        }
        if documents.len() > limits::VISITED_ROLES + 4 {
            return Err(ChainError::TooLarge { role, limit: limits::VISITED_ROLES }.into());
        }
        let is_new = matches!(role, RoleName::Delegated(_)) && !snapshot.payload().meta.contains_key(&role);
        if is_new {
            // A signer who has not signed yet.
            continue;
        }
        let document = accept(session, &role, &keys, &table).await?;
        wanted.extend(children(document.payload()));
        documents.insert(role, document.bytes().clone());
    }
    CurrentState::load(root.dialect(), &documents).map_err(broken)
}

async fn accept(
    session: &Session<'_>,
    role: &RoleName,
    keys: &RoleKeys,
    table: &KeyTable,
) -> Result<Verified<Targets>, RefreshError> {
    let listed = session.snapshot().snapshot().payload().meta.get(role);
    let listed = listed.ok_or_else(|| ChainError::Missing { role: role.clone() })?;
    let bytes: Bytes = session.fetch(role, listed).await?;
    let is_listed = listed.hashes.as_ref().is_some_and(|hashes| hashes.match_bytes(&bytes));
    if !is_listed {
        return Err(ChainError::Mismatch { role: role.clone() }.into());
    }
    let document = RawMetadata::<Targets>::new(session.root().dialect(), bytes)
        .verify(keys, table)
        .map_err(|source| ChainError::Verify { role: role.clone(), source })?;
    session.keep(role, document.bytes())?;
    Ok(document)
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
        BrokenState::Missing { role } => ChainError::Missing { role }.into(),
        BrokenState::Document { role, source } => ChainError::Verify { role, source: source.into() }.into(),
        BrokenState::Verify { role, source } => ChainError::Verify { role, source }.into(),
    }
}
