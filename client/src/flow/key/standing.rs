//! Standing: what the keys of this home may sign, and until when that is signed already.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Fingerprint, KeyId, PublicKey};
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;

use crate::cache::Cache;
use crate::flow::Ports;
use crate::flow::inspect::{Inspection, inspect};
use crate::flow::refresh::RefreshError;
use crate::port::Clock;

/// The roles of one repository, and their keys.
#[derive(Clone, Debug)]
pub struct Standing {
    /// The repository.
    pub repository: RepositoryName,
    /// When that was so.
    pub as_of: UtcTime,
    dialect: Dialect,
    roles: Vec<RoleStanding>,
}

#[derive(Clone, Debug)]
struct RoleStanding {
    role: RoleName,
    threshold: Threshold,
    keys: Vec<Fingerprint>,
    expires: Option<UtcTime>,
}

/// A role that a key signs for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Duty {
    /// The repository.
    pub repository: RepositoryName,
    /// The role.
    pub role: RoleName,
    /// How many keys must sign.
    pub threshold: Threshold,
    /// When its document expires; none until it is signed for the first time.
    pub expires: Option<UtcTime>,
    /// When that was so.
    pub as_of: UtcTime,
}

impl Standing {
    /// The roles that `key` signs for.
    #[must_use]
    pub fn of(&self, key: Fingerprint) -> Vec<Duty> {
        let roles = self.roles.iter().filter(|role| role.keys.contains(&key));
        let duty = |role: &RoleStanding| Duty {
            repository: self.repository.clone(),
            role: role.role.clone(),
            threshold: role.threshold,
            expires: role.expires,
            as_of: self.as_of,
        };
        roles.map(duty).collect()
    }

    /// The id that this repository's documents declare for `key`.
    #[must_use]
    pub fn key_id(&self, key: &PublicKey) -> KeyId {
        self.dialect.key_id(key, None)
    }
}

/// Asks the trust server, and believes it as far as the pins go.
///
/// # Errors
/// There is no trusted state.
pub async fn ask(ports: Ports<'_>, repository: &RepositoryName) -> Result<Standing, RefreshError> {
    Ok(Standing::from(inspect(ports, repository, None).await?))
}

/// What this home saw last, judged as it was then: documents that are over say all the same who
/// signs for what. `ports` must not reach a server. `None` where nothing was seen.
///
/// # Errors
/// What is in the cache is not trusted, or not all of it is there.
pub async fn remember(
    ports: Ports<'_>,
    repository: &RepositoryName,
) -> Result<Option<Standing>, RefreshError> {
    let stored = Cache::new(ports.home.cache()).open(repository).await?.load()?;
    if stored.snapshot.is_none() {
        return Ok(None);
    }
    // Who only ever published has no such moment.
    let then = Then(stored.last_accepted.unwrap_or_else(|| ports.clock.now()));
    ask(Ports { clock: &then, ..ports }, repository).await.map(Some)
}

/// The moment of the last run that accepted everything.
struct Then(UtcTime);

impl Clock for Then {
    fn now(&self) -> UtcTime {
        self.0
    }
}

impl From<Inspection> for Standing {
    fn from(inspection: Inspection) -> Self {
        let mut roles: Vec<RoleStanding> = inspection
            .roles
            .into_iter()
            .map(|role| RoleStanding {
                role: role.role,
                threshold: role.threshold,
                keys: role.keys,
                expires: Some(role.expires),
            })
            .collect();
        // Signers who have signed nothing yet are no roles with documents.
        for signer in inspection.signers {
            if !roles.iter().any(|role| role.role == signer.name) {
                let expires = signer.document.map(|(_, expires)| expires);
                let (role, threshold, keys) = (signer.name, signer.threshold, signer.keys);
                roles.push(RoleStanding { role, threshold, keys, expires });
            }
        }
        Self { repository: inspection.repository, as_of: inspection.now, dialect: inspection.dialect, roles }
    }
}
