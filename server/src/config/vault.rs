//! Where the key-encryption key comes from.

use std::path::PathBuf;

use serde::Deserialize;

/// `[vault]`. Without a file the key is taken from the variable `BULLAD_VAULT_KEY`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VaultConfig {
    /// File with 32 bytes in hex or base64, readable by its owner only.
    pub key_file: Option<PathBuf>,
}
