//! Rotate: give roles other keys, and sign in the same publication whatever follows from it.

mod fresh;
mod plan;

use std::collections::BTreeSet;

use bulla_keys_schema::author::TargetsEditError;
use bulla_keys_schema::key::{Certificate, Fingerprint, HeldRole, InvalidSecretKey, KeyName, PublicKey};
use bulla_keys_schema::metadata::{Threshold, TopLevelRole};
use bulla_keys_schema::names::{RepositoryName, RoleName, SignerName};
use bulla_keys_schema::verify::ChainError;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::key::KeyError;
use crate::flow::publish::{self, Footing, How, PublishError, Published};
use crate::flow::refresh::{Purpose, RefreshError};
use crate::flow::root_change::RootChangeError;
use crate::flow::signing::KeyRing;
use crate::port::trust_server::OnlineRole;
use crate::port::{EntropyError, KeyStoreError, StoredKey};

use fresh::{Fresh, Remembering};
use plan::{Change, current_spec, plan, prints};

/// What to rotate.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// The roles.
    pub subjects: Vec<Subject>,
    /// Which keys come and go, for one role whose keys people hold. With nothing named, a new
    /// key is made for each key of this home.
    pub keys: KeyChange,
    /// What to do with the change.
    pub how: How,
}

/// Keys that come and go.
#[derive(Clone, Debug, Default)]
pub struct KeyChange {
    /// All keys from now on.
    pub only: Vec<KeyChoice>,
    /// Keys that join.
    pub add: Vec<KeyChoice>,
    /// Keys that leave.
    pub remove: Vec<KeyChoice>,
    /// How many keys must sign from now on.
    pub threshold: Option<u64>,
}

/// A key that somebody named.
#[derive(Clone, Debug)]
pub enum KeyChoice {
    /// By its name in this home.
    Named(KeyName),
    /// By itself.
    Public(Box<PublicKey>),
    /// By the certificate that its holder made for it, as the root of a legacy repository wants.
    Certified(Box<Certificate>),
    /// By what identifies it; only a key that is listed can be found like this.
    Print(Fingerprint),
}

/// Whose keys change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A role that root speaks for.
    Top(TopLevelRole),
    /// A signer.
    Signer(SignerName),
}

impl Subject {
    /// The role.
    #[must_use]
    pub fn role(&self) -> RoleName {
        match self {
            Self::Top(TopLevelRole::Root) => RoleName::Root,
            Self::Top(TopLevelRole::Snapshot) => RoleName::Snapshot,
            Self::Top(TopLevelRole::Targets) => RoleName::Targets,
            Self::Top(TopLevelRole::Timestamp) => RoleName::Timestamp,
            Self::Signer(name) => RoleName::Delegated(name.role().clone()),
        }
    }

    /// The role at the server, if that is who holds the keys.
    const fn online(&self) -> Option<OnlineRole> {
        match self {
            Self::Top(TopLevelRole::Snapshot) => Some(OnlineRole::Snapshot),
            Self::Top(TopLevelRole::Timestamp) => Some(OnlineRole::Timestamp),
            Self::Top(TopLevelRole::Root | TopLevelRole::Targets) | Self::Signer(_) => None,
        }
    }
}

/// What was rotated.
#[derive(Clone, Debug)]
pub struct Rotated {
    /// The roles, in the order in which they were named.
    pub roles: Vec<RotatedRole>,
    /// Keys that were made in this home, or would be.
    pub made: Vec<KeyName>,
    /// Keys of this home that hold the role no more. They stay until somebody removes them.
    pub left: Vec<KeyName>,
    /// Whether the server showed less than this home had seen, so that only the new online keys
    /// make its clients accept it.
    pub recovered: bool,
    /// The documents and keys.
    pub published: Published,
}

/// One role.
#[derive(Clone, Debug)]
pub struct RotatedRole {
    /// Its name.
    pub role: RoleName,
    /// Keys that joined. Those that a dry run did not make are left out.
    pub joined: Vec<Fingerprint>,
    /// Keys that left.
    pub left: Vec<Fingerprint>,
    /// How many keys must sign.
    pub threshold: Threshold,
    /// How many keys there are.
    pub keys: usize,
}

/// Rotates.
///
/// # Errors
/// See [`RotateError`].
pub async fn rotate(ports: Ports<'_>, request: &Request) -> Result<Rotated, RotateError> {
    let repository = &request.repository;
    require_one_way(request)?;
    let (purpose, state) = read(ports, request).await?;
    let ring = KeyRing::load(ports)?;
    let mut draft = Draft::new(ports, &state, &ring, request)?;
    // Before anybody is asked for a passphrase, and before the server makes keys: whether it
    // can be done at all.
    let footing = Footing { purpose, keys_to_come: draft.stand_ins(ports)? };
    let tried =
        publish::publish_from(&footing, ports, repository, request.how.to_dry_run(), |state, _, now| {
            plan(state, &draft.changes, now)
        })
        .await?;
    let recovered = purpose == Purpose::Recovery;
    if request.how.is_dry_run() {
        return draft.report(&state, &ring, recovered, tried);
    }
    let remembering = Remembering::new(ports.passphrases);
    let ports = Ports { passphrases: &remembering, ..ports };
    draft.make(ports, repository).await?;
    let footing = Footing { purpose, ..Footing::default() };
    let published =
        publish::publish_from(&footing, ports, repository, request.how.clone(), |state, _, now| {
            plan(state, &draft.changes, now)
        })
        .await?;
    if published.done {
        draft.note_roles(ports, repository)?;
    }
    draft.report(&state, &ring, recovered, published)
}

/// The current state. Where a thief of the online keys raised the versions of what they sign, a
/// server that was put back looks older than what was seen before; new keys for both roles are
/// the way out (TUF 1.0, 5.3.11), and nothing else is read like that.
async fn read(ports: Ports<'_>, request: &Request) -> Result<(Purpose, CurrentState), PublishError> {
    let repository = &request.repository;
    let rotates = |role| request.subjects.iter().any(|subject| subject.online() == Some(role));
    match publish::current_state(Purpose::Change, ports, repository).await {
        Err(PublishError::Refresh(RefreshError::Chain(
            ChainError::Rollback { .. } | ChainError::RoleRemoved { .. },
        ))) if request.subjects.iter().all(|subject| subject.online().is_some())
            && rotates(OnlineRole::Snapshot)
            && rotates(OnlineRole::Timestamp) =>
        {
            let state = publish::current_state(Purpose::Recovery, ports, repository).await?;
            Ok((Purpose::Recovery, state))
        }
        state => Ok((Purpose::Change, state?)),
    }
}

/// Options about keys are for one role, whose keys people hold.
fn require_one_way(request: &Request) -> Result<(), RotateError> {
    let KeyChange { only, add, remove, threshold } = &request.keys;
    let names_keys = !(only.is_empty() && add.is_empty() && remove.is_empty() && threshold.is_none());
    match request.subjects.as_slice() {
        [] => Err(RotateError::NoRole),
        [subject] if names_keys && subject.online().is_some() => {
            Err(RotateError::OnlineKeys { role: subject.role() })
        }
        [_, _, ..] if names_keys => Err(RotateError::SeveralRoles),
        subjects => {
            let repeated = |(at, subject): (usize, &Subject)| {
                subjects.iter().take(at).any(|earlier| earlier == subject).then(|| subject.role())
            };
            match subjects.iter().enumerate().find_map(repeated) {
                Some(role) => Err(RotateError::Repeated { role }),
                None => Ok(()),
            }
        }
    }
}

/// The changes, while some of their keys are not made yet.
struct Draft {
    changes: Vec<Change>,
    /// Keys of this home to be made, each with the change that it joins.
    fresh: Vec<(usize, Fresh)>,
    /// Stand-ins of keys that are not made yet.
    stand_ins: BTreeSet<Fingerprint>,
}

impl Draft {
    fn new(
        ports: Ports<'_>,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        request: &Request,
    ) -> Result<Self, RotateError> {
        let mut draft = Self { changes: vec![], fresh: vec![], stand_ins: BTreeSet::new() };
        for subject in &request.subjects {
            let listed = prints(&current_spec(state, subject)?.keys);
            let threshold = request.keys.threshold.map(|given| {
                Threshold::new(given).ok_or(RotateError::Threshold { role: subject.role(), threshold: given })
            });
            let mut change = Change {
                subject: subject.clone(),
                joining: vec![],
                certificates: certificates(request, subject)?,
                leaving: BTreeSet::new(),
                threshold: threshold.transpose()?,
            };
            if subject.online().is_some() {
                change.leaving = listed;
                change.threshold = Some(Threshold::ONE);
            } else if let Some((joining, leaving)) = named(ports, &request.keys, subject, &listed)? {
                (change.joining, change.leaving) = (joining, leaving);
            } else {
                let successors = fresh::successors(ports.keys, state, ring, subject, &listed, &draft.fresh)?;
                change.leaving = successors.iter().filter_map(|fresh| fresh.replaces).collect();
                let at = draft.changes.len();
                draft.fresh.extend(successors.into_iter().map(|fresh| (at, fresh)));
            }
            draft.changes.push(change);
        }
        Ok(draft)
    }

    /// Puts keys that exist nowhere in the place of those that are still to be made. Returns
    /// those of this home.
    fn stand_ins(&mut self, ports: Ports<'_>) -> Result<Vec<StoredKey>, RotateError> {
        let mut stored = Vec::new();
        for (at, fresh) in &self.fresh {
            let key = fresh.stand_in(ports)?;
            self.stand_ins.insert(key.public.fingerprint());
            if let Some(change) = self.changes.get_mut(*at) {
                change.joining.push(key.public.clone());
            }
            stored.push(key);
        }
        for change in self.changes.iter_mut().filter(|change| change.subject.online().is_some()) {
            let public = fresh::nobodys_key(ports.entropy)?;
            self.stand_ins.insert(public.fingerprint());
            change.joining.push(public);
        }
        Ok(stored)
    }

    /// Makes the keys: here, and at the server.
    async fn make(&mut self, ports: Ports<'_>, repository: &RepositoryName) -> Result<(), RotateError> {
        for change in &mut self.changes {
            change.joining.retain(|key| !self.stand_ins.contains(&key.fingerprint()));
            if let Some(role) = change.subject.online() {
                let key = ports.server.next_online_key(repository, role).await;
                change.joining.push(key.map_err(PublishError::from)?);
            }
        }
        for (at, fresh) in &self.fresh {
            let key = fresh.make(ports)?;
            if let Some(change) = self.changes.get_mut(*at) {
                change.joining.push(key.public);
            }
        }
        self.stand_ins.clear();
        Ok(())
    }

    fn note_roles(&self, ports: Ports<'_>, repository: &RepositoryName) -> Result<(), KeyStoreError> {
        let ring = KeyRing::load(ports)?;
        for change in self.changes.iter().filter(|change| change.subject.online().is_none()) {
            let held = HeldRole { repository: repository.clone(), role: change.subject.role() };
            for key in change.joining.iter().filter_map(|key| ring.find(&key.fingerprint())) {
                ports.keys.note_role(&key.name, &held)?;
            }
        }
        Ok(())
    }

    /// What came of it; `before` is the state that was found.
    fn report(
        &self,
        before: &CurrentState,
        ring: &KeyRing<'_>,
        recovered: bool,
        published: Published,
    ) -> Result<Rotated, RotateError> {
        let mut roles = Vec::new();
        let mut left = Vec::new();
        for change in &self.changes {
            let spec = change.apply(&current_spec(before, &change.subject)?)?;
            let joined = change.joining.iter().map(PublicKey::fingerprint);
            let leaving: Vec<Fingerprint> = change.leaving.iter().copied().collect();
            left.extend(ring.names(&leaving));
            roles.push(RotatedRole {
                role: change.subject.role(),
                joined: joined.filter(|key| !self.stand_ins.contains(key)).collect(),
                left: leaving,
                threshold: spec.threshold,
                keys: spec.keys.len(),
            });
        }
        let made = self.fresh.iter().map(|(_, fresh)| fresh.name.clone()).collect();
        Ok(Rotated { roles, made, left, recovered, published })
    }
}

/// The certificates that were named, for root; nothing else is listed in one.
fn certificates(request: &Request, subject: &Subject) -> Result<Vec<Certificate>, RotateError> {
    let choices = request.keys.only.iter().chain(&request.keys.add);
    let named = choices.filter_map(|choice| match choice {
        KeyChoice::Certified(known) => Some(Certificate::clone(known)),
        _ => None,
    });
    let named: Vec<Certificate> = named.collect();
    match named.iter().find(|known| !known.names(&request.repository)) {
        Some(other) => Err(RotateError::OtherCertificate { name: other.common_name().to_owned() }),
        None if *subject == Subject::Top(TopLevelRole::Root) => Ok(named),
        None => Ok(vec![]),
    }
}

/// The keys that join, and those that leave.
type Named = (Vec<PublicKey>, BTreeSet<Fingerprint>);

/// The keys that join and leave as they were named; `None` if none was, and no threshold.
fn named(
    ports: Ports<'_>,
    keys: &KeyChange,
    subject: &Subject,
    listed: &BTreeSet<Fingerprint>,
) -> Result<Option<Named>, RotateError> {
    let public = |choice: &KeyChoice| match choice {
        KeyChoice::Public(key) => Ok(PublicKey::clone(key)),
        KeyChoice::Certified(known) => Ok(known.public_key().clone()),
        KeyChoice::Named(name) => match ports.keys.find(name) {
            Err(KeyStoreError::Unknown { .. }) => Err(RotateError::NoKey { name: name.clone() }),
            found => Ok(found?.public),
        },
        KeyChoice::Print(key) => Err(RotateError::NotListed { role: subject.role(), key: *key }),
    };
    let KeyChange { only, add, remove, threshold } = keys;
    if !only.is_empty() {
        let chosen = only.iter().map(public).collect::<Result<Vec<_>, _>>()?;
        let prints: BTreeSet<Fingerprint> = chosen.iter().map(PublicKey::fingerprint).collect();
        if prints.len() < chosen.len() {
            return Err(RotateError::Twice { role: subject.role() });
        }
        let joining = chosen.into_iter().filter(|key| !listed.contains(&key.fingerprint())).collect();
        return Ok(Some((joining, listed.difference(&prints).copied().collect())));
    }
    if add.is_empty() && remove.is_empty() && threshold.is_none() {
        return Ok(None);
    }
    let joining = add.iter().map(public).collect::<Result<Vec<_>, _>>()?;
    let prints: BTreeSet<Fingerprint> = joining.iter().map(PublicKey::fingerprint).collect();
    if prints.len() < joining.len() {
        return Err(RotateError::Twice { role: subject.role() });
    }
    let print = |choice: &KeyChoice| match choice {
        KeyChoice::Print(key) => Ok(*key),
        choice => public(choice).map(|key| key.fingerprint()),
    };
    Ok(Some((joining, remove.iter().map(print).collect::<Result<_, _>>()?)))
}

/// Why nothing was rotated.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// A key that is to join is there.
    #[error("{role} lists key {key} already")]
    AlreadyListed {
        /// The role.
        role: RoleName,
        /// The key.
        key: Fingerprint,
    },
    /// A certificate is for something else.
    #[error("the certificate of a root key is for {name}")]
    OtherCertificate {
        /// What it is for.
        name: String,
    },
    /// The delegation would be useless.
    #[error("the delegations of targets cannot follow: {0}")]
    Edit(#[from] TargetsEditError),
    /// No randomness.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// The repository was laid out by another tool.
    #[error("the repository delegates to hash bins, where no signer has a name")]
    HashBins,
    /// A new key could not be made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The version counter is at its end.
    #[error("a role has reached the last version there is")]
    LastVersion,
    /// No key of this algorithm can be made.
    #[error(transparent)]
    Make(#[from] InvalidSecretKey),
    /// A named key is not here.
    #[error("no key named {name} in this home")]
    NoKey {
        /// The name.
        name: KeyName,
    },
    /// Every name that a successor could have is taken.
    #[error("no free name for the successor of key {name}")]
    NoName {
        /// The key that it would come after.
        name: String,
    },
    /// No role is named.
    #[error("no role to rotate")]
    NoRole,
    /// Which key shall get a successor is not clear.
    #[error("none of the {keys} keys of {role} is in this home")]
    NoneHere {
        /// The role.
        role: RoleName,
        /// How many keys it has.
        keys: usize,
    },
    /// A key that is to leave is not there.
    #[error("{role} does not list key {key}")]
    NotListed {
        /// The role.
        role: RoleName,
        /// The key.
        key: Fingerprint,
    },
    /// All is as it shall be.
    #[error("{role} has these keys and this threshold already")]
    NothingChanges {
        /// The role.
        role: RoleName,
    },
    /// The server makes the keys of this role.
    #[error("the keys of {role} are made by the trust server")]
    OnlineKeys {
        /// The role.
        role: RoleName,
    },
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// A role is named twice.
    #[error("{role} is named twice")]
    Repeated {
        /// The role.
        role: RoleName,
    },
    /// The next root cannot be made.
    #[error(transparent)]
    Root(#[from] RootChangeError),
    /// Keys are named, and it is not clear for which role.
    #[error("keys can be named for one role at a time")]
    SeveralRoles,
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// No threshold at all.
    #[error("{role} cannot have a threshold of {threshold}")]
    Threshold {
        /// The role.
        role: RoleName,
        /// The threshold.
        threshold: u64,
    },
    /// Nobody could sign any more.
    #[error("{role} would have {keys} key{} for a threshold of {threshold}", if *keys == 1 { "" } else { "s" })]
    TooFew {
        /// The role.
        role: RoleName,
        /// How many keys would be left.
        keys: usize,
        /// The threshold.
        threshold: Threshold,
    },
    /// The same key twice: it would count once only.
    #[error("the same key is named twice for {role}")]
    Twice {
        /// The role.
        role: RoleName,
    },
    /// No such signer.
    #[error("the repository has no signer named {name}")]
    UnknownSigner {
        /// The name.
        name: SignerName,
    },
}
