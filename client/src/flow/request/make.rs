//! A change that needs more signatures than this home has, put to those who have the others.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::Draft;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Fingerprint, KeyName};
use bulla_keys_schema::limits;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{PlainText, RequestId, SigningRequest};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;

use crate::flow::Ports;
use crate::flow::publish::{Edit, PublishError};
use crate::flow::signing::KeyRing;
use crate::port::TrustServerError;

/// How to ask for signatures.
#[derive(Clone, Debug)]
pub struct Ask {
    /// Why, in words for those who are asked.
    pub reason: PlainText,
    /// How long they have, in seconds.
    pub lifetime: i64,
    /// What the keys of others are called.
    pub holders: BTreeMap<Fingerprint, PlainText>,
    /// Ask nobody.
    pub dry_run: bool,
}

/// The keys of this home that sign `edit`, be they enough or not.
pub(in crate::flow) fn keys_here(
    edit: &Edit,
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
) -> Result<BTreeSet<Fingerprint>, PublishError> {
    let mut keys = match &edit.root {
        Some(change) => change.keys_here(state, ring, now)?,
        None => BTreeSet::new(),
    };
    for edited in &edit.documents {
        let listed = edited.authority.keys.fingerprints(&edited.authority.table);
        keys.extend(listed.into_iter().filter(|key| ring.find(key).is_some()));
    }
    Ok(keys)
}

/// Signs `edit` with the open keys of `ring`, and puts it to the others. `None` if the
/// repository has changed meanwhile.
pub(in crate::flow) async fn ask(
    ports: Ports<'_>,
    repository: &RepositoryName,
    ask: &Ask,
    edit: Edit,
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
) -> Result<Option<RequestId>, PublishError> {
    let dialect = state.root().dialect();
    let keys: Vec<Fingerprint> = keys_here(&edit, state, ring, now)?.into_iter().collect();
    let signers = ring.signers(&keys);
    let mut documents = BTreeMap::new();
    if let Some(change) = &edit.root {
        let root = change.document(ports, repository, state, ring, now)?;
        let root = Draft::new(dialect, root).propose_root(&signers, Some(state.root().payload()));
        let sign = |source| PublishError::Sign { role: RoleName::Root, source };
        documents.insert(RoleName::Root, root.map_err(sign)?.bytes().clone());
    }
    for edited in edit.documents {
        let (role, authority) = (edited.role, edited.authority);
        let draft = Draft::new(dialect, edited.document);
        let signed = draft.propose(&signers, &[(&authority.keys, &authority.table)]);
        let signed = signed.map_err(|source| PublishError::Sign { role: role.clone(), source })?;
        documents.insert(role, signed.bytes().clone());
    }
    documents.extend(edit.signed.into_iter().map(|document| (document.role, document.bytes)));
    let change = Proposal { dialect, current: Some(state), documents, files: edit.files };
    match put(ports, repository, ask, change, now).await {
        Err(PublishError::Server(TrustServerError::RequestOver { .. })) => Ok(None),
        id => id.map(Some),
    }
}

/// Documents with too few signatures, and what they build on.
#[derive(Debug)]
pub struct Proposal<'a> {
    /// How they are written.
    pub dialect: Dialect,
    /// The current state; `None` for a new repository.
    pub current: Option<&'a CurrentState>,
    /// The documents.
    pub documents: BTreeMap<RoleName, Bytes>,
    /// Bytes of targets.
    pub files: Vec<Bytes>,
}

/// Puts a change to the others. Judged here first, as by everybody who is asked.
///
/// # Errors
/// Nobody could sign it, or the server does not take it.
pub async fn put(
    ports: Ports<'_>,
    repository: &RepositoryName,
    ask: &Ask,
    change: Proposal<'_>,
    now: UtcTime,
) -> Result<RequestId, PublishError> {
    let mut id = [0; 16];
    ports.entropy.fill(&mut id)?;
    let id = RequestId::from_bytes(id);
    let here: BTreeMap<Fingerprint, KeyName> =
        ports.keys.list()?.into_iter().map(|key| (key.public.fingerprint(), key.name)).collect();
    let request = SigningRequest {
        id,
        repository: repository.clone(),
        dialect: change.dialect,
        base: BTreeMap::new(),
        reason: ask.reason.clone(),
        created_by: ask.reason.clone(),
        created_at: now,
        not_after: now.plus_seconds(ask.lifetime),
        documents: change.documents,
        files: change.files,
        holders: BTreeMap::new(),
    };
    let open = request.with_base(change.current)?.open(repository, change.current, now)?;
    let mut request = open.request().clone();
    let counts = open.status().documents.into_iter().flat_map(|document| document.counts);
    let (mut keys, mut signed) = (BTreeSet::new(), BTreeSet::new());
    for count in counts {
        signed.extend(count.signed.iter().copied());
        keys.extend(count.signed.into_iter().chain(count.missing));
    }
    // Only names of keys that are asked: the others of this home are nobody's business.
    let names = here.iter().filter_map(|(key, name)| Some((*key, name.as_str().parse().ok()?)));
    request.holders = ask.holders.clone().into_iter().chain(names).collect();
    request.holders.retain(|key, _| keys.contains(key));
    let mut authors: Vec<&str> = signed.iter().filter_map(|key| here.get(key)).map(KeyName::as_str).collect();
    authors.sort_unstable();
    request.created_by = authors.join(", ").parse().unwrap_or(request.created_by);
    if ask.dry_run {
        return Ok(id);
    }
    let bytes = request.to_bytes();
    if bytes.len() > limits::NEW_REQUEST_BYTES {
        return Err(PublishError::RequestTooLarge { bytes: bytes.len() });
    }
    ports.server.open_request(repository, bytes.into()).await?;
    Ok(id)
}
