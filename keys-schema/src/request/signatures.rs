//! What a signer sends back: signatures, and what they are over.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::digest::Sha256Digest;
use crate::key::Fingerprint;
use crate::limits;
use crate::names::{RepositoryName, RoleName};
use crate::request::file::{bound, decode, member, parse_json, require_kind, write_json};
use crate::request::{InvalidRequest, RequestId};

const KIND: &str = "signatures";

/// Signatures for one request. It names keys by their material, never by an id that a document
/// declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureFile {
    /// The request.
    pub request: RequestId,
    /// Its repository.
    pub repository: RepositoryName,
    /// The signatures.
    pub signatures: Vec<DocumentSignature>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentSignature {
    /// The document's role.
    pub role: RoleName,
    /// SHA-256 of the canonical bytes that it is over.
    pub payload_sha256: Sha256Digest,
    /// The key.
    pub key: Fingerprint,
    /// As [`PublicKey::verify`](crate::key::PublicKey::verify) takes it.
    pub signature: Vec<u8>,
}

impl SignatureFile {
    /// Reads a file of signatures.
    ///
    /// # Errors
    /// Beyond the bounds of [`limits`], or not JSON of the known version with exactly the known
    /// members.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        if bytes.len() > limits::SIGNATURE_FILE_BYTES {
            return Err(InvalidRequest::TooLarge { limit: limits::SIGNATURE_FILE_BYTES });
        }
        let file: File = parse_json(bytes)?;
        require_kind(file.schema_version, &file.kind, KIND)?;
        bound("signatures", file.signatures.len(), limits::KEYS)?;
        let signatures = file.signatures.iter().map(|one| {
            Ok(DocumentSignature {
                role: member("signatures.role", &one.role)?,
                payload_sha256: member("signatures.payload_sha256", &one.payload_sha256)?,
                key: member("signatures.key", &one.key)?,
                signature: decode("signatures.signature", &one.signature)?.to_vec(),
            })
        });
        Ok(Self {
            request: member("request", &file.request)?,
            repository: member("repository", &file.repository)?,
            signatures: signatures.collect::<Result<_, _>>()?,
        })
    }

    /// The JSON text and a line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let signatures = self.signatures.iter().map(|one| Signature {
            role: one.role.to_string(),
            payload_sha256: one.payload_sha256.to_string(),
            key: one.key.to_string(),
            signature: STANDARD.encode(&one.signature),
        });
        write_json(&File {
            schema_version: 1,
            kind: KIND.to_owned(),
            request: self.request.to_string(),
            repository: self.repository.to_string(),
            signatures: signatures.collect(),
        })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    kind: String,
    request: String,
    repository: String,
    signatures: Vec<Signature>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Signature {
    role: String,
    payload_sha256: String,
    key: String,
    signature: String,
}
