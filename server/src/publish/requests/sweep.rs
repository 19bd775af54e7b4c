//! Closing requests that nobody acts on any more.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bulla_keys_schema::names::RepositoryName;

use super::RequestFailure;
use crate::publish::Publisher;
use crate::store::{HeadToken, RequestState, StoreError};

/// Pause between two rounds.
const PAUSE: Duration = Duration::from_secs(30);
/// Repositories looked at together.
const PAGE: usize = 256;

/// Looks through all open requests from time to time.
#[derive(Default)]
pub(in crate::publish) struct Sweep {
    last: Option<Instant>,
    /// What was found still good, and at which head: it is not read again as long as neither
    /// changes.
    good: HashMap<RepositoryName, State>,
}

#[derive(PartialEq, Eq)]
struct State {
    head: Option<HeadToken>,
    open: Vec<RequestState>,
}

impl Sweep {
    /// Closes what is stale or over, if the last round is long enough ago.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::publish) async fn round(&mut self, publisher: &Publisher) -> Result<(), StoreError> {
        if self.last.is_some_and(|last| last.elapsed() < PAUSE) {
            return Ok(());
        }
        self.last = Some(Instant::now());
        let mut before = std::mem::take(&mut self.good);
        let mut after: Option<RepositoryName> = None;
        loop {
            let page = publisher.store.with_requests(after.as_ref(), PAGE).await?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for repository in page {
                let known = before.remove(&repository);
                if let Some(state) = look(publisher, &repository, known).await? {
                    self.good.insert(repository, state);
                }
            }
        }
    }
}

/// Looks at the requests of one repository; the state at which all of them are good. A failure
/// is logged: the next round tries again.
async fn look(
    publisher: &Publisher,
    repository: &RepositoryName,
    known: Option<State>,
) -> Result<Option<State>, StoreError> {
    let Ok(now) = publisher.now() else { return Ok(known) };
    let head = publisher.store.head(repository).await?.map(|head| head.token);
    let open = publisher.store.open_requests(repository).await?;
    let is_over = open.iter().any(|open| open.not_after.is_over(now));
    let state = State { head, open: open.into_iter().map(|open| open.request).collect() };
    if !is_over && known.as_ref() == Some(&state) {
        return Ok(known);
    }
    match publisher.close_requests(repository).await {
        Ok(0) => Ok(Some(state)),
        Ok(_) => Ok(None),
        Err(RequestFailure::Publish(failure)) => {
            tracing::warn!(%repository, %failure, "cannot close signing requests");
            Ok(None)
        }
        // Somebody acted on one of them meanwhile.
        Err(_) => Ok(None),
    }
}
