//! The name under which an attester lists an envelope: `att/SUBJECT.KIND.ENVELOPE.json`.
//!
//! Two parts, so that the pattern `att/**` matches it in every TUF client and no tag can be called like
//! it. The kind stands in it, so that a pattern can limit an attester to one kind.

use std::fmt;
use std::str::FromStr;

use crate::digest::Sha256Digest;
use crate::names::TargetPath;

/// The folder of all envelopes.
const FOLDER: &str = "att/";
/// How many hex digits of the envelope's digest stand in the name.
const DIGITS: usize = 16;

/// What sort of thing an attestation says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Which vulnerabilities a scanner found.
    Vulns,
    /// What the image consists of.
    Sbom,
    /// Which findings do not count, and why.
    Vex,
    /// Anything else.
    Other,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Vulns, Self::Sbom, Self::Vex, Self::Other];

    /// As it is typed, shown and written in names.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Vulns => "vulns",
            Self::Sbom => "sbom",
            Self::Vex => "vex",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

/// The text names no kind of attestations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a kind of attestations: vulns, sbom, vex or other")]
pub struct UnknownKind;

/// Where an envelope is listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttestationPath {
    /// The image that it is about.
    pub subject: Sha256Digest,
    /// What it says.
    pub kind: Kind,
    envelope: String,
}

impl AttestationPath {
    /// The place of the envelope with digest `envelope`.
    #[must_use]
    pub fn new(subject: Sha256Digest, kind: Kind, envelope: Sha256Digest) -> Self {
        Self { subject, kind, envelope: digits(envelope) }
    }

    /// Whether `name` is in the folder of envelopes, well formed or not: no such name is a tag.
    #[must_use]
    pub fn is_below(name: &str) -> bool {
        name.starts_with(FOLDER)
    }

    /// How the names of all envelopes begin that are about `subject`.
    #[must_use]
    pub fn beginning(subject: Sha256Digest) -> String {
        format!("{FOLDER}{subject}")
    }

    /// Whether this is the place of an envelope with that digest.
    #[must_use]
    pub fn is_of(&self, envelope: Sha256Digest) -> bool {
        self.envelope == digits(envelope)
    }

    /// The name in targets metadata.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a folder, hex digits and words, which the tests run through")]
    pub fn to_target_path(&self) -> TargetPath {
        self.to_string().parse().expect("a target path")
    }
}

impl fmt::Display for AttestationPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{FOLDER}{}.{}.{}.json", self.subject, self.kind, self.envelope)
    }
}

impl FromStr for AttestationPath {
    type Err = InvalidAttestationPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.strip_prefix(FOLDER).and_then(|rest| rest.strip_suffix(".json"));
        let mut parts = parts.ok_or(InvalidAttestationPath)?.split('.');
        let (Some(subject), Some(kind), Some(envelope), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(InvalidAttestationPath);
        };
        let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        if envelope.len() != DIGITS || !envelope.bytes().all(is_hex) {
            return Err(InvalidAttestationPath);
        }
        let subject = subject.parse().map_err(|_| InvalidAttestationPath)?;
        let kind = kind.parse().map_err(|_| InvalidAttestationPath)?;
        Ok(Self { subject, kind, envelope: envelope.to_owned() })
    }
}

/// The name is not that of an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the name of an attestation: att/SUBJECT.KIND.ENVELOPE.json")]
pub struct InvalidAttestationPath;

fn digits(envelope: Sha256Digest) -> String {
    envelope.to_string().chars().take(DIGITS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{PathPattern, Tag};

    #[test]
    fn names_are_read_as_they_are_written() {
        let (subject, envelope) = (Sha256Digest::of(b"image"), Sha256Digest::of(b"envelope"));
        for kind in Kind::ALL {
            let path = AttestationPath::new(subject, kind, envelope);
            assert_eq!(path.to_target_path().as_str().parse(), Ok(path.clone()));
            assert!(path.is_of(envelope) && !path.is_of(subject));
            assert!(path.to_string().parse::<Tag>().is_err());
            for (pattern, fits) in [("att/**", true), ("att/*.vulns.*", kind == Kind::Vulns), ("*", false)] {
                let pattern: PathPattern = pattern.parse().unwrap();
                assert_eq!(pattern.matches(&path.to_target_path()), fits, "{pattern} {path}");
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        let good =
            AttestationPath::new(Sha256Digest::of(b"a"), Kind::Vex, Sha256Digest::of(b"b")).to_string();
        assert!(good.parse::<AttestationPath>().is_ok());
        for bad in [
            good.replace("att/", ""),
            good.replace("att/", "att/att/"),
            good.replace(".vex.", ".."),
            good.replace(".vex.", ".VEX."),
            good.replace(".vex.", ".vex.vex."),
            good.replace(".json", ""),
            good.replace(".json", ".json.json"),
            good.replace(".json", "0.json"),
            good.to_uppercase(),
            String::new(),
        ] {
            assert_eq!(bad.parse::<AttestationPath>(), Err(InvalidAttestationPath), "{bad}");
        }
    }
}
