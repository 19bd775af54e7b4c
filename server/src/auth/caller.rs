//! Somebody who is let in, and what he may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use bulla_keys_schema::names::RepositoryName;

use super::{Right, Rights, Scope};

/// Somebody whose rights are known. Cheap to clone: every read of a token's holder makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: Arc<str>,
    grants: Grants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Grants {
    /// Of a token of our own.
    Scoped { rights: Rights, scopes: Arc<[Scope]> },
    /// Of a registry's token: repository by repository.
    Listed(Arc<Listed>),
}

/// What a registry's token allows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listed {
    /// The actions, for each repository that the token names.
    pub(super) repositories: BTreeMap<RepositoryName, Actions>,
    /// Whether lists of all repositories may be read.
    pub(super) catalog: bool,
}

/// Actions on one repository. None of them includes another but `all`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Actions {
    /// `pull`
    pub(super) pull: bool,
    /// `push`
    pub(super) push: bool,
    /// `*`
    pub(super) all: bool,
}

impl Actions {
    const fn include(self, right: Right) -> bool {
        self.all
            || match right {
                Right::Read => self.pull,
                Right::Publish => self.push,
                Right::Admin => false,
            }
    }
}

impl Caller {
    /// The holder of a token.
    #[must_use]
    pub fn token(name: &str, rights: Rights, scopes: Vec<Scope>) -> Self {
        Self { name: name.into(), grants: Grants::Scoped { rights, scopes: scopes.into() } }
    }

    /// The holder of a registry's token.
    pub(super) fn listed(name: &str, listed: Arc<Listed>) -> Self {
        Self { name: name.into(), grants: Grants::Listed(listed) }
    }

    /// Whoever reaches a server without authentication: everybody may do everything.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self::token("anonymous", Rights::all(), vec![Scope::everything()])
    }

    /// The name for logs and for the feed of changes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this caller has `right` on `repository`.
    #[must_use]
    pub fn may(&self, right: Right, repository: &RepositoryName) -> bool {
        match &self.grants {
            Grants::Scoped { rights, scopes } => {
                rights.include(right) && scopes.iter().any(|scope| scope.covers(repository))
            }
            Grants::Listed(listed) => {
                listed.repositories.get(repository).is_some_and(|actions| actions.include(right))
            }
        }
    }

    /// Whether this caller may see all names and changes: a token of our own for everything,
    /// or a registry's token with `registry:catalog:*`.
    #[must_use]
    pub fn may_catalog(&self) -> bool {
        match &self.grants {
            Grants::Scoped { rights, scopes } => {
                rights.include(Right::Read) && scopes.contains(&Scope::everything())
            }
            Grants::Listed(listed) => listed.catalog,
        }
    }

    /// Whether `repository` stands in lists that this caller is shown.
    #[must_use]
    pub fn may_list(&self, repository: &RepositoryName) -> bool {
        self.may_catalog() || self.may(Right::Read, repository)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_count_within_the_scope_only() {
        let caller = Caller::token("ci", "publish".parse().unwrap(), vec!["r.io/team/**".parse().unwrap()]);
        let inside: RepositoryName = "r.io/team/app".parse().unwrap();
        let outside: RepositoryName = "r.io/other/app".parse().unwrap();
        assert!(caller.may(Right::Read, &inside) && caller.may(Right::Publish, &inside));
        assert!(!caller.may(Right::Admin, &inside));
        assert!(!caller.may(Right::Read, &outside));
        assert!(!caller.may_catalog());
        assert!(Caller::unrestricted().may_catalog());
    }

    #[test]
    fn an_action_of_a_registry_includes_no_other() {
        let actions = |pull, push, all| Actions { pull, push, all };
        let rights = [Right::Read, Right::Publish, Right::Admin];
        for (actions, expected) in [
            (actions(true, false, false), [true, false, false]),
            (actions(false, true, false), [false, true, false]),
            (actions(true, true, false), [true, true, false]),
            (actions(false, false, true), [true, true, true]),
            (actions(false, false, false), [false, false, false]),
        ] {
            assert_eq!(rights.map(|right| actions.include(right)), expected, "{actions:?}");
        }
    }
}
