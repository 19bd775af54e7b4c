//! The one place that reads the wall clock; everything else is handed a [`Clock`].

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bulla_keys_schema::time::UtcTime;

/// Tells the time.
pub trait Clock: Send + Sync + 'static {
    /// The moment it is.
    fn now(&self) -> UtcTime;
}

/// A clock that several parts share.
pub type SharedClock = Arc<dyn Clock>;

/// The clock of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// A clock outside 1970 to 9999 reads as 1970, which readiness then reports as wrong.
    fn now(&self) -> UtcTime {
        let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        i64::try_from(seconds)
            .ok()
            .and_then(|seconds| UtcTime::from_unix_seconds(seconds).ok())
            .unwrap_or_else(epoch)
    }
}

/// 1970-01-01T00:00:00Z.
#[must_use]
#[expect(clippy::expect_used, reason = "0 is a constant in the calendar's range")]
pub fn epoch() -> UtcTime {
    UtcTime::from_unix_seconds(0).expect("1970 is in the calendar")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_lives_after_2020() {
        assert_eq!(epoch().to_string(), "1970-01-01T00:00:00Z");
        assert!(SystemClock.now().seconds_since(epoch()) > 1_577_836_800);
    }
}
