//! Another key-encryption key: everything sealed under the old one is sealed under the new one,
//! before the server serves.
//!
//! That is done at the start, and by no command of its own: a store has one process, which must
//! stop and start anyway to be given another key, and a start that fails leaves the old
//! configuration usable. First all keys are opened, so that a wrong key changes nothing. Then
//! each repository gets one record, durable like any other. A crash leaves some of them under the
//! new key and some under the old; the next start with both goes on.
//!
//! The journal and backups keep what was sealed under the old key. Whoever has both, has the
//! online keys of then: if the old key was stolen, rotate the online keys as well.

use bulla_keys_schema::names::RepositoryName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{ATTEMPTS, Vault, VaultError};
use crate::store::{PublishError, StoreError};

/// Names read at once.
const PAGE: usize = 1024;
/// Repositories at the same time, so that the store writes them in groups.
const TOGETHER: usize = 64;

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resealed {
    /// Repositories whose keys are sealed under the new key now.
    pub resealed: u64,
    /// Repositories whose keys were sealed under it already.
    pub kept: u64,
}

/// The online keys could not all be sealed under the new key.
#[derive(Debug, thiserror::Error)]
pub enum ResealError {
    /// The names cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No key opens what one repository has, or the store does not take it.
    #[error("cannot reseal the online keys of {repository}: {source}")]
    Repository {
        /// Whose keys.
        repository: RepositoryName,
        /// Why not.
        source: VaultError,
    },
}

impl Vault {
    /// Seals under the new key whatever is sealed under an old one. Opens everything first, and
    /// changes nothing if that fails.
    ///
    /// # Errors
    /// [`ResealError`]. What was resealed before stays so; doing it again goes on.
    pub async fn reseal(&self) -> Result<Resealed, ResealError> {
        self.each(false).await?;
        self.each(true).await
    }

    /// Opens the keys of every repository, and seals them anew if `change`.
    async fn each(&self, change: bool) -> Result<Resealed, ResealError> {
        let (mut done, mut after) = (Resealed::default(), None);
        loop {
            let names = self.store.with_online_keys(after.as_ref(), PAGE).await?;
            let Some(last) = names.last().cloned() else { return Ok(done) };
            let work = names.into_iter().map(|repository| async move {
                let result = self.reseal_one(&repository, change).await;
                result.map_err(|source| ResealError::Repository { repository, source })
            });
            let mut work = stream::iter(work).buffer_unordered(TOGETHER);
            while let Some(resealed) = work.try_next().await? {
                if resealed { done.resealed += 1 } else { done.kept += 1 }
            }
            after = Some(last);
        }
    }

    /// Tells whether it changed anything.
    async fn reseal_one(&self, repository: &RepositoryName, change: bool) -> Result<bool, VaultError> {
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.store.online_keys(repository).await? else { return Ok(false) };
            let sets = self.ring.open(repository, &stored.sealed)?;
            if !change || self.ring.is_current(&stored.sealed) {
                return Ok(false);
            }
            let sealed = self.ring.close(repository, &sets)?;
            match self.store.set_online_keys(repository, Some(stored.generation), sealed).await {
                Ok(_) => {
                    self.forget(repository);
                    return Ok(true);
                }
                Err(PublishError::Conflict { .. }) => {}
                Err(PublishError::Store(error)) => return Err(error.into()),
                Err(error) => return Err(VaultError::Refused(error)),
            }
        }
        Err(VaultError::Contended)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use zeroize::Zeroizing;

    use super::*;
    use crate::store::TrustStore;
    use crate::store::memory::MemoryStore;
    use crate::vault::{Kek, Keyring, UnsealError};

    fn kek(digits: &str) -> Kek {
        Kek::from_variable(&Zeroizing::new(digits.repeat(32))).unwrap()
    }

    fn vault(store: &Arc<MemoryStore>, current: &str, old: &[&str]) -> Vault {
        let ring = Keyring::new(kek(current), old.iter().map(|digits| kek(digits)).collect());
        Vault::new(ring, Arc::clone(store) as Arc<dyn TrustStore>)
    }

    fn names() -> Vec<RepositoryName> {
        (0..70).map(|number| format!("r{number}").parse().unwrap()).collect()
    }

    /// A store with the keys of all names under `01`, and the keys.
    async fn filled() -> (Arc<MemoryStore>, Vec<String>) {
        let store = Arc::new(MemoryStore::new());
        (Arc::clone(&store), keys(&vault(&store, "01", &[]), true).await)
    }

    /// What identifies the keys of all names.
    async fn keys(vault: &Vault, make: bool) -> Vec<String> {
        let mut found = Vec::new();
        for name in names() {
            let keys = if make {
                vault.get_or_make(&name).await.unwrap()
            } else {
                vault.get(&name).await.unwrap().unwrap()
            };
            found.extend(keys.sets.iter().flat_map(|set| set.fingerprints()).map(|key| key.to_string()));
        }
        found
    }

    #[tokio::test]
    async fn all_keys_stay_the_same_under_the_new_one() {
        let (store, before) = filled().await;
        let done = vault(&store, "02", &["03", "01"]).reseal().await.unwrap();
        assert_eq!(done, Resealed { resealed: 70, kept: 0 });
        assert!(keys(&vault(&store, "02", &[]), false).await == before);
        let again = vault(&store, "02", &["01"]).reseal().await.unwrap();
        assert_eq!(again, Resealed { resealed: 0, kept: 70 });
        let refused = vault(&store, "01", &[]).get(&names()[5]).await.err().unwrap();
        assert!(matches!(refused, VaultError::Unseal(UnsealError::OtherKek { .. })), "{refused}");
    }

    #[tokio::test]
    async fn it_goes_on_where_a_crash_stopped_it() {
        let (store, before) = filled().await;
        let both = vault(&store, "02", &["01"]);
        for name in names().iter().step_by(3) {
            assert!(both.reseal_one(name, true).await.unwrap());
        }
        // Until it is done, both open everything.
        assert!(keys(&both, false).await == before);
        let done = vault(&store, "02", &["01"]).reseal().await.unwrap();
        assert_eq!(done, Resealed { resealed: 46, kept: 24 });
        assert!(keys(&vault(&store, "02", &[]), false).await == before);
    }

    #[tokio::test]
    async fn a_key_that_nothing_opens_is_named_and_nothing_is_changed() {
        let (store, before) = filled().await;
        vault(&store, "07", &[]).get_or_make(&"zz".parse().unwrap()).await.unwrap();
        let refused = vault(&store, "02", &["01"]).reseal().await.unwrap_err();
        assert!(refused.to_string().starts_with("cannot reseal the online keys of zz: "), "{refused}");
        assert!(vault(&store, "02", &["03"]).reseal().await.is_err());
        assert!(keys(&vault(&store, "01", &[]), false).await == before, "still under the old one");
    }

    #[tokio::test]
    async fn the_same_key_twice_and_no_keys_are_nothing_to_do() {
        let (store, before) = filled().await;
        let same = vault(&store, "01", &["01"]);
        assert!(!same.ring.has_old());
        assert_eq!(same.reseal().await.unwrap(), Resealed { resealed: 0, kept: 70 });
        assert!(keys(&vault(&store, "01", &[]), false).await == before);
        let empty = Arc::new(MemoryStore::new());
        assert_eq!(vault(&empty, "02", &["01"]).reseal().await.unwrap(), Resealed::default());
    }
}
