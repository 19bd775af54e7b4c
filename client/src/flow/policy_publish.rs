//! Publish a policy: read it as everybody will, compare it with what is published and with what this home
//! has used, list it, and publish document and bytes together.

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::limits::POLICY_BYTES;
use bulla_keys_schema::metadata::{DelegatedRole, TargetInfo, Targets};
use bulla_keys_schema::names::{RoleName, SignerName, TargetPath};
use bulla_keys_schema::policy::{
    Backwards, Edition, InvalidPublished, PublishedPolicy, Succession, hinted_version, is_for_policies,
};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bytes::Bytes;

use crate::flow::layout::Signers;
use crate::flow::policy_source::{PolicySource, is_legacy, speaks_for_policies};
use crate::flow::publish::{self, Edit, Edited, How, PublishError, Published};
use crate::flow::refresh::{Purpose, RefreshError, Session};
use crate::flow::sign::{Listing, SignError, authority, choose_signer, repository_authority, role_name};
use crate::flow::signing::{KeyRing, TooFewKeys};
use crate::flow::{Ports, current};
use crate::pins::{RaiseError, UsedPolicies, UsedPoliciesError};

/// How often it is looked anew at what is published, because somebody else published meanwhile.
const ROUNDS: u32 = 5;

/// What to publish, where, and as whom.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where.
    pub source: PolicySource,
    /// The file, which is kept as it is.
    pub bytes: Bytes,
    /// Who publishes, where this home holds keys of several.
    pub signer: Option<SignerName>,
    /// What to do with the change.
    pub how: How,
}

/// What was published.
#[derive(Clone, Debug)]
pub struct PublishedNow {
    /// Which edition it is.
    pub edition: Edition,
    /// The name that the policy gives itself.
    pub title: String,
    /// The role that lists it.
    pub role: RoleName,
    /// The version that was published before, where it can be told.
    pub before: Option<u64>,
    /// The documents and keys; nothing where these bytes are published already.
    pub published: Option<Published>,
}

/// Publishes a policy.
///
/// # Errors
/// See [`PolicyPublishError`].
pub async fn publish(ports: Ports<'_>, request: &Request) -> Result<PublishedNow, PolicyPublishError> {
    let policy = PublishedPolicy::read(&request.bytes)?;
    let PolicySource { repository, name } = &request.source;
    if is_legacy(ports, repository).map_err(PublishError::from)? {
        return Err(PolicyPublishError::Legacy);
    }
    if let Some(used) = UsedPolicies::load(ports.home)?.find(repository, name) {
        policy.edition.follow(&used).map_err(|why| PolicyPublishError::Backwards { why, by: "used here" })?;
    }
    for _ in 0..ROUNDS {
        let current = Current::read(ports, &request.source).await?;
        match publish_after(ports, request, &policy, current.as_ref()).await {
            Err(PolicyPublishError::Changed) => {}
            Ok(published) => {
                let is_there = published.published.as_ref().is_none_or(|published| published.done);
                if is_there && !request.how.is_dry_run() {
                    UsedPolicies::raise(ports.home, repository, name, policy.edition)?;
                }
                return Ok(published);
            }
            refused => return refused,
        }
    }
    Err(PolicyPublishError::Changed)
}

async fn publish_after(
    ports: Ports<'_>,
    request: &Request,
    policy: &PublishedPolicy,
    current: Option<&Current>,
) -> Result<PublishedNow, PolicyPublishError> {
    let mut now = PublishedNow {
        edition: policy.edition,
        title: policy.policy.name().to_owned(),
        role: RoleName::Targets,
        before: current.and_then(|current| current.version),
        published: None,
    };
    if let Some(current) = current
        && current.follows(policy.edition)? == Succession::Same
    {
        now.role = current.role.clone();
        return Ok(now);
    }
    let path = request.source.name.to_target_path();
    let plan = |state: &CurrentState, ring: &KeyRing<'_>, at: UtcTime| {
        let listed = listed(state, &path);
        if listed != current.map(|current| (current.role.clone(), &current.info)) {
            return Err(PolicyPublishError::Changed);
        }
        let mut edited = edit(state, ring, at, request, current.map(|current| &current.role))?;
        now.role = edited.role.clone();
        let entry = policy.entry(&request.source.name, request.bytes.len() as u64, at);
        edited.document.revoked.remove(&path);
        edited.document.targets.insert(path.as_str().to_owned(), entry);
        Ok(Edit { documents: vec![edited], files: vec![request.bytes.clone()], ..Edit::default() })
    };
    let published = publish::publish(ports, &request.source.repository, request.how.clone(), plan).await?;
    now.published = Some(published);
    Ok(now)
}

/// What is published now.
struct Current {
    role: RoleName,
    info: TargetInfo,
    /// The version that its file says, or its entry where nobody can read the file.
    version: Option<u64>,
}

impl Current {
    async fn read(ports: Ports<'_>, source: &PolicySource) -> Result<Option<Self>, PolicyPublishError> {
        let failed = |error: RefreshError| PolicyPublishError::from(PublishError::from(error));
        // Whoever publishes repairs what is expired.
        let session = Session::open_to(Purpose::Change, ports, &source.repository).await.map_err(failed)?;
        if session.root().dialect() == Dialect::Notary1 {
            return Err(PolicyPublishError::Legacy);
        }
        let state = current::load(&session).await.map_err(failed)?;
        let path = source.name.to_target_path();
        let Some((role, info)) = listed(&state, &path) else { return Ok(None) };
        let bytes = match info.hashes.as_sha256() {
            Some(digest) => session.target(&path, digest, POLICY_BYTES).await.map_err(failed)?,
            None => None,
        };
        let read = bytes.and_then(|bytes| PublishedPolicy::read(&bytes).ok());
        let version = read.map(|read| read.edition.version).or_else(|| hinted_version(info));
        Ok(Some(Self { role, info: info.clone(), version }))
    }

    /// Whether `next` may take its place.
    fn follows(&self, next: Edition) -> Result<Succession, PolicyPublishError> {
        let digest: Option<Sha256Digest> = self.info.hashes.as_sha256();
        match (self.version, digest) {
            (_, Some(digest)) if digest == next.digest => Ok(Succession::Same),
            (Some(version), Some(digest)) => next
                .follow(&Edition { version, digest })
                .map_err(|why| PolicyPublishError::Backwards { why, by: "published" }),
            // Nothing that anybody could use: whatever comes is better.
            _ => Ok(Succession::Newer),
        }
    }
}

/// Who lists the policy now: the admin, else the first delegated role that may. Documents may be expired.
fn listed<'s>(state: &'s CurrentState, path: &TargetPath) -> Option<(RoleName, &'s TargetInfo)> {
    let targets = state.targets().payload();
    let entry = |document: &'s Targets| document.targets.get(path.as_str());
    if let Some(info) = entry(targets) {
        return Some((RoleName::Targets, info));
    }
    Signers::of(targets)?.for_path(path).find_map(|role| {
        let document = state.delegated().get(&role.name)?;
        Some((role_name(role), entry(document.payload())?))
    })
}

/// The next document of whoever publishes.
fn edit(
    state: &CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    request: &Request,
    lists_now: Option<&RoleName>,
) -> Result<Edited, PolicyPublishError> {
    let listing = Listing { state, now, entries: &[] };
    let role = publisher(state, ring, now, request, lists_now)?;
    let edited = match role {
        None => listing.at_top(),
        Some((signers, role)) => listing.delegated(&signers, role),
    };
    Ok(edited.map_err(Box::new)?)
}

type Publisher<'a> = Option<(Signers<'a>, &'a DelegatedRole)>;

/// Who publishes; nobody but the admin where it is `None`. Whoever lists it now goes on: another entry
/// would either be overruled by that one, or make two that clients could disagree on.
fn publisher<'a>(
    state: &'a CurrentState,
    ring: &KeyRing<'_>,
    now: UtcTime,
    request: &Request,
    lists_now: Option<&RoleName>,
) -> Result<Publisher<'a>, PolicyPublishError> {
    let targets = state.targets().payload();
    let path = request.source.name.to_target_path();
    let signers = Signers::of(targets);
    let wanted = request.signer.as_ref();
    if let Some(other) = lists_now.filter(|role| {
        wanted.is_some_and(|name| role.as_str() != name.as_str()) || !speaks_for_policies(role, targets)
    }) {
        return Err(PolicyPublishError::OtherPublisher { role: other.clone() });
    }
    let named = wanted.cloned().or_else(|| match lists_now {
        Some(RoleName::Delegated(name)) => name.as_str().parse().ok(),
        _ => None,
    });
    let Some(signers) = signers.filter(|_| named.is_some() || lists_now.is_none()) else {
        return match named {
            Some(name) => Err(SignError::UnknownSigner { name }.into()),
            None => Ok(None),
        };
    };
    if let Some(name) = &named {
        let role = choose_signer(&signers, ring, now, &path, Some(name));
        let may_not = || PolicyPublishError::MayNotPublish { name: name.clone() };
        return match role {
            Err(SignError::OutOfScope { .. }) => Err(may_not()),
            Ok(role) if !is_for_policies(&role.scope) => Err(may_not()),
            role => Ok(Some((signers, role.map_err(Box::new)?))),
        };
    }
    choose(state, &signers, ring, now, &path).map(|role| role.map(|role| (signers, role)))
}

/// The only role for policies whose keys are here, else the admin.
fn choose<'a>(
    state: &CurrentState,
    signers: &Signers<'a>,
    ring: &KeyRing<'_>,
    now: UtcTime,
    path: &TargetPath,
) -> Result<Option<&'a DelegatedRole>, PolicyPublishError> {
    let none = std::collections::BTreeSet::new();
    let (mut able, mut unable) = (vec![], vec![]);
    for role in signers.for_path(path).filter(|role| is_for_policies(&role.scope) && !role.is_over(now)) {
        match ring.choose(&role_name(role), &authority(signers, role), &none) {
            Ok(_) => able.push(role),
            Err(error) => unable.push(error),
        }
    }
    match able.as_slice() {
        [only] => Ok(Some(only)),
        [] => match ring.choose(&RoleName::Targets, &repository_authority(state), &none) {
            Ok(_) => Ok(None),
            Err(error) => {
                unable.push(error);
                Err(PolicyPublishError::NoPublisher { unable })
            }
        },
        several => {
            let names = several.iter().map(|role| role.name.to_string()).collect();
            Err(PolicyPublishError::SeveralPublishers { names })
        }
    }
}

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PolicyPublishError {
    /// It would be a step back.
    #[error("{why}, which is {by}")]
    Backwards {
        /// In what way.
        why: Backwards,
        /// Where the later edition is known from.
        by: &'static str,
    },
    /// Somebody else published it, again and again.
    #[error("somebody else published this policy meanwhile")]
    Changed,
    /// No policy, or one without a version.
    #[error(transparent)]
    Invalid(#[from] InvalidPublished),
    /// Its server would keep no bytes.
    #[error("a legacy repository keeps no policies")]
    Legacy,
    /// The role speaks for other names, or for more than policies.
    #[error("{name} may not publish policies under that name, or speaks for more than policies")]
    MayNotPublish {
        /// The role.
        name: SignerName,
    },
    /// No key of this home may publish.
    #[error("no key here may publish policies: {}", list(unable))]
    NoPublisher {
        /// What each role in question lacks.
        unable: Vec<TooFewKeys>,
    },
    /// Another role lists it, and decides.
    #[error("{role} lists this policy already, and so decides what it says")]
    OtherPublisher {
        /// Which.
        role: RoleName,
    },
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// What was used here is not known, or cannot be noted.
    #[error(transparent)]
    Record(#[from] UsedPoliciesError),
    /// Who publishes is not clear.
    #[error("keys of several roles that publish policies are here: {}", names.join(", "))]
    SeveralPublishers {
        /// Their names.
        names: Vec<String>,
    },
    /// Who publishes has no right to, or no document can follow.
    #[error(transparent)]
    Sign(#[from] Box<SignError>),
    /// Published; but meanwhile a later edition was used here.
    #[error("published, but this home has used a later one meanwhile: {0}")]
    Overtaken(Backwards),
}

impl From<SignError> for PolicyPublishError {
    fn from(error: SignError) -> Self {
        Self::Sign(Box::new(error))
    }
}

impl From<RaiseError> for PolicyPublishError {
    fn from(error: RaiseError) -> Self {
        match error {
            RaiseError::Backwards(why) => Self::Overtaken(why),
            RaiseError::Record(error) => Self::Record(error),
        }
    }
}

fn list(unable: &[TooFewKeys]) -> String {
    let each: Vec<String> = unable.iter().map(ToString::to_string).collect();
    each.join("; ")
}
