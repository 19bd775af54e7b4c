//! How much one caller may store with signing requests. A publication needs good signatures; a
//! request needs none, and what was stored once stays in the journal.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::time::UtcTime;

/// Bytes of requests that one caller may have stored within [`WINDOW`].
const BYTES: u64 = 64 * 1024 * 1024;
/// Seconds.
const WINDOW: i64 = 3_600;

/// What callers have stored lately. Forgotten with the process.
#[derive(Default)]
pub(in crate::publish) struct Budget {
    spent: Mutex<HashMap<String, Spent>>,
}

struct Spent {
    since: UtcTime,
    bytes: u64,
}

impl Budget {
    /// Takes `bytes` from what `caller` may store. Tells whether there was enough left.
    pub(super) fn take(&self, caller: &str, bytes: usize, now: UtcTime) -> bool {
        let mut spent = self.spent.lock().unwrap_or_else(PoisonError::into_inner);
        spent.retain(|_, spent| (0..WINDOW).contains(&now.seconds_since(spent.since)));
        let own = spent.entry(caller.to_owned()).or_insert(Spent { since: now, bytes: 0 });
        let after = own.bytes.saturating_add(u64::try_from(bytes).unwrap_or(u64::MAX));
        if after > BYTES {
            return false;
        }
        own.bytes = after;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_his_own_and_it_comes_back() {
        let at = |seconds| UtcTime::from_unix_seconds(1_900_000_000 + seconds).unwrap();
        let budget = Budget::default();
        let half = usize::try_from(BYTES / 2).unwrap();
        assert!(budget.take("a", half, at(0)) && budget.take("a", half, at(9)));
        assert!(!budget.take("a", 1, at(WINDOW - 1)));
        assert!(budget.take("b", half, at(WINDOW - 1)));
        assert!(budget.take("a", 1, at(WINDOW)));
        assert!(!budget.take("c", usize::MAX, at(WINDOW)));
    }
}
