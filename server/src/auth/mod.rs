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
use zeroize::Zeroizing;

pub use caller::Caller;
pub use challenge::{BASIC_CHALLENGE, ChallengeScope, Host, OwnRealm, TOKEN_PATH};
pub use registry::{
    Algorithm, BundleError, JwksError, RegistryAuth, RegistryAuthError, RegistrySettings, RegistryTokenFault,
    UnfitKey,
};
pub use scope::{InvalidScope, Right, Rights, Scope};
pub use token_file::{TokenEntry, TokenFile, TokenFileError, TokenName};
pub use tokens::{AuthError, TokenBook};

use credentials::Credentials;

/// What callers without a password are given at [`TOKEN_PATH`], because clients of Notary
/// demand to be given something. Everybody knows it; presenting it is presenting nothing.
const ANONYMOUS_TOKEN: &str = "anonymous";

/// How callers are told apart.
pub struct Access {
    tokens: Option<TokenBook>,
    token_server: TokenServer,
    anonymous_read: bool,
}

/// Where clients that want a token server are sent.
enum TokenServer {
    Nowhere,
    Own(OwnRealm),
    Registry(Box<RegistryAuth>),
}

/// What somebody is given at [`TOKEN_PATH`].
pub struct Issued {
    /// Who he is; `None` if he did not say.
    pub caller: Option<Caller>,
    /// What he is to send as `Bearer`.
    pub token: Zeroizing<String>,
}

impl Access {
    /// Callers need a token; with `anonymous_read` not for metadata and targets.
    #[must_use]
    pub const fn tokens(book: TokenBook, anonymous_read: bool) -> Self {
        Self { tokens: Some(book), token_server: TokenServer::Nowhere, anonymous_read }
    }

    /// Everybody may do everything: for development on loopback.
    #[must_use]
    pub const fn open() -> Self {
        Self { tokens: None, token_server: TokenServer::Nowhere, anonymous_read: true }
    }

    /// Takes the tokens of a registry's token server as well.
    #[must_use]
    pub fn with_registry(self, registry: RegistryAuth) -> Self {
        Self { token_server: TokenServer::Registry(Box::new(registry)), ..self }
    }

    /// Is a token server itself, for clients that send their password nowhere else: `notary`
    /// sends none with what it reads.
    #[must_use]
    pub fn with_own_realm(self, realm: OwnRealm) -> Self {
        Self { token_server: TokenServer::Own(realm), ..self }
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
            Credentials::Bearer(token) => match &self.token_server {
                TokenServer::Own(_) if token == ANONYMOUS_TOKEN => Err(AuthError::Missing),
                TokenServer::Registry(registry) if !TokenBook::is_like_token(token) => registry.caller(token),
                _ => book.caller(token),
            },
            Credentials::Basic { password } => book.caller(&password),
        }
    }

    /// What whoever sends this `Authorization` header is given at [`TOKEN_PATH`]: the token of
    /// our own that he presents as a password, or a fixed text that stands for nothing if he
    /// presents nothing. `None` if this server gives out no tokens.
    ///
    /// # Errors
    /// Anything else was presented: nobody who got his password wrong goes on as anybody.
    pub fn issue(&self, authorization: Option<&HeaderValue>) -> Option<Result<Issued, AuthError>> {
        let (Some(book), TokenServer::Own(_)) = (&self.tokens, &self.token_server) else { return None };
        Some(match authorization.map(Credentials::read) {
            None => Ok(Issued { caller: None, token: Zeroizing::new(ANONYMOUS_TOKEN.to_owned()) }),
            Some(Ok(Credentials::Basic { password })) => {
                book.caller(&password).map(|caller| Issued { caller: Some(caller), token: password })
            }
            Some(Ok(Credentials::Bearer(_))) => Err(AuthError::Unknown),
            Some(Err(error)) => Err(error),
        })
    }

    /// Values of `WWW-Authenticate` for a 401 on Notary's routes: what a client has to do to
    /// be let in. The answer depends on the URL and on `host`, never on what is stored. Without
    /// a host, nobody can be sent to this server's own [`TOKEN_PATH`].
    ///
    /// One challenge only: the old clients answer every scheme that they know, and the last
    /// answer overwrites the others.
    #[must_use]
    pub fn challenges(&self, scope: &ChallengeScope<'_>, host: Option<Host<'_>>) -> Vec<HeaderValue> {
        let own = match &self.token_server {
            TokenServer::Registry(registry) => return vec![registry.challenge(scope)],
            TokenServer::Own(realm) => host.and_then(|host| realm.challenge(host, scope)),
            TokenServer::Nowhere => None,
        };
        vec![own.unwrap_or(BASIC_CHALLENGE)]
    }
}
