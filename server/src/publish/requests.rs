//! Signing requests: changes that wait for the signatures of several people.
//!
//! A request is judged like the upload that it will be, but for the signatures that are still
//! missing, before it is stored; so is every signature. The last one makes it an upload, which
//! goes through the one pipeline. The store closes the request in the record of that
//! publication, so that both happen or none.
//!
//! Everything that changes a request waits for its repository's turn: of two who send the last
//! signatures, the second finds those of the first. Reads close nothing. What is stale or
//! over is answered as such, and closed by whoever next acts on it or by [`super::Renewer`].

mod budget;
mod failure;
mod kept;
mod list;
mod sweep;

use std::collections::BTreeSet;

use bulla_keys_schema::digest::Hashed;
use bulla_keys_schema::limits;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::request::{
    InvalidRequest, Merged, OpenError, OpenRequest, RequestId, SignatureFile, SigningRequest,
};
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

pub(super) use budget::Budget;
pub use failure::RequestFailure;
pub use list::Listed;
pub(super) use sweep::Sweep;

use super::{Base, PublishFailure, Publisher, Receipt, Upload, Uploaded, seal, size};
use crate::store::{
    Closed, ClosedRequest, Closing, Head, NewRequest, RequestState, StoreError, StoredRequest,
};
use kept::Kept;

/// What became of a request that somebody sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its id.
    pub id: RequestId,
    /// Whether it had not been stored before.
    pub is_new: bool,
    /// Signatures that came with it.
    pub signatures: usize,
}

/// What became of signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Signatures that were not known before.
    pub added: usize,
    /// Whether the change is published, by these signatures or before.
    pub is_complete: bool,
    /// How it was published, if these signatures did that.
    pub receipt: Option<Receipt>,
}

/// A request that waits, as it is stored.
struct Waiting {
    request: RequestState,
    kept: Kept,
}

impl Publisher {
    /// Opens a signing request. The same bytes again are the same request.
    ///
    /// # Errors
    /// No request that the repository could ever take, complete already, or no room for it.
    pub async fn open_request(
        &self,
        repository: &RepositoryName,
        bytes: Hashed,
        actor: &str,
    ) -> Result<Opened, RequestFailure> {
        let _turn = self.locks.turn(repository).await;
        let now = self.now()?;
        let head = self.store.head(repository).await?;
        let place = self.room.for_all_of(head.as_deref(), bytes.len()).await;
        let posted = bytes.clone();
        let request = size::beside(&place, move || parse_new(&posted)).await??;
        let (id, not_after, posted) = (request.id, request.not_after, bytes.digest());
        match self.store.request(repository, id).await? {
            None => {}
            Some(StoredRequest::Open { bytes, .. }) if Kept::read(&bytes)?.posted == posted => {
                return Ok(Opened { id, is_new: false, signatures: 0 });
            }
            Some(StoredRequest::Open { .. }) => return Err(RequestFailure::Exists { id }),
            Some(StoredRequest::Closed(closed)) => return Err(ended(id, closed)),
        }
        let state = self.state(repository, head.as_ref(), &place).await?;
        let held = self.vault.get(repository).await?.map(|keys| seal::held(&keys)).unwrap_or_default();
        let (name, counted) = (repository.clone(), bytes.clone());
        let work = move || {
            let opened = request.open(&name, state.as_ref(), now);
            // Whoever sent them has room for so many until they were judged.
            drop(counted);
            opened.map(|open| (open.require_online_keys(&held), open))
        };
        let (online, open) = size::beside(&place, work).await?.map_err(|error| unfit(id, error))?;
        online.map_err(PublishFailure::from)?;
        if open.is_complete() {
            return Err(RequestFailure::Complete);
        }
        let kept = Kept { opener: actor.to_owned(), posted, request: open.request().to_bytes().into() };
        self.put(repository, RequestState { id, revision: 0 }, not_after, &kept, actor, now).await?;
        Ok(Opened { id, is_new: true, signatures: count_signatures(&open) })
    }

    /// Adds signatures to a request; the last one publishes it. The same signatures again
    /// change nothing.
    ///
    /// # Errors
    /// The request is absent or closed, a signature is not one of a key that has a say, or the
    /// change is refused. None of the signatures was taken then.
    pub async fn sign_request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
        signatures: Bytes,
        actor: &str,
    ) -> Result<Signed, RequestFailure> {
        let _turn = self.locks.turn(repository).await;
        let now = self.now()?;
        let file = SignatureFile::parse(&signatures)?;
        let found = match self.waiting(repository, id).await {
            Err(RequestFailure::Closed { closed: ClosedRequest { how: Closed::Published, .. }, .. }) => {
                return Ok(Signed { added: 0, is_complete: true, receipt: None });
            }
            found => found?,
        };
        let head = self.store.head(repository).await?;
        let place = self.room.for_all_of(head.as_deref(), found.kept.request.len()).await;
        let state = self.state(repository, head.as_ref(), &place).await?;
        let (bytes, name) = (found.kept.request.clone(), repository.clone());
        let work = move || {
            let request = SigningRequest::parse(&bytes)?;
            Ok::<_, InvalidRequest>(request.open(&name, state.as_ref(), now).map(|mut open| {
                let merged = open.merge(&file);
                (open, merged)
            }))
        };
        let opened = size::beside(&place, work).await?.map_err(|error| unreadable(id, &error))?;
        // The pipeline takes a place of its own.
        drop(place);
        let (open, merged) = match opened {
            Ok(opened) => opened,
            Err(error) => return Err(self.close_if_over(repository, found.request, error, now).await?),
        };
        let added = merged.as_ref().map(|merged: &Merged| merged.added.len()).unwrap_or_default();
        merged?;
        if open.is_complete() {
            let upload = upload(&open, head.as_deref(), actor);
            let receipt = self.publish_in_turn(upload, head, Some(found.request), now).await?;
            return Ok(Signed { added, is_complete: true, receipt: Some(receipt) });
        }
        if added > 0 {
            let request = open.request().to_bytes().into();
            let kept = Kept { request, ..found.kept };
            self.put(repository, found.request, open.request().not_after, &kept, actor, now).await?;
        }
        Ok(Signed { added, is_complete: false, receipt: None })
    }

    /// Takes a request back. Doing it twice does nothing.
    ///
    /// # Errors
    /// Absent, closed otherwise, or opened by somebody else than `actor`, who is no admin.
    pub async fn cancel_request(
        &self,
        repository: &RepositoryName,
        id: RequestId,
        actor: &str,
        is_admin: bool,
    ) -> Result<(), RequestFailure> {
        let _turn = self.locks.turn(repository).await;
        let now = self.now()?;
        let found = match self.waiting(repository, id).await {
            Err(RequestFailure::Closed { closed: ClosedRequest { how: Closed::Cancelled, .. }, .. }) => {
                return Ok(());
            }
            found => found?,
        };
        if !is_admin && found.kept.opener != actor {
            return Err(RequestFailure::NotYours { id });
        }
        self.close(repository, found.request, Closed::Cancelled, actor, now).await
    }

    /// Closes the requests of a repository that can never be completed. Tells how many.
    ///
    /// # Errors
    /// Not possible at present.
    pub async fn close_requests(&self, repository: &RepositoryName) -> Result<usize, RequestFailure> {
        let _turn = self.locks.turn(repository).await;
        let now = self.now()?;
        let head = self.store.head(repository).await?;
        let mut closed = 0;
        for open in self.store.open_requests(repository).await? {
            let how = if open.not_after.is_over(now) {
                Some(Closed::Expired)
            } else {
                let Some(found) = self.stored(repository, open.request.id).await? else { continue };
                let (_, request) = self.parse(head.as_deref(), found).await?;
                why_over(&request, head.as_deref(), now).map(|(how, _)| how)
            };
            if let Some(how) = how {
                self.close(repository, open.request, how, "bullad", now).await?;
                closed += 1;
            }
        }
        Ok(closed)
    }

    /// Stores the state of a request that follows on `before`.
    async fn put(
        &self,
        repository: &RepositoryName,
        before: RequestState,
        not_after: UtcTime,
        kept: &Kept,
        actor: &str,
        now: UtcTime,
    ) -> Result<(), RequestFailure> {
        if kept.request.len() > limits::REQUEST_BYTES {
            let what = format!("a signing request may have {} bytes", limits::REQUEST_BYTES);
            return Err(RequestFailure::Full { what });
        }
        let bytes = kept.write();
        if !self.budget.take(actor, bytes.len(), now) {
            let what = "too many bytes of signing requests were stored for this token within an hour";
            return Err(RequestFailure::Full { what: what.to_owned() });
        }
        let expected = Some(before.revision).filter(|revision| *revision > 0);
        let (repository, id) = (repository.clone(), before.id);
        self.store.put_request(NewRequest { repository, id, expected, not_after, bytes }).await?;
        Ok(())
    }

    async fn close(
        &self,
        repository: &RepositoryName,
        request: RequestState,
        how: Closed,
        actor: &str,
        at: UtcTime,
    ) -> Result<(), RequestFailure> {
        let (closed, actor) = (repository.clone(), actor.to_owned());
        self.store.close_request(Closing { repository: closed, request, how, actor, at }).await?;
        tracing::info!(%repository, request = %request.id, ?how, "signing request closed");
        Ok(())
    }

    /// Closes a request that cannot be opened any more, and says so.
    async fn close_if_over(
        &self,
        repository: &RepositoryName,
        request: RequestState,
        error: OpenError,
        now: UtcTime,
    ) -> Result<RequestFailure, RequestFailure> {
        let how = match &error {
            error if error.is_stale() => Closed::Stale,
            error if error.is_over() => Closed::Expired,
            _ => return Ok(unfit(request.id, error)),
        };
        self.close(repository, request, how, "bullad", now).await?;
        Ok(unfit(request.id, error))
    }

    /// A request that waits, or at least did so when it was last looked at.
    async fn waiting(&self, repository: &RepositoryName, id: RequestId) -> Result<Waiting, RequestFailure> {
        match self.store.request(repository, id).await? {
            None => Err(RequestFailure::NotFound { repository: repository.clone(), id }),
            Some(StoredRequest::Closed(closed)) => Err(ended(id, closed)),
            Some(StoredRequest::Open { open, bytes }) => {
                Ok(Waiting { request: open.request, kept: Kept::read(&bytes)? })
            }
        }
    }

    /// As [`Self::waiting`]; `None` if it is closed or absent.
    async fn stored(
        &self,
        repository: &RepositoryName,
        id: RequestId,
    ) -> Result<Option<Waiting>, RequestFailure> {
        match self.waiting(repository, id).await {
            Ok(found) => Ok(Some(found)),
            Err(RequestFailure::Publish(failure)) => Err(failure.into()),
            Err(_) => Ok(None),
        }
    }

    /// Reads a stored request, which may be long.
    async fn parse(
        &self,
        head: Option<&Head>,
        found: Waiting,
    ) -> Result<(String, SigningRequest), RequestFailure> {
        let Waiting { request: RequestState { id, .. }, kept } = found;
        let place = self.room.for_all_of(head, kept.request.len()).await;
        let bytes = kept.request;
        let request = size::beside(&place, move || SigningRequest::parse(&bytes)).await?;
        request.map(|request| (kept.opener, request)).map_err(|error| unreadable(id, &error))
    }
}

fn parse_new(bytes: &[u8]) -> Result<SigningRequest, InvalidRequest> {
    if bytes.len() > limits::NEW_REQUEST_BYTES {
        return Err(InvalidRequest::TooLarge { limit: limits::NEW_REQUEST_BYTES });
    }
    SigningRequest::parse(bytes)
}

/// The upload that a complete request is. It builds on the head at which it was opened: the
/// documents that it names are current there.
fn upload(open: &OpenRequest, head: Option<&Head>, actor: &str) -> Upload {
    let request = open.request();
    let documents = open.documents().into_iter();
    Upload {
        repository: request.repository.clone(),
        dialect: request.dialect,
        base: Base::Head(head.map(|head| head.token)),
        operation: None,
        documents: documents
            .map(|(role, version, bytes)| Uploaded { role, version: Some(version), bytes: bytes.into() })
            .collect(),
        targets: request.files.iter().cloned().map(Hashed::from).collect(),
        actor: actor.to_owned(),
    }
}

/// Why a request can never be completed. Tells no more than opening it would, at less cost.
fn why_over(request: &SigningRequest, head: Option<&Head>, now: UtcTime) -> Option<(Closed, String)> {
    if request.not_after.is_over(now) {
        return Some((Closed::Expired, format!("it expired at {}", request.not_after)));
    }
    is_stale(request, head).then(|| (Closed::Stale, "the repository has changed since".to_owned()))
}

/// Whether a document that the request builds on is not the current one.
fn is_stale(request: &SigningRequest, head: Option<&Head>) -> bool {
    let current = |role| head.and_then(|head| head.current.get(role));
    request.base.is_empty() != head.is_none()
        || request.base.iter().any(|(role, base)| {
            current(role).map(|found| (found.version, found.digest)) != Some((base.version, base.sha256))
        })
}

fn count_signatures(open: &OpenRequest) -> usize {
    let documents = open.status().documents.into_iter();
    let signed = documents.map(|document| {
        let keys = document.counts.into_iter().flat_map(|count| count.signed);
        keys.collect::<BTreeSet<_>>().len()
    });
    signed.sum()
}

/// The failure of acting on a request that ended.
fn ended(id: RequestId, closed: ClosedRequest) -> RequestFailure {
    let why = match closed.how {
        Closed::Published | Closed::Cancelled => return RequestFailure::Closed { id, closed },
        Closed::Stale => "the repository has changed since",
        Closed::Expired => "it expired",
    };
    RequestFailure::Over { id, why: format!("{why}; it was closed at {}", closed.at) }
}

fn unfit(id: RequestId, error: OpenError) -> RequestFailure {
    if error.is_stale() || error.is_over() {
        return RequestFailure::Over { id, why: error.to_string() };
    }
    match error {
        OpenError::Rejected(rejection) => PublishFailure::Rejected(rejection).into(),
        error => RequestFailure::Unfit(error),
    }
}

fn unreadable(id: RequestId, error: &InvalidRequest) -> RequestFailure {
    StoreError::Corrupt { what: format!("signing request {id}: {error}") }.into()
}
