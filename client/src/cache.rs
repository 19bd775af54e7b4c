//! What was accepted before, per repository: the lower bound of what may be accepted next,
//! and all there is while the server is down.
//!
//! Nothing read from here is trusted: it is verified again, from the pin on, in every run.
//! One program at a time refreshes a repository, so that two never mix their documents.

mod targets;

use std::collections::BTreeMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::metadata::Version;
use bulla_keys_schema::names::{DelegatedRoleName, RepositoryName, RoleName};
use bulla_keys_schema::time::UtcTime;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::home::{self, Existing};

/// Longest name of a file or folder that every file system takes, with room for an ending.
const NAME_BYTES: usize = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(20);
const LOCK_PATIENCE: Duration = Duration::from_secs(120);
/// Letters that differ in case only are one file on some systems.
const ENCODED: &AsciiSet = &with_capitals(NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_'));
const TIME: &str = "accepted.time";
const SEEN: &str = "timestamp.seen";

/// The cache of one home.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
}

/// The cache of one repository, locked against other programs until it is dropped.
#[derive(Debug)]
pub struct RepositoryCache {
    folder: PathBuf,
    _lock: File,
}

/// What an earlier run accepted.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// Roots from the pinned one on.
    pub roots: BTreeMap<Version, Bytes>,
    /// The last timestamp.
    pub timestamp: Option<Bytes>,
    /// The last snapshot.
    pub snapshot: Option<Bytes>,
    /// The time of the last run that accepted everything (C30).
    pub last_accepted: Option<UtcTime>,
}

impl Cache {
    /// A cache in `folder`, which is made on first need.
    #[must_use]
    pub const fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Waits for the cache of `repository`.
    ///
    /// # Errors
    /// It cannot be made, or another program keeps it for two minutes.
    pub async fn open(&self, repository: &RepositoryName) -> Result<RepositoryCache, CacheError> {
        let folder = self.folder.join(file_name(repository.as_str()));
        let failed = |error: io::Error| CacheError::Io { path: folder.clone(), reason: error.to_string() };
        home::create_folder(&folder).map_err(failed)?;
        let path = folder.join("lock");
        let lock = File::options().create(true).append(true).open(&path).map_err(failed)?;
        let mut waited = Duration::ZERO;
        loop {
            match lock.try_lock() {
                Ok(()) => {
                    home::remove_half_written(&folder).map_err(failed)?;
                    return Ok(RepositoryCache { folder, _lock: lock });
                }
                Err(TryLockError::Error(error)) => return Err(failed(error)),
                Err(TryLockError::WouldBlock) if waited >= LOCK_PATIENCE => {
                    return Err(CacheError::Busy { path });
                }
                Err(TryLockError::WouldBlock) => {}
            }
            tokio::time::sleep(LOCK_PAUSE).await;
            waited += LOCK_PAUSE;
        }
    }
}

impl RepositoryCache {
    /// Everything but the targets roles, which are read one by one.
    ///
    /// # Errors
    /// The system refuses. Files that are too large or not what their names say are left out.
    pub fn load(&self) -> Result<Stored, CacheError> {
        let time = read(&self.folder.join(TIME), 64)?;
        let time = time.and_then(|bytes| str::from_utf8(&bytes).ok()?.trim().parse().ok());
        Ok(Stored {
            roots: self.load_roots()?,
            timestamp: self.document(&RoleName::Timestamp)?,
            snapshot: self.document(&RoleName::Snapshot)?,
            last_accepted: time,
        })
    }

    /// The last document of a role but root.
    ///
    /// # Errors
    /// The system refuses.
    pub fn document(&self, role: &RoleName) -> Result<Option<Bytes>, CacheError> {
        read(&self.path(role), role.byte_limit())
    }

    /// The last document of every targets role. Names too long for a file's are left out.
    ///
    /// # Errors
    /// The system refuses.
    pub fn targets(&self) -> Result<BTreeMap<RoleName, Bytes>, CacheError> {
        let mut roles = vec![RoleName::Targets];
        for entry in fs::read_dir(&self.folder).map_err(|error| io_error(&self.folder, &error))? {
            let entry = entry.map_err(|error| io_error(&self.folder, &error))?;
            let name = entry.file_name();
            roles.extend(name.to_str().and_then(delegated_role).map(RoleName::Delegated));
        }
        let mut documents = BTreeMap::new();
        for role in roles {
            if let Some(bytes) = self.document(&role)? {
                documents.insert(role, bytes);
            }
        }
        Ok(documents)
    }

    /// Keeps a root (C8).
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep_root(&self, version: Version, bytes: &Bytes) -> Result<(), CacheError> {
        self.write(&self.folder.join(format!("{version}.root.json")), bytes)
    }

    /// Keeps an accepted document of a role but root.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep(&self, role: &RoleName, bytes: &Bytes) -> Result<(), CacheError> {
        self.write(&self.path(role), bytes)
    }

    /// Notes when everything was accepted.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep_time(&self, now: UtcTime) -> Result<(), CacheError> {
        self.write(&self.folder.join(TIME), format!("{now}\n").as_bytes())
    }

    /// When this timestamp was first seen here; `now`, which is kept, if it was not. One that is
    /// served over and over gets old by that, whatever it says.
    ///
    /// # Errors
    /// The system refuses.
    pub fn first_seen(&self, timestamp: &Bytes, now: UtcTime) -> Result<UtcTime, CacheError> {
        let path = self.folder.join(SEEN);
        let digest = Sha256Digest::of(timestamp).to_string();
        let seen = read(&path, 256)?.and_then(|bytes| {
            let (known, at) = str::from_utf8(&bytes).ok()?.trim().split_once(' ')?;
            at.parse().ok().filter(|_| known == digest)
        });
        if let Some(seen) = seen {
            return Ok(seen);
        }
        self.write(&path, format!("{digest} {now}\n").as_bytes())?;
        Ok(now)
    }

    /// Drops timestamp and snapshot, whose keys were rotated: without this, nobody who saw a
    /// version number driven up by a thief would ever accept the repaired repository (C10).
    ///
    /// # Errors
    /// The system refuses.
    pub fn forget_online(&self) -> Result<(), CacheError> {
        for role in [RoleName::Timestamp, RoleName::Snapshot] {
            let path = self.path(&role);
            match fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(io_error(&path, &error)),
                _ => {}
            }
        }
        Ok(())
    }

    fn load_roots(&self) -> Result<BTreeMap<Version, Bytes>, CacheError> {
        let mut roots = BTreeMap::new();
        for entry in fs::read_dir(&self.folder).map_err(|error| io_error(&self.folder, &error))? {
            let entry = entry.map_err(|error| io_error(&self.folder, &error))?;
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(".root.json")?.parse().ok());
            let Some(version) = number.and_then(Version::new) else { continue };
            if let Some(bytes) = read(&entry.path(), RoleName::Root.byte_limit())? {
                roots.insert(version, bytes);
            }
        }
        Ok(roots)
    }

    fn path(&self, role: &RoleName) -> PathBuf {
        self.folder.join(match role {
            RoleName::Delegated(name) => delegated_file(name),
            _ => format!("{role}.json"),
        })
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), CacheError> {
        home::write_whole(path, bytes, 0o600, Existing::Replace).map_err(|error| io_error(path, &error))
    }
}

/// Why the cache cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// Another program refreshes this repository and does not come to an end.
    #[error("another program holds {}", path.display())]
    Busy {
        /// The lock file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot use the cache {}: {reason}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

fn delegated_file(name: &DelegatedRoleName) -> String {
    format!("{}.role", file_name(name.as_str()))
}

/// The way back from [`delegated_file`].
fn delegated_role(file: &str) -> Option<DelegatedRoleName> {
    let encoded = file.strip_suffix(".role")?;
    let name: DelegatedRoleName = percent_decode_str(encoded).decode_utf8().ok()?.parse().ok()?;
    (delegated_file(&name) == file).then_some(name)
}

/// A name as one part of a path: no slash, no capitals, bounded. A lone `%` starts no
/// encoded name, so digests cannot collide with names.
fn file_name(name: &str) -> String {
    let encoded = utf8_percent_encode(name, ENCODED).to_string();
    if encoded.len() <= NAME_BYTES && !encoded.starts_with('.') {
        return encoded;
    }
    format!("%-{}", Sha256Digest::of(name.as_bytes()))
}

/// `limit` bytes at most; `None` for a file that is absent or larger.
fn read(path: &Path, limit: usize) -> Result<Option<Bytes>, CacheError> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| io_error(path, &error))?,
    };
    let mut bytes = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut bytes).map_err(|error| io_error(path, &error))?;
    Ok((bytes.len() <= limit).then(|| bytes.into()))
}

fn io_error(path: &Path, error: &io::Error) -> CacheError {
    CacheError::Io { path: path.to_owned(), reason: error.to_string() }
}

const fn with_capitals(mut set: AsciiSet) -> AsciiSet {
    let mut letter = b'A';
    while letter <= b'Z' {
        set = set.add(letter);
        letter += 1;
    }
    set
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository() -> RepositoryName {
        "reg.example.com:5000/team/app".parse().unwrap()
    }

    #[test]
    fn names_stay_apart_and_inside() {
        let long = "a".repeat(201);
        let names = ["a", "A", "a/b", "a%2Fb", "..", ".", "\u{e9}", &long];
        let files: std::collections::BTreeSet<_> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len());
        for name in ["a", "A", "a/b", "a%2Fb", "\u{e9}", ".."] {
            let name: DelegatedRoleName = name.parse().unwrap();
            assert_eq!(delegated_role(&delegated_file(&name)), (name.as_str() != "..").then_some(name));
        }
        for file in files {
            assert!(!file.contains('/') && !file.starts_with('.') && file.len() <= NAME_BYTES, "{file}");
        }
    }

    #[tokio::test]
    async fn keeps_what_was_accepted() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().join("cache")).open(&repository()).await.unwrap();
        assert!(cache.load().unwrap().roots.is_empty());
        let alice = RoleName::Delegated("alice".parse().unwrap());
        let version = Version::new(12).unwrap();
        cache.keep_root(version, &Bytes::from_static(b"root")).unwrap();
        for role in [RoleName::Timestamp, RoleName::Snapshot, RoleName::Targets, alice.clone()] {
            cache.keep(&role, &Bytes::from(role.to_string())).unwrap();
        }
        let now: UtcTime = "2030-01-02T03:04:05Z".parse().unwrap();
        cache.keep_time(now).unwrap();
        let stored = cache.load().unwrap();
        assert_eq!(stored.roots, BTreeMap::from([(version, Bytes::from_static(b"root"))]));
        assert_eq!(stored.timestamp.as_deref(), Some(&b"timestamp"[..]));
        assert_eq!(stored.last_accepted, Some(now));
        assert_eq!(cache.document(&alice).unwrap().as_deref(), Some(&b"alice"[..]));
        let targets = cache.targets().unwrap();
        assert_eq!(targets.keys().collect::<Vec<_>>(), [&RoleName::Targets, &alice]);
        assert_eq!(targets[&alice], b"alice"[..]);
        cache.forget_online().unwrap();
        let stored = cache.load().unwrap();
        assert!(stored.timestamp.is_none() && stored.snapshot.is_none() && !stored.roots.is_empty());
    }

    #[tokio::test]
    async fn a_timestamp_is_first_seen_once() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned()).open(&repository()).await.unwrap();
        let now: UtcTime = "2030-01-02T03:04:05Z".parse().unwrap();
        let later = now.plus_seconds(60);
        let (one, two) = (Bytes::from_static(b"one"), Bytes::from_static(b"two"));
        assert_eq!(cache.first_seen(&one, now).unwrap(), now);
        assert_eq!(cache.first_seen(&one, later).unwrap(), now);
        assert_eq!(cache.first_seen(&two, later).unwrap(), later);
        cache.write(&cache.folder.join(SEEN), b"nonsense").unwrap();
        assert_eq!(cache.first_seen(&two, now).unwrap(), now);
    }

    #[tokio::test]
    async fn delegates_never_take_the_place_of_top_level_roles() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned()).open(&repository()).await.unwrap();
        for name in ["timestamp.json", "1.root", "../x", "lock"] {
            let role = RoleName::Delegated(name.parse().unwrap());
            cache.keep(&role, &Bytes::from_static(b"x")).unwrap();
        }
        let stored = cache.load().unwrap();
        assert!(stored.roots.is_empty() && stored.timestamp.is_none());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn what_killed_programs_left_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let first = cache.open(&repository()).await.unwrap();
        let left = first.folder.join(".new-abcdef");
        fs::write(&left, "half").unwrap();
        drop(first);
        cache.open(&repository()).await.unwrap();
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn one_program_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned());
        let first = cache.open(&repository()).await.unwrap();
        let name = repository();
        let waiting = cache.open(&name);
        tokio::pin!(waiting);
        assert!(tokio::time::timeout(Duration::from_millis(60), &mut waiting).await.is_err());
        drop(first);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn files_beyond_the_limits_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::new(folder.path().to_owned()).open(&repository()).await.unwrap();
        let large = Bytes::from(vec![b'x'; RoleName::Timestamp.byte_limit() + 1]);
        cache.keep(&RoleName::Timestamp, &large).unwrap();
        assert!(cache.load().unwrap().timestamp.is_none());
    }
}
