//! Whether a backup would bring back what is needed now: which of its keys are the ones that
//! the repositories list today, and which roles they are too few for.
//!
//! A backup grows old without anybody noticing: a key is rotated, and the only copy of the new
//! one is lost with the home.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bulla_keys_schema::backup::{Backup, BackupKey, RoleCover, of_root, of_targets};
use bulla_keys_schema::key::{Fingerprint, KeyName, OpenError};
use bulla_keys_schema::metadata::{Root, TopLevelRole};
use bulla_keys_schema::names::{RepositoryName, RoleName};

use crate::cache::{Cache, CacheError};
use crate::flow::refresh::{Purpose, RefreshError, Session, stored_chain};
use crate::flow::{Ports, current};
use crate::home::Home;
use crate::pins::{Pin, Pins, PinsError, Scope};
use crate::port::{PassphraseError, Passphrases, StoredKey};

/// How many keys may fail to open before no more are tried. Each try takes as long as scrypt is
/// meant to, and a hostile backup has thousands of keys.
pub const FAILURES: usize = 64;

/// What became of opening one key.
#[derive(Debug)]
pub enum KeyState {
    /// It opened, and fits its public key.
    Proven,
    /// Nobody said the passphrase.
    NotOpened {
        /// Why.
        reason: String,
    },
    /// A passphrase for it was said, and does not open it.
    WrongPassphrase {
        /// Why.
        reason: String,
    },
    /// As many as [`FAILURES`] keys before it did not open.
    NotTried,
    /// It opened, and is the private half of another key, or of none that can be used.
    Broken {
        /// What is wrong.
        reason: String,
    },
}

impl KeyState {
    /// Whether the key counts for the roles that list it. One that nobody tried to open may have
    /// its passphrase somewhere else; one that was tried and did not open is proof of nothing.
    #[must_use]
    pub const fn counts(&self) -> bool {
        matches!(self, Self::Proven | Self::NotOpened { .. })
    }
}

/// Opens every key whose passphrase can be had, until [`FAILURES`] of them did not open. Those of
/// which it cannot be had are told apart from those that are no use.
///
/// # Errors
/// A person interrupts.
pub fn open_keys(
    backup: &Backup,
    passphrases: &dyn Passphrases,
) -> Result<Vec<(BackupKey, KeyState)>, PassphraseError> {
    let mut failures = 0;
    let mut opened = Vec::new();
    for key in &backup.keys {
        let state = if failures < FAILURES { open(key, passphrases)? } else { KeyState::NotTried };
        failures += usize::from(!state.counts());
        opened.push((key.clone(), state));
    }
    Ok(opened)
}

fn open(key: &BackupKey, passphrases: &dyn Passphrases) -> Result<KeyState, PassphraseError> {
    let passphrase = match passphrases.existing(&key.sidecar.name) {
        Ok(passphrase) => passphrase,
        Err(PassphraseError::Interrupted) => return Err(PassphraseError::Interrupted),
        Err(PassphraseError::NobodyToAsk { variable, .. }) => {
            return Ok(KeyState::NotOpened { reason: format!("its passphrase is not in {variable}") });
        }
        Err(error @ PassphraseError::Variable { .. }) => {
            return Ok(KeyState::WrongPassphrase { reason: error.to_string() });
        }
        Err(error) => return Ok(KeyState::NotOpened { reason: error.to_string() }),
    };
    Ok(match key.sealed.open(&passphrase) {
        Ok(secret) if *secret.public_key() == key.public => KeyState::Proven,
        Ok(_) => KeyState::Broken { reason: "it is the private half of another key".to_owned() },
        Err(error @ OpenError::BrokenKey { .. }) => KeyState::Broken { reason: error.to_string() },
        Err(error @ OpenError::WrongPassphrase) => KeyState::WrongPassphrase { reason: error.to_string() },
    })
}

/// One repository, as the keys of a backup look from it.
#[derive(Debug)]
pub struct CheckedRepository {
    /// The repository.
    pub repository: RepositoryName,
    /// What the keys were held against.
    pub against: Against,
    /// Every role that could be looked at.
    pub roles: Vec<CheckedRole>,
    /// Keys whose description says that they hold a role, which they do not hold any more.
    pub stale: Vec<(KeyName, RoleName)>,
    /// Keys that do not count, for roles that are not in view: others may make up for them, which
    /// nobody saw.
    pub unproven: Vec<(KeyName, RoleName)>,
    /// Whether any key of the backup has to do with it.
    pub concerned: bool,
}

/// What keys were held against.
#[derive(Debug)]
pub enum Against {
    /// What the server has now, verified.
    Server,
    /// What this home saw last, which is still valid; the server did not answer.
    Cache(RefreshError),
    /// The newest root in the backup. Delegations are not known from there.
    Backup(Option<RefreshError>),
    /// Nothing: there is neither a pin nor a root.
    Nothing(Option<RefreshError>),
}

impl Against {
    /// Why the server's state was not what was looked at, if it should have been.
    #[must_use]
    pub const fn failure(&self) -> Option<&RefreshError> {
        match self {
            Self::Server => None,
            Self::Cache(error) => Some(error),
            Self::Backup(error) | Self::Nothing(error) => error.as_ref(),
        }
    }
}

/// One role of a repository.
#[derive(Clone, Debug)]
pub struct CheckedRole {
    /// How far the keys of the backup reach.
    pub cover: RoleCover,
    /// Keys of the role that lie in this home and not in the backup.
    pub forgotten: Vec<KeyName>,
    /// Whether the backup has to do with the role: one of its keys holds it, held it, or is
    /// said to.
    pub concerned: bool,
}

impl CheckedRole {
    /// Whether the backup would not bring the role back. With `partial`, others keep the other
    /// keys of a threshold: then one key that is current is enough.
    #[must_use]
    pub fn is_lost(&self, partial: bool) -> bool {
        let enough = if partial { !self.cover.held.is_empty() } else { self.cover.is_met() };
        !self.forgotten.is_empty() || (self.concerned && !enough)
    }
}

/// A backup in a home of its own, so that what stands in it is judged by its own pins, where
/// this home has none.
pub struct Checker<'a> {
    backup: &'a Backup,
    pins: Pins,
    named: BTreeSet<RepositoryName>,
    usable: BTreeSet<Fingerprint>,
    /// Every key of the backup, usable or not.
    listed: BTreeSet<Fingerprint>,
    here: &'a [StoredKey],
}

impl<'a> Checker<'a> {
    /// `home` is this machine's; `unusable` are keys that do not count, see [`KeyState::counts`];
    /// `here` are the keys of this machine.
    ///
    /// # Errors
    /// The pins of the backup, or of this home, are none.
    pub fn new(
        backup: &'a Backup,
        unusable: &BTreeSet<KeyName>,
        home: &Home,
        here: &'a [StoredKey],
    ) -> Result<Self, CheckError> {
        let (ours, theirs) = (Pins::load(home)?, pins_of(backup)?);
        let mut pins = ours.clone();
        // What this machine trusts comes first: a backup for a public key can be made by anybody,
        // who must not say either which server gets our token.
        for pin in theirs.all() {
            if ours.over(&pin.scope).is_none() {
                pins.add(Pin { server: None, ..pin.clone() })?;
            }
        }
        let listed = backup.keys.iter().map(|key| key.public.fingerprint()).collect();
        let usable = backup.keys.iter().filter(|key| !unusable.contains(&key.sidecar.name));
        let usable = usable.map(|key| key.public.fingerprint()).collect();
        let mut named = super::make::known_repositories(&pins, &backup.keys);
        named.extend(super::make::known_repositories(&theirs, &[]));
        Ok(Self { backup, pins, named, usable, listed, here })
    }

    /// The repositories to look at: those pinned by name, and those that a key is known for.
    #[must_use]
    pub const fn repositories(&self) -> &BTreeSet<RepositoryName> {
        &self.named
    }

    /// Makes the empty `folder` a home that a session can be opened in: with the pins, and the
    /// roots of the backup as what was accepted before.
    ///
    /// # Errors
    /// It cannot be written.
    pub async fn lay_out(&self, folder: &Path) -> Result<Home, CheckError> {
        let (home, pins) = (Home::new(folder.to_owned()), self.pins.clone());
        Pins::update(&home, |empty| pins.all().iter().try_for_each(|pin| empty.add(pin.clone())))?;
        for known in &self.backup.repositories {
            let Some(pin) = pins.find(&known.repository) else { continue };
            let cache = Cache::new(home.cache()).open(&known.repository).await?;
            let mut kept = Ok(());
            stored_chain(pin, &known.repository, known.roots.iter(), |root| {
                if kept.is_ok() {
                    kept = cache.keep_root(root.version(), root.bytes());
                }
            });
            kept?;
        }
        Ok(home)
    }

    /// Holds the keys against what the server says, as seen from the home of `ports`.
    pub async fn online(&self, ports: Ports<'_>, repository: &RepositoryName) -> CheckedRepository {
        match self.current(ports, repository).await {
            Ok(checked) => checked,
            Err(error) => self.offline(repository, Some(error)),
        }
    }

    /// Holds the keys against the newest root in the backup; `failure` says why not against
    /// more.
    #[must_use]
    pub fn offline(&self, repository: &RepositoryName, failure: Option<RefreshError>) -> CheckedRepository {
        let known = self.backup.roots(repository).zip(self.pins.find(repository));
        let mut newest = None;
        let mut former = Former::default();
        if let Some((known, pin)) = known {
            stored_chain(pin, repository, known.roots.iter(), |root| {
                former.note(root.payload(), &self.listed);
                newest = Some(root.clone());
            });
        }
        let Some(root) = newest else {
            return self.nothing(repository, failure);
        };
        let covers = of_root(root.payload(), &self.usable);
        self.judge(repository, &covers, &former, false, Against::Backup(failure))
    }

    fn nothing(&self, repository: &RepositoryName, failure: Option<RefreshError>) -> CheckedRepository {
        // A key that was taken over may be of any repository: nobody noted which.
        let may_be = failure.is_some() && self.backup.keys.iter().any(|key| key.sidecar.roles.is_empty());
        CheckedRepository {
            repository: repository.clone(),
            against: Against::Nothing(failure),
            roles: vec![],
            stale: vec![],
            unproven: self.unproven(repository, |_| false),
            concerned: may_be || self.claims(repository).next().is_some(),
        }
    }

    async fn current(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
    ) -> Result<CheckedRepository, RefreshError> {
        // An expired root still says who may sign the next one.
        let mut session = Session::open_to(Purpose::Change, ports, repository).await?;
        let state = current::load(&session).await?;
        let mut covers = of_root(session.root().payload(), &self.usable);
        for document in [state.targets()].into_iter().chain(state.delegated().values()) {
            covers.extend(of_targets(document.payload(), &self.usable));
        }
        let mut former = Former::default();
        if let Some((known, pin)) = self.backup.roots(repository).zip(self.pins.find(repository)) {
            stored_chain(pin, repository, known.roots.iter(), |root| {
                former.note(root.payload(), &self.listed);
            });
        }
        let against = match session.take_offline() {
            Some(error) => Against::Cache(error.into()),
            None => Against::Server,
        };
        Ok(self.judge(repository, &covers, &former, true, against))
    }

    fn judge(
        &self,
        repository: &RepositoryName,
        covers: &[RoleCover],
        former: &Former,
        complete: bool,
        against: Against,
    ) -> CheckedRepository {
        let claims: Vec<(&BackupKey, &RoleName)> = self.claims(repository).collect();
        let claimed: BTreeSet<&RoleName> = claims.iter().map(|(_, role)| *role).collect();
        let listed: BTreeMap<&RoleName, &RoleCover> =
            covers.iter().map(|cover| (&cover.role, cover)).collect();
        let is_stale = |(key, role): &(&BackupKey, &RoleName)| {
            let fingerprint = key.public.fingerprint();
            let holds = match listed.get(role) {
                Some(cover) => cover.held.contains(&fingerprint),
                // What is not in view may well be so.
                None => !complete,
            };
            self.usable.contains(&fingerprint) && !holds
        };
        let stale = claims.iter().filter(|claim| is_stale(claim));
        let stale = stale.map(|(key, role)| (key.sidecar.name.clone(), (*role).clone())).collect();
        let unproven = self.unproven(repository, |role| complete || listed.contains_key(role));
        let roles = covers.iter().map(|cover| CheckedRole {
            cover: cover.clone(),
            forgotten: self.forgotten(cover),
            concerned: !cover.held.is_empty()
                || claimed.contains(&cover.role)
                || !cover.absent.is_disjoint(&self.listed)
                || former.roles.contains(&cover.role),
        });
        let roles: Vec<CheckedRole> = roles.collect();
        let concerned = !claimed.is_empty() || roles.iter().any(|role| role.concerned);
        CheckedRepository { repository: repository.clone(), against, roles, stale, unproven, concerned }
    }

    /// What the descriptions of keys say about `repository`.
    fn claims(&self, repository: &RepositoryName) -> impl Iterator<Item = (&BackupKey, &RoleName)> {
        self.backup.keys.iter().flat_map(move |key| {
            let held = key.sidecar.roles.iter().filter(move |held| held.repository == *repository);
            held.map(move |held| (key, &held.role))
        })
    }

    fn unproven(
        &self,
        repository: &RepositoryName,
        in_view: impl Fn(&RoleName) -> bool,
    ) -> Vec<(KeyName, RoleName)> {
        let claims = self
            .claims(repository)
            .filter(|(key, role)| !self.usable.contains(&key.public.fingerprint()) && !in_view(role));
        claims.map(|(key, role)| (key.sidecar.name.clone(), role.clone())).collect()
    }

    /// Keys of this home that would be lost with it. Loaded ones are somewhere else.
    fn forgotten(&self, cover: &RoleCover) -> Vec<KeyName> {
        let here = self.here.iter().filter(|key| key.sidecar.loaded.is_none());
        here.filter(|key| cover.absent.contains(&key.public.fingerprint()))
            .map(|key| key.name.clone())
            .collect()
    }
}

/// Roles that keys of the backup held by an older root.
#[derive(Default)]
struct Former {
    roles: BTreeSet<RoleName>,
}

impl Former {
    fn note(&mut self, root: &Root, listed: &BTreeSet<Fingerprint>) {
        for (name, role) in [(RoleName::Root, TopLevelRole::Root), (RoleName::Targets, TopLevelRole::Targets)]
        {
            if !root.role(role).fingerprints(&root.keys).is_disjoint(listed) {
                self.roles.insert(name);
            }
        }
    }
}

/// The pins in a backup.
///
/// # Errors
/// They are none.
pub fn pins_of(backup: &Backup) -> Result<Pins, CheckError> {
    if backup.pins.is_empty() {
        return Ok(Pins::default());
    }
    Pins::parse(&backup.pins).map_err(|reason| CheckError::Invalid { reason })
}

/// The pins of the backup that say something else than this home's do of the same repositories.
///
/// # Errors
/// As for [`pins_of`].
pub fn other_pins(backup: &Backup, here: &Pins) -> Result<Vec<Scope>, CheckError> {
    let differs = |pin: &&Pin| here.over(&pin.scope).is_some_and(|known| !known.agrees_with(pin));
    Ok(pins_of(backup)?.all().iter().filter(differs).map(|pin| pin.scope.clone()).collect())
}

/// Why a backup cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A folder for the check cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// What stands in it as pins is none.
    #[error("the pins in the backup are invalid: {reason}")]
    Invalid {
        /// Where and why.
        reason: String,
    },
    /// Pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
}
