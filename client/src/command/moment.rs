//! Points in time as people type them.

use bulla_keys_schema::time::{InvalidTime, UtcTime};

const DAY: i64 = 24 * 3600;

/// A moment: RFC 3339 in any zone, or a day, which means its beginning in UTC.
pub(super) fn since(text: &str) -> Result<UtcTime, InvalidTime> {
    UtcTime::parse_rfc3339(text).or_else(|_| beginning_of(text))
}

/// A moment: RFC 3339 in any zone, or a day, which means its end in UTC.
pub(super) fn until(text: &str) -> Result<UtcTime, InvalidTime> {
    UtcTime::parse_rfc3339(text).or_else(|_| Ok(beginning_of(text)?.plus_seconds(DAY)))
}

fn beginning_of(day: &str) -> Result<UtcTime, InvalidTime> {
    format!("{day}T00:00:00Z").parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_and_ends_in_utc() {
        assert_eq!(since("2026-11-21").unwrap().to_string(), "2026-11-21T00:00:00Z");
        assert_eq!(until("2026-12-31").unwrap().to_string(), "2027-01-01T00:00:00Z");
        assert_eq!(until("2026-12-31T12:00:00+01:00").unwrap().to_string(), "2026-12-31T11:00:00Z");
        for bad in ["", "tomorrow", "2026-13-01", "2026-11-21T", "21.11.2026"] {
            assert!(since(bad).is_err() && until(bad).is_err(), "{bad}");
        }
    }
}
