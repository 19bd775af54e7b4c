//! Who is asking, and what may they do.
//!
//! Nobody can tell an absent repository from one they may not see: the question is decided
//! before the store is asked, and both get the same answer.

mod scope;
mod token_file;
mod tokens;

use bulla_keys_schema::names::RepositoryName;

pub use scope::{InvalidScope, Right, Rights, Scope};
pub use token_file::{TokenEntry, TokenFile, TokenFileError, TokenName};
pub use tokens::{AuthError, TokenBook};

/// Somebody whose rights are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    name: String,
    rights: Rights,
    scopes: Vec<Scope>,
}

impl Caller {
    /// The holder of a token.
    #[must_use]
    pub fn token(name: String, rights: Rights, scopes: Vec<Scope>) -> Self {
        Self { name, rights, scopes }
    }

    /// Whoever reaches a server without authentication: everybody may do everything.
    #[must_use]
    pub fn unrestricted() -> Self {
        Self { name: "anonymous".to_owned(), rights: Rights::all(), scopes: vec![Scope::everything()] }
    }

    /// The name for logs and for the feed of changes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether this caller has `right` on `repository`.
    #[must_use]
    pub fn may(&self, right: Right, repository: &RepositoryName) -> bool {
        self.rights.include(right) && self.scopes.iter().any(|scope| scope.covers(repository))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_count_within_the_scope_only() {
        let caller = Caller::token("ci".into(), "publish".parse().unwrap(), vec!["r.io/team/**".parse().unwrap()]);
        let inside: RepositoryName = "r.io/team/app".parse().unwrap();
        let outside: RepositoryName = "r.io/other/app".parse().unwrap();
        assert!(caller.may(Right::Read, &inside) && caller.may(Right::Publish, &inside));
        assert!(!caller.may(Right::Admin, &inside));
        assert!(!caller.may(Right::Read, &outside));
    }
}
