//! How much anybody may ask of the server.

use std::time::Duration;

use serde::Deserialize;

use super::{Fault, duration};

/// `[limits]`, per process.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// Bytes of one publish: of its documents, each with a bound of its own, and of its target
    /// files, up to 16 MiB each. Default 32 MiB: one of the largest files beside three of the
    /// largest documents. Whoever sends more in a publish sends several. A publish also has to
    /// arrive within `request_time`.
    ///
    /// What was published stays on the disk, compressed, also when no current document lists it
    /// any more: backups and clients with an older state may ask for it. How much one token can
    /// fill is not bounded by the hour, as it is for signing requests, because a publish needs the
    /// signatures of a repository's keys: whoever has token and key could publish for ever in
    /// any case. Removing the repository makes its files unreachable, not the disk free.
    pub body_bytes: usize,
    /// Bytes of all publishes that are worked on at the same time. Default 512 MiB. Those that
    /// do not fit are refused before their body is read, with 503. Memory goes up to about three
    /// times as much, while parts are put together and compressed.
    pub total_body_bytes: usize,
    /// Bytes of target files that are read and compared at the same time, before the first byte of
    /// them is sent; those up to 64 KiB are not counted. Default 256 MiB. Who does not fit waits, for
    /// `request_time` at most. While a client takes the file, however slowly, one piece of 32 KiB of
    /// it is held, which is not counted here.
    pub total_target_bytes: usize,
    /// Bytes of documents that are kept in memory for those who read them, with their compressed forms.
    /// Default 64 MiB. Documents that would take more than a quarter of it are read from the disk each time,
    /// with 0 all of them but timestamps.
    pub kept_document_bytes: usize,
    /// Parts of one publish. Default 64.
    pub parts: usize,
    /// Bytes of a request's head. Default 32 KiB.
    pub header_bytes: usize,
    /// Time for the head of a request; an idle connection is closed after it as well.
    /// Default 15 s.
    #[serde(deserialize_with = "duration::read")]
    pub header_time: Duration,
    /// Longest silence within a body, in either direction. Default 15 s.
    #[serde(deserialize_with = "duration::read")]
    pub body_idle: Duration,
    /// Time for a whole request. Default 60 s.
    #[serde(deserialize_with = "duration::read")]
    pub request_time: Duration,
    /// API requests worked on at the same time. Default 512.
    pub requests: usize,
    /// Connections open at the same time. Default 4096.
    pub connections: usize,
    /// Time that requests get to finish after the first signal to stop. Default 30 s.
    #[serde(deserialize_with = "duration::read")]
    pub drain_time: Duration,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_bytes: 32 * 1024 * 1024,
            total_body_bytes: 512 * 1024 * 1024,
            total_target_bytes: 256 * 1024 * 1024,
            kept_document_bytes: 64 * 1024 * 1024,
            parts: 64,
            header_bytes: 32 * 1024,
            header_time: Duration::from_secs(15),
            body_idle: Duration::from_secs(15),
            request_time: Duration::from_secs(60),
            requests: 512,
            connections: 4096,
            drain_time: Duration::from_secs(30),
        }
    }
}

impl LimitsConfig {
    pub(super) fn validate(&self, faults: &mut Vec<Fault>) {
        for (path, value) in [
            ("limits.body_bytes", self.body_bytes),
            ("limits.total_target_bytes", self.total_target_bytes),
            ("limits.parts", self.parts),
            ("limits.requests", self.requests),
            ("limits.connections", self.connections),
        ] {
            if value == 0 {
                faults.push(Fault::new(path, "must be at least 1"));
            }
        }
        if self.total_body_bytes < self.body_bytes {
            faults.push(Fault::new("limits.total_body_bytes", "must not be less than limits.body_bytes"));
        }
        if !(8192..=1024 * 1024).contains(&self.header_bytes) {
            faults.push(Fault::new("limits.header_bytes", "must lie between 8192 and 1048576"));
        }
        for (path, value) in [
            ("limits.header_time", self.header_time),
            ("limits.body_idle", self.body_idle),
            ("limits.request_time", self.request_time),
        ] {
            if value.is_zero() {
                faults.push(Fault::new(path, "must be longer than nothing"));
            }
        }
    }
}
