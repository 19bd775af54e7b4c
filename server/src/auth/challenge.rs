//! What a 401 tells a client to bring.

use bulla_keys_schema::names::RepositoryName;
use http::HeaderValue;

use super::Right;

/// For clients that know no token server: a user's name, and a token as the password.
pub(super) const BASIC: HeaderValue = HeaderValue::from_static("Basic realm=\"bullad\"");

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
    fn what_ends_a_header_is_no_challenge() {
        assert_eq!(bearer("https://a\r\nx: y", "s", &ChallengeScope::Catalog), None);
    }
}
