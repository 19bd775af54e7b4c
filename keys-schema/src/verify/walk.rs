//! The search through delegations (TUF 1.0, 5.6.7).

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::limits;
use crate::metadata::{Children, MetaInfo, TargetInfo, Targets};
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
        let mut walk = Self { repository, path, pending: Vec::new(), visited: BTreeSet::new(), found: None };
        walk.visit(&RoleName::Targets, repository.targets());
        walk
    }

    /// What to do next.
    ///
    /// # Errors
    /// A delegated role is not in the snapshot (C26: whoever withholds a role must not reach
    /// the roles behind it), or more roles than one search may visit (C25).
    pub fn step(&mut self) -> Result<Step, WalkError> {
        if let Some(found) = &self.found {
            return Ok(Step::Found(found.clone()));
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
        let edge = self.pending.last().ok_or(WalkError::NothingWanted)?;
        let role = edge.role.clone();
        let targets = self.repository.delegated_by(&edge.delegator, &role, bytes)?;
        self.pending.pop();
        self.visited.insert(role.clone());
        self.visit(&RoleName::Delegated(role), &targets);
        Ok(targets)
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
