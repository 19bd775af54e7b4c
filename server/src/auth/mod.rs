//! Who is asking, and what may they do.
//!
//! Nobody can tell an absent repository from one they may not see: the question is decided
//! before the store is asked, and both get the same answer.

mod caller;
mod challenge;
mod credentials;
mod registry;
mod scope;
mod token_file;
mod tokens;

use http::HeaderValue;

pub use caller::Caller;
pub use challenge::ChallengeScope;
pub use registry::{
    Algorithm, BundleError, JwksError, RegistryAuth, RegistryAuthError, RegistrySettings, RegistryTokenFault,
    UnfitKey,
};
pub use scope::{InvalidScope, Right, Rights, Scope};
pub use token_file::{TokenEntry, TokenFile, TokenFileError, TokenName};
pub use tokens::{AuthError, TokenBook};

use credentials::Credentials;

/// How callers are told apart.
pub struct Access {
    tokens: Option<TokenBook>,
    registry: Option<RegistryAuth>,
    anonymous_read: bool,
}

impl Access {
    /// Callers need a token; with `anonymous_read` not for metadata and targets.
    #[must_use]
    pub const fn tokens(book: TokenBook, anonymous_read: bool) -> Self {
        Self { tokens: Some(book), registry: None, anonymous_read }
    }

    /// Everybody may do everything: for development on loopback.
    #[must_use]
    pub const fn open() -> Self {
        Self { tokens: None, registry: None, anonymous_read: true }
    }

    /// Takes the tokens of a registry's token server as well.
    #[must_use]
    pub fn with_registry(self, registry: RegistryAuth) -> Self {
        Self { registry: Some(registry), ..self }
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

    /// Who sends a request with this `Authorization` header: `Bearer` with a token of our own
    /// or of the registry's token server, or `Basic` with one of our own as the password.
    ///
    /// # Errors
    /// A token is needed and was not sent, or is not valid.
    pub fn identify(&self, authorization: Option<&HeaderValue>) -> Result<Caller, AuthError> {
        let Some(book) = &self.tokens else { return Ok(Caller::unrestricted()) };
        match Credentials::read(authorization.ok_or(AuthError::Missing)?)? {
            Credentials::Bearer(token) => match &self.registry {
                Some(registry) if !TokenBook::is_like_token(token) => registry.caller(token),
                _ => book.caller(token),
            },
            Credentials::Basic { password } => book.caller(&password),
        }
    }

    /// Values of `WWW-Authenticate` for a 401 on Notary's routes: what a client has to do to
    /// be let in. The answer depends on the URL alone, never on what is stored.
    ///
    /// One challenge only: the old clients answer every scheme that they know, and the last
    /// answer overwrites the others.
    #[must_use]
    pub fn challenges(&self, scope: &ChallengeScope<'_>) -> Vec<HeaderValue> {
        vec![match &self.registry {
            Some(registry) => registry.challenge(scope),
            None => challenge::BASIC,
        }]
    }
}
