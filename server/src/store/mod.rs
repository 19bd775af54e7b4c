//! Where trust metadata lives: one contract, two backends.
//!
//! The contract (each guarantee is a test in the contract suite, run on every backend):
//!
//! * G1 A publication is visible whole or not at all.
//! * G2 Of several publications that name the same head token, one wins.
//! * G3 What was acknowledged survives a crash and a power cut.
//! * G4 A reader never sees a head that is not durable, nor one older than it saw before.
//! * G5 The bytes of (repository, role, version) never change. Timestamps and snapshots
//!   that were renewed are replaced by the next ones and may be gone. Snapshots of Notary v1
//!   stay: clients ask for them by the digest in a timestamp that may be weeks old.
//! * G6 Every publication stands once in the feed of changes, in order.
//! * G7 Bytes can be read before anything that points to them can.
//! * G8 The same operation id twice is one publication.
//! * G9 An error of a sync ends the process: the kernel may have dropped the pages.
//! * G10 A repository has one dialect as long as it exists.
//! * G11 Of several new states of one signing request that build on the same state, one is
//!   stored. A publication that completes a request closes it, both or none.
//!
//! One repository's bytes are never served under another's name, nor after its removal. A
//! corrupt record is an error that names it, never a panic and never "not found".

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::{Hashed, Sha256Digest};
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

pub mod embedded;
mod inspect;
pub mod memory;
mod requests;

pub(crate) use embedded::pack;
pub use requests::{
    CLOSED_REQUESTS, Closed, ClosedRequest, Closing, NewRequest, OPEN_REQUEST_BYTES, OPEN_REQUESTS,
    OpenRequest, RequestState, StoredRequest,
};

/// Domain-level operations on the trust metadata of all repositories.
#[async_trait]
pub trait TrustStore: Send + Sync + 'static {
    /// The latest durable head; `None` for a repository that is absent or was removed.
    async fn head(&self, repository: &RepositoryName) -> Result<Option<Arc<Head>>, StoreError>;

    /// The document of `role` with `version`.
    async fn by_version(
        &self,
        repository: &RepositoryName,
        role: &RoleName,
        version: Version,
    ) -> Result<Option<Bytes>, StoreError>;

    /// A target of this repository, or in Notary's dialect a document, by the digest of its bytes.
    async fn by_digest(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<Bytes>, StoreError>;

    /// How many bytes [`Self::by_digest`] would give.
    async fn length(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
    ) -> Result<Option<u64>, StoreError> {
        let found = self.by_digest(repository, digest).await?;
        Ok(found.map(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }

    /// As [`Self::by_digest`], for somebody who may take the bytes slowly; if `packed`, in the
    /// form in which they are stored.
    async fn open(
        &self,
        repository: &RepositoryName,
        digest: Sha256Digest,
        packed: bool,
    ) -> Result<Option<OpenedValue>, StoreError> {
        let _ = packed;
        Ok(self.by_digest(repository, digest).await?.map(OpenedValue::whole))
    }

    /// Says that a publication is being made ready, so that the store may let others wait a
    /// moment for it and write all of them at once. Kept until right before the publication
    /// is handed in.
    fn announce(&self) -> Announcement {
        Announcement::default()
    }

    /// Begins to bring long documents to the disk that may be published next, while they are still
    /// judged. No reader sees them, and what no publication has taken is cleared away when the
    /// result is dropped. Nothing is promised: what is not done here, [`Self::publish`] does. Waits
    /// for the disk.
    fn stage(&self, _documents: &[Hashed]) -> Staged {
        Staged::default()
    }

    /// Commits atomically, durable when it returns.
    async fn publish(&self, publication: Publication) -> Result<Published, PublishError>;

    /// Removes the repository with all its bytes, its signing requests and, unless told
    /// otherwise, its online keys. The feed keeps its history and gains one entry. The same
    /// name can be created anew later.
    async fn remove(&self, removal: Removal) -> Result<Published, PublishError>;

    /// How far the online roles had come under this name whenever it was removed; `None` if
    /// it never was. Who creates it anew goes on from there: to a client that remembers the
    /// removed repository, lower versions are a rollback.
    async fn last_versions(&self, repository: &RepositoryName) -> Result<Option<LastVersions>, StoreError>;

    /// Up to `max` names of existing repositories after `after`, in ascending order.
    async fn list(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError>;

    /// Up to `max` entries of the feed after `after`, oldest first.
    async fn changes(&self, after: Position, max: usize) -> Result<Vec<Change>, StoreError>;

    /// Up to `max` repositories whose head is to be renewed before `before`, the most
    /// urgent first.
    async fn due(&self, before: UtcTime, max: usize) -> Result<Vec<RepositoryName>, StoreError>;

    /// The sealed online keys of a repository and their generation.
    async fn online_keys(&self, repository: &RepositoryName) -> Result<Option<SealedOnlineKeys>, StoreError>;

    /// Stores sealed online keys, durable when it returns. `expected` is the generation
    /// that was read, `None` for the first. Allowed before the first publication.
    async fn set_online_keys(
        &self,
        repository: &RepositoryName,
        expected: Option<u64>,
        sealed: Bytes,
    ) -> Result<u64, PublishError>;

    /// The open signing requests of a repository, by id. It need not exist.
    async fn open_requests(&self, repository: &RepositoryName) -> Result<Vec<OpenRequest>, StoreError>;

    /// One signing request, open or closed; `None` if it never was, or is no longer
    /// remembered.
    async fn request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<StoredRequest>, StoreError>;

    /// Stores a new state of a signing request, durable when it returns; the answer is its
    /// revision. [`PublishError::Conflict`] if another state is stored than the expected one,
    /// or it is closed; [`PublishError::Full`] if there is no room for it.
    async fn put_request(&self, request: NewRequest) -> Result<u64, PublishError>;

    /// Closes a signing request, durable when it returns. [`PublishError::Conflict`] if that
    /// is not its state.
    async fn close_request(&self, closing: Closing) -> Result<(), PublishError>;

    /// Up to `max` repositories with open signing requests after `after`, in ascending order.
    async fn with_requests(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError>;

    /// Up to `max` names with online keys after `after`, in ascending order. Not all of them are
    /// of existing repositories: keys come first, and may stay.
    async fn with_online_keys(
        &self,
        after: Option<&RepositoryName>,
        max: usize,
    ) -> Result<Vec<RepositoryName>, StoreError>;

    /// Reads everything and compares it with its digests and with the other records.
    async fn check(&self) -> Result<CheckReport, StoreError>;

    /// Waits until everything is on disk and releases the files. Later calls fail.
    async fn close(&self) -> Result<(), StoreError>;
}

/// Counts as one publication that is being made ready, for as long as it lives.
#[derive(Debug, Default)]
pub struct Announcement {
    counter: Option<Arc<AtomicUsize>>,
    is_single: bool,
}

impl Announcement {
    /// Adds itself to `counter` until it is dropped.
    #[must_use]
    pub fn new(counter: Arc<AtomicUsize>, is_single: bool) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self { counter: Some(counter), is_single }
    }

    /// Whether no others are expected at the same time.
    #[must_use]
    pub const fn is_single(&self) -> bool {
        self.is_single
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        if let Some(counter) = &self.counter {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Documents that lie on the disk without a name, for as long as it lives.
#[derive(Debug, Default)]
pub struct Staged {
    _until_dropped: Vec<Box<dyn Any + Send>>,
}

impl Staged {
    /// Whatever clears a document away when it is dropped.
    #[must_use]
    pub fn new(until_dropped: Vec<Box<dyn Any + Send>>) -> Self {
        Self { _until_dropped: until_dropped }
    }
}

/// Which documents are current, and proof of having read that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// To be handed back with the publication that builds on this head.
    pub token: HeadToken,
    /// The encoding of all its documents.
    pub dialect: Dialect,
    /// Every current document, the timestamp included.
    pub current: BTreeMap<RoleName, DocumentRef>,
    /// The bytes of the current timestamp, the most read document of all.
    pub timestamp: Bytes,
    /// When the online roles are to be signed anew.
    pub renew_at: UtcTime,
}

/// A value that was found whole and is about to be sent.
pub struct OpenedValue {
    /// How many bytes `content` gives.
    pub length: u64,
    /// Whether they are the gzip form (RFC 1952) of the value.
    pub is_gzip: bool,
    /// The bytes.
    pub content: Content,
}

impl OpenedValue {
    /// Longer values come in pieces where they lie in files, in bytes.
    pub const WHOLE: u64 = 64 * 1024;

    /// A value that is in memory already.
    #[must_use]
    pub fn whole(bytes: Bytes) -> Self {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        Self { length, is_gzip: false, content: Content::Whole(bytes) }
    }
}

/// The bytes of an [`OpenedValue`].
pub enum Content {
    /// All of them.
    Whole(Bytes),
    /// Read as they are asked for, which blocks. Between two reads no file is open, and of
    /// the bytes only those are in memory that were read and not sent yet: a piece of 32 KiB for
    /// each client that stalls. They are compared with what was found when the value was opened:
    /// in place of the last ones of a value that was changed since then stands an error.
    Pieces(Box<dyn Read + Send>),
}

/// A document by what identifies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentRef {
    /// Its version.
    pub version: Version,
    /// The digest of its bytes.
    pub digest: Sha256Digest,
    /// The length of its bytes.
    pub length: u64,
}

/// Names one state of one repository. Never used twice, not even after a removal: it is the
/// position of the record that made the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HeadToken(pub u64);

impl fmt::Display for HeadToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "h{}", self.0)
    }
}

impl FromStr for HeadToken {
    type Err = InvalidHeadToken;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.strip_prefix('h').and_then(|n| n.parse().ok()).map(Self).ok_or(InvalidHeadToken)
    }
}

/// The text is no head token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a head token")]
pub struct InvalidHeadToken;

/// A place in the feed of changes. Callers compare and hand back, they do not compute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position(pub u64);

/// Chosen by the publisher; a repeated publication with the same id is not done twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub [u8; 16]);

/// One commit to one repository.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Which repository.
    pub repository: RepositoryName,
    /// The encoding of all its documents: that of the head, if there is one.
    pub dialect: Dialect,
    /// The head this was built on; `None` to create the repository.
    pub expected: Option<HeadToken>,
    /// For [`G8`](self).
    pub operation: OperationId,
    /// Whether somebody published, or the server renewed.
    pub kind: PublicationKind,
    /// New documents of any role.
    pub documents: Vec<NewDocument>,
    /// New target bytes, found by their digest as long as the repository exists, whether or not
    /// a current document goes on to list them.
    pub targets: Vec<Hashed>,
    /// The whole set of current documents after this commit, timestamp and snapshot among
    /// them. Each must be in `documents` or current before. Roles that nobody delegates to
    /// any more may stay.
    pub current: BTreeMap<RoleName, DocumentRef>,
    /// When the online roles are to be signed anew.
    pub renew_at: UtcTime,
    /// Who published, for the feed.
    pub actor: String,
    /// When, for the feed.
    pub at: UtcTime,
    /// The signing request that it completes, in the state that was read; with
    /// [`PublicationKind::Publish`] only.
    pub completes: Option<RequestState>,
}

/// What kind of commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicationKind {
    /// Somebody published; stands in the feed.
    Publish,
    /// The server signed snapshot or timestamp anew. Not in the feed; what it replaces need
    /// not be kept, as far as [`G5`](self) says.
    Renew,
}

/// A document to be stored.
#[derive(Clone, Debug)]
pub struct NewDocument {
    /// Its role.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// Its bytes, exactly as received or signed.
    pub bytes: Hashed,
}

/// The end of a repository.
#[derive(Clone, Debug)]
pub struct Removal {
    /// Which repository.
    pub repository: RepositoryName,
    /// The head that was read.
    pub expected: HeadToken,
    /// For [`G8`](self).
    pub operation: OperationId,
    /// Who removed it, for the feed.
    pub actor: String,
    /// When, for the feed.
    pub at: UtcTime,
    /// Whether the sealed online keys stay for a successor under the same name.
    pub keeps_keys: bool,
}

/// The highest versions that clients can have seen of a removed repository's online roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastVersions {
    /// Of its timestamp.
    pub timestamp: Version,
    /// Of its snapshot.
    pub snapshot: Version,
}

/// What a commit led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The new head.
    pub token: HeadToken,
    /// Its place in the feed.
    pub position: Position,
    /// Whether this operation had been committed before.
    pub replayed: bool,
}

/// One entry of the feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its place in the feed.
    pub position: Position,
    /// Which repository.
    pub repository: RepositoryName,
    /// What happened.
    pub kind: ChangeKind,
    /// Who did it.
    pub actor: String,
    /// When.
    pub at: UtcTime,
    /// The documents that came with it: role, version, digest.
    pub documents: Vec<(RoleName, Version, Sha256Digest)>,
    /// Chains this entry to all entries before it.
    pub chain: Sha256Digest,
}

/// What a change was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// The repository got new metadata.
    Published,
    /// The repository was removed.
    Removed,
}

/// Sealed online keys as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedOnlineKeys {
    /// Counts replacements, from 1.
    pub generation: u64,
    /// Opaque to the store.
    pub sealed: Bytes,
}

/// What a full check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Repositories that exist.
    pub repositories: u64,
    /// Records in the journal (or commits, in memory).
    pub records: u64,
    /// Documents and targets read and compared.
    pub documents: u64,
    /// Bytes read and compared.
    pub bytes: u64,
    /// The last place in the feed.
    pub last_position: Position,
    /// The chain digest at `last_position`.
    pub chain: Option<Sha256Digest>,
    /// Everything found wrong, each naming the record; empty if the store is whole.
    pub defects: Vec<String>,
}

/// A read failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store was closed, or its committer ended.
    #[error("the store is closed")]
    Closed,
    /// A record contradicts its digest or another record.
    #[error("damaged record in the store: {what}")]
    Corrupt {
        /// Which record, and how.
        what: String,
    },
    /// The store is older than its high-water mark; it is not written to.
    #[error(
        "the store has gone back in time: it ends at {}, its high-water mark stands at {}\nhint: restore the newest backup, or accept the loss with `bullad restore BACKUP DATA --accept-loss`",
        position.0,
        mark.0
    )]
    WentBack {
        /// Where the mark stands.
        mark: Position,
        /// Where the store ends.
        position: Position,
    },
    /// The operating system said no.
    #[error("cannot access the store: {what}")]
    Io {
        /// What was attempted, on which file.
        what: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

/// A commit did not happen.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Somebody else was faster, or the expected head never existed.
    #[error("the repository has changed meanwhile")]
    Conflict {
        /// The head as it is now.
        current: Option<HeadToken>,
    },
    /// The publication contradicts what is stored (G5) or itself.
    #[error("the publication contradicts the store: {what}")]
    Invalid {
        /// What contradicts what.
        what: String,
    },
    /// There is no room for a further signing request of this repository.
    #[error("there is no room for a further signing request: {what}")]
    Full {
        /// Which bound is reached.
        what: String,
    },
    /// Too many commits are waiting; nothing was done.
    #[error("too many publications are waiting")]
    Busy,
    /// The store could not be read or written; nothing was done.
    #[error(transparent)]
    Store(#[from] StoreError),
}
