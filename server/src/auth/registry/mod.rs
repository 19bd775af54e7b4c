//! Tokens of a registry's token server: signed JSON Web Tokens, as Docker's registries and
//! Notary's server take them.
//!
//! A signature counts if one of the keys in our configuration made it, or a key whose
//! certificate leads to one of our configuration; never because of what a token brings along.

mod bundle;
mod cache;
mod claims;
mod jwks;
mod key;
mod token;
mod trust;

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use http::HeaderValue;

pub use bundle::BundleError;
pub use jwks::JwksError;
pub use key::{Algorithm, UnfitKey};

use super::challenge::{self, ChallengeScope};
use super::{AuthError, Caller};
use crate::clock::SharedClock;
use bundle::Bundle;
use cache::Cache;
use claims::{Claims, Expected};
use token::Token;
use trust::Trust;

/// Bytes of the largest file with keys or certificates.
const FILE_BYTES: u64 = 1024 * 1024;
/// 2020: a clock before it is wrong, and would take what is over for valid.
const EARLIEST: i64 = 1_577_836_800;

/// Which tokens are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrySettings {
    /// URL of the token server, for clients.
    pub realm: String,
    /// The name of this server in tokens, their `aud`.
    pub service: String,
    /// The name of the token server in tokens, their `iss`.
    pub issuer: String,
    /// PEM file with certificates.
    pub rootcertbundle: Option<PathBuf>,
    /// JSON file with keys.
    pub jwks: Option<PathBuf>,
    /// How tokens may be signed.
    pub algorithms: Vec<Algorithm>,
    /// How far the two clocks may be apart, in whole seconds.
    pub leeway: Duration,
}

/// Takes the tokens of one token server.
pub struct RegistryAuth {
    realm: String,
    service: String,
    issuer: String,
    algorithms: Vec<Algorithm>,
    leeway: i64,
    trust: Trust,
    clock: SharedClock,
    cache: Cache,
}

impl RegistryAuth {
    /// Reads the keys. They are read once: new ones need a restart.
    ///
    /// # Errors
    /// A file is missing, empty or holds something else, or no token could ever be taken.
    pub fn open(settings: RegistrySettings, clock: SharedClock) -> Result<Self, RegistryAuthError> {
        let bundle = match &settings.rootcertbundle {
            None => Bundle::default(),
            Some(path) => {
                let bundle = Bundle::read(&read(BUNDLE, path)?)
                    .map_err(|source| RegistryAuthError::Bundle { path: path.clone(), source })?;
                for number in bundle.invalid_at(clock.now()) {
                    tracing::warn!(path = %path.display(), number, "{BUNDLE}: a certificate is not valid now");
                }
                bundle
            }
        };
        let keys = match &settings.jwks {
            None => Vec::new(),
            Some(path) => jwks::read(&read(JWKS, path)?)
                .map_err(|source| RegistryAuthError::Jwks { path: path.clone(), source })?,
        };
        let trust = Trust::new(keys, bundle);
        if !trust.can_use(&settings.algorithms) {
            return Err(RegistryAuthError::NoKey { issuer: settings.issuer });
        }
        let RegistrySettings { realm, service, issuer, algorithms, leeway, .. } = settings;
        let leeway = i64::try_from(leeway.as_secs()).unwrap_or(i64::MAX);
        if challenge::bearer(&realm, &service, &ChallengeScope::Catalog).is_none() {
            return Err(RegistryAuthError::Challenge { realm, service });
        }
        Ok(Self { realm, service, issuer, algorithms, leeway, trust, clock, cache: Cache::default() })
    }

    /// The holder of the token `text`.
    pub(super) fn caller(&self, text: &str) -> Result<Caller, AuthError> {
        self.check(text).inspect_err(|error| tracing::debug!(%error, "a registry token was refused"))
    }

    /// Where to get a token for `scope`.
    pub(super) fn challenge(&self, scope: &ChallengeScope<'_>) -> HeaderValue {
        // Tried when this was made; a scope holds nothing but the characters of a name.
        challenge::bearer(&self.realm, &self.service, scope).unwrap_or(challenge::BASIC_CHALLENGE)
    }

    fn check(&self, text: &str) -> Result<Caller, AuthError> {
        let now = self.clock.now();
        if now.unix_seconds() < EARLIEST {
            return Err(AuthError::Unreadable);
        }
        let token = Token::read(text)?;
        // Only now: the length is bounded.
        let digest = Sha256Digest::of(text.as_bytes());
        if let Some(caller) = self.cache.get(&digest, now) {
            return Ok(caller);
        }
        if !self.algorithms.contains(&token.algorithm) {
            return Err(RegistryTokenFault::Algorithm.into());
        }
        let keys = self.trust.keys(token.key_id.as_deref(), &token.chain, now);
        let members = token.open(keys.iter().map(AsRef::as_ref))?;
        let expected = Expected { issuer: &self.issuer, service: &self.service, leeway: self.leeway };
        let claims = Claims::read(&members, &expected, now)?;
        let caller = Caller::listed(&claims.actor(), Arc::new(claims.listed));
        self.cache.put(&digest, caller.clone(), now, claims.until);
        Ok(caller)
    }
}

const BUNDLE: &str = "auth.registry.rootcertbundle";
const JWKS: &str = "auth.registry.jwks";

fn read(key: &'static str, path: &Path) -> Result<Vec<u8>, RegistryAuthError> {
    let fault = |source| RegistryAuthError::Read { key, path: path.to_owned(), source };
    let mut bytes = Vec::new();
    File::open(path).map_err(fault)?.take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(fault)?;
    if bytes.len() as u64 > FILE_BYTES {
        return Err(fault(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB")));
    }
    Ok(bytes)
}

/// Why a registry's token is not taken. Whoever sent it may know: all of it stands in the
/// token, and nothing of what is stored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegistryTokenFault {
    /// Longer than what is looked at.
    #[error("the registry token is too long")]
    TooLong,
    /// Not a token, or with a member twice or of the wrong type.
    #[error("the registry token is malformed")]
    Malformed,
    /// RFC 7515 4.1.11.
    #[error("the registry token has critical members in its header")]
    Critical,
    /// Not one that is allowed, or not the one of the key.
    #[error("the registry token is signed with an algorithm that is not allowed, or does not fit the key")]
    Algorithm,
    /// Something else than a token.
    #[error("the registry token is of another type than JWT")]
    Kind,
    /// Neither `kid` nor `x5c` leads to a key that is trusted and valid now.
    #[error("the registry token is signed with a key that is not trusted")]
    UnknownKey,
    /// The key did not sign this.
    #[error("the registry token's signature is wrong")]
    Signature,
    /// Another token server.
    #[error("the registry token comes from another issuer")]
    Issuer,
    /// For another service.
    #[error("the registry token is for another service")]
    Audience,
    /// Would be valid for ever.
    #[error("the registry token has no expiry")]
    NoExpiry,
    /// Its time is over.
    #[error("the registry token has expired")]
    Expired,
    /// Its time has not come.
    #[error("the registry token is not valid yet")]
    NotYet,
}

/// `[auth.registry]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RegistryAuthError {
    /// A file cannot be read.
    #[error("invalid configuration: {key}: cannot read {}: {source}", path.display())]
    Read {
        /// Which setting.
        key: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The certificates.
    #[error("invalid configuration: {BUNDLE}: {}: {source}", path.display())]
    Bundle {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: BundleError,
    },
    /// The keys.
    #[error("invalid configuration: {JWKS}: {}: {source}", path.display())]
    Jwks {
        /// Which file.
        path: PathBuf,
        /// What is wrong in it.
        source: JwksError,
    },
    /// Nothing can be checked.
    #[error(
        "invalid configuration: auth.registry.issuer: no key of {issuer:?} for the algorithms that are allowed\n\
         hint: set {BUNDLE} or {JWKS} to a file with its public keys, and look at auth.registry.algorithms"
    )]
    NoKey {
        /// Whose.
        issuer: String,
    },
    /// Line ends, for example.
    #[error(
        "invalid configuration: auth.registry: realm {realm:?} or service {service:?} cannot stand in a header"
    )]
    Challenge {
        /// The one.
        realm: String,
        /// The other.
        service: String,
    },
}
