//! A policy as others publish it: a target `policy/NAME.toml`, whose version may only rise.
//!
//! Two parts, so that no tag can be called like it, and a pattern that only speaks for policies, such
//! as `policy/*`, speaks for no tag and no attestation.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use super::{Policy, PolicyError};
use crate::digest::Sha256Digest;
use crate::json::{Json, Object};
use crate::limits::{JSON_INTEGER, POLICY_BYTES};
use crate::metadata::{Scope, TargetInfo};
use crate::names::{InvalidRoleName, SignerName, TargetPath};
use crate::time::UtcTime;

/// The folder of all policies.
const FOLDER: &str = "policy/";
const ENDING: &str = ".toml";
/// What a policy is called that nobody gave a name.
const DEFAULT: &str = "default";
/// Our member of `custom`: name and version. For lists only; the file decides.
const HINT: &str = "x_bulla_policy";

/// The name that a policy is published under. It follows the rules of a signer's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyName(SignerName);

impl PolicyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Where a policy of that name is listed.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a folder and a portable name, which the tests run through")]
    pub fn to_target_path(&self) -> TargetPath {
        format!("{FOLDER}{self}{ENDING}").parse().expect("a target path")
    }

    /// Whether `name` is in the folder of policies, well formed or not: no such name is a tag.
    #[must_use]
    pub fn is_below(name: &str) -> bool {
        name.starts_with(FOLDER)
    }

    /// The name of the policy that is listed as `path`, if that is the place of one.
    #[must_use]
    pub fn of_target(path: &str) -> Option<Self> {
        path.strip_prefix(FOLDER)?.strip_suffix(ENDING)?.parse().ok()
    }
}

impl Default for PolicyName {
    #[expect(clippy::expect_used, reason = "a constant that the tests run through")]
    fn default() -> Self {
        DEFAULT.parse().expect("a name")
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PolicyName {
    type Err = InvalidRoleName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Whether a role with that scope speaks for policies and for nothing else. Whoever signs tags or
/// attests must not say by which policy that is judged.
#[must_use]
pub fn is_for_policies(scope: &Scope) -> bool {
    match scope {
        Scope::HashPrefixes(_) => false,
        Scope::Paths(patterns) => {
            !patterns.is_empty() && patterns.iter().all(|pattern| PolicyName::is_below(pattern.as_str()))
        }
        Scope::Prefixes(prefixes) => {
            !prefixes.is_empty() && prefixes.iter().all(|prefix| PolicyName::is_below(prefix))
        }
    }
}

/// Which edition of a policy: what rollback is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edition {
    /// The version that the file gives itself.
    pub version: u64,
    /// The digest of its bytes.
    pub digest: Sha256Digest,
}

impl Edition {
    /// Whether this may take the place of `known`, and whether anything changes by that.
    ///
    /// # Errors
    /// It is older, or of the same version and yet another.
    pub fn follow(&self, known: &Self) -> Result<Succession, Backwards> {
        match self.version.cmp(&known.version) {
            Ordering::Less => Err(Backwards::Lower { known: known.version, found: self.version }),
            Ordering::Greater => Ok(Succession::Newer),
            Ordering::Equal if self.digest == known.digest => Ok(Succession::Same),
            Ordering::Equal => Err(Backwards::OtherBytes { version: self.version }),
        }
    }
}

/// What an edition is to the one that was known before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// A higher version.
    Newer,
    /// The very one.
    Same,
}

/// An edition that must not take the place of the one that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Backwards {
    /// A lower version.
    #[error("version {found} is lower than {known}")]
    Lower {
        /// The version that is known.
        known: u64,
        /// The version that was found.
        found: u64,
    },
    /// Two different files with one version.
    #[error("version {version} has other bytes than before")]
    OtherBytes {
        /// The version of both.
        version: u64,
    },
}

/// A policy that can be published, or was.
#[derive(Clone, Debug)]
pub struct PublishedPolicy {
    /// What it says.
    pub policy: Policy,
    /// Which edition it is.
    pub edition: Edition,
}

impl PublishedPolicy {
    /// Reads the bytes of one.
    ///
    /// # Errors
    /// They are no policy that this program knows, or one without a version.
    pub fn read(bytes: &[u8]) -> Result<Self, InvalidPublished> {
        if bytes.len() > POLICY_BYTES {
            return Err(PolicyError::TooLarge.into());
        }
        let text = str::from_utf8(bytes).map_err(|_| InvalidPublished::NotText)?;
        let policy = Policy::parse(text)?;
        let version = policy.version().ok_or(InvalidPublished::NoVersion)?;
        if i64::try_from(version).map_or(true, |version| version > JSON_INTEGER) {
            return Err(InvalidPublished::LargeVersion { version });
        }
        Ok(Self { policy, edition: Edition { version, digest: Sha256Digest::of(bytes) } })
    }

    /// The entry of a targets document: the bytes, when they were signed, and for lists what they are.
    #[must_use]
    pub fn entry(&self, name: &PolicyName, length: u64, at: UtcTime) -> TargetInfo {
        let mut info = TargetInfo::signed(self.edition.digest, length, at);
        if let Some(Json::Object(custom)) = &mut info.custom {
            // Versions beyond what JSON holds are refused when they are read.
            let version = i64::try_from(self.edition.version).unwrap_or(JSON_INTEGER);
            let hint = Object::from([
                ("name".to_owned(), Json::from(name.as_str())),
                ("version".to_owned(), Json::Integer(version)),
            ]);
            custom.insert(HINT.to_owned(), Json::Object(hint));
        }
        info
    }
}

/// The version that an entry says its policy has. Only for lists: the file decides.
#[must_use]
pub fn hinted_version(info: &TargetInfo) -> Option<u64> {
    info.custom.as_ref()?.as_object()?.get(HINT)?.as_object()?.get("version")?.as_u64()
}

/// Bytes that cannot be published as a policy, or should not have been.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPublished {
    /// A version that other programs could not read.
    #[error("version {version} is higher than {JSON_INTEGER}")]
    LargeVersion {
        /// The version.
        version: u64,
    },
    /// Nothing tells it from an older one.
    #[error("it has no version")]
    NoVersion,
    /// Not UTF-8.
    #[error("it is no text")]
    NotText,
    /// Not a policy.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl InvalidPublished {
    /// What whoever publishes it does about it.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::LargeVersion { .. } => "count versions from 1",
            Self::NoVersion => "give it one, and a higher one with each change: version = 1",
            Self::NotText => "write it in UTF-8",
            Self::Policy(error) => error.advice(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "policy = 1\nname = 'x'\ndefault = 'deny'\nversion = 7\n";

    fn edition(version: u64, byte: u8) -> Edition {
        Edition { version, digest: Sha256Digest::from_bytes([byte; 32]) }
    }

    fn scope(patterns: &[&str]) -> Scope {
        Scope::Paths(patterns.iter().map(|pattern| pattern.parse().unwrap()).collect())
    }

    #[test]
    fn names_are_places_and_places_are_names() {
        assert_eq!(PolicyName::default().to_target_path().as_str(), "policy/default.toml");
        for name in ["default", "prod-1", "a.b", "0"] {
            let name: PolicyName = name.parse().unwrap();
            assert_eq!(PolicyName::of_target(name.to_target_path().as_str()), Some(name));
        }
        for odd in ["", "A", "a/b", "..", ".", "releases", "1.x", "a b"] {
            assert!(odd.parse::<PolicyName>().is_err(), "{odd}");
            assert_eq!(PolicyName::of_target(&format!("policy/{odd}.toml")), None, "{odd}");
        }
        for odd in ["policy/a", "a.toml", "Policy/a.toml", "policy/policy/a.toml", "policy"] {
            assert_eq!(PolicyName::of_target(odd), None, "{odd}");
        }
    }

    #[test]
    fn only_who_speaks_for_policies_alone_speaks_for_them() {
        for good in [&["policy/*"][..], &["policy/**"], &["policy/default.toml", "policy/prod*"]] {
            assert!(is_for_policies(&scope(good)), "{good:?}");
        }
        let bad = [
            &["*"][..],
            &["att/**"],
            &["*/*"],
            &["policy/*", "att/**"],
            &["policy*/x"],
            &["policy/*", "*"],
            &[],
        ];
        for bad in bad {
            assert!(!is_for_policies(&scope(bad)), "{bad:?}");
        }
        assert!(!is_for_policies(&Scope::HashPrefixes(vec!["0".to_owned()])));
        assert!(!is_for_policies(&Scope::Prefixes(vec![String::new()])));
    }

    #[test]
    fn versions_rise_and_bytes_stay() {
        let known = edition(3, 1);
        assert_eq!(edition(4, 1).follow(&known), Ok(Succession::Newer));
        assert_eq!(edition(4, 2).follow(&known), Ok(Succession::Newer));
        assert_eq!(edition(3, 1).follow(&known), Ok(Succession::Same));
        assert_eq!(edition(3, 2).follow(&known), Err(Backwards::OtherBytes { version: 3 }));
        assert_eq!(edition(2, 1).follow(&known), Err(Backwards::Lower { known: 3, found: 2 }));
    }

    #[test]
    fn what_cannot_be_told_from_an_older_one_is_not_published() {
        let read = PublishedPolicy::read(TEXT.as_bytes()).unwrap();
        assert_eq!(read.edition, Edition { version: 7, digest: Sha256Digest::of(TEXT.as_bytes()) });
        let without = TEXT.replace("version = 7\n", "");
        assert_eq!(PublishedPolicy::read(without.as_bytes()).unwrap_err(), InvalidPublished::NoVersion);
        let large = TEXT.replace('7', "9007199254740992");
        let refused = PublishedPolicy::read(large.as_bytes()).unwrap_err();
        assert_eq!(refused, InvalidPublished::LargeVersion { version: 1 << 53 });
        assert_eq!(PublishedPolicy::read(b"\xff").unwrap_err(), InvalidPublished::NotText);
        for odd in [TEXT.replace("policy = 1", "policy = 2"), format!("{TEXT}surprise = 1\n")] {
            let refused = PublishedPolicy::read(odd.as_bytes()).unwrap_err();
            assert!(matches!(refused, InvalidPublished::Policy(_)), "{odd}");
        }
    }

    #[test]
    fn an_entry_says_what_it_is() {
        let read = PublishedPolicy::read(TEXT.as_bytes()).unwrap();
        let at = "2030-01-01T00:00:00Z".parse().unwrap();
        let info = read.entry(&PolicyName::default(), TEXT.len() as u64, at);
        assert_eq!((info.signed_at(), hinted_version(&info)), (Some(at), Some(7)));
        let custom = String::from_utf8(info.custom.unwrap().to_wire()).unwrap();
        assert!(custom.contains(r#""x_bulla_policy":{"name":"default","version":7}"#), "{custom}");
    }
}
