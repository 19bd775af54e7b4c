//! Verified states in memory, so that a publish need not verify everything again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::names::RepositoryName;
use bulla_keys_schema::verify::submission::CurrentState;

use crate::store::HeadToken;

/// Repositories kept.
const KEPT: usize = 1024;
/// Larger states are read again each time, in bytes of their documents: two of the largest.
const LARGEST: usize = 10 * 1024 * 1024;
/// What all states together may take in memory, roughly, in bytes.
const ROOM: usize = 256 * 1024 * 1024;
/// A value that was read from JSON, in bytes.
const VALUE: usize = 64;
/// A list or an object besides its values, in bytes: a text of such is many times as large
/// once it was read, and somebody may publish just that.
const CONTAINER: usize = 128;

/// The states of the repositories changed last. A state counts for its head token only, and
/// a token is never used twice.
#[derive(Default)]
pub(super) struct States {
    kept: Mutex<Kept<CurrentState>>,
}

/// Values that do not take more room than there is.
struct Kept<T> {
    values: HashMap<RepositoryName, Value<T>>,
    weight: usize,
}

struct Value<T> {
    at: HeadToken,
    value: T,
    weight: usize,
}

impl States {
    pub(super) fn get(&self, repository: &RepositoryName, token: HeadToken) -> Option<CurrentState> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.values.get(repository)?;
        (found.at == token).then(|| found.value.clone())
    }

    pub(super) fn put(&self, repository: &RepositoryName, token: HeadToken, state: CurrentState) {
        let size: usize = documents(&state).map(<[u8]>::len).sum();
        let weight = if size > LARGEST { usize::MAX } else { documents(&state).map(weight).sum() };
        let value = Value { at: token, value: state, weight };
        let gone = self.kept.lock().unwrap_or_else(PoisonError::into_inner).put(repository, value);
        // A long list takes long to go: nobody waits for that.
        drop(gone);
    }

    pub(super) fn forget(&self, repository: &RepositoryName) {
        let gone = self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(repository);
        drop(gone);
    }
}

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self { values: HashMap::new(), weight: 0 }
    }
}

impl<T> Kept<T> {
    /// In place of what was kept for `repository`, and as often of others as is needed. Returns all that had to go.
    fn put(&mut self, repository: &RepositoryName, value: Value<T>) -> Vec<Value<T>> {
        let mut gone = Vec::from_iter(self.remove(repository));
        if value.weight > ROOM {
            return gone;
        }
        while self.values.len() >= KEPT || self.weight > ROOM - value.weight {
            let Some(any) = self.values.keys().next().cloned() else { return gone };
            gone.extend(self.remove(&any));
        }
        self.weight += value.weight;
        self.values.insert(repository.clone(), value);
        gone
    }

    fn remove(&mut self, repository: &RepositoryName) -> Option<Value<T>> {
        let removed = self.values.remove(repository)?;
        self.weight -= removed.weight;
        Some(removed)
    }
}

fn documents(state: &CurrentState) -> impl Iterator<Item = &[u8]> {
    let top = [state.root().bytes(), state.timestamp().bytes(), state.snapshot().bytes()];
    let delegated = state.delegated().values().map(|document| document.bytes());
    let retired = state.retired().values().map(|document| &document.bytes);
    top.into_iter().chain([state.targets().bytes()]).chain(delegated).chain(retired).map(|bytes| &**bytes)
}

/// What a document may take in memory: its text, and what was read from it.
fn weight(document: &[u8]) -> usize {
    let commas = memchr::memchr_iter(b',', document).count();
    let brackets = memchr::memchr2_iter(b'[', b'{', document).count();
    document.len() + commas * VALUE + brackets * (VALUE + CONTAINER)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> RepositoryName {
        format!("a/{number}").parse().unwrap()
    }

    fn put(kept: &mut Kept<()>, number: usize, weight: usize) {
        kept.put(&name(number), Value { at: HeadToken(1), value: (), weight });
        assert_eq!(kept.weight, kept.values.values().map(|value| value.weight).sum::<usize>());
        assert!(kept.weight <= ROOM && kept.values.len() <= KEPT);
    }

    #[test]
    fn what_is_kept_has_its_room() {
        let mut kept = Kept::default();
        for number in 0..KEPT + 10 {
            put(&mut kept, number, 1);
        }
        assert_eq!(kept.values.len(), KEPT);
        put(&mut kept, 0, ROOM);
        assert_eq!(kept.values.len(), 1);
        put(&mut kept, 0, 2);
        put(&mut kept, 1, ROOM - 1);
        assert!(kept.values.len() == 1 && kept.values.contains_key(&name(1)));
        put(&mut kept, 1, usize::MAX);
        assert!(kept.values.is_empty());
    }

    #[test]
    fn short_lists_are_heavy() {
        let list = b"[1],".repeat(1000);
        assert!(weight(&list) > 60 * list.len());
        assert_eq!(weight(b"abcdef"), 6);
    }
}
