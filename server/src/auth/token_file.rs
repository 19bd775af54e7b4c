//! `tokens.json` in the data folder: names, hashes, rights, dates; no secrets.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::TOKEN_PREFIX;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{Rights, Scope};

const FORMAT: u32 = 1;

/// The file with the hashes of all tokens. Changes are made under a lock and written whole.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
}

impl TokenFile {
    /// The token file of the data folder `data`; it need not exist.
    #[must_use]
    pub fn in_data(data: &Path) -> Self {
        Self { path: data.join("tokens.json") }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tokens, the expired ones included; none if there is no file.
    ///
    /// # Errors
    /// The file cannot be read or is not what this program writes.
    pub fn read(&self) -> Result<Vec<TokenEntry>, TokenFileError> {
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.io("read", source)),
        };
        let stored: Stored = serde_json::from_str(&text)
            .map_err(|source| TokenFileError::Malformed { path: self.path.clone(), source })?;
        if stored.version != FORMAT {
            return Err(TokenFileError::Version { path: self.path.clone(), version: stored.version });
        }
        stored.tokens.iter().map(|raw| self.entry(raw)).collect()
    }

    /// Makes a token and returns its text, which is stored nowhere.
    ///
    /// # Errors
    /// The name is taken, or the file cannot be written.
    pub fn create(
        &self,
        name: TokenName,
        rights: Rights,
        scopes: Vec<Scope>,
        created: UtcTime,
        expires: Option<UtcTime>,
    ) -> Result<Zeroizing<String>, TokenFileError> {
        let _lock = self.lock()?;
        let mut entries = self.read()?;
        if entries.iter().any(|entry| entry.name == name) {
            return Err(TokenFileError::Exists { name });
        }
        let mut secret = Zeroizing::new([0_u8; 32]);
        getrandom::fill(secret.as_mut_slice()).map_err(|_| TokenFileError::Randomness)?;
        let text =
            Zeroizing::new(format!("{TOKEN_PREFIX}{}", *Zeroizing::new(URL_SAFE_NO_PAD.encode(*secret))));
        let sha256 = Sha256Digest::of(text.as_bytes());
        entries.push(TokenEntry { name, sha256, rights, scopes, created, expires });
        self.write(&entries)?;
        Ok(text)
    }

    /// Removes a token. A running server notices within a second.
    ///
    /// # Errors
    /// There is no token of that name, or the file cannot be written.
    pub fn revoke(&self, name: &TokenName) -> Result<(), TokenFileError> {
        let _lock = self.lock()?;
        let mut entries = self.read()?;
        let before = entries.len();
        entries.retain(|entry| entry.name != *name);
        if entries.len() == before {
            return Err(TokenFileError::Unknown { name: name.clone() });
        }
        self.write(&entries)
    }

    /// Keeps two commands from overwriting each other's change.
    fn lock(&self) -> Result<File, TokenFileError> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.path.with_extension("lock"))
            .map_err(|source| self.io("lock", source))?;
        file.lock().map_err(|source| self.io("lock", source))?;
        Ok(file)
    }

    fn write(&self, entries: &[TokenEntry]) -> Result<(), TokenFileError> {
        let stored = Stored { version: FORMAT, tokens: entries.iter().map(StoredEntry::from).collect() };
        let text = serde_json::to_vec_pretty(&stored)
            .map_err(|source| TokenFileError::Malformed { path: self.path.clone(), source })?;
        crate::private_file::replace(&self.path, &text).map_err(|source| self.io("write", source))
    }

    fn entry(&self, raw: &StoredEntry) -> Result<TokenEntry, TokenFileError> {
        let damaged =
            |member| TokenFileError::Damaged { path: self.path.clone(), name: raw.name.clone(), member };
        Ok(TokenEntry {
            name: raw.name.parse().map_err(|_| damaged("name"))?,
            sha256: raw.sha256.parse().map_err(|_| damaged("sha256"))?,
            rights: raw.rights,
            scopes: raw
                .scopes
                .iter()
                .map(|scope| scope.parse())
                .collect::<Result<_, _>>()
                .map_err(|_| damaged("scopes"))?,
            created: raw.created.parse().map_err(|_| damaged("created"))?,
            expires: raw.expires.as_deref().map(str::parse).transpose().map_err(|_| damaged("expires"))?,
        })
    }

    fn io(&self, what: &'static str, source: io::Error) -> TokenFileError {
        TokenFileError::Io { what, path: self.path.clone(), source }
    }
}

/// One token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Its name, unique.
    pub name: TokenName,
    /// Digest of the token's text.
    pub sha256: Sha256Digest,
    /// What it allows.
    pub rights: Rights,
    /// Where it allows that.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created: UtcTime,
    /// From when on it is refused; `None` for never.
    pub expires: Option<UtcTime>,
}

/// The name of a token: 1 to 64 letters, digits, `.`, `_`, `-`. It stands in logs and in
/// the feed of changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenName(String);

impl TokenName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TokenName {
    type Err = InvalidTokenName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidTokenName) }
    }
}

/// The text is no name for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a token name: use 1 to 64 letters, digits, `.`, `_`, `-`")]
pub struct InvalidTokenName;

/// The token file could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The operating system said no.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not the JSON that this program writes.
    #[error("damaged token file {}: {source}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        source: serde_json::Error,
    },
    /// A value in it cannot be.
    #[error("damaged token file {}: {member} of token {name}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Which token.
        name: String,
        /// Which member.
        member: &'static str,
    },
    /// Written by another release.
    #[error("token file {} has format {version}, this program reads {FORMAT}", path.display())]
    Version {
        /// Which file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// The name is taken.
    #[error(
        "a token named {} exists\nhint: choose another name, or revoke it with `bullad token revoke {}`",
        name.as_str(), name.as_str()
    )]
    Exists {
        /// Which.
        name: TokenName,
    },
    /// Nothing to revoke.
    #[error("no token named {}\nhint: `bullad token list` shows all names", name.as_str())]
    Unknown {
        /// Which.
        name: TokenName,
    },
    /// The system's random numbers failed.
    #[error("the system gives no random numbers")]
    Randomness,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    tokens: Vec<StoredEntry>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredEntry {
    name: String,
    sha256: String,
    rights: Rights,
    scopes: Vec<String>,
    created: String,
    expires: Option<String>,
}

impl From<&TokenEntry> for StoredEntry {
    fn from(entry: &TokenEntry) -> Self {
        Self {
            name: entry.name.as_str().to_owned(),
            sha256: entry.sha256.to_string(),
            rights: entry.rights,
            scopes: entry.scopes.iter().map(ToString::to_string).collect(),
            created: entry.created.to_string(),
            expires: entry.expires.map(|time| time.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UtcTime {
        UtcTime::from_unix_seconds(seconds).unwrap()
    }

    fn create(file: &TokenFile, name: &str) -> Result<Zeroizing<String>, TokenFileError> {
        file.create(
            name.parse().unwrap(),
            "read".parse().unwrap(),
            vec!["a/**".parse().unwrap()],
            at(0),
            Some(at(9)),
        )
    }

    #[test]
    fn keeps_hashes_only_and_for_the_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_data(folder.path());
        let text = create(&file, "ci").unwrap();
        let stored = std::fs::read_to_string(file.path()).unwrap();
        assert!(!stored.contains(text.as_str()));
        assert!(stored.contains(&Sha256Digest::of(text.as_bytes()).to_string()));
        assert_eq!(std::fs::metadata(file.path()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(text.len(), TOKEN_PREFIX.len() + 43);
    }

    #[test]
    fn names_are_unique_and_revocation_removes_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_data(folder.path());
        assert!(file.read().unwrap().is_empty());
        create(&file, "a").unwrap();
        create(&file, "b").unwrap();
        assert!(matches!(create(&file, "a"), Err(TokenFileError::Exists { .. })));
        file.revoke(&"a".parse().unwrap()).unwrap();
        assert!(matches!(file.revoke(&"a".parse().unwrap()), Err(TokenFileError::Unknown { .. })));
        let names: Vec<_> = file.read().unwrap().into_iter().map(|entry| entry.name.0).collect();
        assert_eq!(names, ["b"]);
    }

    #[test]
    fn a_damaged_file_is_an_error_not_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_data(folder.path());
        for bad in ["", "{}", r#"{"version":2,"tokens":[]}"#, r#"{"version":1,"tokens":[],"x":1}"#] {
            std::fs::write(file.path(), bad).unwrap();
            assert!(file.read().is_err(), "{bad}");
        }
    }
}
