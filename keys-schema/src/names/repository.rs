//! Names of image repositories; Notary calls them GUN, globally unique names.

use std::fmt;
use std::str::FromStr;

use crate::limits;

/// One image repository, host included: `registry.example.com:5000/team/app`.
///
/// Safe as a relative path: no empty, `.` or `..` component (Cure53 TUF-01-004 escaped the
/// cache directory through one), no character outside `[A-Za-z0-9._:-]` and `/`. Only the
/// host may hold upper case or a port; the path is lower case as registries demand.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(Box<str>);

impl RepositoryName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part before the first slash, if there is more than one part.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        self.0.split_once('/').map(|(host, _)| host)
    }

    /// The name as the registry at [`Self::host`] knows it.
    #[must_use]
    pub fn path(&self) -> &str {
        self.0.split_once('/').map_or(&self.0, |(_, path)| path)
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = InvalidRepositoryName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > limits::REPOSITORY_NAME_BYTES {
            return Err(InvalidRepositoryName::Length);
        }
        let mut parts = text.split('/');
        let first = parts.next().unwrap_or_default();
        let valid = is_host(first) && parts.all(is_path_component);
        if !valid {
            return Err(InvalidRepositoryName::Character);
        }
        Ok(Self(text.into()))
    }
}

/// Why a text is no repository name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRepositoryName {
    /// A part is empty, dots only, or holds a character that registries refuse.
    #[error(
        "not a repository name: parts are lower case letters, digits, `.`, `_`, `-`, separated by `/`, after an optional host"
    )]
    Character,
    /// Empty, or longer than 255 bytes.
    #[error("not a repository name: it must have 1 to 255 bytes")]
    Length,
}

/// A host with optional port, or the first path component of a name without host.
fn is_host(part: &str) -> bool {
    let (name, port) = part.split_once(':').map_or((part, None), |(name, port)| (name, Some(port)));
    let port_fits = port.is_none_or(|p| p.parse::<u16>().is_ok_and(|n| n > 0 && n.to_string() == p));
    if port.is_none() && is_path_component(name) {
        return true;
    }
    port_fits
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        })
}

/// `[a-z0-9]+` joined by `.`, `_`, `__` or dashes, as the OCI distribution spec has it.
fn is_path_component(part: &str) -> bool {
    let alphanumeric = |b: Option<&u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = part.as_bytes();
    let separators_fit = part
        .split(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
        .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-'));
    alphanumeric(bytes.first()) && alphanumeric(bytes.last()) && separators_fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_names_of_registries_and_notary() {
        for good in [
            "docker.io/library/busybox",
            "localhost:5000/app",
            "registry.example.com/a/b_c/d__e/f--g.h",
            "app",
            "127.0.0.1:5000/x",
            "Registry.Example.com/x",
            "docker.com/notary0.3/tst",
            "localhost:65535/metadata/targets",
        ] {
            assert_eq!(good.parse::<RepositoryName>().map(|n| n.to_string()).as_deref(), Ok(good));
        }
    }

    #[test]
    fn refuses_what_could_escape_or_collide() {
        let long = "a".repeat(256);
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            "a/./b",
            "a/B",
            "a b",
            "a\0b",
            "a/b:c",
            "host:0/a",
            "host:65536/a",
            "host:+80/a",
            "host:080/a",
            "a/_b",
            "a/b_",
            "a/b___c",
            "a/b..c",
            "a/b._c",
            "a\\b",
            "a/%2e%2e/b",
            "\u{e9}/a",
            "-a.b/c",
            "a/-b",
            "https://a/b",
            "a@b",
            &long,
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }
}
