//! The `Authorization` header, taken apart.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use zeroize::Zeroizing;

use super::AuthError;

/// Longer values of `Basic` hold no token of ours, whatever the user's name is.
const LONGEST_BASIC: usize = 1024;

/// What a caller presents.
pub(super) enum Credentials<'a> {
    /// RFC 6750.
    Bearer(&'a str),
    /// RFC 7617. The user's name is free and says nothing.
    Basic {
        /// Has to be one of our own tokens.
        password: Zeroizing<String>,
    },
}

impl<'a> Credentials<'a> {
    /// Takes the header apart.
    ///
    /// # Errors
    /// Another scheme counts as nothing presented; what cannot be read, as no token.
    pub(super) fn read(header: &'a HeaderValue) -> Result<Self, AuthError> {
        let text = header.to_str().map_err(|_| AuthError::Unknown)?;
        // RFC 9110 11.1: the scheme is case-insensitive.
        let (scheme, value) = text.split_once(' ').ok_or(AuthError::Missing)?;
        if scheme.eq_ignore_ascii_case("bearer") {
            Ok(Self::Bearer(value.trim()))
        } else if scheme.eq_ignore_ascii_case("basic") {
            password(value.trim()).map(|password| Self::Basic { password }).ok_or(AuthError::Unknown)
        } else {
            Err(AuthError::Missing)
        }
    }
}

/// What follows the first colon: a user's name holds none.
fn password(encoded: &str) -> Option<Zeroizing<String>> {
    if encoded.len() > LONGEST_BASIC {
        return None;
    }
    let decoded = Zeroizing::new(STANDARD.decode(encoded).ok()?);
    let (_, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some(Zeroizing::new(password.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, AuthError> {
        Ok(match Credentials::read(&HeaderValue::from_str(text).unwrap())? {
            Credentials::Bearer(token) => format!("bearer {token}"),
            Credentials::Basic { password } => format!("basic {}", *password),
        })
    }

    #[test]
    fn schemes_are_told_apart_in_any_case() {
        let basic = |text: &str| format!("bAsIc {}", STANDARD.encode(text));
        assert_eq!(read("bEARER x.y.z").as_deref(), Ok("bearer x.y.z"));
        assert_eq!(read("Bearer   x ").as_deref(), Ok("bearer x"));
        assert_eq!(read(&basic("ci:bulla_x")).as_deref(), Ok("basic bulla_x"));
        assert_eq!(read(&basic(":p:q")).as_deref(), Ok("basic p:q"));
        assert_eq!(read("Bearer"), Err(AuthError::Missing));
        assert_eq!(read("Digest x"), Err(AuthError::Missing));
        assert_eq!(read(&basic("no colon")), Err(AuthError::Unknown));
        assert_eq!(read("Basic ???"), Err(AuthError::Unknown));
        assert_eq!(read(&basic(&format!("{}:x", "u".repeat(2000)))), Err(AuthError::Unknown));
    }
}
