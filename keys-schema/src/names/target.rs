//! Target paths: the names that targets roles list.

use std::fmt;
use std::str::FromStr;

use crate::limits;
use crate::names::Tag;

/// A name to look up in targets metadata: an image tag, or a relative path.
///
/// No empty, `.` or `..` part, no backslash and no control character, so that a client
/// which writes the target below a folder stays there (CVE-2021-41149, CVE-2026-6968).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(Box<str>);

impl TargetPath {
    /// The path as metadata spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name under which targets metadata lists `tag`.
    #[must_use]
    pub fn from_tag(tag: &Tag) -> Self {
        Self(tag.as_str().into())
    }

    /// The path under which a consistent-snapshot repository serves these bytes: the
    /// digest goes in front of the last part.
    #[must_use]
    pub fn with_hash_prefix(&self, hash: &str) -> String {
        match self.0.rsplit_once('/') {
            Some((folder, file)) => format!("{folder}/{hash}.{file}"),
            None => format!("{hash}.{}", self.0),
        }
    }
}

impl fmt::Display for TargetPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for TargetPath {
    type Err = InvalidTargetPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = text.len() <= limits::TARGET_PATH_BYTES
            && text.split('/').all(|part| !matches!(part, "" | "." | ".."))
            && !text.chars().any(|c| c.is_control() || c == '\\');
        if !fits {
            return Err(InvalidTargetPath);
        }
        Ok(Self(text.into()))
    }
}

/// The text is no relative path of non-empty parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a target path: it must be relative, without empty, `.` or `..` parts, backslashes or control characters"
)]
pub struct InvalidTargetPath;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stays_below_its_folder() {
        for bad in ["", "/etc/passwd", "../x", "a/../b", "a//b", "a/", "a\\..\\b", "a\0b", ".", "a/./b"] {
            assert_eq!(bad.parse::<TargetPath>(), Err(InvalidTargetPath), "{bad:?}");
        }
        for good in ["1.0", "latest", "att/sha256-00/x.json", "..a", "a b", "\u{e9}", "C:x"] {
            assert!(good.parse::<TargetPath>().is_ok(), "{good}");
        }
    }

    #[test]
    fn hash_goes_before_the_last_part() {
        let path: TargetPath = "a/b/c.txt".parse().unwrap();
        assert_eq!(path.with_hash_prefix("00"), "a/b/00.c.txt");
        assert_eq!("v1".parse::<TargetPath>().unwrap().with_hash_prefix("00"), "00.v1");
    }
}
