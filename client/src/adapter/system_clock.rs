//! This machine's clock.

use bulla_keys_schema::time::UtcTime;
use jiff::Timestamp;

use crate::port::Clock;

/// The system's clock.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::expect_used, reason = "both types are the same calendar, seconds of one are in the other")]
    fn now(&self) -> UtcTime {
        UtcTime::from_unix_seconds(Timestamp::now().as_second()).expect("a time of the calendar")
    }
}
