//! Keys as documents list them.

use std::collections::{BTreeMap, BTreeSet};

use crate::json::Json;
use crate::key::{Certificate, Fingerprint, KeyId, PublicKey};
use crate::metadata::Threshold;

/// A listed key: what it was declared as, and the key itself where its kind is supported.
/// Keys of unknown kinds are carried along when a document is edited, and never count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// The key, if this crate can verify with it.
    pub key: Option<PublicKey>,
    /// The certificate that it is wrapped in (Notary only).
    pub certificate: Option<Certificate>,
    /// The object that declared it; `None` for a key that was added here.
    pub declared: Option<Json>,
}

impl KeyEntry {
    /// A key that is added to a document.
    #[must_use]
    pub const fn new(key: PublicKey) -> Self {
        Self { key: Some(key), certificate: None, declared: None }
    }

    /// A key that is added to a document in a certificate.
    #[must_use]
    pub fn certified(certificate: Certificate) -> Self {
        Self { key: Some(certificate.public_key().clone()), certificate: Some(certificate), declared: None }
    }
}

/// The keys of one document by the ids it declares for them.
pub type KeyTable = BTreeMap<KeyId, KeyEntry>;

/// Which keys may sign a role, and how many must.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleKeys {
    /// Declared ids, each once. An id without key never counts.
    pub key_ids: Vec<KeyId>,
    /// How many distinct keys must sign.
    pub threshold: Threshold,
}

impl RoleKeys {
    /// The supported keys of this role in `table`.
    pub fn keys<'a>(&'a self, table: &'a KeyTable) -> impl Iterator<Item = (&'a KeyId, &'a PublicKey)> {
        self.key_ids.iter().filter_map(|id| Some((id, table.get(id)?.key.as_ref()?)))
    }

    /// The distinct key material of this role.
    #[must_use]
    pub fn fingerprints(&self, table: &KeyTable) -> BTreeSet<Fingerprint> {
        self.keys(table).map(|(_, key)| key.fingerprint()).collect()
    }
}
