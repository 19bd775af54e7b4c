//! Inspect: the whole state of a repository for people, expired parts included.

use bulla_keys_schema::attest::AttestationPath;
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::{Fingerprint, KeyId};
use bulla_keys_schema::metadata::{
    DelegatedRole, Denial, DenyList, KeyTable, RoleKeys, Scope, TargetInfo, Threshold, TopLevelRole, Version,
};
use bulla_keys_schema::names::{RELEASES, RepositoryName, RoleName, Tag};
use bulla_keys_schema::policy::PolicyName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::ChainError;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::layout::{self, Layout, Signers};
use crate::flow::refresh::{RefreshError, Session};
use crate::flow::sign::role_name;
use crate::flow::verify::KeyHolder;
use crate::flow::vouching::holders;
use crate::flow::{Ports, current};

/// A repository at one moment.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The repository.
    pub repository: RepositoryName,
    /// How its metadata is written.
    pub dialect: Dialect,
    /// The digest of the newest root.
    pub root_digest: Sha256Digest,
    /// Root, targets, snapshot, timestamp, then `releases` and the signers.
    pub roles: Vec<RoleState>,
    /// Signers, in the order of their delegations.
    pub signers: Vec<SignerState>,
    /// What is listed.
    pub tags: Vec<TagState>,
    /// Digests that nobody may sign.
    pub denied: Vec<DeniedState>,
    /// The moment it was judged at.
    pub now: UtcTime,
    /// Why the trust server was not asked, if it was not.
    pub offline: Option<String>,
}

/// One role.
#[derive(Clone, Debug)]
pub struct RoleState {
    /// Its name.
    pub role: RoleName,
    /// Its version.
    pub version: Version,
    /// When it expires.
    pub expires: UtcTime,
    /// How many keys must sign.
    pub threshold: Threshold,
    /// Its keys.
    pub keys: Vec<Fingerprint>,
    /// The ids that its documents declare for them.
    pub key_ids: Vec<KeyId>,
}

/// One signer.
#[derive(Clone, Debug)]
pub struct SignerState {
    /// Its name.
    pub name: RoleName,
    /// How many keys must sign.
    pub threshold: Threshold,
    /// Its keys.
    pub keys: Vec<Fingerprint>,
    /// The ids of the bare keys, in whatever certificates they are.
    pub key_ids: Vec<KeyId>,
    /// Version and expiry of its document; `None` until it signs for the first time.
    pub document: Option<(Version, UtcTime)>,
    /// What it may sign.
    pub patterns: Vec<String>,
    /// When its right to sign ends, if it does.
    pub ends: Option<UtcTime>,
    /// How many names it lists, attestations aside.
    pub tags: usize,
}

/// One tag.
#[derive(Clone, Debug)]
pub struct TagState {
    /// The tag.
    pub tag: String,
    /// What it means, or meant.
    pub digest: Option<Sha256Digest>,
    /// Size of the manifest, in bytes; unknown for revoked tags.
    pub size: Option<u64>,
    /// The signers that list the same.
    pub signed_by: Vec<RoleName>,
    /// What was said when it was revoked, if it was.
    pub revoked: Option<RevokedState>,
}

/// How a tag came to be revoked.
#[derive(Clone, Debug)]
pub struct RevokedState {
    /// When, if it was said.
    pub at: Option<UtcTime>,
    /// Why.
    pub reason: Option<String>,
    /// Who did, as far as known.
    pub by: Vec<KeyHolder>,
}

/// One digest on the deny list.
#[derive(Clone, Debug)]
pub struct DeniedState {
    /// The digest.
    pub digest: Sha256Digest,
    /// When, why, by whom.
    pub revoked: RevokedState,
}

/// Reads a repository, or one tag of it.
///
/// # Errors
/// Its root, timestamp and snapshot are not trusted now, or a role is not what they list.
pub async fn inspect(
    ports: Ports<'_>,
    repository: &RepositoryName,
    tag: Option<&Tag>,
) -> Result<Inspection, RefreshError> {
    let session = Session::open(ports, repository).await?;
    let state = current::load(&session).await?;
    let denied = denied(&state)?;
    session.finish()?;
    let mut tags = tags(&state);
    if let Some(tag) = tag {
        tags.retain(|state| state.tag == tag.as_str());
    }
    Ok(Inspection {
        repository: repository.clone(),
        dialect: state.root().dialect(),
        root_digest: state.root().digest(),
        roles: roles(&state),
        signers: signers(&state),
        tags,
        denied,
        now: session.now(),
        offline: session.offline().map(ToString::to_string),
    })
}

fn roles(state: &CurrentState) -> Vec<RoleState> {
    let root = state.root().payload();
    let top = |role: TopLevelRole| {
        let (name, version, expires) = match role {
            TopLevelRole::Root => (RoleName::Root, root.version, root.expires),
            TopLevelRole::Snapshot => {
                (RoleName::Snapshot, state.snapshot().version(), state.snapshot().expires())
            }
            TopLevelRole::Targets => {
                (RoleName::Targets, state.targets().version(), state.targets().expires())
            }
            TopLevelRole::Timestamp => {
                (RoleName::Timestamp, state.timestamp().version(), state.timestamp().expires())
            }
        };
        role_state(name, version, expires, root.role(role), &root.keys)
    };
    let mut roles: Vec<RoleState> = TopLevelRole::ALL.into_iter().map(top).collect();
    if let Some(signers) = Signers::of(state.targets().payload()) {
        let others = signers.roles().iter().filter(|role| role.name.as_str() != RELEASES);
        let delegated = signers.releases().into_iter().chain(others);
        roles.extend(delegated.filter_map(|role| delegated_state(state, role, signers.table())));
    }
    roles
}

fn signers(state: &CurrentState) -> Vec<SignerState> {
    let Some(signers) = Signers::of(state.targets().payload()) else { return vec![] };
    let signer = |role: &DelegatedRole| {
        let document = state.delegated().get(&role.name);
        let patterns = match &role.scope {
            Scope::Paths(patterns) => patterns.iter().map(ToString::to_string).collect(),
            Scope::Prefixes(prefixes) => prefixes.iter().map(|prefix| format!("{prefix}*")).collect(),
            Scope::HashPrefixes(prefixes) => prefixes.iter().map(|prefix| format!("hash:{prefix}")).collect(),
        };
        SignerState {
            name: role_name(role),
            threshold: role.keys.threshold,
            keys: role.keys.fingerprints(signers.table()).into_iter().collect(),
            key_ids: bare_ids(state, role, signers.table()),
            document: document.map(|document| (document.version(), document.expires())),
            patterns,
            ends: role.ends,
            tags: document.map_or(0, |document| {
                document.payload().targets.keys().filter(|name| !is_no_tag(name)).count()
            }),
        }
    };
    signers.all().map(signer).collect()
}

/// A list that is delegated and not there is withheld: nothing can be said without it.
fn denied(state: &CurrentState) -> Result<Vec<DeniedState>, RefreshError> {
    let targets = state.targets().payload();
    let Some((role, _)) = layout::revocations(state.root().dialect(), targets) else { return Ok(vec![]) };
    let list = state.revocations().ok_or_else(|| ChainError::Missing { role: role_name(role) })?;
    let entry = |denial: Denial| DeniedState { digest: denial.digest, revoked: revoked(state, denial) };
    Ok(DenyList::new(list.payload()).iter().map(entry).collect())
}

fn revoked(state: &CurrentState, denial: Denial) -> RevokedState {
    let by = holders(state.root().payload(), state.targets().payload(), &denial.revoked_by);
    RevokedState { at: denial.revoked_at, reason: denial.reason, by }
}

fn delegated_state(state: &CurrentState, role: &DelegatedRole, table: &KeyTable) -> Option<RoleState> {
    let document = state.delegated().get(&role.name)?;
    Some(role_state(role_name(role), document.version(), document.expires(), &role.keys, table))
}

fn role_state(
    role: RoleName,
    version: Version,
    expires: UtcTime,
    keys: &RoleKeys,
    table: &KeyTable,
) -> RoleState {
    let fingerprints = keys.fingerprints(table).into_iter().collect();
    let key_ids = keys.key_ids.clone();
    RoleState { role, version, expires, threshold: keys.threshold, keys: fingerprints, key_ids }
}

/// Notary shows people a key by the id of the bare key.
fn bare_ids(state: &CurrentState, role: &DelegatedRole, table: &KeyTable) -> Vec<KeyId> {
    let dialect = state.root().dialect();
    role.keys.keys(table).map(|(_, key)| dialect.key_id(key, None)).collect()
}

fn tags(state: &CurrentState) -> Vec<TagState> {
    let top = state.targets().payload();
    let signers = match Layout::of(top) {
        Some(Layout::Signers(signers)) => Some(signers),
        _ => None,
    };
    let releases = signers.and_then(|signers| state.delegated().get(&signers.releases()?.name));
    let listing = releases.map_or(top, |document| document.payload());
    let vouching = |tag: &str, info: &TargetInfo| match signers {
        Some(signers) => vouching(state, &signers, tag, info),
        None => vec![RoleName::Targets],
    };
    let list = state.revocations().map(|document| DenyList::new(document.payload()));
    let listed = |(tag, info): (&String, &TargetInfo)| {
        let denial = list.and_then(|list| list.find(&info.hashes));
        TagState {
            tag: tag.clone(),
            digest: info.hashes.as_sha256(),
            size: Some(info.length),
            signed_by: vouching(tag, info),
            revoked: denial.map(|denial| revoked(state, denial)),
        }
    };
    // Docker looks into `targets` as well, where its repositories leave old tags.
    let is_hidden = |tag: &String| !listing.targets.contains_key(tag);
    let left =
        top.targets.iter().filter(|(tag, _)| state.root().dialect() == Dialect::Notary1 && is_hidden(tag));
    let taken_back = listing.revoked.iter().map(|(path, tombstone)| TagState {
        tag: path.to_string(),
        digest: Some(tombstone.digest),
        size: None,
        signed_by: vec![],
        revoked: Some(revoked(state, Denial::from_tombstone(tombstone))),
    });
    let is_spec = state.root().dialect() == Dialect::Tuf1;
    let tags = listing.targets.iter().filter(|(tag, _)| !(is_spec && is_no_tag(tag)));
    tags.chain(left).map(listed).chain(taken_back).collect()
}

/// Attestations and policies are listed among tags.
fn is_no_tag(name: &str) -> bool {
    AttestationPath::is_below(name) || PolicyName::is_below(name)
}

fn vouching(state: &CurrentState, signers: &Signers<'_>, tag: &str, info: &TargetInfo) -> Vec<RoleName> {
    let vouches = |role: &&DelegatedRole| {
        let listed = state.delegated().get(&role.name).and_then(|doc| doc.payload().targets.get(tag));
        let same = listed.is_some_and(|own| own.is_same(info));
        same && tag.parse().is_ok_and(|path| role.scope.matches(&path))
    };
    signers.all().filter(vouches).map(role_name).collect()
}
