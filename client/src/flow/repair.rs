//! Repair, in Notary's dialect: documents that are expired, and a root that soon will be, are
//! signed anew along with any other change, where their keys are here.
//!
//! Notary's own clients refuse to change a repository whose `targets` is expired, begin an
//! expired delegation again at version 1, which servers refuse, and renew a root without its
//! certificates.

use std::collections::BTreeSet;

use bulla_keys_schema::author::{Draft, RoleSpec, RootEdit, RootEditError, SignError, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Certificate, Fingerprint, Signer};
use bulla_keys_schema::metadata::{Children, DelegatedRole, KeyEntry, Root, Targets, TopLevelRole};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::certificate::{self, CertificateError};
use crate::flow::layout::Authority;
use crate::flow::lifetimes;
use crate::flow::publish::{Edit, Edited};
use crate::flow::sign::repository_authority;
use crate::flow::signing::KeyRing;
use crate::port::trust_server::Document;

/// Adds to `edit` what can be repaired; says which roles cannot be and stay expired.
pub fn repair(edit: &mut Edit, state: &CurrentState, ring: &KeyRing<'_>, now: UtcTime) -> Vec<RoleName> {
    if state.root().dialect() != Dialect::Notary1 {
        return vec![];
    }
    edit.root = Renewal::of(state, ring, now);
    let mut left = Vec::new();
    for (role, document, authority) in expired(edit, state, now) {
        let next = TargetsEdit::next(Dialect::Notary1, &document, now.plus_seconds(LIFETIME));
        match (ring.choose(&role, &authority, &BTreeSet::new()), next) {
            (Ok(_), Some(next)) => edit.documents.push(Edited { role, document: next.finish(), authority }),
            _ => left.push(role),
        }
    }
    left
}

const LIFETIME: i64 = lifetimes::targets(Dialect::Notary1);

/// Every expired role that is delegated to after `edit`, which does not write it anew.
fn expired(edit: &Edit, state: &CurrentState, now: UtcTime) -> Vec<(RoleName, Targets, Authority)> {
    let written = |role: &RoleName| edit.documents.iter().find(|edited| edited.role == *role);
    let top = written(&RoleName::Targets);
    let top = top.map_or_else(|| state.targets().payload(), |edited| &edited.document);
    let parents = [top].into_iter().chain(state.delegated().values().map(|document| document.payload()));
    let roles = parents.flat_map(children).filter_map(|(role, authority)| {
        let RoleName::Delegated(name) = &role else { return None };
        Some((role.clone(), state.delegated().get(name)?.payload().clone(), authority))
    });
    [(RoleName::Targets, state.targets().payload().clone(), repository_authority(state))]
        .into_iter()
        .chain(roles)
        .filter(|(role, document, _)| document.expires.is_over(now) && written(role).is_none())
        .filter(|(role, ..)| edit.signed.iter().all(|signed| signed.role != *role))
        .collect()
}

fn children(targets: &Targets) -> Vec<(RoleName, Authority)> {
    let Some(delegations) = &targets.delegations else { return vec![] };
    let Children::Roles(roles) = &delegations.children else { return vec![] };
    let child = |role: &DelegatedRole| {
        let authority = Authority { keys: role.keys.clone(), table: delegations.keys.clone() };
        (RoleName::Delegated(role.name.clone()), authority)
    };
    roles.iter().map(child).collect()
}

/// A root with the same keys and a new life, in new certificates as far as keys are here.
#[derive(Clone, Debug)]
pub struct Renewal {
    keys: Vec<Fingerprint>,
}

impl Renewal {
    /// `None` while root has long to live, or too few of its keys are here.
    fn of(state: &CurrentState, ring: &KeyRing<'_>, now: UtcTime) -> Option<Self> {
        let root = state.root().payload();
        let mut keys: Vec<_> = root.root.fingerprints(&root.keys).into_iter().collect();
        keys.retain(|key| ring.find(key).is_some());
        let renewal = Self { keys };
        let soon = now.plus_seconds(lifetimes::ROOT_RENEWAL);
        let is_due = renewal.first_end(root).is_over(soon);
        (is_due && root.root.threshold.is_met_by(renewal.keys.len())).then_some(renewal)
    }

    /// The keys that sign.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<Fingerprint> {
        self.keys.iter().copied().collect()
    }

    /// When root, or the first certificate that could be made anew, comes to its end.
    fn first_end(&self, root: &Root) -> UtcTime {
        let certificates = root.root.key_ids.iter().filter_map(|id| root.keys.get(id)?.certificate.as_ref());
        let here = certificates.filter(|known| self.keys.contains(&known.public_key().fingerprint()));
        here.map(Certificate::not_after).fold(root.expires, UtcTime::min)
    }

    /// Makes the new root with keys of `ring` that are open.
    ///
    /// # Errors
    /// See [`RenewalError`].
    pub fn sign(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
    ) -> Result<Document, RenewalError> {
        let old = state.root().payload();
        let signers = ring.signers(&self.keys);
        let entries = old.root.key_ids.iter().filter_map(|id| old.keys.get(id));
        let keys = entries.map(|entry| recertify(ports, repository, entry, &signers, now));
        let spec = RoleSpec { keys: keys.collect::<Result<_, _>>()?, threshold: old.root.threshold };
        let expires = now.plus_seconds(lifetimes::root(Dialect::Notary1));
        let mut edit = RootEdit::next(Dialect::Notary1, old, expires).ok_or(RenewalError::LastVersion)?;
        edit.set_role(TopLevelRole::Root, &spec)?;
        let root = edit.finish();
        let version = root.version;
        let signed = Draft::new(Dialect::Notary1, root).sign_root(&signers, Some(state.root()))?;
        Ok(Document { role: RoleName::Root, version, bytes: signed.bytes().clone() })
    }
}

/// A new certificate for a key that is here, with the name that it had; others stay.
fn recertify(
    ports: Ports<'_>,
    repository: &RepositoryName,
    entry: &KeyEntry,
    signers: &[&dyn Signer],
    now: UtcTime,
) -> Result<KeyEntry, CertificateError> {
    match signers.iter().find(|signer| entry.key.as_ref() == Some(signer.public_key())) {
        Some(signer) => {
            let name = entry.certificate.as_ref().map(|known| known.common_name().to_owned());
            let name = name.unwrap_or_else(|| repository.to_string());
            certificate::certify(ports.entropy, *signer, &name, now)
        }
        None => Ok(entry.clone()),
    }
}

/// Why a root could not be renewed.
#[derive(Debug, thiserror::Error)]
pub enum RenewalError {
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The version counter is at its end.
    #[error("it has reached the last version there is")]
    LastVersion,
    /// The keys do not fit together.
    #[error(transparent)]
    Root(#[from] RootEditError),
    /// What was written was refused by our own verification.
    #[error(transparent)]
    Sign(#[from] SignError),
}
