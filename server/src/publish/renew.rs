//! Renewal in the background: online roles are signed anew well before they expire. Closes
//! signing requests that can never be completed, beside that.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;
use futures_util::{StreamExt as _, stream};
use tokio::sync::watch;

use super::requests::Sweep;
use super::{PublishFailure, Publisher};
use crate::metrics::{Metrics, Outcome};
use crate::phase::Phase;
use crate::store::{StoreError, TrustStore};

/// Renewals at the same time: they share syncs, and leave room for publishers.
const PARALLEL: usize = 16;
/// Renewals of one round.
const ROUND: usize = 256;
/// Longest pause between rounds.
const PAUSE: Duration = Duration::from_secs(30);
/// Pause before a repository that could not be renewed is tried again.
const RETRY: Duration = Duration::from_secs(60);

/// Renews whatever is due.
pub struct Renewer {
    publisher: Arc<Publisher>,
    store: Arc<dyn TrustStore>,
    metrics: Arc<Metrics>,
    /// Seconds for which the most urgent renewal has been waiting.
    delay: AtomicI64,
}

impl Renewer {
    /// Renews repositories of `store` through `publisher`.
    #[must_use]
    pub fn new(publisher: Arc<Publisher>, store: Arc<dyn TrustStore>, metrics: Arc<Metrics>) -> Self {
        Self { publisher, store, metrics, delay: AtomicI64::new(0) }
    }

    /// For how many seconds renewals have been waiting, if that is so long that clients
    /// will soon notice: half of the time between renewal and expiry.
    #[must_use]
    pub fn behind(&self) -> Option<i64> {
        let delay = self.delay.load(Ordering::Relaxed);
        (delay > self.publisher.lifetimes().shortest() / 4).then_some(delay)
    }

    /// Works until the server stops.
    pub async fn run(&self, mut phase: watch::Receiver<Phase>) {
        let lifetime = u64::try_from(self.publisher.lifetimes().shortest()).unwrap_or(u64::MAX);
        let pause = PAUSE.min(Duration::from_millis(lifetime.saturating_mul(25)));
        let mut failed = HashMap::new();
        let mut sweep = Sweep::default();
        loop {
            if let Err(error) = sweep.round(&self.publisher).await {
                tracing::error!(%error, "cannot look for signing requests");
            }
            let more = match self.round(&mut failed).await {
                Ok(more) => more,
                Err(error) => {
                    tracing::error!(%error, "cannot look for renewals");
                    false
                }
            };
            let pause = if more { Duration::ZERO } else { pause };
            let stopped = tokio::time::timeout(pause, phase.wait_for(|phase| *phase != Phase::Serving));
            if stopped.await.is_ok() {
                return;
            }
        }
    }

    /// Renews what is due now. Tells whether there may be more.
    async fn round(&self, failed: &mut HashMap<RepositoryName, Instant>) -> Result<bool, StoreError> {
        failed.retain(|_, since| since.elapsed() < RETRY);
        let now = match self.publisher.now() {
            Ok(now) => now,
            Err(failure) => {
                tracing::error!(%failure, "nothing is renewed");
                return Ok(false);
            }
        };
        let due = self.store.due(now, ROUND + failed.len()).await?;
        self.note_delay(due.first(), now).await?;
        let due: Vec<_> = due.into_iter().filter(|name| !failed.contains_key(name)).collect();
        let more = due.len() >= ROUND;
        let work = due.into_iter().map(|name| async {
            let result = self.publisher.renew(&name).await;
            (name, result)
        });
        let results: Vec<_> = stream::iter(work).buffer_unordered(PARALLEL).collect().await;
        for (name, result) in results {
            if let Err(failure) = self.note(&name, result) {
                tracing::error!(repository = %name, %failure, "renewal failed");
                failed.insert(name, Instant::now());
            }
        }
        Ok(more)
    }

    fn note(
        &self,
        name: &RepositoryName,
        result: Result<bool, PublishFailure>,
    ) -> Result<(), PublishFailure> {
        match result {
            Ok(true) => {
                tracing::debug!(repository = %name, "renewed");
                self.metrics.renewal(Outcome::Done);
                Ok(())
            }
            // Somebody published meanwhile, and so renewed as well.
            Ok(false) | Err(PublishFailure::Conflict { .. }) => Ok(()),
            Err(failure) => {
                self.metrics.renewal(Outcome::Failed);
                Err(failure)
            }
        }
    }

    async fn note_delay(&self, first: Option<&RepositoryName>, now: UtcTime) -> Result<(), StoreError> {
        let head = match first {
            Some(name) => self.store.head(name).await?,
            None => None,
        };
        let delay = head.map_or(0, |head| now.seconds_since(head.renew_at).max(0));
        self.delay.store(delay, Ordering::Relaxed);
        self.metrics.renewal_delay(delay);
        Ok(())
    }
}
