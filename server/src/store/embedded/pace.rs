//! How large the groups of commits become: who is waited for, and who wakes the committer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A group waits for others while there are more than one of them for so many that it has: what a
/// sync for them alone would cost is more than what those that are ready lose.
const FEW: usize = 4;

/// How far the commits of the next group have come: whoever sends the last one that is worth waiting for wakes
/// the committer, nobody else does.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// Commits that are being made ready.
    pub(super) announced: Arc<AtomicUsize>,
    /// Commits in the queue and in the group that gathers.
    ready: AtomicUsize,
    /// Commits in the last group.
    last: AtomicUsize,
}

impl Pace {
    /// One more commit is about to be in the queue.
    pub(super) fn add(&self) {
        self.ready.fetch_add(1, Ordering::Relaxed);
    }

    /// One was not taken.
    pub(super) fn take_back(&self) {
        self.ready.fetch_sub(1, Ordering::Relaxed);
    }

    /// A group of so many goes to the disk.
    pub(super) fn begin(&self, commits: usize) {
        self.ready.fetch_sub(commits, Ordering::Relaxed);
        self.last.store(commits, Ordering::Relaxed);
    }

    /// Whether commits have come one by one of late: no others are expected while one is made ready.
    pub(super) fn is_single(&self) -> bool {
        self.announced.load(Ordering::Relaxed) == 0 && self.last.load(Ordering::Relaxed) <= 1
    }

    /// Whether commits have come one by one of late, and none waits.
    pub(super) fn is_idle(&self) -> bool {
        self.is_single() && self.ready.load(Ordering::Relaxed) == 0
    }

    /// Whether a group of all that are ready should wait for no others.
    pub(super) fn is_complete(&self) -> bool {
        self.suffices(self.ready.load(Ordering::Relaxed))
    }

    /// The same of a group of `ready` ones.
    pub(super) fn suffices(&self, ready: usize) -> bool {
        self.announced.load(Ordering::Relaxed).saturating_mul(FEW) <= ready
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_complete_when_few_of_those_are_missing_that_are_made_ready() {
        let pace = Pace::default();
        pace.announced.store(2, Ordering::Relaxed);
        for ready in 1..=8 {
            pace.add();
            assert_eq!(pace.is_complete(), ready == 8, "{ready}");
        }
        pace.begin(8);
        assert!(!pace.is_complete());
        pace.announced.store(0, Ordering::Relaxed);
        assert!(pace.is_complete());
    }

    #[test]
    fn others_are_expected_after_a_group_of_several() {
        let pace = Pace::default();
        for (commits, is_single) in [(1, true), (2, false), (1, true)] {
            (0..commits).for_each(|_| pace.add());
            pace.begin(commits);
            assert_eq!(pace.is_single(), is_single, "{commits}");
            assert_eq!(pace.is_idle(), is_single, "{commits}");
            pace.add();
            assert!(!pace.is_idle());
            pace.take_back();
        }
        pace.announced.store(1, Ordering::Relaxed);
        assert!(!pace.is_single());
        // What was not taken is not waited with.
        pace.add();
        pace.take_back();
        assert!(!pace.is_complete());
    }
}
