//! Pins: what a consumer knows out of band about the root of a repository. There is no trust
//! on first use; the first root seen must satisfy the pin.

mod used_policies;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bulla_keys_schema::dialect::Dialect;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::key::Fingerprint;
use bulla_keys_schema::metadata::Threshold;
use bulla_keys_schema::names::{InvalidRepositoryName, RepositoryName};
use bulla_keys_schema::verify;
use serde::{Deserialize, Serialize};

use crate::home::{self, Existing, Home};

pub use used_policies::{RaiseError, UsedPolicies, UsedPoliciesError};

/// The one version of the format.
const VERSION: u32 = 1;
/// Largest file, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
const TOO_LARGE: &str = "larger than 4 MiB";

/// All pins of a home.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins {
    pins: Vec<Pin>,
}

/// One pin: for every repository in `scope`, `root` is what its first root must satisfy, and
/// `mode` is how its metadata is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Which repositories.
    pub scope: Scope,
    /// How their metadata is written.
    pub mode: Mode,
    /// What their root must satisfy.
    pub root: PinnedRoot,
    /// The only trust server to ask about them, as a URL; none means the configured one.
    pub server: Option<String>,
}

/// How the metadata of a repository is written. Said here and never read off what a server
/// sends, which would let it choose the weaker one (C32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// TUF 1.0
    #[default]
    Spec,
    /// Notary v1, as `docker trust` and `notary` read and write it
    Legacy,
}

impl Mode {
    /// The form in which the core reads and writes it.
    #[must_use]
    pub const fn dialect(self) -> Dialect {
        match self {
            Self::Spec => Dialect::Tuf1,
            Self::Legacy => Dialect::Notary1,
        }
    }

    fn is_spec(&self) -> bool {
        *self == Self::Spec
    }
}

impl From<Dialect> for Mode {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Tuf1 => Self::Spec,
            Dialect::Notary1 => Self::Legacy,
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spec => "spec",
            Self::Legacy => "legacy",
        })
    }
}

impl Pin {
    /// Whether both say the same, of whatever repositories.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        (self.mode, &self.root, &self.server) == (other.mode, &other.root, &other.server)
    }
}

/// What is known about a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinnedRoot {
    /// The digest of one root document.
    Document(Sha256Digest),
    /// Keys, of which this many must have signed it.
    Keys {
        /// Fingerprints of distinct root keys, sorted.
        fingerprints: Vec<Fingerprint>,
        /// How many of them must have signed.
        threshold: Threshold,
    },
}

/// One repository, or all below a prefix (`registry.example.com/team/**`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every repository whose name starts with this and a slash.
    Below(RepositoryName),
    /// This one.
    Repository(RepositoryName),
}

impl Scope {
    /// Whether `repository` is in it.
    #[must_use]
    pub fn covers(&self, repository: &RepositoryName) -> bool {
        match self {
            Self::Below(prefix) => {
                repository.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('/'))
            }
            Self::Repository(name) => name == repository,
        }
    }

    /// Whether all that is in `other` is in this one as well.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        match other {
            Self::Repository(name) => self.covers(name),
            Self::Below(prefix) => self == other || (matches!(self, Self::Below(_)) && self.covers(prefix)),
        }
    }

    /// Exact before long before short.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Below(prefix) => (false, prefix.as_str().len()),
            Self::Repository(name) => (true, name.as_str().len()),
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(prefix) => write!(f, "{prefix}/**"),
            Self::Repository(name) => name.fmt(f),
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidRepositoryName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix("/**") {
            Some(prefix) => prefix.parse().map(Self::Below),
            None => text.parse().map(Self::Repository),
        }
    }
}

impl PinnedRoot {
    /// A pin by keys.
    ///
    /// # Errors
    /// The threshold is 0, or more than there are distinct keys.
    pub fn keys(
        fingerprints: impl IntoIterator<Item = Fingerprint>,
        threshold: u64,
    ) -> Result<Self, BadThreshold> {
        let mut fingerprints: Vec<Fingerprint> = fingerprints.into_iter().collect();
        fingerprints.sort();
        fingerprints.dedup();
        let bad = BadThreshold { threshold, keys: fingerprints.len() };
        let threshold = Threshold::new(threshold).filter(|t| t.is_met_by(fingerprints.len())).ok_or(bad)?;
        Ok(Self::Keys { fingerprints, threshold })
    }
}

impl fmt::Display for PinnedRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Document(digest) => write!(f, "the root document {}", digest.to_oci()),
            Self::Keys { fingerprints, threshold } => {
                let keys: Vec<String> = fingerprints.iter().map(ToString::to_string).collect();
                write!(f, "{threshold} of the root keys {}", keys.join(", "))
            }
        }
    }
}

impl PinnedRoot {
    /// The form in which the core compares a root with it.
    #[must_use]
    pub fn to_core(&self) -> verify::Pin {
        match self {
            Self::Document(digest) => verify::Pin::Digest(*digest),
            Self::Keys { fingerprints, threshold } => verify::Pin::Keys {
                fingerprints: fingerprints.iter().copied().collect(),
                threshold: *threshold,
            },
        }
    }
}

/// Such a pin could never be satisfied, or by anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a threshold of {threshold} does not fit {keys} distinct root keys")]
pub struct BadThreshold {
    /// What was asked for.
    pub threshold: u64,
    /// Distinct keys named.
    pub keys: usize,
}

impl Pins {
    /// Reads the pins of `home`; no file means no pins.
    ///
    /// # Errors
    /// The file cannot be read or holds anything but known members: then nothing is trusted.
    pub fn load(home: &Home) -> Result<Self, PinsError> {
        let path = home.trust();
        let text = home::read_text(&path, FILE_BYTES).map_err(|error| PinsError::Io {
            action: "read",
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let Some(text) = text else { return Ok(Self::default()) };
        Self::parse(&text).map_err(|reason| PinsError::Invalid { path, reason })
    }

    /// Changes the pins of `home` in one step: two programs at once do not lose each other's.
    ///
    /// # Errors
    /// As for [`Self::load`], when the file cannot be written, and what `change` returns.
    pub fn update<T>(
        home: &Home,
        change: impl FnOnce(&mut Self) -> Result<T, PinsError>,
    ) -> Result<T, PinsError> {
        let path = home.trust();
        let io = |error: std::io::Error| PinsError::Io {
            action: "write",
            path: path.clone(),
            reason: error.to_string(),
        };
        home::create_folder(home.path()).map_err(io)?;
        let _lock = home::lock(&lock_path(&path)).map_err(io)?;
        let mut pins = Self::load(home)?;
        let done = change(&mut pins)?;
        let text = pins.to_text();
        // What cannot be read again would take all trust away.
        if text.len() as u64 > FILE_BYTES {
            return Err(PinsError::Io { action: "write", path, reason: TOO_LARGE.to_owned() });
        }
        home::write_whole(&path, text.as_bytes(), 0o600, Existing::Replace).map_err(io)?;
        Ok(done)
    }

    /// Every pin, in the order of their scopes' names.
    #[must_use]
    pub fn all(&self) -> &[Pin] {
        &self.pins
    }

    /// The most specific pin that covers `repository`.
    #[must_use]
    pub fn find(&self, repository: &RepositoryName) -> Option<&Pin> {
        self.pins.iter().filter(|pin| pin.scope.covers(repository)).max_by_key(|pin| pin.scope.rank())
    }

    /// The most specific pin for all of `scope`: what it says of that would be overruled by another
    /// pin with this scope.
    #[must_use]
    pub fn over(&self, scope: &Scope) -> Option<&Pin> {
        self.pins.iter().filter(|pin| pin.scope.holds(scope)).max_by_key(|pin| pin.scope.rank())
    }

    /// Adds a pin.
    ///
    /// # Errors
    /// Another pin has that scope: a pin is never replaced by the way.
    pub fn add(&mut self, pin: Pin) -> Result<(), PinsError> {
        if let Some(known) = self.pins.iter().find(|known| known.scope == pin.scope) {
            if *known == pin {
                return Ok(());
            }
            return Err(PinsError::Exists { scope: pin.scope });
        }
        // Not by sorting all of them anew: a backup may bring as many as fit into a file.
        let text = pin.scope.to_string();
        let at = self.pins.partition_point(|known| known.scope.to_string() < text);
        self.pins.insert(at, pin);
        Ok(())
    }

    /// Removes the pin of exactly this scope.
    ///
    /// # Errors
    /// There is none.
    pub fn remove(&mut self, scope: &Scope) -> Result<Pin, PinsError> {
        let at = self.pins.iter().position(|pin| pin.scope == *scope);
        let at = at.ok_or_else(|| PinsError::Unknown { scope: scope.clone() })?;
        Ok(self.pins.remove(at))
    }

    /// Reads the content of a file of pins.
    ///
    /// # Errors
    /// Where and why it is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        // Pins of a backup come here as well: more of them than a home can have take minutes.
        if text.len() as u64 > FILE_BYTES {
            return Err(TOO_LARGE.to_owned());
        }
        let file: File = toml::from_str(text).map_err(|error| crate::config::one_line(&error))?;
        if file.version != VERSION {
            return Err(format!("version {} is unknown, this program knows {VERSION}", file.version));
        }
        let mut pins = Self::default();
        for entry in file.pin {
            let pin = entry.into_pin()?;
            if pins.pins.iter().any(|known| known.scope == pin.scope) {
                return Err(format!("two pins for {}", pin.scope));
            }
            pins.pins.push(pin);
        }
        pins.pins.sort_by_cached_key(|pin| pin.scope.to_string());
        Ok(pins)
    }

    /// The content of the file of pins.
    #[must_use]
    pub fn to_text(&self) -> String {
        let file = File { version: VERSION, pin: self.pins.iter().map(Entry::from).collect() };
        #[expect(clippy::expect_used, reason = "texts, numbers and lists always have a TOML form")]
        let text = toml::to_string(&file).expect("plain values");
        text
    }
}

/// Why pins cannot be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum PinsError {
    /// A pin with this scope says something else.
    #[error("{scope} is pinned already, to another root, server or mode")]
    Exists {
        /// The scope.
        scope: Scope,
    },
    /// The file is not what it should be.
    #[error("invalid pins {}: {reason}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// Where and why.
        reason: String,
    },
    /// The system refused.
    #[error("cannot {action} {}: {reason}", path.display())]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// No pin has this scope.
    #[error("no pin for {scope}")]
    Unknown {
        /// The scope.
        scope: Scope,
    },
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    pin: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    scope: String,
    #[serde(default, skip_serializing_if = "Mode::is_spec")]
    mode: Mode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_sha256: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_keys: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    root_threshold: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    server: Option<String>,
}

impl Entry {
    fn into_pin(self) -> Result<Pin, String> {
        let at = |what: &dyn fmt::Display| format!("pin for {:?}: {what}", self.scope);
        let scope = self.scope.parse().map_err(|error: InvalidRepositoryName| at(&error))?;
        let root = match (&self.root_sha256, &self.root_keys, self.root_threshold) {
            (Some(digest), None, None) => PinnedRoot::Document(digest.parse().map_err(|error| at(&error))?),
            (None, Some(keys), Some(threshold)) => {
                let parsed: Result<Vec<Fingerprint>, _> = keys.iter().map(|key| key.parse()).collect();
                let parsed = parsed.map_err(|error| at(&error))?;
                let root = PinnedRoot::keys(parsed, threshold).map_err(|error| at(&error))?;
                if matches!(&root, PinnedRoot::Keys { fingerprints, .. } if fingerprints.len() != keys.len())
                {
                    return Err(at(&"a root key is listed twice"));
                }
                root
            }
            _ => return Err(at(&"it needs either root_sha256, or root_keys and root_threshold")),
        };
        if let Some(server) = &self.server {
            server.parse::<crate::config::ServerUrl>().map_err(|error| at(&error))?;
        }
        Ok(Pin { scope, mode: self.mode, root, server: self.server })
    }
}

impl From<&Pin> for Entry {
    fn from(pin: &Pin) -> Self {
        let (root_sha256, root_keys, root_threshold) = match &pin.root {
            PinnedRoot::Document(digest) => (Some(digest.to_string()), None, None),
            PinnedRoot::Keys { fingerprints, threshold } => {
                let keys = fingerprints.iter().map(ToString::to_string).collect();
                (None, Some(keys), Some(u64::from(threshold.get())))
            }
        };
        Self {
            scope: pin.scope.to_string(),
            mode: pin.mode,
            root_sha256,
            root_keys,
            root_threshold,
            server: pin.server.clone(),
        }
    }
}

fn lock_path(path: &Path) -> PathBuf {
    path.with_extension("lock")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn document(byte: u8) -> PinnedRoot {
        PinnedRoot::Document(Sha256Digest::from_bytes([byte; 32]))
    }

    fn pin(scope: &str, byte: u8) -> Pin {
        Pin { scope: scope.parse().unwrap(), mode: Mode::Spec, root: document(byte), server: None }
    }

    #[test]
    fn the_most_specific_scope_wins() {
        let mut pins = Pins::default();
        for (scope, byte) in [
            ("r.example.com/**", 1),
            ("r.example.com/team/**", 2),
            ("r.example.com/team/app", 3),
            ("r.example.com/team/app/**", 4),
        ] {
            pins.add(pin(scope, byte)).unwrap();
        }
        for (repository, expected) in [
            ("r.example.com/other", Some(1)),
            ("r.example.com/team", Some(1)),
            ("r.example.com/teams/x", Some(1)),
            ("r.example.com/team/x", Some(2)),
            ("r.example.com/team/x/y", Some(2)),
            ("r.example.com/team/app", Some(3)),
            ("r.example.com/team/app/x", Some(4)),
            ("r.example.com.evil.org/x", None),
            ("q.example.com/team/app", None),
        ] {
            let found = pins.find(&repository.parse().unwrap()).map(|pin| pin.root.clone());
            assert_eq!(found, expected.map(document), "{repository}");
        }
    }

    #[test]
    fn more_than_a_home_can_have_are_not_read_or_written() {
        let many = "# ".repeat(FILE_BYTES as usize / 2) + "\nversion = 1\n";
        assert_eq!(Pins::parse(&many), Err(TOO_LARGE.to_owned()));
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().to_owned());
        let filled = |pins: &mut Pins| {
            pins.pins = vec![pin(&format!("reg.example.com/{}", "a".repeat(200)), 1); 20_000];
            Ok(())
        };
        assert!(matches!(Pins::update(&home, filled), Err(PinsError::Io { action: "write", .. })));
        assert_eq!(Pins::load(&home).unwrap(), Pins::default());
    }

    #[test]
    fn a_narrower_scope_is_under_the_wider_one() {
        let mut pins = Pins::default();
        pins.add(pin("reg.example.com/team/**", 1)).unwrap();
        pins.add(pin("reg.example.com/team/app", 2)).unwrap();
        for (scope, over) in [
            ("reg.example.com/team/app", Some(2)),
            ("reg.example.com/team/other", Some(1)),
            ("reg.example.com/team/app/**", Some(1)),
            ("reg.example.com/team/**", Some(1)),
            ("reg.example.com/team", None),
            ("reg.example.com/**", None),
            ("reg.example.com/teams/app", None),
        ] {
            let found = pins.over(&scope.parse().unwrap()).map(|pin| pin.root.clone());
            assert_eq!(found, over.map(document), "{scope}");
        }
    }

    #[test]
    fn a_pin_is_never_replaced_by_the_way() {
        let mut pins = Pins::default();
        pins.add(pin("a.b/c", 1)).unwrap();
        pins.add(pin("a.b/c", 1)).unwrap();
        assert!(matches!(pins.add(pin("a.b/c", 2)), Err(PinsError::Exists { .. })));
        assert!(matches!(pins.remove(&"a.b/**".parse().unwrap()), Err(PinsError::Unknown { .. })));
        pins.remove(&"a.b/c".parse().unwrap()).unwrap();
        pins.add(pin("a.b/c", 2)).unwrap();
    }

    #[test]
    fn reads_what_it_writes() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        assert_eq!(Pins::load(&home).unwrap(), Pins::default());
        let key = |byte: u8| hex::encode([byte; 32]).parse::<Fingerprint>().unwrap();
        let keys = PinnedRoot::keys([key(2), key(1), key(1)], 2).unwrap();
        let server = Some("https://trust.example.com".to_owned());
        let added = Pin { scope: "a.b/**".parse().unwrap(), mode: Mode::Legacy, root: keys, server };
        Pins::update(&home, |pins| pins.add(added.clone())).unwrap();
        Pins::update(&home, |pins| pins.add(pin("a.b/c", 9))).unwrap();
        assert_eq!(Pins::load(&home).unwrap().all(), [added, pin("a.b/c", 9)]);
        let text = fs::read_to_string(home.trust()).unwrap();
        assert_eq!(text.matches("mode").count(), 1, "the default is not written: {text}");
    }

    #[test]
    fn the_file_is_strict() {
        let digest = "0".repeat(64);
        let key = "1".repeat(64);
        let good = format!("version = 1\n[[pin]]\nscope = 'a.b/c'\nroot_sha256 = '{digest}'\n");
        assert_eq!(Pins::parse(&good).unwrap().all()[0].mode, Mode::Spec);
        let legacy = Pins::parse(&format!("{good}mode = 'legacy'\n")).unwrap();
        assert_eq!(legacy.all()[0].mode, Mode::Legacy);
        for bad in [
            String::new(),
            good.replace("version = 1", "version = 2"),
            format!("{good}comment = 'x'\n"),
            good.replace("root_sha256", "root_sha512"),
            good.replace(&digest, &digest[1..]),
            good.replace("a.b/c", "a.b/../c"),
            good.replace("a.b/c", "**"),
            format!("{good}mode = 'Legacy'\n"),
            format!("{good}mode = 'dual'\n"),
            format!("{good}mode = 1\n"),
            format!("{good}root_keys = ['{key}']\nroot_threshold = 1\n"),
            format!("{good}server = 'http://a.b'\n"),
            format!("{good}{}", good.replace("version = 1\n", "")),
            format!("version = 1\n[[pin]]\nscope = 'a.b/c'\nroot_keys = ['{key}']\n"),
            format!("version = 1\n[[pin]]\nscope = 'a.b/c'\nroot_keys = ['{key}']\nroot_threshold = 0\n"),
            format!("version = 1\n[[pin]]\nscope = 'a.b/c'\nroot_keys = ['{key}']\nroot_threshold = 2\n"),
            format!(
                "version = 1\n[[pin]]\nscope = 'a.b/c'\nroot_keys = ['{key}', '{key}']\nroot_threshold = 1\n"
            ),
            "version = 1\n[[pin]]\nscope = 'a.b/c'\nroot_keys = []\nroot_threshold = 1\n".to_owned(),
            "version = 1\n[[pin]]\nscope = 'a.b/c'\n".to_owned(),
        ] {
            assert!(Pins::parse(&bad).is_err(), "{bad}");
        }
    }
}
