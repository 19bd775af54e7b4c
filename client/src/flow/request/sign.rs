//! Signing a request with the keys of this home, and handing the signatures in.

use std::collections::BTreeSet;

use bulla_keys_schema::key::{Fingerprint, HeldRole, KeyName};
use bulla_keys_schema::names::RoleName;
use bulla_keys_schema::request::SignatureFile;

use super::{Judged, RequestError};
use crate::flow::Ports;
use crate::flow::publish;
use crate::flow::refresh::Purpose;
use crate::flow::signing::KeyRing;
use crate::pins::{Mode, Pin, PinnedRoot, Pins, Scope};

/// What became of signatures.
#[derive(Debug)]
pub struct Sent {
    /// The request, with them.
    pub judged: Judged,
    /// Whether they were the last ones, so that the server published.
    pub complete: bool,
    /// How many were new.
    pub added: usize,
}

/// The keys of this home that the request wants.
///
/// # Errors
/// There is none, or all of them have signed.
pub fn able(ports: Ports<'_>, judged: &Judged) -> Result<Vec<KeyName>, RequestError> {
    let ring = KeyRing::load(ports)?;
    let wanted = wanted(judged, &ring);
    if !wanted.is_empty() {
        return Ok(ring.names(&wanted.into_iter().collect::<Vec<_>>()));
    }
    let id = judged.open.id();
    let (signed, missing) = keys(judged);
    if signed.iter().any(|key| ring.find(key).is_some()) {
        return Err(RequestError::Done { id });
    }
    Err(RequestError::NoKey { id, missing: missing.into_iter().collect() })
}

/// Signs with every key of this home that the request wants. Whoever signs the first root of a
/// repository has agreed to its keys, so they are pinned here.
///
/// # Errors
/// A key cannot be used.
pub fn sign(ports: Ports<'_>, judged: &Judged) -> Result<SignatureFile, RequestError> {
    let mut ring = KeyRing::load(ports)?;
    let wanted = wanted(judged, &ring);
    ring.unlock(&wanted)?;
    let file = judged.open.sign(&ring.signers(&wanted.into_iter().collect::<Vec<_>>()))?;
    for one in &file.signatures {
        if let Some(key) = ring.find(&one.key) {
            let held = HeldRole { repository: file.repository.clone(), role: one.role.clone() };
            ports.keys.note_role(&key.name, &held)?;
        }
    }
    pin_first_root(ports, judged)?;
    Ok(file)
}

/// Hands signatures in. Each is verified here before.
///
/// # Errors
/// They do not fit the request, or the server does not take them.
pub async fn send(ports: Ports<'_>, mut judged: Judged, file: &SignatureFile) -> Result<Sent, RequestError> {
    judged.open.merge(file)?;
    let (id, repository) = (judged.open.id(), judged.open.request().repository.clone());
    let progress = ports.server.add_signatures(&repository, id, file.to_bytes().into()).await?;
    if progress.complete && Pins::load(ports.home)?.find(&repository).is_some() {
        confirm(ports, &judged).await?;
    }
    Ok(Sent { judged, complete: progress.complete, added: progress.added })
}

/// Pins the keys of a first root, unless a pin covers the repository.
fn pin_first_root(ports: Ports<'_>, judged: &Judged) -> Result<(), RequestError> {
    let request = judged.open.request();
    let status = judged.open.status();
    let root = status.documents.iter().find(|document| document.role == RoleName::Root);
    let (None, Some(count)) = (&judged.current, root.and_then(|root| root.counts.first())) else {
        return Ok(());
    };
    let mode = Mode::from(request.dialect);
    let fingerprints: Vec<Fingerprint> = count.signed.union(&count.missing).copied().collect();
    let root = PinnedRoot::Keys { fingerprints, threshold: count.threshold };
    let pin = Pin { scope: Scope::Repository(request.repository.clone()), mode, root, server: None };
    Pins::update(ports.home, |pins| match pins.find(&request.repository) {
        Some(_) => Ok(()),
        None => pins.add(pin),
    })?;
    Ok(())
}

/// Reads back what the server says it published.
async fn confirm(ports: Ports<'_>, judged: &Judged) -> Result<(), RequestError> {
    let repository = &judged.open.request().repository;
    let state = publish::current_state(Purpose::Use, ports, repository).await?;
    for (role, version, _) in judged.open.documents() {
        if state.last_version(&role) < Some(version) {
            let repository = repository.clone();
            return Err(publish::PublishError::NotConfirmed { repository, role, version }.into());
        }
    }
    Ok(())
}

fn wanted(judged: &Judged, ring: &KeyRing<'_>) -> BTreeSet<Fingerprint> {
    let (_, mut missing) = keys(judged);
    missing.retain(|key| ring.find(key).is_some());
    missing
}

/// The keys that signed something of the request, and those that still may.
fn keys(judged: &Judged) -> (BTreeSet<Fingerprint>, BTreeSet<Fingerprint>) {
    let counts = judged.open.status().documents.into_iter().flat_map(|document| document.counts);
    counts.fold((BTreeSet::new(), BTreeSet::new()), |(mut signed, mut missing), count| {
        signed.extend(count.signed);
        missing.extend(count.missing);
        (signed, missing)
    })
}
