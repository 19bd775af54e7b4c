//! The search through delegations (TUF 1.0, 5.6.7), and before it the deny list, where a
//! repository has one: what is on it is not found, whoever lists it.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::dialect::Dialect;
use crate::limits;
use crate::metadata::{Children, Denial, DenyList, MetaInfo, TargetInfo, Targets};
use crate::names::{DelegatedRoleName, RoleName, TargetPath};
use crate::verify::{ChainError, TrustedTargets, Verified};

/// A search for one target: pre-order, in the order of the delegations. It asks its driver
/// for one document after the other and stops at the first role that lists the path.
#[derive(Debug)]
pub struct Walk<'a> {
    repository: &'a TrustedTargets,
    path: TargetPath,
    /// Edges still to follow, the next one last.
    pending: Vec<Edge>,
    visited: BTreeSet<DelegatedRoleName>,
    found: Option<Found>,
    denials: Denials,
}

/// What is known of the deny list.
#[derive(Debug)]
enum Denials {
    /// The repository has none.
    None,
    /// It has one, which comes before everything else.
    Wanted(DelegatedRoleName),
    /// It says this.
    Known(Verified<Targets>),
}

#[derive(Debug)]
struct Edge {
    delegator: Verified<Targets>,
    role: DelegatedRoleName,
}

/// What a search does next.
#[derive(Debug)]
pub enum Step {
    /// Fetch this document and hand it to [`Walk::supply`].
    Fetch(Need),
    /// The first role in order that lists the path.
    Found(Found),
    /// No role in scope lists the path.
    NotFound,
}

/// A document that a search needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// Of which role.
    pub role: DelegatedRoleName,
    /// What the snapshot says of it.
    pub info: MetaInfo,
}

/// A target that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The role that lists it.
    pub role: RoleName,
    /// What it lists.
    pub info: TargetInfo,
}

impl<'a> Walk<'a> {
    /// Starts at the top-level targets.
    #[must_use]
    pub fn new(repository: &'a TrustedTargets, path: TargetPath) -> Self {
        let name = DelegatedRoleName::revocations();
        let top = repository.targets();
        let has_list = top.dialect() == Dialect::Tuf1 && top.payload().delegation(&name).is_some();
        let denials = if has_list { Denials::Wanted(name) } else { Denials::None };
        let (pending, visited) = (Vec::new(), BTreeSet::new());
        let mut walk = Self { repository, path, pending, visited, found: None, denials };
        walk.visit(&RoleName::Targets, repository.targets());
        walk
    }

    /// What to do next.
    ///
    /// # Errors
    /// A delegated role is not in the snapshot (C26: whoever withholds a role must not reach
    /// the roles behind it), more roles than one search may visit (C25), or the target is denied.
    pub fn step(&mut self) -> Result<Step, WalkError> {
        if let Denials::Wanted(role) = &self.denials {
            let info = self.repository.wanted(role)?.clone();
            return Ok(Step::Fetch(Need { role: role.clone(), info }));
        }
        if let Some(found) = &self.found {
            return match self.denial(&found.info) {
                None => Ok(Step::Found(found.clone())),
                Some(denial) => Err(WalkError::Denied { path: self.path.clone(), denial: Box::new(denial) }),
            };
        }
        while let Some(edge) = self.pending.last() {
            if self.visited.contains(&edge.role) {
                self.pending.pop();
                continue;
            }
            if self.visited.len() >= limits::VISITED_ROLES {
                return Err(WalkError::TooManyRoles { path: self.path.clone() });
            }
            let info = self.repository.wanted(&edge.role)?.clone();
            return Ok(Step::Fetch(Need { role: edge.role.clone(), info }));
        }
        Ok(Step::NotFound)
    }

    /// Hands over the document that [`Walk::step`] asked for. It is verified with the keys of
    /// the delegator on this very edge (C21, C23), whoever else may have accepted it.
    ///
    /// # Errors
    /// The document is not to be trusted. A stored copy may then be replaced by a fetched
    /// one; there is no way past the role (C26).
    pub fn supply(&mut self, bytes: Bytes) -> Result<Verified<Targets>, WalkError> {
        if let Denials::Wanted(role) = &self.denials {
            let list = self.repository.delegated(role, bytes)?;
            self.denials = Denials::Known(list.clone());
            return Ok(list);
        }
        let edge = self.pending.last().ok_or(WalkError::NothingWanted)?;
        let role = edge.role.clone();
        let targets = self.repository.delegated_by(&edge.delegator, &role, bytes)?;
        self.pending.pop();
        self.visited.insert(role.clone());
        self.visit(&RoleName::Delegated(role), &targets);
        Ok(targets)
    }

    fn denial(&self, info: &TargetInfo) -> Option<Denial> {
        match &self.denials {
            Denials::Known(list) => DenyList::new(list.payload()).find(&info.hashes),
            Denials::None | Denials::Wanted(_) => None,
        }
    }

    /// Looks into one role. Only children whose scope matches count (C22: they were reached
    /// through matching scopes all the way), and the first *matching* terminating one ends
    /// the search behind it, here and in all roles above (C24).
    fn visit(&mut self, name: &RoleName, targets: &Verified<Targets>) {
        if let Some(info) = targets.payload().targets.get(self.path.as_str()) {
            self.found = Some(Found { role: name.clone(), info: info.clone() });
            return;
        }
        let Some(delegations) = &targets.payload().delegations else { return };
        let mut children = Vec::new();
        match &delegations.children {
            Children::Roles(roles) => {
                for child in roles.iter().filter(|child| child.scope.matches(&self.path)) {
                    children.push(child.name.clone());
                    if child.terminating {
                        self.pending.clear();
                        break;
                    }
                }
            }
            Children::Succinct(bins) => children.extend(bins.bin(&self.path)),
        }
        let edges = children.into_iter().rev();
        self.pending.extend(edges.map(|role| Edge { delegator: targets.clone(), role }));
    }
}

/// Why a search cannot be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// A role on the way cannot be trusted or is missing.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// The digest that the path stands for was revoked, whoever lists it.
    #[error("{path} stands for sha256:{}, which was revoked", denial.digest)]
    Denied {
        /// The path.
        path: TargetPath,
        /// When and why.
        denial: Box<Denial>,
    },
    /// A document was supplied that was not asked for.
    #[error("no document was asked for")]
    NothingWanted,
    /// Too many roles speak for the path.
    #[error("more than {} roles to search for {path}", limits::VISITED_ROLES)]
    TooManyRoles {
        /// The path.
        path: TargetPath,
    },
}
