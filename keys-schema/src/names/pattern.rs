//! Path patterns: what a delegated role may speak for.

use std::fmt;
use std::str::FromStr;

use crate::limits;
use crate::names::TargetPath;

/// A shell-style pattern of TUF 1.0 (4.5): `*` and `?` stand for characters of one path
/// part and never cross `/`; every other character stands for itself, case-sensitively.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PathPattern(Box<str>);

impl PathPattern {
    /// The pattern as metadata spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether this pattern speaks for `path`: same number of parts, each matching.
    #[must_use]
    pub fn matches(&self, path: &TargetPath) -> bool {
        let mut patterns = self.0.split('/');
        let mut parts = path.as_str().split('/');
        loop {
            match (patterns.next(), parts.next()) {
                (None, None) => return true,
                (Some(pattern), Some(part)) if part_matches(pattern, part) => {}
                _ => return false,
            }
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for PathPattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits =
            !text.is_empty() && text.len() <= limits::PATTERN_BYTES && !text.chars().any(char::is_control);
        if !fits {
            return Err(InvalidPattern);
        }
        Ok(Self(text.into()))
    }
}

/// The text is empty, too long, or holds control characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path pattern: it must have 1 to 1024 bytes and no control characters")]
pub struct InvalidPattern;

/// Greedy matching with one point of return: linear in pattern times text, whatever the
/// number of stars.
fn part_matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(c) = text.get(t) {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == c => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str) -> bool {
        pattern.parse::<PathPattern>().unwrap().matches(&path.parse().unwrap())
    }

    #[test]
    fn follows_the_spec() {
        for (pattern, path) in [
            ("*", "v1"),
            ("v*", "v1.2"),
            ("v?.*", "v1.2"),
            ("a/*", "a/b"),
            ("*/*.tgz", "a/b.tgz"),
            ("**", "abc"),
            ("a*b*c", "a-b-b-c"),
            ("v1", "v1"),
            ("?", "\u{e9}"),
            ("[v]1", "[v]1"),
            ("*a", "aaa"),
        ] {
            assert!(matches(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("*", "a/b"),
            ("a*", "a/b"),
            ("a/?", "a/bc"),
            ("a/", "a/b"),
            ("a", "a/b"),
            ("a/*", "a/b/c"),
            ("**", "a/b"),
            ("V*", "v1"),
            ("[v]1", "v1"),
            ("a?b", "a/b"),
            ("v1", "v1x"),
            ("?", "ab"),
            ("a*b", "a"),
        ] {
            assert!(!matches(pattern, path), "{pattern} {path}");
        }
    }

    #[test]
    fn many_stars_cost_no_exponential_time() {
        let pattern = "*a".repeat(500);
        assert!(!matches(&pattern, &"a".repeat(499)));
        assert!(matches(&pattern, &"a".repeat(1000)));
    }
}
