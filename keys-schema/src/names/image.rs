//! Image references as people type them.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256Digest;
use crate::names::{RepositoryName, TargetPath};

/// A tag: `[A-Za-z0-9_][A-Za-z0-9._-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(Box<str>);

impl Tag {
    /// The tag as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name under which targets metadata lists this tag. The alphabet of tags excludes
    /// everything that a target path may not hold.
    #[must_use]
    pub fn target_path(&self) -> TargetPath {
        TargetPath::from_tag(self)
    }

    /// The tag under which registries and cosign keep what belongs to a manifest: `sha256-HEX`,
    /// with a dot and `suffix` behind it if there is one.
    #[must_use]
    pub(crate) fn beside(manifest: Sha256Digest, suffix: Option<&'static str>) -> Self {
        Self(match suffix {
            Some(suffix) => format!("sha256-{manifest}.{suffix}").into(),
            None => format!("sha256-{manifest}").into(),
        })
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = InvalidTag;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
        let bytes = text.as_bytes();
        let fits = bytes.first().is_some_and(word)
            && bytes.len() <= 128
            && bytes.iter().all(|b| word(b) || matches!(b, b'.' | b'-'));
        if !fits {
            return Err(InvalidTag);
        }
        Ok(Self(text.into()))
    }
}

/// The text is no tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a tag: up to 128 letters, digits, `_`, `.`, `-`, not starting with `.` or `-`")]
pub struct InvalidTag;

/// `name:tag`, `name@sha256:...`, or both. A tag alone is no identity of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageRef {
    repository: RepositoryName,
    tag: Option<Tag>,
    digest: Option<Sha256Digest>,
}

impl ImageRef {
    /// Joins the parts of a reference.
    #[must_use]
    pub const fn new(repository: RepositoryName, tag: Option<Tag>, digest: Option<Sha256Digest>) -> Self {
        Self { repository, tag, digest }
    }

    /// The repository that `text` names, normalised as in an image reference, so that both
    /// spellings mean the same repository.
    ///
    /// # Errors
    /// Not a name, or one with a tag or a digest.
    pub fn parse_repository(text: &str) -> Result<RepositoryName, InvalidImageRef> {
        let names_image =
            text.contains('@') || text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if names_image {
            return Err(InvalidImageRef::Repository);
        }
        normalise(text).parse().map_err(|_| InvalidImageRef::Repository)
    }

    /// The repository, with host.
    #[must_use]
    pub const fn repository(&self) -> &RepositoryName {
        &self.repository
    }

    /// The tag, if one was typed, or `latest` where neither tag nor digest was.
    #[must_use]
    pub const fn tag(&self) -> Option<&Tag> {
        self.tag.as_ref()
    }

    /// The digest, if one was typed.
    #[must_use]
    pub const fn digest(&self) -> Option<Sha256Digest> {
        self.digest
    }

    /// The form to pull by: repository and digest, no tag.
    #[must_use]
    pub fn pinned(repository: &RepositoryName, digest: Sha256Digest) -> String {
        format!("{repository}@{}", digest.to_oci())
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.repository.fmt(f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{}", digest.to_oci())?;
        }
        Ok(())
    }
}

impl FromStr for ImageRef {
    type Err = InvalidImageRef;

    /// Docker's normalisation: `busybox` means `docker.io/library/busybox:latest`. Every
    /// spelling of Docker Hub's host maps to one, or another spelling would be a way
    /// around a pin.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(Sha256Digest::parse_oci(digest).map_err(|_| InvalidImageRef::Digest)?))
            }
            None => (text, None),
        };
        let name_end = rest.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match rest.get(name_end..).and_then(|last| last.split_once(':')) {
            Some((last, tag)) => {
                let name = rest.get(..name_end + last.len()).unwrap_or_default();
                (name, Some(tag.parse::<Tag>().map_err(|_| InvalidImageRef::Tag)?))
            }
            None => (rest, None),
        };
        let repository = normalise(name).parse().map_err(|_| InvalidImageRef::Repository)?;
        let tag = match (tag, digest) {
            (None, None) => Some(Tag("latest".into())),
            (tag, _) => tag,
        };
        Ok(Self { repository, tag, digest })
    }
}

/// Why a text is no image reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidImageRef {
    /// What follows `@` is no SHA-256 digest.
    #[error("not an image reference: the part after `@` must be sha256: and 64 lower case hex digits")]
    Digest,
    /// The name is none.
    #[error(
        "not an image reference: the name must be lower case letters, digits, `.`, `_`, `-`, separated by `/`, after an optional host"
    )]
    Repository,
    /// What follows `:` is no tag.
    #[error("not an image reference: the part after `:` is not a tag")]
    Tag,
}

fn normalise(name: &str) -> String {
    let (host, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry_host(first) => (first, rest),
        _ => ("docker.io", name),
    };
    let host = host.to_ascii_lowercase();
    if !matches!(host.as_str(), "docker.io" | "index.docker.io" | "registry-1.docker.io") {
        return format!("{host}/{path}");
    }
    if path.contains('/') { format!("docker.io/{path}") } else { format!("docker.io/library/{path}") }
}

/// Docker also takes a first part with upper case for a host. Hosts are lower-cased here, and
/// such a one would read back as a path of Docker Hub: it is refused instead.
fn is_registry_host(part: &str) -> bool {
    part == "localhost" || part.contains(['.', ':'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_like_docker() {
        let digest = format!("sha256:{}", "0".repeat(64));
        for (typed, expected) in [
            ("busybox".to_owned(), "docker.io/library/busybox:latest".to_owned()),
            ("team/app:1".to_owned(), "docker.io/team/app:1".to_owned()),
            ("index.docker.io/busybox".to_owned(), "docker.io/library/busybox:latest".to_owned()),
            ("registry-1.docker.io/library/busybox:1".to_owned(), "docker.io/library/busybox:1".to_owned()),
            ("localhost/app:1".to_owned(), "localhost/app:1".to_owned()),
            ("localhost:5000/app".to_owned(), "localhost:5000/app:latest".to_owned()),
            ("Reg.Example.com/app:V1".to_owned(), "reg.example.com/app:V1".to_owned()),
            (format!("a.b/c@{digest}"), format!("a.b/c@{digest}")),
            (format!("a.b/c:t@{digest}"), format!("a.b/c:t@{digest}")),
        ] {
            assert_eq!(typed.parse::<ImageRef>().unwrap().to_string(), expected, "{typed}");
        }
    }

    #[test]
    fn repositories_are_named_as_in_references() {
        for (typed, expected) in [
            ("busybox", Ok("docker.io/library/busybox")),
            ("team/app", Ok("docker.io/team/app")),
            ("localhost:5000/app", Ok("localhost:5000/app")),
            ("app:1", Err(InvalidImageRef::Repository)),
            ("app@sha256:00", Err(InvalidImageRef::Repository)),
        ] {
            let parsed = ImageRef::parse_repository(typed);
            assert_eq!(
                parsed.as_ref().map(RepositoryName::as_str),
                expected.as_ref().map(|name| *name),
                "{typed}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_reference() {
        for bad in [
            "",
            ":tag",
            "a.b/C",
            "a:b:c",
            "a:",
            "a@sha256:00",
            "a@",
            "a@md5:00",
            "a b",
            "a.b/../c",
            "a:.x",
            "a.b:x/c",
            "https://a.b/c",
            "Foo/bar",
            "LOCALHOST/app",
        ] {
            assert!(bad.parse::<ImageRef>().is_err(), "{bad}");
        }
    }
}
