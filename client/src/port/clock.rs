//! The time.

use bulla_keys_schema::time::UtcTime;

/// Tells the time. Asked once per refresh: everything in it is judged at one moment (C1).
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> UtcTime;
}
