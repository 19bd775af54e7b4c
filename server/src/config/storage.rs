//! Where metadata lives.

use std::path::PathBuf;

use serde::Deserialize;

use super::Fault;

/// `[store]`
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Which backend. Default `embedded`.
    pub kind: StoreKind,
    /// Folder of the server's data: store, tokens, and what `--dev` makes.
    pub data: Option<PathBuf>,
}

/// A backend of the store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StoreKind {
    /// Files below the data folder.
    #[default]
    Embedded,
    /// Nothing survives the process; for trials.
    Memory,
}

impl StoreConfig {
    pub(super) fn validate(&self, faults: &mut Vec<Fault>) {
        if self.data.is_none() {
            faults.push(Fault::new("store.data", "no data folder; set it here or with --data DIR"));
        }
    }
}
