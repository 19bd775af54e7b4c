//! Init: a repository begins with a root that its admin signs and every consumer pins.

use bulla_keys_schema::author::{
    Draft, RoleSpec, RootEdit, RootEditError, SignError, SignedMetadata, TargetsEdit,
};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{
    Fingerprint, HeldRole, InvalidPublicKey, KeyName, PublicKey, SecretKey, Signer,
};
use bulla_keys_schema::metadata::{KeyEntry, Root, Targets, Threshold, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{RawMetadata, VerifyError};
use bulla_keys_schema::wire::OnlineKey;

use crate::flow::Ports;
use crate::flow::publish::{self, PublishError, TARGETS_LIFETIME};
use crate::flow::signing::{self, UnlockError};
use crate::pins::{Pin, PinnedRoot, Pins, PinsError, Scope};
use crate::port::trust_server::{Document, Expected, Upload};
use crate::port::{KeyStoreError, StoredKey, TrustServerError};

/// Lifetime of a root, in seconds: one year.
const ROOT_LIFETIME: i64 = 365 * 24 * 60 * 60;

/// What to begin with.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// Keys of this home that sign root.
    pub root_keys: Vec<KeyName>,
    /// How many of them must.
    pub root_threshold: u64,
    /// The key of this home that signs targets.
    pub targets_key: KeyName,
    /// Change nothing.
    pub dry_run: bool,
}

/// What was begun.
#[derive(Clone, Debug)]
pub struct Begun {
    /// The digest of the first root: what consumers pin.
    pub root_digest: Option<Sha256Digest>,
    /// The root keys.
    pub root_keys: Vec<Fingerprint>,
    /// How many of them must sign.
    pub threshold: Threshold,
    /// When the root expires.
    pub expires: UtcTime,
    /// The pin that covers the repository now.
    pub scope: Scope,
    /// Whether anything was done: `false` in a dry run.
    pub done: bool,
}

/// Begins a repository.
///
/// # Errors
/// See [`InitError`].
pub async fn init(ports: Ports<'_>, request: &Request) -> Result<Begun, InitError> {
    let plan = Plan::new(ports, request)?;
    let now = ports.clock.now();
    let expires = now.plus_seconds(ROOT_LIFETIME);
    let mut begun = Begun {
        root_digest: None,
        root_keys: plan.root_keys.iter().map(|key| key.public.fingerprint()).collect(),
        threshold: plan.threshold,
        expires,
        scope: plan
            .known_pin
            .as_ref()
            .map_or_else(|| Scope::Repository(request.repository.clone()), |p| p.scope.clone()),
        done: false,
    };
    if request.dry_run {
        return match ports.server.head(&request.repository).await.map_err(PublishError::from)? {
            Some(_) => Err(InitError::Exists { repository: request.repository.clone() }),
            None => Ok(begun),
        };
    }
    let online = ports.server.online_keys(&request.repository).await.map_err(PublishError::from)?;
    let root = plan.root(&request.repository, &online.snapshot, &online.timestamp, expires)?;
    let secrets = plan.unlock(ports)?;
    let (root, targets) = sign(root, &secrets, now)?;
    if let Some(pin) = &plan.known_pin {
        RawMetadata::<Root>::new(Dialect::Tuf1, root.bytes().clone())
            .verify_pinned(&pin.root.to_core())
            .map_err(|source| InitError::OtherPin { scope: pin.scope.clone(), source })?;
    }
    let documents =
        vec![document(RoleName::Root, root.bytes()), document(RoleName::Targets, targets.bytes())];
    let operation = publish::operation(ports)?;
    let upload = Upload { documents, targets: vec![], expected: Expected::Absent, operation };
    match publish::submit(ports, &request.repository, &upload).await {
        Err(PublishError::Server(TrustServerError::Changed { .. })) => {
            return Err(InitError::Exists { repository: request.repository.clone() });
        }
        submitted => submitted?,
    }
    let digest = root.verified().digest();
    if plan.known_pin.is_none() {
        let scope = Scope::Repository(request.repository.clone());
        let pin = Pin { scope, root: PinnedRoot::Document(digest), server: None };
        Pins::update(ports.home, |pins| pins.add(pin))?;
    }
    publish::confirm(ports, &request.repository, &upload.documents).await?;
    plan.note_roles(ports, &request.repository)?;
    begun.root_digest = Some(digest);
    begun.done = true;
    Ok(begun)
}

/// Everything that can be known before the server is asked.
struct Plan {
    root_keys: Vec<StoredKey>,
    threshold: Threshold,
    targets_key: StoredKey,
    known_pin: Option<Pin>,
}

impl Plan {
    fn new(ports: Ports<'_>, request: &Request) -> Result<Self, InitError> {
        let find = |name: &KeyName| match ports.keys.find(name) {
            Err(KeyStoreError::Unknown { .. }) => Err(InitError::NoKey { name: name.clone() }),
            found => Ok(found?),
        };
        let root_keys = request.root_keys.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let (threshold, keys) = (request.root_threshold, root_keys.len());
        let threshold = Threshold::new(threshold)
            .filter(|t| t.is_met_by(keys))
            .ok_or(InitError::Threshold { threshold, keys })?;
        let pins = Pins::load(ports.home)?;
        let known_pin = pins.find(&request.repository).cloned();
        if let Some(Pin { scope: Scope::Repository(_), .. }) = known_pin {
            return Err(InitError::Pinned { repository: request.repository.clone() });
        }
        Ok(Self { root_keys, threshold, targets_key: find(&request.targets_key)?, known_pin })
    }

    fn root(
        &self,
        repository: &RepositoryName,
        snapshot: &OnlineKey,
        timestamp: &OnlineKey,
        expires: UtcTime,
    ) -> Result<Root, InitError> {
        let root = RoleSpec {
            keys: self.root_keys.iter().map(|key| KeyEntry::new(key.public.clone())).collect(),
            threshold: self.threshold,
        };
        let targets = one(self.targets_key.public.clone());
        let [snapshot, timestamp] =
            [snapshot, timestamp].map(|key| PublicKey::from_pem(&key.public_key).map(one));
        let first = RootEdit::first(Dialect::Tuf1, &root, &targets, &snapshot?, &timestamp?, expires)?;
        Ok(first.for_repository(repository.clone()).finish())
    }

    /// All root keys, so that each proves itself, and the targets key; each asked for once.
    fn unlock(&self, ports: Ports<'_>) -> Result<Vec<SecretKey>, UnlockError> {
        let mut keys: Vec<&StoredKey> = Vec::new();
        for key in self.root_keys.iter().chain([&self.targets_key]) {
            if !keys.iter().any(|known| known.name == key.name) {
                keys.push(key);
            }
        }
        keys.into_iter().map(|key| signing::open(ports.keys, ports.passphrases, key)).collect()
    }

    fn note_roles(&self, ports: Ports<'_>, repository: &RepositoryName) -> Result<(), KeyStoreError> {
        let note = |key: &StoredKey, role| {
            ports.keys.note_role(&key.name, &HeldRole { repository: repository.clone(), role })
        };
        self.root_keys.iter().try_for_each(|key| note(key, RoleName::Root))?;
        note(&self.targets_key, RoleName::Targets)
    }
}

fn sign(
    root: Root,
    secrets: &[SecretKey],
    now: UtcTime,
) -> Result<(SignedMetadata<Root>, SignedMetadata<Targets>), InitError> {
    let signers: Vec<&dyn Signer> = secrets.iter().map(|key| key as &dyn Signer).collect();
    let sign_error = |role| move |source| InitError::Sign { role, source };
    let targets = TargetsEdit::new(
        Dialect::Tuf1,
        RoleName::Targets,
        Version::FIRST,
        now.plus_seconds(TARGETS_LIFETIME),
    )
    .for_repository(root.repository.clone())
    .finish();
    let targets = Draft::new(Dialect::Tuf1, targets)
        .sign(&signers, &root.targets, &root.keys)
        .map_err(sign_error(RoleName::Targets))?;
    let root =
        Draft::new(Dialect::Tuf1, root).sign_root(&signers, None).map_err(sign_error(RoleName::Root))?;
    Ok((root, targets))
}

fn document(role: RoleName, bytes: &bytes::Bytes) -> Document {
    Document { role, version: Version::FIRST, bytes: bytes.clone() }
}

fn one(key: PublicKey) -> RoleSpec {
    RoleSpec { keys: vec![KeyEntry::new(key)], threshold: Threshold::ONE }
}

/// Why a repository was not begun.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The server has it already.
    #[error("{repository} exists already on the trust server")]
    Exists {
        /// The repository.
        repository: RepositoryName,
    },
    /// A named key is not here.
    #[error("no key named {name} in this home")]
    NoKey {
        /// The name.
        name: KeyName,
    },
    /// The server's online keys are none.
    #[error("the trust server's online keys cannot be used: {0}")]
    OnlineKey(#[from] InvalidPublicKey),
    /// A wider pin says something else about this repository.
    #[error("the new root does not satisfy the pin for {scope}: {source}")]
    OtherPin {
        /// The scope of the pin.
        scope: Scope,
        /// Why.
        source: VerifyError,
    },
    /// Consumers of this home expect another root.
    #[error("{repository} is pinned already in this home")]
    Pinned {
        /// The repository.
        repository: RepositoryName,
    },
    /// The pins cannot be read or written.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// The root would be useless.
    #[error("such a root cannot be made: {0}")]
    Root(#[from] RootEditError),
    /// What was written was refused by our own verification.
    #[error("cannot sign {role}: {source}")]
    Sign {
        /// The role.
        role: RoleName,
        /// Why.
        source: SignError,
    },
    /// The keys cannot be read.
    #[error(transparent)]
    Store(#[from] KeyStoreError),
    /// The threshold does not fit the keys.
    #[error("a root threshold of {threshold} does not fit {keys} root key{}", if *keys == 1 { "" } else { "s" })]
    Threshold {
        /// The threshold.
        threshold: u64,
        /// How many keys are named.
        keys: usize,
    },
    /// A key cannot be used.
    #[error(transparent)]
    Unlock(#[from] UnlockError),
}
