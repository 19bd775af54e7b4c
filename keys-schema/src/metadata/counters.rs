//! Counters that are never zero.

use std::fmt;
use std::num::{NonZeroU32, NonZeroU64};

use crate::limits;

/// The version of a metadata document: 1 or more, at most [`limits::JSON_INTEGER`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(NonZeroU64);

impl Version {
    /// The first version of any role.
    pub const FIRST: Self = Self(NonZeroU64::MIN);

    /// Checks the bounds.
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        if value > limits::JSON_INTEGER.unsigned_abs() {
            return None;
        }
        NonZeroU64::new(value).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0.get()
    }

    /// The following version; `None` at the end of the range.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        Self::new(self.get() + 1)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How many distinct keys must sign: 1 or more (CVE-2026-23992: zero or negative
/// thresholds disabled verification).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Threshold(NonZeroU32);

impl Threshold {
    /// One signature is enough.
    pub const ONE: Self = Self(NonZeroU32::MIN);

    /// Checks the bounds: 1 to [`limits::KEYS`].
    #[must_use]
    pub fn new(value: u64) -> Option<Self> {
        let value = u32::try_from(value).ok()?;
        if usize::try_from(value).ok()? > limits::KEYS {
            return None;
        }
        NonZeroU32::new(value).map(Self)
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// Whether `count` distinct keys are enough.
    #[must_use]
    pub fn is_met_by(self, count: usize) -> bool {
        u32::try_from(count).is_ok_and(|count| count >= self.get())
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
