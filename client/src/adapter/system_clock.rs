//! This machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use bulla_keys_schema::time::UtcTime;

use crate::port::Clock;

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    /// A clock set to before 1970 says 1970: everything is then refused as accepted later.
    #[expect(clippy::expect_used, reason = "a clock beyond the year 9999 is no clock")]
    fn now(&self) -> UtcTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
        UtcTime::from_unix_seconds(seconds).expect("a year before 10000")
    }
}
