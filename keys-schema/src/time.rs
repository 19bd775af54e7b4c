//! Points in time. The core owns no clock: callers pass `now` in.

use std::fmt;
use std::str::FromStr;

use jiff::{SignedDuration, Timestamp};

/// A moment in UTC. Read with optional fractional seconds, written with whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(Timestamp);

impl UtcTime {
    /// The moment `seconds` after 1970-01-01T00:00:00Z.
    ///
    /// # Errors
    /// Years outside -9999 to 9999.
    pub fn from_unix_seconds(seconds: i64) -> Result<Self, InvalidTime> {
        Timestamp::from_second(seconds).map(Self).map_err(|_| InvalidTime)
    }

    /// Reads a date of RFC 3339 in any time zone, with up to nine digits of fractions: what Go
    /// writes, and so what Notary's documents hold.
    ///
    /// # Errors
    /// Other spellings, and dates that do not exist.
    pub fn parse_rfc3339(text: &str) -> Result<Self, InvalidTime> {
        if text.ends_with('Z') {
            return text.parse();
        }
        let at = text.len().checked_sub(6).ok_or(InvalidTime)?;
        let (head, zone) = text.split_at_checked(at).ok_or(InvalidTime)?;
        let is_zone = match zone.as_bytes() {
            [b'+' | b'-', h1, h2, b':', m1, m2] => [h1, h2, m1, m2].iter().all(|byte| byte.is_ascii_digit()),
            _ => false,
        };
        if !(is_zone && has_tuf_shape(&format!("{head}Z"))) {
            return Err(InvalidTime);
        }
        text.parse().map(Self).map_err(|_| InvalidTime)
    }

    /// Seconds since 1970-01-01T00:00:00Z, fractions dropped.
    #[must_use]
    pub fn unix_seconds(self) -> i64 {
        self.0.as_second()
    }

    /// This moment moved by `seconds`; stays at the end of the calendar rather than overflow.
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        let whole = Self(Timestamp::from_second(self.0.as_second()).unwrap_or(self.0));
        let moved = whole.0.checked_add(SignedDuration::from_secs(seconds));
        Self(moved.unwrap_or(if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX }))
    }

    /// Seconds from `earlier` to this moment, negative if `earlier` is later.
    #[must_use]
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.unix_seconds().saturating_sub(earlier.unix_seconds())
    }

    /// Whether metadata that expires at this moment may no longer be used at `now`. The
    /// moment itself is already too late, as in python-tuf.
    #[must_use]
    pub fn is_over(self, now: Self) -> bool {
        self <= now
    }
}

impl fmt::Display for UtcTime {
    /// `YYYY-MM-DDTHH:MM:SSZ`, the only form every TUF client reads.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.strftime("%Y-%m-%dT%H:%M:%SZ"))
    }
}

impl FromStr for UtcTime {
    type Err = InvalidTime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !has_tuf_shape(text) {
            return Err(InvalidTime);
        }
        text.parse().map(Self).map_err(|_| InvalidTime)
    }
}

/// The text is no UTC date and time of the form `YYYY-MM-DDTHH:MM:SSZ`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a date of the form YYYY-MM-DDTHH:MM:SSZ")]
pub struct InvalidTime;

/// jiff reads more of RFC 3339 and ISO 8601 than TUF allows, so the shape is checked first.
fn has_tuf_shape(text: &str) -> bool {
    let bytes = text.as_bytes();
    let Some((head, tail)) = bytes.split_at_checked(19) else { return false };
    let head_fits = head.iter().enumerate().all(|(at, byte)| match at {
        4 | 7 => *byte == b'-',
        10 => *byte == b'T',
        13 | 16 => *byte == b':',
        _ => byte.is_ascii_digit(),
    });
    let tail_fits = match tail {
        [b'Z'] => true,
        [b'.', fraction @ .., b'Z'] => {
            (1..=9).contains(&fraction.len()) && fraction.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    head_fits && tail_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tuf_dates_and_writes_whole_seconds() {
        let time: UtcTime = "2030-01-02T03:04:05.0000001Z".parse().unwrap();
        assert_eq!(time.to_string(), "2030-01-02T03:04:05Z");
        assert_eq!("2030-01-02T03:04:05Z".parse::<UtcTime>().unwrap().unix_seconds(), 1_893_553_445);
    }

    #[test]
    fn refuses_every_other_spelling() {
        for bad in [
            "2030-01-02",
            "2030-01-02 03:04:05Z",
            "2030-01-02T03:04:05",
            "2030-01-02T03:04:05+00:00",
            "2030-01-02t03:04:05z",
            "2030-13-02T03:04:05Z",
            "+02030-01-02T03:04:05Z",
            "",
            "2030-01-02T03:04:05.Z",
            "2030-02-30T03:04:05Z",
        ] {
            assert_eq!(bad.parse::<UtcTime>(), Err(InvalidTime), "{bad}");
        }
    }

    #[test]
    fn notary_dates_have_zones_and_nanoseconds() {
        for (text, utc) in [
            ("2116-07-03T17:56:36.027379879-05:00", "2116-07-03T22:56:36Z"),
            ("2030-01-02T03:04:05+02:00", "2030-01-02T01:04:05Z"),
            ("2030-01-02T03:04:05.1Z", "2030-01-02T03:04:05Z"),
            ("2030-01-02T03:04:05+00:00", "2030-01-02T03:04:05Z"),
        ] {
            assert_eq!(UtcTime::parse_rfc3339(text).unwrap().to_string(), utc, "{text}");
        }
        for bad in [
            "2030-01-02T03:04:05",
            "2030-01-02T03:04:05+0200",
            "2030-01-02T03:04:05+2:00",
            "2030-01-02T03:04:05+99:00",
            "2030-01-02T03:04:05Z+02:00",
            "2030-01-02 03:04:05+02:00",
            "+02:00",
            "",
            "\u{e9}02:00",
        ] {
            assert_eq!(UtcTime::parse_rfc3339(bad), Err(InvalidTime), "{bad}");
        }
    }

    #[test]
    fn arithmetic_stays_in_the_calendar() {
        let time: UtcTime = "2030-01-02T03:04:05Z".parse().unwrap();
        assert_eq!(time.plus_seconds(60).to_string(), "2030-01-02T03:05:05Z");
        assert!(time.plus_seconds(i64::MAX) > time);
        assert!(time.plus_seconds(i64::MIN) < time);
        assert!(time.is_over(time));
    }
}
