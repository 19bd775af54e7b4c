//! Status: what of a repository ends when, and who has to sign it anew.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, KeyName};
use bulla_keys_schema::metadata::{RoleKeys, Threshold, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::RequestId;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_keys_schema::wire::RequestSummary;

use crate::flow::layout::{Authority, Signers};
use crate::flow::refresh::{Purpose, RefreshError, Session};
use crate::flow::root_change;
use crate::flow::sign::{authority, repository_authority, role_name};
use crate::flow::signing::KeyRing;
use crate::flow::{Ports, current};
use crate::port::KeyStoreError;

/// A repository at one moment.
#[derive(Clone, Debug)]
pub struct Status {
    /// The repository.
    pub repository: RepositoryName,
    /// How its metadata is written.
    pub dialect: Dialect,
    /// The digest of the newest root.
    pub root_digest: Sha256Digest,
    /// Root, targets, the delegated roles, then snapshot and timestamp.
    pub roles: Vec<RoleStatus>,
    /// The changes that wait for signatures; `None` if the trust server does not tell.
    pub requests: Option<Vec<RequestSummary>>,
    /// The moment it was judged at.
    pub now: UtcTime,
    /// Why the trust server was not asked, if it was not.
    pub offline: Option<String>,
}

impl Status {
    /// The roles that somebody has to care for.
    pub fn urgent(&self) -> impl Iterator<Item = &RoleStatus> {
        self.roles.iter().filter(|role| matches!(role.life, Life::Ending | Life::Over))
    }
}

/// One role.
#[derive(Clone, Debug)]
pub struct RoleStatus {
    /// Its name.
    pub role: RoleName,
    /// Version and end of its document; `None` while there is none.
    pub document: Option<(Version, UtcTime)>,
    /// Whether there is time left.
    pub life: Life,
    /// Whether the server signs it; `None` where that cannot be told: in a legacy repository an owner
    /// may hold the snapshot's key himself, and his key looks like the server's.
    pub by_server: Option<bool>,
    /// How many keys must sign.
    pub threshold: Threshold,
    /// Its keys, each with its name in this home if it is here.
    pub keys: Vec<(Fingerprint, Option<KeyName>)>,
}

impl RoleStatus {
    /// How many of its keys are in this home.
    #[must_use]
    pub fn here(&self) -> usize {
        self.keys.iter().filter(|(_, name)| name.is_some()).count()
    }
}

/// How much time a role has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// More than was asked about.
    Fine,
    /// Less than was asked about.
    Ending,
    /// None: it is expired.
    Over,
    /// Nobody has signed it yet.
    Unsigned,
    /// None, and none is meant to be left: the right of the signer has ended.
    Closed,
}

/// A role that people sign, and its document.
pub(super) struct Held {
    pub(super) role: RoleName,
    pub(super) authority: Authority,
    /// `None` while there is no document.
    pub(super) document: Option<(Version, UtcTime)>,
    /// When the right to sign ends, if it does.
    pub(super) ends: Option<UtcTime>,
}

impl Held {
    /// What is left at `now`, if a role is to last for `within` seconds more.
    pub(super) fn life(&self, now: UtcTime, within: i64) -> Life {
        let Some((_, expires)) = self.document else { return Life::Unsigned };
        match self.ends {
            Some(ends) if ends.is_over(now) => Life::Closed,
            _ => life(expires, now, within),
        }
    }
}

/// Reads the status of a repository; `within` is in seconds.
///
/// # Errors
/// What the server keeps fresh is not trusted now, or a role is not what it lists. An expired
/// root is no error here.
pub async fn status(
    ports: Ports<'_>,
    repository: &RepositoryName,
    within: i64,
) -> Result<Status, StatusError> {
    let session = Session::open_to(Purpose::Change, ports, repository).await?;
    let state = current::load(&session).await?;
    session.finish()?;
    let now = session.now();
    let ring = KeyRing::load(ports)?;
    let people = held(&state).into_iter().map(|held| RoleStatus {
        life: held.life(now, within),
        by_server: Some(false),
        threshold: held.authority.keys.threshold,
        keys: keys(&held.authority, &ring),
        document: held.document,
        role: held.role,
    });
    let root = state.root().payload();
    let online = |role, keys: &RoleKeys, version, expires| {
        let authority = Authority { keys: keys.clone(), table: root.keys.clone() };
        let keys = self::keys(&authority, &ring);
        let by_server = signs_online(&role, state.root().dialect(), &keys);
        RoleStatus {
            // The server signs in time on its own, and always for a short while.
            life: life(expires, now, if by_server == Some(false) { within } else { 0 }),
            by_server,
            threshold: authority.keys.threshold,
            keys,
            document: Some((version, expires)),
            role,
        }
    };
    let (snapshot, timestamp) = (state.snapshot(), state.timestamp());
    let online = [
        online(RoleName::Snapshot, &root.snapshot, snapshot.version(), snapshot.expires()),
        online(RoleName::Timestamp, &root.timestamp, timestamp.version(), timestamp.expires()),
    ];
    Ok(Status {
        repository: repository.clone(),
        dialect: state.root().dialect(),
        root_digest: state.root().digest(),
        roles: people.chain(online).collect(),
        // Nothing depends on it: whoever signs a request judges it anew.
        requests: ports.server.requests(repository).await.ok().map(readable),
        now,
        offline: session.offline().map(ToString::to_string),
    })
}

/// What is no id is the server's joke.
fn readable(requests: Vec<RequestSummary>) -> Vec<RequestSummary> {
    requests.into_iter().filter(|request| request.id.parse::<RequestId>().is_ok()).collect()
}

/// Every role that people sign: root, targets, and those that targets delegates to.
pub(super) fn held(state: &CurrentState) -> Vec<Held> {
    let targets = state.targets();
    let mut all = vec![
        Held {
            role: RoleName::Root,
            authority: root_change::old_authority(state),
            document: Some((state.root().version(), root_change::end(state.root().payload(), |_| true))),
            ends: None,
        },
        Held {
            role: RoleName::Targets,
            authority: repository_authority(state),
            document: Some((targets.version(), targets.expires())),
            ends: None,
        },
    ];
    if let Some(signers) = Signers::of(targets.payload()) {
        all.extend(signers.roles().iter().map(|role| Held {
            role: role_name(role),
            authority: authority(&signers, role),
            document: state.delegated().get(&role.name).map(|known| (known.version(), known.expires())),
            ends: role.ends,
        }));
    }
    all
}

fn life(expires: UtcTime, now: UtcTime, within: i64) -> Life {
    match expires {
        expires if expires.is_over(now) => Life::Over,
        expires if expires.is_over(now.plus_seconds(within)) => Life::Ending,
        _ => Life::Fine,
    }
}

/// Only the owner of a legacy repository can have an online key, and only that of the snapshot.
fn signs_online(role: &RoleName, dialect: Dialect, keys: &[(Fingerprint, Option<KeyName>)]) -> Option<bool> {
    match (role, dialect) {
        _ if keys.iter().any(|(_, name)| name.is_some()) => Some(false),
        (RoleName::Snapshot, Dialect::Notary1) => None,
        _ => Some(true),
    }
}

fn keys(authority: &Authority, ring: &KeyRing<'_>) -> Vec<(Fingerprint, Option<KeyName>)> {
    let listed = authority.keys.fingerprints(&authority.table).into_iter();
    listed.map(|key| (key, ring.find(&key).map(|stored| stored.name.clone()))).collect()
}

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The state cannot be trusted.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_another_owner_is_not_taken_for_the_servers() {
        let key: Fingerprint = "0".repeat(64).parse().unwrap();
        let (away, here) = ([(key, None)], [(key, Some("mine".parse().unwrap()))]);
        for (role, dialect, keys, by_server) in [
            (RoleName::Snapshot, Dialect::Notary1, &away, None),
            (RoleName::Snapshot, Dialect::Notary1, &here, Some(false)),
            (RoleName::Timestamp, Dialect::Notary1, &away, Some(true)),
            (RoleName::Snapshot, Dialect::Tuf1, &away, Some(true)),
        ] {
            assert_eq!(signs_online(&role, dialect, keys), by_server, "{role} {dialect:?}");
        }
    }

    #[test]
    fn the_last_second_is_too_late_and_the_limit_is_near() {
        let now: UtcTime = "2030-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(life(now, now, 0), Life::Over);
        assert_eq!(life(now.plus_seconds(1), now, 0), Life::Fine);
        assert_eq!(life(now.plus_seconds(1), now, 1), Life::Ending);
        assert_eq!(life(now.plus_seconds(2), now, 1), Life::Fine);
        let mut held = Held {
            role: RoleName::Targets,
            authority: Authority {
                keys: RoleKeys { key_ids: vec![], threshold: Threshold::ONE },
                table: std::collections::BTreeMap::new(),
            },
            document: None,
            ends: None,
        };
        assert_eq!(held.life(now, 0), Life::Unsigned);
        held.document = Some((Version::FIRST, now));
        assert_eq!(held.life(now, 0), Life::Over);
        held.ends = Some(now);
        assert_eq!(held.life(now, 0), Life::Closed);
    }
}
