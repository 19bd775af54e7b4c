//! The heads of all repositories in memory: what readers see, and only what is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::time::UtcTime;

use super::rows::HeadRow;
use crate::store::Head;

/// The current state of one repository.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) head: Arc<Head>,
    pub(super) row: HeadRow,
}

/// All current states, by name and by urgency.
#[derive(Debug, Default)]
pub(super) struct Heads {
    inner: RwLock<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    by_name: BTreeMap<RepositoryName, Arc<Current>>,
    due: BTreeSet<(UtcTime, RepositoryName)>,
}

impl Heads {
    pub(super) fn get(&self, name: &RepositoryName) -> Option<Arc<Current>> {
        self.read().by_name.get(name).cloned()
    }

    /// Makes new states visible, all at once.
    pub(super) fn publish(&self, changes: impl IntoIterator<Item = (RepositoryName, Option<Arc<Current>>)>) {
        let mut inner = self.inner.write().unwrap_or_else(PoisonError::into_inner);
        for (name, current) in changes {
            let renew_at = current.as_ref().map(|current| current.head.renew_at);
            let before = match current {
                Some(current) => inner.by_name.insert(name.clone(), current),
                None => inner.by_name.remove(&name),
            };
            if let Some(before) = before {
                inner.due.remove(&(before.head.renew_at, name.clone()));
            }
            inner.due.extend(renew_at.map(|at| (at, name)));
        }
    }

    pub(super) fn list(&self, after: Option<&RepositoryName>, max: usize) -> Vec<RepositoryName> {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = (lower, Bound::Unbounded);
        self.read()
            .by_name
            .range::<RepositoryName, _>(range)
            .take(max)
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn due(&self, before: UtcTime, max: usize) -> Vec<RepositoryName> {
        let inner = self.read();
        inner.due.iter().take_while(|(at, _)| *at < before).take(max).map(|(_, name)| name.clone()).collect()
    }

    pub(super) fn all(&self) -> Vec<(RepositoryName, Arc<Current>)> {
        self.read().by_name.iter().map(|(name, current)| (name.clone(), Arc::clone(current))).collect()
    }

    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }
}
