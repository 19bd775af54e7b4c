//! The trust server: untrusted, asked for metadata and handed what was signed here.

use std::fmt;

use async_trait::async_trait;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::PublicKey;
use bulla_keys_schema::metadata::{MetaInfo, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::{Head, RequestProgress, RequestSummary};
use bytes::Bytes;

/// A server that keeps trust metadata. Whatever it answers is verified by the caller.
#[async_trait]
pub trait TrustServer: Send + Sync {
    /// The bytes of one document. `None` when the server has no such document, or does not
    /// show it to us.
    ///
    /// # Errors
    /// No answer, or more bytes than the role may have.
    async fn metadata(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        edition: Edition<'_>,
    ) -> Result<Option<Bytes>, TrustServerError>;

    /// The bytes of the target that is listed at `path` with this digest: at most `limit` of them.
    /// `None` when the server does not have them, or keeps none of any target.
    ///
    /// # Errors
    /// No answer, or more bytes.
    async fn target(
        &self,
        _repository: &RepositoryName,
        _path: &TargetPath,
        _digest: Sha256Digest,
        _limit: usize,
    ) -> Result<Option<Bytes>, TrustServerError> {
        Ok(None)
    }

    /// What an update has to build on.
    ///
    /// # Errors
    /// No answer, or none we understand.
    async fn basis(&self, repository: &RepositoryName) -> Result<Basis, TrustServerError>;

    /// The public halves of the keys with which the server signs snapshots and timestamps of
    /// `repository`; makes them on first need.
    ///
    /// # Errors
    /// No answer, no usable keys, or we may not.
    async fn online_keys(&self, repository: &RepositoryName) -> Result<OnlineKeys, TrustServerError>;

    /// The public half of a key that signs `role` from the moment on when a root lists it. No
    /// root has listed it so far, and it stays the same one until a root does.
    ///
    /// # Errors
    /// As for [`Self::online_keys`].
    async fn next_online_key(
        &self,
        repository: &RepositoryName,
        role: OnlineRole,
    ) -> Result<PublicKey, TrustServerError>;

    /// The newest document of `role` that the server noted before `moment`. Nobody signs that
    /// record. Servers that keep none need not say more.
    ///
    /// # Errors
    /// No answer, or none we understand.
    async fn noted_before(
        &self,
        _repository: &RepositoryName,
        _role: &RoleName,
        _moment: UtcTime,
    ) -> Result<Noted, TrustServerError> {
        Ok(Noted::NoRecord)
    }

    /// Publishes `upload` in one transaction. A server that knows operation ids does one
    /// operation once; others take a repeated update for a second one.
    ///
    /// # Errors
    /// [`TrustServerError::Changed`] when the repository is not in the state built on any
    /// more; after [`TrustServerError::is_unclear`] it may have happened or not.
    async fn publish(&self, repository: &RepositoryName, upload: &Upload) -> Result<(), TrustServerError>;

    /// The signing requests of `repository` that are open.
    ///
    /// # Errors
    /// No answer, or [`TrustServerError::NoRequests`].
    async fn requests(&self, _: &RepositoryName) -> Result<Vec<RequestSummary>, TrustServerError> {
        Err(TrustServerError::NoRequests)
    }

    /// One signing request, with the signatures so far; `None` if there is none.
    ///
    /// # Errors
    /// As for [`Self::requests`], and [`TrustServerError::RequestOver`].
    async fn request(&self, _: &RepositoryName, _: RequestId) -> Result<Option<Bytes>, TrustServerError> {
        Err(TrustServerError::NoRequests)
    }

    /// Puts a signing request to those who are to sign it.
    ///
    /// # Errors
    /// As for [`Self::request`]; the server judges it first.
    async fn open_request(&self, _: &RepositoryName, _: Bytes) -> Result<RequestProgress, TrustServerError> {
        Err(TrustServerError::NoRequests)
    }

    /// Adds a file of signatures to a signing request. With the last one, the server publishes.
    ///
    /// # Errors
    /// As for [`Self::open_request`].
    async fn add_signatures(
        &self,
        _: &RepositoryName,
        _: RequestId,
        _: Bytes,
    ) -> Result<RequestProgress, TrustServerError> {
        Err(TrustServerError::NoRequests)
    }

    /// Closes a signing request.
    ///
    /// # Errors
    /// As for [`Self::requests`], and it is not ours to close.
    async fn cancel_request(&self, _: &RepositoryName, _: RequestId) -> Result<(), TrustServerError> {
        Err(TrustServerError::NoRequests)
    }
}

/// Which one of a role's documents.
#[derive(Clone, Copy, Debug)]
pub enum Edition<'a> {
    /// The current one.
    Current,
    /// The one that a document above it lists.
    Listed(&'a MetaInfo),
    /// The one with this version.
    Version(Version),
}

/// The public keys that sign the online roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnlineKeys {
    /// Signs snapshots.
    pub snapshot: PublicKey,
    /// Signs timestamps.
    pub timestamp: PublicKey,
}

/// What a server noted of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It keeps no record, or none that we may read.
    NoRecord,
    /// The role had no document yet.
    Nothing,
    /// This document.
    Document(MetaInfo),
}

/// A role that the server signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnlineRole {
    /// Which documents belong together.
    Snapshot,
    /// That they are fresh.
    Timestamp,
}

/// One update of a repository.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Signed documents.
    pub documents: Vec<Document>,
    /// Bytes of targets that the documents list, so that any TUF client can download them.
    pub targets: Vec<Bytes>,
    /// The state it builds on.
    pub basis: Basis,
    /// Random: one update keeps its id through all attempts.
    pub operation: OperationId,
}

/// One signed document.
#[derive(Clone, Debug)]
pub struct Document {
    /// Its role.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// Its bytes, as signed.
    pub bytes: Bytes,
}

/// The state of a repository, as its server names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// There is no such repository yet, or it is not shown to us.
    Absent,
    /// The head. The server refuses what builds on another one.
    Head(Head),
    /// The digest of the snapshot, from a server that has no names for states (Notary v1). It
    /// judges an update by the versions of its documents alone.
    Snapshot(Sha256Digest),
}

/// Names one publication, 128 random bits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OperationId(pub [u8; 16]);

impl fmt::Display for OperationId {
    /// 32 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What somebody has to be allowed to do at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To read.
    Read,
    /// To publish, and to take part in signing requests.
    Publish,
    /// To have online keys made anew, and to end what others began.
    Admin,
}

impl fmt::Display for Right {
    /// As `bullad token create --can` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Admin => "admin",
        })
    }
}

/// Why the server did not do it.
#[derive(Debug, thiserror::Error)]
pub enum TrustServerError {
    /// The repository is not in the expected state.
    #[error("{repository} was changed by somebody else at the same time")]
    Changed {
        /// The repository.
        repository: RepositoryName,
    },
    /// A new snapshot would have to be signed by a key that the server does not hold
    /// (`notary init` makes such repositories).
    #[error("the snapshot of {repository} is signed by its owner, not by the trust server")]
    ClientSnapshot {
        /// The repository.
        repository: RepositoryName,
    },
    /// The token may do something here, but not this.
    #[error("our token may not do this with {repository} on {server}: it lacks the right `{right}`")]
    Forbidden {
        /// The server.
        server: String,
        /// The repository.
        repository: RepositoryName,
        /// What the token lacks.
        right: Right,
    },
    /// It keeps no signing requests: a server of another make.
    #[error("the trust server keeps no signing requests")]
    NoRequests,
    /// No server is configured.
    #[error("no trust server is configured")]
    NotConfigured,
    /// The server has no such repository, or does not show it to us.
    #[error("the trust server {server} has no repository {repository}, or this token may not change it")]
    NotFound {
        /// The server.
        server: String,
        /// The repository.
        repository: RepositoryName,
    },
    /// A rule refused what we sent.
    #[error("the trust server {server} refused the update: {detail}")]
    Refused {
        /// The server.
        server: String,
        /// What it said.
        detail: String,
        /// What it said to do.
        hint: Option<String>,
    },
    /// A signing request that nobody can sign any more.
    #[error("the signing request is closed: {detail}")]
    RequestOver {
        /// What the server said: published, cancelled, expired, or overtaken by another change.
        detail: String,
    },
    /// More bytes than the document may have (endless data).
    #[error("the trust server {server} sent more than {limit} bytes for {file}")]
    TooLarge {
        /// The server.
        server: String,
        /// The file.
        file: String,
        /// The limit, in bytes.
        limit: usize,
    },
    /// No token, or a bad one.
    #[error("the trust server {server} does not accept our token, or wants one")]
    Unauthorised {
        /// The server.
        server: String,
        /// What the token has to be good for.
        right: Right,
    },
    /// It is there but cannot serve now.
    #[error("the trust server {server} cannot do this now: {detail}")]
    Unavailable {
        /// The server.
        server: String,
        /// What it said.
        detail: String,
    },
    /// An answer that is no answer.
    #[error("{server} did not answer like a trust server: {detail}")]
    Unexpected {
        /// The server.
        server: String,
        /// What was wrong.
        detail: String,
    },
    /// No connection, or it broke.
    #[error("cannot reach the trust server {server}: {reason}")]
    Unreachable {
        /// The server.
        server: String,
        /// What the system said.
        reason: String,
    },
}

impl TrustServerError {
    /// Whether the server may have done what was asked although it did not say so.
    #[must_use]
    pub const fn is_unclear(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Unavailable { .. } | Self::Unexpected { .. })
    }
}
