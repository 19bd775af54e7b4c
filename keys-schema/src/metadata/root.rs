//! Root: who speaks for each top-level role.

use crate::json::Object;
use crate::metadata::{KeyTable, RoleKeys, Version};
use crate::names::RepositoryName;
use crate::time::UtcTime;

/// Keys and thresholds of the top-level roles (TUF 1.0, 4.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    /// The repository this root is made for, where its signers said so. One key often signs
    /// for many repositories: without the name, whoever serves them could swap them.
    pub repository: Option<RepositoryName>,
    /// Version of this document.
    pub version: Version,
    /// When it may no longer be used.
    pub expires: UtcTime,
    /// Whether files carry their version or digest in their names (C11).
    pub consistent_snapshot: bool,
    /// All keys of all top-level roles.
    pub keys: KeyTable,
    /// Who signs root.
    pub root: RoleKeys,
    /// Who signs targets.
    pub targets: RoleKeys,
    /// Who signs snapshot.
    pub snapshot: RoleKeys,
    /// Who signs timestamp.
    pub timestamp: RoleKeys,
    /// Members this crate does not interpret, kept when the document is edited (C28).
    pub extra: Object,
}

impl Root {
    /// Who signs `role`.
    #[must_use]
    pub const fn role(&self, role: TopLevelRole) -> &RoleKeys {
        match role {
            TopLevelRole::Root => &self.root,
            TopLevelRole::Snapshot => &self.snapshot,
            TopLevelRole::Targets => &self.targets,
            TopLevelRole::Timestamp => &self.timestamp,
        }
    }

    /// Who signs `role`, to be changed.
    pub const fn role_mut(&mut self, role: TopLevelRole) -> &mut RoleKeys {
        match role {
            TopLevelRole::Root => &mut self.root,
            TopLevelRole::Snapshot => &mut self.snapshot,
            TopLevelRole::Targets => &mut self.targets,
            TopLevelRole::Timestamp => &mut self.timestamp,
        }
    }
}

/// The four roles that root speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopLevelRole {
    /// root
    Root,
    /// snapshot
    Snapshot,
    /// targets
    Targets,
    /// timestamp
    Timestamp,
}

impl TopLevelRole {
    /// All four, in the order of their names.
    pub const ALL: [Self; 4] = [Self::Root, Self::Snapshot, Self::Targets, Self::Timestamp];

    /// The name as metadata spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Snapshot => "snapshot",
            Self::Targets => "targets",
            Self::Timestamp => "timestamp",
        }
    }
}
