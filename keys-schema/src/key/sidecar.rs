//! What is known about a key without opening it: `keys/<name>.json` beside the key file, or in
//! place of one, where the private half lies in a variable of a pipeline.
//!
//! For people and for listings. Nothing is trusted because a sidecar says so.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use crate::key::{Fingerprint, KeyAlgorithm};
use crate::names::{RepositoryName, RoleName};
use crate::time::UtcTime;

/// The one version of the format.
const SCHEMA_VERSION: u32 = 1;
/// Largest file read, in bytes.
const FILE_BYTES: usize = 1024 * 1024;
/// Longest name of a key, in bytes.
const NAME_BYTES: usize = 64;
/// Longest name of a variable, in bytes.
const VARIABLE_BYTES: usize = 256;
/// Longest path, in bytes: what Linux opens.
const PATH_BYTES: usize = 4096;

/// The description of one key file. Holds no secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySidecar {
    /// The name the user gave the key, which is the stem of its files.
    pub name: KeyName,
    /// The key itself.
    pub fingerprint: Fingerprint,
    /// Its algorithm.
    pub algorithm: KeyAlgorithm,
    /// When it was made or imported.
    pub created: UtcTime,
    /// The roles it was given, as far as this machine knows.
    pub roles: Vec<HeldRole>,
    /// Where its private half is, if there is no key file of it here.
    pub loaded: Option<LoadedKey>,
}

/// A key that was loaded: its private half is read anew for each use, and written nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadedKey {
    /// Where it is read from.
    pub source: KeySource,
    /// When it is forgotten.
    pub until: UtcTime,
}

/// Where the text of a private key can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file, by its absolute path.
    File(Box<str>),
    /// A variable of the environment, by its name.
    Variable(Box<str>),
}

impl KeySource {
    /// The file at `path`.
    ///
    /// # Errors
    /// The path is not absolute, too long, or holds control characters.
    pub fn file(path: &str) -> Result<Self, InvalidKeySource> {
        let fits = path.len() <= PATH_BYTES && path.starts_with('/') && !path.chars().any(char::is_control);
        if fits { Ok(Self::File(path.into())) } else { Err(InvalidKeySource::Path) }
    }

    /// The variable `name`.
    ///
    /// # Errors
    /// No shell can set a variable of that name.
    pub fn variable(name: &str) -> Result<Self, InvalidKeySource> {
        let fits = name.len() <= VARIABLE_BYTES
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
            && name.bytes().next().is_some_and(|byte| !byte.is_ascii_digit());
        if fits { Ok(Self::Variable(name.into())) } else { Err(InvalidKeySource::Variable) }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.write_str(path),
            Self::Variable(name) => write!(f, "the variable {name}"),
        }
    }
}

/// The text names no place where a key could be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKeySource {
    /// No path that can be noted.
    #[error("not a path to remember: it must be absolute, with at most 4096 bytes of printable text")]
    Path,
    /// No name of a variable.
    #[error("not the name of a variable: letters, digits and `_`, starting with no digit")]
    Variable,
}

/// A role that a key holds in one repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldRole {
    /// The repository.
    pub repository: RepositoryName,
    /// The role.
    pub role: RoleName,
}

impl KeySidecar {
    /// Reads the content of a sidecar file.
    ///
    /// # Errors
    /// Anything but JSON of the known version with exactly the known members.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidSidecar> {
        if bytes.len() > FILE_BYTES {
            return Err(InvalidSidecar::TooLarge);
        }
        let file: File = serde_json::from_slice(bytes)
            .map_err(|error| InvalidSidecar::Structure { reason: error.to_string() })?;
        if file.schema_version != SCHEMA_VERSION {
            return Err(InvalidSidecar::Version { found: file.schema_version });
        }
        let roles = file.roles.iter().map(|held| {
            Ok(HeldRole {
                repository: member("roles.repository", &held.repository)?,
                role: member("roles.role", &held.role)?,
            })
        });
        Ok(Self {
            loaded: file.loaded.map(|loaded| loaded.read()).transpose()?,
            roles: roles.collect::<Result<_, _>>()?,
            name: member("name", &file.name)?,
            fingerprint: member("fingerprint", &file.fingerprint)?,
            algorithm: member("algorithm", &file.algorithm)?,
            created: member("created", &file.created)?,
        })
    }

    /// The content of the sidecar file: indented JSON and a line feed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let roles = self
            .roles
            .iter()
            .map(|held| Held { repository: held.repository.to_string(), role: held.role.to_string() });
        let file = File {
            schema_version: SCHEMA_VERSION,
            name: self.name.to_string(),
            fingerprint: self.fingerprint.to_string(),
            algorithm: self.algorithm.to_string(),
            created: self.created.to_string(),
            roles: roles.collect(),
            loaded: self.loaded.as_ref().map(Loaded::written),
        };
        #[expect(clippy::expect_used, reason = "texts and one number always have a JSON form")]
        let mut bytes = serde_json::to_vec_pretty(&file).expect("plain values");
        bytes.push(b'\n');
        bytes
    }
}

/// The name of a key: a file stem that every file system keeps as it is,
/// `[A-Za-z0-9][A-Za-z0-9._-]{0,63}` without `..`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyName(Box<str>);

impl KeyName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KeyName {
    type Err = InvalidKeyName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bytes = text.as_bytes();
        let fits = bytes.len() <= NAME_BYTES
            && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(b))
            && !text.contains("..");
        if !fits {
            return Err(InvalidKeyName);
        }
        Ok(Self(text.into()))
    }
}

/// The text is no name for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a key name: up to 64 letters, digits, `.`, `_`, `-`, starting with a letter or digit, without `..`"
)]
pub struct InvalidKeyName;

/// Why bytes are no sidecar.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSidecar {
    /// A member whose text means nothing.
    #[error("invalid key description: {member}: {reason}")]
    Member {
        /// Its name.
        member: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Bad JSON, or missing, unknown or repeated members.
    #[error("invalid key description: {reason}")]
    Structure {
        /// Where and why.
        reason: String,
    },
    /// Larger than 1 MiB.
    #[error("invalid key description: larger than 1 MiB")]
    TooLarge,
    /// Another version of the format.
    #[error("invalid key description: schema version {found}, this program knows 1")]
    Version {
        /// The version it has.
        found: u32,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    schema_version: u32,
    name: String,
    fingerprint: String,
    algorithm: String,
    created: String,
    roles: Vec<Held>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    loaded: Option<Loaded>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Loaded {
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    variable: Option<String>,
    #[serde(default, deserialize_with = "some", skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    until: String,
}

impl Loaded {
    fn written(loaded: &LoadedKey) -> Self {
        let (variable, file) = match &loaded.source {
            KeySource::Variable(name) => (Some(name.to_string()), None),
            KeySource::File(path) => (None, Some(path.to_string())),
        };
        Self { variable, file, until: loaded.until.to_string() }
    }

    fn read(&self) -> Result<LoadedKey, InvalidSidecar> {
        let wrong = |reason: String| InvalidSidecar::Member { member: "loaded", reason };
        let source = match (self.variable.as_deref(), self.file.as_deref()) {
            (Some(name), None) => KeySource::variable(name),
            (None, Some(path)) => KeySource::file(path),
            _ => return Err(wrong("it must name either a variable or a file".to_owned())),
        };
        let source = source.map_err(|error| wrong(error.to_string()))?;
        Ok(LoadedKey { source, until: member("loaded.until", &self.until)? })
    }
}

/// A member that is there: `null` is none of its values.
fn some<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Held {
    repository: String,
    role: String,
}

fn member<T: FromStr<Err: fmt::Display>>(member: &'static str, text: &str) -> Result<T, InvalidSidecar> {
    text.parse().map_err(|error: T::Err| InvalidSidecar::Member { member, reason: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sidecar() -> KeySidecar {
        KeySidecar {
            name: "alice-2".parse().unwrap(),
            fingerprint: "ab".repeat(32).parse().unwrap(),
            algorithm: KeyAlgorithm::EcdsaP256,
            created: "2026-11-01T10:20:30Z".parse().unwrap(),
            roles: vec![
                HeldRole { repository: "registry.example.com/app".parse().unwrap(), role: RoleName::Root },
                HeldRole {
                    repository: "registry.example.com/app".parse().unwrap(),
                    role: "alice".parse().unwrap(),
                },
            ],
            loaded: None,
        }
    }

    fn changed(from: &str, to: &str) -> Result<KeySidecar, InvalidSidecar> {
        let text = String::from_utf8(sidecar().to_bytes()).unwrap();
        let other = text.replacen(from, to, 1);
        assert_ne!(text, other, "{from}");
        KeySidecar::parse(other.as_bytes())
    }

    #[test]
    fn round_trips() {
        let bytes = sidecar().to_bytes();
        assert_eq!(KeySidecar::parse(&bytes), Ok(sidecar()));
        assert!(bytes.starts_with(b"{\n  \"schema_version\": 1,\n") && bytes.ends_with(b"}\n"));
        let without_roles = KeySidecar { roles: vec![], ..sidecar() };
        assert_eq!(KeySidecar::parse(&without_roles.to_bytes()), Ok(without_roles));
    }

    #[test]
    fn says_where_a_loaded_key_is_and_until_when() {
        let until = "2026-11-02T10:20:30Z".parse().unwrap();
        for source in
            [KeySource::variable("CI_KEY_2").unwrap(), KeySource::file("/run/secrets/ci key").unwrap()]
        {
            let loaded = KeySidecar { loaded: Some(LoadedKey { source, until }), ..sidecar() };
            assert_eq!(KeySidecar::parse(&loaded.to_bytes()), Ok(loaded));
        }
        for bad in ["", "1A", "A-B", "A=B", "A\0", "\u{e9}", &"A".repeat(257)] {
            assert_eq!(KeySource::variable(bad), Err(InvalidKeySource::Variable), "{bad:?}");
        }
        for bad in ["", "key", "./key", "/a\nb", &format!("/{}", "a".repeat(4096))] {
            assert_eq!(KeySource::file(bad), Err(InvalidKeySource::Path), "{bad:?}");
        }
        let text = String::from_utf8(sidecar().to_bytes()).unwrap();
        for (loaded, is_member) in [
            (r#"{"variable":"A","file":"/a","until":"2026-11-02T10:20:30Z"}"#, true),
            (r#"{"until":"2026-11-02T10:20:30Z"}"#, true),
            (r#"{"variable":"A=B","until":"2026-11-02T10:20:30Z"}"#, true),
            (r#"{"variable":"A","until":"tomorrow"}"#, true),
            (r#"{"variable":"A"}"#, false),
            (r#"{"variable":null,"until":"2026-11-02T10:20:30Z"}"#, false),
            ("null", false),
        ] {
            let text = text.replacen('{', &format!(r#"{{"loaded":{loaded},"#), 1);
            let refused = KeySidecar::parse(text.as_bytes()).unwrap_err();
            assert_eq!(matches!(refused, InvalidSidecar::Member { .. }), is_member, "{loaded}: {refused}");
        }
    }

    #[test]
    fn refuses_unknown_versions_and_members() {
        assert_eq!(
            changed("\"schema_version\": 1", "\"schema_version\": 2"),
            Err(InvalidSidecar::Version { found: 2 })
        );
        for (from, to) in [
            ("\"name\"", "\"nickname\""),
            ("\"name\": \"alice-2\",", ""),
            ("\"name\"", "\"name\": \"bob\", \"name\""),
            ("\"role\"", "\"level\": 1, \"role\""),
            ("\"alice-2\"", "7"),
            ("}\n", "} {}"),
        ] {
            assert!(matches!(changed(from, to), Err(InvalidSidecar::Structure { .. })), "{from} -> {to}");
        }
        assert_eq!(KeySidecar::parse(&vec![b' '; FILE_BYTES + 1]), Err(InvalidSidecar::TooLarge));
    }

    #[test]
    fn names_the_member_that_is_wrong() {
        for (from, to, wrong) in [
            ("\"alice-2\"", "\"../alice\"", "name"),
            ("\"abab", "\"ABab", "fingerprint"),
            ("ecdsa-p256", "ecdsa-p384", "algorithm"),
            ("2026-11-01T", "2026-11-01 ", "created"),
            ("registry.example.com/app", "registry.example.com/../app", "roles.repository"),
            ("\"root\"", "\"Root\"", "roles.role"),
        ] {
            let Err(InvalidSidecar::Member { member, .. }) = changed(from, to) else {
                panic!("{from} -> {to}")
            };
            assert_eq!(member, wrong);
        }
    }

    #[test]
    fn key_names_are_safe_file_stems() {
        for good in ["a", "0", "Alice", "root-key.2", "a_b", &"a".repeat(64)] {
            assert_eq!(good.parse::<KeyName>().unwrap().as_str(), good);
        }
        for bad in ["", ".a", "-a", "_a", "a..b", "a/b", "a\\b", "a b", "\u{e9}", "a\0", &"a".repeat(65)] {
            assert_eq!(bad.parse::<KeyName>(), Err(InvalidKeyName), "{bad:?}");
        }
    }
}
