//! From a request that somebody sent to one that can be shown and signed.

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::{Root, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{OpenError, OpenRequest, RequestExport, RequestId, SigningRequest};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_keys_schema::verify::{Proposed, RootError, VerifyError, require_whole};
use bytes::Bytes;

use super::RequestError;
use crate::cache::{Cache, RepositoryCache};
use crate::flow::Ports;
use crate::flow::publish;
use crate::flow::refresh::{self, Purpose, RefreshError};
use crate::pins::{Pin, PinnedRoot, Pins};
use crate::port::trust_server::Basis;

/// A request, judged against the state that this home trusts.
#[derive(Debug)]
pub struct Judged {
    /// The request.
    pub open: OpenRequest,
    /// The state that it builds on; `None` for a new repository.
    pub current: Option<CurrentState>,
    /// Who holds which key, as far as anybody says.
    pub holders: BTreeMap<Fingerprint, Holder>,
    /// The moment of the judgement.
    pub now: UtcTime,
}

/// What a key is called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The name.
    pub name: String,
    /// Whether the key is in this home. If not, the name is what the author of the request
    /// says.
    pub is_here: bool,
}

/// Fetches a request and judges it.
///
/// # Errors
/// There is no such request, the repository cannot be trusted, or the request cannot be acted
/// on.
pub async fn from_server(
    ports: Ports<'_>,
    repository: &RepositoryName,
    id: RequestId,
) -> Result<Judged, RequestError> {
    let Some(bytes) = ports.server.request(repository, id).await? else {
        return Err(RequestError::Unknown { repository: repository.clone(), id });
    };
    let request = SigningRequest::parse(&bytes)?;
    if request.id != id {
        return Err(RequestError::OtherRequest { id, found: request.id });
    }
    let current = current(ports, repository, &request).await?;
    judge(ports, repository, request, current)
}

/// Judges a request in a file, with the documents that came along and what this home knows; asks
/// nobody.
///
/// # Errors
/// The documents do not lead from the pin to a state, or the request cannot be acted on.
pub async fn from_file(ports: Ports<'_>, export: RequestExport) -> Result<Judged, RequestError> {
    let repository = export.request.repository.clone();
    let cache = Cache::new(ports.home.cache()).open(&repository).await?;
    let pin = Pins::load(ports.home)?.find(&repository).cloned();
    let current = if export.request.base.is_empty() {
        require_unknown(&cache, &export.request)?;
        None
    } else if export.documents.is_empty() {
        return Err(RequestError::NoContext { id: export.request.id });
    } else {
        let pin = pin.ok_or_else(|| RefreshError::NotPinned { repository: repository.clone() })?;
        Some(state(ports, &cache, &pin, &export)?)
    };
    drop(cache);
    judge(ports, &repository, export.request, current)
}

/// Holders who read a digest to each other sign the same thing.
///
/// # Errors
/// It is another one.
pub fn require_digest(judged: &Judged, expected: Sha256Digest) -> Result<(), RequestError> {
    let found = judged.open.digest();
    if found != expected {
        return Err(RequestError::OtherDigest { expected, found });
    }
    Ok(())
}

pub(super) fn judge(
    ports: Ports<'_>,
    repository: &RepositoryName,
    request: SigningRequest,
    current: Option<CurrentState>,
) -> Result<Judged, RequestError> {
    let (id, now) = (request.id, ports.clock.now());
    let unusable =
        |source| RequestError::Open { repository: repository.clone(), id, source: Box::new(source) };
    let open = request.open(repository, current.as_ref(), now).map_err(unusable)?;
    if current.is_none() {
        require_pinned_keys(ports, &open)?;
    }
    let holders = holders(ports, open.request())?;
    Ok(Judged { open, current, holders, now })
}

/// Whoever pins a repository that has not begun yet expects certain keys, and signs no first root
/// of others. The digest of a root nobody has signed yet is pinned by nobody.
fn require_pinned_keys(ports: Ports<'_>, open: &OpenRequest) -> Result<(), RequestError> {
    let repository = &open.request().repository;
    let pins = Pins::load(ports.home)?;
    let Some(pin) = pins.find(repository) else { return Ok(()) };
    let status = open.status();
    let root = status.documents.iter().find(|document| document.role == RoleName::Root);
    let count = root.and_then(|root| root.counts.first());
    let listed = |key: &Fingerprint| {
        count.is_some_and(|count| count.signed.contains(key) || count.missing.contains(key))
    };
    let is_met = match &pin.root {
        PinnedRoot::Document(_) => false,
        PinnedRoot::Keys { fingerprints, threshold } => {
            threshold.is_met_by(fingerprints.iter().filter(|key| listed(key)).count())
        }
    };
    if is_met { Ok(()) } else { Err(RequestError::PinNotMet { repository: repository.clone() }) }
}

/// The current state as the server shows it, trusted from the pin on. A new repository has none.
async fn current(
    ports: Ports<'_>,
    repository: &RepositoryName,
    request: &SigningRequest,
) -> Result<Option<CurrentState>, RequestError> {
    if !request.base.is_empty() {
        return Ok(Some(publish::current_state(Purpose::Change, ports, repository).await?));
    }
    // A server could hide a repository to have another first root signed for it.
    require_unknown(&Cache::new(ports.home.cache()).open(repository).await?, request)?;
    let current = match ports.server.basis(repository).await? {
        Basis::Absent => return Ok(None),
        Basis::Head(head) => head.current.get(&RoleName::Root).map(|root| root.version),
        Basis::Snapshot(_) => None,
    };
    Err(begun(request, current))
}

/// The repository has begun without the request.
fn begun(request: &SigningRequest, current: Option<Version>) -> RequestError {
    RequestError::Open {
        repository: request.repository.clone(),
        id: request.id,
        source: Box::new(OpenError::Stale { role: RoleName::Root, base: None, current }),
    }
}

fn require_unknown(cache: &RepositoryCache, request: &SigningRequest) -> Result<(), RequestError> {
    match cache.load()?.roots.last_key_value() {
        Some((version, _)) => Err(begun(request, Some(*version))),
        None => Ok(()),
    }
}

/// The state in an export, by the pin and what this home has seen: whoever signs on top of an
/// older root than he knows helps to fork the chain of roots.
fn state(
    ports: Ports<'_>,
    cache: &RepositoryCache,
    pin: &Pin,
    export: &RequestExport,
) -> Result<CurrentState, RequestError> {
    let repository = &export.request.repository;
    let dialect = pin.mode.dialect();
    let (stored, brought) = (cache.load()?, brought(dialect, &export.roots)?);
    let (mut seen, mut new) = (Vec::new(), Vec::new());
    let known = refresh::stored_chain(pin, repository, stored.roots.values(), |root| seen.push(root.clone()));
    let other = seen.iter().find(|root| brought.get(&root.version()).is_some_and(|b| b != root.bytes()));
    if let Some(root) = other {
        return Err(RequestError::OtherRoot { version: root.version() });
    }
    let fresh = || refresh::stored_chain(pin, repository, brought.values(), |root| new.push(root.clone()));
    let chain = known.or_else(fresh);
    let mut chain = chain.ok_or_else(|| RequestError::PinNotMet { repository: repository.clone() })?;
    while let Some(bytes) = chain.wanted().and_then(|version| brought.get(&version)) {
        chain.step(bytes.clone())?;
        new.push(chain.latest().clone());
    }
    let trusted = chain.finish_to_succeed(ports.clock.now(), stored.last_accepted)?;
    let state = CurrentState::load(dialect, &export.documents)?;
    if state.root().digest() != trusted.root().digest() {
        let (found, known) = (state.root().version(), trusted.root().version());
        return Err(RequestError::Older { role: RoleName::Root, found, known });
    }
    // As after a refresh: a rotation of online keys must not be forgotten in the next run.
    let floor = trusted.floor(stored.timestamp, stored.snapshot);
    require_whole(&state, &floor, export.request.base.keys()).map_err(RefreshError::Chain)?;
    if !new.is_empty() && floor.timestamp_version().is_none() {
        cache.forget_online()?;
    }
    for root in &new {
        cache.keep_root(root.version(), root.bytes())?;
    }
    Ok(state)
}

/// The roots in an export, by the version that each claims.
fn brought(dialect: Dialect, roots: &[Bytes]) -> Result<BTreeMap<Version, Bytes>, RootError> {
    let read = roots.iter().map(|bytes| {
        let root = Proposed::<Root>::read(dialect, bytes.clone()).map_err(VerifyError::Metadata)?;
        Ok((root.payload().version, bytes.clone()))
    });
    read.collect()
}

/// Names that this home knows stand above those that a request brings.
fn holders(
    ports: Ports<'_>,
    request: &SigningRequest,
) -> Result<BTreeMap<Fingerprint, Holder>, RequestError> {
    let claimed =
        request.holders.iter().map(|(key, name)| (*key, Holder { name: name.to_string(), is_here: false }));
    let here = ports
        .keys
        .list()?
        .into_iter()
        .map(|key| (key.public.fingerprint(), Holder { name: key.name.to_string(), is_here: true }));
    Ok(claimed.chain(here).collect())
}
