//! What a backup holds, brought back: all of it, or nothing where something is in the way. A key
//! or a pin is never overwritten.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bulla_keys_schema::backup::{BackupKey, KnownRoots};
use bulla_keys_schema::key::{Fingerprint, KeyName};

use crate::cache::{Cache, CacheError};
use crate::flow::refresh::stored_chain;
use crate::home::Home;
use crate::pins::{Pin, Pins, PinsError, Scope};
use crate::port::{KeyStore, KeyStoreError, StoredKey};

/// What shall be in the home.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Keys, under the names that they shall have.
    pub keys: Vec<BackupKey>,
    /// Pins.
    pub pins: Pins,
    /// Root documents of what is pinned.
    pub repositories: Vec<KnownRoots>,
    /// Whether only who has the secret of the backup can have made it. Else it does not say which
    /// servers get our token.
    pub vouched: bool,
}

/// What becomes of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written.
    New,
    /// It lies here already, under this name.
    There(KeyName),
}

/// What will happen.
#[derive(Debug)]
pub struct Plan {
    /// Every key.
    pub keys: Vec<(BackupKey, Fate)>,
    /// Every pin.
    pub pins: Vec<PlannedPin>,
    /// As for [`Wanted`].
    pub vouched: bool,
    repositories: Vec<KnownRoots>,
}

/// What becomes of one pin.
#[derive(Clone, Debug)]
pub struct PlannedPin {
    /// The pin, as it is or will be here.
    pub pin: Pin,
    /// Whether it is written.
    pub is_new: bool,
    /// The server that the backup names for it, if nobody vouches for that.
    pub server_not_taken: Option<String>,
}

/// Gives keys other names.
///
/// # Errors
/// No key of `keys` has a name that `names` would change.
pub fn rename(keys: &mut [BackupKey], names: &BTreeMap<KeyName, KeyName>) -> Result<(), RestoreError> {
    let known: BTreeSet<&KeyName> = keys.iter().map(|key| &key.sidecar.name).collect();
    if let Some(name) = names.keys().find(|name| !known.contains(name)) {
        return Err(RestoreError::NoSuchKey { name: (*name).clone() });
    }
    for key in keys {
        if let Some(name) = names.get(&key.sidecar.name) {
            key.sidecar.name = name.clone();
        }
    }
    Ok(())
}

/// Looks whether everything fits. Writes nothing.
///
/// # Errors
/// Something is in the way, or the home cannot be read.
pub fn plan(wanted: Wanted, keys: &dyn KeyStore, home: &Home) -> Result<Plan, RestoreError> {
    let (here, pinned) = (keys.list()?, Pins::load(home)?);
    let mut conflicts = Vec::new();
    let mut taken = BTreeSet::new();
    let mut planned = Vec::new();
    for key in wanted.keys {
        let name = key.sidecar.name.clone();
        let fingerprint = key.public.fingerprint();
        let same = here.iter().filter(|known| known.public == key.public && known.sidecar.loaded.is_none());
        if let Some(known) = same.min_by_key(|known| known.name != name) {
            // The public half alone brings nothing back.
            if let Err(error) = keys.sealed(&known.name) {
                conflicts.push(Conflict::Damaged { name: known.name.clone(), reason: error.to_string() });
            }
            planned.push((key, Fate::There(known.name.clone())));
            continue;
        }
        if let Some(known) = here.iter().find(|known| known.name == name) {
            conflicts.push(Conflict::Key {
                name: name.clone(),
                here: known.public.fingerprint(),
                there: fingerprint,
            });
        }
        if !taken.insert(name.clone()) {
            conflicts.push(Conflict::Twice { name });
        }
        planned.push((key, Fate::New));
    }
    let mut pins = Vec::new();
    for pin in wanted.pins.all() {
        // A pin for less than one of ours would overrule that there.
        let known = pinned.over(&pin.scope);
        let is_new = known.is_none_or(|known| known.scope != pin.scope);
        // A server that is ours already is nobody's choice but ours.
        let agreed = known.is_some_and(|known| known.agrees_with(pin));
        let taken = if wanted.vouched || agreed { pin.clone() } else { Pin { server: None, ..pin.clone() } };
        if known.is_some_and(|known| !known.agrees_with(&taken)) {
            conflicts.push(Conflict::Pin { scope: pin.scope.clone() });
        }
        let server_not_taken = pin.server.clone().filter(|_| taken.server.is_none());
        pins.push(PlannedPin { pin: taken, is_new, server_not_taken });
    }
    if conflicts.is_empty() {
        let Wanted { repositories, vouched, .. } = wanted;
        Ok(Plan { keys: planned, pins, vouched, repositories })
    } else {
        Err(RestoreError::Conflicts(conflicts))
    }
}

/// Writes what is new. If something fails, no key of it stays.
///
/// # Errors
/// The system refuses, or somebody else wrote in between.
pub async fn carry_out(plan: &Plan, keys: &dyn KeyStore, home: &Home) -> Result<(), RestoreError> {
    let mut written = Vec::new();
    if let Err(error) = write(plan, keys, home, &mut written) {
        for name in written {
            // The error that led here is the one to report.
            let _ = keys.remove(&name);
        }
        return Err(error);
    }
    keep_roots(plan, home).await
}

fn write(
    plan: &Plan,
    keys: &dyn KeyStore,
    home: &Home,
    written: &mut Vec<KeyName>,
) -> Result<(), RestoreError> {
    for (key, fate) in &plan.keys {
        if *fate == Fate::New {
            let BackupKey { sidecar, public, sealed } = key.clone();
            let name = sidecar.name.clone();
            keys.create(&StoredKey { name: name.clone(), public, sidecar }, &sealed)?;
            written.push(name);
        }
    }
    let new = plan.pins.iter().filter(|planned| planned.is_new);
    let new: Vec<&Pin> = new.map(|planned| &planned.pin).collect();
    if !new.is_empty() {
        Pins::update(home, |pins| new.iter().try_for_each(|pin| pins.add((*pin).clone())))?;
    }
    Ok(())
}

/// Roots that this home has not seen, so that it takes no older ones. Only what the pins lead to.
async fn keep_roots(plan: &Plan, home: &Home) -> Result<(), RestoreError> {
    let pins = Pins::load(home)?;
    for known in &plan.repositories {
        let Some(pin) = pins.find(&known.repository) else { continue };
        let cache = Cache::new(home.cache()).open(&known.repository).await?;
        let stored = cache.load()?.roots;
        let mut kept = Ok(());
        stored_chain(pin, &known.repository, known.roots.iter(), |root| {
            if kept.is_ok() && !stored.contains_key(&root.version()) {
                kept = cache.keep_root(root.version(), root.bytes());
            }
        });
        kept?;
    }
    Ok(())
}

/// Something in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// The key is here, and its private half cannot be used.
    Damaged {
        /// Its name here.
        name: KeyName,
        /// What is wrong with it.
        reason: String,
    },
    /// Another key has the name.
    Key {
        /// The name.
        name: KeyName,
        /// The key in this home.
        here: Fingerprint,
        /// The key in the backup.
        there: Fingerprint,
    },
    /// Another pin has the scope.
    Pin {
        /// The scope.
        scope: Scope,
    },
    /// Two keys shall have one name.
    Twice {
        /// The name.
        name: KeyName,
    },
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Damaged { name, reason } => {
                write!(f, "key {name} is here, but {reason}; to make room: bulla key remove {name}")
            }
            Self::Key { name, here, there } => {
                write!(f, "key {name} is {here} here and {there} in the backup")
            }
            Self::Pin { scope } => write!(f, "{scope} is pinned to another root, server or mode here"),
            Self::Twice { name } => write!(f, "two keys would be named {name}"),
        }
    }
}

/// Why nothing was brought back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The cache cannot be written. Keys and pins are in place.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// Things are in the way; nothing was written.
    #[error("nothing was restored: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Conflicts(Vec<Conflict>),
    /// A key shall have another name, and is not there.
    #[error("there is no key named {name} in the backup")]
    NoSuchKey {
        /// The name.
        name: KeyName,
    },
    /// Pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// Keys cannot be read or written.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
}
