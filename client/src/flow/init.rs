//! Init: a repository begins with a root that its admins sign and every consumer pins.

use std::str::FromStr;

use bulla_keys_schema::author::{
    Draft, RoleSpec, RootEdit, RootEditError, SignError, SignedMetadata, TargetsEdit,
};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{
    Certificate, Fingerprint, HeldRole, InvalidKeyName, KeyAlgorithm, KeyName, PublicKey, SecretKey, Signer,
};
use bulla_keys_schema::metadata::{KeyEntry, Root, Targets, Threshold, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName};
use bulla_keys_schema::request::{PlainText, RequestId};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{RawMetadata, VerifyError};

use crate::flow::Ports;
use crate::flow::certificate::{self, CertificateError};
use crate::flow::lifetimes;
use crate::flow::publish::{self, How, PublishError};
use crate::flow::request::{self, Ask, Proposal};
use crate::flow::signing::{self, TooFewKeys, UnlockError};
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
    /// The keys that sign root.
    pub root_keys: Vec<FirstKey>,
    /// How many of them must.
    pub root_threshold: u64,
    /// The key that signs targets.
    pub targets_key: FirstKey,
    /// What to do: a root whose keys are not all here may need signatures of others.
    pub how: How,
}

/// A key of a repository that begins.
#[derive(Clone, Debug)]
pub enum FirstKey {
    /// A key of this home.
    Named(KeyName),
    /// A key that somebody else holds.
    Elsewhere {
        /// What it is called, if anything.
        name: Option<PlainText>,
        /// The key.
        key: Box<PublicKey>,
    },
    /// A root key that somebody else holds, in the certificate that Notary's dialect wants and
    /// only its holder can make.
    Certified(Box<Certificate>),
}

impl FromStr for FirstKey {
    type Err = InvalidKeyName;

    /// The name of a key of this home.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self::Named)
    }
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
    /// Root keys that have not signed, so that nobody has shown that he holds them.
    pub not_proven: Vec<Fingerprint>,
    /// The signing request that waits for others; nothing is published before.
    pub request: Option<RequestId>,
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
    let mut begun = plan.begun(&request.repository, expires);
    let asked = plan.asks(&request.how)?;
    if request.how.is_dry_run() {
        return match ports.server.basis(&request.repository).await.map_err(PublishError::from)? {
            Basis::Absent => Ok(begun),
            _ => Err(InitError::Exists { repository: request.repository.clone() }),
        };
    }
    let online = ports.server.online_keys(&request.repository).await.map_err(PublishError::from)?;
    // Before anybody is asked for a passphrase: whether such a root can be made at all.
    let mut root = plan.root(&request.repository, plan.bare(), &online, expires)?;
    let secrets = plan.unlock(ports)?;
    if plan.dialect == Dialect::Notary1 {
        let certified = plan.certify(ports, &request.repository, &secrets, now)?;
        root = plan.root(&request.repository, certified, &online, expires)?;
    }
    let targets = first_targets(plan.dialect, &root, now);
    match asked {
        Some(ask) => begun.request = Some(plan.ask(ports, request, ask, root, targets, &secrets, now).await?),
        None => begun.root_digest = Some(plan.publish(ports, request, root, targets, &secrets).await?),
    }
    plan.note_roles(ports, &request.repository)?;
    begun.done = true;
    Ok(begun)
}

/// Everything that can be known before the server is asked.
struct Plan {
    dialect: Dialect,
    root_keys: Vec<Holding>,
    threshold: Threshold,
    targets_key: Holding,
    known_pin: Option<Pin>,
}

/// A key, and whether it is here.
struct Holding {
    public: PublicKey,
    certificate: Option<Certificate>,
    stored: Option<StoredKey>,
    label: Option<PlainText>,
}

impl Holding {
    fn find(ports: Ports<'_>, key: &FirstKey) -> Result<Self, InitError> {
        let (public, certificate, label) = match key {
            FirstKey::Named(name) => {
                let stored = match ports.keys.find(name) {
                    Err(KeyStoreError::Unknown { .. }) => Err(InitError::NoKey { name: name.clone() }),
                    found => Ok(found?),
                }?;
                (stored.public, None, None)
            }
            FirstKey::Elsewhere { name, key } => (PublicKey::clone(key), None, name.clone()),
            FirstKey::Certified(known) => (known.public_key().clone(), Some((**known).clone()), None),
        };
        let stored = ports.keys.list()?.into_iter().find(|stored| stored.public == public);
        Ok(Self { public, certificate, stored, label })
    }

    fn print(&self) -> Fingerprint {
        self.public.fingerprint()
    }

    const fn is_here(&self) -> bool {
        self.stored.is_some()
    }
}

impl Plan {
    fn new(ports: Ports<'_>, request: &Request) -> Result<Self, InitError> {
        let find = |key: &FirstKey| Holding::find(ports, key);
        let root_keys = request.root_keys.iter().map(find).collect::<Result<Vec<_>, _>>()?;
        let (threshold, keys) = (request.root_threshold, root_keys.len());
        let threshold = Threshold::new(threshold)
            .filter(|t| t.is_met_by(keys))
            .ok_or(InitError::Threshold { threshold, keys })?;
        let dialect = request.mode.dialect();
        if dialect == Dialect::Notary1 {
            root_keys.iter().try_for_each(|key| require_notary(&request.repository, key))?;
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

    fn begun(&self, repository: &RepositoryName, expires: UtcTime) -> Begun {
        let pinned = self.known_pin.as_ref().map(|pin| pin.scope.clone());
        let elsewhere = self.root_keys.iter().filter(|key| !key.is_here());
        Begun {
            root_digest: None,
            root_keys: self.root_keys.iter().map(Holding::print).collect(),
            threshold: self.threshold,
            expires,
            scope: pinned.unwrap_or_else(|| Scope::Repository(repository.clone())),
            not_proven: elsewhere.map(Holding::print).collect(),
            request: None,
            done: false,
        }
    }

    /// Whom to ask, if the keys here are too few.
    fn asks<'a>(&self, how: &'a How) -> Result<Option<&'a Ask>, PublishError> {
        let (here, missing): (Vec<_>, Vec<_>) = self.root_keys.iter().partition(|key| key.is_here());
        let prints = |keys: &[&Holding]| keys.iter().map(|key| key.print()).collect::<Vec<_>>();
        let short = match () {
            () if !self.threshold.is_met_by(here.len()) => TooFewKeys {
                role: RoleName::Root,
                threshold: self.threshold,
                here: prints(&here),
                missing: prints(&missing),
            },
            () if !self.targets_key.is_here() => TooFewKeys {
                role: RoleName::Targets,
                threshold: Threshold::ONE,
                here: vec![],
                missing: vec![self.targets_key.print()],
            },
            () => return Ok(None),
        };
        match how {
            How::Request(ask) => Ok(Some(ask)),
            How::Publish | How::DryRun => Err(short.into()),
        }
    }

    /// The root keys as they are listed where no certificates are needed, or before there are
    /// any.
    fn bare(&self) -> Vec<KeyEntry> {
        self.root_keys.iter().map(|key| KeyEntry::new(key.public.clone())).collect()
    }

    /// Everything is signed here: the repository begins at once.
    async fn publish(
        &self,
        ports: Ports<'_>,
        request: &Request,
        root: Root,
        targets: Targets,
        secrets: &[SecretKey],
    ) -> Result<Sha256Digest, InitError> {
        let repository = &request.repository;
        let (root, targets) = sign(self.dialect, root, targets, secrets)?;
        if let Some(pin) = &self.known_pin {
            RawMetadata::<Root>::new(self.dialect, root.bytes().clone())
                .verify_pinned(&pin.root.to_core())
                .map_err(|source| InitError::OtherPin { scope: pin.scope.clone(), source })?;
        }
        let documents =
            vec![document(RoleName::Root, root.bytes()), document(RoleName::Targets, targets.bytes())];
        let operation = publish::operation(ports)?;
        let upload = Upload { documents, targets: vec![], basis: Basis::Absent, operation };
        match publish::submit(ports, repository, &upload).await {
            Err(PublishError::Server(TrustServerError::Changed { .. })) => {
                return Err(InitError::Exists { repository: repository.clone() });
            }
            submitted => submitted?,
        }
        let digest = root.verified().digest();
        self.pin(ports, request, PinnedRoot::Document(digest))?;
        publish::confirm(ports, repository, &upload.documents).await?;
        Ok(digest)
    }

    /// Others have to sign as well. Which signatures the first root will carry is not known yet,
    /// so its keys are pinned.
    #[expect(clippy::too_many_arguments, reason = "one change, told once")]
    async fn ask(
        &self,
        ports: Ports<'_>,
        request: &Request,
        ask: &Ask,
        root: Root,
        targets: Targets,
        secrets: &[SecretKey],
        now: UtcTime,
    ) -> Result<RequestId, InitError> {
        let signers: Vec<&dyn Signer> = secrets.iter().map(|key| key as &dyn Signer).collect();
        let sign_error = |role| move |source| InitError::Sign { role, source };
        let targets = Draft::new(self.dialect, targets)
            .propose(&signers, &[(&root.targets, &root.keys)])
            .map_err(sign_error(RoleName::Targets))?;
        let root = Draft::new(self.dialect, root)
            .propose_root(&signers, None)
            .map_err(sign_error(RoleName::Root))?;
        let documents =
            [(RoleName::Root, root.bytes().clone()), (RoleName::Targets, targets.bytes().clone())];
        let labels = self.root_keys.iter().chain([&self.targets_key]);
        let labels = labels.filter_map(|key| Some((key.print(), key.label.clone()?)));
        let ask = Ask { holders: labels.collect(), ..ask.clone() };
        let change =
            Proposal { dialect: self.dialect, current: None, documents: documents.into(), files: vec![] };
        let id = match request::put(ports, &request.repository, &ask, change, now).await {
            Err(PublishError::Server(TrustServerError::RequestOver { .. })) => {
                return Err(InitError::Exists { repository: request.repository.clone() });
            }
            id => id?,
        };
        let mut fingerprints: Vec<Fingerprint> = self.root_keys.iter().map(Holding::print).collect();
        fingerprints.sort_unstable();
        self.pin(ports, request, PinnedRoot::Keys { fingerprints, threshold: self.threshold })?;
        Ok(id)
    }

    fn pin(&self, ports: Ports<'_>, request: &Request, root: PinnedRoot) -> Result<(), PinsError> {
        if self.known_pin.is_some() {
            return Ok(());
        }
        let scope = Scope::Repository(request.repository.clone());
        let pin = Pin { scope, mode: request.mode, root, server: None };
        Pins::update(ports.home, |pins| pins.add(pin))
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

    /// Every root key in a certificate for the repository: those of others bring theirs.
    fn certify(
        &self,
        ports: Ports<'_>,
        repository: &RepositoryName,
        secrets: &[SecretKey],
        now: UtcTime,
    ) -> Result<Vec<KeyEntry>, InitError> {
        let entry = |key: &Holding| {
            if let Some(known) = &key.certificate {
                return Ok(KeyEntry::certified(known.clone()));
            }
            let secret = secrets.iter().find(|secret| *secret.public_key() == key.public);
            let secret = secret.ok_or_else(|| InitError::NoCertificate { fingerprint: key.print() })?;
            Ok(certificate::certify(ports.entropy, secret, repository.as_str(), now)?)
        };
        self.root_keys.iter().map(entry).collect()
    }

    /// All keys that are here, so that each proves itself; each asked for once.
    fn unlock(&self, ports: Ports<'_>) -> Result<Vec<SecretKey>, UnlockError> {
        let mut keys: Vec<&StoredKey> = Vec::new();
        for key in self.root_keys.iter().chain([&self.targets_key]).filter_map(|key| key.stored.as_ref()) {
            if !keys.iter().any(|known| known.name == key.name) {
                keys.push(key);
            }
        }
        keys.into_iter().map(|key| signing::open(ports.keys, ports.passphrases, key)).collect()
    }

    fn note_roles(&self, ports: Ports<'_>, repository: &RepositoryName) -> Result<(), KeyStoreError> {
        let note = |key: &Holding, role| match &key.stored {
            Some(stored) => {
                ports.keys.note_role(&stored.name, &HeldRole { repository: repository.clone(), role })
            }
            None => Ok(()),
        };
        self.root_keys.iter().try_for_each(|key| note(key, RoleName::Root))?;
        note(&self.targets_key, RoleName::Targets)
    }
}

/// Notary keeps root keys in certificates, for keys of one kind here, and only who holds a key
/// can make its certificate.
fn require_notary(repository: &RepositoryName, key: &Holding) -> Result<(), InitError> {
    let fingerprint = key.print();
    if key.public.algorithm() != KeyAlgorithm::EcdsaP256 {
        let name = key.stored.as_ref().map_or_else(|| fingerprint.to_string(), |key| key.name.to_string());
        return Err(InitError::LegacyRootKey { name });
    }
    match &key.certificate {
        Some(known) if !known.names(repository) => {
            Err(InitError::OtherCertificate { name: known.common_name().to_owned() })
        }
        None if !key.is_here() => Err(InitError::NoCertificate { fingerprint }),
        _ => Ok(()),
    }
}

fn first_targets(dialect: Dialect, root: &Root, now: UtcTime) -> Targets {
    let expires = now.plus_seconds(lifetimes::targets(dialect));
    TargetsEdit::new(dialect, RoleName::Targets, Version::FIRST, expires)
        .for_repository(root.repository.clone())
        .finish()
}

fn sign(
    dialect: Dialect,
    root: Root,
    targets: Targets,
    secrets: &[SecretKey],
) -> Result<(SignedMetadata<Root>, SignedMetadata<Targets>), InitError> {
    let signers: Vec<&dyn Signer> = secrets.iter().map(|key| key as &dyn Signer).collect();
    let sign_error = |role| move |source| InitError::Sign { role, source };
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
        /// The name, or the fingerprint.
        name: String,
    },
    /// Only the holder of a key can make its certificate.
    #[error("root key {fingerprint} needs a certificate, which only its holder can make")]
    NoCertificate {
        /// The key.
        fingerprint: Fingerprint,
    },
    /// A named key is not here.
    #[error("no key named {name} in this home")]
    NoKey {
        /// The name.
        name: KeyName,
    },
    /// A certificate is for something else.
    #[error("the certificate of a root key is for {name}")]
    OtherCertificate {
        /// What it is for.
        name: String,
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
