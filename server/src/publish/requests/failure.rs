//! Why nothing was done with a signing request.

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::{InvalidRequest, MergeError, OpenError, RequestId};

use crate::publish::PublishFailure;
use crate::store::{ClosedRequest, PublishError, StoreError};
use crate::vault::VaultError;

/// Nothing was done with a signing request.
#[derive(Debug, thiserror::Error)]
pub enum RequestFailure {
    /// There is no such request, and none that ended lately.
    #[error("{repository} has no signing request {id}")]
    NotFound {
        /// Of which repository.
        repository: RepositoryName,
        /// Which request.
        id: RequestId,
    },
    /// It ended before: published or cancelled.
    #[error("signing request {id} is closed")]
    Closed {
        /// Which request.
        id: RequestId,
        /// How it ended.
        closed: ClosedRequest,
    },
    /// It can never be completed: the repository went on without it, or its time is over.
    #[error("signing request {id} is over: {why}")]
    Over {
        /// Which request.
        id: RequestId,
        /// What happened.
        why: String,
    },
    /// Its id is in use.
    #[error("there is another signing request with the id {id}")]
    Exists {
        /// Which id.
        id: RequestId,
    },
    /// The repository has too many of them, or the caller stored too much lately.
    #[error("{what}")]
    Full {
        /// Which bound is reached.
        what: String,
    },
    /// Nothing is missing: it is an upload.
    #[error("the signing request has all its signatures already")]
    Complete,
    /// The bytes are no request, or no file of signatures.
    #[error(transparent)]
    Invalid(#[from] InvalidRequest),
    /// The request does not fit the repository, or breaks a rule.
    #[error(transparent)]
    Unfit(OpenError),
    /// A signature is none that counts, or is for something else.
    #[error(transparent)]
    Signature(#[from] MergeError),
    /// Only who opened it, and an admin, may take it back.
    #[error("signing request {id} was opened by somebody else")]
    NotYours {
        /// Which request.
        id: RequestId,
    },
    /// The change could not be made, or the server could not work.
    #[error(transparent)]
    Publish(#[from] PublishFailure),
}

impl From<StoreError> for RequestFailure {
    fn from(error: StoreError) -> Self {
        Self::Publish(error.into())
    }
}

impl From<VaultError> for RequestFailure {
    fn from(error: VaultError) -> Self {
        Self::Publish(error.into())
    }
}

impl From<PublishError> for RequestFailure {
    fn from(error: PublishError) -> Self {
        match error {
            PublishError::Full { what } => Self::Full { what },
            other => Self::Publish(other.into()),
        }
    }
}
