//! Role names.

use std::fmt;
use std::str::FromStr;

use crate::json::fold_case;
use crate::limits;

/// The delegated role that lists every released tag.
pub const RELEASES: &str = "releases";

/// The delegated role that lists the digests nobody may vouch for any more.
pub const REVOCATIONS: &str = "revocations";

/// The names a signer may not take: the top-level roles, the role that lists released
/// tags, and the one kept for deny lists.
const RESERVED: [&str; 6] = ["root", "targets", "snapshot", "timestamp", RELEASES, REVOCATIONS];

/// A role of TUF: one of the four top-level ones, or a delegated one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoleName {
    /// Keys and thresholds of all top-level roles.
    Root,
    /// The repository's own targets and its delegations.
    Targets,
    /// Versions of all targets roles.
    Snapshot,
    /// Version of the snapshot; proof of freshness.
    Timestamp,
    /// A delegated targets role.
    Delegated(DelegatedRoleName),
}

impl RoleName {
    /// The name as metadata spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Root => "root",
            Self::Targets => "targets",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
            Self::Delegated(name) => name.as_str(),
        }
    }

    /// The largest document of this role that common clients read, in bytes.
    #[must_use]
    pub const fn byte_limit(&self) -> usize {
        match self {
            Self::Root => limits::ROOT_BYTES,
            Self::Snapshot => limits::SNAPSHOT_BYTES,
            Self::Timestamp => limits::TIMESTAMP_BYTES,
            Self::Targets | Self::Delegated(_) => limits::TARGETS_BYTES,
        }
    }
}

impl fmt::Display for RoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for RoleName {
    type Err = InvalidRoleName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "root" => Self::Root,
            "targets" => Self::Targets,
            "snapshot" => Self::Snapshot,
            "timestamp" => Self::Timestamp,
            other => Self::Delegated(other.parse()?),
        })
    }
}

/// The name of a delegated role, as found in metadata. Any text, because other
/// implementations allow any: never use it as a path without encoding (CVE-2021-41131).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DelegatedRoleName(Box<str>);

impl DelegatedRoleName {
    /// The role that lists every released tag.
    #[must_use]
    pub fn releases() -> Self {
        Self(RELEASES.into())
    }

    /// The role that lists the digests nobody may vouch for any more.
    #[must_use]
    pub fn revocations() -> Self {
        Self(REVOCATIONS.into())
    }

    /// The name as metadata spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every common client and file system can handle this name:
    /// `[a-z0-9][a-z0-9._-]{0,63}`, and not digits followed by a dot, which would collide
    /// with versioned file names.
    #[must_use]
    pub fn is_portable(&self) -> bool {
        let bytes = self.0.as_bytes();
        let starts_like_version =
            self.0.split_once('.').is_some_and(|(head, _)| head.bytes().all(|b| b.is_ascii_digit()));
        bytes.len() <= 64
            && bytes.first().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(b))
            && !starts_like_version
    }
}

impl fmt::Display for DelegatedRoleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DelegatedRoleName {
    type Err = InvalidRoleName;

    /// A delegated role that shared a top-level role's name, in whatever letter case, would
    /// share its file and its place in every cache.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > limits::ROLE_NAME_BYTES {
            return Err(InvalidRoleName::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidRoleName::Character);
        }
        if matches!(fold_case(text).as_str(), "root" | "targets" | "snapshot" | "timestamp") {
            return Err(InvalidRoleName::TopLevel);
        }
        Ok(Self(text.into()))
    }
}

/// The name of a signer: a portable role name that is not reserved.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignerName(DelegatedRoleName);

impl SignerName {
    /// The delegated role that holds what this signer vouches for.
    #[must_use]
    pub const fn role(&self) -> &DelegatedRoleName {
        &self.0
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for SignerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SignerName {
    type Err = InvalidRoleName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if RESERVED.contains(&text) {
            return Err(InvalidRoleName::Reserved);
        }
        let name: DelegatedRoleName = text.parse()?;
        if !name.is_portable() {
            return Err(InvalidRoleName::NotPortable);
        }
        Ok(Self(name))
    }
}

/// Why a text is no role name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoleName {
    /// A control character.
    #[error("a role name holds no control characters")]
    Character,
    /// Empty, or longer than 256 bytes.
    #[error("a role name has 1 to 256 bytes")]
    Length,
    /// Not readable by all common clients.
    #[error(
        "a signer's name is up to 64 lower case letters, digits, `.`, `_`, `-`, and does not start like `1.`"
    )]
    NotPortable,
    /// One of the names with a meaning of their own.
    #[error("root, targets, snapshot, timestamp, releases and revocations are reserved names")]
    Reserved,
    /// A delegated role named like a top-level role.
    #[error("a delegated role cannot be named like a top-level role")]
    TopLevel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delegates_cannot_take_the_place_of_top_level_roles() {
        for bad in ["root", "Root", "TIMESTAMP", "target\u{17f}", "\u{17f}napshot"] {
            assert_eq!(bad.parse::<DelegatedRoleName>(), Err(InvalidRoleName::TopLevel), "{bad}");
        }
        for odd in ["../a", ".", "\u{f6}", "a/b", "1.x"] {
            assert!(odd.parse::<DelegatedRoleName>().is_ok_and(|name| !name.is_portable()), "{odd}");
        }
        assert!("a\nb".parse::<DelegatedRoleName>().is_err());
    }

    #[test]
    fn signer_names_are_portable_and_not_reserved() {
        for good in ["alice", "ci-1", "1a.b", "a.b_c-d", "0"] {
            assert!(good.parse::<SignerName>().is_ok(), "{good}");
        }
        for bad in
            ["releases", "revocations", "root", "Alice", "1.x", "..", ".a", "a/b", "-a", "", &"a".repeat(65)]
        {
            assert!(bad.parse::<SignerName>().is_err(), "{bad}");
        }
    }
}
