//! Which edition of each published policy this home used last. Whoever serves the repository may be made
//! to serve an older one, signed as well as any: what was used here once is never followed by less.

use std::path::PathBuf;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::policy::{Backwards, Edition, PolicyName, Succession};
use serde::{Deserialize, Serialize};

use crate::home::{self, Existing, Home};

/// The one version of the format.
const VERSION: u32 = 1;
/// Largest file, in bytes.
const FILE_BYTES: u64 = 4 * 1024 * 1024;
const TOO_LARGE: &str = "larger than 4 MiB";

/// The policies that a home used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedPolicies {
    used: Vec<Used>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Used {
    repository: RepositoryName,
    name: PolicyName,
    edition: Edition,
}

impl UsedPolicies {
    /// Reads what `home` remembers; no file means that no policy was used yet.
    ///
    /// # Errors
    /// The file cannot be read or holds anything but known members: then no published policy is used.
    pub fn load(home: &Home) -> Result<Self, UsedPoliciesError> {
        let path = home.policies();
        let text = home::read_text(&path, FILE_BYTES).map_err(|error| UsedPoliciesError::Io {
            action: "read",
            path: path.clone(),
            reason: error.to_string(),
        })?;
        let Some(text) = text else { return Ok(Self::default()) };
        Self::parse(&text).map_err(|reason| UsedPoliciesError::Invalid { path, reason })
    }

    /// The last edition of a policy that was used.
    #[must_use]
    pub fn find(&self, repository: &RepositoryName, name: &PolicyName) -> Option<Edition> {
        let used = self.used.iter().find(|used| used.repository == *repository && used.name == *name);
        used.map(|used| used.edition)
    }

    /// Notes that an edition is used. Comparing and noting are one step, so that of two programs at once
    /// none takes back what the other noted.
    ///
    /// # Errors
    /// A later edition was used, or this version with other bytes; or the file cannot be read or written.
    pub fn raise(
        home: &Home,
        repository: &RepositoryName,
        name: &PolicyName,
        edition: Edition,
    ) -> Result<(), RaiseError> {
        let path = home.policies();
        let io = |error: std::io::Error| UsedPoliciesError::Io {
            action: "write",
            path: path.clone(),
            reason: error.to_string(),
        };
        home::create_folder(home.path()).map_err(io)?;
        let _lock = home::lock(&path.with_extension("lock")).map_err(io)?;
        let mut known = Self::load(home)?;
        if !known.note(repository, name, edition)? {
            return Ok(());
        }
        let text = known.to_text();
        // What cannot be read again would refuse every policy.
        if text.len() as u64 > FILE_BYTES {
            let reason = TOO_LARGE.to_owned();
            return Err(UsedPoliciesError::Io { action: "write", path, reason }.into());
        }
        home::write_whole(&path, text.as_bytes(), 0o600, Existing::Replace).map_err(io)?;
        Ok(())
    }

    /// Whether anything is new.
    fn note(
        &mut self,
        repository: &RepositoryName,
        name: &PolicyName,
        edition: Edition,
    ) -> Result<bool, Backwards> {
        let mut used = self.used.iter_mut();
        match used.find(|used| used.repository == *repository && used.name == *name) {
            None => {
                let (repository, name) = (repository.clone(), name.clone());
                self.used.push(Used { repository, name, edition });
                Ok(true)
            }
            Some(known) => {
                let is_new = edition.follow(&known.edition)? == Succession::Newer;
                known.edition = edition;
                Ok(is_new)
            }
        }
    }

    fn parse(text: &str) -> Result<Self, String> {
        let file: File = toml::from_str(text).map_err(|error| crate::config::one_line(&error))?;
        if file.version != VERSION {
            return Err(format!("version {} is unknown, this program knows {VERSION}", file.version));
        }
        let mut known = Self::default();
        for entry in file.policy {
            let used = entry.into_used()?;
            if known.find(&used.repository, &used.name).is_some() {
                return Err(format!("two entries for {}#{}", used.repository, used.name));
            }
            known.used.push(used);
        }
        Ok(known)
    }

    fn to_text(&self) -> String {
        let file = File { version: VERSION, policy: self.used.iter().map(Entry::from).collect() };
        #[expect(clippy::expect_used, reason = "texts and numbers within bounds always have a TOML form")]
        let text = toml::to_string(&file).expect("plain values");
        text
    }
}

/// Why nothing is known of the policies that were used.
#[derive(Debug, thiserror::Error)]
pub enum UsedPoliciesError {
    /// The file is not what it should be.
    #[error("invalid record of used policies {}: {reason}", path.display())]
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
}

/// Why an edition is not used.
#[derive(Debug, thiserror::Error)]
pub enum RaiseError {
    /// It would be a step back.
    #[error(transparent)]
    Backwards(#[from] Backwards),
    /// Nothing can be noted.
    #[error(transparent)]
    Record(#[from] UsedPoliciesError),
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    policy: Vec<Entry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    repository: String,
    name: String,
    version: u64,
    sha256: String,
}

impl Entry {
    fn into_used(self) -> Result<Used, String> {
        let at = |what: &dyn std::fmt::Display| format!("policy {:?}: {what}", self.name);
        Ok(Used {
            repository: self.repository.parse().map_err(|error| at(&error))?,
            name: self.name.parse().map_err(|error| at(&error))?,
            edition: Edition {
                version: self.version,
                digest: self.sha256.parse::<Sha256Digest>().map_err(|error| at(&error))?,
            },
        })
    }
}

impl From<&Used> for Entry {
    fn from(used: &Used) -> Self {
        Self {
            repository: used.repository.to_string(),
            name: used.name.to_string(),
            version: used.edition.version,
            sha256: used.edition.digest.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn edition(version: u64, byte: u8) -> Edition {
        Edition { version, digest: Sha256Digest::from_bytes([byte; 32]) }
    }

    fn home() -> (tempfile::TempDir, Home) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::new(folder.path().join("home"));
        (folder, home)
    }

    #[test]
    fn editions_only_rise_each_on_its_own() {
        let (_folder, home) = home();
        let (one, other): (RepositoryName, RepositoryName) =
            ("a.b/c".parse().unwrap(), "a.b/d".parse().unwrap());
        let (default, prod) = (PolicyName::default(), "prod".parse::<PolicyName>().unwrap());
        let raise = |repository, name, edition| UsedPolicies::raise(&home, repository, name, edition);
        raise(&one, &default, edition(2, 1)).unwrap();
        raise(&one, &default, edition(2, 1)).unwrap();
        raise(&one, &prod, edition(1, 2)).unwrap();
        raise(&other, &default, edition(1, 3)).unwrap();
        raise(&one, &default, edition(5, 4)).unwrap();
        for (edition, wanted) in [
            (edition(4, 4), Backwards::Lower { known: 5, found: 4 }),
            (edition(5, 5), Backwards::OtherBytes { version: 5 }),
        ] {
            let refused = raise(&one, &default, edition).unwrap_err();
            assert!(matches!(refused, RaiseError::Backwards(why) if why == wanted), "{refused}");
        }
        let known = UsedPolicies::load(&home).unwrap();
        assert_eq!(known.find(&one, &default), Some(edition(5, 4)));
        assert_eq!(known.find(&one, &prod), Some(edition(1, 2)));
        assert_eq!(known.find(&other, &default), Some(edition(1, 3)));
        assert_eq!(known.find(&other, &prod), None);
    }

    #[test]
    fn many_at_once_never_lower_it() {
        let (_folder, home) = home();
        let repository: RepositoryName = "a.b/c".parse().unwrap();
        std::thread::scope(|scope| {
            for version in 1..=16 {
                let (home, repository) = (&home, &repository);
                scope.spawn(move || {
                    let noted =
                        UsedPolicies::raise(home, repository, &PolicyName::default(), edition(version, 1));
                    assert!(matches!(noted, Ok(()) | Err(RaiseError::Backwards(_))), "{noted:?}");
                });
            }
        });
        let known = UsedPolicies::load(&home).unwrap();
        assert_eq!(known.find(&repository, &PolicyName::default()), Some(edition(16, 1)));
    }

    #[test]
    fn the_file_is_strict() {
        let digest = "0".repeat(64);
        let good = format!(
            "version = 1\n[[policy]]\nrepository = 'a.b/c'\nname = 'default'\nversion = 3\nsha256 = '{digest}'\n"
        );
        assert_eq!(UsedPolicies::parse(&good).unwrap().used.len(), 1);
        for bad in [
            String::new(),
            good.replace("version = 1", "version = 2"),
            good.replace("version = 3\n", ""),
            good.replace("version = 3", "version = -3"),
            good.replace("default", "../x"),
            good.replace("a.b/c", "a.b/../c"),
            good.replace(&digest, &digest[1..]),
            format!("{good}comment = 'x'\n"),
            format!("{good}{}", good.replace("version = 1\n", "")),
        ] {
            assert!(UsedPolicies::parse(&bad).is_err(), "{bad}");
        }
        let (_folder, home) = home();
        home::create_folder(home.path()).unwrap();
        fs::write(home.policies(), "nonsense").unwrap();
        let repository: RepositoryName = "a.b/c".parse().unwrap();
        let noted = UsedPolicies::raise(&home, &repository, &PolicyName::default(), edition(1, 1));
        assert!(matches!(noted, Err(RaiseError::Record(UsedPoliciesError::Invalid { .. }))));
    }
}
