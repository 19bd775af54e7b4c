//! How long what the server signs is valid.

use std::time::Duration;

use serde::Deserialize;

use super::{Fault, duration};
use crate::publish::Lifetimes;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `[lifetimes]`. Renewal starts when half of a lifetime is over, so that a server which
/// is down for less than that is noticed by nobody.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LifetimesConfig {
    /// Of timestamps: how long a replayed state can go unnoticed. Default 24 h.
    #[serde(deserialize_with = "duration::read")]
    pub timestamp: Duration,
    /// Of snapshots. Default 7 d.
    #[serde(deserialize_with = "duration::read")]
    pub snapshot: Duration,
}

impl Default for LifetimesConfig {
    fn default() -> Self {
        Self { timestamp: Duration::from_secs(DAY), snapshot: Duration::from_secs(7 * DAY) }
    }
}

impl From<&LifetimesConfig> for Lifetimes {
    fn from(config: &LifetimesConfig) -> Self {
        Self::new(config.timestamp, config.snapshot)
    }
}

impl LifetimesConfig {
    pub(super) fn validate(&self, faults: &mut Vec<Fault>) {
        let sensible = MINUTE..=366 * DAY;
        if !sensible.contains(&self.timestamp.as_secs()) {
            faults.push(Fault::new("lifetimes.timestamp", "must lie between 1m and 366d"));
        }
        if !sensible.contains(&self.snapshot.as_secs()) || self.snapshot < self.timestamp {
            faults.push(Fault::new(
                "lifetimes.snapshot",
                "must lie between 1m and 366d and not be shorter than lifetimes.timestamp",
            ));
        }
    }
}
