//! How long documents live that are signed here.

use bulla_keys_schema::dialect::Dialect;

const DAY: i64 = 24 * 60 * 60;
const YEAR: i64 = 365 * DAY;

/// Lifetime of a root, and of the certificates in it, in seconds: one year; ten years in
/// Notary's dialect, as its own clients have it.
#[must_use]
pub const fn root(dialect: Dialect) -> i64 {
    match dialect {
        Dialect::Notary1 => 10 * YEAR,
        Dialect::Tuf1 => YEAR,
    }
}

/// Lifetime of targets and delegated roles, in seconds: 90 days; three years in Notary's
/// dialect, as its own clients have it.
#[must_use]
pub const fn targets(dialect: Dialect) -> i64 {
    match dialect {
        Dialect::Notary1 => 3 * YEAR,
        Dialect::Tuf1 => 90 * DAY,
    }
}

/// How long before its end a root in Notary's dialect is renewed, in seconds: half a year,
/// when its own clients begin to warn.
pub const ROOT_RENEWAL: i64 = YEAR / 2;
