//! Package URLs, as far as two of them are held against each other.

use crate::digest::Sha256Digest;

/// A package URL, its parts decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Purl {
    kind: String,
    name: String,
    version: Option<String>,
    qualifiers: Vec<(String, String)>,
}

impl Purl {
    /// Reads `pkg:TYPE/NAME@VERSION?QUALIFIERS`; nothing if it is something else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix("pkg:")?;
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (path, qualifiers) = text.split_once('?').unwrap_or((text, ""));
        let (path, version) = match path.rsplit_once('@') {
            Some((path, version)) => (path, Some(decoded(version)?)),
            None => (path, None),
        };
        let (kind, name) = path.trim_matches('/').split_once('/')?;
        if kind.is_empty() || name.is_empty() {
            return None;
        }
        let qualifier = |pair: &str| {
            let (key, value) = pair.split_once('=')?;
            Some((key.to_ascii_lowercase(), decoded(value)?))
        };
        let qualifiers: Option<Vec<_>> =
            qualifiers.split('&').filter(|pair| !pair.is_empty()).map(qualifier).collect();
        Some(Self {
            kind: kind.to_ascii_lowercase(),
            name: decoded(name)?,
            version: version.filter(|version| !version.is_empty()),
            qualifiers: qualifiers?,
        })
    }

    /// The digest that an image is named by: `pkg:oci/NAME@sha256%3A...`.
    pub(super) fn image(&self) -> Option<Sha256Digest> {
        let version = self.version.as_deref().filter(|_| matches!(self.kind.as_str(), "oci" | "docker"))?;
        Sha256Digest::parse_oci(version).ok()
    }

    /// Whether `other` is what this one speaks of: what is not said here may be anything there.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.kind == other.kind
            && self.name == other.name
            && self.version.as_ref().is_none_or(|version| other.version.as_ref() == Some(version))
            && self.qualifiers.iter().all(|qualifier| other.qualifiers.contains(qualifier))
    }
}

/// The text without percent signs; nothing if one of them is not followed by two digits.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut left = text.bytes();
    while let Some(byte) = left.next() {
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16);
        bytes.push(match byte {
            b'%' => {
                let (high, low) = (digit(left.next())?, digit(left.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn includes(one: &str, other: &str) -> bool {
        Purl::parse(one).unwrap().includes(&Purl::parse(other).unwrap())
    }

    #[test]
    fn what_is_said_must_be_so_and_the_rest_may_be_anything() {
        let package = "pkg:deb/debian/openssl@1.1.1%2Bd-1?arch=amd64&distro=debian-12#lib";
        for wide in [
            "pkg:deb/debian/openssl",
            "pkg:DEB/debian/openssl@1.1.1+d-1",
            "pkg:deb/debian/openssl@1.1.1%2bd-1?distro=debian-12",
            package,
        ] {
            assert!(includes(wide, package), "{wide}");
        }
        for other in [
            "pkg:deb/debian/openssl@1.1.1",
            "pkg:deb/ubuntu/openssl",
            "pkg:apk/debian/openssl",
            "pkg:deb/debian/openssl3",
            "pkg:deb/openssl",
            "pkg:deb/debian/openssl?arch=arm64",
            "pkg:deb/debian/openssl?epoch=1",
        ] {
            assert!(!includes(other, package), "{other}");
        }
        assert!(!includes("pkg:deb/debian/openssl@1", "pkg:deb/debian/openssl"));
    }

    #[test]
    fn an_image_is_named_by_its_digest_alone() {
        let digest = Sha256Digest::from_bytes([7; 32]);
        let image = |text: &str| Purl::parse(text).and_then(|purl| purl.image());
        let (plain, escaped) = (digest.to_oci(), digest.to_oci().replace(':', "%3A"));
        assert_eq!(image(&format!("pkg:oci/app@{escaped}?repository_url=reg/app")), Some(digest));
        assert_eq!(image(&format!("pkg:oci/app@{plain}")), Some(digest));
        for none in ["pkg:oci/app", "pkg:oci/app@1.0", "pkg:oci/app?tag=1", &format!("pkg:npm/app@{plain}")] {
            assert_eq!(image(none), None, "{none}");
        }
    }

    #[test]
    fn what_is_no_package_url_is_none() {
        for text in [
            "",
            "pkg:",
            "pkg:oci",
            "pkg:oci/",
            "oci/app",
            "pkg:/app",
            "pkg:a/b@%4",
            "pkg:a/b@%zz",
            "pkg:a/%ff",
            "pkg:a/b?x",
        ] {
            assert_eq!(Purl::parse(text), None, "{text}");
        }
    }
}
