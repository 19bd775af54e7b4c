//! How long what the server signs is valid.

use std::time::Duration;

use serde::Deserialize;

use super::{Fault, duration};
use crate::publish::{Lifetime, Lifetimes};

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
    /// For repositories in legacy mode.
    pub legacy: LegacyLifetimesConfig,
}

/// `[lifetimes.legacy]`. Longer than the others: clients of Notary warn their users from half a
/// year before the end of a snapshot, and work without a server as long as a timestamp lives.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LegacyLifetimesConfig {
    /// Of timestamps. Default 14 d.
    #[serde(deserialize_with = "duration::read")]
    pub timestamp: Duration,
    /// Of snapshots that the server signs. Default 3 years of 365 d.
    #[serde(deserialize_with = "duration::read")]
    pub snapshot: Duration,
}

impl Default for LifetimesConfig {
    fn default() -> Self {
        Self {
            timestamp: Duration::from_secs(DAY),
            snapshot: Duration::from_secs(7 * DAY),
            legacy: LegacyLifetimesConfig::default(),
        }
    }
}

impl Default for LegacyLifetimesConfig {
    fn default() -> Self {
        Self { timestamp: Duration::from_secs(14 * DAY), snapshot: Duration::from_secs(3 * 365 * DAY) }
    }
}

impl From<&LifetimesConfig> for Lifetimes {
    fn from(config: &LifetimesConfig) -> Self {
        Self {
            spec: Lifetime::new(config.timestamp, config.snapshot),
            legacy: Lifetime::new(config.legacy.timestamp, config.legacy.snapshot),
        }
    }
}

impl LifetimesConfig {
    pub(super) fn validate(&self, faults: &mut Vec<Fault>) {
        let names = ["lifetimes.timestamp", "lifetimes.snapshot"];
        validate(names, self.timestamp, self.snapshot, 366, faults);
        let names = ["lifetimes.legacy.timestamp", "lifetimes.legacy.snapshot"];
        validate(names, self.legacy.timestamp, self.legacy.snapshot, 3660, faults);
    }
}

fn validate(
    [timestamp_name, snapshot_name]: [&'static str; 2],
    timestamp: Duration,
    snapshot: Duration,
    most: u64,
    faults: &mut Vec<Fault>,
) {
    let sensible = MINUTE..=most * DAY;
    if !sensible.contains(&timestamp.as_secs()) {
        faults.push(Fault::new(timestamp_name, format!("must lie between 1m and {most}d")));
    }
    if !sensible.contains(&snapshot.as_secs()) || snapshot < timestamp {
        let reason = format!("must lie between 1m and {most}d and not be shorter than {timestamp_name}");
        faults.push(Fault::new(snapshot_name, reason));
    }
}
