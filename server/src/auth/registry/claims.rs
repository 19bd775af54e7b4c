//! What a token says, once its signature is known to be good.

use std::fmt::Write as _;

use bulla_keys_schema::json::{Json, Object};
use bulla_keys_schema::time::UtcTime;

use super::RegistryTokenFault as Fault;
use crate::auth::caller::Listed;

/// Bytes of the longest `sub`.
const SUBJECT: usize = 255;

/// Whom a token has to come from and to be for.
pub(super) struct Expected<'a> {
    pub(super) issuer: &'a str,
    pub(super) service: &'a str,
    /// Seconds that the two clocks may differ.
    pub(super) leeway: i64,
}

/// Claims that are due: from the right server, for this one, at this moment.
pub(super) struct Claims {
    /// The user's name; empty for an anonymous one.
    subject: String,
    /// Second since 1970 at which the token is over.
    pub(super) until: i64,
    /// What it allows.
    pub(super) listed: Listed,
}

impl Claims {
    /// Checks `members` (RFC 7519 4.1) and reads what the token allows.
    pub(super) fn read(members: &Object, expected: &Expected<'_>, now: UtcTime) -> Result<Self, Fault> {
        if members.get("iss").and_then(Json::as_str) != Some(expected.issuer) {
            return Err(Fault::Issuer);
        }
        if !members.get("aud").is_some_and(|audience| is_for(audience, expected.service)) {
            return Err(Fault::Audience);
        }
        let now = now.unix_seconds();
        let until = second(members, "exp")?.ok_or(Fault::NoExpiry)?.saturating_add(expected.leeway);
        if until <= now {
            return Err(Fault::Expired);
        }
        for name in ["nbf", "iat"] {
            if second(members, name)?.is_some_and(|from| from > now.saturating_add(expected.leeway)) {
                return Err(Fault::NotYet);
            }
        }
        let subject = match members.get("sub") {
            None => String::new(),
            Some(Json::String(subject)) if subject.len() <= SUBJECT => subject.clone(),
            Some(_) => return Err(Fault::Malformed),
        };
        Ok(Self { subject, until, listed: listed(members)? })
    }

    /// The user for logs and for the feed. No token of our own has such a name, and no
    /// character of it means anything to a terminal.
    pub(super) fn actor(&self) -> String {
        let mut name = "registry:".to_owned();
        for byte in self.subject.bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                name.push(char::from(byte));
            } else {
                // Writing to a string does not fail.
                let _ = write!(name, "%{byte:02X}");
            }
        }
        name
    }
}

/// RFC 7519 4.1.3: one text, or a list of them.
fn is_for(audience: &Json, service: &str) -> bool {
    let is_service = |value: &Json| value.as_str() == Some(service);
    is_service(audience) || audience.as_array().is_some_and(|list| list.iter().any(is_service))
}

fn second(members: &Object, name: &str) -> Result<Option<i64>, Fault> {
    match members.get(name) {
        None => Ok(None),
        Some(Json::Integer(second)) => Ok(Some(*second)),
        Some(_) => Err(Fault::Malformed),
    }
}

/// The claim `access` of Docker's token servers:
/// `[{"type":"repository","name":"host/app","actions":["pull"]}]`.
///
/// What is not understood grants nothing: other types, names that are none here, other
/// actions and other spellings. `class` tells plugins from images and changes nothing.
fn listed(members: &Object) -> Result<Listed, Fault> {
    let mut listed = Listed::default();
    let entries = match members.get("access") {
        None | Some(Json::Null) => return Ok(listed),
        Some(access) => access.as_array().ok_or(Fault::Malformed)?,
    };
    for entry in entries.iter().filter_map(Json::as_object) {
        let text = |name| entry.get(name).and_then(Json::as_str);
        let (Some(kind), Some(name)) = (text("type"), text("name")) else { continue };
        let actions = entry.get("actions").and_then(Json::as_array).unwrap_or_default();
        let has = |action| actions.iter().any(|one| one.as_str() == Some(action));
        match (kind, name.parse()) {
            ("repository", Ok(repository)) => {
                let granted = listed.repositories.entry(repository).or_default();
                granted.pull |= has("pull");
                granted.push |= has("push");
                granted.all |= has("*");
            }
            ("registry", _) if name == "catalog" => listed.catalog |= has("*"),
            _ => {}
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Expected<'_> = Expected { issuer: "me", service: "it", leeway: 10 };

    fn read(claims: &str) -> Result<Claims, Fault> {
        let members = Json::parse(claims.as_bytes()).unwrap().as_object().unwrap().clone();
        Claims::read(&members, &EXPECTED, UtcTime::from_unix_seconds(1000).unwrap())
    }

    fn granted(access: &str) -> Listed {
        read(&format!(r#"{{"iss":"me","aud":"it","exp":2000,"access":{access}}}"#)).unwrap().listed
    }

    #[test]
    fn leeway_counts_on_both_sides() {
        for (claims, expected) in [
            (r#""exp":991"#, None),
            (r#""exp":990"#, Some(Fault::Expired)),
            (r#""exp":2000,"nbf":1010,"iat":1010"#, None),
            (r#""exp":2000,"nbf":1011"#, Some(Fault::NotYet)),
            (r#""exp":2000,"iat":1011"#, Some(Fault::NotYet)),
            (r#""exp":-9007199254740991"#, Some(Fault::Expired)),
            (r#""exp":9007199254740991"#, None),
        ] {
            let found = read(&format!(r#"{{"iss":"me","aud":["x","it"],{claims}}}"#)).err();
            assert_eq!(found, expected, "{claims}");
        }
    }

    #[test]
    fn only_what_is_understood_grants_anything() {
        let all = granted(
            r#"[{"type":"repository","class":"plugin","name":"localhost:5000/a/b","actions":["pull"]},
                {"type":"repository","name":"localhost:5000/a/b","actions":["push","delete"]},
                {"type":"registry","name":"catalog","actions":["*"]}]"#,
        );
        let actions = all.repositories.get(&"localhost:5000/a/b".parse().unwrap()).unwrap();
        assert!(actions.pull && actions.push && !actions.all && all.catalog);

        for nothing in [
            "null",
            "[]",
            "[null,1,\"repository:a:pull\",[]]",
            r#"[{"type":"Repository","name":"a","actions":["pull"]}]"#,
            r#"[{"type":"repository(plugin)","name":"a","actions":["pull"]}]"#,
            r#"[{"type":"repository","Name":"a","actions":["pull"]}]"#,
            r#"[{"type":"repository","name":"a/","actions":["pull"]}]"#,
            r#"[{"type":"repository","name":"a//b","actions":["*"]}]"#,
            r#"[{"type":"repository","name":"a:b:5000/c","actions":["*"]}]"#,
            r#"[{"type":"repository","name":"*","actions":["*"]}]"#,
            r#"[{"type":"registry","name":"catalog","actions":["pull"]}]"#,
            r#"[{"type":"registry","name":"Catalog","actions":["*"]}]"#,
        ] {
            assert_eq!(granted(nothing), Listed::default(), "{nothing}");
        }
        for actions in [r#"["Pull","PUSH"," pull","pull,push"]"#, "\"pull\"", "null", r#"[["pull"]]"#] {
            let listed = granted(&format!(r#"[{{"type":"repository","name":"a","actions":{actions}}}]"#));
            assert!(listed.repositories.values().all(|found| !(found.pull || found.push || found.all)));
        }
        for malformed in ["{}", "\"x\"", "1"] {
            let claims = format!(r#"{{"iss":"me","aud":"it","exp":2000,"access":{malformed}}}"#);
            assert_eq!(read(&claims).err(), Some(Fault::Malformed));
        }
    }

    #[test]
    fn an_actor_cannot_be_mistaken_for_another() {
        for (subject, expected) in
            [("", "registry:"), ("ann", "registry:ann"), ("a\\u001b b%", "registry:a%1B%20b%25")]
        {
            let claims = read(&format!(r#"{{"iss":"me","aud":"it","exp":2000,"sub":"{subject}"}}"#)).unwrap();
            assert_eq!(claims.actor(), expected);
        }
        let long = "x".repeat(SUBJECT + 1);
        let long = read(&format!(r#"{{"iss":"me","aud":"it","exp":2000,"sub":"{long}"}}"#)).err();
        assert_eq!(long, Some(Fault::Malformed));
    }
}
