//! Signing requests: changes that need more signatures than one home has.
//!
//! A request comes from a server or in a file, and is believed in neither: it is judged against
//! the state that this home trusts, from its own pin, and what it would change is worked out
//! here.

mod export;
mod images;
mod judge;
mod make;
mod sign;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{InvalidRequest, MergeError, OpenError, RequestId};
use bulla_keys_schema::verify::RootError;
use bulla_keys_schema::verify::submission::BrokenState;
use bulla_keys_schema::wire::RequestSummary;

pub use export::export;
pub use images::{SignedImage, signed_images};
pub use judge::{Holder, Judged, from_file, from_server, require_digest};
pub use make::{Ask, Proposal, put};
pub(in crate::flow) use make::{ask, keys_here};
pub use sign::{Sent, able, send, sign};

use crate::cache::CacheError;
use crate::flow::Ports;
use crate::flow::publish::PublishError;
use crate::flow::refresh::RefreshError;
use crate::flow::signing::UnlockError;
use crate::pins::PinsError;
use crate::port::{EntropyError, KeyStoreError, TrustServerError};

/// The open requests of a repository, as its server lists them.
///
/// # Errors
/// The server does not answer.
pub async fn list(
    ports: Ports<'_>,
    repository: &RepositoryName,
) -> Result<Vec<RequestSummary>, RequestError> {
    Ok(ports.server.requests(repository).await?)
}

/// Closes a request.
///
/// # Errors
/// The server does not answer, has no such request, or does not let us.
pub async fn cancel(
    ports: Ports<'_>,
    repository: &RepositoryName,
    id: RequestId,
) -> Result<(), RequestError> {
    match ports.server.cancel_request(repository, id).await {
        Err(TrustServerError::NotFound { .. }) => {
            Err(RequestError::Unknown { repository: repository.clone(), id })
        }
        cancelled => Ok(cancelled?),
    }
}

/// Why a request was not acted on.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The state that comes with a request in a file does not hold together.
    #[error("the documents that come with the request: {0}")]
    Broken(#[from] BrokenState),
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// Every key of this home that may sign has signed.
    #[error("all keys of this home that may sign request {id} have signed it")]
    Done {
        /// The request.
        id: RequestId,
    },
    /// The file is no request, or no file of signatures.
    #[error("not a signing request or a file of signatures: {0}")]
    Invalid(#[from] InvalidRequest),
    /// The signatures do not fit the request.
    #[error(transparent)]
    Merge(#[from] MergeError),
    /// The file brings a request without the documents that it builds on.
    #[error("request {id} comes without the documents that it builds on")]
    NoContext {
        /// The request.
        id: RequestId,
    },
    /// No key of this home may sign.
    #[error("no key of this home may sign request {id}")]
    NoKey {
        /// The request.
        id: RequestId,
        /// The keys that still may.
        missing: Vec<Fingerprint>,
    },
    /// The request cannot be acted on.
    #[error("request {id} for {repository}: {source}")]
    Open {
        /// The repository.
        repository: RepositoryName,
        /// The request.
        id: RequestId,
        /// Why.
        source: Box<OpenError>,
    },
    /// What is to be signed is not what the holders agreed on.
    #[error("the request has digest {found}, not {expected}")]
    OtherDigest {
        /// What was expected.
        expected: Sha256Digest,
        /// What it has.
        found: Sha256Digest,
    },
    /// The server answered with another request.
    #[error("the trust server answered with request {found} when asked for {id}")]
    OtherRequest {
        /// What was asked for.
        id: RequestId,
        /// What came.
        found: RequestId,
    },
    /// Two roots with the same version: one of them is a fork.
    #[error("the file brings another root version {version} than this home has seen")]
    OtherRoot {
        /// Their version.
        version: Version,
    },
    /// The file shows an older repository than this home has seen.
    #[error("the file shows {role} version {found}, and this home has seen {known}")]
    Older {
        /// The role.
        role: RoleName,
        /// The version in the file.
        found: Version,
        /// The version that was seen.
        known: Version,
    },
    /// The roots in the file do not begin with what is pinned.
    #[error("no root of the request satisfies the pin for {repository}")]
    PinNotMet {
        /// The repository.
        repository: RepositoryName,
    },
    /// The pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The current state cannot be read.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The current state cannot be trusted.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The roots in the file cannot be followed.
    #[error("the roots that come with the request: {0}")]
    Root(#[from] RootError),
    /// The server did not do it.
    #[error(transparent)]
    Server(#[from] TrustServerError),
    /// A key could not sign.
    #[error(transparent)]
    Sign(#[from] bulla_keys_schema::key::SignError),
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// There is no such request.
    #[error("{repository} has no open signing request {id}")]
    Unknown {
        /// The repository.
        repository: RepositoryName,
        /// The id.
        id: RequestId,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
}
