//! The next root: what it changes, who has to sign it, and in Notary's dialect the certificates
//! that its keys are wrapped in.
//!
//! A change is planned before any key is open. Certificates need open keys, so they are made
//! when the root is signed.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::{Draft, RoleSpec, RootEdit, RootEditError, SignError};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Certificate, Fingerprint, KeyAlgorithm, Signer};
use bulla_keys_schema::metadata::{KeyEntry, RoleKeys, Root, TopLevelRole};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::certificate::{self, CertificateError};
use crate::flow::layout::Authority;
use crate::flow::lifetimes;
use crate::flow::signing::{KeyRing, TooFewKeys};
use crate::port::trust_server::Document;

/// What the next root changes. With nothing named, it only lives longer.
#[derive(Clone, Debug, Default)]
pub struct RootChange {
    roles: BTreeMap<TopLevelRole, RoleSpec>,
    expires: Option<UtcTime>,
}

impl RootChange {
    /// The same keys and a new life, in new certificates as far as keys are here.
    #[must_use]
    pub fn renewal() -> Self {
        Self::default()
    }

    /// Gives `role` other keys, or another threshold. Root keys of Notary's dialect may come
    /// without a certificate, if they are keys of this home.
    pub fn set_role(&mut self, role: TopLevelRole, spec: RoleSpec) {
        self.roles.insert(role, spec);
    }

    /// Lets the root expire at `expires` in place of a whole lifetime after it is signed.
    #[must_use]
    pub const fn expiring(mut self, expires: UtcTime) -> Self {
        self.expires = Some(expires);
        self
    }

    /// The next root as it will be, but for the certificates that are made when it is signed.
    ///
    /// # Errors
    /// The version range is at its end, or keys and thresholds do not fit.
    pub fn preview(&self, state: &CurrentState, now: UtcTime) -> Result<Root, RootChangeError> {
        self.write(state, now, |entry| Ok(entry.clone()))
    }

    /// Who signs `role` under the next root.
    ///
    /// # Errors
    /// As for [`Self::preview`].
    pub fn authority(
        &self,
        role: TopLevelRole,
        state: &CurrentState,
        now: UtcTime,
    ) -> Result<Authority, RootChangeError> {
        let root = self.preview(state, now)?;
        Ok(Authority { keys: root.role(role).clone(), table: root.keys })
    }

    /// The keys of this home that sign the root: enough of the old root's and enough of its own,
    /// for consumers demand both. Keys that join are among them wherever they are here, so that
    /// each proves itself; in Notary's dialect all that are here are, to get a new certificate.
    ///
    /// # Errors
    /// Too few are here on either count, or the root cannot be made.
    pub fn keys(
        &self,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
    ) -> Result<BTreeSet<Fingerprint>, RootChangeError> {
        let old = old_authority(state);
        let new = self.authority(TopLevelRole::Root, state, now)?;
        self.require_certificates(state, ring, &new)?;
        let mut chosen = joining(&old, &new);
        chosen.retain(|key| ring.find(key).is_some());
        for authority in [&old, &new] {
            chosen.extend(ring.choose(&RoleName::Root, authority, &chosen)?);
        }
        if state.root().dialect() == Dialect::Notary1 {
            chosen = self.keys_here(state, ring, now)?;
        }
        Ok(chosen)
    }

    /// Every key of this home that may sign the root, be they enough or not.
    ///
    /// # Errors
    /// As for [`Self::preview`].
    pub fn keys_here(
        &self,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
    ) -> Result<BTreeSet<Fingerprint>, RootChangeError> {
        let new = self.authority(TopLevelRole::Root, state, now)?;
        let mut keys = fingerprints(&old_authority(state));
        keys.extend(fingerprints(&new));
        keys.retain(|key| ring.find(key).is_some());
        Ok(keys)
    }

    /// The next root, with every certificate that open keys of `ring` can make.
    ///
    /// # Errors
    /// See [`RootChangeError`].
    pub fn document(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
    ) -> Result<Root, RootChangeError> {
        let here: Vec<Fingerprint> = self.keys_here(state, ring, now)?.into_iter().collect();
        let signers = ring.signers(&here);
        self.write(state, now, |entry| match state.root().dialect() {
            Dialect::Notary1 => certified(ports, repository, entry, &signers, now),
            Dialect::Tuf1 => Ok(entry.clone()),
        })
    }

    /// Makes and signs the next root with keys of `ring` that are open.
    ///
    /// # Errors
    /// See [`RootChangeError`].
    pub fn sign(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
    ) -> Result<Document, RootChangeError> {
        let root = self.document(ports, repository, state, ring, now)?;
        let version = root.version;
        let here: Vec<Fingerprint> = self.keys_here(state, ring, now)?.into_iter().collect();
        let signed =
            Draft::new(state.root().dialect(), root).sign_root(&ring.signers(&here), Some(state.root()))?;
        Ok(Document { role: RoleName::Root, version, bytes: signed.bytes().clone() })
    }

    /// Writes the root; `wrap` gives each of its own keys the form in which it is listed.
    fn write(
        &self,
        state: &CurrentState,
        now: UtcTime,
        wrap: impl Fn(&KeyEntry) -> Result<KeyEntry, RootChangeError>,
    ) -> Result<Root, RootChangeError> {
        let (dialect, old) = (state.root().dialect(), state.root().payload());
        let expires = self.expires.unwrap_or_else(|| now.plus_seconds(lifetimes::root(dialect)));
        let mut edit = RootEdit::next(dialect, old, expires).ok_or(RootChangeError::LastVersion)?;
        for (role, spec) in &self.roles {
            if *role != TopLevelRole::Root {
                edit.set_role(*role, spec)?;
            }
        }
        let spec = self.roles.get(&TopLevelRole::Root).cloned().unwrap_or_else(|| spec(&old.root, old));
        let keys = spec.keys.iter().map(wrap).collect::<Result<_, _>>()?;
        edit.set_role(TopLevelRole::Root, &RoleSpec { keys, threshold: spec.threshold })?;
        Ok(edit.finish())
    }

    /// In Notary's dialect a root key counts only in a certificate, which its holder makes.
    fn require_certificates(
        &self,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        new: &Authority,
    ) -> Result<(), RootChangeError> {
        if state.root().dialect() == Dialect::Tuf1 {
            return Ok(());
        }
        let entries = new.keys.key_ids.iter().filter_map(|id| new.table.get(id));
        for key in entries.filter(|entry| entry.certificate.is_none()).filter_map(|entry| entry.key.as_ref())
        {
            let fingerprint = key.fingerprint();
            if key.algorithm() != KeyAlgorithm::EcdsaP256 {
                return Err(RootChangeError::LegacyKey { fingerprint });
            }
            if ring.find(&fingerprint).is_none() {
                return Err(RootChangeError::NoCertificate { fingerprint });
            }
        }
        Ok(())
    }
}

/// The keys and the threshold of a role, to be changed.
#[must_use]
pub fn spec(keys: &RoleKeys, root: &Root) -> RoleSpec {
    let entries = keys.key_ids.iter().filter_map(|id| root.keys.get(id));
    RoleSpec { keys: entries.cloned().collect(), threshold: keys.threshold }
}

/// When root comes to its end, or the first certificate in it of a key that `counts`.
#[must_use]
pub fn end(root: &Root, counts: impl Fn(&Fingerprint) -> bool) -> UtcTime {
    let certificates = root.root.key_ids.iter().filter_map(|id| root.keys.get(id)?.certificate.as_ref());
    let counting = certificates.filter(|known| counts(&known.public_key().fingerprint()));
    counting.map(Certificate::not_after).fold(root.expires, UtcTime::min)
}

/// Who signs the successor of the current root; in Notary's dialect keys in certificates.
#[must_use]
pub fn old_authority(state: &CurrentState) -> Authority {
    let root = state.root().payload();
    let mut keys = root.root.clone();
    if state.root().dialect() == Dialect::Notary1 {
        keys.key_ids.retain(|id| root.keys.get(id).is_some_and(|entry| entry.certificate.is_some()));
    }
    Authority { keys, table: root.keys.clone() }
}

fn fingerprints(authority: &Authority) -> BTreeSet<Fingerprint> {
    authority.keys.fingerprints(&authority.table)
}

fn joining(old: &Authority, new: &Authority) -> BTreeSet<Fingerprint> {
    fingerprints(new).difference(&fingerprints(old)).copied().collect()
}

/// A new certificate for a key that is open, with the name that it had; others keep theirs.
fn certified(
    ports: Ports<'_>,
    repository: &RepositoryName,
    entry: &KeyEntry,
    signers: &[&dyn Signer],
    now: UtcTime,
) -> Result<KeyEntry, RootChangeError> {
    let signer = signers.iter().find(|signer| entry.key.as_ref() == Some(signer.public_key()));
    match (signer, &entry.certificate, &entry.key) {
        (Some(signer), known, _) => {
            let name = known.as_ref().map_or(repository.as_str(), |known| known.common_name());
            Ok(certificate::certify(ports.entropy, *signer, name, now)?)
        }
        (None, None, Some(key)) => Err(RootChangeError::NoCertificate { fingerprint: key.fingerprint() }),
        (None, _, _) => Ok(entry.clone()),
    }
}

/// Why there is no next root.
#[derive(Debug, thiserror::Error)]
pub enum RootChangeError {
    /// A certificate cannot be made.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The version counter is at its end.
    #[error("root has reached the last version there is")]
    LastVersion,
    /// Notary keeps root keys in certificates, which are for P-256 keys here.
    #[error("key {fingerprint} cannot be a root key of a legacy repository: it is no ecdsa-p256 key")]
    LegacyKey {
        /// The key.
        fingerprint: Fingerprint,
    },
    /// Only the holder of a key can make its certificate.
    #[error("root key {fingerprint} needs a certificate, which only its holder can make")]
    NoCertificate {
        /// The key.
        fingerprint: Fingerprint,
    },
    /// The keys do not fit together.
    #[error("such a root cannot be made: {0}")]
    Root(#[from] RootEditError),
    /// What was written was refused by our own verification.
    #[error("cannot sign root: {0}")]
    Sign(#[from] SignError),
    /// This home has not enough keys.
    #[error(transparent)]
    TooFewKeys(#[from] TooFewKeys),
}
