//! Verified states in memory, so that a publish need not verify everything again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::store::HeadToken;

/// Repositories kept.
const KEPT: usize = 1024;
/// Larger states are read again each time, in bytes of their documents.
const LARGEST: usize = 1024 * 1024;

/// The states of the repositories changed last. A state counts for its head token only, and
/// a token is never used twice.
#[derive(Default)]
pub(super) struct States {
    kept: Mutex<HashMap<RepositoryName, (HeadToken, CurrentState)>>,
}

impl States {
    pub(super) fn get(&self, repository: &RepositoryName, token: HeadToken) -> Option<CurrentState> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, state) = kept.get(repository)?;
        (*at == token).then(|| state.clone())
    }

    pub(super) fn put(&self, repository: &RepositoryName, token: HeadToken, state: CurrentState) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if size(&state) > LARGEST {
            kept.remove(repository);
            return;
        }
        if kept.len() >= KEPT
            && !kept.contains_key(repository)
            && let Some(any) = kept.keys().next().cloned()
        {
            kept.remove(&any);
        }
        kept.insert(repository.clone(), (token, state));
    }

    pub(super) fn forget(&self, repository: &RepositoryName) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(repository);
    }
}

fn size(state: &CurrentState) -> usize {
    let delegated: usize = state.delegated().values().map(|document| document.bytes().len()).sum();
    let retired: usize = state.retired().values().map(|document| document.bytes.len()).sum();
    let top = state.root().bytes().len() + state.snapshot().bytes().len() + state.targets().bytes().len();
    top + delegated + retired
}
