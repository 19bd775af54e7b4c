//! The tokens of a running server: read again whenever the file has changed.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::time::UtcTime;
use bulla_keys_schema::wire::TOKEN_PREFIX;
use subtle::ConstantTimeEq as _;

use super::{Caller, RegistryTokenFault, TokenEntry, TokenFile};
use crate::clock::SharedClock;

/// How old the knowledge about the file may be: how long a revoked token still works.
const FRESH: Duration = Duration::from_secs(1);
/// Longer texts are no tokens; hashing them would be work for nothing.
const LONGEST: usize = 128;

/// Answers whose token a text is.
pub struct TokenBook {
    file: TokenFile,
    clock: SharedClock,
    state: RwLock<State>,
}

#[derive(Clone)]
struct State {
    checked: Option<Instant>,
    stamp: Option<Stamp>,
    tokens: Option<Arc<[Known]>>,
}

/// A token of the file, and whom it stands for.
struct Known {
    sha256: Sha256Digest,
    expires: Option<UtcTime>,
    caller: Caller,
}

/// What changes when a file is replaced or rewritten.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl TokenBook {
    /// Uses the tokens in `file`.
    #[must_use]
    pub fn new(file: TokenFile, clock: SharedClock) -> Self {
        Self { file, clock, state: RwLock::new(State { checked: None, stamp: None, tokens: None }) }
    }

    /// Whether `text` begins like a token of our own.
    #[must_use]
    pub fn is_like_token(text: &str) -> bool {
        text.starts_with(TOKEN_PREFIX)
    }

    /// The holder of the token `text`.
    ///
    /// # Errors
    /// No such token, or an expired one; or the file cannot be read, then nobody gets in.
    pub fn caller(&self, text: &str) -> Result<Caller, AuthError> {
        let tokens = self.tokens().ok_or(AuthError::Unreadable)?;
        if !Self::is_like_token(text) || text.len() > LONGEST {
            return Err(AuthError::Unknown);
        }
        let sha256 = Sha256Digest::of(text.as_bytes());
        let mut found = None;
        for known in tokens.iter() {
            // Every entry is compared, so that the time tells nothing about the others.
            if bool::from(known.sha256.as_bytes().ct_eq(sha256.as_bytes())) {
                found = Some(known);
            }
        }
        let known = found.ok_or(AuthError::Unknown)?;
        if known.expires.is_some_and(|expires| expires.is_over(self.clock.now())) {
            return Err(AuthError::Expired);
        }
        Ok(known.caller.clone())
    }

    /// Whether the file can be used.
    #[must_use]
    pub fn is_readable(&self) -> bool {
        self.tokens().is_some()
    }

    fn tokens(&self) -> Option<Arc<[Known]>> {
        {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            if state.checked.is_some_and(|checked| checked.elapsed() < FRESH) {
                return state.tokens.clone();
            }
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.checked.is_none_or(|checked| checked.elapsed() >= FRESH) {
            self.refresh(&mut state);
        }
        state.tokens.clone()
    }

    fn refresh(&self, state: &mut State) {
        let stamp = std::fs::metadata(self.file.path()).ok().map(|metadata| Stamp::of(&metadata));
        let unchanged = state.checked.is_some() && stamp == state.stamp && state.tokens.is_some();
        state.checked = Some(Instant::now());
        if unchanged {
            return;
        }
        // The stamp is older than the content: a change in between is seen next time.
        state.stamp = stamp;
        state.tokens = match self.file.read() {
            Ok(tokens) => Some(tokens.into_iter().map(Known::from).collect()),
            Err(error) => {
                tracing::error!(%error, "tokens cannot be read, nobody is let in");
                None
            }
        };
    }
}

impl From<TokenEntry> for Known {
    fn from(entry: TokenEntry) -> Self {
        let caller = Caller::token(entry.name.as_str(), entry.rights, entry.scopes);
        Self { sha256: entry.sha256, expires: entry.expires, caller }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            length: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// Nothing was presented.
    #[error("no token was sent")]
    Missing,
    /// No such token, or it was revoked.
    #[error("the token is unknown or was revoked")]
    Unknown,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// The tokens cannot be read, or the clock is wrong.
    #[error("tokens cannot be checked at present")]
    Unreadable,
    /// A registry's token that is not taken.
    #[error(transparent)]
    Registry(#[from] RegistryTokenFault),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    struct Fixed(i64);

    impl Clock for Fixed {
        fn now(&self) -> UtcTime {
            UtcTime::from_unix_seconds(self.0).unwrap()
        }
    }

    fn book(folder: &tempfile::TempDir, now: i64) -> TokenBook {
        TokenBook::new(TokenFile::in_data(folder.path()), Arc::new(Fixed(now)))
    }

    #[test]
    fn tokens_work_until_they_expire() {
        let folder = tempfile::tempdir().unwrap();
        let file = TokenFile::in_data(folder.path());
        let at = |seconds| UtcTime::from_unix_seconds(seconds).unwrap();
        let text = file
            .create("ci".parse().unwrap(), "read".parse().unwrap(), vec![], at(0), Some(at(100)))
            .unwrap();
        assert_eq!(book(&folder, 99).caller(&text).map(|c| c.name().to_owned()), Ok("ci".to_owned()));
        assert_eq!(book(&folder, 100).caller(&text), Err(AuthError::Expired));
        assert_eq!(book(&folder, 99).caller("bulla_AAAA"), Err(AuthError::Unknown));
        assert_eq!(book(&folder, 99).caller(""), Err(AuthError::Unknown));
    }

    #[test]
    fn an_unreadable_file_lets_nobody_in() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("tokens.json"), "{").unwrap();
        let book = book(&folder, 0);
        assert_eq!(book.caller("bulla_x"), Err(AuthError::Unreadable));
        assert!(!book.is_readable());
    }
}
