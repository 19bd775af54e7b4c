//! Reading open requests. It closes nothing: what can never be completed is left out, or
//! answered as such.

use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{PlainText, RequestId, SigningRequest};
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;

use super::{RequestFailure, is_stale, why_over};
use crate::publish::Publisher;

/// An open request in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its id.
    pub id: RequestId,
    /// Why, in the words of whoever made it.
    pub reason: PlainText,
    /// Who made it, in his own words.
    pub created_by: PlainText,
    /// The caller who opened it here.
    pub opened_by: String,
    /// When it was made.
    pub created_at: UtcTime,
    /// When it closes by itself.
    pub not_after: UtcTime,
    /// The roles that it would change.
    pub roles: Vec<RoleName>,
}

impl Publisher {
    /// The open requests of a repository, those that can never be completed left out.
    ///
    /// # Errors
    /// Not possible at present.
    pub async fn requests(&self, repository: &RepositoryName) -> Result<Vec<Listed>, RequestFailure> {
        let now = self.now()?;
        let head = self.store.head(repository).await?;
        let mut listed = Vec::new();
        for open in self.store.open_requests(repository).await? {
            if open.not_after.is_over(now) {
                continue;
            }
            // Closed since the list was read.
            let Some(found) = self.stored(repository, open.request.id).await? else { continue };
            let (opener, request) = self.parse(head.as_deref(), found).await?;
            if !is_stale(&request, head.as_deref()) {
                listed.push(Listed::of(opener, request));
            }
        }
        Ok(listed)
    }

    /// One open request with all signatures so far.
    ///
    /// # Errors
    /// Absent, closed, or never to be completed.
    pub async fn request(&self, repository: &RepositoryName, id: RequestId) -> Result<Bytes, RequestFailure> {
        let now = self.now()?;
        let head = self.store.head(repository).await?;
        let found = self.waiting(repository, id).await?;
        let bytes = found.kept.request.clone();
        let (_, request) = self.parse(head.as_deref(), found).await?;
        match why_over(&request, head.as_deref(), now) {
            Some((_, why)) => Err(RequestFailure::Over { id, why }),
            None => Ok(bytes),
        }
    }
}

impl Listed {
    fn of(opened_by: String, request: SigningRequest) -> Self {
        Self {
            id: request.id,
            reason: request.reason,
            created_by: request.created_by,
            opened_by,
            created_at: request.created_at,
            not_after: request.not_after,
            roles: request.documents.into_keys().collect(),
        }
    }
}
