//! A file with public keys: a JWK set (RFC 7517 5).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulla_keys_schema::json::{Json, Object};

use super::key::{UnfitKey, VerifyingKey};
use super::trust::TrustedKey;

/// Members that only private and symmetric keys have (RFC 7518 6).
const SECRET: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

/// The keys for signatures in the text of a set.
///
/// Keys for other uses and of other kinds are left out, as RFC 7517 5 wants it: sets of
/// identity providers hold such.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<TrustedKey>, JwksError> {
    let set = Json::parse(bytes).map_err(|_| JwksError::Malformed)?;
    let keys = set.as_object().and_then(|set| set.get("keys")).and_then(Json::as_array);
    let mut read = Vec::new();
    for (index, key) in keys.ok_or(JwksError::Malformed)?.iter().enumerate() {
        let number = index + 1;
        let members = key.as_object().ok_or(JwksError::Key { number, source: UnfitKey::Malformed })?;
        if SECRET.iter().any(|name| members.contains_key(name)) {
            return Err(JwksError::Secret { number });
        }
        read.extend(one(members, number)?);
    }
    if read.is_empty() { Err(JwksError::Empty) } else { Ok(read) }
}

fn one(members: &Object, number: usize) -> Result<Option<TrustedKey>, JwksError> {
    let key = match key(members) {
        Err(UnfitKey::Type) => return Ok(None),
        other => other.map_err(|source| JwksError::Key { number, source })?,
    };
    if !is_for_signatures(members) || !is_for(members, key.algorithm().name()) {
        return Ok(None);
    }
    let id = text(members, "kid").filter(|id| !id.is_empty()).ok_or(JwksError::NoId { number })?;
    Ok(Some(TrustedKey { id: id.to_owned(), key: Arc::new(key), validity: None }))
}

fn key(members: &Object) -> Result<VerifyingKey, UnfitKey> {
    let bytes = |name: &str| {
        let text = text(members, name).ok_or(UnfitKey::Malformed)?;
        URL_SAFE_NO_PAD.decode(text).map_err(|_| UnfitKey::Malformed)
    };
    match (text(members, "kty"), text(members, "crv")) {
        (Some("RSA"), _) => VerifyingKey::rsa(&bytes("n")?, &bytes("e")?),
        (Some("EC"), Some("P-256")) => VerifyingKey::p256(&bytes("x")?, &bytes("y")?),
        (Some("OKP"), Some("Ed25519")) => VerifyingKey::ed25519(&bytes("x")?),
        (Some(_), _) => Err(UnfitKey::Type),
        (None, _) => Err(UnfitKey::Malformed),
    }
}

/// RFC 7517 4.2 and 4.3.
fn is_for_signatures(members: &Object) -> bool {
    let verify = |operations: &Json| {
        operations.as_array().is_some_and(|list| list.iter().any(|one| one.as_str() == Some("verify")))
    };
    members.get("use").is_none_or(|usage| usage.as_str() == Some("sig"))
        && members.get("key_ops").is_none_or(verify)
}

/// RFC 7517 4.4. RFC 9864 has a second name for Ed25519.
fn is_for(members: &Object, algorithm: &str) -> bool {
    members.get("alg").is_none_or(|name| {
        let name = name.as_str().unwrap_or_default();
        name == algorithm || (algorithm == "EdDSA" && name == "Ed25519")
    })
}

fn text<'a>(members: &'a Object, name: &str) -> Option<&'a str> {
    members.get(name).and_then(Json::as_str)
}

/// A set of keys cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// Not strict JSON, or without a list of keys.
    #[error("not a JWK set: it must be {{\"keys\":[...]}} without duplicate members")]
    Malformed,
    /// Nothing in it that can check a token.
    #[error("no key for ES256, RS256 or EdDSA signatures in it")]
    Empty,
    /// A token could never name this key.
    #[error("key {number} has no `kid`")]
    NoId {
        /// Which, from 1.
        number: usize,
    },
    /// What signs tokens has no place on this server.
    #[error("key {number} is private or symmetric; the file must hold public keys only")]
    Secret {
        /// Which, from 1.
        number: usize,
    },
    /// The key cannot be used.
    #[error("key {number}: {source}")]
    Key {
        /// Which, from 1.
        number: usize,
        /// What is wrong with it.
        source: UnfitKey,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 A.2.
    const GOOD: &str =
        r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a""#;

    fn ids(keys: &[&str]) -> Result<Vec<String>, JwksError> {
        let keys: Vec<_> = keys.iter().map(|members| format!("{{{members}}}")).collect();
        let read = read(format!("{{\"keys\":[{}],\"x\":1}}", keys.join(",")).as_bytes())?;
        Ok(read.into_iter().map(|key| key.id).collect())
    }

    #[test]
    fn keys_for_signatures_are_taken_and_others_left_out() {
        let with = |more: &str| format!("{GOOD},{more}");
        assert_eq!(ids(&[GOOD]), Ok(vec!["a".to_owned()]));
        assert_eq!(
            ids(&[&with(r#""use":"sig","alg":"EdDSA","key_ops":["verify"]"#)]).map(|k| k.len()),
            Ok(1)
        );
        for other in [
            with(r#""use":"enc""#),
            with(r#""use":1"#),
            with(r#""key_ops":["encrypt"]"#),
            with(r#""alg":"ES256""#),
            with(r#""alg":"HS256""#),
            r#""kty":"EC","crv":"P-384","x":"AA","y":"AA","kid":"b""#.to_owned(),
            r#""kty":"AKP","kid":"c""#.to_owned(),
        ] {
            assert_eq!(ids(&[&other, GOOD]).map(|keys| keys.len()), Ok(1), "{other}");
            assert_eq!(ids(&[&other]), Err(JwksError::Empty), "{other}");
        }
    }

    #[test]
    fn a_set_with_a_fault_is_refused_as_a_whole() {
        let fault = |source| JwksError::Key { number: 2, source };
        for (bad, expected) in [
            (r#""kty":"oct","k":"AAAA","kid":"b""#.to_owned(), JwksError::Secret { number: 2 }),
            (format!(r#"{GOOD},"d":"AA""#), JwksError::Secret { number: 2 }),
            (GOOD.replace(r#","kid":"a""#, ""), JwksError::NoId { number: 2 }),
            (GOOD.replace(r#""kid":"a""#, r#""kid":"""#), JwksError::NoId { number: 2 }),
            (GOOD.replace("11qY", "1+qY"), fault(UnfitKey::Malformed)),
            (GOOD.replace("\"11qY", "\""), fault(UnfitKey::Malformed)),
            (r#""kty":"RSA","n":"zz","e":"AQAB","kid":"b""#.to_owned(), fault(UnfitKey::Malformed)),
            (r#""kid":"b""#.to_owned(), fault(UnfitKey::Malformed)),
            (format!(r#"{GOOD},"kid":"b""#), JwksError::Malformed),
        ] {
            assert_eq!(ids(&[GOOD, &bad]), Err(expected), "{bad}");
        }
        for bad in ["", "{}", "[]", r#"{"keys":{}}"#, "{\"keys\":[]} x"] {
            assert_eq!(read(bad.as_bytes()).err(), Some(JwksError::Malformed), "{bad}");
        }
        assert_eq!(ids(&[]), Err(JwksError::Empty));
    }
}
