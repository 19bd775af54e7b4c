//! From the pin to the newest trusted metadata of a repository (TUF 1.0, 5).
//!
//! The core judges; this file fetches what it wants and keeps what it accepted.

use std::collections::BTreeMap;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits;
use bulla_keys_schema::metadata::{MetaInfo, Root, Timestamp, Version};
use bulla_keys_schema::names::{RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{
    ChainError, Floor, RootChain, RootError, TrustedRoot, TrustedSnapshot, TrustedTimestamp, Verified,
};
use bytes::Bytes;

pub use crate::cache::CacheError;
use crate::cache::{Cache, RepositoryCache, Stored};
use crate::flow::Ports;
use crate::pins::{Mode, Pin, PinnedRoot, Pins, PinsError, Scope};
use crate::port::trust_server::Edition;
use crate::port::{RegistryError, TrustServerError};

/// The second root may be the first that a Notary server has: its clients publish what they
/// began and changed at once.
const SECOND: u64 = 2;

/// What a session is for, and so what it overlooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To rely on what it says: nothing is overlooked.
    Use,
    /// To write what comes next: an expired root is what a new one repairs.
    Change,
    /// To take the online keys away from whoever holds them. Such a thief can raise the versions
    /// of what they sign as high as he likes, and nothing that follows will look new enough: so
    /// what was accepted before does not count here. Nothing is kept either, until the new root
    /// lets every client forget the same (C10).
    Recovery,
}

/// A repository whose root, timestamp and snapshot are trusted now, and the means to get its
/// targets roles.
pub struct Session<'a> {
    ports: Ports<'a>,
    purpose: Purpose,
    cache: RepositoryCache,
    repository: RepositoryName,
    root: Verified<Root>,
    timestamp: Verified<Timestamp>,
    snapshot: TrustedSnapshot,
    now: UtcTime,
    offline: Option<TrustServerError>,
}

impl<'a> Session<'a> {
    /// Refreshes `repository`. While the server is down, what was accepted before serves as
    /// long as it is valid.
    ///
    /// # Errors
    /// See [`RefreshError`]. Whatever was accepted before stays usable (C29).
    pub async fn open(ports: Ports<'a>, repository: &RepositoryName) -> Result<Self, RefreshError> {
        Self::open_to(Purpose::Use, ports, repository).await
    }

    /// Refreshes `repository` as far as `purpose` asks for.
    ///
    /// # Errors
    /// As for [`Self::open`], but for what is overlooked.
    pub async fn open_to(
        purpose: Purpose,
        ports: Ports<'a>,
        repository: &RepositoryName,
    ) -> Result<Self, RefreshError> {
        Self::open_by(purpose, ports, repository, None).await
    }

    /// The same where a policy pins the root as well, or alone. Where this home has a pin too, the
    /// root has to satisfy both.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub async fn open_pinned(
        ports: Ports<'a>,
        repository: &RepositoryName,
        also: Option<&Pin>,
    ) -> Result<Self, RefreshError> {
        Self::open_by(Purpose::Use, ports, repository, also).await
    }

    async fn open_by(
        purpose: Purpose,
        ports: Ports<'a>,
        repository: &RepositoryName,
        also: Option<&Pin>,
    ) -> Result<Self, RefreshError> {
        match Self::refresh(purpose, ports, repository, also).await {
            // Notary's snapshot names the root: a new one came between our questions.
            Err(RefreshError::Chain(ChainError::Mismatch { role: RoleName::Root })) => {
                Self::refresh(purpose, ports, repository, also).await
            }
            refreshed => refreshed,
        }
    }

    async fn refresh(
        purpose: Purpose,
        ports: Ports<'a>,
        repository: &RepositoryName,
        also: Option<&Pin>,
    ) -> Result<Self, RefreshError> {
        let pins = Pins::load(ports.home)?;
        let own = pins.find(repository);
        let is_own = own.is_some();
        let mut pins = own.into_iter().chain(also).cloned();
        let pinned = pins.next().ok_or_else(|| RefreshError::NotPinned { repository: repository.clone() })?;
        let also = pins.next().filter(|also| *also != pinned);
        if also.as_ref().is_some_and(|also| also.mode != pinned.mode) {
            return Err(RefreshError::PinsDiffer { repository: repository.clone(), mode: pinned.mode });
        }
        let cache = Cache::new(ports.home.cache()).open(repository).await?;
        // After the lock: the time of a run that waited is later than that of the run before.
        let now = ports.clock.now();
        let stored = cache.load()?;
        let mut link = Link { ports, purpose, repository, pinned, is_own, also, offline: None };
        let root = link.roots(&cache, &stored, now).await?;
        let verified_root = root.root().clone();
        let timestamp = link.timestamp(&cache, &stored, root, now).await?;
        let verified_timestamp = timestamp.timestamp().clone();
        let snapshot = link.snapshot(&cache, &stored, &verified_root, timestamp).await?;
        Ok(Self {
            ports,
            purpose,
            cache,
            repository: repository.clone(),
            root: verified_root,
            timestamp: verified_timestamp,
            snapshot,
            now,
            offline: link.offline,
        })
    }

    /// The moment at which everything is judged.
    #[must_use]
    pub const fn now(&self) -> UtcTime {
        self.now
    }

    /// Why the server was not asked, if it was not.
    #[must_use]
    pub const fn offline(&self) -> Option<&TrustServerError> {
        self.offline.as_ref()
    }

    /// Gives up the reason, for whoever cannot go on without the server.
    pub const fn take_offline(&mut self) -> Option<TrustServerError> {
        self.offline.take()
    }

    /// The root.
    #[must_use]
    pub const fn root(&self) -> &Verified<Root> {
        &self.root
    }

    /// The timestamp.
    #[must_use]
    pub const fn timestamp(&self) -> &Verified<Timestamp> {
        &self.timestamp
    }

    /// The snapshot with all that led to it.
    #[must_use]
    pub const fn snapshot(&self) -> &TrustedSnapshot {
        &self.snapshot
    }

    /// The bytes of a targets role as the snapshot lists it, from the cache where they still
    /// are those. The caller has them judged, and gives them to [`Self::keep`] after.
    ///
    /// # Errors
    /// The server does not have them, or cannot be reached.
    pub async fn fetch(&self, role: &RoleName, info: &MetaInfo) -> Result<Bytes, RefreshError> {
        if let Some(stored) = self.cache.document(role)?.filter(|bytes| is_listed(bytes, info)) {
            return Ok(stored);
        }
        if let Some(error) = &self.offline {
            return Err(RefreshError::NotCached {
                repository: self.repository.clone(),
                role: role.clone(),
                reason: error.to_string(),
            });
        }
        let found = self.ports.server.metadata(&self.repository, role, edition(&self.root, info)).await?;
        found.ok_or_else(|| ChainError::Missing { role: role.clone() }.into())
    }

    /// The bytes of a target, of which there may be `limit`: from the cache, else from whoever keeps
    /// such bytes in this dialect. Notary's servers keep none, so there the registry has them.
    ///
    /// # Errors
    /// Nobody can be asked, or they answer otherwise than by yes or no.
    pub async fn target(
        &self,
        path: &TargetPath,
        digest: Sha256Digest,
        limit: usize,
    ) -> Result<Option<Bytes>, RefreshError> {
        if let Some(stored) = self.cache.target(digest, limit)? {
            return Ok(Some(stored));
        }
        let found = match self.root.dialect() {
            Dialect::Notary1 => match self.ports.registry.blob(&self.repository, digest, limit).await {
                Err(RegistryError::Unknown { .. }) => None,
                found => Some(found?),
            },
            Dialect::Tuf1 => match &self.offline {
                Some(error) => {
                    return Err(RefreshError::TargetNotCached {
                        repository: self.repository.clone(),
                        path: path.clone(),
                        reason: error.to_string(),
                    });
                }
                None => self.ports.server.target(&self.repository, path, digest, limit).await?,
            },
        };
        let found = found.filter(|bytes| Sha256Digest::of(bytes) == digest);
        if let Some(bytes) = &found {
            self.cache.keep_target(bytes)?;
        }
        Ok(found)
    }

    /// What an earlier run accepted of a targets role.
    ///
    /// # Errors
    /// The cache cannot be read.
    pub fn accepted_before(&self, role: &RoleName) -> Result<Option<Bytes>, RefreshError> {
        Ok(self.cache.document(role)?)
    }

    /// Keeps an accepted document.
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn keep(&self, role: &RoleName, bytes: &Bytes) -> Result<(), RefreshError> {
        if self.purpose != Purpose::Recovery && self.cache.document(role)?.as_ref() != Some(bytes) {
            self.cache.keep(role, bytes)?;
        }
        Ok(())
    }

    /// How fresh what this says is: when the server signed the timestamp, by its own word, and not
    /// after this machine first saw it. Where the server does not say, the latter.
    ///
    /// # Errors
    /// The cache cannot be used.
    pub fn fresh_at(&self) -> Result<UtcTime, RefreshError> {
        let seen = self.cache.first_seen(self.timestamp.bytes(), self.now)?;
        Ok(self.timestamp.payload().signed_at.map_or(seen, |said| said.min(seen)))
    }

    /// Notes that everything needed was accepted, so that a clock set back is noticed (C30).
    ///
    /// # Errors
    /// The cache cannot be written.
    pub fn finish(&self) -> Result<(), RefreshError> {
        Ok(self.cache.keep_time(self.now)?)
    }
}

/// The way to one repository on the server, which may turn out to be closed.
struct Link<'a, 'b> {
    ports: Ports<'a>,
    purpose: Purpose,
    repository: &'b RepositoryName,
    pinned: Pin,
    /// Whether that is a pin of this home.
    is_own: bool,
    /// Another pin that has to hold.
    also: Option<Pin>,
    offline: Option<TrustServerError>,
}

impl Link<'_, '_> {
    /// Asks the server, unless it was found to be down.
    async fn ask(&mut self, role: &RoleName, edition: Edition<'_>) -> Result<Option<Bytes>, RefreshError> {
        if self.offline.is_some() {
            return Ok(None);
        }
        match self.ports.server.metadata(self.repository, role, edition).await {
            Err(error) if error.is_unclear() || matches!(error, TrustServerError::NotConfigured) => {
                self.offline = Some(error);
                Ok(None)
            }
            answer => Ok(answer?),
        }
    }

    /// The chain from the pinned root to the newest one (C2 to C9). New roots are kept only
    /// when their chain ended well, or a rotation of online keys could be noticed in a run
    /// that fails and be forgotten in the next (C10).
    async fn roots(
        &mut self,
        cache: &RepositoryCache,
        stored: &Stored,
        now: UtcTime,
    ) -> Result<TrustedRoot, RefreshError> {
        let mut new = Vec::new();
        let mut chain = match stored_chain(&self.pinned, self.repository, stored.roots.values(), |_| ()) {
            Some(chain) => chain,
            // Only the owner of this home says that another root is meant from now on. A policy that does
            // would make the home forget what it has seen, and a server could go back.
            None if !self.is_own && stored.roots.values().any(Self::is_sound) => {
                let (repository, pinned) = (self.repository.clone(), self.pinned.root.clone());
                return Err(RefreshError::OtherChain { repository, pinned });
            }
            None => {
                let chain = self.fetch_anchor(&self.pinned.clone()).await?;
                new.push(chain.latest().clone());
                chain
            }
        };
        while let Some(version) = chain.wanted() {
            let Some(bytes) = self.ask(&RoleName::Root, Edition::Version(version)).await? else { break };
            chain.step(bytes)?;
            new.push(chain.latest().clone());
        }
        if self.purpose == Purpose::Recovery && new.is_empty() {
            self.require_shown(chain.latest()).await?;
        }
        if let Some(pin) = self.also.clone() {
            let older = self.require_also(&pin, stored, &new, chain.latest()).await?;
            new.splice(..0, older);
        }
        let ended = match self.purpose {
            Purpose::Use => chain.finish(now, stored.last_accepted),
            Purpose::Change | Purpose::Recovery => chain.finish_to_succeed(now, stored.last_accepted),
        };
        let trusted = ended.map_err(|error| self.refused(error.into()))?;
        let floor = trusted.floor(stored.timestamp.clone(), stored.snapshot.clone());
        if !new.is_empty() && floor.timestamp_version().is_none() {
            cache.forget_online()?;
        }
        for root in &new {
            cache.keep_root(root.version(), root.bytes())?;
        }
        Ok(trusted)
    }

    /// The other pin leads to the same root: along the roots that are here, or along older ones of
    /// the server, which are returned.
    async fn require_also(
        &mut self,
        pin: &Pin,
        stored: &Stored,
        new: &[Verified<Root>],
        latest: &Verified<Root>,
    ) -> Result<Vec<Verified<Root>>, RefreshError> {
        let mut here: BTreeMap<Version, &Bytes> = stored.roots.iter().map(|(at, root)| (*at, root)).collect();
        here.extend(new.iter().map(|root| (root.version(), root.bytes())));
        let ends = stored_chain(pin, self.repository, here.into_values(), |_| ());
        if ends.is_some_and(|chain| chain.latest().bytes() == latest.bytes()) {
            return Ok(vec![]);
        }
        let mut chain = self.fetch_anchor(pin).await?;
        let mut older = vec![chain.latest().clone()];
        while chain.latest().version() < latest.version() {
            let version = chain.wanted().ok_or(RootError::TooLong)?;
            let Some(bytes) = self.ask(&RoleName::Root, Edition::Version(version)).await? else { break };
            chain.step(bytes)?;
            older.push(chain.latest().clone());
        }
        if chain.latest().bytes() == latest.bytes() {
            return Ok(older);
        }
        let (repository, pinned) = (self.repository.clone(), pin.root.clone());
        Err(self.refused(RefreshError::OtherChain { repository, pinned }))
    }

    /// A server that was put back to an older root takes nothing that builds on the newest.
    async fn require_shown(&mut self, latest: &Verified<Root>) -> Result<(), RefreshError> {
        let version = latest.version();
        let shown = self.ask(&RoleName::Root, Edition::Version(version)).await?;
        if self.offline.is_some() || shown.as_ref() == Some(latest.bytes()) {
            return Ok(());
        }
        Err(RefreshError::LostRoot { repository: self.repository.clone(), version })
    }

    /// How the repository's metadata is written, as the pin says: never read off what a server
    /// sends (C32).
    const fn dialect(&self) -> Dialect {
        self.pinned.mode.dialect()
    }

    /// Whether that is a root at all, whoever trusts it: a damaged file must not lock anybody out (C29).
    fn is_sound(root: &Bytes) -> bool {
        let itself = PinnedRoot::Document(Sha256Digest::of(root)).to_core();
        [Dialect::Tuf1, Dialect::Notary1]
            .into_iter()
            .any(|dialect| RootChain::start(dialect, root.clone(), &itself).is_ok())
    }

    fn may_begin_after(&self, version: Version) -> bool {
        self.dialect() == Dialect::Notary1 && version.get() < SECOND && self.offline.is_none()
    }

    /// The oldest root of the server that satisfies the pin.
    async fn fetch_anchor(&mut self, pin: &Pin) -> Result<RootChain, RefreshError> {
        let mut wanted = Some(Version::FIRST);
        let mut refused = None;
        for _ in 0..limits::ROOT_STEPS {
            let Some(version) = wanted else { break };
            let root = self.ask(&RoleName::Root, Edition::Version(version)).await?;
            match root.map(|root| anchor(pin, self.repository, root)) {
                Some(Ok(chain)) => return Ok(chain),
                Some(Err(error)) => refused = refused.or(Some(error)),
                None if self.may_begin_after(version) => {}
                None => break,
            }
            wanted = version.next();
        }
        if let Some(error) = self.offline.take() {
            return Err(error.into());
        }
        let repository = self.repository.clone();
        Err(match refused {
            Some(source) => RefreshError::PinNotMet { repository, pinned: pin.root.clone(), source },
            None => RefreshError::UnknownRepository { repository },
        })
    }

    async fn timestamp(
        &mut self,
        cache: &RepositoryCache,
        stored: &Stored,
        root: TrustedRoot,
        now: UtcTime,
    ) -> Result<TrustedTimestamp, RefreshError> {
        let mut floor = match self.purpose {
            Purpose::Recovery => Floor::none(),
            Purpose::Use | Purpose::Change => root.floor(stored.timestamp.clone(), stored.snapshot.clone()),
        };
        if self.dialect() == Dialect::Notary1 {
            floor = floor.with_targets(cache.targets()?);
        }
        let fetched = self.ask(&RoleName::Timestamp, Edition::Current).await?;
        let timestamp = match fetched {
            Some(bytes) => root.timestamp(floor, bytes)?,
            None if self.offline.is_some() => {
                root.stored_timestamp(floor).map_err(|error| self.refused(error.into()))?
            }
            None => return Err(RefreshError::UnknownRepository { repository: self.repository.clone() }),
        };
        if timestamp.is_new() && self.purpose != Purpose::Recovery {
            cache.keep(&RoleName::Timestamp, timestamp.timestamp().bytes())?;
            cache.first_seen(timestamp.timestamp().bytes(), now)?;
        }
        Ok(timestamp)
    }

    async fn snapshot(
        &mut self,
        cache: &RepositoryCache,
        stored: &Stored,
        root: &Verified<Root>,
        timestamp: TrustedTimestamp,
    ) -> Result<TrustedSnapshot, RefreshError> {
        let role = RoleName::Snapshot;
        if let Some(bytes) = stored.snapshot.clone().filter(|bytes| is_listed(bytes, timestamp.wanted())) {
            return timestamp.snapshot(bytes).map_err(|error| self.refused(error.into()));
        }
        let Some(bytes) = self.ask(&role, edition(root, timestamp.wanted())).await? else {
            return Err(self.refused(ChainError::Missing { role }.into()));
        };
        let snapshot = timestamp.snapshot(bytes)?;
        if self.purpose != Purpose::Recovery {
            cache.keep(&role, snapshot.snapshot().bytes())?;
        }
        Ok(snapshot)
    }

    /// While the server is down, the way out of a refusal is the server.
    fn refused(&mut self, refusal: RefreshError) -> RefreshError {
        match self.offline.take() {
            Some(error) => RefreshError::Offline {
                repository: self.repository.clone(),
                error: Box::new(error),
                refusal: Box::new(refusal),
            },
            None => refusal,
        }
    }
}

/// A chain that starts at `root`, if that is the pinned one, and made for this repository.
/// A pin for many repositories cannot tell them apart, so the root itself has to.
fn anchor(pin: &Pin, repository: &RepositoryName, root: Bytes) -> Result<RootChain, RootError> {
    let for_many = matches!(pin.scope, Scope::Below(_));
    RootChain::start(pin.mode.dialect(), root, &pin.root.to_core())?.require_repository(repository, for_many)
}

/// The chain through `roots`, oldest first, from the first that satisfies the pin, as far as it
/// holds: a damaged file must not lock its owner out (C29). `each` sees every root of it.
pub(super) fn stored_chain<'a>(
    pin: &Pin,
    repository: &RepositoryName,
    mut roots: impl Iterator<Item = &'a Bytes>,
    mut each: impl FnMut(&Verified<Root>),
) -> Option<RootChain> {
    let mut chain = roots.find_map(|bytes| anchor(pin, repository, bytes.clone()).ok())?;
    each(chain.latest());
    for bytes in roots {
        if chain.step(bytes.clone()).is_err() {
            break;
        }
        each(chain.latest());
        if chain.wanted().is_none() {
            chain.mark_stored();
        }
    }
    chain.mark_stored();
    Some(chain)
}

/// Repositories without consistent snapshots keep one file per role (C11). Notary's say that
/// they have none, and serve every document by its digest all the same.
fn edition<'a>(root: &Verified<Root>, listed: &'a MetaInfo) -> Edition<'a> {
    match root.dialect() {
        Dialect::Tuf1 if !root.payload().consistent_snapshot => Edition::Current,
        Dialect::Tuf1 | Dialect::Notary1 => Edition::Listed(listed),
    }
}

/// Whether stored bytes are those that are listed. Without digests nothing tells, and they
/// are fetched again.
fn is_listed(bytes: &Bytes, info: &MetaInfo) -> bool {
    info.hashes.as_ref().is_some_and(|hashes| hashes.match_bytes(bytes))
}

/// Why there is no trusted state of a repository.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// The cache cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The metadata after the root cannot be trusted.
    #[error("{0}")]
    Chain(#[from] ChainError),
    /// The server was put back to a state before this root, or shows another in its place.
    #[error(
        "the trust server does not have root version {version} of {repository}, which this home has seen"
    )]
    LostRoot {
        /// The repository.
        repository: RepositoryName,
        /// The newest version that was accepted.
        version: Version,
    },
    /// The role is needed, the server is down, and it was never seen.
    #[error("{reason}, and {role} of {repository} is not in the cache")]
    NotCached {
        /// The repository.
        repository: RepositoryName,
        /// The role.
        role: RoleName,
        /// Why the server was not asked.
        reason: String,
    },
    /// The bytes are needed, the server is down, and they were never seen.
    #[error("{reason}, and {path} of {repository} is not in the cache")]
    TargetNotCached {
        /// The repository.
        repository: RepositoryName,
        /// The name of the target.
        path: TargetPath,
        /// Why the server was not asked.
        reason: String,
    },
    /// Nothing says whom to trust.
    #[error("{repository} is not pinned: nothing says which root keys to trust")]
    NotPinned {
        /// The repository.
        repository: RepositoryName,
    },
    /// The server is down, and what was accepted before does not serve any more.
    #[error("{error}, and the cached metadata of {repository} cannot stand in for it: {refusal}")]
    Offline {
        /// The repository.
        repository: RepositoryName,
        /// Why the server was not asked.
        error: Box<TrustServerError>,
        /// What is wrong with the cached metadata.
        refusal: Box<Self>,
    },
    /// The root that the home's pin leads to is none that the policy's pin leads to.
    #[error("the root of {repository} is not one that {pinned} lead to, as the policy demands")]
    OtherChain {
        /// The repository.
        repository: RepositoryName,
        /// What the policy pins.
        pinned: PinnedRoot,
    },
    /// The policy says another way of writing than the home.
    #[error("{repository} is pinned as {mode} here, and otherwise by the policy")]
    PinsDiffer {
        /// The repository.
        repository: RepositoryName,
        /// What the home says.
        mode: Mode,
    },
    /// The server's root is not the pinned one.
    #[error("{repository} is pinned to {pinned}, which the server's root does not satisfy: {source}")]
    PinNotMet {
        /// The repository.
        repository: RepositoryName,
        /// What was pinned.
        pinned: PinnedRoot,
        /// Why.
        source: RootError,
    },
    /// The pins cannot be read.
    #[error(transparent)]
    Pins(#[from] PinsError),
    /// The registry refused or misbehaved.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The chain of roots cannot be followed.
    #[error("{0}")]
    Root(#[from] RootError),
    /// The server refused or misbehaved.
    #[error(transparent)]
    Server(#[from] TrustServerError),
    /// The server has no such repository, or does not show it to us.
    #[error("the trust server has no metadata for {repository}, or does not show it to us")]
    UnknownRepository {
        /// The repository.
        repository: RepositoryName,
    },
}
