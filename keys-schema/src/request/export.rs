//! A request for a machine without network: with the documents that are needed to judge it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::limits;
use crate::names::RoleName;
use crate::request::file::{
    File as RequestFile, Metadata, bound, decode, parse_json, read_documents, require_kind, write_documents,
    write_json,
};
use crate::request::{InvalidRequest, SigningRequest};

const KIND: &str = "signing-request-export";

/// A request and the current state of its repository, for whoever has only a pin. The state is
/// believed no more than if a server had sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestExport {
    /// The request.
    pub request: SigningRequest,
    /// Roots after the pinned one, oldest first, up to the current one.
    pub roots: Vec<Bytes>,
    /// All current documents; none for a new repository.
    pub documents: BTreeMap<RoleName, Bytes>,
}

impl RequestExport {
    /// Reads an export, or a bare request, which comes with no documents.
    ///
    /// # Errors
    /// As for [`SigningRequest::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        if bytes.len() > limits::EXPORT_BYTES {
            return Err(InvalidRequest::TooLarge { limit: limits::EXPORT_BYTES });
        }
        let kind: Kind = parse_json(bytes)?;
        if kind.kind != KIND {
            let request = SigningRequest::parse(bytes)?;
            return Ok(Self { request, roots: Vec::new(), documents: BTreeMap::new() });
        }
        let file: File = parse_json(bytes)?;
        require_kind(file.schema_version, &file.kind, KIND)?;
        bound("roots", file.roots.len(), limits::ROOT_STEPS)?;
        bound("documents", file.documents.len(), limits::DELEGATIONS)?;
        let roots = file.roots.iter().map(|text| decode("roots", text));
        let request = SigningRequest::from_file(&file.request)?;
        if request.to_bytes().len() > limits::REQUEST_BYTES {
            return Err(InvalidRequest::TooLarge { limit: limits::REQUEST_BYTES });
        }
        Ok(Self {
            request,
            roots: roots.collect::<Result<_, _>>()?,
            documents: read_documents(&file.documents)?,
        })
    }

    /// The JSON text and a line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        write_json(&File {
            schema_version: 1,
            kind: KIND.to_owned(),
            request: self.request.to_file(),
            roots: self.roots.iter().map(|bytes| STANDARD.encode(bytes)).collect(),
            documents: write_documents(&self.documents),
        })
    }
}

/// What the file says it is; everything else is read once that is known.
#[derive(Deserialize)]
struct Kind {
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    kind: String,
    request: RequestFile,
    roots: Vec<String>,
    documents: Vec<Metadata>,
}
