//! Init: a repository begins with a root that its admin signs and every consumer pins.

use bulla_keys_schema::author::{
    Draft, RoleSpec, RootEdit, RootEditError, SignError, SignedMetadata, TargetsEdit,
};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, HeldRole, KeyAlgorithm, KeyName, PublicKey, SecretKey, Signer};
use bulla_keys_schema::metadata::{KeyEntry, Root, Targets, Threshold, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{RawMetadata, VerifyError};

use crate::flow::Ports;
use crate::flow::certificate::{self, CertificateError};
use crate::flow::lifetimes;
use crate::flow::publish::{self, PublishError};
use crate::flow::signing::{self, UnlockError};
use crate::pins::{Mode, Pin, PinnedRoot, Pins, PinsError, Scope};
use crate::port::trust_server::{Basis, Document, OnlineKeys, Upload};
use crate::port::{KeyStoreError, StoredKey, TrustServerError};

/// What to begin with.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// How its metadata is written.
    pub mode: Mode,
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
    let expires = now.plus_seconds(lifetimes::root(plan.dialect));
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
        return match ports.server.basis(&request.repository).await.map_err(PublishError::from)? {
            Basis::Absent => Ok(begun),
            _ => Err(InitError::Exists { repository: request.repository.clone() }),
        };
    }
    let online = ports.server.online_keys(&request.repository).await.map_err(PublishError::from)?;
    // Before anybody is asked for a passphrase: whether such a root can be made at all.
    let bare = plan.root_keys.iter().map(|key| KeyEntry::new(key.public.clone())).collect();
    let mut root = plan.root(&request.repository, bare, &online, expires)?;
    let secrets = plan.unlock(ports)?;
    if plan.dialect == Dialect::Notary1 {
        let certified = plan.certify(ports, &request.repository, &secrets, now)?;
        root = plan.root(&request.repository, certified, &online, expires)?;
    }
    let (root, targets) = sign(plan.dialect, root, &secrets, now)?;
    if let Some(pin) = &plan.known_pin {
        RawMetadata::<Root>::new(plan.dialect, root.bytes().clone())
            .verify_pinned(&pin.root.to_core())
            .map_err(|source| InitError::OtherPin { scope: pin.scope.clone(), source })?;
    }
    let documents =
        vec![document(RoleName::Root, root.bytes()), document(RoleName::Targets, targets.bytes())];
    let operation = publish::operation(ports)?;
    let upload = Upload { documents, targets: vec![], basis: Basis::Absent, operation };
    match publish::submit(ports, &request.repository, &upload).await {
        Err(PublishError::Server(TrustServerError::Changed { .. })) => {
            return Err(InitError::Exists { repository: request.repository.clone() });
        }
        submitted => submitted?,
    }
    let digest = root.verified().digest();
    if plan.known_pin.is_none() {
        let scope = Scope::Repository(request.repository.clone());
        let pin = Pin { scope, mode: request.mode, root: PinnedRoot::Document(digest), server: None };
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
    dialect: Dialect,
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
        let dialect = request.mode.dialect();
        let fits = |key: &&StoredKey| key.public.algorithm() == KeyAlgorithm::EcdsaP256;
        if dialect == Dialect::Notary1
            && let Some(key) = root_keys.iter().find(|key| !fits(key))
        {
            return Err(InitError::LegacyRootKey { name: key.name.clone() });
        }
        let pins = Pins::load(ports.home)?;
        let known_pin = pins.find(&request.repository).cloned();
        match &known_pin {
            Some(Pin { scope: Scope::Repository(_), .. }) => {
                return Err(InitError::Pinned { repository: request.repository.clone() });
            }
            Some(Pin { scope, mode, .. }) if *mode != request.mode => {
                return Err(InitError::OtherMode { scope: scope.clone(), mode: *mode });
            }
            _ => {}
        }
        Ok(Self { dialect, root_keys, threshold, targets_key: find(&request.targets_key)?, known_pin })
    }

    fn root(
        &self,
        repository: &RepositoryName,
        root_keys: Vec<KeyEntry>,
        online: &OnlineKeys,
        expires: UtcTime,
    ) -> Result<Root, InitError> {
        let root = RoleSpec { keys: root_keys, threshold: self.threshold };
        let [targets, snapshot, timestamp] =
            [&self.targets_key.public, &online.snapshot, &online.timestamp].map(|key| one(key.clone()));
        let first = RootEdit::first(self.dialect, &root, &targets, &snapshot, &timestamp, expires)?;
        Ok(first.for_repository(repository.clone()).finish())
    }

    /// Every root key in a certificate for the repository.
    fn certify(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
        secrets: &[SecretKey],
        now: UtcTime,
    ) -> Result<Vec<KeyEntry>, CertificateError> {
        let is_root =
            |secret: &&SecretKey| self.root_keys.iter().any(|key| key.public == *secret.public_key());
        let roots = secrets.iter().filter(is_root);
        roots.map(|secret| certificate::certify(ports.entropy, secret, repository.as_str(), now)).collect()
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
    dialect: Dialect,
    root: Root,
    secrets: &[SecretKey],
    now: UtcTime,
) -> Result<(SignedMetadata<Root>, SignedMetadata<Targets>), InitError> {
    let signers: Vec<&dyn Signer> = secrets.iter().map(|key| key as &dyn Signer).collect();
    let sign_error = |role| move |source| InitError::Sign { role, source };
    let expires = now.plus_seconds(lifetimes::targets(dialect));
    let targets = TargetsEdit::new(dialect, RoleName::Targets, Version::FIRST, expires)
        .for_repository(root.repository.clone())
        .finish();
    let targets = Draft::new(dialect, targets)
        .sign(&signers, &root.targets, &root.keys)
        .map_err(sign_error(RoleName::Targets))?;
    let root = Draft::new(dialect, root).sign_root(&signers, None).map_err(sign_error(RoleName::Root))?;
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
    /// A root key got no certificate.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The server has it already.
    #[error("{repository} exists already on the trust server")]
    Exists {
        /// The repository.
        repository: RepositoryName,
    },
    /// Notary keeps root keys in certificates, which are for P-256 keys here.
    #[error("key {name} cannot be a root key of a legacy repository: it is no ecdsa-p256 key")]
    LegacyRootKey {
        /// The name.
        name: KeyName,
    },
    /// A named key is not here.
    #[error("no key named {name} in this home")]
    NoKey {
        /// The name.
        name: KeyName,
    },
    /// A wider pin says that its repositories are written in another way.
    #[error("the pin for {scope} says that its repositories are in {mode} mode")]
    OtherMode {
        /// The scope of the pin.
        scope: Scope,
        /// What it says.
        mode: Mode,
    },
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
