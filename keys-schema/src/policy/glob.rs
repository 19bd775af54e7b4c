//! Patterns of repositories and tags, and the one order among them.
//!
//! A scope is matched on the canonical name, host included: `*` stands for characters of one part,
//! `**` for one or more whole parts. In the host only a leading `*.` and `:*` for any port are
//! patterns. A scope that could never match, because no canonical name is spelled like it, is refused:
//! a rule that silently does nothing is worse than none.

use std::fmt;
use std::str::FromStr;

use crate::limits;
use crate::names::{ImageRef, RepositoryName, Tag};

mod token;

use token::{Class, Token};

/// Which repositories a rule, a trust entry or an exception is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    text: Box<str>,
    tokens: Vec<Token>,
}

impl Scope {
    /// As the file spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The repository, if the scope is that of a single one.
    #[must_use]
    pub fn repository(&self) -> Option<RepositoryName> {
        if self.text.contains('*') { None } else { self.text.parse().ok() }
    }

    /// Whether `repository` is in scope. Hosts are compared without regard to letter case.
    #[must_use]
    pub fn matches(&self, repository: &RepositoryName) -> bool {
        token::meet(&self.tokens, &token::literal(&canonical(repository)))
    }

    /// Whether some repository is in both scopes.
    #[must_use]
    pub(super) fn meets(&self, other: &Self) -> bool {
        token::meet(&self.tokens, &other.tokens)
    }

    /// Whether every repository of `other` is in this scope. Says no where it cannot tell.
    #[must_use]
    pub(super) fn covers(&self, other: &Self) -> bool {
        token::cover(&self.tokens, &other.tokens)
    }

    /// How narrow the scope is: the greater, the narrower.
    #[must_use]
    pub fn specificity(&self) -> Specificity {
        let prefix = self.text.find('*').unwrap_or(self.text.len());
        let wildcards = self.text.split('*').count().saturating_sub(1) - self.text.matches("**").count();
        Specificity { prefix, fewer: usize::MAX - wildcards }
    }
}

/// How narrow a scope is: the longer the text before its first wildcard, and among equals the fewer
/// wildcards, the narrower. Two rules as narrow as each other are never both for one repository: such
/// a file is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Specificity {
    prefix: usize,
    fewer: usize,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Scope {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > limits::REPOSITORY_NAME_BYTES {
            return Err(InvalidGlob::TooLong);
        }
        let (host, path) = text.split_once('/').ok_or(InvalidGlob::NoHost)?;
        let mut tokens = token::host(host)?;
        for part in path.split('/') {
            tokens.push(Token::Char('/'));
            tokens.extend(token::part(part)?);
        }
        let parts = path.split('/').count();
        if host == "docker.io" && parts == 1 && path != "**" {
            return Err(InvalidGlob::HubNeedsTwoParts);
        }
        let scope = Self { text: text.into(), tokens };
        let is_canonical = text.contains('*')
            || text.parse::<ImageRef>().is_ok_and(|image| image.repository().as_str() == text);
        if is_canonical { Ok(scope) } else { Err(InvalidGlob::Character) }
    }
}

/// A registry, or a part of one: `registry.example.com`, `localhost:*`, `docker.io/library/**`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryPattern {
    scope: Scope,
    /// It names a host and no port.
    names_host: bool,
}

impl RegistryPattern {
    /// Whether `repository` lies there, with the very port that the pattern names.
    #[must_use]
    pub fn allows(&self, repository: &RepositoryName) -> bool {
        self.scope.matches(repository)
    }

    /// The same for a registry that is blocked: one without a port is blocked at every port, because a
    /// port is no way around.
    #[must_use]
    pub fn blocks(&self, repository: &RepositoryName) -> bool {
        if self.allows(repository) {
            return true;
        }
        let name = canonical(repository);
        let Some((host, path)) = name.split_once('/') else { return false };
        let Some((host, _)) = host.split_once(':').filter(|_| self.names_host) else { return false };
        token::meet(&self.scope.tokens, &token::literal(&format!("{host}/{path}")))
    }
}

impl FromStr for RegistryPattern {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let host = text.split('/').next().unwrap_or_default();
        let scope = if text.contains('/') { text.parse()? } else { format!("{text}/**").parse()? };
        Ok(Self { scope, names_host: !host.contains(':') })
    }
}

/// A pattern of tags, in which `*` stands for any characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagGlob {
    text: Box<str>,
    tokens: Vec<Token>,
}

impl TagGlob {
    /// As the file spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether `tag` is meant.
    #[must_use]
    pub fn matches(&self, tag: &Tag) -> bool {
        token::meet(&self.tokens, &token::literal(tag.as_str()))
    }
}

impl FromStr for TagGlob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_of_tag = |c: char| c.is_ascii_alphanumeric() || "_.-*".contains(c);
        if text.is_empty() || text.len() > 128 {
            return Err(InvalidGlob::TooLong);
        }
        if !text.chars().all(is_of_tag) || text.contains("**") {
            return Err(InvalidGlob::Character);
        }
        let tokens = text.chars().map(|c| if c == '*' { Token::Star(Class::Part) } else { Token::Char(c) });
        Ok(Self { text: text.into(), tokens: tokens.collect() })
    }
}

/// A text is no pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGlob {
    /// Empty, or longer than any name that it could match.
    #[error("it is empty or longer than any name")]
    TooLong,
    /// No registry in front.
    #[error("it must begin with a registry and `/`, like registry.example.com/team/**")]
    NoHost,
    /// A wildcard in the registry that is none there.
    #[error("in the registry only a leading `*.` and `:*` for any port are patterns")]
    Host,
    /// Another spelling of Docker Hub, which no image has once it is read.
    #[error("Docker Hub is written docker.io here, as images are once they are read")]
    HubSpelling,
    /// Docker Hub has no repositories of one part.
    #[error("repositories at docker.io have two parts, like docker.io/library/alpine")]
    HubNeedsTwoParts,
    /// `**` within a part.
    #[error("`**` stands for whole parts and cannot be part of one")]
    DoubleStar,
    /// A character that no name has.
    #[error(
        "names are small letters, digits, `.`, `_`, `-`, separated by `/`; `*` and `**` are the only patterns"
    )]
    Character,
}

/// The name with its host in small letters, as every image reference spells it.
fn canonical(repository: &RepositoryName) -> String {
    match repository.as_str().split_once('/') {
        Some((host, path)) => format!("{}/{path}", host.to_ascii_lowercase()),
        None => repository.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn matches(pattern: &str, name: &str) -> bool {
        scope(pattern).matches(&name.parse().unwrap())
    }

    #[test]
    fn stars_stay_in_their_part_and_double_stars_do_not() {
        for (pattern, name) in [
            ("r.io/app", "r.io/app"),
            ("r.io/app", "R.IO/app"),
            ("r.io/*", "r.io/app"),
            ("r.io/a*", "r.io/a"),
            ("r.io/a*c", "r.io/abbc"),
            ("r.io/team/**", "r.io/team/app"),
            ("r.io/team/**", "r.io/team/a/b/c"),
            ("r.io/**/app", "r.io/a/b/app"),
            ("r.io/*/app", "r.io/a/app"),
            ("r.io/**", "r.io/a/b"),
            ("*.r.io/**", "eu.r.io/a"),
            ("*.r.io/**", "a.eu.r.io/a"),
            ("localhost:*/**", "localhost:5000/a"),
            ("*.r.io:*/a", "eu.r.io:1/a"),
            ("docker.io/library/*", "docker.io/library/alpine"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [
            ("r.io/app", "r.io/app2"),
            ("r.io/*", "r.io/a/b"),
            ("r.io/team/**", "r.io/team"),
            ("r.io/team/**", "r.io/team2/a"),
            ("r.io/**/app", "r.io/app"),
            ("r.io/*/app", "r.io/a/b/app"),
            ("r.io/**", "r.io:443/a"),
            ("r.io/**", "xr.io/a"),
            ("*.r.io/**", "r.io/a"),
            ("*.r.io/**", "eu.r.io:5000/a"),
            ("*.r.io/**", "evil-r.io/a"),
            ("localhost:*/**", "localhost/a"),
            ("localhost:*/**", "localhost.evil.io:1/a"),
            ("r.io/a.b", "r.io/a-b"),
            ("r.io/**", "busybox"),
        ] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn what_no_name_can_be_like_is_refused() {
        for (text, error) in [
            ("", InvalidGlob::NoHost),
            ("**", InvalidGlob::NoHost),
            ("app", InvalidGlob::NoHost),
            ("*/app", InvalidGlob::Host),
            ("**/app", InvalidGlob::Host),
            ("r.*/app", InvalidGlob::Host),
            ("*r.io/app", InvalidGlob::Host),
            ("*.*.io/app", InvalidGlob::Host),
            ("r.io:5*/app", InvalidGlob::Host),
            ("r.io:/app", InvalidGlob::Host),
            ("R.io/app", InvalidGlob::Host),
            ("myteam/app", InvalidGlob::Host),
            ("index.docker.io/library/alpine", InvalidGlob::HubSpelling),
            ("registry-1.docker.io/**", InvalidGlob::HubSpelling),
            ("docker.io/alpine", InvalidGlob::HubNeedsTwoParts),
            ("docker.io/*", InvalidGlob::HubNeedsTwoParts),
            ("r.io/a**", InvalidGlob::DoubleStar),
            ("r.io/***", InvalidGlob::DoubleStar),
            ("r.io/", InvalidGlob::Character),
            ("r.io//a", InvalidGlob::Character),
            ("r.io/A", InvalidGlob::Character),
            ("r.io/a:tag", InvalidGlob::Character),
            ("r.io/a@sha256", InvalidGlob::Character),
            ("r.io/a?", InvalidGlob::Character),
            ("r.io/../a", InvalidGlob::Character),
            ("r.io/a/", InvalidGlob::Character),
            ("r.io/_a", InvalidGlob::Character),
            (&format!("r.io/{}", "a".repeat(260)), InvalidGlob::TooLong),
        ] {
            assert_eq!(text.parse::<Scope>().map(|scope| scope.to_string()), Err(error), "{text}");
        }
    }

    #[test]
    fn a_port_is_no_way_around_a_block() {
        let pattern = |text: &str| text.parse::<RegistryPattern>().unwrap();
        let name = |text: &str| text.parse::<RepositoryName>().unwrap();
        assert!(pattern("evil.com").blocks(&name("evil.com:8443/a")));
        assert!(pattern("evil.com").blocks(&name("EVIL.com/a/b")));
        assert!(pattern("*.evil.com").blocks(&name("a.evil.com:1/a")));
        assert!(!pattern("evil.com:1").blocks(&name("evil.com:2/a")));
        assert!(!pattern("evil.com").blocks(&name("notevil.com/a")));
        assert!(!pattern("good.com").allows(&name("good.com:8443/a")));
        assert!(pattern("localhost:*").allows(&name("localhost:5000/a")));
        assert!(pattern("docker.io/evil/**").blocks(&name("docker.io/evil/a")));
        assert!(!pattern("docker.io/evil/**").blocks(&name("docker.io/library/a")));
        assert_eq!("index.docker.io".parse::<RegistryPattern>(), Err(InvalidGlob::HubSpelling));
    }

    #[test]
    fn narrow_is_a_long_beginning_and_then_few_wildcards() {
        let ordered = [
            "*.r.io/**",
            "*.r.io/a",
            "r.io/**",
            "r.io/*/*/**",
            "r.io/t*/**",
            "r.io/team/**",
            "r.io/team/a*",
            "r.io/team/app",
        ];
        assert!(scope("*.r.io/**").specificity() < scope("*.r.io/a").specificity());
        assert!(scope("r.io/*/**").specificity() < scope("r.io/**").specificity());
        assert_eq!(scope("r.io/a/**").specificity(), scope("r.io/a/*").specificity());
        for pair in [(1, 2), (2, 4), (4, 5), (5, 6), (6, 7)] {
            assert!(scope(ordered[pair.0]).specificity() < scope(ordered[pair.1]).specificity(), "{pair:?}");
        }
    }

    #[test]
    fn scopes_that_share_a_name_meet_and_wide_ones_cover() {
        for (one, other, meet) in [
            ("*.a.io/**", "*.b.io/**", false),
            ("*.a.io/**", "*.b.a.io/x", true),
            ("r.io/a*b", "r.io/a*c", false),
            ("r.io/a*", "r.io/*b", true),
            ("localhost:*/**", "localhost:*/team/**", true),
            ("r.io/**/a", "r.io/x/*", true),
            ("r.io/**/a", "r.io/*", false),
        ] {
            assert_eq!(scope(one).meets(&scope(other)), meet, "{one} {other}");
            assert_eq!(scope(other).meets(&scope(one)), meet, "{other} {one}");
        }
        for (wide, narrow) in [
            ("r.io/**", "r.io/team/**"),
            ("r.io/**", "r.io/*"),
            ("r.io/**", "r.io/a*/b"),
            ("r.io/**", "r.io/*-x"),
            ("r.io/team/*", "r.io/team/a*"),
            ("*.io/**", "*.r.io/x"),
            ("r.io:*/**", "r.io:5000/x"),
            ("r.io/**", "r.io/**/x"),
            ("r.io/app", "r.io/app"),
        ] {
            assert!(scope(wide).covers(&scope(narrow)), "{wide} {narrow}");
        }
        for (wide, narrow) in [
            ("r.io/team/**", "r.io/**"),
            ("r.io/*", "r.io/**"),
            ("r.io/team/**", "r.io/team"),
            ("*.r.io/**", "r.io/x"),
            ("r.io/a*", "r.io/*"),
            ("r.io/x*", "r.io/a*"),
            ("r.io/**", "*.r.io/**"),
            ("r.io/**/x", "r.io/**"),
        ] {
            assert!(!scope(wide).covers(&scope(narrow)), "{wide} {narrow}");
        }
    }

    /// The definition, word by word, without any cleverness.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', '*', rest @ ..] => (1..=text.len()).any(|n| {
                let (head, tail) = text.split_at(n);
                head.first() != Some(&'/')
                    && head.last() != Some(&'/')
                    && matches!(tail.first(), None | Some('/'))
                    && naive(rest, tail)
            }),
            ['*', rest @ ..] => (0..=text.len()).any(|n| {
                let (head, tail) = text.split_at(n);
                !head.contains(&'/') && naive(rest, tail)
            }),
            [c, rest @ ..] => text.split_first().is_some_and(|(first, text)| first == c && naive(rest, text)),
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = prop_oneof![Just("**".to_owned()), "[ab]{1,2}", "[ab]?\\*[ab]?", "\\*[ab]\\*"];
        proptest::collection::vec(part, 1..4).prop_map(|parts| format!("r.io/{}", parts.join("/")))
    }

    proptest! {
        #[test]
        fn matching_is_what_its_definition_says(pattern in pattern(), path in "[ab]{1,3}(/[ab]{1,3}){0,3}") {
            let name = format!("r.io/{path}");
            let letters = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(matches(&pattern, &name), naive(&letters(&pattern), &letters(&name)));
        }

        #[test]
        fn who_covers_or_meets_agrees_with_matching(
            one in pattern(), other in pattern(), path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
        ) {
            let name = format!("r.io/{path}");
            if scope(&one).covers(&scope(&other)) && matches(&other, &name) {
                prop_assert!(matches(&one, &name), "{} covers {} but for {}", one, other, name);
            }
            if matches(&one, &name) && matches(&other, &name) {
                prop_assert!(scope(&one).meets(&scope(&other)), "{} meets {} at {}", one, other, name);
            }
            prop_assert!(scope(&one).covers(&scope(&one)), "{}", one);
        }
    }

    #[test]
    fn tags_have_stars() {
        let matches =
            |pattern: &str, tag: &str| pattern.parse::<TagGlob>().unwrap().matches(&tag.parse().unwrap());
        assert!(matches("latest", "latest") && matches("*-unsafe", "1.0-unsafe") && matches("v*", "v"));
        assert!(!matches("latest", "Latest") && !matches("*-unsafe", "1.0-unsafe2"));
        assert_eq!("v?".parse::<TagGlob>(), Err(InvalidGlob::Character));
    }

    #[test]
    fn many_stars_cost_no_exponential_time() {
        let pattern = format!("r.io/{}b", "*a".repeat(100));
        assert!(!matches(&pattern, &format!("r.io/{}", "a".repeat(240))));
        assert!(!scope(&pattern).covers(&scope("r.io/**")));
        std::hint::black_box(scope(&pattern).covers(&scope(&pattern)));
    }
}
