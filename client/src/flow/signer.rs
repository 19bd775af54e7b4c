//! Signers come and go: delegations in `targets`, and what `releases` follows from them.

use std::collections::{BTreeMap, BTreeSet};

use bulla_keys_schema::author::{Delegation, TargetsEdit, TargetsEditError};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Fingerprint, HeldRole, PublicKey};
use bulla_keys_schema::metadata::{
    DelegatedRole, KeyEntry, KeyTable, RoleKeys, Scope, TargetInfo, Targets, Threshold, Version,
};
use bulla_keys_schema::names::{
    DelegatedRoleName, PathPattern, RepositoryName, RoleName, SignerName, TargetPath,
};
use bulla_keys_schema::policy::PolicyName;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;
use bulla_keys_schema::verify::{RawMetadata, VerifyError};
use bytes::Bytes;

use crate::flow::Ports;
use crate::flow::layout::{Authority, Layout, Signers, reaches_tags, signs_tags};
use crate::flow::lifetimes;
use crate::flow::publish::{self, Edit, Edited, How, PublishError, Published};
use crate::flow::sign::{authority, next_version, repository_authority};
use crate::flow::signing::{KeyRing, TooFewKeys};
use crate::port::trust_server::Document;

/// Whom to add.
#[derive(Clone, Debug)]
pub struct AddRequest {
    /// The repository.
    pub repository: RepositoryName,
    /// The signer's name.
    pub name: SignerName,
    /// The signer's keys.
    pub keys: Vec<PublicKey>,
    /// How many of them must sign.
    pub threshold: u64,
    /// Tags the signer may sign.
    pub patterns: Vec<PathPattern>,
    /// When the right to sign ends, if it does. Notary knows no such limit: there only the first
    /// document of the signer expires then.
    pub ends: Option<UtcTime>,
    /// The signer's first document, if the signer's private keys are elsewhere.
    pub enrolment: Option<Bytes>,
    /// What to do with the change.
    pub how: How,
}

/// Who was added.
#[derive(Clone, Debug)]
pub struct Added {
    /// The signer's keys.
    pub keys: Vec<Fingerprint>,
    /// Tags that the repository key had signed and the signer vouches for from now on.
    pub taken_over: Vec<String>,
    /// The documents and keys.
    pub published: Published,
}

/// Adds a signer.
///
/// # Errors
/// See [`SignerError`].
pub async fn add(ports: Ports<'_>, request: &AddRequest) -> Result<Added, SignerError> {
    let mut taken_over = Vec::new();
    let published = publish::publish(ports, &request.repository, request.how.clone(), |state, ring, now| {
        let joining = Joining::new(state, request, now)?;
        let (edit, tags) = joining.edit(state, ring, now, request)?;
        taken_over = tags;
        Ok::<_, SignerError>(edit)
    })
    .await?;
    if published.done {
        note_role(ports, request)?;
    }
    Ok(Added { keys: request.keys.iter().map(PublicKey::fingerprint).collect(), taken_over, published })
}

/// Who was removed.
#[derive(Clone, Debug)]
pub struct Removed {
    /// Tags that nobody vouches for any more.
    pub dropped: Vec<String>,
    /// The documents and keys.
    pub published: Published,
}

/// Removes a signer, and from `releases` every tag that no other signer vouches for.
///
/// # Errors
/// See [`SignerError`].
pub async fn remove(
    ports: Ports<'_>,
    repository: &RepositoryName,
    name: &SignerName,
    how: &How,
) -> Result<Removed, SignerError> {
    let mut dropped = Vec::new();
    let published = publish::publish(ports, repository, how.clone(), |state, _, now| {
        let (edit, tags) = leave(state, name, now)?;
        dropped = tags;
        Ok::<_, SignerError>(edit)
    })
    .await?;
    Ok(Removed { dropped, published })
}

/// A signer's place in the next `targets`, before anything is signed.
pub struct Joining {
    dialect: Dialect,
    targets: Targets,
    name: RoleName,
    authority: Authority,
    /// Tags of the repository key that the signer takes over: the first one does, of those
    /// that the signer's patterns match.
    offered: BTreeMap<String, TargetInfo>,
    version: Version,
    ends: Option<UtcTime>,
    /// Whether it may sign tags: an attester has no say in what is released.
    signs_tags: bool,
}

impl Joining {
    /// Delegates, in a copy of the current `targets`.
    ///
    /// # Errors
    /// The name is taken, the right to sign would be over already, or keys, threshold and patterns
    /// do not fit.
    pub fn new(state: &CurrentState, request: &AddRequest, now: UtcTime) -> Result<Self, SignerError> {
        let dialect = state.root().dialect();
        let before = state.targets().payload();
        let layout = Layout::of(before).ok_or(SignerError::HashBins)?;
        if before.delegation(request.name.role()).is_some() {
            return Err(SignerError::Exists { name: request.name.clone() });
        }
        if let Some(ends) = request.ends.filter(|ends| ends.is_over(now)) {
            return Err(SignerError::Over { ends });
        }
        let delegation = delegation(dialect, request)?;
        let signs_tags = reaches_tags(&delegation.scope);
        // Its lifetime is set when it is signed.
        let mut edit = TargetsEdit::next(dialect, before, before.expires).ok_or(SignerError::LastVersion)?;
        if signs_tags {
            edit.set_delegation(&releases(state, &layout, &Leaving::default(), &delegation.keys))?;
        }
        edit.set_delegation(&delegation)?;
        if dialect == Dialect::Tuf1 {
            edit.end_delegation(request.name.role(), request.ends);
        }
        let targets = edit.finish();
        let name = RoleName::Delegated(request.name.role().clone());
        let authority = authority_of(&targets, request.name.role()).ok_or(SignerError::HashBins)?;
        let offered = before.targets.iter().filter(|(path, _)| {
            let is_first = signs_tags && matches!(layout, Layout::Alone);
            is_first
                && !is_policy(dialect, path)
                && path.parse().is_ok_and(|path: TargetPath| delegation.scope.matches(&path))
        });
        let offered = offered.map(|(path, info)| (path.clone(), info.clone())).collect();
        let version = next_version(state, &name).ok_or(SignerError::LastVersion)?;
        Ok(Self { dialect, targets, name, authority, offered, version, ends: request.ends, signs_tags })
    }

    /// The signer's first document: the tags it takes over.
    #[must_use]
    pub fn first_document(&self, now: UtcTime) -> Edited {
        let expires = now.plus_seconds(lifetimes::targets(self.dialect));
        let expires = self.ends.map_or(expires, |ends| ends.min(expires));
        let mut edit = TargetsEdit::new(self.dialect, self.name.clone(), self.version, expires)
            .for_repository(self.targets.repository.clone());
        for (path, info) in &self.offered {
            if let (Ok(path), Some(digest)) = (path.parse(), info.hashes.as_sha256()) {
                edit.sign_target(&path, digest, info.length, now);
            }
        }
        Edited { role: self.name.clone(), document: edit.finish(), authority: self.authority.clone() }
    }

    fn edit(
        self,
        state: &CurrentState,
        ring: &KeyRing<'_>,
        now: UtcTime,
        request: &AddRequest,
    ) -> Result<(Edit, Vec<String>), SignerError> {
        let mut edit = Edit::default();
        let listed = match &request.enrolment {
            Some(bytes) => {
                let (document, listed) = self.check_enrolment(state, bytes)?;
                edit.signed.push(document);
                listed
            }
            None => {
                match ring.choose(&self.name, &self.authority, &BTreeSet::new()) {
                    Ok(_) => edit.documents.push(self.first_document(now)),
                    // The signer signs the first document with the first tag.
                    Err(_) if self.offered.is_empty() && self.may_wait() => {}
                    Err(error) => return Err(SignerError::NotEnrolled(error)),
                }
                self.offered.clone()
            }
        };
        let expires = now.plus_seconds(lifetimes::targets(self.dialect));
        let mut targets = self.targets;
        targets.expires = expires;
        let mut tags = Vec::new();
        if self.signs_tags && matches!(Layout::of(state.targets().payload()), Some(Layout::Alone)) {
            let left: Vec<String> = targets
                .targets
                .iter()
                .filter(|(path, info)| {
                    !is_policy(self.dialect, path) && !listed.get(*path).is_some_and(|own| own.is_same(info))
                })
                .map(|(path, _)| path.clone())
                .collect();
            if !left.is_empty() {
                return Err(SignerError::TagsLeft { tags: left });
            }
            let (policies, taken) = std::mem::take(&mut targets.targets)
                .into_iter()
                .partition(|(path, _)| is_policy(self.dialect, path));
            targets.targets = policies;
            edit.documents.push(first_releases(state, &targets, &taken, expires)?);
            tags = taken.into_keys().collect();
        }
        let authority = repository_authority(state);
        edit.documents.insert(0, Edited { role: RoleName::Targets, document: targets, authority });
        Ok((edit, tags))
    }

    /// Whether the role may be without a document that counts. In TUF's dialect it may not once
    /// the snapshot lists one of that name.
    fn may_wait(&self) -> bool {
        self.version == Version::FIRST || self.dialect == Dialect::Notary1
    }

    /// The signer's own signature over its first document proves that it holds the keys.
    fn check_enrolment(
        &self,
        state: &CurrentState,
        bytes: &Bytes,
    ) -> Result<(Document, BTreeMap<String, TargetInfo>), SignerError> {
        let limit = self.name.byte_limit();
        if bytes.len() > limit {
            return Err(SignerError::EnrolmentSize { limit });
        }
        let document = RawMetadata::<Targets>::new(state.root().dialect(), bytes.clone())
            .verify_as(&self.name, state.root().payload(), &self.authority.keys, &self.authority.table)
            .map_err(SignerError::Enrolment)?;
        if document.version() != self.version {
            return Err(SignerError::EnrolmentVersion { found: document.version(), wanted: self.version });
        }
        if let Some(ends) = self.ends.filter(|ends| document.expires() > *ends) {
            return Err(SignerError::EnrolmentOutlives { expires: document.expires(), ends });
        }
        let listed = document.payload().targets.clone();
        Ok((Document { role: self.name.clone(), version: self.version, bytes: bytes.clone() }, listed))
    }
}

/// Whether a name is that of a policy, which is no tag: the admin goes on to say which there is.
fn is_policy(dialect: Dialect, name: &str) -> bool {
    dialect == Dialect::Tuf1 && PolicyName::is_below(name)
}

/// What consumers resolve, once there is a signer: the tags that the repository key had signed.
fn first_releases(
    state: &CurrentState,
    targets: &Targets,
    taken: &BTreeMap<String, TargetInfo>,
    expires: UtcTime,
) -> Result<Edited, SignerError> {
    let name = DelegatedRoleName::releases();
    let authority = authority_of(targets, &name).ok_or(SignerError::HashBins)?;
    let role = RoleName::Delegated(name);
    let version = next_version(state, &role).ok_or(SignerError::LastVersion)?;
    let mut first = TargetsEdit::new(state.root().dialect(), role.clone(), version, expires)
        .for_repository(targets.repository.clone());
    set_all(&mut first, taken);
    Ok(Edited { role, document: first.finish(), authority })
}

fn delegation(dialect: Dialect, request: &AddRequest) -> Result<Delegation, SignerError> {
    let (threshold, keys) = (request.threshold, request.keys.len());
    let threshold = Threshold::new(threshold).ok_or(SignerError::Threshold { threshold, keys })?;
    if dialect == Dialect::Notary1 && request.name.as_str().contains('.') {
        return Err(SignerError::LegacyName { name: request.name.clone() });
    }
    Ok(Delegation {
        name: request.name.role().clone(),
        keys: request.keys.iter().cloned().map(KeyEntry::new).collect(),
        threshold,
        scope: scope(dialect, &request.patterns)?,
        terminating: false,
    })
}

/// Patterns as the dialect can say them: Notary knows only how a name begins.
fn scope(dialect: Dialect, patterns: &[PathPattern]) -> Result<Scope, SignerError> {
    if dialect == Dialect::Tuf1 {
        return Ok(Scope::Paths(patterns.to_vec()));
    }
    let prefix = |pattern: &PathPattern| {
        let prefix = pattern.as_str().trim_end_matches('*');
        let is_prefix = pattern.as_str() != prefix && !prefix.contains(['*', '?']);
        is_prefix
            .then(|| prefix.to_owned())
            .ok_or_else(|| SignerError::LegacyPattern { pattern: pattern.clone() })
    };
    patterns.iter().map(prefix).collect::<Result<_, _>>().map(Scope::Prefixes)
}

/// `releases` as it shall be delegated: any signer may sign it, and the repository key, so
/// that the admin can repair it. It ends every search for a tag: a tag that was revoked in
/// it must not be found behind it, in the list of a signer.
///
/// In Notary's dialect other tools may have let others sign it: they stay.
pub(super) fn releases(
    state: &CurrentState,
    layout: &Layout<'_>,
    leaving: &Leaving<'_>,
    joining: &[KeyEntry],
) -> Delegation {
    let dialect = state.root().dialect();
    let root = state.root().payload();
    let mut keys = entries(&root.targets, &root.keys);
    let known = match layout {
        Layout::Signers(signers) => {
            keys.extend(
                signers
                    .of_tags()
                    .filter(|role| leaving.stays(role))
                    .flat_map(|role| entries(&role.keys, signers.table())),
            );
            let known = signers.releases().filter(|_| dialect == Dialect::Notary1);
            let left: BTreeSet<_> =
                leaving.roles.iter().flat_map(|role| role.keys.fingerprints(signers.table())).collect();
            let others = known.map(|role| entries(&role.keys, signers.table())).unwrap_or_default();
            let stays = |entry: &KeyEntry| fingerprint(entry).is_some_and(|key| !left.contains(&key));
            keys.extend(others.into_iter().filter(stays));
            known
        }
        Layout::Alone => None,
    };
    keys.extend(joining.iter().cloned());
    let mut seen = BTreeSet::new();
    keys.retain(|entry| {
        let key = fingerprint(entry);
        !key.is_some_and(|key| leaving.keys.contains(&key)) && seen.insert(key)
    });
    let every_tag = match dialect {
        Dialect::Notary1 => Scope::Prefixes(vec![String::new()]),
        Dialect::Tuf1 => Scope::Paths(every_tag()),
    };
    Delegation {
        name: DelegatedRoleName::releases(),
        keys,
        threshold: known.map_or(Threshold::ONE, |role| role.keys.threshold),
        scope: known.map_or(every_tag, |role| role.scope.clone()),
        terminating: true,
    }
}

/// Who goes: signers, and keys that shall be nobody's any more.
#[derive(Default)]
pub(super) struct Leaving<'a> {
    pub(super) roles: Vec<&'a DelegatedRole>,
    pub(super) keys: BTreeSet<Fingerprint>,
}

impl Leaving<'_> {
    pub(super) fn stays(&self, role: &DelegatedRole) -> bool {
        self.roles.iter().all(|left| left.name != role.name)
    }
}

/// The keys of a role that can be verified with, in whatever certificates they are.
pub(super) fn entries(keys: &RoleKeys, table: &KeyTable) -> Vec<KeyEntry> {
    let entries = keys.key_ids.iter().filter_map(|id| table.get(id));
    entries.filter(|entry| entry.key.is_some()).cloned().collect()
}

pub(super) fn fingerprint(entry: &KeyEntry) -> Option<Fingerprint> {
    entry.key.as_ref().map(PublicKey::fingerprint)
}

/// The pattern that matches every tag: tags hold no slash.
#[must_use]
#[expect(clippy::expect_used, reason = "a constant that the tests run through")]
pub fn every_tag() -> Vec<PathPattern> {
    vec!["*".parse().expect("a pattern")]
}

fn leave(state: &CurrentState, name: &SignerName, now: UtcTime) -> Result<(Edit, Vec<String>), SignerError> {
    let before = state.targets().payload();
    let layout = Layout::of(before).ok_or(SignerError::HashBins)?;
    let unknown = || SignerError::Unknown { name: name.clone() };
    let signers = Signers::of(before).ok_or_else(unknown)?;
    let leaving = signers.all().find(|role| role.name == *name.role()).ok_or_else(unknown)?;
    let dialect = state.root().dialect();
    let expires = now.plus_seconds(lifetimes::targets(dialect));
    let mut targets = TargetsEdit::next(dialect, before, expires).ok_or(SignerError::LastVersion)?;
    targets.remove_delegation(name.role());
    let staying: Vec<&DelegatedRole> = signers.of_tags().filter(|role| role.name != *name.role()).collect();
    // Nothing that was released is an attester's.
    let releases_role = signers.releases().filter(|_| signs_tags(leaving));
    let released = releases_role.and_then(|role| state.delegated().get(&role.name)).map(|doc| doc.payload());
    let dropped = released.map(|released| unvouched(state, released, &staying)).unwrap_or_default();
    // Notary's repository keys may have signed these tags long ago, with another meaning.
    dropped.iter().filter_map(|path| path.parse().ok()).for_each(|path| drop(targets.remove_target(&path)));
    let mut next = None;
    if staying.is_empty() && signs_tags(leaving) {
        targets.remove_delegation(&DelegatedRoleName::releases());
        for (path, tombstone) in released.iter().flat_map(|released| &released.revoked) {
            targets.revoke_target(path, tombstone.clone());
        }
    } else if releases_role.is_some() {
        let leaving = Leaving { roles: vec![leaving], keys: BTreeSet::new() };
        targets.set_delegation(&releases(state, &layout, &leaving, &[]))?;
        next = released.map(|released| without(dialect, released, &dropped, expires)).transpose()?;
    }
    let targets = targets.finish();
    let mut edit = Edit::default();
    if let Some(document) = next {
        let name = DelegatedRoleName::releases();
        let authority = authority_of(&targets, &name).ok_or(SignerError::HashBins)?;
        edit.documents.push(Edited { role: RoleName::Delegated(name), document, authority });
    }
    let authority = repository_authority(state);
    edit.documents.insert(0, Edited { role: RoleName::Targets, document: targets, authority });
    Ok((edit, dropped))
}

fn without(
    dialect: Dialect,
    released: &Targets,
    dropped: &[String],
    expires: UtcTime,
) -> Result<Targets, SignerError> {
    let mut next = TargetsEdit::next(dialect, released, expires).ok_or(SignerError::LastVersion)?;
    for path in dropped.iter().filter_map(|path| path.parse().ok()) {
        next.remove_target(&path);
    }
    Ok(next.finish())
}

/// The released names that none of `signers` vouches for.
pub(super) fn unvouched(state: &CurrentState, released: &Targets, signers: &[&DelegatedRole]) -> Vec<String> {
    let vouches = |role: &&DelegatedRole, path: &str, info: &TargetInfo| {
        let document = state.delegated().get(&role.name).map(|document| document.payload());
        let listed = document.and_then(|document| document.targets.get(path));
        let same = listed.is_some_and(|listed| listed.is_same(info));
        same && path.parse().is_ok_and(|path| role.scope.matches(&path))
    };
    let lost =
        released.targets.iter().filter(|(path, info)| !signers.iter().any(|role| vouches(role, path, info)));
    lost.map(|(path, _)| path.clone()).collect()
}

pub(super) fn authority_of(targets: &Targets, name: &DelegatedRoleName) -> Option<Authority> {
    let signers = Signers::of(targets)?;
    targets.delegation(name).map(|role| authority(&signers, role))
}

fn set_all<'a>(edit: &mut TargetsEdit, entries: impl IntoIterator<Item = (&'a String, &'a TargetInfo)>) {
    for (path, info) in entries {
        if let (Ok(path), Some(digest)) = (path.parse(), info.hashes.as_sha256()) {
            edit.set_target(&path, digest, info.length);
        }
    }
}

fn note_role(ports: Ports<'_>, request: &AddRequest) -> Result<(), PublishError> {
    let held = HeldRole {
        repository: request.repository.clone(),
        role: RoleName::Delegated(request.name.role().clone()),
    };
    let ring = KeyRing::load(ports)?;
    for key in request.keys.iter().filter_map(|key| ring.find(&key.fingerprint())) {
        ports.keys.note_role(&key.name, &held)?;
    }
    Ok(())
}

/// Why no signer was added or removed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// Whoever shall take over what another signed has no keys here.
    #[error("nobody here can take over the tags: {0}")]
    CannotTakeOver(TooFewKeys),
    /// The delegation would be useless.
    #[error("such a signer cannot be added: {0}")]
    Edit(#[from] TargetsEditError),
    /// The enrolment is not signed by the named keys.
    #[error("the enrolment does not fit the signer's keys: {0}")]
    Enrolment(VerifyError),
    /// The enrolment lasts longer than the signer may sign.
    #[error("the enrolment expires at {expires}, after the right to sign ends at {ends}")]
    EnrolmentOutlives {
        /// When it expires.
        expires: UtcTime,
        /// When the right ends.
        ends: UtcTime,
    },
    /// The enrolment is too large.
    #[error("the enrolment is larger than {limit} bytes")]
    EnrolmentSize {
        /// The limit, in bytes.
        limit: usize,
    },
    /// The enrolment was made for another state of the repository.
    #[error("the enrolment has version {found}, expected {wanted}")]
    EnrolmentVersion {
        /// Its version.
        found: Version,
        /// The version it should have.
        wanted: Version,
    },
    /// Notary knows no such name.
    #[error("{name} is no name for a signer of a legacy repository: it holds a dot")]
    LegacyName {
        /// The name.
        name: SignerName,
    },
    /// Notary knows no such pattern.
    #[error("a legacy repository cannot say {pattern}: it only knows how a tag begins")]
    LegacyPattern {
        /// The pattern.
        pattern: PathPattern,
    },
    /// The name is taken.
    #[error("the repository has a signer named {name} already")]
    Exists {
        /// The name.
        name: SignerName,
    },
    /// The repository was laid out by another tool.
    #[error("the repository delegates to hash bins, where no signer has a name")]
    HashBins,
    /// The version counter is at its end.
    #[error("targets has reached the last version there is")]
    LastVersion,
    /// The signer's private keys are not here, so nothing proves that anybody holds them.
    #[error("the first document of the signer must be signed by the signer: {0}")]
    NotEnrolled(TooFewKeys),
    /// The right to sign would be over before it begins.
    #[error("a right to sign that ends at {ends} is over already")]
    Over {
        /// When it would end.
        ends: UtcTime,
    },
    /// The change could not be made.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Tags would end up signed by nobody.
    #[error("nobody would vouch any more for the tags {}", tags.join(", "))]
    TagsLeft {
        /// The tags.
        tags: Vec<String>,
    },
    /// The threshold does not fit.
    #[error("a threshold of {threshold} does not fit {keys} key{}", if *keys == 1 { "" } else { "s" })]
    Threshold {
        /// The threshold.
        threshold: u64,
        /// How many keys are named.
        keys: usize,
    },
    /// No such signer.
    #[error("the repository has no signer named {name}")]
    Unknown {
        /// The name.
        name: SignerName,
    },
}
