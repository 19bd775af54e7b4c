//! What a token is good for: rights, and the repositories they count for.

use std::fmt;
use std::str::FromStr;

use bulla_keys_schema::names::RepositoryName;
use serde::{Deserialize, Serialize};

/// One thing a caller may do with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Right {
    /// Read metadata, targets, head and changes.
    Read,
    /// Publish metadata; includes reading.
    Publish,
    /// Rotate online keys and remove the repository; includes publishing.
    Admin,
}

/// The rights of a token, as the greatest one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rights(Right);

impl Rights {
    /// Everything.
    #[must_use]
    pub const fn all() -> Self {
        Self(Right::Admin)
    }

    /// Whether `right` is among them.
    #[must_use]
    pub fn include(self, right: Right) -> bool {
        right <= self.0
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Right::Read => "read",
            Right::Publish => "read,publish",
            Right::Admin => "read,publish,admin",
        })
    }
}

impl FromStr for Rights {
    type Err = InvalidRights;

    /// Reads a list like `read,publish`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut greatest = None;
        for word in text.split(',') {
            let right = match word.trim() {
                "read" => Right::Read,
                "publish" => Right::Publish,
                "admin" => Right::Admin,
                _ => return Err(InvalidRights),
            };
            greatest = greatest.max(Some(right));
        }
        greatest.map(Self).ok_or(InvalidRights)
    }
}

/// The text lists something else than rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a list of rights: use `read`, `publish`, `admin`, separated by commas")]
pub struct InvalidRights;

/// Which repositories a token is good for.
///
/// `a/b` is one repository, `a/*` every repository one level below `a`, `a/**` every one at
/// any depth below `a`, `**` all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One repository.
    Exact(RepositoryName),
    /// One level below a prefix.
    Children(RepositoryName),
    /// All levels below a prefix.
    Below(RepositoryName),
    /// Everything.
    All,
}

impl Scope {
    /// The scope that covers every repository.
    #[must_use]
    pub const fn everything() -> Self {
        Self::All
    }

    /// Whether `repository` lies within.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        let below = |prefix: &RepositoryName| {
            repository.as_str().strip_prefix(prefix.as_str()).and_then(|rest| rest.strip_prefix('/'))
        };
        match self {
            Self::Exact(name) => name == repository,
            Self::Children(prefix) => below(prefix).is_some_and(|rest| !rest.contains('/')),
            Self::Below(prefix) => below(prefix).is_some(),
            Self::All => true,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => name.fmt(f),
            Self::Children(prefix) => write!(f, "{prefix}/*"),
            Self::Below(prefix) => write!(f, "{prefix}/**"),
            Self::All => f.write_str("**"),
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScope;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = |text: &str| text.parse().map_err(|_| InvalidScope);
        if text == "**" {
            Ok(Self::All)
        } else if let Some(prefix) = text.strip_suffix("/**") {
            name(prefix).map(Self::Below)
        } else if let Some(prefix) = text.strip_suffix("/*") {
            name(prefix).map(Self::Children)
        } else {
            name(text).map(Self::Exact)
        }
    }
}

/// The text is no scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a scope: use a repository, `prefix/*` (one level), `prefix/**` (all levels) or `**`")]
pub struct InvalidScope;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_cover_whole_path_parts() {
        for (scope, name, covered) in [
            ("r.io/a", "r.io/a", true),
            ("r.io/a", "r.io/a/b", false),
            ("r.io/a/*", "r.io/a/b", true),
            ("r.io/a/*", "r.io/a/b/c", false),
            ("r.io/a/*", "r.io/a", false),
            ("r.io/a/**", "r.io/a/b/c", true),
            ("r.io/a/**", "r.io/ab/c", false),
            ("r.io/a/**", "r.io/a", false),
            ("r.io/**", "r.io.evil.example/a", false),
            ("**", "x", true),
        ] {
            let scope: Scope = scope.parse().unwrap();
            assert_eq!(scope.covers(&name.parse().unwrap()), covered, "{scope} {name}");
        }
    }

    #[test]
    fn other_globs_are_refused() {
        for bad in ["", "*", "a*", "*/a", "a/*/b", "a/***", "/**", "a//**", "**/a", "A/B"] {
            assert_eq!(bad.parse::<Scope>(), Err(InvalidScope), "{bad}");
        }
    }

    #[test]
    fn rights_are_ordered() {
        let rights: Rights = "read, publish".parse().unwrap();
        assert!(rights.include(Right::Read) && !rights.include(Right::Admin));
        assert_eq!(rights.to_string(), "read,publish");
        for bad in ["", "write", "read,", "read;admin"] {
            assert!(bad.parse::<Rights>().is_err(), "{bad}");
        }
    }
}
