//! Who is asking, and what may they do.
//!
//! Nobody can tell an absent repository from one they may not see: the question is decided
//! before the store is asked, and both get the same answer.

mod scope;
mod token_file;
mod tokens;

use bulla_keys_schema::names::RepositoryName;
use http::HeaderValue;

pub use scope::{InvalidScope, Right, Rights, Scope};
pub use token_file::{TokenEntry, TokenFile, TokenFileError, TokenName};
pub use tokens::{AuthError, TokenBook};

/// How callers are told apart.
pub struct Access {
    tokens: Option<TokenBook>,
    anonymous_read: bool,
}

impl Access {
    /// Callers need a token; with `anonymous_read` not for metadata and targets.
    #[must_use]
    pub const fn tokens(book: TokenBook, anonymous_read: bool) -> Self {
        Self { tokens: Some(book), anonymous_read }
    }

    /// Everybody may do everything: for development on loopback.
    #[must_use]
    pub const fn open() -> Self {
        Self { tokens: None, anonymous_read: true }
    }

    /// Whether metadata and targets are for everybody.
    #[must_use]
    pub const fn is_read_public(&self) -> bool {
        self.anonymous_read
    }

    /// Whether callers can be told apart at present.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.tokens.as_ref().is_none_or(TokenBook::is_readable)
    }

    /// Who sends a request with this `Authorization` header.
    ///
    /// # Errors
    /// A token is needed and was not sent, or is not valid.
    pub fn identify(&self, authorization: Option<&HeaderValue>) -> Result<Caller, AuthError> {
        let Some(book) = &self.tokens else { return Ok(Caller::unrestricted()) };
        let header = authorization.ok_or(AuthError::Missing)?;
        let text = header.to_str().map_err(|_| AuthError::Unknown)?;
        // RFC 9110 11.1: the scheme is case-insensitive.
        let (scheme, token) = text.split_once(' ').ok_or(AuthError::Missing)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(AuthError::Missing);
        }
        book.caller(token.trim())
    }
}

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
        let caller =
            Caller::token("ci".into(), "publish".parse().unwrap(), vec!["r.io/team/**".parse().unwrap()]);
        let inside: RepositoryName = "r.io/team/app".parse().unwrap();
        let outside: RepositoryName = "r.io/other/app".parse().unwrap();
        assert!(caller.may(Right::Read, &inside) && caller.may(Right::Publish, &inside));
        assert!(!caller.may(Right::Admin, &inside));
        assert!(!caller.may(Right::Read, &outside));
    }
}
