//! Who may do what without saying who they are.

use serde::Deserialize;

/// `[auth]`. Tokens are made with `bullad token create` and live in the data folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthConfig {
    /// Whether anybody may read metadata and targets below `/tuf/`, as of a public mirror.
    /// The API needs a token in any case. Default false.
    pub anonymous_read: bool,
}
