//! The only signature counter, and the only place that makes a [`Verified`].
//!
//! Typed payloads exist only after their signatures were counted: the one exception is a
//! root, whose keys must be read to see whether it meets its own threshold, and which
//! leaves this file only when it does.

use std::collections::BTreeSet;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;

use crate::dialect::{Dialect, Document, Envelope, InvalidMetadata, Signature, notary1};
use crate::digest::{Hashed, Sha256Digest};
use crate::key::{Certificate, Fingerprint, KeyId, PublicKey};
use crate::metadata::{Children, KeyTable, MetaInfo, RoleKeys, Root, Targets, Threshold, Version};
use crate::names::{RepositoryName, RoleName};
use crate::time::UtcTime;
use crate::verify::Pin;

/// Bytes that somebody sent, believed to be a document of kind `R`.
#[derive(Clone)]
pub struct RawMetadata<R> {
    bytes: Hashed,
    dialect: Dialect,
    kind: PhantomData<R>,
}

impl<R: Document> RawMetadata<R> {
    /// Takes `bytes` as they came.
    #[must_use]
    pub fn new(dialect: Dialect, bytes: impl Into<Hashed>) -> Self {
        Self { bytes: bytes.into(), dialect, kind: PhantomData }
    }

    /// The bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        self.bytes.bytes()
    }

    /// Verifies against the keys that a trusted delegator names for this role (C4, C12,
    /// C17, C20, C23): the threshold first, decoding after.
    ///
    /// # Errors
    /// Malformed bytes, too few distinct keys, or a payload of another kind.
    pub fn verify(self, keys: &RoleKeys, table: &KeyTable) -> Result<Verified<R>, VerifyError> {
        let mut envelope = Envelope::parse(self.dialect, &self.bytes)?;
        let signed_by = require_threshold(&envelope, keys, table)?;
        let payload = R::decode(self.dialect, envelope.signed_mut())?;
        Ok(Verified::new(payload, self, signed_by))
    }
}

impl RawMetadata<Targets> {
    /// Verifies a document that is to stand for `role` in the repository of `root`: signed as
    /// its delegator demands, and not one that its signer made for another role, or for
    /// another repository if the root names one. Whoever holds the snapshot keys could swap
    /// documents of one signer otherwise, and so forge tags.
    ///
    /// # Errors
    /// As for [`RawMetadata::verify`], or a document of another role or repository.
    pub fn verify_as(
        self,
        role: &RoleName,
        root: &Root,
        keys: &RoleKeys,
        table: &KeyTable,
    ) -> Result<Verified<Targets>, VerifyError> {
        let targets = self.verify(keys, table)?;
        require_repository(root.repository.as_ref(), targets.payload.repository.as_ref())?;
        if let Some(found) = targets.payload.role.as_ref().filter(|found| *found != role) {
            return Err(VerifyError::OtherRole { found: found.clone() });
        }
        if targets.dialect == Dialect::Notary1 {
            require_direct_children(role, &targets.payload)?;
        }
        Ok(targets)
    }
}

impl RawMetadata<Root> {
    /// Verifies the successor of a trusted root: signed by a threshold of the old keys (C4)
    /// and of its own (C5, or a root nobody can follow locks everyone out: CVE-2020-15163).
    ///
    /// # Errors
    /// Malformed bytes, or too few distinct keys on either count.
    pub fn verify_successor(self, old: &Verified<Root>) -> Result<Verified<Root>, VerifyError> {
        let new = self.verify(&root_keys(old.dialect, &old.payload), &old.payload.keys)?;
        require_repository(old.payload.repository.as_ref(), new.payload.repository.as_ref())?;
        new.require_own_threshold()
    }

    /// Verifies a root that is trusted for where it comes from, against itself only (C2).
    ///
    /// # Errors
    /// Malformed bytes, or too few distinct keys.
    pub fn verify_first(self) -> Result<Verified<Root>, VerifyError> {
        let mut envelope = Envelope::parse(self.dialect, &self.bytes)?;
        let payload = Root::decode(self.dialect, envelope.signed_mut())?;
        let keys = root_keys(self.dialect, &payload);
        let signed_by = require_threshold(&envelope, &keys, &payload.keys)?;
        Ok(Verified::new(payload, self, signed_by))
    }

    /// Verifies the first root against what the consumer pinned (C2), and against itself.
    ///
    /// # Errors
    /// Malformed bytes, another root than the pinned one, or too few distinct keys.
    pub fn verify_pinned(self, pin: &Pin) -> Result<Verified<Root>, VerifyError> {
        let root = self.verify_first()?;
        match pin {
            Pin::Digest(digest) if root.digest() == *digest => Ok(root),
            Pin::Digest(_) => Err(VerifyError::NotPinned { found: root.digest() }),
            Pin::Keys { fingerprints, threshold } => {
                let envelope = Envelope::parse(root.dialect, &root.bytes)?;
                let keys = root_keys(root.dialect, &root.payload);
                let listed = keys.keys(&root.payload.keys);
                let pinned = listed.filter(|(_, key)| fingerprints.contains(&key.fingerprint()));
                let signed_by = count(&envelope, pinned);
                if !threshold.is_met_by(signed_by.len()) {
                    return Err(VerifyError::threshold(*threshold, signed_by, fingerprints));
                }
                Ok(root)
            }
        }
    }
}

/// A payload whose signatures met the threshold of a trusted delegator, with the very
/// bytes it was read from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Verified<R> {
    payload: Arc<R>,
    bytes: Hashed,
    dialect: Dialect,
    signed_by: BTreeSet<Fingerprint>,
}

impl<R> Verified<R> {
    /// The payload.
    #[must_use]
    pub fn payload(&self) -> &R {
        &self.payload
    }

    /// The bytes, as received.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        self.bytes.bytes()
    }

    /// The bytes with their digest.
    #[must_use]
    pub const fn hashed(&self) -> &Hashed {
        &self.bytes
    }

    /// The digest of the bytes.
    #[must_use]
    pub fn digest(&self) -> Sha256Digest {
        self.bytes.digest()
    }

    /// The dialect it is written in.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The distinct keys that were found to have signed, at least the threshold of them.
    #[must_use]
    pub const fn signed_by(&self) -> &BTreeSet<Fingerprint> {
        &self.signed_by
    }
}

impl<R: Document> Verified<R> {
    fn new(payload: R, raw: RawMetadata<R>, signed_by: BTreeSet<Fingerprint>) -> Self {
        Self { payload: Arc::new(payload), bytes: raw.bytes, dialect: raw.dialect, signed_by }
    }

    /// The version of the document.
    #[must_use]
    pub fn version(&self) -> Version {
        self.payload.version()
    }

    /// When the document may no longer be used.
    #[must_use]
    pub fn expires(&self) -> UtcTime {
        self.payload.expires()
    }

    /// How a parent document describes these bytes: the digest makes mix-and-match visible
    /// even where a version was reused.
    #[must_use]
    pub fn describe(&self) -> MetaInfo {
        self.dialect.describe(self.version(), &self.bytes)
    }

    /// Verifies the same bytes against the keys of another delegator (C21): what one edge of
    /// the delegation graph accepted, another may not.
    ///
    /// # Errors
    /// Too few distinct keys of that delegator.
    pub fn reverify(&self, keys: &RoleKeys, table: &KeyTable) -> Result<Self, VerifyError> {
        RawMetadata::new(self.dialect, self.bytes.clone()).verify(keys, table)
    }
}

impl Verified<Root> {
    fn require_own_threshold(mut self) -> Result<Self, VerifyError> {
        let envelope = Envelope::parse(self.dialect, &self.bytes)?;
        let keys = root_keys(self.dialect, &self.payload);
        self.signed_by = require_threshold(&envelope, &keys, &self.payload.keys)?;
        Ok(self)
    }

    /// Requires of a root in Notary's dialect that enough of its signatures are under keys of
    /// its own whose certificates are for `holder`, and valid at `now` if that is given; in
    /// TUF's dialect a root names its repository itself.
    ///
    /// # Errors
    /// Too few such signatures.
    pub(super) fn require_certificates(
        &self,
        holder: &Holder,
        now: Option<UtcTime>,
    ) -> Result<(), VerifyError> {
        self.require_certificates_of(&self.payload, holder, now)
    }

    /// The same of the root before: a key that it lists for another repository leads nowhere
    /// here. Whether its certificates are still valid is not looked at.
    ///
    /// # Errors
    /// Too few such signatures.
    pub(super) fn require_old_certificates(&self, old: &Self, holder: &Holder) -> Result<(), VerifyError> {
        self.require_certificates_of(&old.payload, holder, None)
    }

    fn require_certificates_of(
        &self,
        root: &Root,
        holder: &Holder,
        now: Option<UtcTime>,
    ) -> Result<(), VerifyError> {
        if self.dialect == Dialect::Tuf1 {
            return Ok(());
        }
        let is_fitting = |certificate: &Certificate| {
            holder.is_named_by(certificate) && now.is_none_or(|now| certificate.is_valid_at(now))
        };
        let mut keys = root.root.clone();
        keys.key_ids.retain(|id| {
            root.keys.get(id).and_then(|entry| entry.certificate.as_ref()).is_some_and(is_fitting)
        });
        let signed_by = count(&Envelope::parse(self.dialect, &self.bytes)?, keys.keys(&root.keys));
        if !keys.threshold.is_met_by(signed_by.len()) {
            return Err(VerifyError::Certificates { threshold: keys.threshold, fitting: signed_by.len() });
        }
        Ok(())
    }
}

/// The repository that certificates have to name.
#[derive(Clone, Debug)]
pub(super) struct Holder {
    pub(super) repository: RepositoryName,
    /// Whether a name for many (`team/*`) is not enough: where a pin covers many repositories,
    /// nothing else would tell them apart.
    pub(super) exactly: bool,
}

impl Holder {
    fn is_named_by(&self, certificate: &Certificate) -> bool {
        let is_exact = certificate.common_name() == self.repository.as_str();
        is_exact || (!self.exactly && certificate.names(&self.repository))
    }
}

/// Why a document was not verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Too few signatures of a root are under keys with a valid certificate for the repository.
    #[error("{fitting} of {threshold} required root keys have a valid certificate for this repository")]
    Certificates {
        /// How many must have one.
        threshold: Threshold,
        /// How many have.
        fitting: usize,
    },
    /// The bytes are no document of the expected kind.
    #[error(transparent)]
    Metadata(#[from] InvalidMetadata),
    /// The document names another repository, or none where one must be named.
    #[error("the document is made for {}", found.as_ref().map_or("no repository in particular", RepositoryName::as_str))]
    OtherRepository {
        /// What it names.
        found: Option<RepositoryName>,
    },
    /// The document says that it is of another role.
    #[error("the document says that it is of role {found}")]
    OtherRole {
        /// What it says.
        found: RoleName,
    },
    /// The first root is not the pinned one.
    #[error("the root has digest {found}, which is not the pinned one")]
    NotPinned {
        /// Its digest.
        found: Sha256Digest,
    },
    /// Fewer distinct keys signed than must.
    #[error("signed by {} of {threshold} required keys", signed_by.len())]
    Threshold {
        /// How many must sign.
        threshold: Threshold,
        /// Which did.
        signed_by: BTreeSet<Fingerprint>,
        /// Which could have, but did not.
        missing: BTreeSet<Fingerprint>,
    },
}

impl VerifyError {
    fn threshold(
        threshold: Threshold,
        signed_by: BTreeSet<Fingerprint>,
        authorised: &BTreeSet<Fingerprint>,
    ) -> Self {
        let missing = authorised.difference(&signed_by).copied().collect();
        Self::Threshold { threshold, signed_by, missing }
    }
}

/// Where the parent names a repository, the child must name the same.
pub(super) fn require_repository(
    parent: Option<&RepositoryName>,
    child: Option<&RepositoryName>,
) -> Result<(), VerifyError> {
    match parent {
        Some(_) if parent != child => Err(VerifyError::OtherRepository { found: child.cloned() }),
        _ => Ok(()),
    }
}

/// Who may sign a root. In Notary's dialect these are keys in certificates, never bare ones.
pub(super) fn root_keys(dialect: Dialect, root: &Root) -> RoleKeys {
    let mut keys = root.root.clone();
    if dialect == Dialect::Notary1 {
        keys.key_ids.retain(|id| root.keys.get(id).is_some_and(|entry| entry.certificate.is_some()));
    }
    keys
}

/// A document in Notary's dialect does not say which role it is of. But a role can delegate
/// only to roles right below itself, so that nobody takes a name that is another's to give.
pub(super) fn require_direct_children(role: &RoleName, targets: &Targets) -> Result<(), VerifyError> {
    let Some(delegations) = &targets.delegations else { return Ok(()) };
    let Children::Roles(children) = &delegations.children else { return Ok(()) };
    match children.iter().find(|child| !notary1::is_direct_child(role, &child.name)) {
        None => Ok(()),
        Some(_) => Err(VerifyError::Metadata(InvalidMetadata::Member {
            at: "targets.delegations.roles".to_owned(),
            expected: "roles right below this one",
        })),
    }
}

fn require_threshold(
    envelope: &Envelope,
    keys: &RoleKeys,
    table: &KeyTable,
) -> Result<BTreeSet<Fingerprint>, VerifyError> {
    let signed_by = count(envelope, keys.keys(table));
    if !keys.threshold.is_met_by(signed_by.len()) {
        return Err(VerifyError::threshold(keys.threshold, signed_by, &keys.fingerprints(table)));
    }
    Ok(signed_by)
}

/// Counts distinct key material (C6): not signatures, not key ids. One secret listed under
/// two ids counts once. Only authorised keys are tried, each at most once, so that a
/// document full of bad signatures costs no more than its role has keys (CVE-2020-6173).
/// Bad and empty signatures beside good ones are passed over.
pub(super) fn count<'a>(
    envelope: &Envelope,
    authorised: impl Iterator<Item = (&'a KeyId, &'a PublicKey)>,
) -> BTreeSet<Fingerprint> {
    let mut signed_by = BTreeSet::new();
    for (id, key) in authorised {
        let signature = envelope.signatures().iter().find(|signature| signature.key_id == *id);
        if signature.is_some_and(|signature| is_made_by(envelope, signature, key)) {
            signed_by.insert(key.fingerprint());
        }
    }
    signed_by
}

/// Whether `key` made `signature` over what the envelope carries.
pub(super) fn is_made_by(envelope: &Envelope, signature: &Signature, key: &PublicKey) -> bool {
    signature.fits(key) && key.verify(envelope.signed_bytes(), &signature.bytes).is_ok()
}
