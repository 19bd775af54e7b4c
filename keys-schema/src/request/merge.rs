//! Signatures into a request: each is verified with the key that its role names before it is
//! kept.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::dialect::{InvalidMetadata, Signature};
use crate::key::{Fingerprint, KeyId, PublicKey};
use crate::names::{RepositoryName, RoleName};
use crate::request::base::Body;
use crate::request::open::OpenDocument;
use crate::request::{DocumentSignature, OpenRequest, RequestId, SignatureFile};

/// What came of a file of signatures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Merged {
    /// New signatures.
    pub added: Vec<(RoleName, Fingerprint)>,
    /// Keys that had signed before: counted once, however often they sign.
    pub known: Vec<(RoleName, Fingerprint)>,
}

impl OpenRequest {
    /// Takes signatures in: all of them or none.
    ///
    /// # Errors
    /// The file is for another request or other bytes, or a signature is not one of a key that
    /// may sign.
    pub fn merge(&mut self, file: &SignatureFile) -> Result<Merged, MergeError> {
        if file.request != self.request.id {
            return Err(MergeError::OtherRequest { found: file.request });
        }
        if file.repository != self.request.repository {
            return Err(MergeError::OtherRepository { found: file.repository.clone() });
        }
        let mut merged = Merged::default();
        // Each signature is verified alone; documents, which may be large, are written once.
        let mut fresh: BTreeMap<RoleName, Vec<Signature>> = BTreeMap::new();
        for one in &file.signatures {
            let (role, key) = (one.role.clone(), one.key);
            let Some(document) = self.documents.get(&role) else {
                return Err(MergeError::UnknownDocument { role });
            };
            let is_known = merged.added.contains(&(role.clone(), key));
            match document.read(one)? {
                Some(signatures) if !is_known => {
                    fresh.entry(role.clone()).or_default().extend(signatures);
                    merged.added.push((role, key));
                }
                _ => merged.known.push((role, key)),
            }
        }
        let mut documents = self.documents.clone();
        for (role, signatures) in fresh {
            let Some(document) = documents.get_mut(&role) else { continue };
            *document = document.with(&role, &signatures)?;
            let added = merged.added.iter().filter(|(added, _)| *added == role);
            if let Some((_, key)) = added.into_iter().find(|(_, key)| !document.is_signed_by(key)) {
                return Err(MergeError::BadSignature { role, key: *key });
            }
        }
        let bytes = |document: &OpenDocument| -> Bytes { document.body.bytes().clone() };
        self.request.documents = documents.iter().map(|(role, doc)| (role.clone(), bytes(doc))).collect();
        self.documents = documents;
        Ok(merged)
    }
}

impl OpenDocument {
    /// The signature under every id that a delegator declares for its key, because consumers look
    /// by id; `None` if the key has signed already.
    fn read(&self, one: &DocumentSignature) -> Result<Option<Vec<Signature>>, MergeError> {
        let (role, key) = (one.role.clone(), one.key);
        if one.payload_sha256 != self.payload_sha256 {
            return Err(MergeError::OtherPayload { role });
        }
        if !self.may_sign(&key) {
            return Err(MergeError::NoRole { role, key });
        }
        if self.is_signed_by(&key) {
            return Ok(None);
        }
        let naming = self.signers.iter().filter(|signers| signers.prints.contains(&key));
        let listed = naming.flat_map(|signers| signers.keys.keys(&signers.table));
        let mut own = listed.filter(|(_, known)| known.fingerprint() == key).peekable();
        let signature = |id: &KeyId, known: &PublicKey| Signature {
            key_id: id.clone(),
            algorithm: Some(known.algorithm()),
            bytes: one.signature.clone(),
        };
        let is_good =
            own.peek().is_some_and(|(id, known)| self.body.is_signature_of(known, &signature(id, known)));
        if !is_good {
            return Err(MergeError::BadSignature { role, key });
        }
        Ok(Some(own.map(|(id, known)| signature(id, known)).collect()))
    }

    /// The document with more signatures, all of it counted again.
    fn with(&self, role: &RoleName, signatures: &[Signature]) -> Result<Self, MergeError> {
        let unwritable = |source| MergeError::Document { role: role.clone(), source };
        let body = match &self.body {
            Body::Root(root) => Body::Root(root.with_signatures(signatures).map_err(unwritable)?),
            Body::Targets(targets) => Body::Targets(targets.with_signatures(signatures).map_err(unwritable)?),
        };
        Ok(Self::new(body, self.signers.clone()))
    }
}

/// Why signatures were not taken. None of the file was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// It is no signature of the key over the document.
    #[error("the signature of key {key} over {role} is wrong")]
    BadSignature {
        /// The document's role.
        role: RoleName,
        /// The key.
        key: Fingerprint,
    },
    /// The document cannot carry it.
    #[error("{role}: {source}")]
    Document {
        /// The document's role.
        role: RoleName,
        /// Why.
        source: InvalidMetadata,
    },
    /// The key may not sign this document.
    #[error("key {key} has no say in {role}")]
    NoRole {
        /// The document's role.
        role: RoleName,
        /// The key.
        key: Fingerprint,
    },
    /// The signatures are over other bytes than the request has.
    #[error("the signatures are over another {role} than the one in the request")]
    OtherPayload {
        /// The document's role.
        role: RoleName,
    },
    /// The signatures are for another repository.
    #[error("the signatures are for {found}")]
    OtherRepository {
        /// Which.
        found: RepositoryName,
    },
    /// The signatures are for another request.
    #[error("the signatures are for request {found}")]
    OtherRequest {
        /// Which.
        found: RequestId,
    },
    /// The request has no such document.
    #[error("the request has no document of {role}")]
    UnknownDocument {
        /// The role.
        role: RoleName,
    },
}
