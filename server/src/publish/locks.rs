//! One turn at a time for each repository.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bulla_keys_schema::names::RepositoryName;
use tokio::sync::OwnedMutexGuard;

type Lock = Arc<tokio::sync::Mutex<()>>;

/// The repositories that are being changed now.
#[derive(Default)]
pub(super) struct Locks {
    held: Arc<Mutex<HashMap<RepositoryName, Lock>>>,
}

/// Nobody else changes this repository while it lives.
pub(super) struct Turn {
    held: Arc<Mutex<HashMap<RepositoryName, Lock>>>,
    repository: RepositoryName,
    guard: Option<OwnedMutexGuard<()>>,
}

impl Locks {
    /// Waits for its turn, first come, first served.
    pub(super) async fn turn(&self, repository: &RepositoryName) -> Turn {
        let lock = {
            let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(held.entry(repository.clone()).or_default())
        };
        // Made before waiting: a caller that gives up while it waits cleans up as well.
        let mut turn = Turn { held: Arc::clone(&self.held), repository: repository.clone(), guard: None };
        turn.guard = Some(lock.lock_owned().await);
        turn
    }
}

impl Drop for Turn {
    /// The last one out removes the lock, so that the map stays as small as the work.
    fn drop(&mut self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        self.guard = None;
        if held.get(&self.repository).is_some_and(|lock| Arc::strong_count(lock) == 1) {
            held.remove(&self.repository);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn turns_exclude_each_other_and_leave_nothing() {
        let locks = Locks::default();
        let (a, b): (RepositoryName, RepositoryName) = ("a".parse().unwrap(), "b".parse().unwrap());
        let first = locks.turn(&a).await;
        let _other = locks.turn(&b).await;
        let waits = tokio::time::timeout(Duration::from_millis(20), locks.turn(&a)).await;
        assert!(waits.is_err());
        drop(first);
        drop(locks.turn(&a).await);
        assert_eq!(locks.held.lock().unwrap().keys().cloned().collect::<Vec<_>>(), [b]);
    }
}
