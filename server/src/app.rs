//! The long-lived parts of one server.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Access;
use crate::clock::SharedClock;
use crate::config::LimitsConfig;
use crate::lookup::Documents;
use crate::metrics::Metrics;
use crate::publish::{Lifetimes, Publisher, Renewer};
use crate::store::{OpenedValue, TrustStore};
use crate::vault::{Keyring, Vault, VaultError};

/// Everything that requests share.
pub struct App {
    /// Where metadata lives.
    pub store: Arc<dyn TrustStore>,
    /// Reads it, from memory where it can.
    pub(crate) documents: Documents,
    /// Why nothing can be written, if so.
    pub read_only: Option<String>,
    /// Online keys.
    pub vault: Arc<Vault>,
    /// Makes all changes.
    pub publisher: Arc<Publisher>,
    /// Renews what is due.
    pub renewer: Arc<Renewer>,
    /// Tells callers apart.
    pub access: Access,
    /// How much a caller may ask.
    pub limits: LimitsConfig,
    /// Numbers.
    pub metrics: Arc<Metrics>,
    /// API requests that may still begin.
    pub slots: Arc<Semaphore>,
    /// Bytes of publishes that may still be taken into memory, in units of [`Self::BODY_UNIT`].
    pub bodies: Arc<Semaphore>,
    /// Bytes of large targets that may still be read before they are sent, in units of [`Self::BODY_UNIT`].
    pub reads: Arc<Semaphore>,
    /// Refused bodies that may still be read to their end.
    pub lingering: Arc<Semaphore>,
    /// Connections that may still be opened.
    pub connections: Arc<Semaphore>,
    /// Searches through the whole feed of changes that may still begin.
    pub searches: Semaphore,
}

impl App {
    /// Bytes of a publish are counted in KiB, begun ones as whole ones.
    pub const BODY_UNIT: usize = 1024;
    /// Searches at the same time: each takes long, and anybody who may read can ask for one.
    pub const SEARCHES: usize = 2;

    /// Refused bodies that are read to their end at the same time: it costs, and nobody has to have a token for it.
    pub const LINGERING: usize = 64;

    /// Puts the parts together.
    #[must_use]
    pub fn new(
        store: Arc<dyn TrustStore>,
        keys: impl Into<Keyring>,
        access: Access,
        clock: SharedClock,
        lifetimes: Lifetimes,
        limits: LimitsConfig,
    ) -> Self {
        let metrics = Arc::new(Metrics::default());
        let vault = Arc::new(Vault::new(keys, Arc::clone(&store)));
        let publisher = Arc::new(Publisher::new(Arc::clone(&store), Arc::clone(&vault), clock, lifetimes));
        let renewer = Renewer::new(Arc::clone(&publisher), Arc::clone(&store), Arc::clone(&metrics));
        Self {
            documents: Documents::new(Arc::clone(&store), limits.kept_document_bytes),
            store,
            read_only: None,
            vault,
            publisher,
            renewer: Arc::new(renewer),
            access,
            slots: Arc::new(Semaphore::new(limits.requests.min(Semaphore::MAX_PERMITS))),
            bodies: Arc::new(Semaphore::new(
                (limits.total_body_bytes / Self::BODY_UNIT).clamp(1, Semaphore::MAX_PERMITS),
            )),
            reads: Arc::new(Semaphore::new(read_units(&limits))),
            lingering: Arc::new(Semaphore::new(Self::LINGERING)),
            connections: Arc::new(Semaphore::new(limits.connections.min(Semaphore::MAX_PERMITS))),
            searches: Semaphore::new(Self::SEARCHES),
            limits,
            metrics,
        }
    }

    /// Waits until there is memory to prove a target of `length` bytes; `None` for a small one,
    /// of which connections are bound enough.
    pub async fn reserve_read(&self, length: u64) -> Option<OwnedSemaphorePermit> {
        if length <= OpenedValue::WHOLE {
            return None;
        }
        let units = usize::try_from(length).unwrap_or(usize::MAX).div_ceil(Self::BODY_UNIT);
        let units = u32::try_from(units.min(read_units(&self.limits))).unwrap_or(u32::MAX);
        // It is never closed.
        Arc::clone(&self.reads).acquire_many_owned(units).await.ok()
    }

    /// Tries to unseal some online keys, so that a wrong key-encryption key is noticed
    /// before the first renewal fails.
    ///
    /// # Errors
    /// The store cannot be read, or the keys cannot be unsealed.
    pub async fn check_vault(&self) -> Result<(), VaultError> {
        if let Some(first) = self.store.list(None, 1).await?.first() {
            self.vault.get(first).await?;
        }
        Ok(())
    }

    /// Why this server should get no requests at present; empty if it should.
    pub async fn obstacles(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        match self.check_vault().await {
            Ok(()) => {}
            Err(VaultError::Store(error)) => reasons.push(format!("store: {error}")),
            Err(error) => reasons.push(format!("online keys: {error}")),
        }
        reasons.extend(self.read_only.iter().map(|reason| format!("store: {reason}")));
        if !self.access.is_usable() {
            reasons.push("authentication: tokens cannot be read".to_owned());
        }
        if let Err(failure) = self.publisher.now() {
            reasons.push(format!("clock: {failure}"));
        }
        if let Some(seconds) = self.renewer.behind() {
            reasons.push(format!("renewal: {seconds} s behind"));
        }
        reasons
    }
}

fn read_units(limits: &LimitsConfig) -> usize {
    (limits.total_target_bytes / App::BODY_UNIT).clamp(1, Semaphore::MAX_PERMITS)
}
