//! A signer goes at once and altogether: the role, and its keys wherever else `targets` lists them,
//! because somebody else may hold them now.
//!
//! What it signed before a moment another signer can take over; what it signed since is taken off,
//! but for what somebody has checked. Without a moment nothing is in doubt, and all can be taken over.

use std::collections::BTreeSet;

use bulla_keys_schema::author::{Delegation, TargetsEdit};
use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::key::{Fingerprint, KeyId};
use bulla_keys_schema::metadata::{
    Children, DelegatedRole, DenyList, RoleKeys, Targets, Tombstone, TopLevelRole,
};
use bulla_keys_schema::names::{DelegatedRoleName, RepositoryName, RoleName, SignerName, Tag, TargetPath};
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::flow::Ports;
use crate::flow::layout::{Authority, Layout, Signers};
use crate::flow::lifetimes;
use crate::flow::publish::{self, Edit, Edited, How, Published};
use crate::flow::revoke::keys;
use crate::flow::sign::{authority, next_version, repository_authority, role_name};
use crate::flow::signed_since::{LookBack, SignedEntry, Source, look_back};
use crate::flow::signer::{Leaving, SignerError, authority_of, entries, fingerprint, releases, unvouched};
use crate::flow::signing::KeyRing;

/// Whom to revoke, and what becomes of the tags.
#[derive(Clone, Debug)]
pub struct Request {
    /// The repository.
    pub repository: RepositoryName,
    /// The signer.
    pub name: SignerName,
    /// Since when what it signed is in doubt; `None` if nothing is.
    pub since: Option<UtcTime>,
    /// Who takes over what is not in doubt.
    pub re_sign_as: Option<SignerName>,
    /// Tags in doubt that somebody has checked: they are taken over as well.
    pub checked: Vec<Tag>,
    /// Why, for whoever is refused.
    pub reason: Option<String>,
    /// What to do with the change.
    pub how: How,
}

/// What became of a signer.
#[derive(Clone, Debug)]
pub struct SignerRevoked {
    /// Its keys.
    pub keys: Vec<Fingerprint>,
    /// Other signers that could not stand without these keys, and went along.
    pub also_removed: Vec<RoleName>,
    /// Other roles that the keys were taken out of.
    pub taken_out_of: Vec<RoleName>,
    /// Delegated roles that still list one of the keys, because others sign who may speak there.
    pub still_in: Vec<RoleName>,
    /// Top-level roles that list one of the keys: only a new root helps.
    pub top_level: Vec<RoleName>,
    /// What it signed since the moment.
    pub signed: Vec<SignedEntry>,
    /// What that is known from.
    pub source: Source,
    /// Tags that another signer vouches for now.
    pub taken_over: Vec<String>,
    /// Tags that were taken off.
    pub taken_off: Vec<String>,
    /// The documents and keys.
    pub published: Published,
}

/// Revokes a signer.
///
/// # Errors
/// See [`SignerError`].
pub async fn revoke(ports: Ports<'_>, request: &Request) -> Result<SignerRevoked, SignerError> {
    let look = look_back(ports, &request.repository, request.name.role(), request.since).await?;
    let mut outcome = None;
    let published = publish::publish(ports, &request.repository, request.how.clone(), |state, ring, now| {
        let (edit, what) = Departure::new(state, ring, now, request, &look)?.plan()?;
        outcome = Some(what);
        Ok::<_, SignerError>(edit)
    })
    .await?;
    let outcome = outcome.ok_or_else(|| unknown(&request.name))?;
    Ok(outcome.finish(&look, published))
}

/// What a plan found out, for the report.
struct Outcome {
    keys: BTreeSet<Fingerprint>,
    also_removed: Vec<RoleName>,
    taken_out_of: Vec<RoleName>,
    still_in: Vec<RoleName>,
    top_level: Vec<RoleName>,
    signed: Vec<SignedEntry>,
    shared: Shared,
}

/// What becomes of the tags that nobody else vouches for.
#[derive(Default)]
struct Shared {
    taken_over: Vec<String>,
    taken_off: Vec<String>,
}

impl Outcome {
    fn finish(self, look: &LookBack, published: Published) -> SignerRevoked {
        SignerRevoked {
            keys: self.keys.into_iter().collect(),
            also_removed: self.also_removed,
            taken_out_of: self.taken_out_of,
            still_in: self.still_in,
            top_level: self.top_level,
            signed: self.signed,
            source: look.source,
            taken_over: self.shared.taken_over,
            taken_off: self.shared.taken_off,
            published,
        }
    }
}

/// One signer on the way out.
struct Departure<'a> {
    state: &'a CurrentState,
    ring: &'a KeyRing<'a>,
    now: UtcTime,
    request: &'a Request,
    look: &'a LookBack,
    signers: Signers<'a>,
    role: &'a DelegatedRole,
    /// What consumers resolve, if anything was released.
    released: Option<&'a Targets>,
    leaving: Leaving<'a>,
    /// Roles that stay, with fewer keys.
    trimmed: Vec<(&'a DelegatedRole, Delegation)>,
    still_in: Vec<RoleName>,
}

impl<'a> Departure<'a> {
    fn new(
        state: &'a CurrentState,
        ring: &'a KeyRing<'a>,
        now: UtcTime,
        request: &'a Request,
        look: &'a LookBack,
    ) -> Result<Self, SignerError> {
        let targets = state.targets().payload();
        Layout::of(targets).ok_or(SignerError::HashBins)?;
        let signers = Signers::of(targets).ok_or_else(|| unknown(&request.name))?;
        let role = signers.all().find(|role| role.name == *request.name.role());
        let role = role.ok_or_else(|| unknown(&request.name))?;
        let keys = role.keys.fingerprints(signers.table());
        let leaving = Leaving { roles: vec![role], keys };
        let released = signers.releases().and_then(|role| state.delegated().get(&role.name));
        let released = released.map(|document| document.payload());
        let (trimmed, still_in) = (vec![], vec![]);
        let mut departure =
            Self { state, ring, now, request, look, signers, role, released, leaving, trimmed, still_in };
        departure.search();
        Ok(departure)
    }

    /// Finds the keys in other roles. One that can do without them loses them; a signer that
    /// cannot goes along, for whoever holds the keys could sign there. The deny list stays.
    fn search(&mut self) {
        let signers = self.signers;
        let own = self.role.name.clone();
        let others = signers.roles().iter().filter(|role| role.name != own);
        for role in others.filter(|role| role.name != DelegatedRoleName::releases()) {
            let listed = role.keys.fingerprints(signers.table());
            if listed.is_disjoint(&self.leaving.keys) {
                continue;
            }
            let mut rest = entries(&role.keys, signers.table());
            rest.retain(|entry| fingerprint(entry).is_some_and(|key| !self.leaving.keys.contains(&key)));
            let delegation = Delegation {
                name: role.name.clone(),
                keys: rest,
                threshold: role.keys.threshold,
                scope: role.scope.clone(),
                terminating: role.terminating,
            };
            if self.can_stand(role, &delegation) {
                self.trimmed.push((role, delegation));
            } else if role.name == DelegatedRoleName::revocations() {
                self.still_in.push(role_name(role));
            } else {
                self.leaving.roles.push(role);
            }
        }
        let staying = self.state.delegated().iter().filter(|(name, _)| !self.is_leaving(name));
        let nested = staying.flat_map(|(_, document)| nested(document.payload()));
        let still = nested.filter(|(_, keys)| !keys.is_disjoint(&self.leaving.keys)).map(|(name, _)| name);
        let still: Vec<RoleName> = still.collect();
        self.still_in.extend(still);
    }

    /// Whether a role goes, or lies below one that goes.
    fn is_leaving(&self, name: &DelegatedRoleName) -> bool {
        self.leaving.roles.iter().any(|role| {
            let rest = name.as_str().strip_prefix(role.name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '/']))
        })
    }

    /// Whether the threshold can be met without the keys, by the document that is there or by a
    /// new one with keys of this home.
    fn can_stand(&self, role: &DelegatedRole, delegation: &Delegation) -> bool {
        if !delegation.threshold.is_met_by(delegation.keys.len()) {
            return false;
        }
        !self.is_stale(role) || self.ring.choose(&role_name(role), &self.rest(role), &BTreeSet::new()).is_ok()
    }

    /// Whether the document of a role does not stand without the keys.
    fn is_stale(&self, role: &DelegatedRole) -> bool {
        let rest = self.rest(role);
        let document = self.state.delegated().get(&role.name);
        document.is_some_and(|document| document.reverify(&rest.keys, &rest.table).is_err())
    }

    /// The authority of a role without the keys.
    fn rest(&self, role: &DelegatedRole) -> Authority {
        let table = self.signers.table();
        let stays = |id: &&KeyId| {
            let key = table.get(*id).and_then(fingerprint);
            key.is_none_or(|key| !self.leaving.keys.contains(&key))
        };
        let key_ids = role.keys.key_ids.iter().filter(stays).cloned().collect();
        Authority { keys: RoleKeys { key_ids, threshold: role.keys.threshold }, table: table.clone() }
    }

    fn plan(self) -> Result<(Edit, Outcome), SignerError> {
        let before = self.state.targets().payload();
        let mut targets = self.next(before)?;
        for role in &self.leaving.roles {
            targets.remove_delegation(&role.name);
        }
        for (_, delegation) in &self.trimmed {
            targets.set_delegation(delegation)?;
        }
        let shared = self.share_out()?;
        for path in paths(&shared.taken_off) {
            // Notary's repository keys may have signed these tags long ago, with another meaning.
            targets.remove_target(&path);
        }
        let mut documents = self.next_releases(&mut targets, &shared)?;
        documents.extend(self.signed_anew(&shared)?);
        let targets = targets.finish();
        let mut edit = Edit::default();
        for (name, document) in documents {
            let authority = authority_of(&targets, &name).ok_or(SignerError::HashBins)?;
            edit.documents.push(Edited { role: RoleName::Delegated(name), document, authority });
        }
        let authority = repository_authority(self.state);
        edit.documents.insert(0, Edited { role: RoleName::Targets, document: targets, authority });
        Ok((edit, self.outcome(shared)))
    }

    fn next(&self, before: &Targets) -> Result<TargetsEdit, SignerError> {
        let dialect = self.state.root().dialect();
        let expires = self.now.plus_seconds(lifetimes::targets(dialect));
        TargetsEdit::next(dialect, before, expires).ok_or(SignerError::LastVersion)
    }

    /// Which of the tags that nobody else vouches for are taken over, and which go.
    fn share_out(&self) -> Result<Shared, SignerError> {
        let staying: Vec<_> = self.signers.all().filter(|role| self.leaving.stays(role)).collect();
        let Some(released) = self.released else { return Ok(Shared::default()) };
        let lost = unvouched(self.state, released, &staying);
        let Some(name) = &self.request.re_sign_as else {
            return Ok(Shared { taken_over: vec![], taken_off: lost });
        };
        let taker = staying.into_iter().find(|role| role.name == *name.role());
        let taker = taker.ok_or_else(|| unknown(name))?;
        if let Some(ends) = taker.ends.filter(|ends| ends.is_over(self.now)) {
            return Err(SignerError::Over { ends });
        }
        self.ring
            .choose(&role_name(taker), &authority(&self.signers, taker), &BTreeSet::new())
            .map_err(SignerError::CannotTakeOver)?;
        let (taken_over, taken_off) =
            lost.into_iter().partition(|path| self.goes_over(released, path, taker));
        Ok(Shared { taken_over, taken_off })
    }

    fn goes_over(&self, released: &Targets, path: &str, taker: &DelegatedRole) -> bool {
        let own = self.state.delegated().get(&self.role.name).map(|document| document.payload());
        let is_checked = self.request.checked.iter().any(|tag| tag.as_str() == path);
        let in_doubt = self.request.since.is_some() && own.is_none_or(|own| self.look.is_new(own, path));
        let list = self.state.revocations().map(|document| DenyList::new(document.payload()));
        let info = released.targets.get(path);
        let is_denied = info.is_some_and(|info| list.is_some_and(|list| list.find(&info.hashes).is_some()));
        let fits = path.parse::<TargetPath>().is_ok_and(|path| taker.scope.matches(&path));
        fits && !is_denied && (is_checked || !in_doubt)
    }

    /// The next `releases`. Without any signer left, there is none, and its tombstones go to
    /// `targets`.
    fn next_releases(
        &self,
        targets: &mut TargetsEdit,
        shared: &Shared,
    ) -> Result<Vec<(DelegatedRoleName, Targets)>, SignerError> {
        let name = DelegatedRoleName::releases();
        let tombstones = self.tombstones(&shared.taken_off);
        if !self.signers.of_tags().any(|role| self.leaving.stays(role)) {
            targets.remove_delegation(&name);
            let old = self.released.into_iter().flat_map(|listed| listed.revoked.clone());
            old.chain(tombstones).for_each(|(path, tombstone)| targets.revoke_target(&path, tombstone));
            return Ok(vec![]);
        }
        if self.signers.releases().is_none() {
            return Ok(vec![]);
        }
        targets.set_delegation(&releases(self.state, &Layout::Signers(self.signers), &self.leaving, &[]))?;
        let Some(listed) = self.released else { return Ok(vec![]) };
        let mut next = self.next(listed)?;
        for path in paths(&shared.taken_off) {
            next.remove_target(&path);
        }
        tombstones.into_iter().for_each(|(path, tombstone)| next.revoke_target(&path, tombstone));
        Ok(vec![(name, next.finish())])
    }

    /// Notary has no place for tombstones.
    fn tombstones(&self, taken_off: &[String]) -> Vec<(TargetPath, Tombstone)> {
        let Some(released) = self.released.filter(|_| self.state.root().dialect() == Dialect::Tuf1) else {
            return vec![];
        };
        let reason = self.request.reason.clone();
        let reason = reason.unwrap_or_else(|| format!("signer {} was revoked", self.request.name));
        let revoked_by = keys(self.ring, &RoleName::Targets, &repository_authority(self.state));
        let tombstone = |path: TargetPath| {
            let digest = released.targets.get(path.as_str())?.hashes.as_sha256()?;
            let (reason, revoked_by) = (Some(reason.clone()), revoked_by.clone());
            Some((path, Tombstone { digest, reason, revoked_at: self.now, revoked_by }))
        };
        paths(taken_off).filter_map(tombstone).collect()
    }

    /// The document of whoever takes over, and those of roles that do not stand without the keys.
    fn signed_anew(&self, shared: &Shared) -> Result<Vec<(DelegatedRoleName, Targets)>, SignerError> {
        let taker = self.request.re_sign_as.as_ref().map(SignerName::role);
        let taker = taker.filter(|_| !shared.taken_over.is_empty());
        let stale = self.trimmed.iter().filter(|(role, _)| self.is_stale(role));
        let names: BTreeSet<_> = stale.map(|(role, _)| &role.name).chain(taker).collect();
        let mut documents = Vec::new();
        for name in names {
            let mut edit = match self.state.delegated().get(name) {
                Some(before) => self.next(before.payload())?,
                None => self.first(name)?,
            };
            for path in paths(&shared.taken_over).filter(|_| taker == Some(name)) {
                let info = self.released.and_then(|listed| listed.targets.get(path.as_str()));
                if let Some((info, digest)) = info.and_then(|info| Some((info, info.hashes.as_sha256()?))) {
                    edit.sign_target(&path, digest, info.length, self.now);
                }
            }
            documents.push((name.clone(), edit.finish()));
        }
        Ok(documents)
    }

    /// The first document of a signer who takes over before it signed anything.
    fn first(&self, name: &DelegatedRoleName) -> Result<TargetsEdit, SignerError> {
        let role = RoleName::Delegated(name.clone());
        let dialect = self.state.root().dialect();
        let expires = self.now.plus_seconds(lifetimes::targets(dialect));
        let version = next_version(self.state, &role).ok_or(SignerError::LastVersion)?;
        let repository = self.state.root().payload().repository.clone();
        Ok(TargetsEdit::new(dialect, role, version, expires).for_repository(repository))
    }

    fn outcome(self, shared: Shared) -> Outcome {
        let root = self.state.root().payload();
        let holds =
            |role: &TopLevelRole| !root.role(*role).fingerprints(&root.keys).is_disjoint(&self.leaving.keys);
        let top_level = TopLevelRole::ALL.into_iter().filter(holds).map(top_name).collect();
        let own = self.state.delegated().get(&self.role.name).map(|document| document.payload());
        let also = self.leaving.roles.iter().filter(|role| role.name != self.role.name);
        Outcome {
            also_removed: also.map(|role| role_name(role)).collect(),
            taken_out_of: self.trimmed.iter().map(|(role, _)| role_name(role)).collect(),
            still_in: self.still_in,
            top_level,
            signed: own.map(|own| self.look.entries(own)).unwrap_or_default(),
            keys: self.leaving.keys,
            shared,
        }
    }
}

fn paths(names: &[String]) -> impl Iterator<Item = TargetPath> {
    names.iter().filter_map(|name| name.parse().ok())
}

/// The roles that a document delegates to, with their keys.
fn nested(document: &Targets) -> Vec<(RoleName, BTreeSet<Fingerprint>)> {
    let Some(delegations) = &document.delegations else { return vec![] };
    let Children::Roles(roles) = &delegations.children else { return vec![] };
    roles.iter().map(|role| (role_name(role), role.keys.fingerprints(&delegations.keys))).collect()
}

fn top_name(role: TopLevelRole) -> RoleName {
    match role {
        TopLevelRole::Root => RoleName::Root,
        TopLevelRole::Snapshot => RoleName::Snapshot,
        TopLevelRole::Targets => RoleName::Targets,
        TopLevelRole::Timestamp => RoleName::Timestamp,
    }
}

fn unknown(name: &SignerName) -> SignerError {
    SignerError::Unknown { name: name.clone() }
}
