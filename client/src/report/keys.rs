//! Answers about keys.

use serde::Serialize;

use super::{line, table};
use crate::output::Report;
use crate::port::StoredKey;

/// One key.
#[derive(Clone, Debug, Serialize)]
pub struct KeyReport {
    name: String,
    fingerprint: String,
    algorithm: String,
    created: String,
    roles: Vec<HeldRoleReport>,
    public_key: String,
}

#[derive(Clone, Debug, Serialize)]
struct HeldRoleReport {
    repository: String,
    role: String,
}

impl From<&StoredKey> for KeyReport {
    fn from(key: &StoredKey) -> Self {
        let roles = key.sidecar.roles.iter();
        Self {
            name: key.name.to_string(),
            fingerprint: key.public.fingerprint().to_string(),
            algorithm: key.sidecar.algorithm.to_string(),
            created: key.sidecar.created.to_string(),
            roles: roles
                .map(|held| HeldRoleReport {
                    repository: held.repository.to_string(),
                    role: held.role.to_string(),
                })
                .collect(),
            public_key: key.public.to_pem(),
        }
    }
}

impl Report for KeyReport {
    const SCHEMA: &'static str = "bulla/key/v1";

    fn text(&self) -> String {
        let mut text = format!(
            "name:        {}\nfingerprint: {}\nalgorithm:   {}\ncreated:     {}\n",
            self.name, self.fingerprint, self.algorithm, self.created
        );
        for held in &self.roles {
            line(&mut text, format_args!("holds:       {} of {}", held.role, held.repository));
        }
        text
    }
}

/// All keys.
#[derive(Clone, Debug, Serialize)]
pub struct KeysReport {
    keys: Vec<KeyReport>,
}

impl KeysReport {
    /// Of these keys.
    #[must_use]
    pub fn new(keys: &[StoredKey]) -> Self {
        Self { keys: keys.iter().map(KeyReport::from).collect() }
    }
}

impl Report for KeysReport {
    const SCHEMA: &'static str = "bulla/keys/v1";

    fn text(&self) -> String {
        let rows = self.keys.iter().map(|key| {
            let roles: Vec<String> =
                key.roles.iter().map(|held| format!("{} of {}", held.role, held.repository)).collect();
            vec![key.name.clone(), key.algorithm.clone(), key.fingerprint.clone(), roles.join(", ")]
        });
        table(&["NAME", "ALGORITHM", "FINGERPRINT", "ROLES"], rows)
    }
}
