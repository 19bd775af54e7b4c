//! What a 401 tells a client to bring, and where it gets that.

use std::net::Ipv6Addr;

use bulla_keys_schema::names::RepositoryName;
use http::HeaderValue;

use super::Right;

/// For clients that know no token server: a user's name, and a token as the password.
pub const BASIC_CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"bullad\"");
/// Where this server gives out tokens itself. No repository begins with an underscore.
pub const TOKEN_PATH: &str = "/v2/_bulla/token";
/// How this server calls itself towards those who ask for a token.
const SERVICE: &str = "bullad";
/// Longest name of a host (RFC 1035 2.3.4).
const HOST_BYTES: usize = 253;
/// Longest part of such a name.
const LABEL_BYTES: usize = 63;

/// What a request would need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChallengeScope<'a> {
    /// A right on one repository.
    Repository(&'a RepositoryName, Right),
    /// The list of everything; also for URLs that belong to no repository.
    Catalog,
}

impl ChallengeScope<'_> {
    /// The scope as Docker's token servers read it, from the right.
    fn to_text(self) -> String {
        match self {
            Self::Catalog => "registry:catalog:*".to_owned(),
            Self::Repository(name, right) => {
                let actions = match right {
                    Right::Read => "pull",
                    Right::Publish => "push,pull",
                    Right::Admin => "*",
                };
                format!("repository:{name}:{actions}")
            }
        }
    }
}

/// How clients reach this server where it gives out tokens itself. They send passwords there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnRealm {
    /// Over TLS, which ends here or at a proxy in front.
    Https,
    /// Over plain HTTP, from the same machine.
    HttpOnLoopback,
}

impl OwnRealm {
    /// Sends clients to [`TOKEN_PATH`] on `host`; `None` if their passwords would cross a
    /// network in the clear.
    pub(super) fn challenge(self, host: Host<'_>, scope: &ChallengeScope<'_>) -> Option<HeaderValue> {
        let scheme = match self {
            Self::Https => "https",
            Self::HttpOnLoopback if host.is_loopback() => "http",
            Self::HttpOnLoopback => return None,
        };
        bearer(&format!("{scheme}://{}{TOKEN_PATH}", host.0), SERVICE, scope)
    }
}

/// The name under which a client reached this server: a host, and a port if it gave one.
///
/// Callers choose it freely and it goes back to them in a header, so nothing but what a name,
/// an address and a port are made of is taken: no user's name, no path, no quotation mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Host<'a>(&'a str);

impl<'a> Host<'a> {
    /// Reads `name`, `name:port`, `[address]` or `[address]:port`.
    #[must_use]
    pub fn read(text: &'a str) -> Option<Self> {
        let (name, port) = split(text);
        (is_name(name) && port.is_none_or(is_port)).then_some(Self(text))
    }

    /// As [`OwnRealm::HttpOnLoopback`] needs it: names that lead to this machine everywhere.
    fn is_loopback(self) -> bool {
        matches!(split(self.0).0, "localhost" | "127.0.0.1" | "[::1]")
    }
}

/// The host with its brackets, and the port: a colon within brackets begins none.
fn split(text: &str) -> (&str, Option<&str>) {
    match text.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => (name, Some(port)),
        _ => (text, None),
    }
}

/// Underscores are in no host's name, but in names that container networks give.
fn is_name(name: &str) -> bool {
    if let Some(address) = name.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<Ipv6Addr>().is_ok());
    }
    let is_label = |label: &str| {
        (1..=LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    name.len() <= HOST_BYTES && name.split('.').all(is_label)
}

fn is_port(port: &str) -> bool {
    // As it is written: a number is read from more than that.
    port.parse::<u16>().is_ok_and(|number| number > 0 && number.to_string() == port)
}

/// `Bearer` as in Docker's token authentication; `None` if a part cannot stand in a header.
pub(super) fn bearer(realm: &str, service: &str, scope: &ChallengeScope<'_>) -> Option<HeaderValue> {
    let text = format!(
        "Bearer realm={},service={},scope={}",
        quoted(realm),
        quoted(service),
        quoted(&scope.to_text())
    );
    HeaderValue::try_from(text).ok()
}

/// RFC 9110 5.6.4.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_scope_that_docker_asks_for() {
        let name: RepositoryName = "localhost:5000/team/app".parse().unwrap();
        for (scope, expected) in [
            (ChallengeScope::Repository(&name, Right::Read), "repository:localhost:5000/team/app:pull"),
            (
                ChallengeScope::Repository(&name, Right::Publish),
                "repository:localhost:5000/team/app:push,pull",
            ),
            (ChallengeScope::Repository(&name, Right::Admin), "repository:localhost:5000/team/app:*"),
            (ChallengeScope::Catalog, "registry:catalog:*"),
        ] {
            let header = bearer("https://a.example/t?x=1", "notary \"x\\y\"", &scope).unwrap();
            assert_eq!(
                header.to_str().unwrap(),
                format!(
                    r#"Bearer realm="https://a.example/t?x=1",service="notary \"x\\y\"",scope="{expected}""#
                )
            );
        }
    }

    #[test]
    fn hosts_are_names_and_addresses_with_or_without_port() {
        let longest = format!("{0}.{0}.{0}.{1}", "a".repeat(63), "a".repeat(61));
        for good in [
            "trust.example.com",
            "Trust.Example.com:443",
            "localhost:65535",
            "a_b:1",
            "xn--bcher-kva.example",
            "127.0.0.1:4443",
            "[::1]",
            "[2001:db8::1]:4443",
            &longest,
        ] {
            assert_eq!(Host::read(good), Some(Host(good)));
        }
        for bad in [
            "",
            ":",
            ":443",
            "a:",
            "a:0",
            "a:00443",
            "a:+443",
            "a:65536",
            "a:443:443",
            "a:b",
            "a b",
            " a",
            "a\t",
            "a.",
            ".a",
            "a..b",
            "-a",
            "a-",
            "a,b",
            "a/",
            "a/b",
            "a\\b",
            "a?b",
            "a#b",
            "user@a",
            "user:password@a",
            "a%41",
            "a\"",
            "a\",realm=\"https://evil.example/",
            "a\r\nx: y",
            "a\0",
            "b\u{fc}cher.example",
            "\u{ff41}",
            "::1",
            "[::1",
            "::1]",
            "[::1]x",
            "[::1]:",
            "[::1]:0",
            "[]",
            "[a]",
            "[127.0.0.1]",
            "[fe80::1%25eth0]",
            "[[::1]]",
            &"a".repeat(64),
            &format!("{longest}a"),
            &"a.".repeat(4096),
        ] {
            assert_eq!(Host::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn passwords_go_over_tls_or_stay_on_the_machine() {
        let realm = |realm: OwnRealm, host: &str| {
            let header = realm.challenge(Host::read(host).unwrap(), &ChallengeScope::Catalog)?;
            Some(header.to_str().unwrap().to_owned())
        };
        let expected = |origin: &str| {
            let rest = "service=\"bullad\",scope=\"registry:catalog:*\"";
            Some(format!("Bearer realm=\"{origin}/v2/_bulla/token\",{rest}"))
        };
        for host in ["trust.example.com", "localhost:4443", "[2001:db8::1]:4443"] {
            assert_eq!(realm(OwnRealm::Https, host), expected(&format!("https://{host}")));
        }
        for host in ["localhost", "localhost:4443", "127.0.0.1:4443", "[::1]:4443", "[::1]"] {
            assert_eq!(realm(OwnRealm::HttpOnLoopback, host), expected(&format!("http://{host}")));
        }
        for host in ["trust.example.com", "localhost.example.com:4443", "127.0.0.1.example.com", "[::2]:1"] {
            assert_eq!(realm(OwnRealm::HttpOnLoopback, host), None, "{host}");
        }
    }

    #[test]
    fn no_repository_lies_where_tokens_are_given_out() {
        let path = TOKEN_PATH.strip_prefix("/v2/").unwrap();
        for name in [path, "_bulla", "_bulla/token/a", "_bulla:1/token"] {
            assert!(name.parse::<RepositoryName>().is_err(), "{name}");
        }
    }

    #[test]
    fn what_ends_a_header_is_no_challenge() {
        assert_eq!(bearer("https://a\r\nx: y", "s", &ChallengeScope::Catalog), None);
    }
}
