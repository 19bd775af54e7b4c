//! From a draft to final bytes.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::canonical::canonical_object;
use crate::dialect::{Dialect, Document, Envelope, Signature};
use crate::digest::Hashed;
use crate::key::{Fingerprint, KeyId, Signer};
use crate::metadata::{KeyTable, MetaInfo, RoleKeys, Root, Version};
use crate::verify::{Proposed, RawMetadata, Verified, VerifyError};

/// A document being written.
#[derive(Clone, Debug)]
pub struct Draft<R> {
    dialect: Dialect,
    document: R,
}

impl<R: Document> Draft<R> {
    /// Starts from what the document is to say.
    #[must_use]
    pub const fn new(dialect: Dialect, document: R) -> Self {
        Self { dialect, document }
    }

    /// What the document is to say.
    #[must_use]
    pub const fn document(&self) -> &R {
        &self.document
    }

    /// Signs with every signer whose key the delegator names, and verifies the result.
    ///
    /// # Errors
    /// A signer failed, or the signatures do not meet the threshold.
    pub fn sign(
        self,
        signers: &[&dyn Signer],
        keys: &RoleKeys,
        table: &KeyTable,
    ) -> Result<SignedMetadata<R>, SignError> {
        let bytes = self.envelope(signers, &[(keys, table)])?;
        let verified = RawMetadata::new(self.dialect, bytes).verify(keys, table)?;
        Ok(SignedMetadata(verified))
    }

    /// Signs without judging the result: for the online roles, whose bytes
    /// [`AcceptedUpdate::seal`](crate::verify::submission::AcceptedUpdate::seal) judges in any
    /// case, as a client would.
    ///
    /// # Errors
    /// A signer failed.
    pub fn sign_to_seal(
        self,
        signers: &[&dyn Signer],
        keys: &RoleKeys,
        table: &KeyTable,
    ) -> Result<Unsealed, SignError> {
        let bytes = self.envelope(signers, &[(keys, table)])?;
        Ok(Unsealed { dialect: self.dialect, version: self.document.version(), bytes: bytes.into() })
    }

    /// Signs with those of `signers` that one of the delegators names, though they may be too
    /// few or none: for a request that others sign as well.
    ///
    /// # Errors
    /// A signer failed, or what was written cannot be read back.
    pub fn propose(
        self,
        signers: &[&dyn Signer],
        delegators: &[(&RoleKeys, &KeyTable)],
    ) -> Result<Proposed<R>, SignError> {
        let bytes = self.envelope(signers, delegators)?;
        Ok(Proposed::read(self.dialect, bytes).map_err(VerifyError::from)?)
    }

    /// Signs with every signer that one of the delegators names, once per declared id.
    fn envelope(
        &self,
        signers: &[&dyn Signer],
        delegators: &[(&RoleKeys, &KeyTable)],
    ) -> Result<Bytes, SignError> {
        let signed = self.document.encode(self.dialect);
        let payload = canonical_object(&signed);
        let mut signatures: Vec<Signature> = Vec::new();
        for signer in signers {
            let fingerprint = signer.public_key().fingerprint();
            let ids: BTreeSet<&KeyId> = delegators
                .iter()
                .flat_map(|(keys, table)| keys.keys(table))
                .filter(|(_, key)| key.fingerprint() == fingerprint)
                .map(|(id, _)| id)
                .collect();
            let ids = ids.into_iter().filter(|id| !signatures.iter().any(|known| known.key_id == **id));
            let ids: Vec<KeyId> = ids.cloned().collect();
            if ids.is_empty() {
                continue;
            }
            let bytes = signer.sign(&payload).map_err(|_| SignError::Signer { fingerprint })?;
            let algorithm = Some(signer.public_key().algorithm());
            let signature = |key_id| Signature { key_id, algorithm, bytes: bytes.clone() };
            signatures.extend(ids.into_iter().map(signature));
        }
        Ok(Bytes::from(Envelope::write(self.dialect, signed, &signatures)))
    }
}

impl Draft<Root> {
    /// Signs a root with the keys it names itself and, if it has a predecessor, with the
    /// predecessor's: consumers demand both thresholds (C4, C5).
    ///
    /// # Errors
    /// A signer failed, or one of the two thresholds is not met.
    pub fn sign_root(
        self,
        signers: &[&dyn Signer],
        predecessor: Option<&Verified<Root>>,
    ) -> Result<SignedMetadata<Root>, SignError> {
        let old = predecessor.map(Verified::payload);
        let mut delegators = vec![(&self.document.root, &self.document.keys)];
        delegators.extend(old.map(|old| (&old.root, &old.keys)));
        let bytes = self.envelope(signers, &delegators)?;
        let raw = RawMetadata::new(self.dialect, bytes);
        let verified = match predecessor {
            Some(old) => raw.verify_successor(old)?,
            None => raw.verify_first()?,
        };
        Ok(SignedMetadata(verified))
    }
}

impl Draft<Root> {
    /// Signs a root with those of `signers` that it names itself or that its predecessor names,
    /// though they may be too few or none.
    ///
    /// # Errors
    /// As for [`Draft::propose`].
    pub fn propose_root(
        self,
        signers: &[&dyn Signer],
        predecessor: Option<&Root>,
    ) -> Result<Proposed<Root>, SignError> {
        let document = self.document.clone();
        let mut delegators = vec![(&document.root, &document.keys)];
        delegators.extend(predecessor.map(|old| (&old.root, &old.keys)));
        self.propose(signers, &delegators)
    }
}

/// A document in its final form: what a parent document describes is what is stored.
#[derive(Clone, Debug)]
pub struct SignedMetadata<R>(Verified<R>);

impl<R: Document> SignedMetadata<R> {
    /// The final bytes.
    #[must_use]
    pub const fn bytes(&self) -> &Bytes {
        self.0.bytes()
    }

    /// The document, verified.
    #[must_use]
    pub const fn verified(&self) -> &Verified<R> {
        &self.0
    }

    /// How a parent document describes these bytes.
    #[must_use]
    pub fn describe(&self) -> MetaInfo {
        self.0.describe()
    }
}

/// Signed bytes that nobody has judged yet: good for sealing an update, for nothing else.
#[derive(Clone, Debug)]
pub struct Unsealed {
    dialect: Dialect,
    version: Version,
    bytes: Hashed,
}

impl Unsealed {
    /// How a parent document describes these bytes.
    #[must_use]
    pub fn describe(&self) -> MetaInfo {
        self.dialect.describe(self.version, &self.bytes)
    }

    /// Gives up the bytes.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes.bytes().clone()
    }
}

/// Why a draft could not be signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The key could not be used.
    #[error("key {fingerprint} could not sign")]
    Signer {
        /// Which key.
        fingerprint: Fingerprint,
    },
    /// The signatures are not enough, or what was written cannot be read back.
    #[error(transparent)]
    Verify(#[from] VerifyError),
}
