//! Bytes of targets, under their digest: whoever asks for one knows what it must hash to, so nothing
//! in here can be wrong without being noticed.

use std::fs;
use std::time::SystemTime;

use bulla_keys_schema::digest::Sha256Digest;
use bytes::Bytes;

use super::{CacheError, RepositoryCache, io_error, read};
use crate::home;

/// Where they are, in the folder of a repository. No role has a file like that.
const FOLDER: &str = "targets";
/// How many bytes of targets are kept for one repository. What came first goes first.
const KEPT: u64 = 256 * 1024 * 1024;

impl RepositoryCache {
    /// The bytes with that digest, of which there may be `limit`, if they are here.
    ///
    /// # Errors
    /// The system refuses. Bytes that are damaged are none.
    pub fn target(&self, digest: Sha256Digest, limit: usize) -> Result<Option<Bytes>, CacheError> {
        let bytes = read(&self.folder.join(FOLDER).join(digest.to_string()), limit)?;
        Ok(bytes.filter(|bytes| Sha256Digest::of(bytes) == digest))
    }

    /// Keeps the bytes of a target, and makes room for them.
    ///
    /// # Errors
    /// The system refuses.
    pub fn keep_target(&self, bytes: &Bytes) -> Result<(), CacheError> {
        let folder = self.folder.join(FOLDER);
        home::create_folder(&folder).map_err(|error| io_error(&folder, &error))?;
        self.write(&folder.join(Sha256Digest::of(bytes).to_string()), bytes)?;
        self.make_room()
    }

    /// Lets the oldest go until what is left is within bounds.
    fn make_room(&self) -> Result<(), CacheError> {
        let folder = self.folder.join(FOLDER);
        let failed = |error| io_error(&folder, &error);
        home::remove_half_written(&folder).map_err(failed)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let about = entry.metadata().map_err(failed)?;
            let written = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push((written, about.len(), entry.path()));
        }
        files.sort();
        let mut total: u64 = files.iter().map(|(_, length, _)| length).sum();
        for (_, length, path) in files {
            if total <= KEPT {
                break;
            }
            fs::remove_file(&path).map_err(|error| io_error(&path, &error))?;
            total -= length;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cache;
    use super::*;

    #[tokio::test]
    async fn bytes_are_hashed_on_every_read() {
        let folder = tempfile::tempdir().unwrap();
        let repository = "reg.example.com/app".parse().unwrap();
        let cache = Cache::new(folder.path().to_owned()).open(&repository).await.unwrap();
        let (bytes, digest) = (Bytes::from_static(b"envelope"), Sha256Digest::of(b"envelope"));
        assert_eq!(cache.target(digest, 100).unwrap(), None);
        cache.keep_target(&bytes).unwrap();
        assert_eq!(cache.target(digest, 100).unwrap(), Some(bytes.clone()));
        assert_eq!(cache.target(digest, 7).unwrap(), None, "longer than it may be");
        let path = cache.folder.join(FOLDER).join(digest.to_string());
        fs::write(&path, b"envelopf").unwrap();
        assert_eq!(cache.target(digest, 100).unwrap(), None);
        cache.keep_target(&bytes).unwrap();
        assert_eq!(cache.target(digest, 100).unwrap(), Some(bytes));
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let folder = tempfile::tempdir().unwrap();
        let repository = "reg.example.com/app".parse().unwrap();
        let cache = Cache::new(folder.path().to_owned()).open(&repository).await.unwrap();
        let first = Bytes::from_static(b"first");
        cache.keep_target(&first).unwrap();
        // A file with a length and no content takes no room on the disk of the test.
        let large = cache.folder.join(FOLDER).join(Sha256Digest::of(b"large").to_string());
        fs::File::create(&large).unwrap().set_len(KEPT).unwrap();
        let old = SystemTime::UNIX_EPOCH;
        let path = cache.folder.join(FOLDER).join(Sha256Digest::of(&first).to_string());
        fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        cache.keep_target(&Bytes::from_static(b"second")).unwrap();
        assert_eq!(cache.target(Sha256Digest::of(&first), 100).unwrap(), None);
        assert!(!large.exists(), "there was no room for it and the newest");
        assert!(cache.target(Sha256Digest::of(b"second"), 100).unwrap().is_some());
    }
}
