//! Documents that still ask for signatures: read before their threshold is met, so that people
//! can see what they are asked to sign. Nothing is trusted because one of them says so.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::dialect::{Dialect, Document, Envelope, InvalidMetadata, Signature};
use crate::digest::Sha256Digest;
use crate::key::{Fingerprint, KeyId, PublicKey};
use crate::metadata::{KeyTable, RoleKeys, Root, Targets};
use crate::names::{RepositoryName, RoleName};
use crate::verify::VerifyError;
use crate::verify::verified::{count, is_made_by, require_direct_children, require_repository, root_keys};

/// A document with too few signatures, or none. Cannot become a
/// [`Verified`](crate::verify::Verified) one but by the way that all bytes take.
#[derive(Clone, Debug)]
pub struct Proposed<R> {
    payload: R,
    dialect: Dialect,
    bytes: Bytes,
    envelope: Envelope,
}

impl<R: Document> Proposed<R> {
    /// Reads `bytes`; counts nothing.
    ///
    /// # Errors
    /// They are no document of this kind.
    pub fn read(dialect: Dialect, bytes: Bytes) -> Result<Self, InvalidMetadata> {
        let envelope = Envelope::parse(dialect, &bytes)?;
        let payload = R::decode(dialect, &mut envelope.signed().clone())?;
        Ok(Self { payload, dialect, bytes, envelope })
    }

    /// What it would say.
    #[must_use]
    pub const fn payload(&self) -> &R {
        &self.payload
    }

    /// The bytes, signatures included.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The bytes that signatures cover.
    #[must_use]
    pub fn signed_bytes(&self) -> &[u8] {
        self.envelope.signed_bytes()
    }

    /// The digest of what signatures cover: what signers agree on.
    #[must_use]
    pub fn payload_digest(&self) -> Sha256Digest {
        Sha256Digest::of(self.signed_bytes())
    }

    /// The distinct keys among `keys` that signed it, counted as everywhere.
    #[must_use]
    pub fn signed_by(&self, keys: &RoleKeys, table: &KeyTable) -> BTreeSet<Fingerprint> {
        count(&self.envelope, keys.keys(table))
    }

    /// Whether `signature`, which the document need not carry yet, is one of `key` over it.
    #[must_use]
    pub fn is_signature_of(&self, key: &PublicKey, signature: &Signature) -> bool {
        is_made_by(&self.envelope, signature, key)
    }

    /// A signature that no key of `delegators` made: it never counts, and only hides what the
    /// document is worth.
    #[must_use]
    pub fn stray_signature(&self, delegators: &[(&RoleKeys, &KeyTable)]) -> Option<&KeyId> {
        let is_made = |id: &KeyId| {
            let one = |(keys, table): &(&RoleKeys, &KeyTable)| {
                !count(&self.envelope, keys.keys(table).filter(|(known, _)| *known == id)).is_empty()
            };
            delegators.iter().any(one)
        };
        self.envelope.signatures().iter().map(|signature| &signature.key_id).find(|id| !is_made(id))
    }

    /// The same document with more signatures. Of two under one key id, the first stays.
    ///
    /// # Errors
    /// More signatures than a document may carry.
    pub fn with_signatures(&self, more: &[Signature]) -> Result<Self, InvalidMetadata> {
        let mut signatures = self.envelope.signatures().to_vec();
        for signature in more {
            if !signatures.iter().any(|known| known.key_id == signature.key_id) {
                signatures.push(signature.clone());
            }
        }
        let signed = self.envelope.signed().clone();
        Self::read(self.dialect, Bytes::from(Envelope::write(self.dialect, signed, &signatures)))
    }
}

impl Proposed<Root> {
    /// Who must sign a root beside the keys of the one before: its own keys.
    #[must_use]
    pub fn own_keys(&self) -> RoleKeys {
        root_keys(self.dialect, &self.payload)
    }

    /// Who must sign the root after `root`.
    #[must_use]
    pub fn keys_of(dialect: Dialect, root: &Root) -> RoleKeys {
        root_keys(dialect, root)
    }

    /// Requires the name of the repository that the root before has.
    ///
    /// # Errors
    /// Another name, or none.
    pub fn require_repository(&self, before: Option<&RepositoryName>) -> Result<(), VerifyError> {
        require_repository(before, self.payload.repository.as_ref())
    }
}

impl Proposed<Targets> {
    /// Requires of the document what [`RawMetadata::verify_as`](crate::verify::RawMetadata::verify_as)
    /// does, but for signatures: that it is of `role` in the repository of `root`.
    ///
    /// # Errors
    /// A document of another role or repository.
    pub fn require_role(&self, role: &RoleName, root: &Root) -> Result<(), VerifyError> {
        require_repository(root.repository.as_ref(), self.payload.repository.as_ref())?;
        if let Some(found) = self.payload.role.as_ref().filter(|found| *found != role) {
            return Err(VerifyError::OtherRole { found: found.clone() });
        }
        if self.dialect == Dialect::Notary1 {
            require_direct_children(role, &self.payload)?;
        }
        Ok(())
    }
}
