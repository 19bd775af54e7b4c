//! What a request builds on: who may sign its documents, and which current documents say so.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::dialect::Dialect;
use crate::digest::Sha256Digest;
use crate::key::Fingerprint;
use crate::limits;
use crate::metadata::{Children, KeyTable, RoleKeys, Root, Targets, Version};
use crate::names::RoleName;
use crate::request::KeySet;
use crate::verify::submission::CurrentState;
use crate::verify::{Proposed, Verified};

/// A current document by what identifies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BaseDocument {
    /// Its version.
    pub version: Version,
    /// The digest of its bytes.
    pub sha256: Sha256Digest,
}

impl BaseDocument {
    /// The current document of `role`; the online roles change too often to build on.
    #[must_use]
    pub fn of(current: &CurrentState, role: &RoleName) -> Option<Self> {
        match role {
            RoleName::Root => Some(Self::describe(current.root().version(), current.root().digest())),
            RoleName::Snapshot | RoleName::Timestamp => None,
            _ => {
                let document = targets_of(current, role)?;
                Some(Self::describe(document.version(), document.digest()))
            }
        }
    }

    const fn describe(version: Version, sha256: Sha256Digest) -> Self {
        Self { version, sha256 }
    }
}

/// A document of a request, read.
#[derive(Clone, Debug)]
pub(super) enum Body {
    Root(Proposed<Root>),
    Targets(Proposed<Targets>),
}

/// The keys that one delegator names for a role, and what to call them. All its children share
/// one table: copies of a long one for thousands of children would not fit into memory.
#[derive(Clone, Debug)]
pub(super) struct Signers {
    pub(super) set: KeySet,
    pub(super) keys: RoleKeys,
    pub(super) table: Arc<KeyTable>,
    /// The distinct key material of `keys`.
    pub(super) prints: BTreeSet<Fingerprint>,
}

impl Signers {
    fn new(set: KeySet, keys: RoleKeys, table: Arc<KeyTable>) -> Self {
        Self { set, prints: keys.fingerprints(&table), keys, table }
    }
}

/// The repository as it would be: current documents, and those of the request in their place.
pub(super) struct Outlook<'a> {
    dialect: Dialect,
    current: Option<&'a CurrentState>,
    bodies: &'a BTreeMap<RoleName, Body>,
    edges: BTreeMap<RoleName, Edge>,
}

/// Who delegates to a role, and with which keys.
struct Edge {
    parent: RoleName,
    signers: Signers,
}

impl<'a> Outlook<'a> {
    pub(super) fn new(
        dialect: Dialect,
        current: Option<&'a CurrentState>,
        bodies: &'a BTreeMap<RoleName, Body>,
    ) -> Self {
        let mut outlook = Self { dialect, current, bodies, edges: BTreeMap::new() };
        outlook.follow();
        outlook
    }

    /// The root as it would be.
    pub(super) fn root(&self) -> Option<&'a Root> {
        match self.bodies.get(&RoleName::Root) {
            Some(Body::Root(root)) => Some(root.payload()),
            _ => self.current.map(|current| current.root().payload()),
        }
    }

    /// Who must sign `role`; nobody if no document delegates to it.
    pub(super) fn signers(&self, role: &RoleName) -> Vec<Signers> {
        let Some(Body::Root(root)) = self.bodies.get(role) else {
            return self.edges.get(role).map(|edge| edge.signers.clone()).into_iter().collect();
        };
        let signers = |set, keys, root: &Root| Signers::new(set, keys, Arc::new(root.keys.clone()));
        let Some(current) = self.current else {
            return vec![signers(KeySet::Role, root.own_keys(), root.payload())];
        };
        let old = current.root().payload();
        let old_keys = Proposed::keys_of(self.dialect, old);
        vec![signers(KeySet::Old, old_keys, old), signers(KeySet::New, root.own_keys(), root.payload())]
    }

    /// The roles whose current documents the request must name: what it replaces, and what
    /// says who may.
    pub(super) fn base(&self) -> BTreeMap<RoleName, BaseDocument> {
        let Some(current) = self.current else { return BTreeMap::new() };
        let mut roles = BTreeSet::from([RoleName::Root]);
        for role in self.bodies.keys() {
            let mut way = Some(role);
            while let Some(role) = way {
                roles.insert(role.clone());
                way = self.edges.get(role).map(|edge| &edge.parent);
            }
        }
        roles
            .into_iter()
            .filter_map(|role| BaseDocument::of(current, &role).map(|document| (role, document)))
            .collect()
    }

    /// Current documents that stay, and that their delegators would no longer vouch for: they
    /// must be signed anew together with the change.
    pub(super) fn orphan(&self) -> Option<RoleName> {
        let (current, root) = (self.current?, self.root()?);
        // In Notary's dialect a delegated role retires then.
        let must_stay = |role: &RoleName| self.dialect == Dialect::Tuf1 || *role == RoleName::Targets;
        let stays = self.edges.iter().filter(|(role, _)| !self.bodies.contains_key(*role) && must_stay(role));
        let mut stays = stays.filter_map(|(role, edge)| Some((role, edge, targets_of(current, role)?)));
        let orphan = stays.find(|(role, edge, document)| {
            let raw = crate::verify::RawMetadata::<Targets>::new(self.dialect, document.bytes().clone());
            raw.verify_as(role, root, &edge.signers.keys, &edge.signers.table).is_err()
        });
        orphan.map(|(role, ..)| role.clone())
    }

    /// The document of `targets` or of a delegated role as it would be.
    pub(super) fn targets(&self, role: &RoleName) -> Option<&'a Targets> {
        match self.bodies.get(role) {
            Some(Body::Targets(targets)) => Some(targets.payload()),
            _ => targets_of(self.current?, role).map(Verified::payload),
        }
    }

    fn follow(&mut self) {
        let Some(root) = self.root() else { return };
        let table = Arc::new(root.keys.clone());
        let top = Signers::new(KeySet::Role, root.targets.clone(), table);
        self.edges.insert(RoleName::Targets, Edge { parent: RoleName::Root, signers: top });
        let mut delegators = VecDeque::from([RoleName::Targets]);
        while let Some(parent) = delegators.pop_front() {
            let delegations = self.targets(&parent).and_then(|targets| targets.delegations.as_ref());
            let Some(delegations) = delegations else { continue };
            let Children::Roles(children) = &delegations.children else { continue };
            let table = Arc::new(delegations.keys.clone());
            for child in children {
                let role = RoleName::Delegated(child.name.clone());
                // The first edge counts: of two, the server refuses the upload.
                if self.edges.len() > limits::DELEGATIONS || self.edges.contains_key(&role) {
                    continue;
                }
                let table = Arc::clone(&table);
                let signers = Signers::new(KeySet::Role, child.keys.clone(), table);
                self.edges.insert(role.clone(), Edge { parent: parent.clone(), signers });
                delegators.push_back(role);
            }
        }
    }
}

/// The current document of `targets` or of a delegated role.
pub(super) fn targets_of<'a>(current: &'a CurrentState, role: &RoleName) -> Option<&'a Verified<Targets>> {
    match role {
        RoleName::Targets => Some(current.targets()),
        RoleName::Delegated(name) => current.delegated().get(name),
        _ => None,
    }
}
