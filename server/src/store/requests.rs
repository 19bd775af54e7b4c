//! Signing requests as the store keeps them: bytes under an id, with a revision. What they
//! say is for others to judge.
//!
//! A request is open until somebody closes it, once and for good. How it ended is remembered
//! for a while, so that whoever comes late learns it.

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

use super::{Position, PublishError};

/// Requests of one repository that may be open at the same time.
pub const OPEN_REQUESTS: usize = 16;
/// What the open requests of one repository may take together, in bytes.
pub const OPEN_REQUEST_BYTES: u64 = 32 * 1024 * 1024;
/// Closed requests of one repository that are remembered, the last ones.
pub const CLOSED_REQUESTS: usize = 16;

/// One state of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestState {
    /// Which request.
    pub id: RequestId,
    /// Counts its states, from 1.
    pub revision: u64,
}

/// A request to be stored, new or with more signatures than before.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// Which repository; it need not exist.
    pub repository: RepositoryName,
    /// Which request.
    pub id: RequestId,
    /// The revision that was read; `None` for a new one.
    pub expected: Option<u64>,
    /// When it counts no more.
    pub not_after: UtcTime,
    /// Opaque to the store.
    pub bytes: Bytes,
}

/// The end of a request that led to nothing. Those that are published end with their
/// publication.
#[derive(Clone, Debug)]
pub struct Closing {
    /// Which repository.
    pub repository: RepositoryName,
    /// The state that was read.
    pub request: RequestState,
    /// Why it ends.
    pub how: Closed,
    /// Who ended it.
    pub actor: String,
    /// When.
    pub at: UtcTime,
}

/// An open request without its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenRequest {
    /// Which one, and in which state.
    pub request: RequestState,
    /// When it counts no more.
    pub not_after: UtcTime,
    /// How many bytes it has.
    pub length: u64,
}

/// A request as it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredRequest {
    /// It waits for signatures.
    Open {
        /// Which one, and in which state.
        open: OpenRequest,
        /// As they were stored.
        bytes: Bytes,
    },
    /// It ended.
    Closed(ClosedRequest),
}

/// What is remembered of a closed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClosedRequest {
    /// How it ended.
    pub how: Closed,
    /// The record that ended it; for a published one its place in the feed.
    pub position: Position,
    /// Who ended it.
    pub actor: String,
    /// When.
    pub at: UtcTime,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It had all its signatures and was published.
    Published,
    /// Somebody took it back.
    Cancelled,
    /// The repository went on without it.
    Stale,
    /// Its time was over.
    Expired,
}

/// Refuses a request for which there is no room beside `others`, the open ones of the same
/// repository.
///
/// # Errors
/// [`PublishError::Full`].
pub(super) fn fits(others: impl Iterator<Item = u64>, length: u64) -> Result<(), PublishError> {
    let (mut count, mut bytes) = (1_usize, length);
    for other in others {
        count = count.saturating_add(1);
        bytes = bytes.saturating_add(other);
    }
    if count > OPEN_REQUESTS {
        return Err(PublishError::Full { what: format!("{OPEN_REQUESTS} signing requests are open") });
    }
    if bytes > OPEN_REQUEST_BYTES {
        let what = format!("open signing requests may take {OPEN_REQUEST_BYTES} bytes together");
        return Err(PublishError::Full { what });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_so_many_and_so_much() {
        assert!(fits(std::iter::repeat_n(1, OPEN_REQUESTS - 1), 1).is_ok());
        assert!(fits(std::iter::repeat_n(1, OPEN_REQUESTS), 1).is_err());
        assert!(fits([OPEN_REQUEST_BYTES - 1].into_iter(), 1).is_ok());
        assert!(fits([OPEN_REQUEST_BYTES - 1].into_iter(), 2).is_err());
        assert!(fits([u64::MAX].into_iter(), u64::MAX).is_err());
    }
}
