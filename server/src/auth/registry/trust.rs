//! Whose signature on a token counts.

use std::sync::Arc;

use bulla_keys_schema::time::UtcTime;
use rustls_pki_types::CertificateDer;

use super::bundle::Bundle;
use super::key::{Algorithm, VerifyingKey};

/// From one second to another, both included, as certificates say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    /// Seconds since 1970.
    pub(super) from: i64,
    /// Seconds since 1970.
    pub(super) to: i64,
}

impl Validity {
    /// Whether `moment` lies within.
    pub(super) fn contains(self, moment: UtcTime) -> bool {
        (self.from..=self.to).contains(&moment.unix_seconds())
    }
}

/// A key that tokens can name.
pub(super) struct TrustedKey {
    /// Its name, the `kid` of a token.
    pub(super) id: String,
    /// The key.
    pub(super) key: Arc<VerifyingKey>,
    /// Of the certificate that it comes from; `None` for always.
    pub(super) validity: Option<Validity>,
}

/// All keys and certificates of one token server.
pub(super) struct Trust {
    keys: Vec<TrustedKey>,
    bundle: Bundle,
}

impl Trust {
    /// Trusts the keys of a set and the certificates of a bundle.
    pub(super) fn new(mut keys: Vec<TrustedKey>, bundle: Bundle) -> Self {
        keys.extend(bundle.keys());
        Self { keys, bundle }
    }

    /// The keys of which one must have signed a token whose header holds this `kid` and this
    /// `x5c`: the ones of that name, else the one that the chain proves. Nothing else in a
    /// header leads to a key; one that a token brings along proves nothing about itself.
    pub(super) fn keys(
        &self,
        id: Option<&str>,
        chain: &[CertificateDer<'static>],
        now: UtcTime,
    ) -> Vec<Arc<VerifyingKey>> {
        let named = self.keys.iter().filter(|one| {
            Some(one.id.as_str()) == id && one.validity.is_none_or(|validity| validity.contains(now))
        });
        let named: Vec<_> = named.map(|one| Arc::clone(&one.key)).collect();
        if named.is_empty() { self.bundle.key_of(chain, now).into_iter().collect() } else { named }
    }

    /// Whether some token signed with one of `algorithms` could be taken.
    pub(super) fn can_use(&self, algorithms: &[Algorithm]) -> bool {
        self.bundle.has_authority() || self.keys.iter().any(|one| algorithms.contains(&one.key.algorithm()))
    }
}
