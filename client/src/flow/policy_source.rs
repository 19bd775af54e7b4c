//! A policy that others publish: found as every TUF client finds a target, read strictly, and never an
//! older one than this home has used.
//!
//! Its repository has to be pinned in this home. A policy says whom to trust, so nothing may come before
//! it but what somebody typed here.

use std::fmt;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits::POLICY_BYTES;
use bulla_keys_schema::metadata::{TargetInfo, Targets};
use bulla_keys_schema::names::{RepositoryName, RoleName, TargetPath};
use bulla_keys_schema::policy::{
    Backwards, CheckId, InvalidPublished, PolicyError, PolicyName, PublishedPolicy, Verdict, is_for_policies,
};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::{ChainError, Step, WalkError};
use bytes::Bytes;

use crate::flow::Ports;
use crate::flow::refresh::{RefreshError, Session};
use crate::flow::verdict::standing;
use crate::flow::vouching::Repository;
use crate::pins::{Mode, Pins, RaiseError, UsedPolicies, UsedPoliciesError};

/// Where a policy is published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySource {
    /// The repository.
    pub repository: RepositoryName,
    /// The name there.
    pub name: PolicyName,
}

impl fmt::Display for PolicySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.repository, self.name)
    }
}

/// A published policy that may be used now.
#[derive(Clone, Debug)]
pub struct FoundPolicy {
    /// What it says, and which edition it is.
    pub published: PublishedPolicy,
    /// Its bytes.
    pub bytes: Bytes,
    /// The role that lists it.
    pub role: RoleName,
    /// When it was published, in the words of whoever did.
    pub signed_at: Option<UtcTime>,
    /// Until when the metadata that leads to it can be used.
    pub valid_until: UtcTime,
    /// Why the trust server was not asked, if it was not.
    pub offline: Option<String>,
}

/// Gets a policy, and notes that it is used.
///
/// # Errors
/// See [`SourceError`]. There is no use of a policy that is not beyond doubt, and none without it.
pub async fn fetch(ports: Ports<'_>, source: &PolicySource) -> Result<FoundPolicy, SourceError> {
    find(ports, source).await.map_err(|reason| SourceError { policy: source.clone(), reason })
}

async fn find(ports: Ports<'_>, source: &PolicySource) -> Result<FoundPolicy, Unusable> {
    let PolicySource { repository: name, name: policy } = source;
    let known = UsedPolicies::load(ports.home)?.find(name, policy);
    if is_legacy(ports, name)? {
        return Err(Unusable::Legacy);
    }
    let session = Session::open(ports, name).await?;
    if session.root().dialect() == Dialect::Notary1 {
        return Err(Unusable::Legacy);
    }
    let repository = Repository::open(session, name).await?;
    let path = policy.to_target_path();
    let Some(listed) = search(&repository, &path).await? else {
        return Err(
            known.map_or(Unusable::NotPublished, |known| Unusable::Withdrawn { version: known.version })
        );
    };
    require_role(&repository, &path, &listed).await?;
    let bytes = bytes(&repository, &path, &listed.info).await?;
    let published = PublishedPolicy::read(&bytes)?;
    UsedPolicies::raise(ports.home, name, policy, published.edition)?;
    repository.finish()?;
    Ok(FoundPolicy {
        published,
        bytes,
        role: listed.role,
        signed_at: listed.info.signed_at(),
        valid_until: listed.expires,
        offline: repository.session().offline().map(ToString::to_string),
    })
}

/// Demands that a role lists it that the admin lets speak for policies alone, and that it does so under
/// the keys that the admin gave it: a role that delegates further could use the same name for its own.
async fn require_role(
    repository: &Repository<'_>,
    path: &TargetPath,
    listed: &Listed,
) -> Result<(), Unusable> {
    let refused = || Unusable::Role { role: listed.role.clone() };
    if !speaks_for_policies(&listed.role, repository.targets()) {
        return Err(refused());
    }
    let RoleName::Delegated(name) = &listed.role else { return Ok(()) };
    let delegation = repository.targets().delegation(name).ok_or_else(refused)?;
    let document = repository.role(delegation).await?;
    let entry = document.payload().targets.get(path.as_str());
    entry.filter(|entry| **entry == listed.info).map(|_| ()).ok_or_else(refused)
}

/// Whether the pin says that a repository is of the legacy kind, whose servers keep no bytes of targets:
/// nobody is asked.
///
/// # Errors
/// The pins cannot be read.
pub(super) fn is_legacy(ports: Ports<'_>, repository: &RepositoryName) -> Result<bool, RefreshError> {
    Ok(Pins::load(ports.home)?.find(repository).is_some_and(|pin| pin.mode == Mode::Legacy))
}

/// Whether a role may say which policy there is: the admin, or one that the admin lets speak for policies
/// and for nothing else.
#[must_use]
pub(super) fn speaks_for_policies(role: &RoleName, targets: &Targets) -> bool {
    match role {
        RoleName::Targets => true,
        RoleName::Delegated(name) => {
            targets.delegation(name).is_some_and(|role| is_for_policies(&role.scope))
        }
        _ => false,
    }
}

/// An entry, and who lists it.
struct Listed {
    role: RoleName,
    info: TargetInfo,
    /// Until when the documents that lead to it can be used.
    expires: UtcTime,
}

/// The search of the TUF specification: the first role that lists the path decides.
async fn search(repository: &Repository<'_>, path: &TargetPath) -> Result<Option<Listed>, Unusable> {
    let session = repository.session();
    let mut walk = repository.search(path.clone());
    let mut expires = repository.listed_until();
    loop {
        match walk.step() {
            Ok(Step::NotFound) => return Ok(None),
            Ok(Step::Found(found)) => {
                return Ok(Some(Listed { role: found.role, info: found.info, expires }));
            }
            Ok(Step::Fetch(need)) => {
                let role = RoleName::Delegated(need.role);
                let document = walk.supply(session.fetch(&role, &need.info).await?)?;
                session.keep(&role, document.bytes())?;
                expires = expires.min(document.expires());
            }
            // The role that would come next has said nothing yet, and nobody looks behind it.
            Err(WalkError::Chain(ChainError::Missing { .. })) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The listed bytes, all digests of them checked.
async fn bytes(repository: &Repository<'_>, path: &TargetPath, info: &TargetInfo) -> Result<Bytes, Unusable> {
    let digest = info.hashes.as_sha256().ok_or(Unusable::NoDigest)?;
    let length = usize::try_from(info.length).ok().filter(|length| *length <= POLICY_BYTES);
    let length = length.ok_or(InvalidPublished::Policy(PolicyError::TooLarge))?;
    let found = repository.session().target(path, digest, length).await?;
    let is_listed = |bytes: &Bytes| bytes.len() == length && info.hashes.match_bytes(bytes);
    found.filter(is_listed).ok_or(Unusable::Withheld { digest })
}

/// A published policy cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the policy {policy} cannot be used: {reason}")]
pub struct SourceError {
    /// Where it is published.
    pub policy: PolicySource,
    /// Why it cannot be used.
    pub reason: Unusable,
}

impl SourceError {
    /// The verdict on whatever image was to be judged by it: nothing where it is this home that fails.
    #[must_use]
    pub fn verdict(&self) -> Option<Verdict> {
        let check = self.reason.check()?;
        Some(Verdict::refused_by(&self.policy.to_string(), check, &self.to_string()))
    }
}

/// Why a published policy cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// It would be a step back.
    #[error("{0}, which this home has used")]
    Backwards(Backwards),
    /// Not a policy that this program reads.
    #[error(transparent)]
    Invalid(#[from] InvalidPublished),
    /// Its repository keeps no files.
    #[error("a legacy repository keeps no policies")]
    Legacy,
    /// Nothing to hash it against.
    #[error("it is listed without a SHA-256 digest")]
    NoDigest,
    /// Nobody lists it.
    #[error("no policy of that name is published")]
    NotPublished,
    /// What was used here cannot be noted.
    #[error(transparent)]
    Record(#[from] UsedPoliciesError),
    /// The metadata of its repository cannot be had or trusted.
    #[error(transparent)]
    Refresh(#[from] RefreshError),
    /// Listed by somebody who speaks for more than policies.
    #[error("{role} lists it, which speaks for more than policies")]
    Role {
        /// Who.
        role: RoleName,
    },
    /// The search cannot be finished, or found what was revoked.
    #[error(transparent)]
    Search(#[from] WalkError),
    /// Listed, and nobody gives it out.
    #[error("the trust server does not give out the bytes that are listed, {}", digest.to_oci())]
    Withheld {
        /// What they hash to.
        digest: Sha256Digest,
    },
    /// It was used here, and nobody lists it any more.
    #[error("nobody lists it any more, and this home has used version {version}")]
    Withdrawn {
        /// The last version that was used.
        version: u64,
    },
}

impl Unusable {
    /// The check that fails by it; nothing where it is this home that fails.
    #[must_use]
    pub fn check(&self) -> Option<CheckId> {
        Some(match self {
            Self::Backwards(_) | Self::Withdrawn { .. } => CheckId::MetaRollback,
            Self::Invalid(_) | Self::Legacy | Self::NoDigest | Self::NotPublished | Self::Role { .. } => {
                CheckId::PolicyError
            }
            Self::Record(_) => return None,
            Self::Refresh(error) => return standing::refresh(error),
            Self::Search(WalkError::Chain(error)) => standing::chain(error),
            Self::Search(WalkError::Denied { .. }) => CheckId::RevokedDigest,
            Self::Search(WalkError::NothingWanted | WalkError::TooManyRoles { .. }) => CheckId::MetaRollback,
            Self::Withheld { .. } => CheckId::TrustNoData,
        })
    }
}

impl From<RaiseError> for Unusable {
    fn from(error: RaiseError) -> Self {
        match error {
            RaiseError::Backwards(why) => Self::Backwards(why),
            RaiseError::Record(error) => Self::Record(error),
        }
    }
}
