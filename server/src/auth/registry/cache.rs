//! Tokens that were found good a moment ago: clients send one many times, and checking a
//! chain of certificates is dear.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use bulla_keys_schema::digest::Sha256Digest;
use bulla_keys_schema::time::UtcTime;

use crate::auth::Caller;

/// Tokens kept at most. Only what a token server has signed gets in.
const ENTRIES: usize = 1024;
/// Seconds after which a token is checked anew, because a certificate may be over.
const FRESH: i64 = 60;

/// Callers by the digest of their token.
#[derive(Default)]
pub(super) struct Cache(Mutex<HashMap<[u8; 32], Entry>>);

struct Entry {
    caller: Caller,
    /// Seconds since 1970 between which it counts, the last one excluded.
    from: i64,
    to: i64,
}

impl Entry {
    const fn counts(&self, now: i64) -> bool {
        self.from <= now && now < self.to
    }
}

impl Cache {
    /// The holder of the token with this digest, if it was checked shortly before `now`.
    pub(super) fn get(&self, digest: &Sha256Digest, now: UtcTime) -> Option<Caller> {
        let entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get(digest.as_bytes())?;
        entry.counts(now.unix_seconds()).then(|| entry.caller.clone())
    }

    /// Keeps a token that was found good at `now` and is over at `until`, seconds since 1970.
    pub(super) fn put(&self, digest: &Sha256Digest, caller: Caller, now: UtcTime, until: i64) {
        let from = now.unix_seconds();
        let entry = Entry { caller, from, to: until.min(from.saturating_add(FRESH)) };
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= ENTRIES {
            entries.retain(|_, entry| entry.counts(from));
        }
        if entries.len() >= ENTRIES {
            entries.clear();
        }
        entries.insert(*digest.as_bytes(), entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_count_for_a_bounded_time() {
        let cache = Cache::default();
        let at = |second| UtcTime::from_unix_seconds(second).unwrap();
        let (short, long) = (Sha256Digest::of(b"short"), Sha256Digest::of(b"long"));
        cache.put(&short, Caller::unrestricted(), at(1000), 1005);
        cache.put(&long, Caller::unrestricted(), at(1000), 9999);
        for (digest, second, found) in [
            (&short, 999, false),
            (&short, 1000, true),
            (&short, 1004, true),
            (&short, 1005, false),
            (&long, 1059, true),
            (&long, 1060, false),
        ] {
            assert_eq!(cache.get(digest, at(second)).is_some(), found, "{second}");
        }
        assert_eq!(cache.get(&Sha256Digest::of(b"other"), at(1000)), None);
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let cache = Cache::default();
        let now = UtcTime::from_unix_seconds(0).unwrap();
        for number in 0..=ENTRIES {
            cache.put(&Sha256Digest::of(&number.to_be_bytes()), Caller::unrestricted(), now, 9);
        }
        assert!(cache.0.lock().unwrap().len() <= ENTRIES);
        let newest = Sha256Digest::of(&ENTRIES.to_be_bytes());
        assert!(cache.get(&newest, now).is_some());
    }
}
