//! Times and sizes as people write them, with their unit. A number without a unit means one thing to
//! whoever wrote it and another to whoever reads it.

use std::str::FromStr;

/// Longest time: a hundred years, in seconds.
const LONGEST: u64 = 100 * 365 * DAY;
const DAY: u64 = 24 * 60 * 60;

/// A length of time: `90s`, `30m`, `24h`, `7d`, `2w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    seconds: u64,
}

impl Span {
    /// So many days.
    #[must_use]
    pub(super) const fn days(days: u64) -> Self {
        Self { seconds: days.saturating_mul(DAY) }
    }

    /// In seconds; never more than a hundred years, and never 0.
    #[must_use]
    pub fn seconds(self) -> i64 {
        i64::try_from(self.seconds).unwrap_or(i64::MAX)
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = split(text).ok_or(InvalidSpan)?;
        let factor = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => DAY,
            "w" => 7 * DAY,
            _ => return Err(InvalidSpan),
        };
        let seconds = number.checked_mul(factor).ok_or(InvalidSpan)?;
        if (1..=LONGEST).contains(&seconds) { Ok(Self { seconds }) } else { Err(InvalidSpan) }
    }
}

/// A number of bytes: `500MB`, `1GB`. The units are decimal, as registries and disks count:
/// 1 MB is a million bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size {
    bytes: u64,
}

impl Size {
    /// In bytes; never 0.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.bytes
    }
}

impl FromStr for Size {
    type Err = InvalidSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (number, unit) = split(text).ok_or(InvalidSize)?;
        let factor: u64 = match unit {
            "B" => 1,
            "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(InvalidSize),
        };
        let bytes = number.checked_mul(factor).ok_or(InvalidSize)?;
        if bytes == 0 { Err(InvalidSize) } else { Ok(Self { bytes }) }
    }
}

/// The text is no length of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a length of time: write a whole number and s, m, h, d or w, like 24h or 7d")]
pub struct InvalidSpan;

/// The text is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a size: write a whole number and B, KB, MB, GB or TB (powers of 1000), like 500MB")]
pub struct InvalidSize;

/// A whole number as it is normally written, and what follows.
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let is_plain = number.len() < 2 || !number.starts_with('0');
    Some((number.parse().ok().filter(|_| is_plain)?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_known_unit() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1_800), ("24h", 86_400), ("7d", 604_800), ("2w", 1_209_600)]
        {
            assert_eq!(text.parse::<Span>().map(Span::seconds), Ok(seconds), "{text}");
        }
        for bad in [
            "",
            "24",
            "h",
            "0h",
            "24H",
            "1y",
            "1 h",
            "1.5h",
            "-1h",
            "+1h",
            "024h",
            "1h30m",
            "36501d",
            "18446744073709551615w",
            "99999999999999999999s",
            "\u{661}h",
        ] {
            assert_eq!(bad.parse::<Span>(), Err(InvalidSpan), "{bad}");
        }
    }

    #[test]
    fn sizes_are_decimal() {
        for (text, bytes) in [("1B", 1), ("2KB", 2_000), ("500MB", 500_000_000), ("1GB", 1_000_000_000)] {
            assert_eq!(text.parse::<Size>().map(Size::bytes), Ok(bytes), "{text}");
        }
        for bad in
            ["", "500", "MB", "0MB", "500mb", "1GiB", "1.5GB", "-1MB", "0500MB", "18446744073709551615TB"]
        {
            assert_eq!(bad.parse::<Size>(), Err(InvalidSize), "{bad}");
        }
    }
}
